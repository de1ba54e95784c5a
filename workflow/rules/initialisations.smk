"""Initialisations: initial weights, one file per initialisation and seed, and what each does to images before training.

Reads a dataset (for its classes and channels) and, for initialisations drawn from a model, its bank, fits or clusters; writes
weights as safetensors with a JSON beside each that records what was done, and a table of signals. One job draws all initial weights
of an architecture that are drawn from the same model, because building the network costs more than drawing kernels.
"""

for job in PRESET.initialise_jobs():

    rule:
        """Draw the initial weights of one architecture on one dataset."""
        name:
            job.name
        input:
            data=f"<results>/datasets/{job.dataset}.safetensors",
            borrowed=PRESET.borrowed_files(job.initialisations),
            checkpoint=[local(path) for path in PRESET.checkpoint_files(job.architecture)],
        output:
            weights=collect(
                f"<results>/initial/{job.dataset}/{job.architecture}/{{initialisation}}/seed{{seed}}.safetensors",
                initialisation=job.initialisations,
                seed=config["seeds"],
            ),
            made=collect(
                f"<results>/initial/{job.dataset}/{job.architecture}/{{initialisation}}/seed{{seed}}.json",
                initialisation=job.initialisations,
                seed=config["seeds"],
            ),
        log:
            f"<logs>/initialise/{job.name}.log",
        benchmark:
            f"<benchmarks>/initialise/{job.name}.tsv"
        conda:
            CONDA
        threads: 1
        resources:
            mem_mb=memory(3000),
            runtime=30,
        params:
            code=fingerprint("initialise"),
            model=config["architectures"][job.architecture]["model"],
            kwargs=json.dumps(config["architectures"][job.architecture]["kwargs"]),
            declared=lambda w, names=job.initialisations: json.dumps(PRESET.initialisation_options(names)),
            initialisations=lambda w, input, names=job.initialisations: json.dumps(
                PRESET.initialisation_options(names, input.borrowed)
            ),
            seeds=config["seeds"],
            start=[part for path in PRESET.checkpoint_files(job.architecture) for part in ("--checkpoint", path)],
            pattern=lambda wildcards, output: str(
                Path(output.weights[0]).parents[1] / "{initialisation}/seed{seed}.safetensors"
            ),
        shell:
            "python -m neural_echos --log {log:q} initialise {params.model:q} --data {input.data:q} --kwargs {params.kwargs:q}"
            " --initialisations {params.initialisations:q} --seeds {params.seeds} --threads {threads} {params.start:q}"
            " --output {params.pattern:q}"


rule signals:
    """Measure what initialisations do to images and gradients in one architecture, before any training."""
    input:
        data=f"<results>/datasets/{config['signals']['dataset']}.safetensors",
        borrowed=PRESET.borrowed_files(PRESET.measured_initialisations()),
        checkpoint=lambda w: [local(path) for path in PRESET.checkpoint_files(w.architecture)],
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
        declared=lambda w: json.dumps(PRESET.initialisation_options(PRESET.measured_initialisations())),
        initialisations=lambda w, input: json.dumps(
            PRESET.initialisation_options(PRESET.measured_initialisations(), input.borrowed)
        ),
        seeds=config["seeds"],
        start=lambda w: [part for path in PRESET.checkpoint_files(w.architecture) for part in ("--checkpoint", path)],
        images=config["signals"]["images"],
        dataset=config["signals"]["dataset"],
    shell:
        "python -m neural_echos --log {log:q} signals {params.model:q} --data {input.data:q} --kwargs {params.kwargs:q}"
        " --initialisations {params.initialisations:q} --seeds {params.seeds} --images {params.images} --threads {threads} {params.start:q}"
        " --dataset {params.dataset:q} --architecture {wildcards.architecture:q} --output {output:q}"
