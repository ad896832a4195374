"""Selection among elements: where, maximum and minimum, clip, relu."""

from __future__ import annotations

from typing import Any, overload

import numpy as np

from fgrad.core.bind import bind, bind1, bind2, is_weak
from fgrad.core.errors import ShapeError, at_user_line, refuse_out
from fgrad.core.methods import operations
from fgrad.core.primitive import Primitive, register
from fgrad.core.shape import PYTHON_NUMBERS, ShapeDtype, result_dtype, shape_dtype_of
from fgrad.core.tensor import ArrayLike, ConcreteTensor, Tensor, adopt
from fgrad.ops.arguments import as_operand
from fgrad.ops.declare import batch_elementwise, elementwise, stands_for, ufunc_shape_rule
from fgrad.ops.logic import equal, greater, isnan, less, logical_or
from fgrad.ops.structure import unbroadcast

__all__ = ["clip", "maximum", "minimum", "relu", "where"]

_broadcast_rule = ufunc_shape_rule(np.equal)


def _select_rule(condition: ShapeDtype, x: ShapeDtype, y: ShapeDtype) -> ShapeDtype:
    shape = _broadcast_rule(_broadcast_rule(condition, x), y).shape
    return ShapeDtype(shape, result_dtype(x, y))


def _select_vjp(g: Any, needed: Any, out: Any, condition: Any, x: Any, y: Any) -> tuple[Any, Any, Any]:
    return (
        None,
        unbroadcast(bind(select_p, condition, g, 0), x) if needed[1] else None,
        unbroadcast(bind(select_p, condition, 0, g), y) if needed[2] else None,
    )


select_p = register(
    Primitive(
        "where",
        np.where,
        _select_rule,
        _select_vjp,
        linear=slice(1, 3),
        batch=batch_elementwise,
        takes_numbers=True,
    )
)


