from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nubila.datasets import read_manifest
from nubila.errors import InputError
from nubila.evaluate.strata import range_of, strata, tags_of
from nubila.evaluate.tally import SampleTally


def _samples(**columns: list[str]) -> list[SampleTally]:
    count = len(next(iter(columns.values())))
    return [
        SampleTally(
            str(n), f"f{n % 2}", str(n), np.zeros((64, 6), np.int64), (1, 2),
            tags={name: values[n] for name, values in columns.items()},
        )
        for n in range(count)
    ]  # fmt: skip


def _ids(groups: dict[str, list[SampleTally]]) -> dict[str, list[str]]:
    return {value: [s.id for s in chosen] for value, chosen in groups.items()}


def test_words() -> None:
    samples = _samples(
        surface=["sea", "land", "", "sea"], sensor=["x"] * 4, place=["a", "b", "c", "a"]
    )
    found = strata(samples)
    assert _ids(found["folder"]) == {"f0": ["0", "2"], "f1": ["1", "3"]}
    assert _ids(found["surface"]) == {"land": ["1"], "sea": ["0", "3"]}
    assert "sensor" not in found  # one value makes no strata
    assert "place" not in found  # nor does one for nearly every scene


def test_sun_elevation_every_ten_degrees() -> None:
    values = [str(v) for v in (41.5, 8, 12, 19.9, 20, 55, 33, 34, 35, 36)]
    found = strata(_samples(sun_elevation=values), ["sun_elevation"])["sun_elevation"]
    assert _ids(found) == {
        "0 to 10": ["1"],
        "10 to 20": ["2", "3"],
        "20 to 30": ["4"],
        "30 to 40": ["6", "7", "8", "9"],
        "40 to 50": ["0"],
        "50 to 60": ["5"],
    }


def test_other_measurements_at_quartiles() -> None:
    found = strata(_samples(cover=[str(v) for v in range(100)]))["cover"]
    assert [len(group) for group in found.values()] == [25, 25, 25, 25]
    few = strata(_samples(cover=["1", "2", "10", "2", "1", "1"]))["cover"]
    assert list(few) == ["1", "2", "10"]


def test_ranges_of_large_numbers_go_by_names_of_their_own() -> None:
    days = [f"2020{month:02d}{day:02d}" for month in range(1, 13) for day in (3, 17)]
    found = strata(_samples(day=days))["day"]
    assert [len(group) for group in found.values()] == [6, 6, 6, 6]
    assert next(iter(found)).startswith("20200103 to ")


@pytest.mark.parametrize(
    ("edges", "names"),
    [
        ([0, 2.5, 123.456], ["0 to 2.5", "2.5 to 123.5"]),
        ([4512345.6, 4698765.4, 5e6], ["4512346 to 4698765", "4698765 to 5000000"]),
        ([0.123451, 0.123456, 7], ["0.12345 to 0.12346", "0.12346 to 7"]),
        ([1, 1 + 2**-52, 2], ["1 to 1.0000000000000002", "1.0000000000000002 to 2"]),
    ],
)
def test_edges_have_the_digits_that_tell_them_apart(edges: list[float], names: list[str]) -> None:
    assert [range_of(low, edges) for low in edges[:-1]] == names


def test_columns_asked_for() -> None:
    samples = _samples(id=[f"x{n}" for n in range(30)], sensor=["a"] * 30)
    assert list(strata(samples)) == ["folder"]
    assert list(strata(samples, ["id", "folder"])) == ["folder", "id"]
    assert list(strata(samples, [])) == ["folder"]
    with pytest.raises(InputError, match=r"'senor': no sample has it; did you mean 'sensor'"):
        strata(samples, ["senor"])


def test_tags_of_a_row(scenes: Path) -> None:
    spec = read_manifest(scenes)[0]
    spec = replace(spec, sensor="x", level="L1C", tags={"date": "2018-12-05T10:00:00Z", "a": "b"})
    found = tags_of(spec)
    assert (found["sensor"], found["level"], found["a"]) == ("x", "L1C", "b")
    assert found["months"] == "Dec to Feb"
    dates = [
        tags_of(replace(spec, tags={"acquired": f"2020-0{n}-01"}))["months"] for n in (9, 6, 3)
    ]
    assert list(strata(_samples(months=dates), ["months"])["months"]) == [
        "Mar to May",
        "Jun to Aug",
        "Sep to Nov",
    ]
    assert "months" not in tags_of(replace(spec, tags={"tile": "T31TCH-2018"}))
