"""Cumulative products, extrema and log-sums, and differences: zeros, ties, infinities, spacings and errors."""

from __future__ import annotations

import numpy as np
import pytest

import fgrad as fg
from fgrad.errors import DtypeError, ShapeError
from fgrad.testing import check_grads


def total(f):
    return lambda x: fg.sum(f(x))


@pytest.mark.parametrize("length", [1, 2, 8, 9, 17, 30])
@pytest.mark.parametrize("zeros", [0, 1, 3])
def test_cumprod_is_right_with_zeros_among_the_factors(length, zeros):
    x = np.random.default_rng(length).uniform(0.5, 1.5, (2, length))
    x[:, : 2 * zeros : 2] = 0
    check_grads(lambda x: fg.cumprod(x, 1), (x,), 2)
    check_grads(lambda x: fg.cumprod(x, 1), (x * (1 + 0.5j),), 2)


def test_cumprod_with_zeros_has_the_gradient_of_products_of_the_others():
    np.testing.assert_array_equal(fg.grad(total(fg.cumprod))(np.array([2.0, 0.0, 4.0, 0.0])), [1, 10, 0, 0])


def test_a_zero_factor_passes_nothing_on_of_what_overflows():
    found = fg.jvp(fg.cumprod, (np.array([0.0, 1e200, 1e200]),), (np.array([0.0, 1.0, 1.0]),))[1]
    np.testing.assert_array_equal(found, [0, 0, 0])


def test_equal_extrema_so_far_share_the_cotangent():
    x = np.array([1.0, 1.0, 3.0, 2.0, 3.0, 3.0])
    np.testing.assert_allclose(fg.grad(total(fg.cummax))(x), [1.5, 0.5, 2 + 5 / 6, 0, 5 / 6, 1 / 3])
    np.testing.assert_allclose(fg.grad(total(fg.cummin))(-x), [1.5, 0.5, 2 + 5 / 6, 0, 5 / 6, 1 / 3])


def test_nan_stays_in_running_extrema():
    x = np.array([1.0, np.nan, 3.0])
    np.testing.assert_array_equal(fg.cummax(x), np.maximum.accumulate(x))
    np.testing.assert_array_equal(fg.grad(total(fg.cummax))(x), [1, 2, 0])


def test_cumlogsumexp_at_infinities():
    x = np.array([-np.inf, -np.inf, -1000.0, np.inf, np.inf])
    np.testing.assert_array_equal(fg.cumlogsumexp(x), [-np.inf, -np.inf, -1000, np.inf, np.inf])
    cotangent = fg.vjp(fg.cumlogsumexp, x)[1](np.ones(5))[0]
    np.testing.assert_allclose(cotangent, [0, 0, 1, 1.5, 0.5])


def test_weights_of_cumlogsumexp_do_not_lose_digits_to_large_values():
    x = np.float32([1e4, 1e4 + 1])
    weights = fg.grad(lambda x: fg.cumlogsumexp(x)[1])(x)
    np.testing.assert_allclose(weights, [1 / (1 + np.e), np.e / (1 + np.e)], rtol=1e-6)


def test_cumulation_of_several_axes_needs_one():
    for f in (fg.cumulative_sum, fg.cumulative_prod):
        with pytest.raises(ShapeError, match=r"shape \(2, 3\) has more than one axis"):
            f(np.ones((2, 3)))


def test_gradient_by_places_is_right_where_they_are_evenly_spaced():
    values = np.array([1.0, 4.0, 2.0, 7.0])
    for order in (1, 2):
        check_grads(lambda f, x, order=order: fg.gradient(f, x, edge_order=order), (values, np.arange(4.0)), 2)
        check_grads(lambda f, h, order=order: fg.gradient(f, h, edge_order=order), (values, np.array(0.5)), 2)


def test_gradient_gives_its_axes_in_the_order_of_numpy():
    f = np.random.default_rng(0).normal(size=(3, 4))
    for found, expected in zip(fg.gradient(fg.asarray(f), axis=(1, 0)), np.gradient(f, axis=(1, 0)), strict=True):
        np.testing.assert_allclose(found, expected)


def test_differences_say_what_does_not_fit():
    with pytest.raises(ShapeError, match=r"\[diff\] is taken n >= 0 times, not -1"):
        fg.diff(np.ones(3), -1)
    with pytest.raises(ShapeError, match=r"\[gradient\] axis 0 of shape \(2,\) is too short"):
        fg.gradient(np.ones(2), edge_order=2)
    with pytest.raises(DtypeError, match="3 spacings were given for 2 axes"):
        fg.gradient(np.ones((3, 3)), 1.0, 1.0, 1.0)
    with pytest.raises(DtypeError, match="to_end has dtype float64"):
        fg.ediff1d(np.arange(3), to_end=1.5)


@pytest.mark.parametrize("ufunc", [np.add, np.multiply, np.maximum, np.minimum, np.logaddexp])
def test_accumulate_of_a_tensor(ufunc):
    x = np.array([[1.0, 3.0, 2.0], [0.5, 4.0, -1.0]])
    np.testing.assert_allclose(ufunc.accumulate(fg.asarray(x)), ufunc.accumulate(x), rtol=1e-14)
    np.testing.assert_allclose(ufunc.accumulate(fg.asarray(x), axis=1), ufunc.accumulate(x, axis=1), rtol=1e-14)
