"""Rows of the operation table for the primitives of control flow, which only staged functions bind."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from operation_row import CLOSE, Call, Row, arrays, call, dtypes, smooth_arrays, with_shape

import fgrad as fg
from fgrad.core.bind import bind
from fgrad.core.primitive import registered_primitives

PRIMITIVES = {primitive.name: primitive for primitive in registered_primitives()}


def staged(function):
    """The function, through its graph."""
    return lambda *operands: fg.make_graph(function)(*operands)(*operands)


def of_one_dtype(build):
    """Calls whose floating-point operands have the same dtype."""

    def convert(drawn):
        one, dtype = drawn
        return Call(tuple(x.astype(dtype) if x.dtype.kind == "f" else x for x in one.args), one.kwargs)

    return st.tuples(build(lambda shape: arrays("f", shape)), dtypes("f")).map(convert)


def counts(largest):
    return st.integers(0, largest).map(np.asarray)


# Results are squared, so that derivatives depend on them.


def branch(p, x, y):
    return fg.square(fg.cond(p % 2 == 0, lambda: fg.sin(x) * y, lambda: x - fg.cos(y)))


def repeat(n, x, y):
    step = lambda c: (c[0] + 1, fg.sin(c[1]) * y + c[1])
    return fg.square(fg.while_loop(lambda c: c[0] < n, step, (0, x * y), max_steps=3)[1])


def repeat_numpy(n, x, y):
    z = x * y
    for _ in range(n):
        z = np.sin(z) * y + z
    return np.square(z)


def filtered(xs, c, w):
    last, ys = fg.scan(lambda c, x: (fg.sin(c * w) + x, c * x), c, xs, reverse=True)
    return fg.square(last), fg.square(ys)


def filtered_numpy(xs, c, w):
    ys = np.empty_like(xs)
    for position in reversed(range(len(xs))):
        x = xs[position]
        ys[position] = c * x
        c = np.sin(c * w) + x
    return np.square(c), np.square(ys)


def times_ones(x, dtype):
    """The number times an array, whose precision it takes on."""
    return bind(PRIMITIVES["as_number"], x)[0] * fg.ones(2, dtype)


def scan_calls(values, shortest):
    return with_shape(
        lambda s: st.integers(shortest, 3).flatmap(lambda n: call(values((n, *s)), values(s), values(s))), max_dims=2
    )


def same_shapes(values, count):
    return with_shape(lambda s: call(*[values(s)] * count), max_dims=2)


CONTROL_ROWS = [
    Row(
        "cond",
        staged(branch),
        with_shape(lambda s: call(counts(3), arrays("f", s), arrays("f", s))),
        lambda p, x, y: np.square(np.sin(x) * y if p % 2 == 0 else x - np.cos(y)),
        with_shape(lambda s: call(counts(3), smooth_arrays(s), smooth_arrays(s)), max_dims=2),
        ("cond",),
        rtol=CLOSE,
    ),
    Row(
        "while",
        staged(repeat),
        of_one_dtype(lambda values: with_shape(lambda s: call(counts(3), values(s), values(s)))),
        repeat_numpy,
        with_shape(lambda s: call(counts(3), smooth_arrays(s), smooth_arrays(s)), max_dims=1),
        ("while",),
        rtol=CLOSE,
        mixed=False,
    ),
    Row(
        "scan",
        staged(filtered),
        of_one_dtype(lambda values: scan_calls(values, 0)),
        filtered_numpy,
        scan_calls(smooth_arrays, 1),
        ("scan",),
        rtol=CLOSE,
        mixed=False,
    ),
    Row(
        "unstack_rows",
        lambda x: bind(PRIMITIVES["unstack_rows"], x),
        with_shape(lambda s: call(arrays("fciub", s)), min_dims=1),
        tuple,
        with_shape(lambda s: call(smooth_arrays(s)), min_dims=1, min_side=1),
        ("unstack_rows",),
        exact=True,
    ),
    Row(
        "stack_rows",
        lambda *rows: bind(PRIMITIVES["stack_rows"], *rows),
        of_one_dtype(lambda values: st.integers(1, 3).flatmap(lambda n: same_shapes(values, n))),
        lambda *rows: np.stack(rows),
        st.integers(1, 3).flatmap(lambda n: same_shapes(smooth_arrays, n)),
        ("stack_rows",),
        mixed=False,
        exact=True,
    ),
    Row(
        "as_number",
        times_ones,
        call(arrays("fcib", ()), "float32"),
        lambda x, dtype: x.item() * np.ones(2, dtype),
        call(smooth_arrays(()), "float64"),
        ("as_number",),
        exact=True,
    ),
]
