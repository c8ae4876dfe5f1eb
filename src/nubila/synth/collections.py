"""Generated data in the published layouts of labelled collections.

For tests, toy runs, and for trying a recipe before 20 GB are fetched: what reads the real
collection reads this. Pixels are synthetic scenes with exact truth, names are made up.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.vrt import WarpedVRT

from nubila.errors import InputError, OutputError, nearest
from nubila.raster.atomic import make_folder
from nubila.scenes.sun import sun_elevation
from nubila.synth.collection_files import (
    Codes,
    Floats,
    coded,
    letters,
    level_1,
    safe_name,
    save_array,
    to_counts,
    write_csv,
    write_image,
    write_mtl,
)
from nubila.synth.instrument import SENSOR_BANDS
from nubila.synth.safe import write_safe
from nubila.synth.scene import make_scene, random_chip

__all__ = ["GENERATED", "write_collection"]

_LEAST = 16
# Few images must do for each split: each is drawn anew, so many times at most, until this share of
# it is thick cloud, and this share ground (clear, snow or water).
_DRAWS: Final = 12
_LEAST_SHARE: Final = 0.05
_CLOUD: Final = (1,)
_GROUND: Final = (0, 4, 5)
# So that a model that was tried out on it claims no labels of people.
_MARK: Final = "synthetic.txt"
_MARKED: Final = "Images and labels in this folder are synthetic, of nubila data generate.\n"
_RGBN = ("blue", "green", "red", "nir")
_OLI = ("blue", "green", "red", "nir08")
_BIOMES: Final = ("barren", "forest", "grass_crops", "shrubland", "snow_ice", "urban", "water",
                  "wetlands")  # fmt: skip


@dataclass(frozen=True)
class _Order:
    """What to write: `count` images of `size` x `size` pixels into `folder`."""

    folder: Path
    count: int
    size: int
    seed: int

    def numbers(self) -> Iterator[tuple[int, np.random.Generator]]:
        """Yield each image's number and its own source of chance."""
        for number in range(self.count):
            yield number, np.random.default_rng([self.seed, number])

    def chip(
        self,
        random: np.random.Generator,
        *,
        bands: Sequence[str],
        resolution: float,
        level: str,
        sensor: str = "sentinel-2-msi",
    ) -> tuple[Floats, Codes]:
        shape = (self.size, self.size)
        return _mixed(
            random_chip(
                random, shape, resolution=resolution, bands=bands, level=level, sensor=sensor
            )
            for _ in range(_DRAWS)
        )


def _mixed(drawn: Iterable[tuple[Floats, Codes]]) -> tuple[Floats, Codes]:
    """Return the first image and truth with both cloud and ground, else what comes closest."""
    best, most = None, -1.0
    for image, truth in drawn:
        share = float(min(np.isin(truth, kind).mean() for kind in (_CLOUD, _GROUND)))
        if share > most:
            best, most = (image, truth), share
        if most >= _LEAST_SHARE:
            break
    assert best is not None  # something is always drawn
    return best


def write_collection(
    name: str, folder: str | Path, *, count: int = 8, size: int = 128, seed: int = 0
) -> Path:
    """Write generated data as a collection is published.

    Args:
        name: a key of `GENERATED`.
        folder: made if it is not there.
        count: images; for 38-Cloud and 95-Cloud scenes of four patches, a quarter of them test
            scenes; for alps products, each of another date.
        size: rows and columns of an image or patch; of the products of alps, at 20 m.
        seed: same seed, same files.

    Returns:
        The folder.

    Raises:
        InputError: the name is unknown, `count` is below 1, or `size` below 16.
        OutputError: the folder cannot be written, or holds something.
    """
    if name not in GENERATED:
        known = ", ".join(GENERATED)
        raise InputError(f"{name!r} cannot be generated{nearest(name, GENERATED)} (known: {known})")
    if count < 1 or size < _LEAST:
        raise InputError(f"count {count} and size {size}; expected at least 1 and {_LEAST}")
    base = make_folder(folder)
    if any(base.iterdir()):
        raise OutputError(f"{base}: is not empty; name a folder for the generated data alone")
    GENERATED[name](_Order(base, count, size, seed))
    (base / _MARK).write_text(_MARKED, encoding="utf-8")
    return base


