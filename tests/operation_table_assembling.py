"""Rows of the operation table for grids, and for assembling, taking apart and selecting among arrays."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from operation_row import (
    CLOSE,
    Row,
    arrays,
    call,
    complex_arrays,
    optional,
    shrunk,
    smooth_arrays,
    thinned,
    with_shape,
)
from operation_table_shapes import axis_of, lists_of

import fgrad as fg
from fgrad.testing import strategies

KINDS = "fcib"


def assembling(name, calls, primitives=(), *, kinds=KINDS, smooth=True, **options):
    """The row of a function that NumPy has under the same name: ``calls(operand strategy)`` gives its calls."""
    numpy_function = getattr(np, name)
    points = calls(smooth_arrays) | calls(complex_arrays) if smooth else None
    return Row(
        name,
        getattr(fg, name),
        calls(lambda s: arrays(kinds, s)),
        numpy_function,
        points,
        primitives,
        options.pop("counterpart", numpy_function),
        **options,
    )


def creation(name, *calls):
    found = calls[0]
    for one in calls[1:]:
        found |= one
    return Row(name, getattr(fg, name), found, getattr(np, name))


def several(operand, shapes):
    return st.sampled_from(shapes).flatmap(lambda chosen: call(lists_of(operand)(chosen)))


def ends(operand):
    return optional(call(operand((2,)), operand((2,)), 4), endpoint=st.booleans(), axis=st.integers(-1, 1)) | call(
        operand(()), operand(()), st.integers(0, 3)
    )


def positive(low, high, kinds="f"):
    return ends(lambda s: arrays(kinds, s, low, high)), ends(lambda s: smooth_arrays(s, low, high))


LOG_ENDS, GEOMETRIC_ENDS = positive(0.25, 2), positive(0.5, 4)

GRIDS = [
    creation("tri", call(3), optional(call(2, 4), k=st.integers(-1, 2), dtype=st.sampled_from([float, "int32"]))),
    creation("tril_indices", optional(call(3), k=st.integers(-1, 1), m=st.integers(1, 4))),
    creation("triu_indices", optional(call(3), k=st.integers(-1, 1), m=st.integers(1, 4))),
    creation("diag_indices", call(3), call(2, 3)),
    creation("indices", optional(call((2, 3)), sparse=st.booleans(), dtype=st.sampled_from([int, float]))),
    creation("fromfunction", optional(call(lambda i, j: i + 2 * j, (2, 3)), dtype=st.sampled_from([int, float]))),
    assembling(
        "meshgrid",
        lambda x: optional(
            call(x((2,)), x((3,))) | call(x((2,)), x(()), x((3,))) | call(x((2,))),
            indexing=st.sampled_from(["xy", "ij"]),
            sparse=st.booleans(),
        ),
    ),
    assembling(
        "ix_", lambda x: call(strategies.arrays("int64", (2,)), [0, 2]) | call([True, False], [1]), smooth=False
    ),
    Row(
        "logspace",
        fg.logspace,
        LOG_ENDS[0] | call(arrays("f", ()), 2.0, 3, base=2.0),
        np.logspace,
        LOG_ENDS[1],
        (),
        np.logspace,
        CLOSE,
    ),
    Row("geomspace", fg.geomspace, GEOMETRIC_ENDS[0], np.geomspace, GEOMETRIC_ENDS[1], (), np.geomspace, CLOSE),
    assembling(
        "vander",
        lambda x: optional(call(x((3,))), N=st.integers(0, 4), increasing=st.booleans()),
        kinds="fci",
        rtol=CLOSE,
    ),
    assembling(
        "unravel_index",
        lambda x: optional(
            call(strategies.arrays("int64", None, min_value=0, max_value=5), (2, 3)), order=st.sampled_from(["C", "F"])
        ),
        ("unravel_index",),
        smooth=False,
        vary=shrunk,
    ),
    assembling(
        "ravel_multi_index",
        lambda x: optional(
            call(
                st.tuples(
                    strategies.arrays("int64", (2, 1), min_value=0, max_value=1),
                    strategies.arrays("int64", (3,), min_value=0, max_value=2),
                ),
                (2, 3),
            ),
            order=st.sampled_from(["C", "F"]),
            mode=st.sampled_from(["raise", "wrap", ("clip", "wrap")]),
        ),
        ("ravel_multi_index",),
        smooth=False,
        vary=shrunk,
    ),
]


def cut(rank):
    return lambda x: call(x((2,) * rank), st.sampled_from([1, 2, [1], [0, 1]]))


def deletions(x):
    return (
        call(x((3, 2)), st.integers(-3, 2), axis=0)
        | call(x((2, 3)), st.sampled_from([slice(1, None), [0, -1], [True, False, True]]), axis=1)
        | call(x((2, 2)), 1)
    )


def insertions(x):
    return (
        call(x((3,)), st.integers(-3, 3), x(()))
        | call(x((2, 3)), 1, x((2, 2)), axis=1)
        | call(x((2, 3)), [1], x((2, 1)), axis=1)
        | call(x((2, 3)), st.sampled_from([[2, 0], slice(0, 2)]), x((2, 2)), axis=1)
        | call(x((2, 2)), 1, x((2,)))
    )


ASSEMBLING = [
    assembling("append", lambda x: call(x((2, 3)), x((1, 3)), axis=0) | call(x((2,)), x((1, 2)))),
    assembling("atleast_3d", lambda x: with_shape(lambda s: call(x(s)))),
    assembling(
        "block",
        lambda x: (
            call(st.tuples(x((2, 2)), x((2, 1)), x((1, 3))).map(lambda b: [[b[0], b[1]], [b[2]]]))
            | call(st.tuples(x((2,)), x(())).map(list))
        ),
    ),
    Row(
        "broadcast_shapes",
        fg.broadcast_shapes,
        call((2, 1), (3,), 1) | call(2) | call(),
        np.broadcast_shapes,
    ),
    assembling("column_stack", lambda x: several(x, [[(2,), (2,)], [(2,), (2, 3)], [(0, 2)]])),
    assembling("copy", lambda x: with_shape(lambda s: call(x(s)))),
    assembling("delete", deletions),
    assembling("dsplit", cut(3)),
    assembling("dstack", lambda x: several(x, [[(2,), (2,)], [(2, 3), (2, 3)], [()]])),
    assembling("fliplr", lambda x: with_shape(lambda s: call(x(s)), min_dims=2)),
    assembling("flipud", lambda x: with_shape(lambda s: call(x(s)), min_dims=1)),
    assembling("hsplit", lambda x: cut(2)(x) | cut(1)(x)),
    assembling("insert", insertions, kinds="f", mixed=False),
    assembling("resize", lambda x: with_shape(lambda s: call(x(s), st.sampled_from([(2, 3), 4, (0,), ()])))),
    assembling("rollaxis", lambda x: with_shape(lambda s: call(x(s), axis_of(s), st.integers(0, len(s))), min_dims=1)),
    assembling(
        "rot90",
        lambda x: optional(call(x((2, 3, 2))), k=st.integers(-1, 4), axes=st.sampled_from([(0, 1), (1, 0), (2, -2)])),
    ),
    Row(
        "unstack",
        fg.unstack,
        with_shape(lambda s: call(arrays(KINDS, s), axis=axis_of(s)), min_dims=1),
        getattr(np, "unstack", None),  # NumPy 2.1 has it
        with_shape(lambda s: call(smooth_arrays(s), axis=axis_of(s)), min_dims=1, min_side=1),
        (),
        getattr(np, "unstack", None),
    ),
    assembling("vsplit", cut(2)),
]


def choices(x, integers):
    return call(integers((2,)), lists_of(x)([(2,), (1,), (2,)])) | call(integers(()), lists_of(x)([(2,), (2,), ()]))


MASKS = st.tuples(arrays("b", (3,)), arrays("b", (3,))).map(list)

PIECES = [
    assembling("apply_along_axis", lambda x: call(lambda v: v[:2] * v[0], st.integers(0, 1), x((2, 2))), kinds="fci"),
    Row(
        "apply_over_axes",
        fg.apply_over_axes,
        call(lambda v, axis: v.sum(axis), arrays("fci", (2, 3)), st.sampled_from([0, (0, 1), (-1,)])),
        np.apply_over_axes,
        call(lambda v, axis: v.sum(axis), smooth_arrays((2, 3)), (0, 1)),
        rtol=CLOSE,
    ),
    assembling(
        "choose",
        lambda x: (
            choices(x, lambda s: strategies.arrays("int64", s, min_value=0, max_value=2))
            | optional(
                choices(x, lambda s: strategies.arrays("int64", s, min_value=-2, max_value=5)),
                mode=st.sampled_from(["wrap", "clip"]),
            ).filter(lambda one: "mode" in one.kwargs)
        ),
        ("choose",),
        vary=shrunk,
    ),
    assembling(
        "piecewise",
        lambda x: call(x((3,)), MASKS, [lambda v: v * v, 2.0]) | call(x((3,)), MASKS, [1, lambda v: v * v, 2]),
        kinds="fi",
        vary=thinned,
    ),
    assembling(
        "select",
        lambda x: call(MASKS, lists_of(x)([(3,), ()])) | call(MASKS, lists_of(x)([(2, 1), (3,)]), 2),
        kinds="fci",
        vary=thinned,
    ),
    assembling(
        "trim_zeros",
        lambda x: optional(
            call(st.sampled_from([np.array([0.0, 0.0, 1.5, 0.0, 2.5, 0.0]), np.array([0.5, 1.5])])),
            trim=st.sampled_from(["f", "b", "fb"]),
        ),
        smooth=False,
        staged=False,
        unbatched="the shape of its result depends on the values",
    ),
]

ASSEMBLING_ROWS: list[Row] = [*GRIDS, *ASSEMBLING, *PIECES]
