from dataclasses import replace

import numpy as np
import pytest

from nubila.classes import COLOURS
from nubila.infer.api import mask_scene
from nubila.infer.legend import make_legend
from nubila.infer.picture import Caption, draw_picture, stretch
from nubila.infer.statistics import Counter, Statistics
from nubila.models_io import load_model
from nubila.raster import Grid
from tests.infer.scenes import BANDS, GRID, scene
from tests.infer.toy import write_toy


def picture(values, image, **legend):
    counter = Counter((0, 1, 2, 3, 4, 5), 400.0)
    counter.add(values, (values == 255).astype(np.uint8))
    found = make_legend(**legend)
    return draw_picture(
        image=image,
        values=found.apply(values),
        legend=found,
        statistics=counter.statistics(),
        caption=Caption("S2A_" + "X" * 200, "details"),
    )


def test_image_and_mask_stand_side_by_side():
    values = np.ones((600, 500), np.uint8)
    values[300:] = 5
    image = np.zeros((3, 300, 250), np.float32)
    image[0] = 0.9  # all red
    page = np.asarray(picture(values, image))
    assert page.shape[1] == 2 * 500 + 3 * 24
    middle = page[24 + 64 + 100]
    left, right = middle[24 + 250], middle[2 * 24 + 500 + 250]
    assert left[0] > 200 and left[1] < 50
    assert tuple(right) == COLOURS[1]
    assert tuple(page[24 + 64 + 500, 2 * 24 + 500 + 250]) == COLOURS[5]


@pytest.mark.parametrize("shape", [(1, 1), (3, 2000), (2000, 3), (64, 64), (900, 900)])
def test_every_shape_can_be_drawn(shape):
    values = np.zeros(shape, np.uint8)
    page = picture(values, np.full((3, *shape), 0.2, np.float32))
    assert max(page.size) <= 2 * 900 + 3 * 24 + 300
    assert picture(values, None).size[0] > 0


def test_a_picture_of_no_data_and_of_other_codes():
    values = np.full((50, 60), 255, np.uint8)
    values[0, 0] = 1
    for legend in ({}, {"codes": "qa_pixel"}, {"codes": "scl"}, {"binary": True}):
        picture(values, np.full((3, 50, 60), np.nan, np.float32), **legend)


def test_stretch_keeps_dark_land_and_bright_cloud_apart():
    image = np.full((3, 100, 100), 0.05, np.float32)
    image[:, :50] = 0.12
    image[:, :10] = 0.8
    image[:, 99] = np.nan
    shown = stretch(image).astype(int)
    assert shown[0, 0, 0] > 230
    assert 60 < shown[30, 0, 0] < 180
    assert shown[60, 0, 0] < 40
    assert (shown[99] == 222).any()


def test_a_little_cloud_is_not_told_as_none(monkeypatch, tmp_path):
    said = []

    def spy(**arguments):
        said.append(arguments["caption"].details)
        return draw_picture(**arguments)

    monkeypatch.setattr("nubila.infer.picture.draw_picture", spy)
    model = load_model(write_toy(tmp_path / "toy.onnx", bands=BANDS))
    mask = mask_scene(scene(), model=model)
    for count, expected in ((18, "cloud < 0.1 %"), (0, "cloud 0.0 %"), (31_200, "cloud 31.2 %")):
        statistics = Statistics({0: 100_000 - count, 1: count}, {0: 100_000}, 400.0)
        replace(mask, statistics=statistics).write(tmp_path)
        assert expected in said[-1].split("  ·  ")


def test_the_caption_tells_platform_and_model_in_words(monkeypatch, tmp_path):
    said = []

    def spy(**arguments):
        said.extend(arguments["caption"].details.split("  ·  "))
        return draw_picture(**arguments)

    monkeypatch.setattr("nubila.infer.picture.draw_picture", spy)
    model = load_model(write_toy(tmp_path / "toy.onnx", bands=BANDS))
    mask = mask_scene(replace(scene(), platform="LANDSAT_7"), model=model)
    mask.write(tmp_path)
    assert {"Landsat 7", f"model {model.card.name}, version {model.card.version}"} <= set(said)


def test_a_mask_that_is_mostly_no_data_is_drawn_so_though_it_is_drawn_smaller(
    monkeypatch, tmp_path
):
    drawn = []

    def spy(**arguments):
        drawn.append(arguments["values"])
        return draw_picture(**arguments)

    monkeypatch.setattr("nubila.infer.picture.draw_picture", spy)
    model = load_model(write_toy(tmp_path / "toy.onnx", bands=BANDS))
    mask = mask_scene(scene(grid=Grid(GRID.crs, GRID.transform, (96, 1840))), model=model)
    rng = np.random.default_rng(0)
    classes = np.where(rng.random(mask.classes.shape) < 0.7, 255, 1).astype(np.uint8)
    replace(mask, classes=classes).write(tmp_path)
    assert drawn[0].shape == (47, 900)
    assert (drawn[0] == 255).mean() > 0.6
