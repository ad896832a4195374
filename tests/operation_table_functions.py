"""Rows of the operation table for the public functions of control flow, with functions among their arguments."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import strategies as st
from operation_row import CLOSE, Row, arrays, call, smooth_arrays, with_shape

import fgrad as fg


def first(x, y):
    return fg.sin(x) * y


def second(x, y):
    return fg.square(x) - y


def third(x, y):
    return fg.exp(x * y * 0.25) * 1.0


BRANCHES = [first, second, third]
BY_NUMPY = [lambda x, y: np.sin(x) * y, lambda x, y: np.square(x) - y, lambda x, y: np.exp(x * y * x.dtype.type(0.25))]


def two_alike(values, **limits):
    """Calls of two operands of one shape."""
    return lambda build: with_shape(lambda s: build(values(s), values(s)), **limits)


def doubles(shape):
    return arrays("f", shape).map(lambda x: x.astype(float))


def going_on(state):
    return state[0] > 0


def one_less(state):
    count, x = state
    return count - 1, fg.sin(x) * 0.5 + x


def count_down(go_on, step, state, max_steps):
    count, x = state
    for _ in range(min(int(count), max_steps)):
        count, x = count - 1, np.sin(x) * 0.5 + x
    return count, x


def times(position, x):
    return fg.sin(x) * (position + 1)


def running(carry, x):
    return fg.sin(carry) + x, carry * x


def scan_by_numpy(step, carry, xs, *, reverse=False):
    ys = np.zeros_like(xs)
    for position in reversed(range(len(xs))) if reverse else range(len(xs)):
        carry, ys[position] = np.sin(carry) + xs[position], carry * xs[position]
    return carry, ys


def scans(values, shortest):
    shapes = st.integers(shortest, 3)
    return with_shape(
        lambda s: shapes.flatmap(lambda n: call(running, values(s), values((n, *s)), reverse=st.booleans())), max_dims=2
    )


def softened(x):
    return fg.sin(x) * x


def in_steps(values):
    return with_shape(
        lambda s: call(softened, values(s), batch_size=st.sampled_from([None, 1, 2])), min_dims=1, min_side=1
    )


def partial_products(values, low, high):
    return with_shape(
        lambda s: st.integers(-len(s), len(s) - 1).flatmap(
            lambda axis: call(fg.multiply, values(s, low, high), reverse=st.booleans(), axis=st.just(axis))
        ),
        min_dims=1,
        min_side=1,
    )


def accumulated(function, x, *, reverse, axis):
    rows = list(np.moveaxis(x, axis, 0))
    found = list(itertools.accumulate(reversed(rows) if reverse else rows, np.multiply))
    return np.moveaxis(np.stack(found[::-1] if reverse else found), 0, axis)


PREDICATES = st.booleans().map(np.asarray)
INDICES = st.integers(-1, 3).map(np.asarray)
COUNTS = st.integers(0, 4).map(np.asarray)

FUNCTION_ROWS = [
    Row(
        "fg.cond",
        fg.cond,
        two_alike(doubles)(lambda x, y: call(PREDICATES, first, second, x, y)),
        lambda p, true, false, x, y: BY_NUMPY[0 if p else 1](x, y),
        two_alike(smooth_arrays)(lambda x, y: call(PREDICATES, first, second, x, y)),
        rtol=CLOSE,
    ),
    Row(
        "fg.switch",
        fg.switch,
        two_alike(doubles)(lambda x, y: call(INDICES, BRANCHES, x, y)),
        lambda index, branches, x, y: BY_NUMPY[min(max(int(index), 0), 2)](x, y),
        two_alike(smooth_arrays)(lambda x, y: call(INDICES, BRANCHES, x, y)),
        rtol=CLOSE,
    ),
    Row(
        "fg.while_loop",
        fg.while_loop,
        with_shape(lambda s: call(going_on, one_less, st.tuples(COUNTS, arrays("f", s)), 3)),
        count_down,
        with_shape(lambda s: call(going_on, one_less, st.tuples(COUNTS, smooth_arrays(s)), 3)),
        rtol=CLOSE,
    ),
    Row(
        "fg.fori_loop",
        fg.fori_loop,
        call(1, st.integers(0, 4), times, arrays("f")),
        lambda lower, upper, body, x: [x := np.sin(x) * (k + 1) for k in range(lower, upper)][-1] if upper > 1 else x,
        call(1, st.integers(0, 4), times, smooth_arrays()),
        rtol=CLOSE,
    ),
    Row("fg.scan", fg.scan, scans(doubles, 0), scan_by_numpy, scans(smooth_arrays, 1), rtol=CLOSE, mixed=False),
    Row(
        "fg.map",
        fg.map,
        in_steps(lambda s: arrays("f", s)),
        lambda f, x, batch_size: np.sin(x) * x,
        in_steps(smooth_arrays),
        rtol=CLOSE,
    ),
    Row(
        "fg.associative_scan",
        fg.associative_scan,
        partial_products(lambda s, *bounds: arrays("f", s, *bounds), -2.0, 2.0),
        accumulated,
        partial_products(smooth_arrays, -2.0, 2.0),
        rtol=CLOSE,
    ),
]
