"""Reductions along axes: sums, extrema and their positions, logical reductions, cumulative sums."""

from __future__ import annotations

from math import prod as product
from typing import Any

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import ShapeError, at_user_line, refuse_out
from fgrad.core.primitive import Primitive, register
from fgrad.core.protocols import UFUNC_REDUCTIONS
from fgrad.core.shape import PYTHON_NUMBERS, Shape, ShapeDtype
from fgrad.core.tensor import ArrayLike, Tensor, to_tensor
from fgrad.ops.arguments import as_operand, axis_index, axis_tuple, dtype_of, numeric_dtype, shape_of
from fgrad.ops.arithmetic import add, multiply_no_nan
from fgrad.ops.declare import (
    as_batch,
    batch_over_axes,
    batch_over_axis,
    batch_size,
    constant,
    linear,
    stands_for,
)
from fgrad.ops.logic import logical_and, logical_or, not_equal
from fgrad.ops.selection import maximum, minimum, select_p
from fgrad.ops.structure import (
    broadcast,
    convert,
    fit_tangent,
    reduce_sum,
    reduced_shape,
    reshape_to,
    restore_axes,
    sum_dtype,
)

__all__ = [
    "all",
    "amax",
    "amin",
    "any",
    "argmax",
    "argmin",
    "cumsum",
    "max",
    "min",
    "sum",
]

_FLOAT64 = np.dtype(np.float64)
_FLOAT32 = np.dtype(np.float32)
_FLOAT16 = np.dtype(np.float16)


# Optional arguments that every reduction has.


def masked(x: Any, where: Any, fill: Any, operation: str) -> Any:
    """The operand with `fill` wherever the mask is false; the mask broadcasts to the operand and not beyond."""
    mask = as_operand(where)
    shape, mask_shape = shape_of(x), shape_of(mask)
    if dtype_of(mask).kind != "b":
        mask = not_equal(mask, 0)
    lengths = zip(reversed(mask_shape), reversed(shape), strict=False)
    if len(mask_shape) > len(shape) or [1 for mine, its in lengths if mine not in (1, its)]:
        message = f"[{operation}] where has shape {mask_shape}, which does not broadcast to the operand's {shape}"
        raise ShapeError(at_user_line(message))
    return bind(select_p, mask, x, fill)


def is_given(where: Any) -> bool:
    return where is not None and where is not True


def initial_value(initial: Any, dtype: np.dtype[Any], operation: str) -> Any:
    """The initial value of a reduction in the result's dtype, which it never changes."""
    if type(initial) in PYTHON_NUMBERS:
        return to_tensor(np.asarray(initial, dtype))
    value = as_operand(initial)
    if shape_of(value):
        message = f"[{operation}] initial is one number, and has shape {shape_of(value)}"
        raise ShapeError(at_user_line(message))
    return value if dtype_of(value) == dtype else convert(value, dtype)


def in_dtype(x: Any, dtype: Any) -> Any:
    if dtype is None:
        return x
    wanted = numeric_dtype(dtype)
    return x if dtype_of(x) == wanted else convert(x, wanted)


def count_elements(shape: Shape, axes: tuple[int, ...]) -> int:
    return product([shape[axis] for axis in axes])


def same_dtype_rule(x: ShapeDtype, axes: tuple[int, ...], keepdims: bool) -> ShapeDtype:
    return ShapeDtype(reduced_shape(x.shape, axes, keepdims=keepdims), x.dtype)


# Sums.


