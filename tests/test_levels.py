"""Levels: no transform takes another's tracer for its own, in any nesting; none outlives its call.

The perturbation confusions are those of Siskind and Pearlmutter, "Perturbation Confusion and Referential Transparency"
(IFL 2005), and of Manzyuk et al., "Perturbation confusion in forward automatic differentiation of higher-order
functions" (JFP 2019).
"""

from __future__ import annotations

import itertools
import math
import threading

import numpy as np
import pytest

import fgrad as fg
from fgrad.core.bind import Tracer, staging
from fgrad.errors import EscapedTracerError, NotDifferentiableError, TracerConversionError, TreeError


def by_jvp(f):
    return lambda x: fg.jvp(f, (x,), (1.0,))[1]


def by_vjp(f):
    def derivative(x):
        out, pullback = fg.vjp(f, x)
        return pullback(fg.ones_like(out))[0]

    return derivative


def by_linearize(f):
    return lambda x: fg.linearize(f, x)[1](1.0)


def by_vmap(f):
    """The derivative of a batch of one example."""
    return lambda x: fg.grad(lambda y: fg.vmap(f)(y.reshape(1))[0])(fg.asarray(x))


def by_checkpoint(f):
    """The derivative of the function's graph, whose outer tracers are captures."""
    return fg.grad(fg.checkpoint(f))


def by_scan(f):
    """The derivative of one step of a scan, whose outer tracers are captures too."""
    return by_jvp(lambda x: fg.scan(lambda carry, _: (f(carry) * 1.0, None), x, None, length=1)[0])


DERIVATIVES = {
    "grad": fg.grad,
    "vjp": by_vjp,
    "jvp": by_jvp,
    "linearize": by_linearize,
    "vmap": by_vmap,
    "checkpoint": by_checkpoint,
    "scan": by_scan,
}
PAIRS = list(itertools.product(DERIVATIVES, repeat=2))
by_pair = pytest.mark.parametrize(
    ("outer", "inner"), [(DERIVATIVES[a], DERIVATIVES[b]) for a, b in PAIRS], ids=["-".join(pair) for pair in PAIRS]
)
by_derivative = pytest.mark.parametrize("derivative", DERIVATIVES.values(), ids=DERIVATIVES)


# Perturbations are not confused.


@by_pair
def test_perturbations_are_not_confused(outer, inner):
    assert float(outer(lambda x: x * inner(lambda y: x + y)(1.0))(1.0)) == 1.0
    assert float(outer(lambda x: x * inner(lambda y: x * y)(2.0))(3.0)) == 6.0
    assert float(outer(lambda x: inner(lambda y: x)(2.0) + x)(3.0)) == 1.0
    assert float(outer(lambda x: inner(lambda y: y * x * x)(x))(3.0)) == 6.0


@by_pair
def test_the_same_variable_inside_and_outside(outer, inner):
    """The inner function is differentiated at the outer variable, which it closes over besides."""
    found = outer(lambda x: inner(lambda y: x**2 * y**3)(x))(2.0)  # d/dx (3 x**4)
    assert float(found) == 12 * 8.0
    found = outer(lambda x: inner(lambda x: x * fg.sin(x))(x) * 1.0)(0.7)
    assert float(found) == pytest.approx(2 * math.cos(0.7) - 0.7 * math.sin(0.7), rel=1e-14)


@by_pair
def test_siblings_do_not_see_each_other(outer, inner):
    """Two inner transforms of one function, side by side, one within the result of the other."""

    def f(x):
        first = inner(lambda y: x * y**2)(2.0)  # 4 x
        second = inner(lambda y: first * y * x)(3.0)  # 4 x**2
        return first * second  # 16 x**3

    assert float(outer(f)(1.5)) == 48 * 1.5**2


TRIPLES = list(itertools.product(["grad", "jvp", "linearize", "vmap"], repeat=3))


@pytest.mark.parametrize("names", TRIPLES, ids="-".join)
def test_three_levels_of_any_modes(names):
    outer, middle, inner = (DERIVATIVES[name] for name in names)
    assert float(outer(middle(inner(lambda x: x**5)))(2.0)) == 60 * 4.0
    mixed = outer(lambda x: middle(lambda y: inner(lambda z: x * y**2 * z**3)(2.0) * x)(3.0))
    assert float(mixed(5.0)) == 2 * 5 * 2 * 3 * 3 * 4
    turned = outer(lambda x: middle(lambda y: inner(lambda z: z * y * x)(x) * y)(x))  # d/dx (2 x**2)
    assert float(turned(3.0)) == 12.0


def test_many_levels():
    modes = [fg.grad, by_jvp, by_linearize]
    f = fg.sin
    for order in range(1, 9):
        f = modes[order % 3](f)
        assert float(f(0.3)) == pytest.approx(math.sin(0.3 + order * math.pi / 2), rel=1e-12)


