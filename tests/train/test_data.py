from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from torch.utils.data import DataLoader

from nubila.errors import ManifestError, RecipeError
from nubila.recipe import Recipe, load_recipe
from nubila.recipe.data import Tiling
from nubila.scenes.statistics import SCENE_STATISTICS
from nubila.tiles import write_store
from nubila.train.data import Chips, Labelled, check_leakage, load_split
from nubila.train.odds import image_weights, tell_named
from nubila.train.samples import (
    TileSamples,
    check_bands,
    class_shares,
    folders,
)

_PLAIN = {
    "turn": False, "zoom": 1, "full_bands": 1, "gain": 0, "band_gain": 0, "band_offset": 0,
    "haze": 0, "saturate": 0, "noise": 0, "tear": 0,
}  # fmt: skip


def _recipe(**changes: object) -> Recipe:
    data = {"manifest": "any.csv", "root": "."} | changes.pop("data", {})  # type: ignore[operator]
    values = {"steps": 10, "batch": 4, "chip": 32, "seed": 5, "augment": _PLAIN, "data": data}
    return Recipe.model_validate(values | changes)


def _samples(count: int, label: int = 1, size: int = 40) -> list[Labelled]:
    """Samples whose reflectance tells their number."""
    return [
        Labelled(
            np.full((7, size, size), i / 256, np.float16),
            np.full((size, size), label, np.uint8),
            f"folder{i}",
            f"group{i}",
            id=f"folder{i}/image{i}",
        )
        for i in range(count)
    ]


def _numbers(chips: Chips, count: int) -> list[int]:
    return [round(float(chips[i].image[0, 0, 0]) * 256) for i in range(count)]


def test_a_chip_depends_on_its_number_alone(toy: Path) -> None:
    recipe = load_recipe(toy)
    real = load_split(recipe, "train")
    first, second = Chips(recipe, real, []), Chips(recipe, real, [])
    wanted = first[7]
    _ = second[3]
    for one, other in zip(wanted, second[7], strict=True):
        np.testing.assert_array_equal(one, other)


_EVERYTHING = {
    "rotate": 0.5, "scale": 0.1, "elastic": 3, "grid": 0.2, "optical": 0.1, "drop_band": 0.3,
    "gamma": 0.1, "cirrus": 0.4, "blur": 1, "sharpen": 1, "erase": 0.4, "cutmix": 0.3,
    "chessmix": 0.3, "mosaic": 0.3, "paste_clouds": 0.5,
}  # fmt: skip


def test_chips_of_all_augmentations_are_the_same_in_any_worker() -> None:
    random = np.random.default_rng(0)
    real = []
    for i in range(4):
        label = np.kron(random.choice([1, 2, 4, 6], (8, 8)), np.ones((8, 8))).astype(np.uint8)
        image = np.where(label == 1, 0.1, 0.6) * np.ones((7, 1, 1)) + random.normal(
            0, 0.01, (7, 64, 64)
        )
        image[:, :9, :9], label[:9, :9] = np.nan, 0
        real.append(Labelled(image.astype(np.float16), label, "f", f"{i}"))
    recipe = _recipe(
        augment=_EVERYTHING, classes={"clear": ["clear"], "cloud": ["cloud", "thin cloud"]}
    )
    chips = Chips(recipe, real, [], ("p2", "p98"))
    loaders = [DataLoader(chips, batch_size=4, sampler=range(16), num_workers=n) for n in (0, 2)]
    varied = set()
    for one, other in zip(*loaders, strict=True):
        for a, b in zip(one, other, strict=True):
            assert torch.equal(a.nan_to_num(-1), b.nan_to_num(-1))
        assert one.image.shape == (4, 7, 32, 32) and one.image.dtype == torch.float32
        assert one.label.shape == (4, 32, 32) and one.label.dtype == torch.uint8
        assert one.statistics.shape == (4, 2, 7) and one.statistics.dtype == torch.float32
        assert int(one.label.max()) <= 3
        empty = one.image.isnan().all(dim=1)
        assert (one.label[empty] == 0).all()
        varied |= set(one.label.flatten(1).float().mean(dim=1).tolist())
    assert len(varied) > 12


