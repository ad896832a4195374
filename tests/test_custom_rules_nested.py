"""custom_jvp and custom_vjp under vmap, in graphs, in control flow and checkpoints, and in threads."""

from __future__ import annotations

import functools
import threading

import numpy as np
import pytest
from custom_functions import BOTH, MARKED, ONES, X, Y, marked, modes_of, plain, product, pulled

import fgrad as fg
from fgrad.testing import check_grads

# Batches.


@pytest.mark.parametrize("in_axes", [(0, 0), (0, None), (None, 0), (1, 0)])
@BOTH
def test_vmap_over_each_subset_of_arguments(f, in_axes):
    generator = np.random.default_rng(0)
    shapes = [(4, 3), (4, 3)]
    args = [
        generator.uniform(0.5, 1, shape[1:] if axis is None else shape if axis == 0 else shape[::-1])
        for shape, axis in zip(shapes, in_axes, strict=True)
    ]
    mapped, reference = fg.vmap(f, in_axes=in_axes), fg.vmap(plain, in_axes=in_axes)
    np.testing.assert_allclose(mapped(*args), reference(*args), rtol=1e-15)
    check_grads(mapped, args, order=2, modes=modes_of(f))
    gradient = fg.vmap(fg.grad(lambda x, y: fg.sum(f(x, y)), argnums=(0, 1)), in_axes=in_axes)
    expected = fg.vmap(fg.grad(lambda x, y: fg.sum(plain(x, y)), argnums=(0, 1)), in_axes=in_axes)
    for found, other in zip(gradient(*args), expected(*args), strict=True):
        np.testing.assert_allclose(found, other, rtol=1e-14)


@BOTH
def test_what_is_the_same_for_all_examples_gets_the_sum_of_their_cotangents(f):
    batch = np.stack([X, Y, X + Y])
    found = fg.grad(lambda w: fg.sum(fg.vmap(f, in_axes=(0, None))(batch, w)))(fg.asarray(Y))
    np.testing.assert_allclose(found, np.sin(batch).sum(0), rtol=1e-15)
    # Also a cotangent that depends on no example.
    counted = fg.custom_vjp(lambda x, w: w)
    counted.defvjp(lambda x, w: (w, None), lambda _, g: (None, 2.0 * g))
    assert float(fg.grad(lambda w: fg.sum(fg.vmap(counted, in_axes=(0, None))(batch[:, 0], w)))(1.0)) == 6.0


@BOTH
def test_vmap_of_vmap_and_mixtures(f):
    x, y = np.random.default_rng(1).uniform(0.5, 1, (2, 4, 3)), Y
    twice = fg.vmap(fg.vmap(f, in_axes=(0, None)), in_axes=(0, None))
    reference = fg.vmap(fg.vmap(plain, in_axes=(0, None)), in_axes=(0, None))
    np.testing.assert_array_equal(twice(x, y), reference(x, y))
    loss = lambda g: lambda x, y: fg.sum(g(x, y) ** 2)
    for found, other in zip(
        fg.grad(loss(twice), argnums=(0, 1))(x, y), fg.grad(loss(reference), argnums=(0, 1))(x, y), strict=True
    ):
        np.testing.assert_allclose(found, other, rtol=1e-13)
    inner = lambda g: fg.vmap(fg.grad(lambda x, y: fg.sum(fg.vmap(g, in_axes=(0, None))(x, y))), in_axes=(0, None))
    np.testing.assert_allclose(inner(f)(x, y), inner(plain)(x, y), rtol=1e-14)
    outer = lambda g: fg.grad(lambda x: fg.sum(fg.vmap(fg.grad(lambda x: fg.sum(g(x, y) ** 2)))(x)))
    np.testing.assert_allclose(outer(f)(x[0]), outer(plain)(x[0]), rtol=1e-13)


def test_jvp_and_hessian_of_vmap():
    mapped = fg.vmap(product, in_axes=(0, None))
    batch = np.stack([X, Y])
    check_grads(mapped, (batch, Y), order=2)
    loss = lambda f: lambda x: fg.sum(fg.vmap(f, in_axes=(0, None))(x, Y) ** 2)
    np.testing.assert_allclose(fg.hessian(loss(product))(batch), fg.hessian(loss(plain))(batch), atol=1e-14)
    directions = lambda f: fg.jvp(fg.vmap(fg.grad(lambda x: fg.sum(f(x, Y) ** 2))), (batch,), (batch,))[1]
    np.testing.assert_allclose(directions(product), directions(plain), rtol=1e-13)


