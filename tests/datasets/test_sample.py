from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image
from rasterio.crs import CRS

from nubila.datasets import check_manifest, load_sample, read_manifest
from nubila.datasets.codes import NO_CODE
from nubila.datasets.sample import mask_codes, unseen
from nubila.errors import ManifestError
from nubila.raster.grid import Grid
from nubila.scenes.array import scene_from_array
from tests.datasets.conftest import WriteManifest, write_raster


def _load(path: Path):
    (spec,) = read_manifest(path)
    return load_sample(spec)


def test_reflectance_label_and_meta(manifest: WriteManifest, folder: Path) -> None:
    sample = _load(manifest({"offset": "-0.1", "sensor": "sentinel-2-msi", "level": "L1C"}))
    with rasterio.open(folder / "alps/a.tif") as data:
        counts = data.read()
    assert sample.image.dtype == np.float32
    np.testing.assert_allclose(sample.image, counts * 1e-4 - 0.1, atol=1e-6)
    assert sample.bands == ("blue", "green", "red")
    assert [set(row) for row in sample.label.tolist()] == [{0b110001}, {8}, {4}, {2}]
    assert sample.meta.resolution == pytest.approx(10)
    assert (sample.meta.sensor, sample.meta.level) == ("sentinel-2-msi", "L1C")


def test_values_of_the_mask_that_no_code_names(manifest: WriteManifest, folder: Path) -> None:
    assert _load(manifest()).unnamed == {}
    row = {"codes": "0=clear;64=cloud"}
    assert _load(manifest(row)).unnamed == {192: 0.25, 255: 0.25}
    # Of a larger mask those under the image.
    assert _load(manifest(row | {"corner": "2;0"})).unnamed == {192: 0.25, 255: 0.25}
    assert _load(manifest(row | {"corner": "3;0"})).unnamed == {255: 0.25}


def test_one_file_a_band_with_its_own_scale(manifest: WriteManifest, folder: Path) -> None:
    write_raster(folder / "alps/n.tif", np.full((1, 4, 6), 5, np.uint8))
    # Per file where the numbers are as many as files ...
    row = {"image": "alps/a.tif;alps/n.tif", "bands": "blue;green;red;nir"}
    sample = _load(manifest(row | {"scale": "0.0001;0.1", "offset": "0;1"}))
    assert sample.image[3].max() == pytest.approx(1.5)
    assert sample.image[2].max() == pytest.approx(0.71)
    # ... and per band where they are as many as bands.
    sample = _load(manifest(row | {"scale": "1;2;3;4"}))
    assert sample.image[:, 3, 5].tolist() == [2300, 2 * 4700, 3 * 7100, 20]


def test_bands_left_out_are_not_read_as_others(manifest: WriteManifest) -> None:
    whole, part = _load(manifest()), _load(manifest({"bands": "blue;lwir11;red"}))
    assert part.bands == ("blue", "red")
    np.testing.assert_array_equal(part.image, whole.image[[0, 2]])


def test_only_some_bands(manifest: WriteManifest) -> None:
    spec = read_manifest(manifest({"bands": "blue;nir08;red"}))[0]
    shown = spec.only(("nir", "red"))
    assert shown.bands == ("-", "nir08", "red")
    assert load_sample(shown).bands == ("nir08", "red")
    # Each near infrared is itself where both are there.
    both = replace(spec, bands=("nir", "nir08", "red"))
    assert both.only(("nir", "red")).bands == ("nir", "-", "red")
    assert both.only(("red", "nir08")).bands == ("-", "nir08", "red")
    assert replace(both, scene=True).only(("nir08",)).bands == ("nir08",)
    with pytest.raises(ManifestError, match=r"line 2, column 'bands': blue, nir08, red: none of"):
        spec.only(("swir16",))


