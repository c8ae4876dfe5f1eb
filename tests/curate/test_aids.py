from dataclasses import replace

import numpy as np
import pytest
import rasterio
from affine import Affine

from nubila.classes import class_set
from nubila.curate.aids import Aids, find_aids
from nubila.curate.automatic import Means, automatic_label, automatic_labels
from nubila.curate.shadow import Sun
from nubila.curate.surface import UNKNOWN
from nubila.datasets import read_manifest, write_manifest
from nubila.detect import Detection, Output, View
from nubila.errors import InputError, ManifestError

_BANDS = "green;red;nir;swir16;elevation"
_FIELD, _SNOW = (0.08, 0.05, 0.35, 0.18), (0.80, 0.82, 0.80, 0.10)
_SIZE = (40, 30)


@pytest.fixture
def manifest(tmp_path):
    """A field of 300 m pixels with a dark spot, a cloud south of it, and snow to the east."""
    image = np.empty((5, *_SIZE))
    image[:4] = np.array(_FIELD)[:, None, None]
    image[:4, :, 20:] = np.array(_SNOW)[:, None, None]
    image[2, 20, 5] = 0.1
    image[1, 30, 5] = 0.9  # what the detector takes for cloud
    image[4] = np.linspace(0.5, 2.5, _SIZE[1])
    profile = {"driver": "GTiff", "height": _SIZE[0], "width": _SIZE[1], "count": 5}
    profile |= {"crs": "EPSG:32632", "transform": Affine(300, 0, 5e5, 0, -300, 5e6)}
    with rasterio.open(tmp_path / "image.tif", "w", dtype="float32", **profile) as out:
        out.write(image.astype(np.float32))
    cells = {"image": "image.tif", "mask": "", "bands": _BANDS, "date": "2020-07-04"}
    cells |= {"sun_elevation": "60", "sun_azimuth": "180"}
    write_manifest(tmp_path / "manifest.csv", [cells])
    return tmp_path / "manifest.csv"


def _spec(manifest):
    (spec,) = read_manifest(manifest, unlabelled=True)
    return spec


class _Red:
    """Tells cloud by red, and cannot tell shadow from ground."""

    name = "red"
    outputs = (Output(0, ("clear", "cloud shadow", "snow", "water")), Output(1, ("cloud",)))

    def lacks(self, view):
        return ""

    def detect(self, view):
        cloud = (view.image[1] > 0.85).astype(np.float32)
        return Detection(np.stack([0.99 - 0.98 * cloud, 0.01 + 0.98 * cloud]), self.outputs)


def _label(manifest, folder, **options):
    (found,) = automatic_labels([_spec(manifest)], Means((_Red(),), **options), folder)
    with rasterio.open(found.path) as data:
        return found, data.read(1), data.tags()["NUBILA_LABEL"]


def test_sun_snow_line_and_map_of_water_tell_what_a_detector_cannot(manifest, tmp_path):
    lake = tmp_path / "lake.tif"
    profile = {"driver": "GTiff", "height": 20, "width": 15, "count": 1, "crs": "EPSG:32632"}
    values = np.zeros((20, 15), np.uint8)
    values[:5, :5] = 1
    values[19] = 7  # what is neither 0 nor 1 is not known
    with rasterio.open(
        lake, "w", dtype="uint8", transform=Affine(600, 0, 5e5, 0, -600, 5e6), **profile
    ) as out:
        out.write(values, 1)
    found, label, told = _label(manifest, tmp_path / "one", snow_line=(2000.0,), water=lake)
    assert label[20, 5] == class_set(["cloud shadow"])
    assert label[30, 5] == class_set(["cloud"])
    assert label[5, 5] == class_set(["water"])
    # Snow at 500 + 2000 * 21/29 = 1948 m is below the line, at 2017 m above it.
    assert label[20, 21] & class_set(["snow"]) == 0
    assert label[20, 22] & class_set(["snow", "clear", "water"]) == class_set(["snow"])
    assert found.confidence == pytest.approx(0.99, abs=1e-3)
    aids = find_aids(_spec(manifest), _SIZE, (), lake)
    assert aids.sun == Sun(60, 180)
    np.testing.assert_array_equal(aids.water[:38], np.kron(values, np.ones((2, 2)))[:38])
    assert (aids.water[38:] == UNKNOWN).all()
    assert "sun 60 180" in told and "snow line 2000" in told and "lake.tif" in told


def test_other_aids_make_the_mask_anew(manifest, tmp_path):
    _, with_sun, _ = _label(manifest, tmp_path / "one")
    text = manifest.read_text().replace(",60,", ",,").replace(",180", ",")
    manifest.write_text(text)
    _, without, told = _label(manifest, tmp_path / "one")
    assert with_sun[20, 5] == class_set(["cloud shadow"])
    assert without[20, 5] == class_set(["clear", "cloud shadow"])
    assert "sun" not in told


def test_without_aids_a_label_is_what_it_was_before_there_were_any():
    random = np.random.default_rng(0)
    view = View(
        random.uniform(0, 1, (4, 40, 40)).astype(np.float32), ("green", "red", "nir", "swir16")
    )
    detection = _Red().detect(view)
    plain = automatic_label(view, detection, None)
    near = replace(view, resolution=30.0)
    np.testing.assert_array_equal(automatic_label(near, detection, None, aids=Aids()), plain)


def test_drawn_clouds_have_shadows_too(manifest):
    spec = _spec(manifest)
    with rasterio.open(spec.images[0]) as data:
        view = View(data.read(), tuple(_BANDS.split(";")), resolution=300.0)
    drawn = np.full(_SIZE, class_set(["clear", "cloud shadow", "snow", "water"]), np.uint8)
    drawn[30, 5] = class_set(["cloud"])
    label = automatic_label(view, None, drawn, aids=Aids(sun=Sun(60, 180)))
    assert label[20, 5] == class_set(["cloud shadow"])
    assert label[30, 5] == class_set(["cloud"])
    # Further from the southern edge than any shadow reaches, and north of no cloud.
    assert label[10, 12] == class_set(["clear"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((",60,", ",high,"), "'high'"),
        ((",60,", ",-2,"), "above the horizon"),
        ((",180", ","), "sun_azimuth ''"),
        (("2020-07-04", "summer"), "'summer': a snow line by month"),
    ],
)
def test_a_wrong_column_is_named(manifest, change, message):
    manifest.write_text(manifest.read_text().replace(*change))
    with pytest.raises(ManifestError, match=message):
        find_aids(_spec(manifest), _SIZE, tuple(range(12)), None)


def test_the_month_chooses_the_snow_line(manifest):
    months = tuple(100.0 * n for n in range(1, 13))
    assert find_aids(_spec(manifest), _SIZE, months, None).snow_line == 700
    with pytest.raises(InputError, match="5 numbers"):
        Means((), snow_line=months[:5])


def test_a_map_that_cannot_lie_anywhere_is_refused(manifest, tmp_path):
    path = tmp_path / "nowhere.tif"
    with rasterio.open(path, "w", driver="GTiff", height=2, width=2, count=1, dtype="uint8") as out:
        out.write(np.zeros((1, 2, 2), np.uint8))
    with pytest.raises(InputError, match="no georeference"):
        find_aids(_spec(manifest), _SIZE, (), path)
