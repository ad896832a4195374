"""The derivatives and the batch of a whole graph: closed graphs out of graphs, with residuals as operands."""

from __future__ import annotations

import numpy as np
import pytest

import fgrad as fg
from fgrad.core.graph import Graph, Variable
from fgrad.core.graph_rules import batch_graph, jvp_graph
from fgrad.core.staging import stage

X = fg.asarray([0.3, -1.2, 2.0])
Y = fg.asarray([1.5, 0.4, 0.9])
U = fg.asarray([0.2, 1.0, -0.7])


def f(x, y):
    z = fg.sin(x) * y
    return z * x, fg.sum(y), fg.argmax(x)


@pytest.fixture(name="graph")
def staged() -> Graph:
    return fg.make_graph(f)(X, Y)


def assert_close(found, expected):
    for x, y in zip(found, expected, strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        np.testing.assert_allclose(x, y, rtol=1e-13)


# Reverse.


def test_forward_gives_the_outputs_and_backward_the_cotangents(graph):
    forward, backward = fg.vjp_graph(graph, [True, True], [True, True, False])
    forward.check()
    backward.check()
    *outputs, _ = forward.evaluate(X, Y)[: len(graph.outputs) + 1]
    assert_close(outputs, graph.evaluate(X, Y))
    residuals = forward.evaluate(X, Y)[len(graph.outputs) :]
    cotangents = backward.evaluate(*residuals, U, fg.asarray(2.0))
    assert_close(cotangents, fg.vjp(f, X, Y)[1]((U, 2.0, None)))


@pytest.mark.parametrize("wanted", [(True, False), (False, True), (False, False)])
@pytest.mark.parametrize("given", [(True, False, False), (False, True, False)])
def test_only_what_is_wanted_is_computed(graph, wanted, given):
    forward, backward = fg.vjp_graph(graph, wanted, given)
    residuals = forward.evaluate(X, Y)[len(graph.outputs) :]
    cotangent = U if given[0] else fg.asarray(2.0)
    found = backward.evaluate(*residuals, cotangent)
    everything = fg.vjp(f, X, Y)[1]((U if given[0] else None, 2.0 if given[1] else None, None))
    assert_close(found, [g for g, asked in zip(everything, wanted, strict=True) if asked])


def test_no_residuals_without_need(graph):
    forward, _ = fg.vjp_graph(fg.make_graph(lambda x: 2.0 * x + 1.0)(X), [True], [True])
    assert len(forward.outputs) == 1
    products = fg.vjp_graph(graph, [False, True], [True, False, False])[0]
    assert len(products.outputs) < len(fg.vjp_graph(graph, [True, True], [True, False, False])[0].outputs)


def test_the_halves_differentiate_again(graph):
    forward, backward = fg.vjp_graph(graph, [True, True], [True, True, False])

    def pulled(x, y):
        return backward.evaluate(*forward.evaluate(x, y)[3:], U, fg.asarray(2.0))[0]

    def by_transform(x, y):
        return fg.vjp(f, x, y)[1]((U, 2.0, None))[0]

    assert_close(fg.vjp(pulled, X, Y)[1](U), fg.vjp(by_transform, X, Y)[1](U))
    again = fg.make_graph(pulled)(X, Y)
    again.check()
    assert_close([again(X, Y)], [pulled(X, Y)])


def test_equations_of_derived_graphs_keep_the_users_line(graph):
    forward, _ = fg.vjp_graph(graph, [True, True], [True, True, False])
    lines = {equation.primitive.name: equation.source.text for equation in forward.equations}
    assert lines["sin"] == "z = fg.sin(x) * y"


def test_marks_that_do_not_fit(graph):
    with pytest.raises(fg.errors.TreeError, match="wanted_inputs has 1 entries, and the graph has 2 inputs"):
        fg.vjp_graph(graph, [True], [True, True, False])
    with pytest.raises(fg.errors.TreeError, match="given_cotangents has 2 entries, and the graph has 3 outputs"):
        fg.vjp_graph(graph, [True, True], [True, True])
    with pytest.raises(fg.errors.NotDifferentiableError, match=r"marks output 2 of the graph, which is int64\[\]"):
        fg.vjp_graph(graph, [True, True], [True, True, True])


# Forward.


@pytest.mark.parametrize("given", [(True, True), (True, False), (False, True), (False, False)])
def test_tangents_follow_the_outputs(graph, given):
    tangents = [U, 2.0 * U]
    pushed = jvp_graph(graph, given)
    pushed.check()
    found = pushed.evaluate(X, Y, *[t for t, asked in zip(tangents, given, strict=True) if asked])
    outputs, expected = fg.jvp(f, (X, Y), tuple(t if asked else None for t, asked in zip(tangents, given, strict=True)))
    assert_close(found, [*outputs, *expected[:2]])
    tangents_alone = pushed.pick([3, 4])
    assert_close(
        tangents_alone.evaluate(X, Y, *[t for t, asked in zip(tangents, given, strict=True) if asked]), expected[:2]
    )
    assert len(tangents_alone.equations) < len(pushed.equations)


# Batches.


@pytest.mark.parametrize("batched", [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("required", [False, True])
def test_a_batch_of_a_graph(batched, required):
    graph = fg.make_graph(lambda x, y: (fg.sin(x) * y, fg.sum(y), x))(X, Y)
    found, flags = batch_graph(graph, batched, 4, [required] * 3)
    found.check()
    assert flags == ((True, True, True) if required else (any(batched), batched[1], batched[0]))
    inputs = [fg.stack([(k + 1.0) * x for k in range(4)]) if own else x for x, own in zip((X, Y), batched, strict=True)]
    for position in range(4):
        example = [x[position] if own else x for x, own in zip(inputs, batched, strict=True)]
        one = [y[position] if own else y for y, own in zip(found.evaluate(*inputs), flags, strict=True)]
        assert_close(one, graph.evaluate(*example))


# Graphs.


def test_captured_values_become_operands():
    seen = []

    def loss(w):
        graph, captured = stage(lambda x: [x * w, fg.exp(w)], [fg.ShapeDtype((), np.dtype(float))], "test")
        seen.append((graph, captured))
        return fg.sum(fg.asarray(graph.evaluate(*captured, fg.asarray(3.0))[0]))

    assert_close([fg.grad(loss)(2.0)], [fg.asarray(3.0)])
    graph, captured = seen[0]
    assert len(captured) == graph.captured == 1
    assert len(graph.inputs) == 2
    assert [equation.primitive.name for equation in graph.equations] == ["multiply", "exp"]


def test_values_are_dropped_after_their_last_use(graph):
    used_later = set(graph.outputs)
    dropped = [variable for finished in graph._finished for variable in finished]
    assert len(dropped) == len(set(dropped))
    assert not used_later & set(dropped)
    everything = {result for equation in graph.equations for result in equation.results} | set(graph.inputs)
    assert set(dropped) | (used_later & everything) == {v for v in everything if isinstance(v, Variable)}


def test_picking_outputs_drops_dead_equations(graph):
    total = graph.pick([1])
    assert [equation.primitive.name for equation in total.equations] == ["sum"]
    assert_close(total.evaluate(X, Y), [fg.sum(Y)])
