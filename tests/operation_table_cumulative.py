"""Rows of the operation table for cumulation, differences, NaN-functions, statistics and signals."""

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
    over_axes,
    reordered,
    shrunk,
    smooth_arrays,
    special_arrays,
    with_shape,
)
from operation_table_shapes import PRIMITIVES, axis_of

import fgrad as fg
from fgrad.core.bind import bind
from fgrad.testing import strategies


def plain(name, calls, smooth, primitives=(), *, reference=None, counterpart=None, **options):
    """The row of a function that NumPy has under the same name."""
    numpy_function = getattr(np, name, None)
    return Row(
        name,
        getattr(fg, name),
        calls,
        numpy_function if reference is None else reference,
        smooth,
        primitives,
        numpy_function if counterpart is None else counterpart,
        options.pop("rtol", CLOSE),
        **options,
    )


def along(operand, *, none=True, **limits):
    """Calls with ``axis=``, or without where that means the elements in row-major order."""
    named = with_shape(lambda s: call(operand(s), axis=axis_of(s)), min_dims=1, **limits)
    return named | with_shape(lambda s: call(operand(s)), **limits) if none else named


def with_zeros(shape):
    """Factors some of which may be zero."""
    return st.tuples(smooth_arrays(shape), st.integers(0, 2**16)).map(
        lambda drawn: np.asarray(drawn[0] * np.random.default_rng(drawn[1]).integers(0, 3, drawn[0].shape).clip(0, 1))
    )


def initial_too(operand):
    return optional(
        with_shape(lambda s: call(operand(s), axis=axis_of(s)), min_dims=1) | call(operand((3,))),
        include_initial=st.booleans(),
    )


def recurrences(operand):
    return with_shape(
        lambda s: call(operand(s), operand(s), axis_of(s).map(lambda axis: axis % len(s)), st.booleans()),
        min_dims=1,
        max_dims=2,
    )


def _recurrence(a, b, axis, reverse):
    return bind(PRIMITIVES["linear_recurrence"], a, b, axis=axis, reverse=reverse)


def _one_step_at_a_time(a, b, axis, reverse):
    a, b = np.moveaxis(a, axis, -1), np.moveaxis(b, axis, -1)
    out = np.zeros(b.shape, np.result_type(a, b))
    length = b.shape[-1]
    for k in reversed(range(length)) if reverse else range(length):
        before, factor = (k + 1, k + 1) if reverse else (k - 1, k)
        out[..., k] = b[..., k] + (a[..., factor] * out[..., before] if 0 <= before < length else 0)
    return np.moveaxis(out, -1, axis)


def _shares(x, axis):
    return bind(PRIMITIVES["running_shares"], x, fg.cummax(x, axis), axis=axis)


CUMULATION = [
    plain(
        "cumprod",
        along(lambda s: arrays("fciu", s, 0, 2)) | along(with_zeros),
        along(smooth_arrays) | along(complex_arrays) | along(with_zeros),
        ("cumprod",),
    ),
    plain("cumulative_sum", initial_too(lambda s: arrays("fciu", s)), initial_too(smooth_arrays)),
    plain("cumulative_prod", initial_too(lambda s: arrays("fciu", s, 0, 2)), initial_too(smooth_arrays)),
    plain("nancumsum", along(lambda s: arrays("fci", s)) | call(special_arrays("f")), along(smooth_arrays)),
    plain("nancumprod", along(lambda s: arrays("fci", s, 0, 2)) | call(special_arrays("f")), along(smooth_arrays)),
    *[
        Row(
            name,
            getattr(fg, name),
            with_shape(lambda s: call(arrays("fiub", s), axis_of(s)), min_dims=1) | call(arrays("f", (3,))),
            lambda x, axis=0, ufunc=ufunc: ufunc.accumulate(x, axis),
            with_shape(lambda s: call(smooth_arrays(s), axis_of(s)), min_dims=1),
            (name,),
        )
        for name, ufunc in (("cummax", np.maximum), ("cummin", np.minimum))
    ],
    Row(
        "cumlogsumexp",
        fg.cumlogsumexp,
        with_shape(lambda s: call(arrays("f", s), axis_of(s)), min_dims=1) | call(arrays("f", (3,))),
        lambda x, axis=0: np.logaddexp.accumulate(x, axis),
        with_shape(lambda s: call(smooth_arrays(s), axis_of(s)), min_dims=1),
        ("cumlogsumexp",),
        rtol=CLOSE,
    ),
    Row(
        "linear_recurrence",
        _recurrence,
        recurrences(lambda s: arrays("fc", s, -1, 1)),
        _one_step_at_a_time,
        recurrences(smooth_arrays) | recurrences(complex_arrays),
        ("linear_recurrence",),
        rtol=CLOSE,
    ),
    Row(
        "running_shares",
        _shares,
        with_shape(lambda s: call(arrays("f", s, -1, 1), axis_of(s).map(lambda axis: axis % len(s))), min_dims=1),
        None,
        None,
        ("running_shares",),
    ),
]


