"""Read the config: presets on top of the demo's config, checked, completed, and with every name declared."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neural_echos.design.artifacts import with_options
from neural_echos.design.checked import check, load_artifacts
from neural_echos.design.claims import with_papers_claims
from neural_echos.design.references import check_references
from neural_echos.design.schema import Config
from neural_echos.design.yaml import CommandLine, Layer, merge, read_yaml
from neural_echos.errors import EchosError, nearest


def preset_files(root: Path, *presets: str | Path) -> list[Path]:
    """Files of presets given by name or path: the demo's config first, then each preset after the one that it is on top of."""
    files = [root / "config/config.yaml"]
    for name in presets:
        path = _preset_file(root, name)
        below = read_yaml(path).get("on_top_of")
        files += [*(preset_files(root, below)[1:] if isinstance(below, str) else []), path]
    return list(dict.fromkeys(files))


def _preset_file(root: Path, name: str | Path) -> Path:
    """File of a preset given by name or path."""
    if Path(name).suffix in (".yaml", ".yml"):
        return Path(name)
    known = {path.stem: path for path in sorted((root / "config/presets").glob("*.yaml"))}
    if not known:
        raise EchosError(
            f"{root / 'config/presets'}: there are no presets here; run in the workflow's folder, or set --root"
        )
    if str(name) not in known:
        raise EchosError(
            f"there is no preset {str(name)!r}{nearest(str(name), known)}; choose from {', '.join(known)}, give your own file "
            "with its .yaml suffix, or give none for the demo"
        )
    return known[str(name)]


def load_preset(root: Path, *presets: str | Path, artifacts: Mapping[str, Mapping[str, Any]] | None = None) -> Config:
    """Read presets on top of the demo's config, or the demo's config alone, and check them and the names that they use.

    Parameters
    ----------
    root : Path
        Folder that contains the Snakefile.
    *presets : str or path
        Names of files in config/presets, or paths of others (.yaml); the topmost comes last.
    artifacts : mapping of str to mapping, optional
        What the notebooks declare, if already read (`load_artifacts`).

    Raises
    ------
    EchosError
        See `read_yaml`, `check` and `check_references`.
    """
    files = preset_files(root, *presets)
    return _load(merge(map(read_yaml, files)), root, files, artifacts)


def load_workflow(
    config: Mapping[str, Any],
    root: Path,
    files: Sequence[str | Path],
    command_line: Mapping[str, Any],
    artifacts: Mapping[str, Mapping[str, Any]] | None = None,
) -> Config:
    """Check the config that Snakemake merged.

    Parameters
    ----------
    config : mapping
        Snakemake's `config`.
    root : Path
        Folder that contains the Snakefile.
    files : sequence of path
        Files that Snakemake read it from; the topmost comes last. They are read again, strictly.
    command_line : mapping
        The values of ``--config`` as Snakemake parsed them.
    artifacts : mapping of str to mapping, optional
        What the notebooks declare, if already read (`load_artifacts`).

    Raises
    ------
    EchosError
        See `load_preset`; or a preset is given without the preset named by its `on_top_of`, or Snakemake cannot work in the folder.
    """
    require_working_folder(Path.cwd(), root)
    require_below(files)
    given = {key: value for key, value in command_line.items() if config.get(key) == value}
    typed = CommandLine.read(given)
    return _load(merge([config, typed.values]), root, [*files, typed], artifacts)


def require_working_folder(folder: Path, root: Path) -> None:
    """Refuse folders in which Snakemake fails with a traceback.

    Parameters
    ----------
    folder, root : Path
        The folder in which Snakemake runs, and the folder that contains the Snakefile.

    Raises
    ------
    EchosError
        A path has braces, or `folder` is read-only.
    """
    for path in (folder, root.resolve()):
        if set("{}") & set(str(path)):
            raise EchosError(f"{path}: Snakemake reads braces in a path as wildcards; move or rename the folder")
    if not os.access(folder, os.W_OK):
        raise EchosError(
            f"{folder}: this folder is read-only, and Snakemake keeps its records where it runs; choose another with --directory"
        )


def _load(
    document: Mapping[str, Any],
    root: Path,
    layers: Sequence[Layer],
    artifacts: Mapping[str, Mapping[str, Any]] | None = None,
) -> Config:
    artifacts = artifacts or load_artifacts(root)
    config = check_config(with_papers_claims(document, root / "config/claims.yaml"), artifacts, layers)
    inputs = read_yaml(root / "config/inputs.yaml")
    check_references(config, inputs=inputs, artifacts=artifacts, layers=layers)
    return config


def check_config(
    document: Mapping[str, Any], artifacts: Mapping[str, Mapping[str, Any]], layers: Sequence[Layer] = ()
) -> Config:
    """Check a config, including the options of its artifacts; see `check`.

    Parameters
    ----------
    document : mapping
    artifacts : mapping of str to mapping
        What the notebooks declare, by id.
    layers : sequence of path or CommandLine
    """
    asked = document.get("artifacts")
    entries = asked if isinstance(asked, list) else []
    used = [one["id"] for one in entries if isinstance(one, Mapping) and isinstance(one.get("id"), str)]
    return check(document, with_options(Config, artifacts, used), layers)


def require_below(files: Sequence[str | Path]) -> None:
    """Refuse a preset that is given without the preset named by its `on_top_of`.

    Raises
    ------
    EchosError
        No earlier file has that preset's name.
    """
    for place, path in enumerate(files):
        below = read_yaml(path).get("on_top_of")
        if below is not None and below not in [Path(file).stem for file in files[:place]]:
            raise EchosError(
                f"{path}: this preset builds on {below!r}, which is not given; run with --configfile config/presets/{below}.yaml "
                f"{path}"
            )
