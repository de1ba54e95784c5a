"""Commands that answer questions about a preset, a result or this machine; they change nothing."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from neural_echos.commands.arguments import AsJson, Device, Root
from neural_echos.commands.printing import print_table


def plan(
    *,
    preset: Annotated[list[str], Option(help="Presets on top of config/config.yaml, by name or path (.yaml).")] = [],
    root: Root = Path(),
    seconds: Annotated[float, Option(help="Total time for calibration, in seconds.")] = 60,
    devices: Annotated[int, Option(min=1, help="Number of devices that work at the same time.")] = 1,
    watts: Annotated[float | None, Option(help="Power of one device under load, W, to estimate energy.")] = None,
    device: Device = "auto",
    threads: Annotated[int | None, Option(min=1, help="CPU threads; all by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Estimate the cost of a preset's trainings by calibrating this machine; nothing is started."""
    import os

    from neural_echos.design.load import load_preset
    from neural_echos.training import cost

    config, threads = load_preset(root, *preset), threads or os.cpu_count() or 1
    found = cost.plan(config, root, seconds=seconds, device=device, threads=threads, devices=devices, watts=watts)
    print((cost.plan_json if as_json else cost.render_plan)(*found))


def explain(
    path: Annotated[Path, Argument(help="A result, such as results/figures/figure_05_clusters.pdf.")],
    *,
    root: Root = Path(),
    as_json: AsJson = False,
) -> None:
    """Explain how a result was made: its steps, sources, commit and machine, and the command that reproduces it."""
    from neural_echos.report.explain import explain as explain_result
    from neural_echos.report.explain import explanation_json, render_explanation

    found = explain_result(path, root)
    print((explanation_json if as_json else render_explanation)(found))


def doctor(*, root: Root = Path(), as_json: AsJson = False) -> None:
    """Report what this machine has, what will not work on it, and which presets it can run."""
    import json

    from neural_echos.errors import EchosError
    from neural_echos.report.doctor import PROBLEM, examine

    findings = examine(root)
    if as_json:
        print(json.dumps([vars(one) for one in findings], indent=2))
    else:
        rows = [(one.what, one.state, one.found, one.advice) for one in findings]
        print_table(("what", "state", "found", "what to do"), rows, whole=("what", "state"))
    problems = [one.what for one in findings if one.state == PROBLEM]
    if problems:
        raise EchosError(f"doctor: this machine cannot run the demo because of {', '.join(problems)}; see above")
