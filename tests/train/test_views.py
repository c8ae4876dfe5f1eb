from __future__ import annotations

import pickle
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from pydantic import ValidationError

from nubila.datasets import read_manifest
from nubila.detect import Detection, Output, View, open_detector
from nubila.errors import ManifestError, ModelError
from nubila.recipe import Recipe, load_recipe
from nubila.recipe.data import Tiling
from nubila.tiles import write_store
from nubila.train import fit
from nubila.train import views as views_module
from nubila.train.data import Chips, Labelled, load_split
from nubila.train.folder import check_same_recipe, write_recipe
from nubila.train.pool import synthetic_pool, view_pool
from nubila.train.samples import TileSamples
from nubila.train.views import ViewMaker, sampled_label

_OUTPUTS = (
    Output(0, ("clear", "snow", "water")),
    Output(1, ("cloud", "thin cloud")),
    Output(3, ("cloud shadow",)),
)
_VIEWS = {"chips": 3, "share": 0.5, "detectors": ["sure"]}


@dataclass
class _Sure:
    """Calls all of it one output, where a view has near infrared; keeps what it was shown."""

    place: int
    name: str = "sure"
    outputs: tuple[Output, ...] = _OUTPUTS
    shown: list[View] = field(default_factory=list)

    def lacks(self, view: View) -> str:
        return view.missing(("nir",))

    def detect(self, view: View) -> Detection:
        self.shown.append(view)
        found = np.zeros((3, *view.image.shape[1:]), np.float32)
        found[self.place] = 1
        return Detection(found, self.outputs)


@pytest.fixture
def sure(monkeypatch: pytest.MonkeyPatch) -> _Sure:
    """The detector of the recipes here, all cloud."""
    detector = _Sure(1)
    opened = {"sure": detector, "brightness": open_detector("brightness")}
    monkeypatch.setattr(views_module, "_opened", opened.__getitem__)
    return detector


def _recipe(**changes: object) -> Recipe:
    values = {
        "steps": 4,
        "batch": 2,
        "chip": 32,
        "seed": 3,
        "data": {"manifest": "any.csv", "root": "."},
        "views": _VIEWS,
    }
    return Recipe.model_validate(values | changes)


def _image(folder: str, *, bands: int = 7, value: float = 0.2) -> Labelled:
    random = np.random.default_rng(1)
    image = random.uniform(value, value + 0.1, (7, 64, 64)).astype(np.float16)
    image[bands:] = np.nan
    return Labelled(image, np.ones((64, 64), np.uint8), folder, folder, level="L1C")


def test_labels_are_drawn_by_the_probabilities() -> None:
    shares = np.array([0.5, 0.3, 0.2], np.float32)
    found = np.broadcast_to(shares[:, None, None], (3, 200, 200)).copy()
    found[:, :10] = np.nan
    label = sampled_label(Detection(found, _OUTPUTS), np.random.default_rng(0))
    assert not label[:10].any()
    counts = np.bincount(label[10:].ravel(), minlength=64)[[0b110001, 0b000110, 0b001000]]
    assert counts.sum() == label[10:].size
    # Four standard deviations of a share of 38,000 draws.
    np.testing.assert_allclose(counts / counts.sum(), shares, atol=0.01)


def test_a_certain_detector_leaves_nothing_to_chance() -> None:
    for place, bits in enumerate((0b110001, 0b000110, 0b001000)):
        found = np.zeros((3, 20, 20), np.float32)
        found[place] = 1
        label = sampled_label(Detection(found, _OUTPUTS), np.random.default_rng(place))
        assert set(np.unique(label)) == {bits}


def _made(maker: ViewMaker, number: int) -> tuple[np.ndarray, np.ndarray]:
    made = maker[number]
    assert isinstance(made, tuple)
    return made


@pytest.mark.usefixtures("sure")
def test_a_view_depends_on_its_number_and_leaves_the_images_alone() -> None:
    images = [_image("a"), _image("b", value=0.5)]
    before = [image.image.copy() for image in images]
    maker = ViewMaker.of(_recipe(), images)
    first = [_made(maker, number) for number in (0, 1, 2)]
    again = _made(ViewMaker.of(_recipe(), images), 1)
    np.testing.assert_array_equal(first[1][0], again[0])
    np.testing.assert_array_equal(first[1][1], again[1])
    assert first[0][0].shape == (7, 256, 256) and first[0][0].dtype == np.float16
    assert not np.array_equal(first[0][0], first[1][0], equal_nan=True)
    for image, kept in zip(images, before, strict=True):
        np.testing.assert_array_equal(image.image, kept)


@pytest.mark.usefixtures("sure")
def test_where_nothing_is_seen_there_is_no_label() -> None:
    # The image is smaller than a view: beyond it there is no data.
    image, label = _made(ViewMaker.of(_recipe(), [_image("a")]), 0)
    empty = np.isnan(image).all(axis=0)
    assert empty.any() and not empty.all()
    np.testing.assert_array_equal(label == 0, empty)


