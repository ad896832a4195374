"""Reductions that leave NaN out: sums, products, moments, extrema and their positions."""

from __future__ import annotations

from typing import Any

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import ShapeError, at_user_line, refuse_out
from fgrad.core.primitive import Primitive, register
from fgrad.core.protocols import UFUNC_REDUCTIONS
from fgrad.core.shape import ShapeDtype
from fgrad.core.tensor import ArrayLike, ConcreteTensor, Tensor, adopt
from fgrad.ops.arguments import as_operand, axis_index, axis_tuple, dtype_of, is_inexact, shape_of
from fgrad.ops.arithmetic import conj, divide, multiply, multiply_no_nan, real, square, subtract
from fgrad.ops.cumulative import without_nan
from fgrad.ops.declare import batch_over_axes, constant, stands_for
from fgrad.ops.exponential import sqrt
from fgrad.ops.logic import equal, isnan, less_equal, logical_and, logical_not, not_equal
from fgrad.ops.moments import mean, std, var
from fgrad.ops.products import prod
from fgrad.ops.reductions import (
    _batch_position,
    count_elements,
    extremum_share_p,
    in_dtype,
    initial_value,
    is_given,
    masked,
    same_dtype_rule,
)
from fgrad.ops.reductions import max as maximum_of
from fgrad.ops.reductions import min as minimum_of
from fgrad.ops.reductions import sum as sum_of
from fgrad.ops.selection import maximum, minimum, select_p
from fgrad.ops.structure import broadcast, convert, fit_tangent, reduce_sum, reduced_shape, reshape_to, restore_axes

__all__ = ["nanargmax", "nanargmin", "nanmax", "nanmean", "nanmin", "nanprod", "nanstd", "nansum", "nanvar"]

_NAN = float("nan")


@stands_for(np.nansum)
def nansum(
    a: ArrayLike,
    axis: int | tuple[int, ...] | None = None,
    dtype: Any = None,
    *,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
    out: None = None,
) -> Tensor:
    """`sum` of what is not NaN; 0 where everything is. The derivative by a NaN is 0.

    Raises:
        ShapeError: an axis is out of range or named twice; `where` does not broadcast to a.

    >>> import fgrad as fg
    >>> fg.nansum(fg.asarray([1.0, fg.nan, 3.0]))
    Tensor(4., dtype=float64)
    """
    if out is not None:
        refuse_out("fg.nansum")
    return sum_of(without_nan(as_operand(a), 0), axis, dtype, keepdims=keepdims, initial=initial, where=where)


@stands_for(np.nanprod)
def nanprod(
    a: ArrayLike,
    axis: int | tuple[int, ...] | None = None,
    dtype: Any = None,
    *,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
    out: None = None,
) -> Tensor:
    """`prod` of what is not NaN; 1 where everything is. The derivative by a NaN is 0.

    Raises:
        ShapeError: an axis is out of range or named twice; `where` does not broadcast to a.

    >>> import fgrad as fg
    >>> fg.nanprod(fg.asarray([2.0, fg.nan, 3.0]))
    Tensor(6., dtype=float64)
    """
    if out is not None:
        refuse_out("fg.nanprod")
    return prod(without_nan(as_operand(a), 1), axis, dtype, keepdims=keepdims, initial=initial, where=where)


# Moments.


def _numbers(x: Any, where: Any) -> Any:
    """Where the operand is not NaN and selected."""
    present = logical_not(isnan(x))
    return logical_and(present, not_equal(as_operand(where), 0)) if is_given(where) else present


def _count(present: Any, axes: tuple[int, ...], keepdims: bool, dtype: np.dtype[Any]) -> Any:
    return convert(reduce_sum(present, axes, keepdims=keepdims), dtype)


