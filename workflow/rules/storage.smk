"""Results in a bucket: commands work in the folder in which Snakemake keeps its copies, and trainings keep checkpoints in the bucket."""

from neural_echos.storage import forget_checkpoints, prepare, read_result

STORAGE = (workflow.storage_settings.default_storage_prefix or "").rstrip("/")
if workflow.storage_settings.default_storage_provider is not None:
    provider = workflow.storage_registry.default_storage_provider
    folder = Path(provider.object(f"{STORAGE}/file").local_path()).parent
    sources = [str(ROOT / table) for table in PRESET.published]
    os.environ.update(prepare(STORAGE, folder, config["pathvars"].values(), provider.settings, sources))


onsuccess:
    if STORAGE.startswith("s3://"):
        forget_checkpoints(config["pathvars"]["results"])


def result(name):
    """Content of a JSON file in the results, local or in a bucket; empty if the file does not exist."""
    return read_result(name.replace("<results>", config["pathvars"]["results"]))
