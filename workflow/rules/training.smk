"""Training: from initial weights and a dataset to trained weights, histories and final metrics.

One job trains `seeds_per_job` seeds of `initialisations_per_job` initialisations of a dataset and an architecture: several if
runs are short, because starting Python takes seconds; one of each on a cluster, where all jobs of a seed form one array. A killed job
resumes from the checkpoint in the run's folder, which is not an output and so survives. Published runs are adopted. They have no
weights, and some have no kernels, so these are outputs only if something reads them or `adopt` is false.
"""

# For `echos train --adopt`. Not a param: neither a new table of published runs nor `adopt: false` makes a run out of date.
os.environ.update(ECHOS_ADOPT=os.pathsep.join(str(ROOT / table) for table in PRESET.published))

for job in PRESET.train_jobs():

    rule:
        """Train some seeds of some initialisations."""
        name:
            job.name
        input:
            data=f"<results>/datasets/{job.dataset}.safetensors",
            initial=[
                f"<results>/initial/{job.dataset}/{job.architecture}/{one}/seed{seed}.safetensors"
                for one, seed in job.runs
            ],
            made=[f"<results>/initial/{job.dataset}/{job.architecture}/{one}/seed{seed}.json" for one, seed in job.runs],
        output:
            weights=job.weights,
            kernels=job.kernels,
            history=[f"{folder}/history.parquet" for folder in job.folders],
            metrics=[f"{folder}/metrics.json" for folder in job.folders],
            made=[f"{folder}/run.json" for folder in job.folders],
        log:
            f"<logs>/train/{job.dataset}/{job.architecture}/{'+'.join(job.initialisations)}/{job.number}.log",
        benchmark:
            f"<benchmarks>/train/{job.dataset}/{job.architecture}/{'+'.join(job.initialisations)}/{job.number}.tsv"
        conda:
            CONDA
        threads: config["threads"]
        resources:
            mem_mb=memory(config["memory_mb"]),
            runtime=config["runtime_minutes"],
            gpu=config["gpu"],
        params:
            code=fingerprint("train"),
            launcher=PRESET.launcher,
            runs=lambda w, output: [str(Path(path).parent) for path in output.metrics],
            recipe=lambda w, of=(job.dataset, job.architecture): json.dumps(
                PRESET.recipe(*(name.format(**dict(w.items())) for name in of))
            ),
            dataset=job.dataset,
            architecture=job.architecture,
            initialisations=[one for one, seed in job.runs],
        shell:
            "{params.launcher} neural_echos --log {log:q} train --data {input.data:q} --initial {input.initial:q} --run {params.runs:q}"
            " --recipe {params.recipe:q} --dataset {params.dataset:q} --architecture {params.architecture:q}"
            " --initialisation {params.initialisations:q} --threads {threads} --weights {output.weights:q}"
            " --kernels {output.kernels:q}"