def differences(operand):
    several = with_shape(lambda s: optional(call(operand(s)), n=st.integers(0, 4), axis=axis_of(s)), min_dims=1)
    ends = optional(call(operand((3,))), prepend=st.just(1), append=operand((2,)).map(lambda x: x.tolist()))
    return several | ends


def slopes(operand):
    places = st.just(np.array([0.0, 0.5, 2.0, 3.5]))
    return (
        optional(call(operand((3, 4))), edge_order=st.integers(1, 2))
        | optional(call(operand((4,)), places), edge_order=st.integers(1, 2))
        | optional(call(operand((4, 3)), places, 0.5), edge_order=st.integers(1, 2))
        | call(operand((3, 4)), places, axis=1)
        | call(operand((3, 2)), 2.0, axis=(1, 0))
    )


def integrals(operand):
    return (
        with_shape(lambda s: optional(call(operand(s)), axis=axis_of(s), dx=st.just(0.5)), min_dims=1)
        | call(operand((3, 2)), operand((3,)), axis=0)
        | call(operand((3, 2)), operand((3, 2)))
    )


DIFFERENCES = [
    plain("diff", differences(lambda s: arrays("fciub", s)), differences(smooth_arrays), ("diff",), rtol={}),
    plain(
        "ediff1d",
        optional(call(arrays("fci")), to_begin=st.just(1), to_end=st.just([2, 3])),
        optional(call(smooth_arrays()), to_begin=st.just(1.0)),
        rtol={},
    ),
    plain("gradient", slopes(lambda s: arrays("fci", s)), slopes(smooth_arrays)),
    plain("trapezoid", integrals(lambda s: arrays("fci", s)), integrals(smooth_arrays)),
]


def sliding(operand):
    length = st.integers(1, 4)
    return st.tuples(length, length).flatmap(
        lambda n: optional(call(operand(n[:1]), operand(n[1:])), mode=st.sampled_from(["full", "same", "valid"]))
    )


def between(x):
    """Points away from the knots at multiples of a half."""
    return np.floor(x * 2) / 2 + 0.2 + 0.1 * (x - np.floor(x))


KNOTS = np.array([-1.0, 0.0, 1.5])
POINTS = smooth_arrays(strategies.shapes(max_dims=2)).map(between)


def polynomials(operand):
    return st.integers(0, 4).flatmap(lambda n: with_shape(lambda s: call(operand((n,)), operand(s)), max_dims=2))


