"""Convolution, correlation, interpolation, polynomials, averages and covariances beside NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

import fgrad as fg
from fgrad.errors import DtypeError, ShapeError
from fgrad.testing import check_grads

LENGTHS = [(5, 3), (3, 5), (4, 4), (4, 2), (2, 4), (1, 3)]


def drawn(length, *, imaginary):
    generator = np.random.default_rng(length + 10 * imaginary)
    return generator.normal(size=length) + (1j * generator.normal(size=length) if imaginary else 0)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("kinds", [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("name", ["convolve", "correlate"])
def test_convolution_and_correlation(name, kinds, mode):
    for lengths in LENGTHS:
        a, v = [drawn(length, imaginary=kind) for length, kind in zip(lengths, kinds, strict=True)]
        np.testing.assert_allclose(getattr(fg, name)(a, v, mode), getattr(np, name)(a, v, mode), rtol=1e-13)
        check_grads(lambda a, v: getattr(fg, name)(a, v, mode), (a, v), 2)


def test_vectors_that_do_not_fit():
    with pytest.raises(ShapeError, match="mode is 'full', 'same' or 'valid', not 'most'"):
        fg.convolve(np.ones(3), np.ones(2), "most")
    with pytest.raises(ShapeError, match=r"v has shape \(0,\)"):
        fg.correlate(np.ones(3), np.ones(0))


XP, FP = np.array([0.0, 1.0, 2.5, 4.0]), np.array([1.0, 3.0, 0.0, 2.0])


def test_slopes_at_the_knots_are_those_of_the_interval_to_the_right():
    slope = fg.vmap(fg.grad(lambda x: fg.interp(x, XP, FP)))
    np.testing.assert_array_equal(slope(np.array([-1.0, 0.0, 1.0, 2.5, 4.0, 5.0])), [0, 2, -2, 4 / 3, 4 / 3, 0])


def test_interpolation_in_a_period_and_in_a_table_of_one_point():
    x = np.array([[-1.0, 0.3, 2.2], [2.7, 3.9, 7.1]])
    np.testing.assert_allclose(fg.interp(x, XP, FP, period=4.5), np.interp(x, XP, FP, period=4.5))
    check_grads(lambda *args: fg.interp(*args, period=4.5), (x, XP, FP), 2)
    np.testing.assert_array_equal(fg.interp(x, XP[:1], FP[:1]), np.interp(x, XP[:1], FP[:1]))
    check_grads(fg.interp, (x, XP[:1], FP[:1], np.array(1.5), np.array(2.5)), 2)


def test_interpolation_says_what_does_not_fit():
    with pytest.raises(ShapeError, match="both are vectors of one length"):
        fg.interp(0.5, XP, FP[:2])
    with pytest.raises(ShapeError, match="the period cannot be 0"):
        fg.interp(0.5, XP, FP, period=0)
    with pytest.raises(DtypeError, match="takes real x and xp"):
        fg.interp(0.5j, XP, FP)


def test_polynomials_at_zero():
    p = np.array([2.0, -1.0, 3.0])
    np.testing.assert_array_equal(fg.grad(fg.polyval)(p, 0.0), [0, 0, 1])
    assert fg.grad(fg.grad(lambda x: fg.polyval(p, x)))(0.0) == 4.0


def test_weights_that_add_up_to_zero():
    with pytest.raises(ZeroDivisionError, match="add up to 0"):
        fg.average(np.ones(2), weights=np.array([1.0, -1.0]))


def test_covariances_by_weights():
    x, w = drawn(8, imaginary=0).reshape(2, 4), np.array([1.0, 2.0, 0.5, 0.25])
    np.testing.assert_allclose(fg.cov(x, aweights=w, ddof=2), np.cov(x, aweights=w, ddof=2))
    check_grads(lambda x, w: fg.cov(x, aweights=w), (x, w), 2)
    check_grads(lambda x: fg.corrcoef(x)[0, 1], (x,), 2)
