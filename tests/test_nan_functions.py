"""Reductions that leave NaN out: values as NumPy's, no gradient at NaN, and slices of nothing but NaN."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import fgrad as fg
from fgrad.errors import ShapeError
from fgrad.testing import check_grads

X = np.array([[1.5, np.nan, -0.5, 2.0], [0.5, 3.0, -1.0, np.nan], [2.5, 1.0, np.nan, 0.25]])
NAMES = ["nansum", "nanprod", "nanmean", "nanvar", "nanstd", "nanmax", "nanmin"]
OPTIONS = [
    {},
    {"axis": 0},
    {"axis": (0, 1), "keepdims": True},
    {"axis": 1, "where": np.array([True, True, True, False])},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients(name, options):
    if "where" in options and name in ("nanmax", "nanmin"):
        options = options | {"initial": 1.25}
    f = lambda x: getattr(fg, name)(x, **options)
    np.testing.assert_allclose(f(X), getattr(np, name)(X, **options), rtol=1e-14)
    np.testing.assert_allclose(getattr(np, name)(fg.asarray(X), **options), f(X))
    present = ~np.isnan(X)
    check_grads(lambda values: f(fg.asarray(X).at[present].set(values)), (X[present],), 2)
    assert not np.asarray(fg.grad(lambda x: fg.sum(f(x)))(X))[~present].any()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_nan(name):
    x = np.full((2, 3), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = getattr(np, name)(x, axis=0)
    f = lambda x: getattr(fg, name)(x, axis=0)
    np.testing.assert_array_equal(f(x), expected)
    np.testing.assert_array_equal(fg.grad(lambda x: fg.sum(f(x)))(x), np.zeros((2, 3)))


@pytest.mark.parametrize("name", ["nanargmax", "nanargmin"])
def test_positions(name):
    for options in ({}, {"axis": 1}, {"axis": 0, "keepdims": True}):
        np.testing.assert_array_equal(getattr(fg, name)(X, **options), getattr(np, name)(X, **options))
    with pytest.raises(ShapeError, match="All-NaN"):
        getattr(fg, name)(np.full(3, np.nan))


def test_too_few_numbers_have_no_variance():
    assert np.isnan(fg.nanvar(np.array([1.0, np.nan]), ddof=1))
    with pytest.raises(ShapeError, match="two names of one number"):
        fg.nanvar(X, ddof=1, correction=1)


def test_a_selection_without_initial_has_no_extremum():
    with pytest.raises(ShapeError, match=r"\[nanmax\] an extremum of a selection needs `initial`"):
        fg.nanmax(X, where=X > 0)


def test_equal_values_have_no_deviation():
    np.testing.assert_array_equal(fg.grad(fg.nanstd)(np.array([2.0, np.nan, 2.0])), [0, 0, 0])


@pytest.mark.parametrize("name", ["nanmax", "nanmin"])
def test_a_slice_of_nothing_but_nan_does_not_touch_the_others(name):
    x = np.array([[np.nan, 2.0, 3.0], [np.nan, np.nan, np.nan]])
    f = lambda x: getattr(fg, name)(x, axis=1)
    place = 2 if name == "nanmax" else 1
    np.testing.assert_array_equal(fg.grad(lambda x: fg.sum(f(x)))(x), [np.arange(3) == place, [0, 0, 0]])
    np.testing.assert_array_equal(fg.jvp(f, (x,), (np.ones((2, 3)),))[1], [1, 0])
