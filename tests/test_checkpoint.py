"""checkpoint: the same values and gradients to the bit, a fraction of the memory, in every nesting."""

from __future__ import annotations

import functools
import gc
import inspect
import tracemalloc

import numpy as np
import pytest

import fgrad as fg
from fgrad.errors import DtypeError, ShapeError, TracerConversionError
from fgrad.testing import check_grads

X = np.array([0.3, -0.7, 1.1])
Y = np.array([1.5, 0.4, -0.8])
ONES = np.ones(3)


def layer(x, w):
    """Nine operations, each of which saves a result."""
    for _ in range(3):
        x = fg.tanh(fg.sin(x) * w)
    return x


def deep(layer, weights, x):
    for w in weights:
        x = layer(x, w)
    return fg.sum(x * x)


def peak(function, *args):
    """The largest memory in use while a function runs, and its result."""
    gc.collect()
    tracemalloc.start()
    try:
        result = function(*args)
        return tracemalloc.get_traced_memory()[1], result
    finally:
        tracemalloc.stop()


def total(f):
    return lambda *args: fg.sum(f(*args))


# What it is for.


def test_64_layers_take_a_fifth_of_the_memory_with_the_same_gradients_to_the_bit():
    weights = [1.0 + 0.01 * i for i in range(64)]
    x = np.linspace(-1.0, 1.0, 20_000)
    saved = [record for record in fg.show_tape(layer)(x[:2], 1.0) if record.operation != "input"]
    assert len(saved) >= 8
    gradient = lambda layer: fg.grad(functools.partial(deep, layer), argnums=(0, 1))
    plain_peak, plain = peak(gradient(layer), weights, x)
    peak_with, found = peak(gradient(fg.checkpoint(layer)), weights, x)
    assert plain_peak >= 5 * peak_with
    assert fg.tree.equal(found, plain)
    assert fg.tree.equal(fg.vjp(fg.checkpoint(layer), x, 1.5)[0], layer(x, 1.5))


def test_second_derivatives_take_less_memory_too():
    weights = [1.0 + 0.01 * i for i in range(16)]
    x = np.linspace(-1.0, 1.0, 10_000)
    product = lambda layer: fg.grad(lambda x: fg.sum(fg.grad(functools.partial(deep, layer, weights))(x) * x))
    plain_peak, plain = peak(product(layer), x)
    peak_with, found = peak(product(fg.checkpoint(layer)), x)
    assert plain_peak >= 3 * peak_with
    np.testing.assert_allclose(found, plain, rtol=1e-9, atol=1e-12)


def test_the_tape_holds_one_operation_with_its_arguments():
    tape = fg.show_tape(lambda x: fg.checkpoint(layer)(x, 2.0))(X)
    assert [record.operation for record in tape] == ["input", "checkpoint", "result 0 of"]


def test_the_function_runs_once_on_stand_ins_and_not_in_the_backward_pass():
    runs = []

    @fg.checkpoint
    def f(x):
        runs.append(x)
        return fg.sin(x) * x

    fg.grad(f)(1.0)
    assert len(runs) == 1
    assert repr(runs[0]) == "Tensor(float64*[], traced by checkpoint)"


# Values and derivatives.


def test_values_are_those_of_the_function():
    f = fg.checkpoint(layer)
    assert fg.tree.equal(f(X, 2.0), layer(X, 2.0))
    assert fg.tree.equal(f(x=X, w=np.float32(2.0)), layer(X, np.float32(2.0)))
    assert type(fg.checkpoint(lambda x: x * 2)(3)) is int
    assert fg.checkpoint(lambda: 5.0)() == 5.0


def test_name_documentation_and_signature_survive():
    f = fg.checkpoint(layer)
    assert (f.__name__, f.__doc__) == ("layer", layer.__doc__)
    assert list(inspect.signature(f).parameters) == ["x", "w"]

    @fg.checkpoint
    def g(x):
        return x

    @fg.checkpoint(static="n")
    def h(x, n):
        return x * n if n else x

    assert (g.__name__, h.__name__, h(2.0, 3)) == ("g", "h", 6.0)


