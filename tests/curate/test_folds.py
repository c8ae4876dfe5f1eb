from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nubila.cli import main
from nubila.curate.fold_table import make_folds
from nubila.curate.folds import Column, deal_folds, join_groups, unevenness
from nubila.datasets import read_manifest
from nubila.datasets.manifest import manifest_rows
from nubila.errors import InputError
from tests.curate.samples import write_samples

LABELS = st.sampled_from(["", "a", "b", "c"])


def _columns(samples: int, seed: int = 0) -> list[Column]:
    random = np.random.default_rng(seed)
    return [
        Column(name, tuple(random.choice(list(kinds), samples)))
        for name, kinds in (("place", "ABCDEF"), ("year", "890"), ("month", "abcdefghijkl"))
    ]


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(LABELS, LABELS, st.integers(0, 6)), min_size=7, max_size=40),
    count=st.integers(2, 4),
    seed=st.integers(0, 3),
)
def test_groups_stay_whole_and_no_fold_is_empty(
    rows: list[tuple[str, str, int]], count: int, seed: int
) -> None:
    _, groups = np.unique([row[2] for row in rows], return_inverse=True)
    columns = [Column(n, tuple(row[i] for row in rows)) for i, n in enumerate(("one", "two"))]
    if groups.max() + 1 < count:
        with pytest.raises(InputError, match="cannot be dealt out"):
            deal_folds(columns, groups.tolist(), count, seed=seed)
        return
    folds = deal_folds(columns, groups.tolist(), count, seed=seed)
    assert set(folds.tolist()) == set(range(count))
    assert all(len(set(folds[groups == g])) == 1 for g in range(groups.max() + 1))
    assert np.array_equal(folds, deal_folds(columns, groups.tolist(), count, seed=seed))


def test_folds_of_single_samples_are_nearly_even_in_every_column() -> None:
    columns = _columns(600)
    folds = deal_folds(columns, range(600), 5)
    assert np.bincount(folds).tolist() == [120] * 5
    random = np.random.default_rng(1)
    for column in columns:
        dealt = np.mean([unevenness(column, random.permutation(600) % 5, 5) for _ in range(20)])
        assert unevenness(column, folds, 5) < 0.3 * dealt
        for kind in column.kinds:
            there = np.bincount(folds[np.array(column.values) == kind], minlength=5)
            assert there.max() - there.min() <= 2


def test_groups_are_dealt_out_as_well_as_the_best_of_all_ways() -> None:
    random = np.random.default_rng(3)
    sizes = random.integers(1, 8, 8)
    groups = np.repeat(np.arange(8), sizes)
    column = Column("year", tuple(random.choice(["8", "9"], len(groups))))

    def cost(folds: np.ndarray) -> float:
        labels = np.concatenate([np.ones((len(groups), 1)), column.member()], axis=1)
        sums = np.stack([labels[folds == fold].sum(axis=0) for fold in range(2)])
        return float((sums**2 * (2 / labels.sum(axis=0))).sum())

    ways = (np.array(way)[groups] for way in itertools.product((0, 1), repeat=8))
    best = min(cost(way) for way in ways)
    assert cost(deal_folds([column], groups.tolist(), 2)) == pytest.approx(best)


def test_unevenness_of_known_folds() -> None:
    column = Column("place", ("a", "a", "b", "b", ""))
    assert unevenness(column, np.array([0, 1, 0, 1, 0]), 2) == 0
    assert unevenness(column, np.array([0, 0, 1, 1, 0]), 2) == 0.5


def test_what_no_row_has_cannot_keep_rows_together(tmp_path: Path) -> None:
    rows = [(n, {"image": f"{n}.tif", "mask": f"{n}.png", "bands": "red"}) for n in range(2, 8)]
    with pytest.raises(InputError, match=r"no row has a value of it .it is the column 'place'"):
        make_folds("table.csv", rows, tmp_path, 2, by=["year"], together=["location"])


