"""Filling a tile store: in parallel, in order, and so that a killed run can be gone on with.

Samples are cut side by side and put down in their order, a whole shard at a time, in a folder
beside the store's final name. A sample whose last tile is in a whole shard gets a line in the
journal; a run that is started again goes on behind the last line. The bytes of a store so depend
on what it is made of alone, not on workers or on breaks.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nubila.classes import CLASS_NAMES
from nubila.datasets import SampleSpec, load_sample
from nubila.errors import InputError, ManifestError, MissingExtraError, OutputError
from nubila.raster.atomic import filling, make_folder
from nubila.scenes.statistics import SCENE_STATISTICS
from nubila.tiles.cut import SETS, Cut, TilingPlan, allowed_pixels, cut_sample
from nubila.tiles.origin import listing, made_of, sample_date, samples_of_tiling, tiling_text
from nubila.tiles.parallel import map_in_order
from nubila.tiles.store import TABLE, VERSION, TileStore, is_store, open_store

__all__ = ["write_store"]

# Bytes of images a shard holds before compression: few files, and little to cut again after a kill.
_SHARD_BYTES: Final = 16 << 20
_JOURNAL: Final = "journal.jsonl"


def write_store(
    specs: Sequence[SampleSpec],
    path: str | Path,
    tiling: TilingPlan,
    *,
    bands: Sequence[str],
    required: Sequence[str] = (),
    workers: int | None = None,
    refresh: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> TileStore:
    """Cut samples into a tile store; one that is there already and fits is opened as it is.

    Args:
        specs: the samples; see `datasets.read_manifest`.
        path: the store's folder.
        tiling: see `nubila.recipe.data.Tiling`.
        bands: of the tiles, in this order; a band that a sample lacks is NaN.
        required: bands that every sample must have.
        workers: threads that cut; default one a processor. The result does not depend on it.
        refresh: replace a store that was made of other samples, tiling or bands.
        progress: called with the samples done and their number.

    Raises:
        ManifestError: a sample cannot be read or lacks a band, a group is in two splits, or no
            tile is left.
        OutputError: the folder holds something else, a store made otherwise (without `refresh`),
            or another process is filling it.
        MissingExtraError: zarr or pyarrow is not installed.
    """
    path = Path(path).absolute()
    chosen, splits = samples_of_tiling(specs, tiling)
    hash_ = made_of(chosen, tiling, bands, required)
    if (store := _store_at(path, hash_, refresh=refresh)) is not None:
        return store
    make_folder(path.parent)
    part = path.with_name(f".{path.name}.part")
    with _locked(part, path) as work, filling(path, part):
        filler = _Filler.start(work, hash_, (len(bands), tiling.size, tiling.size))
        cut_one = partial(_cut, tiling=tiling, bands=bands, required=required)
        for cut in map_in_order(cut_one, chosen[filler.samples :], workers):
            filler.add(cut)
            if progress is not None:
                progress(filler.samples, len(chosen))
        filler.finish()
        if not filler.tiles:
            raise ManifestError(
                f"{path}: none of {len(chosen)} samples gave a tile that tiling.least_valid and "
                f"tiling.least_share keep; lower them"
            )
        about = {"version": VERSION, "made_of": hash_, "tiling": tiling_text(tiling)}
        names = {"bands": list(bands), "required": list(required)}
        more = {"statistics": list(SCENE_STATISTICS), "listing": listing(chosen, splits)}
        filler.describe(chosen, splits, about | names | more)
        _put_in_place(work, path)
    return open_store(path)


def _store_at(path: Path, hash_: str, *, refresh: bool) -> TileStore | None:
    """Return the store at a path if it is made of the same; None where one is to be made."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return None
    if not is_store(path):
        raise OutputError(f"{path}: holds something that is no tile store; choose another folder")
    try:
        store = open_store(path)
    except InputError:
        if refresh:
            return None
        raise
    if store.made_of == hash_:
        return store
    if not refresh:
        raise OutputError(
            f"{path}: this tile store was made of other samples, bands or another tiling "
            f"({json.dumps(store.tiling)}); choose another folder, delete this one, or replace "
            f"it with: nubila data tile --refresh"
        )
    return None