def test_a_detector_sees_the_view_as_it_is_kept_and_its_level(sure: _Sure) -> None:
    surface = replace(_image("b", value=0.5), level="L2A")
    maker = ViewMaker.of(_recipe(), [_image("a"), surface])
    kept = [_made(maker, number)[0] for number in range(8)]
    for image, view in zip(kept, sure.shown, strict=True):
        np.testing.assert_array_equal(image.astype(np.float32), view.image)
    assert {view.level for view in sure.shown} == {"L1C", "L2A"}


@pytest.mark.usefixtures("sure")
def test_images_that_no_detector_can_judge_are_passed_over() -> None:
    seen, rgb, unwanted, left_out = (_image("a"), _image("rgb", bands=3), _image("c"), _image("d"))
    data = {"manifest": "any.csv", "root": ".", "weights": {"d": 0}}
    recipe = _recipe(views=_VIEWS | {"weights": {"c": 0, "a": 3}}, data=data)
    maker = ViewMaker.of(recipe, [rgb, seen, unwanted, left_out])
    assert maker.odds.tolist() == [0, 1, 0, 0]
    with pytest.raises(ManifestError, match="sure can judge none of 1 training images: no nir"):
        ViewMaker.of(_recipe(), [rgb])
    with pytest.raises(ManifestError, match=r"every training image that .* has weight 0"):
        ViewMaker.of(recipe, [rgb, unwanted])
    misspelt = _recipe(views=_VIEWS | {"weights": {"fildA": 2}})
    with pytest.raises(ManifestError, match=r"views\.weights: no .* 'fildA'.*'fieldA'"):
        ViewMaker.of(misspelt, [_image("fieldA")])
    assert ViewMaker.of(misspelt, [_image("other source")]).odds.tolist() == [1]


@pytest.mark.usefixtures("sure")
def test_elevation_is_left_as_it_is() -> None:
    recipe = _recipe(bands=("blue", "green", "red", "nir", "elevation"))
    image = np.full((5, 300, 300), 0.3, np.float16)
    image[4] = 1.25  # kilometres
    sample = Labelled(image, np.ones((300, 300), np.uint8), "a", "a")
    maker = ViewMaker.of(recipe, [sample])
    views = [_made(maker, number)[0] for number in range(12)]
    assert any(np.abs(view[0] - np.float16(0.3)).max() > 0.05 for view in views)
    for view in views:
        np.testing.assert_allclose(view[4], 1.25, rtol=1e-3)


def test_views_are_made_once_for_the_same_images(tmp_path: Path) -> None:
    recipe = _recipe(views=_VIEWS | {"cache": tmp_path, "detectors": ["brightness"]})
    lines: list[str] = []
    images = [_image("a")]
    views = view_pool(recipe, images, lines.append)
    assert lines == [f"making 3 views in {tmp_path}, 0.0 GiB"]
    maker = ViewMaker.of(recipe, images)
    for number, view in enumerate(views):
        image, label = _made(maker, number)
        np.testing.assert_array_equal(view.image, image)
        np.testing.assert_array_equal(view.label, label)
    # Labels change no view.
    view_pool(recipe, [replace(images[0], label=np.full((64, 64), 2, np.uint8))], lines.append)
    assert len(lines) == 1
    # Another fold of a cross-validation must not get views of what it is scored on, and a level
    # says which network judges.
    view_pool(recipe, [_image("b", value=0.4)], lines.append)
    view_pool(recipe, [replace(images[0], level="L2A")], lines.append)
    assert len(lines) == 3 and len(list(tmp_path.glob("*-image.npy"))) == 3
    none = _recipe(views=recipe.views.model_dump() | {"share": 0.0})
    assert len(view_pool(none, images, lines.append)) == 0


def test_a_pool_travels_without_its_pixels(tmp_path: Path) -> None:
    pool = synthetic_pool(_recipe(synth={"chips": 2, "cache": tmp_path}), lambda _: None)
    _ = pool[0]
    travelled = pickle.dumps(pool[1:])
    assert len(travelled) < 1000
    np.testing.assert_array_equal(pickle.loads(travelled)[0].image, pool[1].image)


def test_an_error_while_views_are_made_comes_without_a_traceback(tmp_path: Path) -> None:
    # A tenth of the image has data, so that sooner or later 20 views in a row have none.
    big = np.full((7, 4000, 64), np.nan, np.float16)
    big[:, :440] = 0.3
    sample = Labelled(big, np.ones((4000, 64), np.uint8), "a", "a")
    views = {"chips": 40, "share": 0.5, "detectors": ["brightness"], "cache": tmp_path}
    with pytest.raises(ManifestError) as caught:
        list(view_pool(_recipe(views=views, seed=1), [sample], lambda _: None))
    assert str(caught.value).startswith("views: 20 views in a row lack")
    assert not list(tmp_path.iterdir())


