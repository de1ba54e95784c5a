"""Loading: which folders Snakemake can work in, and the base config where it runs elsewhere."""

import subprocess
import sys
from pathlib import Path

import pytest

from neural_echos.design.claims import with_papers_claims
from neural_echos.design.load import require_working_folder
from neural_echos.errors import EchosError

ROOT = Path(__file__).resolve().parents[2]


def test_braces_in_a_path_are_refused(tmp_path):
    folder = tmp_path / "run {x}"
    folder.mkdir()
    for pair in ((folder, tmp_path), (tmp_path, folder)):
        with pytest.raises(EchosError, match=r"run \{x\}: Snakemake reads braces in a path as wildcards"):
            require_working_folder(*pair)


def test_a_read_only_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)  # as root, mode bits forbid nothing
    with pytest.raises(EchosError, match="this folder is read-only"):
        require_working_folder(tmp_path, ROOT)


@pytest.mark.parametrize("preset", [[], ["--configfile", str(ROOT / "config/presets/tiny.yaml")]], ids=["demo", "tiny"])
def test_the_base_config_is_found_from_another_folder(tmp_path, preset):
    command = [Path(sys.executable).parent / "snakemake", "-s", ROOT / "Snakefile", "--directory", tmp_path / "x"]
    done = subprocess.run([*command, *preset, "-n", "-q", "all"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Pydantic" not in done.stderr


def claims_of(*entries):
    return with_papers_claims({"claims": list(entries)}, ROOT / "config/claims.yaml")["claims"]


def test_a_paper_s_claim_is_named_by_its_id_and_may_be_changed():
    options = {"by": "kernel"}
    named, changed = claims_of({"id": "UU2", "options": options}, {"id": "UU2", "needs": "photographs"})
    assert (named["published"], named["needs"], named["options"]) == ("all layers", "imagenet", options)
    assert (changed["statement"], changed["needs"]) == (named["statement"], "photographs")


def test_a_claim_of_ones_own_is_left_as_it_is_and_an_unknown_one_is_refused():
    own = {"id": "OWN1", "rule": "gain"}
    assert claims_of(own, "NE1") == [own, "NE1"]  # what is no claim at all is refused by the config's model
    with pytest.raises(EchosError, match=r"config/claims\.yaml has no claim 'NE9' \(did you mean 'NE\d'\?\)"):
        claims_of({"id": "NE9", "options": {}})


def test_the_papers_claims_are_checked_themselves(tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text("claims:\n  NE1: {rule: gain, needs: imagenet, artifact: table_1}\n")
    with pytest.raises(EchosError, match=r"claims\.yaml:2: 'claims\.NE1' lacks the key 'statement'"):
        with_papers_claims({"claims": []}, path)