def test_samples_that_share_any_value_are_one_group() -> None:
    groups = join_groups([["x", "x", "y", "z", ""], ["1", "2", "2", "3", ""]])
    assert groups[0] == groups[1] == groups[2]
    assert len(set(groups.tolist())) == 3


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Forty samples of ten places, a fifth of them test, with cloud growing with the number."""
    images, masks, cells = [], [], []
    for n in range(40):
        mask = np.zeros((8, 10), np.uint8)
        mask.ravel()[: 2 * n] = 1
        images.append(np.full((4, 8, 10), 0.1))
        masks.append(mask)
        cells.append(
            {
                "split": "test" if n % 10 >= 8 else "train",
                "group": f"place{n % 10}",
                "place": f"place{n % 10}",
                "datetime": f"20{18 + n % 3}-{1 + n % 12:02d}-05T{10 + n % 2}:30:00Z",
            }
        )
    return write_samples(tmp_path, images, masks, cells)


def test_the_command_writes_folds_and_their_report(
    manifest: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = manifest.with_name("folds.parquet")
    monkeypatch.setattr(
        "sys.argv", ["nubila", "folds", str(manifest), "-k", "4", "-o", str(target)]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    specs = read_manifest(target)
    by_group: dict[str, set[str]] = {}
    for spec in specs:
        by_group.setdefault(spec.group, set()).add(spec.tags["fold"])
        assert (spec.tags["fold"] == "") == (spec.split == "test")
    assert all(len(folds) == 1 for folds in by_group.values())
    assert Counter(s.tags["fold"] for s in specs) == {"": 8, "0": 8, "1": 8, "2": 8, "3": 8}
    report = json.loads(manifest.with_name("folds-report.json").read_text())
    assert list(report["columns"]) == ["location", "year", "month", "hour", "cloud_cover"]
    assert report["left_out"] == 8
    assert report["groups"] == 8
    assert sum(sum(c) for c in report["columns"]["year"]["counts"].values()) == 32
    assert "8 groups by group, the largest of 4: none is in two folds" in capsys.readouterr().out


def test_cloud_cover_is_that_of_the_masks(manifest: Path) -> None:
    found = make_folds("m", manifest_rows(manifest), manifest.parent, 2, by=["cloud_cover"])
    kinds = found.report["columns"]["cloud_cover"]["counts"]
    covers = [2 * n / 80 for n in range(40) if n % 10 < 8]
    quarters = [f"{low:.4g}" for low in np.percentile(covers, [0, 25, 50, 75])]
    assert [kind.split(" to ")[0] for kind in kinds] == quarters


def test_folds_are_even_in_ranges_of_large_numbers(tmp_path: Path) -> None:
    days = [f"2020{month:02d}{day:02d}" for month in range(1, 13) for day in (3, 17)]
    rows = [(n, {"image": f"{n}.tif", "day": day}) for n, day in enumerate(days, 2)]
    found = make_folds("m", rows, tmp_path, 3, by=["day"], together=[]).report["columns"]["day"]
    assert list(found["counts"].values()) == [[2, 2, 2]] * 4
    assert found["at_random"] > 0


def test_an_unknown_column_is_told(manifest: Path) -> None:
    with pytest.raises(InputError, match="no column 'yaer'; did you mean 'year'"):
        make_folds("m", manifest_rows(manifest), manifest.parent, 2, by=["yaer"])


def test_too_few_groups_are_told(manifest: Path) -> None:
    with pytest.raises(InputError, match="8 groups cannot be dealt out to 9 folds"):
        make_folds("m", manifest_rows(manifest), manifest.parent, 9)


def test_a_split_to_leave_out_that_is_not_there_is_told(
    manifest: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["nubila", "folds", str(manifest), "--leave", "tset"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "no split 'tset'; did you mean 'test'" in " ".join(capsys.readouterr().err.split())
    assert not manifest.with_name("manifest-folds.csv").exists()


def test_the_table_that_is_read_stays(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = manifest.read_bytes()
    monkeypatch.setattr("sys.argv", ["nubila", "folds", str(manifest), "-o", str(manifest)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert manifest.read_bytes() == before


def test_a_group_in_and_out_of_the_folds_is_told(manifest: Path) -> None:
    rows = [(line, dict(cells)) for line, cells in manifest_rows(manifest)]
    inside = next(cells for _, cells in rows if cells["split"] != "test")
    line, outside = next(row for row in rows if row[1]["split"] == "test")
    outside["group"] = inside["group"]
    with pytest.raises(InputError, match=rf"m: line {line}: group '{inside['group']}' is in the "):
        make_folds("m", rows, manifest.parent, 2)


def _row(name: str, **cells: str) -> dict[str, str]:
    return {"image": f"{name}.tif", "mask": "", "bands": "red", "group": "", "place": "", **cells}


def test_the_pool_is_dealt_out_with_what_it_is_kept_together_with(tmp_path: Path) -> None:
    """Of two drawn rows that a row of the pool joins, too."""
    drawn = [(n, _row(f"d{n}", place=f"p{n}", group=f"g{n}")) for n in range(2, 10)]
    joining = [_row("a", place="p2", group="g3"), _row("b", place="p4", group="g5")]
    alike = [_row("c", place="p6"), _row("d", place="p6"), _row("e", place="p6", group="g20")]
    alone = [_row(f"f{n}") for n in range(6)]
    pool = list(enumerate([*joining, *alike, *alone], start=2))
    together = ["location", "group"]
    found = make_folds(
        "m", drawn, tmp_path, 3, by=["year"], together=together, pool=[("pool.csv", pool)]
    )
    rows = [*found.rows, *found.pool]
    assert [cells["image"] for cells in found.pool] == [cells["image"] for _, cells in pool]
    for name in ("place", "group"):
        folds: dict[str, set[str]] = {}
        for cells in rows:
            folds.setdefault(cells[name] or cells["image"], set()).add(cells["fold"])
        assert all(len(each) == 1 for each in folds.values())
    sizes = [sum(cells["fold"] == fold for cells in rows) for fold in "012"]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("name", ["location", "place"])
def test_what_shares_a_place_with_what_gets_no_fold_is_told(tmp_path: Path, name: str) -> None:
    drawn = [(n, _row(f"d{n}", place=f"p{n}", split="train")) for n in range(2, 6)]
    drawn.append((6, _row("v", place="v", split="validation")))
    given = {"by": ["year"], "together": [name], "apart": ["validation"]}
    pool = [("pool.csv", [(2, _row("a")), (3, _row("b", place="v"))])]
    expected = rf"m: line 6: {name} 'v' is in the split 'validation'.*on line 3 of the pool, pool"
    with pytest.raises(InputError, match=expected):
        make_folds("m", drawn, tmp_path, 2, pool=pool, **given)
    drawn[0][1]["place"] = "v"
    with pytest.raises(InputError, match=rf"m: line 6: {name} 'v'.*, and on line 2 in one"):
        make_folds("m", drawn, tmp_path, 2, **given)


def test_leaving_all_splits_out_is_told(manifest: Path) -> None:
    every = ["test", "train", "validation", ""]
    with pytest.raises(InputError, match="m: none of its 40 rows is left"):
        make_folds("m", manifest_rows(manifest), manifest.parent, 2, apart=every)
