"""Decisions in a SQLite file: each is one transaction, written through before it is answered.

Nothing is ever overwritten: a decision that is taken back is marked as undone, and of several on
one sample the last that stands counts. Masks are kept with the decision that they belong to, so
that what was seen is what is applied, whatever becomes of the files. What is being drawn belongs to
whoever draws it: several people may draw on one sample at once.
"""

from __future__ import annotations

import sqlite3
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from nubila.errors import InputError, OutputError

__all__ = ["ACTIONS", "Decision", "ReviewStore"]

ACTIONS: Final = ("keep", "drop", "prediction", "fix")
_WITH_MASK: Final = ("prediction", "fix")

_APPLICATION: Final = 0x4E42524C  # "NBRL", by which SQLite files of ours are told from others
_VERSION: Final = 2
# Another name than that of version 1: a nubila of then that has the file open fails on it, where it
# would throw everybody's drafts of a sample away.
_DRAFTS: Final = """
CREATE TABLE own_drafts (
    sample TEXT NOT NULL,
    who TEXT NOT NULL,
    rows INTEGER,
    columns INTEGER,
    mask BLOB,
    PRIMARY KEY (sample, who)
);
"""
_SCHEMA: Final = f"""
CREATE TABLE decisions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    sample TEXT NOT NULL,
    action TEXT NOT NULL,
    who TEXT NOT NULL,
    time TEXT NOT NULL,
    why TEXT NOT NULL,
    label TEXT NOT NULL,
    prediction TEXT NOT NULL,
    result TEXT NOT NULL,
    rows INTEGER,
    columns INTEGER,
    mask BLOB,
    seen_rows INTEGER,
    seen_columns INTEGER,
    seen BLOB,
    undone TEXT NOT NULL DEFAULT ''
);
CREATE INDEX decisions_of_sample ON decisions (sample, undone, number);
{_DRAFTS}
CREATE TABLE digests (file TEXT PRIMARY KEY, stamp TEXT NOT NULL, digest TEXT NOT NULL);
"""
# Version 1 had one draft of a sample, and did not know whose.
_FROM_1: Final = f"""
{_DRAFTS}
INSERT INTO own_drafts SELECT sample, '', rows, columns, mask FROM drafts;
DROP TABLE drafts;
"""
_FIELDS: Final = "number, sample, action, who, time, why, label, prediction, result"

Sets = NDArray[np.uint8]


@dataclass(frozen=True)
class Decision:
    """What was decided of a sample.

    Attributes:
        number: rises with each decision.
        sample: id in the manifest.
        action: one of `ACTIONS`.
        who, time, why: who decided, when (UTC, ISO 8601), and the remark made, or ``""``.
        label, prediction: digests of what was seen; ``""`` where there was no prediction.
        result: digest of the label that the sample has once the decision is applied.
    """

    number: int
    sample: str
    action: str
    who: str
    time: str
    why: str
    label: str
    prediction: str
    result: str


