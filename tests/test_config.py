"""The configuration contract: defaults at every depth, and one sentence with file, line and key for every mistake."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from neural_echos import artifacts
from neural_echos.design.config import check, check_references, load_preset, load_schema, merge, read_yaml
from neural_echos.errors import EchosError
from neural_echos.initialisations import registry

ROOT = Path(__file__).resolve().parents[1]
DECLARED = {kind: list(read_yaml(ROOT / f"config/{kind}.yaml")) for kind in ("inputs", "artifacts")}
CONFIG = load_schema(ROOT / "workflow/schemas/config.schema.yaml")
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "$defs": {"share": {"type": "number", "minimum": 0, "maximum": 1, "description": "A share."}},
    "properties": {
        "training": {
            "type": "object",
            "default": {},
            "additionalProperties": False,
            "properties": {
                "epochs": {"type": "integer", "minimum": 1, "default": 2, "description": "Passes over the data."},
                "rate": {"type": "number", "exclusiveMinimum": 0, "default": 0.1},
                "schedule": {"enum": ["cosine", "constant"], "default": "cosine"},
                "dropout": {"$ref": "#/$defs/share", "default": 0.5},
            },
        },
        "models": {
            "type": "object",
            "default": {},
            "propertyNames": {"pattern": "^[a-z]+$"},
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "required": ["width"],
                "properties": {"width": {"type": "integer"}, "tags": {"type": "array", "default": ["small"]}},
            },
        },
        "claims": {
            "type": "array",
            "default": [],
            "items": {"type": "object", "properties": {"margin": {"type": ["number", "null"], "default": 0.5}}},
        },
    },
}


def write(folder: Path, text: str, name: str = "config.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def complaint(folder: Path, text: str) -> str:
    path = write(folder, text)
    with pytest.raises(EchosError) as caught:
        check(read_yaml(path), SCHEMA, files=[path])
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(folder), "")


def test_defaults_are_filled_in_at_every_depth_and_the_document_is_not_changed():
    document = {"models": {"a": {"width": 3}}, "claims": [{"id": 1}, {"margin": None}]}
    completed = check(document, SCHEMA)
    assert completed == {
        "training": {"epochs": 2, "rate": 0.1, "schedule": "cosine", "dropout": 0.5},
        "models": {"a": {"width": 3, "tags": ["small"]}},
        "claims": [{"id": 1, "margin": 0.5}, {"margin": None}],
    }
    assert document == {"models": {"a": {"width": 3}}, "claims": [{"id": 1}, {"margin": None}]}
    completed["models"]["a"]["tags"].append("changed")
    assert check(document, SCHEMA)["models"]["a"]["tags"] == ["small"]


def test_defaults_of_all_parts_of_allof_are_filled_in():
    part = {"properties": {"a": {"default": 1}}}
    assert check({}, {"type": "object", "allOf": [part], "properties": {"b": {"default": 2}}}) == {"a": 1, "b": 2}


@given(st.dictionaries(st.sampled_from(["epochs", "rate"]), st.integers(1, 99)))
def test_checking_twice_changes_nothing(training):
    completed = check({"training": training}, SCHEMA)
    assert check(completed, SCHEMA) == completed
    assert completed["training"] | training == completed["training"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("training:\n  rate: 1\n  epoch: 3\n", ["/config.yaml:3:", "'training.epoch'", "did you mean 'epochs'?"]),
        ("zzz: 1\n", ["/config.yaml:1:", "unknown key 'zzz'", "known: training, models, claims"]),
        ("training:\n  epochs: 0\n", [":2:", "'training.epochs'", "at least 1", "Passes over the data", "found 0"]),
        ("training:\n  epochs: 5.0\n", [":2:", "a whole number", "found 5.0"]),
        ("training:\n  epochs: yes\n", ["a whole number", "found true"]),
        ("training:\n  rate: 4e-3\n", ["a finite number", "found '4e-3'", "write 0.004"]),
        ("training:\n  epochs: '3'\n", ["a whole number", "found '3'", "write 3)"]),
        ("training:\n  rate: .nan\n", ["a finite number", "found nan"]),
        ("training:\n  rate: .inf\n", ["a finite number", "found inf"]),
        ("training:\n  rate: 0\n", ["above 0", "found 0"]),
        ("training:\n  dropout: 1.5\n", ["at most 1", "A share"]),
        ("training:\n  schedule: cosin\n", ["one of 'cosine', 'constant'", "did you mean 'cosine'?"]),
        ("training: 5\n", [":1:", "'training'", "a mapping", "found 5"]),
        ("training:\n", ["a mapping", "found null"]),
        ("models:\n  a: {}\n", [":2:", "expected the key 'models.a.width'", "found none"]),
        ("models:\n  A1: {width: 1}\n", [":2:", "'models.A1'", "the form ^[a-z]+$", "rename it"]),
        ("claims:\n- {}\n- margin: x\n", [":3:", "'claims.1.margin'", "a finite number or null", "found 'x'"]),
        ("models: {1: {width: 1}}\n", [":1:", "expected text as the keys of 'models'", "found 1", "quotes"]),
        ("on: 1\n", ["expected text as the keys of the top level", "found True"]),
    ],
)
def test_a_mistake_is_one_sentence_that_names_file_line_and_key(tmp_path, text, expected):
    said = complaint(tmp_path, text)
    for part in expected:
        assert part in said


def test_an_unknown_key_comes_before_a_wrong_value(tmp_path):
    assert "'training.zzz'" in complaint(tmp_path, "training:\n  epochs: x\n  zzz: 1\n")


def test_the_last_file_that_holds_the_key_is_named(tmp_path):
    first = write(tmp_path, "training:\n  epochs: 0\n  rate: 1\n", "first.yaml")
    last = write(tmp_path, "\n\ntraining:\n  epochs: 0\n", "last.yaml")
    with pytest.raises(EchosError, match=r"last\.yaml:4: 'training\.epochs'"):
        check({"training": {"epochs": 0}}, SCHEMA, files=[first, last])
    with pytest.raises(EchosError, match=r"first\.yaml:3: 'training\.rate'"):
        check({"training": {"rate": 0}}, SCHEMA, files=[first, last])
    with pytest.raises(EchosError, match=r"^configuration: 'training\.rate'"):
        check({"training": {"rate": 0}}, SCHEMA)


@pytest.mark.parametrize(
    ("kind", "text", "hint"),
    [
        ("integer", "1", " (YAML reads this as text; write 1)"),
        (["integer", "null"], "1e3", " (YAML reads this as text; write 1000)"),
        ("number", "2", " (YAML reads this as text; write 2.0)"),
        ("integer", "1.5", ""),
        ("number", "inf", ""),
        ("array", "1", ""),
    ],
)
def test_a_quoted_number_is_explained_where_it_may_stand_without_quotes(kind, text, hint):
    with pytest.raises(EchosError) as caught:
        check({"x": text}, {"properties": {"x": {"type": kind}}})
    assert str(caught.value).endswith(f", found {text!r}{hint}; correct it")


def test_alternatives_are_told_together():
    schema = {"properties": {"x": {"anyOf": [{"type": "integer"}, {"enum": ["all"]}]}}}
    with pytest.raises(EchosError, match=r"expected a whole number or one of 'all', found 'none'"):
        check({"x": "none"}, schema)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", ":3: expected valid YAML, found the key 'a' twice"),
        ("a:\n  b: 1\n  b: 1\n", ":3: expected valid YAML, found the key 'b' twice"),
        ("a: [1\nb: 2\n", ":2: expected valid YAML"),
        ("a: 1\n\tb: 2\n", ":2: expected valid YAML"),
        ("- 1\n- 2\n", "expected a mapping"),
        ("a: !!python/object/apply:os.system ['true']\n", ":1: expected valid YAML, found could not determine"),
    ],
)
def test_broken_yaml_is_one_sentence(tmp_path, text, expected):
    with pytest.raises(EchosError) as caught:
        read_yaml(write(tmp_path, text))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_unreadable_files_are_one_sentence(tmp_path):
    with pytest.raises(EchosError, match="No such file"):
        read_yaml(tmp_path / "absent.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"a: \xff\xfe\n")
    with pytest.raises(EchosError, match="UTF-8"):
        read_yaml(tmp_path / "bytes.yaml")


def test_an_empty_file_is_an_empty_mapping_and_merge_keys_may_repeat(tmp_path):
    assert read_yaml(write(tmp_path, "# nothing\n")) == {}
    merged = read_yaml(write(tmp_path, "a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  x: 3\n"))
    assert merged["b"] == {"x": 3, "y": 2}


def test_a_file_is_parsed_once_until_it_changes_and_everyone_has_a_copy(tmp_path, monkeypatch):
    parsed, load = [], yaml.load
    monkeypatch.setattr(yaml, "load", lambda text, **options: parsed.append(text) or load(text, **options))
    path = tmp_path / "a.yaml"
    path.write_text("properties: {a: {}}")
    read_yaml(path)["properties"]["a"]["default"] = 1
    assert read_yaml(path) == {"properties": {"a": {}}}
    assert len(parsed) == 1
    path.write_text("properties: {b: {}}")
    assert read_yaml(path) == {"properties": {"b": {}}}
    path.write_text("properties: [")
    for _ in range(2):
        with pytest.raises(EchosError, match="expected valid YAML"):
            read_yaml(path)


@pytest.mark.parametrize("path", sorted((ROOT / "workflow/schemas").glob("*.yaml")), ids=lambda path: path.name)
def test_schemas_are_sound_and_read_fast_what_is_read_strictly(path):
    Draft202012Validator.check_schema(read_yaml(path))
    assert load_schema(path) == read_yaml(path)


@pytest.mark.parametrize("kind", ["models", "artifacts", "claims"])
def test_two_entries_of_one_id_are_refused(tmp_path, kind):
    path = tmp_path / "config.yaml"
    path.write_text(f"{kind}:\n  - {{id: a}}\n  - {{id: b}}\n  - {{id: a}}\n")
    config = {"models": [], "artifacts": [], "claims": []} | read_yaml(path)
    with pytest.raises(EchosError) as caught:
        check_references(config, inputs=[], artifacts=[], files=[path])
    assert str(caught.value) == (
        f"{path}:4: '{kind}.2.id': expected another id for each of the {kind}, found 'a', which is {kind}.0 already; "
        "rename one or take it out"
    )


@pytest.mark.parametrize("preset", [(), *((path.stem,) for path in sorted(ROOT.glob("config/presets/*.yaml")))])
def test_every_preset_names_only_what_is_declared(preset):
    check_references(load_preset(ROOT, *preset), **DECLARED)


@pytest.mark.parametrize(
    ("entry", "options", "at", "kind", "found"),
    [
        ("NE3", {"initialisation": "dogg"}, "initialisation", "initialisation", "'dogg' (did you mean 'dog'?)"),
        ("NE3", {"dataset": "photograps"}, "dataset", "dataset", "'photograps' (did you mean 'photographs'?)"),
        ("NE3", {"architectures": ["convmixr"]}, "architectures", "architecture", "'convmixr' (did you mean"),
        ("NE3", {"fixed_gamma": ["dog", "dog_gama"]}, "fixed_gamma", "initialisation", "'dog_gama' (did you mean"),
        ("NE3", {"sources": {"dog": "x"}}, "sources.dog", "dataset", "'x'"),
        ("NE3", {"pairs": [{"initialisation": "x"}]}, "pairs.0.initialisation", "initialisation", "'x'"),
        ("NE3", {"candidates": "x"}, "candidates", "set of filters", "'x'"),
        ("NE3", {"control": "x"}, "control", "initialisation, set of filters or model", "'x'"),
        ("table_1_accuracy", {"initialisations": ["dogg"]}, "initialisations", "initialisation", "'dogg'"),
        ("initialisations_compared", {"baseline": "kaimng"}, "baseline", "initialisation", "'kaimng' (did you"),
        ("table_2_ablation", {"variants": ["dogg"]}, "variants", "initialisation", "'dogg'"),
        ("table_2_ablation", {"series": {"a": [[8, "x"]]}}, "series.a", "initialisation", "'x'"),
        ("table_2_ablation", {"pairs": [{"before": "convnextt"}]}, "pairs.0.before", "model", "'convnextt' (did you"),
    ],
)
def test_an_undeclared_name_in_an_option_is_refused(entry, options, at, kind, found):
    config = load_preset(ROOT)
    part = "claims" if entry == "NE3" else "artifacts"
    place = [one["id"] for one in config[part]].index(entry)
    config[part][place]["options"] |= options
    with pytest.raises(EchosError) as caught:
        check_references(config, **DECLARED)
    assert str(caught.value).startswith(f"'{part}.{place}.options.{at}': expected a declared {kind}, found {found}")


def test_a_claim_shows_a_declared_artifact_and_may_be_about_a_data_set_that_it_needs():
    config = load_preset(ROOT)
    config["claims"][2] |= {"needs": ["imagenet", "cifar10"]}
    config["claims"][2]["options"]["dataset"] = "imagenet"
    check_references(config, **DECLARED)
    config["claims"][2]["artifact"] = "table_1_acuracy"
    with pytest.raises(
        EchosError, match=r"^'claims.2.artifact': .* found 'table_1_acuracy' \(did you mean 'table_1_acc"
    ):
        check_references(config, **DECLARED)


def test_the_schema_names_the_options_of_all_artifacts():
    made = [getattr(artifacts, name) for name in artifacts.__all__ if name not in ("FORMATS", "Artifact", "read")]
    parameters = [
        list(inspect.signature(function).parameters) for function in made if function.__name__ != "contact_sheet"
    ]
    asked = CONFIG["properties"]["artifacts"]["items"]["properties"]["options"]["properties"]
    assert {"scale", *asked} == {name for _, *options in parameters for name in options}  # the workflow gives the scale


def refusal(tmp_path, text: str, *, line: int) -> str:
    """What the schema of the config says of a file, whose mistake is in that line."""
    path = write(tmp_path, text)
    with pytest.raises(EchosError) as caught:
        check(read_yaml(path), CONFIG | {"required": []}, files=[path])
    assert str(caught.value).startswith(f"{path}:{line}: ")
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("{gama: 0.5}", "found the unknown key 'artifacts.0.options.gama' (did you mean 'gamma'?)"),
        ("{gamma: '0.5'}", "'artifacts.0.options.gamma': expected a finite number"),
        ("{architectures: convmixer}", "'artifacts.0.options.architectures': expected a list"),
        ("{pairs: [{before: a, after: b}]}", "expected the key 'artifacts.0.options.pairs.0.label'"),
    ],
)
def test_an_option_that_no_artifact_takes_is_refused(tmp_path, options, expected):
    assert expected in refusal(tmp_path, f"artifacts:\n- id: a\n  options: {options}\n", line=3)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        ("{result: mine}", "found the unknown key 'pathvars.result' (did you mean 'results'?)"),
        (
            "{results: 'mine/{x}'}",
            "'pathvars.results': expected text of the form ^[^{}]+$ (Folder of the results, a path without",
        ),
        ("{logs: ''}", "'pathvars.logs': expected text of the form"),
    ],
)
def test_outputs_go_where_the_workflow_looks(tmp_path, paths, expected):
    assert expected in refusal(tmp_path, f"pathvars: {paths}\n", line=1)


@pytest.mark.parametrize(
    "text",
    [
        "seed: {}",
        "seeds: [0, {}]",
        "models: [{{id: a, role: trained, run: {{dataset: d, architecture: a, initialisation: i, weights: initial, seed: {}}}}}]",
        "replacement: {{candidates: {{a: {{set: dog, seed: {}}}}}}}",
        "artifacts: [{{id: a, options: {{seed: {}}}}}]",
    ],
)
def test_a_seed_that_a_generator_cannot_take_is_refused(tmp_path, text):
    relaxed = CONFIG | {"required": []}
    check(read_yaml(write(tmp_path, text.format(2**32 - 1))), relaxed)
    with pytest.raises(EchosError, match=r"expected a number of at most 4294967295.* found 4294967296"):
        check(read_yaml(write(tmp_path, text.format(2**32))), relaxed)


def test_the_schema_knows_which_schemes_take_an_option():
    entry = CONFIG["properties"]["initialisations"]["additionalProperties"]
    taken = {option: part["properties"]["scheme"]["enum"] for option, part in entry["dependentSchemas"].items()}
    found = {name: registry.lookup(name, {}) for name in registry.names()}
    options = {option for one in found.values() if one for option in one.options}
    assert taken == {"weights": ["pointwise"], "rows": ["pointwise"]} | {
        option: [name for name, one in found.items() if one and option in one.options] for option in options
    }
    assert set(entry["properties"]) - set(taken) == {"scheme", "share", "scale", "frozen", "layers", "depths"}


def test_an_option_that_the_scheme_does_not_take_is_refused_by_its_line(tmp_path):
    path = write(tmp_path, "initialisations:\n  default:\n    gamma: 0.5\n")
    files = [ROOT / "config/config.yaml", path]
    with pytest.raises(EchosError) as caught:
        check(merge(map(read_yaml, files)), CONFIG, files=files)
    assert str(caught.value) == (
        f"{path}:3: 'initialisations.default.gamma': expected only where 'initialisations.default.scheme' is one of 'dog', "
        "found it beside 'default'; correct one or take it out"
    )


def test_importing_the_module_loads_nothing_heavy():
    code = "import neural_echos.design.config, neural_echos.inputs, sys; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "torch", "timm", "jsonschema", "pooch", "requests", "huggingface_hub", "skimage"} & set(
        modules
    )
