"""Scoring a model on labelled images: the protocol, the scores, the report."""

from nubila.evaluate.report import write_report
from nubila.evaluate.run import Evaluation, evaluate, predict_sample
from nubila.evaluate.scores import PROTOCOL, SCORED, Counts, SampleTally

__all__ = [
    "PROTOCOL",
    "SCORED",
    "Counts",
    "Evaluation",
    "SampleTally",
    "evaluate",
    "predict_sample",
    "write_report",
]
