"""STAC items, from a file, a URL, a mapping, or a pystac object."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from nubila.bands import SENSORS
from nubila.errors import BandError, MetadataError
from nubila.raster.gdal import open_source
from nubila.scenes.fill import FILL_NOTE, filled_with_0, is_told
from nubila.scenes.grids import common_grid
from nubila.scenes.location import unsigned
from nubila.scenes.reflectance import sample_of, too_high, too_low
from nubila.scenes.safe import default_resolution
from nubila.scenes.scaling import check_scaling
from nubila.scenes.scene import Band, BandFile, Saturation, Scene
from nubila.scenes.stac_bands import Json, Layer, find_layers, number
from nubila.scenes.stac_fields import footprint_of, time_of
from nubila.scenes.stac_item import StacItem, load_item
from nubila.scenes.stac_scale import Calibration, calibrate, check_nodata, hold_to_file

__all__ = ["open_stac"]

_SENTINEL_SATURATED: Final = 65535.0  # SPECIAL_VALUE SATURATED of every product
_MASKS: Final = {"scl": "scl", "qa_pixel": "qa_pixel"}
_AZURE: Final = ".blob.core.windows.net"


def open_stac(item: Any) -> Scene:  # noqa: ANN401 (pystac is no dependency, so any object goes)
    """Open a STAC item of version 1.0 or 1.1.

    Bands go by their names, scale and offset by ``raster:bands`` or ``bands``, and by the habits of
    Earth Search, the Planetary Computer and others that `nubila.scenes.stac_scale` tells of. No
    file is fetched where the item's projection fields say where it lies; what the item says of its
    values is then held to it when it is first read, and before that where it is on disk.

    Args:
        item: path or URL of the item's JSON, the item as a mapping, or an object with ``to_dict``
            such as a `pystac.Item`. Relative addresses count from where the item is, or from its
            ``self`` link. Addresses that need a signature must have it.

    Raises:
        MissingFileError: the item, or a file that must be opened, is not there.
        ProductError: not a STAC item, or a server refuses it or cannot be reached.
        BandError: no asset holds a band that nubila knows.
        MetadataError: there is no scale, or metadata contradict each other or a file.
        GridError: bands differ in CRS or extent.
    """
    found = load_item(item)
    layers: dict[str, list[Layer]] = defaultdict(list)
    for layer in find_layers(found.content, found.name):
        layers[layer.name].append(layer)
    if not layers:
        raise BandError(
            f"{found.name}: no asset holds a band that nubila knows (assets: "
            f"{', '.join(found.content['assets']) or 'none'}); bands are told by name or "
            f"common name in eo:bands (STAC 1.0) or bands (1.1), and by a label such as B05, which "
            f"is another band of Sentinel-2 than of Landsat, only where the item tells the sensor"
        )
    notes: dict[str, list[str]] = {note: [] for note in _signature_note(found)}
    bands: dict[str, Band] = {}
    for name, alternatives in layers.items():
        bands[name], said = _band(found, alternatives)
        for note, file in said:
            notes.setdefault(note, []).extend([file] if file else [])
    bands = filled_with_0(bands)
    if any(band.zero_fill for band in bands.values()):
        notes[FILL_NOTE] = []
    told = (f"{note}: {', '.join(files)}" if files else note for note, files in notes.items())
    return _scene(found, bands, tuple(told))


def _band(item: StacItem, layers: Sequence[Layer]) -> tuple[Band, list[tuple[str, str]]]:
    """Return a band of one or more assets, and notes on what was assumed, with the file or ``""``.

    Where an item has a band as COG and as JPEG 2000, the COG is read: it has been calibrated as
    the item says, and comes from the network in parts.
    """
    chosen = [layer for layer in layers if not layer.is_jp2] or list(layers)
    chosen = list({item.path(layer.asset): layer for layer in reversed(chosen)}.values())[::-1]
    first = chosen[0]
    calibrations = [_calibration(item, layer) for layer in chosen]
    for layer, other in zip(chosen, calibrations, strict=True):
        one = calibrations[0]
        if (one.scale, one.offset, first.nodata) != (other.scale, other.offset, layer.nodata):
            raise MetadataError(
                f"{item.name}: two assets contradict each other about band {first.name}: "
                f"{first.key!r} has scale {one.scale:g}, offset {one.offset:g}, nodata "
                f"{first.nodata}; {layer.key!r} {other.scale:g}, {other.offset:g}, {layer.nodata}"
            )
    files = [
        item.open(layer.asset, layer.index, calibration, layer.nodata)
        for layer, calibration in zip(chosen, calibrations, strict=True)
    ]
    files.sort(key=lambda file: file.grid.resolution)
    floats = calibrations[0].floats
    nodata, told, assumed = _nodata(item, first, is_count=not floats)
    sentinel = item.sensor == "sentinel-2-msi"
    band = Band(
        name=first.name,
        label=first.label,
        files=tuple(files),
        scale=calibrations[0].scale,
        offset=calibrations[0].offset,
        scale_from=f"{first.where}: {calibrations[0].scale_from}",
        nodata=nodata,
        saturated=_SENTINEL_SATURATED if sentinel else None,
        saturation=_saturation(item, first),
        resolution=_native(item, first, files[0]),
        zero_fill=not told,
    )
    said = ((calibrations[0].note, posixpath.basename(floats)), (assumed, ""))
    return band, [(note, file) for note, file in said if note]


def _calibration(item: StacItem, layer: Layer) -> Calibration:
    """Return the calibration by the item or, where it has none, by the file's own tags."""
    found = calibrate(layer, item.properties, item.sensor)
    if found is not None and not item.is_at_hand(layer.asset):
        return found
    source, info = open_source(item.path(layer.asset), layer.index)
    check_nodata(layer.nodata, source, info)
    if found is not None and (held := hold_to_file(found, layer.nodata, source, info)):
        return held
    scale, offset = info.scales[layer.index - 1], info.offsets[layer.index - 1]
    if (scale, offset) != (1.0, 0.0):
        said = f"{layer.where}: in the tags of {unsigned(info.path)}"
        check_scaling(
            scale,
            offset,
            scale_said=f"{said} the scale is {scale:g}",
            offset_said=f"{said} the offset is {offset:g}",
        )
        return Calibration(scale, offset, "tags of the file")
    dtype = info.dtypes[layer.index - 1]
    if dtype.startswith("float"):
        _check_reflectance(item, layer)
        note = f"{dtype} values without a scale, taken as reflectance (1 = 100 %)"
        said = "floating-point values taken as they are"
        return Calibration(1.0, 0.0, said, note, floats=unsigned(info.path))
    raise MetadataError(
        f"{layer.where}: no scale, neither in the item (raster:bands, or raster:scale in bands) "
        f"nor in the file. Give the assets' addresses as a list of rasters, with bands, scale "
        f"and offset."
    )


