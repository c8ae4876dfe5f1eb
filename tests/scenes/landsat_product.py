"""Small Landsat Collection 2 products in the real structure, for tests."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import rasterio
from affine import Affine

SHAPE = (40, 30)
REFLECTIVE = {"OLI_TIRS": "1234567 9", "ETM": "12345 7", "TM": "12345 7"}
SPACECRAFT = {"OLI_TIRS": "LANDSAT_8", "ETM": "LANDSAT_7", "TM": "LANDSAT_5"}
LETTERS = {"OLI_TIRS": "LC08", "ETM": "LE07", "TM": "LT05"}


@dataclass
class LandsatProduct:
    """What `write` writes; change `groups` or `counts` first for a product that is odd."""

    sensor: str = "OLI_TIRS"
    level: str = "L1TP"
    sun: float = 38.5
    row: str = "034"
    groups: dict[str, dict[str, str]] = field(default_factory=dict)
    counts: dict[str, np.ndarray] = field(default_factory=dict)
    epsg: dict[str, int] = field(default_factory=dict)
    left: dict[str, float] = field(default_factory=dict)

    def __post_init__(self):
        generator = np.random.default_rng(7)
        for number in self.numbers:
            counts = generator.integers(7000, 40000, SHAPE, dtype=np.uint16)
            counts[:, :3] = 0
            self.counts[number] = counts
        self.counts["QA_PIXEL"] = np.full(SHAPE, 21824, np.uint16)
        self.counts["QA_RADSAT"] = np.zeros(SHAPE, np.uint16)
        self.groups = self._groups()

    @property
    def id(self):
        return f"{LETTERS[self.sensor]}_{self.level}_035{self.row}_20160120_20200907_02_T1"

    @property
    def numbers(self):
        found = [c for c in REFLECTIVE[self.sensor] if c != " "]
        return [n for n in found if n != "9"] if self.level[:2] == "L2" else found

    def file(self, key):
        prefix = "SR_" if self.level[:2] == "L2" else ""
        return f"{self.id}_{prefix}B{key}.TIF" if key.isdigit() else f"{self.id}_{key}.TIF"

    def scale(self, number):
        """Multiplier and addend; different for each band, as for TM and ETM+."""
        if self.level[:2] == "L2":
            return "2.75e-05", "-0.2"
        if self.sensor == "OLI_TIRS":
            return "2.0000E-05", "-0.100000"
        return f"{1.1e-3 * (1 + int(number)):.4E}", f"-{0.002 * int(number):.6f}"

    def _groups(self):
        level = self.level[:2]
        rescaling = {
            "L1": "LEVEL1_RADIOMETRIC_RESCALING",
            "L2": "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS",
        }[level]
        contents = {
            "ORIGIN": "Image courtesy of the U.S. Geological Survey",
            "LANDSAT_PRODUCT_ID": self.id,
            "PROCESSING_LEVEL": self.level,
            "COLLECTION_NUMBER": "02",
        }
        contents |= {f"FILE_NAME_BAND_{n}": self.file(n) for n in self.numbers}
        contents |= {
            "FILE_NAME_QUALITY_L1_PIXEL": self.file("QA_PIXEL"),
            "FILE_NAME_QUALITY_L1_RADIOMETRIC_SATURATION": self.file("QA_RADSAT"),
        }
        if self.sensor == "ETM":
            contents["FILE_NAME_BAND_6_VCID_1"] = f"{self.id}_B6_VCID_1.TIF"
        image = {
            "SPACECRAFT_ID": SPACECRAFT[self.sensor],
            "SENSOR_ID": self.sensor,
            "DATE_ACQUIRED": "2016-01-20",
            "SCENE_CENTER_TIME": "17:39:05.1234560Z",
            "SUN_AZIMUTH": "155.3",
            "SUN_ELEVATION": str(self.sun),
        }
        scales = {}
        for n in self.numbers:
            scales[f"REFLECTANCE_MULT_BAND_{n}"], scales[f"REFLECTANCE_ADD_BAND_{n}"] = self.scale(
                n
            )
        record = {"PROCESSING_SOFTWARE_VERSION": "LPGS_15.3.1c"}
        other = {"REFLECTANCE_MULT_BAND_1": "9.9", "REFLECTANCE_ADD_BAND_1": "9.9"}
        wrong = {"L1": {}, "L2": {"LEVEL1_RADIOMETRIC_RESCALING": other}}[level]
        return {
            "PRODUCT_CONTENTS": contents,
            "IMAGE_ATTRIBUTES": image,
            f"LEVEL{level[1]}_PROCESSING_RECORD": record,
            rescaling: scales,
            **wrong,
        }

    def write(self, folder: Path, formats=("txt",), stem=None) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for key, counts in self.counts.items():
            transform = Affine(30, 0, 300000 + self.left.get(key, 0), 0, -30, 4300000)
            with rasterio.open(
                folder / self.file(key),
                "w",
                driver="GTiff",
                height=counts.shape[0],
                width=counts.shape[1],
                count=1,
                dtype=counts.dtype,
                crs=f"EPSG:{self.epsg.get(key, 32613)}",
                transform=transform,
            ) as data:
                data.write(counts, 1)
        for ending in formats:
            text = FORMATS[ending](self.groups)
            (folder / f"{stem or self.id}_MTL.{ending}").write_text(text)
        return folder


def _text(groups):
    lines = ["GROUP = LANDSAT_METADATA_FILE"]
    for name, keys in groups.items():
        lines.append(f"  GROUP = {name}")
        for key, value in keys.items():
            plain = value[:1].isdigit() or value[:1] == "-"
            lines.append(f"    {key} = {value}" if plain else f'    {key} = "{value}"')
        lines.append(f"  END_GROUP = {name}")
    return "\n".join([*lines, "END_GROUP = LANDSAT_METADATA_FILE", "END", ""])


def _json(groups):
    return json.dumps({"LANDSAT_METADATA_FILE": groups})


def _xml(groups):
    root = ElementTree.Element("LANDSAT_METADATA_FILE")
    for name, keys in groups.items():
        group = ElementTree.SubElement(root, name)
        for key, value in keys.items():
            ElementTree.SubElement(group, key).text = value
    return ElementTree.tostring(root, encoding="unicode")


FORMATS = {"txt": _text, "json": _json, "xml": _xml}
