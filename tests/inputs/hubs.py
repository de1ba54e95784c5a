"""A hub on localhost, and what is fetched from it."""

import hashlib
import re
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

WEIGHTS = Path(__file__).resolve().parents[3] / "shared" / "data" / "weights"


needs_weights = pytest.mark.skipif(
    not WEIGHTS.is_dir(), reason="needs the data folder beside the checkout (../shared/data)"
)


COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "timm/thing.in1k"


class Hub(ThreadingHTTPServer):
    """A hub with one repository: the files of a folder, under every revision that is `main` or COMMIT."""

    daemon_threads = True

    def __init__(self, folder: Path):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.mode = ""  # how it misbehaves
        self.asked: list[str] = []  # ranges, in the order of the requests
        self.seconds = 0.0  # how long each range takes
        self.tokens: set[str | None] = set()
        self.demands = ""  # the token without which it gives nothing
        self.storage = ""  # address that files are redirected to

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        sent = self.headers["Authorization"]
        if "/resolve/" in self.path:  # the client asks some things of its own, which need no token
            self.server.tokens.add(sent)
        if self.server.demands and sent != f"Bearer {self.server.demands}":  # as huggingface.co answers
            told = "Invalid credentials in Authorization header" if sent else "Repository not found"
            code = {} if sent else {"X-Error-Code": "RepoNotFound"}
            return self.send(401, f"{told}: {sent}".encode(), {"X-Error-Message": told} | code)
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        if not found or found[1] != REPOSITORY:
            return self.refuse(404, "RepoNotFound")
        if found[2] not in ("main", COMMIT):
            return self.refuse(404, "RevisionNotFound")
        if not (path := self.server.folder / found[3]).is_file():
            return self.refuse(404, "EntryNotFound")
        content = path.read_bytes()
        etag = hashlib.sha256(content).hexdigest()
        if self.server.mode == "git etag":
            etag = etag[:40]
        if self.server.storage:
            told = {"X-Linked-ETag": f'"{etag}"', "X-Linked-Size": str(len(content))}
            return self.send(302, b"", {"Location": self.server.storage + self.path, **told})
        if self.server.mode == "storage":
            etag = "of-the-storage"
        if not body:
            return self.send(200, b"", {"ETag": f'"{etag}"', "Content-Length": str(len(content))})
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"] or "")
        if asked is None or self.server.mode == "refuse":
            return self.send(200, content, {"ETag": f'"{etag}"'})
        count = len(self.server.asked)
        self.server.asked.append(self.headers["Range"])
        time.sleep(self.server.seconds)
        if self.server.mode == "busy" and count == 2:
            return self.send(429, b"", {"Retry-After": "1"})
        if self.server.mode == "down":
            return self.send(503, b"", {})
        if self.server.mode == "forbid" and count >= 2:
            return self.send(403, b"", {})
        if self.server.mode == "change" and count >= 4:
            etag = "f" * 64
        start, end = int(asked[1]), int(asked[2]) + 1
        part, told = content[start:end], f"bytes {start}-{end - 1}/{len(content)}"
        if self.server.mode == "shift" and count >= 2:
            told = f"bytes {start + 1}-{end}/{len(content)}"
        breaks = {"break once": count == 3, "break": count >= 3}.get(self.server.mode, False)
        self.send(206, part, {"ETag": f'"{etag}"', "Content-Range": told}, broken=breaks)

    def send(self, status: int, body: bytes, headers: dict[str, str], *, broken: bool = False) -> None:
        self.send_response(status)
        for name, value in ({"X-Repo-Commit": COMMIT, "Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if broken else body)
        self.close_connection = self.close_connection or broken

    def refuse(self, status: int, code: str) -> None:
        self.send(status, b"", {"X-Error-Code": code})

    def log_message(self, *_: object) -> None:
        pass


def made() -> dict[str, np.ndarray]:
    """Six depthwise layers far apart, a regular one, and what is no kernel."""
    rng = np.random.default_rng(0)
    tensors = {f"stages.{i}.dw.weight": rng.standard_normal((8, 1, 7, 7), np.float32) for i in range(6)}
    tensors |= {f"stages.{i}.mlp.weight": rng.standard_normal((40, 40), np.float32) for i in range(6)}
    return tensors | {
        "stem.weight": rng.standard_normal((8, 3, 4, 4), np.float32),
        "head.weight": rng.standard_normal((1000, 40), np.float32),
    }


def names_under(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file()) if folder.exists() else []
