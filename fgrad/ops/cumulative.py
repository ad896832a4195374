"""Cumulative products, extrema and log-sums along an axis, and the linear recurrence that their derivatives are."""

from __future__ import annotations

from collections.abc import Callable
from math import prod as product
from typing import Any

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import ShapeError, at_user_line, refuse_out
from fgrad.core.primitive import Primitive, register
from fgrad.core.protocols import UFUNC_ACCUMULATIONS
from fgrad.core.shape import ShapeDtype
from fgrad.core.tensor import ArrayLike, ConcreteTensor, Tensor, adopt
from fgrad.ops.arguments import as_operand, axis_index, dtype_of, is_inexact, shape_of
from fgrad.ops.arithmetic import add, divide, multiply_no_nan, multiply_no_nan_p, subtract
from fgrad.ops.declare import as_batch, batch_over_axis, batch_size, stands_for
from fgrad.ops.exponential import exp
from fgrad.ops.indexing import getitem
from fgrad.ops.joining import concatenate
from fgrad.ops.logic import equal, greater, isinf, isnan, logical_and
from fgrad.ops.reductions import cumsum, cumsum_p, in_dtype
from fgrad.ops.selection import select_p
from fgrad.ops.structure import convert, fit_tangent, reshape_to, stop_gradient, sum_dtype, unbroadcast

__all__ = [
    "cumlogsumexp",
    "cummax",
    "cummin",
    "cumprod",
    "cumulative_prod",
    "cumulative_sum",
    "nancumprod",
    "nancumsum",
]

Array = np.ndarray[Any, Any]
Times = Callable[..., Any]

# The recurrence h_k = a_k h_(k-1) + b_k, with h_(-1) = 0. In matrices, with S the shift by one place, it solves
# (1 - diag(a) S) h = b; its adjoint solves the transposed equation s_k = b_k + a_(k+1) s_(k+1), which runs backwards.
# Both are one primitive, each the derivative of the other, and they are all that the functions below need.

_STEPWISE = 8