def test_statistics_are_those_of_the_whole_scene() -> None:
    random = np.random.default_rng(0)
    image = random.uniform(0, 1, (7, 50, 60)).astype(np.float16)
    image[4], image[:, :5] = np.nan, np.nan
    sample = Labelled(image, np.ones((50, 60), np.uint8), "f")
    found = Chips(_recipe(), [sample], [], ("p2", "maximum"))[0].statistics
    expected = np.nanpercentile(image[:4].astype(float), 2, axis=(1, 2))
    np.testing.assert_allclose(found[0, :4], expected, rtol=1e-3)
    np.testing.assert_allclose(found[1, :4], np.nanmax(image[:4], axis=(1, 2)), rtol=1e-3)
    assert np.isnan(found[:, 4]).all()
    assert Chips(_recipe(), [sample], [])[0].statistics.shape == (0, 7)
    kept = np.arange(42, dtype=np.float32).reshape(6, 7)
    tile = Labelled(image, sample.label, "f", statistics=kept)
    given = Chips(_recipe(), [tile], [], ("p98", "mean"))[0].statistics
    np.testing.assert_array_equal(given[:, :4], kept[[3, 4], :4])


def test_a_band_that_is_dropped_has_no_statistics() -> None:
    recipe = _recipe(augment=_PLAIN | {"full_bands": 0})
    chips = Chips(recipe, _samples(1), [], ("mean",))
    dropped = 0
    for i in range(8):
        image, _, statistics = chips[i]
        lacks = np.isnan(image).all(axis=(1, 2))
        np.testing.assert_array_equal(np.isnan(statistics[0]), lacks)
        dropped += int(lacks.any())
    assert dropped


def test_labels_become_sets_of_outputs() -> None:
    classes = {"clear": ["clear", "snow", "water"], "cloud": ["cloud", "thin cloud"]}
    for label, outputs in ((1, 1), (6, 2), (3, 3), (8, 0)):
        chips = Chips(_recipe(classes=classes), _samples(1, label), [])
        assert set(np.unique(chips[0].label)) == {outputs}


def test_folders_are_drawn_by_their_weights() -> None:
    recipe = _recipe(data={"weights": {"folder0": 3, "folder2": 0}})
    drawn = np.bincount(_numbers(Chips(recipe, _samples(3), []), 400), minlength=3)
    assert drawn[2] == 0 and 2.2 < drawn[0] / drawn[1] < 4.2


def test_images_are_drawn_by_what_their_names_begin_with() -> None:
    images = [replace(s, folder="all", id=f"all/{i // 2}_{i}") for i, s in enumerate(_samples(5))]
    weights = {"all": 1, "all/0": 0, "all/0_1": 9, "all/2": 3}
    assert image_weights("data.weights", weights, images).tolist() == [0, 9, 1, 1, 3]
    drawn = np.bincount(_numbers(Chips(_recipe(data={"weights": weights}), images, []), 400))
    assert drawn[0] == 0 and 4.5 < drawn[1] / drawn[2] < 18
    told: list[str] = []
    tell_named("data.weights", weights | {"all/9": 2}, images, told.append)
    assert [line.split(": ")[1] for line in told] == [
        "all/0 is of 2 training images", "all/0_1 is of 1 training image",
        "all/2 is of 1 training image", "all/9 is of no training images",
    ]  # fmt: skip


def test_a_folder_is_shown_at_each_of_its_brightnesses() -> None:
    recipe = _recipe(data={"gains": {"folder1": [1.0, 2.0]}})
    chips = Chips(recipe, _samples(2)[1:], [])
    seen = [float(chips[n].image[0, 0, 0] * 256) for n in range(40)]
    assert set(seen) == {1.0, 2.0}
    assert 10 < seen.count(2.0) < 30
    other = Chips(_recipe(data={"gains": {"folder1": [3.0]}}), _samples(2), [])
    assert {float(other[n].image[0, 0, 0] * 256) for n in range(40)} == {0.0, 3.0}
    with pytest.raises(ManifestError, match="'folder3'; did you mean 'folder1'"):
        Chips(_recipe(data={"gains": {"folder3": [3.0]}}), _samples(2)[1:], [])


