"""Sentinel-2 products (SAFE), Level-1C and Level-2A, in a folder, a zip, or a tar."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from affine import Affine

from nubila.bands import SENSORS
from nubila.errors import GridError, InputError, MetadataError, MissingFileError, ProductError
from nubila.raster.gdal import RasterInfo, open_source
from nubila.raster.grid import Grid
from nubila.scenes.archive import Tree, open_tree
from nubila.scenes.footprint import footprint_geometry
from nubila.scenes.grids import common_grid
from nubila.scenes.safe_xml import (
    GranuleInfo,
    ProductInfo,
    TileInfo,
    read_product,
    read_tile,
    tile_code,
)
from nubila.scenes.scene import Band, BandFile, Scene
from nubila.scenes.xml import find_all, parse_xml

__all__ = ["default_resolution", "find_manifest", "find_product_xml", "image_of", "open_safe"]

_BANDS: Final = SENSORS["sentinel-2-msi"].bands
_EXTENSIONS: Final = (".jp2", ".tif", ".tiff")
# 2016 and later: T33UUU_20170216T102101_B02_10m; before: S2A_USER_SCL_L2A_TL_..._T32TQR_60m.
_IMAGE: Final = re.compile(r"(?:^|_)(B\d\d|B8A|SCL)(?:_(\d\d)m)?$", re.IGNORECASE)
_OLD_MASK: Final = re.compile(r"_(SCL)_L2A_.*?(?:_(\d\d)m)?$", re.IGNORECASE)
_VISIBLE: Final = ("blue", "green", "red")
_USUAL_RESOLUTION: Final = 20.0  # metres: the sensor's own for half of the bands


def find_product_xml(tree: Tree) -> tuple[str, ...]:
    """Return the main XML of each Sentinel-2 product at the top of the tree or one folder down."""
    names = (n for p in ("*mtd_msil??.xml", "*_mtd_safl??_*.xml") for n in tree.glob(p))
    return tuple(n for n in names if n.count("/") <= 1)


def find_manifest(tree: Tree) -> str | None:
    """Return the ``manifest.safe`` at the top of the tree or one folder down, or None."""
    return next((n for n in tree.glob("*manifest.safe") if n.count("/") <= 1), None)


def open_safe(
    source: str | Path | Tree, *, granule: str | None = None, folder: str | None = None
) -> tuple[Scene, ...]:
    """Open a Sentinel-2 product; one scene for each granule.

    Args:
        source: folder, zip, the product's main XML, or its ``manifest.safe``.
        granule: only this one, by its tile (``T33UUU`` or ``33UUU``) or identifier; where the
            product has several of the tile, all of them.
        folder: where no granule is given and the product has several, only that of this folder
            below ``GRANULE``.

    Raises:
        ProductError: no Sentinel-2 product, or several in one folder.
        MissingFileError: the product's main XML is not there.
        MetadataError: calibration or granules are absent or contradict each other.
        DamagedFileError: an archive or an image cannot be opened.
        GridError: images do not lie where the metadata say, or not on the same ground.
        InputError: the product has no such granule.
    """
    tree = source if isinstance(source, Tree) else _tree_of(Path(source))
    main = _main_xml(tree)
    root = posixpath.dirname(main)
    product = read_product(parse_xml(tree.read(main), _full(tree, main)), _full(tree, main))
    if not product.granules:
        raise MetadataError(f"{_full(tree, main)}: no granule is listed in it")
    _check_manifest(tree, root, product)
    if granule is None and folder is not None and len(product.granules) > 1:
        chosen = _in_folder(product, folder, _full(tree, main))
    else:
        chosen = _choose(product, granule, _full(tree, main))
    return tuple(_Granule(tree, root, product, info).scene() for info in chosen)


def default_resolution(bands: Mapping[str, Band]) -> float:
    """Return 20 m, or the finest at which blue, green and red all have files if that is coarser."""
    finest = [bands[name].finest.grid.resolution for name in _VISIBLE if name in bands]
    return max([_USUAL_RESOLUTION, *finest])


def image_of(name: str) -> tuple[str, int] | None:
    """Return label and resolution in metres that an image is named after, or None for others."""
    base = posixpath.basename(name)
    found = _IMAGE.search(base) or _OLD_MASK.search(base)
    if found is None or (label := found[1].upper()) not in (*_BANDS, "SCL"):
        return None
    native = 20.0 if label == "SCL" else _BANDS[label][1]
    return label, int(found[2] or native)


def _tree_of(path: Path) -> Tree:
    inside = path.is_file() and path.suffix.lower() in (".xml", ".safe")
    return open_tree(path.parent if inside else path)


def _full(tree: Tree, name: str) -> str:
    return posixpath.join(tree.path, name)


def _main_xml(tree: Tree) -> str:
    names = find_product_xml(tree)
    if len(names) == 1:
        return names[0]
    if names:
        listed = "".join(f"\n  {name}" for name in names)
        raise ProductError(f"{tree.path}: holds several Sentinel-2 products; give one:{listed}")
    if (manifest := find_manifest(tree)) is not None:
        raise MissingFileError(
            f"{tree.path}: there is {manifest}, but no MTD_MSIL1C.xml or MTD_MSIL2A.xml beside "
            f"it; scale and offset are in that file, so the product cannot be read without it"
        )
    inside = ""
    if tree.glob("MTD_TL.xml"):
        inside = "; this is one granule of it: give the product's folder (two up, *.SAFE)"
    raise ProductError(
        f"{tree.path}: no Sentinel-2 product (no MTD_MSIL1C.xml, MTD_MSIL2A.xml){inside}"
    )


def _check_manifest(tree: Tree, root: str, product: ProductInfo) -> None:
    """Hold the manifest, where there is one, to the granules of the product's main XML."""
    name = tree.find(posixpath.join(root, "manifest.safe"))
    if name is None:
        return
    manifest = parse_xml(tree.read(name), _full(tree, name))
    places = [e.get("href", "") for e in find_all(manifest, "fileLocation")]
    images = [posixpath.splitext(p)[0] for p in places if p.lower().endswith(_EXTENSIONS)]
    tiles = {tile_code(posixpath.basename(p)) for p in images if image_of(p)} - {""}
    listed = {tile_code(g.id) for g in product.granules} - {""}
    if tiles and listed and tiles != listed:
        raise MetadataError(
            f"{_full(tree, name)}: lists images of {', '.join(sorted(tiles))}, but the product's "
            f"main XML has granules of {', '.join(sorted(listed))}"
        )


