"""Artifacts: what the notebooks in workflow/notebooks draw with: tidy tables, one style, one name table, kernel mosaics, saving."""

from importlib.util import find_spec

if find_spec("seaborn") is None:  # told on import, as a missing Matplotlib is, and not when a figure is half drawn
    raise ModuleNotFoundError("No module named 'seaborn'", name="seaborn")
