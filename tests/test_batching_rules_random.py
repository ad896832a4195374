"""Random draws under vmap, to the bit what a loop over the keys draws, and the derivatives by their parameters."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fgrad as fg
from fgrad import random
from fgrad.core.bind import bind
from fgrad.errors import DtypeError, KeyReuseWarning, ShapeError
from fgrad.ops.distributions import open_unit_p, truncated_normal_p, uniform_p
from fgrad.ops.random_bits import integers_p, unit_interval_p

SIZE = 4  # examples in a batch
TABLE = np.arange(15.0).reshape(5, 3)
PROBABILITIES = np.array([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1], [0.0, 0.5, 0.25, 0.25], [0.0, 0.0, 0.1, 0.9]])

# Draws from a key alone.
DRAWS = {
    "bits": lambda key: random.bits(key, (3,)),
    "bytes": lambda key: random.bits(key, (2, 5), "uint8"),
    "split": lambda key: random.split(key, 3).words,
    "split into a table": lambda key: random.split(key, (2, 2)).words,
    "split and use": lambda key: fg.stack([random.uniform(child) for child in random.split(key)]),
    "fold_in": lambda key: random.fold_in(key, 7).words,
    "fold_in several": lambda key: random.fold_in(key, fg.arange(3)).words,
    "fold_in and use": lambda key: random.normal(random.fold_in(key, 2)),
    "uniform": lambda key: random.uniform(key, (3, 2)),
    "uniform of float16": lambda key: random.uniform(key, (3,), "float16", -1.0, 5.0),
    "uniform between arrays": lambda key: random.uniform(key, (2, 3), "float32", np.arange(3.0), 3.0),
    "normal": lambda key: random.normal(key, (50,)),
    "normal of float32": lambda key: random.normal(key, (), "float32"),
    "truncated_normal": lambda key: random.truncated_normal(key, -1.0, np.array([0.5, 3.0])),
    "bernoulli": lambda key: random.bernoulli(key, 0.3, (9,)),
    "bernoulli of an array": lambda key: random.bernoulli(key, PROBABILITIES),
    "dropout_mask": lambda key: random.dropout_mask(key, 0.8, (3, 3))[0],
    "randint": lambda key: random.randint(key, (6,), -3, 10),
    "randint of a wide range": lambda key: random.randint(key, (6,), 0, 2**60),
    "randint of all bytes": lambda key: random.randint(key, (), 0, 256, "uint8"),
    "randint between arrays": lambda key: random.randint(key, (2, 3), np.array([0, 5, 9]), 2**40, "int64"),
    "permutation": lambda key: random.permutation(key, 6),
    "permutation of an array": lambda key: random.permutation(key, TABLE, axis=1),
    "independent permutation": lambda key: random.permutation(key, TABLE, axis=0, independent=True),
    "choice": lambda key: random.choice(key, 9, (5,)),
    "choice of slices": lambda key: random.choice(key, TABLE, (2, 2), axis=1),
    "choice without replacement": lambda key: random.choice(key, 9, (5,), replace=False),
    "choice with p": lambda key: random.choice(key, 4, (5,), p=PROBABILITIES[0]),
    "choice with p without replacement": lambda key: random.choice(
        key, TABLE.T, (2,), False, PROBABILITIES[0][1:] / 0.9
    ),
}

# Draws with parameters: the function, and a batch of each parameter. Every lower bound is below every upper one.
LOWER, UPPER = np.array([0.0, -2.0, 0.5, -0.25]), np.array([1.0, 0.75, 9.0, 6.0])
FIRST, LAST = np.array([0, -5, 100, 7]), np.array([103, 2**50, 108, 2**30])
PARAMETERS = {
    "fold_in": (lambda key, n: random.fold_in(key, n).words, np.arange(SIZE) * 2**40),
    "fold_in tables": (lambda key, n: random.fold_in(key, n).words, np.arange(6 * SIZE).reshape(SIZE, 2, 3)),
    "uniform": (lambda key, low, high: random.uniform(key, (2, 3), "float64", low, high), LOWER, UPPER),
    "uniform, one number": (lambda key, low, high: random.uniform(key, (), "float32", low, high), LOWER, UPPER),
    "uniform, one bound": (lambda key, low: random.uniform(key, (3,), minval=low, maxval=6.0), LOWER),
    "uniform, vectors": (
        lambda key, low, high: random.uniform(key, (2, 3), "float64", low, high),
        LOWER[:, None] - np.arange(3.0),
        UPPER[:, None, None] + np.arange(2.0)[:, None],
    ),
    "truncated_normal": (random.truncated_normal, LOWER, UPPER),
    "truncated_normal, matrices": (
        lambda key, low, high: random.truncated_normal(key, low, high, (2, 3)),
        LOWER,
        UPPER[:, None] + np.arange(3.0),
    ),
    "bernoulli": (random.bernoulli, PROBABILITIES),
    "bernoulli, one p": (lambda key, p: random.bernoulli(key, p, (2, 3)), PROBABILITIES[:, 2]),
    "randint": (lambda key, low, high: random.randint(key, (2, 5), low, high), FIRST, LAST),
    "randint, one number": (lambda key, low: random.randint(key, (), low, 108), FIRST),
    "randint, vectors": (
        lambda key, low, high: random.randint(key, (2, 3), low, high, "int32"),
        FIRST[:, None] - np.arange(3),
        np.minimum(LAST, 2**20),
    ),
    "permutation": (random.permutation, TABLE[:SIZE]),
    "choice": (lambda key, x: random.choice(key, x, (2, 2)), TABLE[:SIZE]),
    "choice with p": (lambda key, p: random.choice(key, 4, (6,), p=p), PROBABILITIES),
    "choice with p without replacement": (
        lambda key, p: random.choice(key, 4, (2,), replace=False, p=p),
        PROBABILITIES,
    ),
    "choice with p of an array": (
        lambda key, x, p: random.choice(key, x, (5,), p=p),
        TABLE[:4, :1] + np.arange(4),
        PROBABILITIES,
    ),
}


def keys(*shape):
    """New key objects at every call: what is tested here is not the reuse of a key."""
    return random.split(random.key(11), shape or SIZE)


def looped(f, batch, *parameters):
    """What vmap stands for."""
    return np.stack([np.asarray(f(*example)) for example in zip(batch, *parameters, strict=True)])


def assert_same_bits(got, expected):
    got, expected = np.asarray(got), np.asarray(expected)
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", DRAWS)
def test_vmap_over_keys_draws_what_a_loop_draws(name):
    f = DRAWS[name]
    expected = looped(f, keys())
    assert_same_bits(fg.vmap(f)(keys()), expected)
    assert_same_bits(fg.vmap(fg.vmap(f))(keys(2, 2)), expected.reshape(2, 2, *expected.shape[1:]))
    assert_same_bits(
        fg.vmap(fg.vmap(f), in_axes=1, out_axes=1)(keys(2, 2)), expected.reshape(2, 2, *expected.shape[1:])
    )


@pytest.mark.parametrize("name", DRAWS)
def test_a_graph_of_vmap_over_keys_draws_the_same(name):
    f = DRAWS[name]
    graph = fg.make_graph(fg.vmap(f))(keys())
    graph.check()
    assert_same_bits(graph(keys()), looped(f, keys()))


@pytest.mark.parametrize("name", DRAWS)
def test_no_keys_give_no_draws(name):
    f = DRAWS[name]
    one = f(random.key(0))
    none = fg.vmap(f)(keys(0))
    assert (none.shape, none.dtype) == ((0, *one.shape), one.dtype)


@pytest.mark.parametrize("name", DRAWS)
def test_a_key_from_outside_gives_all_examples_the_same_draw(name):
    f = DRAWS[name]
    one = np.asarray(f(random.key(3)))
    key = random.key(3)
    got = fg.vmap(lambda x: f(key) + 0 * x.astype(one.dtype) if one.dtype != bool else f(key) | (x > 9))(fg.arange(3))
    np.testing.assert_array_equal(got, np.stack([one] * 3))


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_may_be_batched(name):
    """Every choice of what is batched: the key, each parameter."""
    f, *parameters = PARAMETERS[name]
    for batched in itertools.product((True, False), repeat=1 + len(parameters)):
        if not any(batched):
            continue
        given = [x if own else x[0] for x, own in zip(parameters, batched[1:], strict=True)]
        loop = [x if own else np.stack([x[0]] * SIZE) for x, own in zip(parameters, batched[1:], strict=True)]
        key = keys() if batched[0] else keys()[0]
        expected = looped(f, keys() if batched[0] else [keys()[0] for _ in range(SIZE)], *loop)
        got = fg.vmap(f, in_axes=tuple([0 if own else None for own in batched]))(key, *given)
        assert_same_bits(got, expected)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_may_be_batched_at_two_levels(name):
    f, *parameters = PARAMETERS[name]
    expected = looped(f, keys(), *parameters)
    grid = [x.reshape(2, 2, *x.shape[1:]) for x in parameters]
    got = fg.vmap(fg.vmap(f))(keys(2, 2), *grid)
    assert_same_bits(got, expected.reshape(2, 2, *expected.shape[1:]))
    # The keys at the outer level, the parameters at the inner one.
    crossed = fg.vmap(fg.vmap(f, in_axes=(None, *[0] * len(parameters))), in_axes=(0, *[None] * len(parameters)))
    rows = [looped(f, [keys()[i] for _ in range(SIZE)], *parameters) for i in range(SIZE)]
    assert_same_bits(crossed(keys(), *parameters), np.stack(rows))


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_graph_of_vmap_over_parameters_draws_the_same(name):
    f, *parameters = PARAMETERS[name]
    graph = fg.make_graph(fg.vmap(f))(keys(), *parameters)
    graph.check()
    assert_same_bits(graph(keys(), *parameters), looped(f, keys(), *parameters))


@pytest.mark.parametrize("name", PARAMETERS)
def test_no_parameters_give_no_draws(name):
    f, *parameters = PARAMETERS[name]
    one = f(random.key(0), *[x[0] for x in parameters])
    none = fg.vmap(f)(keys(0), *[x[:0] for x in parameters])
    assert (none.shape, none.dtype) == ((0, *one.shape), one.dtype)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "uint64"])
def test_a_draw_of_no_integers_between_no_bounds(dtype):
    none = np.zeros((0,), dtype)
    assert random.randint(random.key(0), (0,), none, none, dtype).shape == (0,)
    assert fg.vmap(lambda low, high: random.randint(random.key(0), (3,), low, high, dtype))(none, none).shape == (0, 3)


def test_keys_are_mapped_along_any_axis_and_come_out_along_any():
    column = keys(2, SIZE)
    children = fg.vmap(lambda key: random.split(key[1], 3), in_axes=1, out_axes=1)(column)
    expected = looped(lambda key: random.split(key, 3).words, keys(2, SIZE)[1])
    assert children.shape == (3, SIZE)
    np.testing.assert_array_equal(children.words, np.moveaxis(expected, 0, 1))


@given(rank=st.integers(0, 2), key_rank=st.integers(0, 2), batched=st.sampled_from([(0, 0), (0, None), (None, 0)]))
def test_fold_in_of_keys_and_integers_of_any_ranks(rank, key_rank, batched):
    data = np.arange(3 * 2**rank).reshape(3, *[2] * rank)
    words = keys(3, *[2] * key_rank)
    given_words = words if batched[0] == 0 else words[0]
    given_data = data if batched[1] == 0 else data[0]
    got = fg.vmap(random.fold_in, in_axes=batched)(given_words, given_data).words
    for i in range(3):
        one = random.fold_in(words[i] if batched[0] == 0 else words[0], data[i] if batched[1] == 0 else data[0])
        np.testing.assert_array_equal(got[i], one.words)


# What is refused is refused under vmap too, in the shapes of one example.

# Each parameter has one axis too many, and a length that would pass for the number of examples.
TOO_MANY_AXES = {
    "minval": lambda key, x: random.uniform(key, (2,), minval=x - 1.0, maxval=1.0),
    "maxval": lambda key, x: random.randint(key, (2,), 0, (x + 1.0).astype("int64")),
    "lower": lambda key, x: random.truncated_normal(key, x - 1.0, 1.0, (2,)),
    "p": lambda key, x: random.bernoulli(key, x, (2,)),
}


@pytest.mark.parametrize("batched", [(0, None), (None, 0), (0, 0)])
@pytest.mark.parametrize("name", TOO_MANY_AXES)
def test_a_parameter_of_more_axes_than_the_draw_is_refused(name, batched):
    f = TOO_MANY_AXES[name]
    message = rf"{name} of shape \(4, 2\) does not broadcast to the shape \(2,\) of the draw"
    x = np.zeros((SIZE, SIZE, 2))
    with pytest.raises(ShapeError, match=message):
        f(random.key(0), x[0])
    with pytest.raises(ShapeError, match=message):
        fg.vmap(f, in_axes=batched)(keys() if batched[0] == 0 else keys()[0], x if batched[1] == 0 else x[0])


@pytest.mark.parametrize("shape", [(), (1,)])
def test_probabilities_that_do_not_broadcast_to_the_draw_are_refused(shape):
    f = lambda p: random.bernoulli(random.key(0), p, shape)
    with pytest.raises(ShapeError, match=r"p of shape \(4,\) does not broadcast"):
        f(PROBABILITIES[0])
    with pytest.raises(ShapeError, match=r"p of shape \(4,\) does not broadcast"):
        fg.vmap(f)(PROBABILITIES)


@pytest.mark.parametrize(
    ("f", "x", "message"),
    [
        (lambda x: random.uniform(random.key(0), minval=x), [0.0, 2.0], r"minval must be below maxval"),
        (lambda x: random.bernoulli(random.key(0), x), [0.5, 1.5], r"p is a probability, from 0 to 1"),
        (lambda x: random.fold_in(random.key(0), x), [3, -1], r"integers from 0 to 2\*\*64 - 1, not -1"),
        (lambda x: random.choice(random.key(0), 2, p=x), [[0.5, 0.5], [0.5, 0.25]], r"p sums to 0.75, not to 1"),
        (lambda x: random.choice(random.key(0), 2, p=x), [[0.5, 0.5], [1.5, -0.5]], r"p has negative entries"),
        (lambda x: random.choice(random.key(0), 3, p=x), [[0.5, 0.5]], r"p needs shape \(3,\).* has shape \(2,\)"),
        (
            lambda x: random.choice(random.key(0), 2, (2,), replace=False, p=x),
            [[0.5, 0.5], [1.0, 0.0]],
            r"p has 1 positive entries, and 2 different ones",
        ),
    ],
)
def test_one_bad_example_is_enough(f, x, message):
    with pytest.raises(ShapeError, match=message):
        fg.vmap(f)(np.array(x))


def test_bounds_of_one_example_must_be_integers():
    with pytest.raises(DtypeError, match=r"minval must be integers, not dtype float64"):
        fg.vmap(lambda low: random.randint(random.key(0), (2,), low, 9))(np.zeros(3))


def test_a_choice_of_a_table_of_probabilities_is_refused():
    with pytest.raises(ShapeError, match=r"p needs shape \(4,\)"):
        random.choice(random.key(0), 4, p=PROBABILITIES)
    with pytest.raises(ShapeError, match=r"p needs shape \(4,\)"):
        fg.vmap(lambda p: random.choice(random.key(0), 4, p=p))(PROBABILITIES[None])


def test_an_array_of_keys_is_refused_inside_vmap_too():
    with pytest.raises(ShapeError, match=r"array of keys of shape \(2,\).*fg\.vmap\(lambda key: random\.normal"):
        fg.vmap(random.normal)(keys(SIZE, 2))


def test_reuse_of_a_key_is_noticed_inside_vmap():
    def twice(key):
        first = random.uniform(key)
        return first + random.normal(key)

    with pytest.warns(KeyReuseWarning):
        fg.vmap(twice)(keys())


# Derivatives by the bounds.

BOUNDED = {
    "uniform": lambda low, high, dtype="float64": random.uniform(random.key(5), (2, 3), dtype, low, high),
    "truncated_normal": lambda low, high, dtype="float64": random.truncated_normal(
        random.key(5), low, high, (2, 3), dtype
    ),
}
BOUNDS = [
    (np.array(-0.5), np.array(1.5)),
    (np.array([-0.5, 0.25, -2.0]), np.array(1.5)),
    (np.array([[-0.5], [-3.0]]), np.array([1.5, 0.75, 2.0])),
]
TANGENTS = [(0.75, -0.5), (0.75, 0.0), (0.0, 1.25)]


def fitted(number, x):
    return np.linspace(0.5, 1.0, x.size).reshape(x.shape) * number


@pytest.mark.parametrize("tangents", TANGENTS)
@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("name", BOUNDED)
def test_forward_mode_by_bounds_agrees_with_reverse_mode_and_differences(name, bounds, tangents):
    f = BOUNDED[name]
    v = tuple(fitted(number, x) for number, x in zip(tangents, bounds, strict=True))
    y, tangent = fg.jvp(f, bounds, v)
    u = np.random.default_rng(0).normal(size=y.shape)
    cotangents = fg.vjp(f, *bounds)[1](u)
    pairing = sum(float(np.sum(np.asarray(g) * t)) for g, t in zip(cotangents, v, strict=True))
    np.testing.assert_allclose(np.sum(u * np.asarray(tangent)), pairing, rtol=1e-12)
    step = 1e-6
    above, below = (f(*[x + sign * step * t for x, t in zip(bounds, v, strict=True)]) for sign in (1, -1))
    np.testing.assert_allclose(tangent, (np.asarray(above) - np.asarray(below)) / (2 * step), rtol=1e-7, atol=1e-9)
    for position in range(2):  # one bound only, the other one constant
        partial = [t if position == place else None for place, t in enumerate(v)]
        alone = fg.jvp(f, bounds, partial)[1]
        zeros = [t if position == place else np.zeros_like(t) for place, t in enumerate(v)]
        np.testing.assert_array_equal(alone, fg.jvp(f, bounds, zeros)[1])


@pytest.mark.parametrize("name", BOUNDED)
def test_tangents_have_the_dtype_of_the_draw(name):
    f = BOUNDED[name]
    low, high = BOUNDS[2]
    wide = fg.jvp(f, (low, high), (np.ones_like(low), np.ones_like(high)))[1]
    for dtype in ("float32", "float64"):
        y, tangent = fg.jvp(
            lambda low, high: f(low, high, "float32"), (low.astype(dtype), 1.5), (np.ones((2, 1), dtype), 1.0)
        )
        assert (y.dtype, tangent.dtype, tangent.shape) == (np.float32, np.float32, (2, 3))
    assert wide.dtype == np.float64
    y, tangent = fg.jvp(lambda low: f(low, 1.5), (-0.5,), (1.0,))
    assert (tangent.shape, tangent.dtype) == ((2, 3), np.float64)


@pytest.mark.parametrize("name", BOUNDED)
def test_second_derivatives_by_bounds_in_every_nesting(name):
    f = BOUNDED[name]
    loss = lambda low, high: fg.sum(f(low, high) ** 3)
    at = (np.array([-0.5, 0.25, -2.0]), np.array(1.5))
    v, w = (np.array([1.0, -0.5, 0.25]), np.array(0.5)), (np.array([0.5, 2.0, -1.0]), np.array(-1.0))
    dot = lambda gradients, v: sum(fg.sum(g * t) for g, t in zip(gradients, v, strict=True))
    by_gradient = fg.grad(loss, (0, 1))
    push = lambda g, v: lambda low, high: fg.jvp(g, (low, high), v)[1]
    found = [
        float(dot(push(by_gradient, v)(*at), w)),
        float(dot(fg.grad(push(loss, v), (0, 1))(*at), w)),
        float(push(push(loss, v), w)(*at)),
        float(dot(fg.grad(lambda low, high: dot(by_gradient(low, high), v), (0, 1))(*at), w)),
    ]
    step = 1e-5
    above, below = (by_gradient(*[x + sign * step * t for x, t in zip(at, v, strict=True)]) for sign in (1, -1))
    expected = float(dot([(a - b) / (2 * step) for a, b in zip(above, below, strict=True)], w))
    np.testing.assert_allclose(found, [expected] * 4, rtol=1e-6)
    np.testing.assert_allclose(found, found[:1] * 4, rtol=1e-11)


@pytest.mark.parametrize("batched", [(0, None, None), (None, 0, None), (None, None, 0), (0, 0, 0)])
@pytest.mark.parametrize("name", ["uniform", "truncated_normal"])
def test_derivatives_of_each_example_by_its_bounds(name, batched):
    draw = {
        "uniform": lambda key, low, high: random.uniform(key, (3,), minval=low, maxval=high),
        "truncated_normal": lambda key, low, high: random.truncated_normal(key, low, high, (3,)),
    }[name]
    gradient = lambda key, low, high: fg.stack(fg.grad(lambda a, b: fg.sum(draw(key, a, b) ** 2), (0, 1))(low, high))
    push = lambda key, low, high: fg.jvp(lambda a, b: draw(key, a, b), (low, high), (fg.ones(()), fg.asarray(2.0)))[1]
    low, high = [x if axis == 0 else x[0] for x, axis in zip((LOWER, UPPER), batched[1:], strict=True)]
    examples = [np.broadcast_to(x, SIZE) for x in (low, high)]
    for f in (gradient, push):
        expected = looped(f, keys() if batched[0] == 0 else [keys()[0] for _ in range(SIZE)], *examples)
        got = fg.vmap(f, in_axes=batched)(keys() if batched[0] == 0 else keys()[0], low, high)
        np.testing.assert_allclose(got, expected, rtol=1e-14)
        graph = fg.make_graph(fg.vmap(f, in_axes=batched))(keys() if batched[0] == 0 else keys()[0], low, high)
        graph.check()
        np.testing.assert_array_equal(graph(keys() if batched[0] == 0 else keys()[0], low, high), got)


def test_an_infinite_bound_has_no_influence():
    f = lambda low: random.truncated_normal(random.key(1), low, 0.5, (4,))
    np.testing.assert_array_equal(fg.jvp(f, (-np.inf,), (1.0,))[1], np.zeros(4))
    assert float(fg.grad(lambda low: fg.sum(f(low)))(-np.inf)) == 0.0


@pytest.mark.parametrize("draw", [random.permutation, lambda key, x: random.choice(key, x, (2,))])
def test_gradients_pass_through_mapped_choices_and_permutations(draw):
    x = np.arange(12.0).reshape(SIZE, 3)
    loss = lambda key, x: fg.sum(draw(key, x) ** 2)
    expected = np.stack([fg.grad(loss, argnums=1)(key, row) for key, row in zip(keys(), x, strict=True)])
    np.testing.assert_array_equal(fg.vmap(fg.grad(loss, argnums=1))(keys(), x), expected)
    tangent = fg.vmap(lambda key, x: fg.jvp(lambda x: draw(key, x), (x,), (x,))[1])(keys(), x)
    np.testing.assert_array_equal(tangent, fg.vmap(draw)(keys(), x))


# The primitives by themselves: bits that are batched or not, of Python numbers or arrays.


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("batched", [(0, None, None), (None, 0, None), (None, None, 0), (0, 0, 0)])
def test_integers_of_batched_bits(batched, wide):
    bits = np.random.default_rng(0).integers(0, 2**64, (SIZE, 2, 3) if wide else (SIZE, 3), "uint64")
    low, high = np.arange(SIZE), np.arange(SIZE) + 2 ** (40 if wide else 5)
    f = lambda bits, low, high: bind(integers_p, bits, low, high, dtype=np.dtype("int64"), wide=wide)
    given = [x if axis == 0 else x[0] for x, axis in zip((bits, low, high), batched, strict=True)]
    loop = [x if axis == 0 else np.stack([x[0]] * SIZE) for x, axis in zip((bits, low, high), batched, strict=True)]
    assert_same_bits(fg.vmap(f, in_axes=batched)(*given), looped(f, *loop))
    if batched == (0, None, None):
        with_numbers = lambda bits: bind(integers_p, bits, 3, 20, dtype=np.dtype("int64"), wide=wide)
        assert_same_bits(fg.vmap(with_numbers)(bits), looped(with_numbers, bits))


@pytest.mark.parametrize("primitive", [unit_interval_p, open_unit_p])
def test_unit_numbers_of_batched_bits(primitive):
    params = {"dtype": np.dtype("float64")} if primitive is unit_interval_p else {}
    f = lambda bits: bind(primitive, bits, **params)
    bits = np.random.default_rng(0).integers(0, 2**64, (2, SIZE, 3), "uint64")
    assert_same_bits(fg.vmap(fg.vmap(f))(bits), f(bits))


@pytest.mark.parametrize("primitive", [uniform_p, truncated_normal_p])
def test_draws_of_batched_bits_between_numbers(primitive):
    bits = np.random.default_rng(0).integers(0, 2**64, (SIZE, 3), "uint64")
    f = lambda bits: bind(primitive, bits, -1.0, 2.5, dtype=np.dtype("float64"))
    assert_same_bits(fg.vmap(f)(bits), looped(f, bits))
