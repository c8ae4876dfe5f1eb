from __future__ import annotations

import sqlite3
import threading
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
    store.keep_draft("s", MASK.T)
    assert np.array_equal(store.draft("s"), MASK.T)
    decision = store.decide("s", "fix", who="anna", mask=MASK, seen=MASK[:1])
    assert store.draft("s") is None
    assert np.array_equal(store.mask(decision), MASK)
    assert np.array_equal(store.seen(decision), MASK[:1])
    store.undo("anna")
    assert np.array_equal(store.draft("s"), MASK)
    store.keep_draft("s", None)
    assert store.draft("s") is None


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
