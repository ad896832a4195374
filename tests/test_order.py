"""Order and quantiles where the operation table does not reach: ties, NaN, options, and errors."""

from __future__ import annotations

import numpy as np
import pytest

import fgrad as fg
from fgrad.errors import DtypeError, ShapeError
from fgrad.testing import check_grads

NAN = np.nan


def test_nan_counts_as_the_largest():
    x = fg.asarray([2.0, NAN, 1.0])
    np.testing.assert_array_equal(fg.sort(x), [1, 2, NAN])
    np.testing.assert_array_equal(fg.sort(x, descending=True), [NAN, 2, 1])
    np.testing.assert_array_equal(fg.argsort(x, descending=True), [1, 0, 2])
    np.testing.assert_array_equal(fg.top_k(x, 2).indices, [1, 0])


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("k", [0, 1, 7, 100])
def test_top_k_of_a_long_axis_is_that_of_sorting(k, largest):
    generator = np.random.default_rng(0)
    x = generator.integers(0, 50, (3, 1000)).astype(float)
    x[1, ::100] = NAN
    x[2, 10:] = NAN
    values, indices = fg.top_k(x, k, largest=largest)
    expected = fg.argsort(x, descending=largest)[:, :k]
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_array_equal(values, np.take_along_axis(x, np.asarray(expected), 1))


def test_options_of_numpy_reach_sort_and_median():
    x = np.array([[3.0, 1.0], [2.0, 5.0]])
    t = fg.asarray(x)
    np.testing.assert_array_equal(np.sort(t, axis=0, kind="stable"), np.sort(x, axis=0))
    np.testing.assert_array_equal(np.argsort(t, axis=None, stable=True), np.argsort(x, axis=None, stable=True))
    np.testing.assert_array_equal(np.median(t, axis=0, keepdims=True), np.median(x, axis=0, keepdims=True))
    np.testing.assert_array_equal(np.median(t, overwrite_input=True), 2.5)
    np.testing.assert_array_equal(np.percentile(t, [25, 75], axis=1), np.percentile(x, [25, 75], axis=1))
    np.testing.assert_array_equal(np.where(t > 2)[0], [0, 1])


def test_partition_puts_the_kth_in_place():
    x = np.random.default_rng(1).permutation(40.0 + np.arange(40))
    found = np.asarray(fg.partition(x, [5, 20]))
    assert found[5] == 45
    assert found[20] == 60
    assert found[:5].max() < 45 < found[6:20].min()
    assert found[6:20].max() < 60 < found[21:].min()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: fg.sort(x, 1), ShapeError, "axis 1 is out of bounds"),
        (lambda x: fg.sort(x, kind="bubble"), ShapeError, "kind is one of"),
        (lambda x: fg.argsort(x, kind="stable", stable=True), ShapeError, "two names of one option"),
        (lambda x: fg.top_k(x, 4), ShapeError, "k=4 of an axis of length 3"),
        (lambda x: fg.partition(x, 3), ShapeError, "kth=3 is out of bounds"),
        (lambda x: fg.partition(x, 1, kind="full"), ShapeError, "introselect"),
        (lambda x: fg.lexsort(()), ShapeError, "at least one key"),
        (lambda x: fg.quantile(x, 1.5), ShapeError, "q lies between 0 and 1"),
        (lambda x: fg.percentile(x, [50, 101]), ShapeError, "q lies between 0 and 100"),
        (lambda x: fg.quantile(x, 0.5, method="best"), ShapeError, "not a valid method"),
        (lambda x: fg.quantile(x, 0.5, weights=x), ShapeError, "'inverted_cdf' only"),
        (lambda x: fg.quantile(x, 0.5, method="inverted_cdf", weights=-x), ShapeError, "none is negative"),
        (lambda x: fg.quantile(x + 1j, 0.5), DtypeError, "quantiles are of real numbers"),
        (lambda x: fg.quantile(x[:0], 0.5), ShapeError, "no quantile of no elements"),
        (lambda x: fg.searchsorted(x, 1.0, sorter=[0.5, 1, 2]), DtypeError, "integer positions"),
        (lambda x: fg.searchsorted(x, 1.0, sorter=[0]), ShapeError, "sorter has shape"),
    ],
)
def test_errors_say_what_does_not_fit(call, error, words):
    with pytest.raises(error, match=words):
        call(fg.asarray([1.0, 2.0, 3.0]))


def test_sorter_makes_a_vector_ascend():
    a = np.array([3.0, 1.0, 2.0])
    np.testing.assert_array_equal(fg.searchsorted(a, [1.5, 3.5], sorter=np.argsort(a)), [1, 3])


def test_a_stable_order_descends_stably():
    np.testing.assert_array_equal(fg.argsort(fg.asarray([1, 2, 1, 2]), descending=True), [1, 3, 0, 2])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_python_number_q_keeps_the_precision(dtype):
    x = np.array([3, 1, 2, 5.5], dtype)
    for q in (0.3, np.float64(0.3), np.array([0.3])):
        expected = np.quantile(x, q)
        found = fg.quantile(x, q)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    assert fg.value_and_grad(fg.quantile, 1)(fg.asarray(x), 0.3)[0].dtype == dtype


def test_quantiles_are_differentiable_by_both():
    x = np.array([0.3, 2.0, -1.0, 0.9, 1.4])
    check_grads(fg.quantile, (x, np.array([0.3, 0.6])), order=2)
    check_grads(lambda x: fg.nanquantile(fg.concatenate([x, [NAN]]), 0.3), (x,), order=2)
    np.testing.assert_allclose(fg.grad(fg.quantile, 1)(fg.asarray(x), 0.3), 4 * (0.9 - 0.3))


def test_missing_values_take_no_cotangent():
    x = fg.asarray([[1.0, NAN, 3.0], [NAN, NAN, NAN]])
    np.testing.assert_array_equal(fg.nanmedian(x, axis=1), [2, NAN])
    np.testing.assert_array_equal(fg.grad(lambda x: fg.nanmedian(x[0]))(x), [[0.5, 0, 0.5], [0, 0, 0]])


@pytest.mark.parametrize("method", ["linear", "hazen", "midpoint", "averaged_inverted_cdf", "inverted_cdf"])
@pytest.mark.parametrize("transform", [lambda f: f, fg.vmap])
def test_quantiles_of_float32_by_a_float32_are_float32(transform, method):
    x = np.array([[3.0, 1.0, 4.0, 1.5, 9.0], [2.0, np.nan, 6.0, 5.0, np.nan]], np.float32)
    q = fg.asarray([0.25, 0.5], "float32")
    found = transform(lambda x: fg.quantile(x, q, axis=-1, method=method))(x)
    assert found.dtype == np.float32
    found = np.asarray(transform(lambda x: fg.nanquantile(x, q, axis=-1, method=method))(x))
    assert found.dtype == np.float32
    expected = [np.quantile(row[~np.isnan(row)].astype(float), [0.25, 0.5], method=method) for row in x]
    np.testing.assert_array_equal(found if transform is fg.vmap else found.T, np.asarray(expected, np.float32))
