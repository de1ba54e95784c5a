"""Artifacts: tools for the notebooks in workflow/notebooks: tidy tables, one style, one name table, kernel mosaics, saving."""

from importlib.util import find_spec

if find_spec("seaborn") is None:  # fail on import, as without Matplotlib, rather than in the middle of a figure
    raise ModuleNotFoundError("No module named 'seaborn'", name="seaborn")