def test_no_data_is_nan_and_has_no_label(manifest: WriteManifest, folder: Path) -> None:
    image = np.full((3, 4, 6), 500, np.uint16)
    image[:, 0, 0] = 0
    image[1, 0, 1] = 0
    write_raster(folder / "alps/a.tif", image)
    sample = _load(manifest({"nodata": "0"}))
    assert np.isnan(sample.image[:, 0, 0]).all()
    assert np.isnan(sample.image[:, 0, 1]).tolist() == [False, True, False]
    assert sample.label[0, 0] == 0
    assert (sample.label[0, 1:] == 0b110001).all()
    assert not np.isnan(_load(manifest()).image).any()


def test_where_only_the_height_is_known_there_is_no_label(
    manifest: WriteManifest, folder: Path
) -> None:
    image = np.full((3, 4, 6), 500, np.uint16)
    image[:2, 0, 0] = 0
    image[:, 0, 1] = 0
    image[2, 0, 2] = 0
    write_raster(folder / "alps/a.tif", image)
    sample = _load(manifest({"nodata": "0", "bands": "blue;green;elevation"}))
    assert sample.label[0, :3].tolist() == [0, 0, 0b110001]
    # A height without a mark for no data hides nothing.
    row = {"nodata": "0;0;nan", "bands": "blue;green;elevation"}
    assert _load(manifest(row)).label[0, :3].tolist() == [0, 0, 0b110001]


