"""Labels made without a person: clouds and shadows of detectors, snow and water by index.

A label that a person has drawn keeps its say. Where it leaves open which of several classes a
pixel is, as 38-Cloud's "not cloud" does for shadow, snow, water and clear ground, the automatic
label tells more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Final

import numpy as np
import rasterio
from numpy.typing import NDArray

from nubila.classes import CLASS_NAMES, class_set
from nubila.curate.aids import Aids, aids_told, check_snow_line, find_aids
from nubila.curate.origin import sample_digest
from nubila.curate.predictions import raster_name
from nubila.curate.pseudo import Sureness, mean_detection, sure_sets, sure_share
from nubila.curate.shadow import lit, shadow_sets
from nubila.curate.surface import SURFACE, snow_line, surface_sets
from nubila.curate.thickness import thickness_sets, under_cirrus
from nubila.datasets import SampleSpec, load_sample
from nubila.datasets.sample import unseen
from nubila.detect import Detection, Detector, View, version_of, view_of
from nubila.errors import InputError
from nubila.raster.atomic import atomic_path

__all__ = [
    "AutomaticLabel",
    "Means",
    "automatic_label",
    "automatic_labels",
    "labelled_row",
    "set_codes",
]

_TOLD: Final = "NUBILA_LABEL"  # tag of a mask: how it was made
# Counts up with the rules of what indices tell: masks that earlier rules made are made anew.
_RULES: Final = 7
_FIGURES: Final = ("judged", "sure", "changed", "disputed")
_CONFIDENCE: Final = "confidence"
_ALL: Final = (1 << len(CLASS_NAMES)) - 1
_CLOUD: Final = class_set(["cloud", "thin cloud"])
_SHADOW: Final = class_set(["cloud shadow"])


@dataclass(frozen=True)
class AutomaticLabel:
    """What became of a sample.

    Attributes:
        spec: of the sample.
        path: of the mask of label sets.
        judged: share of the pixels that the detectors judge.
        sure: share of the judged pixels that the detectors are certain of; 1 where none was asked.
        changed: share of the pixels of a drawn label that now allow fewer classes.
        disputed: share of the pixels of a drawn label that the detectors are certain is wrong; the
            drawn label stays there.
        confidence: mean over its labelled pixels of the probability that the detectors give to what
            the label allows; None where no detector judged a pixel.
    """

    spec: SampleSpec
    path: Path
    judged: float
    sure: float
    changed: float
    disputed: float
    confidence: float | None = None


def automatic_label(
    view: View,
    detection: Detection | None,
    drawn: NDArray[np.uint8] | None,
    *,
    sureness: Sureness | None = None,
    indices: bool = True,
    cirrus: bool = True,
    aids: Aids | None = None,
) -> NDArray[np.uint8]:
    """Return a label of what a detection and indices tell, within what a person has drawn.

    Args:
        view: the image.
        detection: of cloud and shadow; None where no detector could judge it.
        drawn: (rows, columns) uint8 sets of classes by a person, 0 = none; None for no label.
        sureness: what of the detection is ruled out.
        indices: tell snow, water and clear apart by index where the sky is clear, shadow by the
            sun's place, and thick cloud from thin by its brightness; overrule detectors where what
            they call shadow is bright.
        cirrus: with indices, leave open whether ground that detectors call open is under thin cloud
            where the cirrus band shows some.
        aids: what else helps to tell them.

    Returns:
        (rows, columns) uint8 sets of classes; 0 = nothing is known, or the pixel is unseen.
    """
    told = np.full(view.image.shape[1:], _ALL, np.uint8)
    if detection is not None:
        sets = sure_sets(detection, sureness)
        told = np.where(sets == 0, told, sets)
    if indices:
        bright = lit(view)
        told[bright] &= np.uint8(_ALL & ~_SHADOW)
        told[bright & (told == 0)] = _ALL & ~_SHADOW
        told = _grounded(view, told, _believed(drawn, told), aids or Aids(), cirrus=cirrus)
    label = _believed(drawn, told)
    missing = unseen(view.image, view.bands)
    return np.where(missing | (label == _ALL), 0, label).astype(np.uint8)


def _believed(drawn: NDArray[np.uint8] | None, told: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what is told within what is drawn, and alone where nothing is drawn."""
    return told if drawn is None else np.where(drawn == 0, told, _within(drawn, told))


