"""Bands from rasters of their own: a plane of elevations in degrees, warped onto a UTM scene."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import transform
from typer.testing import CliRunner

from nubila.cli import app
from nubila.errors import BandError, GridError, MissingFileError
from nubila.infer import mask_scene
from nubila.models_io import load_model
from nubila.raster import Grid, Window
from nubila.scenes.array import scene_from_array
from nubila.scenes.auxiliary import with_auxiliary
from tests.infer.scenes import write_raster
from tests.infer.toy import write_toy

GRID = Grid(CRS.from_epsg(32632), Affine(10, 0, 600_000, 0, -10, 5_300_000), (300, 420))


def plane(longitude, latitude):
    """Metres above sea level."""
    return 1000 + 5000 * (np.asarray(longitude) - 10.3) + 3000 * (np.asarray(latitude) - 47.8)


@pytest.fixture
def dem(tmp_path):
    """Covers all but the western 500 m of the scene; one hole."""
    north = 47.86
    (edge,), _ = transform(GRID.crs, "EPSG:4326", [600_500], [5_298_500])
    placed = Affine(4e-4, 0, edge, 0, -3e-4, north)
    rows, columns = np.mgrid[:250, :250] + 0.5
    metres = plane(placed.c + columns * placed.a, placed.f + rows * placed.e).astype(np.float32)
    metres[80:90, 60:70] = -9999
    path = tmp_path / "dem.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=1, dtype="float32", width=250, height=250,
        crs="EPSG:4326", transform=placed, nodata=-9999,
    ) as out:  # fmt: skip
        out.write(metres, 1)
    return path


def scene():
    values = np.full((3, *GRID.shape), 0.3, np.float32)
    return scene_from_array(values, "blue,green,red", grid=GRID)


@pytest.mark.parametrize("resolution", [10, 20, 30])
def test_elevation_is_in_kilometres_where_the_raster_has_it(dem, resolution):
    opened = with_auxiliary(scene(), {"elevation": dem})
    found = opened.read(["elevation"], None, resolution).reflectance[0]
    grid = opened.grid_at(resolution)
    rows, columns = np.mgrid[: grid.shape[0], : grid.shape[1]] + 0.5
    x = grid.transform.c + columns * grid.transform.a
    y = grid.transform.f + rows * grid.transform.e
    places = transform(grid.crs, "EPSG:4326", x.ravel(), y.ravel())
    expected = plane(*places).reshape(grid.shape) / 1000
    there = np.isfinite(found)
    assert not there[:, : 400 // resolution].any() and there[:, 700 // resolution :].mean() > 0.95
    assert (~there[:, 700 // resolution :]).any()  # the hole
    # The edge of the hole and of the raster is extrapolated by half a pixel of 30 m.
    assert np.abs(found - expected)[there].max() < 0.03
    assert np.median(np.abs(found - expected)[there]) < 2e-4


def test_a_window_gives_what_the_whole_gives(dem):
    opened = with_auxiliary(scene(), {"elevation": dem})
    random = np.random.default_rng(0)
    for resolution in (10, 25):
        whole = opened.read(["elevation"], None, resolution).reflectance[0]
        for _ in range(10):
            row, column = (int(random.integers(0, n - 40)) for n in whole.shape)
            window = Window(row, column, 37, 40)
            part = opened.read(["elevation"], window, resolution).reflectance[0]
            np.testing.assert_array_equal(part, whole[window.slices])


def test_integers_without_nodata_are_nothing_outside_of_the_raster(tmp_path):
    profile = {"count": 1, "dtype": "int16", "width": 50, "height": 50, "crs": GRID.crs}
    place = Affine(30, 0, 601_000, 0, -30, 5_299_500)
    with rasterio.open(
        tmp_path / "low.tif", "w", driver="GTiff", transform=place, **profile
    ) as out:
        out.write(np.zeros((1, 50, 50), np.int16))
    opened = with_auxiliary(scene(), {"elevation": tmp_path / "low.tif"})
    found = opened.read(["elevation"]).reflectance[0]
    assert (found[60:190, 110:240] == 0).all()
    assert np.isnan(found[:40]).all() and np.isnan(found[:, :90]).all()


def test_what_cannot_be_laid_on_a_scene_is_told(dem, tmp_path):
    with pytest.raises(MissingFileError, match="nowhere"):
        with_auxiliary(scene(), {"elevation": tmp_path / "nowhere.tif"})
    with pytest.raises(BandError, match="did you mean 'elevation'"):
        with_auxiliary(scene(), {"elevatoin": dem})
    nowhere = scene_from_array(np.ones((1, 50, 50), np.float32), "red")
    with pytest.raises(GridError, match="has no CRS"):
        with_auxiliary(nowhere, {"elevation": dem})


def test_a_model_that_needs_elevation_says_how_to_give_it(dem, tmp_path):
    bands = ("blue", "elevation", "red")
    model = load_model(write_toy(tmp_path / "alps.onnx", bands=bands, required=3))
    with pytest.raises(BandError, match="--auxiliary elevation=FILE"):
        mask_scene(scene(), model=model)
    mask = mask_scene(scene(), model=model, auxiliary={"elevation": dem}, threads=1)
    there = np.isfinite(with_auxiliary(scene(), {"elevation": dem}).read(["elevation"]).reflectance)
    np.testing.assert_array_equal(mask.classes != 255, there[0])


def test_the_command_takes_auxiliary_bands(dem, tmp_path):
    model = write_toy(tmp_path / "alps.onnx", bands=("red", "elevation"), required=1)
    path = write_raster(tmp_path / "scene.tif", grid=GRID)
    command = ["mask", str(path), "-o", str(tmp_path / "out"), "-m", str(model), "--no-picture"]
    options = ["--auxiliary", f"elevation={dem}"]
    done = CliRunner().invoke(app, command + options, catch_exceptions=False)
    assert done.exit_code == 0
    item = (tmp_path / "out" / "scene.json").read_text(encoding="utf-8")
    assert "elevation" in item and "dem.tif" in item
    with pytest.raises(Exception, match="--auxiliary is a band and a file"):
        CliRunner().invoke(app, [*command, "--auxiliary", "dem.tif"], catch_exceptions=False)