def test_derivatives_in_every_nesting():
    f = fg.checkpoint(layer)
    check_grads(f, (X, 1.5), order=3)
    check_grads(fg.checkpoint(lambda x, w: (fg.sum(f(x, w)), {"y": w * x})), (X, Y), order=2)


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
def test_dtypes_are_kept(dtype):
    x = X.astype(dtype)
    out, pullback = fg.vjp(fg.checkpoint(layer), x, 1.5)
    expected, reference = fg.vjp(layer, x, 1.5)
    assert fg.tree.equal(out, expected)
    assert fg.tree.equal(pullback(fg.ones_like(out)), reference(fg.ones_like(out)))


def test_only_what_is_needed_is_pulled_back():
    f = fg.checkpoint(lambda x, y: (fg.sin(x), fg.cos(y), fg.argmax(x)))
    np.testing.assert_array_equal(fg.grad(lambda x: fg.sum(f(x, Y)[0]))(X), np.cos(X))
    np.testing.assert_array_equal(fg.grad(lambda x: fg.sum(f(x, Y)[1]))(X), np.zeros(3))
    out, tangent = fg.jvp(lambda y: f(X, y), (Y,), (ONES,))
    assert (int(out[2]), tangent[2]) == (2, None)
    np.testing.assert_array_equal(tangent[0], np.zeros(3))
    np.testing.assert_array_equal(tangent[1], -np.sin(Y))


def test_captured_values_are_differentiated():
    def loss(w):
        v = w * 2.0
        return fg.sum(fg.checkpoint(lambda x: fg.sin(v) * x + w)(Y * w))

    reference = lambda w: fg.sum(fg.sin(w * 2.0) * (Y * w) + w)
    check_grads(loss, (X,), order=2)
    np.testing.assert_allclose(fg.grad(loss)(X), fg.grad(reference)(X), rtol=1e-14)
    np.testing.assert_allclose(fg.vmap(fg.grad(loss))(X), fg.vmap(fg.grad(reference))(X), rtol=1e-14)
    assert [r.operation for r in fg.show_tape(loss)(X)].count("sin") == 0


def test_trees_keys_and_other_leaves():
    @fg.checkpoint
    def f(params, key, mode, *, scale=1.0, names=("a", "b")):
        assert names == ("a", "b")
        first, second = fg.random.split(key)
        noise = fg.random.normal(first, (3,))
        y = fg.sin(params["w"]) if mode == "sin" else params["w"]
        return {"y": y * scale + noise, "key": second, "none": None}

    plain = f.__wrapped__
    args = ({"w": X, "b": None}, fg.random.key(0), "sin")
    assert fg.tree.equal(f(*args, scale=2.0), plain(*args, scale=2.0))
    loss = lambda f, params, key: fg.sum(f(params, key, "sin", scale=2.0)["y"] ** 2)
    gradient = fg.grad(functools.partial(loss, f))(*args[:2])
    assert fg.tree.equal(gradient, fg.grad(functools.partial(loss, plain))(*args[:2]))
    keys = fg.random.split(fg.random.key(1), 4)
    mapped = fg.vmap(fg.grad(functools.partial(loss, f)), in_axes=(None, 0))({"w": X}, keys)["w"]
    for row, key in zip(mapped, fg.random.split(fg.random.key(1), 4), strict=True):
        np.testing.assert_allclose(row, fg.grad(functools.partial(loss, plain))({"w": X}, key)["w"], rtol=1e-14)


def test_the_same_random_numbers_in_both_runs():
    @fg.checkpoint
    def noisy(x, key):
        return x * fg.random.normal(key, x.shape)

    key = fg.random.key(7)
    noise = fg.random.normal(fg.random.key(7), (3,))
    np.testing.assert_array_equal(fg.grad(total(noisy))(X, key), noise)


# Static arguments and what cannot be staged.


@pytest.mark.parametrize("static", ["flag", 1, ("flag",), [-1]])
def test_static_arguments_are_python_values(static):
    f = fg.checkpoint(lambda x, flag: fg.sin(x) if flag else x, static=static)
    np.testing.assert_array_equal(fg.grad(lambda x: fg.sum(f(x, True)))(X), np.cos(X))
    np.testing.assert_array_equal(fg.grad(lambda x: fg.sum(f(x, flag=False)))(X), ONES)
    np.testing.assert_array_equal(fg.vmap(lambda x: f(flag=True, x=x))(X), np.sin(X))


