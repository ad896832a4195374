"""Activation functions: sigmoid, softplus, softmax and log_softmax, composed so that nothing overflows.

Floating-point dtypes are kept; integers and booleans give float64.
"""

from __future__ import annotations

import fgrad as fg

__all__ = ["log_softmax", "relu", "sigmoid", "softmax", "softplus"]

relu = fg.relu


def _as_floating(x: fg.ArrayLike) -> fg.Tensor:
    # Differences and negatives of unsigned integers wrap around.
    tensor = fg.asarray(x)
    return tensor.astype(float) if tensor.dtype.kind in "biu" else tensor


def sigmoid(x: fg.ArrayLike) -> fg.Tensor:
    """1 / (1 + exp(-x)), elementwise; the derivative is sigmoid(x) sigmoid(-x).

    The exponential is only taken of negative numbers, so it never overflows, and small values keep all their digits.

    >>> from fgrad import nn
    >>> nn.sigmoid(fg.asarray([-1000.0, 0.0, 1000.0]))
    Tensor([0. , 0.5, 1. ], dtype=float64)
    """
    x = _as_floating(x)
    positive = x >= 0
    decayed = fg.exp(fg.where(positive, -x, x))
    return fg.where(positive, 1.0, decayed) / (decayed + 1.0)


def softplus(x: fg.ArrayLike) -> fg.Tensor:
    """log(1 + exp(x)), elementwise, a smooth relu; the derivative is sigmoid(x).

    >>> from fgrad import nn
    >>> nn.softplus(fg.asarray([-1000.0, 0.0, 1000.0]))
    Tensor([0.00000000e+00, 6.93147181e-01, 1.00000000e+03], dtype=float64)
    """
    x = _as_floating(x)
    positive = x >= 0
    decayed = fg.exp(fg.where(positive, -x, x))
    return fg.where(positive, x, 0) + fg.log1p(decayed)


def shift_to_maximum(x: fg.ArrayLike, axis: int | tuple[int, ...] | None) -> fg.Tensor:
    """x minus its maximum along the axis: the softmax is the same, and no exponential overflows.

    The maximum is a constant here, since the softmax does not depend on it.
    """
    x = _as_floating(x)
    return x - fg.max(fg.stop_gradient(x), axis=axis, keepdims=True)


def softmax(x: fg.ArrayLike, axis: int | tuple[int, ...] | None = -1) -> fg.Tensor:
    """exp(x) / sum(exp(x)) along an axis (or several, or all for None); the Jacobian is diag(p) - p p^T.

    An entry of -inf has probability 0 and the derivative 0. Where all entries are -inf there is no distribution: the
    result is NaN there, with NumPy's warning.

    >>> from fgrad import nn
    >>> nn.softmax(fg.asarray([1e4, 1e4, -1e4], dtype="float32"))
    Tensor([0.5, 0.5, 0. ], dtype=float32)
    """
    exponentials = fg.exp(shift_to_maximum(x, axis))
    return exponentials / fg.sum(exponentials, axis=axis, keepdims=True)


def log_softmax(x: fg.ArrayLike, axis: int | tuple[int, ...] | None = -1) -> fg.Tensor:
    """log(softmax(x)) = x - logsumexp(x) along an axis (or several, or all for None).

    The maximum is subtracted first, so that large numbers cost no digits. An entry of -inf gives -inf. Where all
    entries are -inf there is no distribution: the result is NaN there, with NumPy's warning.

    >>> from fgrad import nn
    >>> nn.log_softmax(fg.asarray([1e4, 1e4], dtype="float32"))
    Tensor([-0.6931472, -0.6931472], dtype=float32)
    """
    shifted = shift_to_maximum(x, axis)
    return shifted - fg.log(fg.sum(fg.exp(shifted), axis=axis, keepdims=True))
