"""Kinks, ties, poles and empty arrays: the derivative chosen is the documented one, and never NaN by accident."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fgrad as fg
from fgrad.errors import ShapeError
from fgrad.testing import check_grads, strategies

INF = np.inf
NAN = np.nan


def elementwise_gradient(f, x):
    return np.asarray(fg.grad(lambda x: fg.sum(f(x)))(np.asarray(x, float)))


def elementwise_second(f, x):
    return elementwise_gradient(fg.grad(lambda x: fg.sum(f(x))), x)


# Elementwise functions: (name, function, points, first derivatives, second derivatives).

ELEMENTWISE = [
    ("abs", fg.abs, [0.0, -0.0, 1.0], [0, 0, 1], [0, 0, 0]),
    ("sign", fg.sign, [0.0, 2.0], [0, 0], [0, 0]),
    ("relu", fg.relu, [0.0, -0.0, 1.0, -1.0, NAN], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]),
    ("maximum with a number", lambda x: fg.maximum(x, 1.0), [1.0, 2.0, 0.0], [0.5, 1, 0], [0, 0, 0]),
    ("minimum with a number", lambda x: fg.minimum(x, 1.0), [1.0, 2.0, 0.0], [0.5, 0, 1], [0, 0, 0]),
    ("maximum of itself", lambda x: fg.maximum(x, x), [1.0], [1], [0]),
    ("clip", lambda x: fg.clip(x, -1.0, 1.0), [-1.0, 1.0, 0.0, 2.0, -2.0], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]),
    ("clip of crossed limits", lambda x: fg.clip(x, 2.0, 1.0), [0.0, 1.5, 3.0], [0, 0, 0], [0, 0, 0]),
    ("floor", fg.floor, [1.0, 1.5], [0, 0], [0, 0]),
    ("round", fg.round, [0.5, 1.0], [0, 0], [0, 0]),
    ("remainder", lambda x: x % 2.0, [4.0, 1.0, -2.0], [1, 1, 1], [0, 0, 0]),
    ("square by power", lambda x: x**2, [0.0, -3.0], [0, -6], [2, 2]),
    ("cube by power", lambda x: x**3.0, [0.0, -1.0], [0, 3], [0, -6]),
    ("first power", lambda x: x**1, [0.0, -2.0], [1, 1], [0, 0]),
    ("zeroth power", lambda x: x**0, [0.0, 2.0], [0, 0], [0, 0]),
    ("tensor power 2", lambda x: x ** fg.asarray(2.0), [0.0, -3.0], [0, -6], [2, 2]),
    ("tensor power 1", lambda x: x ** fg.asarray(1.0), [0.0, -3.0], [1, 1], [0, 0]),
    ("tensor power 0", lambda x: x ** fg.asarray(0.0), [0.0, -3.0], [0, 0], [0, 0]),
    ("tensor powers", lambda x: x ** fg.asarray([0.0, 1.0, 2.0, 3.0]), [0.0] * 4, [0, 1, 0, 0], [0, 0, 2, 0]),
    (
        "where over log",
        lambda x: fg.where(x > 0, fg.log(fg.where(x > 0, x, 1.0)), 0.0),
        [0.0, 2.0],
        [0, 0.5],
        [0, -0.25],
    ),
    ("square root of square", lambda x: fg.sqrt(x * x + 1e-300), [2.0], [1], [0]),
]


@pytest.mark.parametrize(
    ("f", "x", "first", "second"), [row[1:] for row in ELEMENTWISE], ids=[row[0] for row in ELEMENTWISE]
)
def test_elementwise_kinks(f, x, first, second):
    np.testing.assert_allclose(elementwise_gradient(f, x), first, rtol=1e-14, atol=0)
    np.testing.assert_allclose(elementwise_second(f, x), second, rtol=1e-14, atol=1e-14)


# At a pole the limit is infinite, as the documentation says; NumPy's floating-point settings decide about warnings.

POLES = [
    ("log", fg.log, 0.0, INF),
    ("log2", fg.log2, 0.0, INF),
    ("log10", fg.log10, 0.0, INF),
    ("log1p", fg.log1p, -1.0, INF),
    ("sqrt", fg.sqrt, 0.0, INF),
    ("half power", lambda x: x**0.5, 0.0, INF),
    ("arcsin", fg.arcsin, 1.0, INF),
    ("arcsin", fg.arcsin, -1.0, INF),
    ("arccos", fg.arccos, 1.0, -INF),
    ("arccosh", fg.arccosh, 1.0, INF),
    ("arctanh", fg.arctanh, 1.0, INF),
    ("reciprocal", fg.reciprocal, 0.0, -INF),
    ("division", lambda x: fg.asarray(1.0) / x, 0.0, -INF),
]
POLE_IDS = [f"{row[0]} at {row[2]}" for row in POLES]


@pytest.mark.parametrize(("f", "x", "expected"), [row[1:] for row in POLES], ids=POLE_IDS)
def test_the_derivative_at_a_pole_is_its_limit(f, x, expected):
    with np.errstate(all="ignore"):
        assert elementwise_gradient(f, [x])[0] == expected


@pytest.mark.parametrize(("f", "x"), [row[1:3] for row in POLES], ids=POLE_IDS)
def test_a_branch_that_is_not_taken_contributes_nothing(f, x):
    """0 * inf must not become NaN."""
    guarded = lambda t: fg.where(t == x, 5.0 * t, f(t))
    with np.errstate(all="ignore"):
        assert elementwise_gradient(guarded, [x])[0] == 5.0
        assert elementwise_second(guarded, [x])[0] == 0.0


OVERFLOWS = [
    ("softplus", lambda x: fg.where(x > 0, x, fg.log1p(fg.exp(x))), 1.0),
    ("elu", lambda x: fg.where(x > 0, x, fg.expm1(x)), 1.0),
    ("exp2", lambda x: fg.where(x > 0, x, fg.exp2(2 * x)), 1.0),
    ("sinh", lambda x: fg.where(x > 0, x, fg.sinh(x)), 1.0),
    ("cosh", lambda x: fg.where(x > 0, 2 * x, fg.cosh(x)), 2.0),
    ("quotient", lambda x: fg.where(x > 0, x, 1 / (1 + fg.exp(x))), 1.0),
    ("power", lambda x: fg.where(x > 0, x, x**900), 1.0),
    ("product", lambda x: fg.where(x > 0, x, x * fg.exp(x)), 1.0),
    ("square", lambda x: fg.where(x > 0, x, fg.square(fg.exp(x))), 1.0),
    ("second power", lambda x: fg.where(x > 0, x, fg.exp(x) ** 2), 1.0),
]


@pytest.mark.parametrize(("f", "expected"), [row[1:] for row in OVERFLOWS], ids=[row[0] for row in OVERFLOWS])
def test_a_branch_that_overflows_contributes_nothing(f, expected):
    with np.errstate(over="ignore"):
        assert elementwise_gradient(f, [800.0])[0] == expected
    with np.errstate(over="ignore", invalid="ignore"):
        assert elementwise_second(f, [800.0])[0] == 0.0


# Two operands.


@pytest.mark.parametrize("f", [fg.maximum, fg.minimum])
def test_ties_of_two_operands_are_shared_in_halves(f):
    by_x, by_y = fg.grad(lambda x, y: fg.sum(f(x, y)), (0, 1))(np.array([1.0, 2.0]), np.array([1.0, 2.0]))
    np.testing.assert_array_equal(by_x, [0.5, 0.5])
    np.testing.assert_array_equal(by_y, [0.5, 0.5])


def test_the_limits_of_clip_take_the_cotangent_outside():
    by_x, low, high = fg.grad(lambda x, low, high: fg.sum(fg.clip(x, low, high)), (0, 1, 2))(
        np.array([-2.0, -1.0, 0.0, 1.0, 2.0]), -1.0, 1.0
    )
    np.testing.assert_array_equal(by_x, [0, 1, 1, 1, 0])
    assert (float(low), float(high)) == (1.0, 1.0)


@pytest.mark.parametrize("y", [0.0, 0.5, 1.0, 2.0])
def test_powers_of_zero_have_derivative_zero_by_the_exponent(y):
    assert float(fg.grad(lambda y: fg.asarray(0.0) ** y)(y)) == 0.0
    assert float(fg.grad(lambda y: 0.0**y)(y)) == 0.0
    assert float(fg.grad(fg.grad(lambda y: fg.asarray(0.0) ** y))(y)) == 0.0


def test_powers_of_negative_numbers():
    x = np.array([-2.0, -0.5])
    np.testing.assert_allclose(elementwise_gradient(lambda x: x**3, x), 3 * x**2)
    np.testing.assert_allclose(elementwise_gradient(lambda x: x ** fg.asarray(-2.0), x), -2 * x**-3)
    np.testing.assert_allclose(elementwise_second(lambda x: x ** fg.asarray(-2.0), x), 6 * x**-4)


def test_division_of_zero_by_zero_where_it_is_not_selected():
    def sinc(x):
        return fg.where(x == 0, 1.0, fg.sin(x) / x)

    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(elementwise_gradient(sinc, [0.0, np.pi]), [0.0, -1 / np.pi], atol=1e-15)


def test_no_nan_products_and_quotients():
    zero, bad = np.zeros(3), np.array([0.0, INF, NAN])
    np.testing.assert_array_equal(fg.divide_no_nan(zero, bad), zero)
    np.testing.assert_array_equal(fg.multiply_no_nan(zero, bad), zero)
    for f in (fg.divide_no_nan, fg.multiply_no_nan):
        check_grads(f, (np.array([1.0, -2.0]), np.array([0.5, 3.0])), order=2)


def test_the_modulus_of_a_complex_zero():
    np.testing.assert_allclose(
        fg.grad(lambda z: fg.sum(fg.abs(z)))(np.array([0j, 3 - 4j])), [0, 0.6 + 0.8j], rtol=1e-15
    )
    np.testing.assert_allclose(fg.sign(np.array([0j, 3 - 4j])), [0, 0.6 - 0.8j], rtol=1e-15)


# Reductions.


@pytest.mark.parametrize("f", [fg.max, fg.min])
def test_ties_of_an_extremum_are_shared_evenly(f):
    x = np.array([[1.0, 1.0, 1.0], [2.0, -2.0, 2.0]])
    np.testing.assert_allclose(fg.grad(f)(np.ones((2, 2))), np.full((2, 2), 0.25))
    rows = fg.grad(lambda x: fg.sum(f(x, axis=1)))(x)
    np.testing.assert_allclose(rows[0], [1 / 3] * 3)
    np.testing.assert_allclose(rows[1], [0.5, 0, 0.5] if f is fg.max else [0, 1, 0])
    np.testing.assert_array_equal(fg.grad(lambda x: fg.sum(fg.grad(f)(x)))(x), np.zeros((2, 3)))


@given(strategies.arrays("float64", strategies.shapes(min_dims=1, min_side=1), min_value=-1, max_value=1))
def test_the_gradient_of_an_extremum_sums_to_one(x):
    for f in (fg.max, fg.min):
        gradient = np.asarray(fg.grad(f)(x))
        assert gradient.sum() == pytest.approx(1.0)
        assert np.all(gradient[x != np.asarray(f(x))] == 0)


def test_the_gradient_of_an_extremum_that_is_nan_goes_to_the_nans():
    np.testing.assert_array_equal(fg.grad(fg.max)(np.array([1.0, NAN, 2.0, NAN])), [0, 0.5, 0, 0.5])


@pytest.mark.parametrize(
    "x", [[2.0, 3.0, 4.0], [0.0, 3.0, 4.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0], [5.0], [-1.0, 0.0, 2.0, 0.5]]
)
def test_products_with_zeros(x):
    x = np.array(x)
    others = [np.prod(np.delete(x, i)) for i in range(len(x))]
    np.testing.assert_allclose(fg.grad(fg.prod)(x), others, rtol=1e-14)
    check_grads(fg.prod, (x,), order=3)


def test_the_variance_of_equal_elements_has_gradient_zero():
    x = np.full((2, 3), 1.7)
    np.testing.assert_array_equal(fg.grad(fg.var)(x), np.zeros((2, 3)))
    np.testing.assert_array_equal(fg.grad(fg.std)(x), np.zeros((2, 3)))
    np.testing.assert_array_equal(fg.grad(lambda x: fg.sum(fg.std(x, axis=0)))(x), np.zeros((2, 3)))
    np.testing.assert_array_equal(fg.grad(fg.std)(np.array([3.0])), [0.0])
    second = fg.grad(lambda x: fg.sum(fg.grad(fg.std)(x) * fg.asarray([[1.0, 2.0, 3.0]])))(x)
    np.testing.assert_array_equal(second, np.zeros((2, 3)))


def test_the_standard_deviation_of_some_equal_columns():
    x = np.array([[1.0, 2.0], [1.0, 4.0]])
    gradient = fg.grad(lambda x: fg.sum(fg.std(x, axis=0)))(x)
    np.testing.assert_allclose(gradient, [[0, -0.5], [0, 0.5]])


# logsumexp.


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1), (-1,)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shift", [1e4, -1e4, 0.0])
def test_logsumexp_is_finite_far_from_zero_and_its_gradient_is_softmax(shift, dtype, axis):
    x = (np.array([[0.5, -1.0, 2.0], [1.0, 1.0, -3.0]]) + shift).astype(dtype)
    for keepdims in (False, True):
        out, pullback = fg.vjp(lambda x, keepdims=keepdims: fg.logsumexp(x, axis, keepdims), x)
        wide = x.astype("float64") - shift
        expected = np.log(np.sum(np.exp(wide), axis=axis, keepdims=keepdims)) + shift
        assert (out.dtype, out.shape) == (x.dtype, expected.shape)
        np.testing.assert_allclose(out, expected, rtol=1e-6 if dtype == "float32" else 1e-14)
        softmax = np.exp(wide) / np.sum(np.exp(wide), axis=axis, keepdims=True)
        (gradient,) = pullback(fg.ones_like(out))
        assert gradient.dtype == x.dtype
        np.testing.assert_allclose(gradient, softmax, rtol=2e-6 if dtype == "float32" else 1e-12)


@given(strategies.separated_arrays(st.tuples(st.integers(1, 5)), min_value=-5, max_value=5))
def test_the_hessian_of_logsumexp(x):
    p = np.exp(x) / np.exp(x).sum()
    rows = [fg.grad(lambda x, i=i: fg.grad(fg.logsumexp)(x)[i])(x) for i in range(len(x))]
    np.testing.assert_allclose(np.stack(rows), np.diag(p) - np.outer(p, p), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(
    ("x", "value", "gradient"),
    [
        ([-INF, -INF], -INF, [0, 0]),
        ([-INF, 1.0], 1.0, [0, 1]),
        ([-INF], -INF, [0]),
        ([INF, 1.0], INF, [1, 0]),
        ([INF, INF], INF, [0.5, 0.5]),
        ([INF, -INF], INF, [1, 0]),
        ([], -INF, []),
        ([NAN, 1.0], NAN, [NAN, NAN]),
    ],
)
def test_logsumexp_of_infinities(x, value, gradient):
    found, by_x = fg.value_and_grad(fg.logsumexp)(np.array(x, float))
    np.testing.assert_array_equal(found, value)
    np.testing.assert_array_equal(by_x, gradient)
    second = fg.grad(lambda x: fg.sum(fg.grad(fg.logsumexp)(x)))(np.array(x, float))
    np.testing.assert_allclose(second, np.array(gradient) * 0.0, atol=1e-16)


def test_logsumexp_of_rows_some_of_which_are_all_minus_infinity():
    x = np.array([[-INF, -INF], [0.0, 0.0]])
    gradient = fg.grad(lambda x: fg.sum(fg.where(fg.isfinite(fg.logsumexp(x, 1)), fg.logsumexp(x, 1), 0.0)))(x)
    np.testing.assert_array_equal(gradient, [[0, 0], [0.5, 0.5]])


# Empty arrays.


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
@pytest.mark.parametrize(
    "f", [fg.sum, fg.prod, fg.logsumexp, lambda x: fg.sum(fg.sin(x)), lambda x: fg.sum(fg.cumsum(x, 0)), fg.cumsum]
)
def test_gradients_of_empty_arrays_are_empty(f, shape):
    out, pullback = fg.vjp(f, np.zeros(shape))
    (gradient,) = pullback(fg.ones_like(out))
    assert gradient.shape == shape
    assert gradient.dtype == "float64"


def test_empty_sums_and_products():
    assert float(fg.sum(np.zeros(0))) == 0.0
    assert float(fg.prod(np.zeros(0))) == 1.0
    np.testing.assert_array_equal(fg.sum(np.zeros((0, 2)), axis=0), [0.0, 0.0])


@pytest.mark.parametrize("f", [fg.max, fg.min, fg.argmax, fg.argmin])
def test_an_extremum_of_nothing_raises(f):
    with pytest.raises(ShapeError, match=r"\[(arg)?m\w+\] on float64\[0\]: there is no extremum of no elements"):
        f(np.zeros(0))
    with pytest.raises(ShapeError):
        fg.make_graph(f)(np.zeros(0))


@pytest.mark.parametrize("f", [fg.mean, fg.var, fg.std])
def test_a_moment_of_nothing_is_nan_with_numpys_warning(f):
    with pytest.warns(RuntimeWarning):
        assert np.isnan(float(f(np.zeros(0))))


# Repeated places.


def test_of_several_values_written_to_one_place_only_the_last_has_a_derivative():
    f = fg.zeros(2).at[fg.asarray([0, 1, 0])].set
    np.testing.assert_array_equal(fg.grad(lambda v: fg.sum(f(v)))(np.array([1.0, 2.0, 3.0])), [0, 1, 1])
    np.testing.assert_array_equal(f(fg.asarray([1.0, 2.0, 3.0])), [3, 2])


def test_reading_one_place_several_times_adds_up():
    np.testing.assert_array_equal(fg.grad(lambda x: fg.sum(x[[0, 0, 1]]))(np.array([1.0, 2.0])), [2, 1])
    np.testing.assert_array_equal(fg.grad(lambda x: fg.sum(fg.take(x, [1, 1, 1])))(np.array([1.0, 2.0])), [0, 3])


def test_ties_in_max_updates_are_shared():
    by_x, by_v = fg.grad(lambda x, v: fg.sum(x.at[0].max(v)), (0, 1))(np.array([1.0, 2.0]), 1.0)
    np.testing.assert_array_equal(by_x, [0.5, 1])
    assert float(by_v) == 0.5
