"""The labelled collections that nubila knows: one table, one way to read them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from nubila.datasets.layouts import (
    alps,
    calgary,
    cloud38,
    cloudsen12,
    l8_biome,
    oncloudn,
    pairs,
    s2cmc,
    sparcs,
)
from nubila.datasets.layouts.common import Cells, default_splits
from nubila.datasets.manifest import check_specs, select_split
from nubila.datasets.row import Row
from nubila.datasets.spec import SampleSpec
from nubila.errors import InputError, ManifestError, nearest

__all__ = [
    "COLLECTIONS",
    "SYNTHETIC",
    "Collection",
    "Download",
    "collection",
    "collection_rows",
    "read_collection",
]


@dataclass(frozen=True)
class Download:
    """A file to fetch; archives are unpacked beside it.

    Attributes:
        url: where it is.
        name: what it is called in the collection's folder.
        size: bytes, or None where it is not known for certain.
        md5: hexadecimal, or None where it is not known for certain.
    """

    url: str
    name: str
    size: int | None = None
    md5: str | None = None


@dataclass(frozen=True)
class Collection:
    """A labelled collection in its published layout.

    Attributes:
        name: as in recipes and on the command line.
        summary: in a line.
        licence: of the labels; images of Copernicus and Landsat are free.
        citation: DOI or page of what to cite.
        page: where to get it by hand.
        rows: gives the cells of a manifest for each sample below a folder.
        layout: what the folder holds, in a line.
        downloads: files at published addresses.
        zenodo: number of a Zenodo record, which itself tells sizes and checksums; and
            `zenodo_files`, those of its files that are needed.
    """

    name: str
    summary: str
    licence: str
    citation: str
    page: str
    rows: Callable[[Path], Iterator[Cells]]
    layout: str
    downloads: tuple[Download, ...] = ()
    zenodo: int | None = None
    zenodo_files: tuple[str, ...] = ()

    @property
    def fetchable(self) -> bool:
        """Whether `nubila data get` can fetch it, without an account."""
        return bool(self.downloads or self.zenodo)


_BIOME_URL: Final = "https://huggingface.co/datasets/torchgeo/l8biome/resolve/main"
# As torchgeo publishes them (torchgeo.datasets.L8Biome, version 0.7).
_BIOME_MD5: Final = {
    "barren": "0eb691822d03dabd4f5ea8aadd0b41c3",
    "forest": "4a5645596f6bb8cea44677f746ec676e",
    "grass_crops": "a69ed5d6cb227c5783f026b9303cdd3c",
    "shrubland": "19df1d0a604faf6aab46d6a7a5e6da6a",
    "snow_ice": "af8b189996cf3f578e40ee12e1f8d0c9",
    "urban": "5450195ed95ee225934b9827bea1e8b0",
    "water": "a81153415eb662c9e6812c2a8e38c743",
    "wetlands": "1f86cc354631ca9a50ce54b7cab3f557",
}
_OWN: Final = "your own"

# The column that is filled in where image and label are generated, and the file that says so of a
# whole folder, as `nubila data generate` writes both.
SYNTHETIC: Final = "synthetic"
_MARK: Final = "synthetic.txt"

COLLECTIONS: Final[dict[str, Collection]] = {
    c.name: c
    for c in (
        Collection(
            name="s2cmc",
            summary="Sentinel-2 Cloud Mask Catalogue: 513 subscenes of 2018, 13 bands at 20 m; "
            "clear, cloud, shadow",
            licence="CC-BY-4.0",
            citation="https://doi.org/10.5281/zenodo.4172871",
            page="https://zenodo.org/records/4172871",
            rows=s2cmc.rows,
            layout="subscenes/*.npy, masks/*.npy, classification_tags.csv; or thumbnails as "
            "images/*.png and masks/*.png",
            zenodo=4172871,
            zenodo_files=("classification_tags.csv", "masks.zip", "subscenes.zip"),
        ),
        Collection(
            name="cloud38",
            summary="38-Cloud: 38 Landsat 8 scenes in 384 x 384 patches, 4 bands at 30 m; cloud",
            licence="Apache-2.0",
            citation="https://arxiv.org/abs/1901.10077",
            page="https://github.com/SorourMo/38-Cloud-A-Cloud-Segmentation-Dataset",
            rows=cloud38.rows_38,
            layout="38-Cloud_training/train_{red,green,blue,nir,gt}/*.TIF, 38-Cloud_test/...",
        ),
        Collection(
            name="cloud95",
            summary="95-Cloud: 57 more training scenes for 38-Cloud, which it needs beside it",
            licence="Apache-2.0",
            citation="https://arxiv.org/abs/2001.08768",
            page="https://github.com/SorourMo/95-Cloud-An-Extension-to-38-Cloud-Dataset",
            rows=cloud38.rows_95,
            layout="95-cloud_training_only_additional_to38-cloud/"
            "train_*_additional_to38cloud/*.TIF beside the folders of 38-Cloud",
        ),
        Collection(
            name="oncloudn",
            summary="On Cloud N: 11,748 Sentinel-2 L2A chips of 512 x 512, 4 bands at 10 m; cloud",
            licence="CC-BY-4.0",
            citation="https://doi.org/10.34911/rdnt.hfq6m7",
            page="https://www.drivendata.org/competitions/83/cloud-cover/",
            rows=oncloudn.rows,
            layout="train_features/<chip>/B0{2,3,4,8}.tif, train_labels/<chip>.tif, "
            "train_metadata.csv",
        ),
        Collection(
            name="alps",
            summary="own Sentinel-2 L1C products with elevation and masks by tile and date; "
            "background, snow, cloud, water",
            licence=_OWN,
            citation="",
            page="",
            rows=alps.rows,
            layout="scenes/*.zip, auxiliary/<tile>/elevation.tif, "
            "masks/<tile>/<YYYY-MM-DD>/mask.tif and coverage.tif",
        ),
        Collection(
            name="cloudsen12",
            summary="CloudSEN12+: Sentinel-2 L1C worldwide, 13 bands at 10 m; clear, cloud, thin "
            "cloud, shadow",
            licence="CC0-1.0",
            citation="https://doi.org/10.1016/j.dib.2024.110852",
            page="https://www.scidb.cn/en/detail?dataSetId=2036f4657b094edfbb099053d6024b08",
            rows=cloudsen12.rows,
            layout="<label type>/<roi>/<image>/S2L1C.tif and labels/manual_hq.tif, metadata.csv",
        ),
        Collection(
            name="sparcs",
            summary="SPARCS: 80 Landsat 8 subscenes of 1000 x 1000; shadow, water, snow, land, "
            "cloud, flooded",
            licence="public domain",
            citation="https://doi.org/10.3390/rs11212591",
            page="https://www.usgs.gov/landsat-missions/"
            "spatial-procedures-automated-removal-cloud-and-shadow-sparcs-validation-data",
            rows=sparcs.rows,
            layout="*_data.tif, *_mask.png (or *_labels.tif) and *_mtl.txt in one folder",
            downloads=(
                Download(
                    "https://landsat.usgs.gov/cloud-validation/sparcs/l8cloudmasks.zip",
                    "l8cloudmasks.zip",
                ),
            ),
        ),
        Collection(
            name="l8_biome",
            summary="Landsat 8 Biome: 96 scenes of eight biomes; clear, thin cloud, cloud, some "
            "shadow",
            licence="public domain",
            citation="https://doi.org/10.5066/F7251GDH",
            page="https://landsat.usgs.gov/landsat-8-cloud-cover-assessment-validation-data",
            rows=l8_biome.rows,
            layout="<biome>/<scene>/<scene>_B*.TIF, _fixedmask.img and _MTL.txt; or patches as "
            "images/*.tif and masks/*.tif",
            downloads=tuple(
                Download(f"{_BIOME_URL}/{biome}.tar.gz", f"{biome}.tar.gz", md5=md5)
                for biome, md5 in _BIOME_MD5.items()
            ),
        ),
        Collection(
            name="calgary",
            summary="cloud shadow painted by hand on three Sentinel-2 L2A dates of one place",
            licence="MIT",
            citation="https://github.com/JeffreyLayton/Cloud-Shadow-Detection-Result-Generation",
            page="https://github.com/JeffreyLayton/Cloud-Shadow-Detection-Result-Generation",
            rows=calgary.rows,
            layout="<date>/RGB.tif, <date>/B08.tif, <date>/shadowBaseline.tif",
        ),
        Collection(
            name="pairs",
            summary="any images and masks, listed in a manifest",
            licence=_OWN,
            citation="",
            page="",
            rows=pairs.rows,
            layout="manifest.csv (or .parquet, .geojson, STAC .json) and what it lists",
        ),
        Collection(
            name="synth",
            summary="synthetic scenes with exact truth, as `nubila data generate synth` writes "
            "them",
            licence="CC0-1.0",
            citation="",
            page="",
            rows=pairs.rows,
            layout="manifest.csv, images/*.tif, masks/*.tif",
        ),
    )
}


def collection(name: str) -> Collection:
    """Return a collection by name.

    Raises:
        InputError: there is none of this name; the message suggests the nearest.
    """
    if name not in COLLECTIONS:
        known = ", ".join(COLLECTIONS)
        raise InputError(f"unknown collection {name!r}{nearest(name, COLLECTIONS)} "
                         f"(known: {known})")  # fmt: skip
    return COLLECTIONS[name]


def read_collection(
    name: str, root: str | Path, split: str | None = None
) -> tuple[SampleSpec, ...]:
    """Index a collection in its published layout; pixels are read later, by `load_sample`.

    A published split is kept, with ``validation`` for what is called val. Groups of no published
    split get one by the hash of their name, see `layouts.common.default_splits`. Tags hold
    ``date`` and ``place`` and what else the collection says of a sample.

    Args:
        name: a key of `COLLECTIONS`.
        root: folder that holds what `Collection.layout` says.
        split: keep only the samples of this split.

    Raises:
        InputError: the name is unknown.
        ManifestError: nothing of the collection is there, a file that belongs to a sample is
            absent (`check_collection` names them all), or there is no such split.

    >>> read_collection("cloud38", "data", split="train")  # doctest: +SKIP
    """
    source = f"{name} in {root}"
    rows = collection_rows(name, root)
    specs = tuple(Row(source, 0, cells).spec(Path(root)) for cells in rows)
    check_specs(specs)
    return specs if split is None else select_split(source, specs, split)


def collection_rows(name: str, root: str | Path) -> list[Cells]:
    """Return the samples of a collection as rows of a manifest, each with a split.

    Files that they name may be absent. `datasets.write_manifest` writes them, to be edited.

    Raises:
        InputError: the name is unknown.
        ManifestError: nothing of the collection is there.
    """
    found = collection(name)
    folder = Path(root)
    if not folder.is_dir():
        raise ManifestError(f"{folder}: no such folder; expected {name}: {found.layout}")
    rows = list(found.rows(folder))
    if not rows:
        advice = f"; `nubila data get {name} FOLDER` fetches it" if found.fetchable else ""
        raise ManifestError(f"{folder}: nothing of {name} in it; expected {found.layout}{advice}")
    if (folder / _MARK).is_file():
        rows = [cells | {SYNTHETIC: "1"} for cells in rows]
    return _with_splits(rows)


def _with_splits(rows: list[Cells]) -> list[Cells]:
    """Return rows with a split for each group that has none."""
    published = {_group(cells): cells["split"] for cells in rows if cells.get("split")}
    unknown = {_group(cells) for cells in rows} - {*published}
    splits = default_splits(unknown, test="test" not in published.values())
    if len(unknown) == 1 and not published:
        splits = dict.fromkeys(unknown, "train")
    return [
        cells if cells.get("split") else cells | {"split": (splits | published)[_group(cells)]}
        for cells in rows
    ]


def _group(cells: Cells) -> str:
    return cells.get("group") or cells.get("image", "")