@BOTH
def test_pullbacks_can_be_mapped_over(f):
    pullbacks = fg.vmap(lambda x: fg.vjp(lambda x: f(x, 2.0), x)[1])(X)
    (found,) = fg.vmap(lambda pullback, u: pullback(u))(pullbacks, ONES)
    np.testing.assert_allclose(found, 2.0 * np.cos(X), rtol=1e-15)


def test_a_result_that_depends_on_no_example_is_repeated():
    f = fg.custom_jvp(lambda x, y: (x, 3.0 * y, 5))
    f.defjvp(lambda primals, tangents: (f(*primals), (tangents[0], 3.0 * tangents[1], None)))
    out = fg.vmap(f, in_axes=(0, None))(X, 2.0)
    np.testing.assert_array_equal(out[1], 6 * ONES)
    np.testing.assert_array_equal(out[2], [5, 5, 5])
    assert float(fg.grad(lambda y: fg.sum(fg.vmap(f, in_axes=(0, None))(X, y)[1]))(2.0)) == 9.0


# Staged.


@MARKED
def test_a_graph_keeps_the_rule(f):
    graph = fg.make_graph(lambda x: f(x) + 1.0)(3.0)
    graph.check()
    assert [equation.primitive.name for equation in graph.equations] == [
        type(f).__name__.replace("Custom", "custom_").lower(),
        "add",
    ]
    assert graph(3.0) == 10.0
    assert float(fg.grad(graph)(3.0)) == 30.0
    assert float(fg.grad(fg.grad(graph))(3.0)) == 10.0
    np.testing.assert_array_equal(fg.vmap(fg.grad(fg.make_graph(f)(fg.asarray(1.0))))(X), 10 * X)
    again = fg.make_graph(fg.make_graph(f)(3.0))(3.0)
    assert float(fg.grad(again)(3.0)) == 30.0
    inside = fg.make_graph(fg.grad(f))(3.0)
    inside.check()
    assert float(inside(3.0)) == 30.0
    forward, backward = fg.vjp_graph(fg.make_graph(f)(3.0), [True], [True])
    forward.check()
    backward.check()
    _, *residuals = forward.evaluate(3.0)
    assert float(backward.evaluate(*residuals, fg.asarray(1.0))[0]) == 30.0


def test_a_graph_keeps_the_rule_in_forward_mode():
    f, _ = marked(10.0)
    graph = fg.make_graph(f)(3.0)
    assert [float(part) for part in fg.jvp(graph, (3.0,), (1.0,))] == [9.0, 30.0]
    assert float(fg.linearize(graph, 3.0)[1](1.0)) == 30.0
    check_grads(fg.make_graph(product)(X, Y), (X, Y), order=2)
    np.testing.assert_array_equal(fg.jvp(fg.vmap(fg.make_graph(f)(fg.asarray(1.0))), (X,), (ONES,))[1], 10 * X)


@BOTH
def test_graphs_of_mapped_calls(f):
    mapped = fg.vmap(f, in_axes=(0, None))
    batch = np.stack([X, Y])
    graph = fg.make_graph(mapped)(batch, Y)
    graph.check()
    np.testing.assert_array_equal(graph(batch, Y), mapped(batch, Y))
    check_grads(graph, (batch, Y), order=2, modes=modes_of(f))
    of_graph = fg.vmap(fg.make_graph(f)(X, Y), in_axes=(0, None))
    check_grads(of_graph, (batch, Y), order=2, modes=modes_of(f))
    found = fg.grad(
        lambda y: fg.sum(fg.vmap(fg.vmap(fg.make_graph(f)(1.0 * ONES, Y), (0, None)), (0, None))(batch[None], y))
    )
    np.testing.assert_allclose(found(fg.asarray(Y)), np.sin(batch).sum(0), rtol=1e-15)


def test_calls_on_constants_inside_a_graph_are_carried_out_at_once():
    @fg.custom_jvp
    def f(x):
        return x * 2.0 if x > 0 else x  # a value is asked for: it must be there

    f.defjvp(lambda primals, tangents: (f(*primals), tangents[0]))
    graph = fg.make_graph(lambda x: x * f(3.0) + f(fg.asarray(2.0)))(1.0)
    assert [equation.primitive.name for equation in graph.equations] == ["multiply", "add"]
    assert float(graph(1.0)) == 10.0
    made = fg.make_graph(lambda x: x * fg.custom_jvp(lambda: fg.ones(2))())(1.0)
    np.testing.assert_array_equal(made(3.0), [3.0, 3.0])


