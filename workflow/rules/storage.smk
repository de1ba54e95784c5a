"""Where results lie in a bucket: commands work in the folder in which Snakemake keeps them, and trainings keep checkpoints there."""

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
    """What a JSON file among the results holds, wherever these lie; nothing where it is not there."""
    return read_result(name.replace("<results>", config["pathvars"]["results"]))