def test_defaults_stay_python_values():
    f = fg.checkpoint(lambda x, flag=True: fg.sin(x) if flag else x)
    np.testing.assert_array_equal(f(X), np.sin(X))


def test_values_asked_for_name_checkpoint_and_the_way_out():
    def f(x, n):
        return x if n > 0 else -x

    text = r"(?s)bool\(x\) on a value that checkpoint is tracing.*checkpoint stages f, .*fg\.where.*\(f, static="
    for call in (
        lambda: fg.checkpoint(f)(1.0, 2),
        lambda: fg.grad(fg.checkpoint(f))(1.0, 2),
        lambda: fg.vmap(fg.checkpoint(f))(X, Y),
    ):
        with pytest.raises(TracerConversionError, match=text) as caught:
            call()
        assert "return x if n > 0 else -x" in str(caught.value)
    # The way out is for values of checkpoint alone.
    with pytest.raises(TracerConversionError) as caught:
        fg.checkpoint(lambda x: fg.grad(float)(2.0) * x)(1.0)
    assert "static=" not in str(caught.value)


def test_errors_of_operations_are_those_of_the_function():
    f = fg.checkpoint(lambda x, y: x @ y)
    with pytest.raises(ShapeError) as found:
        f(np.ones((2, 3)), np.ones((2, 3)))
    with pytest.raises(ShapeError) as expected:
        fg.matmul(np.ones((2, 3)), np.ones((2, 3)))
    assert str(found.value).splitlines()[0] == str(expected.value).splitlines()[0]
    with pytest.raises(
        DtypeError, match=r"<lambda>\(\.\.\.\)\['a'\] is a str, and checkpoint takes and returns pytrees"
    ):
        fg.checkpoint(lambda x: {"a": "text"})(1.0)


# Nestings.


def inner(x):
    return fg.tanh(fg.sin(x) * x)


RULED = fg.custom_jvp(inner)
RULED.defjvp(lambda primals, tangents: (RULED(*primals), fg.jvp(inner, primals, tangents)[1]))
PULLED = fg.custom_vjp(inner)
PULLED.defvjp(lambda x: (PULLED(x), x), lambda x, g: fg.vjp(inner, x)[1](g))

NESTINGS = {
    "checkpoint of checkpoint": fg.checkpoint(fg.checkpoint(inner)),
    "checkpoints in a checkpoint": fg.checkpoint(lambda x: fg.checkpoint(fg.tanh)(fg.checkpoint(fg.sin)(x) * x)),
    "vmap of checkpoint": fg.vmap(fg.checkpoint(inner)),
    "checkpoint of vmap": fg.checkpoint(fg.vmap(inner)),
    "in a graph": fg.make_graph(fg.checkpoint(inner))(fg.asarray(X)),
    "of a graph": fg.checkpoint(fg.make_graph(inner)(fg.asarray(X))),
    "in scan": lambda x: fg.scan(lambda carry, row: (carry, fg.checkpoint(inner)(row)), 0.0, x)[1],
    "of scan": fg.checkpoint(lambda x: fg.scan(lambda carry, row: (carry, inner(row)), 0.0, x)[1]),
    "in scan, in a graph": fg.make_graph(
        lambda x: fg.scan(lambda carry, row: (carry, fg.checkpoint(inner)(row)), 0.0, x)[1]
    )(fg.asarray(X)),
    "in cond": lambda x: fg.cond(fg.sum(x) > 0, fg.checkpoint(inner), fg.sin, x),
    "of cond": fg.checkpoint(lambda x: fg.cond(fg.sum(x) > 0, inner, fg.sin, x)),
    "with a custom_jvp inside": fg.checkpoint(RULED),
}


@pytest.mark.parametrize("nesting", NESTINGS)
def test_nestings(nesting):
    f = NESTINGS[nesting]
    np.testing.assert_array_equal(f(X), inner(X))
    check_grads(f, (X,), order=2)
    np.testing.assert_array_equal(fg.grad(total(f))(X), fg.grad(total(inner))(X))
    np.testing.assert_allclose(fg.hessian(total(f))(X), fg.hessian(total(inner))(X), atol=1e-14)
    np.testing.assert_allclose(fg.linearize(f, X)[1](Y), fg.jvp(inner, (X,), (Y,))[1], rtol=1e-14)


