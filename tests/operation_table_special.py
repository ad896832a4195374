"""Rows of the operation table for fgrad.special, against SciPy."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from operation_row import Row, arrays, call, smooth_arrays, with_broadcast_shapes, with_shape
from scipy import special as scipy_special

import fgrad as fg
from fgrad import special
from fgrad.core.bind import bind
from fgrad.core.primitive import registered_primitives

PRIMITIVES = {primitive.name: primitive for primitive in registered_primitives()}
CLOSE = {4: 2e-6, 8: 1e-13}


def _unary(name, low, high, smooth, *, primitives=True):
    return Row(
        name,
        getattr(special, name),
        call(arrays("f", None, low, high)),
        getattr(scipy_special, name),
        call(smooth_arrays(None, *smooth)),
        (name,) if primitives else (),
        rtol=CLOSE,
    )


def _binary(name, bounds, smooth, *, primitives=True):
    return Row(
        name,
        getattr(special, name),
        with_broadcast_shapes(lambda x, y: call(arrays("f", x, *bounds), arrays("f", y, *bounds))),
        getattr(scipy_special, name),
        with_broadcast_shapes(lambda x, y: call(smooth_arrays(x, *smooth), smooth_arrays(y, *smooth))),
        (name,) if primitives else (),
        rtol=CLOSE,
    )


def _over_one_axis(name):
    def build(values):
        return with_shape(lambda s: call(values(s), axis=st.integers(-len(s), len(s) - 1)), min_dims=1, min_side=1)

    return Row(
        f"special.{name}",
        getattr(special, name),
        build(lambda s: arrays("f", s)),
        getattr(scipy_special, name),
        build(smooth_arrays),
        rtol=CLOSE,
    )


def log_ndtr_curvature(x):
    """s (x + s), with s the density over the distribution function of the normal distribution."""
    slope = np.sqrt(2 / np.pi) / scipy_special.erfcx(-x / np.sqrt(2))  # to the last digits, which x + s cancels
    return slope * (x + slope)


SPECIAL_ROWS = [
    _unary("gammaln", 0.25, 14, (0.5, 12)),
    _unary("gamma", 0.25, 14, (0.5, 4)),
    _unary("digamma", 0.25, 14, (0.5, 12)),
    Row(
        "polygamma",
        special.polygamma,
        call(st.integers(0, 3), arrays("f", None, 0.25, 14)),
        lambda n, x: np.asarray(scipy_special.polygamma(n, np.float64(x)), x.dtype),
        call(st.integers(0, 2), smooth_arrays(None, 1, 6)),
        ("polygamma",),
        rtol=CLOSE,
    ),
    _binary("betaln", (0.25, 14), (0.5, 12)),
    _binary("beta", (0.25, 4), (0.5, 4)),
    Row(
        "i0",
        fg.i0,
        call(arrays("f")),
        scipy_special.i0,
        call(smooth_arrays()),
        ("bessel_i",),
        np.i0,
        CLOSE,
    ),
    *[_unary(name, -4, 4, (0.25, 3), primitives=False) for name in ("i0e", "i1", "i1e")],
    _unary("erfc", -4, 4, (-2, 2)),
    _unary("ndtr", -4, 4, (-2, 2)),
    _unary("ndtri", 0.0625, 0.9375, (0.1, 0.9)),
    _unary("log_ndtr", -8, 4, (-6, 2)),
    Row(
        "log_ndtr_slope",
        lambda x: bind(PRIMITIVES["log_ndtr_slope"], x),
        call(arrays("f", None, -8, 4)),
        lambda x: np.asarray(
            np.exp(-(np.float64(x) ** 2) / 2 - scipy_special.log_ndtr(np.float64(x))) / np.sqrt(2 * np.pi), x.dtype
        ),
        call(smooth_arrays(None, -6, 2)),
        ("log_ndtr_slope",),
        rtol=CLOSE,
    ),
    Row(
        "log_ndtr_curvature",
        lambda x: bind(PRIMITIVES["log_ndtr_curvature"], x),
        call(arrays("f", None, -8, 4)),
        lambda x: np.asarray(log_ndtr_curvature(np.float64(x)), x.dtype),
        call(smooth_arrays(None, -6, 2)),
        ("log_ndtr_curvature",),
        rtol=CLOSE,
    ),
    _unary("logit", 0.0625, 0.9375, (0.1, 0.9)),
    _unary("log_expit", -8, 8, (-2, 2), primitives=False),
    Row(
        "softplus",
        special.softplus,
        call(arrays("f")),
        lambda x: np.log1p(np.exp(x)),
        call(smooth_arrays()),
        rtol=CLOSE,
    ),
    _unary("entr", 0, 4, (0.5, 2)),
    _binary("rel_entr", (0.25, 4), (0.5, 2)),
    _binary("kl_div", (0.25, 4), (0.5, 2), primitives=False),
    _binary("xlogy", (0.25, 4), (0.5, 2)),
    _binary("xlog1py", (-0.5, 4), (0.5, 2)),
    _over_one_axis("softmax"),
    _over_one_axis("log_softmax"),
]

# The names that fgrad.special shares with fgrad itself have their rows there.
assert {special.erf, special.erfinv, special.logsumexp} == {fg.erf, fg.erfinv, fg.logsumexp}
