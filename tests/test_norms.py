"""Norms: NumPy's values for every order and axis, gradients where a norm or an element is 0, ties, errors."""

import math

import numpy as np
import pytest

import fgrad as fg
from fgrad.errors import ShapeError
from fgrad.testing import check_grads

RNG = np.random.default_rng(0)
VECTOR_ORDERS = [None, 2, 1, 0, 3, 2.5, 4, np.inf, -np.inf, -1, -2]
MATRIX_ORDERS = [None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf]


def sample(shape, dtype="float64"):
    """Numbers whose magnitudes keep their distance, so that the largest and the smallest have derivatives."""
    magnitudes = RNG.permutation(np.linspace(0.5, 2.0, math.prod(shape))).reshape(shape)
    magnitudes = magnitudes * RNG.uniform(0.97, 1.03, shape)  # nor are sums of them alike
    x = magnitudes * RNG.choice([-1, 1], shape)
    if np.dtype(dtype).kind == "c":
        x = x * np.exp(1j * RNG.uniform(0.2, 1.3, shape))
    return np.asarray(x * 3 if np.dtype(dtype).kind == "i" else x).astype(dtype)


def assert_agrees(found, expected, atol=0.0):
    assert isinstance(found, fg.Tensor)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-5 if expected.dtype.itemsize == 4 else 1e-12, atol=atol)


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128", "complex64", "int64"])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("order", VECTOR_ORDERS)
def test_vector_norms_are_numpys(order, keepdims, dtype):
    x = sample((2, 3, 2), dtype)
    for axis in (0, -1, (1,)):
        expected = np.linalg.norm(x, order, axis, keepdims)
        assert_agrees(fg.linalg.norm(x, order, axis, keepdims), np.asarray(expected))
        assert_agrees(np.linalg.norm(fg.asarray(x), order, axis, keepdims), np.asarray(expected))
    order = 2 if order is None else order
    for axis in (None, 1, (0, 2), (2, 1, 0)):
        expected = np.asarray(np.linalg.vector_norm(x, axis=axis, ord=order, keepdims=keepdims))
        assert_agrees(fg.linalg.vector_norm(x, axis=axis, ord=order, keepdims=keepdims), expected)
        assert_agrees(np.linalg.vector_norm(fg.asarray(x), axis=axis, ord=order, keepdims=keepdims), expected)


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128", "int64"])
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("order", MATRIX_ORDERS)
def test_matrix_norms_are_numpys(order, keepdims, dtype):
    x = sample((2, 3, 2), dtype)
    # Each singular value has an error of the largest one's rounding, and with it the smallest, which may be 0.
    rounding = 8 * np.finfo(x.dtype if x.dtype.kind in "fc" else float).eps * np.linalg.norm(x)
    atol = rounding if order == -2 else 0.0
    for axis in ((0, 1), (1, 0), (-1, 0), (1, 2)):
        expected = np.asarray(np.linalg.norm(x, order, axis, keepdims))
        assert_agrees(fg.linalg.norm(x, order, axis, keepdims), expected, atol)
    expected = np.asarray(np.linalg.norm(x[0], order, None, keepdims))
    assert_agrees(fg.linalg.norm(x[0], order, keepdims=keepdims), expected, atol)
    expected = np.asarray(np.linalg.matrix_norm(x, ord=order, keepdims=keepdims))
    assert_agrees(fg.linalg.matrix_norm(x, ord=order, keepdims=keepdims), expected, atol)
    assert_agrees(np.linalg.matrix_norm(fg.asarray(x), ord=order, keepdims=keepdims), expected, atol)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3, 2)])
def test_without_order_and_axis_any_shape_is_one_vector(shape, keepdims):
    x = sample(shape)
    assert_agrees(fg.linalg.norm(x, keepdims=keepdims), np.asarray(np.linalg.norm(x, keepdims=keepdims)))


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("order", [*VECTOR_ORDERS[1:], 1.5])
def test_derivatives_of_vector_norms(order, dtype):
    x = sample((2, 3), dtype)
    check_grads(lambda x: fg.linalg.vector_norm(x, ord=order), (x,), 2)
    check_grads(lambda x: fg.linalg.norm(x, order, 0, True), (x,), 2)


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize("order", MATRIX_ORDERS)
def test_derivatives_of_matrix_norms(order, dtype):
    check_grads(lambda x: fg.linalg.norm(x, order, (2, 0)), (sample((2, 2, 3), dtype),), 2)


@pytest.mark.parametrize("order", VECTOR_ORDERS[:-2])
def test_every_derivative_at_zero_is_zero(order):
    f = lambda x: fg.linalg.norm(x, order)
    zero = fg.zeros(3)
    np.testing.assert_array_equal(fg.grad(f)(zero), np.zeros(3))
    np.testing.assert_array_equal(fg.jvp(f, (zero,), (fg.ones(3),))[1], 0)
    np.testing.assert_array_equal(fg.hessian(f)(zero), np.zeros((3, 3)))
    np.testing.assert_array_equal(fg.jacrev(fg.grad(f))(zero), np.zeros((3, 3)))


