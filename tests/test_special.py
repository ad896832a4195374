"""erf and erfinv: accuracy, special values, dtypes and derivatives."""

import math
from decimal import Context, Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

import fgrad as fg
from fgrad.ops.special import BLOCK, erf, erfinv, in_blocks, normal_cdf, normal_quantile
from fgrad.testing import check_grads

EPS = np.finfo(float).eps
INF, NAN = math.inf, math.nan
DIGITS_OF_PI = (
    "3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706"
    "7982148086513282306647093844609550582231725359408128481117450284102701938521105559644622948954930381"
    "9644288109756659334461284756482337867831652712019091456485669234603486104543266482133936072602491412"
    "7372458700660631558817488152092096282925409171536436789259036001133053054882046652138414695194151160"
    "9"
)


def exact_erf(x, digits=60):
    """erf by its Taylor series: the sum of (-1)^n x^(2n+1) / (n! (2n+1)), times 2 / sqrt(pi)."""
    z = Decimal(x)
    term, total, n = z, z, 0
    while abs(term) > Decimal(10) ** (2 - digits):
        n += 1
        term *= -z * z / n
        total += term / (2 * n + 1)
    return total * 2 / (Decimal(DIGITS_OF_PI[: digits + 1])).sqrt()


def exact_normal_cdf(x):
    with localcontext() as context:
        # The terms of the series reach exp(x^2 / 2), and the result is as small.
        context.prec = 60 + round(x * x / 2)
        return float((1 + exact_erf(Decimal(float(x)) / Decimal(2).sqrt(), context.prec)) / 2)


# Around the places where one formula takes over from another, and on each of them.
POINTS = [1e-300, 1e-8, 0.1, 0.3, 0.4687, 0.46875, 0.46876, 0.5, 0.9, 1.3, 2.0, 2.7, 3.5, 3.9999, 4.0, 4.0001, 4.6]


def test_erf_to_the_last_bits():
    found = np.asarray(erf(np.array(POINTS)))
    with localcontext(Context(prec=60)):
        expected = np.array([float(exact_erf(x)) for x in POINTS])
    assert np.abs(found / expected - 1).max() <= 2.5 * EPS
    np.testing.assert_array_equal(np.asarray(erf(-np.array(POINTS))), -found)


@given(st.lists(st.floats(-8, 8), min_size=1, max_size=50))
def test_erf_is_scipys(values):
    np.testing.assert_allclose(np.asarray(erf(values)), special.erf(values), rtol=4 * EPS, atol=1e-323)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=50))
def test_erfinv_is_the_inverse(values):
    x = np.array(values)
    inverse = np.asarray(erfinv(x))
    np.testing.assert_allclose(inverse, special.erfinv(x), rtol=8 * EPS, atol=1e-323)
    # The inverse is well conditioned by 1 - |x|, which is exact from 1/2 on.
    tail = np.abs(x) > 0.5
    condition = 1 + 2 * np.minimum(np.abs(inverse[tail]), 6) ** 2
    assert (
        np.abs(special.erfc(np.abs(inverse[tail])) - (1 - np.abs(x[tail])))
        <= 8 * EPS * condition * (1 - np.abs(x[tail]))
    ).all()
    np.testing.assert_allclose(special.erf(inverse[~tail]), x[~tail], rtol=8 * EPS, atol=1e-323)


def test_special_values():
    np.testing.assert_array_equal(np.asarray(erf([0.0, INF, -INF, NAN, 1e300])), [0.0, 1.0, -1.0, NAN, 1.0])
    np.testing.assert_array_equal(np.asarray(erfinv([0.0, 1.0, -1.0, NAN, 1.5, -INF])), [0.0, INF, -INF, NAN, NAN, NAN])
    for function in (erf, erfinv):
        zeros = np.asarray(function([0.0, -0.0]))
        assert np.signbit(zeros).tolist() == [False, True]
        assert function(np.zeros((2, 0))).shape == (2, 0)
        assert function(0.5).shape == ()


@pytest.mark.parametrize("function", [erf, erfinv])
def test_dtypes(function):
    values = [-0.9, -0.3, 0.0, 0.5, 0.999]
    exact = np.asarray(function(values))
    for dtype in ("float16", "float32", "float64"):
        x = fg.asarray(values, dtype)
        found = function(x)
        assert found.dtype == dtype
        np.testing.assert_array_equal(np.asarray(found), np.asarray(function(np.asarray(x, float))).astype(dtype))
        np.testing.assert_allclose(np.asarray(found, float), exact, rtol=600 * np.finfo(dtype).eps)
    assert function(fg.asarray([0, 1])).dtype == np.float64
    assert function(fg.asarray([0, 1], "int16")).dtype == np.float32
    assert function(0).dtype == np.float64
    graph = fg.make_graph(function)(fg.asarray(values, "float32"))
    graph.check()
    assert fg.tree.equal(graph(fg.asarray(values, "float32")), function(fg.asarray(values, "float32")))
    for wrong in (fg.asarray([1j]), 1j, np.zeros(2, np.longdouble)):
        with pytest.raises(
            TypeError, match=r"\[erf(inv)?\] on .*it is defined for floats of up to 64 bits, not for dtype"
        ):
            function(wrong)


