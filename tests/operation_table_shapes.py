"""Rows of the operation table for shapes, joining, splitting and indexing."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from operation_row import (
    CLOSE,
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
    rearranging("tril", lambda x, s: call(x, st.integers(-3, 3)), min_dims=1),
    rearranging("triu", lambda x, s: call(x, st.integers(-3, 3)), min_dims=1),
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
    fitting = items.filter(_broadcasts)
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


def updates(operand, values=None, *, known=False):
    """Calls ``(x, index, values)`` of updates; values broadcast against what the index reads.

    With `known` the values of the index are known while staging.
    """
    values = operand if values is None else values

    def of(shape, index):
        read = np.zeros(shape)[index.value if isinstance(index, Constant) else index].shape
        place = (
            fg.tree.map(lambda item: Constant(item) if isinstance(item, np.ndarray) else item, index)
            if known
            else index
        )
        return call(operand(shape), st.just(place), values(read) | values(read[1:]) | values(()))

    def over(indices, **limits):
        return strategies.shapes(**limits).flatmap(lambda s: indices(s).flatmap(lambda index: of(s, index)))

    return over(basic) | over(masks, min_dims=1) | over(advanced, min_dims=1, min_side=1)


def updating(name, accumulate, *, kinds="fci", smooth=None, known=False):
    def reference(x, index, values):
        out = x.copy()
        if accumulate is None:
            out[index] = values
        else:
            accumulate.at(out, index, values)
        return out

    names = [one for kind in kinds for one in {"f": ["float64", "float32"], "c": ["complex128"], "i": ["int32"]}[kind]]
    return Row(
        f"at.{name}",
        lambda x, index, values: getattr(fg.asarray(x).at[index], name)(values),
        st.sampled_from(names).flatmap(lambda dtype: updates(lambda s: strategies.arrays(dtype, s), known=known)),
        reference,
        updates(smooth_arrays, known=known) if smooth is None else smooth,
        {"set": ("setitem",), "add": ("scatter_add",)}.get(name, ()),
        rtol=CLOSE,
    )


def apart():
    """Updates with values that are all smaller, or all larger, than what they meet."""
    low = lambda s: smooth_arrays(s, -2.0, -0.1)
    high = lambda s: smooth_arrays(s, 0.1, 2.0)
    return updates(low, high, known=True) | updates(high, low, known=True)


INDEXING = [
    Row(
        "getitem",
        lambda x, index: fg.asarray(x)[index],
        reads(lambda s: arrays(EVERY, s)),
        lambda x, index: x[index],
        reads(smooth_arrays),
        ("getitem",),
    ),
    updating("set", None),
    updating("add", np.add),
    updating("multiply", np.multiply, known=True),
    updating("min", np.minimum, kinds="fi", smooth=apart(), known=True),
    updating("max", np.maximum, kinds="fi", smooth=apart(), known=True),
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
        lambda positions: _last_writer(positions),  # noqa: PLW0108 - defined below
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


SHAPE_ROWS: list[Row] = [*SHAPING, *JOINING, *INDEXING]
