"""NumPy meets tensors: np.sin(t), ndarray + t and np.concatenate keep the gradient, and nothing ever drops it."""

from __future__ import annotations

import functools
import math
import operator

import numpy as np
import pytest
import scipy.special

import fgrad as fg
from fgrad.core.protocols import FUNCTION_COUNTERPARTS, UFUNC_COUNTERPARTS
from fgrad.errors import ImmutableError, TracerConversionError
from fgrad.testing import check_grads

X = np.array([[0.5, -0.25, 0.75], [0.1, 0.9, -0.6]])
A = np.array([[1.5, 2.0, 0.5], [0.25, 1.0, 3.0]])


def while_tracing(action, x=X):
    """Runs an action on a tracer of grad, and gives what it returns."""
    results = []
    fg.grad(lambda t: (results.append(action(t)), fg.sum(t))[1])(x)
    return results[0]


# Gradients pass through NumPy's own spellings.


@pytest.mark.parametrize(
    "function",
    [
        lambda t: A + t,
        lambda t: t - A,
        lambda t: A * t,
        lambda t: A / (t + 3),
        lambda t: A ** (t + 3),
        lambda t: A @ t.T,
        lambda t: t @ A.T,
        lambda t: A[0] + t,
        lambda t: np.float64(2.0) * t,
        lambda t: t * np.float64(2.0),
        lambda t: [[1.0, 2.0, 3.0]] * t,
        lambda t: np.sin(t) * np.exp(t),
        lambda t: np.multiply(A, t),
        lambda t: np.sum(t * t),
        lambda t: np.sum(t * t, axis=1, keepdims=True),
        lambda t: np.add.reduce(t * t),
        lambda t: np.add.reduce(t * t, axis=1),
        lambda t: np.maximum.reduce(t, axis=None),
        lambda t: np.mean(t * t, axis=0),
        lambda t: np.concatenate([A, t, t * t], axis=1),
        lambda t: np.stack([t, A]),
        lambda t: np.where(A > 1, t * t, A),
        lambda t: np.clip(t * t, 0.1, 0.5),
        lambda t: np.reshape(t * t, (3, 2)),
        lambda t: np.transpose(t * t),
        lambda t: np.dot(A, t.T),
        lambda t: np.matmul(A, t.T),
        lambda t: np.einsum("ij,kj->ik", A, t),
        lambda t: np.tensordot(A, t, 2),
        lambda t: np.outer(A, t),
        lambda t: np.trace(t[:, :2] @ t[:, :2]),
        lambda t: np.cumsum(t * t, axis=1),
        np.var,
        np.prod,
        lambda t: np.pad(t * t, 1),
        lambda t: np.tril(t * t),
        lambda t: np.take(t * t, [0, 1, 1], axis=1),
        lambda t: np.square(t) + np.reciprocal(t + 3) + np.tanh(t),
        lambda t: np.abs(t) * np.sqrt(t + 3),
        lambda t: functools.reduce(np.add, [t, t * t, A]),
        lambda t: sum([t, t * t, A]),
        lambda t: np.broadcast_to(t * t, (4, 2, 3)),
        lambda t: np.full_like(t, 2.0) * t,
    ],
)
def test_the_gradient_passes_through_numpy(function):
    check_grads(function, (X,), order=2)
    expected = function(X)
    np.testing.assert_allclose(function(fg.asarray(X)), expected, rtol=1e-13, atol=1e-13)


def test_results_of_numpy_functions_are_tensors():
    t = fg.asarray(X)
    for value in (A + t, np.sin(t), np.sum(t), np.concatenate([A, t]), np.float64(2.0) * t, np.add(A, t)):
        assert isinstance(value, fg.Tensor)


def test_plain_numpy_code_is_differentiable_as_it_stands():
    def rosenbrock(x):
        return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    check_grads(rosenbrock, (np.array([1.2, 0.8, 1.1, 0.9]),), order=3)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    "operate",
    [
        operator.add,
        operator.sub,
        operator.mul,
        operator.truediv,
        operator.pow,
        operator.floordiv,
        operator.mod,
        operator.lt,
        operator.le,
        operator.gt,
        operator.ge,
        operator.eq,
        operator.ne,
        divmod,
    ],
)
def test_an_array_and_a_tensor_either_way_round(operate, reverse):
    x, y = (A, np.abs(X) + 1) if reverse else (np.abs(X) + 1, A)
    for other in (y, y[0], y[:, :1], y.astype("float32"), y[0, 0]):
        expected = operate(x, other)
        for found in (operate(fg.asarray(x), other), operate(x, fg.asarray(other)), operate(other, fg.asarray(x))):
            assert not isinstance(found, np.ndarray)
        for found in (operate(fg.asarray(x), other), operate(x, fg.asarray(other))):
            assert fg.tree.equal(fg.tree.map(np.asarray, found), expected)


