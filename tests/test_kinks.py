"""Kinks, ties, poles and empty arrays: the derivative chosen is the documented one, in every mode."""

from __future__ import annotations

import itertools

import kink_table
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kink_table import KINKS

import fgrad as fg
from fgrad.errors import ShapeError
from fgrad.testing import check_grads, strategies

pytestmark = pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:Degrees of freedom")

INF = np.inf
NAN = np.nan
DTYPES = ("float32", "float64")
SMOOTH = [kink for kink in KINKS if not kink.raises]
RTOL = {"float32": 2e-6, "float64": 1e-12}


@pytest.fixture(autouse=True)
def quiet():
    """At a pole NumPy warns or not, as its settings say; the values are what is tested."""
    with np.errstate(all="ignore"):
        yield


def arguments(kink, dtype):
    if kink.is_complex:
        dtype = "complex64" if dtype == "float32" else "complex128"
    return tuple(fg.asarray(np.asarray(value, dtype)) for value in kink.at.values())


def total(kink):
    """The function that the table gives derivatives of: its results, added up."""
    return lambda *args: fg.sum(kink.function(*args))


def directions(x):
    """The arrays of x's shape with one entry 1."""
    return [fg.asarray(row.reshape(x.shape)) for row in np.eye(x.size, dtype=x.dtype)]


def forward(f, args, argnum):
    """The derivative by one argument, an entry at a time, by forward mode."""

    def along(v):
        return fg.jvp(lambda x: f(*args[:argnum], x, *args[argnum + 1 :]), (args[argnum],), (v,))[1]

    x = args[argnum]
    if x.dtype.kind == "c":
        # The pairing is Re(u v), so the direction i gives minus the imaginary part.
        entries = [np.asarray(along(v)) - 1j * np.asarray(along(v * 1j)) for v in directions(x)]
    else:
        entries = [np.asarray(along(v)) for v in directions(x)]
    return np.asarray(entries, x.dtype).reshape(x.shape)