@pytest.mark.parametrize("depth", [1, 2])
def test_the_rule_of_a_custom_jvp_may_push_through_one(depth):
    # Of the two that the rule returns only the tangent depends on the tangents, staged and batched too.
    pushed = inner
    for _ in range(depth):
        pushed = fg.checkpoint(pushed)
    f = fg.custom_jvp(inner)
    f.defjvp(lambda primals, tangents: fg.jvp(pushed, primals, tangents))
    x = fg.asarray(X)
    expected = fg.grad(total(inner))(x)
    over_rows = lambda x: fg.sum(fg.map(f, x, batch_size=2))
    for transformed in (f, fg.checkpoint(f), fg.make_graph(f)(x), fg.vmap(f), over_rows):
        gradient = fg.grad(total(transformed))
        np.testing.assert_allclose(gradient(x), expected, rtol=1e-14)
        np.testing.assert_allclose(fg.make_graph(gradient)(x)(x), expected, rtol=1e-14)


def test_with_a_custom_vjp_inside():
    check_grads(fg.checkpoint(PULLED), (X,), order=2, modes=("rev",))


@pytest.mark.parametrize("in_axes", [(0, 0), (0, None), (None, 0)])
def test_vmap_over_each_subset_of_arguments(in_axes):
    f = fg.checkpoint(lambda x, w: (layer(x, w), w * 2.0))
    args = [np.stack([value, value * 0.5]) if axis == 0 else value for value, axis in zip((X, Y), in_axes, strict=True)]
    mapped = fg.vmap(f, in_axes=in_axes)
    reference = fg.vmap(lambda x, w: (layer(x, w), w * 2.0), in_axes=in_axes)
    assert fg.tree.equal(mapped(*args), reference(*args))
    check_grads(mapped, args, order=2)


def test_a_result_that_depends_on_no_example_may_stay_single():
    f = fg.checkpoint(lambda x, w: (x, w * 2.0))
    out = fg.vmap(f, in_axes=(0, None), out_axes=(0, None))(X, 3.0)
    np.testing.assert_array_equal(out[0], X)
    assert out[1] == 6.0


def test_graphs_hold_the_function_as_one_operation_each_way():
    graph = fg.make_graph(fg.grad(total(fg.checkpoint(inner))))(fg.asarray(X))
    graph.check()
    assert [equation.primitive.name for equation in graph.equations] == ["checkpoint", "sum", "checkpoint"]
    np.testing.assert_array_equal(graph(X), fg.grad(total(inner))(X))
    forward, backward = fg.vjp_graph(fg.make_graph(fg.checkpoint(inner))(fg.asarray(X)), [True], [True])
    _, *residuals = forward.evaluate(fg.asarray(X))
    assert len(residuals) == 1  # the argument alone
    np.testing.assert_array_equal(
        backward.evaluate(*residuals, fg.asarray(ONES))[0], np.asarray(fg.grad(total(inner))(X))
    )


def test_linearize_keeps_the_value_concrete():
    out, linear_map = fg.linearize(fg.checkpoint(inner), X)
    assert fg.tree.equal(out, inner(X))
    assert {equation.primitive.name for equation in linear_map.graph.equations} == {"checkpoint"}


def test_pullbacks_can_be_called_again_and_mapped_over():
    _, pullback = fg.vjp(fg.checkpoint(inner), X)
    reference = fg.vjp(inner, X)[1]
    for u in (ONES, Y):
        np.testing.assert_array_equal(pullback(u)[0], reference(u)[0])
    pullbacks = fg.vmap(lambda x: fg.vjp(fg.checkpoint(inner), x)[1])(X)
    (found,) = fg.vmap(lambda pullback, u: pullback(u))(pullbacks, ONES)
    np.testing.assert_array_equal(found, reference(ONES)[0])


def test_memory_is_freed_without_the_collector():
    gradient = fg.grad(total(fg.checkpoint(inner)))
    gradient(X)
    gc.collect()
    gc.disable()
    try:
        gradient(X)
        assert gc.collect() == 0
    finally:
        gc.enable()
