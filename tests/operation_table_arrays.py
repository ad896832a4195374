"""Rows of the operation table for products, creation, order and random numbers."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from operation_row import (
    CLOSE,
    Row,
    arrays,
    call,
    complex_arrays,
    dtypes,
    optional,
    other_keys,
    shrunk,
    smooth_arrays,
    with_broadcast_shapes,
    with_shape,
)
from operation_table_shapes import EVERY, PRIMITIVES, axis_of, rearranging

import fgrad as fg
from fgrad.core.bind import bind
from fgrad.core.key import Key
from fgrad.testing import strategies

# Products.

SIDE = st.integers(0, 3)
KINDS = "fci"


def matrices(operand):
    """Operands of matmul: every rank, broadcast stacks, and axes of length 0."""
    stacks = strategies.broadcastable_shapes(2, max_dims=2, max_side=2)
    return st.tuples(stacks, SIDE, SIDE, SIDE).flatmap(
        lambda d: st.sampled_from(
            [
                ((*d[0][0], d[1], d[2]), (*d[0][1], d[2], d[3])),
                ((d[2],), (*d[0][1], d[2], d[3])),
                ((*d[0][0], d[1], d[2]), (d[2],)),
                ((d[2],), (d[2],)),
                ((d[1], d[2]), (d[2], d[3])),
            ]
        ).flatmap(lambda shapes: call(operand(shapes[0]), operand(shapes[1])))
    )


def pairs(shapes):
    return lambda operand: st.tuples(SIDE, SIDE, SIDE, SIDE).flatmap(
        lambda n: st.sampled_from(shapes(*n)).flatmap(
            lambda drawn: call(operand(drawn[0]), operand(drawn[1]), *drawn[2:])
        )
    )


def product(name, calls, primitives=(), complex_smooth=complex_arrays):
    numpy_function = getattr(np, name)
    return Row(
        name,
        getattr(fg, name),
        calls(lambda s: arrays(KINDS, s)),
        numpy_function,
        calls(smooth_arrays) | calls(complex_smooth),
        primitives,
        numpy_function,
        CLOSE,
    )


EINSUMS = [
    ("ij,jk->ik", ("ab", "bc")), ("ij,jk", ("ab", "bc")), ("i,i", ("a", "a")), ("i,j->ij", ("a", "b")),
    ("ii->i", ("aa",)), ("ii", ("aa",)), ("ij->ji", ("ab",)), ("ij->", ("ab",)), ("ijk->j", ("abc",)),
    ("bij,bjk->bik", ("abc", "acd")), ("...ij,...jk->...ik", ("abc", "cd")), ("i,ij,j->", ("a", "ab", "b")),
    ("ij,jk,kl->il", ("ab", "bc", "cd")), ("ij,ij->i", ("ab", "ab")), ("iij,j->i", ("aab", "b")),
    ("i...->...", ("abc",)), (",i->i", ("", "a")), ("ba,ab", ("ab", "ba")),
]  # fmt: skip


def einsums(operand):
    return st.tuples(st.sampled_from(EINSUMS), SIDE, SIDE, SIDE, SIDE).flatmap(
        lambda drawn: call(
            drawn[0][0],
            *[
                operand(tuple({"a": drawn[1], "b": drawn[2], "c": drawn[3], "d": drawn[4]}[one] for one in term))
                for term in drawn[0][1]
            ],
        )
    )


def diagonals(x, shape):
    axes = st.permutations(range(-len(shape), 0)).map(lambda order: {"axis1": order[0], "axis2": order[1]})
    return axes.flatmap(lambda chosen: optional(call(x, **chosen), offset=st.integers(-2, 2))) | call(x)


PRODUCTS = [
    product("matmul", matrices, ("matmul",)),
    product(
        "dot",
        pairs(lambda a, b, c, d: [((a, b), (b, c)), ((a,), (a,)), ((a, b), (c, b, d)), ((), (a, b)), ((a,), (a, b))]),
    ),
    product("inner", pairs(lambda a, b, c, d: [((a, b), (c, b)), ((a,), (a,)), ((a, b), (b,)), ((), (a, b))])),
    product("vdot", pairs(lambda a, b, c, d: [((a, b), (a, b)), ((a,), (a,)), ((), ()), ((2, 3), (6,))])),
    product("outer", pairs(lambda a, b, c, d: [((a,), (b,)), ((a, b), (c,)), ((), (a,))])),
    product(
        "tensordot",
        pairs(
            lambda a, b, c, d: [
                ((a, b, c), (b, c, d), 2),
                ((a, b), (b, c), 1),
                ((a,), (b, c), 0),
                ((a, b, c), (c, d, a), ([0, 2], [2, 0])),
                ((a, b, c), (b,), (1, 0)),
                ((a, b), (a, b), ((-1, 0), (1, 0))),
            ]
        ),
    ),
    Row(
        "vecdot",
        fg.vecdot,
        st.tuples(strategies.broadcastable_shapes(2, max_dims=2), SIDE).flatmap(
            lambda d: call(arrays(KINDS, (*d[0][0], d[1])), arrays(KINDS, (*d[0][1], d[1])))
        ),
        np.vecdot,
        st.tuples(strategies.broadcastable_shapes(2, max_dims=2), SIDE).flatmap(
            lambda d: (
                call(smooth_arrays((*d[0][0], d[1])), smooth_arrays((*d[0][1], d[1])))
                | call(complex_arrays((*d[0][0], d[1])), complex_arrays((*d[0][1], d[1])))
            )
        ),
        counterpart=np.vecdot,
        rtol=CLOSE,
    ),
    Row(
        "einsum",
        fg.einsum,
        einsums(lambda s: arrays(KINDS, s)),
        np.einsum,
        einsums(smooth_arrays),
        ("einsum",),
        np.einsum,
        CLOSE,
    ),
    rearranging("diagonal", diagonals, primitives=("diagonal",), min_dims=2),
    rearranging("trace", diagonals, min_dims=2),
    Row(
        "embed_diagonal",
        lambda x, offset: bind(
            PRIMITIVES["embed_diagonal"], x, shape=(x.shape[0] + abs(offset),) * 2, offset=offset, axis1=0, axis2=1
        ),
        call(arrays("fci", st.tuples(SIDE)), st.integers(-2, 2)),
        np.diag,
        call(smooth_arrays(st.tuples(SIDE)), st.integers(-2, 2)),
        ("embed_diagonal",),
    ),
]


# Creation.

SHAPES = strategies.shapes() | st.integers(0, 3)
ANY_DTYPE = dtypes("fhciub")


def creating(name, calls, *, primitives=(), reference=None, **more):
    return Row(name, getattr(fg, name), calls, reference or getattr(np, name), None, primitives, **more)


def like(name):
    numpy_function = getattr(np, name)
    options = {"dtype": ANY_DTYPE, "shape": strategies.shapes()}
    return creating(name, optional(call(arrays(EVERY)), **options), counterpart=numpy_function)


NUMBERS = st.sampled_from([0, 1, -2, 0.5, -0.0, True])

CREATION = [
    creating("zeros", optional(call(SHAPES), dtype=ANY_DTYPE), primitives=("full",)),
    creating("ones", optional(call(SHAPES), dtype=ANY_DTYPE)),
    creating("empty", optional(call(SHAPES), dtype=ANY_DTYPE), reference=np.zeros),
    creating("full", optional(call(SHAPES, NUMBERS), dtype=dtypes("fc"))),
    Row(
        "full of a tensor",
        lambda shape, value: fg.full(shape, fg.asarray(value)),
        call(strategies.shapes(), arrays("fi", ())),
        np.full,
        call(strategies.shapes(), smooth_arrays(())),
    ),
    like("zeros_like"),
    like("ones_like"),
    Row(
        "empty_like",
        fg.empty_like,
        optional(call(arrays(EVERY)), dtype=ANY_DTYPE, shape=strategies.shapes()),
        np.zeros_like,
    ),
    creating("full_like", optional(call(arrays("fc"), NUMBERS), dtype=dtypes("fc")), counterpart=np.full_like),
    creating(
        "eye", optional(call(SIDE) | call(SIDE, SIDE), k=st.integers(-2, 2), dtype=ANY_DTYPE), primitives=("eye",)
    ),
    creating("identity", optional(call(SIDE), dtype=ANY_DTYPE)),
    creating(
        "arange",
        call(st.integers(-2, 5) | st.sampled_from([2.5, np.float32(3.0)]))
        | call(st.integers(-2, 2), st.integers(-4, 8), st.sampled_from([1, 2, -1, 0.5, -0.3]))
        | call(st.integers(0, 5), dtype=dtypes("fi")),
        primitives=("arange",),
    ),
    Row(
        "linspace",
        fg.linspace,
        optional(call(NUMBERS, NUMBERS, SIDE), endpoint=st.booleans(), dtype=st.just("float32"))
        | with_broadcast_shapes(
            lambda x, y: call(
                arrays("f", x).map(lambda x: x.astype(float)), arrays("f", y).map(lambda x: x.astype(float)), SIDE
            )
        ),
        np.linspace,
        with_broadcast_shapes(lambda x, y: call(smooth_arrays(x), smooth_arrays(y), SIDE, endpoint=st.booleans())),
        rtol=CLOSE,
    ),
    *[
        Row(
            name,
            getattr(fg, name),
            optional(call(arrays("fiub")), dtype=ANY_DTYPE)
            | call(st.sampled_from([1, 2.5, True, 2j, [1, 2.5], [[1], [2]]])),
            getattr(np, name),
            call(smooth_arrays()),
        )
        for name in ("asarray", "array")
    ],
]

ORDER = [
    Row(
        "argsort",
        fg.argsort,
        with_shape(
            lambda s: optional(call(arrays("fhiub", s)), axis=axis_of(s) | st.none(), stable=st.just(True)), min_dims=1
        ),
        lambda x, axis=-1, stable=True: np.argsort(x, axis, kind="stable"),
        None,
        ("argsort",),
        np.argsort,
    ),
    Row(
        "searchsorted",
        fg.searchsorted,
        optional(call(arrays("f", st.tuples(SIDE)).map(np.sort), arrays("f")), side=st.sampled_from(["left", "right"])),
        np.searchsorted,
        None,
        ("searchsorted",),
        np.searchsorted,
        vary=shrunk,  # the first operand stays sorted
    ),
]


# Random numbers: functions of the words of a key. What they give is tested against their formulas elsewhere.

WORDS = strategies.arrays("uint64", (2,), min_value=0, max_value=2**20)


def random_row(name, draw, calls, smooth=None, primitives=None):
    function = lambda words, *args, **kwargs: draw(Key(fg.asarray(words)), *args, **kwargs)
    claimed = (name,) if primitives is None else primitives
    return Row(f"random.{name}", function, calls, None, smooth, claimed, vary=other_keys, exact=True)


def bounded(operand):
    """A shape, and bounds that broadcast to it."""
    return with_broadcast_shapes(
        lambda x, y: call(WORDS, np.broadcast_shapes(x, y), operand(x, -2, -0.5), operand(y, 0.5, 2))
    )


def _uniform(key, shape, low=0.0, high=1.0, dtype="float64"):
    return fg.random.uniform(key, shape, dtype, low, high)


def _truncated(key, shape, low=-1.0, high=1.0, dtype="float64"):
    return fg.random.truncated_normal(key, low, high, shape, dtype)


HALF = dtypes("fh")
PROBABILITIES = np.array([0.1, 0.2, 0.3, 0.4])

RANDOM: list[Row] = [
    random_row(
        "bits",
        fg.random.bits,
        optional(call(WORDS, SHAPES), dtype=st.sampled_from(["uint8", "uint64"])),
        None,
        ("random_bits",),
    ),
    random_row("split", lambda key, n: fg.random.split(key, n).words, call(WORDS, SIDE), None, ()),
    random_row(
        "fold_in",
        lambda key, data: fg.random.fold_in(key, data).words,
        call(WORDS, st.integers(0, 9)) | call(WORDS, strategies.arrays("int64", min_value=0)),
    ),
    random_row(
        "uniform on the unit interval", _uniform, optional(call(WORDS, SHAPES), dtype=HALF), None, ("unit_interval",)
    ),
    random_row("uniform", _uniform, bounded(lambda s, *limits: arrays("f", s, *limits)), bounded(smooth_arrays)),
    random_row("normal", fg.random.normal, optional(call(WORDS, SHAPES), dtype=HALF)),
    random_row(
        "truncated_normal", _truncated, bounded(lambda s, *limits: arrays("f", s, *limits)), bounded(smooth_arrays)
    ),
    random_row("bernoulli", fg.random.bernoulli, call(WORDS, arrays("f", None, 0, 1)) | call(WORDS, 0.25, SHAPES)),
    random_row("randint", fg.random.randint, call(WORDS, SHAPES, -3, st.integers(0, 9))),
    random_row("permutation", fg.random.permutation, call(WORDS, SIDE) | call(WORDS, arrays("f", (3, 2))), None, ()),
    random_row(
        "choice",
        fg.random.choice,
        call(WORDS, arrays("f", (3,)), SHAPES)
        | call(WORDS, 4, SHAPES, True, PROBABILITIES)
        | call(WORDS, 4, (2,), False, PROBABILITIES),
        None,
        ("choice", "open_unit"),
    ),
]

ARRAY_ROWS: list[Row] = [*PRODUCTS, *CREATION, *ORDER, *RANDOM]
