"""Presets: the runs, models, jobs and files that a config asks for, counted by hand on a small config."""

from pathlib import Path
from typing import Any

import pytest

from neural_echos.design.artifact_files import ArtifactFiles, paper_name
from neural_echos.design.checked import load_artifacts
from neural_echos.design.conditions import Condition, Filtered
from neural_echos.design.inputs import Input, load_inputs
from neural_echos.design.load import check_config, load_preset
from neural_echos.design.preset import Preset
from neural_echos.errors import EchosError

ROOT = Path(__file__).resolve().parents[2]
INPUTS = {
    name: Input.model_construct(id=name, file=f"folder/{name}.bin")
    for name in ("images", "checkpoint", "eight", "unused")
}


def declared(kind: str, reads: list[str], **options: str) -> dict[str, Any]:
    """What a notebook declares, with options that may be left out, by name and type."""
    of = {name: {"type": one, "required": False, "default": None, "description": "d"} for name, one in options.items()}
    return {"kind": kind, "group": "g", "title": "t", "caption": "c", "reads": reads, "options": of}


ARTIFACTS = {
    "figure_1": declared("figure", ["bank", "runs"], models="models", variants="variants"),
    "scales": declared("table", ["spread"], scale="scale"),
}
RUN = {"dataset": "pictures", "architecture": "mixer", "initialisation": "default", "seed": 0}
CONFIG: dict[str, Any] = {
    "scale": "small",
    "seeds": [0, 1, 2],
    "seeds_per_job": 2,
    "datasets": {
        "pictures": {
            "kind": "parquet",
            "options": {"name": "pictures"},
            "recipe": "short",
            "files": {"train": ["images"], "test": ["images"]},
        },
        "digits": {"kind": "digits", "recipe": "short"},
    },
    "recipes": {"short": {"epochs": 3, "lr": 0.1}, "tune": {"epochs": 1}},
    "architectures": {"mixer": {"model": "m"}, "next": {"model": "n", "recipe": {"epochs": 7}}},
    "initialisations": {
        "default": {"scheme": "default"},
        "dog": {"scheme": "dog"},
        "lent": {"scheme": "transfer", "bank": "trained"},
        "eight": {"scheme": "master_key", "filters": "eight"},
    },
    "experiments": [
        {"name": "a", "datasets": ["pictures"], "architectures": ["mixer"], "initialisations": ["lent", "default"]},
        {"name": "b", "datasets": ["pictures"], "architectures": ["mixer"], "initialisations": ["dog", "default"]},
    ],
    "models": [
        {
            "id": "trained",
            "group": "ours",
            "role": "trained",
            "trained_on": "pictures",
            "run": {**RUN, "weights": "trained"},
        },
        {"id": "untrained", "group": "ours", "role": "untrained", "run": {**RUN, "weights": "initial"}},
        {"id": "timm", "role": "trained", "input": "checkpoint"},
    ],
    "artifacts": [{"id": "figure_1", "options": {"models": ["timm"]}}],
}
REPLACEMENT = {
    "candidates": {"eight": {"set": "eight", "filters": "eight"}, "decoded": {"set": "decoded", "bank": "timm"}},
    "replaced": [{"dataset": "digits", "architectures": ["next"], "candidates": ["eight", "decoded"]}],
    "recipe": "tune",
}


def preset(**changes: Any) -> Preset:
    return Preset(check_config(CONFIG | changes, ARTIFACTS), INPUTS, ARTIFACTS)


def test_a_condition_of_several_experiments_is_trained_once() -> None:
    assert preset().conditions == [Condition("pictures", "mixer", name) for name in ("default", "dog", "lent")]
    assert preset().runs_of("pictures", "mixer") == 9
    assert len(preset().run_folders(preset().conditions)) == 9
    assert preset().run_folders([Condition("a", "b", "c")])[1] == "<results>/runs/a/b/c/seed1"