def _grounded(
    view: View,
    told: NDArray[np.uint8],
    sky: NDArray[np.uint8],
    aids: Aids,
    *,
    cirrus: bool,
) -> NDArray[np.uint8]:
    """Return what is left of sets of classes once indices, sun and cirrus have told.

    `sky` is the same with what a person has drawn: clouds that were drawn have shadows too.
    """
    height = view.band("elevation")
    below = None
    if height is not None:
        own = snow_line(view, sky & _CLOUD == 0) if aids.snow_line is None else aids.snow_line
        below = None if own is None else height * 1000 < own
    surface = surface_sets(view, below=below, water_map=aids.water)
    if aids.sun is not None and view.resolution is not None:
        told = _within(told, shadow_sets(view, sky, surface, aids.sun))
    told = _within(told, surface | np.uint8(_ALL & ~SURFACE))
    told = _within(told, thickness_sets(view, sky, surface))
    return under_cirrus(view, told, sky, surface) if cirrus else told


@dataclass(frozen=True)
class Means:
    """What automatic labels are made with.

    Attributes:
        detectors: of cloud and shadow; their mean is taken, and one that lacks a band of a sample
            is left out there. None at all is no error: then indices have to do.
        flips: a key of `nubila.detect.FLIPS`.
        sureness: what of the detectors' mean is ruled out.
        indices: tell snow, water and clear apart by index where the sky is clear, shadow by the
            sun's place, and thick cloud from thin by its brightness; overrule detectors where what
            they call shadow is bright.
        cirrus: with indices, leave open whether ground that detectors call open is under thin cloud
            where the cirrus band shows some.
        replace: a drawn label has no say, and is only compared with.
        snow_line: metres below which there is no snow, one for all the year or one a month; empty
            for what an image itself tells. It needs a band of elevation.
        water: a map of water, as `aids.find_aids` takes it.
    """

    detectors: tuple[Detector, ...]
    flips: str = "none"
    sureness: Sureness = field(default_factory=Sureness)
    indices: bool = True
    cirrus: bool = True
    replace: bool = False
    snow_line: tuple[float, ...] = ()
    water: Path | None = None

    def __post_init__(self) -> None:
        """Check the snow line.

        Raises:
            InputError: it has neither one number nor twelve.
        """
        check_snow_line(self.snow_line)

    @property
    def told(self) -> str:
        """The same in words: masks carry it, so that those made in another way are made anew."""
        names = ", ".join(version_of(detector) for detector in self.detectors) or "none"
        rules = f"indices {self.indices and _RULES}" + ("" if self.cirrus else ", no cirrus")
        return f"{names}; flips {self.flips}; {self.sureness}; {rules}; replace {self.replace}"

    def told_of(self, spec: SampleSpec) -> str:
        """The same with what helps to label one image, and what that and its drawn label are.

        Raises:
            ManifestError: a column that is needed holds no such value.
        """
        aids = aids_told(spec, self.snow_line, self.water) if self.indices else ""
        sample = f"sample {sample_digest(spec)}"
        return "; ".join(part for part in (self.told, aids, sample) if part)


