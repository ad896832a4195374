"""Joining and splitting: concatenate, stack, split."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from fgrad.core.bind import bind, is_weak
from fgrad.core.errors import DtypeError, ShapeError, at_user_line, refuse_out
from fgrad.core.methods import operations
from fgrad.core.primitive import Primitive, register
from fgrad.core.shape import PYTHON_NUMBERS, ShapeDtype, result_dtype, shape_dtype_of
from fgrad.core.tensor import ArrayLike, ConcreteTensor, Tensor, adopt, to_tensor
from fgrad.ops.arguments import as_integer, as_operand, axis_index, numeric_dtype
from fgrad.ops.declare import as_batch, batch_size, stands_for, untraced_by
from fgrad.ops.indexing import getitem
from fgrad.ops.shaping import expand_dims, ravel
from fgrad.ops.structure import convert, unbroadcast

__all__ = ["array_split", "concat", "concatenate", "hstack", "split", "stack", "vstack"]


Casting: TypeAlias = Literal["no", "equiv", "safe", "same_kind", "unsafe"]


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
def concatenate(
    arrays: Sequence[ArrayLike] | Tensor,
    /,
    axis: int | None = 0,
    *,
    dtype: Any = None,
    casting: Casting = "same_kind",
    out: None = None,
) -> Tensor:
    """Arrays joined along an axis they have; their flattened elements with ``axis=None``.

    `dtype` is that of the result, by default the promoted one; `casting` says, as in NumPy, which conversions to it
    are allowed.

    Raises:
        ShapeError: when the arrays differ in another axis, or there is none.
        DtypeError: when `casting` forbids a conversion.

    >>> import fgrad as fg
    >>> fg.concatenate([fg.asarray([1.0, 2.0]), fg.asarray([3.0])])
    Tensor([1., 2., 3.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.concatenate")
    operands = [as_operand(array) for array in (_with_promoted_numbers(arrays) if axis is None else arrays)]
    if not operands:
        message = "[concatenate] needs at least one array"
        raise ShapeError(at_user_line(message))
    if dtype is not None or casting != "same_kind":
        operands = _cast(operands, dtype, casting)
    if axis is None:
        operands, axis = [ravel(operand) for operand in operands], 0
    if not operands[0].shape:
        message = "[concatenate] arrays of shape () have no axis to be joined along; use fg.stack"
        raise ShapeError(at_user_line(message))
    return bind(concatenate_p, *operands, axis=axis_index(axis, len(operands[0].shape), "concatenate"))


concat = concatenate


def _with_promoted_numbers(arrays: Sequence[ArrayLike] | Tensor) -> Sequence[Any] | Tensor:
    """The arrays, with Python numbers among them in the dtype that they take on beside the others."""
    if not any(map(is_weak, arrays)):
        return arrays
    values = [array if is_weak(array) and type(array) is not bool else as_operand(array) for array in arrays]
    dtype = result_dtype(*map(shape_dtype_of, values))
    return [
        np.asarray(x, dtype) if type(x) in PYTHON_NUMBERS else convert(x, dtype) if is_weak(x) else x for x in values
    ]


def _cast(operands: list[Any], dtype: Any, casting: Casting) -> list[Any]:
    dtypes = [operand.dtype for operand in operands]
    wanted = np.result_type(*dtypes) if dtype is None else numeric_dtype(dtype)
    for own in dtypes:
        if not np.can_cast(own, wanted, casting):
            message = f"[concatenate] casting={casting!r} does not allow the conversion of {own} to {wanted}"
            raise DtypeError(at_user_line(message))
    return [operand if operand.dtype == wanted else convert(operand, wanted) for operand in operands]


@stands_for(np.stack)
def stack(
    arrays: Sequence[ArrayLike] | Tensor,
    /,
    axis: int = 0,
    *,
    dtype: Any = None,
    casting: Casting = "same_kind",
    out: None = None,
) -> Tensor:
    """Arrays of one shape joined along a new axis; `dtype` and `casting` are those of `concatenate`.

    Raises:
        ShapeError: when the shapes differ, or there is no array.

    >>> import fgrad as fg
    >>> fg.stack([fg.asarray([1.0, 2.0]), fg.asarray([3.0, 4.0])], axis=1)
    Tensor([[1., 3.],
            [2., 4.]], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.stack")
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
    if dtype is None and casting == "same_kind" and all([type(operand) is ConcreteTensor for operand in operands]):
        return adopt(np.stack([operand._array for operand in operands], place))
    return concatenate([expand_dims(operand, place) for operand in operands], place, dtype=dtype, casting=casting)


@stands_for(np.hstack)
@untraced_by(np.hstack)
def hstack(arrays: Sequence[ArrayLike], *, dtype: Any = None, casting: Casting = "same_kind") -> Tensor:
    """Arrays joined along their second axis, or along the first where they have one; see `concatenate`.

    >>> import fgrad as fg
    >>> fg.hstack([fg.asarray([1.0]), fg.asarray([2.0, 3.0])])
    Tensor([1., 2., 3.], dtype=float64)
    """
    operands = [_at_least(array, 1) for array in arrays]
    return concatenate(operands, 0 if operands and operands[0].ndim == 1 else 1, dtype=dtype, casting=casting)


@stands_for(np.vstack)
@untraced_by(np.vstack)
def vstack(arrays: Sequence[ArrayLike], *, dtype: Any = None, casting: Casting = "same_kind") -> Tensor:
    """Arrays as rows of a matrix, or joined along their first axis; see `concatenate`.

    >>> import fgrad as fg
    >>> fg.vstack([fg.asarray([1.0, 2.0]), fg.asarray([3.0, 4.0])])
    Tensor([[1., 2.],
            [3., 4.]], dtype=float64)
    """
    return concatenate([_at_least(array, 2) for array in arrays], 0, dtype=dtype, casting=casting)


def _at_least(array: ArrayLike, rank: int) -> Tensor:
    operand = to_tensor(array)
    missing = rank - operand.ndim
    return operand if missing <= 0 else expand_dims(operand, tuple(range(missing)))


@stands_for(np.array_split)
@untraced_by(np.array_split)
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
        cuts = [as_integer(cut, "array_split", "a place to split at is an integer") for cut in indices_or_sections]
    starts, stops = [0, *cuts], [*cuts, length]
    lead = [slice(None)] * place
    return [getitem(operand, (*lead, slice(start, stop))) for start, stop in zip(starts, stops, strict=True)]


@stands_for(np.split)
@untraced_by(np.split)
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


operations.stack = stack
