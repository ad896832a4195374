"""Elementwise functions beyond their rows of the operation table: high orders, ufunc methods, forms and errors."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import fgrad as fg
from fgrad.core.late import load_late_modules
from fgrad.core.protocols import UFUNC_COUNTERPARTS
from fgrad.errors import DtypeError, ImmutableError, TracerConversionError

X = np.array([[0.6, -1.3], [2.2, 0.4]])
Y = np.array([0.5, -0.25])


def derivatives(f, x, count):
    found = []
    for _ in range(count):
        found.append(float(f(x)))
        f = fg.grad(f)
    return found


def test_sinc_has_all_its_derivatives_at_zero():
    """sinc(x) = sum of (-1)^k (pi x)^(2k) / (2k+1)!."""
    expected = [(-1) ** (n // 2) * math.pi**n / (n + 1) if n % 2 == 0 else 0.0 for n in range(9)]
    np.testing.assert_allclose(derivatives(fg.sinc, 0.0, 9), expected, rtol=1e-13)


@pytest.mark.parametrize("x", [1e-9, 0.1, 0.31, 0.64, 1.0, 1.6, 2.3])
def test_derivatives_of_sinc_against_the_integral_that_it_is(x):
    """sinc(x) is the integral of cos(pi x t) over t from 0 to 1, and may be differentiated inside of it."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    t = (nodes + 1) / 2
    expected = [np.sum(weights / 2 * (np.pi * t) ** n * np.cos(np.pi * x * t + n * np.pi / 2)) for n in range(6)]
    np.testing.assert_allclose(derivatives(fg.sinc, x, 6), expected, rtol=1e-11, atol=1e-11)


def test_every_ufunc_of_numpy_has_a_counterpart_or_names_itself():
    load_late_modules()
    ufuncs = {name: getattr(np, name) for name in dir(np) if isinstance(getattr(np, name), np.ufunc)}
    assert [name for name, ufunc in ufuncs.items() if ufunc not in UFUNC_COUNTERPARTS] == ["isnat"]
    with pytest.raises(TracerConversionError, match=r"np\.isnat"):
        np.isnat(fg.asarray([1.0]))


@pytest.mark.parametrize("ufunc", [np.add, np.subtract, np.hypot, np.arctan2, np.logaddexp, np.maximum, np.power])
def test_outer(ufunc):
    x, y = np.abs(X), Y
    found = ufunc.outer(fg.asarray(x), y)
    assert isinstance(found, fg.Tensor)
    np.testing.assert_array_equal(found, ufunc.outer(x, y))
    np.testing.assert_array_equal(ufunc.outer(x, fg.asarray(y)), ufunc.outer(x, y))


@pytest.mark.parametrize("ufunc", [np.add, np.multiply, np.maximum, np.minimum, np.logaddexp])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_accumulate(ufunc, axis):
    found = ufunc.accumulate(fg.asarray(X), axis=axis)
    assert isinstance(found, fg.Tensor)
    np.testing.assert_allclose(found, ufunc.accumulate(X, axis=axis), rtol=1e-14)
    np.testing.assert_array_equal(
        ufunc.accumulate(fg.asarray(X)), found if axis == 0 else ufunc.accumulate(fg.asarray(X), axis=0)
    )


def test_what_ufuncs_refuse():
    x = fg.asarray(X)
    with pytest.raises(TracerConversionError, match="where="):
        np.hypot(x, 1.0, where=X > 0)
    with pytest.raises(ImmutableError, match="out="):
        np.hypot(x, 1.0, out=np.zeros((2, 2)))
    with pytest.raises(TracerConversionError, match=r"np\.add\.reduceat"):
        np.add.reduceat(x, [0, 1])


@pytest.mark.parametrize(
    ("name", "same"),
    [
        *[("acos", "arccos"), ("acosh", "arccosh"), ("asin", "arcsin"), ("asinh", "arcsinh"), ("atan", "arctan")],
        *[("atanh", "arctanh"), ("atan2", "arctan2"), ("bitwise_invert", "bitwise_not"), ("pow", "power")],
        *[("bitwise_left_shift", "left_shift"), ("bitwise_right_shift", "right_shift"), ("radians", "deg2rad")],
        *[("degrees", "rad2deg"), ("around", "round"), ("concat", "concatenate")],
    ],
)
def test_names_of_the_array_api_standard(name, same):
    assert getattr(fg, name) is getattr(fg, same)


def test_several_results():
    x = np.array([1.5, -2.25, 0.0])
    for name, args in {"modf": (x,), "frexp": (x,), "divmod": (x, 0.7)}.items():
        expected = getattr(np, name)(*args)
        for function in (getattr(fg, name), getattr(np, name)):
            found = function(fg.asarray(x), *args[1:])
            assert isinstance(found, tuple)
            for one, other in zip(found, expected, strict=True):
                assert one.dtype == other.dtype
                np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(fg.grad(lambda x: fg.sum(fg.frexp(x)[0]))(fg.asarray(x)), 1 / np.array([2.0, 4, 1]))
    np.testing.assert_array_equal(fg.grad(lambda x: fg.sum(fg.modf(x)[1]))(fg.asarray(x)), np.zeros(3))


