"""Initialisations: initial weights, one file for each initialisation and seed, and what each does to images before training.

Reads a data set (for its classes and channels) and, for initialisations drawn from a model, its bank, fits or clusters; leaves
weights as safetensors with a JSON beside each that says what was done, and a table of signals. One job draws all initial weights
of an architecture that borrow of the same model, for building the network costs more than drawing kernels.
"""

for job, dataset, architecture, lenders in initialise_jobs():

    rule:
        """Draw the initial weights of one architecture on one data set."""
        name:
            job
        input:
            data=f"<results>/datasets/{dataset}.safetensors",
            borrowed=borrowed_files(cell_initialisations(dataset, architecture, lenders)),
        output:
            weights=expand(
                f"<results>/initial/{dataset}/{architecture}/{{initialisation}}/seed{{seed}}.safetensors",
                initialisation=cell_initialisations(dataset, architecture, lenders),
                seed=SEEDS,
            ),
            made=expand(
                f"<results>/initial/{dataset}/{architecture}/{{initialisation}}/seed{{seed}}.json",
                initialisation=cell_initialisations(dataset, architecture, lenders),
                seed=SEEDS,
            ),
        log:
            f"<logs>/initialise/{job}.log",
        benchmark:
            f"<benchmarks>/initialise/{job}.tsv"
        conda:
            CONDA
        threads: 1
        resources:
            mem_mb=memory(3000),
            runtime=30,
        params:
            code=fingerprint("initialise"),
            model=config["architectures"][architecture]["model"],
            kwargs=json.dumps(config["architectures"][architecture]["kwargs"]),
            initialisations=lambda w, input, names=cell_initialisations(dataset, architecture, lenders): (
                initialisation_options(names, input.borrowed)
            ),
            seeds=SEEDS,
            pattern=lambda wildcards, output: str(
                Path(output.weights[0]).parents[1] / "{initialisation}/seed{seed}.safetensors"
            ),
        shell:
            "python -m neural_echos --log {log:q} initialise {params.model:q} --data {input.data:q} --kwargs {params.kwargs:q}"
            " --initialisations {params.initialisations:q} --seeds {params.seeds} --threads {threads}"
            " --output {params.pattern:q}"


rule signals:
    """Measure what initialisations do to images and gradients in one architecture, before any training."""
    input:
        data=f"<results>/datasets/{config['signals']['dataset']}.safetensors",
        borrowed=borrowed_files(signal_initialisations()),
    output:
        "<results>/signals/{architecture}.parquet",
    log:
        "<logs>/signals/{architecture}.log",
    benchmark:
        "<benchmarks>/signals/{architecture}.tsv"
    conda:
        CONDA
    threads: 1
    resources:
        mem_mb=memory(4000),
        runtime=30,
    params:
        code=fingerprint("signals"),
        model=lambda w: config["architectures"][w.architecture]["model"],
        kwargs=lambda w: json.dumps(config["architectures"][w.architecture]["kwargs"]),
        initialisations=lambda w, input: initialisation_options(signal_initialisations(), input.borrowed),
        seeds=SEEDS,
        images=config["signals"]["images"],
        dataset=config["signals"]["dataset"],
    shell:
        "python -m neural_echos --log {log:q} signals {params.model:q} --data {input.data:q} --kwargs {params.kwargs:q}"
        " --initialisations {params.initialisations:q} --seeds {params.seeds} --images {params.images} --threads {threads}"
        " --dataset {params.dataset:q} --architecture {wildcards.architecture:q} --output {output:q}"