class ReviewStore:
    """The decisions of a review; threads may share it.

    Args:
        path: made if it is not there.

    Raises:
        InputError: the file is something else, or of a later version of nubila.
        OutputError: it cannot be opened or made.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        try:
            self._data = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
            self._data.execute("PRAGMA busy_timeout = 5000")
            self._prepare()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise OutputError(f"{self.path}: cannot be opened: {error}") from error
            raise InputError(
                f"{self.path}: not a SQLite file; name another for the decisions"
            ) from error

    def close(self) -> None:
        """Close the file; SQLite then folds its log into it."""
        self._data.close()

    def decide(
        self,
        sample: str,
        action: str,
        *,
        who: str,
        why: str = "",
        label: str = "",
        prediction: str = "",
        result: str = "",
        mask: Sets | None = None,
        seen: Sets | None = None,
    ) -> Decision:
        """Keep a decision; it is on the disk when this returns. One's own draft of it goes.

        Args:
            sample: id.
            action: one of `ACTIONS`.
            who: signs it.
            why: a remark.
            label: digest of the label that was seen.
            prediction: digest of the prediction that was seen.
            result: digest of the label that comes of it.
            mask: (rows, columns) sets of classes, for the actions that change the label.
            seen: (rows, columns) sets of classes of the prediction, by which a later one is told
                apart.

        Raises:
            ValueError: the action is unknown, or a mask is absent or too many.
            OutputError: the file cannot be written.
        """
        if action not in ACTIONS or (mask is not None) != (action in _WITH_MASK):
            raise ValueError(f"action {action!r} {'with' if mask is not None else 'without'} mask")
        values = (sample, action, who, _now(), why, label, prediction, result)
        with self._transaction() as data:
            cursor = data.execute(
                "INSERT INTO decisions (sample, action, who, time, why, label, prediction, result,"
                " rows, columns, mask, seen_rows, seen_columns, seen)"
                f" VALUES ({','.join('?' * 14)})",
                (*values, *_packed(mask), *_packed(seen)),
            )
            _drop_draft(data, sample, who)
        return Decision(int(cursor.lastrowid or 0), *values)

    def undo(self, who: str) -> Decision | None:
        """Take a person's last decision that stands back and return it, or None for none.

        Its drawn mask is a draft again. What others who share the file have decided and draw stays.

        Raises:
            OutputError: the file cannot be written.
        """
        with self._transaction() as data:
            row = data.execute(
                f"SELECT {_FIELDS} FROM decisions WHERE undone = '' AND who = ?"
                " ORDER BY number DESC LIMIT 1",
                (who,),
            ).fetchone()
            if row is None:
                return None
            found = Decision(*row)
            data.execute("UPDATE decisions SET undone = ? WHERE number = ?", (_now(), found.number))
            if found.action == "fix":
                data.execute(
                    "INSERT OR REPLACE INTO own_drafts SELECT sample, who, rows, columns, mask"
                    " FROM decisions WHERE number = ?",
                    (found.number,),
                )
        return found

    def current(self) -> dict[str, Decision]:
        """Return the decision that counts of each sample, by its id, oldest first."""
        rows = self._all(
            f"SELECT {_FIELDS} FROM decisions WHERE number IN"
            " (SELECT MAX(number) FROM decisions WHERE undone = '' GROUP BY sample)"
            " ORDER BY number"
        )
        return {row[1]: Decision(*row) for row in rows}

    def history(self, sample: str) -> list[Decision]:
        """Return every decision on a sample that stands, oldest first."""
        rows = self._all(
            f"SELECT {_FIELDS} FROM decisions WHERE sample = ? AND undone = '' ORDER BY number",
            (sample,),
        )
        return [Decision(*row) for row in rows]

    def mask(self, decision: Decision) -> Sets | None:
        """Return the (rows, columns) sets of classes that a decision gives, or None."""
        query = "SELECT rows, columns, mask FROM decisions WHERE number = ?"
        return _unpacked(self._all(query, (decision.number,)))

    def seen(self, decision: Decision) -> Sets | None:
        """Return the (rows, columns) sets of the prediction that was seen, or None."""
        query = "SELECT seen_rows, seen_columns, seen FROM decisions WHERE number = ?"
        return _unpacked(self._all(query, (decision.number,)))

    def keep_draft(self, sample: str, who: str, mask: Sets | None) -> None:
        """Keep a mask that a person is drawing, (rows, columns) sets; None throws it away.

        Raises:
            OutputError: the file cannot be written.
        """
        with self._transaction() as data:
            if mask is None:
                _drop_draft(data, sample, who)
            else:
                row = (sample, who, *_packed(mask))
                data.execute("INSERT OR REPLACE INTO own_drafts VALUES (?,?,?,?,?)", row)

    def draft(self, sample: str, who: str) -> Sets | None:
        """Return the mask that a person is drawing, or None.

        One that a file of version 1 had is everybody's until they have one of their own, or have
        decided on the sample or thrown it away.
        """
        query = (
            "SELECT rows, columns, mask FROM own_drafts WHERE sample = ? AND who IN (?, '')"
            " ORDER BY who DESC LIMIT 1"
        )
        return _unpacked(self._all(query, (sample, who)))

    def digest(self, file: str, stamp: str) -> str | None:
        """Return what `keep_digest` kept of a file, if its stamp is still the same."""
        found = self._all("SELECT digest FROM digests WHERE file = ? AND stamp = ?", (file, stamp))
        return str(found[0][0]) if found else None

    def keep_digest(self, file: str, stamp: str, digest: str) -> None:
        """Remember the digest of a file, so that it need not be read again.

        Raises:
            OutputError: the file cannot be written.
        """
        with self._transaction() as data:
            row = (file, stamp, digest)
            data.execute("INSERT OR REPLACE INTO digests VALUES (?,?,?)", row)

    def _prepare(self) -> None:
        # WAL, so that reading never waits for writing; FULL, so that a power cut loses nothing.
        self._data.execute("PRAGMA journal_mode = WAL")
        self._data.execute("PRAGMA synchronous = FULL")
        with self._transaction() as data:
            (application,) = data.execute("PRAGMA application_id").fetchone()
            (version,) = data.execute("PRAGMA user_version").fetchone()
            (tables,) = data.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
            if tables == 0 and application == 0:
                _do_all(data, _SCHEMA)
                data.execute(f"PRAGMA application_id = {_APPLICATION}")
            elif application != _APPLICATION:
                raise InputError(f"{self.path}: a database of something else; name another file")
            elif version == 1:
                _do_all(data, _FROM_1)
            elif version != _VERSION:
                raise InputError(
                    f"{self.path}: decisions of version {version}, this nubila reads {_VERSION}"
                )
            data.execute(f"PRAGMA user_version = {_VERSION}")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._data.execute("BEGIN IMMEDIATE")
                try:
                    yield self._data
                except BaseException:
                    self._data.execute("ROLLBACK")
                    raise
                self._data.execute("COMMIT")
            except sqlite3.OperationalError as error:
                raise OutputError(f"{self.path}: cannot be written: {error}") from error

    def _all(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock:
            return self._data.execute(query, values).fetchall()


def _do_all(data: sqlite3.Connection, statements: str) -> None:
    """Execute statements within the transaction that is open, which `executescript` would end."""
    for statement in filter(str.strip, statements.split(";")):
        data.execute(statement)


def _drop_draft(data: sqlite3.Connection, sample: str, who: str) -> None:
    """Take away a person's draft; a row without a mask hides one that may be another's."""
    data.execute("DELETE FROM own_drafts WHERE sample = ? AND who = ?", (sample, who))
    data.execute(
        "INSERT INTO own_drafts SELECT sample, ?, NULL, NULL, NULL FROM own_drafts"
        " WHERE sample = ? AND who = ''",
        (who, sample),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _packed(mask: Sets | None) -> tuple[int | None, int | None, bytes | None]:
    if mask is None:
        return None, None, None
    rows, columns = mask.shape
    return rows, columns, zlib.compress(np.ascontiguousarray(mask, np.uint8).tobytes(), 6)


def _unpacked(found: Sequence[Any]) -> Sets | None:
    if not found or found[0][2] is None:
        return None
    rows, columns, packed = found[0]
    return np.frombuffer(zlib.decompress(packed), np.uint8).reshape(rows, columns)
