"""Training: from initial weights and a data set to trained weights, histories and final metrics.

One job trains `seeds_per_job` seeds of a cell (data set, architecture, initialisation): all of them where runs are short, one on
a cluster. A killed job goes on from the checkpoint that lies in the run's folder, which is no output and so survives.
"""

for number, seeds in enumerate(SEED_GROUPS):

    rule:
        """Train some seeds of a cell."""
        name:
            f"train_{number}"
        input:
            data="<results>/datasets/{dataset}.safetensors",
            initial=expand(
                "<results>/initial/{dataset}/{architecture}/{initialisation}/seed{seed}.safetensors",
                seed=seeds,
                allow_missing=True,
            ),
            made=expand(
                "<results>/initial/{dataset}/{architecture}/{initialisation}/seed{seed}.json",
                seed=seeds,
                allow_missing=True,
            ),
            code=library(*DATASETS, *TRAINING, *ARCHITECTURES, *UNIVERSAL),
        output:
            weights=expand(
                "<results>/runs/{dataset}/{architecture}/{initialisation}/seed{seed}/weights.safetensors",
                seed=seeds,
                allow_missing=True,
            ),
            history=expand(
                "<results>/runs/{dataset}/{architecture}/{initialisation}/seed{seed}/history.parquet",
                seed=seeds,
                allow_missing=True,
            ),
            metrics=expand(
                "<results>/runs/{dataset}/{architecture}/{initialisation}/seed{seed}/metrics.json",
                seed=seeds,
                allow_missing=True,
            ),
            made=expand(
                "<results>/runs/{dataset}/{architecture}/{initialisation}/seed{seed}/run.json",
                seed=seeds,
                allow_missing=True,
            ),
        log:
            f"<logs>/train/{{dataset}}/{{architecture}}/{{initialisation}}/{number}.log",
        benchmark:
            f"<benchmarks>/train/{{dataset}}/{{architecture}}/{{initialisation}}/{number}.tsv"
        conda:
            CONDA
        threads: config["threads"]
        resources:
            mem_mb=lambda wildcards, attempt: config["memory_mb"] * attempt,
            runtime=config["runtime_minutes"],
            gpu=config["gpu"],
        params:
            launcher=launcher(),
            recipe=lambda w: recipe(w.dataset, w.architecture),
            folders=lambda w, output: [str(Path(path).parent) for path in output.metrics],
        shell:
            "{params.launcher} neural_echos --log {log:q} train --data {input.data:q} --initial {input.initial:q} --run {params.folders:q}"
            " --recipe {params.recipe:q} --dataset {wildcards.dataset:q} --architecture {wildcards.architecture:q}"
            " --initialisation {wildcards.initialisation:q} --threads {threads}"
