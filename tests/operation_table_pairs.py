"""Rows of the operation table for functions of pairs of elements, angles, and the parts of a number."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from operation_row import (
    CLOSE,
    ULPS,
    Row,
    arrays,
    binary,
    call,
    complex_arrays,
    optional,
    over_axes,
    reordered,
    smooth_arrays,
    special_arrays,
    thinned,
    unary,
    with_broadcast_shapes,
)

import fgrad as fg
from fgrad.core.bind import bind
from fgrad.core.primitive import registered_primitives
from fgrad.ops.pairs import logistic

PRIMITIVES = {primitive.name: primitive for primitive in registered_primitives()}


def _share(x, y):
    return np.exp(x - np.logaddexp(x, y))


def _sinc_slope(x):
    """The derivative of sinc, away from 0."""
    u = np.pi * x.astype(np.result_type(x, float))
    return ((np.cos(u) - np.sin(u) / u) / u * np.pi).astype(x.dtype)


def _whole(values):
    return values.map(lambda x: x.astype(np.int32))


PAIR_ROWS = [
    binary("logaddexp", "fh", smooth=((-2, 2), (-2, 2))),
    binary("logaddexp2", "fh", smooth=((-2, 2), (-2, 2))),
    Row(
        "logaddexp_share",
        lambda x, y: bind(PRIMITIVES["logaddexp_share"], x, y),
        with_broadcast_shapes(lambda x, y: call(arrays("f", x), arrays("f", y))),
        _share,
        with_broadcast_shapes(lambda x, y: call(smooth_arrays(x), smooth_arrays(y))),
        ("logaddexp_share",),
        rtol=CLOSE,
    ),
    Row(
        "logistic",
        logistic,
        call(arrays("f")),
        lambda x: 1 / (1 + np.exp(-x)),
        call(smooth_arrays()),
        rtol=CLOSE,
    ),
    binary("hypot", "fh", smooth=((-2, 2), (-2, 2))),
    binary("arctan2", "fh", smooth=((-2, 2), (0.1, 2))),
    binary("fmod", "fiu", right_bounds=(1, 4), smooth=((4.3, 4.6), (1, 1.05))),
    binary("float_power", "fhc", bounds=(0.25, 3), smooth=((0.5, 2), (-2, 2)), rtol=ULPS),
    Row(
        "divmod",
        fg.divmod,
        with_broadcast_shapes(lambda x, y: call(arrays("fiu", x), arrays("fiu", y, 1, 4))),
        np.divmod,
        with_broadcast_shapes(lambda x, y: call(smooth_arrays(x, 4.3, 4.6), smooth_arrays(y, 1, 1.05))),
        counterpart=np.divmod,
    ),
    binary("fmax", "fhciub", smooth=((-2, 0), (0.1, 2))),
    binary("fmin", "fhciub", smooth=((-2, 0), (0.1, 2))),
    Row(
        "fmax of missing numbers",
        fg.fmax,
        call(special_arrays("fh"), 0.5),
        np.fmax,
        counterpart=np.fmax,
    ),
    binary("copysign", "fh", smooth=((0.1, 2), (-2, 2))),
    Row(
        "heaviside",
        fg.heaviside,
        with_broadcast_shapes(lambda x, y: call(arrays("fh", x, -1, 1), arrays("fh", y))) | call(arrays("f"), 0.5),
        np.heaviside,
        # Constant by the first operand; at 0, which no difference may leave, it is the second one.
        with_broadcast_shapes(lambda x, y: call(smooth_arrays(x), smooth_arrays(y)))
        | call(arrays("i").map(np.zeros_like), smooth_arrays(())),
        ("heaviside",),
        np.heaviside,
        vary=thinned,
    ),
    binary("nextafter", "fh", smooth=((0.5, 2), (-2, 2))),
    Row(
        "ldexp",
        fg.ldexp,
        with_broadcast_shapes(lambda x, y: call(arrays("fh", x), _whole(arrays("i", y, -3, 3)))),
        np.ldexp,
        with_broadcast_shapes(lambda x, y: call(smooth_arrays(x), _whole(arrays("i", y, -3, 3)))),
        ("ldexp",),
        np.ldexp,
    ),
    binary("gcd", "iv", bounds=(0, 7)),
    binary("lcm", "iv", bounds=(0, 7)),
    # Angles.
    unary("cbrt", "fh", smooth=(0.5, 3)),
    unary("deg2rad", "fh", smooth=(-2, 2)),
    unary("rad2deg", "fh", smooth=(-2, 2)),
    unary("sinc", "fhci", smooth=(-2, 2), holomorphic=True, rtol=ULPS),
    Row(
        "sinc_derivative",
        lambda x: bind(PRIMITIVES["sinc_derivative"], x, order=1),
        call(arrays("fc", None, 0.5, 4)),
        _sinc_slope,
        call(smooth_arrays()) | call(complex_arrays()),
        ("sinc_derivative",),
        rtol={4: 2e-6, 8: 1e-13},
    ),
    Row(
        "angle",
        fg.angle,
        call(arrays("fhci", None, 0.25), deg=st.booleans()),
        np.angle,
        call(smooth_arrays(None, 0.1, 2)) | call(complex_arrays(None, 0.1, 2)),
        counterpart=np.angle,
        rtol=ULPS,
    ),
    Row(
        "unwrap",
        fg.unwrap,
        over_axes(
            lambda s: arrays("f", s), several=False, keepdims=False, min_dims=1, min_side=1, period=st.just(5.0)
        ).filter(lambda c: c.kwargs.get("axis", 0) is not None),
        np.unwrap,
        # No difference comes near to pi, where there is a jump.
        over_axes(lambda s: smooth_arrays(s, -1.5, 1.5), several=False, keepdims=False, min_dims=1, min_side=1).filter(
            lambda c: c.kwargs.get("axis", 0) is not None
        ),
        ("unwrap",),
        np.unwrap,
        vary=reordered,
    ),
    # Parts.
    Row("signbit", fg.signbit, call(arrays("fh")), np.signbit, None, ("signbit",), np.signbit),
    Row(
        "spacing",
        fg.spacing,
        call(arrays("fh")),
        np.spacing,
        call(smooth_arrays(None, 1.1, 1.9)),
        ("spacing",),
        exact=True,
    ),
    Row(
        "bitwise_count",
        fg.bitwise_count,
        call(arrays("iu")),
        np.bitwise_count,
        None,
        ("bitwise_count",),
        np.bitwise_count,
        vary=reordered,
    ),
    unary("fabs", "fh", smooth=(0.1, 2)),
    Row("fix", fg.fix, call(arrays("fh")), np.fix, call(smooth_arrays(None, 0.1, 0.4)), counterpart=np.fix),
    Row("modf", fg.modf, call(arrays("fh")), np.modf, call(smooth_arrays(None, 0.1, 0.9)), ("modf",), np.modf),
    Row("frexp", fg.frexp, call(arrays("fh")), np.frexp, call(smooth_arrays(None, 1.1, 1.9)), ("frexp",), np.frexp),
    *[
        Row(name, getattr(fg, name), call(special_arrays("fh")), getattr(np, name), counterpart=getattr(np, name))
        for name in ("isposinf", "isneginf")
    ],
    *[
        Row(name, getattr(fg, name), call(arrays("cfi")), getattr(np, name), counterpart=getattr(np, name))
        for name in ("isreal", "iscomplex")
    ],
    *[
        Row(name, getattr(fg, name), call(arrays("cf")), getattr(np, name), counterpart=getattr(np, name), staged=False)
        for name in ("isrealobj", "iscomplexobj")
    ],
    Row(
        "array_equiv",
        fg.array_equiv,
        with_broadcast_shapes(lambda x, y: call(arrays("fi", x, 0, 1), arrays("fi", y, 0, 1))),
        np.array_equiv,
        counterpart=np.array_equiv,
        staged=False,
        unbatched="its result is a bool of Python",
    ),
    Row(
        "real_if_close",
        fg.real_if_close,
        call(arrays("c")),
        np.real_if_close,
        counterpart=np.real_if_close,
        staged=False,
        unbatched="the dtype of its result depends on values",
    ),
    Row(
        "nan_to_num",
        fg.nan_to_num,
        optional(call(special_arrays("fhc")), nan=st.just(1.5), posinf=st.just(2.0), neginf=st.just(-3.0)),
        np.nan_to_num,
        call(smooth_arrays()) | call(complex_arrays()),
        counterpart=np.nan_to_num,
    ),
    Row(
        "join_complex",
        lambda x, y: bind(PRIMITIVES["join_complex"], x, y),
        with_broadcast_shapes(lambda x, y: call(arrays("f", x), arrays("f", y))),
        lambda x, y: (x + 1j * y).astype(np.result_type(x, y, np.complex64)),
        with_broadcast_shapes(lambda x, y: call(smooth_arrays(x), smooth_arrays(y))),
        ("join_complex",),
    ),
]
