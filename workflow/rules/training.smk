"""Training: from initial weights and a data set to trained weights, histories and final metrics.

One job trains `seeds_per_job` seeds of `initialisations_per_job` initialisations of a data set and an architecture: several where
runs are short, for starting Python takes seconds, one of each on a cluster, where all jobs of a seed are one array. A killed job goes
on from the checkpoint that lies in the run's folder, which is no output and so survives.
"""

for (job, dataset, architecture, names), (number, seeds) in product(train_jobs(), enumerate(SEED_GROUPS)):

    rule:
        """Train some seeds of some initialisations."""
        name:
            f"{job}_{number}"
        input:
            data=f"<results>/datasets/{dataset}.safetensors",
            initial=[
                f"<results>/initial/{dataset}/{architecture}/{one}/seed{seed}.safetensors"
                for one, seed in product(names, seeds)
            ],
            made=[
                f"<results>/initial/{dataset}/{architecture}/{one}/seed{seed}.json"
                for one, seed in product(names, seeds)
            ],
        output:
            weights=[f"{folder}/weights.safetensors" for folder in run_folders(dataset, architecture, names, seeds)],
            history=[f"{folder}/history.parquet" for folder in run_folders(dataset, architecture, names, seeds)],
            metrics=[f"{folder}/metrics.json" for folder in run_folders(dataset, architecture, names, seeds)],
            made=[f"{folder}/run.json" for folder in run_folders(dataset, architecture, names, seeds)],
        log:
            f"<logs>/train/{dataset}/{architecture}/{'+'.join(names)}/{number}.log",
        benchmark:
            f"<benchmarks>/train/{dataset}/{architecture}/{'+'.join(names)}/{number}.tsv"
        conda:
            CONDA
        threads: config["threads"]
        resources:
            mem_mb=memory(config["memory_mb"]),
            runtime=config["runtime_minutes"],
            gpu=config["gpu"],
        params:
            code=fingerprint("train"),
            launcher=launcher(),
            runs=lambda w, output: [str(Path(path).parent) for path in output.metrics],
            recipe=lambda w, output: recipe(*Path(output.metrics[0]).parts[-5:-3]),
            dataset=dataset,
            architecture=architecture,
            initialisations=[one for one, seed in product(names, seeds)],
        shell:
            "{params.launcher} neural_echos --log {log:q} train --data {input.data:q} --initial {input.initial:q} --run {params.runs:q}"
            " --recipe {params.recipe:q} --dataset {params.dataset:q} --architecture {params.architecture:q}"
            " --initialisation {params.initialisations:q} --threads {threads}"
