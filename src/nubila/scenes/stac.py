"""STAC items, from a file, a URL, a mapping, or a pystac object."""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import CRSError

from nubila.bands import SENSORS
from nubila.errors import BandError, GridError, MetadataError, ProductError
from nubila.raster.gdal import GdalSource, RasterInfo, open_source, read_info
from nubila.raster.grid import Grid, Window
from nubila.scenes.grids import common_grid
from nubila.scenes.location import gdal_path, read_text, resolve, unsigned
from nubila.scenes.reflectance import sample_of, too_high, too_low
from nubila.scenes.safe import default_resolution
from nubila.scenes.scene import Band, BandFile, Saturation, Scene
from nubila.scenes.stac_bands import Json, Layer, find_layers, number, sensor_of
from nubila.scenes.stac_scale import Calibration, calibrate, hold_to_file

__all__ = ["open_stac"]

_SENTINEL_SATURATED: Final = 65535.0  # SPECIAL_VALUE SATURATED of every product
_MASKS: Final = {"scl": "scl", "qa_pixel": "qa_pixel"}
_AZURE: Final = ".blob.core.windows.net"


@dataclass(frozen=True)
class _LazySource:
    """A band of an asset whose place the item tells; its header is fetched when it is read."""

    path: str
    index: int
    stated: Grid = field(compare=False)
    calibration: Calibration | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """The path, without what signs it."""
        return unsigned(self.path)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, as the item says."""
        return self.stated.shape

    @property
    def factors(self) -> tuple[int, ...]:
        """Decimations stored in the file."""
        return self._source.factors

    @property
    def block(self) -> tuple[int, int]:
        """Rows and columns that are decoded together."""
        return self._source.block

    def read(self, factor: int, window: Window) -> NDArray[Any]:
        """Return the counts of a window."""
        return self._source.read(factor, window)

    @cached_property
    def _source(self) -> GdalSource:
        source, info = open_source(self.path, self.index)
        same = info.grid.shape == self.stated.shape and info.grid.transform.almost_equals(
            self.stated.transform, precision=1e-3
        )
        if not same or (info.grid.crs is not None and info.grid.crs != self.stated.crs):
            raise GridError(
                f"{self.name}: lies elsewhere than the item's proj: fields say: "
                f"{info.grid.shape} pixels from {info.grid.bounds} in {info.grid.crs}, not "
                f"{self.stated.shape} from {self.stated.bounds} in {self.stated.crs}"
            )
        self._check_habit(info)
        return source

    def _check_habit(self, info: RasterInfo) -> None:
        """Refuse a file that is not as the scale by habit takes it to be."""
        habit = self.calibration
        if habit and habit.by_habit and hold_to_file(habit, info, self.index) is None:
            raise MetadataError(
                f"{self.name}: holds {info.dtypes[self.index - 1]} values without a scale, but "
                f"counts were expected, for the item states no scale either "
                f"({habit.scale_from}). If they are reflectance, give the assets' addresses as a "
                f"list of rasters, with bands."
            )


@dataclass(frozen=True)
class _Item:
    """A STAC item and where it was found."""

    content: Json
    name: str
    base: str

    @property
    def properties(self) -> Json:
        """The item's properties."""
        found: Json = self.content["properties"]
        return found

    @cached_property
    def sensor(self) -> str:
        """Key of `nubila.bands.SENSORS`."""
        return sensor_of(self.properties)

    def path(self, asset: Json) -> str:
        """Return what GDAL calls an asset's file."""
        return gdal_path(resolve(str(asset["href"]), self.base))

    def is_at_hand(self, asset: Json) -> bool:
        """Tell whether to look at an asset's file costs next to nothing, or is done anyway."""
        path = self.path(asset)
        return os.path.exists(path) or self._grid(asset) is None  # noqa: PTH110 (as in `open`)

    def open(self, asset: Json, index: int = 1, calibration: Calibration | None = None) -> BandFile:
        """Return an asset's file; over the network only if the item does not say where it lies."""
        path = self.path(asset)
        grid = self._grid(asset)
        if grid is not None:
            return BandFile(_LazySource(path, index, grid, calibration), grid)
        source, info = open_source(path, index)
        return BandFile(source, info.grid)

    def _grid(self, asset: Json) -> Grid | None:
        """Return the grid by the projection extension (v1 or v2), of the asset or the item."""
        stated = {k: v for k, v in self.properties.items() if k.startswith("proj:")} | {
            k: v for k, v in asset.items() if k.startswith("proj:")
        }
        code = stated.get("proj:code") or stated.get("proj:epsg") or stated.get("proj:wkt2")
        shape, transform = stated.get("proj:shape"), stated.get("proj:transform")
        if not (code and shape and transform):
            return None
        try:
            crs = CRS.from_user_input(code)
            rows, columns = (int(n) for n in shape)
            return Grid(crs, Affine(*(float(n) for n in transform[:6])), (rows, columns))
        except (CRSError, TypeError, ValueError) as error:
            raise MetadataError(f"{self.name}: its proj: fields are unreadable: {error}") from error


