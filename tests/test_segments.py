"""Segment reductions: labels out of range, zeros in products, large sizes, and errors."""

from __future__ import annotations

import numpy as np
import pytest

import fgrad as fg
from fgrad.errors import DtypeError, ShapeError
from fgrad.testing import check_grads

DATA = np.array([1.0, 2.0, 3.0, 4.0])


def test_labels_out_of_range_are_left_out():
    ids = [0, -1, 5, 0]
    np.testing.assert_array_equal(fg.segment_sum(DATA, ids, 2), [5, 0])
    np.testing.assert_array_equal(fg.segment_max(DATA, ids, 2), [4, -np.inf])
    np.testing.assert_array_equal(fg.segment_prod(DATA, ids, 2), [4, 1])
    np.testing.assert_array_equal(fg.segment_mean(DATA, ids, 2), [2.5, 0])
    np.testing.assert_array_equal(fg.grad(lambda x: fg.segment_sum(x, ids, 2)[0])(fg.asarray(DATA)), [1, 0, 0, 1])
    np.testing.assert_array_equal(fg.grad(lambda x: fg.segment_max(x, ids, 2)[0])(fg.asarray(DATA)), [0, 0, 0, 1])


def test_the_number_of_segments_is_that_of_known_labels():
    assert fg.segment_sum(DATA, [0, 3, 1, 0]).shape == (4,)
    assert fg.segment_sum(np.zeros((0, 2)), np.zeros(0, int)).shape == (0, 2)
    assert fg.segment_min(np.array([3, 4], np.int8), [0, 2]).dtype == np.int8


def test_products_with_zeros_have_the_products_of_the_others_to_every_order():
    ids = fg.asarray([1, 0, 1, 0, 1])
    x = np.array([0.0, 2.0, 3.0, 0.0, 0.0])
    f = lambda x: fg.segment_prod(x, ids, 2)
    np.testing.assert_array_equal(fg.jacrev(f)(fg.asarray(x)), [[0, 0, 0, 2, 0], [0, 0, 0, 0, 0]])
    expected = np.zeros((5, 5))
    expected[0, 4] = expected[4, 0] = 3
    np.testing.assert_array_equal(fg.hessian(lambda x: f(x)[1])(fg.asarray(x)), expected)
    check_grads(f, (x,), order=2)


def test_equal_extrema_share():
    found = fg.grad(lambda x: fg.segment_max(x, [0, 0, 1], 2)[0])(fg.asarray([2.0, 2.0, 2.0]))
    np.testing.assert_array_equal(found, [0.5, 0.5, 0])
    found = fg.grad(lambda x: fg.segment_min(x, [0, 0, 1], 2)[0])(fg.asarray([1.0, np.nan, 2.0]))
    np.testing.assert_array_equal(found, [0, 1, 0])


@pytest.mark.parametrize("shape", [(1000,), (1000, 3)])
def test_many_entries_are_summed_as_a_loop_does(shape):
    generator = np.random.default_rng(0)
    data, ids = generator.normal(size=shape), generator.integers(-1, 41, 1000)
    expected = np.stack([data[ids == label].sum(0) for label in range(40)])
    np.testing.assert_allclose(fg.segment_sum(data, ids, 40, indices_are_sorted=False), expected, atol=1e-12)
    batch = fg.vmap(lambda d, i: fg.segment_sum(d, i, 40))(np.stack([data, data]), np.stack([ids, ids[::-1]]))
    np.testing.assert_array_equal(batch[0], fg.segment_sum(data, ids, 40))


@pytest.mark.parametrize(
    ("ids", "count", "error", "words"),
    [
        ([0, 1], None, ShapeError, "one for each entry"),
        ([[0, 1, 0, 1]], None, ShapeError, "one for each entry"),
        ([0.0, 1.0, 0.0, 1.0], None, DtypeError, "segment_ids are integers"),
        ([0, 1, 0, 1], -1, ShapeError, "num_segments is at least 0"),
    ],
)
def test_errors_say_what_does_not_fit(ids, count, error, words):
    with pytest.raises(error, match=words):
        fg.segment_sum(DATA, ids, count)
