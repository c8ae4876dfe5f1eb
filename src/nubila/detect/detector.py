"""What a detector of clouds is: reflectance in, probabilities of sets of nubila's classes out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nubila.classes import NO_DATA, DecisionRule, class_set
from nubila.datasets import Sample
from nubila.errors import BandError
from nubila.infer.decide import kinds_of, likeliest

__all__ = ["Detection", "Detector", "Output", "View", "as_detection", "refusal", "view_of"]


@dataclass(frozen=True)
class View:
    """What a detector looks at.

    Attributes:
        image: (bands, rows, columns) float32 reflectance, 1.0 = 100 %, NaN = no data.
        bands: common names in the order of the image's first axis.
        sensor: as in `nubila.bands.SENSORS`; empty where nobody knows.
        level: processing level (``L1C``, ``L2A``, ``L1TP``, ``L2SP`` ...); empty where nobody
            knows.
        resolution: metres a pixel, or None.
        name: of the sample or scene, for messages.
        own_mask: (rows, columns) uint8 sets of classes that the product's own mask allows, 0 where
            it says nothing; None where the product has none.
    """

    image: NDArray[np.float32]
    bands: tuple[str, ...]
    sensor: str = ""
    level: str = ""
    resolution: float | None = None
    name: str = ""
    own_mask: NDArray[np.uint8] | None = None

    @property
    def surface(self) -> bool:
        """Whether this is surface reflectance; the top of the atmosphere where nobody says."""
        return self.level.upper().startswith("L2")

    def band(self, name: str) -> NDArray[np.float32] | None:
        """Return (rows, columns) of a band, of the narrow near infrared for a missing ``nir``.

        None where there is no such band, or where it has no data at all.
        """
        names = (name, "nir08") if name == "nir" else (name,)
        for known in names:
            if known in self.bands:
                values: NDArray[np.float32] = self.image[self.bands.index(known)]
                if not np.isnan(values).all():
                    return values
        return None

    def missing(self, names: Iterable[str]) -> str:
        """Return ``no red, nir`` for the bands that are not to be had, empty if all are."""
        absent = [name for name in names if self.band(name) is None]
        return f"no {', '.join(absent)}" if absent else ""

    def stack(self, names: tuple[str, ...]) -> NDArray[np.float32] | None:
        """Return (names, rows, columns), or None where one of them is not to be had."""
        found = [self.band(name) for name in names]
        whole = [values for values in found if values is not None]
        return np.stack(whole) if len(whole) == len(names) else None


@dataclass(frozen=True)
class Output:
    """One answer of a detector.

    Attributes:
        code: nubila's class code that pixels called so get.
        stands_for: names of the classes that it may be.
    """

    code: int
    stands_for: tuple[str, ...]

    @property
    def bits(self) -> int:
        """The set of classes as bits (`nubila.classes.class_set`)."""
        return class_set(self.stands_for)


@dataclass(frozen=True)
class Detection:
    """What a detector made of a view.

    Attributes:
        probabilities: (outputs, rows, columns) float32 that sum to 1; NaN = not judged.
        outputs: what the first axis stands for.
        graded: False for a detector that is certain of each pixel, so that there is nothing to
            calibrate.
        decision: how classes follow from probabilities, as of `ModelCard.decision`.
    """

    probabilities: NDArray[np.float32]
    outputs: tuple[Output, ...]
    graded: bool = True
    decision: DecisionRule = "class"

    @property
    def judged(self) -> NDArray[np.bool_]:
        """(rows, columns): where there is an answer."""
        judged: NDArray[np.bool_] = ~np.isnan(self.probabilities[0])
        return judged

    @property
    def classes(self) -> NDArray[np.uint8]:
        """(rows, columns) class codes of the most probable outputs, 255 = not judged."""
        codes = [output.code for output in self.outputs]
        _, place = likeliest(self.probabilities, kinds_of(codes, self.decision))
        return np.where(self.judged, np.array(codes, np.uint8)[place], np.uint8(NO_DATA))

    def probability(self, bits: int) -> NDArray[np.float32]:
        """Return (rows, columns) the probability of a set of classes.

        Outputs count where all that they stand for is in the set, so it is a lower bound where an
        output stands for classes of the set and others.
        """
        inside = [k for k, output in enumerate(self.outputs) if output.bits & ~bits == 0]
        total = self.probabilities[inside].sum(axis=0, dtype=np.float32)
        return np.where(self.judged, total, np.float32(np.nan))


def refusal(detector: Detector, view: View) -> BandError:
    """Return the error of a detector that cannot judge a view; it says what is lacking."""
    return BandError(f"{view.name}: {detector.name} cannot judge it: {detector.lacks(view)}")


class Detector(Protocol):
    """Finds clouds. Safe to call from several threads."""

    @property
    def name(self) -> str:
        """What reports call it."""

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What it tells apart."""

    def lacks(self, view: View) -> str:
        """Return what it would need to judge a view, in words; empty if it can."""

    def detect(self, view: View) -> Detection:
        """Judge a view.

        Raises:
            BandError: it cannot; the message says what it lacks.
        """


def as_detection(codes: NDArray[np.uint8], outputs: tuple[Output, ...]) -> Detection:
    """Return a detection that is certain of each pixel.

    Args:
        codes: (rows, columns) class codes; those that no output has count as not judged.
        outputs: what the detector tells apart.
    """
    known = np.isin(codes, [output.code for output in outputs])
    certain = np.stack([(codes == output.code).astype(np.float32) for output in outputs])
    certain[:, ~known] = np.nan
    return Detection(certain, outputs, graded=False)


def view_of(sample: Sample, own_mask: NDArray[np.uint8] | None = None) -> View:
    """Return a labelled sample as detectors look at it.

    Args:
        sample: its pixels.
        own_mask: from `detect.own_mask`, of a sample that is a product.
    """
    meta = sample.meta
    return View(
        image=sample.image,
        bands=sample.bands,
        sensor=meta.sensor,
        level=meta.level,
        resolution=meta.resolution,
        name=meta.id,
        own_mask=own_mask,
    )
