"""The lazy scene: any window at any resolution, no data, saturation, missing files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS

from nubila import open_scene
from nubila.errors import BandError, MissingFileError
from nubila.raster import Grid, Window
from nubila.scenes import Band, BandFile, Saturation, Scene
from nubila.scenes.array import ArraySource
from tests.scenes.safe_product import SafeSpec, write_jp2, write_safe

RESOLUTIONS = (5, 10, 15, 20, 25, 30, 40, 45, 60, 80)


def grid(side: int, resolution: float) -> Grid:
    transform = Affine(resolution, 0, 300_000, 0, -resolution, 5_000_000)
    return Grid(CRS.from_epsg(32633), transform, (side, side))


def band(name: str, values: np.ndarray, resolution: float, **options: object) -> Band:
    file = BandFile(ArraySource(values), grid(len(values), resolution))
    return Band(name=name, label=name, files=(file,), resolution=resolution, **options)


def scene(*bands: Band, **options: object) -> Scene:
    finest = min((b.finest.grid for b in bands), key=lambda g: g.resolution)
    return Scene(
        id="test",
        path="test",
        sensor="unknown",
        level="",
        bands={b.name: b for b in bands},
        grid=finest,
        **options,
    )


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    spec = SafeSpec(size=760)  # no multiple of 6: the last pixel of 60 m sticks out
    return open_scene(write_safe(tmp_path_factory.mktemp("scene"), spec))


@pytest.fixture(scope="module")
def wholes(product: Scene) -> dict[float, np.ndarray]:
    bands = ("blue", "swir16", "cirrus")
    return {r: product.read(bands, resolution=r).reflectance for r in RESOLUTIONS}


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_window_is_the_crop_of_the_whole(
    product: Scene, wholes: dict[float, np.ndarray], data: st.DataObject
) -> None:
    resolution = data.draw(st.sampled_from(RESOLUTIONS))
    rows, columns = product.grid_at(resolution).shape
    row, column = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    window = Window(
        row,
        column,
        data.draw(st.integers(1, rows - row)),
        data.draw(st.integers(1, columns - column)),
    )
    read = product.read(("blue", "swir16", "cirrus"), window, resolution)
    np.testing.assert_array_equal(
        read.reflectance, wholes[resolution][(slice(None), *window.slices)]
    )
    assert read.grid == product.grid_at(resolution).crop(window)


def test_the_product_has_levels(product: Scene) -> None:
    assert product.band("blue").finest.source.factors[:3] == (1, 2, 4)


@pytest.mark.parametrize("resolution, file, factor", [(10, 10, 1), (19, 10, 1), (20, 10, 2)])
def test_the_coarsest_level_that_is_fine_enough(
    product: Scene, resolution: float, file: float, factor: int
) -> None:
    found, decimation = product.band("blue").level(resolution)
    assert (found.grid.resolution, decimation) == (file, factor)


@pytest.mark.parametrize("resolution, factor", [(20, 2), (40, 4)])
def test_a_coarser_level_is_the_files_own(product: Scene, resolution: float, factor: int) -> None:
    source = product.band("blue").finest.source
    level = {2: 0, 4: 1}[factor]
    with rasterio.open(source.name, overview_level=level) as data:
        raw = (data.read(1).astype(np.float64) - 1000) / 10_000
    # Its samples are centred on the first of the fine pixels that they stand for.
    after = (1 - 1 / factor) / 2
    for axis in (0, 1):
        following = np.concatenate([raw, raw.take([-1], axis)], axis).take(
            np.arange(1, raw.shape[axis] + 1), axis
        )
        raw = (1 - after) * raw + after * following
    read = product.read(["blue"], resolution=resolution).reflectance[0]
    assert read.shape == raw.shape
    kept = ~np.isnan(read)
    # All but those beside no data, which has no weight.
    assert np.isclose(read[kept], raw[kept], atol=1e-6).mean() > 0.999


@pytest.mark.parametrize("resolution", [10, 20, 40, 60, 80])
def test_levels_lie_where_the_fine_pixels_do(tmp_path: Path, resolution: float) -> None:
    """A bright spot stays where it is, in bands of 10 and of 20 m alike."""
    folder, places = write_safe(tmp_path, SafeSpec(size=768)), {}
    east, north = 3210.0, 4330.0  # metres from the upper left corner
    for label, size in (("B02", 10), ("B11", 20)):
        path = next(folder.rglob(f"*_{label}.jp2"))
        with rasterio.open(path) as data:
            transform, crs, shape = data.transform, data.crs, data.shape
        y, x = (np.indices(shape) + 0.5) * size
        values = 2000 + 8000 * np.exp(-((x - east) ** 2 + (y - north) ** 2) / 2 / 250**2)
        write_jp2(path, values.round().astype(np.uint16), transform, crs.to_string())
    read = open_scene(folder).read(["blue", "swir16"], resolution=resolution)
    for name, spot in zip(("blue", "swir16"), read.reflectance - 0.1, strict=True):
        y, x = (np.indices(spot.shape) + 0.5) * resolution
        places[name] = (x * spot).sum() / spot.sum(), (y * spot).sum() / spot.sum()
    np.testing.assert_allclose(list(places.values()), [(east, north)] * 2, atol=0.02 * resolution)


def test_of_two_files_as_coarse_the_less_decimated_is_read() -> None:
    class Levelled(ArraySource):
        factors = (1, 2, 4)

    fine = BandFile(Levelled(np.ones((8, 8), np.uint16)), grid(8, 10))
    coarse = BandFile(ArraySource(np.ones((4, 4), np.uint16)), grid(4, 20))
    both = Band("blue", "B02", (fine, coarse), resolution=10)
    assert both.level(20) == (coarse, 1)
    assert both.level(10) == (fine, 1) and both.level(40) == (fine, 4)


def test_saturation_of_a_wavelets_level(tmp_path: Path) -> None:
    folder = write_safe(tmp_path, SafeSpec(size=192))
    path = next(folder.rglob("*_B02.jp2"))
    with rasterio.open(path) as data:
        transform, crs, values = data.transform, data.crs, np.full(data.shape, 9000, np.uint16)
    values[100, 60] = 65_535
    write_jp2(path, values, transform, crs.to_string())
    opened = open_scene(folder)
    assert opened.read(["blue"], resolution=10).validity[100, 60] == 2
    assert opened.read(["blue"], resolution=20).validity[50, 30] == 2


@pytest.mark.parametrize("resolution", [120, 240, 300, 500])
def test_windows_of_a_real_product(shared_data: Path, resolution: float) -> None:
    """Its levels of 240 m and coarser stick out, for 1830 is no multiple of 4."""
    real = open_scene(next(shared_data.glob("sentinel2_l2a_safe_60m/*.SAFE")))
    whole = real.read(["blue"], resolution=resolution)
    rows, columns = whole.grid.shape
    for window in (
        Window(0, 0, 3, columns),
        Window(rows - 7, columns - 9, 7, 9),
        Window(rows // 2, 5, 11, columns // 2),
    ):
        read = real.read(["blue"], window, resolution)
        np.testing.assert_array_equal(read.reflectance[0], whole.reflectance[0][window.slices])


@pytest.mark.parametrize("factor", [2, 4])
def test_no_data_do_not_darken_their_neighbours(tmp_path: Path, factor: int) -> None:
    """Bright ground beside no data: wavelets mix the two, which must not look like ground."""
    folder = write_safe(tmp_path, SafeSpec(size=576))
    for path in folder.rglob("*_B02.jp2"):
        with rasterio.open(path) as data:
            profile = data.profile
        values = np.full((576, 576), 7000, np.uint16)
        columns = np.arange(576)
        values[columns[:, None] + columns < 150] = 0  # a slanting edge, as a swath's
        profile.update(REVERSIBLE="YES", QUALITY="100", RESOLUTIONS=4)
        with rasterio.open(path, "w", **profile) as data:
            data.write(values, 1)
    read = open_scene(folder).read(["blue"], resolution=10 * factor)
    kept = read.reflectance[0][~np.isnan(read.reflectance[0])]
    assert kept.min() > 0.55
    assert kept.max() < 0.65
    # Little is lost: a seam of some pixels along the edge.
    truth = (values > 0).reshape(576 // factor, factor, -1, factor).all(axis=(1, 3))
    assert truth.sum() - len(kept) < 4 * len(truth)
    assert not (~np.isnan(read.reflectance[0]) & (read.validity == 1)).any()


@pytest.mark.parametrize("factor", [2, 4])
def test_dark_ground_beside_bright_is_not_no_data(tmp_path: Path, factor: int) -> None:
    """Wavelets undershoot beside bright islands and may hit the count of no data by chance."""
    folder = write_safe(tmp_path, SafeSpec(size=576))
    values = np.full((576, 576), 150, np.uint16)
    values[np.hypot(*(np.indices((576, 576)) - 288)) < 150] = 3000
    values += np.random.default_rng(0).integers(0, 20, values.shape, dtype=np.uint16)
    for path in folder.rglob("*_B02.jp2"):
        with rasterio.open(path) as data:
            profile = data.profile
        profile.update(REVERSIBLE="YES", QUALITY="100", RESOLUTIONS=4)
        with rasterio.open(path, "w", **profile) as data:
            data.write(values, 1)
        with rasterio.open(path, overview_level={2: 0, 4: 1}[factor]) as data:
            assert (data.read(1) == 0).any(), "the undershoot that this is about"
    read = open_scene(folder).read(["blue"], resolution=10 * factor)
    assert not np.isnan(read.reflectance).any()


def test_no_data_nan_and_infinity() -> None:
    values = np.array([[0.0, np.nan, np.inf], [-np.inf, 0.5, 1.5], [0.25, 2, 3]], np.float32)
    read = scene(band("blue", values, 10, nodata=0.0, scale=2.0)).read(["blue"])
    truth = [[np.nan] * 3, [np.nan, 1, 3], [0.5, 4, 6]]
    np.testing.assert_array_equal(read.reflectance[0], truth)
    np.testing.assert_array_equal(read.validity, [[1, 1, 1], [1, 0, 0], [0, 0, 0]])


def test_all_no_data() -> None:
    blue = band("blue", np.zeros((6, 6), np.uint16), 10, nodata=0)
    for resolution in (10, 20, 7):
        read = scene(blue).read(["blue"], resolution=resolution)
        assert np.isnan(read.reflectance).all()
        assert (read.validity == 1).all()


def test_bands_that_differ_in_no_data_are_not_judged() -> None:
    blue, red = np.ones((2, 2, 2), np.uint16)
    blue[0, 0] = red[0, 0] = red[1, 1] = 0
    found = scene(band("blue", blue, 10, nodata=0), band("red", red, 10, nodata=0))
    np.testing.assert_array_equal(found.read(["blue", "red"]).validity, [[1, 0], [0, 3]])


def test_saturation_by_count_and_by_flag() -> None:
    values = np.full((4, 4), 100, np.uint16)
    values[0, 0] = 65_535
    flags = np.zeros((4, 4), np.uint8)
    flags[3, 3], flags[3, 0] = 0b100, 0b010
    flagged = Saturation(BandFile(ArraySource(flags), grid(4, 10)), 0b100)
    found = scene(band("blue", values, 10, saturated=65_535, saturation=flagged))
    fine = found.read(["blue"]).validity
    assert {tuple(p) for p in np.argwhere(fine == 2)} == {(0, 0), (3, 3)}
    coarse = found.read(["blue"], resolution=20).validity
    np.testing.assert_array_equal(coarse, [[2, 0], [0, 2]])


def test_finer_than_native_is_interpolated() -> None:
    ramp = np.arange(8, dtype=np.float32)[None].repeat(8, axis=0)
    found = scene(band("swir16", ramp, 20), band("blue", np.ones((16, 16), np.float32), 10))
    read = found.read(["swir16"]).reflectance[0]
    np.testing.assert_allclose(
        read[:, 1:-1], (np.arange(1, 15) + 0.5)[None] / 2 - 0.5 + 0 * read[:, 1:-1]
    )


def test_a_coarser_file_does_not_stand_in() -> None:
    file = BandFile(ArraySource(np.ones((4, 4), np.uint16)), grid(4, 60))
    blue = Band("blue", "B02", (file,), resolution=10, missing=((10.0, "a.jp2"), (20.0, "b.jp2")))
    found = scene(blue)
    with pytest.raises(MissingFileError, match=r"a\.jp2") as caught:
        found.read(["blue"], resolution=10)
    assert "b.jp2" not in str(caught.value)
    found.read(["blue"], resolution=60)
    found.read(["blue"], resolution=90)


def test_near_infrared_falls_back() -> None:
    narrow = scene(band("nir08", np.ones((2, 2), np.uint16), 20))
    assert narrow.band("nir").name == "nir08"
    assert narrow.read(["nir"]).bands == ("nir",)
    assert narrow.has_band("nir")


def test_unknown_and_absent_bands() -> None:
    found = scene(band("green", np.ones((2, 2), np.uint16), 20))
    with pytest.raises(BandError, match="did you mean 'green'"):
        found.band("gren")
    with pytest.raises(BandError, match="the scene has: green"):
        found.read(["red"])
    assert not found.has_band("red")