@contextmanager
def _locked(work: Path, path: Path) -> Iterator[Path]:
    """Make the folder that is filled, for one process at a time."""
    work.mkdir(exist_ok=True)
    handle = os.open(work, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not work.exists() or os.fstat(handle).st_ino != work.stat().st_ino:
            raise BlockingIOError
        yield work
    except BlockingIOError as error:
        raise OutputError(f"{path}: another process is filling this tile store") from error
    finally:
        os.close(handle)


def _cut(
    spec: SampleSpec, tiling: TilingPlan, bands: Sequence[str], required: Sequence[str]
) -> Cut:
    try:
        return cut_sample(load_sample(spec), tiling, bands=bands, required=required)
    except ManifestError as error:
        if spec.manifest in str(error):
            raise
        raise spec.error("bands", str(error)) from error


@dataclass
class _Filler:
    """What is on disk so far, and the tiles that do not fill a shard yet.

    Attributes:
        folder: that of the store in the making.
        group: its zarr group.
        shard: tiles a shard.
        lines: of the samples that are cut, one a sample.
        noted: how many of them are in the journal.
        written: tiles on disk, a multiple of `shard` until the end.
        images, labels: tiles that wait for their shard to be full.
    """

    folder: Path
    group: Any
    shard: int
    lines: list[dict[str, Any]] = field(default_factory=list)
    noted: int = 0
    written: int = 0
    images: list[NDArray[np.float16]] = field(default_factory=list)
    labels: list[NDArray[np.uint8]] = field(default_factory=list)

    @classmethod
    def start(cls, folder: Path, hash_: str, shape: tuple[int, int, int]) -> _Filler:
        """Go on with what is in the folder if it is made of the same, else begin."""
        zarr = _zarr()
        shard = max(1, _SHARD_BYTES // (2 * int(np.prod(shape))))
        lines = _read_journal(folder / _JOURNAL, hash_)
        if lines is not None:
            filler = cls(folder, zarr.open_group(folder, mode="r+"), shard, lines, len(lines))
            filler._go_on()
            return filler
        for entry in folder.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        group = zarr.create_group(folder)
        for name, kind, tail, fill in (
            ("image", "float16", shape, float("nan")),
            ("label", "uint8", shape[1:], 0),
        ):
            group.create_array(
                name, shape=(0, *tail), dtype=kind, chunks=(1, *tail), shards=(shard, *tail),
                # Floats of similar size share their upper bytes, which shuffling brings together.
                compressors=zarr.codecs.BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"),
                fill_value=fill,
            )  # fmt: skip
        (folder / _JOURNAL).write_text(json.dumps({"made_of": hash_}) + "\n")
        return cls(folder, group, shard)

    @property
    def samples(self) -> int:
        """Samples that are cut."""
        return len(self.lines)

    @property
    def tiles(self) -> int:
        """Tiles that are cut."""
        return self.written + len(self.images)

    def add(self, cut: Cut) -> None:
        """Take the next sample's tiles."""
        self.images.extend(cut.images)
        self.labels.extend(cut.labels)
        self.lines.append(_line(cut, self.tiles))
        while len(self.images) >= self.shard:
            self._write(self.shard)
        self._note()

    def finish(self) -> None:
        """Write the tiles of the last shard, which need not be full."""
        if self.images:
            self._write(len(self.images))
        self._note()

    def describe(
        self, specs: Sequence[SampleSpec], splits: Sequence[str], about: dict[str, Any]
    ) -> None:
        """Write the samples' statistics, the table, and what the store is."""
        _write_table(self.folder / TABLE, specs, splits, self.lines)
        statistics = np.array([line["statistics"] for line in self.lines], np.float32)
        self.group.create_array(
            "statistics", data=statistics, chunks=statistics.shape, overwrite=True
        )
        self.group.attrs["nubila"] = about

    def _write(self, count: int) -> None:
        stop = self.written + count
        for name, waiting in (("image", self.images), ("label", self.labels)):
            array = self.group[name]
            if array.shape[0] < stop:
                array.resize((stop, *array.shape[1:]))
            array[self.written : stop] = np.stack(waiting[:count])
            del waiting[:count]
        self.written = stop

    def _note(self) -> None:
        """Write a line for each sample that is on disk whole."""
        whole = [line for line in self.lines[self.noted :] if line["end"] <= self.written]
        if whole:
            with (self.folder / _JOURNAL).open("a") as journal:
                journal.writelines(json.dumps(line) + "\n" for line in whole)
            self.noted += len(whole)

    def _go_on(self) -> None:
        """Take up the tiles of noted samples that begin a shard which was to be written again."""
        end = self.lines[-1]["end"] if self.lines else 0
        self.written = end // self.shard * self.shard
        for name, waiting in (("image", self.images), ("label", self.labels)):
            waiting.extend(self.group[name][self.written : end])


def _zarr() -> Any:  # noqa: ANN401 (zarr is optional)
    try:
        import pyarrow  # noqa: F401 (to fail before the work, not after it)
        import zarr
        import zarr.codecs
    except ImportError as error:
        raise MissingExtraError(error.name or "zarr", extra="train") from error
    return zarr


def _read_journal(path: Path, hash_: str) -> list[dict[str, Any]] | None:
    """Return the lines of a journal of the same store, without one that was cut off; else None."""
    try:
        written = path.read_text().splitlines(keepends=True)
    except FileNotFoundError:
        return None
    whole = [line for line in written if line.endswith("\n")]
    if not whole or json.loads(whole[0]).get("made_of") != hash_:
        return None
    if len(whole) < len(written):
        path.write_text("".join(whole))
    return [json.loads(line) for line in whole[1:]]


def _line(cut: Cut, end: int) -> dict[str, Any]:
    """Return what the journal keeps of a sample; `end` is the store's tile after its last."""
    sets = [{str(s): int(tile[s]) for s in np.flatnonzero(tile)} for tile in cut.sets]
    return {
        "end": end,
        "corners": cut.corners.tolist(),
        "valid": cut.valid.tolist(),
        "sets": sets,
        "statistics": cut.statistics.tolist(),
    }


def _write_table(
    path: Path, specs: Sequence[SampleSpec], splits: Sequence[str], lines: Sequence[dict[str, Any]]
) -> None:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    of = np.repeat(np.arange(len(specs)), [len(line["valid"]) for line in lines])
    sets = np.zeros((len(of), SETS), np.uint32)
    for row, tile in zip(sets, (t for line in lines for t in line["sets"]), strict=True):
        row[[int(s) for s in tile]] = list(tile.values())
    corners = np.array([c for line in lines for c in line["corners"]], np.int32).reshape(-1, 2)
    of_spec: dict[str, list[str]] = {
        name: [getattr(spec, name) for spec in specs]
        for name in ("id", "group", "folder", "sensor", "level")
    }
    of_spec["split"] = list(splits)
    of_spec["date"] = [sample_date(spec) for spec in specs]
    of_spec["tags"] = [json.dumps(dict(spec.tags), sort_keys=True) for spec in specs]
    allowed = allowed_pixels(sets)
    columns: dict[str, Any] = {"sample": arrow.array(of, arrow.int32())}
    columns |= {name: arrow.array([texts[i] for i in of]) for name, texts in of_spec.items()}
    columns |= {"row": corners[:, 0], "column": corners[:, 1]}
    columns["valid"] = np.array([v for line in lines for v in line["valid"]], np.float32)
    columns |= {name: allowed[:, code].astype(np.uint32) for code, name in CLASS_NAMES.items()}
    columns["label_sets"] = arrow.FixedSizeListArray.from_arrays(arrow.array(sets.ravel()), SETS)
    parquet.write_table(arrow.table(columns), path, compression="zstd")


def _put_in_place(work: Path, path: Path) -> None:
    """Bring everything to the disk and give the folder its name."""
    for file in work.rglob("*"):
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
    (work / _JOURNAL).unlink()
    old = path.with_name(f".{path.name}.old")
    if old.exists():
        shutil.rmtree(old)
    if path.exists():
        path.replace(old)
    work.replace(path)
    shutil.rmtree(old, ignore_errors=True)