def _check_reflectance(item: StacItem, layer: Layer) -> None:
    """Refuse floating-point values that no reflectance has."""
    source, info = open_source(item.path(layer.asset), layer.index)
    nodata = info.nodata[layer.index - 1] if layer.nodata is None else layer.nodata
    values = sample_of(source)
    for judge, which in ((too_high, "to"), (too_low, "down to")):
        if (value := judge(values, nodata)) is not None:
            raise MetadataError(
                f"{layer.where}: {source.name} has values {which} {value:g}, which no reflectance "
                f"is, and there is no scale, neither in the item nor in the file. Give the assets' "
                f"addresses as a list of rasters, with bands, scale, offset and nodata."
            )


def _nodata(item: StacItem, layer: Layer, *, is_count: bool) -> tuple[float | None, bool, str]:
    """Return the stated value; 0 for the agencies' own products; else the file's.

    With it, whether anything tells what means no data, and a note.

    Counts of a known sensor without any value are taken as the agencies', with a note: 0 is no data
    in all that they give away, and where it is none, next to no pixel has it. The agencies give
    away no floating-point values.
    """
    if layer.nodata is not None:
        return layer.nodata, is_told(layer.nodata), ""
    known = item.sensor != "unknown"
    if known and is_count and _level(item.properties):
        return 0.0, True, ""
    source, info = open_source(item.path(layer.asset), layer.index)
    nodata = info.nodata[layer.index - 1]
    told = is_told(nodata, masked=source.masked)
    floats = info.dtypes[layer.index - 1].startswith("float")
    if known and is_count and not (told or floats):
        return 0.0, True, "neither item nor file say what means no data; taken to be count 0"
    return nodata, told, ""


def _native(item: StacItem, layer: Layer, finest: BandFile) -> float:
    table = SENSORS[item.sensor].bands.values()
    native = next((size for name, size in table if name == layer.name), finest.grid.resolution)
    return native if item.sensor == "sentinel-2-msi" else finest.grid.resolution


def _saturation(item: StacItem, layer: Layer) -> Saturation | None:
    """Return Landsat's saturation flags, where the item has them and the band's number."""
    flags = item.content["assets"].get("qa_radsat")
    numbered = re.search(r"B(\d+)$", layer.label)
    if flags is None or numbered is None or not item.sensor.startswith("landsat"):
        return None
    return Saturation(item.open(flags), 1 << (int(numbered[1]) - 1))


def _scene(item: StacItem, bands: Mapping[str, Band], notes: tuple[str, ...]) -> Scene:
    properties = item.properties
    grid = common_grid(item.name, bands)
    sun = tuple(
        number(properties.get(f"view:sun_{angle}"), f"{item.name}: view:sun_{angle}")
        for angle in ("elevation", "azimuth")
    )
    usual = default_resolution(bands) if item.sensor == "sentinel-2-msi" else grid.resolution
    return Scene(
        id=str(item.content["id"]),
        path=item.name,
        sensor=item.sensor,
        level=_level(properties),
        bands=bands,
        grid=grid,
        acquired=time_of(item.content, item.name),
        baseline=str(
            properties.get("s2:processing_baseline") or properties.get("processing:version") or ""
        ),
        platform=str(properties.get("platform", "")),
        sun=(sun[0], sun[1]) if sun[0] is not None and sun[1] is not None else None,
        default_resolution=max(usual, grid.resolution),
        notes=notes,
        footprint=footprint_of(item.content, item.name),
        masks=_masks(item),
    )


def _level(properties: Json) -> str:
    product = re.fullmatch(r"S2MSI(1C|2A)", str(properties.get("s2:product_type", "")))
    if product:
        return f"L{product[1]}"
    return str(properties.get("landsat:correction") or properties.get("processing:level") or "")


def _masks(item: StacItem) -> dict[str, BandFile]:
    """Return the product's own masks; of several resolutions the first."""
    masks: dict[str, BandFile] = {}
    for key, asset in item.content["assets"].items():
        name = _MASKS.get(re.sub(r"_\d+m$", "", key.lower()))
        if name is not None and name not in masks:
            masks[name] = item.open(asset)
    return masks


def _signature_note(item: StacItem) -> Iterator[str]:
    for asset in item.content["assets"].values():
        address = urlsplit(str(asset["href"]))
        if address.netloc.endswith(_AZURE) and not address.query:
            yield (
                "the addresses are not signed, so the Planetary Computer may refuse them; sign the "
                "item first (planetary_computer.sign)"
            )
            return
