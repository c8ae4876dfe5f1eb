"""Write `default.csv`: the labelled samples that the default recipe trains and is judged on.

    python recipes/default_manifest.py FOLDER

FOLDER holds the sources in the layouts below; the manifest names files relative to it, so pass it
as the root: ``nubila evaluate --data recipes/default.csv --root FOLDER``. What was found out about
each source by opening it stands beside it. About a fifth of the scenes of each source is kept for
validation: by a hash within strata of cloud cover, so that the same files give the same split, or
by name where a source has few scenes. The baselines of each source are printed.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path

import numpy as np
import rasterio

from nubila.classes import CLASS_NAMES
from nubila.datasets import load_sample, read_manifest
from nubila.evaluate.scores import SampleTally, summarise, tally
from nubila.scenes.sun import sun_elevation

CLOUD_OR_NOT = "clear|cloud shadow|snow|water"


@dataclass(frozen=True)
class Row:
    """A row of the manifest; `split` is filled in last."""

    image: str
    mask: str
    bands: str
    scale: str
    offset: str
    nodata: str
    codes: str
    sensor: str
    level: str
    split: str
    group: str
    resolution: str


def l8_biome(root: Path) -> Iterator[tuple[Row, float]]:
    """Landsat 8 Biome patches (USGS, public domain): TOA reflectance x 10000, no georeference.

    Shadow is drawn in some scenes only. Where a patch has none, its "clear" may hide shadow that
    nobody drew (Barren_03 and Urban_00 plainly do), so the label there cannot tell the two apart.
    B10 is a temperature. Zeros are dark pixels of the short-wave infrared, not missing data.
    """
    for image in sorted((root / "l8_biome/images").glob("*.tif")):
        mask = image.parents[1] / "masks" / image.name
        codes = _read(mask)
        clear = "clear|snow|water" if (codes == 64).any() else CLOUD_OR_NOT
        shadow = "64=cloud shadow;" if (codes == 64).any() else ""
        row = Row(
            image=_name(image, root),
            mask=_name(mask, root),
            bands="blue;green;red;nir08;swir16;swir22;cirrus;lwir11",
            scale="0.0001",
            offset="0",
            nodata="",
            codes=f"{shadow}128={clear};192=thin cloud;255=cloud",
            sensor="landsat-oli",
            level="L1TP",
            split="",
            group=image.stem.rpartition("_")[0],
            resolution="30",
        )
        yield row, float(np.mean(codes >= 192)) - (1 if shadow else 0)


def cloud_38(root: Path) -> Iterator[tuple[Row, float]]:
    """38-Cloud patches (Apache-2.0): counts of Landsat 8 L1TP, 0 outside the scene.

    TOA reflectance = (count x 2e-5 - 0.1) / sin(sun elevation), the latter from the scene's row
    and date, for the files do not hold it. Cloud shadow counts as not cloud; thin cloud as cloud.
    """
    folder = root / "38-Cloud/38-Cloud_training"
    for blue in sorted((folder / "train_blue").glob("blue_*.TIF")):
        patch = blue.name.removeprefix("blue_")
        scene = patch[patch.index("LC08") :].removesuffix(".TIF")
        _, _, place, day, *_ = scene.split("_")
        sine = math.sin(math.radians(sun_elevation(int(place[3:]), date.fromisoformat(day))))
        names = [_name(folder / f"train_{b}/{b}_{patch}", root) for b in ("blue", "green", "red")]
        mask = folder / f"train_gt/gt_{patch}"
        row = Row(
            image=";".join([*names, _name(folder / f"train_nir/nir_{patch}", root)]),
            mask=_name(mask, root),
            bands="blue;green;red;nir08",
            scale=f"{2e-5 / sine:.6g}",
            offset=f"{-0.1 / sine:.6g}",
            nodata="0",
            codes=f"0={CLOUD_OR_NOT};255=cloud|thin cloud",
            sensor="landsat-oli",
            level="L1TP",
            split="",
            group=scene,
            resolution="30",
        )
        yield row, float(np.mean(_read(mask) == 255))


def on_cloud_n(root: Path) -> Iterator[tuple[Row, float]]:
    """On Cloud N chips (CC-BY-4.0): surface reflectance x 10000; clouds drawn with a wide brush."""
    for chip in sorted((root / "on_cloud_n/train_features").iterdir()):
        mask = root / "on_cloud_n/train_labels" / f"{chip.name}.tif"
        row = Row(
            image=";".join(_name(chip / f"B{n}.tif", root) for n in ("02", "03", "04", "08")),
            mask=_name(mask, root),
            bands="blue;green;red;nir",
            scale="0.0001",
            offset="0",
            nodata="0",
            codes=f"0={CLOUD_OR_NOT};1=cloud|thin cloud",
            sensor="sentinel-2-msi",
            level="L2A",
            split="",
            group=f"on_cloud_n_{chip.name}",
            resolution="",
        )
        yield row, float(np.mean(_read(mask) == 1))


def catalogue(root: Path) -> Iterator[tuple[Row, float]]:
    """Sentinel-2 Cloud Mask Catalogue (CC-BY-4.0): thumbnails in 8 bits, about 45 m.

    255 is roughly a reflectance of 0.4 and stands for everything brighter too: a ninth of the
    pixels are saturated in some band. Shadow counts as not cloud. One image a tile of the grid.
    """
    folder = root / "s2_cloud_mask_catalogue_rgb"
    for image in sorted((folder / "images").glob("*.png")):
        mask = folder / "masks" / image.name
        row = Row(
            image=_name(image, root),
            mask=_name(mask, root),
            bands="red;green;blue",
            scale=f"{0.4 / 255:.6g}",
            offset="0",
            nodata="",
            codes=f"0={CLOUD_OR_NOT};1=cloud|thin cloud",
            sensor="sentinel-2-msi",
            level="L1C",
            split="",
            group=image.stem.split("_")[5],
            resolution="45",
        )
        yield row, float(np.mean(_read(mask) == 1))


def calgary(root: Path) -> Iterator[tuple[Row, float]]:
    """Cloud shadow painted by hand over farmland (MIT; Copernicus): three dates of one place.

    Painted pixels are exactly (0, 255, 0), with no soft edge; the rest is a grey backdrop, so it
    says "no shadow" and nothing of cloud. RGB saturates at a reflectance of 0.4. The dates share
    their fields, so the one that is not trained on is no validation: its split is "same place".
    """
    for mask in sorted((root / "s2_shadow_calgary").glob("*/shadowBaseline.tif")):
        row = Row(
            image=";".join(_name(mask.with_name(n), root) for n in ("RGB.tif", "B08.tif")),
            mask=_name(mask, root),
            bands="red;green;blue;nir",
            scale=f"{1 / (2.5 * 255):.6g};{1 / 65535:.6g}",
            offset="0",
            nodata="",
            codes="65280=cloud shadow;*=clear|cloud|thin cloud|snow|water",
            sensor="sentinel-2-msi",
            level="L2A",
            split="",
            group=f"calgary_{mask.parent.name}",
            resolution="",
        )
        yield row, 0.0


SOURCES: tuple[Callable[[Path], Iterator[tuple[Row, float]]], ...] = (
    l8_biome,
    cloud_38,
    on_cloud_n,
    catalogue,
    calgary,
)

# Sources with a handful of scenes: the ones kept for validation have cloud and clear ground both,
# or their scores would say nothing.
BY_NAME = {
    cloud_38: ("LC08_L1TP_029040_20160720_20170222_01_T1",),
    on_cloud_n: ("on_cloud_n_chip3",),
    calgary: ("calgary_2020-06-27",),
}

# What the kept ones are called where all are of one place: a score on them would leak.
SAME_PLACE = {calgary: "same place"}


def validation_groups(cover: dict[str, float]) -> set[str]:
    """Return two of every nine groups: in order of cloud cover, by hash among like ones.

    Args:
        cover: group -> number whose strata, a tenth wide, are to be shared out evenly.
    """

    def key(group: str) -> tuple[float, str]:
        return math.ceil(cover[group] * 10), hashlib.sha256(group.encode()).hexdigest()

    return {g for i, g in enumerate(sorted(cover, key=key)) if i % 9 in (2, 6)}


def rows(root: Path) -> Iterator[Row]:
    """Yield the rows of all sources with their split."""
    for source in SOURCES:
        found = list(source(root))
        cover: dict[str, list[float]] = {}
        for row, share in found:
            cover.setdefault(row.group, []).append(share)
        means = {group: float(np.mean(shares)) for group, shares in cover.items()}
        kept = set(BY_NAME[source]) if source in BY_NAME else validation_groups(means)
        for row, _ in found:
            other = SAME_PLACE.get(source, "validation")
            split = other if row.group in kept else "train"
            yield Row(**(vars(row) | {"split": split}))


def write(found: Iterable[Row], path: Path) -> None:
    """Write the manifest."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([field.name for field in fields(Row)])
        writer.writerows(vars(row).values() for row in found)


