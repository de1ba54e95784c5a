"""Range requests: bytes transferred for the kernels of ConvNeXt-B, against the bytes of those kernels and of the whole file.

A local server with the hub's URL layout answers range requests for a safetensors file of random weights. It counts the
bytes of the bodies that it sends, without HTTP headers. Run as `python benchmarks/range_requests.py`.
"""

import hashlib
import re
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from record import record

from neural_echos.inputs.hub import download_kernels
from neural_echos.layouts import KINDS

COMMIT = "0" * 40


class Handler(BaseHTTPRequestHandler):
    """Answers range requests for one file at any URL, and counts the bytes sent."""

    protocol_version = "HTTP/1.1"
    path_on_disk: Path
    etag: str
    sent = 0
    requests = 0
    lock = threading.Lock()

    def do_HEAD(self) -> None:  # noqa: D102
        self.answer(200, {"Content-Length": str(self.path_on_disk.stat().st_size)}, b"")

    def do_GET(self) -> None:  # noqa: D102
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"])
        assert match
        start, end = int(match[1]), int(match[2]) + 1
        with self.path_on_disk.open("rb") as file:
            file.seek(start)
            body = file.read(end - start)
        total = self.path_on_disk.stat().st_size
        told = {"Content-Length": str(len(body)), "Content-Range": f"bytes {start}-{end - 1}/{total}"}
        with Handler.lock:
            Handler.sent, Handler.requests = Handler.sent + len(body), Handler.requests + 1
        self.answer(206, told, body)

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """Send a response with the hub's headers."""
        self.send_response(status)
        for name, value in (headers | {"ETag": f'"{self.etag}"', "X-Repo-Commit": COMMIT}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:  # noqa: D102
        pass


def main() -> int:
    import timm
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory() as folder, ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        path = Path(folder) / "model.safetensors"
        save_file(timm.create_model("convnext_base").state_dict(), path)
        Handler.path_on_disk, Handler.etag = path, hashlib.sha256(path.read_bytes()).hexdigest()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        whole = path.stat().st_size
        print(f"convnext_base: {whole / 1e6:.1f} MB, random weights")
        for kinds in (("depthwise",), KINDS):
            Handler.sent = Handler.requests = 0
            output = Path(folder) / f"{len(kinds)}.safetensors"
            start = time.perf_counter()
            part = download_kernels("timm/convnext_base", path.name, output, kinds=kinds, endpoint=endpoint)
            seconds = time.perf_counter() - start
            tensors = part.needed - (8 + int.from_bytes(path.open("rb").read(8), "little"))
            print(
                f"{Handler.requests} requests, {seconds:.2f} s, {Handler.sent / tensors:.4f} bytes for each byte of tensors"
            )
            what = f"{' and '.join(kinds)} kernels of ConvNeXt-B by range requests"
            record(what, "the whole file", whole / Handler.sent, "MB", Handler.sent / 1e6, whole / 1e6)
        server.shutdown()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