@by_derivative
def test_a_function_of_higher_order(derivative):
    """D (x -> D (y -> g(x)(y))): the function that g returns closes over the outer variable."""
    shift = lambda f, u: lambda x: f(x + u)
    once = derivative(lambda u: shift(fg.exp, u)(1.0))
    assert float(once(0.0)) == pytest.approx(math.e, rel=1e-15)
    twice = derivative(lambda u: derivative(lambda v: shift(shift(fg.exp, u), v)(1.0))(0.0))
    assert float(twice(0.0)) == pytest.approx(math.e, rel=1e-15)


@pytest.mark.parametrize("derivative", [fg.grad, by_jvp, by_vjp, by_linearize])
def test_a_function_is_no_result(derivative):
    """The derivative of a function-valued function would hold tracers that have finished; it is refused."""
    with pytest.raises((TreeError, NotDifferentiableError, TypeError), match="returned a function"):
        derivative(lambda u: lambda x: x + u)(0.0)


def test_the_derivative_of_a_fixed_point_by_newton():
    """A solver that differentiates, inside a function that is differentiated."""

    def root(a, derivative):
        x = 1.5
        for _ in range(6):
            x = x - (x * x - a) / derivative(lambda y: y * y - a)(x)
        return x

    for outer, inner in itertools.product(DERIVATIVES.values(), repeat=2):
        assert float(outer(lambda a, inner=inner: root(a, inner))(2.0)) == pytest.approx(0.5 / math.sqrt(2), rel=1e-12)


def test_vmap_inside_and_outside():
    xs = np.array([1.0, 2.0, 3.0])
    ys = np.array([4.0, 5.0])
    table = fg.vmap(lambda x: fg.vmap(lambda y: x * fg.grad(lambda z: z * y * x)(1.0))(ys))(xs)
    np.testing.assert_array_equal(table, np.outer(xs**2, ys))
    across = fg.vmap(lambda x: fg.sum(fg.vmap(lambda y: x * y)(ys)))(xs)
    np.testing.assert_array_equal(across, 9 * xs)
    same = fg.vmap(lambda x: fg.vmap(lambda y: x + y)(xs))(xs)
    np.testing.assert_array_equal(same, xs[:, None] + xs)


# Tracers that outlive their transform.

TRANSFORMS = {
    "grad": lambda f: fg.grad(f)(3.0),
    "vjp": lambda f: fg.vjp(f, 3.0),
    "jvp": lambda f: fg.jvp(f, (3.0,), (1.0,)),
    "linearize": lambda f: fg.linearize(f, 3.0),
    "vmap": lambda f: fg.vmap(f)(fg.asarray([3.0])),
    "make_graph": lambda f: fg.make_graph(f)(3.0),
    "hessian": lambda f: fg.hessian(f)(3.0),
    "eval_shape": lambda f: fg.eval_shape(f, 3.0),
}
by_transform = pytest.mark.parametrize("transform", TRANSFORMS)


def kept(transform):
    """A tracer stored outside of the transform that it belongs to."""
    seen = []
    TRANSFORMS[transform](lambda x: seen.append(x * 1.0) or x * x)
    return seen[-1]


USES = {
    "add": lambda t: t + 1,
    "add reflected": lambda t: fg.asarray(1.0) + t,
    "numpy": lambda t: np.sin(t),  # noqa: PLW0108 - as it is written
    "comparison": lambda t: t > 0,
    "method": lambda t: t.reshape(1),
    "bool": bool,
    "float": float,
    "asarray": np.asarray,
    "stop_gradient": fg.stop_gradient,
} | {f"inside {name}": lambda t, run=run: run(lambda x: x * t) for name, run in TRANSFORMS.items()} | {
    f"out of {name}": lambda t, run=run: run(lambda x: t) for name, run in TRANSFORMS.items()
}  # fmt: skip


@by_transform
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_tracer_that_was_kept_raises_wherever_it_is_used(transform, use):
    with pytest.raises(EscapedTracerError, match="finished"):
        use(kept(transform))
    assert staging.trace is None


@by_transform
@pytest.mark.parametrize("outer", TRANSFORMS)
def test_a_tracer_of_an_inner_call_is_no_result_of_the_outer(transform, outer):
    with pytest.raises(EscapedTracerError):
        TRANSFORMS[outer](lambda x: kept(transform))
    with pytest.raises(EscapedTracerError):
        TRANSFORMS[outer](lambda x: kept(transform) * x)


