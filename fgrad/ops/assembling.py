"""Assembling: arrays out of parts, with parts put in or taken out, and turned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod as product
from typing import Any

import numpy as np

from fgrad.core.errors import ShapeError, TracerConversionError, at_user_line
from fgrad.core.shape import Shape
from fgrad.core.tensor import ArrayLike, ConcreteTensor, Tensor, adopt, to_tensor
from fgrad.ops.arguments import as_integer, as_operand, axis_index, dtype_of, number_of_dtype, shape_of, shape_tuple
from fgrad.ops.declare import stands_for, untraced_by
from fgrad.ops.indexing import getitem, take
from fgrad.ops.joining import concatenate, split
from fgrad.ops.shaping import flip, moveaxis, ravel, transpose
from fgrad.ops.structure import broadcast, convert, reshape_to, stop_gradient

__all__ = [
    "append",
    "atleast_3d",
    "block",
    "broadcast_shapes",
    "column_stack",
    "copy",
    "delete",
    "dsplit",
    "dstack",
    "fliplr",
    "flipud",
    "hsplit",
    "insert",
    "resize",
    "rollaxis",
    "rot90",
    "unstack",
    "vsplit",
]

_ALL = slice(None)


def _require_rank(x: Any, rank: int, operation: str) -> Any:
    operand = as_operand(x)
    if len(shape_of(operand)) < rank:
        message = f"[{operation}] needs at least {rank} axes, and got shape {shape_of(operand)}"
        raise ShapeError(at_user_line(message))
    return operand


# Joining and cutting.


def _three_axes(x: Any) -> Any:
    operand = to_tensor(x)
    shape = operand.shape
    if len(shape) >= 3:
        return operand
    return reshape_to(operand, (1, *shape, *[1] * (2 - len(shape))) if len(shape) < 2 else (*shape, 1))


@stands_for(np.atleast_3d)
def atleast_3d(*arys: ArrayLike) -> Tensor | tuple[Tensor, ...]:
    """x with at least three axes: shapes (), (n,) and (m, n) become (1, 1, 1), (1, n, 1) and (m, n, 1).

    Of several arrays a tuple.

    >>> import fgrad as fg
    >>> fg.atleast_3d(fg.zeros(4)).shape
    (1, 4, 1)
    """
    found = tuple([_three_axes(one) for one in arys])
    return found[0] if len(found) == 1 else found


@stands_for(np.column_stack)
@untraced_by(np.column_stack)
def column_stack(tup: Sequence[ArrayLike]) -> Tensor:
    """Vectors as the columns of a matrix; matrices among them are joined as they are.

    Raises:
        ShapeError: the numbers of rows differ, or there is no array.

    >>> import fgrad as fg
    >>> fg.column_stack([fg.asarray([1.0, 2.0]), fg.asarray([3.0, 4.0])])
    Tensor([[1., 3.],
            [2., 4.]], dtype=float64)
    """
    operands = [as_operand(one) for one in tup]
    return concatenate(
        [one if len(shape_of(one)) > 1 else reshape_to(one, (product(shape_of(one)), 1)) for one in operands], 1
    )


@stands_for(np.dstack)
@untraced_by(np.dstack)
def dstack(tup: Sequence[ArrayLike]) -> Tensor:
    """Arrays joined along their third axis, after `atleast_3d`.

    Raises:
        ShapeError: another axis differs, or there is no array.

    >>> import fgrad as fg
    >>> fg.dstack([fg.asarray([1.0, 2.0]), fg.asarray([3.0, 4.0])]).shape
    (1, 2, 2)
    """
    return concatenate([_three_axes(one) for one in tup], 2)


@stands_for(np.hsplit)
@untraced_by(np.hsplit)
def hsplit(ary: ArrayLike, indices_or_sections: int | Sequence[int]) -> list[Tensor]:
    """`split` along the second axis, or along the only one.

    Raises:
        ShapeError: there is no axis, or it cannot be cut into so many equal parts.

    >>> import fgrad as fg
    >>> fg.hsplit(fg.arange(4.0), 2)
    [Tensor([0., 1.], dtype=float64), Tensor([2., 3.], dtype=float64)]
    """
    operand = _require_rank(ary, 1, "hsplit")
    return split(operand, indices_or_sections, 1 if len(shape_of(operand)) > 1 else 0)


@stands_for(np.vsplit)
@untraced_by(np.vsplit)
def vsplit(ary: ArrayLike, indices_or_sections: int | Sequence[int]) -> list[Tensor]:
    """`split` along the first of at least two axes.

    Raises:
        ShapeError: there are fewer axes, or the axis cannot be cut into so many equal parts.

    >>> import fgrad as fg
    >>> [part.shape for part in fg.vsplit(fg.zeros((4, 3)), 2)]
    [(2, 3), (2, 3)]
    """
    return split(_require_rank(ary, 2, "vsplit"), indices_or_sections, 0)


@stands_for(np.dsplit)
@untraced_by(np.dsplit)
def dsplit(ary: ArrayLike, indices_or_sections: int | Sequence[int]) -> list[Tensor]:
    """`split` along the third axis.

    Raises:
        ShapeError: there are fewer axes, or the axis cannot be cut into so many equal parts.

    >>> import fgrad as fg
    >>> [part.shape for part in fg.dsplit(fg.zeros((1, 2, 4)), 2)]
    [(1, 2, 2), (1, 2, 2)]
    """
    return split(_require_rank(ary, 3, "dsplit"), indices_or_sections, 2)


@stands_for(getattr(np, "unstack", None))  # NumPy 2.1 has it
def unstack(x: ArrayLike, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices along an axis, which they do not have: what `stack` joins.

    Raises:
        ShapeError: the axis is out of range.

    >>> import fgrad as fg
    >>> fg.unstack(fg.asarray([[1.0, 2.0], [3.0, 4.0]]))
    (Tensor([1., 2.], dtype=float64), Tensor([3., 4.], dtype=float64))
    """
    operand = _require_rank(x, 1, "unstack")
    place = axis_index(axis, len(shape_of(operand)), "unstack")
    if type(operand) is ConcreteTensor:
        rows = np.moveaxis(operand._array, place, 0) if place else operand._array
        return tuple([adopt(rows[number, ...]) for number in range(len(rows))])
    return tuple([getitem(operand, (*[_ALL] * place, number)) for number in range(shape_of(operand)[place])])


