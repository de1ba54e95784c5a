"""Clusters: k-means on every bank, by kernel size, each cluster named by the shape of its average.

Reads a bank; writes one row per kernel, the centroids with their counts, and a score for every number of clusters.
"""


rule cluster:
    """Cluster a bank with the declared k, and with the number of clusters that has the best silhouette."""
    input:
        bank="<results>/banks/{model}.parquet",
    output:
        clusters="<results>/clusters/{model}.parquet",
        centroids="<results>/clusters/{model}.centroids.parquet",
        choices="<results>/clusters/{model}.choices.parquet",
    log:
        "<logs>/cluster/{model}.log",
    benchmark:
        "<benchmarks>/cluster/{model}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=memory(2000, per_mb=5),
        runtime=30,
    params:
        code=fingerprint("cluster"),
        k=config["clusters"]["k"],
        restarts=config["clusters"]["restarts"],
        threshold=config["clusters"]["threshold"],
        seed=config["seed"],
    shell:
        "python -m neural_echos --log {log:q} cluster {input.bank:q} --k {params.k} --restarts {params.restarts} --seed {params.seed}"
        " --threshold {params.threshold} --centroids {output.centroids:q} --choices {output.choices:q}"
        " --output {output.clusters:q}"
