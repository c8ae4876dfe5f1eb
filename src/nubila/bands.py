"""Sensors and their bands, under the common names of the STAC electro-optical extension.

Everywhere in nubila a band is called by its common name (``blue``, ``nir``, ``swir16`` ...). What
a product calls it (``B02``, ``SR_B2``) is looked up here and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from nubila.errors import BandError, nearest

__all__ = [
    "BANDS",
    "SENSORS",
    "STANDS_IN",
    "BandInfo",
    "Sensor",
    "band_name",
    "label_names",
    "parse_bands",
    "plain_label",
    "platform_name",
]


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

_LABEL: Final = re.compile(r"B0*([0-9]{1,2}[A-Z]?)", re.IGNORECASE)
# The same in Sentinel-2 and in HLS's Landsat; not b01, for MODIS has its red there.
_SAME: Final = {"B01", "B02", "B03", "B04"}
# Sentinel-2's own images are named so: T33UUU_20170216T102101_B02.jp2.
_PLATFORM: Final = re.compile(r"landsat[-_ ]?([1-9])|sentinel[-_ ]?2([a-d])", re.IGNORECASE)
_OWN_FILE: Final = re.compile(r"(?:^|[/\\_])T\d{2}[C-X][A-Z]{2}_\d{8}T\d{6}_")

# Sentinel-2's labels (B02, B8A) as a person gives them; Landsat's (B2, B5) depend on the sensor,
# and B10 and B11 are thermal there. `label_names` tells what a file or an item means by a label.
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


def plain_label(text: str) -> str:
    """Return a product's band label without leading zeros, or ``""`` for what is none.

    >>> plain_label("b05"), plain_label("B8A"), plain_label("blue")
    ('B5', 'B8A', '')
    """
    found = _LABEL.fullmatch(text.strip())
    return f"B{found[1].upper()}" if found else ""


def platform_name(platform: str) -> str:
    """Return a platform as people write it, whoever wrote it; what is not known stays as it is.

    >>> platform_name("LANDSAT_8"), platform_name("sentinel-2a"), platform_name("")
    ('Landsat 8', 'Sentinel-2A', '')
    """
    found = _PLATFORM.fullmatch(platform.strip())
    if found is None:
        return platform
    return f"Landsat {found[1]}" if found[1] else f"Sentinel-2{found[2].upper()}"


def label_names(
    labels: Iterable[str], sensor: str = "unknown", files: Iterable[str] = ()
) -> dict[str, str]:
    """Return what the labels of a product mean: plain label -> common name.

    B05 is a red edge of Sentinel-2 and the near infrared of Landsat in HLS, which numbers both
    alike (HLS User Guide 2.0, NASA LP DAAC); Google Earth Engine writes B5 for either. So where the
    sensor is not known, labels are Sentinel-2's only if one shows it that no Landsat product has:
    B8A, B12, or B08 (B8 is Landsat's panchromatic band, which HLS leaves out), or if a file is
    named as Sentinel-2's own images are. B01 to B04 alone are the same in Sentinel-2 and HLS.

    Args:
        labels: all of the product; texts that are none do not count.
        sensor: a key of `SENSORS`.
        files: names or addresses of the product's files.

    Returns:
        Nothing where the labels may be either's.
    """
    table = SENSORS[sensor if sensor != "unknown" else "sentinel-2-msi"].bands
    names = {plain_label(label): name for label, (name, _) in table.items()}
    if sensor != "unknown" or any(_OWN_FILE.search(file) for file in files):
        return names
    there = {label for text in labels if plain_label(label := text.strip())}
    plain = {plain_label(label) for label in there}
    shown = not plain.isdisjoint({"B8A", "B12"}) or not there.isdisjoint({"B08", "b08"})
    # A label that Sentinel-2 has not, such as ASTER's B3N, is of neither.
    return names if plain <= set(names) and (shown or there <= _SAME) else {}


def parse_bands(text: str | Sequence[str]) -> tuple[str, ...]:
    """Return common names in order from ``"blue,green,red"`` or a sequence of names.

    ``-`` stands for a band of the file that is to be left out. The same band twice is an error.

    Raises:
        BandError: these are no names, or one is unknown or stands twice.
    """
    given = text.split(",") if isinstance(text, str) else text
    parts = list(given) if isinstance(given, Iterable) else [given]
    if not all(isinstance(part, str) for part in parts):
        raise BandError(
            f"bands are names in order, such as 'blue,green,red' or a list of them; got {text!r}"
        )
    names = tuple("-" if p.strip() == "-" else band_name(p) for p in parts)
    for name in names:
        if name != "-" and names.count(name) > 1:
            raise BandError(f"band {name!r} is named twice in {','.join(names)}")
    return names
