"""Resampling: against independent sums and interpolation, and window by window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nubila.raster.resample import plan_axis, resample

RATIOS = (1 / 6, 1 / 3, 0.5, 2 / 3, 0.9, 1.0, 1.25, 1.5, 2.0, 2.25, 3.0, 4.7)


def run(values, ratio, target, *, offset=0.0):
    """Resample an array to target rows and columns, each (start, stop)."""
    rows, columns = (
        plan_axis(*span, ratio=ratio, offset=offset, length=length)
        for span, length in zip(target, values.shape, strict=True)
    )
    block = values[rows.start : rows.stop, columns.start : columns.stop]
    return resample(np.ascontiguousarray(block), rows, columns)


def area_average(values, ratio, start, stop, offset=0.0):
    """Mean over [start, stop) target pixels by integrating the array as a step function."""
    edges = np.arange(start, stop + 1) * ratio + offset
    for axis in (0, 1):
        rows = np.moveaxis(values, axis, 0)
        integral = np.concatenate([np.zeros((1, *rows.shape[1:])), np.cumsum(rows, axis=0)])
        at = np.stack(
            [np.interp(edges, np.arange(len(integral)), column) for column in integral.T], axis=1
        )
        values = np.moveaxis(np.diff(at, axis=0) / ratio, 0, axis)
    return values


@pytest.mark.parametrize("ratio", [1.25, 1.5, 2.0, 2.25, 3.0, 4.7])
@pytest.mark.parametrize("offset", [0.0, 0.4, 2.0])
def test_coarser_is_the_area_average(ratio, offset):
    values = np.random.default_rng(0).random((60, 60)).astype(np.float32)
    count = int((60 - offset) / ratio)
    found = run(values, ratio, ((0, count), (0, count)), offset=offset)
    truth = area_average(values.astype(np.float64), ratio, 0, count, offset)
    np.testing.assert_allclose(found, truth, atol=1e-6)


@pytest.mark.parametrize("ratio", [1 / 6, 1 / 3, 0.5, 2 / 3, 0.9])
def test_finer_is_linear_between_pixel_centres(ratio):
    values = np.random.default_rng(1).random((20, 17)).astype(np.float32)
    rows, columns = (round(n / ratio) for n in values.shape)
    found = run(values, ratio, ((0, rows), (0, columns)))
    at_rows, at_columns = ((np.arange(n) + 0.5) * ratio - 0.5 for n in (rows, columns))
    along = np.stack(
        [np.interp(at_columns, np.arange(17), row) for row in values.astype(np.float64)]
    )
    truth = np.stack([np.interp(at_rows, np.arange(20), column) for column in along.T], axis=1)
    np.testing.assert_allclose(found, truth, atol=1e-6)


def test_the_same_resolution_gives_the_array_itself():
    values = np.random.default_rng(2).random((9, 11)).astype(np.float32)
    rows, columns = (plan_axis(0, n, ratio=1.0, offset=0.0, length=n) for n in values.shape)
    assert resample(values, rows, columns) is values


def test_a_shift_by_half_a_pixel_is_the_mean_of_two():
    values = np.arange(10, dtype=np.float32)[None].repeat(10, axis=0)
    found = run(values, 1.0, ((0, 8), (0, 8)), offset=0.5)
    np.testing.assert_allclose(found, values[:8, :8] + 0.5)


@st.composite
def windows(draw):
    ratio = draw(st.sampled_from(RATIOS))
    shape = draw(st.tuples(st.integers(4, 70), st.integers(4, 70)))
    target = [int(np.ceil(n / ratio)) for n in shape]
    spans = []
    for n in target:
        start = draw(st.integers(0, n - 1))
        spans.append((start, draw(st.integers(start + 1, n))))
    return ratio, shape, target, spans, draw(st.integers(0, 2**32 - 1)), draw(st.booleans())


@given(windows())
@settings(max_examples=300, deadline=None)
def test_any_window_is_the_crop_of_the_whole(case):
    ratio, shape, target, spans, seed, with_gaps = case
    random = np.random.default_rng(seed)
    values = random.random(shape, dtype=np.float32)
    if with_gaps:
        values[random.random(shape) < 0.3] = np.nan
    whole = run(values, ratio, [(0, n) for n in target])
    part = run(values, ratio, spans)
    crop = whole[slice(*spans[0]), slice(*spans[1])]
    np.testing.assert_array_equal(part, crop)


@given(windows())
@settings(max_examples=100, deadline=None)
def test_gaps_leave_no_trace_in_what_is_kept(case):
    # A constant stays that constant wherever anything is kept.
    ratio, shape, target, _, seed, _ = case
    values = np.full(shape, 0.25, np.float32)
    values[np.random.default_rng(seed).random(shape) < 0.4] = np.nan
    found = run(values, ratio, [(0, n) for n in target])
    np.testing.assert_allclose(found[~np.isnan(found)], 0.25, rtol=1e-5)


def test_half_without_data_is_kept_and_more_is_not():
    values = np.ones((4, 4), np.float32)
    values[0, :] = np.nan
    values[2, :] = values[3, 0] = values[3, 1] = np.nan
    found = run(values, 2.0, ((0, 2), (0, 2)))
    np.testing.assert_array_equal(found, [[1, 1], [np.nan, 1]])


def test_beyond_the_edge_the_outermost_pixel_is_repeated():
    values = np.array([[1, 2, 3]], np.float32).repeat(3, axis=0)
    found = run(values, 2.0, ((0, 2), (0, 2)))
    np.testing.assert_allclose(found, [[1.5, 3], [1.5, 3]])


@pytest.mark.parametrize("ratio", RATIOS)
def test_far_from_the_corner_the_weights_still_sum_to_one(ratio):
    axis = plan_axis(90_000, 90_200, ratio=ratio, offset=0.0, length=10**7)
    np.testing.assert_allclose(axis.weight.sum(axis=1), 1, atol=1e-6)
    centre = (axis.index * axis.weight).sum(axis=1) + axis.start
    np.testing.assert_allclose(centre, (np.arange(90_000, 90_200) + 0.5) * ratio - 0.5, atol=0.51)
