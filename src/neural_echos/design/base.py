"""Building blocks of the config's models: strict types, names that must be declared, and the base model.

A model rejects unknown keys and numbers that are not finite, and accepts 5 but not 5.0 as a whole number. It is immutable, and
`model_dump()` returns it completed: keys with a default first, then the others in the order in which they were written. Omitted
options stay omitted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    create_model,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError


class Model(BaseModel):
    """A mapping of the config; see the module's docstring."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, regex_engine="python-re", defer_build=True
    )
    _written: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="wrap")
    @classmethod
    def _remember(cls, value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        """Remember the order in which the keys were written."""
        made = validate(value)
        if isinstance(value, dict):
            made._written = tuple(value)
        return made

    @model_serializer(mode="wrap")
    def _complete(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values = serialise(self)
        fields = type(self).model_fields.items()
        filled = [name for name, field in fields if not field.is_required() and field.exclude_if is None]
        return {name: values[name] for name in dict.fromkeys([*filled, *self._written]) if name in values}

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """Return the completed config; a whole number given for a float stays whole, without a warning."""
        return super().model_dump(**{"warnings": False, **options})


M = TypeVar("M", bound=Model)


def option(description: str, default: Any = None) -> Any:
    """Declare an optional key. If omitted, it is absent from the completed config and its attribute is None.

    Parameters
    ----------
    description : str
    default : object, optional
        The value that readers of the key use in its absence, for the JSON schema.
    """
    return Field(
        default=None, exclude_if=_is_none, description=description, json_schema_extra=partial(_may_be_absent, default)
    )


def _may_be_absent(default: Any, schema: dict[str, Any]) -> None:
    """Remove null, which means an absent key, from a JSON schema, and add the default that its reader uses."""
    schema.pop("default", None)
    if default is not None:
        schema["default"] = default
    rest = [branch for branch in schema.get("anyOf", []) if branch != {"type": "null"}]
    if len(rest) == 1:
        del schema["anyOf"]
        schema.update(rest[0])
    elif rest:
        schema["anyOf"] = rest


def default_of(model: type[Model], description: str = "") -> Any:
    """Declare a mapping that is filled in with the defaults of its own keys; the model's docstring is its description."""
    return Field(default_factory=model, description=description or model.__doc__)


def variant(base: type[M], tag: str, value: str, **fields: Any) -> type[M]:
    """Make the model of one kind of entry: `base` with its tag fixed, and the fields of that kind."""
    name = "".join(part.title() for part in value.split("_"))
    field = base.model_fields[tag]
    kind: Any = Annotated[Literal[value], *field.metadata] if field.metadata else Literal[value]
    fixed: Any = (kind, Field(description=field.description))
    return create_model(f"{name}{base.__name__}", __base__=base, __doc__=base.__doc__, **{tag: fixed}, **fields)


def options_of(base: type[Model], value: str, fields: dict[str, Any]) -> Any:
    """Make the field `options` of one kind of entry, with the options of its function."""
    name = "".join(part.title() for part in value.split("_"))
    model = create_model(f"{name}Options", __base__=Model, __doc__=f"Options of {value}.", **fields)
    described = base.model_fields["options"].description
    return model, Field(default_factory=dict, validate_default=True, description=described)


def union(models: Mapping[str, type[Model]], tag: str) -> Any:
    """Make the type of an entry that is one of several models, distinguished by their tag."""
    return Annotated[Union[tuple(models.values())], Field(discriminator=tag)]  # noqa: UP007 (known at run time only)


def _is_none(value: Any) -> bool:
    return value is None


def _as_written(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Check a number but keep it as written: 1 stays 1 and does not become 1.0."""
    validate(value)
    return value


def _distinct(values: list[Any]) -> list[Any]:
    repeated = [value for place, value in enumerate(values) if value in values[:place]]
    if repeated:
        raise PydanticCustomError("repeated", "must not contain {value} twice", {"value": repr(repeated[0])})
    return values


@dataclass(frozen=True)
class Ref:
    """Marks a string that must be the name of something declared.

    Attributes
    ----------
    kind : str
        What it names, in words: "dataset", "model", …; `references.declared` lists the names of each kind.
    """

    kind: str


AS_WRITTEN = WrapValidator(_as_written)
DISTINCT = (AfterValidator(_distinct), Field(json_schema_extra={"uniqueItems": True}))

Number = Annotated[float, AS_WRITTEN]
Positive = Annotated[float, Field(gt=0), AS_WRITTEN]
NotNegative = Annotated[float, Field(ge=0), AS_WRITTEN]
Share = Annotated[float, Field(ge=0, le=1), AS_WRITTEN]
Ratio = Annotated[float, Field(gt=0, lt=1), AS_WRITTEN]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]

DatasetName = Annotated[str, Ref("dataset")]
RecipeName = Annotated[str, Ref("recipe")]
ArchitectureName = Annotated[str, Ref("architecture")]
InitialisationName = Annotated[str, Ref("initialisation")]
InputName = Annotated[str, Ref("input")]
ModelName = Annotated[str, Ref("model")]
FilterSetName = Annotated[str, Ref("set of filters")]
ArtifactName = Annotated[str, Ref("artifact")]
Architectures = Annotated[list[ArchitectureName], Field(min_length=1)]
Initialisations = Annotated[list[InitialisationName], Field(min_length=1)]

Reference = tuple[list[str], str, Any]  # keys, kind, name


def references(model: BaseModel, place: Sequence[str] = ()) -> Iterator[Reference]:
    """Yield (keys, kind, name) for every name in a model whose type is marked with a `Ref`."""
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if value is not None:
            marked = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
            yield from _inside(marked, value, [*place, name])


def _inside(kind: Any, value: Any, keys: list[str]) -> Iterator[Reference]:
    if isinstance(value, BaseModel):
        yield from references(value, keys)
        return
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        yield from ((keys, mark.kind, value) for mark in arguments[1:] if isinstance(mark, Ref))
        yield from _inside(arguments[0], value, keys)
    elif origin in (Union, UnionType):
        for one in arguments:
            if one is not NoneType and _may_be(one, value):
                yield from _inside(one, value, keys)
    elif origin is list and isinstance(value, list):
        for place, item in enumerate(value):
            yield from _inside(arguments[0], item, [*keys, str(place)])
    elif origin is dict and isinstance(value, Mapping):
        for name, item in value.items():
            yield from _inside(arguments[0], name, [*keys, name])
            yield from _inside(arguments[1], item, [*keys, name])


def _may_be(kind: Any, value: Any) -> bool:
    """Whether a value may be of one branch of a union."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    origin = get_origin(kind) or kind
    return isinstance(value, BaseModel) or (isinstance(origin, type) and isinstance(value, origin))
