"""Rows of the operation table for the primitives that hold functions: custom rules and checkpoint."""

from __future__ import annotations

import numpy as np
from operation_row import CLOSE, Row, arrays, call, smooth_arrays, with_shape

import fgrad as fg


@fg.custom_jvp
def by_tangents(x, y):
    return fg.sin(x) * y


@by_tangents.defjvp
def by_tangents_rule(primals, tangents):
    (x, y), (dx, dy) = primals, tangents
    return by_tangents(x, y), fg.cos(x) * y * dx + fg.sin(x) * dy


@fg.custom_vjp
def by_cotangents(x, y):
    return fg.sin(x) * y


def forward(x, y):
    return by_cotangents(x, y), (x, y)


def backward(residuals, g):
    x, y = residuals
    return (g * fg.cos(x) * y).astype(x.dtype), (g * fg.sin(x)).astype(y.dtype)


by_cotangents.defvjp(forward, backward)


@fg.checkpoint
def by_checkpoint(x, y):
    return fg.sin(x) * y


def _row(name, function, modes=("fwd", "rev")):
    return Row(
        name,
        function,
        with_shape(lambda s: call(arrays("f", s), arrays("f", s))),
        lambda x, y: np.sin(x) * y,
        with_shape(lambda s: call(smooth_arrays(s), smooth_arrays(s))),
        (name,),
        rtol=CLOSE,
        modes=modes,
    )


CUSTOM_ROWS = [
    _row("custom_jvp", by_tangents),
    _row("custom_vjp", by_cotangents, modes=("rev",)),
    _row("checkpoint", by_checkpoint),
]
