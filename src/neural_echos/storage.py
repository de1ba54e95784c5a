"""Storage: what a run whose files lie in a bucket needs beside Snakemake's own fetching and storing of inputs and outputs.

Snakemake keeps the files of a bucket in a folder of its own, `.snakemake/storage/s3/BUCKET/PREFIX`, and hands these long paths to
commands. `enter` makes a command work inside that folder, so that its messages and all records name files as any local run does.
`kept_checkpoints` keeps the checkpoints of a training in the bucket, for a job that is killed leaves nothing else behind.

The workflow tells its jobs by two environment variables: ECHOS_STORAGE, the address, and ECHOS_STORAGE_FOLDER, the folder.
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
_SHARE = 0.02  # of the time that uploading checkpoints may take


def prepare(
    address: str, folder: str | Path, apart: Iterable[str], settings: Any = None, sources: Iterable[str] = ()
) -> dict[str, str]:
    """Link what lies in the working folder into the folder of the bucket's files, and say what jobs must know.

    Parameters
    ----------
    address : str
        Of the bucket, with the prefix of all files: "s3://bucket/prefix".
    folder : path
        Where Snakemake keeps the bucket's files.
    apart : iterable of str
        Folders that lie in the bucket, such as "results/tiny"; their first parts are not linked.
    settings : object, optional
        Snakemake's settings of the S3 plugin: endpoint, region and keys.
    sources : iterable of str, optional
        Files of the working folder that are linked wherever they lie, such as a table of published runs below "results".

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
    """Go to the folder of the bucket's files, if there is one, and return the arguments with paths as seen from there."""
    if os.environ.get(FOLDER):
        os.chdir(os.environ[FOLDER])  # for a process that a command started, a link to where it is already
    return [plain(word) for word in arguments]


def plain(text: str) -> str:
    """Take the folder of the bucket's files out of all paths of a text: what is left is what a local run says."""
    return text.replace(f"{os.environ[FOLDER]}/", "") if os.environ.get(FOLDER) else text


@contextmanager
def kept_checkpoints(folders: Sequence[Path], seconds: float = 30.0) -> Iterator[None]:
    """Fetch the checkpoints that lie below some folders, and store those that the block writes, while it runs and at its end.

    Does nothing without folders, or without a bucket. A checkpoint that cannot be stored is a warning: training goes on.

    Parameters
    ----------
    folders : sequence of Path
    seconds : float
        Least time between two uploads; slow ones are rarer, so that they take a fiftieth of the time at most.

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
    """The checkpoints of some folders, here and in the bucket."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.folders = folders
        self.known: dict[Path, tuple[int, int]] = {}

    def fetch(self) -> None:
        """Fetch all checkpoints that the bucket has; one that lies here already stays."""
        for folder in self.folders:
            for name in listed(f"{folder}/"):
                path = Path(name)
                if path.name == CHECKPOINT and not path.exists():
                    _download(name, path)
                    self.known[path] = _state(path)
                    _LOG.info("%s: fetched from %s", path, os.environ[ADDRESS])

    def upload(self) -> None:
        """Store the checkpoints that have changed; of several processes that train together, the first does."""
        if int(os.environ.get("RANK", "0")):
            return
        for path in (path for folder in self.folders for path in folder.rglob(CHECKPOINT)):
            try:
                with path.open("rb") as file:  # it is replaced, never written to, so an open one stays whole
                    if (state := _state(path)) != self.known.get(path):
                        bucket, prefix = _address()
                        bucket.upload_fileobj(file, f"{prefix}{path}")
                        self.known[path] = state
            except FileNotFoundError:
                continue  # the training ended meanwhile
            except Exception as error:
                _LOG.warning("%s: cannot be stored in %s (%s); it stays here", path, os.environ[ADDRESS], error)

    def keep(self, ended: threading.Event, seconds: float) -> None:
        """Store checkpoints until `ended` is set."""
        wait = seconds
        while not ended.wait(wait):
            began = time.monotonic()
            self.upload()
            wait = max(seconds, (time.monotonic() - began) / _SHARE)


def forget_checkpoints(results: str) -> int:
    """Delete the checkpoints of finished runs from the bucket, once nothing will go on from them; returns how many."""
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
    """Names of the bucket's files that begin with `start`, below the prefix of all files.

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
    """Fetch the files with a suffix that lie below a folder in the bucket; does nothing where there is no bucket.

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
    """Read a JSON file of the bucket, or of this folder where there is no bucket; empty where there is no such file.

    Raises
    ------
    EchosError
        It is no JSON, or the bucket cannot be read.
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
    """Store files in the bucket that are no outputs of a rule; does nothing where there is no bucket."""
    if _in_bucket():
        bucket, prefix = _address()
        for path in paths:
            bucket.upload_file(str(path), f"{prefix}{path}")


def _in_bucket() -> bool:
    return os.environ.get(ADDRESS, "").startswith("s3://")


def _unreadable(error: Exception) -> EchosError:
    return EchosError(f"{os.environ[ADDRESS]}: cannot be read ({error}); check address and credentials")


def _download(name: str, path: Path) -> None:
    bucket, prefix = _address()
    with atomic_path(path) as temporary:
        bucket.download_file(f"{prefix}{name}", str(temporary))


def _address() -> tuple[Any, str]:
    """The bucket, and the prefix of its files' keys."""
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
