"""Graphs: what staging writes down; how graphs print, evaluate, check themselves and nest with gradients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

import fgrad as fg
from fgrad.core.bind import staging
from fgrad.core.graph import Equation, Literal, Variable
from fgrad.core.staging import stage
from fgrad.errors import DtypeError, EscapedTracerError, ShapeError, TracerConversionError, TreeError
from fgrad.testing import check_grads, strategies

X = np.array([[0.5, -0.25, 0.75], [0.1, 0.9, -0.6]])


def names(graph):
    return [equation.primitive.name for equation in graph.equations]


def staged(f, *values):
    """The graph of a flat function and the tracers that it captured."""
    avals = [fg.ShapeDtype(np.shape(value), np.asarray(value).dtype) for value in values]
    return stage(lambda *tracers: [f(*tracers)], avals, "test")


# What is written down.


def test_a_graph_prints_as_a_program():
    graph = fg.make_graph(lambda x: fg.sum(fg.sin(x) * 2.0, axis=0))(fg.asarray(X))
    source = "# graph = fg.make_graph(lambda x: fg.sum(fg.sin(x) * 2.0, axis=0))(fg.asarray(X))"
    assert str(graph).splitlines() == [
        "graph(a: float64[2,3]):",
        f"    b: float64[2,3] = sin(a)  {source}",
        f"    c: float64[2,3] = multiply(b, 2.0)  {source}",
        f"    d: float64[3] = sum(c, axes=(0,), keepdims=False)  {source}",
        "    return d",
    ]
    assert repr(graph) == str(graph)


def test_printing_literals_weak_values_and_many_variables():
    constant = fg.asarray([1.0, 2.0])
    graph = fg.make_graph(lambda x, s: (x * constant + fg.asarray(3.0), s * 2, 5))(fg.asarray([1.0, 2.0]), 1.5)
    text = str(graph)
    assert "b: float64*[]" in text
    assert "multiply(a, <float64[2]>)" in text
    assert "add(c, 3.0:float64)" in text
    assert text.splitlines()[-1] == "    return d, e, 5"
    long = fg.make_graph(lambda x: [x + i for i in range(30)])(1.0)
    assert "ad: float64*[]" in str(long)
    assert str(fg.make_graph(lambda: ())()).splitlines() == ["graph():", "    return nothing"]


def test_equations_know_the_users_line():
    def f(x):
        y = fg.exp(x)
        return y + 1

    equations = fg.make_graph(f)(1.0).equations
    assert [equation.source.text for equation in equations] == ["y = fg.exp(x)", "return y + 1"]
    assert equations[0].source.filename == __file__
    assert equations[0].source.function == "f"


def test_no_operation_is_carried_out():
    huge = fg.broadcast_to(fg.asarray(1.0), (10**6, 10**6))
    graph = fg.make_graph(lambda x: fg.sum(fg.sin(x) * x, axis=1))(huge)
    assert graph.outputs[0].aval == fg.ShapeDtype((10**6,), np.dtype("float64"))


def test_operations_on_constants_alone_are_carried_out_at_once():
    constant = fg.asarray([1.0, 2.0])
    assert names(fg.make_graph(lambda x: x * fg.sin(constant))(1.0)) == ["multiply"]


def test_creation_functions_are_recorded():
    graph = fg.make_graph(lambda x: x * fg.ones(3) + fg.arange(3) + fg.eye(3)[0] + fg.zeros_like(x) + fg.full(3, 2.0))(
        1.0
    )
    assert [name for name in names(graph) if name in ("full", "arange", "eye")] == [
        "full",
        "arange",
        "eye",
        "full",
        "full",
    ]
    np.testing.assert_array_equal(graph(2.0), 2.0 + np.arange(3) + np.eye(3)[0] + 2.0)


def test_random_draws_are_recorded_though_the_key_is_known():
    key = fg.random.key(0)
    graph = fg.make_graph(lambda x: x * fg.random.uniform(key, (2,)))(1.0)
    assert names(graph) == ["random_bits", "unit_interval", "multiply"]
    np.testing.assert_array_equal(graph(1.0), fg.random.uniform(fg.random.key(0), (2,)))


def test_writable_arrays_are_copied():
    buffer = np.ones(2)

    def f(x):
        total = x * buffer
        buffer[:] = 100.0
        return total

    graph = fg.make_graph(f)(3.0)
    np.testing.assert_array_equal(graph(3.0), [3.0, 3.0])


# Evaluation.


@given(strategies.tensors(shape=(2, 3)))
def test_evaluation_is_eager_evaluation_bit_for_bit(x):
    def f(x):
        return {"a": fg.tanh(x) @ x.T, "b": (fg.sum(x, axis=0, keepdims=True), x.reshape(3, 2)[1:], x.mean() * 2)}

    assert fg.tree.equal(fg.make_graph(f)(x)(x), f(x))


def test_trees_keys_and_keyword_arguments():
    key = fg.random.key(3)

    def f(params, key, *, scale):
        first, second = fg.random.split(key)
        return {"x": params["w"] * scale + fg.random.normal(first, (2,)), "key": second, "none": None}

    params = {"w": fg.asarray([1.0, 2.0])}
    graph = fg.make_graph(f)(params, key, scale=3.0)
    found, expected = graph(params, key), f(params, key, scale=3.0)
    assert fg.tree.equal(found, expected)
    assert type(found["key"]) is type(key)


def test_a_graph_demands_the_arguments_it_was_made_for():
    graph = fg.make_graph(lambda tree, s: tree["x"] * s)({"x": fg.asarray(X)}, 2.0)
    with pytest.raises(TreeError, match=r"args\[0\] has the keys \['y'\] and should have the keys \['x'\]"):
        graph({"y": fg.asarray(X)}, 2.0)
    with pytest.raises(TreeError, match="has 1 entries where 2 are expected"):
        graph({"x": fg.asarray(X)})
    with pytest.raises(ShapeError, match=r"input 0 has shape \(3,\) where \(2, 3\) is expected"):
        graph({"x": fg.asarray(X[0])}, 2.0)
    with pytest.raises(DtypeError, match=r"input 0 is float32\[2,3\] where float64\[2,3\] is expected"):
        graph({"x": fg.asarray(X.astype("float32"))}, 2.0)
    with pytest.raises(DtypeError, match=r"input 1 is float64\[\] where float64\*\[\] is expected"):
        graph({"x": fg.asarray(X)}, np.float64(2.0))
    for other in ([1.0, 2.0], "2.0", None):
        with pytest.raises(DtypeError, match=rf"input 1 is of type {type(other).__name__} where float64\*\[\] is"):
            graph({"x": fg.asarray(X)}, other)
    with pytest.raises(TreeError, match=r"has 2 inputs, and 1 values were given\n  at .*test_graph\.py"):
        graph.evaluate(fg.asarray(X))


def test_evaluation_is_differentiable():
    graph = fg.make_graph(lambda x, y: fg.sum(fg.sin(x) * y))(fg.asarray(X), fg.asarray(X))
    check_grads(graph, (fg.asarray(X), fg.asarray(X) + 1), order=2)


def test_a_graph_of_a_graph_is_the_graph():
    graph = fg.make_graph(lambda x: fg.sin(x) * x)(fg.asarray(X))
    again = fg.make_graph(graph)(fg.asarray(X))
    assert names(again) == names(graph) == ["sin", "multiply"]


def test_arguments_that_are_no_values_are_named_by_path():
    with pytest.raises(DtypeError, match=r"args\[1\]\['mode'\] is a str; make_graph takes numbers, arrays and keys"):
        fg.make_graph(lambda x, options: x)(1.0, {"mode": "fast"})
    with pytest.raises(DtypeError, match="output 0 of the function given to make_graph is not a number"):
        fg.make_graph(lambda x: "text")(1.0)


# Errors while staging.


def test_shape_errors_are_those_of_eager_evaluation():
    x, y = fg.asarray(np.ones((3, 4))), fg.asarray(np.ones((5, 2)))
    for f in (lambda x, y: x + y, lambda x, y: x @ y, lambda x, y: fg.concatenate([x, y])):
        with pytest.raises(ShapeError) as eager:
            f(x, y)
        with pytest.raises(ShapeError) as graph:
            fg.make_graph(f)(x, y)
        assert str(graph.value).split("\n")[0] == str(eager.value).split("\n")[0]
        assert "float64[3,4] and float64[5,2]" in str(graph.value)
        assert __file__ in str(graph.value)


def test_values_cannot_be_read_while_staging():
    for read in (
        bool,
        int,
        float,
        np.asarray,
        lambda t: t.item(),
        lambda t: 1 if t > 0 else 0,
        range,
        lambda t: [1][t],
    ):
        with pytest.raises(TracerConversionError, match=r"make_graph is tracing has no value yet.*fg\.where selects"):
            fg.make_graph(read)(1)
    with pytest.raises(TracerConversionError, match=r"fg\.where\(mask, x, other\)"):
        fg.make_graph(lambda x: x[x > 0])(fg.asarray(X))


def test_shapes_and_dtypes_can_be_read_while_staging():
    def f(x):
        assert (x.shape, x.ndim, x.size, x.dtype, len(x)) == ((2, 3), 2, 6, np.dtype("float64"), 2)
        assert isinstance(x, fg.Tensor)
        return x.reshape(x.shape[::-1])

    assert fg.make_graph(f)(fg.asarray(X)).outputs[0].aval.shape == (3, 2)


# Captures and nesting.


def test_an_outer_tracer_becomes_an_operand():
    found = []

    def loss(w):
        graph, captured = staged(lambda x: fg.sin(w) * x * w, 2.0)
        found.append((graph, len(captured)))
        (out,) = graph.evaluate(*captured, fg.asarray(2.0))
        return out

    gradient = fg.grad(loss)(0.5)
    graph, count = found[0]
    assert count == graph.captured == 1
    assert len(graph.inputs) == 2
    assert names(graph) == ["sin", "multiply", "multiply"]
    assert float(gradient) == pytest.approx(2 * (np.cos(0.5) * 0.5 + np.sin(0.5)))
    graph.check()


def test_operations_on_outer_tracers_alone_are_recorded_inside():
    """Both branches of a cond, and what checkpoint drops, depend on this."""

    def loss(w):
        graph, captured = staged(lambda x: fg.exp(fg.log(w)), 2.0)
        assert names(graph) == ["log", "exp"]
        assert captured == [w] or captured[0] is w
        return graph.evaluate(*captured, 2.0 * fg.ones(()))[0]

    tape = fg.show_tape(lambda w: staged(lambda x: fg.exp(fg.log(w)), 2.0) and w * 1.0)(fg.asarray(3.0))
    assert [record.operation for record in tape] == ["input", "multiply"]
    assert float(fg.grad(loss)(3.0)) == pytest.approx(1.0)


def test_a_captured_value_is_captured_once():
    def loss(w):
        v = w * 2.0
        graph, captured = staged(lambda x: x * w + v * w + v, 2.0)
        assert len(captured) == 2
        return graph.evaluate(*captured, fg.asarray(1.0))[0]

    assert float(fg.grad(loss)(3.0)) == 1 + 4 * 3 + 2


def test_a_graph_with_captures_is_no_whole_function():
    def loss(w):
        graph = fg.make_graph(lambda x: x * w)(2.0)
        with pytest.raises(TreeError, match=r"captured values.*graph\.evaluate\(\*inputs\)"):
            graph(2.0)
        return w

    fg.grad(loss)(3.0)


def test_captures_of_an_outer_staging_trace():
    inner = []

    def outer(x):
        graph, captured = staged(lambda y: fg.sin(x) * y, 2.0)
        inner.append(graph)
        return graph.evaluate(*captured, x)[0]

    graph = fg.make_graph(outer)(fg.asarray(1.0))
    assert names(inner[0]) == ["sin", "multiply"]
    assert names(graph) == ["sin", "multiply"]
    assert float(graph(fg.asarray(0.5))) == np.sin(0.5) * 0.5


def test_gradients_inside_graphs():
    graph = fg.make_graph(fg.grad(lambda x: fg.sum(fg.sin(x) * x)))(fg.asarray(X))
    graph.check()
    np.testing.assert_allclose(graph(fg.asarray(X)), np.cos(X) * X + np.sin(X), rtol=1e-12)
    second = fg.make_graph(fg.grad(fg.grad(lambda x: x**3)))(2.0)
    assert float(second(5.0)) == 30.0
    assert fg.tree.equal(graph(fg.asarray(X)), fg.grad(lambda x: fg.sum(fg.sin(x) * x))(X))


def test_value_and_grad_and_vjp_inside_graphs():
    def f(x):
        (value, aux), gradient = fg.value_and_grad(lambda x: (fg.sum(x * x), x * 2), has_aux=True)(x)
        out, pullback = fg.vjp(fg.exp, x)
        return value, aux, gradient, out, pullback(x)[0]

    x = fg.asarray(X)
    assert fg.tree.equal(fg.make_graph(f)(x)(x), f(x))


def test_graphs_inside_gradients():
    graph = fg.make_graph(lambda x, y: fg.sin(x) * y)(1.0, 1.0)
    f = lambda x: graph(x, x * 2.0)
    assert float(fg.grad(f)(0.5)) == pytest.approx(2 * (np.cos(0.5) * 0.5 + np.sin(0.5)))
    made_inside = lambda x: fg.make_graph(lambda y: fg.sin(y) * 2.0)(x)(x)
    assert float(fg.grad(made_inside)(0.5)) == pytest.approx(2 * np.cos(0.5))
    assert float(fg.grad(fg.grad(made_inside))(0.5)) == pytest.approx(-2 * np.sin(0.5))


def test_a_tracer_of_the_graph_does_not_escape():
    seen = []
    fg.make_graph(lambda x: seen.append(x * 2.0) or x)(1.0)
    with pytest.raises(EscapedTracerError, match="finished make_graph call"):
        seen[0] + 1
    with pytest.raises(EscapedTracerError):
        fg.make_graph(lambda x: seen[0])(1.0)


def test_staging_ends_with_the_function():
    assert staging.trace is None

    def f(x):
        outer = staging.trace
        assert outer is not None
        fg.make_graph(lambda y: y * x)(1.0)
        assert staging.trace is outer
        with pytest.raises(ZeroDivisionError):
            fg.make_graph(lambda y: 1 / 0)(1.0)
        assert staging.trace is outer
        return x

    fg.make_graph(f)(1.0)
    assert staging.trace is None
    with pytest.raises(ZeroDivisionError):
        fg.make_graph(lambda x: 1 / 0)(1.0)
    assert staging.trace is None


# Well-formedness.


def test_check_accepts_what_staging_writes():
    fg.make_graph(lambda x: fg.var(x, axis=0) + fg.concatenate([x, x])[0] * fg.max(x))(fg.asarray(X)).check()


@pytest.mark.parametrize(
    ("spoil", "error", "text"),
    [
        (
            lambda g, a: evolve(g, equations=g.equations[::-1]),
            ShapeError,
            r"equation 0 \(\w+\) uses a variable that is not",
        ),
        (
            lambda g, a: evolve(g, equations=(*g.equations, g.equations[0])),
            ShapeError,
            "defines a variable a second time",
        ),
        (lambda g, a: evolve(g, outputs=(Variable(a),)), ShapeError, "the outputs use a variable that is not defined"),
        (lambda g, a: evolve(g, inputs=()), ShapeError, r"equation 0 \(sin\) uses a variable"),
        (
            lambda g, a: retype(g, fg.ShapeDtype((3, 2), a.dtype)),
            ShapeError,
            r"shape \(3, 2\) where \(2, 3\) is expected",
        ),
        (lambda g, a: retype(g, fg.ShapeDtype(a.shape, np.dtype("float32"))), DtypeError, "float32.*where float64"),
    ],
)
def test_check_refuses_what_is_not_well_formed(spoil, error, text):
    graph = fg.make_graph(lambda x: fg.sin(x) * x)(fg.asarray(X))
    with pytest.raises(error, match=text):
        spoil(graph, graph.inputs[0].aval).check()


def evolve(graph, **changes):
    parts = {name: getattr(graph, name) for name in ("inputs", "equations", "outputs")}
    return fg.Graph(**parts | changes)


def retype(graph, aval):
    first, second = graph.equations
    result = Variable(aval)
    spoilt = Equation(first.primitive, first.operands, first.params, (result,))
    rest = Equation(second.primitive, (result, second.operands[1]), second.params, second.results)
    return evolve(graph, equations=(spoilt, rest))


def test_literals_know_their_type():
    assert Literal(2.0).aval == fg.ShapeDtype((), np.dtype("float64"), weak=True)
    assert Literal(fg.asarray([1, 2])).aval == fg.ShapeDtype((2,), np.dtype("int64"))


def test_a_shape_dtype_describes_a_value():
    aval = fg.ShapeDtype((2, 3), np.dtype("float32"))
    assert (aval.ndim, aval.size, str(aval)) == (2, 6, "float32[2,3]")
    assert str(fg.ShapeDtype((), np.dtype("int64"), weak=True)) == "int64*[]"
    assert hash(aval) == hash(fg.ShapeDtype((2, 3), np.dtype("float32")))