def _depth(arrays: Any) -> int:
    if not isinstance(arrays, list):
        return 0
    depths = {_depth(one) for one in arrays}
    if len(depths) != 1:
        message = "[block] lists must be nested equally deep everywhere, and not be empty"
        raise ShapeError(at_user_line(message))
    return depths.pop() + 1


def _leaves(arrays: Any) -> list[Any]:
    return [leaf for one in arrays for leaf in _leaves(one)] if isinstance(arrays, list) else [arrays]


def _join_blocks(arrays: Any, depth: int, rank: int) -> Any:
    if not isinstance(arrays, list):
        operand = to_tensor(arrays)
        return reshape_to(operand, (*[1] * (rank - operand.ndim), *operand.shape)) if operand.ndim < rank else operand
    return concatenate([_join_blocks(one, depth - 1, rank) for one in arrays], rank - depth)


@stands_for(np.block)
@untraced_by(np.block)
def block(arrays: Any) -> Tensor:
    """An array out of nested lists of blocks: the innermost are joined along the last axis, their lists before that.

    Raises:
        ShapeError: the lists are nested unevenly, or the blocks do not fit.

    >>> import fgrad as fg
    >>> fg.block([[fg.eye(1), fg.zeros((1, 1))], [fg.ones((1, 2))]])
    Tensor([[1., 0.],
            [1., 1.]], dtype=float64)
    """
    depth = _depth(arrays)
    rank = max([depth, *[len(shape_of(as_operand(leaf))) for leaf in _leaves(arrays)]])
    return _join_blocks(arrays, depth, rank)


@stands_for(np.append)
@untraced_by(np.append)
def append(arr: ArrayLike, values: ArrayLike, axis: int | None = None) -> Tensor:
    """The values after those of an array, along an axis; without one, all elements of both in row-major order.

    Raises:
        ShapeError: the shapes differ in another axis.

    >>> import fgrad as fg
    >>> fg.append(fg.asarray([1.0, 2.0]), 3.0)
    Tensor([1., 2., 3.], dtype=float64)
    """
    return concatenate([as_operand(arr), as_operand(values)], axis)


