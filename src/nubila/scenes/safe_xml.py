"""What the XML of a Sentinel-2 product says: calibration, granules, tile grids, sun.

Sources: ESA, Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD), issues 12 to 15, for
the elements; its issue 14.9 (baseline 04.00) for the offsets: reflectance = (count + offset) /
quantification.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from xml.etree.ElementTree import Element

from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError

from nubila.bands import SENSORS
from nubila.errors import MetadataError, ProductError
from nubila.raster.grid import Grid
from nubila.scenes.scaling import check_scaling
from nubila.scenes.xml import find_all, find_text

__all__ = ["GranuleInfo", "ProductInfo", "TileInfo", "read_product", "read_tile", "tile_code"]

LABELS: Final = tuple(SENSORS["sentinel-2-msi"].bands)  # in the order of band_id 0 to 12

# Products processed on a user's own machine say 99.99, which tells nothing about the offset.
_UNKNOWN_BASELINE: Final = 99.99
_FIRST_BASELINE_WITH_OFFSET: Final = 4.0
_QUANTIFICATION: Final = {
    "L1C": ("QUANTIFICATION_VALUE", "L1C_TOA_QUANTIFICATION_VALUE"),
    "L2A": ("BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE"),
}
_OFFSETS: Final = {"L1C": "RADIO_ADD_OFFSET", "L2A": "BOA_ADD_OFFSET"}


@dataclass(frozen=True)
class GranuleInfo:
    """A granule as the product lists it; images are paths or bare names, without `extension`."""

    id: str
    images: tuple[str, ...]
    extension: str


@dataclass(frozen=True)
class ProductInfo:
    """What the product's main XML says.

    Attributes:
        offsets: label -> count to add before dividing by `quantification`.
        scale_from: where quantification and offset were read, for people.
        saturated: counts from here up are saturated, or None.
        footprint: (longitude, latitude) corners, or empty.
    """

    id: str
    level: str
    baseline: str
    platform: str
    acquired: datetime | None
    quantification: float
    offsets: Mapping[str, float]
    scale_from: str
    nodata: float
    saturated: float | None
    granules: tuple[GranuleInfo, ...]
    footprint: tuple[tuple[float, float], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class TileInfo:
    """What a granule's own XML says: its grid at each resolution in metres, and the sun."""

    id: str
    grids: Mapping[int, Grid]
    sun: tuple[float, float] | None


def tile_code(text: str) -> str:
    """Return the tile, such as ``T33UUU``, that a granule or file is named after, or ``""``."""
    found = re.search(r"(?:^|_)(T\d{2}[C-X][A-Z]{2})(?=_|$)", text.upper())
    return found[1] if found else ""


def read_product(root: Element, name: str) -> ProductInfo:
    """Read ``MTD_MSIL1C.xml`` or ``MTD_MSIL2A.xml`` of any baseline.

    Args:
        root: from `parse_xml`.
        name: what an error calls the file.

    Raises:
        ProductError: it is another product than Level-1C or Level-2A.
        MetadataError: calibration is absent, unreadable, or contradicts itself.
    """
    level = _level(root, name)
    baseline = find_text(root, "PROCESSING_BASELINE")
    quantification = _quantification(root, level, name)
    offsets, offset_from, notes = _offsets(root, level, baseline, name)
    nodata, saturated, special_notes = _special_values(root, quantification, name)
    for label, offset in offsets.items():
        by = f"/ {_QUANTIFICATION[level][0]} {quantification:g}"
        check_scaling(
            1 / quantification,
            offset / quantification,
            scale_said=f"{name}: the scale is 1 {by}",
            offset_said=f"{name}: the offset of {label} is {_OFFSETS[level]} {offset:g} {by}",
        )
    tag = _OFFSETS[level].removesuffix("_ADD_OFFSET")
    return ProductInfo(
        id=find_text(root, "PRODUCT_URI", "PRODUCT_URI_2A").removesuffix(".SAFE"),
        level=level,
        baseline=baseline,
        platform=find_text(root, "SPACECRAFT_NAME"),
        acquired=_time(find_text(root, "PRODUCT_START_TIME", "DATATAKE_SENSING_START")),
        quantification=quantification,
        offsets=offsets,
        scale_from=f"{name}: {tag} quantification {quantification:g}, {offset_from}",
        nodata=nodata,
        saturated=saturated,
        granules=_granules(root),
        footprint=_footprint(root),
        notes=notes + special_notes,
    )