def test_matmul_of_an_array_and_a_tensor_either_way_round():
    for found in (A @ fg.asarray(X.T), fg.asarray(A) @ X.T):
        assert isinstance(found, fg.Tensor)
        np.testing.assert_array_equal(found, A @ X.T)


def test_numpy_options_that_counterparts_know():
    t = fg.asarray(X)
    np.testing.assert_array_equal(np.sum(t, where=A > 1), np.sum(X, where=A > 1))
    np.testing.assert_array_equal(np.add(t, A, dtype="float32"), np.add(X, A, dtype="float32", casting="same_kind"))
    assert np.add(t, A, dtype="float32").dtype == "float32"
    assert np.sum(t, dtype="float32").dtype == "float32"


# What has no counterpart raises.


@pytest.mark.parametrize("concrete", [True, False])
def test_a_ufunc_of_another_library_is_not_called_numpys(concrete):
    message = r"^erf is a ufunc and none of NumPy's: .* fg\.special has many of SciPy's .*fg\.stop_gradient"
    with pytest.raises(TracerConversionError, match=message):
        scipy.special.erf(fg.asarray(X)) if concrete else while_tracing(scipy.special.erf)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda t: np.polyfit(t[0], t[1], 1), r"np\.polyfit"),
        (np.hypot.accumulate, r"np\.hypot\.accumulate"),
        (lambda t: np.add.reduceat(t, [0, 1]), r"np\.add\.reduceat"),
        (lambda t: np.sin(t, where=X > 0), r"np\.sin with where="),
        (np.hypot.reduce, r"np\.hypot\.reduce"),
    ],
)
@pytest.mark.parametrize("concrete", [True, False])
def test_a_numpy_function_without_counterpart_raises(call, name, concrete):
    with pytest.raises(TracerConversionError, match=name + r" has no counterpart.*fg\.stop_gradient"):
        call(fg.asarray(X)) if concrete else while_tracing(call)


def test_options_without_counterpart_raise():
    for call in (lambda t: np.sum(t, nonsense=1), lambda t: np.reshape(t, (3, 2), order="B")):
        with pytest.raises((TypeError, ValueError)):
            call(fg.asarray(X))


@pytest.mark.parametrize("concrete", [True, False])
def test_writing_into_an_array_raises_and_names_the_repair(concrete):
    def in_place(t):
        a = A.copy()
        a += t

    def ufunc_out(t):
        np.add(A, t, out=A.copy())

    def function_out(t):
        np.sum(t, out=np.zeros(()))

    for action in (in_place, ufunc_out, function_out):
        with pytest.raises(ImmutableError, match=r"a = a \+ t|use the result"):
            action(fg.asarray(X)) if concrete else while_tracing(action)


def test_adding_a_tensor_in_place_to_a_tensor_makes_a_new_one():
    x = y = fg.asarray([1.0, 2.0])
    y += 1.0
    np.testing.assert_array_equal(x, [1.0, 2.0])
    np.testing.assert_array_equal(y, [2.0, 3.0])

    def loss(t):
        total = 0.0
        for factor in (1.0, 2.0):
            total += fg.sum(t * factor)
        return total

    np.testing.assert_array_equal(fg.grad(loss)(np.ones(2)), [3.0, 3.0])


# Conversions.

