"""Forward mode: jvp and linearize, their trees and dtypes, their agreement with reverse mode, and their errors."""

from __future__ import annotations

import numpy as np
import pytest

import fgrad as fg
from fgrad import random
from fgrad.core.bind import Tracer

X = fg.asarray([0.3, -1.2, 2.0])
V = fg.asarray([1.0, 0.5, -2.0])


def f(x):
    return fg.sin(x) * x + fg.exp(-x) / (1.0 + x * x)


def df(x):
    return fg.cos(x) * x + fg.sin(x) - fg.exp(-x) / (1.0 + x * x) - 2.0 * x * fg.exp(-x) / (1.0 + x * x) ** 2


def assert_close(x, y):
    assert (x.shape, x.dtype) == (y.shape, y.dtype)
    np.testing.assert_allclose(x, y, rtol=1e-12)


# jvp.


def test_value_and_directional_derivative():
    y, tangent = fg.jvp(f, (X,), (V,))
    np.testing.assert_array_equal(y, f(X))
    assert_close(tangent, df(X) * V)


def test_several_arguments_and_trees():
    g = lambda params, x: {"y": params["w"] * x + params["b"], "sum": (fg.sum(x),)}
    primals = ({"w": X, "b": fg.asarray(2.0)}, V)
    tangents = ({"w": V, "b": fg.asarray(1.0)}, X)
    y, tangent = fg.jvp(g, primals, tangents)
    assert fg.tree.structure(y) == fg.tree.structure(tangent)
    assert_close(tangent["y"], V * V + X * X + 1.0)
    assert_close(tangent["sum"][0], fg.sum(X))


def test_lists_of_primals_and_tangents():
    assert_close(fg.jvp(f, [X], [V])[1], df(X) * V)


def test_a_tangent_that_is_none_is_a_zero():
    product = lambda x, y: x * y
    assert_close(fg.jvp(product, (X, V), (None, V))[1], X * V)
    assert_close(fg.jvp(product, (X, V), (None, None))[1], fg.zeros(3))


def test_python_numbers():
    y, tangent = fg.jvp(lambda x: x**3, (2.0,), (1.0,))
    assert y == 8.0
    assert_close(tangent, fg.asarray(12.0))
    y, tangent = fg.jvp(lambda x: x * fg.ones(2, dtype="float32"), (2.0,), (1.0,))
    assert y.dtype == tangent.dtype == np.float32


def test_dtypes_follow_the_result():
    x, v = X.astype("float32"), V.astype("float32")
    y, tangent = fg.jvp(lambda x: fg.sum(x * X), (x,), (v,))
    assert y.dtype == tangent.dtype == np.float64
    y, tangent = fg.jvp(lambda x: fg.where(x > 0, x, 0), (x,), (v,))
    assert y.dtype == tangent.dtype == np.float32
    y, tangent = fg.jvp(lambda x: x * 1j, (X,), (V,))
    assert y.dtype == tangent.dtype == np.complex128


def test_results_without_derivative():
    _y, tangent = fg.jvp(lambda x: (fg.argmax(x), x > 0, X, 3.0), (X,), (V,))
    assert tangent[:2] == (None, None)
    assert_close(tangent[2], fg.zeros(3))
    assert_close(tangent[3], fg.asarray(0.0))


def test_integer_arguments_and_keys_have_no_direction():
    g = lambda n, key, x: (n * x, random.fold_in(key, 1))
    (_y, key), (tangent, none) = fg.jvp(g, (2, random.key(0), X), (None, None, V))
    assert none is None
    assert_close(tangent, 2 * V)
    assert key.shape == ()


def test_auxiliary_results():
    _y, tangent, aux = fg.jvp(lambda x: (x * x, {"x": x, "n": 3}), (X,), (V,), has_aux=True)
    assert_close(tangent, 2.0 * X * V)
    assert_close(aux["x"], X)
    assert not isinstance(aux["x"], Tracer)
    assert aux["n"] == 3


def test_python_control_flow():
    def g(x):
        while x < 10.0:
            x = x * x if x > 1.5 else x + 1.0
        return x

    y, tangent = fg.jvp(g, (fg.asarray(1.2),), (fg.asarray(1.0),))
    assert_close(y, fg.asarray(2.2**4))
    assert_close(tangent, fg.asarray(4 * 2.2**3))


def test_nested_to_the_third_order():
    third = lambda x: fg.jvp(lambda x: fg.jvp(lambda x: fg.jvp(fg.sin, (x,), (1.0,))[1], (x,), (1.0,))[1], (x,), (1.0,))
    _, tangent = third(0.7)
    assert_close(tangent, fg.asarray(-np.cos(0.7)))


@pytest.mark.parametrize("x", [X, X.astype("float32")])
def test_the_pairing_of_the_two_modes(x):
    v, u = V.astype(x.dtype), fg.asarray([0.2, 1.0, -0.7]).astype(x.dtype)
    tangent = fg.jvp(f, (x,), (v,))[1]
    (cotangent,) = fg.vjp(f, x)[1](u)
    np.testing.assert_allclose(fg.dot(u, tangent), fg.dot(cotangent, v), rtol=1e-12 if x is X else 1e-5)


