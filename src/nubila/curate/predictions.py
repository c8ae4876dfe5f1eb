"""Kept predictions: what any model or detector makes of samples, in a folder.

::

    predictions.json   what each output is
    predictions.csv    a row a sample: id, line, manifest, file, model, fold, decision, digest
    rasters/*.tif      a file a sample: one band an output, as `nubila mask --probabilities` has it

Each raster is written whole or not at all, and its row only once it is there; the table is only
ever added to, and a later row of a sample stands in for an earlier one. A raster by another model,
or of an image that has changed, has another name, and the earlier one goes once its row is out of
force. So a killed run goes on where it stopped, no row is ever told of another's pixels, and folds
may be predicted by processes side by side.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from threading import Lock
from typing import Any, Final

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from nubila._version import __version__
from nubila.classes import CLASS_NAMES, DecisionRule, class_set
from nubila.curate.origin import image_digest
from nubila.datasets import SampleSpec
from nubila.errors import InputError, NubilaError
from nubila.infer.decide import PROBABILITY_NO_DATA, PROBABILITY_SCALE, scale_probabilities
from nubila.infer.provenance import VERSION_TAG
from nubila.raster import Grid
from nubila.raster.atomic import atomic_path, make_folder
from nubila.raster.cog import CogLook, write_cog
from nubila.tiles.parallel import map_in_order

__all__ = [
    "Output",
    "PredictionRow",
    "PredictionWriter",
    "Predictions",
    "open_predictions",
    "raster_name",
]

_ABOUT: Final = "predictions.json"
_TABLE: Final = "predictions.csv"
_RASTERS: Final = "rasters"
_COLUMNS: Final = ("id", "line", "manifest", "file", "model", "fold", "decision", "digest")
_LATER: Final = ("decision", "digest")  # columns that earlier formats lack
_FORMAT: Final = 3  # 1: without digests; 2: with one decision for all, in predictions.json
_NAME_LENGTH: Final = 60


@dataclass(frozen=True)
class Output:
    """What a band of the predictions is the probability of.

    Attributes:
        name: of the output.
        classes: set of nubila's classes that count as it, bits as in `classes.class_set`.
    """

    name: str
    classes: int


@dataclass(frozen=True)
class PredictionRow:
    """A kept prediction.

    Attributes:
        id: of the sample, as in its manifest.
        line: of the manifest, 0 for none.
        manifest: where the sample is listed.
        file: of the raster, relative to the folder.
        model: what made it, weights and decision; a prediction is made anew when this changes.
        fold: the fold that was left out of the model's training, or empty.
        decision: how classes follow from the probabilities, as of `ModelCard.decision`.
        digest: of the image and how it was read, as `origin.image_digest` gives it; a prediction
            is made anew when this changes. Empty where nobody said.
    """

    id: str
    line: int
    manifest: str
    file: str
    model: str
    fold: str
    decision: DecisionRule = "class"
    digest: str = ""


class Predictions(Mapping[str, PredictionRow]):
    """The predictions of a folder by sample id; pixels are read when asked for.

    Attributes:
        folder: where they lie.
        outputs: what each band is the probability of.
    """

    def __init__(
        self, folder: Path, outputs: Sequence[Output], rows: Mapping[str, PredictionRow]
    ) -> None:
        self.folder, self.outputs = folder, tuple(outputs)
        self._rows = dict(rows)

    def __getitem__(self, sample_id: str) -> PredictionRow:
        return self._rows[sample_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def decision(self) -> DecisionRule:
        """How classes follow where one rule is wanted for all: by kind as soon as one does so."""
        return "kind" if any(row.decision == "kind" for row in self._rows.values()) else "class"

    def only(self, ids: Collection[str]) -> Predictions:
        """Return the predictions of some samples alone."""
        rows = {name: row for name, row in self._rows.items() if name in ids}
        return Predictions(self.folder, self.outputs, rows)

    def read(self, sample_id: str) -> NDArray[np.float32]:
        """Return (outputs, rows, columns) probabilities, NaN where nothing was judged.

        Raises:
            InputError: there is no prediction of this sample, or its raster cannot be read.
        """
        row = self._rows.get(sample_id)
        if row is None:
            raise InputError(f"{self.folder}: no prediction of sample {sample_id!r}")
        path = self.folder / row.file
        try:
            with rasterio.open(path) as data:
                scaled = data.read()
        except RasterioError as error:
            raise InputError(
                f"{path}: the prediction cannot be read: {error}; delete the file and predict anew"
            ) from error
        if len(scaled) != len(self.outputs):
            raise InputError(
                f"{path}: {len(scaled)} bands, but {self.folder / _ABOUT} names "
                f"{len(self.outputs)} outputs"
            )
        values: NDArray[np.float32] = scaled * np.float32(PROBABILITY_SCALE)
        values[scaled == PROBABILITY_NO_DATA] = np.nan
        return values


class PredictionWriter:
    """Keeps predictions; what the folder holds already stays.

    Args:
        folder: made if it is not there.
        outputs: what each band is the probability of.

    Raises:
        InputError: the folder holds predictions of other outputs.
        OutputError: the folder cannot be written.
    """

    def __init__(self, folder: str | Path, outputs: Sequence[Output]) -> None:
        self.folder = make_folder(folder)
        self.outputs = tuple(outputs)
        self._lock = Lock()
        make_folder(self.folder / _RASTERS)
        if (self.folder / _ABOUT).is_file():
            self._rows = dict(self._there())
        else:
            self._rows = {}
            (self.folder / _TABLE).unlink(missing_ok=True)
        self._mend_table()  # first, for what is written next holds no decision any more
        _write_about(self.folder / _ABOUT, self.outputs)

    def done(self, sample_id: str, model: str, digest: str) -> bool:
        """Tell whether a sample's prediction by this model is there, of this very image."""
        row = self._rows.get(sample_id)
        if row is None or (row.model, row.digest) != (model, digest):
            return False
        return (self.folder / row.file).is_file()

    def left(self, specs: Sequence[SampleSpec], model: str) -> list[SampleSpec]:
        """Return the samples that are still to be predicted by this model.

        Only images of which it has said something are read, for they may have changed since.
        """
        known = [s for s in specs if (row := self._rows.get(s.id)) and row.model == model]
        digests = map_in_order(image_digest, known)
        pairs = zip(known, digests, strict=True)
        done = {spec.id for spec, digest in pairs if self.done(spec.id, model, digest)}
        return [spec for spec in specs if spec.id not in done]

    def write(
        self,
        spec: SampleSpec,
        probabilities: NDArray[np.float32],
        *,
        model: str,
        fold: str = "",
        decision: DecisionRule = "class",
        digest: str = "",
        grid: Grid | None = None,
    ) -> PredictionRow:
        """Keep the prediction of a sample; threads may do so side by side.

        Args:
            spec: the sample.
            probabilities: (outputs, rows, columns), NaN where nothing was judged. They are kept in
                steps of 0.4 %.
            model: what made it, by a name that changes with its weights and with its decision.
            fold: the fold that was left out of the model's training.
            decision: how classes follow from the probabilities, as of `ModelCard.decision`.
            digest: of the image and how it is read, told before it was read.
            grid: where the pixels lie; None for no georeference.

        Raises:
            ValueError: there are not as many bands as outputs.
            OutputError: a file cannot be written.
        """
        if probabilities.ndim != 3 or len(probabilities) != len(self.outputs):
            raise ValueError(
                f"probabilities of shape {probabilities.shape} for {len(self.outputs)} outputs"
            )
        shape = probabilities.shape[1], probabilities.shape[2]
        file = f"{_RASTERS}/{raster_name(spec.id, model, digest)}"
        look = CogLook(
            nodata=PROBABILITY_NO_DATA,
            overviews="average",
            descriptions=[output.name for output in self.outputs],
            scale=PROBABILITY_SCALE,
            tags={
                VERSION_TAG: __version__,
                "NUBILA_SAMPLE": spec.id,
                "NUBILA_MODEL": model,
                "NUBILA_FOLD": fold,
            },
        )
        where = grid or Grid(None, Affine.identity(), shape)
        write_cog(self.folder / file, scale_probabilities(probabilities), grid=where, look=look)
        row = PredictionRow(spec.id, spec.line, spec.manifest, file, model, fold, decision, digest)
        self._add(row)
        return row

    def _there(self) -> Predictions:
        found = open_predictions(self.folder)
        if found.outputs != self.outputs:
            raise InputError(
                f"{self.folder}: holds predictions of {_named(found.outputs)}, not of "
                f"{_named(self.outputs)}; name another folder, or delete this one"
            )
        return found

    def _mend_table(self) -> None:
        """Give the table its header; end a line that a killed process left half-written."""
        path, header = self.folder / _TABLE, _csv_line(_COLUMNS)
        content = path.read_bytes() if path.is_file() else b""
        if not content:
            _append(path, header)
        elif not content.startswith(header.encode()):  # of an earlier format
            with atomic_path(path) as temporary:
                rows = [header, *map(_row_line, self._rows.values())]
                temporary.write_text("".join(rows), encoding="utf-8", newline="")
        elif not content.endswith(b"\n"):
            _append(path, "\n")

    def _add(self, row: PredictionRow) -> None:
        with self._lock:
            before = self._rows.get(row.id)
            _append(self.folder / _TABLE, _row_line(row))
            self._rows[row.id] = row
        if before is not None and before.file != row.file:
            # Where somebody reads it, Windows keeps it. Nothing outside of the folder goes.
            with suppress(OSError):
                (self.folder / _RASTERS / PurePath(before.file).name).unlink()


