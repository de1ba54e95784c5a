"""Report: the page to read first, and figures and tables ready for a manuscript.

Reads the artifacts, the verdicts, and Snakemake's records and benchmarks of all jobs; writes a page, its config, and a folder.
"""

if STORAGE:  # Snakemake's records of the jobs are on the machine that submits them

    localrules:
        report,
        paper,


rule report:
    """Write the page with the verdicts, and every artifact with its provenance and cost."""
    input:
        artifacts=ARTIFACTS.main_files(),
        beside=ARTIFACTS.other_files(),
        verdicts="<results>/verdicts.parquet",
        structure="<results>/evaluation/structure.parquet" if PRESET.needs_structure() else [],
        atlas=ARTIFACTS.atlas_file(),
        made=[f"{folder}/run.json" for folder in PRESET.run_folders(PRESET.conditions)],
        data=collect("<results>/datasets/{dataset}.safetensors", dataset=sorted(PRESET.needed_datasets())),
    output:
        page="<results>/report.html",
        config="<results>/config.json",
    log:
        "<logs>/report.log",
    benchmark:
        "<benchmarks>/report.tsv"
    conda:
        CONDA
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        code=fingerprint("report"),
        entries=lambda w, input: json.dumps(ARTIFACTS.entries(input.artifacts)),
        config=json.dumps(config),
        benchmarks=config["pathvars"]["benchmarks"],
    shell:
        "python -m neural_echos --log {log:q} report {params.entries:q} --verdicts {input.verdicts:q}"
        " --structure {input.structure:q} --atlas {input.atlas:q} --config {params.config:q} --benchmarks {params.benchmarks:q} --output {output.page:q}"


rule paper:
    """Copy every artifact in its manuscript format, and write a manuscript that includes them all."""
    input:
        artifacts=ARTIFACTS.main_files(),
        beside=ARTIFACTS.other_files(),
    output:
        ARTIFACTS.paper_files(),
    log:
        "<logs>/paper.log",
    benchmark:
        "<benchmarks>/paper.tsv"
    conda:
        CONDA
    resources:
        mem_mb=memory(500),
        runtime=5,
    params:
        code=fingerprint("paper"),
        entries=lambda w, input: json.dumps(ARTIFACTS.entries(input.artifacts)),
        folder=lambda w, output: str(Path(output[0]).parent),
        title=f"Neural Echos, reproduced: {config['scale']}",
    shell:
        "python -m neural_echos --log {log:q} paper {params.entries:q} --title {params.title:q} --output {params.folder:q}"
