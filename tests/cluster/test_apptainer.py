"""The workflow with `--sdm apptainer`: jobs run in the image of `make image`. A stand-in for apptainer starts it by podman."""

from pathlib import Path

import containers
import pytest
from runs import RUN, VERSIONS, Workflow, checksums, end_all

pytestmark = pytest.mark.cluster
ENGINE = "Apptainer, a stand-in for its command"


def test_results_in_the_image_equal_those_of_a_local_run(tmp_path: Path, local: Path) -> None:
    """a training and a figure in containers of the image, equal to a local run byte for byte"""
    if reason := containers.obstacle():
        pytest.skip(reason)
    VERSIONS[ENGINE] = "containers of the image"
    targets = (f"runs/{RUN}/metrics.json", "figures/figure_05_clusters.pdf")
    words = ("--sdm", "apptainer", "--apptainer-prefix", tmp_path / "images")
    more = {"container": f"docker://{containers.IMAGE}", "environment": containers.put_apptainer(tmp_path), "gpu": 0}
    run = Workflow(tmp_path / "run", "profiles/default", *words, targets=targets, **more)
    assert run.wait() == 0, run.log.read_text()
    end_all()
    made, there = checksums(run.folder / "results"), checksums(local)
    assert f"runs/{RUN}/weights.safetensors" in made
    assert made == {name: there[name] for name in made}
