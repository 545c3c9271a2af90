"""The report of a classifier run, and its answers as a table."""

from trainers.report.predictions import Predictions
from trainers.report.report import write_report
from trainers.report.table import write_predictions

__all__ = ["Predictions", "write_predictions", "write_report"]
