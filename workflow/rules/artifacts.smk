"""Artifacts: one papermill notebook for every figure and table.

Reads the other rules' tables; writes figures (PDF, PNG, SVG), tables (CSV, Markdown, LaTeX, HTML), provenance and rendered notebooks.
"""

NOTEBOOK = "workflow/notebooks/{artifact}.ipynb"


rule figure:
    """Render the notebook of a figure, which writes the figure's files."""
    input:
        unpack(lambda w: ARTIFACTS.inputs(w.artifact)),
        notebook=lambda w: source(NOTEBOOK.format(artifact=w.artifact)),
    output:
        pdf="<results>/figures/{artifact}.pdf",
        png=report(
            "<results>/figures/{artifact}.png",
            caption="../report/caption.rst",
            category="Figures",
            labels=lambda w: {"artifact": ARTIFACTS.declared(w.artifact)["title"]},
        ),
        others=[f"<results>/figures/{{artifact}}.{suffix}" for suffix in config["figures"]["formats"]],
        made="<results>/figures/{artifact}.json",
        rendered="<results>/notebooks/{artifact}.ipynb",
    log:
        "<logs>/figure/{artifact}.log",
        notebook="<logs>/figure/{artifact}.ipynb",
    benchmark:
        "<benchmarks>/figure/{artifact}.tsv"
    wildcard_constraints:
        artifact=alternatives(ARTIFACTS.of_kind("figure")),
    conda:
        CONDA
    resources:
        mem_mb=memory(2000),
        runtime=20,
    params:
        code=lambda w: fingerprint("render", ROOT / NOTEBOOK.format(artifact=w.artifact)),
        inputs=lambda w, input: json.dumps(
            {name: list(input.get(name)) for name in ARTIFACTS.declared(w.artifact)["reads"]}
        ),
        options=lambda w: json.dumps(ARTIFACTS.options(w.artifact)),
        style=json.dumps(config["figures"]),
        stem=lambda w, output: str(Path(output.made).with_suffix("")),
        caption=lambda w: ARTIFACTS.declared(w.artifact)["caption"],
    shell:
        "python -m neural_echos --log {log[0]:q} render {input.notebook:q} --inputs {params.inputs:q} --options {params.options:q}"
        " --style {params.style:q} --output {params.stem:q} --rendered {output.rendered:q} --draft {log.notebook:q}"


rule table:
    """Render the notebook of a table, which writes the table's files."""
    input:
        unpack(lambda w: ARTIFACTS.inputs(w.artifact)),
        notebook=lambda w: source(NOTEBOOK.format(artifact=w.artifact)),
    output:
        csv="<results>/tables/{artifact}.csv",
        md="<results>/tables/{artifact}.md",
        tex="<results>/tables/{artifact}.tex",
        html=report(
            "<results>/tables/{artifact}.html",
            caption="../report/caption.rst",
            category="Tables",
            labels=lambda w: {"artifact": ARTIFACTS.declared(w.artifact)["title"]},
        ),
        made="<results>/tables/{artifact}.json",
        rendered="<results>/notebooks/{artifact}.ipynb",
    log:
        "<logs>/table/{artifact}.log",
        notebook="<logs>/table/{artifact}.ipynb",
    benchmark:
        "<benchmarks>/table/{artifact}.tsv"
    wildcard_constraints:
        artifact=alternatives(ARTIFACTS.of_kind("table")),
    conda:
        CONDA
    resources:
        mem_mb=memory(2000),
        runtime=20,
    params:
        code=lambda w: fingerprint("render", ROOT / NOTEBOOK.format(artifact=w.artifact)),
        inputs=lambda w, input: json.dumps(
            {name: list(input.get(name)) for name in ARTIFACTS.declared(w.artifact)["reads"]}
        ),
        options=lambda w: json.dumps(ARTIFACTS.options(w.artifact)),
        stem=lambda w, output: str(Path(output.made).with_suffix("")),
        caption=lambda w: ARTIFACTS.declared(w.artifact)["caption"],
    shell:
        "python -m neural_echos --log {log[0]:q} render {input.notebook:q} --inputs {params.inputs:q} --options {params.options:q}"
        " --output {params.stem:q} --rendered {output.rendered:q} --draft {log.notebook:q}"


rule docs_images:
    """Copy Figure 1 and the gallery of receptive-field models into the documentation; runs only on request."""
    input:
        kernels="<results>/figures/figure_01_kernels_beside_dogs.png",
        gallery="<results>/figures/receptive_field_gallery.png",
    output:
        kernels=local("docs/images/kernels_beside_dogs.png"),
        gallery=local("docs/images/receptive_fields.png"),
    log:
        "<logs>/docs_images.log",
    benchmark:
        "<benchmarks>/docs_images.tsv"
    conda:
        CONDA
    resources:
        mem_mb=memory(500),
        runtime=5,
    shell:
        "(cp {input.kernels:q} {output.kernels:q} && cp {input.gallery:q} {output.gallery:q}) 2> {log:q}"