@overload
def where(condition: ArrayLike, x1: ArrayLike, x2: ArrayLike, /) -> Tensor: ...
@overload
def where(condition: ArrayLike, /, *, size: int | None = None, fill_value: Any = None) -> tuple[Tensor, ...]: ...
@stands_for(np.where)
def where(
    condition: ArrayLike,
    x1: ArrayLike | None = None,
    x2: ArrayLike | None = None,
    /,
    *,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """x1 where the condition is true, x2 elsewhere, with broadcasting; of one argument, what `nonzero` gives.

    The cotangent goes to the one that was selected and zero to the other, so what the other's derivative is there does
    not matter: ``where(x > 0, log(x), 0)`` has the gradient 0 at 0.

    Raises:
        ShapeError: the shapes do not broadcast; one of x1 and x2 is missing; `size` or `fill_value`, which are those of
            `nonzero`, are given with them.

    >>> import fgrad as fg
    >>> x = fg.asarray([1.0, -2.0])
    >>> fg.where(x > 0, x, 0.0)
    Tensor([1., 0.], dtype=float64)
    >>> fg.where(x > 0)
    (Tensor([0], dtype=int64),)
    """
    if x1 is None or x2 is None or size is not None or fill_value is not None:
        return _where_nonzero(condition, x1, x2, size, fill_value)
    return bind(select_p, condition, x1, x2)


def _where_nonzero(condition: Any, x1: Any, x2: Any, size: Any, fill_value: Any) -> Any:
    if x1 is not None or x2 is not None:
        message = "[where] takes either a condition alone, with size= and fill_value=, or both x1 and x2 besides"
        raise ShapeError(at_user_line(message))
    return operations.nonzero(as_operand(condition), size=size, fill_value=fill_value)


def _winners_share(g: Any, winner: Any, x: Any, y: Any) -> Any:
    return bind(select_p, equal(x, y), g * 0.5, bind(select_p, winner(x, y), g, 0))


maximum_p = elementwise(
    "maximum",
    np.maximum,
    lambda g, out, x, y: _winners_share(g, greater, x, y),
    lambda g, out, x, y: _winners_share(g, less, x, y),
)
minimum_p = elementwise(
    "minimum",
    np.minimum,
    lambda g, out, x, y: _winners_share(g, less, x, y),
    lambda g, out, x, y: _winners_share(g, greater, x, y),
)
relu_p = elementwise(
    "relu",
    np.positive,
    lambda g, out, x: bind(select_p, greater(out, 0), g, 0),
    evaluate=lambda x: np.maximum(x, 0),
)


@stands_for(np.maximum)
def maximum(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """The larger of x1 and x2, elementwise; NaN where either is NaN.

    The cotangent goes to the larger; where both are equal each takes half.

    >>> import fgrad as fg
    >>> fg.maximum(fg.asarray([1.0, 5.0]), 3.0)
    Tensor([3., 5.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.maximum")
    return bind2(maximum_p, x1, x2)


@stands_for(np.minimum)
def minimum(x1: ArrayLike, x2: ArrayLike, /, *, out: None = None) -> Tensor:
    """The smaller of x1 and x2, elementwise; NaN where either is NaN.

    The cotangent goes to the smaller; where both are equal each takes half.

    >>> import fgrad as fg
    >>> fg.minimum(fg.asarray([1.0, 5.0]), 3.0)
    Tensor([1., 3.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.minimum")
    return bind2(minimum_p, x1, x2)


def relu(x: ArrayLike, /) -> Tensor:
    """max(x, 0), elementwise; the derivative is 1 for x > 0 and 0 elsewhere, at 0 too. NaN stays NaN.

    >>> import fgrad as fg
    >>> fg.relu(fg.asarray([1.5, -2.0]))
    Tensor([1.5, 0. ], dtype=float64)
    """
    return bind1(relu_p, x)


def _is_beyond(compare: Any, x: Any, limit: Any) -> Any:
    # A limit that is NaN is what is returned, as in NumPy.
    if type(limit) in PYTHON_NUMBERS:
        return True if type(limit) in (float, complex) and np.isnan(limit) else compare(x, limit)
    return logical_or(compare(x, limit), isnan(limit)) if limit.dtype.kind in "fc" else compare(x, limit)


# Untraced, real numbers as limits of real numbers need no tensors in between.
_LIMITS = frozenset((int, float, type(None)))


def _evaluate_clip(x: Any, low: Any, high: Any) -> Any:
    if low is not None:
        x = select_p.evaluate(np.less(x, low), low, x)
    return x if high is None else select_p.evaluate(np.greater(x, high), high, x)


@stands_for(np.clip)
def clip(
    x: ArrayLike,
    /,
    min: ArrayLike | None = None,
    max: ArrayLike | None = None,
    *,
    a_min: ArrayLike | None = None,
    a_max: ArrayLike | None = None,
    out: None = None,
) -> Tensor:
    """x limited to the range from `min` to `max`, elementwise with broadcasting; None leaves a side open.

    The derivative by x is 1 inside the range and at its edges, 0 outside, where the edge takes the cotangent. When min
    exceeds max the result is max; it is NaN where x or a limit is. `a_min` and `a_max` are NumPy's older names of the
    limits.

    >>> import fgrad as fg
    >>> fg.clip(fg.asarray([-1.0, 0.5, 2.0]), 0.0, 1.0)
    Tensor([0. , 0.5, 1. ], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.clip")
    low, high = [
        limit if limit is None or type(limit) in PYTHON_NUMBERS else as_operand(limit)
        for limit in (a_min if min is None else min, a_max if max is None else max)
    ]
    limited: Any = as_operand(x)
    quick = type(low) in _LIMITS and type(high) in _LIMITS and low == low and high == high  # noqa: PLR0124 - no NaN
    if quick and type(limited) is ConcreteTensor and limited._array.dtype.kind == "f":
        return adopt(np.asarray(_evaluate_clip(limited._array, low, high)))
    if low is not None and high is not None and not is_weak(limited):
        # The three promote together: a number between two arrays must not widen the first.
        dtype = result_dtype(shape_dtype_of(limited), shape_dtype_of(low), shape_dtype_of(high))
        limited = limited if limited.dtype == dtype else operations.astype(limited, dtype)
    if low is not None:
        limited = where(_is_beyond(less, limited, low), low, limited)
    if high is not None:
        limited = where(_is_beyond(greater, limited, high), high, limited)
    return limited if isinstance(limited, Tensor) else where(True, limited, limited)


operations.clip = clip