@stands_for(np.sum, method="sum")
def sum(
    x: ArrayLike,
    /,
    axis: int | tuple[int, ...] | None = None,
    dtype: Any = None,
    *,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
    out: None = None,
) -> Tensor:
    """The sum of the elements over axes (all of them by default), plus `initial`; 0 of no elements.

    The derivative by every element that `where` does not leave out is 1. float32 stays float32; booleans and small
    integers are added in the platform's integer, as NumPy does. `dtype` is that of the addition and of the result.

    Raises:
        ShapeError: an axis is out of range or named twice; `where` does not broadcast to x.

    >>> import fgrad as fg
    >>> fg.sum(fg.asarray([[1.0, 2.0], [3.0, 4.0]]), axis=0)
    Tensor([4., 6.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.sum")
    operand = in_dtype(as_operand(x), dtype)
    if is_given(where):
        operand = masked(operand, where, 0, "sum")
    result = reduce_sum(operand, axis_tuple(axis, len(shape_of(operand)), "sum"), keepdims=keepdims)
    result = in_dtype(result, dtype)
    return result if initial is None else add(result, initial_value(initial, result.dtype, "sum"))


def _cumulate(x: np.ndarray[Any, Any], axis: int, reverse: bool) -> np.ndarray[Any, Any]:
    if not reverse:
        return x.cumsum(axis)
    backwards = (slice(None),) * axis + (slice(None, None, -1),)
    return x[backwards].cumsum(axis)[backwards]


def _cumsum_adjoint(g: Any, x: Any, axis: int, reverse: bool) -> Any:
    return bind(cumsum_p, g, axis=axis, reverse=not reverse)


cumsum_p = linear(
    "cumsum",
    _cumulate,
    lambda x, axis, reverse: ShapeDtype(x.shape, sum_dtype(x.dtype)),
    _cumsum_adjoint,
    batch=batch_over_axis,
)


@stands_for(np.cumsum, method="cumsum")
def cumsum(x: ArrayLike, /, axis: int | None = None, dtype: Any = None, *, out: None = None) -> Tensor:
    """The sums of the first 1, 2, ... elements along an axis; of the elements in row-major order when axis is None.

    The cotangent of an element is the sum of the cotangents from its place on.

    Raises:
        ShapeError: the axis is out of range.

    >>> import fgrad as fg
    >>> fg.cumsum(fg.asarray([1.0, 2.0, 3.0]))
    Tensor([1., 3., 6.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.cumsum")
    operand = in_dtype(as_operand(x), dtype)
    shape = shape_of(operand)
    if axis is None:
        if len(shape) != 1:
            operand = reshape_to(operand, (product(shape),))
        axis = 0
    else:
        axis = axis_index(axis, len(shape), "cumsum")
    result = bind(cumsum_p, operand, axis=axis, reverse=False)
    return in_dtype(result, dtype)


# Extrema.


def _evaluate_share(x: Any, extremum: Any, axes: tuple[int, ...]) -> Any:
    """1 / n at the n elements of each slice that equal its extremum; where that is NaN, at its NaNs."""
    hits = np.equal(x, extremum)
    missing = np.not_equal(extremum, extremum)
    if missing.any():
        # A slice whose extremum is a number may have NaNs too: those of nanmax and nanmin.
        hits |= np.not_equal(x, x) & missing
    counts = np.add.reduce(hits, axis=axes, keepdims=True)
    return np.true_divide(hits, counts, dtype=x.dtype if x.dtype.kind == "f" else None).astype(x.dtype, copy=False)


def _batch_share(primitive: Primitive, batched: tuple[bool, ...], x: Any, extremum: Any, axes: tuple[int, ...]) -> Any:
    size = batch_size(batched, (x, extremum))
    # The extremum has as many axes as x and broadcasts against it, so only x must have that of the examples.
    return bind(primitive, as_batch(x, batched[0], size), extremum, axes=tuple([axis + 1 for axis in axes]))


extremum_share_p = constant(
    "extremum_share",
    _evaluate_share,
    lambda x, extremum, axes: ShapeDtype(x.shape, x.dtype),
    batch=_batch_share,
)


def _extremum_share(out: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    return bind(extremum_share_p, x, restore_axes(out, shape_of(x), axes, keepdims=keepdims), axes=axes)


def _extremum_vjp(g: Any, needed: Any, out: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> tuple[Any]:
    share = _extremum_share(out, x, axes, keepdims)
    return (multiply_no_nan(share, restore_axes(g, shape_of(x), axes, keepdims=keepdims)),)


def _extremum_jvp(tangents: Any, out: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    (tangent,) = tangents
    share = _extremum_share(out, x, axes, keepdims)
    return fit_tangent(reduce_sum(multiply_no_nan(share, tangent), axes, keepdims=keepdims), out)


def _extremum_rule(x: ShapeDtype, axes: tuple[int, ...], keepdims: bool) -> ShapeDtype:
    if count_elements(x.shape, axes) == 0:
        message = f"there is no extremum of no elements, over axes {axes}; `initial` gives a value for that case"
        raise ShapeError(message)
    return same_dtype_rule(x, axes, keepdims)


def _extremum_primitive(name: str, ufunc: np.ufunc) -> Primitive:
    return register(
        Primitive(
            name,
            evaluate=lambda x, axes, keepdims: ufunc.reduce(x, axis=axes, keepdims=keepdims),
            shape_rule=_extremum_rule,
            vjp=_extremum_vjp,
            jvp=_extremum_jvp,
            batch=batch_over_axes,
        )
    )


max_p = _extremum_primitive("max", np.maximum)
min_p = _extremum_primitive("min", np.minimum)


def _least(dtype: np.dtype[Any]) -> Any:
    if dtype.kind in "iu":
        return int(np.iinfo(dtype).min)
    return False if dtype.kind == "b" else -np.inf


def _greatest(dtype: np.dtype[Any]) -> Any:
    if dtype.kind in "iu":
        return int(np.iinfo(dtype).max)
    return True if dtype.kind == "b" else np.inf


def _extremum(primitive: Primitive, x: Any, axis: Any, keepdims: bool, initial: Any, where: Any) -> Any:
    operand = as_operand(x)
    name = primitive.name
    if is_given(where):
        if initial is None:
            message = f"[{name}] an extremum of a selection needs `initial`, for the case that nothing is selected"
            raise ShapeError(at_user_line(message))
        neutral = (_least if primitive is max_p else _greatest)(dtype_of(operand))
        operand = masked(operand, where, neutral, name)
    shape = shape_of(operand)
    axes = axis_tuple(axis, len(shape), name)
    if initial is None:
        return bind(primitive, operand, axes=axes, keepdims=keepdims)
    start = initial_value(initial, dtype_of(operand), name)
    if count_elements(shape, axes) == 0:
        return broadcast(start, reduced_shape(shape, axes, keepdims=keepdims))
    found = bind(primitive, operand, axes=axes, keepdims=keepdims)
    return (maximum if primitive is max_p else minimum)(found, start)


@stands_for(np.max, np.amax, method="max")
def max(
    x: ArrayLike,
    /,
    axis: int | tuple[int, ...] | None = None,
    *,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
    out: None = None,
) -> Tensor:
    """The largest element over axes (all of them by default), or `initial` if that is larger; NaN if there is one.

    The cotangent goes to the largest element; n elements that are equally large take 1 / n of it each. Where the
    result is NaN, the NaNs share it. The second derivative is zero.

    Raises:
        ShapeError: there are no elements and no `initial`; an axis is out of range or named twice; `where` is given
            without `initial` or does not broadcast to x.

    >>> import fgrad as fg
    >>> fg.max(fg.asarray([[1.0, 5.0], [3.0, 4.0]]), axis=1)
    Tensor([5., 4.], dtype=float64)
    >>> fg.grad(fg.max)(fg.asarray([1.0, 5.0, 5.0]))
    Tensor([0. , 0.5, 0.5], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.max")
    return _extremum(max_p, x, axis, keepdims, initial, where)


amax = max


@stands_for(np.min, np.amin, method="min")
def min(
    x: ArrayLike,
    /,
    axis: int | tuple[int, ...] | None = None,
    *,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
    out: None = None,
) -> Tensor:
    """The smallest element over axes (all of them by default), or `initial` if that is smaller; NaN if there is one.

    The cotangent goes to the smallest element; n elements that are equally small take 1 / n of it each. Where the
    result is NaN, the NaNs share it. The second derivative is zero.

    Raises:
        ShapeError: there are no elements and no `initial`; an axis is out of range or named twice; `where` is given
            without `initial` or does not broadcast to x.

    >>> import fgrad as fg
    >>> fg.min(fg.asarray([[1.0, 5.0], [3.0, 4.0]]), axis=1)
    Tensor([1., 3.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.min")
    return _extremum(min_p, x, axis, keepdims, initial, where)


amin = min


def _position_rule(x: ShapeDtype, axis: int | None, keepdims: bool) -> ShapeDtype:
    axes = tuple(range(x.ndim)) if axis is None else (axis,)
    if count_elements(x.shape, axes) == 0:
        message = f"there is no extremum of no elements, over axes {axes}"
        raise ShapeError(message)
    return ShapeDtype(reduced_shape(x.shape, axes, keepdims=keepdims), np.dtype(np.intp))


def _batch_position(primitive: Primitive, batched: tuple[bool, ...], x: Any, axis: int | None, keepdims: bool) -> Any:
    if axis is not None:
        return bind(primitive, x, axis=axis + 1, keepdims=keepdims)
    size, *lengths = shape_of(x)
    flat = bind(primitive, reshape_to(x, (size, product(lengths))), axis=1, keepdims=False)
    return reshape_to(flat, (size, *[1] * len(lengths))) if keepdims else flat


argmax_p = constant(
    "argmax", lambda x, axis, keepdims: x.argmax(axis, keepdims=keepdims), _position_rule, batch=_batch_position
)
argmin_p = constant(
    "argmin", lambda x, axis, keepdims: x.argmin(axis, keepdims=keepdims), _position_rule, batch=_batch_position
)


def _position(primitive: Primitive, x: Any, axis: Any, keepdims: bool) -> Any:
    operand = as_operand(x)
    if axis is not None:
        axis = axis_index(axis, len(shape_of(operand)), primitive.name)
    return bind(primitive, operand, axis=axis, keepdims=keepdims)


@stands_for(np.argmax, method="argmax")
def argmax(x: ArrayLike, /, axis: int | None = None, *, keepdims: bool = False, out: None = None) -> Tensor:
    """The position of the largest element along an axis, the first of equals; in row-major order when axis is None.

    A NaN counts as the largest. The result is of integers and carries no gradient.

    Raises:
        ShapeError: there are no elements; the axis is out of range.

    >>> import fgrad as fg
    >>> fg.argmax(fg.asarray([[1.0, 5.0], [4.0, 3.0]]), axis=1)
    Tensor([1, 0], dtype=int64)
    """
    if out is not None:
        refuse_out("fg.argmax")
    return _position(argmax_p, x, axis, keepdims)


@stands_for(np.argmin, method="argmin")
def argmin(x: ArrayLike, /, axis: int | None = None, *, keepdims: bool = False, out: None = None) -> Tensor:
    """The position of the smallest element along an axis, the first of equals; in row-major order when axis is None.

    A NaN counts as the smallest. The result is of integers and carries no gradient.

    Raises:
        ShapeError: there are no elements; the axis is out of range.

    >>> import fgrad as fg
    >>> fg.argmin(fg.asarray([[1.0, 5.0], [4.0, 3.0]]), axis=1)
    Tensor([0, 1], dtype=int64)
    """
    if out is not None:
        refuse_out("fg.argmin")
    return _position(argmin_p, x, axis, keepdims)


# Logical reductions.


def _boolean_rule(x: ShapeDtype, axes: tuple[int, ...], keepdims: bool) -> ShapeDtype:
    return ShapeDtype(reduced_shape(x.shape, axes, keepdims=keepdims), np.dtype(bool))


any_p = constant(
    "any",
    lambda x, axes, keepdims: np.logical_or.reduce(x, axis=axes, keepdims=keepdims),
    _boolean_rule,
    batch=batch_over_axes,
)
all_p = constant(
    "all",
    lambda x, axes, keepdims: np.logical_and.reduce(x, axis=axes, keepdims=keepdims),
    _boolean_rule,
    batch=batch_over_axes,
)


def _logical(primitive: Primitive, x: Any, axis: Any, keepdims: bool, initial: Any, where: Any) -> Any:
    operand = as_operand(x)
    if is_given(where):
        operand = masked(not_equal(operand, 0), where, primitive is all_p, primitive.name)
    axes = axis_tuple(axis, len(shape_of(operand)), primitive.name)
    result = bind(primitive, operand, axes=axes, keepdims=keepdims)
    if initial is None:
        return result
    start = initial_value(initial, np.dtype(bool), primitive.name)
    return (logical_and if primitive is all_p else logical_or)(result, start)


@stands_for(np.any, method="any")
def any(
    x: ArrayLike,
    /,
    axis: int | tuple[int, ...] | None = None,
    *,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
    out: None = None,
) -> Tensor:
    """Whether an element over axes (all of them by default) is true, that is not zero; false of no elements.

    The result is boolean and carries no gradient.

    Raises:
        ShapeError: an axis is out of range or named twice; `where` does not broadcast to x.

    >>> import fgrad as fg
    >>> fg.any(fg.asarray([[True, False], [False, False]]), axis=1)
    Tensor([ True, False], dtype=bool)
    """
    if out is not None:
        refuse_out("fg.any")
    return _logical(any_p, x, axis, keepdims, initial, where)


@stands_for(np.all, method="all")
def all(
    x: ArrayLike,
    /,
    axis: int | tuple[int, ...] | None = None,
    *,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
    out: None = None,
) -> Tensor:
    """Whether every element over axes (all of them by default) is true, that is not zero; true of no elements.

    The result is boolean and carries no gradient.

    Raises:
        ShapeError: an axis is out of range or named twice; `where` does not broadcast to x.

    >>> import fgrad as fg
    >>> fg.all(fg.asarray([[True, False], [True, True]]), axis=1)
    Tensor([False,  True], dtype=bool)
    """
    if out is not None:
        refuse_out("fg.all")
    return _logical(all_p, x, axis, keepdims, initial, where)


UFUNC_REDUCTIONS.update(
    {
        np.add: sum,
        np.maximum: max,
        np.minimum: min,
        np.logical_and: all,
        np.logical_or: any,
    }
)
