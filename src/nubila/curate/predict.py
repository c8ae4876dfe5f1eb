"""Running any detector over samples and keeping what it says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nubila.classes import CLASS_NAMES
from nubila.curate.origin import image_digest
from nubila.curate.predictions import Output, Predictions, PredictionWriter, open_predictions
from nubila.datasets import SampleSpec, load_sample
from nubila.detect import Detector, version_of, view_of

__all__ = ["keep_predictions"]


def keep_predictions(
    detector: Detector,
    specs: Sequence[SampleSpec],
    folder: str | Path,
    *,
    threads: int = 1,
    report: Callable[[str], None],
) -> Predictions:
    """Predict samples and keep the predictions; those of the same image that are there stay.

    A sample that the detector cannot judge, for lack of a band, is told and left out.

    Args:
        detector: as `detect.open_detector` gives it.
        specs: the samples.
        folder: of the predictions, made if it is not there.
        threads: samples side by side.
        report: called with each line for people.

    Returns:
        What this detector says of these samples, whatever else the folder holds.

    Raises:
        InputError: the folder holds predictions of other outputs.
        ManifestError: a sample cannot be read.
        OutputError: the folder cannot be written.
    """
    outputs = [Output(CLASS_NAMES[o.code], o.bits) for o in detector.outputs]
    version = version_of(detector)
    writer = PredictionWriter(folder, outputs)
    left = writer.left(specs, version)

    def predict(spec: SampleSpec) -> str:
        # Told before the image is read: if it changes meanwhile, the next run predicts it anew.
        digest = image_digest(spec)
        view = view_of(load_sample(spec))
        if lacking := detector.lacks(view):
            return f"{spec.id}: {detector.name} cannot judge it: {lacking}"
        found = detector.detect(view)
        writer.write(
            spec, found.probabilities, model=version, decision=found.decision, digest=digest
        )
        return ""

    done = {spec.id for spec in specs}
    with ThreadPoolExecutor(threads) as pool:
        try:
            for spec, told in zip(left, pool.map(predict, left), strict=True):
                if told:
                    report(told)
                    done.discard(spec.id)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return open_predictions(folder).only(done)
