import os
from dataclasses import dataclass

import numpy as np
import pytest
import rasterio

from nubila.classes import class_set
from nubila.curate.automatic import (
    Means,
    automatic_label,
    automatic_labels,
    labelled_row,
    set_codes,
)
from nubila.curate.pseudo import Sureness
from nubila.datasets import load_sample, read_manifest
from nubila.datasets.codes import parse_codes
from nubila.datasets.manifest import manifest_rows, write_manifest
from nubila.detect import Detection, Output, View, view_of

_OUTPUTS = (
    Output(0, ("clear", "snow", "water")),
    Output(1, ("cloud", "thin cloud")),
    Output(3, ("cloud shadow",)),
)
_BANDS = ("green", "red", "nir", "swir16")
_FIELD, _SNOW = (0.08, 0.05, 0.35, 0.18), (0.80, 0.82, 0.80, 0.10)
_GROUND = class_set(["clear", "snow", "water"])
_CLOUD = class_set(["cloud", "thin cloud"])
_SHADOW = class_set(["cloud shadow"])


def _view(*pixels):
    return View(np.array(pixels, np.float32).T[:, None, :], _BANDS)


def _detection(*pixels):
    return Detection(np.array(pixels, np.float32).T[:, None, :], _OUTPUTS)


def _label(view, detection, drawn=None, **options):
    if drawn is not None:
        drawn = np.array([drawn], np.uint8)
    return automatic_label(view, detection, drawn, **options)[0].tolist()


def test_ground_is_told_by_index_and_sky_by_detector():
    view = _view(_FIELD, _SNOW, _FIELD, _FIELD)
    found = _detection((0.98, 0.01, 0.01), (0.98, 0.01, 0.01), (0.02, 0.97, 0.01), (0, 0.02, 0.98))
    assert _label(view, found) == [class_set(["clear"]), class_set(["snow"]), _CLOUD, _SHADOW]


def test_a_drawn_label_keeps_its_say_and_is_told_more():
    not_cloud = _GROUND | _SHADOW
    view = _view(_FIELD, _FIELD, _FIELD)
    found = _detection((0.98, 0.01, 0.01), (0.01, 0.01, 0.98), (0.01, 0.98, 0.01))
    drawn = [not_cloud] * 3
    # The last: detectors are sure of cloud where a person saw none. The person is believed.
    clear = class_set(["clear"])
    assert _label(view, found, drawn)[:2] == [clear, _SHADOW]
    assert _label(view, found, drawn)[2] & _CLOUD == 0


def test_without_indices_the_ground_stays_open():
    found = _detection((0.98, 0.01, 0.01))
    assert _label(_view(_FIELD), found, indices=False) == [_GROUND]


def test_nothing_known_and_no_data_teach_nothing():
    view = _view(_FIELD, (np.nan,) * 4)
    found = _detection((0.4, 0.3, 0.3), (np.nan,) * 3)
    assert _label(view, found, indices=False) == [0, 0]


def test_where_only_the_height_is_known_nothing_is_labelled():
    unseen = (np.nan,) * 4
    image = np.array([(*_FIELD, 0.5), (*unseen, 0.5)], np.float32).T[:, None, :]
    view = View(image, (*_BANDS, "elevation"))
    detection = _detection((0.98, 0.01, 0.01), (np.nan,) * 3)
    assert _label(view, detection) == [class_set(["clear"]), 0]


def test_snow_without_the_band_of_its_index_is_not_called_clear():
    snow = (*_SNOW[:3], np.nan)
    found = _detection((0.98, 0.01, 0.01), (0.98, 0.01, 0.01))
    label = _label(_view(snow, _FIELD), found)
    assert label == [class_set(["clear", "snow"]), class_set(["clear"])]


def test_codes_of_the_manifest_give_the_sets_back():
    sets = np.arange(64, dtype=np.uint8)
    np.testing.assert_array_equal(parse_codes(set_codes()).apply(sets), sets)


@dataclass
class _Thresholded:
    """Calls bright red cloud; counts how often it was asked."""

    name: str = "bright red"
    outputs: tuple[Output, ...] = _OUTPUTS
    asked: int = 0

    def lacks(self, view):
        return ""

    def detect(self, view):
        self.asked += 1
        cloud = (view.image[view.bands.index("red")] > 0.4).astype(np.float32)
        return Detection(np.stack([1 - cloud, cloud, np.zeros_like(cloud)]), self.outputs)


