"""How a STAC item's counts become reflectance, with the habits of the large catalogues.

Sentinel-2. From processing baseline 04.00 (25 January 2022) the space agency's counts are 1000
higher, so reflectance = (count - 1000) / 10000 (Sentinel-2 Products Specification Document,
BOA_ADD_OFFSET). Catalogues treat it in three ways:

- Element 84's Earth Search v1 ``sentinel-2-l2a`` has COGs from which the 1000 were taken off
  again, but not in all items; ``earthsearch:boa_offset_applied`` tells. Where it is true,
  ``raster:bands`` still says offset -0.1 in most items: the flag is right and that offset must
  not be applied ("the offset property may be incorrectly set to -0.1 even when it has been
  applied but I think the boa_offset_applied is the truth": M. Hanson, Element 84,
  https://github.com/Element84/earth-search/issues/9, 2023-08-03). So true with -0.1 is a known
  habit and no contradiction: offset 0. Where it is false or absent, ``raster:bands`` is right
  (https://github.com/Element84/earth-search, docs/collections/sentinel-2-l2a.md). The flag is
  about the COGs; the JPEG 2000 assets of the same item are as the space agency made them.
- Its ``sentinel-2-c1-l2a``, and the Copernicus Data Space, leave the counts as they are and say
  offset -0.1.
- Microsoft's Planetary Computer leaves them too and states neither scale nor offset, only
  ``s2:processing_baseline`` (https://planetarycomputer.microsoft.com/dataset/sentinel-2-l2a,
  "Baseline Change").

Landsat Collection 2 Level 2 is count * 2.75e-5 - 0.2 throughout (LSDS-1618, LSDS-1619, U.S.
Geological Survey); the Planetary Computer states it, the Survey's own catalogue does not.

A habit is of the catalogue's own files. Items of files that somebody derived from them often keep
``s2:processing_baseline``, and ``raster:bands`` of what the files were before, so what an item says
is held to the file (`hold_to_file`). A file without tags contradicts nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from nubila.errors import MetadataError
from nubila.raster.gdal import GdalSource, RasterInfo
from nubila.scenes.fill import is_told
from nubila.scenes.reflectance import are_reflectance, sample_of
from nubila.scenes.scaling import check_scaling
from nubila.scenes.stac_bands import Layer, same_number

__all__ = ["Calibration", "calibrate", "check_nodata", "hold_to_file"]

_SENTINEL_SCALE: Final = 1e-4
_SENTINEL_OFFSET: Final = -0.1
_FIRST_WITH_OFFSET: Final = 4.0
_LANDSAT_LEVEL_2: Final = (2.75e-5, -0.2)
_FLAGS: Final = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
# Of counts. A scale of 0.01 is of percent, which over dark water look as reflectance does.
_MOST_SCALE_OF_COUNTS: Final = 1e-3
_WAY_OUT: Final = (
    "If you know how the counts become reflectance, give the assets' addresses as a list of "
    "rasters, with bands, scale and offset."
)


@dataclass(frozen=True)
class Calibration:
    """Reflectance = count * scale + offset, where that was read, and what was assumed.

    Attributes:
        by_habit: whether the scale is not stated, but usual for the item's files.
        floats: file of floating-point values that are reflectance as they are, or ``""``.
    """

    scale: float
    offset: float
    scale_from: str
    note: str = ""
    by_habit: bool = False
    floats: str = ""


def calibrate(layer: Layer, properties: Mapping[str, Any], sensor: str) -> Calibration | None:
    """Return how a band's counts become reflectance, or None if the item does not say.

    Args:
        layer: the band.
        properties: of the item.
        sensor: a key of `nubila.bands.SENSORS`.

    Raises:
        MetadataError: what the item says contradicts itself, or cannot give reflectance.
    """
    check_scaling(
        1.0 if layer.scale is None else layer.scale,
        layer.offset or 0.0,
        scale_said=f"{layer.where}: scale is {layer.scale}",
        offset_said=f"{layer.where}: offset is {layer.offset}",
    )
    if sensor == "sentinel-2-msi":
        return _sentinel(layer, properties)
    level = str(properties.get("landsat:correction", ""))
    if level.startswith("L1"):
        raise MetadataError(
            f"{layer.where}: a Landsat Level 1 item ({level}), whose counts need the numbers in "
            f"the product's MTL; download the product and open its folder"
        )
    if layer.scale is not None:
        return Calibration(layer.scale, layer.offset or 0.0, "scale and offset in the item")
    if level.startswith("L2") and str(properties.get("landsat:collection_number")) == "02":
        note = "the item states no scale; that of Landsat Collection 2 Level 2 is used"
        said = f"landsat:correction {level}, collection 02"
        return Calibration(*_LANDSAT_LEVEL_2, said, note, by_habit=True)
    return None


def hold_to_file(
    found: Calibration, nodata: float | None, source: GdalSource, info: RasterInfo
) -> Calibration | None:
    """Return a calibration if a file bears it out, or None if it is by habit and finds no counts.

    Args:
        found: from `calibrate`.
        nodata: what the item states, or None.
        source: of the band in the file.
        info: of the file.

    Raises:
        MetadataError: the file's own scale and offset are others, or the item states a scale of
            counts and the file holds reflectance.
    """
    scale, offset = info.scales[source.index - 1], info.offsets[source.index - 1]
    if (scale, offset) != (1.0, 0.0):
        same = math.isclose(scale, found.scale, rel_tol=1e-6)
        if same and math.isclose(offset, found.offset, abs_tol=1e-6):
            return found
        says = f"by {found.scale_from} it is"
        if found.by_habit:
            says = f"the item states none, but {found.scale_from}, which usually means"
        raise MetadataError(
            f"{source.name}: contradiction: the file's tags say scale {scale:g} and offset "
            f"{offset:g}; {says} scale {found.scale:g} and offset {found.offset:g}. {_WAY_OUT}"
        )
    dtype = info.dtypes[source.index - 1]
    if not dtype.startswith("float"):
        return found
    if found.by_habit:
        return None
    counts = found.scale <= _MOST_SCALE_OF_COUNTS
    empty = info.nodata[source.index - 1] if nodata is None else nodata
    if counts and are_reflectance(sample_of(source), empty):
        raise MetadataError(
            f"{source.name}: contradiction: it holds {dtype} values that are reflectance already "
            f"(1 = 100 %), but the item says scale {found.scale:g} and offset {found.offset:g} "
            f"({found.scale_from}). Give the assets' addresses as a list of rasters, with "
            f"bands, and with scale 1 if they are reflectance."
        )
    return found


def check_nodata(stated: float | None, source: GdalSource, info: RasterInfo) -> None:
    """Refuse a file that has another value for no data than its item states.

    Raises:
        MetadataError: both have one, and they differ.
    """
    own = info.nodata[source.index - 1]
    if stated is None or own is None or not (is_told(stated) and is_told(own)):
        return
    if not same_number(stated, own):
        raise MetadataError(
            f"{source.name}: contradiction: by the file {own:g} means no data, by the item "
            f"{stated:g}. If you know which it is, give the assets' addresses as a list of "
            f"rasters, with bands, scale, offset and nodata."
        )


def _sentinel(layer: Layer, properties: Mapping[str, Any]) -> Calibration | None:
    flag = next((f for f in _FLAGS if f in properties and not layer.is_jp2), None)
    if flag is not None and not isinstance(properties[flag], bool):
        raise MetadataError(
            f"{layer.where}: {flag} is {properties[flag]!r}, neither true nor false, so it is "
            f"unknown whether the counts have an offset. {_WAY_OUT}"
        )
    baseline = _baseline(layer, properties)
    by_baseline = (
        None if baseline is None else _SENTINEL_OFFSET if baseline >= _FIRST_WITH_OFFSET else 0.0
    )
    if flag is not None and properties[flag] is True:
        return _already_applied(layer, flag, by_baseline)
    said = "" if flag is None else f" and {flag} is {str(properties[flag]).lower()}"
    if layer.is_jp2 and (of_cogs := next((f for f in _FLAGS if properties.get(f) is True), None)):
        said = f" and {of_cogs} is true, but of the COGs and not of the JPEG 2000 assets"
    if layer.scale is None:
        if by_baseline is None:
            return None
        return Calibration(
            _SENTINEL_SCALE,
            by_baseline,
            f"processing baseline {baseline:05.2f}{said}",
            f"the item states no scale; that of Sentinel-2 baseline {baseline:05.2f} is used",
            by_habit=True,
        )
    offset = layer.offset or 0.0
    if by_baseline is not None and not math.isclose(offset, by_baseline, abs_tol=1e-6):
        stated = "no offset" if layer.offset is None else f"offset {offset:g}"
        raise MetadataError(
            f"{layer.where}: contradiction: {stated} beside the scale, but the processing baseline "
            f"is {baseline:05.2f}{said}, which means offset {by_baseline:g}. {_WAY_OUT}"
        )
    return Calibration(layer.scale, offset, f"scale and offset in the item{said}")


def _already_applied(layer: Layer, flag: str, by_baseline: float | None) -> Calibration:
    if by_baseline == 0.0:
        raise MetadataError(
            f"{layer.where}: contradiction: {flag} is true, but the processing baseline is before "
            f"04.00, when there was no offset to apply. {_WAY_OUT}"
        )
    if layer.offset and not math.isclose(layer.offset, _SENTINEL_OFFSET, abs_tol=1e-6):
        raise MetadataError(
            f"{layer.where}: contradiction: {flag} is true, but an offset of {layer.offset:g} is "
            f"stated, neither 0 nor the usual {_SENTINEL_OFFSET:g}. {_WAY_OUT}"
        )
    said = f"{flag} is true, so offset 0"
    if layer.scale is None:
        return Calibration(_SENTINEL_SCALE, 0.0, said, by_habit=True)
    return Calibration(layer.scale, 0.0, said)


def _baseline(layer: Layer, properties: Mapping[str, Any]) -> float | None:
    keys = ("s2:processing_baseline", "sentinel:processing_baseline", "processing:version")
    for key in keys:
        text = str(properties.get(key, "")).upper().removeprefix("N")
        if not text:
            continue
        try:
            return float(text) / (100 if text.isdigit() and len(text) == 4 else 1)
        except ValueError as error:
            raise MetadataError(
                f"{layer.where}: {key} is {properties[key]!r}, expected one such as '05.11'"
            ) from error
    return None
