"""The profiles: a comment above every line, a plugin that takes their settings, and a dry run of the tiny preset."""

import importlib.util
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PROFILES = {path.parent.name: path for path in sorted((ROOT / "profiles").glob("*/profile.yaml"))}
SETTINGS = [path for folder in PROFILES.values() for path in sorted(folder.parent.glob("*.yaml"))]
BUCKETS = ("aws-batch", "googlebatch", "kubernetes")  # a dry run would ask a bucket which files are there
PLAN = """
import sys
from snakemake import cli
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

for profile in sys.argv[2:]:
    words = ["-n", "--nolock", "--workflow-profile", f"profiles/{profile}", "--configfile", "config/presets/tiny.yaml", sys.argv[1]]
    parser, args = cli.parse_args(words)
    ExecutorPluginRegistry().get_plugin(args.executor).get_settings(args)
    print(f"<{profile}> {args.executor} settings", flush=True)
    if profile not in @BUCKETS@:
        print(f"<{profile}> planned {cli.args_to_api(args, parser)}", flush=True)
""".replace("@BUCKETS@", repr(BUCKETS))


def executor(profile: str) -> str | None:
    """The executor plugin that a profile names."""
    return yaml.safe_load(PROFILES[profile].read_text(encoding="utf-8")).get("executor")


def installed(profile: str) -> bool:
    name = executor(profile)
    return name is None or bool(importlib.util.find_spec(f"snakemake_executor_plugin_{name.replace('-', '_')}"))


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What one process says that takes every profile whose plugin is there in turn; importing Snakemake is what costs."""
    profiles = [name for name in PROFILES if executor(name) and installed(name)]
    code = tmp_path_factory.mktemp("plan") / "plan.py"
    code.write_text(PLAN)
    paths = code.with_name("paths.yaml")
    paths.write_text(yaml.safe_dump({"pathvars": {"results": f"{code.parent}/results"}}))
    done = subprocess.run(
        [sys.executable, str(code), str(paths), *profiles], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    return f"{done.stdout}\n{done.stderr}"


def test_there_is_a_profile_for_every_executor_of_the_lock() -> None:
    locked = {
        line.removeprefix("snakemake-executor-plugin-").strip()
        for file in ("requirements.in", "executors.in")
        for line in (ROOT / "envs" / file).read_text().splitlines()
        if line.startswith("snakemake-executor-plugin-")
    }
    assert {executor(name) for name in PROFILES} == {None} | locked - {"slurm-jobstep"}


@pytest.mark.parametrize("path", SETTINGS, ids=lambda path: str(path.relative_to(ROOT / "profiles")))
def test_a_comment_stands_above_every_line(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    for before, line in pairwise(lines):
        if re.match(r" *(- |[\w-]+:( |$))", line):
            assert before.strip().startswith("#"), f"{path}: no comment above {line!r}"


@pytest.mark.parametrize("profile", [name for name in PROFILES if executor(name)])
def test_a_cluster_tries_again_and_cleans_up(profile: str) -> None:
    """What the default profile says holds on clusters, too, for theirs takes its place; and failed jobs are tried again there."""
    default, ours = (yaml.safe_load(PROFILES[name].read_text(encoding="utf-8")) for name in ("default", profile))
    own = {"cores", "resources", "quiet", "retries"}
    assert {key: ours[key] for key in default if key not in own} == {
        key: default[key] for key in default if key not in own
    }
    assert ours["retries"] >= 2 > default["retries"]


@pytest.mark.parametrize("profile", [name for name in PROFILES if executor(name)])
def test_the_plugin_takes_the_profile(profile: str, planned: str) -> None:
    if not installed(profile):
        pytest.skip(f"no plugin {executor(profile)}: python3 envs/install.py --executors installs it")
    assert f"<{profile}> {executor(profile)} settings" in planned, planned
    if profile not in BUCKETS:
        assert f"<{profile}> planned True" in planned, planned
