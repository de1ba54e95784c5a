"""Storage: what a run with files in a bucket needs in addition to Snakemake's own fetching and storing of inputs and outputs.

Snakemake keeps a bucket's files in its own folder, `.snakemake/storage/s3/BUCKET/PREFIX`, and passes these long paths to commands.
`enter` makes a command work inside that folder, so that its messages and records name files as in a local run. `kept_checkpoints`
keeps the checkpoints of a training in the bucket, because a killed job leaves nothing else behind.

The workflow informs its jobs with two environment variables: ECHOS_STORAGE, the address, and ECHOS_STORAGE_FOLDER, the folder.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from neural_echos.errors import EchosError
from neural_echos.files import atomic_path, read_json

_LOG = logging.getLogger(__name__)

ADDRESS, FOLDER = "ECHOS_STORAGE", "ECHOS_STORAGE_FOLDER"
CHECKPOINT = "checkpoint.safetensors"
_SHARE = 0.02  # largest share of the time spent on uploading checkpoints


def prepare(
    address: str, folder: str | Path, apart: Iterable[str], settings: Any = None, sources: Iterable[str] = ()
) -> dict[str, str]:
    """Link the content of the working folder into the folder of the bucket's files, and return the jobs' environment variables.

    Parameters
    ----------
    address : str
        Address of the bucket with the prefix of all files: "s3://bucket/prefix".
    folder : path
        Folder in which Snakemake keeps the bucket's files.
    apart : iterable of str
        Folders in the bucket, such as "results/tiny"; their first parts are not linked.
    settings : object, optional
        Snakemake's settings for the S3 plugin: endpoint, region and keys.
    sources : iterable of str, optional
        Files of the working folder that are always linked, such as a table of published runs below "results".

    Returns
    -------
    dict of str to str
        Environment variables.
    """
    place = Path(folder).absolute()
    place.mkdir(parents=True, exist_ok=True)
    inside = {Path(name).parts[0] for name in apart}
    for path in Path().absolute().iterdir():
        if path.name == ".snakemake" or (not path.name.startswith(".") and path.name not in inside):
            with suppress(FileExistsError):
                (place / path.name).symlink_to(path)
    for name in sources:
        if Path(name).parts[0] in inside:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                (place / name).symlink_to(Path(name).absolute())
    told = {
        "AWS_ENDPOINT_URL_S3": "endpoint_url",
        "AWS_DEFAULT_REGION": "region",
        "AWS_ACCESS_KEY_ID": "access_key",
        "AWS_SECRET_ACCESS_KEY": "secret_key",
        "AWS_SESSION_TOKEN": "token",
    }
    known = {name: getattr(settings, key, None) for name, key in told.items()}
    return {ADDRESS: address.rstrip("/"), FOLDER: str(folder)} | {key: value for key, value in known.items() if value}


def enter(arguments: Sequence[str]) -> list[str]:
    """Change to the folder of the bucket's files, if there is one, and return the arguments with paths relative to it."""
    if os.environ.get(FOLDER):
        os.chdir(os.environ[FOLDER])  # in a subprocess of a command, this is a link to the current folder
    return [plain(word) for word in arguments]


def plain(text: str) -> str:
    """Remove the folder of the bucket's files from all paths in a text, which leaves the text of a local run."""
    return text.replace(f"{os.environ[FOLDER]}/", "") if os.environ.get(FOLDER) else text


