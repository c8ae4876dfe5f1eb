"""What the layouts of several collections share."""

from __future__ import annotations

import csv
import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from nubila.errors import ManifestError

__all__ = [
    "CLOUD_OR_NOT",
    "MSI_BANDS",
    "Cells",
    "default_splits",
    "landsat_scaling",
    "read_listing",
    "relative",
    "safe_parts",
    "stems",
    "year_day",
]

Cells = dict[str, str]

# What a label that knows clouds alone says of all other pixels.
CLOUD_OR_NOT: Final = "clear|cloud shadow|snow|water"
MSI_BANDS: Final = (
    "coastal;blue;green;red;rededge071;rededge075;rededge078;nir;nir08;nir09;cirrus;swir16;swir22"
)

_VALIDATION, _TEST = 0.15, 0.15


def default_splits(groups: Iterable[str], *, test: bool = True) -> dict[str, str]:
    """Return a split for each group: 15 % validation, 15 % test (or none), the rest train.

    It follows from the SHA-256 of the group's name alone, so a group stays where it is when others
    are added. Only where that leaves train or validation empty, as in collections of a few groups,
    do the groups take turns in the order of their hashes.

    >>> default_splits(["T32TNS", "T32TNT", "T37LDJ"])
    {'T32TNS': 'train', 'T32TNT': 'validation', 'T37LDJ': 'test'}
    """
    share = {group: _share(group) for group in sorted(set(groups))}
    limit = _VALIDATION + (_TEST if test else 0)

    def by_hash(value: float) -> str:
        return "validation" if value < _VALIDATION else "test" if value < limit else "train"

    found = {group: by_hash(value) for group, value in share.items()}
    if len(share) > 1 and not {"train", "validation"} <= set(found.values()):
        turns = ("train", "validation", "test") if test else ("train", "validation")
        ranked = sorted(share, key=lambda group: share[group])
        found = {group: turns[i] if i < len(turns) else "train" for i, group in enumerate(ranked)}
    return found


def _share(group: str) -> float:
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8], "big") / 2**64


def relative(path: Path, root: Path) -> str:
    """Return a path as a manifest writes it."""
    return path.relative_to(root).as_posix()


def stems(folder: Path, suffix: str, prefix: str = "") -> set[str]:
    """Return the names of a folder's files without prefix and suffix, in any letter case of it."""
    if not folder.is_dir():
        return set()
    ends = suffix.lower()
    return {
        path.name[len(prefix) : -len(ends)]
        for path in folder.iterdir()
        if path.name.lower().endswith(ends) and path.name.startswith(prefix)
    }


def read_listing(path: Path) -> list[Cells]:
    """Return the rows of a CSV that a collection brings along, or none where it is absent.

    Raises:
        ManifestError: it is no CSV.
    """
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream)
            return [
                {str(k).strip(): v.strip() if isinstance(v, str) else "" for k, v in row.items()}
                for row in rows
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"{path}: not a CSV file in UTF-8: {error}") from error


def safe_parts(name: str) -> tuple[str, str]:
    """Return date (YYYY-MM-DD) and tile (``T32TNS``) from a Sentinel-2 product's name.

    Either is empty where the name does not hold it.
    """
    day = re.search(r"_(\d{4})(\d\d)(\d\d)T\d{6}", name)
    tile = re.search(r"_(T\d\d[A-Z]{3})(?=_|\.|$)", name)
    return "-".join(day.groups()) if day else "", tile[1] if tile else ""


def year_day(text: str) -> str:
    """Return YYYY-MM-DD for a year and day of the year, ``2014080``; empty for no such day."""
    try:
        return datetime.strptime(text, "%Y%j").date().isoformat()
    except ValueError:
        return ""


def landsat_scaling(mtl: Path, bands: Sequence[str]) -> tuple[str, str]:
    """Return the columns scale and offset of Level-1 counts, from a scene's ``*_MTL.txt``.

    reflectance = (REFLECTANCE_MULT_BAND_n * count + REFLECTANCE_ADD_BAND_n) / sin(SUN_ELEVATION)
    (USGS, Landsat 8 Data Users Handbook, version 5, section 5.2). Bands without these keys, which
    are the thermal ones, get those of the first band; nubila leaves them out. Files of before
    Collection 1 have the same keys.

    Args:
        mtl: the file; where it is absent, both are empty (`nubila data check` names it).
        bands: their numbers, ``"2"`` ...

    Raises:
        ManifestError: a key is absent.
    """
    if not mtl.is_file():
        return "", ""
    text = mtl.read_text(errors="replace")
    keys: Mapping[str, str] = dict(re.findall(r'^\s*(\w+) = "?([^"\n]+)', text, re.MULTILINE))
    try:
        sine = math.sin(math.radians(float(keys["SUN_ELEVATION"])))
        first = f"BAND_{bands[0]}"
        pairs = [
            (
                float(keys.get(f"REFLECTANCE_MULT_BAND_{n}", keys[f"REFLECTANCE_MULT_{first}"])),
                float(keys.get(f"REFLECTANCE_ADD_BAND_{n}", keys[f"REFLECTANCE_ADD_{first}"])),
            )
            for n in bands
        ]
    except (KeyError, ValueError) as error:
        raise ManifestError(f"{mtl}: no {error} in it; expected a whole Level-1 MTL") from error
    scales, offsets = (
        [f"{value / sine:.6g}" for value in column] for column in zip(*pairs, strict=True)
    )
    return _joined(scales), _joined(offsets)


def _joined(values: list[str]) -> str:
    return values[0] if len(set(values)) == 1 else ";".join(values)
