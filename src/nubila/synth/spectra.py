"""Reflectance of materials in the bands of Sentinel-2 and Landsat.

Values are hand-tabulated at the band centres, rounded, and lie within the spread of the published
libraries for each material:

- vegetation, soil, rock, man-made: ECOSTRESS spectral library 1.0 (Meerdink et al. 2019,
  doi:10.1016/j.rse.2019.05.015) and USGS spectral library 7 (Kokaly et al. 2017,
  doi:10.3133/ds1035);
- snow: Wiscombe and Warren (1980), doi:10.1175/1520-0469(1980)037<2712:AMFTSA>2.0.CO;2, for
  grain radii of about 0.1 mm (fresh) and 1 mm (old); glacier ice: Greuell and de Ruyter de Wildt
  (1999), doi:10.1016/S0034-4257(99)00043-7;
- water: deep sea after Morel and Maritorena (2001), doi:10.1029/2000JC000319; turbid and
  eutrophic water after Dekker (1993) and Doxaran et al. (2002), doi:10.1016/S0034-4257(01)00341-8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["MATERIALS", "SPECTRAL_BANDS", "material_index", "reflectance_table"]

SPECTRAL_BANDS: Final = (
    "coastal",
    "blue",
    "green",
    "red",
    "rededge071",
    "rededge075",
    "rededge078",
    "nir",
    "nir08",
    "nir09",
    "cirrus",
    "swir16",
    "swir22",
)

# Per cent, in the order of SPECTRAL_BANDS:
#   443  490  560  665  705  740  783  842  865  945 1375 1610 2190 nm
_PER_CENT: Final[dict[str, tuple[float, ...]]] = {
    "conifer forest": (1.5, 1.8, 3.2, 2.0, 5.0, 15, 18, 19, 20, 20, 13, 8.5, 3.8),
    "broadleaf forest": (1.8, 2.0, 4.2, 2.4, 7.5, 26, 33, 35, 36, 36, 24, 17.5, 7.5),
    "tropical forest": (1.8, 2.1, 4.2, 2.1, 7.0, 24, 31, 33, 34, 33, 21, 15, 6.0),
    "green grass": (3.0, 3.5, 7.2, 4.5, 11, 29, 36, 39, 40, 39, 29, 22, 11),
    "dry grass": (6.0, 7.8, 11.5, 15.5, 18.5, 21.5, 24, 26.5, 27.5, 29.5, 33, 34, 25),
    "shrub": (4.0, 5.0, 7.3, 8.8, 11.8, 16.5, 19.5, 21.5, 22.5, 23.5, 27, 27, 19),
    "tundra": (3.5, 4.0, 6.0, 6.5, 9.0, 15, 18, 20, 21, 22, 22, 20, 13),
    "peat bog": (2.6, 3.2, 4.8, 5.2, 7.6, 13, 15.5, 17, 18, 18, 17, 14, 8),
    "dense crop": (2.0, 2.5, 5.8, 2.6, 9.0, 36, 46, 48, 49, 48, 32, 20.5, 9.0),
    "young crop": (4.0, 5.0, 8.3, 7.6, 12, 23, 28, 30, 31, 31, 29, 26, 17),
    "rape in flower": (2.5, 3.2, 13.5, 11, 17, 34, 40, 42, 43, 42, 30, 21, 10),
    "ripe cereal": (6.0, 8.0, 12.5, 17.5, 21, 24.5, 27, 29.5, 30.5, 33, 36, 37, 28),
    "rice paddy": (4.5, 5.5, 8.0, 7.2, 9.5, 13, 14.5, 15, 15, 14, 8, 7.0, 4.0),
    "brown soil": (5.0, 6.2, 9.0, 12.8, 14.8, 16.8, 18.8, 21, 22, 24, 29, 32, 27),
    "dark soil": (3.4, 4.0, 5.5, 7.4, 8.8, 10, 11.4, 12.6, 13.2, 14, 17, 18.5, 15.5),
    "bright soil": (9.0, 11.8, 17.5, 23.5, 26.5, 28.8, 31, 33, 34, 36, 42, 44, 39),
    "red soil": (4.0, 5.0, 8.0, 17, 20, 22, 23.5, 25, 25.5, 27, 32, 35, 30),
    "orange sand": (8.5, 11, 20, 35, 39.5, 42, 44, 46, 47, 49, 54, 57, 52),
    "yellow sand": (13, 17, 26, 36, 39.5, 41.5, 43.5, 45.5, 46.5, 48.5, 53, 55, 50),
    "white sand": (24, 29, 36, 42.5, 44.5, 46, 47.5, 49, 49.5, 51, 53, 54, 48),
    "salt": (45, 50, 56, 60, 61, 62, 62, 62, 61, 58, 40, 41, 30),
    "desert gravel": (9.0, 11.2, 15, 20, 22, 23.3, 24.5, 25.6, 26.2, 27.5, 31, 33, 30),
    "grey rock": (9.8, 11.2, 13.6, 15.4, 16.4, 17.0, 17.6, 18.2, 18.5, 19.2, 21, 22.5, 21.5),
    "dark rock": (4.6, 5.1, 6.0, 7.0, 7.6, 8.1, 8.6, 9.0, 9.2, 9.8, 11, 12.5, 11.5),
    "limestone": (18, 21, 26, 30, 31.5, 32.5, 33.5, 34.5, 35, 36, 38, 40, 35),
    "asphalt": (7.5, 8.5, 10, 11, 11.6, 12.1, 12.6, 13.1, 13.4, 14, 15.5, 16.5, 16.5),
    "concrete": (18, 21, 25, 28, 29, 30, 31, 31.8, 32.2, 33, 34.5, 36, 34),
    "tile roof": (6.5, 7.5, 11, 21, 24, 25.2, 26.4, 28, 28.6, 30, 35, 39, 36),
    "dark roof": (6.0, 6.6, 7.4, 8.2, 8.7, 9.2, 9.6, 10, 10.3, 11, 12.5, 14, 14),
    "metal roof": (42, 46, 50, 52, 52.5, 53, 53, 53, 53.5, 54, 55, 56, 54),
    "blue roof": (22, 27, 24, 18, 18, 20, 23, 26, 27, 28, 32, 34, 32),
    "fresh snow": (96, 96, 95, 94, 93, 92, 90.5, 89, 88, 80, 42, 13.5, 10.5),
    "old snow": (82, 84, 84, 82, 80.5, 78.5, 75.5, 71, 69, 55, 12, 4.0, 3.0),
    "glacier ice": (36, 39, 40, 36, 34.5, 31.5, 28, 24.5, 23, 17, 3.6, 1.6, 1.4),
    "clear sea": (3.2, 2.6, 1.1, 0.35, 0.3, 0.25, 0.22, 0.2, 0.18, 0.15, 0.1, 0.1, 0.1),
    "coastal water": (3.6, 3.8, 3.6, 1.4, 1.1, 0.7, 0.6, 0.5, 0.45, 0.35, 0.15, 0.15, 0.12),
    "brown lake": (1.4, 1.5, 2.0, 1.7, 1.5, 0.9, 0.8, 0.7, 0.65, 0.5, 0.2, 0.2, 0.15),
    "silty water": (6.0, 7.6, 11.5, 11.5, 10.3, 6.0, 5.4, 4.2, 3.8, 2.6, 0.6, 0.5, 0.4),
    "algal water": (2.4, 2.8, 5.6, 3.2, 4.6, 2.2, 2.0, 1.6, 1.4, 1.0, 0.3, 0.3, 0.2),
    "shallow sand bed": (11, 15.5, 17.5, 7.0, 4.0, 1.8, 1.5, 1.1, 0.95, 0.7, 0.2, 0.2, 0.15),
    "wet mud": (5.0, 6.0, 8.0, 9.4, 10, 10.3, 10.6, 10.6, 10.5, 9.8, 7.0, 7.2, 5.2),
}

MATERIALS: Final = tuple(_PER_CENT)


def material_index(name: str) -> int:
    """Return the row of a material in the tables of this module; KeyError where there is none."""
    if name not in _PER_CENT:
        raise KeyError(f"no material {name!r} (known: {', '.join(MATERIALS)})")
    return MATERIALS.index(name)


def reflectance_table(
    band: str, measured: Mapping[str, Sequence[float]] | None = None
) -> NDArray[np.float32]:
    """Return the reflectance of every material in a band, (materials,) float32, 1.0 = 100 %.

    Args:
        band: one of `SPECTRAL_BANDS`.
        measured: material -> reflectance in the order of `SPECTRAL_BANDS`, in place of the table's.

    Raises:
        KeyError: the band is not one of `SPECTRAL_BANDS`.
    """
    if band not in SPECTRAL_BANDS:
        raise KeyError(f"no spectra in band {band!r} (known: {', '.join(SPECTRAL_BANDS)})")
    column = SPECTRAL_BANDS.index(band)
    table = np.asarray([_PER_CENT[name][column] / 100 for name in MATERIALS], np.float32)
    for name, spectrum in (measured or {}).items():
        table[material_index(name)] = spectrum[column]
    return table