def test_clouds_that_are_pasted_have_a_brightness_of_their_folder_too() -> None:
    sample = _samples(2)[1]
    sample.label[:20] = 2
    augment = {**_PLAIN, "cutmix": 1.0}
    chips = Chips(_recipe(data={"gains": {"folder1": [1.0, 4.0]}}, augment=augment), [sample], [])
    kinds = {tuple(np.unique(chips[n].image[0] * 256)) for n in range(40)}
    assert (1.0, 4.0) in kinds


def test_weights_of_zero_leave_nothing(toy: Path) -> None:
    recipe = load_recipe(toy, ["data.weights={places: 0}"])
    with pytest.raises(ManifestError, match="weight 0"):
        Chips(recipe, load_split(recipe, "train"), [])


def test_a_source_that_is_left_out_gives_no_clouds_to_paste_either() -> None:
    clear, cloudy = _samples(1, label=1)[0], _samples(1, label=1)[0]
    cloudy = Labelled(cloudy.image, cloudy.label.copy(), "elsewhere")
    cloudy.label[:20] = 2
    recipe = _recipe(data={"weights": {"elsewhere": 0}}, augment=_PLAIN | {"paste_clouds": 1})
    chips = Chips(recipe, [clear, cloudy], [])
    assert all((chips[number].label & 2 == 0).all() for number in range(50))
    both = Chips(_recipe(augment=_PLAIN | {"paste_clouds": 1}), [clear, cloudy], [])
    assert any((both[number].label & 2 != 0).any() for number in range(50))


def test_a_favoured_class_is_drawn_more_often() -> None:
    real = [*_samples(1), *_samples(2, label=16)[1:]]
    real.append(Labelled(np.full((7, 40, 40), 2 / 256, np.float16), real[0].label.copy(), "f"))
    real[2].label[:20] = 1 | 16  # half of the pixels may be snow, so a quarter counts
    np.testing.assert_allclose(class_shares(real)["snow"], [0, 1, 0.25])
    recipe = _recipe(data={"favour": {"snow": 4}})
    drawn = np.bincount(_numbers(Chips(recipe, real, []), 800), minlength=3) / 800
    np.testing.assert_allclose(drawn, np.array([1, 5, 2]) / 8, atol=0.06)


def test_a_subset_is_drawn_anew_each_cycle_and_seen_once() -> None:
    chips = Chips(_recipe(data={"subset": 6}), _samples(20), [])
    drawn = np.array(_numbers(chips, 60)).reshape(10, 6)
    assert all(len(set(cycle)) == 6 for cycle in drawn)
    assert len({frozenset(cycle) for cycle in drawn.tolist()}) == 10
    again = Chips(_recipe(data={"subset": 6}), _samples(20), [])
    assert [round(float(again[i].image[0, 0, 0]) * 256) for i in (59, 3)] == [
        drawn[9, 5],
        drawn[0, 3],
    ]
    everything = Chips(_recipe(data={"subset": 20}), _samples(20), [])
    assert sorted(_numbers(everything, 20)) == list(range(20))
    with pytest.raises(RecipeError, match="subset is 6, but there are 5"):
        Chips(_recipe(data={"subset": 6}), _samples(5), [])


def test_a_group_on_both_sides_is_an_error() -> None:
    samples = _samples(4)
    check_leakage(samples[:2], samples[2:])
    with pytest.raises(ManifestError, match="group 'group1' and 1 more is in the training and in"):
        check_leakage(samples[:3], samples[1:])
    nameless = [Labelled(s.image, s.label, "f") for s in samples]
    check_leakage(nameless, nameless)