def test_derivatives():
    check_grads(erf, (fg.asarray([-2.0, -0.4, 0.0, 0.5, 1.0]),), order=3)
    check_grads(erfinv, (fg.asarray([-0.9, -0.4, 0.0, 0.5, 0.8]),), order=3)
    check_grads(lambda x: erf(x) * erfinv(x), (0.5,), order=2)
    assert fg.grad(erf)(0.0).item() == pytest.approx(2 / math.sqrt(math.pi), rel=EPS)
    assert fg.grad(erfinv)(fg.asarray(0.0, "float32")).dtype == np.float32


def test_derivatives_at_the_ends():
    assert fg.grad(erfinv)(1.0).item() == INF
    untaken = fg.grad(lambda x: fg.sum(fg.where(x < 1, erfinv(x), 0.0)))(fg.asarray([0.0, 1.0, -1.0]))
    assert untaken.tolist() == [math.sqrt(math.pi) / 2, 0.0, INF]
    assert fg.grad(erf)(fg.asarray(INF)).item() == 0.0


def test_normal_cdf_to_the_last_bits():
    points = np.array([-15.3, -11.7, -8.01, -5.66, -5.65, -4.3, -2.1, -1.3, -0.67, -0.66, -0.1, 0.3, 1.7, 4.4])
    expected = np.array([exact_normal_cdf(x) for x in points])
    assert np.abs(normal_cdf(points) / expected - 1).max() <= 4 * EPS


@given(st.lists(st.floats(-45, 45), min_size=1, max_size=40))
def test_normal_cdf_keeps_its_lower_tail(values):
    x = np.array(values)
    np.testing.assert_allclose(normal_cdf(x), special.ndtr(x), rtol=2e-13, atol=1e-306)


@given(st.lists(st.floats(1e-300, 0.5), min_size=1, max_size=40))
def test_normal_quantile_of_small_probabilities(values):
    p = np.array(values)
    np.testing.assert_allclose(normal_quantile(p - 0.5, p), special.ndtri(p), rtol=1e-13, atol=1e-15)
    np.testing.assert_array_equal(normal_quantile(0.5 - p, p), -normal_quantile(p - 0.5, p))


def test_quantiles_on_a_grid():
    p = np.concatenate([10.0 ** np.linspace(-300, -0.4, 4000), np.linspace(0.01, 0.5, 999)])
    np.testing.assert_allclose(normal_quantile(p - 0.5, p), special.ndtri(p), rtol=8 * EPS, atol=1e-16)
    x = np.linspace(-1, 1, 4001)
    np.testing.assert_allclose(np.asarray(erfinv(x)), special.erfinv(x), rtol=6 * EPS)


def test_blocks_are_invisible():
    x = np.linspace(-3, 3, 2 * BLOCK + 7)
    for kernel in (np.sin, normal_cdf):
        np.testing.assert_array_equal(in_blocks(kernel, x), kernel(x))
        np.testing.assert_array_equal(in_blocks(kernel, x[::-1]), kernel(x[::-1].copy()))
    large = np.asarray(erf(x))
    np.testing.assert_array_equal(large[:5], np.asarray(erf(x[:5])))
    np.testing.assert_array_equal(large[-5:], np.asarray(erf(x[-5:])))


@pytest.mark.parametrize("dtype", [bool, "int8", "uint8", "int64", "float16"])
def test_i0_has_the_dtype_of_numpys(dtype):
    x = np.array([0, 1, 1], dtype)
    assert fg.i0(x).dtype == np.i0(x).dtype
    np.testing.assert_allclose(fg.i0(x), np.i0(x), rtol=4 * np.finfo(np.i0(x).dtype).eps)
    assert fg.vmap(fg.i0)(x).dtype == np.i0(x).dtype


def test_the_second_derivative_of_log_ndtr_is_accurate_far_below_zero():
    second = fg.vmap(fg.grad(fg.grad(fg.special.log_ndtr)))
    # From -s (s - t), s the density over the upper tail at t, in 60 digits; 1 - 1 / t**2 where that is all there is.
    expected = {
        3.0: -0.92944081321473188314,
        3.5: -0.94306699504870319551,
        10.0: -0.99055462217434373884,
        1000.0: -0.99999900000599995,
        4496.0: -(1 - 4496.0**-2),
        1e8: -1.0,
    }
    x = -np.array(list(expected))
    np.testing.assert_allclose(second(x), list(expected.values()), rtol=1e-13)
    np.testing.assert_allclose(second(np.float32(x)), list(expected.values()), rtol=1e-6)
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(second(np.array([-np.inf, np.inf])), [-1.0, 0.0])
