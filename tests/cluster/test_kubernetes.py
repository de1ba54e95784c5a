"""The workflow through profiles/kubernetes and the real plugin, against a stand-in for the API, with a real S3 server.

Pods are containers of the image of `make image` where there are podman and this image, else namespaces without the project.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import bucket as s3
import containers
import pytest
import yaml
from runs import FAULTS, LONG, ONE, ROOT, RUN, SLICE, VERSIONS, Workflow, checksums, end_all, until

pytestmark = pytest.mark.cluster
ENGINE = "Kubernetes, a stand-in for its API"
KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "users": [{"name": "me", "user": {}}],
    "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
    "current-context": "here",
}


@dataclass(frozen=True)
class Cluster:
    """A bucket, a clone of the project, and the stand-in."""

    bucket: s3.Bucket
    project: Path
    folder: Path
    environment: dict[str, str]

    def run(self, name: str, prefix: str, **more: object) -> Workflow:
        """Start a run through the profile, with the lines that it asks for filled in."""
        words = ["--default-storage-prefix", f"s3://bucket/{prefix}", "--storage-s3-endpoint-url", self.bucket.address]
        words += ["--container-image", containers.IMAGE, "--seconds-between-status-checks", "2", "--jobs", "2"]
        more = {"environment": self.environment, "project": self.project, "gpu": 0} | more
        return Workflow(self.folder / name, "profiles/kubernetes", *words, **more)

    def pods(self) -> list[Path]:
        """Folders of the pods that run."""
        return list(s3.running(self.folder / "pods"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if reason := s3.obstacle("snakemake_executor_plugin_kubernetes"):
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("kubernetes")
    server = s3.Bucket(tmp_path_factory.mktemp("seaweedfs"))
    if reason := server.start():
        server.stop()
        pytest.skip(reason)
    project = s3.clone(folder / "project")
    port = s3.free_port()
    config = KUBECONFIG | {"clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{port}"}}]}
    (folder / "kubeconfig").write_text(yaml.safe_dump(config))
    told = s3.pods(folder / "pods", project)
    command, what = pod_command(folder, told)
    api = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("kube_api.py")), str(port), str(folder / "pods"), *command],
        env=os.environ | told,
    )
    plugin = subprocess.run([sys.executable, "-m", "pip", "list"], capture_output=True, text=True).stdout
    found = re.search(r"snakemake-executor-plugin-kubernetes +(\S+)", plugin)
    VERSIONS[ENGINE] = f"plugin {found[1] if found else 'unknown'}; pods are {what}"
    yield Cluster(server, project, folder, server.environment(KUBECONFIG=str(folder / "kubeconfig")))
    end_all()
    api.terminate()
    api.wait()
    server.stop()


def pod_command(folder: Path, told: dict[str, str]) -> tuple[list[str], str]:
    """What runs a pod, and what pods are: containers, or namespaces that find the storage plugin's wheel in a folder."""
    if not containers.obstacle():
        script = folder / "container.sh"
        mounts = '--env-file "$1/env" --volume "$1/script:/script:ro" --volume "$1/work:/workdir" --workdir /workdir'
        words = f'exec {containers.quoted()} --name "$(basename "$1")" {mounts} {containers.IMAGE} /script'
        script.write_text(f'#!/bin/sh\nchmod 777 "$1/work"\n{words}\n')
        script.chmod(0o755)
        return [str(script)], "containers of the image"
    wheels = folder / "wheels"
    locked = re.search(r"^snakemake-storage-plugin-s3==(\S+)", (ROOT / "envs/executors.txt").read_text(), re.MULTILINE)
    assert locked
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels]
    subprocess.run([*pip, f"snakemake-storage-plugin-s3=={locked[1]}"], check=True)
    told["POD_ENV"] = f"PIP_NO_INDEX=1 PIP_NO_DEPS=1 PIP_FIND_LINKS={wheels} PIP_DISABLE_PIP_VERSION_CHECK=1"
    return [str(s3.POD), "run"], "namespaces"


@pytest.fixture(scope="module")
def made(cluster: Cluster) -> Workflow:
    run = cluster.run("made", "made")
    assert run.wait() == 0, run.log.read_text()
    return run


def test_results_equal_those_of_a_local_run(cluster: Cluster, made: Workflow, local: Path) -> None:
    """the slice of the tiny preset through the real plugin, equal to a local run byte for byte"""
    there = cluster.bucket.fetch("made/results/tiny", cluster.folder / "fetched")
    assert checksums(there) == checksums(local)


def test_requests_have_limits_and_nobody_asks_for_a_gpu_in_vain(cluster: Cluster, made: Workflow) -> None:
    """every pod's memory, cores and GPUs limited to what it asks for"""
    asked = [json.loads(path.read_text()) for path in (cluster.folder / "pods").glob("*.json")]
    assert asked
    for job in asked:
        [container] = job["spec"]["template"]["spec"]["containers"]
        requests, limits = (container["resources"][key] for key in ("requests", "limits"))
        assert requests["memory"] == limits["memory"] and "cpu" in limits
        assert requests.get("nvidia.com/gpu") == limits.get("nvidia.com/gpu")


def test_a_killed_pod_ends_the_run_and_the_same_command_goes_on(cluster: Cluster, uninterrupted: Path) -> None:
    """a pod killed with SIGKILL ends the run; the same command resumes, to the bytes of an uninterrupted run"""
    checkpoint = f"results/tiny/runs/{RUN}/checkpoint.safetensors"
    more = {"configs": (SLICE, ONE, FAULTS), "targets": (f"runs/{RUN}/metrics.json",)} | LONG
    run = cluster.run("killed", "killed", **more)
    until(lambda: checkpoint in cluster.bucket.names("killed"), "a checkpoint in the bucket")
    [pod] = cluster.pods()
    if "containers" in VERSIONS[ENGINE]:
        subprocess.run([*containers.PODMAN, "kill", pod.name], check=True, capture_output=True)
    else:
        os.kill(int((pod / "pid").read_text()), signal.SIGKILL)
    assert run.wait() != 0
    Workflow.started.remove(run)
    time.sleep(1)
    again = cluster.run("again", "killed", **more)
    assert again.wait() == 0, again.log.read_text()
    there = cluster.bucket.fetch("killed/results/tiny", cluster.folder / "killed/fetched")
    told = (there / "logs/train" / Path(RUN).parent / "0.log").read_text()
    assert re.search(r"resuming after epoch [1-9]\d*", told), told
    assert checksums(there / "runs" / RUN) == checksums(uninterrupted)
