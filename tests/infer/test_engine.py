"""Errors, validity, and what the engine hands on; what tiles add up to is in `test_tiling`."""

import threading
import time
from dataclasses import replace
from functools import partial

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nubila.classes import Validity
from nubila.errors import (
    BandError,
    DamagedFileError,
    GridError,
    InputError,
    ModelError,
    OutputError,
)
from nubila.infer.api import mask_scene
from nubila.infer.engine import default_threads, run_scene
from nubila.models_io import CARD_KEY, Model, load_model
from nubila.raster import Window
from nubila.scenes.array import scene_from_array
from tests.infer.toy import BANDS, CLASSES, toy_card, write_toy
from tests.infer.whole import Collected, watched, whole_scene

PATIENCE = 20  # seconds; what these tests run takes far less than one


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(write_toy(tmp_path_factory.mktemp("model") / "toy.onnx"))


def make_scene(shape=(300, 100), bands=BANDS, seed=0, **options):
    values = np.random.default_rng(seed).uniform(0.01, 1, (len(bands), *shape))
    return scene_from_array(values.astype(np.float32), bands, name="my scene", **options)


def run(scene, model, **options):
    found = Collected()
    told = run_scene(scene, model, sink=found, **options)
    return found, told


def in_time(function):
    """Return what a function returns or raise what it raises; fail if it hangs."""
    result = []

    def call():
        try:
            result.append((function(), None))
        except BaseException as error:  # Ctrl-C too
            result.append((None, error))

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "the engine hangs"
    left = [t.name for t in threading.enumerate() if t.name.startswith("nubila")]
    assert not left, "workers are left behind"
    ((value, error),) = result
    if error is not None:
        raise error
    return value


class Failing:
    """A source that gives counts until `left` is used up and then raises."""

    def __init__(self, source, error, left):
        self._source, self._error, self._left = source, error, left
        self.name, self.shape, self.factors = source.name, source.shape, source.factors
        self.block = (16, source.shape[1])

    def read(self, factor, window):
        if not self._left:
            raise self._error()
        self._left.pop()
        return self._source.read(factor, window)


class FailingModel(Model):
    """A model whose n-th run raises."""

    calls = 0

    def run(self, reflectance, out=None, statistics=None):
        type(self).calls += 1
        if self.calls == self.session["after"] + 1:
            raise self.session["error"]()
        out[...] = 1 / out.shape[1]
        return out


class Odd(Exception):  # noqa: N818 (an error of someone else's)
    """An error with a constructor of its own."""

    def __init__(self, code, *, reason):
        super().__init__(f"{code}: {reason}")
        self.code = code


def assert_told(error, caught):
    """Hold that an error comes out as what it is, telling what it told and the scene's name."""
    told = error()
    assert type(caught) is type(told)
    assert str(told) in str(caught)
    assert "my scene" in str(caught) + "".join(getattr(caught, "__notes__", ()))
    assert caught.__cause__ is not caught


ERRORS = [
    partial(DamagedFileError, "B02.jp2: rows 0 to 16 cannot be decoded"),
    partial(DamagedFileError, "my scene/B02.jp2: cut short"),
    partial(ValueError, "of another library"),
    partial(Odd, 7, reason="odd"),
    partial(MemoryError, "no memory"),
]


def of_errors(*more):
    return pytest.mark.parametrize("error", [*ERRORS, *more], ids=lambda e: e.func.__name__)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("after", [0, 1, 5])
@of_errors()
def test_an_error_in_reading_comes_out(model, error, after, threads):
    left = [None] * after
    scene = make_scene((900, 100)).map_sources(lambda source: Failing(source, error, left))
    with pytest.raises(error.func) as caught:
        in_time(lambda: run(scene, model, tile=60, threads=threads))
    assert_told(error, caught.value)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("after", [0, 3])
@of_errors(partial(ModelError, "bad shape"))
def test_an_error_in_the_model_comes_out(model, error, after, threads):
    FailingModel.calls = 0
    failing = FailingModel(model.card, "m", "0", "cpu", {"error": error, "after": after})
    with pytest.raises(error.func) as caught:
        in_time(lambda: run(make_scene(), failing, tile=60, threads=threads))
    assert_told(error, caught.value)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("after", [0, 2])