def test_replacement_trains_what_no_experiment_names() -> None:
    found = preset(replacement=REPLACEMENT)
    assert Condition("digits", "next", "default") in found.conditions
    assert found.replaced == [Filtered("digits", "next", "default", name) for name in ("decoded", "eight")]
    assert found.transfer_files(found.replaced, "errors")[:3] == [
        f"<results>/transfer/digits/next/default/{name}.errors.parquet"
        for name in ("decoded.0", "decoded.1", "eight.0")
    ]
    assert found.recipe("digits", "next") == {"epochs": 7, "lr": 0.1}
    assert found.tuning_recipe("digits", "next")["epochs"] == 7  # what the architecture changes comes last
    assert found.candidate_files("eight") == {"filters": "<results>/inputs/eight/eight.bin"}
    assert found.candidate_options("decoded", ["x.parquet"]) == {"set": "decoded", "bank": "x.parquet"}


def test_what_is_drawn_from_a_model_is_a_job_of_its_own() -> None:
    jobs = {job.name: job.initialisations for job in preset().initialise_jobs()}
    assert jobs == {
        "initialise_pictures_mixer": ("default", "dog"),
        "initialise_pictures_mixer_bank_trained": ("lent",),
    }
    assert preset().source_models("lent") == (("bank", "trained"),)
    assert preset().source_models("eight") == ()  # a declared input is no model
    files = preset().borrowed_files(["default", "lent", "eight"])
    assert files == ["<results>/banks/trained.parquet", "<results>/inputs/eight/eight.bin"]
    options = preset().initialisation_options(["default", "lent", "eight"], ["a", "b"])
    assert (options["lent"]["bank"], options["eight"]["filters"]) == ("a", "b")


def test_jobs_train_groups_of_seeds_and_of_initialisations() -> None:
    one = list(preset().train_jobs())
    assert [(job.name, job.dataset, job.seeds) for job in one] == [
        ("train_0", "{dataset}", (0, 1)),
        ("train_1", "{dataset}", (2,)),
    ]
    several = list(preset(initialisations_per_job=2).train_jobs())
    assert [(job.name, job.initialisations) for job in several if job.number == 0] == [
        ("train_pictures_mixer_0_0", ("default", "dog")),
        ("train_pictures_mixer_bank_trained_0_0", ("lent",)),
    ]
    assert several[0].runs == [("default", 0), ("default", 1), ("dog", 0), ("dog", 1)]
    runs = sum(len(job.runs) for job in several)
    assert runs == len({folder for job in several for folder in job.folders}) == preset().runs_of("pictures", "mixer")


def test_only_what_is_read_of_a_run_is_certain_where_runs_are_adopted() -> None:
    bank = (Condition("pictures", "mixer", "default"), 0)  # of the model "trained", whose bank "lent" is drawn from
    found = preset(adopt="published.parquet")
    assert (found.needed_weights, found.needed_kernels) == (set(), {bank})
    jobs = list(found.train_jobs())
    assert all("{" not in job.dataset for job in jobs)  # no wildcards: outputs differ from job to job
    assert [path for job in jobs for path in job.kernels] == [
        "<results>/runs/pictures/mixer/default/seed0/kernels.safetensors"
    ]
    assert [path for job in jobs for path in job.weights] == []
    assert sum(len(job.folders) for job in jobs) == found.runs_of("pictures", "mixer")
    every = list(preset(adopt=False, initialisations_per_job=2).train_jobs())
    for files in ([path for job in every for path in getattr(job, name)] for name in ("weights", "kernels")):
        assert len(files) == found.runs_of("pictures", "mixer")


def test_a_network_that_lends_its_pointwise_weights_is_trained_and_not_adopted() -> None:
    lent = {"scheme": "pointwise", "rows": "kept", "weights": "trained"}
    found = preset(adopt="published.parquet", initialisations=CONFIG["initialisations"] | {"lent": lent})
    assert found.needed_weights == {(Condition("pictures", "mixer", "default"), 0)}