def test_bands_go_to_their_place_and_a_required_one_is_missed(toy: Path) -> None:
    recipe = load_recipe(toy, ["bands=[coastal, red, blue, green]"])
    plain, other = (load_split(r, "train")[0].image for r in (load_recipe(toy), recipe))
    assert np.isnan(other[0]).all()
    np.testing.assert_array_equal(other[1:], plain[[2, 0, 1]])
    with pytest.raises(ManifestError, match=r"image0: band coastal is absent"):
        load_split(recipe.model_copy(update={"required": ("coastal",)}), "train")


_FOUR = ["bands=[blue, green, red, nir]"]


def _store(toy: Path) -> Recipe:
    """The toy's recipe with a tile store of its samples, of other bands in another order."""
    from nubila.datasets import read_manifest

    recipe = load_recipe(toy, _FOUR)
    path = toy.parent / "store"
    specs = read_manifest(recipe.data.manifest)
    tiling = Tiling(size=48)
    write_store(specs, path, tiling, bands=("red", "nir", "green", "blue"), workers=1)
    data = recipe.data.model_copy(update={"tiles": path})
    return recipe.model_copy(update={"data": data, "tiling": tiling})


def test_tiles_of_a_store_are_samples_like_any_other(toy: Path) -> None:
    recipe = _store(toy)
    tiles = load_split(recipe, "train")
    whole = load_split(load_recipe(toy, _FOUR), "train")
    assert isinstance(tiles, TileSamples) and len(tiles) == 2 * 2 * 3
    assert folders(tiles) == ["places"] * 12 and set(tiles.groups) == {"place0", "place1"}
    assert [tile.id for tile in tiles] == tiles.ids and "/" in tiles.ids[0]
    weights = image_weights("data.weights", {"places": 2.0, tiles.ids[0]: 5.0}, tiles)
    assert weights.tolist() == [5.0 if name == tiles.ids[0] else 2.0 for name in tiles.ids]
    first = pickle.loads(pickle.dumps(tiles))[0]
    np.testing.assert_array_equal(first.image, whole[0].image[:, :48, :48])
    np.testing.assert_array_equal(first.label, whole[0].label[:48, :48])
    np.testing.assert_allclose(
        first.scene_statistics(SCENE_STATISTICS),
        whole[0].scene_statistics(SCENE_STATISTICS),
        rtol=2e-3,
    )
    shares = class_shares(tiles)
    expected = class_shares([tiles[i] for i in range(len(tiles))])
    for name, share in shares.items():
        np.testing.assert_allclose(share, expected[name], rtol=1e-6)
    chips = Chips(recipe, tiles, [], ("mean",))
    assert chips[0].image.shape == (4, 48, 48) and chips[0].statistics.shape == (1, 4)
    check_leakage(tiles, load_split(recipe, "validation"))


def test_errors_of_a_store_name_what_is_there(toy: Path) -> None:
    recipe = _store(toy)
    with pytest.raises(ManifestError, match=r"no tile has split 'tests' .*train, validation"):
        load_split(recipe, "tests")
    with pytest.raises(ManifestError, match="band swir16 is absent"):
        load_split(recipe.model_copy(update={"required": ("swir16",)}), "train")
    with pytest.raises(ManifestError, match=r"was cut with tiling.size 48, not 64; .*--refresh"):
        load_split(recipe.model_copy(update={"tiling": Tiling(size=64)}), "train")


def test_a_store_that_is_not_there_is_filled(toy: Path) -> None:
    recipe = load_recipe(toy, ["data.tiles=made", "tiling.size=48", "tiling.overlap=8"])
    tiles = load_split(recipe, "train")
    assert isinstance(tiles, TileSamples) and tiles[0].image.shape == (7, 48, 48)
    assert (toy.parent / "made" / "tiles.parquet").is_file()


def test_rows_without_a_split_are_dealt_out_by_group(toy: Path) -> None:
    manifest = toy.parent / "toy.csv"
    text = manifest.read_text().replace(",train,", ",,").replace(",validation,", ",,")
    manifest.write_text(text)
    recipe = load_recipe(toy, ["tiling.splits={train: 0.6, validation: 0.4}"])
    train, held_back = (load_split(recipe, split) for split in ("train", "validation"))
    assert len(train) + len(held_back) == 3 and len(train) and len(held_back)
    check_leakage(train, held_back)
    with pytest.raises(
        ManifestError, match=r"no row has split 'test' \(found: train, validation\)"
    ):
        load_split(recipe, "test")


