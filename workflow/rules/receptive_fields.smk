"""Receptive fields: the Difference-of-Gaussians family fitted to every kernel, and to the same kernel with shuffled taps.

Reads a bank; leaves one row a kernel.
"""


rule fit:
    """Fit the Difference-of-Gaussians family to a bank."""
    input:
        bank="<results>/banks/{model}.parquet",
        code=library(*DOG),
    output:
        "<results>/fits/{model}.parquet",
    log:
        "<logs>/fit/{model}.log",
    benchmark:
        "<benchmarks>/fit/{model}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        threshold=config["fits"]["threshold"],
        seed=config["seed"],
    shell:
        "python -m neural_echos --log {log:q} fit {input.bank:q} --seed {params.seed} --threshold {params.threshold}"
        " --output {output:q}"