@contextmanager
def kept_checkpoints(folders: Sequence[Path], seconds: float = 30.0) -> Iterator[None]:
    """Fetch the checkpoints below some folders, and store those that the block writes, while it runs and at its end.

    Does nothing without folders or without a bucket. A checkpoint that cannot be stored is a warning, and training continues.

    Parameters
    ----------
    folders : sequence of Path
    seconds : float
        Minimum time between two uploads. Slow ones are made more rarely, so that they take at most a fiftieth of the time.

    Raises
    ------
    EchosError
        The bucket cannot be read.
    """
    if not folders or not _in_bucket():
        yield
        return
    store = _Store(folders)
    store.fetch()
    ended = threading.Event()
    keeper = threading.Thread(target=store.keep, args=(ended, seconds), name="checkpoints", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()
        store.upload()


class _Store:
    """The checkpoints of some folders, locally and in the bucket."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders
        self.known: dict[Path, tuple[int, int]] = {}

    def fetch(self) -> None:
        """Fetch all checkpoints in the bucket; existing local ones are kept."""
        for folder in self.folders:
            for name in listed(f"{folder}/"):
                path = Path(name)
                if path.name == CHECKPOINT and not path.exists():
                    _download(name, path)
                    self.known[path] = _state(path)
                    _LOG.info("%s: fetched from %s", path, os.environ[ADDRESS])

    def upload(self) -> None:
        """Store the checkpoints that have changed; if several processes train together, only the first does."""
        if int(os.environ.get("RANK", "0")):
            return
        for path in (path for folder in self.folders for path in folder.rglob(CHECKPOINT)):
            try:
                with path.open("rb") as file:  # checkpoints are replaced, never modified, so an open one stays intact
                    if (state := _state(path)) != self.known.get(path):
                        bucket, prefix = _address()
                        bucket.upload_fileobj(file, f"{prefix}{path}")
                        self.known[path] = state
            except FileNotFoundError:
                continue  # the training ended meanwhile
            except Exception as error:
                _LOG.warning(
                    "%s: cannot be stored in %s (%s); the local file is kept", path, os.environ[ADDRESS], error
                )

    def keep(self, ended: threading.Event, seconds: float) -> None:
        """Store checkpoints until `ended` is set."""
        wait = seconds
        while not ended.wait(wait):
            began = time.monotonic()
            self.upload()
            wait = max(seconds, (time.monotonic() - began) / _SHARE)


def forget_checkpoints(results: str) -> int:
    """Delete the checkpoints of finished runs from the bucket, which nothing will resume from; return their number."""
    names = listed(f"{results}/")
    finished = {name.rpartition("/")[0] for name in names if name.endswith("/metrics.json")}
    done = [
        name
        for name in names
        if name.endswith(f"/{CHECKPOINT}") and ("/." in name or name.rpartition("/")[0] in finished)
    ]
    bucket, prefix = _address()
    for name in done:
        bucket.Object(f"{prefix}{name}").delete()
    return len(done)


def listed(start: str) -> list[str]:
    """Names of the bucket's files that begin with `start`, relative to the prefix of all files.

    Raises
    ------
    EchosError
        The bucket cannot be read.
    """
    bucket, prefix = _address()
    try:
        return [found.key.removeprefix(prefix) for found in bucket.objects.filter(Prefix=f"{prefix}{start}")]
    except Exception as error:
        raise _unreadable(error) from None


def fetch(folder: str | Path, suffix: str = "") -> None:
    """Fetch the files with a suffix below a folder in the bucket; does nothing if there is no bucket.

    Raises
    ------
    EchosError
        The bucket cannot be read.
    """
    if _in_bucket():
        for name in listed(f"{folder}/"):
            if name.endswith(suffix):
                _download(name, Path(name))


def read_result(path: str) -> dict[str, Any]:
    """Read a JSON file from the bucket, or from this folder if there is no bucket; empty if there is no such file.

    Raises
    ------
    EchosError
        It is not valid JSON, or the bucket cannot be read.
    """
    if not _in_bucket():
        return read_json(path) if Path(path).is_file() else {}
    bucket, prefix = _address()
    try:
        return json.loads(bucket.Object(f"{prefix}{path}").get()["Body"].read())
    except Exception as error:
        if getattr(error, "response", {}).get("Error", {}).get("Code") in ("NoSuchKey", "NoSuchBucket"):
            return {}
        raise _unreadable(error) from None


def store(paths: Iterable[Path]) -> None:
    """Store files in the bucket that are not outputs of a rule; does nothing if there is no bucket."""
    if _in_bucket():
        bucket, prefix = _address()
        for path in paths:
            bucket.upload_file(str(path), f"{prefix}{path}")


def _in_bucket() -> bool:
    return os.environ.get(ADDRESS, "").startswith("s3://")


def _unreadable(error: Exception) -> EchosError:
    return EchosError(f"{os.environ[ADDRESS]}: cannot be read ({error}); check the address and credentials")


def _download(name: str, path: Path) -> None:
    bucket, prefix = _address()
    with atomic_path(path) as temporary:
        bucket.download_file(f"{prefix}{name}", str(temporary))


def _address() -> tuple[Any, str]:
    """Return the bucket and the prefix of its files' keys."""
    try:
        import boto3
    except ImportError:
        raise EchosError(
            "files in a bucket need the Python package boto3; `python3 envs/install.py --executors` installs it"
        ) from None

    name, _, prefix = os.environ[ADDRESS].removeprefix("s3://").partition("/")
    return boto3.resource("s3").Bucket(name), f"{prefix}/" if prefix else ""


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size
