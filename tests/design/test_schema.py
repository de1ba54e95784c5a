"""The config's models: defaults at every depth, strict types, and one sentence with file, line and key for every mistake."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neural_echos.design.checked import check, load_artifacts
from neural_echos.design.inputs import DeclaredInputs, load_inputs
from neural_echos.design.load import check_config, load_preset
from neural_echos.design.schema import Config
from neural_echos.design.yaml import merge, read_yaml
from neural_echos.errors import EchosError

ROOT = Path(__file__).resolve().parents[2]
LEAST = {
    "scale": "a test",
    "recipes": {"r": {}},
    "datasets": {"d": {"kind": "digits", "recipe": "r"}},
    "architectures": {"a": {"model": "convmixer_small"}},
    "initialisations": {"default": {"scheme": "default"}},
}
OPTIONS = {"gamma": "ratio", "architectures": "architectures", "pairs": "pairs", "seed": "seed"}
ARTIFACTS = {
    "a": {
        "options": {
            name: {"type": one, "required": False, "default": None, "description": "d"} for name, one in OPTIONS.items()
        }
    }
}
PRESETS = [(), *((path.stem,) for path in sorted(ROOT.glob("config/presets/*.yaml")))]


def refusal(folder: Path, text: str) -> str:
    """What is said of a file on top of the least config."""
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(EchosError) as caught:
        check_config(merge([LEAST, read_yaml(path)]), ARTIFACTS, [path])
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(path), "mine.yaml")


def test_defaults_are_filled_in_at_every_depth_and_the_document_is_not_changed():
    document = json.loads(json.dumps(LEAST))
    config = check(document, Config)
    assert document == LEAST
    assert config.seeds == [0, 1, 2] and config.watts.core is None and config.clusters.k == 3
    assert config.datasets["d"].files.train == [] and config.datasets["d"].shape is None
    assert config.initialisations["default"].share == 1.0 and config.initialisations["default"].frozen is None
    completed = config.model_dump()
    assert completed["watts"] == {"core": None, "gpu": None}
    assert completed["datasets"] == {
        "d": {"options": {}, "files": {"train": [], "test": []}, "kind": "digits", "recipe": "r"}
    }
    assert completed["recipes"] == {"r": {}}  # a recipe's own defaults are those of the training
    config.seeds.append(3)
    assert check(document, Config).seeds == [0, 1, 2]


def test_what_is_written_stays_as_it_is_written():
    written = {"gamma": {"uniform": [0.3, 0.7]}, "scheme": "dog", "p": 1, "depths": [0, 0.5]}
    config = check(
        merge([LEAST, {"initialisations": {"dog": written}, "recipes": {"r": {"lr": 1, "epochs": 2}}}]), Config
    )
    assert list(config.model_dump()["initialisations"]["dog"]) == ["share", "scale", *written]
    assert repr(config.model_dump()["initialisations"]["dog"]["p"]) == "1"
    assert json.dumps(config.model_dump()["recipes"]) == '{"r": {"lr": 1, "epochs": 2}}'


def test_null_takes_out_an_option_that_a_preset_below_sets():
    below = {"initialisations": {"dog": {"scheme": "dog", "gamma": 0.5}}}
    config = check(merge([LEAST, below, {"initialisations": {"dog": {"gamma": None}}}]), Config)
    assert "gamma" not in config.model_dump()["initialisations"]["dog"]


@pytest.mark.parametrize("preset", PRESETS)
def test_checking_a_completed_config_changes_nothing(preset):
    completed = load_preset(ROOT, *preset).model_dump()
    assert json.dumps(check(completed, Config).model_dump(), sort_keys=True) == json.dumps(completed, sort_keys=True)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.sampled_from(list(Config.model_fields)), ANYTHING)
def test_whatever_a_key_holds_is_taken_or_refused_in_one_sentence(key, value):
    try:
        check(LEAST | {key: value}, Config)
    except EchosError as error:
        assert "\n" not in str(error) and key in str(error)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("scale: x\nsead: 3\n", "mine.yaml:2: unknown key 'sead' (did you mean 'seed'?); correct or remove it"),
        ("zzz: 1\n", "mine.yaml:1: unknown key 'zzz' (known: pathvars, on_top_of, scale"),
        (
            "recipes:\n  r: {lr: 1}\n  q:\n    epoch: 3\n",
            "mine.yaml:4: unknown key 'recipes.q.epoch' (did you mean 'epochs'?)",
        ),
        ("threads: 0\n", "mine.yaml:1: 'threads' must be at least 1, not 0; correct it"),
        ("threads: 5.0\n", "'threads' must be a whole number, not 5.0"),
        ("threads: yes\n", "'threads' must be a whole number, not true"),
        ("threads: '3'\n", "'threads' must be a whole number, not '3' (YAML reads this as text; write 3)"),
        ("threads:\n", "'threads' must be a whole number, not null"),
        ("threads: 1.5\n", "must be a whole number, not 1.5"),
        (
            "recipes: {r: {lr: 4e-3}}\n",
            "'recipes.r.lr' must be a number, not '4e-3' (YAML reads this as text; write 0.004)",
        ),
        ("recipes: {r: {lr: .nan}}\n", "must be a finite number, not nan"),
        ("recipes: {r: {lr: .inf}}\n", "must be a finite number, not inf"),
        ("recipes: {r: {lr: 0}}\n", "'recipes.r.lr' must be above 0, not 0"),
        ("recipes: {r: {drop_path: 1.5}}\n", "'recipes.r.drop_path' must be below 1, not 1.5"),
        (
            "recipes: {r: {schedule: cosin}}\n",
            "must be one of 'cosine', 'one-cycle-linear', 'constant', not 'cosin' (did you",
        ),
        ("clusters: 5\n", "mine.yaml:1: 'clusters' must be a mapping, not 5"),
        ("clusters:\n", "'clusters' must be a mapping, not null"),
        ("architectures:\n  b: {}\n", "mine.yaml:2: 'architectures.b' lacks the key 'model' (name of a timm model"),
        ("seeds: [0, 1, 0]\n", "'seeds' must not contain 0 twice"),
        ("seeds: []\n", "'seeds' must be at least 1 long, not []"),
        ("datasets: {1: {}}\n", "mine.yaml:1: the keys of 'datasets' must be text, not 1; put it in quotes"),
        ("on: 1\n", "the keys of the top level must be text, not true; put it in quotes"),
        ("datasets: {d: {kind: digit}}\n", "'datasets.d.kind' must be one of 'archive', 'digits'"),
        ("datasets: {d: {kind: digit}}\n", "not 'digit' (did you mean 'digits'?)"),
        ("datasets: {e: {recipe: r}}\n", "'datasets.e' lacks the key 'kind'"),
        ("datasets: {d: {options: {sise: 8}}}\n", "unknown key 'datasets.d.options.sise' (did you mean 'size'?)"),
        ("datasets: {e: {kind: folder, recipe: r}}\n", "'datasets.e.options' lacks the key 'root'"),
        ("pathvars: {result: mine}\n", "unknown key 'pathvars.result' (did you mean 'results'?)"),
        ("pathvars: {results: 'mine/{x}'}\n", "'pathvars.results' must be text of the form ^[^{}]+$, not 'mine/{x}'"),
        ("pathvars: {logs: ''}\n", "'pathvars.logs' must be text of the form"),
        ("models: [{id: a, role: trained}]\n", "'models.0' must have either 'input' or 'run', but has neither"),
        (
            "models: [{id: a, role: trained, run: {dataset: d, architecture: b, initialisation: i, weights: initial, "
            "seed: []}}]\n",
            "'models.0.run.seed' must be a whole number or at least 1 long, not []",
        ),
        ("comparisons: {target: 1.1}\n", "'comparisons.target' must be at most 1"),
        (
            "artifacts:\n- id: a\n  options: {gama: 0.5}\n",
            "mine.yaml:3: unknown key 'artifacts.0.options.gama' (did you mean",
        ),
        (
            "artifacts: [{id: a, options: {gamma: '0.5'}}]\n",
            "'artifacts.0.options.gamma' must be a number, not '0.5' (YAML",
        ),
        ("artifacts: [{id: a, options: {architectures: convmixer}}]\n", "must be a list, not 'convmixer'"),
        (
            "artifacts: [{id: a, options: {pairs: [{before: a, after: b}]}}]\n",
            "'artifacts.0.options.pairs.0' lacks the key 'label'",
        ),
    ],
)
def test_a_mistake_is_one_sentence_that_names_file_line_and_key(tmp_path, text, expected):
    assert expected in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("{scheme: dogs}", "'initialisations.x.scheme' must be one of 'box', "),
        ("{scheme: dogs}", "(did you mean 'dog'?)"),
        ("{gamma: 0.5}", "'initialisations.x' lacks the key 'scheme'"),
        ("{scheme: default, gamma: 0.5}", "'initialisations.x.gamma' is an option of the scheme 'dog' only"),
        ("{scheme: dog, gama: 0.5}", "unknown key 'initialisations.x.gama' (did you mean 'gamma'?)"),
        ("{scheme: dog, gamma: 1}", "'initialisations.x.gamma' must be below 1"),
        ("{scheme: dog, gamma: [0.5, 2]}", "'initialisations.x.gamma.1' must be below 1, not 2"),
        ("{scheme: dog, gamma: {uniform: [0.5]}}", "'initialisations.x.gamma.uniform' must be at least 2 long"),
        ("{scheme: dog, gamma: wide}", "'initialisations.x.gamma' must be a number or a list or a mapping, not 'wide'"),
        (
            "{scheme: dog, centres: left}",
            "must be one of 'excitatory', 'inhibitory', 'alternating', 'random', not 'left'",
        ),
        ("{scheme: dog, scale: big}", "must be one of 'raw', 'unit_l2', 'match_default' or a number, not 'big'"),
        ("{scheme: dog, p: 2}", "'initialisations.x.p' must be at most 1, not 2"),
        ("{scheme: box, taps: 0}", "'initialisations.x.taps' must be at least 1, not 0"),
        ("{scheme: trunc_normal, std: 0}", "'initialisations.x.std' must be above 0, not 0"),
        ("{scheme: gaussian_derivatives, shares: [1, 1]}", "'initialisations.x.shares' must be at least 3 long"),
        (
            "{scheme: pointwise, rows: keep}",
            "must be one of 'kept', 'shuffled', 'own', not 'keep' (did you mean 'kept'?)",
        ),
        ("{scheme: transfer, bank: 3}", "'initialisations.x.bank' must be text, not 3"),
        ("{scheme: kaiming, seed: 3}", "unknown key 'initialisations.x.seed'"),
    ],
)
def test_an_initialisation_takes_the_options_of_its_scheme(tmp_path, declared, expected):
    said = refusal(tmp_path, f"initialisations:\n  x: {declared}\n")
    assert said.startswith("mine.yaml:2: ") and expected in said


ASKED = {"dataset": "d", "architectures": ["a"], "initialisation": "dog", "baseline": "kaiming", "expect": "none"}


@pytest.mark.parametrize(
    ("rule", "options", "expected"),
    [
        ("centres_dominate", "{leest: 0.5}", "unknown key 'claims.0.options.leest' (did you mean 'least'?)"),
        ("centres_dominate", "{margin: 0.5}", "'claims.0.options.margin' is an option of the rule 'gain' and "),
        ("centres_dominate", "{least: {a: 0.5}}", "'claims.0.options.least' must be a number, not {'a': 0.5}"),
        ("gain", "{}", "'claims.0.options' lacks the key 'dataset' (dataset of the runs); add it"),
        (
            "gain",
            ASKED | {"expect": "postive"},
            "must be one of 'positive', 'none', not 'postive' (did you mean 'positive'?)",
        ),
        ("gain", ASKED | {"margin": "0.01"}, "not '0.01' (YAML reads this as text; write 0.01)"),
        ("gain", ASKED | {"architectures": "a"}, "'claims.0.options.architectures' must be a list"),
        ("gian", "{dataset: d}", "not 'gian' (did you mean 'gain'?)"),
    ],
)
def test_a_claim_takes_the_options_of_its_rule(tmp_path, rule, options, expected):
    claim = f"{{id: A1, statement: s, needs: d, artifact: a, rule: {rule}, options: {options}}}"
    said = refusal(tmp_path, f"claims:\n  - {claim}\n")
    assert said.startswith("mine.yaml:2: ") and expected in said


def test_an_unknown_key_comes_before_a_wrong_value(tmp_path):
    assert "unknown key 'zzz'" in refusal(tmp_path, "threads: x\nzzz: 1\n")


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
    path = tmp_path / "mine.yaml"
    path.write_text(text.format(2**32 - 1))
    check_config(merge([LEAST, read_yaml(path)]), ARTIFACTS)
    assert re.search(r"must be at most 4294967295( or a list)?, not 4294967296", refusal(tmp_path, text.format(2**32)))


def described(part: Any) -> bool:
    """Whether every key of a JSON schema has a description, at every depth."""
    if isinstance(part, dict):
        for key, one in part.get("properties", {}).items():
            assert one.get("description") or "$ref" in one, key
        return all(map(described, part.values()))
    return all(map(described, part)) if isinstance(part, list) else True


@pytest.mark.parametrize("model", [Config, DeclaredInputs])
def test_every_key_says_what_it_means(model):
    assert described(model.model_json_schema())


def test_inputs_and_artifacts_are_completed_as_their_files_declare_them():
    inputs, artifacts = load_inputs(ROOT / "config/inputs.yaml"), load_artifacts(ROOT)
    assert all(item.part in ("whole", "kernels", "depthwise") for item in inputs.values())
    gamma = artifacts["figure_02_dog_profile"]["options"]["gamma"]
    assert gamma == {"type": "ratio", "required": True, "default": None, "description": "Centre-to-surround ratio."}


def test_importing_the_config_loads_nothing_heavy():
    code = "import neural_echos.design.load, neural_echos.inputs, sys; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {
        "numpy",
        "torch",
        "timm",
        "scipy",
        "pandas",
        "pyarrow",
        "jsonschema",
        "pooch",
        "requests",
        "huggingface_hub",
    }
    assert not heavy & set(modules)
