import json

import numpy as np

from nubila.infer.statistics import Counter, Statistics, percent


def test_cover_is_over_the_valid_pixels_of_the_area():
    classes = np.array([[0, 1, 1, 2, 255], [4, 4, 4, 4, 4]], np.uint8)
    validity = np.array([[0, 0, 2, 0, 1], [0, 0, 0, 0, 0]], np.uint8)
    outside = np.array([[False] * 5, [True, True, True, True, False]])
    counter = Counter((0, 1, 2, 4), pixel_area=400.0)
    counter.add(classes[:1], validity[:1], outside[:1])
    counter.add(classes[1:], validity[1:], outside[1:])
    found = counter.statistics()
    assert (found.pixels, found.valid) == (6, 5)
    assert found.cover == {"clear": 20, "cloud": 40, "thin cloud": 20, "snow": 20}
    assert found.cloud_cover == 60
    assert found.snow_cover == 20
    assert found.validity[2] == 1
    assert Statistics.from_record(json.loads(json.dumps(found.record()))) == found


def test_a_class_that_the_model_does_not_tell_has_no_share():
    counter = Counter((0, 1), pixel_area=1.0)
    counter.add(np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.uint8))
    assert counter.statistics().snow_cover is None
    assert counter.statistics().cloud_cover == 0


def test_without_valid_pixels_nothing_is_covered():
    counter = Counter((0, 1, 2, 4), pixel_area=1.0)
    counter.add(np.full((2, 2), 255, np.uint8), np.ones((2, 2), np.uint8))
    found = counter.statistics()
    assert found.cover == {}
    assert found.cloud_cover is None and found.snow_cover is None


def test_percent():
    assert [percent(v) for v in (0, 0.01, 0.05, 31.24, 100)] == [
        "0.0 %", "< 0.1 %", "0.1 %", "31.2 %", "100.0 %"
    ]  # fmt: skip
