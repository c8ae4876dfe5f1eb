from __future__ import annotations

import sqlite3
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nubila.curate.review import ACTIONS, ReviewStore
from nubila.errors import InputError, OutputError

MASK = np.array([[1, 2, 6], [0, 32, 63]], np.uint8)


def _mask(action: str) -> np.ndarray | None:
    return MASK if action in ("fix", "prediction") else None


def test_a_decision_says_who_when_and_why(tmp_path: Path) -> None:
    store = ReviewStore(tmp_path / "d.db")
    store.decide("a/b", "drop", who="anna", why="clouds of paper", label="l", prediction="p")
    store.close()
    (found,) = ReviewStore(tmp_path / "d.db").current().values()
    assert (found.sample, found.action, found.who) == ("a/b", "drop", "anna")
    assert (found.why, found.label, found.prediction) == ("clouds of paper", "l", "p")
    assert found.time.endswith("Z") and found.time.startswith("20")


def test_masks_and_drafts_come_back_as_they_were(tmp_path: Path) -> None:
    store = ReviewStore(tmp_path / "d.db")
    store.keep_draft("s", "anna", MASK.T)
    assert np.array_equal(store.draft("s", "anna"), MASK.T)
    decision = store.decide("s", "fix", who="anna", mask=MASK, seen=MASK[:1])
    assert store.draft("s", "anna") is None
    assert np.array_equal(store.mask(decision), MASK)
    assert np.array_equal(store.seen(decision), MASK[:1])
    store.undo("anna")
    assert np.array_equal(store.draft("s", "anna"), MASK)
    store.keep_draft("s", "anna", None)
    assert store.draft("s", "anna") is None


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.one_of(st.just(None), st.tuples(st.sampled_from("abc"), st.sampled_from(ACTIONS))))
)
def test_the_last_decision_that_stands_counts(steps: list[tuple[str, str] | None]) -> None:
    store, standing = ReviewStore(":memory:"), []
    for step in steps:
        if step is None:
            found = store.undo("anna")
            expected = standing.pop() if standing else None
            assert (found and (found.sample, found.action)) == expected
        else:
            store.decide(*step, who="anna", mask=_mask(step[1]))
            standing.append(step)
        assert {k: v.action for k, v in store.current().items()} == dict(standing)
    for name in "abc":
        assert [d.action for d in store.history(name)] == [a for n, a in standing if n == name]
    store.close()


def test_nobody_takes_back_what_another_decided() -> None:
    store = ReviewStore(":memory:")
    store.decide("a", "drop", who="anna")
    store.decide("a", "keep", who="ben")
    found = store.undo("anna")
    assert found is not None and found.who == "anna"
    assert store.undo("anna") is None
    assert store.current()["a"].action == "keep"
    store.close()


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(("anna", "ben")),
            st.sampled_from("st"),
            st.sampled_from(("draw", "throw", "fix", "keep", "undo")),
            st.integers(0, 63),
        ),
        max_size=12,
    )
)
def test_what_somebody_draws_is_nobody_elses(steps: list[tuple[str, str, str, int]]) -> None:
    """Two people in one file see what each would see of a file of their own."""
    both = ReviewStore(":memory:")
    own = {who: ReviewStore(":memory:") for who in ("anna", "ben")}
    for who, sample, action, value in steps:
        mask = np.full((2, 2), value, np.uint8)
        for store in (both, own[who]):
            if action in ("draw", "throw"):
                store.keep_draft(sample, who, mask if action == "draw" else None)
            elif action == "undo":
                store.undo(who)
            else:
                store.decide(sample, action, who=who, mask=mask if action == "fix" else None)
    for who in own:
        for sample in "st":
            found, expected = both.draft(sample, who), own[who].draft(sample, who)
            assert (found is None) == (expected is None)
            assert found is None or np.array_equal(found, expected)
    for store in (both, *own.values()):
        store.close()