def read_tile(root: Element, name: str) -> TileInfo:
    """Read ``MTD_TL.xml``.

    Raises:
        MetadataError: the tile's place is absent or unreadable.
    """
    code = find_text(root, "HORIZONTAL_CS_CODE")
    try:
        crs = CRS.from_string(code)
        sizes = {int(e.get("resolution", "")): e for e in find_all(root, "Size")}
        corners = {int(e.get("resolution", "")): e for e in find_all(root, "Geoposition")}
        grids = {r: _grid(crs, sizes[r], corners[r]) for r in sorted(sizes) if r in corners}
    except (CRSError, ValueError) as error:
        raise MetadataError(f"{name}: the tile's place cannot be read: {error}") from error
    if not grids:
        raise MetadataError(f"{name}: no Size and Geoposition in it; expected Tile_Geocoding")
    return TileInfo(find_text(root, "TILE_ID", "TILE_ID_2A"), grids, _sun(root))


def _grid(crs: CRS, size: Element, corner: Element) -> Grid:
    x, y, width, height = (float(find_text(corner, t)) for t in ("ULX", "ULY", "XDIM", "YDIM"))
    shape = int(find_text(size, "NROWS")), int(find_text(size, "NCOLS"))
    return Grid(crs, Affine(width, 0.0, x, 0.0, height, y), shape)


def _sun(root: Element) -> tuple[float, float] | None:
    """Return the mean sun elevation and azimuth in degrees."""
    for angle in find_all(root, "Mean_Sun_Angle"):
        try:
            zenith = float(find_text(angle, "ZENITH_ANGLE"))
            azimuth = float(find_text(angle, "AZIMUTH_ANGLE"))
        except ValueError:
            return None
        if math.isfinite(zenith + azimuth):
            return 90.0 - zenith, azimuth
    return None


def _level(root: Element, name: str) -> str:
    text = find_text(root, "PROCESSING_LEVEL")
    for level in ("L1C", "L2A"):
        if text.startswith(f"Level-{level[1:]}"):
            return level
    raise ProductError(
        f"{name}: PROCESSING_LEVEL is {text!r}; nubila reads Sentinel-2 Level-1C and Level-2A"
    )


def _quantification(root: Element, level: str, name: str) -> float:
    tags = _QUANTIFICATION[level]
    values = sorted({_number(e.text, e.tag, name) for e in find_all(root, *tags)})
    if len(values) != 1 or not values[0] > 0:
        found = ", ".join(f"{v:g}" for v in values) or "none"
        raise MetadataError(
            f"{name}: expected one positive {tags[0]}, found {found}; without it counts cannot be "
            f"turned into reflectance"
        )
    return values[0]


def _offsets(
    root: Element, level: str, baseline: str, name: str
) -> tuple[dict[str, float], str, tuple[str, ...]]:
    """Return the offset of each label, where it was read, and what had to be assumed."""
    found: dict[str, float] = {}
    for element in find_all(root, *_OFFSETS.values()):
        label = _label(element, name)
        value = _number(element.text, element.tag, name)
        if found.setdefault(label, value) != value:
            raise MetadataError(
                f"{name}: two offsets for band {label}, {found[label]:g} and {value:g}; the "
                f"metadata contradict each other, so the reflectance is unknown"
            )
    tag = _OFFSETS[level]
    if found:
        # Level-2A has no B10, and some processors leave it out of the list.
        absent = [b for b in LABELS if b not in found and not (level == "L2A" and b == "B10")]
        if absent:
            raise MetadataError(
                f"{name}: {tag} is given for {', '.join(found)} but not for {', '.join(absent)}"
            )
        _check_baseline(found, baseline, tag, name)
        values = " and ".join(f"{value:g}" for value in sorted(set(found.values())))
        return found, f"{tag} {values}", _uneven(found, tag)
    return dict.fromkeys(LABELS, 0.0), *_no_offset(baseline, tag, name)


def _check_baseline(found: Mapping[str, float], baseline: str, tag: str, name: str) -> None:
    """Refuse offsets in a product of a baseline that had none."""
    try:
        too_early = float(baseline) < _FIRST_BASELINE_WITH_OFFSET
    except ValueError:
        return
    if too_early and any(found.values()):
        values = " and ".join(f"{value:g}" for value in sorted(set(found.values())))
        raise MetadataError(
            f"{name}: baseline {baseline} is before 04.00, when there were no offsets, but {tag} "
            f"is {values}; the metadata contradict each other, so the reflectance is unknown. "
            f"Fetch the product's own XML again"
        )


