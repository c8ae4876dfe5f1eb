"""What each band is to the augmentations: they go by names, never by places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["BandRoles", "Image", "Label", "Pair"]

Image = NDArray[np.float32]
Label = NDArray[np.uint8]
Pair = tuple[Image, Label]

_VISIBLE: Final = ("blue", "green", "red")
# No reflectance: brightness, haze, noise and clouds do not touch them.
_OTHER: Final = ("elevation", "lwir11", "lwir12")
_INFRARED: Final = ("nir", "nir08")
_SHORTWAVE: Final = ("swir16", "swir22")

# Share of an even haze by band: Rayleigh and aerosol scattering fall with the wavelength; chosen
# to look like real haze, not measured. 0 at 1.375 um, where water vapour absorbs.
_HAZE: Final = {
    "coastal": 1.1,
    "blue": 1.0,
    "green": 0.75,
    "pan": 0.7,
    "red": 0.6,
    "rededge071": 0.55,
    "rededge075": 0.5,
    "rededge078": 0.45,
    "nir": 0.4,
    "nir08": 0.38,
    "nir09": 0.15,
    "swir16": 0.15,
    "swir22": 0.1,
    "cirrus": 0.0,
}
# Brightness of thin ice cloud against that in the visible: ice absorbs in the short-wave infrared
# (Warren and Brandt 2008, doi:10.1029/2007JD009744), vapour above the cloud at 1.375 and 0.945 um.
# Rounded to what `nubila.synth` gives; not measured.
_ICE: Final = {"nir09": 0.9, "cirrus": 0.8, "swir16": 0.75, "swir22": 0.6}


@dataclass(frozen=True)
class BandRoles:
    """A network's bands by what augmentations may do to them.

    Attributes:
        reflective: (bands,) bool, false for elevation and temperatures.
        visible: places of blue, green and red, those that there are.
        optional: places of bands that a sample may lack.
        kept: for each usual set of bands, the places of the optional ones that stay.
        near: of these sets, that of RGB and near infrared.
        haze: (bands, 1, 1) float32 strength of haze against that in the blue.
        ice: (bands, 1, 1) float32 brightness of thin ice cloud against that in the visible.
    """

    reflective: NDArray[np.bool_]
    visible: tuple[int, ...]
    optional: tuple[int, ...]
    kept: tuple[frozenset[int], ...]
    near: frozenset[int]
    haze: NDArray[np.float32]
    ice: NDArray[np.float32]

    def unseen(self, image: Image) -> NDArray[np.bool_]:
        """Return where no reflective band has data, as `datasets.sample.unseen` does by names.

        Elevation has data beyond the edge of a swath too, where nothing tells clouds from clear.

        Args:
            image: (bands, rows, columns), NaN = no data; where no band is reflective, all count.

        Returns:
            (rows, columns) bool.
        """
        counted = self.reflective if self.reflective.any() else np.ones(len(image), np.bool_)
        first, *others = np.flatnonzero(counted)
        found: NDArray[np.bool_] = np.isnan(image[first])
        for band in others:
            if not found.any():  # most chips have data everywhere
                break
            found &= np.isnan(image[band])
        return found

    @classmethod
    def of(cls, bands: Sequence[str], required: Sequence[str]) -> BandRoles:
        """Return the roles of a recipe's bands, of which those `required` are never dropped."""
        optional = [name for name in bands if name not in required]
        other = [name for name in optional if name in _OTHER]
        # As RGB cameras and quick-looks have them; RGB and near infrared (PlanetScope, On Cloud
        # N); TM and ETM+; surface reflectance, without the cirrus band; all.
        sets = (
            (),
            _INFRARED,
            (*_INFRARED, *_SHORTWAVE),
            tuple(name for name in optional if name != "cirrus"),
            tuple(optional),
        )
        kept = [
            frozenset(i for i, name in enumerate(bands) if name in (*among, *other))
            & frozenset(bands.index(name) for name in optional)
            for among in sets
        ]
        reflective = np.array([name not in _OTHER for name in bands])
        return cls(
            reflective=reflective,
            visible=tuple(bands.index(name) for name in _VISIBLE if name in bands),
            optional=tuple(bands.index(name) for name in optional),
            kept=tuple(dict.fromkeys(kept)),
            near=kept[sets.index(_INFRARED)],
            haze=_column([_HAZE.get(name, 0.0) for name in bands]),
            ice=_column([_ICE.get(n, 1.0) if n not in _OTHER else 0.0 for n in bands]),
        )


def _column(values: Sequence[float]) -> NDArray[np.float32]:
    return np.array(values, np.float32)[:, None, None]
