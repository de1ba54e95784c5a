"""Receptive fields: the Difference-of-Gaussians family fitted to every kernel, and to the same kernel with shuffled taps; and
discrete scale-space models fitted to the eight master key filters.

Reads a bank and writes one row per kernel; reads the filters' file and writes their spread and scales.
"""


rule fit:
    """Fit the Difference-of-Gaussians family to a bank."""
    input:
        bank="<results>/banks/{model}.parquet",
    output:
        "<results>/fits/{model}.parquet",
    log:
        "<logs>/fit/{model}.log",
    benchmark:
        "<benchmarks>/fit/{model}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=memory(4000),
        runtime=30,
    params:
        code=fingerprint("fit"),
        threshold=config["fits"]["threshold"],
        seed=config["seed"],
    shell:
        "python -m neural_echos --log {log:q} fit {input.bank:q} --seed {params.seed} --threshold {params.threshold}"
        " --output {output:q}"


rule match:
    """Fit the Difference of Gaussians, the Gaussian and its derivatives to a bank, and to the same kernels with shuffled taps."""
    input:
        bank="<results>/banks/{model}.parquet",
        fits="<results>/fits/{model}.parquet",
    output:
        "<results>/matches/{model}.parquet",
    log:
        "<logs>/match/{model}.log",
    benchmark:
        "<benchmarks>/match/{model}.tsv"
    conda:
        CONDA
    threads: 2
    resources:
        mem_mb=memory(4000),
        runtime=120,
    params:
        code=fingerprint("match"),
        null_every=config["matches"]["null_every"],
        restarts=config["matches"]["restarts"],
        seed=config["seed"],
    shell:
        "python -m neural_echos --log {log:q} match {input.bank:q} --fits {input.fits:q} --seed {params.seed}"
        " --null-every {params.null_every} --restarts {params.restarts} --threads {threads} --output {output:q}"


rule scales:
    """Measure the spread of the eight master key filters, and fit the scales of their ideal models by every method."""
    input:
        filters=lambda w: PRESET.filters_file(),
    output:
        spread="<results>/scale_space/spread.parquet",
        scales="<results>/scale_space/scales.parquet",
    log:
        "<logs>/scales.log",
    benchmark:
        "<benchmarks>/scales.tsv"
    conda:
        CONDA
    resources:
        mem_mb=memory(1000),
        runtime=10,
    params:
        code=fingerprint("scales"),
    shell:
        "python -m neural_echos --log {log:q} scales {input.filters:q} --spread {output.spread:q} --output {output.scales:q}"