def test_the_remainder_of_a_quotient_that_rounds_to_a_whole_number():
    """1.0 / 0.1 is 10 in floating point, but fmod takes 0.1 off nine times."""
    assert float(fg.grad(fg.fmod, 1)(1.0, 0.1)) == -9


def test_a_real_part_that_is_close_keeps_its_gradient():
    found = fg.grad(lambda z: fg.sum(fg.real_if_close(z)))(fg.asarray([2.0 + 0j]))
    np.testing.assert_array_equal(found, [1.0 + 0j])


def test_replacements_that_are_tensors_have_gradients():
    x = fg.asarray([1.0, np.nan, np.inf, -np.inf])
    found = fg.grad(lambda *fills: fg.sum(fg.nan_to_num(x, True, *fills) ** 2), (0, 1, 2))(1.5, 2.0, -3.0)
    np.testing.assert_array_equal(found, [3.0, 4.0, -6.0])


def test_dtypes_without_the_function_are_named():
    with pytest.raises(DtypeError, match=r"\[hypot\]"):
        fg.hypot(fg.asarray([1j]), 1.0)
    with pytest.raises(DtypeError, match=r"\[gcd\]"):
        fg.gcd(fg.asarray([1.0]), 2)
    with pytest.raises(DtypeError, match=r"\[ldexp\]"):
        fg.ldexp(fg.asarray([1.0]), fg.asarray([1.0]))
    with pytest.raises(DtypeError, match=r"\[isposinf\]"):
        fg.isposinf(fg.asarray([1j]))


@pytest.mark.parametrize("traced", [False, True])
def test_clip_has_the_values_and_dtypes_of_numpy(traced):
    values = [np.array([1, 2, 3], "int8"), np.array([True, False, True]), np.array([1, np.nan, 3], "float32")]
    limits = [
        None,
        0,
        1.5,
        np.nan,
        np.float32(np.nan),
        np.array([np.nan, 1, 2], "float32"),
        np.array([2, 1, 2], "int16"),
    ]
    for x, low, high in itertools.product(values, limits, limits):
        if low is None and high is None:
            continue
        clip = lambda x, low=low, high=high: fg.clip(x, low, high)
        found = fg.make_graph(clip)(x)(x) if traced else clip(x)
        np.testing.assert_array_equal(found, np.clip(x, low, high), strict=True)


def test_a_limit_that_is_nan_takes_the_cotangent():
    x, low = fg.asarray([1.0, 2.0]), fg.asarray([np.nan, 0.0])
    by_x, by_low = fg.grad(lambda x, low: fg.sum(fg.clip(x, low, 5.0)), argnums=(0, 1))(x, low)
    assert (by_x.tolist(), by_low.tolist()) == ([0.0, 1.0], [1.0, 0.0])


@pytest.mark.parametrize("beside", [np.nan, np.inf, -np.inf])
def test_an_element_that_is_not_finite_does_not_touch_the_shares_of_the_others(beside):
    x = np.array([0.0, 1.0, beside])
    np.testing.assert_array_equal(fg.special.expit(x)[:2], fg.special.expit(x[:2]))
    with np.errstate(invalid="ignore"):  # NumPy's logaddexp warns of NaN
        by_x, by_y = fg.grad(lambda x, y: fg.sum(fg.logaddexp(x, y)), (0, 1))(x, x)
    np.testing.assert_array_equal(by_x[:2], [0.5, 0.5])
    np.testing.assert_array_equal(by_y[:2], [0.5, 0.5])


@pytest.mark.parametrize("x", [[np.inf, -1.0, np.nan], [True, False], [1, -2], 3.0], ids=str)
def test_the_imaginary_part_of_real_numbers_is_zero(x):
    found = fg.imag(fg.asarray(x))
    assert found.dtype == np.imag(np.asarray(x)).dtype
    np.testing.assert_array_equal(found, np.imag(np.asarray(x)))
    assert not np.signbit(np.asarray(found, float)).any()
    batch = fg.asarray([x, x])
    np.testing.assert_array_equal(fg.vmap(fg.imag)(batch), np.imag(np.asarray(batch)))


def test_the_period_of_unwrap_is_read_and_no_gradient_is_lost():
    x = np.array([0.0, 5.0, 9.0], np.float32)
    for period in (3.0, np.float32(3.0), np.float64(3.0)):
        expected = np.unwrap(x, 2.0, period=period)
        given = period if type(period) is float else fg.asarray(period)
        found = fg.unwrap(x, fg.asarray(2.0), period=given)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(TracerConversionError, match="stop_gradient"):
        fg.grad(lambda period: fg.sum(fg.unwrap(x, period=period)))(3.0)
    np.testing.assert_array_equal(fg.grad(lambda x: fg.sum(fg.unwrap(x, period=fg.asarray(3.0))))(x), np.ones(3))


def test_the_dtype_of_unwrapped_booleans_is_known_before_they_are():
    x = fg.asarray([True, False])
    f = lambda x: fg.unwrap(x, period=2)
    assert fg.eval_shape(f, x).dtype == f(x).dtype == np.unwrap(np.asarray(x), period=2).dtype


def test_an_error_of_a_ufunc_that_only_evaluation_meets_says_what_numpy_says():
    with pytest.raises(DtypeError, match=r"\[round\] on bool\[2\]: Cannot cast ufunc 'multiply' output from dtype"):
        fg.round(fg.asarray([True, False]), 1)
