"""What chips are cut from: whole samples in memory, or the tiles of a store, read one by one."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, SupportsIndex, overload

import numpy as np
from numpy.typing import NDArray

from nubila.classes import CLASS_NAMES
from nubila.datasets import Sample, SampleSpec, load_sample, read_collection, read_manifest
from nubila.datasets.order import order_bands
from nubila.errors import ManifestError, nearest
from nubila.recipe import Recipe
from nubila.scenes.statistics import SCENE_STATISTICS, scene_statistics
from nubila.tiles.origin import BY_CONTENT, listing, samples_of_tiling
from nubila.tiles.split import assign_splits
from nubila.tiles.statistics import count_labels
from nubila.tiles.store import TileStore, is_store, open_store
from nubila.tiles.write import write_store

__all__ = [
    "Labelled",
    "TileSamples",
    "check_bands",
    "check_leakage",
    "check_tiles",
    "class_shares",
    "drop_stale_tiles",
    "fill_tiles",
    "folders",
    "image_ids",
    "load_split",
    "read_specs",
]

# Labels are sets of nubila's classes.
_SETS: Final = 1 << len(CLASS_NAMES)
_LEAK: Final = "scores would leak from one to the other. Give all images of a group one split."


@dataclass(frozen=True)
class Labelled:
    """A sample or a tile as the network takes it.

    Attributes:
        image: (bands, rows, columns) reflectance in half precision, NaN = no data or no such band.
        label: (rows, columns) uint8 sets of classes, 0 = ignored.
        folder: where it is from, for weights and scores.
        group: scene or place, which stays on one side of a split; empty for none.
        statistics: (len(SCENE_STATISTICS), bands) of the whole scene; None where `image` is it.
        sets: every set of classes that its label can hold, there or not; empty where not known.
        level: processing level (``L1C``, ``L2A``, ``L1TP`` ...); empty where nobody knows.
        id: name of the sample (of a tile, of what it was cut from); empty for what was made.
        unnamed: as `Sample.unnamed`; empty for a tile, which keeps no values of its mask.
    """

    image: NDArray[np.float16]
    label: NDArray[np.uint8]
    folder: str
    group: str = ""
    statistics: NDArray[np.float32] | None = None
    sets: tuple[int, ...] = ()
    level: str = ""
    id: str = ""
    unnamed: Mapping[int, float] = field(default_factory=dict)

    def scene_statistics(self, names: Sequence[str]) -> NDArray[np.float32]:
        """Return (len(names), bands) float32 statistics of the whole scene, NaN for no data."""
        if self.statistics is None:
            return scene_statistics(self.image, names)
        return self.statistics[[SCENE_STATISTICS.index(name) for name in names]]


class TileSamples(Sequence[Labelled]):
    """The tiles of a store in the order of a recipe's bands; pixels are read when asked for.

    Args:
        store: a selection of tiles.
        bands: wanted, in this order; those that the store lacks are NaN.
        required: those of them that the store must have.

    Attributes:
        levels: the processing level of each tile.
        valid: (tiles,) share of the pixels of each tile that have data.

    Raises:
        ManifestError: a required band is absent.
    """

    def __init__(self, store: TileStore, bands: Sequence[str], required: Sequence[str]) -> None:
        order_bands(np.empty((len(store.bands), 0, 0)), store.bands, bands, required)
        self._store, self._bands, self._required = store, tuple(bands), tuple(required)
        self.levels = [str(level) for level in store.column("level")]
        self.valid: NDArray[np.float32] = store.column("valid")

    def __len__(self) -> int:
        return len(self._store)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Labelled: ...
    @overload
    def __getitem__(self, index: slice) -> TileSamples: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Labelled | TileSamples:
        if isinstance(index, slice):
            return TileSamples(self._store[index], self._bands, self._required)
        tile = self._store[index]
        image, statistics = tile.image, tile.statistics
        if self._store.bands != self._bands:
            image = order_bands(image, self._store.bands, self._bands, self._required)
            by_band = statistics.T[:, :, None]
            ordered = order_bands(by_band, self._store.bands, self._bands, self._required)
            statistics = ordered[:, :, 0].T
        return Labelled(
            image,
            tile.label,
            tile.folder,
            tile.group,
            statistics,
            level=self.levels[index],
            id=tile.id,
        )

    @property
    def folders(self) -> list[str]:
        """The folder of each tile."""
        return [str(folder) for folder in self._store.column("folder")]

    @property
    def ids(self) -> list[str]:
        """The sample that each tile is of."""
        return [str(name) for name in self._store.column("id")]

    @property
    def groups(self) -> list[str]:
        """The group of each tile."""
        return [str(group) for group in self._store.column("group")]

    @property
    def label_sets(self) -> NDArray[np.int64]:
        """Pixels of each label set, (tiles, 64)."""
        return self._store.label_sets()


def load_split(recipe: Recipe, split: str) -> Sequence[Labelled]:
    """Return a split: the tiles of `data.tiles`, else all samples of it, read into memory.

    A tile store that is not there yet is filled first. One that is there is taken if it was cut as
    `tiling` says, from what is listed now; it may hold more bands, in another order. On a machine
    that has the tiles but not the list nothing is compared, without the files only the rows.
    Rows of a manifest without a split are dealt out by `tiling.splits`, as in a tile store.

    Raises:
        ManifestError: there is no such manifest, collection or split (the message names the splits
            found), a required band is absent, a file cannot be read, a group stands in two splits,
            or the tile store was cut in another way or from other samples.
    """
    if recipe.data.tiles is not None:
        if not is_store(recipe.data.tiles):
            fill_tiles(recipe, lambda _line: None)
        store = open_store(recipe.data.tiles)
        _check_store(store, recipe)
        _check_current(store, recipe, split)
        return TileSamples(store.select(split), recipe.bands, recipe.required)
    specs = read_specs(recipe, split)
    return [_labelled(load_sample(spec), spec.codes.all_sets, recipe) for spec in specs]


def read_specs(recipe: Recipe, split: str) -> Sequence[SampleSpec]:
    """Return what a recipe's manifest or collection lists for a split; no pixel is read.

    Raises:
        ManifestError: as `load_split`.
    """
    data, tiling = recipe.data, recipe.tiling
    if data.manifest is None:
        return read_collection(str(data.dataset), data.root, split)
    if not tiling.splits:
        return read_manifest(data.manifest, root=data.root, split=split)
    specs = read_manifest(data.manifest, root=data.root)
    splits = assign_splits(specs, tiling.splits, seed=tiling.seed)
    chosen = [spec for spec, own in zip(specs, splits, strict=True) if own == split]
    if not chosen:
        known = sorted(set(splits) - {""})
        raise ManifestError(
            f"{data.manifest}: no row has split {split!r}{nearest(split, known)} (found: "
            f"{', '.join(known) or 'no split at all'})"
        )
    return chosen


def fill_tiles(recipe: Recipe, report: Callable[[str], None]) -> Path | None:
    """Fill the tile store `data.tiles` as `tiling` says; one that is there and fits stays.

    Returns:
        The store, or None where the recipe has none.

    Raises:
        ManifestError, MissingExtraError, OutputError: as `tiles.write_store`.
    """
    data = recipe.data
    if data.tiles is None:
        return None
    store = write_store(
        _all_specs(recipe),
        data.tiles,
        recipe.tiling,
        bands=recipe.bands,
        required=recipe.required,
        workers=recipe.threads,
    )
    report(f"{len(store)} tiles in {data.tiles}")
    _say_classes(recipe, store, report)
    return data.tiles


def check_tiles(recipe: Recipe) -> None:
    """Check the tile store `data.tiles`, if it is there, against what is listed now.

    As `load_split` does of one split: rows and the contents of masks count. Files that were touched
    or copied are the same, and those that are not at hand are not asked for.

    Raises:
        ManifestError: the store was cut from other samples or labels.
    """
    path = recipe.data.tiles
    if path is not None and is_store(path):
        store = open_store(path)
        _check_current(store, recipe, *store.listing)


def drop_stale_tiles(recipe: Recipe, report: Callable[[str], None]) -> None:
    """Delete the tile store `data.tiles` where it was made of other samples than there are now.

    For stores that nubila made on its own beside a network; those of people stay.
    """
    path, data = recipe.data.tiles, recipe.data
    if path is None or not is_store(path):
        return
    if not _is_current(open_store(path), recipe, data.train, data.validation):
        report(f"{path}: was cut from other samples or labels; cut anew")
        shutil.rmtree(path)


def _all_specs(recipe: Recipe, *, present: bool = True) -> Sequence[SampleSpec]:
    data = recipe.data
    if data.manifest is None:
        return read_collection(str(data.dataset), data.root)
    return read_manifest(data.manifest, root=data.root, present=present)


def _check_current(store: TileStore, recipe: Recipe, *splits: str) -> None:
    if not _is_current(store, recipe, *splits):
        which = " or ".join(map(repr, splits))
        raise ManifestError(
            f"{store.path}: was cut from other samples or labels of split {which} than "
            f"{recipe.data.manifest or recipe.data.dataset} lists now; delete the folder, and "
            f"nubila fills it again, or name another data.tiles"
        )


def _is_current(store: TileStore, recipe: Recipe, *splits: str) -> bool:
    """Tell whether splits of a store are what is listed now, as far as that is at hand."""
    data = recipe.data
    place = data.root if data.manifest is None else data.manifest
    known = {split: store.listing[split] for split in splits if split in store.listing}
    if not known or not place.exists():
        return True
    now = listing(*samples_of_tiling(_all_specs(recipe, present=False), recipe.tiling))
    return all(
        split in now
        and now[split][0] == rows
        # An older store tells nothing of contents.
        and (now[split][1] in ("", labelled) or not labelled.startswith(BY_CONTENT))
        for split, (rows, labelled) in known.items()
    )


def _say_classes(recipe: Recipe, store: TileStore, report: Callable[[str], None]) -> None:
    """Report the share of each class in the pixels, and the weights that would make up for it."""
    tally = count_labels(store, recipe.classes)
    counts, weights = tally.counts(), tally.weights()
    total = max(1, sum(counts.values()))
    shares = ", ".join(f"{name} {100 * count / total:.1f} %" for name, count in counts.items())
    report(f"  pixels that are one class for sure: {shares}")
    for rule, by_class in weights.items():
        told = ", ".join(f"{name} {weight:.3g}" for name, weight in by_class.items())
        report(f"  class weights by {rule.replace('_', ' ')}: {told}")


def _labelled(sample: Sample, sets: tuple[int, ...], recipe: Recipe) -> Labelled:
    try:
        image = order_bands(sample.image, sample.bands, recipe.bands, recipe.required)
    except ManifestError as error:
        raise ManifestError(f"{sample.meta.id}: {error}") from error
    meta = sample.meta
    half = image.astype(np.float16)
    return Labelled(
        half,
        sample.label,
        meta.folder,
        meta.group,
        sets=sets,
        level=meta.level,
        id=meta.id,
        unnamed=sample.unnamed,
    )


def _check_store(store: TileStore, recipe: Recipe) -> None:
    wanted = recipe.tiling.model_dump(mode="json")
    other = {key: value for key, value in store.tiling.items() if wanted.get(key) != value}
    if other:
        said = ", ".join(
            f"{key} {value!r}, not {wanted.get(key)!r}" for key, value in other.items()
        )
        raise ManifestError(
            f"{store.path}: was cut with tiling.{said}; change the recipe, name another "
            f"data.tiles, or cut it anew with: nubila data tile --refresh"
        )
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for group, split in zip(store.column("group"), store.column("split"), strict=True):
        if group and split:
            splits[group].add(split)
    for group, among in splits.items():
        if len(among) > 1:
            both = " and ".join(sorted(among))
            raise ManifestError(f"{store.path}: group {group!r} is in splits {both}: {_LEAK}")


def check_leakage(train: Sequence[Labelled], validation: Sequence[Labelled]) -> None:
    """Raise where scores on one split would be of images that the other has seen.

    Raises:
        ManifestError: a group (scene or place) is in both.
    """
    both = sorted(set(_groups(train)) & set(_groups(validation)) - {""})
    if both:
        more = f" and {len(both) - 1} more" if len(both) > 1 else ""
        raise ManifestError(
            f"group {both[0]!r}{more} is in the training and in the validation split: {_LEAK}"
        )


def check_bands(recipe: Recipe, *sources: Sequence[Labelled]) -> None:
    """Raise where no image of any source has data in one of the recipe's bands.

    Such a band would be learnt as "always absent". Most often the first image settles it.

    Raises:
        ManifestError: names the bands.
    """
    lacking = np.ones(len(recipe.bands), bool)
    for sample in (sample for source in sources for sample in source):
        lacking &= np.isnan(sample.image[:, ::4, ::4]).all(axis=(1, 2))
        if not lacking.any():
            return
    names = [band for band, absent in zip(recipe.bands, lacking, strict=True) if absent]
    raise ManifestError(
        f"no training image has data in band{'s'[: len(names) > 1]} {', '.join(names)}; take "
        f"{'them' if len(names) > 1 else 'it'} out of the recipe's bands"
    )


def _groups(samples: Sequence[Labelled]) -> list[str]:
    return samples.groups if isinstance(samples, TileSamples) else [s.group for s in samples]


def image_ids(samples: Sequence[Labelled]) -> list[str]:
    """Return the name of the sample that each is of, without reading pixels of a tile store."""
    return samples.ids if isinstance(samples, TileSamples) else [s.id for s in samples]


def folders(samples: Sequence[Labelled]) -> list[str]:
    """Return the folder of each sample, without reading pixels of a tile store."""
    return samples.folders if isinstance(samples, TileSamples) else [s.folder for s in samples]


def class_shares(samples: Sequence[Labelled]) -> Mapping[str, NDArray[np.float64]]:
    """Return class -> (samples,) share of a sample's pixels that are of the class.

    A pixel whose label allows several classes counts for each in equal parts; one that is ignored
    counts for none.
    """
    if isinstance(samples, TileSamples):
        sets = samples.label_sets
    else:
        counts = [np.bincount(s.label.ravel(), minlength=_SETS)[:_SETS] for s in samples]
        sets = np.stack(counts)
    member = (np.arange(_SETS)[:, None] >> np.arange(len(CLASS_NAMES))) & 1
    part = member / np.maximum(member.sum(axis=1, keepdims=True), 1)
    shares = (sets @ part) / np.maximum(sets.sum(axis=1, keepdims=True), 1)
    return {name: shares[:, code] for code, name in CLASS_NAMES.items()}