def _flat_unless(x: Any, axis: int | None, operation: str) -> tuple[Any, int]:
    operand = as_operand(x)
    if axis is None:
        return (operand if len(shape_of(operand)) == 1 else ravel(operand)), 0
    return operand, axis_index(axis, len(shape_of(operand)), operation)


def known_value(value: Any, operation: str, what: str) -> Any:
    """A value as an array, because the shape of the result depends on it."""
    if not isinstance(value, Tensor):
        return value
    try:
        return np.asarray(stop_gradient(value))
    except TracerConversionError as error:
        message = f"[{operation}] the shape of the result depends on {what}: {str(error).splitlines()[0]}"
        raise TracerConversionError(at_user_line(message)) from None


def _positions(call: Callable[[], Any], operation: str, shape: Shape) -> Any:
    try:
        return call()
    except (IndexError, ValueError, TypeError) as error:
        message = f"[{operation}] on shape {shape}: {error}"
        raise ShapeError(at_user_line(message)) from None


@stands_for(np.delete)
@untraced_by(np.delete)
def delete(arr: ArrayLike, obj: Any, axis: int | None = None) -> Tensor:
    """The array without the entries at positions along an axis; without an axis, of its elements in row-major order.

    Args:
        arr: the array.
        obj: a position, a slice, several positions, or a boolean vector; its value must be known.
        axis: the axis.

    Raises:
        ShapeError: a position or the axis is out of range.

    >>> import fgrad as fg
    >>> fg.delete(fg.asarray([1.0, 2.0, 3.0]), 1)
    Tensor([1., 3.], dtype=float64)
    """
    operand, place = _flat_unless(arr, axis, "delete")
    named = known_value(obj, "delete", "which positions are taken out")
    shape = shape_of(operand)
    kept = _positions(lambda: np.delete(np.arange(shape[place]), named), "delete", shape)
    return take(operand, kept, place)


@stands_for(np.insert)
@untraced_by(np.insert)
def insert(arr: ArrayLike, obj: Any, values: ArrayLike, axis: int | None = None) -> Tensor:
    """The array with values put in before positions along an axis; without an axis, among all of its elements.

    Args:
        arr: the array, whose dtype the result has.
        obj: a position, a slice, several positions, or a boolean vector, all counted before anything is put in; its
            value must be known.
        values: what to put in; it broadcasts against the place.
        axis: the axis.

    Raises:
        ShapeError: a position or the axis is out of range, or the values do not fit.
        DtypeError, OverflowError: a Python number does not fit into the array's dtype.

    >>> import fgrad as fg
    >>> fg.insert(fg.asarray([1.0, 2.0, 3.0]), 1, 5.0)
    Tensor([1., 5., 2., 3.], dtype=float64)
    """
    operand, place = _flat_unless(arr, axis, "insert")
    shape = shape_of(operand)
    named = known_value(obj, "insert", "where values are put in")
    one = not isinstance(named, slice) and np.size(named) == 1 and np.asarray(named).dtype.kind != "b"
    fitted = number_of_dtype(values, dtype_of(operand), "insert")
    rank = len(shape)
    if one:
        fitted = reshape_to(fitted, (*[1] * (rank - len(shape_of(fitted))), *shape_of(fitted)))
        if np.ndim(named) == 0:
            fitted = moveaxis(fitted, 0, place)
        count = shape_of(fitted)[place]
        named = np.asarray(named).item()
    else:
        count = _positions(lambda: np.insert(np.arange(shape[place]), named, 0).size - shape[place], "insert", shape)
    whole = (*shape[:place], count, *shape[place + 1 :])
    fitted = fitted if dtype_of(fitted) == dtype_of(operand) else convert(fitted, dtype_of(operand))
    marks = shape[place] + np.arange(count)
    order = _positions(lambda: np.insert(np.arange(shape[place]), named, marks), "insert", shape)
    return take(concatenate([operand, broadcast(fitted, whole)], place), order, place)


@stands_for(np.resize)
@untraced_by(np.resize)
def resize(a: ArrayLike, new_shape: Any) -> Tensor:
    """The elements in row-major order under another shape, from the first on again where they do not suffice.

    An array without elements gives zeros.

    Raises:
        ShapeError: a length is negative.

    >>> import fgrad as fg
    >>> fg.resize(fg.asarray([1.0, 2.0, 3.0]), (2, 2))
    Tensor([[1., 2.],
            [3., 1.]], dtype=float64)
    """
    shape = shape_tuple(new_shape, "resize")
    flat = ravel(as_operand(a))
    size = flat.shape[0]
    if not size:
        return to_tensor(np.zeros(shape, flat.dtype))
    return take(flat, np.arange(product(shape)).reshape(shape) % size, 0)