@of_errors(partial(OutputError, "disk full"))
def test_an_error_in_the_sink_comes_out_and_no_strip_comes_after(model, error, after, threads):
    rows = []

    def sink(strip):
        rows.append(strip.row)
        if len(rows) == after + 1:
            raise error()

    with pytest.raises(error.func) as caught:
        in_time(lambda: run_scene(make_scene(), model, sink=sink, tile=60, threads=threads))
    assert_told(error, caught.value)
    assert len(rows) == after + 1


def test_an_error_in_the_progress_comes_out(model):
    def progress(done, total):
        raise OSError("broken pipe")

    with pytest.raises(OSError, match="broken pipe"):
        in_time(lambda: run(make_scene(), model, tile=60, progress=progress))


@pytest.mark.parametrize("threads", [1, 3])
def test_an_interruption_stops_the_run(model, threads):
    scene, log = watched(make_scene((20_000, 40), BANDS[:3]), block=(16, 40))

    def sink(strip):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_time(lambda: run_scene(scene, model, sink=sink, tile=60, threads=threads))
    assert max(window.stop_row for _, _, window in log) < 5000


def test_the_next_run_is_right_after_one_that_failed(model):
    scene = make_scene((90, 80))
    error = partial(DamagedFileError, "gone")
    broken = scene.map_sources(lambda source: Failing(source, error, []))
    with pytest.raises(DamagedFileError):
        in_time(lambda: run(broken, model, threads=2))
    found, _ = run(scene, model, probabilities="float32")
    np.testing.assert_array_equal(found.probabilities, whole_scene(scene, model))


def test_what_lacks_is_told_before_anything_is_read(model):
    scene, log = watched(make_scene(bands=("blue", "nir")))
    with pytest.raises(BandError, match=r"my scene.*green, red"):
        run(scene, model)
    assert not log


@pytest.mark.parametrize(
    "options", [{"threads": 0}, {"batch": 0}, {"tile": 0}, {"preview": -1}, {"threads": -3}]
)
def test_numbers_out_of_range_are_refused(model, options):
    (name, value), *_ = options.items()
    with pytest.raises(InputError, match=f"{name} {value}" if name != "preview" else "preview"):
        run(make_scene(), model, **options)


def test_a_threshold_for_an_unknown_class_is_refused_before_anything_is_read(model):
    scene, log = watched(make_scene())
    with pytest.raises(InputError, match="did you mean 'cloud'"):
        run(scene, model, thresholds={"clowd": 0.4})
    assert not log


def test_a_resolution_the_model_was_not_trained_on_is_noted(model):
    assert run(make_scene(resolution=10), model)[1].notes == ()
    assert run(make_scene(resolution=60), model)[1].notes == ()
    (note,) = run(make_scene(resolution=5), model)[1].notes
    assert "10 to 60 m" in note and "5 m" in note


def test_a_band_whose_absence_matters_is_noted(model):
    names = [use.name for use in model.card.bands]
    bands = [use.model_copy(update={"without": "sand is called cloud"}) for use in model.card.bands]
    told = replace(model, card=model.card.model_copy(update={"bands": tuple(bands)}))
    assert run(make_scene(), told)[1].notes == ()
    shown = [name for name in names if name != "nir"]
    (note,) = run(make_scene(bands=shown), told)[1].notes
    assert note == "without the band nir, sand is called cloud (model toy)"


def test_a_resolution_that_makes_no_sense_is_refused_before_anything_is_read(model):
    scene, log = watched(make_scene())
    for resolution in (1e9, 1e-3):
        with pytest.raises(GridError, match=r"my scene: .* from 1 m .* to 1000 m"):
            mask_scene(scene, model=model, resolution=resolution)
    assert not log


# Validity


def holes():
    """Each way in which a pixel can lack data, with three required and three optional bands."""
    values = np.random.default_rng(3).uniform(0.01, 1, (6, 40, 40)).astype(np.float32)
    values[:, 2, 3] = np.nan  # nothing
    values[:3, 4, 5] = np.nan  # nothing that is required
    values[1, 6, 7] = np.nan  # one required band lacks
    values[3:, 8, 9] = np.nan  # optional bands lack
    values[0, 10, 11] = np.inf  # no number
    values[2, 12, 13] = 1.5  # saturated
    values[4, 14, 15] = 1.5  # saturated, but not in a required band
    values[2, 16, 17], values[1, 16, 17] = 1.5, np.nan  # saturated where another lacks
    return values


