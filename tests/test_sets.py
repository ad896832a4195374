"""Sets and counts: gradients through selected values, sizes for vmap and graphs, and errors."""

from __future__ import annotations

import numpy as np
import pytest

import fgrad as fg
from fgrad.errors import DtypeError, ShapeError, TracerConversionError
from fgrad.testing import check_grads

X = np.array([2.5, 1.0, 2.5, 4.0])


def test_unique_values_keep_the_gradient_at_their_first_places():
    f = lambda x: fg.sum(fg.unique(x) * fg.asarray([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(fg.grad(f)(fg.asarray(X)), [2, 1, 0, 3])
    assert fg.jvp(f, (X,), (np.ones(4),))[1] == 6
    rows = fg.asarray([[1.0, 2.0], [0.0, 1.0], [1.0, 2.0]])
    g = lambda x: fg.sum(fg.unique(x, axis=0)[1] * fg.asarray([3.0, 4.0]))
    np.testing.assert_array_equal(fg.grad(g)(rows), [[3, 4], [0, 0], [0, 0]])


@pytest.mark.parametrize(
    ("name", "expected"),
    [("union1d", [1, 1, 0, 1]), ("intersect1d", [1, 0, 0, 0]), ("setdiff1d", [0, 1, 0, 1]), ("setxor1d", [0, 1, 0, 1])],
)
def test_sets_of_two_keep_the_gradient(name, expected):
    function = getattr(fg, name)
    f = lambda x: fg.sum(function(x, fg.asarray([2.5, 7.0])))
    np.testing.assert_array_equal(fg.grad(f)(fg.asarray(X)), expected)


def test_sets_of_two_take_what_is_known_to_be_distinct():
    a, b = np.array([3, 1, 2]), np.array([2, 5])
    for name in ("intersect1d", "setdiff1d", "setxor1d"):
        found = getattr(fg, name)(a, b, assume_unique=True)
        np.testing.assert_array_equal(found, getattr(np, name)(a, b, assume_unique=True))
    found = fg.intersect1d(a, b, return_indices=True)
    for one, other in zip(found, np.intersect1d(a, b, return_indices=True), strict=True):
        np.testing.assert_array_equal(one, other)


def test_positions_under_grad_are_those_of_the_primal():
    f = lambda x: fg.sum(x[fg.nonzero(x > 1.5)] ** 2)
    np.testing.assert_array_equal(fg.grad(f)(fg.asarray(X)), [5, 0, 5, 8])
    g = lambda x: fg.sum(fg.extract(x > 1.5, x) ** 2) + fg.sum(fg.compress(x > 3, x))
    np.testing.assert_array_equal(fg.grad(g)(fg.asarray(X)), [5, 0, 5, 9])


NEEDS_VALUES = {
    "nonzero": (fg.nonzero, "size="),
    "flatnonzero": (fg.flatnonzero, "size="),
    "argwhere": (fg.argwhere, "size="),
    "where": (fg.where, "size="),
    "unique": (fg.unique, "size="),
    "compress": (lambda x: fg.compress(x > 1, x), "size="),
    "bincount": (lambda x: fg.bincount(fg.astype(x, int)), "length="),
    "setdiff1d": (lambda x: fg.setdiff1d(x, x), "fg.isin"),
    "segment_sum": (lambda x: fg.segment_sum(x, fg.astype(x, int)), "num_segments="),
}


@pytest.mark.parametrize("name", NEEDS_VALUES)
def test_where_values_are_not_known_the_error_names_the_way_out(name):
    function, way_out = NEEDS_VALUES[name]
    for transformed, x in ((fg.vmap(function), np.stack([X, X])), (fg.make_graph(function), X)):
        with pytest.raises(TracerConversionError, match=way_out):
            transformed(x)


def test_a_size_makes_them_work_batched_and_staged():
    xs = fg.asarray([[0.0, 2.0, 1.0], [0.0, 0.0, 5.0]])
    (found,) = fg.vmap(lambda x: fg.where(x > 0.5, size=2, fill_value=7))(xs)
    np.testing.assert_array_equal(found, [[1, 2], [2, 7]])
    found = fg.vmap(lambda x: fg.argwhere(x, size=2, fill_value=-1))(xs)
    np.testing.assert_array_equal(found, [[[1], [2]], [[2], [-1]]])
    found = fg.vmap(lambda x: fg.unique(x, size=3, fill_value=-1.0))(xs)
    np.testing.assert_array_equal(found, [[0, 1, 2], [0, 5, -1]])
    graph = fg.make_graph(lambda x: fg.flatnonzero(x, size=2))(xs[0])
    np.testing.assert_array_equal(graph(xs[0]), [1, 2])
    f = lambda x: fg.sum(fg.unique(x, size=3, fill_value=-1.0) ** 2)
    np.testing.assert_array_equal(fg.vmap(fg.grad(f))(xs), [[0, 4, 2], [0, 0, 10]])
    np.testing.assert_array_equal(fg.vmap(lambda x: fg.union1d(x, [9.0], size=2))(xs), [[0, 1], [0, 5]])


def test_what_stays_free_is_filled():
    x = fg.asarray([3.0, 1.0, 3.0])
    values, index, inverse, counts = fg.unique_all(x, size=4)
    np.testing.assert_array_equal(values, [1, 3, 1, 1])
    np.testing.assert_array_equal(index, [1, 0, 1, 1])
    np.testing.assert_array_equal(inverse, [1, 0, 1])
    np.testing.assert_array_equal(counts, [1, 2, 0, 0])
    mask = fg.asarray([True, False, True])
    np.testing.assert_array_equal(fg.compress(mask, x, size=3, fill_value=-1), [3, 3, -1])
    np.testing.assert_array_equal(fg.extract(mask, x, size=1), [3])
    np.testing.assert_array_equal(fg.compress(mask[:0], x[:0], size=2, fill_value=-1), [-1, -1])
    rows, columns = fg.nonzero(fg.asarray([[0, 1], [0, 0]]), size=2, fill_value=(8, 9))
    np.testing.assert_array_equal(rows, [0, 8])
    np.testing.assert_array_equal(columns, [1, 9])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: fg.nonzero(fg.asarray(1.0)), ShapeError, "no positions"),
        (lambda: fg.nonzero(X, size=-1), ShapeError, "size is at least 0"),
        (lambda: fg.nonzero(X, size=1, fill_value=(0, 0)), ShapeError, "2 parts for 1 axes"),
        (lambda: fg.where(X > 0, X), ShapeError, "both x1 and x2"),
        (lambda: fg.compress([[True]], X), ShapeError, "condition is a vector"),
        (lambda: fg.bincount([-1]), ShapeError, "from 0 on"),
        (lambda: fg.bincount([0.5]), DtypeError, "vector of integers"),
        (lambda: fg.bincount([1, 2], [1.0]), ShapeError, "weights of shape"),
        (lambda: fg.digitize(X, [0.0, 2.0, 1.0]), ShapeError, "monotonic"),
        (lambda: fg.digitize(X, [[0.0]]), ShapeError, "bins are a vector"),
        (lambda: fg.histogram(X, 0), ShapeError, "positive"),
        (lambda: fg.histogram(X, range=(1.0, 0.0)), ShapeError, "finite and ascending"),
        (lambda: fg.histogram(X, weights=[1.0]), ShapeError, "weights of shape"),
        (lambda: fg.unique(np.zeros(0), size=2), ShapeError, "size=2"),
        (lambda: fg.unique(X, axis=1), ShapeError, "axis 1"),
    ],
)
def test_errors_say_what_does_not_fit(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_histograms_are_differentiable_by_weights_and_edges():
    x = np.array([0.3, 1.2, 2.9, 2.2])
    check_grads(lambda w: fg.histogram(x, 3, (0, 3), True, w)[0], (np.array([1.0, 2.0, 0.5, 1.5]),), order=2)
    check_grads(lambda x: fg.histogram(x, 2, density=True)[0], (x,), order=1)
    found = fg.histogram(x, "sturges")
    for one, other in zip(found, np.histogram(x, "sturges"), strict=True):
        np.testing.assert_allclose(one, other)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (fg.histogram, r"the values go from .* to nan: give range="),
        (lambda x: fg.histogram(x, bins=[3.0, 1.0]), "the edges of bins ascend"),
        (lambda x: fg.histogram(x, bins=0), "the number of bins is positive"),
    ],
)
def test_histograms_without_bins_say_why(call, message):
    with pytest.raises(ShapeError, match=message):
        call(fg.asarray([1.0, np.nan]))
