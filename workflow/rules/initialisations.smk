"""Initialisations: initial weights, one file for each initialisation and seed.

Reads a data set (for its classes and channels); leaves weights as safetensors with a JSON beside each that says what was done.
One job draws all initial weights of an architecture, for building the model costs more than drawing kernels.
"""

for dataset, architecture in sorted({cell[:2] for cell in CELLS}):

    rule:
        """Draw the initial weights of one architecture on one data set."""
        name:
            f"initialise_{dataset}_{architecture}"
        input:
            data=f"<results>/datasets/{dataset}.safetensors",
            code=library("kernels", *DOG, "initialisations", *ARCHITECTURES),
        output:
            weights=expand(
                f"<results>/initial/{dataset}/{architecture}/{{initialisation}}/seed{{seed}}.safetensors",
                initialisation=cell_initialisations(dataset, architecture),
                seed=SEEDS,
            ),
            made=expand(
                f"<results>/initial/{dataset}/{architecture}/{{initialisation}}/seed{{seed}}.json",
                initialisation=cell_initialisations(dataset, architecture),
                seed=SEEDS,
            ),
        log:
            f"<logs>/initialise/{dataset}/{architecture}.log",
        benchmark:
            f"<benchmarks>/initialise/{dataset}/{architecture}.tsv"
        conda:
            CONDA
        threads: 1
        resources:
            mem_mb=lambda wildcards, attempt: 3000 * attempt,
            runtime=30,
        params:
            model=config["architectures"][architecture]["model"],
            kwargs=json.dumps(config["architectures"][architecture]["kwargs"]),
            initialisations=json.dumps(cell_initialisations(dataset, architecture)),
            seeds=SEEDS,
            pattern=lambda wildcards, output: str(
                Path(output.weights[0]).parents[1] / "{initialisation}/seed{seed}.safetensors"
            ),
        shell:
            "python -m neural_echos --log {log:q} initialise {params.model:q} --data {input.data:q} --kwargs {params.kwargs:q}"
            " --initialisations {params.initialisations:q} --seeds {params.seeds} --threads {threads}"
            " --output {params.pattern:q}"