def test_a_collection_is_read_by_its_name(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nubila.datasets import read_manifest
    from nubila.train import samples

    asked = []

    def read(name: str, root: Path, split: str) -> object:
        asked.append((name, root, split))
        return read_manifest(toy.parent / "toy.csv", split=split)

    monkeypatch.setattr(samples, "read_collection", read)
    data = {"manifest": None, "dataset": "cloud38"}
    recipe = load_recipe(toy)
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update=data)})
    assert len(load_split(recipe, "validation")) == 1
    assert asked == [("cloud38", toy.parent.resolve(), "validation")]


def test_a_band_that_no_image_has_is_named() -> None:
    recipe = _recipe(bands=("blue", "green", "red", "nir"))
    image = np.zeros((4, 16, 16), np.float16)
    lacking = image.copy()
    lacking[3] = np.nan
    label = np.ones((16, 16), np.uint8)
    samples = [Labelled(lacking, label, "places"), Labelled(image, label, "places")]
    check_bands(recipe, samples)
    with pytest.raises(ManifestError, match=r"no training image has data in band nir;"):
        check_bands(recipe, samples[:1], [])


def _as_before_contents_counted(store: Path) -> None:
    for path in store.rglob("zarr.json"):
        path.write_text(path.read_text().replace("sha256:", ""))


def test_a_store_of_what_is_no_longer_listed_is_not_trained_from(toy: Path) -> None:
    recipe = load_recipe(toy, ["data.tiles=made", "tiling.size=48"])
    load_split(recipe, "train")
    table = toy.parent / "toy.csv"
    before = table.read_text()
    table.write_text(before.replace("0=clear|water;1=cloud", "0=clear;1=cloud"))
    with pytest.raises(ManifestError, match="was cut from other samples or labels of split"):
        load_split(recipe, "train")
    # Neither another column nor the time of a file makes other tiles.
    head, *rows = before.splitlines()
    table.write_text("\n".join([f"{head},note", *(f"{row},x" for row in rows)]) + "\n")
    mask = toy.parent / "places/mask0.tif"
    mask.touch()
    load_split(recipe, "train")
    # A label painted over is another one, though its file is as large.
    drawn, size = mask.read_bytes(), mask.stat().st_size
    with rasterio.open(mask, "r+") as raster:
        raster.write(1 - raster.read())
    assert mask.stat().st_size == size
    with pytest.raises(ManifestError, match="was cut from other samples or labels of split"):
        load_split(recipe, "train")
    _as_before_contents_counted(toy.parent / "made")
    load_split(recipe, "train")  # of an older store the sizes are no hash of contents
    mask.write_bytes(drawn)
    load_split(recipe, "train")
    table.write_text(before.replace("1=cloud", "1=clowd"))
    with pytest.raises(ManifestError, match="clowd"):
        load_split(recipe, "train")
    table.unlink()  # a machine that has the tiles alone
    assert len(load_split(recipe, "train")) > 0


def test_a_folder_that_gets_odds_has_to_be_there(toy: Path) -> None:
    recipe = load_recipe(toy, ["data.weights={plaecs: 2}"])
    with pytest.raises(ManifestError, match=r"data.weights: .*'plaecs'; did you mean 'places'"):
        Chips(recipe, load_split(recipe, "train"), [])
    recipe = load_recipe(toy, ["data.weights={plaecs/0: 2}"])
    with pytest.raises(ManifestError, match=r"data.weights: .*'plaecs'; did you mean 'places'"):
        Chips(recipe, load_split(recipe, "train"), [])
    with pytest.raises(RecipeError, match="'places/' ends in a slash; give 'places'"):
        load_recipe(toy, ["data.weights={places/: 2}"])
