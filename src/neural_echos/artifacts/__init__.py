"""Artifacts: what the notebooks in workflow/notebooks draw with: tidy tables, one style, one name table, kernel mosaics, saving."""

from neural_echos.artifacts.saving import FORMATS, Artifact, read
from neural_echos.artifacts.sheets import contact_sheet

__all__ = ["FORMATS", "Artifact", "contact_sheet", "read"]