def open_stac(item: Any) -> Scene:  # noqa: ANN401 (pystac is no dependency, so any object goes)
    """Open a STAC item of version 1.0 or 1.1.

    Bands go by their names, scale and offset by ``raster:bands`` or ``bands``, and by the habits of
    Earth Search, the Planetary Computer and others that `nubila.scenes.stac_scale` tells of. No
    file is fetched where the item's projection fields say where it lies; what a habit says of it
    is then held to it when it is first read, and before that where it is on disk.

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
    found = _load(item)
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
    told = (f"{note}: {', '.join(files)}" if files else note for note, files in notes.items())
    return _scene(found, bands, tuple(told))


def _load(item: Any) -> _Item:  # noqa: ANN401 (see open_stac)
    base = ""
    if isinstance(item, (str, Path)):
        base = str(item)
        try:
            content = json.loads(read_text(base))
        except ValueError as error:
            raise ProductError(f"{base}: not JSON: {error}") from error
    else:
        content = item if isinstance(item, Mapping) else _plain(item)
    name = unsigned(base)
    if not isinstance(content, Mapping) or content.get("type") != "Feature":
        kind = content.get("type") if isinstance(content, Mapping) else type(content).__name__
        raise ProductError(
            f"{name or 'the item'}: a STAC item has type 'Feature', this has {kind!r}"
        )
    properties, assets = content.get("properties"), content.get("assets")
    identifier = str(content.get("id", ""))
    name = name or f"STAC item {identifier}"
    if not (identifier and isinstance(properties, Mapping) and isinstance(assets, Mapping)):
        raise ProductError(f"{name}: a STAC item has id, properties and assets")
    _check_version(content, name)
    for key, asset in assets.items():
        if not (isinstance(asset, Mapping) and asset.get("href")):
            raise ProductError(f"{name}: asset {key!r} has no href")
    return _Item(content, name, base or _self_link(content.get("links")))


def _check_version(content: Json, name: str) -> None:
    """Refuse items before STAC 1.0, whose fields had other names."""
    version = str(content.get("stac_version", ""))
    if not version.startswith("0."):
        return
    advice = ""
    if re.match(r"L[COTEM]\d\d_", str(content["id"])):
        # The U.S. Geological Survey puts such an item into each of its products.
        advice = "; give the product's folder, or its *_MTL.txt, .json or .xml beside the item"
    raise MetadataError(
        f"{name}: stac_version is {version!r}, and nubila reads items of STAC 1.0 and 1.1{advice}"
    )


def _plain(item: Any) -> Any:  # noqa: ANN401 (see open_stac)
    """Return an object's mapping; pystac would fetch the catalogue that the item belongs to."""
    try:
        return item.to_dict(transform_hrefs=False)
    except TypeError:  # another library's item
        return item.to_dict()


def _self_link(links: Any) -> str:  # noqa: ANN401 (JSON)
    """Return the address that an item gives as its own, or ``""``."""
    known = [link for link in links or () if isinstance(link, Mapping)]
    return next((str(k.get("href", "")) for k in known if k.get("rel") == "self"), "")


def _band(item: _Item, layers: Sequence[Layer]) -> tuple[Band, list[tuple[str, str]]]:
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
        item.open(layer.asset, layer.index, calibration)
        for layer, calibration in zip(chosen, calibrations, strict=True)
    ]
    files.sort(key=lambda file: file.grid.resolution)
    floats = calibrations[0].floats
    nodata, assumed = _nodata(item, first, is_count=not floats)
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
        zero_fill=bool(floats and assumed),
    )
    said = ((calibrations[0].note, posixpath.basename(floats)), (assumed, ""))
    return band, [(note, file) for note, file in said if note]


