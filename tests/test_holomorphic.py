"""Derivatives of holomorphic functions, and gradients of real losses by complex numbers."""

from __future__ import annotations

import numpy as np
import pytest

import fgrad as fg
from fgrad.errors import NotDifferentiableError
from fgrad.testing import check_grads

NAMES = [
    *("negative", "positive", "square", "reciprocal", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt"),
    *("sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh"),
    "sinc",
]
POINT = 0.6 + 0.45j
Z = fg.asarray([0.6 + 0.45j, -0.3 + 0.8j])
STEP = 2.0**-10


def difference(f, z, direction=1.0):
    """The derivative along a complex direction, by central differences of fourth order."""
    h = STEP * direction
    return (8 * (f(z + h) - f(z - h)) - (f(z + 2 * h) - f(z - 2 * h))) / (12 * h)


@pytest.mark.parametrize("name", NAMES)
def test_elementwise_functions_against_complex_differences(name):
    f = getattr(fg, name)
    numpy_function = getattr(np, name)
    expected = difference(numpy_function, POINT)
    # The same along another direction: it is holomorphic.
    np.testing.assert_allclose(difference(numpy_function, POINT, 1j), expected, rtol=1e-8)
    found = fg.grad(f, holomorphic=True)(POINT)
    assert found.dtype == np.complex128
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    second = difference(lambda z: np.asarray(fg.grad(f, holomorphic=True)(z)), POINT)
    np.testing.assert_allclose(
        fg.grad(fg.grad(f, holomorphic=True), holomorphic=True)(POINT), second, rtol=1e-8, atol=1e-10
    )
    np.testing.assert_allclose(fg.jvp(f, (fg.asarray(POINT),), (fg.asarray(1.0 + 0j),))[1], expected, rtol=1e-8)


def test_powers_by_base_and_exponent():
    by_base, by_exponent = fg.grad(fg.power, (0, 1), holomorphic=True)(POINT, 1.5 - 0.5j)
    np.testing.assert_allclose(by_base, (1.5 - 0.5j) * POINT ** (0.5 - 0.5j), rtol=1e-13)
    np.testing.assert_allclose(by_exponent, np.log(POINT) * POINT ** (1.5 - 0.5j), rtol=1e-13)


def test_a_complex_power_of_a_negative_number_has_its_derivative():
    expected = np.log(-2.0 + 0j) * (-2.0) ** POINT
    for base in (-2.0, fg.asarray(-2.0)):
        f = lambda y, base=base: fg.power(base, y)
        np.testing.assert_allclose(fg.grad(f, holomorphic=True)(fg.asarray(POINT)), expected, rtol=1e-13)
        np.testing.assert_allclose(fg.jvp(f, (POINT,), (1.0 + 0j,))[1], expected, rtol=1e-13)
    check_grads(lambda x, y: x**y, (fg.asarray([-2.0, 1.5]), Z))


MATRIX = np.array([[1.0 + 2.0j, 0.5j], [-1.0, 2.0 - 1.0j], [0.25, 1j]])


@pytest.mark.parametrize("transform", [fg.jacrev, fg.jacfwd, fg.jacobian])
@pytest.mark.parametrize("chunk_size", [None, 1])
def test_the_jacobian_of_a_linear_map_is_its_matrix(transform, chunk_size):
    found = transform(lambda z: fg.matmul(MATRIX, z), holomorphic=True, chunk_size=chunk_size)(Z)
    np.testing.assert_allclose(found, MATRIX, rtol=1e-15)


@pytest.mark.parametrize("transform", [fg.jacrev, fg.jacfwd, fg.jacobian])
def test_jacobians_of_trees(transform):
    def f(tree):
        return {"product": tree["a"] * tree["b"], "sine": fg.sin(tree["a"])}

    tree = {"a": Z, "b": fg.asarray(0.5 - 1.0j)}
    found = transform(f, holomorphic=True)(tree)
    np.testing.assert_allclose(found["product"]["a"], np.eye(2) * (0.5 - 1.0j))
    np.testing.assert_allclose(found["product"]["b"], Z)
    np.testing.assert_allclose(found["sine"]["a"], np.diag(np.cos(np.asarray(Z))))
    np.testing.assert_array_equal(found["sine"]["b"], np.zeros(2, complex))


def test_the_hessian_is_the_matrix_of_second_complex_derivatives():
    found = fg.hessian(lambda z: z[0] ** 2 * z[1], holomorphic=True)(Z)
    x, y = np.asarray(Z)
    np.testing.assert_allclose(found, [[2 * y, 2 * x], [2 * x, 0]], rtol=1e-14)


def test_nestings_with_vmap_and_jvp():
    derivative = fg.grad(lambda z: fg.exp(z) * z, holomorphic=True)
    z = np.asarray(Z)
    np.testing.assert_allclose(fg.vmap(derivative)(Z), (z + 1) * np.exp(z), rtol=1e-14)
    direction = fg.asarray([1.0 + 1.0j, -2.0j])
    _, tangent = fg.jvp(fg.vmap(derivative), (Z,), (direction,))
    np.testing.assert_allclose(tangent, (z + 2) * np.exp(z) * np.asarray(direction), rtol=1e-14)
    (value, aux), slope = fg.value_and_grad(lambda z: (z**3, "aux"), has_aux=True, holomorphic=True)(POINT)
    assert aux == "aux"
    np.testing.assert_allclose([value, slope], [POINT**3, 3 * POINT**2], rtol=1e-14)


def test_the_gradient_of_a_real_loss_is_the_conjugate_of_the_direction_of_ascent():
    """dL/da - i dL/db at z = a + ib, as in JAX."""

    def loss(z):
        return fg.sum(fg.abs(fg.exp(z) * (1 + 2j)) ** 2)

    found = fg.grad(loss)(Z)
    parts = lambda a, b: loss(a + 1j * b)
    by_real, by_imaginary = fg.grad(parts, (0, 1))(fg.real(Z), fg.imag(Z))
    np.testing.assert_allclose(found, np.asarray(by_real) - 1j * np.asarray(by_imaginary), rtol=1e-13)
    step = 1e-6 * np.conj(np.asarray(found)) / np.linalg.norm(found)
    assert loss(Z + step) > loss(Z)


def test_real_to_complex_to_real():
    found = fg.grad(lambda x: fg.real(fg.exp(x * 2j)))(0.3)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, -2 * np.sin(0.6), rtol=1e-15)


# What is not holomorphic.


def test_a_complex_loss_names_holomorphic():
    for transform in (fg.grad, fg.value_and_grad):
        with pytest.raises(NotDifferentiableError, match="holomorphic=True"):
            transform(lambda z: z**2)(POINT)
    with pytest.raises(NotDifferentiableError, match="holomorphic=True"):
        fg.jacrev(lambda z: z**2)(Z)
    with pytest.raises(NotDifferentiableError, match="holomorphic=True"):
        fg.jacfwd(lambda z: z**2)(Z)


@pytest.mark.parametrize("transform", [fg.grad, fg.value_and_grad, fg.jacrev, fg.jacfwd, fg.jacobian, fg.hessian])
def test_holomorphic_needs_complex_arguments_and_results(transform):
    with pytest.raises(NotDifferentiableError, match=r"tree\['w'\] has dtype float64"):
        transform(lambda tree: tree["w"] * 1j, holomorphic=True)({"w": 2.0})
    with pytest.raises(NotDifferentiableError, match="from complex to real numbers is not holomorphic"):
        transform(lambda z: fg.abs(z) ** 2, holomorphic=True)(POINT)
