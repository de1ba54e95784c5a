"""Figures as PDF and tables as LaTeX, named as a manuscript includes them, and a manuscript that includes them all."""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from neural_echos.artifacts.base import latex
from neural_echos.errors import EchosError
from neural_echos.files import atomic_path, read_json, write_text

SUFFIX = {"figure": "pdf", "table": "tex"}


def write_paper(folder: Path, artifacts: Sequence[Mapping[str, str]], title: str) -> None:
    """Copy every artifact into `folder` and write `paper.tex`, which includes them with their captions.

    Parameters
    ----------
    folder : Path
        Made where it is missing; what else lies in it stays.
    artifacts : sequence of mappings
        Each with id, kind ("figure" or "table"), title, caption and stem (path without suffix).
    title : str

    Raises
    ------
    EchosError
        An artifact's file is missing.
    """
    parts = []
    for one in artifacts:
        source = Path(f"{one['stem']}.{SUFFIX[one['kind']]}")
        if not source.is_file():
            raise EchosError(
                f"{source}: expected the artifact {one['id']}, found no file; make it with snakemake first"
            )
        name = paper_name(one["id"], one["kind"])
        with atomic_path(folder / name) as temporary:
            shutil.copyfile(source, temporary)
        says = read_json(f"{one['stem']}.json")["says"]
        caption = latex(f"{_numberless(one['title'])}. {one['caption']} {says}")
        parts.append(_FLOAT[one["kind"]] % (name, caption, name.partition(".")[0]))
    write_text(folder / "paper.tex", _PAPER % (latex(title), "\n".join(parts)))


def paper_name(artifact: str, kind: str) -> str:
    """Name an artifact's file as a manuscript does: figure_05_clusters becomes figure-05-clusters.pdf."""
    name = artifact.replace("_", "-")
    return f"{name if name.startswith(f'{kind}-') else f'{kind}-{name}'}.{SUFFIX[kind]}"


def _numberless(title: str) -> str:
    """A title without its number, which LaTeX counts itself."""
    return re.sub(r"^(Figure|Table) \d+\b[. ]*", "", title).rstrip(".")


_FLOAT = {
    "figure": r"""
\begin{figure}[H]
  \centering
  \includegraphics[width=\linewidth,height=.75\textheight,keepaspectratio]{%s}
  \caption{%s}
  \label{%s}
\end{figure}
""",
    "table": r"""
\artifacttable{%s}{%s}{%s}
""",
}
_PAPER = r"""%% Every artifact of the preset, as a manuscript includes it. Compiles with pdflatex, in this folder.
\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage[margin=2.5cm]{geometry}
\usepackage{graphicx,booktabs,float,pdflscape}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\let\underscore\_
\renewcommand{\_}{\underscore\allowbreak} %% long names may break
%% File, caption, label. A wide table has a page of its own, on its side, and is made smaller where it must be.
\newsavebox{\held}
\newcommand{\artifacttable}[3]{\sbox{\held}{\input{#1}}%%
  \ifdim\wd\held>1.2\textwidth
    \begin{landscape}\tablefloat{#2}{#3}\end{landscape}%%
  \else\tablefloat{#2}{#3}\fi}
\newcommand{\tablefloat}[2]{\begin{table}[H]
  \centering
  \ifdim\wd\held>\linewidth\sbox{\held}{\resizebox{\linewidth}{!}{\usebox{\held}}}\fi
  \ifdim\dimexpr\ht\held+\dp\held>.75\textheight\sbox{\held}{\resizebox*{!}{.75\textheight}{\usebox{\held}}}\fi
  \usebox{\held}
  \caption{#1}
  \label{#2}
\end{table}}
\begin{document}
\section*{%s}
%s
\end{document}
"""
