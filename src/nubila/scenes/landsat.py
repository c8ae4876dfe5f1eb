"""Landsat Collection 2 products, Level 1 and Level 2, of TM, ETM+ and OLI, in a folder or a tar."""

from __future__ import annotations

import math
import posixpath
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nubila.bands import SENSORS
from nubila.errors import MetadataError, MissingFileError, ProductError
from nubila.raster.gdal import open_source
from nubila.scenes.archive import Tree, open_tree
from nubila.scenes.footprint import footprint_geometry
from nubila.scenes.grids import common_grid
from nubila.scenes.landsat_mtl import Metadata, read_metadata
from nubila.scenes.scaling import check_scaling
from nubila.scenes.scene import Band, BandFile, Saturation, Scene

__all__ = ["find_mtl", "open_landsat"]

_MTL: Final = re.compile(r"(.*)_MTL\.(?:txt|json|xml)$", re.IGNORECASE)
_PRODUCT: Final = re.compile(r"L[CEOT]0\d_L[12][A-Z]{2}_\d{6}_\d{8}_\d{8}_02_(?:T1|T2|RT)", re.I)
_BAND_FILE: Final = re.compile(rf"({_PRODUCT.pattern})_(?:SR_)?B\d+\.TIF$", re.IGNORECASE)
_FILL: Final = 0.0  # of every band: beyond the swath, and in the gaps of Landsat 7's SLC-off scenes
_SIZE: Final = 30.0  # metres, of every band that is read


@dataclass(frozen=True)
class _Product:
    """A product's files and what its MTL says."""

    tree: Tree
    folder: str
    mtl: str
    metadata: Metadata

    def find(self, key: str) -> str | None:
        """Return the file of a band number or flag raster, or None if it is not there."""
        name = self.metadata.files.get(key)
        return self.tree.find(posixpath.join(self.folder, name)) if name else None

    def open(self, key: str) -> BandFile | None:
        """Open the header of a file, if it is there."""
        name = self.find(key)
        if name is None:
            return None
        source, info = open_source(self.tree.gdal_path(name))
        return BandFile(source, info.grid)

    def path(self, key: str) -> str:
        """Return where the file of a band should be."""
        return posixpath.join(self.tree.path, self.folder, self.metadata.files[key])


def find_mtl(tree: Tree) -> tuple[str, ...]:
    """Return the metadata files at the top of the tree or one folder down."""
    names = (name for name in tree.glob("*_mtl.*") if _MTL.match(name))
    return tuple(name for name in names if name.count("/") <= 1)


def open_landsat(source: str | Path | Tree) -> Scene:
    """Open a Landsat 4 to 9 product of Collection 2.

    Level 2 gives surface reflectance, ``count * REFLECTANCE_MULT + REFLECTANCE_ADD`` with the
    numbers of the MTL's ``LEVEL2_SURFACE_REFLECTANCE_PARAMETERS``; Level 1 reflectance at the top
    of the atmosphere, the same of ``LEVEL1_RADIOMETRIC_RESCALING`` divided by the sine of
    ``SUN_ELEVATION`` (U.S. Geological Survey, Landsat 8 Data Users Handbook, LSDS-1574). Count 0
    is fill. The panchromatic band is left out: its pixels lie half a pixel off the others', and
    no cloud model uses it.

    Args:
        source: folder, tar, or one of the product's MTL files.

    Raises:
        ProductError: no Landsat product, or several in one folder.
        MetadataError: the MTL is damaged, lacks something, contradicts another one, is of another
            scene than the files, or has numbers that make no reflectance.
        MissingFileError: nothing is at `source`, or not one band is.
        DamagedFileError: the archive or a band cannot be opened.
        GridError: bands differ in CRS or extent.
    """
    product = _find_product(source)
    _check_files(product)
    bands, missing = _bands(product)
    metadata = product.metadata
    if not bands:
        listed = "".join(f"\n  {path}" for paths in missing.values() for path in paths)
        raise MissingFileError(f"{product.tree.path}: no band of the product is there:{listed}")
    grid = common_grid(product.tree.path, bands)
    quality = product.open("QA_PIXEL")
    return Scene(
        id=metadata.product,
        path=str(source.path if isinstance(source, Tree) else source),
        sensor=metadata.sensor,
        level=metadata.level,
        bands=bands,
        grid=grid,
        acquired=metadata.acquired,
        baseline=metadata.software,
        platform=metadata.platform,
        sun=_sun(metadata),
        # Products are at 30 m; a decimated copy has nothing finer than its own pixels.
        default_resolution=max(_SIZE, grid.resolution),
        notes=_notes(product, missing),
        footprint=footprint_geometry(metadata.corners),
        masks={} if quality is None else {"qa_pixel": quality},
        missing=missing,
    )


def _find_product(source: str | Path | Tree) -> _Product:
    chosen = None
    if isinstance(source, Tree):
        tree = source
    elif (found := _MTL.match(Path(source).name)) and Path(source).is_file():
        tree, chosen = open_tree(Path(source).parent), found[1]
    else:
        tree = open_tree(source)
    products: dict[str, list[str]] = defaultdict(list)
    for name in find_mtl(tree):
        products[name[: name.upper().rindex("_MTL.")]].append(name)
    if chosen is not None:
        products = {chosen: products[chosen]}
    if not products:
        raise ProductError(f"{tree.path}: no Landsat product (no *_MTL.txt, .json or .xml)")
    stem = _one_product(tree, products)
    names = products[stem]
    paths = {posixpath.join(tree.path, name): tree.read(name) for name in names}
    return _Product(tree, posixpath.dirname(stem), names[0], read_metadata(paths))


