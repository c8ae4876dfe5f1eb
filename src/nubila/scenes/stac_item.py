"""A STAC item as it is found: its JSON, where it lies, and its assets' files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from nubila.errors import GridError, MetadataError, ProductError
from nubila.raster.gdal import GdalSource, RasterInfo, open_source
from nubila.raster.grid import Grid, Window
from nubila.scenes.location import gdal_path, read_text, resolve, unsigned
from nubila.scenes.scene import BandFile
from nubila.scenes.stac_bands import Json, sensor_of
from nubila.scenes.stac_fields import check_lists, grid_of
from nubila.scenes.stac_scale import Calibration, check_nodata, hold_to_file

__all__ = ["StacItem", "load_item"]


@dataclass(frozen=True)
class LazySource:
    """A band of an asset whose place the item tells; its header is fetched when it is read."""

    path: str
    index: int
    stated: Grid = field(compare=False)
    calibration: Calibration | None = field(default=None, compare=False)
    nodata: float | None = field(default=None, compare=False)

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
        self._check_values(source, info)
        return source

    def _check_values(self, source: GdalSource, info: RasterInfo) -> None:
        """Refuse a file whose values are not as the item, or the scale by habit, takes them."""
        check_nodata(self.nodata, source, info)
        found = self.calibration
        if found and hold_to_file(found, self.nodata, source, info) is None:
            raise MetadataError(
                f"{self.name}: holds {info.dtypes[self.index - 1]} values without a scale, but "
                f"counts were expected, for the item states no scale either "
                f"({found.scale_from}). If they are reflectance, give the assets' addresses as a "
                f"list of rasters, with bands."
            )


@dataclass(frozen=True)
class StacItem:
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
        return os.path.exists(path) or self._place(asset) is None  # noqa: PTH110 (as in `open`)

    def open(
        self,
        asset: Json,
        index: int = 1,
        calibration: Calibration | None = None,
        nodata: float | None = None,
    ) -> BandFile:
        """Return an asset's file; over the network only if the item does not say where it lies.

        What the item says of its values, calibration and nodata, is held to it when it is read.
        """
        path = self.path(asset)
        grid = self._place(asset)
        if grid is not None:
            return BandFile(LazySource(path, index, grid, calibration, nodata), grid)
        source, info = open_source(path, index)
        return BandFile(source, info.grid)

    def _place(self, asset: Json) -> Grid | None:
        return grid_of(self.content, asset, self.name)


def load_item(item: Any) -> StacItem:  # noqa: ANN401 (pystac is no dependency: any object goes)
    """Return an item with where it was found, which its relative addresses count from.

    Args:
        item: as `nubila.scenes.stac.open_stac` takes it.

    Raises:
        MissingFileError: there is no such file.
        ProductError: it is no STAC item, or cannot be fetched.
        MetadataError: it is of a STAC version before 1.0, or a list of names is none.
    """
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
    check_lists(content, name)
    return StacItem(content, name, base or _self_link(content.get("links")))


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


def _plain(item: Any) -> Any:  # noqa: ANN401 (see load_item)
    """Return an object's mapping; pystac would fetch the catalogue that the item belongs to."""
    try:
        return item.to_dict(transform_hrefs=False)
    except TypeError:  # another library's item
        return item.to_dict()


def _self_link(links: Any) -> str:  # noqa: ANN401 (JSON)
    """Return the address that an item gives as its own, or ``""``."""
    held = links if isinstance(links, list | tuple) else ()
    known = [link for link in held if isinstance(link, Mapping)]
    return next((str(k.get("href", "")) for k in known if k.get("rel") == "self"), "")