def test_captured_values_are_operands_of_a_graph():
    def outer(w, x):
        f = fg.custom_jvp(lambda x: w * x)
        f.defjvp(lambda primals, tangents: (f(*primals), tangents[0]))
        return f(x) + f(1.0)

    graph = fg.make_graph(outer)(2.0, 3.0)
    graph.check()
    assert graph(2.0, 3.0) == 8.0
    found = fg.vmap(fg.make_graph(outer)(fg.asarray(2.0), fg.asarray(3.0)))(X, Y)
    np.testing.assert_allclose(found, X * Y + X, rtol=1e-15)


# Threads.


def test_eight_threads_use_one_function_at_once():
    results = {}

    def work(number):
        x = np.linspace(0.0, 1.0, 50) + number
        losses = [functools.partial(lambda f, x: fg.sum(f(x, x)), f) for f in (product, pulled)]
        results[number] = [fg.grad(loss)(x) for loss in losses for _ in range(5)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(8):
        x = np.linspace(0.0, 1.0, 50) + number
        for found in results[number]:
            np.testing.assert_allclose(found, np.cos(x) * x + np.sin(x), rtol=1e-13)


# Control flow and checkpoints.


def total(g):
    return lambda x: fg.sum(g(x))


ROUTES = {
    "checkpoint": fg.checkpoint,
    "checkpoint twice": lambda f: fg.checkpoint(fg.checkpoint(f)),
    "scan": lambda f: lambda x: fg.scan(lambda carry, row: (carry + fg.sum(f(row)), f(row)), 0.0, x)[1],
    "scan in a graph": lambda f: fg.make_graph(
        lambda x: fg.scan(lambda carry, row: (carry + fg.sum(f(row)), f(row)), 0.0, x)[1]
    )(fg.asarray(X)),
    "checkpoint in scan": lambda f: lambda x: fg.scan(lambda c, row: (c, fg.checkpoint(f)(row)), 0.0, x)[1],
    "cond": lambda f: lambda x: fg.cond(fg.sum(x) > 0, f, lambda x: x, x),
    "cond in a graph": lambda f: fg.make_graph(lambda x: fg.cond(fg.sum(x) > 0, f, lambda x: x, x))(fg.asarray(X)),
    "cond under vmap": lambda f: fg.vmap(lambda x: fg.cond(x > 10.0, lambda x: x, f, x)),
    "map": lambda f: lambda x: fg.map(f, x),
    "fori_loop": lambda f: lambda x: fg.fori_loop(0, 1, lambda i, x: f(x), x),
    "fori_loop in a graph": lambda f: fg.make_graph(lambda x: fg.fori_loop(0, 1, lambda i, x: f(x), x))(fg.asarray(X)),
    "vmap": fg.vmap,
    "checkpoint of vmap": lambda f: fg.checkpoint(fg.vmap(f)),
    "vmap of checkpoint": lambda f: fg.vmap(fg.checkpoint(f)),
}


@pytest.mark.parametrize("route", ROUTES)
@MARKED
def test_the_rule_is_used_inside(f, route):
    g = ROUTES[route](f)
    np.testing.assert_array_equal(g(fg.asarray(X)), X * X)
    np.testing.assert_array_equal(fg.grad(total(g))(X), 10 * X)
    np.testing.assert_array_equal(fg.grad(total(fg.grad(total(g))))(X), 10 * ONES)
    if f is MARKED.args[1][0]:
        np.testing.assert_array_equal(fg.jvp(g, (X,), (ONES,))[1], 10 * X)
        np.testing.assert_array_equal(fg.jvp(fg.grad(total(g)), (X,), (ONES,))[1], 10 * ONES)
        np.testing.assert_array_equal(fg.linearize(g, X)[1](ONES), 10 * X)


@BOTH
def test_gradients_through_scan_of_calls_with_captured_arguments(f):
    def loop(g, w, x):
        return fg.sum(fg.scan(lambda carry, row: (g(carry, w) + row, carry), w, x)[0])

    rows = np.stack([X, Y, X * Y])
    for transform in (lambda g: g, lambda g: fg.make_graph(g)(Y, rows), fg.checkpoint):
        loss = transform(functools.partial(loop, f))
        reference = fg.grad(functools.partial(loop, plain), argnums=(0, 1))(Y, rows)
        for found, expected in zip(fg.grad(loss, argnums=(0, 1))(Y, rows), reference, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-13)
