"""Code: the source files of the library that a command or a notebook runs, and their fingerprint.

A rule has `fingerprint("extract")` among its params. When code that the command imports changes, so does the fingerprint, and
Snakemake reruns only the jobs of that rule. What counts is determined from the imports, without running any of them:

- Commands are followed by function: the command itself, the helpers and constants of `commands/` that it uses, and what these
  import.
- Every other module counts as a whole, with everything that it imports, also inside functions; `if TYPE_CHECKING:` is skipped.
- A name imported from a package counts for the module that defines it, so that a job does not depend on a whole room. Modules that
  a package's `__init__` imports for their effect (they register something) count for everyone who imports a name through that
  package.
- A module that imports `import_modules`, with which a room finds what registers itself there, counts with its whole folder.
- Other files in a module's folder, such as templates, count with it.

Comments, docstrings, `help=` texts and blank lines do not count. Each file is parsed once: the result is cached by the file's
content, so it is never stale, and processes can share it.
"""

import ast
import atexit
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from neural_echos.errors import EchosError, nearest

Facts = dict[str, Any]  # the output of `read_facts`, as JSON
_MOST_KEPT = 500  # maximum number of files in the cache before those that this process did not read are dropped
_ALL_OF_A_ROOM = "neural_echos.discovery.import_modules"
_DEFINITION = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class Code:
    """The source files of the library, read on demand.

    Parameters
    ----------
    library : path
        The folder of the package `neural_echos`; by default the running one.
    cache : path, optional
        JSON file that caches the facts of each file, written when Python exits. A missing, broken or read-only cache only costs
        half a second.
    """

    def __init__(self, library: str | Path | None = None, cache: str | Path | None = None) -> None:
        self.library = Path(library or Path(__file__).parent)
        self.cache = Path(cache) if cache else None
        self._facts: dict[str, Facts] = {}
        self._used: dict[str, Facts] = {}
        self._next: dict[tuple[str, str], set[tuple[str, str]]] = {}
        self._fresh = False
        if self.cache:
            atexit.register(self.save)

    def fingerprint(self, *entries: str | Path) -> str:
        """Return the fingerprint of the code that commands and notebooks run.

        Parameters
        ----------
        *entries : str or path
            Names of `echos` commands, and paths of notebooks, whose imports count.

        Returns
        -------
        str
            Sixteen hexadecimal digits.

        Raises
        ------
        EchosError
            There is no such command, a file cannot be read, or it imports a name that does not exist in the library.
        """
        return _digest(json.dumps(self.parts(*entries)).encode())

    def modules(self, *entries: str | Path) -> list[str]:
        """Sorted names of the files that count for commands and notebooks, relative to the library."""
        return sorted({part.partition(":")[0] for part in self.parts(*entries)})

    def parts(self, *entries: str | Path) -> dict[str, str]:
        """Digests of the code that counts for commands and notebooks, by "file" or, in `commands/`, "file:name"; sorted."""
        found: dict[str, str] = {}
        waiting = [target for entry in entries for target in self._entry(entry)]
        while waiting:
            file, name = waiting.pop()
            part = f"{file}:{name}" if name else file
            if part not in found:
                facts = self._of(file)
                found[part] = facts["blocks"][name]["digest"] if name else facts["digest"]
                found |= self._beside(file)
                waiting += self._used_by(file, name)
        return dict(sorted(found.items()))

    def save(self) -> None:
        """Write the cache if anything new was read."""
        if not self.cache or not self._fresh:
            return
        part = self.cache.with_name(f"{self.cache.name}.{os.getpid()}")
        try:
            self.cache.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(
                json.dumps(self._kept | self._used if len(self._kept) < _MOST_KEPT else self._used), encoding="utf-8"
            )
            part.replace(self.cache)
            self._fresh = False
        except OSError:
            return

    def _entry(self, entry: str | Path) -> Iterator[tuple[str, str]]:
        """(file, name) of the code that a command or a notebook starts from."""
        if str(entry).endswith(".ipynb"):
            for dotted in self._notebook(Path(entry))["names"]:
                yield from self._resolve(dotted, str(entry))
            return
        defined = {name: file for file in self._commands for name in self._of(file)["blocks"]}
        if entry not in defined:
            raise EchosError(f"code: there is no echos command {entry!r}{nearest(str(entry), defined)}")
        yield defined[str(entry)], str(entry)

    def _used_by(self, file: str, name: str) -> set[tuple[str, str]]:
        """(file, name) of everything that a file, or the definition of one of its names, uses."""
        if (file, name) not in self._next:
            facts = self._of(file)
            names = facts["blocks"][name]["names"] if name else facts["names"]
            found = {target for dotted in names for target in self._resolve(dotted, file)}
            if name:
                found |= {(file, other) for other in facts["blocks"][name]["uses"] if other in facts["blocks"]}
            if _ALL_OF_A_ROOM in names:
                room = f"{file.rpartition('/')[0]}/"
                found |= {(one, "") for one in self._files if re.fullmatch(rf"{room}(?!__init__)\w+\.py", one)}
            self._next[file, name] = found
        return self._next[file, name]

    def _resolve(self, dotted: str, where: str) -> Iterator[tuple[str, str]]:
        """(file, name) behind a dotted name of the library, resolved through packages that import it from their modules."""
        folder, names = "", dotted.split(".")[1:]
        for place, name in enumerate(names):
            file = f"{folder}{name}.py"
            if file in self._files:
                rest = next(iter(names[place + 1 :]), "")
                yield file, rest if file in self._commands and rest in self._of(file)["blocks"] else ""
                return
            if f"{folder}{name}/__init__.py" not in self._files:
                yield from self._exported(folder, names[place:], where)
                return
            folder = f"{folder}{name}/"
        yield f"{folder}__init__.py", ""

    def _exported(self, folder: str, names: list[str], where: str) -> Iterator[tuple[str, str]]:
        """(file, name) behind a name that a package defines or imports, and the modules that it imports for effect."""
        package = f"{folder}__init__.py"
        facts = self._of(package)
        found = [dotted for local, dotted in facts["imports"] if local == names[0]]
        if names[0] in facts["defined"]:
            yield package, ""
        elif found:
            for dotted in found:
                yield from self._resolve(".".join([dotted, *names[1:]]), package)
            effects = (f"{dotted.partition('.')[2].replace('.', '/')}.py" for _, dotted in facts["imports"])
            yield from ((effect, "") for effect in effects if effect in self._files)
        elif "__getattr__" in facts["defined"]:  # its names are unknown, so the whole package counts
            yield from ((file, "") for file in self._files if file.startswith(folder) and file.endswith(".py"))
        else:
            raise EchosError(f"{where}: {names[0]!r} is not in {self.library / package}; correct the import")

    @cached_property
    def _files(self) -> frozenset[str]:
        """All files of the library, as relative paths with slashes."""
        found, root = set(), str(self.library)
        for folder, _, files in os.walk(root):
            inner = folder[len(root) + 1 :].replace(os.sep, "/")
            found |= {f"{inner}/{file}" if inner else file for file in files if not file.endswith(".pyc")}
        return frozenset(found)

    @cached_property
    def _commands(self) -> list[str]:
        """The modules whose functions are commands."""
        return sorted(name for name in self._files if name.startswith("commands/") and name.endswith(".py"))

    @cached_property
    def _other(self) -> dict[str, str]:
        """Digests of files that are not Python, by name."""
        return {name: _digest((self.library / name).read_bytes()) for name in self._files if not name.endswith(".py")}

    def _beside(self, file: str) -> dict[str, str]:
        """The files that count with a module of a room: the non-Python files in the room's folder."""
        room = f"{file.rpartition('/')[0]}/"
        return {name: digest for name, digest in self._other.items() if name.startswith(room)}

    def _of(self, file: str) -> Facts:
        if file not in self._facts:
            path = self.library / file
            self._facts[file] = self._read(path.read_bytes(), path, fine=file in self._commands)
        return self._facts[file]

    def _notebook(self, path: Path) -> Facts:
        try:
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            source = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        except (OSError, ValueError, LookupError, TypeError):
            raise EchosError(f"{path}: this notebook cannot be read; restore it") from None
        return self._read(source.encode(), path, fine=False)

    def _read(self, source: bytes, path: Path, *, fine: bool) -> Facts:
        key = _digest(self._reader + bytes([fine]) + source)
        if key not in self._used:
            try:
                self._used[key] = self._kept.get(key) or read_facts(source.decode(), fine=fine)
            except (SyntaxError, ValueError) as error:
                raise EchosError(f"{path}: cannot be parsed ({error}); correct it") from None
            self._fresh |= key not in self._kept
        return self._used[key]

    @cached_property
    def _kept(self) -> dict[str, Facts]:
        try:
            kept = json.loads(self.cache.read_text(encoding="utf-8")) if self.cache else {}
        except (OSError, ValueError):
            return {}
        return kept if isinstance(kept, dict) else {}

    @cached_property
    def _reader(self) -> bytes:
        """Digest of this module, part of the cache's keys because this module determines the facts of a file."""
        return hashlib.sha256(Path(__file__).read_bytes()).digest()