def _one_product(tree: Tree, products: Mapping[str, list[str]]) -> str:
    """Return the stem of the only MTL; several that all have files are several products."""
    stems = list(products)
    if len(stems) == 1:
        return stems[0]
    listed = "".join(f"\n  {name}" for names in products.values() for name in names)
    with_files = [s for s in stems if tree.glob(f"{s}_*b*.tif")]
    if len(with_files) == 1:
        raise MetadataError(
            f"{tree.path}: metadata of several scenes, but only {posixpath.basename(with_files[0])}"
            f" has band files; remove what belongs to another scene:{listed}"
        )
    raise ProductError(f"{tree.path}: several Landsat products; give the MTL of one:{listed}")


def _check_files(product: _Product) -> None:
    """Hold the MTL's name and the bands beside it to the product that the MTL is of."""
    where = posixpath.join(product.tree.path, product.mtl)
    name, inside = posixpath.basename(product.mtl), product.metadata.product
    named = _PRODUCT.match(name)
    if named and named[0].upper() != inside.upper():
        raise MetadataError(
            f"{where}: the MTL of another scene: LANDSAT_PRODUCT_ID in it is {inside}, but the "
            f"file is named after {named[0]}"
        )
    strangers = [f for f in product.metadata.files.values() if not f.startswith(inside)]
    if strangers and _PRODUCT.fullmatch(inside):
        raise MetadataError(
            f"{where}: LANDSAT_PRODUCT_ID is {inside}, but the file {strangers[0]} is listed"
        )
    if any(product.find(key) for key in product.metadata.files if key.isdigit()):
        return
    beside = [n for n in product.tree.names if posixpath.dirname(n) == product.folder]
    for file in beside:
        found = _BAND_FILE.search(posixpath.basename(file))
        if found and found[1].upper() != inside.upper():
            raise MetadataError(
                f"{where}: the MTL of another scene: it is of {inside}, but the bands beside it "
                f"are of {found[1]}. Put each product into its own folder."
            )


def _bands(product: _Product) -> tuple[dict[str, Band], dict[str, tuple[str, ...]]]:
    """Return the bands by common name, and the paths of those that are named but not there."""
    metadata = product.metadata
    flags = product.open("QA_RADSAT")
    bands: dict[str, Band] = {}
    missing: dict[str, tuple[str, ...]] = {}
    for label, (name, resolution) in SENSORS[metadata.sensor].bands.items():
        number = label.removeprefix("B")
        if number not in metadata.files or resolution != _SIZE:
            continue
        file = product.open(number)
        if file is None:
            missing[name] = (product.path(number),)
            continue
        scale, offset, scale_from = _calibration(product, number)
        bands[name] = Band(
            name=name,
            label=f"SR_{label}" if metadata.level.startswith("L2") else label,
            files=(file,),
            scale=scale,
            offset=offset,
            scale_from=scale_from,
            nodata=_FILL,
            # Bit 0 is band 1, for all sensors and both levels (LSDS-1822, LSDS-1414).
            saturation=Saturation(flags, 1 << (int(number) - 1)) if flags else None,
            resolution=file.grid.resolution,
        )
    return bands, missing


def _calibration(product: _Product, number: str) -> tuple[float, float, str]:
    """Return scale and offset of a band to reflectance, and where they were read."""
    metadata = product.metadata
    mtl = posixpath.join(product.tree.path, product.mtl)
    if number not in metadata.scales:
        raise MetadataError(
            f"{mtl}: REFLECTANCE_MULT_BAND_{number} is missing in {metadata.rescaling}; without it "
            f"the counts have no unit"
        )
    scale, offset = metadata.scales[number]
    sine, divided = _sine_of_sun(metadata, mtl)
    check_scaling(
        scale / sine,
        offset / sine,
        scale_said=f"{mtl}: REFLECTANCE_MULT_BAND_{number} is {scale:g}{divided}",
        offset_said=f"{mtl}: REFLECTANCE_ADD_BAND_{number} is {offset:g}{divided}",
    )
    where = f"{posixpath.basename(product.mtl)}, {metadata.rescaling}{divided}"
    return scale / sine, offset / sine, where


def _sine_of_sun(metadata: Metadata, mtl: str) -> tuple[float, str]:
    """Return what a level's numbers are divided by, and how to say so."""
    if metadata.level.startswith("L2"):
        return 1.0, ""
    elevation = metadata.sun_elevation
    if elevation is None or not 0 < elevation <= 90:
        found = "missing" if elevation is None else f"{elevation:g} degrees"
        raise MetadataError(
            f"{mtl}: SUN_ELEVATION is {found}; Level 1 counts become reflectance only with the sun "
            f"above the horizon (0 to 90 degrees)"
        )
    return math.sin(math.radians(elevation)), f"; / sin(SUN_ELEVATION = {elevation:g})"


def _sun(metadata: Metadata) -> tuple[float, float] | None:
    if metadata.sun_elevation is None or metadata.sun_azimuth is None:
        return None
    return metadata.sun_elevation, metadata.sun_azimuth


def _notes(product: _Product, missing: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    notes = [f"band {name} is not there: {', '.join(paths)}" for name, paths in missing.items()]
    if product.find("QA_RADSAT") is None:
        notes.append("no QA_RADSAT file, so saturated pixels are not known")
    return tuple(notes)
