"""Kernels: the bank of every model, a declared checkpoint, a run of ours or an untrained timm model.

Reads weights; leaves one Parquet bank a model, one row a kernel (docs/data.md).
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
    """Extract the bank of a declared checkpoint; a timm model's layers are known without its weights."""
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
    """Extract the bank of a timm model with the weights that timm draws for it."""
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
    """List every timm model with depthwise kernels; ships with the repository, and only a direct request refreshes it."""
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