# Turning.


@stands_for(np.rot90)
@untraced_by(np.rot90)
def rot90(m: ArrayLike, k: int = 1, axes: Sequence[int] = (0, 1)) -> Tensor:
    """The array turned by k times 90 degrees in the plane of two axes, from the first towards the second.

    Raises:
        ShapeError: `axes` does not name two axes of m.

    >>> import fgrad as fg
    >>> fg.rot90(fg.asarray([[1.0, 2.0], [3.0, 4.0]]))
    Tensor([[2., 4.],
            [1., 3.]], dtype=float64)
    """
    operand = as_operand(m)
    rank = len(shape_of(operand))
    named = [axis_index(axis, rank, "rot90") for axis in axes]
    if len(named) != 2 or named[0] == named[1]:
        message = f"[rot90] axes {tuple(axes)} must name two axes of shape {shape_of(operand)}"
        raise ShapeError(at_user_line(message))
    turns = as_integer(k, "rot90", "k is an integer") % 4
    first, second = named
    if turns == 0:
        return reshape_to(operand, shape_of(operand))
    if turns == 2:
        return flip(operand, (first, second))
    order = list(range(rank))
    order[first], order[second] = second, first
    return transpose(flip(operand, second), order) if turns == 1 else flip(transpose(operand, order), second)


@stands_for(np.fliplr)
@untraced_by(np.fliplr)
def fliplr(m: ArrayLike) -> Tensor:
    """The array reversed along its second axis.

    Raises:
        ShapeError: there are fewer than two axes.

    >>> import fgrad as fg
    >>> fg.fliplr(fg.asarray([[1.0, 2.0], [3.0, 4.0]]))
    Tensor([[2., 1.],
            [4., 3.]], dtype=float64)
    """
    return flip(_require_rank(m, 2, "fliplr"), 1)


@stands_for(np.flipud)
@untraced_by(np.flipud)
def flipud(m: ArrayLike) -> Tensor:
    """The array reversed along its first axis.

    Raises:
        ShapeError: there is no axis.

    >>> import fgrad as fg
    >>> fg.flipud(fg.asarray([[1.0, 2.0], [3.0, 4.0]]))
    Tensor([[3., 4.],
            [1., 2.]], dtype=float64)
    """
    return flip(_require_rank(m, 1, "flipud"), 0)


@stands_for(np.rollaxis)
@untraced_by(np.rollaxis)
def rollaxis(a: ArrayLike, axis: int, start: int = 0) -> Tensor:
    """The array with an axis moved to where it stands before the axis `start` (see `moveaxis`).

    Raises:
        ShapeError: an axis is out of range.

    >>> import fgrad as fg
    >>> fg.rollaxis(fg.zeros((2, 3, 4)), 2).shape
    (4, 2, 3)
    """
    operand = as_operand(a)
    rank = len(shape_of(operand))
    place = axis_index(axis, rank, "rollaxis")
    goal = rank if start == rank else axis_index(start, rank, "rollaxis")
    return moveaxis(operand, place, goal - (place < goal))


@stands_for(np.copy)
def copy(a: ArrayLike) -> Tensor:
    """The array as a Tensor, which is never changed: a Tensor as it is.

    >>> import fgrad as fg
    >>> fg.copy(fg.asarray([1.0, 2.0]))
    Tensor([1., 2.], dtype=float64)
    """
    return to_tensor(a)


def broadcast_shapes(*args: Any) -> Shape:
    """The shape that arrays of these shapes broadcast to; an int stands for a shape of one length.

    Raises:
        ShapeError: they do not broadcast.

    >>> import fgrad as fg
    >>> fg.broadcast_shapes((2, 1), (3,), 1)
    (2, 3)
    """
    try:
        return np.broadcast_shapes(*args)
    except ValueError:
        shapes = " and ".join(str(one) for one in args)
        message = f"[broadcast_shapes] {shapes} do not broadcast: aligned from the right, lengths must be equal or 1"
        raise ShapeError(at_user_line(message)) from None