def test_validity_goes_by_the_required_bands(model):
    scene = scene_from_array(holes(), BANDS, saturated=1.5)
    found, _ = run(scene, model, probabilities="float32")
    expected = np.full((40, 40), Validity.VALID)
    expected[2, 3] = expected[4, 5] = Validity.NO_DATA
    expected[6, 7] = expected[10, 11] = expected[16, 17] = Validity.NOT_JUDGED
    expected[12, 13] = Validity.SATURATED
    np.testing.assert_array_equal(found.validity, expected)
    blank = np.isin(expected, [Validity.NO_DATA, Validity.NOT_JUDGED])
    np.testing.assert_array_equal(found.classes == 255, blank)
    np.testing.assert_array_equal(np.isnan(found.probabilities).all(axis=0), blank)
    np.testing.assert_array_equal(np.isnan(found.probabilities).any(axis=0), blank)
    in_bytes, _ = run(scene, model, probabilities="uint8")
    np.testing.assert_array_equal((in_bytes.probabilities == 255).all(axis=0), blank)
    steps = in_bytes.probabilities[:, ~blank] * 0.004
    assert np.abs(steps - found.probabilities[:, ~blank]).max() <= 0.002 + 1e-6


def test_an_optional_band_that_is_not_there_is_nan_to_the_model(model):
    """As a band that is there and has no data anywhere."""
    values = np.random.default_rng(0).uniform(0, 1, (6, 60, 70)).astype(np.float32)
    values[4] = np.nan
    without, _ = run(
        scene_from_array(np.delete(values, 4, axis=0), [b for b in BANDS if b != BANDS[4]]),
        model,
        probabilities="float32",
    )
    empty, _ = run(scene_from_array(values, BANDS), model, probabilities="float32")
    np.testing.assert_array_equal(without.probabilities, empty.probabilities)
    full, _ = run(
        scene_from_array(np.nan_to_num(values, nan=0.5), BANDS), model, probabilities="float32"
    )
    assert (full.probabilities != empty.probabilities).any()


