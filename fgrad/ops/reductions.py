"""Reductions along axes: sums, products, extrema, moments, logical reductions, cumulative sums, logsumexp."""

from __future__ import annotations

from math import prod as product
from typing import Any

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import ShapeError, at_user_line
from fgrad.core.primitive import Primitive, register
from fgrad.core.protocols import UFUNC_REDUCTIONS
from fgrad.core.shape import Shape, ShapeDtype
from fgrad.core.tensor import ArrayLike, Tensor
from fgrad.ops.arguments import as_operand, axis_index, axis_tuple, dtype_of, is_inexact, shape_of
from fgrad.ops.arithmetic import add, conj, multiply, multiply_no_nan, real, square, subtract
from fgrad.ops.declare import constant, linear, stands_for
from fgrad.ops.exponential import sqrt
from fgrad.ops.logic import equal, not_equal
from fgrad.ops.selection import maximum, minimum, select_p
from fgrad.ops.structure import (
    broadcast,
    convert,
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
    "logsumexp",
    "max",
    "mean",
    "min",
    "prod",
    "std",
    "sum",
    "var",
]

_FLOAT64 = np.dtype(np.float64)
_FLOAT32 = np.dtype(np.float32)
_FLOAT16 = np.dtype(np.float16)


# Optional arguments that every reduction has.


def _masked(x: Any, where: Any, fill: Any, operation: str) -> Any:
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


def _is_given(where: Any) -> bool:
    return where is not None and where is not True


def _initial_value(initial: Any, dtype: np.dtype[Any], operation: str) -> Any:
    """The initial value of a reduction in the result's dtype, which it never changes."""
    value = as_operand(initial)
    if shape_of(value):
        message = f"[{operation}] initial is one number, and has shape {shape_of(value)}"
        raise ShapeError(at_user_line(message))
    return value if dtype_of(value) == dtype else convert(value, dtype)


def _in_dtype(x: Any, dtype: Any) -> Any:
    if dtype is None:
        return x
    wanted = np.dtype(dtype)
    return x if dtype_of(x) == wanted else convert(x, wanted)


def _inexact(x: Any) -> Any:
    """The operand in a dtype that can hold means: integers and booleans become float64, as NumPy has it."""
    return x if is_inexact(dtype_of(x)) else convert(x, _FLOAT64)


def _count(shape: Shape, axes: tuple[int, ...]) -> int:
    return product([shape[axis] for axis in axes])


def _same_dtype_rule(x: ShapeDtype, axes: tuple[int, ...], keepdims: bool) -> ShapeDtype:
    return ShapeDtype(reduced_shape(x.shape, axes, keepdims=keepdims), x.dtype)


def _moment_rule(x: ShapeDtype, axes: tuple[int, ...], keepdims: bool) -> ShapeDtype:
    dtype = x.dtype if is_inexact(x.dtype) else _FLOAT64
    return ShapeDtype(reduced_shape(x.shape, axes, keepdims=keepdims), dtype)


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
    operand = _in_dtype(as_operand(x), dtype)
    if _is_given(where):
        operand = _masked(operand, where, 0, "sum")
    result = reduce_sum(operand, axis_tuple(axis, len(shape_of(operand)), "sum"), keepdims=keepdims)
    result = _in_dtype(result, dtype)
    return result if initial is None else add(result, _initial_value(initial, result.dtype, "sum"))


def _cumulate(x: np.ndarray[Any, Any], axis: int, reverse: bool) -> np.ndarray[Any, Any]:
    if not reverse:
        return x.cumsum(axis)  # type: ignore[no-any-return]
    backwards = (slice(None),) * axis + (slice(None, None, -1),)
    return x[backwards].cumsum(axis)[backwards]  # type: ignore[no-any-return]


cumsum_p = linear(
    "cumsum",
    _cumulate,
    lambda x, axis, reverse: ShapeDtype(x.shape, sum_dtype(x.dtype)),
    lambda g, x, axis, reverse: bind(cumsum_p, g, axis=axis, reverse=not reverse),
)


