"""Evaluation: final metrics of all runs with paired comparisons, the structure of all banks, and the verdict on every claim.

Reads runs, banks and clusters; writes the tables that artifacts show. Runs are also evaluated with single layers zeroed.
"""


rule evaluate:
    """Gather all runs of the preset and compare initialisations, paired by seed."""
    input:
        metrics=collect("{run}/metrics.json", run=PRESET.run_folders(PRESET.conditions)),
        histories=collect("{run}/history.parquet", run=PRESET.run_folders(PRESET.conditions)),
    output:
        runs="<results>/evaluation/runs.parquet",
        histories="<results>/evaluation/histories.parquet",
        comparisons="<results>/evaluation/comparisons.parquet",
    log:
        "<logs>/evaluate.log",
    benchmark:
        "<benchmarks>/evaluate.tsv"
    conda:
        CONDA
    resources:
        mem_mb=memory(1000),
        runtime=10,
    params:
        code=fingerprint("evaluate"),
        folders=lambda w, input: [str(Path(path).parent) for path in input.metrics],
        baselines=config["comparisons"]["baselines"],
        target=config["comparisons"]["target"],
    shell:
        "python -m neural_echos --log {log:q} evaluate {params.folders:q} --baselines {params.baselines:q}"
        " --target {params.target} --histories {output.histories:q} --comparisons {output.comparisons:q}"
        " --output {output.runs:q}"


rule zero:
    """Evaluate the runs of a condition with the kernels of each depthwise layer set to 0 in turn."""
    input:
        data="<results>/datasets/{dataset}.safetensors",
        initial=collect(
            "<results>/initial/{dataset}/{architecture}/{initialisation}/seed{seed}.safetensors",
            seed=config["seeds"],
            allow_missing=True,
        ),
        made=collect(
            "<results>/initial/{dataset}/{architecture}/{initialisation}/seed{seed}.json",
            seed=config["seeds"],
            allow_missing=True,
        ),
        metrics=collect(
            "<results>/runs/{dataset}/{architecture}/{initialisation}/seed{seed}/metrics.json",
            seed=config["seeds"],
            allow_missing=True,
        ),
        runs=collect(
            "<results>/runs/{dataset}/{architecture}/{initialisation}/seed{seed}/{file}",
            seed=config["seeds"],
            file=["run.json", "history.parquet", "weights.safetensors"],
            allow_missing=True,
        ),
    output:
        "<results>/ablated/{dataset}/{architecture}/{initialisation}.parquet",
    log:
        "<logs>/zero/{dataset}/{architecture}/{initialisation}.log",
    benchmark:
        "<benchmarks>/zero/{dataset}/{architecture}/{initialisation}.tsv"
    conda:
        CONDA
    threads: config["threads"]
    resources:
        mem_mb=memory(config["memory_mb"]),
        runtime=30,
        gpu=min(config["gpu"], 1),
    params:
        code=fingerprint("zero"),
        folders=lambda w, input: [str(Path(path).parent) for path in input.metrics],
    shell:
        "python -m neural_echos --log {log:q} zero --data {input.data:q} --initial {input.initial:q} --run {params.folders:q}"
        " --threads {threads} --output {output:q}"


rule structure:
    """Measure how structured every bank is, against shuffled taps."""
    input:
        banks=collect("<results>/banks/{model}.parquet", model=PRESET.models),
        clusters=collect("<results>/clusters/{model}.parquet", model=PRESET.models),
    output:
        "<results>/evaluation/structure.parquet",
    log:
        "<logs>/structure.log",
    benchmark:
        "<benchmarks>/structure.tsv"
    conda:
        CONDA
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        code=fingerprint("structure"),
        declared=lambda w: json.dumps(PRESET.describe_models(PRESET.models)),
        models=lambda w, input: json.dumps(
            PRESET.describe_models(PRESET.models, bank=input.banks, clusters=input.clusters)
        ),
    shell:
        "python -m neural_echos --log {log:q} structure {params.models:q} --output {output:q}"


rule explained:
    """Measure how much of the variance of each bank's kernels receptive-field models explain."""
    input:
        matches=collect("<results>/matches/{model}.parquet", model=PRESET.models),
    output:
        "<results>/evaluation/explained.parquet",
    log:
        "<logs>/explained.log",
    benchmark:
        "<benchmarks>/explained.tsv"
    conda:
        CONDA
    resources:
        mem_mb=memory(8000),
        runtime=30,
    params:
        code=fingerprint("explained"),
        declared=lambda w: json.dumps(PRESET.describe_models(PRESET.models)),
        models=lambda w, input: json.dumps(PRESET.describe_models(PRESET.models, matches=input.matches)),
    shell:
        "python -m neural_echos --log {log:q} explained {params.models:q} --output {output:q}"


rule shares:
    """Count the kernels of every bank with a named pattern, at every threshold, and with shuffled taps."""
    input:
        patterns=collect("<results>/patterns/{model}.parquet", model=PRESET.compared_models()),
    output:
        "<results>/evaluation/pattern_shares.parquet",
    log:
        "<logs>/shares.log",
    benchmark:
        "<benchmarks>/shares.tsv"
    conda:
        CONDA
    resources:
        mem_mb=memory(4000),
        runtime=20,
    params:
        code=fingerprint("shares"),
        declared=lambda w: json.dumps(PRESET.describe_models(PRESET.compared_models())),
        models=lambda w, input: json.dumps(PRESET.describe_models(PRESET.compared_models(), patterns=input.patterns)),
        threshold=config["patterns"]["threshold"],
    shell:
        "python -m neural_echos --log {log:q} shares {params.models:q} --threshold {params.threshold} --output {output:q}"


rule verdicts:
    """Decide every claim by the rule that the config declares for it."""
    input:
        runs="<results>/evaluation/runs.parquet" if PRESET.conditions else [],
        structure="<results>/evaluation/structure.parquet" if PRESET.needs_structure() else [],
        shares="<results>/evaluation/pattern_shares.parquet" if PRESET.needs_patterns() else [],
        replacements=PRESET.transfer_files(PRESET.replaced, "replacements"),
    output:
        "<results>/verdicts.parquet",
    log:
        "<logs>/verdicts.log",
    benchmark:
        "<benchmarks>/verdicts.tsv"
    conda:
        CONDA
    resources:
        mem_mb=memory(1000),
        runtime=10,
    params:
        code=fingerprint("verdicts"),
        claims=json.dumps(config["claims"]),
        models=json.dumps(PRESET.published_accuracies()),
        scale=config["scale"],
    shell:
        "python -m neural_echos --log {log:q} verdicts {params.claims:q} --runs {input.runs:q} --structure {input.structure:q}"
        " --shares {input.shares:q} --replacements {input.replacements:q} --models {params.models:q} --scale {params.scale:q} --output {output:q}"
