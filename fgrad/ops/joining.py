"""Joining and splitting: concatenate, stack, split, pad."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import ShapeError, at_user_line
from fgrad.core.methods import operations
from fgrad.core.primitive import Primitive, register
from fgrad.core.shape import ShapeDtype
from fgrad.core.tensor import ArrayLike, Tensor, to_tensor
from fgrad.ops.arguments import as_operand, axis_index
from fgrad.ops.declare import as_batch, batch_size, stands_for
from fgrad.ops.indexing import getitem, take
from fgrad.ops.shaping import expand_dims, ravel
from fgrad.ops.structure import broadcast, convert, unbroadcast

__all__ = ["array_split", "concat", "concatenate", "hstack", "pad", "split", "stack", "vstack"]


def _concatenate_rule(*operands: ShapeDtype, axis: int) -> ShapeDtype:
    first = operands[0]
    for position, operand in enumerate(operands):
        others = [length for place, length in enumerate(operand.shape) if place != axis]
        expected = [length for place, length in enumerate(first.shape) if place != axis]
        if len(operand.shape) != len(first.shape) or others != expected:
            message = (
                f"operand {position} has shape {operand.shape} and operand 0 has shape {first.shape}; they must agree "
                f"in every axis but axis {axis}"
            )
            raise ShapeError(message)
    shape = list(first.shape)
    shape[axis] = sum(operand.shape[axis] for operand in operands)
    return ShapeDtype(tuple(shape), np.result_type(*(operand.dtype for operand in operands)))


def _concatenate_vjp(g: Any, needed: Any, out: Any, *operands: Any, axis: int) -> tuple[Any, ...]:
    cotangents: list[Any] = []
    start = 0
    for wanted, operand in zip(needed, operands, strict=True):
        stop = start + operand.shape[axis]
        part = unbroadcast(getitem(g, (*[slice(None)] * axis, slice(start, stop))), operand) if wanted else None
        cotangents.append(part)
        start = stop
    return tuple(cotangents)


def _batch_concatenate(primitive: Primitive, batched: tuple[bool, ...], *operands: Any, axis: int) -> Any:
    size = batch_size(batched, operands)
    parts = [as_batch(operand, own, size) for operand, own in zip(operands, batched, strict=True)]
    return bind(primitive, *parts, axis=axis + 1)


concatenate_p = register(
    Primitive(
        "concatenate",
        evaluate=lambda *arrays, axis: np.concatenate(arrays, axis),
        shape_rule=_concatenate_rule,
        vjp=_concatenate_vjp,
        linear=slice(None),
        batch=_batch_concatenate,
    )
)


@stands_for(np.concatenate)
def concatenate(arrays: Sequence[ArrayLike] | Tensor, /, axis: int | None = 0, *, dtype: Any = None) -> Tensor:
    """Arrays joined along an axis they have; their flattened elements with ``axis=None``.

    Raises:
        ShapeError: when the arrays differ in another axis, or there is none.

    >>> import fgrad as fg
    >>> fg.concatenate([fg.asarray([1.0, 2.0]), fg.asarray([3.0])])
    Tensor([1., 2., 3.], dtype=float64)
    """
    operands = [as_operand(array) for array in arrays]
    if not operands:
        message = "[concatenate] needs at least one array"
        raise ShapeError(at_user_line(message))
    if dtype is not None:
        operands = [convert(operand, np.dtype(dtype)) for operand in operands]
    if axis is None:
        operands, axis = [ravel(operand) for operand in operands], 0
    if not operands[0].shape:
        message = "[concatenate] arrays of shape () have no axis to be joined along; use fg.stack"
        raise ShapeError(at_user_line(message))
    return bind(concatenate_p, *operands, axis=axis_index(axis, len(operands[0].shape), "concatenate"))


concat = concatenate


@stands_for(np.stack)
def stack(arrays: Sequence[ArrayLike] | Tensor, /, axis: int = 0, *, dtype: Any = None) -> Tensor:
    """Arrays of one shape joined along a new axis.

    Raises:
        ShapeError: when the shapes differ, or there is no array.

    >>> import fgrad as fg
    >>> fg.stack([fg.asarray([1.0, 2.0]), fg.asarray([3.0, 4.0])], axis=1)
    Tensor([[1., 3.],
            [2., 4.]], dtype=float64)
    """
    operands = [as_operand(array) for array in arrays]
    if not operands:
        message = "[stack] needs at least one array"
        raise ShapeError(at_user_line(message))
    for position, operand in enumerate(operands):
        if operand.shape != operands[0].shape:
            message = (
                f"[stack] array {position} has shape {operand.shape} and array 0 has shape {operands[0].shape}; all "
                f"must have one shape"
            )
            raise ShapeError(at_user_line(message))
    place = axis_index(axis, len(operands[0].shape) + 1, "stack")
    return concatenate([expand_dims(operand, place) for operand in operands], place, dtype=dtype)


@stands_for(np.hstack)
def hstack(arrays: Sequence[ArrayLike]) -> Tensor:
    """Arrays joined along their second axis, or along the first where they have one.

    >>> import fgrad as fg
    >>> fg.hstack([fg.asarray([1.0]), fg.asarray([2.0, 3.0])])
    Tensor([1., 2., 3.], dtype=float64)
    """
    operands = [_at_least(array, 1) for array in arrays]
    return concatenate(operands, 0 if operands and operands[0].ndim == 1 else 1)


@stands_for(np.vstack)
def vstack(arrays: Sequence[ArrayLike]) -> Tensor:
    """Arrays as rows of a matrix, or joined along their first axis.

    >>> import fgrad as fg
    >>> fg.vstack([fg.asarray([1.0, 2.0]), fg.asarray([3.0, 4.0])])
    Tensor([[1., 2.],
            [3., 4.]], dtype=float64)
    """
    return concatenate([_at_least(array, 2) for array in arrays], 0)


def _at_least(array: ArrayLike, rank: int) -> Tensor:
    operand = to_tensor(array)
    missing = rank - operand.ndim
    return operand if missing <= 0 else expand_dims(operand, tuple(range(missing)))


@stands_for(np.array_split)
def array_split(x: ArrayLike, /, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """The array cut along an axis: into so many nearly equal parts, or before each of the positions.

    >>> import fgrad as fg
    >>> fg.array_split(fg.arange(3.0), 2)
    [Tensor([0., 1.], dtype=float64), Tensor([2.], dtype=float64)]
    """
    operand = as_operand(x)
    place = axis_index(axis, len(operand.shape), "array_split")
    length = operand.shape[place]
    if isinstance(indices_or_sections, int | np.integer):
        sections = operator.index(indices_or_sections)
        if sections < 1:
            message = f"[array_split] the number of sections must be at least 1, not {sections}"
            raise ShapeError(at_user_line(message))
        each, extra = divmod(length, sections)
        cuts = [part * each + min(part, extra) for part in range(1, sections)]
    else:
        cuts = [operator.index(cut) for cut in indices_or_sections]
    starts, stops = [0, *cuts], [*cuts, length]
    lead = [slice(None)] * place
    return [getitem(operand, (*lead, slice(start, stop))) for start, stop in zip(starts, stops, strict=True)]


@stands_for(np.split)
def split(x: ArrayLike, /, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """The array cut along an axis: into so many equal parts, or before each of the positions.

    Raises:
        ShapeError: when the axis cannot be cut into so many equal parts.

    >>> import fgrad as fg
    >>> fg.split(fg.arange(4.0), 2)
    [Tensor([0., 1.], dtype=float64), Tensor([2., 3.], dtype=float64)]
    """
    if isinstance(indices_or_sections, int | np.integer):
        operand = as_operand(x)
        length = operand.shape[axis_index(axis, len(operand.shape), "split")]
        if indices_or_sections < 1 or length % indices_or_sections:
            message = (
                f"[split] axis {axis} of shape {tuple(operand.shape)} has length {length}, which does not divide into "
                f"{indices_or_sections} equal parts; fg.array_split allows unequal ones"
            )
            raise ShapeError(at_user_line(message))
    return array_split(x, indices_or_sections, axis)


@stands_for(np.pad)
def pad(x: ArrayLike, /, pad_width: Any, mode: str = "constant", *, constant_values: Any = 0) -> Tensor:
    """The array with a border: ``pad_width`` is n, (before, after), or a pair for each axis.

    Args:
        x: what to pad.
        pad_width: lengths of the border, as in NumPy.
        mode: "constant" (the border is `constant_values`), or one that copies elements of x into the border: "edge",
            "reflect", "symmetric", "wrap".
        constant_values: the border's value, a pair, or a pair for each axis.

    Raises:
        ShapeError: for a negative width or a mode that is none of these.

    >>> import fgrad as fg
    >>> fg.pad(fg.asarray([1.0, 2.0]), 1)
    Tensor([0., 1., 2., 0.], dtype=float64)
    """
    result = to_tensor(x)
    widths = _per_axis(pad_width, result.ndim, "pad_width")
    if any(width < 0 for pair in widths for width in pair):
        message = f"[pad] widths cannot be negative: {pad_width}"
        raise ShapeError(at_user_line(message))
    if mode == "constant":
        values = _per_axis(constant_values, result.ndim, "constant_values")
        for axis, (pair, borders) in enumerate(zip(widths, values, strict=True)):
            result = _pad_axis(result, axis, pair, borders)
        return result
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        message = f"[pad] mode is 'constant', 'edge', 'reflect', 'symmetric' or 'wrap', not {mode!r}"
        raise ShapeError(at_user_line(message))
    for axis, (before, after) in enumerate(widths):
        if before or after:
            positions = np.pad(np.arange(result.shape[axis]), (before, after), mode=mode)  # type: ignore[call-overload]
            result = take(result, positions, axis)
    return result


def _per_axis(given: Any, rank: int, name: str) -> list[tuple[Any, Any]]:
    try:
        pairs = np.broadcast_to(np.asarray(given), (rank, 2))
    except ValueError:
        message = f"[pad] {name} must be a number, a pair, or a pair for each of the {rank} axes, not {given}"
        raise ShapeError(at_user_line(message)) from None
    return [(before, after) for before, after in pairs.tolist()]


def _pad_axis(x: Tensor, axis: int, widths: tuple[int, int], values: tuple[Any, Any]) -> Tensor:
    parts: list[ArrayLike] = [x]
    for place, width, value in ((0, widths[0], values[0]), (len(parts), widths[1], values[1])):
        if width:
            shape = tuple([width if number == axis else length for number, length in enumerate(x.shape)])
            border = broadcast(np.asarray(value).astype(x.dtype), shape)
            parts.insert(0 if place == 0 else len(parts), border)
    return concatenate(parts, axis) if len(parts) > 1 else x


operations.stack = stack
