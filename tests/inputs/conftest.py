"""A hub on localhost, to which the client is pointed."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hubs import Hub, made
from safetensors.numpy import save_file


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that serves a small file, its client pointed at it."""
    from huggingface_hub import constants

    folder = tmp_path / "served"
    folder.mkdir()
    save_file(made(), folder / "model.safetensors")
    with Hub(folder) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setattr(constants, "ENDPOINT", running.endpoint)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", running.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield running
        running.shutdown()
        thread.join()
