"""Arrays of many elements: blocks, memory that is used again and values that are given up change no bit of a result."""

import gc
import itertools
import tracemalloc

import numpy as np
import pytest

import fgrad as fg
from fgrad.core import buffers
from fgrad.core.buffers import MANY_ELEMENTS, empty_array, reuse

SIZE = MANY_ELEMENTS + 1001

FUNCTIONS = {
    "sums": lambda x: (x + 1.0) - (x - 2.0) + (-x),
    "products": lambda x: x * x * 3.0 * (x * 0.5),
    "quotients": lambda x: (x / (1.0 + x)) / 3.0 + 2.0 / x,
    "powers": lambda x: x**3 + x**-0.5 + 2.0**x + x**x,
    "square roots": lambda x: fg.sqrt(fg.square(x) + 1.0) + fg.reciprocal(x),
    "exponentials": lambda x: fg.exp(-x) + fg.expm1(x) + fg.log1p(x) + fg.log(x),
    "trigonometric": lambda x: fg.sin(x) * fg.cos(x) + fg.tan(x) + fg.arctan(x) + fg.arcsin(x),
    "hyperbolic": lambda x: fg.tanh(x) + fg.cosh(x) + fg.arcsinh(x),
    "pairs": lambda x: fg.arctan2(x, x + 1.0) + fg.hypot(x, 2.0) + fg.logaddexp(x, x * x),
    "selections": lambda x: fg.where(x > 0.5, fg.log(x - 0.5), x) + fg.maximum(x, 0.3) + fg.abs(x - 0.5),
    "special": lambda x: fg.special.erf(x) + fg.special.gammaln(x),
    "shapes": lambda x: fg.reshape(fg.flip(fg.reshape(x * 2.0, (-1, 1)), 0) * 3.0, x.shape) * x,
}


def numbers(size=SIZE, dtype="float64", seed=0):
    return np.random.default_rng(seed).uniform(0.1, 0.9, size).astype(dtype)


def in_pieces(transform, function, *arrays):
    """What a transform gives for arrays below the limit, put together again."""
    pieces = [np.array_split(array, 5) for array in arrays]
    assert all(len(piece) < MANY_ELEMENTS for piece in pieces[0])
    with np.errstate(all="ignore"):
        return np.concatenate([np.asarray(transform(function, *piece)) for piece in zip(*pieces, strict=True)])


def pull(function, x, u):
    return fg.vjp(function, x)[1](u)[0]


def push(function, x, v):
    return fg.jvp(function, (x,), (v,))[1]