SIGNAL = [
    plain(
        "convolve", sliding(lambda s: arrays("fci", s)), sliding(smooth_arrays) | sliding(complex_arrays), ("slide",)
    ),
    plain("correlate", sliding(lambda s: arrays("fci", s)), sliding(smooth_arrays) | sliding(complex_arrays)),
    plain(
        "interp",
        optional(call(arrays("f"), KNOTS, arrays("fc", (3,))), left=st.just(0.5), right=st.just(2.0))
        | call(arrays("f"), KNOTS, arrays("f", (3,)), period=4.0),
        optional(call(POINTS, KNOTS, smooth_arrays((3,))), left=st.just(0.5))
        | call(POINTS, KNOTS, smooth_arrays((3,)), np.array(1.5), np.array(-2.5))
        | call(POINTS, KNOTS, complex_arrays((3,))),
        ("interp",),
        vary=shrunk,
    ),
    plain(
        "polyval",
        polynomials(lambda s: arrays("fci", s, -2, 2)),
        polynomials(smooth_arrays) | polynomials(complex_arrays),
        ("polyval",),
    ),
]


def nan_reduction(name, kinds, primitives=(), *, low=-4.0, high=4.0, min_side=0, **options):
    return plain(
        name,
        over_axes(lambda s: arrays(kinds, s, low, high), min_side=min_side, **options)
        | call(special_arrays("f"), axis=-1),
        over_axes(smooth_arrays, min_side=max(min_side, 2 if name in ("nanvar", "nanstd") else min_side)),
        primitives,
        vary=reordered,
    )


NAN_FUNCTIONS = [
    nan_reduction("nansum", "fci"),
    nan_reduction("nanprod", "fci", low=0, high=2),
    nan_reduction("nanmean", "fci", min_side=1),
    nan_reduction("nanvar", "fci", min_side=1),
    nan_reduction("nanstd", "fci", min_side=1),
    nan_reduction("nanmax", "fiu", ("nanmax",), min_side=1, initial=st.just(1)),
    nan_reduction("nanmin", "fiu", ("nanmin",), min_side=1, initial=st.just(1)),
    *[
        plain(
            name,
            over_axes(lambda s: arrays("fi", s), several=False, min_side=1) | call(special_arrays("f")),
            None,
            (name,),
            vary=reordered,
        )
        for name in ("nanargmax", "nanargmin")
    ],
]


def weighted(operand, weights):
    return (
        optional(call(operand((3, 2)), axis=st.integers(0, 1)), returned=st.booleans(), keepdims=st.booleans())
        | optional(call(operand((3, 2)), 0, weights((3,))), returned=st.booleans(), keepdims=st.booleans())
        | call(operand((3, 2)), weights=weights((3, 2)))
        | call(operand((2, 3, 2)), (1, 0), weights((3, 2)))
    )


def samples(operand):
    return (
        optional(call(operand((2, 3))), rowvar=st.booleans(), bias=st.booleans(), ddof=st.sampled_from([0, 1]))
        | call(operand((3,)), operand((3,)))
        | call(operand((2, 4)), aweights=[1.0, 2.0, 0.5, 0.25])
        | call(operand((2, 4)), fweights=[1, 2, 3, 1])
    )


def distinct(shape):
    return smooth_arrays(shape, 0.2, 2.0)


STATISTICS = [
    plain(
        "average",
        weighted(lambda s: arrays("fci", s), lambda s: arrays("f", s, 0.5, 2)),
        weighted(smooth_arrays, distinct),
    ),
    plain("ptp", over_axes(lambda s: arrays("fi", s), min_side=1), over_axes(smooth_arrays, min_side=1)),
    plain("cov", samples(lambda s: arrays("fci", s)), samples(smooth_arrays) | samples(complex_arrays)),
    plain(
        "corrcoef",
        optional(call(smooth_arrays((2, 4)) | complex_arrays((2, 4))), rowvar=st.booleans())
        | call(smooth_arrays((4,)), smooth_arrays((4,))),
        None,
        vary=reordered,
    ),
]

CUMULATIVE_ROWS: list[Row] = [*CUMULATION, *DIFFERENCES, *SIGNAL, *NAN_FUNCTIONS, *STATISTICS]