def test_several_tables_of_published_runs_are_adopted() -> None:
    assert [preset(adopt=one).published for one in (False, "a", ["a", "b"])] == [[], ["a"], ["a", "b"]]


def test_replaced_and_zeroed_runs_are_trained_and_not_adopted() -> None:
    zeroed = [{"datasets": ["pictures"], "architectures": ["mixer"], "initialisations": ["dog"]}]
    found = preset(adopt="published.parquet", replacement=REPLACEMENT, zeroed=zeroed)
    for one in (Condition("digits", "next", "default"), Condition("pictures", "mixer", "dog")):
        assert {(one, seed) for seed in (0, 1, 2)} <= found.needed_weights


def test_where_the_weights_of_models_come_from() -> None:
    stem = "pictures/mixer/default/seed0"
    assert preset().weights_file("trained") == f"<results>/runs/{stem}/weights.safetensors"
    assert preset().weights_file("trained", trained="kernels") == f"<results>/runs/{stem}/kernels.safetensors"
    assert preset().weights_file("untrained") == f"<results>/initial/{stem}.safetensors"
    assert preset().layers_file("untrained") == f"<results>/initial/{stem}.json"
    assert preset().weights_file("timm") == "<results>/inputs/checkpoint/checkpoint.bin"
    assert (preset().models_from("run"), preset().models_from("input")) == (["trained", "untrained"], ["timm"])


def test_models_that_can_be_missed_and_those_that_timm_draws_are_known() -> None:
    declared = {"checkpoint": {"file": "a.bin"}, "other": {"file": "b.bin"}}
    models = [
        {"id": "a", "role": "trained", "input": "checkpoint", "optional": True},
        {"id": "b", "role": "shown", "input": "other", "optional": True},
        {"id": "c", "role": "lender", "input": "other"},
        {"id": "a-untrained", "role": "untrained", "timm": "efficientnet_lite0"},
    ]
    some = Preset(check_config(CONFIG | {"models": models, "artifacts": []}, {}), declared)
    assert some.optional_inputs() == {"checkpoint"}
    assert some.drawn_models() == ["a-untrained"]
    assert some.compared_models() == ["a", "a-untrained"]


def test_selected_models_are_chosen_by_id_and_by_group() -> None:
    assert list(preset(select=["ours"]).models) == ["trained", "untrained"]
    assert list(preset(select=["timm"]).models) == ["timm"]
    with pytest.raises(EchosError, match="the model 'trained' is needed, but 'select' excludes it"):
        preset(select=["timm"]).weights_file("trained")


def test_all_that_a_preset_reads_from_outside_is_named() -> None:
    assert preset().needed_inputs() == {"images", "checkpoint"}
    assert preset(select=["ours"]).needed_inputs() == {"images"}
    measured = {"dataset": "digits", "architectures": ["mixer"], "initialisations": ["eight"]}
    assert preset(signals=measured).needed_inputs() == {"images", "checkpoint", "eight"}
    assert preset(signals=measured).needed_datasets() == {"pictures", "digits"}
    assert preset(replacement=REPLACEMENT).needed_inputs() == {"images", "checkpoint", "eight"}
    assert preset(filters="eight").needed_inputs() == {"images", "checkpoint"}  # no artifact reads their scales
    scales = [*CONFIG["artifacts"], {"id": "scales"}]
    assert preset(filters="eight", artifacts=scales).needed_inputs() == {"images", "checkpoint", "eight"}


def test_signals_leave_out_what_is_drawn_from_a_model_that_is_not_selected() -> None:
    measured = {"dataset": "digits", "architectures": ["mixer"], "initialisations": ["dog", "lent"]}
    assert preset(signals=measured).measured_initialisations() == ["dog", "lent"]
    assert preset(signals=measured, select=["timm"]).measured_initialisations() == ["dog"]