def open_predictions(folder: str | Path) -> Predictions:
    """Open a folder of predictions; rows whose raster is gone are left out.

    Raises:
        InputError: there are no predictions, or they are of a later nubila.
    """
    folder = Path(folder)
    try:
        about = json.loads((folder / _ABOUT).read_bytes())
        text = (folder / _TABLE).read_text(encoding="utf-8")
        outputs = [Output(o["name"], class_set(o["classes"])) for o in about["outputs"]]
    except OSError as error:
        raise InputError(
            f"{folder}: no kept predictions in it ({error.strerror or error}: {error.filename}); "
            f"nubila train --fold all makes some"
        ) from error
    except (ValueError, KeyError, TypeError, NubilaError) as error:
        raise InputError(f"{folder / _ABOUT}: cannot be understood: {error!r}") from error
    if about.get("format", 0) > _FORMAT:
        raise InputError(f"{folder / _ABOUT}: is of a newer nubila; this one reads up to {_FORMAT}")
    # Folders of before there was a choice do not say; those of before format 3 say it for all.
    rows = {row.id: row for row in _rows(text, about.get("decision", "class"))}
    there = {name: row for name, row in rows.items() if (folder / row.file).is_file()}
    return Predictions(folder, outputs, there)


def _rows(text: str, decision: str) -> Iterator[PredictionRow]:
    """Give the rows of a table without those that a killed process left half-written."""
    lines = text.split("\n")
    header = next(csv.reader(lines[:1]), [])
    columns = [name for name in _COLUMNS if name in header or name not in _LATER]
    for line_text in lines:  # one by one: a line cut in a quoted cell ends there
        cells = next(csv.reader([line_text]), [])
        if len(cells) == len(columns) and cells[1].isdecimal():
            known: dict[str, Any] = {"decision": decision, **dict(zip(columns, cells, strict=True))}
            known["line"] = int(known["line"])
            known["decision"] = "kind" if known["decision"] == "kind" else "class"
            yield PredictionRow(**known)


def raster_name(sample_id: str, *made_of: str) -> str:
    """Return a file name that any file system takes, another for each id and what it is made of."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", PurePath(sample_id).name)[-_NAME_LENGTH:]
    told = "\0".join((sample_id, *made_of))
    return f"{readable}-{hashlib.sha256(told.encode()).hexdigest()[:12]}.tif"


def _row_line(row: PredictionRow) -> str:
    return _csv_line([str(value) for value in asdict(row).values()])


def _csv_line(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _append(path: Path, text: str) -> None:
    """Add text in one piece, so that processes side by side do not mix their lines."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)


def _write_about(path: Path, outputs: Sequence[Output]) -> None:
    content = {
        "format": _FORMAT,
        "outputs": [{"name": o.name, "classes": _members(o.classes)} for o in outputs],
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _members(bits: int) -> list[str]:
    return [name for code, name in CLASS_NAMES.items() if bits >> code & 1]


def _named(outputs: Sequence[Output]) -> str:
    return "; ".join(f"{o.name} = {'|'.join(_members(o.classes))}" for o in outputs)