@by_transform
@pytest.mark.parametrize("inner", TRANSFORMS)
def test_a_tracer_of_an_open_call_above_is_no_result(transform, inner):
    """An inner transform runs in another thread, and is still open when the outer function returns its tracer."""
    published, finish = threading.Event(), threading.Event()
    seen = []

    def stay_open(x):
        seen.append(x * 1.0)
        published.set()
        finish.wait(10)
        return x * 1.0

    def outer(x):
        thread = threading.Thread(target=lambda: TRANSFORMS[inner](stay_open))
        thread.start()
        threads.append(thread)
        assert published.wait(10)
        return seen[0]

    threads: list[threading.Thread] = []
    try:
        with pytest.raises(EscapedTracerError):
            TRANSFORMS[transform](outer)
    finally:
        finish.set()
        for thread in threads:
            thread.join()


VALUES = {
    "grad": lambda f, y: fg.value_and_grad(f)(3.0)[0],
    "vjp": lambda f, y: fg.vjp(f, 3.0)[0],
    "jvp": lambda f, y: fg.jvp(f, (3.0,), (1.0,))[0],
    "linearize": lambda f, y: fg.linearize(f, 3.0)[0],
    "vmap": lambda f, y: fg.vmap(f)(fg.asarray([3.0]))[0],
    "make_graph": lambda f, y: fg.make_graph(f)(3.0).evaluate(y, 3.0)[0],  # the capture comes first
    "checkpoint": lambda f, y: fg.checkpoint(f)(3.0),
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_a_tracer_of_an_outer_call_is_a_constant_inside(value):
    """It may be used and returned: the inner transform ends first."""
    for derivative in (fg.grad, by_jvp, by_linearize, by_vmap):
        assert float(derivative(lambda y: y * value(lambda x: x * y, y))(2.0)) == 12.0
        assert float(derivative(lambda y: y * value(lambda x: y * 1.0, y))(2.0)) == 4.0


@by_transform
def test_a_closed_call_leaves_nothing_behind_when_it_fails(transform):
    class StopError(Exception):
        pass

    def fail(x):
        raise StopError(x * 2)

    with pytest.raises(StopError) as caught:
        TRANSFORMS[transform](fail)
    assert staging.trace is None
    with pytest.raises(EscapedTracerError):
        caught.value.args[0] + 1
    assert float(fg.grad(lambda x: x**3)(2.0)) == 12.0
    assert not isinstance(fg.ones(2) * 2, Tracer)


# stop_gradient.


@by_derivative
def test_stop_gradient_is_a_constant_to_every_derivative(derivative):
    assert float(derivative(lambda x: fg.stop_gradient(x) * 1.0)(3.0)) == 0.0
    assert float(derivative(lambda x: x * fg.stop_gradient(x))(3.0)) == 3.0
    assert float(derivative(derivative(lambda x: x**2 * fg.stop_gradient(x)))(3.0)) == 6.0


@by_pair
def test_stop_gradient_stops_the_outer_transform_too(outer, inner):
    assert float(outer(lambda x: inner(lambda y: fg.stop_gradient(x) * y)(2.0) + x)(3.0)) == 1.0
    assert float(outer(lambda x: fg.stop_gradient(inner(lambda y: x * y)(2.0)) * x)(3.0)) == 3.0


def test_stop_gradient_passes_values():
    x = fg.asarray([1.0, -2.0])
    np.testing.assert_array_equal(fg.vmap(fg.stop_gradient)(x), x)
    np.testing.assert_array_equal(fg.make_graph(fg.stop_gradient)(x)(x), x)
    np.testing.assert_array_equal(fg.vmap(fg.grad(lambda x: x * fg.stop_gradient(x)))(x), x)
    np.testing.assert_array_equal(
        fg.hessian(lambda x: fg.sum(x * x * fg.stop_gradient(x)))(x), np.diag(2 * np.asarray(x))
    )
    out, tangents = fg.jvp(fg.stop_gradient, ({"x": x, "n": 3},), ({"x": x, "n": None},))
    np.testing.assert_array_equal(out["x"], x)
    np.testing.assert_array_equal(tangents["x"], [0.0, 0.0])
    assert tangents["n"] is None


# Arrays that somebody writes into.


def summed(x, buffer):
    total = 0.0
    for k in range(1, 4):
        buffer[:] = k
        total = total + fg.sum(x * buffer)
    buffer[:] = 100.0
    return total


@pytest.mark.parametrize(
    "derivative", [fg.grad, by_vjp, lambda f: lambda x: fg.linearize(f, x)[1](fg.ones_like(x)), fg.jacfwd]
)
def test_a_captured_array_may_be_written_to(derivative):
    buffer = np.empty(1)
    found = derivative(lambda x: summed(x, buffer))(fg.asarray([2.0]))
    np.testing.assert_array_equal(np.asarray(found).reshape(-1), [6.0])


def test_a_captured_array_may_be_written_to_under_vmap_and_in_graphs():
    buffer = np.empty(1)
    xs = fg.asarray([[1.0], [2.0]])
    np.testing.assert_array_equal(fg.vmap(lambda x: summed(x, buffer))(xs), [6.0, 12.0])
    np.testing.assert_array_equal(fg.vmap(fg.grad(lambda x: summed(x, buffer)))(xs), [[6.0], [6.0]])
    np.testing.assert_array_equal(fg.make_graph(lambda x: summed(x, buffer))(xs[1])(xs[1]), 12.0)
    np.testing.assert_array_equal(fg.jvp(lambda x: summed(x, buffer), (xs[1],), (xs[0],))[1], 6.0)


def test_an_argument_may_be_written_to_after_the_call():
    x = np.array([2.0, 3.0])
    _, pullback = fg.vjp(lambda x: x * x, x)
    _, linear_map = fg.linearize(lambda x: x * x, x)
    graph = fg.make_graph(lambda y: fg.vmap(lambda z: z * y)(x))(1.0)
    x[:] = 0.0
    np.testing.assert_array_equal(pullback(np.ones(2))[0], [4.0, 6.0])
    np.testing.assert_array_equal(linear_map(np.ones(2)), [4.0, 6.0])
    np.testing.assert_array_equal(graph(1.0), [2.0, 3.0])


def test_a_cotangent_or_tangent_may_be_written_to_after_the_call():
    u = np.ones(2)
    _, tangent = fg.jvp(lambda x: x, (np.zeros(2),), (u,))
    (cotangent,) = fg.vjp(lambda x: x, np.zeros(2))[1](u)
    batch = fg.vmap(lambda x: x)(u)
    u[:] = 5.0
    for found in (tangent, cotangent, batch):
        np.testing.assert_array_equal(found, [1.0, 1.0])


# Leaves that are not floating point.


def test_integer_leaves_in_every_transform():
    tree = {"x": fg.asarray([1.0, 2.0]), "n": fg.asarray([3, 4]), "on": True, "none": None}
    f = lambda tree: {"y": tree["x"] * tree["n"], "n": tree["n"] * 2, "on": tree["on"]}
    direction = {"x": fg.ones(2), "n": None, "on": None, "none": None}
    out, tangent = fg.jvp(f, (tree,), (direction,))
    assert tangent["n"] is None
    assert tangent["on"] is None
    np.testing.assert_array_equal(tangent["y"], [3.0, 4.0])
    np.testing.assert_array_equal(out["n"], [6, 8])
    value, linear_map = fg.linearize(f, tree)
    assert linear_map(direction)["n"] is None
    np.testing.assert_array_equal(linear_map(direction)["y"], [3.0, 4.0])
    (cotangent,) = fg.vjp(f, tree)[1]({"y": fg.ones(2), "n": None, "on": None})
    assert (cotangent["n"], cotangent["on"], cotangent["none"]) == (None, None, None)
    np.testing.assert_array_equal(cotangent["x"], [3.0, 4.0])
    assert value["on"] is True
    batched = fg.vmap(lambda x, n: (x * n, n + 1))(tree["x"], tree["n"])
    np.testing.assert_array_equal(batched[0], [3.0, 8.0])
    assert batched[1].dtype == np.dtype("int64")


@pytest.mark.parametrize("derivative", [fg.grad, fg.value_and_grad, fg.hessian, fg.jacrev, fg.jacfwd])
@pytest.mark.parametrize("leaf", [3, True, np.arange(2), fg.asarray([True])])
def test_the_derivative_by_an_integer_is_refused(derivative, leaf):
    with pytest.raises(NotDifferentiableError, match=r"x\['n'\]"):
        derivative(lambda x: fg.sum(x["w"] * 1.0))({"n": leaf, "w": 2.0})


def test_integers_inside_leave_the_gradient_right():
    def f(x):
        order = fg.argsort(x)
        positive = fg.astype(x > 0, "int64")
        return fg.sum(x[order] * fg.arange(3)) + fg.sum(x * positive)

    x = np.array([0.5, -2.0, 1.0])
    expected = np.array([1.0, 0.0, 2.0]) + np.array([1.0, 0.0, 1.0])
    np.testing.assert_array_equal(fg.grad(f)(x), expected)
    np.testing.assert_array_equal(fg.jacfwd(f)(x), expected)
    np.testing.assert_array_equal(fg.vmap(fg.grad(f))(x[None]), expected[None])


def test_a_batch_of_integers_has_no_single_value():
    with pytest.raises(TracerConversionError, match="stands for 2 examples"):
        fg.vmap(lambda n: [0, 1, 2][n])(np.array([0, 1]))