@pytest.mark.parametrize("order", [-1, -2])
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_a_negative_order_at_a_zero_element(order):
    x = np.array([0.0, 2.0, -3.0])
    assert float(fg.linalg.norm(x, order)) == 0.0
    np.testing.assert_array_equal(fg.grad(lambda x: fg.linalg.norm(x, order))(x), np.zeros(3))


@pytest.mark.parametrize("order", [1, 1.5, 2, 3, 0.5])
def test_a_zero_among_the_elements(order):
    x = np.array([0.0, 3.0, -4.0])
    gradient = fg.grad(lambda x: fg.linalg.norm(x, order))(x)
    rest = fg.grad(lambda x: fg.linalg.norm(x, order))(x[1:])
    assert float(gradient[0]) == 0.0
    np.testing.assert_allclose(gradient[1:], rest)
    assert np.all(np.isfinite(fg.hessian(lambda x: fg.linalg.norm(x, order))(x)))


def test_a_complex_norm_at_zero():
    gradient = fg.grad(fg.linalg.norm)(np.zeros(2, complex))
    np.testing.assert_array_equal(gradient, np.zeros(2))


@pytest.mark.parametrize("order", ["fro", 1, np.inf])
def test_the_zero_matrix(order):
    f = lambda x: fg.linalg.norm(x, order)
    np.testing.assert_array_equal(fg.grad(f)(fg.zeros((2, 2))), np.zeros((2, 2)))
    np.testing.assert_array_equal(fg.hessian_matrix(f)(fg.zeros((2, 2))), np.zeros((4, 4)))


@pytest.mark.parametrize("order", [2, -2, "nuc"])
def test_norms_by_singular_values_at_the_zero_matrix(order):
    assert np.all(np.isfinite(fg.grad(lambda x: fg.linalg.norm(x, order))(fg.zeros((2, 2)))))


def test_ties_share():
    f = lambda order: fg.grad(lambda x: fg.linalg.norm(x, order))
    np.testing.assert_array_equal(f(np.inf)(np.array([2.0, -2.0])), [0.5, -0.5])
    np.testing.assert_array_equal(f(-np.inf)(np.array([2.0, -2.0])), [0.5, -0.5])
    np.testing.assert_array_equal(f(1)(np.array([[1.0, -2.0], [2.0, 1.0]])), [[0.5, -0.5], [0.5, 0.5]])


def test_gradients_of_large_and_small_numbers_stay_finite():
    for scale in (1e-150, 1e150):
        x = np.array([3.0, 4.0]) * scale
        for order in (2, 1):
            expected = x / np.linalg.norm(x) if order == 2 else np.ones(2)
            np.testing.assert_allclose(fg.grad(lambda x, p=order: fg.linalg.norm(x, p))(x), expected, rtol=1e-14)
    x = np.array([1e-60, 2e-60])
    gradient = fg.grad(lambda x: fg.linalg.norm(x, 5))(x)
    np.testing.assert_allclose(gradient, fg.grad(lambda x: fg.linalg.norm(x, 5))(x * 1e60), rtol=1e-12)


@pytest.mark.parametrize("order", VECTOR_ORDERS)
def test_batches(order):
    x = sample((4, 3))
    np.testing.assert_allclose(fg.vmap(lambda x: fg.linalg.norm(x, order))(x), np.linalg.norm(x, order, 1))
    np.testing.assert_allclose(fg.vmap(lambda x: fg.linalg.norm(x, order), 1)(x), np.linalg.norm(x, order, 0))


def test_norms_of_no_elements():
    assert float(fg.linalg.norm(np.zeros(0), np.inf)) == 0.0
    assert float(fg.linalg.norm(np.zeros((0, 2)), 1)) == 0.0
    assert float(fg.linalg.norm(np.zeros((0, 2)), "nuc")) == 0.0
    with pytest.raises(ShapeError, match="there is no extremum of no elements"):
        fg.linalg.norm(np.zeros(0), -np.inf)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fg.linalg.norm(fg.zeros(3), "fro"), r"\[norm\] there is no norm of order 'fro' for vectors"),
        (lambda: fg.linalg.norm(fg.zeros((2, 2)), 3), r"\[norm\] there is no norm of order 3 for matrices; .* 'nuc'"),
        (
            lambda: fg.linalg.norm(fg.zeros((2, 2, 2)), 2),
            r"\[norm\] on float64\[2,2,2\]: .* not along 3; .*vector_norm",
        ),
        (lambda: fg.linalg.norm(fg.zeros((2, 2)), None, 2), r"\[norm\] axis 2 is out of bounds"),
        (lambda: fg.linalg.norm(fg.zeros((2, 2)), None, (1, -1)), r"\[norm\] axis .* names an axis twice"),
        (lambda: fg.linalg.matrix_norm(fg.zeros(3)), r"\[matrix_norm\] on float64\[3\]: a matrix has two axes"),
        (lambda: fg.linalg.vector_norm(fg.zeros(3), ord="nuc"), r"\[vector_norm\] there is no norm of order 'nuc'"),
    ],
)
def test_errors_name_the_operation_and_the_line(call, message):
    with pytest.raises(ShapeError, match=message) as caught:
        call()
    assert "test_norms.py" in str(caught.value)
