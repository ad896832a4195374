"""Padding: a border around an array, of constants, of copies of its elements, or of values computed from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fgrad.core.errors import ShapeError, at_user_line
from fgrad.core.methods import operations
from fgrad.core.tensor import ArrayLike, Tensor, to_tensor
from fgrad.ops.arguments import axis_index, is_inexact
from fgrad.ops.declare import stands_for, untraced_by
from fgrad.ops.indexing import getitem, take, take_along_axis
from fgrad.ops.joining import concatenate
from fgrad.ops.logic import floor, isnan, rint
from fgrad.ops.moments import mean
from fgrad.ops.reductions import max as maximum_of
from fgrad.ops.reductions import min as minimum_of
from fgrad.ops.selection import where
from fgrad.ops.shaping import reshape
from fgrad.ops.structure import broadcast, convert

__all__ = ["pad"]

# The options of each mode, as in NumPy.
_OPTIONS = {
    "constant": ("constant_values",),
    "edge": (),
    "empty": (),
    "linear_ramp": ("end_values",),
    "maximum": ("stat_length",),
    "mean": ("stat_length",),
    "median": ("stat_length",),
    "minimum": ("stat_length",),
    "reflect": ("reflect_type",),
    "symmetric": ("reflect_type",),
    "wrap": (),
}


@stands_for(np.pad)
@untraced_by(np.pad)
def pad(
    x: ArrayLike,
    /,
    pad_width: Any,
    mode: str = "constant",
    *,
    constant_values: Any = None,
    end_values: Any = None,
    stat_length: Any = None,
    reflect_type: str | None = None,
) -> Tensor:
    """The array with a border: ``pad_width`` is n, (before, after), or a pair for each axis.

    Args:
        x: what to pad.
        pad_width: lengths of the border, as in NumPy; a dict gives them for the axes that it names.
        mode: "constant" (the border is `constant_values`), "empty" (it is zero); one that copies elements of x into
            the border: "edge", "reflect", "symmetric", "wrap"; "linear_ramp" (from the edge to `end_values`); or
            "maximum", "mean", "median", "minimum" (of the `stat_length` elements next to the border).
        constant_values: the border's value, a pair, or a pair for each axis; 0 by default.
        end_values: the value at the end of the ramp, in the same forms; 0 by default.
        stat_length: how many elements the statistic is of, in the same forms; all of the axis by default.
        reflect_type: "even", or "odd" for 2 edge - x in the place of x.

    Raises:
        ShapeError: for a negative width, a mode that is none of these, or an option that the mode does not have.

    >>> import fgrad as fg
    >>> fg.pad(fg.asarray([1.0, 2.0]), 1)
    Tensor([0., 1., 2., 0.], dtype=float64)
    >>> fg.pad(fg.asarray([1.0, 2.0, 4.0]), (2, 1), "reflect", reflect_type="odd")
    Tensor([-2.,  0.,  1.,  2.,  4.,  6.], dtype=float64)
    """
    result = to_tensor(x)
    given = {
        "constant_values": constant_values,
        "end_values": end_values,
        "stat_length": stat_length,
        "reflect_type": reflect_type,
    }
    _check_options(mode, given)
    for axis, (before, after) in enumerate(_widths(pad_width, result.ndim)):
        if not before and not after:
            continue
        if mode in ("constant", "empty", "linear_ramp"):
            ramp = mode == "linear_ramp"
            values, dtype, border = (
                (end_values, _wide(result.dtype), _ramp) if ramp else (constant_values, result.dtype, _constant)
            )
            low, high = (_value_of(values, result.ndim, axis, side, dtype) for side in (0, 1))
            parts = [border(result, axis, before, low, 0), border(result, axis, after, high, 1)]
            result = concatenate([parts[0], result, parts[1]], axis)
            continue
        if not result.shape[axis]:
            message = f"[pad] axis {axis} of shape {result.shape} is empty: only 'constant' and 'empty' can extend it"
            raise ShapeError(at_user_line(message))
        if mode in _STATISTICS:
            result = _pad_by_statistic(result, axis, (before, after), mode, stat_length)
        elif reflect_type == "odd" and result.shape[axis] > 1:
            result = _reflect_oddly(result, axis, (before, after), symmetric=mode == "symmetric")
        else:
            positions = np.pad(np.arange(result.shape[axis]), (before, after), mode=mode)  # type: ignore[call-overload]
            result = take(result, positions, axis)
    return result


def _check_options(mode: str, given: dict[str, Any]) -> None:
    if mode not in _OPTIONS:
        names = ", ".join(map(repr, _OPTIONS))
        message = f"[pad] mode is one of {names}, not {mode!r}"
        raise ShapeError(at_user_line(message))
    for name, value in given.items():
        if value is not None and name not in _OPTIONS[mode]:
            message = f"[pad] mode {mode!r} has no option {name}"
            raise ShapeError(at_user_line(message))
    if given["reflect_type"] not in (None, "even", "odd"):
        message = f"[pad] reflect_type is 'even' or 'odd', not {given['reflect_type']!r}"
        raise ShapeError(at_user_line(message))


def _widths(given: Any, rank: int) -> list[tuple[int, int]]:
    if isinstance(given, dict):
        pairs: Any = np.zeros((rank, 2), int)
        for axis, width in given.items():
            pairs[axis_index(axis, rank, "pad")] = width
        given = pairs
    widths = _per_axis(given, rank, "pad_width").tolist()
    if any(not isinstance(width, int) or width < 0 for pair in widths for width in pair):
        message = f"[pad] widths are integers of at least 0: {given}"
        raise ShapeError(at_user_line(message))
    return [(before, after) for before, after in widths]


def _per_axis(given: Any, rank: int, name: str) -> Any:
    """A number, a pair, or a pair for each axis, as the last: shape (rank, 2)."""
    values: Any = given if isinstance(given, Tensor) else np.asarray(given)
    try:
        fits = np.broadcast_shapes(values.shape, (rank, 2)) == (rank, 2)
    except ValueError:
        fits = False
    if not fits:
        message = f"[pad] {name} must be a number, a pair, or a pair for each of the {rank} axes, not {given}"
        raise ShapeError(at_user_line(message))
    return broadcast(values, (rank, 2)) if isinstance(values, Tensor) else np.broadcast_to(values, (rank, 2))


def _wide(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that NumPy computes a ramp in: one of integers would overflow."""
    return np.result_type(dtype, np.float64)


