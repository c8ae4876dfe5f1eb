"""Counts of kept predictions against labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nubila.classes import class_code
from nubila.curate.predictions import Output
from nubila.datasets import SampleSpec
from nubila.evaluate.strata import tags_of
from nubila.evaluate.tally import SampleTally, called_sets, tally
from nubila.infer.decide import kinds_of, likeliest

__all__ = ["sample_tally"]


def sample_tally(
    spec: SampleSpec,
    label: NDArray[np.uint8],
    probabilities: NDArray[np.float32],
    outputs: Sequence[Output],
    decision: str = "class",
) -> SampleTally:
    """Count what a prediction makes of a sample's label.

    Args:
        spec: the sample.
        label: (rows, columns) its sets of classes, 0 = ignored.
        probabilities: (outputs, rows, columns), NaN where nothing was judged.
        outputs: what each band is the probability of.
        decision: how outputs follow from probabilities, as of `ModelCard.decision`.
    """
    codes = [class_code(output.name) for output in outputs]
    judged = ~np.isnan(probabilities).any(axis=0)
    _, place = likeliest(np.nan_to_num(probabilities), kinds_of(codes, decision))
    classes = np.array(codes, np.uint8)[place]
    return SampleTally(
        id=spec.id,
        folder=spec.folder,
        group=spec.group,
        table=tally(np.where(judged, label, np.uint8(0)), classes),
        sets=spec.codes.all_sets,
        not_judged=int(np.count_nonzero((label != 0) & ~judged)),
        called=called_sets({class_code(o.name): o.classes for o in outputs}),
        tags=tags_of(spec),
    )
