from __future__ import annotations

import numpy as np
import pytest

from nubila.curate.predictions import Output
from nubila.curate.review.cache import Cache
from nubila.curate.review.images import band_choices, render
from nubila.curate.review.session import Review, prediction_sets
from nubila.errors import InputError, ManifestError
from tests.curate.review.conftest import COLUMNS, ROWS, Folder


def test_a_prediction_becomes_the_set_of_its_likeliest_output() -> None:
    outputs = [Output("clear", 0b110001), Output("cloud", 0b110)]
    values = np.array([[[0.7, 0.2, np.nan]], [[0.3, 0.8, 0.9]]], np.float32)
    assert prediction_sets(values, outputs).tolist() == [[0b110001, 0b110, 0]]


def test_a_single_output_says_what_is_not_it_too() -> None:
    values = np.array([[[0.5, 0.49, np.nan]]], np.float32)
    found = prediction_sets(values, [Output("cloud", 0b110)])
    assert found.tolist() == [[0b110, 0b111001, 0]]


def test_no_data_has_neither_label_nor_prediction(review: Review) -> None:
    prediction = review.prediction(0)
    assert prediction is not None
    assert not prediction[-3:].any() and prediction[:-3].all()
    assert review.prediction(3) is None


def test_keep_leaves_nothing_open(review: Review) -> None:
    assert [state.open for state in review.states()] == [True] * 4
    state = review.decide(1, "keep", why="good")
    assert not state.open
    assert state.decision is not None and state.decision.who == "anna"
    assert [state.open for state in review.states()] == [True, False, True, True]


def test_a_second_pass_shows_what_changed(folder: Folder, review: Review) -> None:
    for number in range(4):
        review.decide(number, "keep")
    review.store.close()
    mask = np.load(folder.path / "set/s001_mask.npy")
    mask[30, 30] = 1
    np.save(folder.path / "set/s001_mask.npy", mask)
    codes = np.zeros((ROWS, COLUMNS), np.intp)
    folder.predict(2, codes)  # clear all over, which it was not
    folder.predict(3, codes)  # the first one of this sample
    again = folder.review()
    assert [state.changed for state in again.states()] == [
        (), ("label",), ("prediction",), ("prediction",),
    ]  # fmt: skip
    again.decide(2, "keep")
    assert again.state(2).changed == ()


def test_a_prediction_that_says_the_same_is_no_news(folder: Folder, review: Review) -> None:
    review.decide(0, "keep")
    codes = np.zeros((ROWS, COLUMNS), np.intp)
    codes[:, 32:], codes[40:] = 1, 2
    codes[0, :5] = 1  # five pixels of 3072
    folder.predict(0, codes)
    assert folder.review().state(0).changed == ()


def test_a_file_written_anew_with_the_same_label_is_no_news(folder: Folder, review: Review) -> None:
    review.decide(0, "keep")
    path = folder.path / "set/s000_mask.npy"
    np.save(path, np.load(path).astype(np.int32))
    assert folder.review().state(0).changed == ()


def test_what_cannot_be_decided_is_said(review: Review) -> None:
    with pytest.raises(InputError, match="no prediction to use"):
        review.decide(3, "prediction")
    with pytest.raises(InputError, match="needs a mask"):
        review.decide(0, "fix")
    with pytest.raises(InputError, match="six classes"):
        review.decide(0, "fix", mask=np.full((ROWS, COLUMNS), 64, np.uint8))
    with pytest.raises(InputError, match="six classes"):
        review.keep_draft(0, np.zeros((3, 3), np.uint8))
    with pytest.raises(InputError, match="there are 4"):
        review.item(4)
    assert review.store.current() == {}


def test_a_prediction_of_another_size_is_refused(folder: Folder) -> None:
    folder.predict(0, np.zeros((10, 10), np.intp))
    with pytest.raises(InputError, match="predict anew"):
        folder.review().prediction(0)


def test_an_undone_decision_opens_its_sample(review: Review) -> None:
    assert review.undo() is None
    review.decide(2, "drop")
    found = review.undo()
    assert found is not None and found[0] == 2 and found[1].action == "drop"
    assert review.state(2).open


def test_composites_need_their_bands() -> None:
    assert list(band_choices(["blue", "green", "red"])) == ["true colour", "blue", "green", "red"]
    found = band_choices(["nir08", "red", "green", "swir16"])
    assert found["near infrared"] == ("nir08", "red", "green")
    assert found["short-wave infrared"] == ("swir16", "nir08", "red")
    assert "true colour" not in found


def test_a_stretch_maps_its_limits_to_black_and_white(review: Review) -> None:
    sample = review.sample(0)
    picture = render(sample, ("red", "green", "blue"), "ground")
    assert picture.shape == (ROWS, COLUMNS, 3)
    assert (picture[20:30, 25:40] == 255).all()  # 0.6 is above 0.4
    assert (picture[-3:] == 34).all()  # no data
    row, column = 5, 50
    expected = round(float(sample.image[sample.bands.index("red"), row, column]) / 0.4 * 255)
    assert abs(int(picture[row, column, 0]) - expected) <= 1
    grey = render(sample, ("nir",), "percentiles")
    assert grey.shape == (ROWS, COLUMNS) and grey[:-3].min() == 0 and grey.max() == 255
    for bands, stretch in ((("red", "nir"), "ground"), (("swir16",), "ground"), (("red",), "g")):
        with pytest.raises(InputError):
            render(sample, bands, stretch)


def test_a_cache_makes_room_and_forgets_errors() -> None:
    made: list[str] = []

    def make(key: str, size: int) -> bytes:
        made.append(key)
        return bytes(size)

    cache: Cache[bytes] = Cache(10, len)
    for key in ("a", "b", "a", "c", "a", "b"):
        cache.get(key, lambda key=key: make(key, 4))
    assert made == ["a", "b", "c", "b"]
    cache.get("big", lambda: make("big", 99))
    assert len(cache.get("big", lambda: make("big", 99))) == 99
    assert made.count("big") == 1

    def fail() -> bytes:
        raise ManifestError("damaged")

    for _ in range(2):
        with pytest.raises(ManifestError):
            cache.get("bad", fail)
    assert cache.get("bad", lambda: b"well") == b"well"


def test_a_sample_that_cannot_be_read_can_be_dropped(folder: Folder, review: Review) -> None:
    (folder.path / "set/s001_mask.npy").write_bytes(b"no array")
    with pytest.raises(ManifestError, match="cannot be decoded"):
        review.sample(1)
    assert not review.decide(1, "drop").open
    assert [state.open for state in folder.review().states()] == [True, False, True, True]
