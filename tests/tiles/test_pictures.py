from __future__ import annotations

import numpy as np
from PIL import Image

from nubila.classes import COLOURS, class_set
from nubila.tiles import Tally
from nubila.tiles.chart import draw_tally
from nubila.tiles.sheet import Frame, contact_sheet, label_colours, true_colour


def frame(rows: int = 40, columns: int = 60) -> Frame:
    image = np.random.default_rng(1).random((3, rows, columns), np.float32)
    label = np.full((rows, columns), class_set(["clear"]), np.uint8)
    label[: rows // 2] = class_set(["cloud", "thin cloud"])
    return Frame("a caption " * 30, image, label, ("blue", "green", "red"))


def test_labels_take_the_colour_of_their_first_class_and_stripes_where_they_do_not_tell():
    label = np.zeros((64, 64), np.uint8)
    label[0], label[1] = class_set(["cloud", "thin cloud"]), class_set(["clear", "snow"])
    label[2] = class_set(["clear", "cloud"])
    picture = label_colours(label)
    assert set(map(tuple, picture[0])) == {COLOURS[1]}
    assert set(map(tuple, picture[1])) == {COLOURS[0]}
    assert set(map(tuple, picture[2])) == {COLOURS[0], COLOURS[1]}
    assert set(map(tuple, picture[3])) == {(150, 150, 150)}


def test_a_sheet_shows_image_label_and_overlay_of_each_frame():
    page = np.asarray(contact_sheet([frame(), frame(), frame()], side=60, across=2))
    assert page.shape == (2 * (60 + 24) + 30, 2 * (3 * 60 + 24), 3)
    label = page[18 : 18 + 40, 6 + 66 : 6 + 66 + 60]
    assert set(map(tuple, label[5])) == {COLOURS[1]} and set(map(tuple, label[35])) == {COLOURS[0]}
    image, overlay = page[18:58, 6:66], page[18:58, 138:198]
    np.testing.assert_array_equal(image[25:], overlay[25:])  # clear stays as it is
    assert (image[:15] != overlay[:15]).any(axis=-1).all()


def test_an_image_without_visible_bands_is_grey():
    image = np.stack([np.full((4, 4), np.nan), np.eye(4)]).astype(np.float16)
    picture = true_colour(image, ("red", "nir"))
    assert (picture[..., 0] == picture[..., 2]).all() and picture[0, 0, 0] > picture[0, 1, 0]


def test_a_chart_is_drawn_of_any_tally(tmp_path):
    for tally, name in ((Tally(), "empty.png"), (Tally(), "full.png")):
        tally.add_label(np.zeros(64, np.int64))
        if name == "full.png":
            for _ in range(2):
                tally.add(*(getattr(frame(), n) for n in ("image", "label", "bands")))
        draw_tally(tally, tmp_path / name, title="toy")
        assert Image.open(tmp_path / name).width > 800