def _calibration(item: _Item, layer: Layer) -> Calibration:
    """Return the calibration by the item or, where it has none, by the file's own tags."""
    found = calibrate(layer, item.properties, item.sensor)
    if found is not None and not (found.by_habit and item.is_at_hand(layer.asset)):
        return found
    info = read_info(item.path(layer.asset))
    if found is not None and (held := hold_to_file(found, info, layer.index)):
        return held
    scale, offset = info.scales[layer.index - 1], info.offsets[layer.index - 1]
    if (scale, offset) != (1.0, 0.0):
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


def _check_reflectance(item: _Item, layer: Layer) -> None:
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


def _nodata(item: _Item, layer: Layer, *, is_count: bool) -> tuple[float | None, str]:
    """Return the stated value; 0 for the agencies' own products; else the file's; and a note.

    Counts of a known sensor without any value are taken as the agencies', with a note: 0 is no data
    in all that they give away, and where it is none, next to no pixel has it. The agencies give
    away no floating-point values.
    """
    if layer.nodata is not None:
        return layer.nodata, ""
    known = item.sensor != "unknown"
    if known and is_count and _level(item.properties):
        return 0.0, ""
    source, info = open_source(item.path(layer.asset), layer.index)
    nodata = info.nodata[layer.index - 1]
    if nodata is not None or source.masked:
        return nodata, ""
    if not is_count:
        return None, "pixels of exactly 0 in every band are taken as no data, for nothing tells it"
    if info.dtypes[layer.index - 1].startswith("float"):
        return None, ""
    if known:
        return 0.0, "neither item nor file say what means no data; taken to be count 0"
    return None, "neither item nor file say what means no data, so every pixel counts"


def _native(item: _Item, layer: Layer, finest: BandFile) -> float:
    table = SENSORS[item.sensor].bands.values()
    native = next((size for name, size in table if name == layer.name), finest.grid.resolution)
    return native if item.sensor == "sentinel-2-msi" else finest.grid.resolution


def _saturation(item: _Item, layer: Layer) -> Saturation | None:
    """Return Landsat's saturation flags, where the item has them and the band's number."""
    flags = item.content["assets"].get("qa_radsat")
    numbered = re.search(r"B(\d+)$", layer.label)
    if flags is None or numbered is None or not item.sensor.startswith("landsat"):
        return None
    return Saturation(item.open(flags), 1 << (int(numbered[1]) - 1))


def _scene(item: _Item, bands: Mapping[str, Band], notes: tuple[str, ...]) -> Scene:
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
        acquired=_acquired(item),
        baseline=str(
            properties.get("s2:processing_baseline") or properties.get("processing:version") or ""
        ),
        platform=str(properties.get("platform", "")),
        sun=(sun[0], sun[1]) if sun[0] is not None and sun[1] is not None else None,
        default_resolution=max(usual, grid.resolution),
        notes=notes,
        footprint=item.content.get("geometry"),
        masks=_masks(item),
    )


def _level(properties: Json) -> str:
    product = re.fullmatch(r"S2MSI(1C|2A)", str(properties.get("s2:product_type", "")))
    if product:
        return f"L{product[1]}"
    return str(properties.get("landsat:correction") or properties.get("processing:level") or "")


def _acquired(item: _Item) -> datetime | None:
    text = item.properties.get("datetime") or item.properties.get("start_datetime")
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError as error:
        raise MetadataError(f"{item.name}: datetime is {text!r}, expected RFC 3339") from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _masks(item: _Item) -> dict[str, BandFile]:
    """Return the product's own masks; of several resolutions the first."""
    masks: dict[str, BandFile] = {}
    for key, asset in item.content["assets"].items():
        name = _MASKS.get(re.sub(r"_\d+m$", "", key.lower()))
        if name is not None and name not in masks:
            masks[name] = item.open(asset)
    return masks


def _signature_note(item: _Item) -> Iterator[str]:
    for asset in item.content["assets"].values():
        address = urlsplit(str(asset["href"]))
        if address.netloc.endswith(_AZURE) and not address.query:
            yield (
                "the addresses are not signed, so the Planetary Computer may refuse them; sign the "
                "item first (planetary_computer.sign)"
            )
            return