@pytest.fixture
def manifest(tmp_path):
    """Two images of which one has a label that tells cloud from anything else."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(2):
        counts = random.integers(100, 9000, (4, 8, 9)).astype(np.uint16)
        counts[:, :2] = 0
        path = tmp_path / "images" / f"{number}.tif"
        _write(path, counts, nodata=0)
        rows.append(
            {
                "image": str(path.relative_to(tmp_path)),
                "mask": "",
                "bands": ";".join(_BANDS),
                "scale": "0.0001",
                "codes": "",
                "split": "train",
                "group": f"place {number}",
            }
        )
    drawn = np.zeros((1, 8, 9), np.uint8)
    drawn[:, :, 5:] = 1
    _write(tmp_path / "drawn.tif", drawn)
    codes = "0=clear|cloud shadow|snow|water;1=cloud|thin cloud"
    rows[1] |= {"mask": "drawn.tif", "codes": codes}
    path = tmp_path / "manifest.csv"
    write_manifest(path, rows)
    return path


def _write(path, values, **profile):
    path.parent.mkdir(exist_ok=True)
    count, rows, columns = values.shape
    profile |= {"driver": "GTiff", "count": count, "height": rows, "width": columns}
    with rasterio.open(path, "w", dtype=values.dtype, **profile) as file:
        file.write(values)


def _run(manifest, detector, folder, **options):
    specs = read_manifest(manifest, unlabelled=True)
    return list(automatic_labels(specs, Means((detector,), **options), folder, threads=2))


def test_masks_and_manifest_read_back_as_labels(manifest, tmp_path):
    done = _run(manifest, _Thresholded(), tmp_path / "labels")
    rows = [cells for _, cells in manifest_rows(manifest)]
    written = [labelled_row(c, d, tmp_path) for c, d in zip(rows, done, strict=True)]
    write_manifest(tmp_path / "new.csv", written)
    for spec, kept in zip(read_manifest(tmp_path / "new.csv"), done, strict=True):
        sample = load_sample(spec)
        red = sample.image[1]
        assert (sample.label[:2] == 0).all()
        view = view_of(sample)
        drawn = load_sample(kept.spec).label if kept.spec.mask else None
        expected = automatic_label(view, _Thresholded().detect(view), drawn)
        np.testing.assert_array_equal(sample.label, expected)
        if drawn is None:
            np.testing.assert_array_equal(sample.label[2:] == _CLOUD, red[2:] > 0.4)
        else:
            assert (sample.label & ~drawn == 0).all()
            wrong = ((red > 0.4) != (drawn == _CLOUD))[2:]
            assert kept.disputed == pytest.approx(wrong.mean(), abs=1e-4)


def test_what_is_told_beyond_the_drawn_coverage_is_kept(manifest, tmp_path):
    rows = [cells for _, cells in manifest_rows(manifest) if cells["mask"]][:1]
    image = rasterio.open(manifest.parent / rows[0]["image"])
    cover = np.zeros((1, image.height, image.width), np.uint8)
    cover[:, :, : image.width // 4] = 1
    _write(tmp_path / "cover/cover.tif", cover)
    rows[0]["coverage"] = os.path.relpath(tmp_path / "cover/cover.tif", manifest.parent)
    table = manifest.with_name("covered.csv")
    write_manifest(table, rows)
    (done,) = _run(table, _Thresholded(), tmp_path / "labels")
    write_manifest(tmp_path / "new.csv", [labelled_row(rows[0], done, tmp_path)])
    label = load_sample(read_manifest(tmp_path / "new.csv")[0]).label
    assert (label[2:, image.width // 4 :] != 0).all()


def test_masks_made_in_the_same_way_are_not_made_again(manifest, tmp_path):
    detector = _Thresholded()
    first = _run(manifest, detector, tmp_path / "labels")
    again = _run(manifest, detector, tmp_path / "labels")
    assert (detector.asked, again) == (2, first)
    _run(manifest, detector, tmp_path / "labels", sureness=Sureness(0.2))
    assert detector.asked == 4


def _draw(manifest):
    with rasterio.open(manifest.parent / "drawn.tif", "r+") as file:
        file.write(1 - file.read())


def _brighten(manifest):
    with rasterio.open(manifest.parent / "images/1.tif", "r+") as file:
        file.write(file.read() // 2)


def _copy(manifest):
    for path in manifest.parent.rglob("*.tif"):
        os.utime(path, (1e9, 1e9))


def _row(**cells):
    def change(manifest):
        rows = [row for _, row in manifest_rows(manifest)]
        rows[1] |= cells
        write_manifest(manifest, rows)

    return change


@pytest.mark.parametrize(
    ("change", "made"),
    [
        (_draw, 1),
        (_brighten, 1),
        (_row(codes="0=thin cloud;1=cloud"), 1),
        (_row(scale="0.0002"), 1),
        (_row(offset="-0.1"), 1),
        (_row(nodata="100"), 1),
        (_row(bands="red;green;nir;swir16"), 1),
        (_row(mask=""), 1),
        (_row(corner="0;3"), 1),
        (_row(coverage="drawn.tif"), 1),
        (_row(split="validation", group="elsewhere"), 0),  # the label is the same
        (_copy, 0),
    ],
)
def test_masks_of_what_has_changed_are_made_again(manifest, tmp_path, change, made):
    detector = _Thresholded()
    _run(manifest, detector, tmp_path / "labels")
    change(manifest)
    again = _run(manifest, detector, tmp_path / "labels")
    assert detector.asked == 2 + made
    anew = _run(manifest, detector, tmp_path / "fresh")
    for old, new in zip(again, anew, strict=True):
        assert old.path.read_bytes() == new.path.read_bytes()


def test_a_row_without_a_mask_is_refused_elsewhere(manifest):
    from nubila.errors import ManifestError

    with pytest.raises(ManifestError, match=r"line 2.*'mask': empty"):
        read_manifest(manifest)


def test_masks_made_without_the_cirrus_band_are_told_from_others():
    told = {Means((), cirrus=cirrus).told for cirrus in (True, False)}
    assert len(told) == 2 and Means(()).told in told