def _recur(a: Array, b: Array, times: Times) -> Array:
    """h_k = a_k h_(k-1) + b_k along the last axis: pairs of steps make one, so O(n) products in O(log n) turns."""
    length = b.shape[-1]
    out = np.empty(np.broadcast_shapes(a.shape, b.shape), np.result_type(a, b))
    if length <= _STEPWISE:
        out[..., :1] = b[..., :1]
        for k in range(1, length):
            out[..., k] = times(a[..., k], out[..., k - 1]) + b[..., k]
        return out
    whole = length - length % 2
    first, second = a[..., :whole:2], a[..., 1:whole:2]
    odd = _recur(times(second, first), times(second, b[..., :whole:2]) + b[..., 1:whole:2], times)
    out[..., 1:whole:2] = odd
    out[..., 0] = b[..., 0]
    later = odd[..., : (length - 1) // 2]
    out[..., 2::2] = times(a[..., 2::2], later) + b[..., 2::2]
    return out


def _evaluate_recurrence(a: Array, b: Array, axis: int, reverse: bool) -> Array:
    steps, terms = np.moveaxis(a, axis, -1), np.moveaxis(b, axis, -1)
    if reverse:
        steps, terms = np.roll(steps, -1, -1)[..., ::-1], terms[..., ::-1]
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        out = _recur(steps, terms, np.multiply)
        if out.dtype.kind in "fc" and np.isnan(out).any():
            # As in the derivatives of other products, a factor that is zero makes these zero, whatever it meets.
            out = _recur(steps, terms, multiply_no_nan_p.evaluate)
    return np.moveaxis(out[..., ::-1] if reverse else out, -1, axis)


def _earlier(x: Any, axis: int, fill: float) -> Any:
    """The values one place earlier along an axis, with `fill` before the first."""
    shape = shape_of(x)
    if not shape[axis]:
        return x
    start = np.full((*shape[:axis], 1, *shape[axis + 1 :]), fill, dtype_of(x))
    return concatenate([start, getitem(x, (*[slice(None)] * axis, slice(0, -1)))], axis)


def _later(x: Any, axis: int) -> Any:
    """The values one place later along an axis, with 0 after the last."""
    shape = shape_of(x)
    if not shape[axis]:
        return x
    end = np.zeros((*shape[:axis], 1, *shape[axis + 1 :]), dtype_of(x))
    return concatenate([getitem(x, (*[slice(None)] * axis, slice(1, None))), end], axis)


def _recurrence(a: Any, b: Any, axis: int, *, reverse: bool = False) -> Any:
    return bind(linear_recurrence_p, a, b, axis=axis, reverse=reverse)


def _recurrence_vjp(g: Any, needed: Any, out: Any, a: Any, b: Any, axis: int, reverse: bool) -> tuple[Any, Any]:
    other = _recurrence(a, g, axis, reverse=not reverse)
    forwards, backwards = (other, out) if reverse else (out, other)
    by_steps = multiply_no_nan(_earlier(forwards, axis, 0), backwards) if needed[0] else None
    return (
        None if by_steps is None else unbroadcast(by_steps, a),
        unbroadcast(other, b) if needed[1] else None,
    )


def _recurrence_jvp(tangents: Any, out: Any, a: Any, b: Any, axis: int, reverse: bool) -> Any:
    by_steps, terms = tangents
    if by_steps is not None:
        if reverse:
            moved = _later(multiply_no_nan(by_steps, out), axis)
        else:
            moved = multiply_no_nan(by_steps, _earlier(out, axis, 0))
        terms = moved if terms is None else add(terms, moved)
    return fit_tangent(_recurrence(a, terms, axis, reverse=reverse), out)


def _recurrence_rule(a: ShapeDtype, b: ShapeDtype, axis: int, reverse: bool) -> ShapeDtype:
    if a.shape != b.shape:
        message = f"the factors have shape {a.shape} and the terms {b.shape}; both must have one shape"
        raise ShapeError(message)
    return ShapeDtype(b.shape, np.result_type(a.dtype, b.dtype))


def _batch_recurrence(primitive: Primitive, batched: tuple[bool, ...], a: Any, b: Any, axis: int, reverse: bool) -> Any:
    size = batch_size(batched, (a, b))
    return _recurrence(as_batch(a, batched[0], size), as_batch(b, batched[1], size), axis + 1, reverse=reverse)


linear_recurrence_p = register(
    Primitive(
        "linear_recurrence",
        _evaluate_recurrence,
        _recurrence_rule,
        _recurrence_vjp,
        _recurrence_jvp,
        batch=_batch_recurrence,
    )
)


# Products.


def _cumprod_vjp(g: Any, needed: Any, out: Any, x: Any, axis: int) -> tuple[Any]:
    return (multiply_no_nan(_recurrence(x, g, axis, reverse=True), _earlier(out, axis, 1)),)


def _cumprod_jvp(tangents: Any, out: Any, x: Any, axis: int) -> Any:
    (tangent,) = tangents
    return fit_tangent(_recurrence(x, multiply_no_nan(tangent, _earlier(out, axis, 1)), axis), out)


cumprod_p = register(
    Primitive(
        "cumprod",
        lambda x, axis: x.cumprod(axis),
        lambda x, axis: ShapeDtype(x.shape, sum_dtype(x.dtype)),
        _cumprod_vjp,
        _cumprod_jvp,
        batch=batch_over_axis,
    )
)


def _along(x: Any, axis: Any, operation: str) -> tuple[Any, int]:
    """The operand and its axis as a number; without an axis, the elements in row-major order and their only one."""
    shape = shape_of(x)
    if axis is not None:
        return x, axis_index(axis, len(shape), operation)
    return (x if len(shape) == 1 else reshape_to(x, (product(shape),))), 0


@stands_for(np.cumprod)
def cumprod(a: ArrayLike, axis: int | None = None, dtype: Any = None, *, out: None = None) -> Tensor:
    """The products of the first 1, 2, ... elements along an axis; of those in row-major order when axis is None.

    With y the result, the derivative of y_k by x_i, i <= k, is the product of the other factors of y_k. All of them
    together are the recurrence t_k = x_k t_(k-1) + y_(k-1) dx_k, and for cotangents the one that runs backwards: no
    division, so they are right, to any order, however many of the elements are zero. dtypes are as in `cumsum`.

    Raises:
        ShapeError: the axis is out of range.

    >>> import fgrad as fg
    >>> fg.cumprod(fg.asarray([2.0, 3.0, 4.0]))
    Tensor([ 2.,  6., 24.], dtype=float64)
    >>> fg.grad(lambda x: fg.sum(fg.cumprod(x)))(fg.asarray([2.0, 0.0, 4.0]))
    Tensor([ 1., 10.,  0.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.cumprod")
    operand, place = _along(in_dtype(as_operand(a), dtype), axis, "cumprod")
    return in_dtype(bind(cumprod_p, operand, axis=place), dtype)


# The array API standard's forms.


def _cumulated(x: Any, axis: int | None, dtype: Any, operation: str) -> tuple[Any, int]:
    operand = in_dtype(as_operand(x), dtype)
    shape = shape_of(operand)
    if not shape:
        operand, shape = reshape_to(operand, (1,)), (1,)
    if axis is None and len(shape) > 1:
        message = f"[{operation}] a tensor of shape {shape} has more than one axis: say which, with axis="
        raise ShapeError(at_user_line(message))
    return operand, axis_index(0 if axis is None else axis, len(shape), operation)


def _earlier_too(result: Any, axis: int, initial: int) -> Any:
    """The result with the value of no elements before its first."""
    shape = result.shape
    return concatenate([np.full((*shape[:axis], 1, *shape[axis + 1 :]), initial, result.dtype), result], axis)


@stands_for(getattr(np, "cumulative_sum", None))  # NumPy 2.1 has it
def cumulative_sum(
    x: ArrayLike, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False, out: None = None
) -> Tensor:
    """The sums of the first 1, 2, ... elements along an axis; with `include_initial`, of the first 0, 1, 2, ...

    As `cumsum`, but a tensor of several axes needs `axis`. The cotangent of an element is the sum of the cotangents
    from its place on.

    Raises:
        ShapeError: the axis is out of range, or absent where there is more than one.

    >>> import fgrad as fg
    >>> fg.cumulative_sum(fg.asarray([1.0, 2.0, 3.0]), include_initial=True)
    Tensor([0., 1., 3., 6.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.cumulative_sum")
    operand, place = _cumulated(x, axis, dtype, "cumulative_sum")
    result = in_dtype(bind(cumsum_p, operand, axis=place, reverse=False), dtype)
    return _earlier_too(result, place, 0) if include_initial else result


@stands_for(getattr(np, "cumulative_prod", None))  # NumPy 2.1 has it
def cumulative_prod(
    x: ArrayLike, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False, out: None = None
) -> Tensor:
    """The products of the first 1, 2, ... elements along an axis; with `include_initial`, of the first 0, 1, 2, ...

    As `cumprod`, but a tensor of several axes needs `axis`.

    Raises:
        ShapeError: the axis is out of range, or absent where there is more than one.

    >>> import fgrad as fg
    >>> fg.cumulative_prod(fg.asarray([2.0, 3.0, 4.0]), include_initial=True)
    Tensor([ 1.,  2.,  6., 24.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.cumulative_prod")
    operand, place = _cumulated(x, axis, dtype, "cumulative_prod")
    result = in_dtype(bind(cumprod_p, operand, axis=place), dtype)
    return _earlier_too(result, place, 1) if include_initial else result


# Products and sums that leave NaN out.


def without_nan(x: Any, fill: int) -> Any:
    """The operand with a number in the places of NaN, to which no cotangent goes."""
    if type(x) is ConcreteTensor and x._array.dtype.kind in "fc":
        return adopt(select_p.evaluate(np.isnan(x._array), fill, x._array))
    return bind(select_p, isnan(x), fill, x) if is_inexact(dtype_of(x)) else x


@stands_for(np.nancumsum)
def nancumsum(a: ArrayLike, axis: int | None = None, dtype: Any = None, *, out: None = None) -> Tensor:
    """`cumsum` with NaN taken as 0; the derivative by a NaN is 0.

    Raises:
        ShapeError: the axis is out of range.

    >>> import fgrad as fg
    >>> fg.nancumsum(fg.asarray([1.0, fg.nan, 3.0]))
    Tensor([1., 1., 4.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.nancumsum")
    return cumsum(without_nan(as_operand(a), 0), axis, dtype)


@stands_for(np.nancumprod)
def nancumprod(a: ArrayLike, axis: int | None = None, dtype: Any = None, *, out: None = None) -> Tensor:
    """`cumprod` with NaN taken as 1; the derivative by a NaN is 0.

    Raises:
        ShapeError: the axis is out of range.

    >>> import fgrad as fg
    >>> fg.nancumprod(fg.asarray([2.0, fg.nan, 3.0]))
    Tensor([2., 2., 6.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.nancumprod")
    return cumprod(without_nan(as_operand(a), 1), axis, dtype)


# Extrema. With c_k the number of elements up to k that equal the extremum m_k, the tangent is the mean of theirs:
# t_k = a_k t_(k-1) + w_k dx_k, where w_k = 1 / c_k at such an element, and a_k = c_(k-1) / c_k where m stays.


def _evaluate_running_shares(x: Array, extremum: Array, axis: int) -> tuple[Array, Array]:
    own, reached = np.moveaxis(x, axis, -1), np.moveaxis(extremum, axis, -1)
    hits = (own == reached) | (np.not_equal(own, own) & np.not_equal(reached, reached))
    stays = np.zeros_like(hits)
    before, now = reached[..., :-1], reached[..., 1:]
    stays[..., 1:] = (before == now) | (np.not_equal(before, before) & np.not_equal(now, now))
    counts = _recur(stays.astype(float), hits.astype(float), np.multiply)
    kept = np.zeros_like(counts)
    kept[..., 1:] = stays[..., 1:] * counts[..., :-1] / counts[..., 1:]
    dtype = x.dtype if x.dtype.kind in "fc" else np.dtype(float)
    return tuple([np.moveaxis(part, -1, axis).astype(dtype) for part in (kept, hits / counts)])  # type: ignore[return-value]


def _running_shares_rule(x: ShapeDtype, extremum: ShapeDtype, axis: int) -> tuple[ShapeDtype, ShapeDtype]:
    share = ShapeDtype(x.shape, x.dtype if is_inexact(x.dtype) else np.dtype(float))
    return share, share


def _batch_running_shares(
    primitive: Primitive, batched: tuple[bool, ...], x: Any, extremum: Any, axis: int
) -> tuple[Any, Any]:
    size = batch_size(batched, (x, extremum))
    parts = [as_batch(operand, own, size) for operand, own in zip((x, extremum), batched, strict=True)]
    return bind(primitive, *parts, axis=axis + 1), (True, True)


running_shares_p = register(
    Primitive(
        "running_shares",
        _evaluate_running_shares,
        _running_shares_rule,
        batch=_batch_running_shares,
        locally_constant=True,
        multiple_results=True,
    )
)


def _running_vjp(g: Any, needed: Any, out: Any, x: Any, axis: int) -> tuple[Any]:
    kept, taken = bind(running_shares_p, x, out, axis=axis)
    return (multiply_no_nan(_recurrence(kept, g, axis, reverse=True), taken),)


def _running_jvp(tangents: Any, out: Any, x: Any, axis: int) -> Any:
    (tangent,) = tangents
    kept, taken = bind(running_shares_p, x, out, axis=axis)
    return fit_tangent(_recurrence(kept, multiply_no_nan(tangent, taken), axis), out)


def _running(name: str, ufunc: np.ufunc) -> Primitive:
    return register(
        Primitive(
            name,
            ufunc.accumulate,
            lambda x, axis: ShapeDtype(x.shape, x.dtype),
            _running_vjp,
            _running_jvp,
            batch=batch_over_axis,
        )
    )


cummax_p = _running("cummax", np.maximum)
cummin_p = _running("cummin", np.minimum)


def cummax(x: ArrayLike, /, axis: int | None = None) -> Tensor:
    """The largest of the first 1, 2, ... elements along an axis; of those in row-major order when axis is None.

    ``np.maximum.accumulate`` of a tensor is this. The cotangent goes to the largest element so far; n that are equally
    large take 1 / n of it each. From a NaN on the result is NaN, and the NaNs share its cotangent. The second
    derivative is zero.

    Raises:
        ShapeError: the axis is out of range.

    >>> import fgrad as fg
    >>> fg.cummax(fg.asarray([1.0, 3.0, 2.0]))
    Tensor([1., 3., 3.], dtype=float64)
    >>> fg.grad(lambda x: fg.sum(fg.cummax(x)))(fg.asarray([1.0, 3.0, 2.0]))
    Tensor([1., 2., 0.], dtype=float64)
    """
    operand, place = _along(as_operand(x), axis, "cummax")
    return bind(cummax_p, operand, axis=place)


def cummin(x: ArrayLike, /, axis: int | None = None) -> Tensor:
    """The smallest of the first 1, 2, ... elements along an axis; of those in row-major order when axis is None.

    ``np.minimum.accumulate`` of a tensor is this. The cotangent goes to the smallest element so far; n that are equally
    small take 1 / n of it each. From a NaN on the result is NaN, and the NaNs share its cotangent. The second
    derivative is zero.

    Raises:
        ShapeError: the axis is out of range.

    >>> import fgrad as fg
    >>> fg.cummin(fg.asarray([3.0, 1.0, 2.0]))
    Tensor([3., 1., 1.], dtype=float64)
    """
    operand, place = _along(as_operand(x), axis, "cummin")
    return bind(cummin_p, operand, axis=place)


# log-sum-exp of the first elements. With m the running maximum and E_k = sum exp(x_i - m_k), the tangent of
# m_k + log(E_k) is t_k = a_k t_(k-1) + w_k dx_k with w_k = exp(x_k - m_k) / E_k and
# a_k = exp(m_(k-1) - m_k) E_(k-1) / E_k. All exponents are at most 0, and no large result is subtracted from another.


def _exponential_of_excess(x: Any, top: Any) -> Any:
    """exp(x - top); where the top is infinite, 1 for what is +inf too and 0 for all else."""
    infinite = isinf(top)
    finite = exp(subtract(bind(select_p, infinite, 0, x), bind(select_p, infinite, 0, top)))
    alike = convert(logical_and(equal(x, top), greater(top, 0)), dtype_of(x))
    return bind(select_p, infinite, alike, finite)


def _log_weights(x: Any, axis: int) -> tuple[Any, Any]:
    top = stop_gradient(bind(cummax_p, x, axis=axis))
    carried = _exponential_of_excess(_earlier(top, axis, -np.inf), top)
    shares = _exponential_of_excess(x, top)
    total = _recurrence(carried, shares, axis)
    # Nothing but -inf so far: no weight at all.
    total = bind(select_p, equal(total, 0), 1, total)
    return divide(multiply_no_nan(carried, _earlier(total, axis, 0)), total), divide(shares, total)


def _cumlogsumexp_vjp(g: Any, needed: Any, out: Any, x: Any, axis: int) -> tuple[Any]:
    kept, taken = _log_weights(x, axis)
    return (multiply_no_nan(_recurrence(kept, g, axis, reverse=True), taken),)


def _cumlogsumexp_jvp(tangents: Any, out: Any, x: Any, axis: int) -> Any:
    (tangent,) = tangents
    kept, taken = _log_weights(x, axis)
    return fit_tangent(_recurrence(kept, multiply_no_nan(tangent, taken), axis), out)


cumlogsumexp_p = register(
    Primitive(
        "cumlogsumexp",
        np.logaddexp.accumulate,
        lambda x, axis: ShapeDtype(x.shape, x.dtype),
        _cumlogsumexp_vjp,
        _cumlogsumexp_jvp,
        batch=batch_over_axis,
    )
)


def cumlogsumexp(x: ArrayLike, /, axis: int | None = None) -> Tensor:
    """log(sum(exp(x))) of the first 1, 2, ... elements along an axis, without overflow; integers give float64.

    In row-major order when axis is None; ``np.logaddexp.accumulate`` of a tensor is this. The derivative of y_k by
    x_i, i <= k, is exp(x_i - y_k), computed from differences to the largest element so far. Where all elements so far
    are -inf the result is -inf, with the derivative 0; several of +inf share the cotangent evenly.

    Raises:
        ShapeError: the axis is out of range.
        DtypeError: x is complex.

    >>> import fgrad as fg
    >>> fg.cumlogsumexp(fg.asarray([1000.0, 1000.0]))
    Tensor([1000.        , 1000.69314718], dtype=float64)
    """
    operand = as_operand(x)
    if not is_inexact(dtype_of(operand)):
        operand = convert(operand, np.dtype(float))
    operand, place = _along(operand, axis, "cumlogsumexp")
    return bind(cumlogsumexp_p, operand, axis=place)


UFUNC_ACCUMULATIONS.update(
    {
        np.add: cumsum,
        np.multiply: cumprod,
        np.maximum: cummax,
        np.minimum: cummin,
        np.logaddexp: cumlogsumexp,
    }
)
