"""Ways to vary a chip; each is a pure function of the chip and a random generator.

Images are (7, rows, columns) float32 reflectance in the network's band order, NaN = no data;
labels are (rows, columns) uint8 sets of classes. What moves pixels moves image and label in one
call, so that they cannot come apart.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from nubila.raster.resample import plan_axis, resample
from nubila.recipe.augment import Augment

__all__ = ["crop", "drop_bands", "radiometry", "tear", "turn"]

_Image = NDArray[np.float32]
_Label = NDArray[np.uint8]

# Optional bands by their place in the network's order (nir, swir16, swir22, cirrus) that a sensor
# or a label collection leaves: RGB cameras and quick-looks, RGB+NIR (PlanetScope, On Cloud N),
# surface reflectance without the cirrus band, and the six bands of TM and ETM+.
_LEFT: Final[tuple[tuple[int, ...], ...]] = ((), (3,), (3, 4, 5), (3, 4, 5, 6))
_OPTIONAL: Final = (3, 4, 5, 6)
_VISIBLE: Final = 3

# Share of an even haze by band: Rayleigh and aerosol scattering fall with the wavelength; chosen
# to look like real haze, not measured. 0 at 1.375 um, where water vapour absorbs.
_HAZE: Final = np.array([1.0, 0.75, 0.6, 0.4, 0.15, 0.1, 0.0], np.float32)[:, None, None]
_QUICKLOOK_LIMIT: Final = 0.4


def crop(
    image: NDArray[np.floating],
    label: _Label,
    *,
    size: int,
    zoom: float,
    random: np.random.Generator,
) -> tuple[_Image, _Label]:
    """Cut a square chip at a random place and scale.

    Reflectance goes through the area mean or linear interpolation that scenes are read with,
    labels take the nearest pixel. Where the sample is smaller than a chip, the rest has no data.
    """
    rows, columns = label.shape
    finest = -np.log(zoom)
    coarsest = min(-finest, max(np.log(min(rows, columns) / size), finest))
    ratio = float(np.exp(random.uniform(finest, coarsest)))
    if abs(ratio - 1) < 0.1:  # most chips that are nearly at scale stay sharp
        ratio = 1.0
    start = [_start(length, size, ratio, random) for length in (rows, columns)]
    count = [min(size, int(length / ratio)) for length in (rows, columns)]
    along_rows, along_columns = (
        plan_axis(0, n, ratio=ratio, offset=offset, length=length)
        for n, offset, length in zip(count, start, (rows, columns), strict=True)
    )
    block = image[
        :, along_rows.start : along_rows.stop, along_columns.start : along_columns.stop
    ].astype(np.float32)
    nearest = [
        np.minimum(((np.arange(n) + 0.5) * ratio + offset).astype(np.intp), length - 1)
        for n, offset, length in zip(count, start, (rows, columns), strict=True)
    ]
    chip = np.full((len(image), size, size), np.nan, np.float32)
    for target, band in zip(chip, block, strict=True):
        if not np.isnan(band[0, 0]) or not np.isnan(band).all():
            target[: count[0], : count[1]] = resample(band, along_rows, along_columns)
    cut = np.zeros((size, size), np.uint8)
    cut[: count[0], : count[1]] = label[np.ix_(*nearest)]
    cut[np.isnan(chip).all(axis=0)] = 0
    return chip, cut


def _start(length: int, size: int, ratio: float, random: np.random.Generator) -> int:
    return int(random.integers(0, max(length - int(np.ceil(size * ratio)), 0) + 1))


def turn(image: _Image, label: _Label, random: np.random.Generator) -> tuple[_Image, _Label]:
    """Turn by a multiple of 90 degrees and mirror, one of eight ways."""
    quarters, mirrored = int(random.integers(4)), bool(random.integers(2))
    image, label = np.rot90(image, quarters, (1, 2)), np.rot90(label, quarters)
    if mirrored:
        image, label = image[:, :, ::-1], label[:, ::-1]
    return image, label


def drop_bands(image: _Image, spec: Augment, random: np.random.Generator) -> None:
    """Take optional bands away in place, so that one network serves every set of bands."""
    if random.random() < spec.full_bands:
        return
    if random.random() < 0.8:
        left = _LEFT[int(random.integers(len(_LEFT)))]
    else:
        left = tuple(band for band in _OPTIONAL if random.random() < 0.5)
    for band in _OPTIONAL:
        if band not in left:
            image[band] = np.nan


def radiometry(image: _Image, spec: Augment, random: np.random.Generator) -> None:
    """Vary gain, offset, haze, saturation and noise in place; brightness stays recognisable."""
    bands = len(image)
    gain = random.normal(1, spec.gain) * random.normal(1, spec.band_gain, bands)
    image *= np.clip(gain, 0.5, 2).astype(np.float32)[:, None, None]
    image += random.normal(0, spec.band_offset, bands).astype(np.float32)[:, None, None]
    if random.random() < spec.haze:
        veil = np.float32(random.uniform(0.01, 0.07)) * _HAZE
        image *= 1 - 1.5 * veil
        image += veil
    if random.random() < 0.5:
        noise = random.standard_normal(image.shape, np.float32)
        image += noise * np.float32(random.uniform(0, spec.noise))
    if random.random() < spec.saturate:
        visible = image[:_VISIBLE]
        step = np.float32(_QUICKLOOK_LIMIT / 255)
        visible[...] = np.round(np.clip(visible, 0, _QUICKLOOK_LIMIT) / step) * step


def tear(image: _Image, label: _Label, spec: Augment, random: np.random.Generator) -> None:
    """Take away the data beyond a random line in place, as at the edge of a swath."""
    if random.random() >= spec.tear:
        return
    rows, columns = label.shape
    angle = random.uniform(0, 2 * np.pi)
    distance = random.uniform(0.1, 0.55) * max(rows, columns)
    across = (np.arange(rows) - rows / 2)[:, None] * np.sin(angle)
    along = (np.arange(columns) - columns / 2)[None, :] * np.cos(angle)
    beyond = across + along > distance
    image[:, beyond] = np.nan
    label[beyond] = 0
