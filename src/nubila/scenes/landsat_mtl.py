"""Landsat Collection 2 metadata (MTL), as text, JSON or XML; all three say the same.

Structure: Data Format Control Books of Collection 2, U.S. Geological Survey: LSDS-1822 (Landsat
8-9, Level 1), LSDS-1328 (Level 2), and their counterparts for Landsat 4 to 7 (LSDS-1414 ...).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Final

from nubila.errors import MetadataError
from nubila.scenes.xml import parse_xml

__all__ = ["Metadata", "parse_groups", "read_metadata"]

Groups = dict[str, dict[str, str]]

_ROOT: Final = "LANDSAT_METADATA_FILE"
_SENSORS: Final = {
    "OLI_TIRS": "landsat-oli",
    "OLI": "landsat-oli",
    "ETM": "landsat-etm+",
    "TM": "landsat-tm",
}
_RESCALING: Final = {
    "L1": "LEVEL1_RADIOMETRIC_RESCALING",
    "L2": "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS",
}
_LEVELS: Final = ("L1TP", "L1GT", "L1GS", "L2SP", "L2SR")
_CORNERS: Final = ("UL", "LL", "LR", "UR")


@dataclass(frozen=True)
class Metadata:
    """What nubila uses of an MTL.

    Attributes:
        product: the product's identifier.
        level: ``L1TP``, ``L1GT``, ``L1GS``, ``L2SP`` or ``L2SR``.
        sensor: a key of `nubila.bands.SENSORS`.
        platform: such as ``LANDSAT_8``.
        acquired: scene centre time, UTC.
        software: version of the processing software.
        sun_elevation: at the scene's centre in degrees, or None.
        sun_azimuth: the same.
        files: file name by band number; ``QA_PIXEL`` and ``QA_RADSAT`` for the flags.
        scales: (multiplier, addend) by band number: to surface reflectance (Level 2), or to
            reflectance at the top of the atmosphere before the division by the sine of the sun's
            elevation (Level 1).
        rescaling: name of the group that the scales come from.
        corners: longitude and latitude of the image's corners, fill included; or none.
    """

    product: str
    level: str
    sensor: str
    platform: str
    acquired: datetime
    software: str
    sun_elevation: float | None
    sun_azimuth: float | None
    files: Mapping[str, str]
    scales: Mapping[str, tuple[float, float]]
    rescaling: str
    corners: tuple[tuple[float, float], ...]


def read_metadata(contents: Mapping[str, bytes]) -> Metadata:
    """Return what the MTL files of one product say, which must be the same.

    Args:
        contents: one to three files by name, which end in txt, json or xml.

    Raises:
        MetadataError: not a Collection 2 MTL of a known sensor, something that is needed is not
            in it, or two files contradict each other.
    """
    read = {name: _metadata(parse_groups(data, name), name) for name, data in contents.items()}
    (first_name, first), *others = read.items()
    for name, other in others:
        for field in fields(Metadata):
            one, two = getattr(first, field.name), getattr(other, field.name)
            if one != two:
                raise MetadataError(
                    f"{first_name} and {name} contradict each other: {field.name} is "
                    f"{_difference(one, two)}. Fetch the product's metadata again."
                )
    return first


def _difference(one: object, two: object) -> str:
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        keys = sorted({*one, *two})
        key = next(k for k in keys if one.get(k) != two.get(k))
        return f"{one.get(key)} and {two.get(key)} for band {key}"
    return f"{one} and {two}"


def parse_groups(content: bytes, name: str) -> Groups:
    """Return the groups of an MTL with their keys and values, all as text.

    Args:
        content: the file, in the format that its name's ending says.
        name: what an error calls it.

    Raises:
        MetadataError: not an MTL of Collection 2, or cut short.
    """
    ending = name.lower().rpartition(".")[2]
    if ending == "xml":
        root = parse_xml(content, name)
        groups = {g.tag: {e.tag: (e.text or "").strip() for e in g} for g in root}
        return _checked(groups, root.tag, name)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MetadataError(f"{name}: not text: {error}") from error
    return _parse_json(text, name) if ending == "json" else _parse_text(text, name)


def _parse_json(text: str, name: str) -> Groups:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise MetadataError(f"{name}: not whole JSON: {error}") from error
    if not (isinstance(data, dict) and len(data) == 1):
        raise MetadataError(f"{name}: expected one object {_ROOT!r} in it")
    (root, groups), *_ = data.items()
    if not (isinstance(groups, dict) and all(isinstance(g, dict) for g in groups.values())):
        raise MetadataError(f"{name}: expected groups of keys in {root!r}")
    plain = {g: {k: str(v) for k, v in keys.items()} for g, keys in groups.items()}
    return _checked(plain, root, name)


def _parse_text(text: str, name: str) -> Groups:
    """Parse ``KEY = VALUE`` lines between ``GROUP = NAME`` and ``END_GROUP = NAME``."""
    groups: Groups = {}
    opened: list[str] = []
    root = ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip("\0 \t") in ("", "END"):
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals:
            raise MetadataError(
                f"{name}, line {number}: expected KEY = VALUE, got {line!r} (cut short?)"
            )
        if key == "GROUP":
            opened.append(value)
            root = root or value
            groups.setdefault(value, {})
        elif key == "END_GROUP":
            if not opened or opened.pop() != value:
                raise MetadataError(f"{name}, line {number}: group {value} ends but is not open")
        elif opened:
            groups[opened[-1]][key] = value.strip('"')
    if opened:
        raise MetadataError(f"{name}: cut short, group {opened[-1]} does not end; fetch it again")
    groups.pop(root, None)
    return _checked(groups, root, name)


def _checked(groups: Groups, root: str, name: str) -> Groups:
    if root != _ROOT:
        older = " (Collection 1 is no longer distributed; fetch the Collection 2 product)"
        raise MetadataError(
            f"{name}: the outermost group is {root!r}, not {_ROOT!r}: no Collection 2 metadata"
            f"{older if root == 'L1_METADATA_FILE' else ''}"
        )
    return groups


def _metadata(groups: Groups, name: str) -> Metadata:
    contents = _group(groups, "PRODUCT_CONTENTS", name)
    image = _group(groups, "IMAGE_ATTRIBUTES", name)
    level = _value(contents, "PROCESSING_LEVEL", name)
    if level not in _LEVELS:
        raise MetadataError(f"{name}: PROCESSING_LEVEL {level!r} is none of {', '.join(_LEVELS)}")
    sensor = _value(image, "SENSOR_ID", name)
    if sensor not in _SENSORS:
        raise MetadataError(
            f"{name}: SENSOR_ID {sensor!r} is not supported (known: {', '.join(_SENSORS)})"
        )
    record = groups.get(f"LEVEL{level[1]}_PROCESSING_RECORD", {})
    rescaling = _RESCALING[level[:2]]
    return Metadata(
        product=_value(contents, "LANDSAT_PRODUCT_ID", name),
        level=level,
        sensor=_SENSORS[sensor],
        platform=_value(image, "SPACECRAFT_ID", name),
        acquired=_acquired(image, name),
        software=record.get("PROCESSING_SOFTWARE_VERSION", ""),
        sun_elevation=_optional_number(image, "SUN_ELEVATION", name),
        sun_azimuth=_optional_number(image, "SUN_AZIMUTH", name),
        files=_files(contents),
        scales=_scales(_group(groups, rescaling, name), name),
        rescaling=rescaling,
        corners=_corners(groups.get("PROJECTION_ATTRIBUTES", {}), name),
    )


def _group(groups: Groups, group: str, name: str) -> dict[str, str]:
    if group not in groups:
        raise MetadataError(f"{name}: the group {group} is missing (cut short or edited?)")
    return groups[group]


def _value(group: Mapping[str, str], key: str, name: str) -> str:
    if not group.get(key):
        raise MetadataError(f"{name}: {key} is missing (cut short or edited?)")
    return group[key]


def _number(group: Mapping[str, str], key: str, name: str) -> float:
    try:
        number = float(_value(group, key, name))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise MetadataError(f"{name}: {key} is {group[key]!r}, expected a number")
    return number


def _acquired(image: Mapping[str, str], name: str) -> datetime:
    day = _value(image, "DATE_ACQUIRED", name)
    time = _value(image, "SCENE_CENTER_TIME", name)
    try:
        # Both are UTC; the time has seven decimals and ends in Z.
        return datetime.fromisoformat(f"{day}T{time.rstrip('Z')}").replace(tzinfo=UTC)
    except ValueError as error:
        raise MetadataError(
            f"{name}: DATE_ACQUIRED {day!r} and SCENE_CENTER_TIME {time!r} are no date and time"
        ) from error


def _optional_number(group: Mapping[str, str], key: str, name: str) -> float | None:
    return _number(group, key, name) if key in group else None


def _files(contents: Mapping[str, str]) -> dict[str, str]:
    flags = {
        "QA_PIXEL": "FILE_NAME_QUALITY_L1_PIXEL",
        "QA_RADSAT": "FILE_NAME_QUALITY_L1_RADIOMETRIC_SATURATION",
    }
    files = {short: contents[key] for short, key in flags.items() if contents.get(key)}
    for key, value in contents.items():
        if found := re.fullmatch(r"FILE_NAME_BAND_(\d+)", key):
            files[found[1]] = value
    return files


def _scales(group: Mapping[str, str], name: str) -> dict[str, tuple[float, float]]:
    scales = {}
    for key in group:
        if found := re.fullmatch(r"REFLECTANCE_MULT_BAND_(\d+)", key):
            addend = _number(group, f"REFLECTANCE_ADD_BAND_{found[1]}", name)
            scales[found[1]] = _number(group, key, name), addend
    return scales


def _corners(projection: Mapping[str, str], name: str) -> tuple[tuple[float, float], ...]:
    keys = [(f"CORNER_{c}_LON_PRODUCT", f"CORNER_{c}_LAT_PRODUCT") for c in _CORNERS]
    if not all(key in projection for pair in keys for key in pair):
        return ()
    return tuple((_number(projection, x, name), _number(projection, y, name)) for x, y in keys)
