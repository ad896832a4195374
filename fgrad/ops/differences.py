"""Differences and slopes along an axis, and the trapezoidal rule."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod as product
from typing import Any

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import DtypeError, ShapeError, at_user_line
from fgrad.core.shape import Shape, ShapeDtype
from fgrad.core.tensor import ArrayLike, ConcreteTensor, Tensor
from fgrad.ops.arguments import as_integer, as_operand, axis_index, axis_tuple, dtype_of, is_inexact, shape_of
from fgrad.ops.arithmetic import add, divide, multiply, negative, subtract
from fgrad.ops.declare import batch_over_axis, linear, stands_for, untraced_by
from fgrad.ops.indexing import getitem
from fgrad.ops.joining import concatenate
from fgrad.ops.structure import broadcast, convert, reduce_sum, reshape_to

__all__ = ["diff", "ediff1d", "gradient", "trapezoid"]

_ALL = slice(None)


def _evaluate_diff(x: np.ndarray[Any, Any], n: int, axis: int) -> Any:
    subtraction: Any = np.not_equal if x.dtype.kind == "b" else np.subtract
    later = (_ALL,) * axis + (slice(1, None),)
    earlier = (_ALL,) * axis + (slice(None, -1),)
    for _ in range(n):
        x = subtraction(x[later], x[earlier])
    return x


def _diff_rule(x: ShapeDtype, n: int, axis: int) -> ShapeDtype:
    return ShapeDtype((*x.shape[:axis], x.shape[axis] - n, *x.shape[axis + 1 :]), x.dtype)


def _diff_adjoint(g: Any, x: Any, n: int, axis: int) -> Any:
    shape = shape_of(x)
    border = np.zeros((*shape[:axis], n, *shape[axis + 1 :]), g.dtype)
    found = bind(diff_p, concatenate([border, g, border], axis), n=n, axis=axis)
    return negative(found) if n % 2 else found


# n is at most the length of the axis, of which nothing is left then.
diff_p = linear("diff", _evaluate_diff, _diff_rule, _diff_adjoint, batch=batch_over_axis)


@stands_for(np.diff)
def diff(
    a: ArrayLike, n: int = 1, axis: int = -1, prepend: ArrayLike | None = None, append: ArrayLike | None = None
) -> Tensor:
    """The differences of neighbours along an axis, x_(i+1) - x_i, taken n times; booleans differ or do not.

    The axis loses n of its length. The adjoint of one difference is g_(j-1) - g_j.

    Args:
        a: the values.
        n: how many times; 0 gives the values themselves.
        axis: the axis, the last by default.
        prepend: values to put before the first along the axis; a number stands for one.
        append: values to put after the last; a number stands for one.

    Raises:
        ShapeError: n is negative, `a` has no axes, or the axis is out of range.

    >>> import fgrad as fg
    >>> fg.diff(fg.asarray([1.0, 4.0, 9.0]))
    Tensor([3., 5.], dtype=float64)
    >>> fg.diff(fg.asarray([1.0, 4.0, 9.0]), prepend=0.0)
    Tensor([1., 3., 5.], dtype=float64)
    """
    operand = as_operand(a)
    times = as_integer(n, "diff", "n is an integer")
    if times < 0:
        message = f"[diff] is taken n >= 0 times, not {times}"
        raise ShapeError(at_user_line(message))
    shape = shape_of(operand)
    if not times:
        return reshape_to(operand, shape)
    if not shape:
        message = "[diff] needs an axis to take differences along, and got a tensor of shape ()"
        raise ShapeError(at_user_line(message))
    place = axis_index(axis, len(shape), "diff")
    if prepend is not None or append is not None:
        ends = [None if end is None else _as_end(end, shape, place) for end in (prepend, append)]
        operand = concatenate([part for part in (ends[0], operand, ends[1]) if part is not None], place)
        shape = shape_of(operand)
    return bind(diff_p, operand, n=min(times, shape[place]), axis=place)


def _as_end(values: Any, shape: Shape, axis: int) -> Any:
    operand = as_operand(values)
    return operand if shape_of(operand) else broadcast(operand, (*shape[:axis], 1, *shape[axis + 1 :]))


@stands_for(np.ediff1d)
def ediff1d(ary: ArrayLike, to_end: ArrayLike | None = None, to_begin: ArrayLike | None = None) -> Tensor:
    """The differences of neighbours among all elements in row-major order, with `to_begin` before and `to_end` after.

    Raises:
        DtypeError: `to_begin` or `to_end` cannot be had in the dtype of the values.

    >>> import fgrad as fg
    >>> fg.ediff1d(fg.asarray([1.0, 4.0, 9.0]), to_begin=0.0)
    Tensor([0., 3., 5.], dtype=float64)
    """
    operand = as_operand(ary)
    size = product(shape_of(operand))
    found = bind(diff_p, reshape_to(operand, (size,)), n=min(1, size), axis=0)
    parts = [found]
    for end, name, place in ((to_begin, "to_begin", 0), (to_end, "to_end", len(parts) + 1)):
        if end is not None:
            extra = as_operand(end)
            if not np.can_cast(dtype_of(extra), found.dtype, "same_kind"):
                message = f"[ediff1d] {name} has dtype {dtype_of(extra)}, which does not fit values of {found.dtype}"
                raise DtypeError(at_user_line(message))
            extra = reshape_to(extra, (product(shape_of(extra)),))
            parts.insert(place, extra if dtype_of(extra) == found.dtype else convert(extra, found.dtype))
    return concatenate(parts) if len(parts) > 1 else found


# Slopes.


def _part(x: Any, axis: int, start: int | None, stop: int | None) -> Any:
    return getitem(x, (*[_ALL] * axis, slice(start, stop)))


def _weighted(x: Any, axis: int, places: Sequence[tuple[int | None, int | None]], weights: Sequence[Any]) -> Any:
    """The sum of parts of x along an axis, each times its weight."""
    terms = [multiply(weight, _part(x, axis, *place)) for place, weight in zip(places, weights, strict=True)]
    total = terms[0]
    for term in terms[1:]:
        total = add(total, term)
    return total


_INNER = ((None, -2), (1, -1), (2, None))


def _even_slopes(x: Any, spacing: Any, axis: int, edge_order: int) -> list[Any]:
    inner = divide(subtract(_part(x, axis, 2, None), _part(x, axis, None, -2)), multiply(spacing, 2.0))
    if edge_order == 1:
        first = divide(subtract(_part(x, axis, 1, 2), _part(x, axis, 0, 1)), spacing)
        last = divide(subtract(_part(x, axis, -1, None), _part(x, axis, -2, -1)), spacing)
    else:
        one = divide(1.0, spacing)
        first = _weighted(x, axis, ((0, 1), (1, 2), (2, 3)), [multiply(one, c) for c in (-1.5, 2.0, -0.5)])
        last = _weighted(x, axis, ((-3, -2), (-2, -1), (-1, None)), [multiply(one, c) for c in (0.5, -2.0, 1.5)])
    return [first, inner, last]


def _uneven_slopes(x: Any, steps: Any, axis: int, edge_order: int) -> list[Any]:
    """The slopes of the parabola through each three neighbours, at the middle one and at the ends."""
    rank = len(shape_of(x))

    def along(value: Any) -> Any:
        return reshape_to(value, (*shape_of(value), *[1] * (rank - axis - 1)))

    before, after = _part(steps, 0, None, -1), _part(steps, 0, 1, None)
    both = add(before, after)
    weights = [
        negative(divide(after, multiply(before, both))),
        divide(subtract(after, before), multiply(before, after)),
        divide(before, multiply(after, both)),
    ]
    inner = _weighted(x, axis, _INNER, [along(weight) for weight in weights])
    if edge_order == 1:
        first = divide(subtract(_part(x, axis, 1, 2), _part(x, axis, 0, 1)), along(_part(steps, 0, 0, 1)))
        last = divide(subtract(_part(x, axis, -1, None), _part(x, axis, -2, -1)), along(_part(steps, 0, -1, None)))
        return [first, inner, last]
    near, far = _part(steps, 0, 0, 1), _part(steps, 0, 1, 2)
    first = _weighted(x, axis, ((0, 1), (1, 2), (2, 3)), [along(c) for c in _edge_weights(near, far)])
    near, far = _part(steps, 0, -1, None), _part(steps, 0, -2, -1)
    weights = [along(negative(c)) for c in reversed(_edge_weights(near, far))]
    return [first, inner, _weighted(x, axis, ((-3, -2), (-2, -1), (-1, None)), weights)]


def _edge_weights(near: Any, far: Any) -> list[Any]:
    """Of the values at an end, next to it and one further on, in the slope of their parabola at the end."""
    both = add(near, far)
    return [
        negative(divide(add(multiply(near, 2.0), far), multiply(near, both))),
        divide(both, multiply(near, far)),
        negative(divide(near, multiply(far, both))),
    ]


def _slopes_along(x: Any, spacing: Any, axis: int, edge_order: int) -> Any:
    spacing_shape = shape_of(spacing)
    if not spacing_shape:
        parts = _even_slopes(x, spacing, axis, edge_order)
    else:
        steps = bind(diff_p, spacing, n=1, axis=0)
        # As in NumPy, equal steps make the even rule; a Tensor is a variable, by each of whose places it has a slope.
        if isinstance(spacing, np.ndarray) and (np.diff(spacing) == spacing[1] - spacing[0]).all():
            parts = _even_slopes(x, getitem(steps, 0), axis, edge_order)
        else:
            parts = _uneven_slopes(x, steps, axis, edge_order)
    slopes = concatenate(parts, axis)
    wanted = dtype_of(x) if is_inexact(dtype_of(x)) else np.dtype(float)
    return slopes if slopes.dtype == wanted else convert(slopes, wanted)


def _spacings(varargs: tuple[Any, ...], x: Any, axes: tuple[int, ...]) -> list[Any]:
    count = len(axes)
    if len(varargs) not in {0, 1, count}:
        message = f"[gradient] {len(varargs)} spacings were given for {count} axes; give one, or one for each axis"
        raise DtypeError(at_user_line(message))
    spacings = [value if type(value) in {int, float} else as_operand(value) for value in varargs or (1.0,)]
    if len(spacings) == 1:
        if varargs and shape_of(spacings[0]) and count > 1:
            message = f"[gradient] one array of places was given for {count} axes; give one for each axis"
            raise DtypeError(at_user_line(message))
        spacings *= count
    for position, (spacing, axis) in enumerate(zip(spacings, axes, strict=True)):
        shape = shape_of(spacing)
        if shape and shape != (shape_of(x)[axis],):
            message = (
                f"[gradient] spacing {position} has shape {shape}; it is a number, or the places along axis {axis}, "
                f"of length {shape_of(x)[axis]}"
            )
            raise ShapeError(at_user_line(message))
        if shape and not is_inexact(dtype_of(spacing)):
            spacings[position] = (
                spacing.astype(float) if isinstance(spacing, np.ndarray) else convert(spacing, np.dtype(float))
            )
    return spacings


def _has_even_places(f: Any, *varargs: Any, **kwargs: Any) -> bool:
    """Whether a Tensor has the places of an axis, evenly spaced: a derivative by each of them needs the uneven rule."""
    for spacing in varargs:
        if type(spacing) is ConcreteTensor and spacing.ndim:
            places = spacing._array
            # Most that are uneven differ at once.
            if places.ndim == 1 and places.size > 2 and places[1] - places[0] != places[2] - places[1]:
                continue
            steps = np.diff(places)
            if not steps.size or (steps == steps.flat[0]).all():
                return True
    return False


@stands_for(np.gradient)
@untraced_by(np.gradient, unless=_has_even_places)
def gradient(
    f: ArrayLike, *varargs: ArrayLike, axis: int | Sequence[int] | None = None, edge_order: int = 1
) -> Tensor | tuple[Tensor, ...]:
    """The slope of the values along each axis: central differences inside, one-sided differences at the ends.

    For even spacing h that is (f_(i+1) - f_(i-1)) / 2h; for places given as an array, the slope of the parabola
    through three neighbours (see ``np.gradient``). It is differentiable by the values, by h and by the places. (This
    is the numerical slope of a table; the derivative of a function is `fgrad.grad`.)

    Args:
        f: the values; integers become float64.
        varargs: nothing (spacing 1), one number for all axes, or for each axis a number or an array of places.
        axis: the axis or axes, all of them by default.
        edge_order: 1 for two values at the ends, 2 for three.

    Returns:
        For one axis a tensor of the shape of f, else a tuple of one for each axis.

    Raises:
        ShapeError: an axis has fewer than edge_order + 1 places, spacings do not fit, or `edge_order` is neither.
        DtypeError: the number of spacings is wrong.

    >>> import fgrad as fg
    >>> fg.gradient(fg.asarray([1.0, 4.0, 9.0, 16.0]))
    Tensor([3., 4., 6., 7.], dtype=float64)
    """
    x = as_operand(f)
    if dtype_of(x).kind in "iu":
        x = convert(x, np.dtype(float))
    axes = axis_tuple(axis, len(shape_of(x)), "gradient")
    if isinstance(axis, Sequence):
        axes = tuple([axis_index(one, len(shape_of(x)), "gradient") for one in axis])
    spacings = _spacings(varargs, x, axes)
    if edge_order not in (1, 2):
        message = f"[gradient] edge_order is 1 or 2, not {edge_order}"
        raise ShapeError(at_user_line(message))
    for one in axes:
        if shape_of(x)[one] < edge_order + 1:
            message = (
                f"[gradient] axis {one} of shape {shape_of(x)} is too short: edge_order={edge_order} needs at least "
                f"{edge_order + 1} values"
            )
            raise ShapeError(at_user_line(message))
    slopes = [_slopes_along(x, spacing, one, edge_order) for spacing, one in zip(spacings, axes, strict=True)]
    return slopes[0] if len(slopes) == 1 else tuple(slopes)


@stands_for(np.trapezoid, getattr(np, "trapz", None))
@untraced_by(np.trapezoid)
def trapezoid(y: ArrayLike, x: ArrayLike | None = None, dx: ArrayLike = 1.0, axis: int = -1) -> Tensor:
    """The integral along an axis by the trapezoidal rule: sum_i (x_(i+1) - x_i) (y_i + y_(i+1)) / 2.

    Args:
        y: the values.
        x: their places: a vector along the axis, or an array that broadcasts against y; evenly spaced by default.
        dx: the spacing where there is no x.
        axis: the axis, the last by default.

    Raises:
        ShapeError: the axis is out of range, or the places do not fit.

    >>> import fgrad as fg
    >>> fg.trapezoid(fg.asarray([1.0, 2.0, 4.0]), dx=0.5)
    Tensor(2.25, dtype=float64)
    """
    values = as_operand(y)
    rank = len(shape_of(values))
    place = axis_index(axis, rank, "trapezoid")
    steps: Any = dx if type(dx) in {int, float} else as_operand(dx)
    if x is not None:
        places = as_operand(x)
        own = len(shape_of(places))
        along = 0 if own == 1 else axis_index(axis, own, "trapezoid")
        steps = diff(places, axis=along)
        if own == 1:
            steps = reshape_to(steps, (*shape_of(steps), *[1] * (rank - place - 1)))
    both = add(_part(values, place, 1, None), _part(values, place, None, -1))
    terms = divide(multiply(steps, both), 2.0)
    return reduce_sum(terms, (axis_index(axis, len(shape_of(terms)), "trapezoid"),))