def read_facts(source: str, *, fine: bool) -> Facts:
    """Find what a module defines, imports from the library, and uses.

    Parameters
    ----------
    source : str
    fine : bool
        Also distinguish the names of the module.

    Returns
    -------
    dict
        `digest` of the source; `defined` names; `imports`, pairs (local name, dotted name) in the module's own scope; `names`, the
        dotted names of the library that it uses anywhere; and, if `fine`, `blocks`: digest, dotted names and used names of each
        name's definition.

    Raises
    ------
    SyntaxError
    """
    tree = ast.parse(source)
    lines = bare_lines(source, tree)
    imports: list[tuple[str, str]] = []  # of the module's scope
    statements: list[tuple[ast.stmt, list[str], list[tuple[str, str]], set[str]]] = []
    for statement in tree.body:
        nodes = list(_walk(statement))
        brought = [pair for node in nodes for pair in _imports(node)]
        if isinstance(statement, _DEFINITION):
            statements.append((statement, [statement.name], brought, _uses(nodes)))
        else:
            imports += brought
            statements.append((statement, _bound(nodes), [], _uses(nodes)))
    everywhere = {use for *_, uses in statements for use in uses}
    facts: Facts = {"digest": _digest_of(lines), "imports": imports}
    facts["names"] = sorted(
        _dotted(imports, everywhere).union(*(_dotted(local, uses) for *_, local, uses in statements))
    )
    facts["defined"] = sorted({name for _, names, *_ in statements for name in names})
    if fine:
        blocks: dict[str, Facts] = {name: {"digest": "", "names": [], "uses": []} for name in facts["defined"]}
        for statement, names, local, uses in statements:
            first = min([statement.lineno, *(one.lineno for one in getattr(statement, "decorator_list", ()))])
            hidden = set(_bound(_walk(statement))) if isinstance(statement, _DEFINITION) else set()
            for name in names:
                blocks[name]["digest"] += _digest_of(lines[first - 1 : statement.end_lineno])
                blocks[name]["names"] += sorted(_dotted(local, uses) | _dotted(imports, uses, unused=False))
                blocks[name]["uses"] += sorted({use.partition(".")[0] for use in uses} - hidden)
        facts["blocks"] = blocks
    return facts


