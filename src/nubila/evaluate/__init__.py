"""Scoring models on labelled images: the protocol, the scores, the report."""

from nubila.evaluate.boundary import Buffer, parse_buffer
from nubila.evaluate.report import write_report
from nubila.evaluate.run import Evaluation, compare, evaluate, evaluate_together, predict_sample
from nubila.evaluate.run_report import write_run_report
from nubila.evaluate.scores import PROTOCOL, SCORED, Counts, SampleTally

__all__ = [
    "PROTOCOL",
    "SCORED",
    "Buffer",
    "Counts",
    "Evaluation",
    "SampleTally",
    "compare",
    "evaluate",
    "evaluate_together",
    "parse_buffer",
    "predict_sample",
    "write_report",
    "write_run_report",
]