def _choose(product: ProductInfo, granule: str | None, where: str) -> Sequence[GranuleInfo]:
    if granule is None:
        return product.granules
    wanted = granule.upper()
    chosen = []
    for info in product.granules:
        names = info.id, _short_name(product, info), tile_code(info.id), tile_code(info.id)[1:]
        if wanted in (name.upper() for name in names):
            chosen.append(info)
    if chosen:
        return chosen
    known = ", ".join(_short_name(product, info) for info in product.granules)
    raise InputError(f"{where}: no granule {granule!r} in the product (it has: {known})")


def _in_folder(product: ProductInfo, folder: str, where: str) -> Sequence[GranuleInfo]:
    chosen = [g for g in product.granules if _folder_of(g).upper() == folder.upper()]
    if chosen:
        return chosen
    listed = "".join(f"\n  {_folder_of(granule)}" for granule in product.granules)
    raise InputError(
        f"{where}: no granule in the folder {folder!r} is listed; give "
        f"the product itself, or the folder by the name that the product has for it:{listed}"
    )


def _folder_of(granule: GranuleInfo) -> str:
    """Return the name of a granule's folder below GRANULE; old products list bare image names."""
    for image in granule.images:
        parts = image.split("/")
        if len(parts) > 2 and parts[0].upper() == "GRANULE":
            return parts[1]
    return granule.id