def _write_version_1(path: Path) -> None:
    """Write decisions as the first nubila wrote them: one draft of a sample, whoever draws."""
    store = ReviewStore(path)
    store.decide("a", "fix", who="anna", why="thin", mask=MASK, seen=MASK)
    store.decide("b", "drop", who="ben")
    store.keep_digest("f", "1", "x")
    store.close()
    with sqlite3.connect(path) as data:
        data.execute("DROP TABLE own_drafts")
        data.execute(
            "CREATE TABLE drafts"
            " (sample TEXT PRIMARY KEY, rows INTEGER, columns INTEGER, mask BLOB NOT NULL)"
        )
        for sample in ("c", "d"):
            row = (sample, *MASK.shape, zlib.compress(MASK.tobytes()))
            data.execute("INSERT INTO drafts VALUES (?,?,?,?)", row)
        data.execute("PRAGMA user_version = 1")


def test_a_file_of_the_first_version_loses_nothing(tmp_path: Path) -> None:
    _write_version_1(tmp_path / "d.db")
    for _ in range(2):  # the second time it is of this version already
        store = ReviewStore(tmp_path / "d.db")
        assert [d.action for d in store.current().values()] == ["fix", "drop"]
        assert np.array_equal(store.mask(store.current()["a"]), MASK)
        assert np.array_equal(store.seen(store.current()["a"]), MASK)
        assert store.digest("f", "1") == "x"
        for who in ("anna", "ben"):  # either may have drawn it
            assert np.array_equal(store.draft("c", who), MASK)
            assert np.array_equal(store.draft("d", who), MASK)
        store.close()
    store = ReviewStore(tmp_path / "d.db")
    store.keep_draft("c", "anna", MASK[:1])
    store.decide("d", "keep", who="anna")
    assert np.array_equal(store.draft("c", "anna"), MASK[:1])
    assert store.draft("d", "anna") is None
    store.keep_draft("c", "anna", None)
    assert store.draft("c", "anna") is None
    for sample in ("c", "d"):
        assert np.array_equal(store.draft(sample, "ben"), MASK)
    store.keep_draft("d", "anna", MASK[1:])
    assert np.array_equal(store.draft("d", "anna"), MASK[1:])


def test_a_first_nubila_that_has_the_file_open_changes_nothing(tmp_path: Path) -> None:
    _write_version_1(tmp_path / "d.db")
    old = sqlite3.connect(tmp_path / "d.db", isolation_level=None)
    store = ReviewStore(tmp_path / "d.db")
    for statement in ("DELETE FROM drafts WHERE sample = 'c'", "SELECT mask FROM drafts"):
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            old.execute(statement)
    assert np.array_equal(store.draft("c", "ben"), MASK)
    old.close()


def test_threads_share_it(tmp_path: Path) -> None:
    store = ReviewStore(tmp_path / "d.db")

    def work(number: int) -> None:
        for i in range(5):
            store.decide(f"{number}/{i}", "keep", who="anna")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.current()) == 20


def test_two_processes_may_review_at_once(tmp_path: Path) -> None:
    first, second = ReviewStore(tmp_path / "d.db"), ReviewStore(tmp_path / "d.db")
    first.decide("a", "keep", who="anna")
    second.decide("b", "drop", who="ben")
    assert list(first.current()) == list(second.current()) == ["a", "b"]


def test_a_digest_counts_while_the_file_is_untouched(tmp_path: Path) -> None:
    store = ReviewStore(tmp_path / "d.db")
    store.keep_digest("f", "1", "x")
    assert (store.digest("f", "1"), store.digest("f", "2")) == ("x", None)


def test_a_mask_belongs_to_what_changes_the_label() -> None:
    store = ReviewStore(":memory:")
    for action, mask in (("fix", None), ("keep", MASK), ("paint", MASK)):
        with pytest.raises(ValueError, match=action):
            store.decide("a", action, who="anna", mask=mask)


def test_files_of_something_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database, but long enough to be taken for one" * 20)
    with pytest.raises(InputError, match="not a SQLite file"):
        ReviewStore(tmp_path / "text.db")
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE t (a)")
    with pytest.raises(InputError, match="something else"):
        ReviewStore(tmp_path / "other.db")
    ReviewStore(tmp_path / "newer.db").close()
    with sqlite3.connect(tmp_path / "newer.db") as newer:
        newer.execute("PRAGMA user_version = 99")
    with pytest.raises(InputError, match="version 99"):
        ReviewStore(tmp_path / "newer.db")
    with pytest.raises(OutputError, match="cannot be opened"):
        ReviewStore(tmp_path / "absent" / "d.db")
