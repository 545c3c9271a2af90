"""The report of a classifier run: one HTML file that needs nothing else."""

from trainers.report.predictions import Predictions
from trainers.report.report import write_report

__all__ = ["Predictions", "write_report"]
