"""Indexing and joining under vmap and jvp: every mix of what is batched, derivatives of each, nesting, errors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fgrad as fg

RNG = np.random.default_rng(7)
SIZE = 3
A, B = "a", "b"  # the places of two index arrays
FULL, EVERY_SECOND, BACKWARDS = slice(None), slice(0, None, 2), slice(None, None, -1)

# What stands between the brackets for one example of shape (4, 3, 5), and the shapes of the arrays in it.
INDICES = [
    ((1,), ()),
    ((..., -2), ()),
    ((EVERY_SECOND, None, BACKWARDS), ()),
    ((A,), [()]),
    ((A,), [(4,)]),
    ((A,), [(2, 3)]),
    ((FULL, A), [()]),
    ((FULL, A), [(2,)]),
    ((..., A), [(2, 2)]),
    ((None, A, None), [(2,)]),
    ((A, B), [(2,), ()]),
    ((A, B), [(2, 1), (3,)]),
    ((FULL, A, B), [(2,), (1,)]),
    ((A, FULL, B), [(2,), (2,)]),
    ((A, FULL, B), [(), ()]),
    ((A, ..., B), [(2, 1), (3,)]),
    ((A, None, B), [(2,), ()]),
    ((0, FULL, A), [(2,)]),
    ((FULL, A, 1), [(2,)]),
    ((EVERY_SECOND, A, BACKWARDS), [(3,)]),
    ((A, BACKWARDS, 2), [(0,)]),
    ((-1, A, B), [(3,), (2, 3)]),
]
SHAPE = (4, 3, 5)


def batches(shape, dtype="float64"):
    values = RNG.normal(size=(SIZE, *shape))
    return np.asarray(values + 1j * RNG.normal(size=values.shape) if dtype == "complex128" else values).astype(dtype)


def positions(shape):
    """Positions within every axis, negative and repeated ones among them."""
    return RNG.integers(-3, 3, (SIZE, *shape))


def fill(index, arrays):
    places = dict(zip((A, B), arrays, strict=False))
    return tuple([places[item] if isinstance(item, str) else item for item in index])


def every_mix(count):
    """Which of so many operands are batched, in every way but none at all."""
    return [mix for mix in itertools.product((False, True), repeat=count) if any(mix)]


def loop(function, mix, operands):
    """The function applied to one example after the other, in Python."""
    chosen = [[x[i] if own else x[0] for x, own in zip(operands, mix, strict=True)] for i in range(SIZE)]
    results = [function(*[fg.asarray(x) for x in example]) for example in chosen]
    return fg.tree.map(lambda *parts: np.stack([np.asarray(part) for part in parts]), *results)


def assert_like_loop(function, mix, operands):
    arguments = [fg.asarray(x if own else x[0]) for x, own in zip(operands, mix, strict=True)]
    found = fg.vmap(function, in_axes=tuple([0 if own else None for own in mix]))(*arguments)
    expected = loop(function, mix, operands)
    for got, wanted in zip(fg.tree.leaves(found), fg.tree.leaves(expected), strict=True):
        assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-13)


def cases(*, arrays_only=False):
    kept = [(index, shapes) for index, shapes in INDICES if shapes or not arrays_only]
    return pytest.mark.parametrize(("index", "shapes"), kept, ids=[str(list(index)) + str(s) for index, s in kept])


@cases()
def test_reads(index, shapes):
    operands = [batches(SHAPE), *map(positions, shapes)]
    for mix in every_mix(len(operands)):
        assert_like_loop(lambda x, *arrays: x[fill(index, arrays)], mix, operands)


@cases()
@pytest.mark.parametrize("method", ["set", "add"])
def test_updates_in_every_mix_of_what_is_batched(method, index, shapes):
    operands = [batches(SHAPE), *map(positions, shapes)]
    read = operands[0][0][fill(index, [array[0] for array in operands[1:]])]
    operands.insert(1, batches(read.shape))
    update = lambda x, values, *arrays: getattr(x.at[fill(index, arrays)], method)(values)
    for mix in every_mix(len(operands)):
        assert_like_loop(update, mix, operands)


@cases()
@pytest.mark.parametrize("method", ["multiply", "min", "max"])
def test_updates_in_rounds_where_the_index_is_known(method, index, shapes):
    known = [positions(shape)[0] for shape in shapes]
    operands = [batches(SHAPE), batches(batches(SHAPE)[0][fill(index, known)].shape)]
    for mix in every_mix(2):
        assert_like_loop(lambda x, values: getattr(x.at[fill(index, known)], method)(values), mix, operands)


@cases(arrays_only=True)
@pytest.mark.parametrize("method", ["set", "add"])
def test_gradients_of_updates_for_each_example(method, index, shapes):
    """Values written over by later ones have no derivative; the rule finds them for each example by itself."""
    operands = [batches(SHAPE), *map(positions, shapes)]
    weights = batches(SHAPE)[0]
    read = operands[0][0][fill(index, [array[0] for array in operands[1:]])]
    operands.insert(1, batches(read.shape))

    def loss(x, values, *arrays):
        return fg.sum(getattr(x.at[fill(index, arrays)], method)(values * values) ** 2 * weights)

    for mix in ((True,) * len(operands), (False, False, *[True] * len(shapes)), (True, True, *[False] * len(shapes))):
        assert_like_loop(fg.grad(loss, (0, 1)), mix, operands)


@cases()
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_tangents_are_the_transposes_of_cotangents(index, shapes, dtype):
    arrays = [positions(shape)[0] for shape in shapes]
    x, v = batches(SHAPE, dtype)[:2]
    place = fill(index, arrays)
    values, w = batches(x[place].shape, dtype)[:2]
    x, values = fg.asarray(x), fg.asarray(values)
    functions = [
        lambda x, values: x[place] * 2.0,
        lambda x, values: x.at[place].set(values),
        lambda x, values: x.at[place].add(values),
    ]
    for function in functions:
        out, tangent = fg.jvp(function, (x, values), (v, w))
        assert (tangent.shape, tangent.dtype) == (out.shape, out.dtype)
        u = np.asarray(RNG.normal(size=out.shape)).astype(dtype)
        by_x, by_values = fg.vjp(function, x, values)[1](u)
        forward = np.sum(u * np.asarray(tangent)).real
        backward = (np.sum(np.asarray(by_x) * v) + np.sum(np.asarray(by_values) * w)).real
        np.testing.assert_allclose(forward, backward, rtol=2e-4 if dtype == "float32" else 1e-9, atol=1e-5)
        moved = [np.asarray(function(x + h * v, values + h * w)) for h in (1, -1)]
        np.testing.assert_allclose(tangent, (moved[0] - moved[1]) / 2, rtol=1e-4, atol=1e-5)


def test_one_tangent_alone():
    x, values, place = fg.asarray(batches((4,))[0]), fg.asarray(batches((3,))[0]), [1, 1, -1]
    for function in (lambda x, y: x.at[place].set(y), lambda x, y: x.at[place].add(y), lambda x, y: fg.hstack([x, y])):
        by_x = fg.jvp(function, (x, values), (x, None))[1]
        by_values = fg.jvp(function, (x, values), (None, values))[1]
        np.testing.assert_allclose(by_x + by_values, fg.jvp(function, (x, values), (x, values))[1])
        np.testing.assert_allclose(by_values, function(fg.zeros(4), values))


@cases()
def test_nested_vmap(index, shapes):
    """x differs along the outer axis, the arrays along the inner, and the other way round; and all along both."""
    x = RNG.normal(size=(2, SIZE, *SHAPE))
    arrays = [RNG.integers(-3, 3, (2, SIZE, *shape)) for shape in shapes]
    read = lambda x, *arrays: x[fill(index, arrays)]
    write = lambda x, *arrays: x.at[fill(index, arrays)].add(1.0)
    for function in (read, write):
        inner_axes, outer_axes = (None, *[0] * len(arrays)), (0, *[None] * len(arrays))
        if arrays:
            crossed = fg.vmap(fg.vmap(function, inner_axes), outer_axes)(x[:, 0], *[a[0] for a in arrays])
            swapped = fg.vmap(fg.vmap(function, outer_axes), inner_axes)(x[:, 0], *[a[0] for a in arrays])
        both = fg.vmap(fg.vmap(function))(x, *arrays)
        for i, j in itertools.product(range(2), range(SIZE)):
            if arrays:
                one = function(fg.asarray(x[i, 0]), *[a[0, j] for a in arrays])
                np.testing.assert_array_equal(crossed[i, j], one)
                np.testing.assert_array_equal(swapped[j, i], one)
            example = function(fg.asarray(x[i, j]), *[a[i, j] for a in arrays])
            np.testing.assert_array_equal(both[i, j], example)


@pytest.mark.parametrize("axes", [(1, 0), (0, -1), (2, 1), (-1, None)])
def test_examples_along_other_axes(axes):
    x, i = batches((4, 5)), positions((2,))
    along = fg.moveaxis(x, 0, axes[0])
    array = i[0] if axes[1] is None else fg.moveaxis(i, 0, axes[1])
    found = fg.vmap(lambda x, i: x[:, i], axes, out_axes=1)(along, array)
    expected = loop(lambda x, i: x[:, i], (True, axes[1] is not None), [x, i])
    np.testing.assert_array_equal(found, np.moveaxis(expected, 0, 1))


@st.composite
def mixed_indices(draw):
    """A shape, and an index into it of integers, slices, arrays, None and perhaps one Ellipsis, all in range."""
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple))
    count = draw(st.integers(0, len(shape)))
    hidden = draw(st.integers(0, count)) if draw(st.booleans()) else None
    axes = list(range(count)) if hidden is None else [*range(hidden), *range(len(shape) - count + hidden, len(shape))]
    block = draw(st.lists(st.integers(0, 3), max_size=2).map(tuple))
    items = []
    for axis in axes:
        length = shape[axis]
        item = draw(st.sampled_from(["integer", "slice", "array", "array"]))
        if item == "integer":
            items.append(draw(st.integers(-length, length - 1)))
        elif item == "slice":
            items.append(draw(st.slices(length)))
        else:
            own = tuple([1 if draw(st.booleans()) else size for size in block[draw(st.integers(0, len(block))) :]])
            seed = draw(st.integers(0, 1000))
            drawn = np.random.default_rng(seed).integers(-length, length, (2, *own))
            items.append((drawn, draw(st.booleans())))
    if hidden is not None:
        items.insert(hidden, ...)
    for _ in range(draw(st.integers(0, 2))):
        items.insert(draw(st.integers(0, len(items))), None)
    return shape, items


@given(mixed_indices(), st.booleans())
def test_any_index_reads_writes_and_adds_as_a_loop_does(drawn, x_batched):
    shape, items = drawn
    arrays = [item[0] for item in items if isinstance(item, tuple)]
    own = [item[1] for item in items if isinstance(item, tuple)]
    if not (x_batched or any(own)):
        return

    def place(arrays):
        remaining = iter(arrays)
        return tuple([next(remaining) if isinstance(item, tuple) else item for item in items])

    x = np.random.default_rng(0).normal(size=(2, *shape))
    axes = (0 if x_batched else None, *[0 if batched else None for batched in own])
    operands = [fg.asarray(x if x_batched else x[0]), *[a if b else a[0] for a, b in zip(arrays, own, strict=True)]]
    examples = [
        (fg.asarray(x[i if x_batched else 0]), [a[i if b else 0] for a, b in zip(arrays, own, strict=True)])
        for i in range(2)
    ]
    functions = [
        lambda x, *arrays: x[place(arrays)],
        lambda x, *arrays: x.at[place(arrays)].set(fg.sin(2 * x[place(arrays)])),
        lambda x, *arrays: x.at[place(arrays)].add(1.5),
        fg.grad(lambda x, *arrays: fg.sum(x[place(arrays)] ** 2)),
    ]
    for function in functions:
        found = fg.vmap(function, axes)(*operands)
        for i, (example, places) in enumerate(examples):
            np.testing.assert_allclose(found[i], function(example, *places), rtol=1e-13)


# Sums of many values: they are added in another way, in the same order.


@pytest.mark.parametrize(
    ("shape", "index", "shapes", "high"),
    [
        ((500, 40), (A,), [(600,)], 500),  # rows, few repeats
        ((500, 40), (A,), [(600,)], 20),  # rows, many repeats
        ((500, 40), (A,), [(500,)], None),  # rows, none
        ((400,), (A,), [(200, 100)], 400),
        ((20, 300), (A, B), [(20, 1), (20, 1000)], 20),
        ((6, 40, 70), (FULL, A), [(30, 2)], 40),
        ((6, 40, 7), (A, FULL, B), [(600,), (1,)], 6),
        ((60, 40, 7), (..., A, 3), [(900,)], 40),
        ((6, 40, 100), (-1, A), [(300,)], 40),
        ((6, 400), (A, EVERY_SECOND), [(300,)], 6),  # a slice with a step: NumPy's own way
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "complex128", "int64"])
def test_sums_of_many_values_equal_those_of_numpy(shape, index, shapes, high, dtype):
    rng = np.random.default_rng(1)
    arrays = [rng.permutation(size[0]) if high is None else rng.integers(-high, high, size) for size in shapes]
    if len(arrays) > 1:
        arrays[1] = rng.integers(-shape[-1], shape[-1], shapes[1])
    place = fill(index, arrays)
    expected = np.zeros(shape, dtype)
    values = np.asarray(rng.normal(size=expected[place].shape) * 9).astype(dtype)
    assert values.size > 16384
    np.add.at(expected, place, values)
    np.testing.assert_array_equal(fg.zeros(shape, dtype).at[place].add(values), expected)


@pytest.mark.parametrize("where", [0, 1])
def test_a_sum_of_many_values_out_of_range_raises_too(where):
    wrong = np.zeros(200, int)
    wrong[3] = -201
    place = (wrong, slice(None)) if where == 0 else (slice(None), wrong)
    with pytest.raises(fg.errors.IndexingError, match=f"index -201 is out of bounds for axis {where} with size 200"):
        fg.zeros((200, 200)).at[place].add(1.0)


# The functions on top.

PICKS = positions((2,)) % 3
FUNCTIONS = {
    "take": (lambda x, i: fg.take(x, i, 1), [SHAPE, None]),
    "take of all": (fg.take, [SHAPE, None]),
    "take with wrap": (lambda x, i: fg.take(x, i * 7, -1, mode="wrap"), [SHAPE, None]),
    "take with clip": (lambda x, i: fg.take(x, i * 7, 0, mode="clip"), [SHAPE, None]),
    "take_along_axis": (lambda x, i: fg.take_along_axis(x, i[:, None, None], 0), [SHAPE, None]),
    "take_along_axis last": (lambda x, i: fg.take_along_axis(x[0, :2], i[:, None]), [SHAPE, None]),
    "take_along_axis of all": (lambda x, i: fg.take_along_axis(x, i, None), [SHAPE, None]),
    "repeat": (lambda x: fg.repeat(x, 2, 1), [SHAPE]),
    "repeat by counts": (lambda x: fg.repeat(x, [1, 0, 3], 1), [SHAPE]),
    "repeat of all": (lambda x: fg.repeat(x, 2), [SHAPE]),
    "concatenate": (lambda x, y: fg.concatenate([x, y, x], -2), [SHAPE, SHAPE]),
    "concatenate all": (lambda x, y: fg.concatenate([x, y], None), [SHAPE, (2,)]),
    "stack": (lambda x, y: fg.stack([x, y], 1), [SHAPE, SHAPE]),
    "stack of numbers": (lambda x, y: fg.stack([x, y, 1.0]), [(), ()]),
    "hstack": (lambda x, y: fg.hstack([x, y]), [(2, 3), (2, 1)]),
    "hstack of numbers": (lambda x, y: fg.hstack([x, y]), [(), (3,)]),
    "vstack": (lambda x, y: fg.vstack([x, y]), [(3,), (2, 3)]),
    "split": (lambda x: tuple(fg.split(x, 2, 0)), [SHAPE]),
    "split at": (lambda x: tuple(fg.split(x, [1, 4], -1)), [SHAPE]),
    "array_split": (lambda x: tuple(fg.array_split(x, 2, 1)), [SHAPE]),
    "pad": (lambda x: fg.pad(x, ((1, 0), (0, 2), (1, 1)), constant_values=3.0), [SHAPE]),
    "pad by edge": (lambda x: fg.pad(x, 1, "edge"), [SHAPE]),
    "pad by reflect": (lambda x: fg.pad(x, ((0, 0), (1, 2), (3, 0)), "reflect"), [SHAPE]),
    "pad by wrap": (lambda x: fg.pad(x, 2, "wrap"), [SHAPE]),
    "a list of examples' parts": (lambda x: fg.asarray(fg.stack(list(x))[::-1]), [SHAPE]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_on_top(name):
    function, shapes = FUNCTIONS[name]
    operands = [PICKS if shape is None else batches(shape) for shape in shapes]
    floats = [place for place, shape in enumerate(shapes) if shape is not None]

    def loss(*xs):
        return sum(fg.sum(fg.sin(part) * np.arange(1.0, part.size + 1).reshape(part.shape)) for part in leaves(xs))

    leaves = lambda xs: fg.tree.leaves(function(*xs))
    for mix in every_mix(len(shapes)):
        assert_like_loop(function, mix, operands)
    gradient = fg.grad(loss, tuple(floats))
    assert_like_loop(gradient, (True,) * len(shapes), operands)
    one = [fg.asarray(x[0]) for x in operands]
    directions = [batches(shape)[0] for shape in shapes if shape is not None]
    given = [None] * len(shapes)
    for place, direction in zip(floats, directions, strict=True):
        given[place] = direction
    tangent = fg.jvp(loss, tuple(one), tuple(given))[1]
    pulled = sum(np.sum(np.asarray(g) * v) for g, v in zip(gradient(*one), directions, strict=True))
    np.testing.assert_allclose(tangent, pulled, rtol=1e-10, atol=1e-12)


def test_concatenate_of_mixed_dtypes():
    x, y, n = fg.arange(3.0, dtype="float32"), fg.asarray([1.0, 2.0]), fg.asarray([7])
    out, tangent = fg.jvp(lambda x, y: fg.concatenate([x, n, y]), (x, y), (x, None))
    assert out.dtype == tangent.dtype == "float64"
    np.testing.assert_array_equal(tangent, [0, 1, 2, 0, 0, 0])
    batch = fg.vmap(lambda x: fg.concatenate([x, n, y]))(fg.stack([x, 2 * x]))
    assert batch.dtype == "float64"
    np.testing.assert_array_equal(batch[1], [0, 2, 4, 7, 1, 2])
    by_x = fg.vmap(fg.grad(lambda x: fg.sum(fg.concatenate([x, n, y]) ** 2)))(fg.stack([x, 2 * x]))
    assert by_x.dtype == "float32"


def test_one_hot_of_each_example():
    labels = fg.asarray([[2, 0], [1, 1]])
    np.testing.assert_array_equal(fg.vmap(lambda label: fg.one_hot(label, 3))(labels), np.eye(3)[np.asarray(labels)])
    np.testing.assert_array_equal(
        fg.vmap(fg.vmap(lambda label: fg.one_hot(label, 3)), 1)(labels), np.eye(3)[labels.numpy().T]
    )


# Compositions.


def pick_and_put(x, i):
    """Reads, writes, adds, and joins, with repeated and negative places; not linear in x."""
    y = x[i] * fg.sin(x[..., 0][i])[..., None]
    z = x.at[i].set(y[:, :]).at[0, i].add(x[i, 1])
    return fg.sum(fg.concatenate([z, y]) ** 2) + fg.sum(z[:, i] * z[i].T)


X = RNG.normal(size=(SIZE, 4, 4))
I = RNG.integers(-4, 4, (SIZE, 3))  # noqa: E741 - an index array, beside X
V = RNG.normal(size=X.shape)


def directional(function, v):
    return lambda x, i: fg.jvp(lambda x: function(x, i), (x,), (v,))[1]


@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0)])
def test_compositions_of_transforms(axes):
    x, i = (a if axis == 0 else a[0] for a, axis in zip((X, I), axes, strict=True))
    function, v = pick_and_put, fg.asarray(V[0])
    gradient = fg.grad(function)
    hessian_product = lambda x, i: fg.jvp(lambda x: gradient(x, i), (x,), (v,))[1]
    gradient_of_directional = fg.grad(directional(function, v))
    mix = tuple([axis == 0 for axis in axes])
    for inner in (gradient, hessian_product, gradient_of_directional, directional(function, v)):
        assert_like_loop(inner, mix, [X, I])
    of_batch = fg.grad(lambda x, i: fg.sum(fg.vmap(function, axes)(x, i)))(x, i)
    each = loop(gradient, mix, [X, I])
    np.testing.assert_allclose(of_batch, each if axes[0] == 0 else each.sum(0), rtol=1e-12)
    along = fg.jvp(lambda x: fg.vmap(function, axes)(x, i), (fg.asarray(x),), (fg.asarray(x) * 0 + v,))[1]
    np.testing.assert_allclose(along, loop(directional(function, v), mix, [X, I]), rtol=1e-12)
    first, second = hessian_product(fg.asarray(X[0]), I[0]), gradient_of_directional(fg.asarray(X[0]), I[0])
    np.testing.assert_allclose(first, second, rtol=1e-12)
    step = 1e-6
    moved = [np.asarray(gradient(X[0] + s * step * V[0], I[0])) for s in (1, -1)]
    np.testing.assert_allclose(first, (moved[0] - moved[1]) / (2 * step), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0)])
def test_graphs_of_batches_and_batches_of_graphs(axes):
    x, i = (fg.asarray(a if axis == 0 else a[0]) for a, axis in zip((X, I), axes, strict=True))
    for function in (pick_and_put, fg.grad(pick_and_put), directional(pick_and_put, fg.asarray(V[0]))):
        batched = fg.vmap(function, axes)
        expected = batched(x, i)
        graph = fg.make_graph(batched)(x, i)
        graph.check()
        np.testing.assert_allclose(graph(x, i), expected, rtol=1e-12)
        of_one = fg.make_graph(function)(X[0], I[0])
        np.testing.assert_allclose(fg.vmap(lambda x, i, g=of_one: g(x, i), axes)(x, i), expected, rtol=1e-12)


def test_a_batch_of_no_examples():
    for function in (lambda x, i: x[i], lambda x, i: x.at[i].add(1.0), fg.grad(lambda x, i: fg.sum(x[i] ** 2))):
        found = fg.vmap(function)(fg.zeros((0, 4, 2)), fg.zeros((0, 3), int))
        assert found.shape == (0, *function(fg.zeros((4, 2)), fg.zeros(3, int)).shape)


# Errors.


def raises(error, call, *parts):
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    for part in (*parts, "test_batching_rules_indexing.py"):
        assert part in message, message


def test_positions_out_of_range_are_reported_as_one_example_sees_them():
    x, i = fg.zeros((5, 4, 3)), fg.asarray([0, 1, 2, 0, 7])
    wrong = "index 7 is out of bounds for axis 1 with length 3"
    read = "[getitem] on float64[4,3] and int64[]: "
    raises(IndexError, lambda: fg.vmap(lambda x, i: x[:, i])(x, i), read + wrong)
    raises(IndexError, lambda: fg.vmap(lambda i: x[0][:, i])(i), read + wrong)
    raises(IndexError, lambda: fg.vmap(lambda x: x[:, i])(x), "[getitem] on float64[4,3] and int64[5]: " + wrong)
    put = "[setitem] on float64[4,3] and float64[4] and int64[]: "
    raises(IndexError, lambda: fg.vmap(lambda x, i: x.at[:, i].set(1.0))(x, i), put + wrong)
    add = "[scatter_add] on float64[4] and int64[]: "
    raises(IndexError, lambda: fg.vmap(lambda x, i: x.at[:, i].add(1.0))(x, i), add + wrong)
    twice = fg.vmap(fg.vmap(lambda x, i: x[i], (0, None)), (None, 0))
    raises(
        IndexError, lambda: twice(x, i), "[getitem] on float64[4,3] and int64[]: index 7 is out of bounds for axis 0"
    )
    static = fg.vmap(lambda x: x[9])
    raises(IndexError, lambda: static(x), "[getitem] on float64[4,3]: index 9 is out of bounds for axis 0")
    taken = fg.vmap(lambda x, i: fg.take(x, i, 1))
    raises(IndexError, lambda: taken(x, -i), read + "index -7 is out of bounds for axis 1 with length 3")


def test_too_many_indices_and_shapes_that_do_not_fit_name_one_example():
    x, i = fg.zeros((5, 4, 3)), fg.zeros((5, 2), int)
    raises(IndexError, lambda: fg.vmap(lambda x, i: x[i, i, i])(x, i), "there are 3 indices for the 2 axes of (4, 3)")
    raises(IndexError, lambda: fg.vmap(lambda x: x[0, 0, 0])(x), "[getitem] on float64[4,3]: too many indices")
    raises(ValueError, lambda: fg.vmap(lambda x, i: x.at[i].set(fg.ones((3, 3))))(x, i), "(3, 3)", "shape (2, 3)")
    raises(ValueError, lambda: fg.vmap(lambda x, y: fg.concatenate([x, y]))(x, fg.zeros((5, 2, 2))), "float64[4,3]")
    raises(ValueError, lambda: fg.vmap(lambda x, i: fg.stack([x, x[i]]))(x, i), "array 1 has shape (2, 3)")


@pytest.mark.parametrize("nested", [False, True])
def test_labels_out_of_range_name_the_label(nested):
    labels = fg.asarray([[0, 1], [2, 10]])
    function = lambda label: fg.one_hot(label, 3)
    call = fg.vmap(fg.vmap(function)) if nested else fg.vmap(function)
    shape = "" if nested else "2"
    raises(ValueError, lambda: call(labels), f"[one_hot] on int64[{shape}]: label 10 of an example is outside 0..2")


def test_masks_that_differ_between_examples_name_where():
    x = fg.asarray(X[:, 0])
    parts = ("inside vmap", "fg.where(mask, x, other)", "fg.where(mask, v, x)")
    raises(TypeError, lambda: fg.vmap(lambda x: x[x > 0])(x), *parts)
    raises(TypeError, lambda: fg.vmap(lambda x: x.at[x > 0].set(0.0))(x), *parts)
    raises(TypeError, lambda: fg.vmap(fg.grad(lambda x: fg.sum(x[x > 0])))(x), *parts)
    raises(TypeError, lambda: fg.make_graph(lambda x: x[x > 0])(x), "inside make_graph", *parts[1:])
    known = np.array([True, False, True, False])
    np.testing.assert_array_equal(fg.vmap(lambda x: x[known])(x), x[:, known])
    np.testing.assert_array_equal(fg.vmap(lambda x: x.at[known].set(9.0))(x)[:, 2], [9.0] * SIZE)


@pytest.mark.parametrize(
    ("index", "axis", "found"),
    [
        (np.array([True, False]), 0, (4,)),
        ((..., np.array([True, False])), 2, (5,)),
        ((0, np.zeros((3, 4), bool)), 1, (3, 5)),
        ((None, ..., np.ones(4, bool), 1), 1, (3,)),
    ],
)
def test_masks_have_the_lengths_of_their_axes(index, axis, found):
    text = f"axis {axis} of shape (4, 3, 5): it needs the lengths of the axes that it stands for, {found}"
    raises(IndexError, lambda: fg.zeros(SHAPE)[index], text)
    raises(IndexError, lambda: fg.zeros(SHAPE).at[index].set(1.0), text)


def test_updates_in_rounds_need_a_known_index():
    update = fg.vmap(lambda x, i: x.at[i].multiply(2.0))
    raises(TypeError, lambda: update(X, I), "need an index with known values", "Use .add or .set")


@pytest.mark.parametrize("mode", ["wrap", "clip"])
def test_take_by_small_integers_from_a_long_axis(mode):
    x, positions = np.arange(300.0), np.array([0, 7, 255], np.uint8)
    np.testing.assert_array_equal(np.asarray(fg.take(x, positions, mode=mode)), np.take(x, positions, mode=mode))