def test_a_model_whose_run_has_several_seeds_is_one_model_per_seed() -> None:
    run = {**RUN, "seed": [0, 2], "weights": "trained"}
    found = preset(
        models=[{"id": "mixer", "role": "trained", "run": run}, *CONFIG["models"]], select=["mixer-s2", "ours"]
    )
    assert list(found.models) == ["mixer-s2", "trained", "untrained"]
    assert found.weights_file("mixer-s2") == "<results>/runs/pictures/mixer/default/seed2/weights.safetensors"
    assert (Condition("pictures", "mixer", "default"), 2) in found.needed_kernels


def test_filters_must_be_declared_before_their_scales_are_fitted() -> None:
    assert preset(filters="eight").filters_file() == "<results>/inputs/eight/eight.bin"
    with pytest.raises(EchosError, match="'filters' is null; set it to the id of the input"):
        preset().filters_file()


def test_an_artifact_reads_the_tables_of_the_models_that_it_shows() -> None:
    found = ArtifactFiles(preset())
    assert found.inputs("figure_1") == {
        "bank": ["<results>/banks/timm.parquet"],
        "runs": ["<results>/evaluation/runs.parquet"],
    }
    everything = ArtifactFiles(preset(artifacts=[{"id": "figure_1"}]))
    assert everything.shown_models("figure_1") == ["trained", "untrained", "timm"]
    assert ArtifactFiles(preset(select=["ours"])).options("figure_1")["models"] == ["trained", "untrained"]


def test_options_that_the_config_answers_are_filled_in() -> None:
    asked = [{"id": "figure_1", "options": {"variants": ["dog", "lent"]}}, {"id": "scales"}]
    found = ArtifactFiles(preset(artifacts=asked))
    variants = found.options("figure_1")["variants"]
    assert variants["lent"] | {"trained_on": "pictures", "of": "mixer"} == variants["lent"]
    assert "of" not in variants["dog"]
    assert found.options("scales") == {"scale": "small"}


def test_files_of_artifacts_and_of_the_manuscript() -> None:
    found = ArtifactFiles(preset(artifacts=[{"id": "figure_1"}, {"id": "scales"}]))
    assert found.main_files() == ["<results>/figures/figure_1.pdf", "<results>/tables/scales.csv"]
    assert "<results>/tables/scales.tex" in found.other_files()
    assert found.paper_files() == [
        f"<results>/paper/{name}" for name in ("paper.tex", "figure-1.pdf", "table-scales.tex")
    ]
    assert found.of_kind("table") == ["scales"]
    assert found.entries(["a/b.pdf", "c.csv"])[0] == {
        **{"id": "figure_1", "kind": "figure", "group": "g", "title": "t", "caption": "c", "stem": "a/b"}
    }
    assert paper_name("zeroed_layers", "figure") == "figure-zeroed-layers.pdf"


@pytest.mark.parametrize("name", [None, *sorted(path.stem for path in (ROOT / "config/presets").glob("*.yaml"))])
def test_every_job_of_every_preset_makes_runs_that_another_asks_for(name: str | None) -> None:
    config = load_preset(ROOT, *([name] if name else []))
    found = Preset(config, load_inputs(ROOT / "config/inputs.yaml"), load_artifacts(ROOT))
    drawn = [(job.dataset, job.architecture, one) for job in found.initialise_jobs() for one in job.initialisations]
    assert sorted(drawn) == found.conditions
    assert found.needed_inputs() <= set(found.inputs)
    shown = ArtifactFiles(found)
    for artifact in shown.artifacts:
        assert list(shown.inputs(artifact)) == list(shown.declared(artifact)["reads"])


def test_adopted_runs_are_trained_once_nothing_is_adopted() -> None:
    metrics = {0: {"adopted": True}, 1: {"top1": 0.5}}
    found = {f"<results>/runs/pictures/mixer/dog/seed{seed}/metrics.json": one for seed, one in metrics.items()}

    def read(name: str) -> dict[str, object]:
        return found.get(name, {})

    assert preset().adopted_weights(read) == ["<results>/runs/pictures/mixer/dog/seed0/weights.safetensors"]
    assert preset(adopt="published.parquet").adopted_weights(read) == []