def assert_first(found, expected, dtype):
    np.testing.assert_allclose(found, np.asarray(expected).reshape(np.shape(found)), rtol=RTOL[dtype], atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kink", SMOOTH, ids=str)
def test_the_value_and_the_derivative_in_both_modes(kink, dtype):
    args = arguments(kink, dtype)
    out, pullback = fg.vjp(kink.function, *args)
    if kink.value is not None:
        assert out.dtype == dtype
        np.testing.assert_allclose(out, kink.value, rtol=RTOL[dtype], atol=1e-12)
    for argnum, (x, g) in enumerate(zip(args, pullback(fg.ones_like(out)), strict=True)):
        assert (g.shape, g.dtype) == (x.shape, x.dtype)
        assert_first(g, kink.first[argnum], dtype)
        assert_first(forward(total(kink), args, argnum), kink.first[argnum], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kink", [kink for kink in SMOOTH if kink.second is not None], ids=str)
def test_the_second_derivative_in_every_nesting(kink, dtype):
    """By the elements of all arguments in one vector."""
    args = arguments(kink, dtype)
    sizes = [x.size for x in args]
    vector = fg.concatenate([fg.ravel(x) for x in args])
    ends = list(itertools.accumulate(sizes, initial=0))

    def f(vector):
        parts = [vector[a:b].reshape(x.shape) for (a, b), x in zip(itertools.pairwise(ends), args, strict=True)]
        return total(kink)(*parts)

    n = vector.size
    expected = np.broadcast_to(np.asarray(kink.second, float), (n, n))
    basis = directions(vector)
    along = lambda g, v: lambda x: fg.jvp(g, (x,), (v,))[1]
    nestings = {
        "reverse over reverse": [fg.grad(lambda x, i=i: fg.grad(f)(x)[i])(vector) for i in range(n)],
        "forward over reverse": [along(fg.grad(f), v)(vector) for v in basis],
        "reverse over forward": [fg.grad(along(f, v))(vector) for v in basis],
        "forward over forward": [[along(along(f, v), w)(vector) for w in basis] for v in basis],
    }
    for name, rows in nestings.items():
        found = np.asarray([[np.asarray(entry) for entry in row] for row in rows]).reshape(n, n)
        np.testing.assert_allclose(found, expected, rtol=10 * RTOL[dtype], atol=RTOL[dtype], err_msg=name)


@pytest.mark.parametrize("kink", SMOOTH, ids=str)
def test_a_batch_in_which_one_example_is_elsewhere(kink):
    """The examples of vmap do not see each other: between two kinks lies a point that is none."""
    args = arguments(kink, "float64")
    batches = [fg.stack([x, x + 0.25, x]) for x in args]
    argnums = tuple(range(len(args)))
    ones = [fg.ones_like(x) for x in args]

    def both_modes(*args):
        return fg.grad(total(kink), argnums)(*args), fg.jvp(total(kink), args, tuple(ones))[1]

    gradients, tangents = fg.vmap(both_modes)(*batches)
    alone, tangent = both_modes(*args)
    for example in (0, 2):
        for g, expected, single in zip(gradients, kink.first, alone, strict=True):
            np.testing.assert_array_equal(g[example], single)
            assert_first(g[example], expected, "float64")
        np.testing.assert_array_equal(tangents[example], tangent)


@pytest.mark.parametrize("kink", SMOOTH, ids=str)
def test_the_gradient_of_a_batched_function(kink):
    args = arguments(kink, "float64")
    batches = [fg.stack([x, x]) for x in args]
    batched = lambda *args: fg.sum(fg.vmap(total(kink))(*args))
    for g, expected in zip(fg.grad(batched, tuple(range(len(args))))(*batches), kink.first, strict=True):
        for example in g:
            assert_first(example, expected, "float64")


@pytest.mark.parametrize(
    "kink",
    [kink for kink in SMOOTH if not kink.is_complex and all(type(x) is float for x in kink.at.values())],
    ids=str,
)
def test_python_floats_have_the_same_derivatives(kink):
    """Unless Python's own arithmetic does something else: 1 / 0.0 raises there, and (-2.0)**0.5 is complex."""
    args, argnums = tuple(kink.at.values()), tuple(range(len(kink.at)))
    try:
        value = kink.function(*args)
    except (ZeroDivisionError, OverflowError) as error:
        with pytest.raises(type(error)):
            fg.grad(total(kink), argnums)(*args)
        return
    if fg.asarray(value).dtype.kind != "c":
        for g, expected in zip(fg.grad(total(kink), argnums)(*args), kink.first, strict=True):
            assert_first(g, expected, "float64")


@pytest.mark.parametrize("kink", [kink for kink in KINKS if kink.raises], ids=str)
def test_what_raises(kink):
    args = arguments(kink, "float64")
    for f in (kink.function, fg.make_graph(kink.function)):
        with pytest.raises(kink.value, match="there is no extremum of no elements"):
            f(*args)


def test_the_document_has_the_tables():
    text = kink_table.DOCUMENT.read_text(encoding="utf-8")
    assert kink_table.written(text) == text, "python tests/kink_table.py writes the tables of docs/kinks.md"


def test_no_kink_is_listed_twice():
    listed = [str(kink) for kink in KINKS]
    assert len(set(listed)) == len(listed)


# Higher orders.


def nth_derivatives(f, x, order):
    """The derivative of this order of a function of a number, in every sequence of the two modes."""
    forward_mode = lambda g: lambda x: fg.jvp(g, (x,), (fg.ones_like(x),))[1]
    for modes in itertools.product((fg.grad, forward_mode), repeat=order):
        g = f
        for mode in modes:
            g = mode(g)
        yield float(g(x))


NUMBERS = [kink for kink in SMOOTH if len(kink.at) == 1 and np.ndim(kink.at.get("x")) == 0 and "x" in kink.at]


@pytest.mark.parametrize("kink", NUMBERS, ids=str)
def test_the_modes_agree_in_the_third_order(kink):
    found = list(nth_derivatives(total(kink), *arguments(kink, "float64"), 3))
    np.testing.assert_allclose(found, found[0], rtol=1e-9)


@pytest.mark.parametrize("kink", NUMBERS, ids=str)
def test_no_derivative_of_a_branch_that_is_not_taken(kink):
    (x,) = arguments(kink, "float64")
    at_the_point = fg.isnan if fg.isnan(x) else lambda t: t == x
    guarded = lambda t: fg.where(at_the_point(t), 7.0, kink.function(t))
    for order in (1, 2, 3):
        np.testing.assert_array_equal(list(nth_derivatives(guarded, x, order)), 0.0)


# Properties.


@given(strategies.arrays("float64", strategies.shapes(min_dims=1, min_side=1), min_value=-1, max_value=1))
def test_the_gradient_of_an_extremum_sums_to_one(x):
    for f in (fg.max, fg.min):
        gradient = np.asarray(fg.grad(f)(x))
        assert gradient.sum() == pytest.approx(1.0)
        assert np.all(gradient[x != np.asarray(f(x))] == 0)


def test_powers_of_negative_numbers():
    x = np.array([-2.0, -0.5])
    for exponent in (3, fg.asarray(3.0), -2, fg.asarray(-2.0)):
        check_grads(lambda x, exponent=exponent: x**exponent, (x,), order=3)


NUMBERS_OF_ALL_KINDS = st.sampled_from([0.0, -0.0, 1.0, -2.0, 1e300, INF, -INF, NAN])


@pytest.mark.parametrize("size", [1, 5, 5000])
@given(data=st.data())
def test_no_nan_products_and_quotients(size, data):
    """A zero makes a product zero, whatever its partner; everything else is NumPy's arithmetic."""
    x, y = (np.resize(data.draw(st.lists(NUMBERS_OF_ALL_KINDS, min_size=1, max_size=4)), size) for _ in range(2))
    product, quotient = np.asarray(fg.multiply_no_nan(x, y)), np.asarray(fg.divide_no_nan(x, y))
    zero = (x == 0) | (y == 0)
    np.testing.assert_array_equal(product, np.where(zero, 0, x * y))
    zero = (x == 0) | (np.isinf(x) & np.isinf(y))
    np.testing.assert_array_equal(quotient, np.where(zero, 0, x / y))


def test_the_gradient_of_a_loss_that_is_nan_is_not_zero():
    softmax = lambda x: fg.exp(x) / fg.sum(fg.exp(x))
    gradient = fg.grad(lambda x: -fg.log(softmax(x)[0]))(np.array([800.0, 1.0]))
    assert np.isnan(gradient).all()


@pytest.mark.parametrize("f", [fg.multiply_no_nan, fg.divide_no_nan])
def test_no_nan_products_and_quotients_have_derivatives(f):
    check_grads(f, (np.array([1.0, -2.0]), np.array([0.5, 3.0])), order=3)


@pytest.mark.parametrize(
    ("x", "y"), [(2.0, np.float32([0, INF])), (np.float32([0, INF]), 2.0), (0.0, np.float32([NAN, 1]))]
)
def test_no_nan_arithmetic_with_python_numbers_keeps_the_dtype(x, y):
    for f in (fg.multiply_no_nan, fg.divide_no_nan):
        assert f(x, y).dtype == "float32"
        assert f(fg.asarray(x) if np.ndim(x) else x, fg.asarray(y) if np.ndim(y) else y).dtype == "float32"


def test_no_nan_arithmetic_warns_of_what_remains():
    with np.errstate(all="warn"):
        with pytest.warns(RuntimeWarning, match="divide by zero"):
            fg.divide_no_nan(np.array([0.0, 1.0]), np.array([0.0, 0.0]))
        with pytest.warns(RuntimeWarning, match="overflow"):
            fg.multiply_no_nan(np.array([0.0, 1e300]), np.array([INF, 1e300]))
        fg.divide_no_nan(np.array([0.0, INF]), np.array([0.0, INF]))
        fg.multiply_no_nan(np.array([0.0, INF]), np.array([INF, 0.0]))


@pytest.mark.parametrize(
    "x", [[2.0, 3.0, 4.0], [0.0, 3.0, 4.0], [2.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0], [5.0], [-1.0, 0.0, 2.0, 0.5]]
)
def test_products_with_zeros(x):
    x = np.array(x)
    others = [np.prod(np.delete(x, i)) for i in range(len(x))]
    np.testing.assert_allclose(fg.grad(fg.prod)(x), others, rtol=1e-14)
    check_grads(fg.prod, (x,), order=3)


def test_the_standard_deviation_of_some_equal_columns():
    x = np.array([[1.0, 2.0], [1.0, 4.0]])
    gradient = fg.grad(lambda x: fg.sum(fg.std(x, axis=0)))(x)
    np.testing.assert_allclose(gradient, [[0, -0.5], [0, 0.5]])


def test_the_direction_of_a_complex_number():
    np.testing.assert_allclose(fg.sign(np.array([0j, 3 - 4j])), [0, 0.6 - 0.8j], rtol=1e-15)
    check_grads(fg.sign, (np.array([3 - 4j, -1 + 0.5j]),))


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


def test_a_sum_of_nothing_along_an_axis():
    np.testing.assert_array_equal(fg.sum(np.zeros((0, 2)), axis=0), [0.0, 0.0])


@pytest.mark.parametrize("f", [fg.max, fg.min, fg.argmax, fg.argmin])
def test_an_extremum_of_nothing_names_the_operation(f):
    with pytest.raises(ShapeError, match=r"\[(arg)?m\w+\] on float64\[0\]: there is no extremum of no elements"):
        f(np.zeros(0))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("f", [fg.mean, fg.var, fg.std])
def test_a_moment_of_nothing_has_numpys_warning(f):
    with np.errstate(all="warn"), pytest.warns(RuntimeWarning):
        assert np.isnan(float(f(np.zeros(0))))