def _s2cmc(order: _Order) -> None:
    table = []
    for number, random in order.numbers():
        image, truth = order.chip(
            random, bands=SENSOR_BANDS["sentinel-2-msi"], resolution=20, level="L1C"
        )
        name = safe_name(number, date(2018, 1, 5) + timedelta(days=number))
        classes = coded(truth, {1: 1, 2: 1, 3: 2}, no_data=0)
        save_array(order.folder / f"subscenes/{name}.npy", np.moveaxis(np.nan_to_num(image), 0, -1))
        save_array(order.folder / f"masks/{name}.npy", np.eye(3, dtype=bool)[classes])
        marked = number % 5 != 4  # as in the catalogue, where shadow was not always drawn
        table.append({"index": number, "scene": name, "shadows_marked": int(marked)})
    write_csv(order.folder / "classification_tags.csv", table)


def _cloud38(order: _Order) -> None:
    training = order.count - max(1, order.count // 4)
    _cloud_patches(order, "38-Cloud_training", "train", "", range(training))
    _cloud_patches(order, "38-Cloud_test", "test", "", range(training, order.count))


def _cloud95(order: _Order) -> None:
    _cloud38(order)
    more = "95-cloud_training_only_additional_to38-cloud"
    numbers = range(order.count, 2 * order.count)
    _cloud_patches(order, more, "train", "_additional_to38cloud", numbers)


def _cloud_patches(order: _Order, folder: str, start: str, end: str, numbers: range) -> None:
    """Write scenes of 2 x 2 patches; a margin without data, as wide on both sides, is around."""
    base, size, names = order.folder / folder, order.size, []
    for number in numbers:
        row, day = 24 + number % 30, date(2016, 1, 20) + timedelta(days=16 * (number % 20))
        scene_id = f"LC08_L1TP_{30 + number:03d}{row:03d}_{day:%Y%m%d}_20170224_01_T1"
        shape = (2 * size - 5, 2 * size - 8)
        image, truth = _mixed(_scenes(shape, 1000 * order.seed + number))
        counts = level_1(image, sun_elevation(row, day))
        mask = coded(truth, {1: 255, 2: 255}, no_data=0)
        layers = [*counts, mask]
        for index in range(4):
            place = index // 2, index % 2
            patch = f"patch_{index + 1}_{place[0] + 1}_by_{place[1] + 1}_{scene_id}"
            names.append({"name": patch})
            for kind, layer in zip(("blue", "green", "red", "nir", "gt"), layers, strict=True):
                if kind == "gt" and start == "test":
                    continue
                path = base / f"{start}_{kind}{end}" / f"{kind}_{patch}.TIF"
                write_image(path, _patch(layer, place, size)[None])
        if start == "test":
            write_image(base / f"Entire_scene_gts/edited_corrected_gts_{scene_id}.TIF", mask[None])
    kind = "test_patches" if start == "test" else "training_patches"
    if names:
        write_csv(base / f"{kind}_{'95-cloud' if end else '38-Cloud'}.csv", names)


def _scenes(shape: tuple[int, int], seed: int) -> Iterator[tuple[Floats, Codes]]:
    for attempt in range(_DRAWS):
        scene = make_scene(
            shape, resolution=30, sensor="landsat-oli", bands=_OLI, seed=seed + 10**6 * attempt
        )
        yield scene.reflectance, scene.truth


def _patch(layer: NDArray[Any], place: tuple[int, int], size: int) -> NDArray[Any]:
    margins = [(2 * size - n) // 2 for n in layer.shape]
    widths = [(m, 2 * size - n - m) for m, n in zip(margins, layer.shape, strict=True)]
    row, column = (i * size for i in place)
    return np.pad(layer, widths)[row : row + size, column : column + size]


def _oncloudn(order: _Order) -> None:
    table = []
    for number, random in order.numbers():
        chip = letters(number)
        image, truth = order.chip(random, bands=_RGBN, resolution=10, level="L2A")
        for label, plane in zip(("B02", "B03", "B04", "B08"), to_counts(image), strict=True):
            write_image(order.folder / f"train_features/{chip}/{label}.tif", plane[None], 10)
        mask = coded(truth, {1: 1, 2: 1}, no_data=0)
        write_image(order.folder / f"train_labels/{chip}.tif", mask[None], 10)
        table.append({
            "chip_id": chip,
            "location": f"Place {number // 2}",
            "datetime": f"2020-{1 + number % 12:02d}-15T10:00:00Z",
            "cloudpath": f"az://./train_features/{chip}",
        })  # fmt: skip
    write_csv(order.folder / "train_metadata.csv", table)


def _alps(order: _Order) -> None:
    """Write products with 20 m truth as masks, and a DEM in degrees that ends within a tile."""
    scenes, work = make_folder(order.folder / "scenes"), order.folder / ".work"
    for number in range(order.count):
        day = date(2021, 1, 10) + timedelta(days=20 * number)
        product = write_safe(
            work, size=2 * order.size, seed=1000 * order.seed + number, preset="snow", zipped=True,
            day=day,
        )  # fmt: skip
        name = product.path.name
        tile = name.split("_")[5]
        product.path.replace(scenes / name)
        _alps_mask(order.folder / "masks" / tile / day.isoformat(), product.truth[20])
        _alps_elevation(order.folder / "auxiliary" / tile, product.truth[20])
        shutil.rmtree(work)


def _alps_mask(folder: Path, truth: Path) -> None:
    with rasterio.open(truth) as data:
        codes, profile = data.read(), data.profile
    mask = coded(codes, {1: 2, 2: 4, 4: 1, 5: 3}, no_data=0)
    coverage = (codes != 255).astype(np.uint8)
    coverage[:, :, : codes.shape[2] // 8] = 0
    for name, values in (("mask", mask), ("coverage", coverage)):
        write_image(
            folder / f"{name}.tif", values, crs=profile["crs"], transform=profile["transform"]
        )


def _alps_elevation(folder: Path, truth: Path) -> None:
    with rasterio.open(truth) as data, WarpedVRT(data, crs="EPSG:4326") as view:
        transform, (rows, columns) = view.transform, view.shape
    coarse = transform * Affine.scale(4)
    shape = max(2, rows // 4), max(2, columns // 4)
    metres = 800 + 1500 * np.add.outer(np.linspace(0, 1, shape[0]), np.linspace(0, 0.5, shape[1]))
    values = metres.astype(np.float32)[None]
    write_image(folder / "elevation.tif", values, crs=CRS.from_epsg(4326), transform=coarse)


def _cloudsen12(order: _Order) -> None:
    table = []
    for number, random in order.numbers():
        image, truth = order.chip(
            random, bands=SENSOR_BANDS["sentinel-2-msi"], resolution=10, level="L1C"
        )
        place, day = f"ROI_{number + 1:04d}", date(2019, 1, 3) + timedelta(days=7 * number)
        image_id = f"{day:%Y%m%d}T103021_{day:%Y%m%d}T103515_T32TNS"
        folder = order.folder / "high" / place / image_id
        write_image(folder / "S2L1C.tif", to_counts(image), 10)
        write_image(folder / "labels/manual_hq.tif", coded(truth, {1: 1, 2: 2, 3: 3}, 99)[None], 10)
        split = ("train", "train", "val", "test")[number % 4]
        table.append({"roi_id": place, "s2_id_gee": image_id, "split": split})
    write_csv(order.folder / "metadata.csv", table)


def _sparcs(order: _Order) -> None:
    bands = ("coastal", "blue", "green", "red", "nir08", "swir16", "swir22", "cirrus")
    for number, random in order.numbers():
        image, truth = order.chip(
            random, bands=bands, resolution=30, sensor="landsat-oli", level="L1C"
        )
        name = f"LC8{10 + number:03d}{30 + number:03d}2014{60 + number:03d}LGN00_18"
        start = order.folder / "sending" / name
        thermal = np.full((2, *truth.shape), 25000, np.uint16)
        counts = np.concatenate([level_1(image, 50.0), thermal])
        write_image(start.with_name(f"{start.name}_data.tif"), counts, 30)
        mask = coded(truth, {0: 4, 1: 5, 2: 5, 3: 0, 4: 3, 5: 2}, no_data=4)
        write_image(start.with_name(f"{start.name}_mask.png"), mask[None])
        write_mtl(start.with_name(f"{start.name}_mtl.txt"), 50.0)


def _l8_biome(order: _Order) -> None:
    labels = {"1": "coastal", "2": "blue", "3": "green", "4": "red", "5": "nir08", "6": "swir16",
              "7": "swir22", "9": "cirrus"}  # fmt: skip
    for number, random in order.numbers():
        image, truth = order.chip(
            random, bands=tuple(labels.values()), resolution=30, sensor="landsat-oli", level="L1C"
        )
        name = f"LC8{20 + number:03d}{40 + number:03d}2013{100 + number:03d}LGN00"
        folder = order.folder / _BIOMES[number % len(_BIOMES)] / name
        for label, plane in zip(labels, level_1(image, 40.0), strict=True):
            write_image(folder / f"{name}_B{label}.TIF", plane[None], 30)
        shadow = 64 if number % 3 == 0 else 128  # drawn in a third of the scenes
        mask = coded(truth, {0: 128, 1: 255, 2: 192, 3: shadow, 4: 128, 5: 128}, no_data=0)
        write_image(folder / f"{name}_fixedmask.img", mask[None], 30, driver="ENVI")
        write_mtl(folder / f"{name}_MTL.txt", 40.0)


def _calgary(order: _Order) -> None:
    for number, random in order.numbers():
        day = date(2020, 4, 11) + timedelta(days=5 * number)
        image, truth = order.chip(random, bands=("red", "green", "blue", "nir"), resolution=30,
                                  level="L2A")  # fmt: skip
        values = np.clip(np.nan_to_num(image), 0, 1)
        folder = order.folder / day.isoformat()
        colours = np.minimum(np.rint(values[:3] * 2.5 * 255), 255).astype(np.uint8)
        write_image(folder / "RGB.tif", colours, 30)
        write_image(folder / "B08.tif", np.rint(values[3:] * 65535).astype(np.uint16), 30)
        painted = np.where(truth == 3, np.array([[[0]], [[255]], [[0]]]), colours // 2 + 40)
        write_image(folder / "shadowBaseline.tif", painted.astype(np.uint8), 30)


def _synth(order: _Order) -> None:
    table = []
    bands = SENSOR_BANDS["sentinel-2-msi"]
    for number, random in order.numbers():
        image, truth = order.chip(random, bands=bands, resolution=20, level="L1C")
        write_image(order.folder / f"images/scene_{number:04d}.tif", to_counts(image), 20)
        write_image(order.folder / f"masks/scene_{number:04d}.tif", truth[None], 20)
        table.append({
            "image": f"images/scene_{number:04d}.tif",
            "mask": f"masks/scene_{number:04d}.tif",
            "bands": ";".join(bands),
            "scale": "0.0001",
            "nodata": "0",
            "codes": "0=clear;1=cloud;2=thin cloud;3=cloud shadow;4=snow;5=water;255=ignored",
            "sensor": "sentinel-2-msi",
            "level": "L1C",
            "group": f"scene_{number:04d}",
            "split": ("train", "validation", "train", "test")[number % 4],
            "synthetic": "1",
        })  # fmt: skip
    write_csv(order.folder / "manifest.csv", table)


GENERATED: Final[Mapping[str, Callable[[_Order], None]]] = {
    "s2cmc": _s2cmc,
    "cloud38": _cloud38,
    "cloud95": _cloud95,
    "oncloudn": _oncloudn,
    "alps": _alps,
    "cloudsen12": _cloudsen12,
    "sparcs": _sparcs,
    "l8_biome": _l8_biome,
    "calgary": _calgary,
    "pairs": _synth,
    "synth": _synth,
}