def automatic_labels(
    specs: Sequence[SampleSpec], means: Means, folder: Path, *, threads: int = 1
) -> Iterator[AutomaticLabel]:
    """Label samples in order; masks that were made of the same in the same way stay.

    Args:
        specs: with or without a label.
        means: how.
        folder: gets ``<sample>.tif``: one band of label sets as uint8, on the image's grid of
            pixels but without a georeference.
        threads: samples that are labelled side by side.

    Raises:
        InputError: detectors differ in their outputs, or a mask would lie where an image or a
            label lies.
        ManifestError: a sample cannot be read.
        OutputError: a mask cannot be written.
    """
    _keep_originals(specs, folder)
    with ThreadPoolExecutor(threads) as pool:
        try:
            yield from pool.map(lambda spec: _label(spec, means, folder), specs)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _label(spec: SampleSpec, means: Means, folder: Path) -> AutomaticLabel:
    path = _mask_path(spec, folder)
    # Told before anything is read: of files that change meanwhile, the next run makes it anew.
    told = means.told_of(spec)
    if (done := _kept(spec, path, told)) is not None:
        return done
    sample = load_sample(spec)
    view = view_of(sample)
    able = [d for d in means.detectors if not d.lacks(view)]
    detection = mean_detection(able, view, means.flips) if able else None
    drawn = None if spec.mask is None else sample.label
    kept = None if means.replace else drawn
    rows, columns = view.image.shape[1:]
    aids = find_aids(spec, (rows, columns), means.snow_line, means.water) if means.indices else None
    label = automatic_label(
        view,
        detection,
        kept,
        sureness=means.sureness,
        indices=means.indices,
        cirrus=means.cirrus,
        aids=aids,
    )
    judged = 0.0 if detection is None else float(detection.judged.mean())
    sure = 1.0 if detection is None else sure_share(detection, means.sureness)
    changed, disputed = _against(drawn, label, detection, means.sureness)
    confidence = None if detection is None else _confidence(detection, label)
    done = AutomaticLabel(
        spec,
        path,
        judged=round(judged, 4),
        sure=round(sure, 4),
        changed=round(changed, 4),
        disputed=round(disputed, 4),
        confidence=confidence,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(done, label, told)
    return done


def _mask_path(spec: SampleSpec, folder: Path) -> Path:
    """Return where a sample's mask goes: always inside the folder, wherever its image lies."""
    name = PurePath(spec.id)
    inside = not name.is_absolute() and ".." not in name.parts
    return folder / (f"{spec.id}.tif" if inside else raster_name(spec.id))


def _keep_originals(specs: Sequence[SampleSpec], folder: Path) -> None:
    originals = {path.resolve() for spec in specs for path in spec.files}
    for spec in specs:
        path = _mask_path(spec, folder)
        if path.resolve() in originals:
            raise InputError(
                f"{path}: an image or a label lies there, and the new mask would replace it; name "
                f"another folder with -o"
            )


def _kept(spec: SampleSpec, path: Path, told: str) -> AutomaticLabel | None:
    """Return what an earlier run made of the same sample in the same way, or None."""
    if not path.is_file():
        return None
    with rasterio.open(path) as file:
        tags = file.tags()
    if tags.get(_TOLD) != told:
        return None
    judged, sure, changed, disputed = (float(tags[name]) for name in _FIGURES)
    known = tags.get(_CONFIDENCE)
    confidence = None if known is None else float(known)
    return AutomaticLabel(spec, path, judged, sure, changed, disputed, confidence)


def set_codes() -> str:
    """Return the manifest's ``codes`` of masks whose values are label sets themselves."""
    entries = ["0=ignored"]
    for bits in range(1, _ALL + 1):
        names = [name for code, name in CLASS_NAMES.items() if bits >> code & 1]
        entries.append(f"{bits}={'|'.join(names)}")
    return ";".join(entries)


def _within(label: NDArray[np.uint8], told: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what both allow, or the first where they agree on nothing."""
    both = label & told
    return np.where(both == 0, label, both)


def _against(
    drawn: NDArray[np.uint8] | None,
    label: NDArray[np.uint8],
    detection: Detection | None,
    sureness: Sureness,
) -> tuple[float, float]:
    if drawn is None or not (drawn != 0).any():
        return 0.0, 0.0
    known = drawn != 0
    changed = float(((label != drawn) & known).sum() / known.sum())
    if detection is None:
        return changed, 0.0
    sets = sure_sets(detection, sureness)
    disputed = (sets != 0) & (sets & drawn == 0) & known
    return changed, float(disputed.sum() / known.sum())


def _confidence(detection: Detection, label: NDArray[np.uint8]) -> float | None:
    known = detection.judged & (label != 0)
    if not known.any():
        return None
    total = np.zeros(int(known.sum()), np.float32)
    for output, probability in zip(detection.outputs, detection.probabilities, strict=True):
        total += np.where(label[known] & output.bits != 0, probability[known], np.float32(0))
    return round(float(total.mean()), 4)


def _write(done: AutomaticLabel, label: NDArray[np.uint8], told: str) -> None:
    rows, columns = label.shape
    profile = {"driver": "GTiff", "width": columns, "height": rows, "count": 1, "dtype": "uint8"}
    figures = {name: str(getattr(done, name)) for name in _FIGURES}
    if done.confidence is not None:
        figures[_CONFIDENCE] = str(done.confidence)
    with (
        atomic_path(done.path) as temporary,
        rasterio.open(temporary, "w", **profile, compress="deflate") as file,
    ):
        file.write(label, 1)
        file.update_tags(**{_TOLD: told}, **figures)


def labelled_row(cells: Mapping[str, str], label: AutomaticLabel, root: Path) -> dict[str, str]:
    """Return a manifest's row with its mask replaced, and what was measured as further columns.

    Args:
        cells: of the row.
        label: what became of it.
        root: what the manifest's paths are relative to.
    """
    # The mask has the image's pixels, whichever part of another file the drawn one was, and says
    # more than the drawn one did of the pixels that it did not cover.
    whole = {name: "" for name in ("corner", "coverage") if name in cells}
    return {
        **cells,
        **whole,
        "mask": os.path.relpath(label.path, root),
        "codes": set_codes(),
        **{name: f"{getattr(label, name):.4f}" for name in _FIGURES},
        _CONFIDENCE: "" if label.confidence is None else f"{label.confidence:.4f}",
    }
