"""The tile store: a zarr v3 group of tiles, and a table that says where each is from.

======================= ==========================================================================
in the folder           holds
======================= ==========================================================================
``image``               (tiles, bands, size, size) float16 reflectance, NaN = no data
``label``               (tiles, size, size) uint8 sets of classes, 0 = ignored
``statistics``          (samples, statistics, bands) float32 of each whole sample
``tiles.parquet``       a row a tile: `sample` (place in `statistics`), `id`, `group`, `folder`,
                        `split`, `sensor`, `level`, `date`, `tags` (JSON), `row`, `column`,
                        `valid` (share of pixels with data), a column a class (pixels whose label
                        allows it), `label_sets` (pixels of each label set)
``zarr.json``           attribute ``nubila``: tiling, bands, and what the store was made of
======================= ==========================================================================
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, SupportsIndex, overload

import numpy as np
from numpy.typing import NDArray

from nubila.errors import ManifestError, MissingExtraError, nearest
from nubila.tiles.cut import SETS

__all__ = ["TABLE", "VERSION", "Tile", "TileStore", "is_store", "open_store"]

VERSION: Final = 1
TABLE: Final = "tiles.parquet"
_GROUP: Final = "zarr.json"


@dataclass(frozen=True)
class Tile:
    """A tile, as training takes it.

    Attributes:
        image: (bands, size, size) float16 reflectance, NaN = no data or no such band.
        label: (size, size) uint8 sets of classes, 0 = ignored.
        statistics: (len(SCENE_STATISTICS), bands) float32 of the whole sample.
        id, folder, group, split, date: of the sample.
        corner: row and column of the first pixel in the sample.
    """

    image: NDArray[np.float16]
    label: NDArray[np.uint8]
    statistics: NDArray[np.float32]
    id: str
    folder: str
    group: str
    split: str
    date: str
    corner: tuple[int, int]


@dataclass(frozen=True, eq=False)
class TileStore(Sequence[Tile]):
    """Tiles on disk, read one by one; it may be pickled, and read after a fork.

    Attributes:
        path: the store's folder.
        bands: names in the order of the images.
        tiling: how it was cut, as the recipe's section says it.
        made_of: hash of the tiling, the bands and the samples' files.
        listing: what `origin.listing` gave of the samples; empty of an older store.
        table: column -> values, one a tile of the store, as `tiles.parquet` has them.
        statistics: (samples, len(SCENE_STATISTICS), bands) float32.
        chosen: places of this selection's tiles in the store.
    """

    path: Path
    bands: tuple[str, ...]
    tiling: dict[str, Any]
    made_of: str
    listing: dict[str, tuple[str, str]] = field(repr=False)
    table: dict[str, NDArray[Any]] = field(repr=False)
    statistics: NDArray[np.float32] = field(repr=False)
    chosen: NDArray[np.intp] = field(repr=False)
    _opened: dict[int, tuple[Any, Any]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.chosen)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Tile: ...
    @overload
    def __getitem__(self, index: slice) -> TileStore: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Tile | TileStore:
        if isinstance(index, slice):
            return self._selection(self.chosen[index])
        place = int(self.chosen[index])
        whole_images, whole_labels = self._arrays()
        image, label = whole_images[place], whole_labels[place]
        seen = self.table["valid"][place] > 0
        known = self.table["label_sets"][place, 1:].any()
        # zarr gives its fill value for a file that is gone. A few pixels rule that out at once.
        empty = np.isnan(image[:, ::16, ::16]).all() and np.isnan(image).all()
        if (seen and empty) or (known and not label.any()):
            raise ManifestError(
                f"{self.path}: a file of tile {place} is missing; copy the whole folder again, or "
                f"make it anew with: nubila data tile --refresh"
            )
        row = {name: self.table[name][place] for name in ("id", "folder", "group", "split", "date")}
        return Tile(
            image=image,
            label=label,
            statistics=self.statistics[self.table["sample"][place]],
            corner=(int(self.table["row"][place]), int(self.table["column"][place])),
            **row,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # Open files do not travel; a spawned worker opens its own.
        return _reopened, (self.path, self.chosen)

    @property
    def splits(self) -> dict[str, int]:
        """Split -> number of tiles in this selection."""
        names, counts = np.unique(self.column("split").astype(str), return_counts=True)
        return {str(n): int(c) for n, c in zip(names, counts, strict=True)}

    def select(self, split: str) -> TileStore:
        """Return the tiles of one split.

        Raises:
            ManifestError: there is none; the message names the splits that there are.
        """
        chosen = self.chosen[self.column("split") == split]
        if not len(chosen):
            known = [name for name in self.splits if name]
            raise ManifestError(
                f"{self.path}: no tile has split {split!r}{nearest(split, known)} (found: "
                f"{', '.join(known) or 'no split at all'})"
            )
        return self._selection(chosen)

    def column(self, name: str) -> NDArray[Any]:
        """Return a column of the table for the tiles of this selection."""
        return self.table[name][self.chosen]

    def label_sets(self) -> NDArray[np.int64]:
        """Return (tiles, 64) pixels of each label set, without reading any tile."""
        found: NDArray[np.int64] = self.column("label_sets").astype(np.int64)
        return found

    def _selection(self, chosen: NDArray[np.intp]) -> TileStore:
        return replace(self, chosen=chosen, _opened={})

    def _arrays(self) -> tuple[Any, Any]:
        # A forked worker shares no event loop with its parent, so each process opens its own.
        process = os.getpid()
        arrays = self._opened.get(process)
        if arrays is None:
            group = _open_group(self.path)
            arrays = self._opened[process] = group["image"], group["label"]
        return arrays


def is_store(path: str | Path) -> bool:
    """Tell whether there is a tile store at a path."""
    return (Path(path) / TABLE).is_file() and (Path(path) / _GROUP).is_file()


def open_store(path: str | Path) -> TileStore:
    """Open a tile store; pixels are read when a tile is asked for.

    Raises:
        ManifestError: there is no tile store, or one of another version.
        MissingExtraError: zarr or pyarrow is not installed.
    """
    path = Path(path)
    if not is_store(path):
        raise ManifestError(f"{path}: no tile store; make one with: nubila data tile")
    group = _open_group(path)
    about = group.attrs.get("nubila", {})
    if about.get("version") != VERSION:
        raise ManifestError(
            f"{path}: a tile store of version {about.get('version')}, expected {VERSION}; make it "
            f"again with: nubila data tile --refresh"
        )
    table = _read_table(path / TABLE)
    return TileStore(
        path=path.absolute(),
        bands=tuple(about["bands"]),
        tiling=about["tiling"],
        made_of=about["made_of"],
        listing={split: (one, two) for split, (one, two) in about.get("listing", {}).items()},
        table=table,
        statistics=np.asarray(group["statistics"][...], np.float32),
        chosen=np.arange(len(table["sample"])),
    )


def _open_group(path: Path) -> Any:  # noqa: ANN401 (zarr is optional)
    try:
        import zarr
    except ImportError as error:
        raise MissingExtraError("zarr", extra="train") from error
    return zarr.open_group(path, mode="r")


def _reopened(path: Path, chosen: NDArray[np.intp]) -> TileStore:
    return open_store(path)._selection(chosen)


def _read_table(path: Path) -> dict[str, NDArray[Any]]:
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", extra="train") from error
    table = parquet.read_table(path)
    columns = {
        name: np.asarray(table[name].to_numpy())
        for name in table.column_names
        if name != "label_sets"
    }
    flat = table["label_sets"].combine_chunks().flatten().to_numpy()
    columns["label_sets"] = np.asarray(flat).reshape(-1, SETS)
    return columns
