"""vmap: axes in and out, pytrees, keys, nesting, and what its errors say."""

from __future__ import annotations

import inspect

import attrs
import numpy as np
import pytest

import fgrad as fg
from fgrad import random

X = fg.asarray(np.arange(12.0).reshape(3, 4))
W = fg.asarray([1.0, -2.0, 0.5, 3.0])


def assert_same(found, expected):
    assert fg.tree.structure(found) == fg.tree.structure(expected)
    for x, y in zip(fg.tree.leaves(found), fg.tree.leaves(expected), strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        np.testing.assert_allclose(x, y, rtol=1e-13)


def loop(f, *batches):
    return fg.stack([f(*example) for example in zip(*batches, strict=True)])


# Axes.


def test_one_argument_along_the_first_axis():
    assert_same(fg.vmap(lambda x: fg.sum(fg.sin(x)))(X), loop(lambda x: fg.sum(fg.sin(x)), X))


@pytest.mark.parametrize(("in_axes", "args"), [((0, None), (X, W)), ((None, 0), (W, X)), ([0, None], (X, W))])
def test_arguments_that_are_the_same_for_all(in_axes, args):
    assert_same(fg.vmap(fg.dot, in_axes)(*args), X @ W)


@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_examples_along_any_axis(axis):
    examples = fg.moveaxis(X, axis, 0)
    assert_same(fg.vmap(lambda x: x * x[0], in_axes=axis)(X), loop(lambda x: x * x[0], examples))


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_results_along_any_axis(axis):
    outer = fg.vmap(lambda x: fg.outer(x, W[:2]), out_axes=axis)(X)
    assert_same(outer, fg.moveaxis(loop(lambda x: fg.outer(x, W[:2]), X), 0, axis))


def test_pytrees_of_axes_are_prefixes():
    params = {"w": X, "b": (fg.arange(3.0), 2.0)}
    f = lambda p, x: {"y": fg.dot(p["w"], x) + p["b"][0] * p["b"][1], "w": p["w"]}
    found = fg.vmap(f, in_axes=({"w": 0, "b": (0, None)}, None), out_axes={"y": 0, "w": 1})(params, W)
    assert_same(found, {"y": X @ W + 2.0 * fg.arange(3.0), "w": X.T})
    one = fg.vmap(f, in_axes=({"w": 0, "b": None}, None))({"w": X, "b": (1.0, 2.0)}, W)
    assert_same(one["y"], X @ W + 2.0)


def test_records_and_none_subtrees_are_trees():
    @attrs.frozen
    class Pair:
        x: fg.Tensor
        y: None = None

    found = fg.vmap(lambda pair: Pair(pair.x * 2.0))(Pair(X))
    assert found.y is None
    assert_same(found.x, X * 2.0)


def test_keyword_arguments_lie_along_axis_0():
    assert_same(fg.vmap(lambda x, *, scale: x * scale)(X, scale=fg.arange(3.0)), X * fg.arange(3.0)[:, None])


def test_results_that_do_not_depend_on_the_example():
    y, number, z = fg.vmap(lambda x: (W, 2.5, fg.sum(x)), out_axes=(None, 0, 0))(X)
    assert y is W
    assert_same(number, fg.full(3, 2.5))
    assert_same(z, fg.sum(X, axis=1))
    assert_same(fg.vmap(lambda x: W)(X), fg.broadcast_to(W, (3, 4)))


def test_axis_size_for_calls_in_which_no_argument_tells_it():
    found = fg.vmap(lambda x: x + 1.0, in_axes=None, axis_size=5)(W)
    assert_same(found, fg.broadcast_to(W + 1.0, (5, 4)))


def test_no_examples():
    assert fg.vmap(lambda x: fg.sum(x * 2.0))(fg.zeros((0, 4))).shape == (0,)


def test_ndarrays_and_dtypes():
    array = np.arange(6, dtype=np.float32).reshape(3, 2)
    found = fg.vmap(lambda x: x * 2)(array)
    assert isinstance(found, fg.Tensor)
    assert found.dtype == np.float32
    assert fg.vmap(lambda n: n + 1)(np.arange(3)).dtype == np.arange(3).dtype


def test_it_decorates():
    @fg.vmap
    def normalise(x):
        """Unit sum."""
        return x / fg.sum(x)

    assert normalise.__doc__ == "Unit sum."
    assert list(inspect.signature(normalise).parameters) == ["x"]
    assert_same(fg.sum(normalise(X + 1.0), axis=1), fg.ones(3))


# Nesting and other transforms.


def test_nested():
    y = fg.asarray(np.linspace(-1.0, 1.0, 8).reshape(2, 4))
    found = fg.vmap(fg.vmap(fg.dot, in_axes=(None, 0)), in_axes=(0, None))(X, y)
    assert_same(found, X @ y.T)
    assert_same(fg.vmap(fg.vmap(fg.dot, (0, None)), (None, 0), out_axes=1)(X, y), X @ y.T)


def test_gradients_of_every_example():
    loss = lambda w, x: fg.tanh(fg.dot(w, x)) ** 2
    found = fg.vmap(fg.grad(loss), in_axes=(None, 0))(W, X / 10)
    assert_same(found, loop(lambda x: fg.grad(loss)(W, x), X / 10))


def test_the_gradient_of_a_batch():
    loss = lambda w: fg.mean(fg.vmap(lambda x: fg.tanh(fg.dot(w, x)) ** 2)(X / 10))
    by_hand = lambda w: fg.mean(fg.tanh(X / 10 @ w) ** 2)
    assert_same(fg.grad(loss)(W), fg.grad(by_hand)(W))
    assert_same(fg.jvp(loss, (W,), (W,))[1], fg.jvp(by_hand, (W,), (W,))[1])


def test_values_of_outer_transforms_may_be_closed_over():
    f = lambda w: fg.sum(fg.vmap(lambda x: x * w)(fg.arange(3.0)))
    assert_same(fg.grad(f)(2.0), fg.asarray(3.0))
    g = lambda w: fg.vmap(lambda x: x * w)(fg.arange(3.0))
    assert_same(fg.vmap(g)(fg.arange(2.0)), fg.outer(fg.arange(2.0), fg.arange(3.0)))


def test_graphs():
    f = fg.vmap(lambda x, w: fg.tanh(x * w), in_axes=(0, None))
    graph = fg.make_graph(f)(X, W)
    graph.check()
    assert_same(graph(X, W), f(X, W))


# Keys.


def test_every_example_has_its_own_key():
    keys = random.split(random.key(0), 3)
    draw = lambda key: random.normal(key, (2,))
    assert_same(fg.vmap(draw)(keys), fg.stack([draw(key) for key in keys]))
    shared = fg.vmap(lambda x, key: random.normal(key, (2,)) + 0.0 * x, in_axes=(0, None))(fg.ones(3), random.key(1))
    assert_same(shared, fg.stack([draw(random.key(1))] * 3))


def test_keys_come_out():
    keys = random.split(random.key(0), 3)
    folded = fg.vmap(random.fold_in)(keys, fg.arange(3))
    assert folded.shape == (3,)
    for n in range(3):
        assert_same(folded[n].words, random.fold_in(keys[n], n).words)
    halves = fg.vmap(random.split, out_axes=1)(keys)
    assert halves.shape == (2, 3)
    assert_same(halves[:, 1].words, random.split(keys[1]).words)


def test_one_array_of_keys_for_two_batches_is_reported():
    keys = random.split(random.key(0), 3)
    fg.vmap(random.normal)(keys)
    with pytest.warns(fg.errors.KeyReuseWarning, match="test_vmap"):
        fg.vmap(random.uniform)(keys)


# Errors.


def message_of(function, *args, error=ValueError, **kwargs):
    with pytest.raises(error) as caught:
        function(*args, **kwargs)
    return str(caught.value)


def test_different_numbers_of_examples_name_every_argument_the_odd_one_first():
    f = lambda params, x, y: x
    message = message_of(fg.vmap(f), {"w": fg.ones((3, 2)), "b": fg.ones(4)}, fg.ones(3), y=fg.ones((3, 7)))
    listed = (
        "params['b'] has 4 along axis 0 of shape (4,), params['w'] has 3 along axis 0 of shape (3, 2), "
        "x has 3 along axis 0 of shape (3,), y has 3 along axis 0 of shape (3, 7)"
    )
    assert f"vmap's arguments have different numbers of examples: {listed}" in message
    assert __file__ in message
    assert "axis_size is 5" in message_of(fg.vmap(lambda x: x, axis_size=5), fg.ones(3))


def test_an_argument_without_the_axis():
    message = message_of(fg.vmap(lambda x, rate: x), fg.ones(3), 0.1)
    assert "vmap maps rate along axis 0, and it is 0.1, a single number" in message
    assert "in_axes has None" in message
    assert "x along axis 2, and it has shape (3, 4)" in message_of(fg.vmap(lambda x: x, in_axes=2), X)
    assert "key along axis 0, and it has shape ()" in message_of(fg.vmap(lambda key: key), random.key(0))


def test_no_number_of_examples():
    assert "no argument has a batch axis" in message_of(fg.vmap(lambda x: x, in_axes=None), W)
    assert "axis_size=" in message_of(fg.vmap(lambda: W))


def test_axes_that_are_no_prefix():
    assert "in_axes for 2 positional arguments" in message_of(fg.vmap(lambda x: x, in_axes=(0, 0)), X)
    message = message_of(fg.vmap(lambda p: p["w"], in_axes=({"v": 0},)), {"w": X})
    assert "in_axes[0] is not a prefix of p: p has the keys ['w'] and should have the keys ['v']" in message
    assert message.count("test_vmap.py") == 1
    assert "out_axes is not a prefix" in message_of(fg.vmap(lambda x: x, out_axes=(0, 0)), X)
    assert "an axis is an integer" in message_of(fg.vmap, lambda x: x, in_axes="x", error=TypeError)


def test_leaves_that_cannot_be_mapped():
    message = message_of(fg.vmap(lambda x, name: x), X, "relu", error=TypeError)
    assert "name is a str" in message
    assert "returned a str" in message_of(fg.vmap(lambda x: {"x": x, "name": "y"}), X)


def test_a_result_that_differs_cannot_be_returned_once():
    assert "out_axes is None for the result['y']" in message_of(fg.vmap(lambda x: {"y": x}, out_axes={"y": None}), X)


def test_a_place_that_a_result_does_not_have():
    for axis in (2, -3):
        message = message_of(fg.vmap(lambda x: {"y": x[0]}, out_axes={"y": axis}), fg.ones((3, 2, 4)))
        assert f"out_axes is {axis} for the result['y'], which has no such axis: " in message
        assert "its shape is (3, 4)" in message
    assert fg.vmap(lambda x: x[0], out_axes=-1)(fg.ones((3, 2, 4))).shape == (4, 3)


def test_an_axis_size_that_is_none():
    assert "axis_size is 2.5; " in message_of(fg.vmap, lambda: W, axis_size=2.5, error=TypeError)
    assert "axis_size is -2; " in message_of(fg.vmap, lambda: W, axis_size=-2)
    assert fg.vmap(lambda: W, axis_size=np.int64(2))().shape == (2, *W.shape)


@pytest.mark.parametrize("axis", [2, -3])
def test_out_axes_that_a_result_does_not_have(axis):
    for f in (random.split, lambda key: random.bits(key, (2,))):
        message = message_of(fg.vmap(f, out_axes=axis), random.split(random.key(0), 3), error=fg.errors.ShapeError)
        assert f"out_axes is {axis} for the result, which has no such axis" in message


def test_errors_show_the_shapes_of_one_example():
    message = message_of(fg.vmap(lambda x, w: x @ w, in_axes=(0, None)), fg.ones((3, 2, 4)), fg.ones((5, 6)))
    assert "[matmul] on float64[2,4] and float64[5,6]" in message


def test_errors_about_values_show_them_too():
    keys = random.split(random.key(0), 3)
    message = message_of(fg.vmap(lambda key, low: random.uniform(key, minval=low)), keys, fg.asarray([0.0, 2.0, 0.5]))
    assert "[uniform] on uint64[] and float64[]" in message
    assert "minval must be below maxval" in message


@pytest.mark.parametrize("action", [bool, int, float, np.asarray, lambda x: x.item(), lambda x: f"{x:.2f}"])
def test_a_value_of_all_examples_is_no_number(action):
    assert "3 examples at once" in message_of(fg.vmap(action), fg.ones(3), error=TypeError)


def test_an_if_on_an_example_names_the_way_out():
    message = message_of(fg.vmap(lambda x: x if x > 0 else -x), fg.ones(3), error=TypeError)
    assert "fg.where" in message
    assert "fg.cond" in message


def test_what_an_example_looks_like():
    seen = []
    fg.vmap(lambda x: (seen.append((repr(x), str(x), x.shape, x.dtype, len(x), isinstance(x, fg.Tensor))), x)[1])(X)
    assert seen[0][2:] == ((4,), np.dtype(float), 4, True)
    assert seen[0][0] == seen[0][1] == "Tensor(float64[4], one of 3 examples of vmap)"


def test_an_example_that_outlives_the_call():
    kept = []
    fg.vmap(lambda x: (kept.append(x), x)[1])(X)
    with pytest.raises(fg.errors.EscapedTracerError, match="vmap"):
        kept[0] + 1.0
    with pytest.raises(fg.errors.EscapedTracerError):
        fg.vmap(lambda x: x + kept[0])(X)
    with pytest.raises(fg.errors.EscapedTracerError):
        fg.grad(lambda w: fg.sum(fg.vmap(lambda x: kept[0])(X)) * w)(1.0)


def test_it_takes_a_function():
    assert "write fg.vmap(f)(x)" in message_of(fg.vmap, X, error=TypeError)


@pytest.mark.parametrize(
    "f",
    [
        lambda w: w * [2.0, 3.0],
        lambda w: fg.where([True, False], w, 0.0),
        lambda w: fg.clip(w, [0.0, 1.5], [3.0, 3.0]),
        lambda w: fg.float_power(w, [2, 3]),
        lambda w: fg.hypot([1.0, 2.0], w),
        lambda w: w @ [2.0, 3.0],
    ],
)
def test_lists_are_operands_in_every_transform(f):
    x = fg.asarray([1.0, 2.0])
    expected = f(x)
    np.testing.assert_array_equal(fg.vmap(f)(fg.stack([x, x])), fg.stack([expected, expected]))
    primal, tangent = fg.jvp(f, (x,), (x,))
    np.testing.assert_array_equal(primal, expected)
    np.testing.assert_allclose(tangent, fg.jacrev(f)(x) @ x)
    np.testing.assert_array_equal(fg.make_graph(f)(x)(x), expected)
