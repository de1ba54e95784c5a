"""Inputs: fetch every declared file and build the datasets.

Reads config/inputs.yaml and mirror folders or the network; writes checked files and one file per dataset.
"""


rule fetch:
    """Fetch a declared input from a mirror folder or its URL; a file that fails its checksum is not kept."""
    input:
        declared=source("config/inputs.yaml"),
    output:
        "<results>/inputs/{input}/{file}",
    log:
        "<logs>/fetch/{input}/{file}.log",
    benchmark:
        "<benchmarks>/fetch/{input}/{file}.tsv"
    wildcard_constraints:
        input=alternatives(PRESET.inputs),
        file="[^/]+",
    retries: 2
    conda:
        CONDA
    resources:
        mem_mb=memory(1000),
        runtime=120,
    params:
        optional=lambda w: ["--optional"] if w.input in PRESET.optional_inputs() else [],
        mirrors=[part for folder in config["mirrors"] for part in ("--mirror", folder)],
    shell:
        "python -m neural_echos --log {log:q} fetch {wildcards.input:q} --declared {input.declared:q} {params.optional} {params.mirrors:q}"
        " --output {output:q}"


rule dataset:
    """Build a dataset: photographs and digits from their packages, others from fetched files or your own folder."""
    input:
        train=lambda w: PRESET.dataset_files(w.dataset, "train"),
        test=lambda w: PRESET.dataset_files(w.dataset, "test"),
    output:
        "<results>/datasets/{dataset}.safetensors",
    log:
        "<logs>/dataset/{dataset}.log",
    benchmark:
        "<benchmarks>/dataset/{dataset}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=memory(4000),
        runtime=60,
    params:
        code=fingerprint("dataset"),
        kind=lambda w: config["datasets"][w.dataset]["kind"],
        options=lambda w: json.dumps(config["datasets"][w.dataset]["options"]),
        seed=config["seed"],
    shell:
        "python -m neural_echos --log {log:q} dataset {params.kind:q} --options {params.options:q} --seed {params.seed}"
        " --train {input.train:q} --test {input.test:q} --output {output:q}"