def _value_of(given: Any, rank: int, axis: int, side: int, dtype: np.dtype[Any]) -> Any:
    """The value for one side of one axis."""
    values = _per_axis(0 if given is None else given, rank, "the border's value")
    value = getitem(values, (axis, side)) if isinstance(values, Tensor) else values[axis, side]
    return convert(value, dtype) if isinstance(value, Tensor) else np.asarray(value).astype(dtype)


def _with_length(x: Tensor, axis: int, length: int) -> tuple[int, ...]:
    return (*x.shape[:axis], length, *x.shape[axis + 1 :])


def _part(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    return getitem(x, (*[slice(None)] * axis, slice(start, stop)))


def _constant(x: Tensor, axis: int, width: int, value: Any, side: int) -> Tensor:
    return broadcast(value, _with_length(x, axis, width))


def _ramp(x: Tensor, axis: int, width: int, end: Any, side: int) -> Tensor:
    length = x.shape[axis]
    if not length:
        message = f"[pad] axis {axis} of shape {x.shape} is empty: only 'constant' and 'empty' can extend it"
        raise ShapeError(at_user_line(message))
    edge: Any = convert(_part(x, axis, length - 1, length) if side else _part(x, axis, 0, 1), _wide(x.dtype))
    steps = np.arange(width)[::-1] if side else np.arange(width)
    values: Any = steps.reshape(_with_length_of_ones(x.ndim, axis, width)) * ((edge - end) / max(width, 1)) + end
    return convert(floor(values) if x.dtype.kind in "iu" else values, x.dtype)


def _with_length_of_ones(rank: int, axis: int, length: int) -> tuple[int, ...]:
    return tuple([length if place == axis else 1 for place in range(rank)])


def _median(x: Tensor, axis: int) -> Any:
    ordered = take_along_axis(x, operations.argsort(x, axis), axis)
    length = x.shape[axis]
    middle = mean(_part(ordered, axis, (length - 1) // 2, length // 2 + 1), axis, keepdims=True)
    if not is_inexact(x.dtype):
        return middle
    # NaN comes last in the order, and makes the median NaN.
    last = _part(ordered, axis, length - 1, length)
    return where(isnan(last), last, middle)


_STATISTICS: dict[str, Callable[[Tensor, int], Any]] = {
    "maximum": lambda x, axis: maximum_of(x, axis, keepdims=True),
    "mean": lambda x, axis: mean(x, axis, keepdims=True),
    "median": _median,
    "minimum": lambda x, axis: minimum_of(x, axis, keepdims=True),
}


def _pad_by_statistic(x: Tensor, axis: int, widths: tuple[int, int], mode: str, stat_length: Any) -> Tensor:
    length = x.shape[axis]
    lengths = [length, length]
    if stat_length is not None:
        chosen = _per_axis(stat_length, x.ndim, "stat_length")[axis]
        lengths = [min(int(one), length) for one in chosen]
    if min(lengths) < 1:
        message = f"[pad] stat_length is at least 1 in the mode {mode!r}: {stat_length}"
        raise ShapeError(at_user_line(message))
    chunks = _part(x, axis, 0, lengths[0]), _part(x, axis, length - lengths[1], length)
    borders = []
    for chunk, width in zip(chunks, widths, strict=True):
        value = _STATISTICS[mode](chunk, axis)
        if value.dtype != x.dtype:
            value = convert(rint(value) if x.dtype.kind in "iu" else value, x.dtype)
        borders.append(broadcast(value, _with_length(x, axis, width)))
    return concatenate([borders[0], x, borders[1]], axis)


def _reflect_oddly(x: Tensor, axis: int, widths: tuple[int, int], *, symmetric: bool) -> Tensor:
    """Point reflections at both ends, again and again.

    With the period p = n - 1 (or n if the edge is repeated), the element p q + r of the extension is x_r + q d for
    even q and 2 x_(n-1) - x_(mirror of r) + (q - 1) d for odd q, where d = x_(n-1) - x_0.
    """
    length = x.shape[axis]
    period = length if symmetric else length - 1
    first, last = _part(x, axis, 0, 1), _part(x, axis, length - 1, length)
    slope: Any = last - first
    before, after = widths
    parts = []
    for turn in range(-before // period, (length + after - 1) // period + 1):
        start, stop = max(-before, turn * period), min(length + after, (turn + 1) * period)
        inside = min(stop, length) - max(start, 0) == stop - start
        if inside:
            parts.append(_part(x, axis, start, stop))
            continue
        places = np.arange(start, stop) - turn * period
        if turn % 2:
            values: Any = 2 * last - take(x, length - 1 - places, axis)
            parts.append(values if turn == 1 else values + _factor(turn - 1, x) * slope)
        else:
            parts.append(take(x, places, axis) + _factor(turn, x) * slope)
    return reshape(concatenate(parts, axis), _with_length(x, axis, length + before + after))


def _factor(turns: int, x: Tensor) -> Any:
    # Unsigned integers count modulo the powers of two: as such a negative number is one of them.
    return np.asarray(turns).astype(x.dtype)
