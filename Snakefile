"""Neural Echos, reproduced: every figure and table from declared inputs. The includes follow the flow of data."""

import os
from pathlib import Path

from snakemake.utils import min_version

min_version("9.27")

BASE = "config/config.yaml"  # that of the working directory, if it has one


configfile: BASE if Path(BASE).exists() else os.path.relpath(Path(workflow.current_basedir) / BASE)


include: "workflow/rules/common.smk"
include: "workflow/rules/storage.smk"
include: "workflow/rules/inputs.smk"
include: "workflow/rules/initialisations.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/transfer.smk"
include: "workflow/rules/kernels.smk"
include: "workflow/rules/clusters.smk"
include: "workflow/rules/receptive_fields.smk"
include: "workflow/rules/patterns.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/artifacts.smk"
include: "workflow/rules/report.smk"


if ARTIFACTS.atlas_file():

    include: "workflow/rules/atlas.smk"


localrules:
    all,


rule all:
    """Every artifact of the preset, also in manuscript format, and the report."""
    default_target: True
    input:
        ARTIFACTS.main_files(),
        paper="<results>/paper/paper.tex",
        report="<results>/report.html",
        trained=PRESET.adopted_weights(result) if workflow.is_main_process else [],
