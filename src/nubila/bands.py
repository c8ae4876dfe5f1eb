"""Sensors and their bands, under the common names of the STAC electro-optical extension.

Everywhere in nubila a band is called by its common name (``blue``, ``nir``, ``swir16`` ...). What
a product calls it (``B02``, ``SR_B2``) is looked up here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from nubila.errors import BandError, nearest

__all__ = ["BANDS", "SENSORS", "STANDS_IN", "BandInfo", "Sensor", "band_name", "parse_bands"]


@dataclass(frozen=True)
class BandInfo:
    """A band by its common name, with a typical centre wavelength in micrometres.

    ``elevation`` is no band of a sensor: kilometres above sea level, from a raster of its own.
    """

    name: str
    wavelength: float


BANDS: Final[dict[str, BandInfo]] = {
    b.name: b
    for b in (
        BandInfo("coastal", 0.443),
        BandInfo("blue", 0.490),
        BandInfo("green", 0.560),
        BandInfo("red", 0.665),
        BandInfo("rededge071", 0.705),
        BandInfo("rededge075", 0.740),
        BandInfo("rededge078", 0.783),
        BandInfo("nir", 0.842),
        BandInfo("nir08", 0.865),
        BandInfo("nir09", 0.945),
        BandInfo("cirrus", 1.375),
        BandInfo("swir16", 1.610),
        BandInfo("swir22", 2.190),
        BandInfo("pan", 0.590),
        BandInfo("lwir11", 10.9),
        BandInfo("lwir12", 12.0),
        BandInfo("elevation", 0.0),
    )
}


@dataclass(frozen=True)
class Sensor:
    """A sensor: the product's own band labels and, for each, common name and resolution in metres.

    `bands` maps label -> (common name, resolution). Landsat's narrow near infrared is called
    ``nir08`` by STAC; a model that asks for ``nir`` is given ``nir08`` where ``nir`` is absent.
    """

    name: str
    bands: dict[str, tuple[str, float]]


_S2 = {
    "B01": ("coastal", 60.0),
    "B02": ("blue", 10.0),
    "B03": ("green", 10.0),
    "B04": ("red", 10.0),
    "B05": ("rededge071", 20.0),
    "B06": ("rededge075", 20.0),
    "B07": ("rededge078", 20.0),
    "B08": ("nir", 10.0),
    "B8A": ("nir08", 20.0),
    "B09": ("nir09", 60.0),
    "B10": ("cirrus", 60.0),
    "B11": ("swir16", 20.0),
    "B12": ("swir22", 20.0),
}
_OLI = {
    "B1": ("coastal", 30.0),
    "B2": ("blue", 30.0),
    "B3": ("green", 30.0),
    "B4": ("red", 30.0),
    "B5": ("nir08", 30.0),
    "B6": ("swir16", 30.0),
    "B7": ("swir22", 30.0),
    "B8": ("pan", 15.0),
    "B9": ("cirrus", 30.0),
}
_TM = {
    "B1": ("blue", 30.0),
    "B2": ("green", 30.0),
    "B3": ("red", 30.0),
    "B4": ("nir08", 30.0),
    "B5": ("swir16", 30.0),
    "B7": ("swir22", 30.0),
}

SENSORS: Final[dict[str, Sensor]] = {
    s.name: s
    for s in (
        Sensor("sentinel-2-msi", _S2),
        Sensor("landsat-oli", _OLI),
        Sensor("landsat-etm+", _TM | {"B8": ("pan", 15.0)}),
        Sensor("landsat-tm", _TM),
        Sensor("unknown", {}),
    )
}

# Sentinel-2's labels (B02, B8A) mean one band each; Landsat's (B2, B5) depend on the sensor, and
# B10 and B11 are thermal there.
_ALIASES: Final = {
    **{k.lower(): name for k, (name, _) in _S2.items() if k not in ("B10", "B11")},
    "near infrared": "nir",
    "swir1": "swir16",
    "swir2": "swir22",
    "swir 1": "swir16",
    "swir 2": "swir22",
    "nir narrow": "nir08",
    "lwir": "lwir11",
    "rededge": "rededge071",
    "rededge1": "rededge071",
    "rededge2": "rededge075",
    "rededge3": "rededge078",
}


# The wide and the narrow near infrared, each of which is read where the other is not there.
STANDS_IN: Final = {"nir": "nir08", "nir08": "nir"}


def band_name(name: str) -> str:
    """Return the common name for `name`, or for an alias (``swir1``, ``B8A``) in any letter case.

    Raises:
        BandError: the name is unknown; the message suggests the nearest.
    """
    wanted = name.strip().lower()
    wanted = _ALIASES.get(wanted, wanted)
    if wanted not in BANDS:
        known = ", ".join(BANDS)
        raise BandError(
            f"unknown band name {name!r}{nearest(wanted, [*BANDS, *_ALIASES])} (known: {known})"
        )
    return wanted


def parse_bands(text: str | Sequence[str]) -> tuple[str, ...]:
    """Return common names in order from ``"blue,green,red"`` or a sequence of names.

    ``-`` stands for a band of the file that is to be left out. The same band twice is an error.

    Raises:
        BandError: a name is unknown or stands twice.
    """
    parts = text.split(",") if isinstance(text, str) else list(text)
    names = tuple("-" if p.strip() == "-" else band_name(p) for p in parts)
    for name in names:
        if name != "-" and names.count(name) > 1:
            raise BandError(f"band {name!r} is named twice in {','.join(names)}")
    return names