def print_baselines(path: Path, root: Path) -> None:
    """Print how much of each source is cloud and cloud shadow, and so what no model scores."""
    print(f"{'source':28} {'split':10} images scenes  all cloud IoU  all clear accuracy  shadow")
    found: dict[tuple[str, str], list[SampleTally]] = {}
    for spec in read_manifest(path, root=root):
        label = load_sample(spec).label
        table = tally(label, np.zeros_like(label))
        known = SampleTally(spec.id, spec.folder, spec.group, table, spec.codes.all_sets)
        found.setdefault((spec.folder, spec.split), []).append(known)
    for (folder, split), tallies in found.items():
        scores = summarise(tallies, CLASS_NAMES.values())
        shadow = scores.get("cloud shadow", {"positive_pixels": 0, "pixels": 0})
        figures = [
            "-" if value is None else f"{100 * value:.1f} %"
            for value in (
                scores["all_cloud_iou"],
                scores["all_clear_accuracy"],
                shadow["positive_pixels"] / shadow["pixels"] if shadow["pixels"] else None,
            )
        ]
        numbers = f"{scores['images']:6} {scores['scenes']:6}"
        print(f"{folder:28} {split:10} {numbers} {figures[0]:>14} {figures[1]:>19} {figures[2]:>7}")


def _read(path: Path) -> np.ndarray:
    with rasterio.open(path) as data:
        return data.read(1)


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def main() -> None:
    """Write the manifest, and print the baselines of each source."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder that holds the sources")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "default.csv")
    given = parser.parse_args()
    write(rows(given.folder), given.output)
    print(given.output)
    print_baselines(given.output, given.folder)


if __name__ == "__main__":
    main()