def _short_name(product: ProductInfo, granule: GranuleInfo) -> str:
    """Return a granule's tile or, where that does not tell it from others, its identifier too.

    A mask is named after it, so two of one name would be taken for one scene.
    """
    code = tile_code(granule.id)
    if code and [tile_code(other.id) for other in product.granules].count(code) == 1:
        return code
    return f"{code}_{granule.id}" if code else granule.id


@dataclass
class _Granule:
    """One granule while its files are found and their headers held against each other."""

    tree: Tree
    root: str
    product: ProductInfo
    info: GranuleInfo
    files: dict[str, list[BandFile]] = field(default_factory=lambda: defaultdict(list))
    missing: dict[str, list[tuple[float, str]]] = field(default_factory=lambda: defaultdict(list))

    def scene(self) -> Scene:
        """Open the images' headers and put the scene together."""
        tile = self._tile()
        self._open_images(tile)
        bands = dict(self._bands())
        grid, grid_notes = self._grid(bands, tile)
        several = len(self.product.granules) > 1
        product_id = self.product.id or Path(self.tree.path).stem
        corners = () if several else self.product.footprint
        return Scene(
            id=f"{product_id}_{_short_name(self.product, self.info)}" if several else product_id,
            path=self.tree.path,
            sensor="sentinel-2-msi",
            level=self.product.level,
            bands=bands,
            grid=grid,
            acquired=self.product.acquired,
            baseline=self.product.baseline,
            platform=self.product.platform,
            sun=tile.sun if tile else None,
            default_resolution=default_resolution(bands),
            notes=(*self.product.notes, *grid_notes, *self._file_notes(bands)),
            footprint=footprint_geometry(corners),
            masks={"scl": self.files["SCL"][0]} if "SCL" in self.files else {},
            missing=self._missing_bands(bands),
        )

    def _tile(self) -> TileInfo | None:
        """Read the granule's own XML, if it is there."""
        folder = self._folder()
        name = self.tree.find(f"{folder}/MTD_TL.xml") or next(
            (
                n
                for n in self.tree.glob(f"{folder}/*_MTD_*.xml")
                if n.count("/") == 2 + bool(self.root)
            ),
            None,
        )
        if name is None:
            return None
        where = _full(self.tree, name)
        tile = read_tile(parse_xml(self.tree.read(name), where), where)
        codes = tile_code(tile.id), tile_code(self.info.id)
        if all(codes) and codes[0] != codes[1]:
            raise MetadataError(
                f"{where}: is of tile {codes[0]}, but the product lists this granule as {codes[1]}"
            )
        return tile

    def _folder(self) -> str:
        return posixpath.join(self.root, "GRANULE", _folder_of(self.info))

    def _open_images(self, tile: TileInfo | None) -> None:
        stored = {posixpath.splitext(n)[0].lower(): n for n in self.tree.names if _is_image(n)}
        by_base: dict[str, list[str]] = defaultdict(list)
        for name in stored.values():
            by_base[posixpath.splitext(posixpath.basename(name))[0].lower()].append(name)
        for image in self.info.images:
            kind = image_of(image)
            if kind is None:
                continue
            path = posixpath.join(self.root, image)
            same = by_base.get(posixpath.basename(image).lower(), [])
            found = stored.get(path.lower()) or (same[0] if len(same) == 1 else None)
            label, resolution = kind
            if found is None:
                named = image if "/" in image else f"{self._folder()}/IMG_DATA/{image}"
                self.missing[label].append((resolution, named + self.info.extension))
            else:
                self.files[label].append(self._open_image(found, resolution, tile))
        for files in self.files.values():
            files.sort(key=lambda f: f.grid.resolution)

    def _open_image(self, name: str, resolution: int, tile: TileInfo | None) -> BandFile:
        source, info = open_source(self.tree.gdal_path(name))
        expected = tile.grids.get(resolution) if tile else None
        if expected is None:
            return BandFile(source, info.grid)
        _check_place(info, expected)
        return BandFile(source, expected)

    def _bands(self) -> Iterator[tuple[str, Band]]:
        scale = 1.0 / self.product.quantification
        for label, (name, native) in _BANDS.items():
            if label in self.files:
                yield (
                    name,
                    Band(
                        name=name,
                        label=label,
                        files=tuple(self.files[label]),
                        scale=scale,
                        offset=self.product.offsets[label] * scale,
                        scale_from=self.product.scale_from,
                        nodata=self.product.nodata,
                        saturated=self.product.saturated,
                        resolution=native,
                        missing=tuple(self.missing.get(label, ())),
                    ),
                )

    def _missing_bands(self, bands: Mapping[str, Band]) -> dict[str, tuple[str, ...]]:
        """Return the files of bands of which not one is there, by the band's common name.

        Level-2A has B08 at 10 m only; where that is not there, B8A stands in, as it does in the
        product itself at 20 m and 60 m.
        """
        absent = {
            name: tuple(path for _, path in self.missing[label])
            for label, (name, _) in _BANDS.items()
            if label in self.missing and name not in bands
        }
        if self.product.level == "L2A" and "nir08" in bands:
            absent.pop("nir", None)
        return absent

    def _grid(
        self, bands: Mapping[str, Band], tile: TileInfo | None
    ) -> tuple[Grid, tuple[str, ...]]:
        """Return the finest grid of the bands or, without a file of any, of the metadata."""
        if bands:
            return common_grid(self.tree.path, bands), ()
        if tile:
            return min(tile.grids.values(), key=lambda g: g.resolution), ()
        nowhere = Grid(None, Affine.identity(), (0, 0))
        return nowhere, ("neither an image nor MTD_TL.xml is there, so the place is unknown",)

    def _file_notes(self, bands: Mapping[str, Band]) -> Iterator[str]:
        labels = [label for label in _BANDS if label in self.missing]
        absent = sum(len(self.missing[label]) for label in labels)
        if not bands:
            yield f"metadata alone; counts would be read with {self.product.scale_from}"
        if absent:
            total = absent + sum(len(self.files[b]) for b in self.files if b != "SCL")
            yield f"{absent} of the {total} band files that the product names are not there"
        if self.product.level == "L2A" and "nir" not in bands and "nir08" in bands:
            yield (
                "B08 (nir, 10 m) is not there, but not listed as missing: B8A (nir08) stands in "
                "for it"
            )
        finest = default_resolution(bands)
        if finest > _USUAL_RESOLUTION:
            yield (
                f"blue, green and red are all there at {finest:g} m and coarser only, so "
                f"{finest:g} m is the default resolution"
            )


def _is_image(name: str) -> bool:
    return name.lower().endswith(_EXTENSIONS)


def _check_place(info: RasterInfo, expected: Grid) -> None:
    """Hold an image's header to the granule's metadata."""
    grid = info.grid
    if grid.crs is None and grid.shape == expected.shape:
        return  # no georeference in the file; the metadata have it
    same = grid.crs == expected.crs and grid.shape == expected.shape
    if not (same and grid.transform.almost_equals(expected.transform, precision=1e-3)):
        raise GridError(
            f"{info.path}: lies at {_place(grid)}, but the granule's MTD_TL.xml says "
            f"{_place(expected)}; a file of another granule, or a changed one"
        )


def _place(grid: Grid) -> str:
    rows, columns = grid.shape
    crs = grid.crs.to_string() if grid.crs else "no CRS"
    left, _, _, top = grid.bounds
    return f"{crs}, corner ({left:g}, {top:g}), {rows} x {columns} pixels of {grid.resolution:g} m"