def bare_lines(source: str, tree: ast.Module) -> list[str]:
    """Lines of a module without the text for people: comments, docstrings, and the value of `help=` in calls."""
    lines: list[bytes] = [line.encode() for line in source.split("\n")]  # ast counts columns in bytes
    strings: dict[int, list[tuple[int, int]]] = {}  # columns of each line that are inside a string
    said: list[ast.expr | ast.stmt] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)):
            last_line = node.end_lineno or node.lineno
            for number in range(node.lineno, last_line + 1):
                left = node.col_offset if number == node.lineno else 0
                right = node.end_col_offset if number == last_line else None
                strings.setdefault(number, []).append((left, len(lines[number - 1]) if right is None else right))
        elif isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            said += node.body[:1] if ast.get_docstring(node, clean=False) is not None else []
        elif isinstance(node, ast.keyword) and node.arg == "help":
            said.append(node.value)
    for number, line in enumerate(lines, start=1):
        for column in (place for place, letter in enumerate(line) if letter == ord("#")):
            if not any(left <= column < right for left, right in strings.get(number, ())):
                lines[number - 1] = line[:column]
                break
    for one in sorted(said, key=lambda one: (one.lineno, one.col_offset), reverse=True):
        top, bottom = one.lineno - 1, (one.end_lineno or one.lineno) - 1
        bare = lines[top][: one.col_offset] + lines[bottom][one.end_col_offset :]
        lines[top : bottom + 1] = [*[b""] * (bottom - top), bare]
    return [line.decode().rstrip() for line in lines]


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and all nodes below it, except code that only a type checker runs."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in (
            getattr(node.test, "id", ""),
            getattr(node.test, "attr", ""),
        ):
            waiting += node.orelse
        else:
            yield node
            waiting += ast.iter_child_nodes(node)


def _imports(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield (local name, dotted name) of everything that an import statement imports from the library."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name.split(".")[0] == "neural_echos":
                yield alias.asname or alias.name, alias.name
    elif isinstance(node, ast.ImportFrom):
        if node.level:
            raise ValueError(f"line {node.lineno} has a relative import")
        if (node.module or "").split(".")[0] == "neural_echos":
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _uses(nodes: Iterable[ast.AST]) -> set[str]:
    """Names that are read, each with its chain of attributes: "kernels.layers_of"."""
    nodes = list(nodes)
    inner = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    found = set()
    for node in nodes:
        if id(node) in inner:
            continue
        chain = ""
        while isinstance(node, ast.Attribute):
            chain = f".{node.attr}{chain}"
            node = node.value
        if isinstance(node, ast.Name):
            found.add(f"{node.id}{chain}")
    return found


def _dotted(imports: Iterable[tuple[str, str]], uses: Iterable[str], *, unused: bool = True) -> set[str]:
    """Dotted names of the imports with the attributes that are used; unused imports count as they are, if `unused`."""
    found = set()
    for local, dotted in imports:
        chains = {use.removeprefix(local) for use in uses if f"{use}.".startswith(f"{local}.")}
        found |= {f"{dotted}{chain}" for chain in chains or ({""} if unused else ())}
    return found


def _bound(nodes: Iterable[ast.AST]) -> list[str]:
    """Names that a statement binds other than by importing: variables, arguments, definitions."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, _DEFINITION):
            found.add(node.name)
    return sorted(found)


def _digest_of(lines: Iterable[str]) -> str:
    return _digest("\n".join(filter(None, lines)).encode())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
