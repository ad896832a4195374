"""Rows of the operation table for shapes, joining, indexing, products, creation, order and random numbers."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from operation_row import (
    CLOSE,
    Calls,
    Constant,
    Row,
    arrays,
    call,
    complex_arrays,
    dtypes,
    optional,
    smooth_arrays,
    with_broadcast_shapes,
    with_shape,
)

import fgrad as fg
from fgrad.core.bind import bind
from fgrad.core.key import Key
from fgrad.core.primitive import registered_primitives
from fgrad.ops.indexing import make_index
from fgrad.testing import strategies

PRIMITIVES = {primitive.name: primitive for primitive in registered_primitives()}
EVERY = "fciub"


def rearranging(name, arguments, *, primitives=(), reference=None, counterpart=None, **limits):
    """The row of a function that moves elements: ``arguments(operand strategy, shape)`` gives its calls."""
    numpy_function = getattr(np, name) if reference is None else reference
    return Row(
        name,
        getattr(fg, name),
        with_shape(lambda s: arguments(arrays(EVERY, s), s), **limits),
        numpy_function,
        with_shape(lambda s: arguments(smooth_arrays(s), s), **limits),
        primitives,
        numpy_function if reference is None else counterpart,
    )


def axis_of(shape, **kwargs):
    return st.integers(-len(shape), len(shape) - 1, **kwargs)


def other_shapes(shape):
    """Shapes of as many elements, one length of which may be -1."""
    size = int(np.prod(shape))
    found = [(size,), (1, size), (size, 1), *([(2, size // 2)] if size % 2 == 0 else []), shape[::-1]]
    inferred = [-1, (-1,), (1, -1)] if size else []
    return st.sampled_from([*found, *inferred, *([size] if len(shape) == 1 else [])])


def to_shape(shape):
    """Shapes that the shape broadcasts to."""
    return st.tuples(st.lists(st.integers(0, 2), max_size=1), st.integers(1, 3)).map(
        lambda drawn: (*drawn[0], *[drawn[1] if length == 1 else length for length in shape])
    )


def new_axes(shape):
    rank = len(shape) + 2
    pair = st.lists(st.integers(-rank, rank - 1), min_size=2, max_size=2, unique_by=lambda axis: axis % rank).map(tuple)
    return pair | st.integers(-len(shape) - 1, len(shape))


def moves(shape):
    count = st.integers(0, len(shape))
    axes = lambda n: st.permutations(range(len(shape))).map(lambda order: list(order[:n]))
    return count.flatmap(lambda n: st.tuples(axes(n), axes(n)))


SHAPING = [
    rearranging("reshape", lambda x, s: call(x, other_shapes(s)), primitives=("reshape",)),
    rearranging("ravel", lambda x, s: call(x)),
    rearranging(
        "transpose",
        lambda x, s: call(x) | call(x, st.permutations(range(len(s))).map(tuple)),
        primitives=("transpose",),
    ),
    rearranging("matrix_transpose", lambda x, s: call(x), min_dims=2),
    rearranging("swapaxes", lambda x, s: call(x, axis_of(s), axis_of(s)), min_dims=1),
    rearranging(
        "moveaxis", lambda x, s: moves(s).flatmap(lambda m: call(x, *m)) | call(x, axis_of(s), axis_of(s)), min_dims=1
    ),
    rearranging("broadcast_to", lambda x, s: call(x, to_shape(s)), primitives=("broadcast_to",)),
    Row(
        "broadcast_arrays",
        fg.broadcast_arrays,
        with_broadcast_shapes(lambda x, y: call(arrays(EVERY, x), arrays(EVERY, y))),
        np.broadcast_arrays,
        with_broadcast_shapes(lambda x, y: call(smooth_arrays(x), smooth_arrays(y))),
        counterpart=np.broadcast_arrays,
    ),
    rearranging("expand_dims", lambda x, s: call(x, new_axes(s))),
    rearranging(
        "squeeze",
        lambda x, s: call(x) | call(x, st.sampled_from([i for i, n in enumerate(s) if n == 1] or [()])),
        max_side=2,
    ),
    rearranging("atleast_1d", lambda x, s: call(x)),
    rearranging("atleast_2d", lambda x, s: call(x)),
    rearranging("flip", lambda x, s: call(x, strategies.axes(len(s))), primitives=("flip",)),
    rearranging(
        "roll",
        lambda x, s: (
            call(x, st.integers(-4, 4))
            | call(x, st.integers(-4, 4), axis_of(s))
            | call(x, st.tuples(st.integers(-4, 4), st.integers(-4, 4)), st.tuples(axis_of(s), axis_of(s)))
        ),
        primitives=("roll",),
        min_dims=1,
    ),
    rearranging("tile", lambda x, s: call(x, st.integers(0, 2) | st.lists(st.integers(0, 2), max_size=3).map(tuple))),
    rearranging("tril", lambda x, s: call(x, st.integers(-3, 3)), min_dims=2),
    rearranging("triu", lambda x, s: call(x, st.integers(-3, 3)), min_dims=2),
    Row(
        "astype",
        fg.astype,
        call(arrays("fiub"), dtypes("fhciub")) | call(arrays("c"), dtypes("c")),
        lambda x, dtype: x.astype(dtype),
        call(smooth_arrays(), st.sampled_from([np.dtype("float64"), np.dtype("complex128")]))
        | call(complex_arrays(), np.dtype("complex128")),
        ("convert",),
        getattr(np, "astype", None),  # NumPy 2.1 has it
    ),
    *[
        Row(name, getattr(fg, name), call(arrays(EVERY)), getattr(np, name), None, (), getattr(np, name))
        for name in ("shape", "ndim", "size")
    ],
]


def several(build, count=3, **limits):
    """Calls over a list of 1 to `count` arrays of one shape."""
    return with_shape(lambda s: st.integers(1, count).flatmap(lambda n: build([s] * n, s)), **limits)


def lists_of(operand):
    return lambda shapes: st.tuples(*[operand(shape) for shape in shapes]).map(list)


def joining(name, build, primitives=(), **limits):
    every = lists_of(lambda s: arrays("fcib", s))
    smooth = lists_of(smooth_arrays)
    return Row(
        name,
        getattr(fg, name),
        several(lambda shapes, s: build(every(shapes), s), **limits),
        getattr(np, name),
        several(lambda shapes, s: build(smooth(shapes), s), **limits),
        primitives,
        getattr(np, name),
    )


def uneven(operand):
    """Calls over lists of arrays that differ in length along the axis that they are joined along."""
    return st.tuples(strategies.shapes(min_dims=1), st.lists(st.integers(0, 3), min_size=1, max_size=3)).flatmap(
        lambda drawn: st.integers(0, len(drawn[0]) - 1).flatmap(
            lambda axis: call(
                st.tuples(*[operand((*drawn[0][:axis], n, *drawn[0][axis + 1 :])) for n in drawn[1]]).map(list), axis
            )
        )
    )


def sections(shape):
    """Axes and ways to split them."""

    def of(axis):
        length = shape[axis]
        equal = [parts for parts in range(1, 5) if length % parts == 0]
        cuts = st.lists(st.integers(0, length), max_size=3).map(sorted)
        return st.tuples(st.sampled_from(equal) | cuts, st.just(axis))

    return axis_of(shape).flatmap(of)


def pads(x, shape):
    side = st.tuples(st.integers(0, 2), st.integers(0, 2))
    each = st.lists(side, min_size=len(shape), max_size=len(shape))
    width = st.integers(0, 2) | (side if len(shape) == 1 else each)
    value = optional(call(x, width), constant_values=st.sampled_from([0, 2, (1, 2)]))
    copied = call(x, width, mode=st.sampled_from(["edge", "wrap", "symmetric", "reflect"]))
    return (value | copied) if shape else call(x, st.just(0))


JOINING = [
    Row(
        "concatenate",
        fg.concatenate,
        uneven(lambda s: arrays("fcib", s))
        | several(lambda shapes, s: call(lists_of(lambda s: arrays("fi", s))(shapes), None)),
        np.concatenate,
        uneven(smooth_arrays) | several(lambda shapes, s: call(lists_of(smooth_arrays)(shapes), None), min_dims=1),
        ("concatenate",),
        np.concatenate,
    ),
    joining("stack", lambda values, s: call(values, st.integers(-len(s) - 1, len(s)))),
    joining("hstack", lambda values, s: call(values)),
    joining("vstack", lambda values, s: call(values)),
    rearranging("split", lambda x, s: sections(s).flatmap(lambda cut: call(x, *cut)), min_dims=1),
    rearranging(
        "array_split",
        lambda x, s: sections(s).flatmap(lambda cut: call(x, *cut)) | call(x, st.integers(1, 4), axis_of(s)),
        min_dims=1,
    ),
    rearranging("pad", pads, min_side=1),
]


# Indexing.


def basic(shape):
    return hnp.basic_indices(shape, allow_newaxis=True, max_dims=5)


def advanced(shape, low=0):
    """Index arrays for the first axes, with slices and integers between and after them."""

    def positions(length):
        return hnp.arrays(
            np.int64, st.sampled_from([(), (2,), (3, 1), (0,)]), elements=st.integers(-length, length - 1)
        )

    def item(length):
        return positions(length) | st.sampled_from([slice(None), slice(1, None), slice(None, None, -1)])

    items = st.tuples(*[item(length) for length in shape])
    fitting = items.filter(lambda index: _broadcasts(index))
    return fitting | st.tuples(positions(shape[0])).map(lambda index: (..., *index) if len(shape) == 1 else index)


def _broadcasts(index):
    try:
        np.broadcast_shapes(*(item.shape for item in index if isinstance(item, np.ndarray)))
    except ValueError:
        return False
    return True


def masks(shape):
    return strategies.arrays("bool", shape).map(Constant)


def reads(operand, **limits):
    nonempty = {"min_dims": 1, "min_side": 1} | limits
    return (
        with_shape(lambda s: call(operand(s), basic(s)))
        | with_shape(lambda s: call(operand(s), advanced(s)), **nonempty)
        | with_shape(lambda s: call(operand(s), masks(s)), min_dims=1)
    )


def updates(operand, *, repeated=True):
    """Calls ``(x, index, values)`` of updates; values broadcast against what the index reads."""

    def of(shape, index, operand=operand):
        place = index.value if isinstance(index, Constant) else index
        read = np.zeros(shape)[place].shape
        return call(operand(shape), st.just(index), operand(read) | operand(read[1:]) | operand(()))

    def over(indices, **limits):
        return strategies.shapes(**limits).flatmap(lambda s: indices(s).flatmap(lambda index: of(s, index)))

    found = over(basic) | over(masks, min_dims=1)
    return found | over(advanced, min_dims=1, min_side=1) if repeated else found


def updating(name, accumulate, *, smooth=None, kinds="fci", repeated_smooth=True):
    def reference(x, index, values):
        out = x.copy()
        if accumulate is None:
            out[index] = values
        else:
            accumulate.at(out, index, values)
        return out

    same = lambda kinds: lambda s: strategies.arrays(np.dtype(kinds), s)
    return Row(
        f"at.{name}",
        lambda x, index, values: getattr(x.at[index] if isinstance(x, fg.Tensor) else fg.asarray(x).at[index], name)(
            values
        ),
        st.sampled_from(
            [d for k in kinds for d in {"f": ["float64", "float32"], "c": ["complex128"], "i": ["int32"]}[k]]
        ).flatmap(lambda kind: updates(same(kind))),
        reference,
        updates(smooth or smooth_arrays, repeated=repeated_smooth),
        {"set": ("setitem",), "add": ("scatter_add",)}.get(name, ()),
        rtol=CLOSE,
    )


def rows_above(x, index, values):
    return values


INDEXING = [
    Row(
        "getitem",
        lambda x, index: x[index] if isinstance(x, fg.Tensor) else fg.asarray(x)[index],
        reads(lambda s: arrays(EVERY, s)),
        lambda x, index: x[index],
        reads(smooth_arrays),
        ("getitem",),
    ),
    updating("set", None),
    updating("add", np.add),
    updating("multiply", np.multiply),
    updating("min", np.minimum, kinds="fi", repeated_smooth=False, smooth=lambda s: smooth_arrays(s, *_apart(s))),
    updating("max", np.maximum, kinds="fi", repeated_smooth=False, smooth=lambda s: smooth_arrays(s, *_apart(s))),
    Row(
        "take",
        fg.take,
        with_shape(
            lambda s: (
                optional(
                    call(arrays(EVERY, s), strategies.arrays("int64", None, min_value=-1, max_value=0)), axis=axis_of(s)
                )
                | optional(
                    call(arrays("f", s), strategies.arrays("int64", None), mode=st.sampled_from(["wrap", "clip"])),
                    axis=axis_of(s),
                )
            ),
            min_dims=1,
            min_side=1,
        ),
        np.take,
        with_shape(
            lambda s: optional(
                call(smooth_arrays(s), strategies.arrays("int64", (3,), min_value=-1, max_value=0)), axis=axis_of(s)
            ),
            min_dims=1,
            min_side=1,
        ),
        counterpart=np.take,
    ),
    Row(
        "take_along_axis",
        fg.take_along_axis,
        with_shape(lambda s: _along(arrays(EVERY, s), s), min_dims=1, min_side=1),
        np.take_along_axis,
        with_shape(lambda s: _along(smooth_arrays(s), s), min_dims=1, min_side=1),
        counterpart=np.take_along_axis,
    ),
    Row(
        "repeat",
        fg.repeat,
        with_shape(lambda s: _repeats(arrays(EVERY, s), s), min_dims=1),
        np.repeat,
        with_shape(lambda s: _repeats(smooth_arrays(s), s), min_dims=1),
        counterpart=np.repeat,
    ),
    Row(
        "one_hot",
        fg.one_hot,
        optional(call(strategies.arrays(dtypes("iu"), None, min_value=0, max_value=3), 4), dtype=dtypes("fib")),
        lambda labels, classes, dtype=np.float32: np.eye(classes, dtype=dtype)[labels],
        None,
        ("one_hot",),
    ),
    Row(
        "last_writer",
        lambda positions: _last_writer(positions),
        call(strategies.arrays("int64", strategies.shapes(max_dims=1), min_value=0, max_value=3)),
        lambda positions: (
            np.array([p not in positions[i + 1 :] for i, p in enumerate(positions.ravel())], bool).reshape(
                positions.shape
            )
            if positions.ndim
            else np.array(True)
        ),
        None,
        ("last_writer",),
    ),
]


def _last_writer(positions):
    index, found = make_index(fg.asarray(positions) if positions.ndim else fg.asarray(positions).reshape(1))
    shape = tuple(found[0].shape)
    out = bind(PRIMITIVES["last_writer"], *found, index=index, shape=(4,), values_shape=shape)
    return out.reshape(positions.shape)


def _apart(shape):
    """Ranges that do not meet, for operands of different shape; of one shape the draws are apart as they are."""
    return (-2.0, -0.5) if len(shape) % 2 else (0.5, 2.0)


def _along(x, shape):
    def of(axis):
        lengths = (*shape[:axis], 2, *shape[axis + 1 :])
        return call(
            x,
            strategies.arrays("int64", lengths, min_value=-1, max_value=0),
            st.sampled_from([axis, axis - len(shape)]),
        )

    last = call(x, strategies.arrays("int64", (*shape[:-1], 3), min_value=-1, max_value=0), -1)
    return (
        last
        | st.integers(0, len(shape) - 1).flatmap(of)
        | call(x, strategies.arrays("int64", (2,), min_value=0, max_value=0), None)
    )


def _repeats(x, shape):
    counts = lambda n: strategies.arrays("int64", (n,), min_value=0, max_value=2).map(Constant)
    each = axis_of(shape).flatmap(lambda axis: call(x, counts(shape[axis]), axis))
    return call(x, st.integers(0, 2)) | call(x, st.integers(0, 2), axis_of(shape)) | each


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
    numpy_function = getattr(np, name, None)  # vecdot came with NumPy 2.0, and is a ufunc
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
    ("ij,jk,kl->il", ("ab", "bc", "cd")), ("ij,ij->i", ("ab", "ab")), ("iij,j->i", ("aab", "b")), ("i...->...", ("abc",)),
    (",i->i", ("", "a")), ("ba,ab", ("ab", "ba")),
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
        lambda x, y: (np.conj(x) * y).sum(-1),
        st.tuples(strategies.broadcastable_shapes(2, max_dims=2), SIDE).flatmap(
            lambda d: (
                call(smooth_arrays((*d[0][0], d[1])), smooth_arrays((*d[0][1], d[1])))
                | call(complex_arrays((*d[0][0], d[1])), complex_arrays((*d[0][1], d[1])))
            )
        ),
        counterpart=getattr(np, "vecdot", None),
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
            lambda x, y: call(arrays("f", x).map(np.float64), arrays("f", y).map(np.float64), SIDE)
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
    ),
]


# Random numbers: functions of the words of a key. What they give is tested against their formulas elsewhere.

WORDS = strategies.arrays("uint64", (2,), min_value=0, max_value=2**20)


def random_row(name, draw, calls, smooth=None, primitives=None):
    function = lambda words, *args, **kwargs: draw(Key(fg.asarray(words)), *args, **kwargs)
    return Row(f"random.{name}", function, calls, None, smooth, (name,) if primitives is None else primitives)


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
        call(WORDS, 4, SHAPES, p=[0.1, 0.2, 0.3, 0.4]) | call(WORDS, arrays("f", (3,)), SHAPES),
        None,
        ("choice", "open_unit"),
    ),
]

ARRAY_ROWS: list[Row] = [*SHAPING, *JOINING, *INDEXING, *PRODUCTS, *CREATION, *ORDER, *RANDOM]

__all__ = ["ARRAY_ROWS", "Calls"]
