"""The documentation as a site, READMEs included: `make site` reads it from the root of the repository."""

project = "Neural Echos, reproduced"
author = "the founders of this reproduction"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/contents"
include_patterns = [
    "docs/**",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "config/README.md",
    "benchmarks/README.md",
    "results/README.md",
    "results/published/**",
]
html_theme = "furo"
templates_path = ["templates"]
html_additional_pages = {"index": "index.html"}  # leads to root_doc
html_title = project
myst_heading_anchors = 3
html_copy_source = False
autodoc_typehints = "none"  # the numpydoc sections say more
napoleon_google_docstring = False
suppress_warnings = ["toc.not_included"]  # published tables, which their README links
