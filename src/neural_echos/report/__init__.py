"""Report: the page to read first, figures and tables ready for a manuscript, and the RO-Crate."""

from neural_echos.report.crate import write_crate
from neural_echos.report.page import write_report
from neural_echos.report.paper import write_paper

__all__ = ["write_crate", "write_paper", "write_report"]