def test_where_only_the_height_of_a_product_is_known_there_is_no_label(
    manifest: WriteManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.full((3, 4, 6), 0.2, np.float32)
    image[:2, 0, 0] = image[2, 0, 1] = np.nan
    bands = ("blue", "green", "elevation")
    scene = scene_from_array(image, bands)
    monkeypatch.setattr("nubila.datasets.sample.open_scene", lambda _: scene)
    (spec,) = read_manifest(manifest())
    sample = load_sample(replace(spec, scene=True, bands=bands))
    assert np.isnan(sample.image[:, 0, 0]).tolist() == [True, True, False]
    assert sample.label[0, :2].tolist() == [0, 0b110001]


def test_unseen_is_what_no_reflective_band_saw() -> None:
    image = np.array([[[1, np.nan, np.nan]], [[np.nan, np.nan, 3]]], np.float32)
    assert unseen(image, ("blue", "elevation")).tolist() == [[False, True, True]]
    assert unseen(image, ("blue", "lwir11")).tolist() == [[False, True, True]]
    assert unseen(image, ("blue", "cirrus")).tolist() == [[False, True, False]]
    assert unseen(image, ("lwir11", "elevation")).tolist() == [[False, True, False]]


def test_nodata_of_the_file_itself(manifest: WriteManifest, folder: Path) -> None:
    image = np.full((3, 4, 6), 500, np.uint16)
    image[:, 0, 0] = 9
    write_raster(folder / "alps/a.tif", image, nodata=9)
    assert np.isnan(_load(manifest()).image[:, 0, 0]).all()
    assert not np.isnan(_load(manifest({"nodata": "0"})).image).any()


def test_nodata_of_each_band_by_itself(manifest: WriteManifest, folder: Path) -> None:
    values = np.full((4, 6), 500, np.uint16)
    values[0, 0], values[0, 1] = 7, 9
    band = "<VRTRasterBand dataType='UInt16' band='{0}'><NoDataValue>{1}</NoDataValue>"
    band += "<SimpleSource><SourceFilename relativeToVRT='1'>one.tif</SourceFilename>"
    band += "<SourceBand>{0}</SourceBand></SimpleSource></VRTRasterBand>"
    write_raster(folder / "alps/one.tif", np.stack([values] * 3))
    bands = "".join(band.format(i, n) for i, n in ((1, 7), (2, 9), (3, 11)))
    path = folder / "alps/a.vrt"
    path.write_text(f"<VRTDataset rasterXSize='6' rasterYSize='4'>{bands}</VRTDataset>")
    image = _load(manifest({"image": "alps/a.vrt"})).image
    assert np.argwhere(np.isnan(image)).tolist() == [[0, 0, 0], [1, 0, 1]]


def test_what_a_mask_leaves_out_is_no_data(manifest: WriteManifest, folder: Path) -> None:
    path = folder / "alps/a.tif"
    valid = np.full((4, 6), 255, np.uint8)
    valid[0, 0] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as data:
        data.write_mask(valid)
    sample = _load(manifest({"nodata": "100"}))
    assert np.isnan(sample.image[:, 0, 0]).all() and sample.label[0, 0] == 0
    assert np.argwhere(np.isnan(sample.image)).tolist() == [
        [0, 0, 0],
        [0, 0, 1],
        [1, 0, 0],
        [2, 0, 0],
    ]


def test_an_alpha_band_tells_what_is_no_data(manifest: WriteManifest, folder: Path) -> None:
    image = np.full((4, 4, 6), 200, np.uint8)
    image[3] = 255
    image[3, 2, 3] = 0
    write_raster(folder / "alps/a.png", image)
    row = {"image": "alps/a.png", "bands": "red;green;blue;-", "scale": "0.001"}
    sample = _load(manifest(row))
    assert np.argwhere(np.isnan(sample.image[0])).tolist() == [[2, 3]]
    assert sample.label[2, 3] == 0
    # Named as a band it is one, as GDAL marks the fourth of an 8-bit GeoTIFF whatever it holds.
    sample = _load(manifest(row | {"bands": "red;green;blue;nir"}))
    assert np.isfinite(sample.image).all()
    assert sample.image[3, 2, 3] == 0
    assert sample.label[2, 3] != 0


@pytest.mark.parametrize("bands_first", [True, False])
def test_npy_images_either_way_round(
    manifest: WriteManifest, folder: Path, bands_first: bool
) -> None:
    with rasterio.open(folder / "alps/a.tif") as data:
        counts = data.read() * np.float64(1e-4)
    counts[0, 0, 0] = np.inf
    stored = counts if bands_first else np.moveaxis(counts, 0, -1)
    write_raster(folder / "alps/a.npy", stored)
    sample = _load(manifest({"image": "alps/a.npy", "scale": "1", "resolution": "20"}))
    expected = counts.astype(np.float32)
    expected[0, 0, 0] = np.nan
    np.testing.assert_array_equal(sample.image, expected)
    assert sample.meta.resolution == 20


def test_npy_that_could_be_either_way_is_told_by_the_mask(
    manifest: WriteManifest, folder: Path
) -> None:
    counts = np.arange(3 * 5 * 3).reshape(3, 5, 3)  # three bands of 5 x 3, or 3 x 5 of three bands
    write_raster(folder / "alps/a.npy", counts)
    for shape in ((5, 3), (3, 5)):
        write_raster(folder / "alps/m.npy", np.zeros(shape, np.uint8))
        sample = _load(manifest({"image": "alps/a.npy", "mask": "alps/m.npy", "scale": "1"}))
        expected = counts if shape == (5, 3) else np.moveaxis(counts, -1, 0)
        np.testing.assert_array_equal(sample.image, expected)


def test_painted_masks(manifest: WriteManifest, folder: Path) -> None:
    painted = np.full((4, 6, 3), 80, np.uint8)
    painted[1] = 0, 255, 0
    Image.fromarray(painted).save(folder / "alps/painted.png")
    alpha = np.dstack([painted, np.full((4, 6), 255, np.uint8)])
    write_raster(folder / "alps/painted.tif", np.moveaxis(alpha, -1, 0))
    for name in ("painted.png", "painted.tif"):
        codes = "65280=cloud shadow;*=clear|cloud"
        label = _load(manifest({"mask": f"alps/{name}", "codes": codes})).label
        assert [set(row) for row in label.tolist()] == [{3}, {8}, {3}, {3}]


def test_one_hot_masks_of_the_catalogue(manifest: WriteManifest, folder: Path) -> None:
    which = np.arange(24).reshape(4, 6) % 3
    write_raster(folder / "alps/m.npy", np.eye(3, dtype=bool)[which])
    codes = "65536=clear;256=cloud;1=cloud shadow"
    label = _load(manifest({"mask": "alps/m.npy", "codes": codes})).label
    np.testing.assert_array_equal(label, np.array([1, 2, 8])[which])


def test_png_images(manifest: WriteManifest, folder: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    Image.fromarray(image).save(folder / "alps/a.png")
    sample = _load(manifest({"image": "alps/a.png", "bands": "red;green;blue", "scale": "0.01"}))
    np.testing.assert_allclose(sample.image, np.moveaxis(image, -1, 0) * 0.01, rtol=1e-6)
    assert sample.meta.resolution is None


@pytest.mark.parametrize(
    ("changed", "shape", "said"),
    [
        ({"bands": "blue;green"}, (1, 4, 6), "column 'bands': 2 names for 3 bands"),
        ({}, (1, 4, 5), r"column 'image': .*has 4 x 6 pixels, its mask .* 4 x 5"),
        ({}, (2, 4, 6), r"column 'mask': .*expected one band of codes"),
    ],
)
def test_errors_of_shape(
    manifest: WriteManifest,
    folder: Path,
    changed: dict[str, str],
    shape: tuple[int, ...],
    said: str,
) -> None:
    write_raster(folder / "alps/a_mask.tif", np.zeros(shape, np.uint8))
    with pytest.raises(ManifestError, match=said):
        _load(manifest(changed))


def test_npy_with_another_band_count(manifest: WriteManifest, folder: Path) -> None:
    write_raster(folder / "alps/a.npy", np.zeros((4, 6, 2)))
    with pytest.raises(ManifestError, match=r"shape \(4, 6, 2\); expected 3 bands"):
        _load(manifest({"image": "alps/a.npy"}))


@pytest.mark.parametrize("name", ["bad.tif", "bad.npy"])
def test_files_that_cannot_be_decoded(manifest: WriteManifest, folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"no image")
    with pytest.raises(ManifestError, match=rf"line 2, column 'image': .*{name} cannot be decoded"):
        _load(manifest({"image": name}))


def test_a_file_cut_short(manifest: WriteManifest, folder: Path) -> None:
    whole = (folder / "alps/a.tif").read_bytes()
    (folder / "alps/a.tif").write_bytes(whole[: len(whole) - 60])
    with pytest.raises(ManifestError, match="cannot be decoded"):
        _load(manifest())


def test_no_data_of_a_mask_is_no_label_unless_its_code_is_named(
    manifest: WriteManifest, folder: Path
) -> None:
    mask = np.zeros((1, 4, 6), np.uint8)
    mask[0, 0, 0], mask[0, 0, 1] = 255, 7
    write_raster(folder / "alps/a_mask.tif", mask, nodata=255)
    for codes, labels in (
        ("0=clear;*=cloud", [0, 2, 1]),
        ("*=cloud", [0, 2, 2]),
        ("0=clear;255=thin cloud;*=cloud", [4, 2, 1]),
        ("0=clear;255=ignored;*=cloud", [0, 2, 1]),
    ):
        path = manifest({"codes": codes})
        assert _load(path).label[0, :3].tolist() == labels
        (spec,) = read_manifest(path)
        assert spec.codes.apply(mask_codes(spec))[0, :3].tolist() == labels
    (spec,) = read_manifest(path := manifest({"codes": "0=clear;7=cloud"}))
    assert mask_codes(spec)[0, :3].tolist() == [NO_CODE, 7, 0]
    assert check_manifest(path).problems == ()


@pytest.mark.parametrize("nodata", [-3.4028234663852886e38, np.nan, -9999])
def test_masks_of_floats_keep_their_gaps(
    manifest: WriteManifest, folder: Path, nodata: float
) -> None:
    mask = np.ones((1, 4, 6), np.float32)
    mask[0, 0, 0], mask[0, 0, 1] = nodata, np.nan
    utm = {"crs": "EPSG:32633", "transform": Affine(10, 0, 5e5, 0, -10, 5e6)}
    write_raster(folder / "alps/a_mask.tif", mask, nodata=nodata, **utm)
    path = manifest({"codes": "0=clear;*=cloud"})
    assert _load(path).label[0, :3].tolist() == [0, 0, 2]
    assert check_manifest(path).problems == ()
    corner = manifest({"codes": "0=clear;*=cloud", "corner": "0;-1"})
    assert _load(corner).label[0, :4].tolist() == [0, 0, 0, 2]


@pytest.mark.parametrize("kind", [np.float32, np.int16])
def test_no_data_of_a_mask_on_another_grid(
    manifest: WriteManifest, folder: Path, monkeypatch: pytest.MonkeyPatch, kind: type
) -> None:
    utm = {"crs": "EPSG:32633", "transform": Affine(10, 0, 5e5, 0, -10, 5e6)}
    mask = np.ones((1, 4, 7), kind)
    mask[0, 0, 0], mask[0, 0, 1] = -9999, np.nan if kind is np.float32 else -1
    write_raster(folder / "alps/a_mask.tif", mask, nodata=-9999, **utm)
    grid = Grid(CRS.from_epsg(32633), utm["transform"], (4, 8))  # a column more than the mask has
    scene = scene_from_array(np.full((1, 4, 8), 0.2, np.float32), ("blue",), grid=grid)
    monkeypatch.setattr("nubila.datasets.sample.open_scene", lambda _: scene)
    (spec,) = read_manifest(manifest({"codes": "-1=snow;*=cloud", "resolution": "10"}))
    label = load_sample(replace(spec, scene=True, bands=("blue",))).label
    assert label[0].tolist() == [0, 0 if kind is np.float32 else 16, *[2] * 5, 0]


def test_no_data_of_a_painted_mask_is_one_colour(manifest: WriteManifest, folder: Path) -> None:
    painted = np.full((3, 4, 6), 80, np.uint8)
    painted[:, 0, 0], painted[:, 0, 1] = 0, (0, 255, 0)
    write_raster(folder / "alps/m.tif", painted, nodata=0)
    row = {"mask": "alps/m.tif", "codes": "65280=cloud shadow;*=clear|cloud"}
    assert _load(manifest(row)).label[0, :3].tolist() == [0, 8, 3]


def test_a_part_of_a_painted_mask(manifest: WriteManifest, folder: Path) -> None:
    painted = np.random.default_rng(1).choice(np.array([0, 255], np.uint8), (3, 9, 9))
    write_raster(folder / "alps/m.tif", painted)
    codes = "65280=cloud shadow;16711680=snow;*=cloud"
    row = {"mask": "alps/m.tif", "codes": codes, "corner": "7;2"}
    names = np.moveaxis(painted[:, 7:, 2:8], 0, -1).tolist()
    table = {(0, 255, 0): 8, (255, 0, 0): 16}
    expected = [[table.get(tuple(colour), 2) for colour in line] for line in names]
    assert _load(manifest(row)).label.tolist() == [*expected, [0] * 6, [0] * 6]
    write_raster(folder / "alps/m.tif", painted[:2])
    with pytest.raises(ManifestError, match=r"column 'mask': .*expected one band of codes"):
        _load(manifest(row))


def test_coverage_tells_where_there_are_labels(manifest: WriteManifest, folder: Path) -> None:
    covered = np.ones((1, 4, 6), np.float32)
    covered[0, 0, :2] = 0, np.nan
    write_raster(folder / "alps/c.tif", covered)
    label = _load(manifest({"coverage": "alps/c.tif"})).label
    assert label[0].tolist() == [0, 0, *[0b110001] * 4]
    # An image without a label yet may have one.
    (spec,) = read_manifest(manifest({"coverage": "alps/c.tif"}))
    assert not load_sample(replace(spec, mask=None)).label.any()
    write_raster(folder / "alps/c.tif", covered / 2)
    with pytest.raises(ManifestError, match=r"column 'coverage': .*c\.tif holds fractions"):
        load_sample(replace(spec, mask=None))


def test_masks_of_fractions(manifest: WriteManifest, folder: Path) -> None:
    write_raster(folder / "alps/m.npy", np.full((4, 6), 0.5))
    with pytest.raises(ManifestError, match="fractions"):
        _load(manifest({"mask": "alps/m.npy"}))
