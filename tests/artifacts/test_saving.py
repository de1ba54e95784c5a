"""Artifacts as notebooks make them: their files, what they show, and where a notebook run by hand finds its tables."""

import json
import os
from pathlib import Path

import matplotlib as mpl
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from neural_echos.artifacts.by_hand import find_parameters
from neural_echos.artifacts.names import TABLES, looks, order, palette
from neural_echos.artifacts.new import new_notebook
from neural_echos.artifacts.saving import Artifact
from neural_echos.artifacts.style import Style, canvas, drawing
from neural_echos.artifacts.words import adopted
from neural_echos.commands import main
from neural_echos.design.checked import load_artifacts
from neural_echos.errors import EchosError
from neural_echos.tables import SCHEMAS, write_table

ROOT = Path(__file__).resolve().parents[2]


def figure_of(artifact: Artifact, seaborn: bool = False):
    import seaborn as sns

    table = pd.DataFrame({"x": [0, 1, 2], "y": [1, 3, 2]})
    with artifact.drawing() as style:
        if seaborn:
            return sns.relplot(table, x="x", y="y", height=2)
        figure, axes = canvas(1, 1, (style.column, 2))
        sns.lineplot(table, x="x", y="y", ax=axes[0, 0], errorbar=None)
        return figure


@pytest.mark.parametrize("seaborn", [False, True])
def test_a_figure_becomes_all_formats_the_same_bytes_each_time(tmp_path, seaborn):
    sums = []
    for name in ("a", "b"):
        artifact = Artifact("f", output=str(tmp_path / name / "f"), style={"formats": ["svg", "eps", "tiff"]})
        artifact.save(figure_of(artifact, seaborn), "It rises.")
        files = {path.suffix: path.read_bytes() for path in (tmp_path / name).iterdir() if path.suffix != ".json"}
        assert set(files) == {".pdf", ".png", ".svg", ".eps", ".tiff"}
        sums.append(files)
    assert sums[0] == sums[1]
    assert b"/FontFile2" in sums[0][".pdf"] or b"/Type42" in sums[0][".pdf"]  # fonts are embedded
    facts = json.loads((tmp_path / "a/f.json").read_text())
    assert facts["says"] == "It rises." and facts["style"]["formats"] == ["svg", "eps", "tiff"]
    assert not plt.get_fignums()


def test_a_style_changes_fonts_colours_and_sizes_and_nothing_else_keeps_it():
    before = mpl.rcParams["font.size"]
    with drawing(Style.read({"font_scale": 1.5, "palette": ["#111111", "#222222"]})) as style:
        assert mpl.rcParams["font.size"] == 12 and style.column == 3.5
        assert list(palette("initialisation", ["default", "dog"]).values()) == [(0x11 / 255,) * 3, (0x22 / 255,) * 3]
        assert looks("centre", ["excitatory"])["excitatory"].colour == TABLES["centre"]["excitatory"].colour
    assert mpl.rcParams["font.size"] == before
    assert looks("initialisation", ["dog"])["dog"].colour == TABLES["initialisation"]["dog"].colour


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"fontscale": 2}, "there is no setting 'fontscale'"),
        ({"colour_map": "nowhere"}, "Matplotlib has no colour map 'nowhere'"),
        ({"palette": "nowhere"}, "'nowhere' is neither a seaborn palette nor a list of colours"),
    ],
)
def test_an_unknown_setting_is_refused(given, said):
    with pytest.raises(EchosError, match=said):
        Style.read(given)


def test_adopted_runs_are_counted():
    assert adopted(pd.DataFrame({"adopted": [None, True, False, True]})) == (
        " 2 of 4 runs were adopted from published ones, not trained here."
    )
    assert adopted(pd.DataFrame({"adopted": [True, True]})).startswith(" All 2 runs were adopted")
    assert adopted(pd.DataFrame({"adopted": [None, False]})) == ""


def test_names_have_one_order_and_no_two_looks_are_alike():
    assert order("initialisation", ["mine", "dog", "default", "mine"]) == ["default", "dog", "mine"]
    for kind in ("initialisation", "role", "centre", "pattern", "frozen"):
        colours = [one.colour for one in TABLES[kind].values()]
        assert len(set(colours)) == len(colours), kind
    mine = looks("initialisation", ["a", "b", "default"])
    assert mine["a"].colour != mine["b"].colour and mine["a"].label == "a"


def test_no_colour_of_kernels_signs_means_anything_else():
    signs = {TABLES["centre"][name].colour for name in ("excitatory", "inhibitory")}
    for kind, names in TABLES.items():
        if kind not in ("centre", "pattern"):
            assert not signs & {one.colour for one in names.values()}, kind