def _uneven(found: Mapping[str, float], tag: str) -> tuple[str, ...]:
    """Note offsets that differ between bands; those of every product so far are the same."""
    labels: dict[float, list[str]] = {}
    for label, value in found.items():
        labels.setdefault(value, []).append(label)
    if len(labels) < 2:
        return ()
    said = "; ".join(f"{value:g} for {', '.join(labels[value])}" for value in sorted(labels))
    return (f"{tag} differs between bands: {said}",)


def _no_offset(baseline: str, tag: str, name: str) -> tuple[str, tuple[str, ...]]:
    try:
        number = float(baseline)
    except ValueError:
        raise MetadataError(
            f"{name}: neither {tag} nor a readable PROCESSING_BASELINE (found {baseline!r}), so "
            f"it is unknown whether the counts have an offset"
        ) from None
    if number == _UNKNOWN_BASELINE:
        return f"no {tag}, so 0", (
            f"processed on a user's machine (baseline {baseline}) and without {tag}: offset 0",
        )
    if number >= _FIRST_BASELINE_WITH_OFFSET:
        raise MetadataError(
            f"{name}: baseline {baseline} has an offset, but no {tag} is in the XML; the "
            f"reflectance would be wrong by about 0.1. Fetch the product's own XML again"
        )
    return f"no {tag} before baseline 04.00, so 0", ()


def _label(element: Element, name: str) -> str:
    number = element.get("band_id", "")
    if not (number.isdigit() and int(number) < len(LABELS)):
        raise MetadataError(
            f"{name}: {element.tag} has band_id {number!r}; expected 0 to {len(LABELS) - 1}"
        )
    return LABELS[int(number)]


def _special_values(
    root: Element, quantification: float, name: str
) -> tuple[float, float | None, tuple[str, ...]]:
    """Return the counts that mean no data and saturated, and what had to be assumed."""
    values: dict[str, float] = {}
    for element in find_all(root, "Special_Values"):
        key = find_text(element, "SPECIAL_VALUE_TEXT")
        value = _number(find_text(element, "SPECIAL_VALUE_INDEX"), key, name)
        if values.setdefault(key, value) != value:
            raise MetadataError(f"{name}: {key} is both {values[key]:g} and {value:g}")
    nodata, saturated = values.get("NODATA", 0.0), values.get("SATURATED")
    told: tuple[str, ...] = ()
    if "NODATA" not in values:
        # As in every product so far; else the black edge of the swath would be judged as ground.
        told = ("the XML does not say which count is no data (NODATA): taken to be 0",)
    if saturated is None or saturated >= quantification:
        return nodata, saturated, told
    # Early products give other numbers here, some with the two swapped; a count below 100 %
    # reflectance cannot be the sensor's upper limit.
    fill = 0.0 if saturated == 0 else nodata
    note = f"SATURATED is {saturated:g} in the XML, no upper limit of the counts: not used"
    return fill, None, (*told, note)


def _granules(root: Element) -> tuple[GranuleInfo, ...]:
    """Return the granules; some products list one once for each resolution."""
    images: dict[tuple[str, str], list[str]] = {}
    for granule in find_all(root, "Granule", "Granules"):
        extension = ".tif" if granule.get("imageFormat") == "GeoTIFF" else ".jp2"
        names = images.setdefault((granule.get("granuleIdentifier", ""), extension), [])
        tags = ("IMAGE_FILE", "IMAGE_FILE_2A", "IMAGE_ID", "IMAGE_ID_2A")
        names.extend((e.text or "").strip() for e in find_all(granule, *tags))
    return tuple(
        GranuleInfo(identifier, tuple(dict.fromkeys(names)), extension)
        for (identifier, extension), names in images.items()
    )


def _footprint(root: Element) -> tuple[tuple[float, float], ...]:
    """Return the footprint, which the XML gives as latitude and longitude in turn."""
    try:
        numbers = [float(n) for n in find_text(root, "EXT_POS_LIST").split()]
    except ValueError:
        return ()
    return tuple(zip(numbers[1::2], numbers[::2], strict=False))


def _number(text: Any, what: str, name: str) -> float:  # noqa: ANN401 (text or None)
    try:
        value = float(text)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise MetadataError(f"{name}: {what} is {text!r}, not a number")
    return value


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
