"""Transfer: the accuracy of trained runs when a few filters replace all of their depthwise kernels.

Reads trained runs and the sources of a set of filters; writes scores before and after replacement, the error in each layer, and
the course of a greedy elimination. A killed fine-tuning resumes from the checkpoint in a hidden folder beside the output.
"""

# Files beside those that a command names, which it reads too.
BESIDE = [
    "<results>/initial/{dataset}/{architecture}/{initialisation}/seed{seed}.json",
    "<results>/runs/{dataset}/{architecture}/{initialisation}/seed{seed}/weights.safetensors",
]

for number, seeds in enumerate(PRESET.seed_groups):

    rule:
        """Replace the kernels of some seeds of a condition by a set of filters, and score every stage."""
        name:
            f"replace_{number}"
        input:
            data="<results>/datasets/{dataset}.safetensors",
            initial=collect(
                "<results>/initial/{dataset}/{architecture}/{initialisation}/seed{seed}.safetensors",
                seed=seeds,
                allow_missing=True,
            ),
            beside=collect(BESIDE, seed=seeds, allow_missing=True),
            metrics=collect(
                "<results>/runs/{dataset}/{architecture}/{initialisation}/seed{seed}/metrics.json",
                seed=seeds,
                allow_missing=True,
            ),
            lent=lambda w: list(PRESET.candidate_files(w.candidates).values()),
        output:
            table=f"<results>/transfer/{{dataset}}/{{architecture}}/{{initialisation}}/{{candidates}}.{number}.replacements.parquet",
            errors=f"<results>/transfer/{{dataset}}/{{architecture}}/{{initialisation}}/{{candidates}}.{number}.errors.parquet",
        log:
            f"<logs>/replace/{{dataset}}/{{architecture}}/{{initialisation}}/{{candidates}}.{number}.log",
        benchmark:
            f"<benchmarks>/replace/{{dataset}}/{{architecture}}/{{initialisation}}/{{candidates}}.{number}.tsv"
        conda:
            CONDA
        threads: config["threads"]
        resources:
            mem_mb=memory(config["memory_mb"]),
            runtime=config["runtime_minutes"],
            gpu=min(config["gpu"], 1),
        params:
            code=fingerprint("replace"),
            recipe=lambda w: json.dumps(PRESET.tuning_recipe(w.dataset, w.architecture)),
            declared=lambda w: json.dumps(PRESET.candidate_options(w.candidates)),
            candidates=lambda w, input: json.dumps(PRESET.candidate_options(w.candidates, input.lent)),
            runs=lambda w, input: [str(Path(path).parent) for path in input.metrics],
            images=config["replacement"]["batch_norm_images"],
        shell:
            "python -m neural_echos --log {log:q} replace --data {input.data:q} --initial {input.initial:q} --run {params.runs:q}"
            " --candidates {params.candidates:q} --name {wildcards.candidates:q} --recipe {params.recipe:q}"
            " --dataset {wildcards.dataset:q} --architecture {wildcards.architecture:q}"
            " --initialisation {wildcards.initialisation:q} --batch-norm-images {params.images} --threads {threads}"
            " --errors {output.errors:q} --output {output.table:q}"

    rule:
        """Eliminate the filters of a set one by one, for some seeds of a condition."""
        name:
            f"eliminate_{number}"
        input:
            data="<results>/datasets/{dataset}.safetensors",
            initial=collect(
                "<results>/initial/{dataset}/{architecture}/{initialisation}/seed{seed}.safetensors",
                seed=seeds,
                allow_missing=True,
            ),
            beside=collect(BESIDE, seed=seeds, allow_missing=True),
            metrics=collect(
                "<results>/runs/{dataset}/{architecture}/{initialisation}/seed{seed}/metrics.json",
                seed=seeds,
                allow_missing=True,
            ),
            lent=lambda w: list(PRESET.candidate_files(w.candidates).values()),
        output:
            f"<results>/transfer/{{dataset}}/{{architecture}}/{{initialisation}}/{{candidates}}.{number}.eliminations.parquet",
        log:
            f"<logs>/eliminate/{{dataset}}/{{architecture}}/{{initialisation}}/{{candidates}}.{number}.log",
        benchmark:
            f"<benchmarks>/eliminate/{{dataset}}/{{architecture}}/{{initialisation}}/{{candidates}}.{number}.tsv"
        conda:
            CONDA
        threads: config["threads"]
        resources:
            mem_mb=memory(config["memory_mb"]),
            runtime=config["runtime_minutes"],
            gpu=min(config["gpu"], 1),
        params:
            code=fingerprint("eliminate"),
            recipe=lambda w: json.dumps(PRESET.tuning_recipe(w.dataset, w.architecture)),
            declared=lambda w: json.dumps(PRESET.candidate_options(w.candidates)),
            candidates=lambda w, input: json.dumps(PRESET.candidate_options(w.candidates, input.lent)),
            runs=lambda w, input: [str(Path(path).parent) for path in input.metrics],
            images=config["replacement"]["images"],
            elbow=config["replacement"]["elbow"],
            neighbours=config["replacement"]["neighbours"],
            checks=config["replacement"]["checks"],
        shell:
            "python -m neural_echos --log {log:q} eliminate --data {input.data:q} --initial {input.initial:q} --run {params.runs:q}"
            " --candidates {params.candidates:q} --name {wildcards.candidates:q} --recipe {params.recipe:q}"
            " --dataset {wildcards.dataset:q} --architecture {wildcards.architecture:q}"
            " --initialisation {wildcards.initialisation:q} --images {params.images} --elbow {params.elbow}"
            " --neighbours {params.neighbours} --checks {params.checks} --threads {threads} --output {output:q}"