OF_REAL_NUMBERS = ("pairs", "selections", "special")
IN_PIECES = [name for name in FUNCTIONS if name != "shapes"]


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *itertools.product(IN_PIECES, ["float32", "float64"]),
        *[(name, "complex128") for name in IN_PIECES if name not in OF_REAL_NUMBERS],
    ],
)
def test_many_elements_have_the_derivatives_of_few(name, dtype):
    function, x, u = FUNCTIONS[name], fg.asarray(numbers(dtype=dtype)), fg.asarray(numbers(dtype=dtype, seed=1))
    for transform in (pull, push):
        with np.errstate(all="ignore"):
            found = np.asarray(transform(function, x, u))
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, in_pieces(transform, function, np.asarray(x), np.asarray(u)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_give_up_no_value_that_they_need(name):
    x = fg.asarray(numbers())
    with np.errstate(all="ignore"):
        first = fg.grad(lambda x: fg.sum(FUNCTIONS[name](x) * x))(x)
        # The same by the other mode and the adjoint: <grad, v> is the derivative along v.
        v = fg.asarray(numbers(seed=2))
        _, along = fg.jvp(lambda x: fg.sum(FUNCTIONS[name](x) * x), (x,), (v,))
    np.testing.assert_allclose(np.vdot(first, v), np.asarray(along), rtol=1e-10)


@pytest.mark.parametrize("shape", [(SIZE,), (3, SIZE // 3 + 1), (SIZE // 3 + 1, 3), (2, 2, SIZE // 4 + 1), (724, 725)])
def test_any_shape_can_be_divided_into_blocks(shape):
    x = fg.asarray(numbers(shape))
    np.testing.assert_array_equal(fg.grad(lambda x: fg.sum(fg.cos(x)))(x), -np.sin(np.asarray(x)))
    np.testing.assert_array_equal(fg.grad(lambda x: fg.sum(fg.cos(x.T)))(x), -np.sin(np.asarray(x)))


def test_operands_that_broadcast_are_evaluated_at_once():
    x, row = fg.asarray(numbers((800, 700))), fg.asarray(numbers((1, 700), seed=3))
    by_x, by_row = fg.grad(lambda x, row: fg.sum(x / row), argnums=(0, 1))(x, row)
    np.testing.assert_allclose(by_x, np.broadcast_to(1.0 / np.asarray(row), x.shape))
    np.testing.assert_allclose(by_row, np.sum(-np.asarray(x) / np.asarray(row) ** 2, axis=0, keepdims=True))


def test_second_derivatives_of_many_elements():
    x, v = fg.asarray(numbers()), fg.asarray(numbers(seed=1))
    expected = -np.asarray(v) * np.sin(np.asarray(x))
    np.testing.assert_allclose(fg.hvp(lambda x: fg.sum(fg.sin(x)), (x,), (v,)), expected, rtol=1e-12)
    by_reverse = fg.grad(lambda x: fg.sum(fg.grad(lambda x: fg.sum(fg.sin(x)))(x) * v))(x)
    np.testing.assert_allclose(by_reverse, expected, rtol=1e-12)
    batched = fg.vmap(fg.grad(lambda x: fg.sum(fg.sin(x) * x)))(
        fg.asarray(np.asarray(x)[: 2 * (SIZE // 2)].reshape(2, -1))
    )
    x = np.asarray(x)[: 2 * (SIZE // 2)].reshape(2, -1)
    np.testing.assert_allclose(batched, np.cos(x) * x + np.sin(x), rtol=1e-12)


def test_a_pullback_can_be_called_again_and_keeps_what_it_gave():
    x = fg.asarray(numbers())
    _, pullback = fg.vjp(lambda x: fg.sin(x) * x + fg.exp(-x) / (1.0 + x * x), x)
    u, v = fg.asarray(numbers(seed=1)), fg.asarray(numbers(seed=2))
    first = pullback(u)[0]
    kept = np.array(first)
    second = pullback(v)[0]
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(pullback(u)[0], kept)
    np.testing.assert_array_equal(pullback(v)[0], second)


def test_cotangents_that_a_rule_keeps_are_never_written_over():
    kept = []

    @fg.custom_vjp
    def watched(x):
        return x * 1.0

    def backward(_, g):
        kept.append((g, np.array(g)))
        return (g * 2.0,)

    watched.defvjp(lambda x: (x * 1.0, None), backward)

    def loss(x):
        for _ in range(6):
            x = watched(fg.sin(x) * x + x)
        return fg.sum(x * x)

    fg.grad(loss)(fg.asarray(numbers()))
    assert len(kept) == 6
    for cotangent, at_the_time in kept:
        np.testing.assert_array_equal(cotangent, at_the_time)


def test_results_are_locked_and_stay_as_they_are():
    gradient = fg.grad(lambda x: fg.sum(fg.sin(x) * fg.cos(x)))
    results = [gradient(fg.asarray(numbers(seed=seed))) for seed in range(3)]
    views = [np.asarray(result) for result in results]
    copies = [view.copy() for view in views]
    for view in views:
        with pytest.raises(ValueError, match="WRITEABLE"):
            view.setflags(write=True)
    gradient(fg.asarray(numbers(seed=9)))
    for view, copy in zip(views, copies, strict=True):
        np.testing.assert_array_equal(view, copy)


# Memory, in arrays of full size.


def peak_of(function):
    """The most memory that is in use at once beyond what was before, in arrays of SIZE float64."""
    gc.collect()
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1] / (8 * SIZE)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("step", "needed"),
    [
        (lambda x, c: x + c, 0),
        (lambda x, c: c - x, 0),
        (lambda x, c: -x * 3.0, 0),
        (lambda x, c: fg.flip(x), 0),
        (lambda x, c: x * c, 0),
        (lambda x, c: fg.exp(-x - c), 1),
        (lambda x, c: fg.sqrt(x + c), 1),
        (lambda x, c: fg.sin(x) + c, 1),
    ],
)
def test_a_tape_keeps_the_values_that_derivatives_need(step, needed):
    steps = 12
    x, c = fg.asarray(numbers()), fg.asarray(numbers(seed=1))

    def loss(x):
        for _ in range(steps):
            x = step(x, c)
        return fg.sum(x)

    peak = peak_of(lambda: fg.grad(loss)(x))
    assert peak < needed * steps + 5
    assert peak > needed * steps


def test_a_walk_uses_memory_again(monkeypatch):
    made = []
    monkeypatch.setattr(buffers.np, "empty", lambda *args, empty=np.empty: made.append(args) or empty(*args))
    x = fg.asarray(numbers())

    def loss(x):
        y = x
        for _ in range(20):
            y = y * x
        return fg.sum(y)

    expected = 21 * np.asarray(x) ** 20
    np.testing.assert_allclose(fg.grad(loss)(x), expected, rtol=1e-12)
    assert 0 < len([args for args in made if args[0] == 8 * SIZE]) <= 6


def test_buffers_that_are_in_use_are_left_alone():
    before = reuse.buffers
    reuse.buffers = []
    try:
        first = empty_array((SIZE,), np.dtype("float64"))
        address = first.ctypes.data
        view = first[5:10]
        view[...] = 7.0
        second = empty_array((SIZE,), np.dtype("float64"))
        assert not np.shares_memory(first, second)
        del first
        third = empty_array((SIZE,), np.dtype("float64"))
        assert not np.shares_memory(view, third)
        assert (view == 7.0).all()
        del view
        fourth = empty_array((2, SIZE), np.dtype("float32"))
        assert fourth.ctypes.data == address
        assert fourth.flags.writeable
        # A buffer of another size takes the place of those that nothing uses.
        del fourth
        fifth = empty_array((SIZE + 1,), np.dtype("float64"))
        assert [buffer.size for buffer in reuse.buffers] == [8 * SIZE, 8 * SIZE, fifth.nbytes]
    finally:
        reuse.buffers = before


def test_no_memory_is_kept_after_a_walk_or_when_it_fails():
    assert reuse.buffers is None

    @fg.custom_vjp
    def failing(x):
        return x * 1.0

    def backward(_, g):
        message = "no"
        raise RuntimeError(message)

    failing.defvjp(lambda x: (x * 1.0, None), backward)
    with pytest.raises(RuntimeError, match="no"):
        fg.grad(lambda x: fg.sum(fg.sin(failing(x))))(fg.asarray(numbers()))
    assert reuse.buffers is None


@pytest.mark.parametrize("order", ["C", "F"])
def test_sums_over_results_in_the_order_of_their_operands_in_memory(order, monkeypatch):
    x, row = fg.asarray(np.asarray(numbers((768, 768)), order=order)), fg.asarray(numbers((1, 768), seed=1))
    loss = lambda x, row: fg.sum(x.T * row.T + fg.cos(x.T) * fg.tanh(x.T))
    found = fg.grad(loss, argnums=(0, 1))(x, row)
    for module in (
        "fgrad.core.tape",
        "fgrad.core.residuals",
        "fgrad.ops.arithmetic",
        "fgrad.ops.blocks",
    ):
        monkeypatch.setattr(f"{module}.MANY_ELEMENTS", 1 << 40)
    assert fg.tree.equal(found, fg.grad(loss, argnums=(0, 1))(x, row))