def test_a_run_learns_from_views(toy: Path, tmp_path: Path) -> None:
    changes = ["steps=2", "validate_every=2", "views.chips=4", "views.share=1.0", "synth.share=0",
               "views.detectors=[all-cloud]", f"views.cache={tmp_path / 'views'}"]  # fmt: skip
    lines: list[str] = []
    fit(load_recipe(toy, changes), tmp_path / "run", resume=False, report=lines.append)
    assert any(line.startswith("making 4 views") for line in lines)
    assert any(line.endswith(", 4 views") for line in lines)


def test_a_wrong_detector_is_told_before_anything_is_read(toy: Path, tmp_path: Path) -> None:
    changes = ["views.chips=4", "views.share=0.5", "views.detectors=[ukis-csmsk]"]
    recipe = load_recipe(toy, changes)
    for image in toy.parent.rglob("*.tif"):
        image.write_bytes(b"no image")
    with pytest.raises(ModelError, match="no detector 'ukis-csmsk'"):
        fit(recipe, tmp_path / "run", resume=False, report=print)
    assert not (tmp_path / "run").exists()


def test_a_run_of_before_there_were_views_can_be_gone_on_with(toy: Path, tmp_path: Path) -> None:
    recipe = load_recipe(toy)
    write_recipe(recipe, tmp_path)
    written = tmp_path / "recipe.yaml"
    before = yaml.safe_load(written.read_text())
    del before["views"]
    written.write_text(yaml.safe_dump(before))
    check_same_recipe(recipe, tmp_path)


@pytest.mark.usefixtures("sure")
def test_an_image_of_which_the_first_tile_is_empty_is_judged_by_its_fullest(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    image = random.integers(1000, 3000, (4, 96, 96)).astype(np.uint16)
    image[:, :48, :48] = 0
    label = np.ones((96, 96), np.uint8)
    for name, values in (("image.tif", image), ("mask.tif", label[None])):
        size = {"height": 96, "width": 96, "count": len(values), "dtype": values.dtype}
        with rasterio.open(tmp_path / name, "w", driver="GTiff", **size) as file:
            file.write(values)
    (tmp_path / "one.csv").write_text(
        "image,mask,bands,scale,offset,nodata,codes,level,split,group\n"
        "image.tif,mask.tif,blue;green;red;nir,0.0001,0,0,1=clear,L1C,train,a\n"
    )
    store = write_store(
        read_manifest(tmp_path / "one.csv"), tmp_path / "store", Tiling(size=48), workers=1,
        bands=("blue", "green", "red", "nir"),
    )  # fmt: skip
    bands, required = ("blue", "green", "red", "nir"), ("blue", "green", "red")
    recipe = _recipe(bands=bands)
    tiles = TileSamples(store.select("train"), bands, required)
    assert tiles.valid.tolist() == [0, 1, 1, 1]
    data = {"manifest": tmp_path / "one.csv", "root": tmp_path}
    (whole,) = load_split(_recipe(bands=bands, data=data), "train")
    assert {tile.level for tile in tiles} | {whole.level} == {"L1C"}
    maker = ViewMaker.of(recipe, tiles)
    np.testing.assert_allclose(maker.odds, [0, 1 / 3, 1 / 3, 1 / 3])
    assert _made(maker, 0)[1].any()


def test_views_are_the_share_of_the_chips_that_was_asked_for() -> None:
    plain = {"turn": False, "zoom": 1, "full_bands": 1, "gain": 0, "band_gain": 0, "haze": 0,
             "band_offset": 0, "saturate": 0, "noise": 0, "tear": 0}  # fmt: skip
    recipe = _recipe(views=_VIEWS | {"share": 0.6}, synth={"chips": 1, "share": 0.1}, augment=plain)
    sources = [
        [Labelled(np.full((7, 32, 32), v, np.float16), np.ones((32, 32), np.uint8), "a")]
        for v in (0.25, 0.5, 0.75)
    ]
    real, synthetic, views = sources
    chips = Chips(recipe, real, synthetic, (), views)
    drawn = [float(chips[number].image[0, 0, 0]) for number in range(600)]
    shares = [drawn.count(value) / 600 for value in (0.25, 0.5, 0.75)]
    np.testing.assert_allclose(shares, [0.3, 0.1, 0.6], atol=0.08)


@pytest.mark.parametrize(
    ("views", "problem"),
    [
        ({"share": 0.5}, "share is 0.5 but chips is 0"),
        ({"chips": 2, "detectors": []}, "no detectors"),
        ({"chips": 2, "weights": {"a": -1}}, "weight -1.0 of 'a' is negative"),
        (_VIEWS | {"share": 0.9}, "expected a sum up to 1"),
    ],
)
def test_what_cannot_be_is_refused(views: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        _recipe(views=views, synth={"chips": 4, "share": 0.2})