def _average(values: Any, count: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """The mean of values that are 0 where there is none."""
    # Divided by NaN where there is nothing, the mean is NaN without a warning, and passes nothing on.
    return divide(reduce_sum(values, axes, keepdims=keepdims), bind(select_p, equal(count, 0), _NAN, count))


@stands_for(np.nanmean)
def nanmean(
    a: ArrayLike,
    axis: int | tuple[int, ...] | None = None,
    dtype: Any = None,
    *,
    keepdims: bool = False,
    where: ArrayLike | None = None,
    out: None = None,
) -> Tensor:
    """`mean` of what is not NaN; NaN, without a warning, where everything is. The derivative by a NaN is 0.

    Raises:
        ShapeError: an axis is out of range or named twice; `where` does not broadcast to a.

    >>> import fgrad as fg
    >>> fg.nanmean(fg.asarray([1.0, fg.nan, 3.0]))
    Tensor(2., dtype=float64)
    """
    if out is not None:
        refuse_out("fg.nanmean")
    x = in_dtype(as_operand(a), dtype)
    if not is_inexact(dtype_of(x)):
        return mean(x, axis, keepdims=keepdims, where=where)
    axes = axis_tuple(axis, len(shape_of(x)), "nanmean")
    _require_mask(x, where, "nanmean")
    if type(x) is ConcreteTensor and not is_given(where):
        return adopt(np.asarray(_known_mean(x._array, axes, keepdims)))
    present = _numbers(x, where)
    count = _count(present, axes, keepdims, dtype_of(x))
    return _average(bind(select_p, present, x, 0), count, axes, keepdims)


# Untraced, the same steps with NumPy, which need no tensors in between.


def _known_mean(x: Any, axes: Any, keepdims: Any) -> Any:
    present = ~np.isnan(x)
    count = np.add.reduce(present, axis=axes, keepdims=keepdims).astype(x.dtype)
    return _known_average(np.where(present, x, 0), count, axes, keepdims)


def _known_average(values: Any, count: Any, axes: Any, keepdims: Any) -> Any:
    return np.add.reduce(values, axis=axes, keepdims=keepdims) / np.where(count == 0, _NAN, count)


def _known_variance(x: Any, axes: Any, keepdims: Any, freedom: float) -> Any:
    present = ~np.isnan(x)
    values = np.where(present, x, 0)
    count = np.add.reduce(present, axis=axes, keepdims=True).astype(x.dtype)
    deviation = np.where(present, values - _known_average(values, count, axes, True), 0)
    squares = (deviation * deviation.conj()).real if x.dtype.kind == "c" else np.square(deviation)
    count = count.real - freedom
    variance = np.add.reduce(squares, axis=axes, keepdims=True) / np.where(count <= 0, _NAN, count)
    return variance if keepdims else variance.reshape(reduced_shape(x.shape, axes, keepdims=False))


def _require_mask(x: Any, where: Any, operation: str) -> None:
    if is_given(where):
        masked(x, where, 0, operation)


@stands_for(np.nanvar)
def nanvar(
    a: ArrayLike,
    axis: int | tuple[int, ...] | None = None,
    dtype: Any = None,
    *,
    ddof: float = 0,
    keepdims: bool = False,
    where: ArrayLike | None = None,
    mean: ArrayLike | None = None,
    correction: float | None = None,
    out: None = None,
) -> Tensor:
    """`var` of what is not NaN, whose arguments it takes; NaN, without a warning, where no more than ddof is left.

    The derivative by a NaN is 0.

    Raises:
        ShapeError: an axis is out of range or named twice; `where` does not broadcast to a; both ddof and correction
            are given.

    >>> import fgrad as fg
    >>> fg.nanvar(fg.asarray([1.0, fg.nan, 3.0]), ddof=1)
    Tensor(2., dtype=float64)
    """
    if out is not None:
        refuse_out("fg.nanvar")
    x = in_dtype(as_operand(a), dtype)
    if not is_inexact(dtype_of(x)):
        return var(x, axis, ddof=ddof, keepdims=keepdims, where=where, mean=mean, correction=correction)
    if correction is not None and ddof != 0:
        message = "[nanvar] ddof and correction are two names of one number; give one of them"
        raise ShapeError(at_user_line(message))
    freedom = float(ddof if correction is None else correction)
    axes = axis_tuple(axis, len(shape_of(x)), "nanvar")
    _require_mask(x, where, "nanvar")
    if type(x) is ConcreteTensor and mean is None and not is_given(where):
        return adopt(_known_variance(x._array, axes, keepdims, freedom))
    present = _numbers(x, where)
    values = bind(select_p, present, x, 0)
    count = _count(present, axes, True, dtype_of(x))
    center = _average(values, count, axes, True) if mean is None else mean
    deviation = bind(select_p, present, subtract(values, center), 0)
    squares = real(multiply(deviation, conj(deviation))) if dtype_of(x).kind == "c" else square(deviation)
    count = subtract(real(count) if dtype_of(x).kind == "c" else count, freedom)
    variance = divide(reduce_sum(squares, axes, keepdims=True), bind(select_p, less_equal(count, 0), _NAN, count))
    return variance if keepdims else reshape_to(variance, reduced_shape(shape_of(x), axes, keepdims=False))


@stands_for(np.nanstd)
def nanstd(
    a: ArrayLike,
    axis: int | tuple[int, ...] | None = None,
    dtype: Any = None,
    *,
    ddof: float = 0,
    keepdims: bool = False,
    where: ArrayLike | None = None,
    mean: ArrayLike | None = None,
    correction: float | None = None,
    out: None = None,
) -> Tensor:
    """`std` of what is not NaN: the square root of `nanvar`, whose arguments it takes.

    The derivative by a NaN is 0, and so is every derivative where all that is left is equal, as in `std`.

    Raises:
        ShapeError: an axis is out of range or named twice; `where` does not broadcast to a; both ddof and correction
            are given.

    >>> import fgrad as fg
    >>> fg.nanstd(fg.asarray([1.0, fg.nan, 3.0]))
    Tensor(1., dtype=float64)
    """
    if out is not None:
        refuse_out("fg.nanstd")
    x = in_dtype(as_operand(a), dtype)
    if not is_inexact(dtype_of(x)):
        return std(x, axis, ddof=ddof, keepdims=keepdims, where=where, mean=mean, correction=correction)
    variance = nanvar(x, axis, ddof=ddof, keepdims=keepdims, where=where, mean=mean, correction=correction)
    if type(variance) is ConcreteTensor:
        return sqrt(variance)  # what follows matters to derivatives alone
    flat = equal(variance, 0)
    return bind(select_p, flat, 0, sqrt(bind(select_p, flat, 1, variance)))


# Extrema.


def _share(out: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    """What each element takes of the cotangent; nothing where it is NaN, even if all are."""
    share = bind(extremum_share_p, x, restore_axes(out, shape_of(x), axes, keepdims=keepdims), axes=axes)
    return bind(select_p, isnan(x), 0, share)


def _extremum_vjp(g: Any, needed: Any, out: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> tuple[Any]:
    restored = restore_axes(g, shape_of(x), axes, keepdims=keepdims)
    return (multiply_no_nan(_share(out, x, axes, keepdims), restored),)


def _extremum_jvp(tangents: Any, out: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    weighted = multiply_no_nan(_share(out, x, axes, keepdims), tangents[0])
    return fit_tangent(reduce_sum(weighted, axes, keepdims=keepdims), out)


def _extremum_rule(x: ShapeDtype, axes: tuple[int, ...], keepdims: bool) -> ShapeDtype:
    if count_elements(x.shape, axes) == 0:
        message = f"there is no extremum of no elements, over axes {axes}; `initial` gives a value for that case"
        raise ShapeError(message)
    return same_dtype_rule(x, axes, keepdims)


def _extremum_primitive(name: str, ufunc: np.ufunc) -> Primitive:
    return register(
        Primitive(
            name,
            lambda x, axes, keepdims: ufunc.reduce(x, axis=axes, keepdims=keepdims),
            _extremum_rule,
            _extremum_vjp,
            _extremum_jvp,
            batch=batch_over_axes,
        )
    )


nanmax_p = _extremum_primitive("nanmax", np.fmax)
nanmin_p = _extremum_primitive("nanmin", np.fmin)


def _extremum(primitive: Primitive, x: Any, axis: Any, keepdims: bool, initial: Any, where: Any) -> Any:
    name = primitive.name
    if is_given(where):
        if initial is None:
            message = f"[{name}] an extremum of a selection needs `initial`, for the case that nothing is selected"
            raise ShapeError(at_user_line(message))
        x = masked(x, where, _NAN, name)
    shape = shape_of(x)
    axes = axis_tuple(axis, len(shape), name)
    if initial is None:
        return bind(primitive, x, axes=axes, keepdims=keepdims)
    start = initial_value(initial, dtype_of(x), name)
    if count_elements(shape, axes) == 0:
        return broadcast(start, reduced_shape(shape, axes, keepdims=keepdims))
    found = bind(primitive, x, axes=axes, keepdims=keepdims)
    # A NaN on either side stands for nothing.
    found = bind(select_p, isnan(found), start, found)
    start = bind(select_p, isnan(start), found, start)
    return (maximum if primitive is nanmax_p else minimum)(found, start)


@stands_for(np.nanmax)
def nanmax(
    a: ArrayLike,
    axis: int | tuple[int, ...] | None = None,
    *,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
    out: None = None,
) -> Tensor:
    """`max` of what is not NaN; NaN, without a warning, where everything is.

    The cotangent goes to the largest element; n that are equally large take 1 / n of it each, a NaN nothing.

    Raises:
        ShapeError: there are no elements and no `initial`; an axis is out of range or named twice; `where` is given
            without `initial` or does not broadcast to a.

    >>> import fgrad as fg
    >>> fg.nanmax(fg.asarray([1.0, fg.nan, 3.0]))
    Tensor(3., dtype=float64)
    """
    if out is not None:
        refuse_out("fg.nanmax")
    x = as_operand(a)
    if not is_inexact(dtype_of(x)):
        return maximum_of(x, axis, keepdims=keepdims, initial=initial, where=where)
    return _extremum(nanmax_p, x, axis, keepdims, initial, where)


@stands_for(np.nanmin)
def nanmin(
    a: ArrayLike,
    axis: int | tuple[int, ...] | None = None,
    *,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
    out: None = None,
) -> Tensor:
    """`min` of what is not NaN; NaN, without a warning, where everything is.

    The cotangent goes to the smallest element; n that are equally small take 1 / n of it each, a NaN nothing.

    Raises:
        ShapeError: there are no elements and no `initial`; an axis is out of range or named twice; `where` is given
            without `initial` or does not broadcast to a.

    >>> import fgrad as fg
    >>> fg.nanmin(fg.asarray([1.0, fg.nan, 3.0]))
    Tensor(1., dtype=float64)
    """
    if out is not None:
        refuse_out("fg.nanmin")
    x = as_operand(a)
    if not is_inexact(dtype_of(x)):
        return minimum_of(x, axis, keepdims=keepdims, initial=initial, where=where)
    return _extremum(nanmin_p, x, axis, keepdims, initial, where)


UFUNC_REDUCTIONS[np.fmax] = nanmax
UFUNC_REDUCTIONS[np.fmin] = nanmin


# Positions.


def _position_rule(x: ShapeDtype, axis: int | None, keepdims: bool) -> ShapeDtype:
    axes = tuple(range(x.ndim)) if axis is None else (axis,)
    if count_elements(x.shape, axes) == 0:
        message = f"there is no extremum of no elements, over axes {axes}"
        raise ShapeError(message)
    return ShapeDtype(reduced_shape(x.shape, axes, keepdims=keepdims), np.dtype(np.intp))


nanargmax_p = constant(
    "nanargmax",
    lambda x, axis, keepdims: np.nanargmax(x, axis, keepdims=keepdims),
    _position_rule,
    batch=_batch_position,
)
nanargmin_p = constant(
    "nanargmin",
    lambda x, axis, keepdims: np.nanargmin(x, axis, keepdims=keepdims),
    _position_rule,
    batch=_batch_position,
)


def _position(primitive: Primitive, x: Any, axis: int | None, keepdims: bool) -> Any:
    operand = as_operand(x)
    if axis is not None:
        axis = axis_index(axis, len(shape_of(operand)), primitive.name)
    return bind(primitive, operand, axis=axis, keepdims=keepdims)


@stands_for(np.nanargmax)
def nanargmax(a: ArrayLike, axis: int | None = None, *, keepdims: bool = False, out: None = None) -> Tensor:
    """The position of the largest element that is not NaN along an axis, as `argmax`; it carries no gradient.

    Raises:
        ShapeError: there are no elements, or nothing but NaN; the axis is out of range.

    >>> import fgrad as fg
    >>> fg.nanargmax(fg.asarray([1.0, fg.nan, 3.0]))
    Tensor(2, dtype=int64)
    """
    if out is not None:
        refuse_out("fg.nanargmax")
    return _position(nanargmax_p, a, axis, keepdims)


@stands_for(np.nanargmin)
def nanargmin(a: ArrayLike, axis: int | None = None, *, keepdims: bool = False, out: None = None) -> Tensor:
    """The position of the smallest element that is not NaN along an axis, as `argmin`; it carries no gradient.

    Raises:
        ShapeError: there are no elements, or nothing but NaN; the axis is out of range.

    >>> import fgrad as fg
    >>> fg.nanargmin(fg.asarray([1.0, fg.nan, 3.0]))
    Tensor(0, dtype=int64)
    """
    if out is not None:
        refuse_out("fg.nanargmin")
    return _position(nanargmin_p, a, axis, keepdims)