CONVERSIONS = {
    "float": float,
    "complex": complex,
    "item": lambda t: t.item(),
    "tolist": lambda t: t.tolist(),
    "numpy": lambda t: t.numpy(),
    "np.asarray": np.asarray,
    "np.array": np.array,
    "np.array of a list": lambda t: np.array([t, t]),
    "np.float64": np.float64,
    "math.sin": math.sin,
    "assignment": lambda t: np.zeros(2).__setitem__(slice(None), t),
    "pickle": lambda t: __import__("pickle").dumps(t),
}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_a_conversion_that_would_drop_the_gradient_raises(name):
    with pytest.raises(TracerConversionError, match=r"grad is tracing would drop its gradient.*fg\.stop_gradient\(x\)"):
        while_tracing(CONVERSIONS[name], 0.5)
    with pytest.raises(TracerConversionError, match="make_graph is tracing has no value yet"):
        fg.make_graph(CONVERSIONS[name])(0.5)


@pytest.mark.parametrize("name", CONVERSIONS)
def test_the_same_conversion_works_outside_and_on_constants(name):
    CONVERSIONS[name](fg.asarray(0.5))
    while_tracing(lambda t: CONVERSIONS[name](fg.asarray(fg.stop_gradient(t))), 0.5)


def test_dlpack_would_drop_the_gradient_too():
    with pytest.raises(TracerConversionError, match="DLPack on a value that grad is tracing"):
        while_tracing(np.from_dlpack)
    with pytest.raises(TracerConversionError, match="DLPack on a value that make_graph is tracing"):
        fg.make_graph(np.from_dlpack)(X)


def test_the_error_of_a_conversion_names_the_users_line():
    with pytest.raises(TracerConversionError) as caught:
        while_tracing(lambda t: math.sin(t) + 1, 0.5)
    assert "math.sin(t) + 1" in str(caught.value)
    assert __file__ in str(caught.value)


def test_assignment_to_one_element_raises():
    """NumPy puts an error of its own before ours."""
    with pytest.raises(ValueError, match="setting an array element") as caught:
        while_tracing(lambda t: np.zeros(2).__setitem__(0, t), 0.5)
    assert isinstance(caught.value.__cause__, TracerConversionError)


def test_reading_a_value_without_carrying_it_on_works_inside_grad():
    def read(t):
        assert bool(t > 0)
        assert int(t * 10) == 5
        assert "traced by grad" in repr(t)
        assert "0.5" in repr(t)
        assert f"{t:.2f}" == "0.50"
        assert f"{t}" == str(t) == "0.5"
        assert [10, 20][fg.argmax(fg.stack([0.0 * t, t]))] == 20
        assert (t if t < 1 else None) is t
        assert t == t
        return len(fg.stack([t, t]))

    assert while_tracing(read, 0.5) == 2
    fg.grad(lambda u: fg.grad(lambda t: (read(t), t)[1])(0.5) * u)(1.0)


def test_reading_a_value_in_a_graph_raises():
    for action in (
        bool,
        int,
        operator.index,
        lambda t: 1 if t > 0 else 2,
        lambda t: f"{t:.2f}",
        lambda t: list(range(t)),
    ):
        with pytest.raises(TracerConversionError, match="make_graph is tracing"):
            fg.make_graph(action)(1)


def test_a_value_in_a_graph_can_be_shown():
    shown = []
    fg.make_graph(lambda t: shown.append((repr(t), str(t), f"{t}")) or t)(X)
    assert shown == [("Tensor(float64[2,3], traced by make_graph)",) * 3]
    fg.make_graph(fg.grad(lambda t: shown.append((repr(t), str(t))) or fg.sum(t)))(X)
    assert "float64[2,3]" in shown[1][0]
    assert "traced by grad" in shown[1][0]
    assert "float64[2,3]" in shown[1][1]


def test_iteration_and_unpacking_keep_the_gradient():
    def f(t):
        first, second = t
        return fg.sum(first * second) + sum(fg.sum(row * row) for row in t)

    check_grads(f, (X,), order=2)


# The tables.


def test_every_ufunc_of_numpy_has_a_counterpart_or_raises():
    """None of NumPy's own ufuncs computes on a tensor without fgrad noticing."""
    ufuncs = {getattr(np, name) for name in dir(np) if isinstance(getattr(np, name), np.ufunc)}
    for ufunc in ufuncs - set(UFUNC_COUNTERPARTS):
        with pytest.raises((TracerConversionError, TypeError)):
            ufunc(*[fg.asarray(np.ones((2, 2)))] * ufunc.nin)


def test_counterparts_are_documented_functions():
    for function in {*UFUNC_COUNTERPARTS.values(), *FUNCTION_COUNTERPARTS.values()}:
        assert function.__doc__, function