@stands_for(np.cumsum, method="cumsum")
def cumsum(x: ArrayLike, /, axis: int | None = None, dtype: Any = None) -> Tensor:
    """The sums of the first 1, 2, ... elements along an axis; of the elements in row-major order when axis is None.

    The cotangent of an element is the sum of the cotangents from its place on.

    Raises:
        ShapeError: the axis is out of range.

    >>> import fgrad as fg
    >>> fg.cumsum(fg.asarray([1.0, 2.0, 3.0]))
    Tensor([1., 3., 6.], dtype=float64)
    """
    operand = _in_dtype(as_operand(x), dtype)
    shape = shape_of(operand)
    if axis is None:
        if len(shape) != 1:
            operand = reshape_to(operand, (product(shape),))
        axis = 0
    else:
        axis = axis_index(axis, len(shape), "cumsum")
    result = bind(cumsum_p, operand, axis=axis, reverse=False)
    return _in_dtype(result, dtype)  # type: ignore[no-any-return]


# Products. The derivative of a product of n factors is itself a product, of the others; so is every further one. The
# primitive below is all of them: with k directions it is the derivative of the product along those directions and by
# each factor. Its value needs no division, so zeros among the factors are nothing special.


def _multiply_truncated(left: Any, right: Any, directions: int) -> Any:
    """The product in the algebra with one nilpotent unit per direction; axis 0 counts the sets of units in bits."""
    out = np.empty_like(left)
    for units in range(1 << directions):
        part = units
        total = left[units] * right[0]
        while part:
            part = (part - 1) & units
            total = total + left[part] * right[units ^ part]
        out[units] = total
    return out


def _multiply_others(factors: Any, directions: int) -> Any:
    """For each place along the last axis the product of all other places, by pairs of pairs: O(n) products in all."""
    length = factors.shape[-1]
    if length == 1:
        one = np.zeros_like(factors)
        one[0] = 1
        return one
    if length % 2:
        one = np.zeros_like(factors[..., :1])
        one[0] = 1
        factors = np.concatenate([factors, one], axis=-1)
    left, right = factors[..., 0::2], factors[..., 1::2]
    pairs = _multiply_truncated(left, right, directions) if length > 2 else left
    others = _multiply_others(pairs, directions)
    out = np.empty_like(factors)
    out[..., 0::2] = _multiply_truncated(others, right, directions)
    out[..., 1::2] = _multiply_truncated(others, left, directions)
    return out[..., :length]


def _evaluate_product_derivative(x: Any, *directions: Any, axes: tuple[int, ...]) -> Any:
    if x.size == 0:
        return np.ones_like(x)
    order = tuple([axis for axis in range(x.ndim) if axis not in axes]) + axes
    arranged = x.transpose(order)
    kept = arranged.shape[: x.ndim - len(axes)]
    length = _count(x.shape, axes)
    factors = np.zeros((1 << len(directions), *kept, length), np.result_type(x, *directions))
    factors[0] = arranged.reshape(*kept, length)
    for unit, direction in enumerate(directions):
        factors[1 << unit] = direction.transpose(order).reshape(*kept, length)
    others = _multiply_others(factors, len(directions))[-1]
    return others.reshape(arranged.shape).transpose(np.argsort(order))


def _product_derivative_vjp(
    g: Any, needed: Any, out: Any, x: Any, *directions: Any, axes: tuple[int, ...]
) -> tuple[Any, ...]:
    # It is symmetric and linear in its directions and in the factor that it differentiates by.
    cotangents = [bind(product_derivative_p, x, *directions, g, axes=axes) if needed[0] else None]
    for position in range(len(directions)):
        rest = directions[:position] + directions[position + 1 :]
        wanted = needed[position + 1]
        cotangents.append(bind(product_derivative_p, x, *rest, g, axes=axes) if wanted else None)
    return tuple(cotangents)


product_derivative_p = register(
    Primitive(
        "product_derivative",
        evaluate=_evaluate_product_derivative,
        shape_rule=lambda x, *directions, axes: x,
        vjp=_product_derivative_vjp,
    )
)


