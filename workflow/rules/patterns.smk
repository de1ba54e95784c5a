"""Patterns: an autoencoder with a one-dimensional latent for every bank, kind and kernel size, and names for its clusters.

Reads a bank; writes one row per kernel, and the decoded centroids with their counts.
"""


rule patterns:
    """Train on a bank, and separately on the same kernels with shuffled taps; cluster the codes and name the clusters."""
    input:
        bank="<results>/banks/{model}.parquet",
    output:
        patterns="<results>/patterns/{model}.parquet",
        centroids="<results>/patterns/{model}.centroids.parquet",
    log:
        "<logs>/patterns/{model}.log",
    benchmark:
        "<benchmarks>/patterns/{model}.tsv"
    conda:
        CONDA
    threads: config["patterns"]["threads"]
    resources:
        mem_mb=memory(2000, per_mb=4),
        runtime=60,
    params:
        code=fingerprint("patterns"),
        clusters=config["patterns"]["clusters"],
        threshold=config["patterns"]["threshold"],
        trainings=config["patterns"]["trainings"],
        steps=config["patterns"]["steps"],
        batch=config["patterns"]["batch"],
        hidden=config["patterns"]["hidden"],
        learning_rate=config["patterns"]["learning_rate"],
        squash="--squash" if config["patterns"]["squash"] else "--no-squash",
        seed=config["seed"],
    shell:
        "python -m neural_echos --log {log:q} patterns {input.bank:q} --clusters {params.clusters}"
        " --threshold {params.threshold} --trainings {params.trainings} --steps {params.steps} --batch {params.batch}"
        " --learning-rate {params.learning_rate} --seed {params.seed} {params.squash} --hidden {params.hidden} --threads {threads}"
        " --centroids {output.centroids:q} --output {output.patterns:q}"
