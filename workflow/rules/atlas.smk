"""Atlas: a page on the kernels of each network, and one that lists them all, if the preset requests it (`atlas`).

Reads banks, clusters, and the tables of structure and pattern shares; writes self-contained pages.
"""


rule inspect:
    """Write the page on the kernels of one network."""
    input:
        bank="<results>/banks/{model}.parquet",
        structure="<results>/evaluation/structure.parquet",
    output:
        "<results>/atlas/{model}.html",
    log:
        "<logs>/inspect/{model}.log",
    benchmark:
        "<benchmarks>/inspect/{model}.tsv"
    conda:
        CONDA
    resources:
        mem_mb=memory(2000, per_mb=20),
        runtime=30,
    params:
        code=fingerprint("inspect"),
        timm=lambda w: PRESET.models[w.model].timm,
        threshold=config["patterns"]["threshold"],
    shell:
        "python -m neural_echos --log {log:q} inspect {input.bank:q} --timm={params.timm:q} --threshold {params.threshold}"
        " --zoo {input.structure:q} --index index.html --output {output:q}"


rule atlas:
    """List all networks in one table, with a link to the page of each."""
    input:
        pages=collect("<results>/atlas/{model}.html", model=PRESET.models),
        banks=collect("<results>/banks/{model}.parquet", model=PRESET.models),
        clusters=collect("<results>/clusters/{model}.parquet", model=PRESET.models),
        structure="<results>/evaluation/structure.parquet",
        shares="<results>/evaluation/pattern_shares.parquet" if PRESET.needs_patterns() else [],
    output:
        ARTIFACTS.atlas_file(),
    log:
        "<logs>/atlas.log",
    benchmark:
        "<benchmarks>/atlas.tsv"
    conda:
        CONDA
    resources:
        mem_mb=memory(2000),
        runtime=10,
    params:
        code=fingerprint("atlas"),
        declared=json.dumps(ARTIFACTS.atlas_entries()),
        models=lambda w, input: json.dumps(
            ARTIFACTS.atlas_entries(bank=input.banks, clusters=input.clusters, page=input.pages)
        ),
        scale=config["scale"],
    shell:
        "python -m neural_echos --log {log:q} atlas {params.models:q} --structure {input.structure:q} --shares {input.shares:q}"
        " --scale {params.scale:q} --output {output:q}"