def test_confusion_of_perturbations():
    inner = lambda x: fg.jvp(lambda y: x + y, (1.0,), (1.0,))[1]
    assert_close(fg.jvp(lambda x: x * inner(x), (3.0,), (1.0,))[1], fg.asarray(1.0))


# linearize.


def test_a_linear_map_is_the_jvp():
    y, linear_map = fg.linearize(f, X)
    np.testing.assert_array_equal(y, f(X))
    for direction in (V, 2.0 * V, X):
        assert_close(linear_map(direction), fg.jvp(f, (X,), (direction,))[1])


def test_the_function_runs_once():
    calls = []

    def g(x):
        calls.append(x)
        return f(x)

    _, linear_map = fg.linearize(g, X)
    linear_map(V), linear_map(X)
    assert len(calls) == 1


def test_only_the_linear_part_is_left():
    _, linear_map = fg.linearize(lambda x: fg.sin(fg.exp(x)) * 2.0, X)
    names = [equation.primitive.name for equation in linear_map.graph.equations]
    assert not {"sin", "cos", "exp"} & set(names)


def test_values_are_known_while_linearizing():
    y, linear_map = fg.linearize(lambda x: x * x if x > 0 else -x, 3.0)
    assert y == 9.0
    assert_close(linear_map(1.0), fg.asarray(6.0))


def test_trees_and_leaves_without_tangent():
    g = lambda params, n: (params["w"] * n, fg.argmax(params["w"]))
    (_y, _n), linear_map = fg.linearize(g, {"w": X}, 3)
    tangent, none = linear_map({"w": V}, None)
    assert none is None
    assert_close(tangent, 3 * V)
    assert_close(linear_map({"w": None}, None)[0], fg.zeros(3))


def test_linear_maps_under_other_transforms():
    _, linear_map = fg.linearize(f, X)
    np.testing.assert_allclose(fg.vmap(linear_map)(fg.eye(3)), np.diag(np.asarray(df(X))), rtol=1e-12)
    (cotangent,) = fg.vjp(linear_map, V)[1](fg.ones(3))
    assert_close(cotangent, df(X))
    second = lambda x: fg.sum(fg.linearize(f, x)[1](V))
    assert_close(fg.grad(second)(X), fg.jvp(fg.grad(lambda x: fg.sum(f(x))), (X,), (V,))[1])


# Errors.


def message_of(function, *args, error=Exception):
    with pytest.raises(error) as caught:
        function(*args)
    return str(caught.value)


def test_tangents_that_do_not_fit():
    tree = ({"w": X},)
    square = lambda p: p["w"] ** 2
    message = message_of(fg.jvp, square, tree, ({"w": fg.ones(2)},), error=fg.errors.ShapeError)
    assert "tangents[0]['w'] has shape (2,), and primals[0]['w'] has shape (3,)" in message
    message = message_of(fg.jvp, square, tree, ({"w": V.astype("float32")},), error=fg.errors.DtypeError)
    assert "tangents[0]['w'] has dtype float32" in message
    assert "tangents" in message_of(fg.jvp, square, tree, ({"v": V},), error=fg.errors.TreeError)
    assert "fg.jvp(f, (x,), (v,))" in message_of(fg.jvp, f, X, V, error=TypeError)
    message = message_of(fg.jvp, lambda x: x * 2.0, (1.5,), (1j,), error=fg.errors.DtypeError)
    assert "tangents[0] has dtype complex128, and primals[0] has dtype float64" in message


def test_a_direction_for_what_has_none():
    message = message_of(fg.jvp, lambda n: n * 2.0, (3,), (1.0,), error=fg.errors.NotDifferentiableError)
    assert "tangents[0] is the direction of primals[0], which is an int and has none" in message
    key = random.key(0)
    assert "a random key" in message_of(fg.jvp, random.normal, (key,), (1.0,), error=TypeError)


def test_results_that_are_no_arrays():
    assert "returned a str at ['name']" in message_of(fg.jvp, lambda x: {"name": "x"}, (X,), (V,), error=ValueError)
    assert "pair (out, aux)" in message_of(lambda: fg.jvp(f, (X,), (V,), has_aux=True), error=ValueError)


def test_tracers_that_outlive_jvp():
    kept = []
    fg.jvp(lambda x: (kept.append(x), x)[1], (X,), (V,))
    with pytest.raises(fg.errors.EscapedTracerError, match="jvp"):
        kept[0] * 2.0
    assert repr(kept[0]) == "Tensor(of a finished jvp call)"


def test_conversions_would_drop_the_tangent():
    message = message_of(fg.jvp, float, (2.0,), (1.0,), error=fg.errors.TracerConversionError)
    assert "jvp" in message
    assert "fg.stop_gradient" in message


def test_they_take_functions():
    assert "write fg.linearize(f, x), not fg.linearize(f(x), x)" in message_of(fg.linearize, X, error=TypeError)