def write_odd(path):
    """Write a model that gives blue itself for cloud and 0.5 for all else: no number if it is."""
    card = toy_card(BANDS[:3], halo=0)
    values = np.full((1, len(CLASSES) - 1, 1, 1), 0.5, np.float32)
    parts = [
        ("start", np.int64([0])), ("stop", np.int64([1])), ("axis", np.int64([1])),
        ("zero", np.float32(0)), ("others", values), ("three", np.float32(3)),
    ]  # fmt: skip
    nodes = [
        helper.make_node("Slice", ["reflectance", "start", "stop", "axis"], ["blue"]),
        helper.make_node("Mul", ["blue", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "others"], ["rest"]),
        helper.make_node("Sub", ["three", "blue"], ["left"]),
        helper.make_node("Log", ["left"], ["cloud"]),
        helper.make_node("Concat", ["cloud", "rest"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "odd",
        [helper.make_tensor_value_info("reflectance", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 6, "h", "w"])],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in parts],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(made, {CARD_KEY: card.model_dump_json()})
    onnx.save(made, path)
    return path


def test_what_is_no_number_to_the_model_is_not_judged(tmp_path):
    """log(3 - blue) is NaN above 3 and infinite at 3."""
    values = np.ones((3, 20, 20), np.float32)
    values[0, 5, 6], values[0, 7, 8] = 4, 3
    model = load_model(write_odd(tmp_path / "odd.onnx"))
    found, _ = run(scene_from_array(values, BANDS[:3]), model, probabilities="float32")
    assert np.argwhere(found.validity == Validity.NOT_JUDGED).tolist() == [[5, 6], [7, 8]]
    assert np.argwhere(found.classes == 255).tolist() == [[5, 6], [7, 8]]
    assert np.isnan(found.probabilities[:, 5, 6]).all()
    assert np.isnan(found.probabilities[:, 7, 8]).all()
    assert (found.validity == Validity.VALID).sum() == 398


class CountingModel(Model):
    """Notes how many tiles each run takes."""

    def run(self, reflectance, out=None, statistics=None):
        self.session.append(len(reflectance))
        out[...] = 1 / out.shape[1]
        return out


@pytest.mark.parametrize("lacking", [slice(None), slice(1, 2)])
def test_a_tile_without_data_does_not_run_the_model(model, lacking):
    """Where there is nothing, or one required band lacks all over."""
    values = np.random.default_rng(0).uniform(0, 1, (3, 400, 60)).astype(np.float32)
    values[lacking, 100:] = np.nan
    counting = CountingModel(model.card, "m", "0", "cpu", [])
    found, _ = run(scene_from_array(values, BANDS[:3]), counting, tile=60)
    cores = [(s.row, s.row + len(s.classes)) for s in found.strips]
    assert len(cores) > 10
    assert len(counting.session) == sum(top < 100 for top, _ in cores)
    assert (found.classes[100:] == 255).all() and (found.classes[:100] != 255).all()


def test_tiles_go_through_the_model_in_batches(model):
    scene = make_scene((60, 400))
    counting = CountingModel(model.card, "m", "0", "cpu", [])
    found, _ = run(scene, counting, tile=60, batch=4, threads=1)
    tiles = sum(counting.session)
    assert max(counting.session) == 4
    assert len(counting.session) == len(found.strips) * -(-tiles // len(found.strips) // 4)


# What is handed on


@pytest.mark.parametrize(("longest", "factor"), [(1000, 1), (50, 6), (7, 43)])
def test_the_preview_is_the_mean_of_what_each_of_its_pixels_covers(model, longest, factor):
    window = Window(3, 5, 300, 90)
    scene = make_scene((310, 100))
    _, told = run(scene, model, window=window, tile=60, preview=longest)
    values = scene.read(("red", "green", "blue"), window).reflectance
    expected = np.empty((3, -(-300 // factor), -(-90 // factor)))
    for row in range(expected.shape[1]):
        for column in range(expected.shape[2]):
            part = values[
                :, row * factor : (row + 1) * factor, column * factor : (column + 1) * factor
            ]
            expected[:, row, column] = part.mean(axis=(1, 2), dtype=np.float64)
    np.testing.assert_allclose(told.preview, expected, rtol=1e-5)


def test_no_preview_where_none_is_wanted_or_can_be(model, tmp_path):
    assert run(make_scene(), model)[1].preview is None
    single = load_model(write_toy(tmp_path / "single.onnx", bands=BANDS[:1], required=1))
    assert run(make_scene(), single, preview=100)[1].preview is None


def test_progress_ends_with_all_and_never_goes_back(model):
    told = []
    run(make_scene(), model, tile=60, threads=2, progress=lambda *p: told.append(p))
    done = [n for n, _ in told]
    assert done == sorted(set(done)) and told[-1] == (30_000, 30_000)
    assert {total for _, total in told} == {30_000}


def test_the_grid_of_a_window_starts_at_its_corner(model):
    scene = make_scene(resolution=10)
    found, told = run(scene, model, window=Window(7, 9, 20, 30))
    assert told.grid == scene.grid.crop(Window(7, 9, 20, 30))
    assert found.classes.shape == found.validity.shape == (20, 30)
    assert found.strips[0].probabilities is None


def test_thresholds_reach_the_classes(model):
    scene = make_scene()
    found, _ = run(scene, model, thresholds={"snow": 0.0})
    assert (found.classes == 4).all()
    found, _ = run(scene, model, thresholds={name: 1.0 for name in CLASSES if name != "water"})
    assert (found.classes == 5).all()


def test_the_model_works_while_the_sink_is_busy(model):
    """The sink waits for the model to run once more; in turns, it would wait in vain."""
    counting = CountingModel(model.card, "m", "0", "cpu", [])
    last, strips, met = 10, [], []

    def sink(strip):
        strips.append(strip)
        limit = time.monotonic() + PATIENCE
        while len(counting.session) <= len(strips) <= last and time.monotonic() < limit:
            time.sleep(0.001)
        met.append(len(counting.session) > len(strips))

    scene = scene_from_array(np.ones((3, 600, 40), np.float32), BANDS[:3])
    run_scene(scene, counting, sink=sink, tile=60, threads=1)
    assert len(strips) > last + 5
    assert all(met[:last])


def test_threads_are_as_many_as_processors_by_default():
    assert default_threads() >= 1


def test_an_error_of_ours_keeps_its_class_and_gets_the_name_of_the_scene(model):
    scene = replace(make_scene(), path="/data/my scene")
    broken = scene.map_sources(lambda s: Failing(s, partial(DamagedFileError, "B02 cut short"), []))
    with pytest.raises(DamagedFileError, match=r"^/data/my scene: B02 cut short$"):
        in_time(lambda: run(broken, model))