def results(folder: Path, name: str, when: float) -> Path:
    """Results that hold a table artifact, made at a time."""
    table = folder / "evaluation/verdicts.parquet"
    table.parent.mkdir(parents=True)
    write_table(table, SCHEMAS["verdicts"].empty_table(), "verdicts")
    reads = {"verdicts": [os.path.relpath(table, folder.parent.parent)]}
    record = folder / f"tables/{name}.json"
    record.parent.mkdir()
    record.write_text(json.dumps({"reads": reads, "options": {"from": folder.name}}))
    os.utime(record, (when, when))
    return table


def test_a_notebook_run_by_hand_finds_its_tables_in_its_own_results_or_the_newest(tmp_path, capsys):
    (tmp_path / "workflow/notebooks").mkdir(parents=True)
    old, new = (results(tmp_path / "results" / name, "t", when) for name, when in (("old", 1.0), ("new", 2.0)))
    inputs, options, _ = find_parameters("t", tmp_path / "workflow/notebooks")
    assert inputs == {"verdicts": [str(new)]} and options == {"from": "new"}
    assert "results/new/tables/t.json" in capsys.readouterr().err
    (tmp_path / "results/old/notebooks").mkdir()
    assert find_parameters("t", tmp_path / "results/old/notebooks")[0] == {"verdicts": [str(old)]}
    new.unlink()
    assert find_parameters("t", tmp_path / "workflow/notebooks")[1] == {"from": "old"}
    old.unlink()
    with pytest.raises(EchosError, match=r"the tables from which it was made are missing"):
        find_parameters("t", tmp_path)
    table = results(tmp_path / "results/published/zoo", "t", 0.0)
    facts = {"reads": {"verdicts": ["results/zoo/verdicts.parquet"]}, "options": {"from": "zoo"}, "written": "2026"}
    (table.parents[1] / "t.json").write_text(json.dumps(facts))
    (table.parents[1] / "tables/t.json").unlink()
    beside = table.rename(table.parents[1] / "verdicts.parquet")
    assert find_parameters("t", tmp_path)[:2] == ({"verdicts": [str(beside)]}, {"from": "zoo"})
    with pytest.raises(EchosError, match=r"^other: no results above or below .* contain this artifact"):
        find_parameters("other", tmp_path)


def test_a_notebook_run_by_hand_on_other_tables_keeps_the_options_of_the_last_run(tmp_path, monkeypatch):
    results(tmp_path / "results/last", "t", 1.0)
    monkeypatch.chdir(tmp_path)
    mine = Artifact("t", {"verdicts": ["mine.parquet"]})
    assert (mine.inputs, mine.options) == ({"verdicts": ["mine.parquet"]}, {"from": "last"})
    assert Artifact("new", {"verdicts": ["mine.parquet"]}).options == {}
    with pytest.raises(EchosError, match=r"^new: no results"):
        Artifact("new")


@pytest.mark.parametrize(("kind", "reads"), [("figure", "verdicts"), ("table", "verdicts")])
def test_a_new_artifact_renders_as_it_is(tmp_path, capsys, kind, reads):
    (tmp_path / "workflow/notebooks").mkdir(parents=True)
    assert main(["new-artifact", "mine", "--kind", kind, "--reads", reads, "--root", str(tmp_path)]) == 0
    assert "- id: mine" in capsys.readouterr().out
    assert load_artifacts(tmp_path)["mine"]["reads"] == [reads]
    row = {name: None for name in SCHEMAS[reads].names} | {"claim": "C1", "scale": "s", "verdict": "supported"}
    table = pd.DataFrame([row]).astype({"value": float, "low": float, "high": float})
    import pyarrow as pa

    made = pa.Table.from_pandas(table, schema=SCHEMAS[reads], preserve_index=False)
    write_table(tmp_path / "v.parquet", made, reads)
    notebook = tmp_path / "workflow/notebooks/mine.ipynb"
    space: dict[str, object] = {}
    for cell in json.loads(notebook.read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), space)
            if cell["metadata"]:
                space |= {"inputs": {reads: [str(tmp_path / "v.parquet")]}, "output": str(tmp_path / "out")}
    assert json.loads((tmp_path / "out.json").read_text())["says"] == "1 rows in 1 groups."


@pytest.mark.parametrize(
    ("name", "reads", "said"),
    [
        ("Mine", ["runs"], "lower case"),
        ("table_4_verdicts", ["runs"], "an artifact with this name exists already"),
        ("a", ["x"], "no table 'x'"),
    ],
)
def test_a_new_artifact_that_cannot_be_is_refused(name, reads, said):
    with pytest.raises(EchosError, match=said):
        new_notebook(ROOT, name, "figure", reads)


def test_every_notebook_is_its_artifact():
    for path in sorted((ROOT / "workflow/notebooks").glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        sources = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
        assert f'name = "{path.stem}"' in sources[0], path.name
        assert "artifact.save(" in sources[-1], path.name
        assert all(len(source.splitlines()) <= 45 for source in sources), path.name
        for cell in notebook["cells"]:
            assert not cell.get("outputs") and not cell.get("execution_count"), f"{path.name} holds outputs"
