"""A stand-in for the part of the Kubernetes API that Snakemake's executor uses, for the tests: `kube_api.py PORT FOLDER COMMAND…`.

It keeps secrets, refuses what a real server refuses of a container's resources, and runs each job by COMMAND with the pod's folder
as its last word: `script`, `env` and an empty `work` lie there; its exit code is the container's. It is no Kubernetes: it
schedules nothing, pulls no image, enforces no limit, and checks nobody's rights.
"""

import base64
import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PORT, FOLDER, COMMAND = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
SECRETS: dict[str, Any] = {}
JOBS: dict[str, Any] = {}
EXTENDED = re.compile(r"^(?!kubernetes\.io/)[^/]+/")  # such as nvidia.com/gpu


def refusal(container: dict[str, Any]) -> str:
    """What a real server says of resources that cannot be overcommitted (ValidateContainerResourceRequirements), or ""."""
    requests, limits = (container["resources"].get(key) or {} for key in ("requests", "limits"))
    for name, value in requests.items():
        if EXTENDED.match(name) and name not in limits:
            return f"Required value: Limit must be set for non overcommitable resources ({name})"
        if EXTENDED.match(name) and limits[name] != value:
            return f"Invalid value: must be equal to {name} limit"
    return ""


def container_of(job: dict[str, Any]) -> dict[str, Any]:
    """The one container of a job's pod."""
    [container] = job["spec"]["template"]["spec"]["containers"]
    return container


def run(name: str) -> None:
    """Run a job's pod."""
    place = FOLDER / name
    (place / "work").mkdir(parents=True)
    container = container_of(JOBS[name])
    (place / "script").write_text(container["args"][1])
    lines = []
    for one in container.get("env") or []:
        key = one["valueFrom"]["secretKeyRef"]
        value = base64.b64decode(SECRETS[key["name"]]["data"][key["key"]]).decode()
        lines.append(f"{one['name']}={value}\n")
    (place / "env").write_text("".join(lines))
    with (place / "log").open("w") as log:
        process = subprocess.Popen([*COMMAND, str(place)], stdout=log, stderr=subprocess.STDOUT)
        (place / "pid").write_text(str(process.pid))
        JOBS[name]["code"] = process.wait()
    (place / "code").write_text(str(JOBS[name]["code"]))


class Handler(BaseHTTPRequestHandler):
    """The calls that the executor makes."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def answer(self, body: Any, code: int = 200) -> None:
        """Answer with JSON, or with bytes as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def refuse(self, code: int, message: str) -> None:
        """Answer with an error."""
        self.answer({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}, code)

    def body(self) -> Any:
        """What was sent."""
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")

    def do_POST(self) -> None:
        """Keep a secret, or start a job."""
        body = self.body()
        name = body["metadata"]["name"]
        if self.path.endswith("/secrets"):
            SECRETS[name] = body
        elif self.path.endswith("/jobs"):
            (FOLDER / f"{name}.json").write_text(json.dumps(body, indent=1))
            if told := refusal(container_of(body)):
                return self.refuse(422, told)
            JOBS[name] = body | {"code": None}
            threading.Thread(target=run, args=(name,), daemon=True).start()
        else:
            return self.refuse(404, self.path)
        return self.answer(body, 201)

    def do_GET(self) -> None:
        """Say how a job or its pod does, or hand out a pod's log."""
        path, _, query = self.path.partition("?")
        if found := re.search(r"/jobs/([^/]+)/status$", path):
            return self.job(found[1])
        if path.endswith("/pods"):
            return self.pods(query.rpartition("job-name%3D")[2].partition("&")[0])
        if found := re.search(r"/pods/([^/]+)-pod/log$", path):
            if "previous=true" in query.lower():  # the container has not run before
                return self.refuse(400, f'previous terminated container "snakemake" in pod "{found[1]}-pod" not found')
            return self.answer((FOLDER / found[1] / "log").read_bytes())
        return self.refuse(404, self.path)

    def job(self, name: str) -> None:
        """How many of a job's pods run, ended well or failed."""
        if name not in JOBS:
            return self.refuse(404, "no such job")
        code = JOBS[name]["code"]
        status = {"active": int(code is None), "succeeded": int(code == 0), "failed": int(code not in (None, 0))}
        metadata = JOBS[name]["metadata"]
        return self.answer({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "status": status})

    def pods(self, name: str) -> None:
        """The pod of a job."""
        items = []
        if name in JOBS:
            code = JOBS[name]["code"]
            ran = (
                {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
                if code is None
                else {"terminated": {"exitCode": code}}
            )
            status = {"name": "snakemake", "image": "i", "imageID": "i", "ready": True, "restartCount": 0, "state": ran}
            spec = {"containers": [{"name": "snakemake"}]}
            pod = {"metadata": {"name": f"{name}-pod"}, "spec": spec, "status": {"containerStatuses": [status]}}
            items.append(pod)
        return self.answer({"kind": "PodList", "apiVersion": "v1", "items": items})

    def do_DELETE(self) -> None:
        """Forget a secret or a job; a pod that runs is left to the tests."""
        self.body()
        self.answer({"kind": "Status", "status": "Success"})


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