def _prod_vjp(g: Any, needed: Any, out: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> tuple[Any]:
    others = bind(product_derivative_p, x, axes=axes)
    return (multiply(restore_axes(g, shape_of(x), axes, keepdims=keepdims), others),)


prod_p = register(
    Primitive(
        "prod",
        evaluate=lambda x, axes, keepdims: np.multiply.reduce(x, axis=axes, keepdims=keepdims),
        shape_rule=lambda x, axes, keepdims: ShapeDtype(
            reduced_shape(x.shape, axes, keepdims=keepdims), sum_dtype(x.dtype)
        ),
        vjp=_prod_vjp,
    )
)


@stands_for(np.prod, method="prod")
def prod(
    x: ArrayLike,
    /,
    axis: int | tuple[int, ...] | None = None,
    dtype: Any = None,
    *,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> Tensor:
    """The product of the elements over axes (all of them by default), times `initial`; 1 of no elements.

    The derivative by an element is the product of the others. It is computed without dividing by the element, so it
    is right, to any order, however many of the elements are zero. dtypes are as in `sum`.

    Raises:
        ShapeError: an axis is out of range or named twice; `where` does not broadcast to x.

    >>> import fgrad as fg
    >>> fg.prod(fg.asarray([2.0, 3.0, 4.0]))
    Tensor(24., dtype=float64)
    >>> fg.grad(fg.prod)(fg.asarray([2.0, 0.0, 4.0]))
    Tensor([0., 8., 0.], dtype=float64)
    """
    operand = _in_dtype(as_operand(x), dtype)
    if _is_given(where):
        operand = _masked(operand, where, 1, "prod")
    axes = axis_tuple(axis, len(shape_of(operand)), "prod")
    result = _in_dtype(bind(prod_p, operand, axes=axes, keepdims=keepdims), dtype)
    return result if initial is None else multiply(result, _initial_value(initial, result.dtype, "prod"))  # type: ignore[no-any-return]


# Extrema.


def _evaluate_share(x: Any, extremum: Any, axes: tuple[int, ...]) -> Any:
    """1 / n at the n elements of each slice that equal its extremum; where that is NaN, at the NaNs."""
    hits = np.equal(x, extremum)
    if np.not_equal(extremum, extremum).any():
        hits |= np.not_equal(x, x)
    counts = np.add.reduce(hits, axis=axes, keepdims=True)
    return np.true_divide(hits, counts, dtype=x.dtype if x.dtype.kind == "f" else None).astype(x.dtype, copy=False)


extremum_share_p = constant("extremum_share", _evaluate_share, lambda x, extremum, axes: x)


def _extremum_vjp(g: Any, needed: Any, out: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> tuple[Any]:
    shape = shape_of(x)
    share = bind(extremum_share_p, x, restore_axes(out, shape, axes, keepdims=keepdims), axes=axes)
    return (multiply_no_nan(share, restore_axes(g, shape, axes, keepdims=keepdims)),)


def _extremum_rule(x: ShapeDtype, axes: tuple[int, ...], keepdims: bool) -> ShapeDtype:
    if _count(x.shape, axes) == 0:
        message = f"there is no extremum of no elements, over axes {axes}; `initial` gives a value for that case"
        raise ShapeError(message)
    return _same_dtype_rule(x, axes, keepdims)


def _extremum_primitive(name: str, ufunc: np.ufunc) -> Primitive:
    return register(
        Primitive(
            name,
            evaluate=lambda x, axes, keepdims: ufunc.reduce(x, axis=axes, keepdims=keepdims),
            shape_rule=_extremum_rule,
            vjp=_extremum_vjp,
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
    if _is_given(where):
        if initial is None:
            message = f"[{name}] an extremum of a selection needs `initial`, for the case that nothing is selected"
            raise ShapeError(at_user_line(message))
        neutral = (_least if primitive is max_p else _greatest)(dtype_of(operand))
        operand = _masked(operand, where, neutral, name)
    shape = shape_of(operand)
    axes = axis_tuple(axis, len(shape), name)
    if initial is None:
        return bind(primitive, operand, axes=axes, keepdims=keepdims)
    start = _initial_value(initial, dtype_of(operand), name)
    if _count(shape, axes) == 0:
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
    return _extremum(max_p, x, axis, keepdims, initial, where)  # type: ignore[no-any-return]


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
    return _extremum(min_p, x, axis, keepdims, initial, where)  # type: ignore[no-any-return]


amin = min


def _position_rule(x: ShapeDtype, axis: int | None, keepdims: bool) -> ShapeDtype:
    axes = tuple(range(x.ndim)) if axis is None else (axis,)
    if _count(x.shape, axes) == 0:
        message = f"there is no extremum of no elements, over axes {axes}"
        raise ShapeError(message)
    return ShapeDtype(reduced_shape(x.shape, axes, keepdims=keepdims), np.dtype(np.intp))


argmax_p = constant("argmax", lambda x, axis, keepdims: x.argmax(axis, keepdims=keepdims), _position_rule)
argmin_p = constant("argmin", lambda x, axis, keepdims: x.argmin(axis, keepdims=keepdims), _position_rule)


def _position(primitive: Primitive, x: Any, axis: Any, keepdims: bool) -> Any:
    operand = as_operand(x)
    if axis is not None:
        axis = axis_index(axis, len(shape_of(operand)), primitive.name)
    return bind(primitive, operand, axis=axis, keepdims=keepdims)


@stands_for(np.argmax, method="argmax")
def argmax(x: ArrayLike, /, axis: int | None = None, *, keepdims: bool = False) -> Tensor:
    """The position of the largest element along an axis, the first of equals; in row-major order when axis is None.

    A NaN counts as the largest. The result is of integers and carries no gradient.

    Raises:
        ShapeError: there are no elements; the axis is out of range.

    >>> import fgrad as fg
    >>> fg.argmax(fg.asarray([[1.0, 5.0], [4.0, 3.0]]), axis=1)
    Tensor([1, 0], dtype=int64)
    """
    return _position(argmax_p, x, axis, keepdims)  # type: ignore[no-any-return]


@stands_for(np.argmin, method="argmin")
def argmin(x: ArrayLike, /, axis: int | None = None, *, keepdims: bool = False) -> Tensor:
    """The position of the smallest element along an axis, the first of equals; in row-major order when axis is None.

    A NaN counts as the smallest. The result is of integers and carries no gradient.

    Raises:
        ShapeError: there are no elements; the axis is out of range.

    >>> import fgrad as fg
    >>> fg.argmin(fg.asarray([[1.0, 5.0], [4.0, 3.0]]), axis=1)
    Tensor([0, 1], dtype=int64)
    """
    return _position(argmin_p, x, axis, keepdims)  # type: ignore[no-any-return]


# Moments.


def _evaluate_mean(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    count = _count(x.shape, axes)
    if count == 0 or x.dtype == _FLOAT16:
        # NumPy's own: its warning for no elements, and float16 added up in float32.
        return np.mean(x, axis=axes, keepdims=keepdims)
    return np.add.reduce(x, axis=axes, keepdims=keepdims) / count


def _mean_adjoint(g: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    shape = shape_of(x)
    count = _count(shape, axes)
    if count:
        # A count can exceed float16's largest number.
        g = convert(convert(g, _FLOAT32) / count, _FLOAT16) if g.dtype == _FLOAT16 else g / count
    return broadcast(restore_axes(g, shape, axes, keepdims=keepdims), shape)


mean_p = linear("mean", _evaluate_mean, _moment_rule, _mean_adjoint)


def _masked_count(shape: Shape, where: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    mask = not_equal(as_operand(where), 0)
    return reduce_sum(broadcast(mask, shape), axes, keepdims=keepdims)


def _masked_mean(x: Any, axes: tuple[int, ...], keepdims: bool, where: Any) -> Any:
    total = reduce_sum(_masked(x, where, 0, "mean"), axes, keepdims=keepdims)
    return total / convert(_masked_count(shape_of(x), where, axes, keepdims), total.dtype)


@stands_for(np.mean, method="mean")
def mean(
    x: ArrayLike,
    /,
    axis: int | tuple[int, ...] | None = None,
    dtype: Any = None,
    *,
    keepdims: bool = False,
    where: ArrayLike | None = None,
) -> Tensor:
    """The arithmetic mean over axes (all of them by default); the derivative by each of n elements is 1 / n.

    Means of integers and booleans are float64, float32 stays float32, and float16 is added up in float32. The mean of
    no elements is NaN, with NumPy's RuntimeWarning.

    Raises:
        ShapeError: an axis is out of range or named twice; `where` does not broadcast to x.

    >>> import fgrad as fg
    >>> fg.mean(fg.asarray([[1.0, 2.0], [3.0, 6.0]]), axis=0)
    Tensor([2., 4.], dtype=float64)
    """
    operand = _in_dtype(as_operand(x), dtype)
    operand = _inexact(operand)
    axes = axis_tuple(axis, len(shape_of(operand)), "mean")
    if _is_given(where):
        result = _masked_mean(operand, axes, keepdims, where)
    else:
        result = bind(mean_p, operand, axes=axes, keepdims=keepdims)
    return _in_dtype(result, dtype)  # type: ignore[no-any-return]


def _evaluate_var(x: Any, axes: tuple[int, ...], keepdims: bool, correction: float) -> Any:
    count = _count(x.shape, axes)
    if count <= correction or x.dtype == _FLOAT16 or x.dtype.kind not in "fc":
        # NumPy's own: its warning for too few elements, and its choices for dtypes that cannot hold the count.
        return np.var(x, axis=axes, ddof=correction, keepdims=keepdims)
    deviation = x - np.add.reduce(x, axis=axes, keepdims=True) / count
    if x.dtype.kind == "c":
        squares = np.square(deviation.real) + np.square(deviation.imag)
    else:
        squares = np.square(deviation)
    return np.add.reduce(squares, axis=axes, keepdims=keepdims) / (count - correction)


def _var_rule(x: ShapeDtype, axes: tuple[int, ...], keepdims: bool, correction: float) -> ShapeDtype:
    moment = _moment_rule(x, axes, keepdims)
    return ShapeDtype(moment.shape, np.empty(0, moment.dtype).real.dtype)


def _var_vjp(
    g: Any, needed: Any, out: Any, x: Any, axes: tuple[int, ...], keepdims: bool, correction: float
) -> tuple[Any]:
    shape = shape_of(x)
    count = _count(shape, axes)
    scale = 2.0 / (count - correction) if count > correction else float("nan")
    deviation = subtract(x, bind(mean_p, x, axes=axes, keepdims=True)) if count else x
    if dtype_of(x).kind == "c":
        deviation = conj(deviation)
    return (multiply(restore_axes(g, shape, axes, keepdims=keepdims) * scale, deviation),)


var_p = register(Primitive("var", _evaluate_var, _var_rule, _var_vjp))


def _composed_var(x: Any, axes: tuple[int, ...], keepdims: bool, correction: float, where: Any, center: Any) -> Any:
    """The variance about a given mean, of a selection, or both."""
    masked = _is_given(where)
    if center is None:
        center = _masked_mean(x, axes, True, where)
    deviation = subtract(x, center)
    squares: Any = square(deviation)
    if dtype_of(x).kind == "c":
        squares = real(multiply(deviation, conj(deviation)))
    if masked:
        squares = _masked(squares, where, 0, "var")
        count = maximum(convert(_masked_count(shape_of(x), where, axes, keepdims), squares.dtype) - correction, 0)
        return reduce_sum(squares, axes, keepdims=keepdims) / count
    return reduce_sum(squares, axes, keepdims=keepdims) / (_count(shape_of(x), axes) - correction)


@stands_for(np.var, method="var")
def var(
    x: ArrayLike,
    /,
    axis: int | tuple[int, ...] | None = None,
    dtype: Any = None,
    *,
    ddof: float = 0,
    keepdims: bool = False,
    where: ArrayLike | None = None,
    mean: ArrayLike | None = None,
    correction: float | None = None,
) -> Tensor:
    """The variance over axes, sum |x - mean(x)|^2 / (n - ddof): in two passes, so a large mean costs no digits.

    The derivative by an element is 2 (x - mean(x)) / (n - ddof), for complex x the conjugate of that. Integers give
    float64, float32 stays float32. `mean` is a mean that is known already, of the shape that keepdims=True gives; it
    is a variable of its own then. `correction` is the array API's name of ddof. With n <= ddof the variance is NaN or
    inf, with NumPy's RuntimeWarning, and its gradient NaN.

    Raises:
        ShapeError: an axis is out of range or named twice; `where` does not broadcast to x.
        ValueError: both ddof and correction are given.

    >>> import fgrad as fg
    >>> fg.var(fg.asarray([1.0, 2.0, 3.0]), ddof=1)
    Tensor(1., dtype=float64)
    """
    if correction is not None:
        if ddof != 0:
            message = "[var] ddof and correction are two names of one number; give one of them"
            raise ShapeError(at_user_line(message))
        ddof = correction
    operand = _inexact(_in_dtype(as_operand(x), dtype))
    axes = axis_tuple(axis, len(shape_of(operand)), "var")
    if _is_given(where) or mean is not None:
        return _composed_var(operand, axes, keepdims, ddof, where, mean)  # type: ignore[no-any-return]
    return bind(var_p, operand, axes=axes, keepdims=keepdims, correction=ddof)  # type: ignore[no-any-return]


@stands_for(np.std, method="std")
def std(
    x: ArrayLike,
    /,
    axis: int | tuple[int, ...] | None = None,
    dtype: Any = None,
    *,
    ddof: float = 0,
    keepdims: bool = False,
    where: ArrayLike | None = None,
    mean: ArrayLike | None = None,
    correction: float | None = None,
) -> Tensor:
    """The standard deviation over axes, the square root of `var`, whose arguments it takes.

    The derivative by an element is (x - mean(x)) / ((n - ddof) std(x)). Where all elements are equal, std has a kink
    like that of |x| at 0: every derivative is taken as 0 there.

    Raises:
        ShapeError: an axis is out of range or named twice; `where` does not broadcast to x.
        ValueError: both ddof and correction are given.

    >>> import fgrad as fg
    >>> fg.std(fg.asarray([1.0, 2.0, 3.0]), ddof=1)
    Tensor(1., dtype=float64)
    >>> fg.grad(fg.std)(fg.asarray([2.0, 2.0]))
    Tensor([0., 0.], dtype=float64)
    """
    variance = var(x, axis, dtype, ddof=ddof, keepdims=keepdims, where=where, mean=mean, correction=correction)
    flat = equal(variance, 0)
    return bind(select_p, flat, 0, sqrt(bind(select_p, flat, 1, variance)))  # type: ignore[no-any-return]


# Logical reductions.


def _boolean_rule(x: ShapeDtype, axes: tuple[int, ...], keepdims: bool) -> ShapeDtype:
    return ShapeDtype(reduced_shape(x.shape, axes, keepdims=keepdims), np.dtype(bool))


any_p = constant(
    "any", lambda x, axes, keepdims: np.logical_or.reduce(x, axis=axes, keepdims=keepdims), _boolean_rule
)
all_p = constant(
    "all", lambda x, axes, keepdims: np.logical_and.reduce(x, axis=axes, keepdims=keepdims), _boolean_rule
)


def _logical(primitive: Primitive, x: Any, axis: Any, keepdims: bool, initial: Any, where: Any) -> Any:
    operand = as_operand(x)
    if _is_given(where):
        operand = _masked(not_equal(operand, 0), where, primitive is all_p, primitive.name)
    axes = axis_tuple(axis, len(shape_of(operand)), primitive.name)
    result = bind(primitive, operand, axes=axes, keepdims=keepdims)
    if initial is None:
        return result
    start = _initial_value(initial, np.dtype(bool), primitive.name)
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
) -> Tensor:
    """Whether an element over axes (all of them by default) is true, that is not zero; false of no elements.

    The result is boolean and carries no gradient.

    Raises:
        ShapeError: an axis is out of range or named twice; `where` does not broadcast to x.

    >>> import fgrad as fg
    >>> fg.any(fg.asarray([[True, False], [False, False]]), axis=1)
    Tensor([ True, False], dtype=bool)
    """
    return _logical(any_p, x, axis, keepdims, initial, where)  # type: ignore[no-any-return]


@stands_for(np.all, method="all")
def all(
    x: ArrayLike,
    /,
    axis: int | tuple[int, ...] | None = None,
    *,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> Tensor:
    """Whether every element over axes (all of them by default) is true, that is not zero; true of no elements.

    The result is boolean and carries no gradient.

    Raises:
        ShapeError: an axis is out of range or named twice; `where` does not broadcast to x.

    >>> import fgrad as fg
    >>> fg.all(fg.asarray([[True, False], [True, True]]), axis=1)
    Tensor([False,  True], dtype=bool)
    """
    return _logical(all_p, x, axis, keepdims, initial, where)  # type: ignore[no-any-return]


# logsumexp, and softmax, which is its gradient. Both shift by the largest element, so that no exponential overflows.
# The gradient is softmax itself and not exp(x - logsumexp(x)): rounding a result near 1e4 to float32 would cost that
# one four digits.


def _shifted_exponentials(x: Any, axes: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """exp(x - shift), its sums, and the shift, which is the largest element where that is finite and 0 elsewhere."""
    shift = np.maximum.reduce(x.real, axis=axes, keepdims=True, initial=-np.inf)
    finite = np.isfinite(shift)
    if finite.all():
        exponentials = np.exp(x - shift)
    else:
        shift = np.where(finite, shift, 0)
        with np.errstate(over="ignore", invalid="ignore"):
            exponentials = np.exp(x - shift)
    return exponentials, np.add.reduce(exponentials, axis=axes, keepdims=True), shift


def _widen_half(x: Any) -> Any:
    return x.astype(_FLOAT32) if x.dtype == _FLOAT16 else x


def _evaluate_logsumexp(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    _, total, shift = _shifted_exponentials(_widen_half(x), axes)
    if total.all():
        out = np.log(total) + shift
    else:
        with np.errstate(divide="ignore"):
            out = np.log(total) + shift
    return (out if keepdims else out.reshape(reduced_shape(x.shape, axes, keepdims=False))).astype(x.dtype, copy=False)


def _evaluate_softmax(x: Any, axes: tuple[int, ...]) -> Any:
    exponentials, total, _ = _shifted_exponentials(_widen_half(x), axes)
    if not (np.isfinite(total).all() and total.all()):
        infinite = np.isposinf(x.real)
        with np.errstate(over="ignore"):
            among = np.where(infinite.any(axis=axes, keepdims=True), infinite, exponentials)
        exponentials = np.where(np.isnan(total), total, among)
        total = np.add.reduce(exponentials, axis=axes, keepdims=True)
        total = np.where(total == 0, 1, total)
    return (exponentials / total).astype(x.dtype, copy=False)


def _softmax_vjp(g: Any, needed: Any, out: Any, x: Any, axes: tuple[int, ...]) -> tuple[Any]:
    weighted = multiply(g, out)
    return (subtract(weighted, multiply(out, reduce_sum(weighted, axes, keepdims=True))),)


def _logsumexp_vjp(g: Any, needed: Any, out: Any, x: Any, axes: tuple[int, ...], keepdims: bool) -> tuple[Any]:
    return (multiply(restore_axes(g, shape_of(x), axes, keepdims=keepdims), bind(softmax_p, x, axes=axes)),)


softmax_p = register(Primitive("softmax", _evaluate_softmax, lambda x, axes: x, _softmax_vjp))
logsumexp_p = register(Primitive("logsumexp", _evaluate_logsumexp, _same_dtype_rule, _logsumexp_vjp))


def logsumexp(x: ArrayLike, /, axis: int | tuple[int, ...] | None = None, *, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))) over axes (all of them by default), without overflow; integers give float64.

    The gradient is softmax(x) = exp(x) / sum(exp(x)) =: p, and the Hessian diag(p) - p p^T. Of elements that are all
    -inf, and of none, the result is -inf with the gradient 0. Elements of +inf give +inf and share the cotangent
    evenly, which is the limit of softmax as they grow together; further derivatives are 0 there. A NaN among the
    elements gives NaN.

    Raises:
        ShapeError: an axis is out of range or named twice.

    >>> import fgrad as fg
    >>> fg.logsumexp(fg.asarray([1000.0, 1000.0]))
    Tensor(1000.69314718, dtype=float64)
    >>> fg.grad(fg.logsumexp)(fg.asarray([0.0, 0.0]))
    Tensor([0.5, 0.5], dtype=float64)
    """
    operand = _inexact(as_operand(x))
    axes = axis_tuple(axis, len(shape_of(operand)), "logsumexp")
    return bind(logsumexp_p, operand, axes=axes, keepdims=keepdims)  # type: ignore[no-any-return]


UFUNC_REDUCTIONS.update(
    {
        np.add: sum,
        np.multiply: prod,
        np.maximum: max,
        np.minimum: min,
        np.logical_and: all,
        np.logical_or: any,
        np.logaddexp: logsumexp,
    }
)
