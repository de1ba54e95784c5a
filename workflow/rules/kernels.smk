"""Kernels: the bank of every model, be it a declared checkpoint, one of our runs or an untrained timm model.

Reads weights; writes one Parquet bank per model, with one row per kernel (docs/data.md).
"""


rule extract_from_run:
    """Extract the bank of a run's initial or trained weights."""
    input:
        weights=lambda w: PRESET.weights_file(w.model, trained="kernels"),
        layers=lambda w: PRESET.layers_file(w.model),
    output:
        "<results>/banks/{model}.parquet",
    log:
        "<logs>/extract/{model}.log",
    benchmark:
        "<benchmarks>/extract/{model}.tsv"
    wildcard_constraints:
        model=alternatives(PRESET.models_from("run")),
    conda:
        CONDA
    resources:
        mem_mb=memory(1000),
        runtime=10,
    params:
        code=fingerprint("extract"),
    shell:
        "python -m neural_echos --log {log:q} extract {input.weights:q} --model {wildcards.model:q} --layers {input.layers:q}"
        " --output {output:q}"


rule extract_from_checkpoint:
    """Extract the bank of a declared checkpoint; the layers of a timm model are known without its weights."""
    input:
        weights=lambda w: PRESET.weights_file(w.model),
    output:
        "<results>/banks/{model}.parquet",
    log:
        "<logs>/extract/{model}.log",
    benchmark:
        "<benchmarks>/extract/{model}.tsv"
    wildcard_constraints:
        model=alternatives(PRESET.models_from("input")),
    conda:
        CONDA
    resources:
        mem_mb=memory(2000),
        runtime=20,
    params:
        code=fingerprint("extract"),
        timm=lambda w: PRESET.models[w.model].timm,
    shell:
        "python -m neural_echos --log {log:q} extract {input.weights:q} --model {wildcards.model:q} --timm={params.timm:q}"
        " --output {output:q}"


rule extract_untrained:
    """Extract the bank of a timm model with timm's initial weights."""
    output:
        "<results>/banks/{model}.parquet",
    log:
        "<logs>/extract/{model}.log",
    benchmark:
        "<benchmarks>/extract/{model}.tsv"
    wildcard_constraints:
        model=alternatives(PRESET.drawn_models()),
    conda:
        CONDA
    resources:
        mem_mb=memory(2000),
        runtime=20,
    params:
        code=fingerprint("extract"),
        timm=lambda w: PRESET.models[w.model].timm,
        seed=config["seed"],
    shell:
        "python -m neural_echos --log {log:q} extract --model {wildcards.model:q} --timm {params.timm:q} --seed {params.seed}"
        " --output {output:q}"


rule survey:
    """List every timm model with depthwise kernels. The list ships with the repository and is refreshed only on request."""
    input:
        pins=source("envs/requirements.txt"),
    output:
        table=local(ROOT / "config/survey.csv"),
        page=local(ROOT / "docs/zoo.md"),
    log:
        "<logs>/survey.log",
    benchmark:
        "<benchmarks>/survey.tsv"
    conda:
        CONDA
    resources:
        mem_mb=memory(2000),
        runtime=30,
    params:
        code=fingerprint("survey"),
    shell:
        "python -m neural_echos --log {log:q} survey --page {output.page:q} --output {output.table:q}"
