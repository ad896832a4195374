"""Shape and order of axes: reshape, transpose, broadcast, flip, roll, tile, repeat, pad, triangles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod as product
from typing import Any

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import ShapeError, at_user_line
from fgrad.core.methods import operations
from fgrad.core.primitive import Primitive
from fgrad.core.shape import Shape, ShapeDtype
from fgrad.core.tensor import ArrayLike, Tensor, to_tensor
from fgrad.ops.arguments import (
    as_integer,
    as_operand,
    axis_index,
    axis_tuple,
    check_device,
    numeric_dtype,
    shape_integers,
    shape_tuple,
)
from fgrad.ops.declare import batch_over_axes, linear, stands_for, untraced_by
from fgrad.ops.selection import where
from fgrad.ops.structure import broadcast, convert, reshape_to

__all__ = [
    "astype",
    "atleast_1d",
    "atleast_2d",
    "broadcast_arrays",
    "broadcast_to",
    "expand_dims",
    "flip",
    "matrix_transpose",
    "moveaxis",
    "ndim",
    "permute_dims",
    "ravel",
    "reshape",
    "roll",
    "shape",
    "size",
    "squeeze",
    "swapaxes",
    "tile",
    "transpose",
    "tril",
    "triu",
]


def _transpose_adjoint(g: Any, x: Any, axes: tuple[int, ...]) -> Any:
    return bind(transpose_p, g, axes=tuple(np.argsort(axes).tolist()))


transpose_p: Primitive = linear(
    "transpose",
    evaluate=lambda x, axes: x.transpose(axes),
    shape_rule=lambda x, axes: ShapeDtype(tuple([x.shape[axis] for axis in axes]), x.dtype),
    adjoint=_transpose_adjoint,
    batch=lambda primitive, batched, x, axes: bind(primitive, x, axes=(0, *[axis + 1 for axis in axes])),
    makes_views=True,
)


def _flip_evaluate(x: np.ndarray[Any, Any], axes: tuple[int, ...]) -> Any:
    return x[tuple([slice(None, None, -1) if axis in axes else slice(None) for axis in range(x.ndim)])]


flip_p: Primitive = linear(
    "flip",
    evaluate=_flip_evaluate,
    shape_rule=lambda x, axes: ShapeDtype(x.shape, x.dtype),
    adjoint=lambda g, x, axes: bind(flip_p, g, axes=axes),
    batch=batch_over_axes,
    makes_views=True,
)
roll_p: Primitive = linear(
    "roll",
    evaluate=lambda x, shifts, axes: np.roll(x, shift=shifts, axis=axes),
    shape_rule=lambda x, shifts, axes: ShapeDtype(x.shape, x.dtype),
    adjoint=lambda g, x, shifts, axes: bind(roll_p, g, shifts=tuple([-shift for shift in shifts]), axes=axes),
    batch=batch_over_axes,
)


@stands_for(np.shape)
def shape(x: ArrayLike) -> Shape:
    """The shape of an array, as a tuple of Python ints.

    >>> import fgrad as fg
    >>> fg.shape(fg.zeros((2, 3)))
    (2, 3)
    """
    return tuple(as_operand(x).shape)


@stands_for(np.ndim)
def ndim(x: ArrayLike) -> int:
    """The number of axes of an array.

    >>> import fgrad as fg
    >>> fg.ndim(fg.zeros((2, 3)))
    2
    """
    return len(as_operand(x).shape)


@stands_for(np.size)
def size(x: ArrayLike, axis: int | tuple[int, ...] | None = None) -> int:
    """The number of elements of an array, or its length along an axis, or the product of those along several.

    Raises:
        ShapeError: an axis is out of range or named twice.

    >>> import fgrad as fg
    >>> fg.size(fg.zeros((2, 3)))
    6
    """
    lengths = as_operand(x).shape
    return product([lengths[place] for place in axis_tuple(axis, len(lengths), "size")])


@stands_for(getattr(np, "astype", None))  # NumPy 2.1 has it
def astype(x: ArrayLike, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Tensor:
    """The same values in another dtype; the cotangent is converted back.

    A tensor that has the dtype already is returned as it is, whatever `copy` says: it is immutable. Through an integer
    or boolean dtype no gradient passes.

    >>> import fgrad as fg
    >>> fg.astype(fg.asarray([1.5, 2.5]), "float32")
    Tensor([1.5, 2.5], dtype=float32)
    """
    if device is not None:
        check_device(device, "astype")
    operand = to_tensor(x)
    wanted = numeric_dtype(dtype)
    if operand.dtype == wanted and not operand.weak:
        return operand
    return convert(operand, wanted)


@stands_for(np.reshape)
def reshape(x: ArrayLike, /, shape: Any, order: str = "C", *, copy: bool | None = None) -> Tensor:
    """The elements under another shape, in an order that stays; one length may be -1 and is worked out.

    Args:
        x: the elements.
        shape: the lengths of the result's axes.
        order: "C", the last axis of both shapes runs fastest; "F", the first one does. "A", which asks NumPy for the
            order in memory, is "C": a tensor shows nothing of its layout.
        copy: as in NumPy; a Tensor is immutable, so that it makes no difference whether memory is shared.

    Raises:
        ShapeError: when the number of elements differs, or the order is none of these.

    >>> import fgrad as fg
    >>> fg.reshape(fg.arange(4.0), (2, -1))
    Tensor([[0., 1.],
            [2., 3.]], dtype=float64)
    """
    operand = as_operand(x)
    lengths = list(shape_integers(shape, "reshape"))
    if -1 in lengths:
        position = lengths.index(-1)
        known = product(lengths[:position]) * product(lengths[position + 1 :])
        elements = product(operand.shape)
        if known <= 0 or elements % known:
            message = f"[reshape] {elements} elements of shape {operand.shape} cannot take the shape {tuple(lengths)}"
            raise ShapeError(at_user_line(message))
        lengths[position] = elements // known
    found = shape_tuple(lengths, "reshape")
    if order == "C" or _is_row_major(order, "reshape"):
        return reshape_to(operand, found)
    return transpose(reshape_to(transpose(operand), found[::-1]))


def _is_row_major(order: str | None, operation: str) -> bool:
    """Whether the last axis runs fastest in a NumPy order; "A" and "K" ask for the memory's, which no tensor shows."""
    if order not in ("C", "F", "A", "K", None):
        message = f"[{operation}] order is 'C' (rows first), 'F' (columns first), 'A' or 'K', not {order!r}"
        raise ShapeError(at_user_line(message))
    return order != "F"


@stands_for(np.ravel)
def ravel(x: ArrayLike, order: str = "C") -> Tensor:
    """All elements along one axis: in row-major order, or with the first axis running fastest for ``order="F"``.

    Raises:
        ShapeError: when the order is not "C", "F", "A" or "K"; the last two are "C".

    >>> import fgrad as fg
    >>> fg.ravel(fg.asarray([[1.0, 2.0], [3.0, 4.0]]))
    Tensor([1., 2., 3., 4.], dtype=float64)
    """
    operand = as_operand(x)
    if order != "C" and not _is_row_major(order, "ravel"):
        operand = transpose(operand)
    return reshape_to(operand, (product(operand.shape),))


@stands_for(np.transpose)
def transpose(x: ArrayLike, axes: Sequence[int] | None = None) -> Tensor:
    """The axes in another order, reversed by default: result axis i is axis ``axes[i]`` of x.

    Raises:
        ShapeError: when `axes` is not a permutation of the axes.

    >>> import fgrad as fg
    >>> fg.transpose(fg.zeros((2, 3, 4)), (1, 0, 2)).shape
    (3, 2, 4)
    """
    operand = as_operand(x)
    rank = len(operand.shape)
    if axes is None:
        order = tuple(range(rank))[::-1]
    else:
        order = tuple([axis_index(axis, rank, "transpose") for axis in axes])
        if sorted(order) != list(range(rank)):
            message = f"[transpose] axes {tuple(axes)} do not name each of the {rank} axes of {operand.shape} once"
            raise ShapeError(at_user_line(message))
    return bind(transpose_p, operand, axes=order)


permute_dims = transpose


@stands_for(np.matrix_transpose)
def matrix_transpose(x: ArrayLike, /) -> Tensor:
    """The last two axes exchanged: the transpose of a matrix or of each matrix in a stack.

    Raises:
        ShapeError: when there are fewer than two axes.

    >>> import fgrad as fg
    >>> fg.matrix_transpose(fg.zeros((5, 2, 3))).shape
    (5, 3, 2)
    """
    operand = as_operand(x)
    if len(operand.shape) < 2:
        message = f"[matrix_transpose] a matrix has at least two axes, and this has the shape {tuple(operand.shape)}"
        raise ShapeError(at_user_line(message))
    return swapaxes(operand, -1, -2)


@stands_for(np.swapaxes)
def swapaxes(x: ArrayLike, axis1: int, axis2: int) -> Tensor:
    """Two axes exchanged.

    >>> import fgrad as fg
    >>> fg.swapaxes(fg.zeros((2, 3, 4)), 0, 2).shape
    (4, 3, 2)
    """
    operand = as_operand(x)
    order = list(range(len(operand.shape)))
    first, second = (axis_index(axis, len(order), "swapaxes") for axis in (axis1, axis2))
    order[first], order[second] = second, first
    return bind(transpose_p, operand, axes=tuple(order))


@stands_for(np.moveaxis)
def moveaxis(x: ArrayLike, source: Any, destination: Any) -> Tensor:
    """Axes moved to other places, the rest in their order.

    >>> import fgrad as fg
    >>> fg.moveaxis(fg.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    operand = as_operand(x)
    rank = len(operand.shape)
    places = [
        [axis_index(axis, rank, "moveaxis") for axis in (axes if isinstance(axes, Iterable) else (axes,))]
        for axes in (source, destination)
    ]
    if len(places[0]) != len(places[1]) or any(len(set(axes)) != len(axes) for axes in places):
        message = f"[moveaxis] source {source} and destination {destination} must name as many axes, each once"
        raise ShapeError(at_user_line(message))
    order = [axis for axis in range(rank) if axis not in places[0]]
    for place, axis in sorted(zip(places[1], places[0], strict=True)):
        order.insert(place, axis)
    return bind(transpose_p, operand, axes=tuple(order))


@stands_for(np.broadcast_to)
def broadcast_to(x: ArrayLike, shape: Any) -> Tensor:
    """x repeated along axes of length 1 and along new leading axes, to the given shape; the adjoint is a sum.

    Raises:
        ShapeError: when the shape cannot be reached by broadcasting.

    >>> import fgrad as fg
    >>> fg.broadcast_to(fg.asarray([1.0, 2.0]), (2, 2))
    Tensor([[1., 2.],
            [1., 2.]], dtype=float64)
    """
    return broadcast(as_operand(x), shape_tuple(shape, "broadcast_to"))


@stands_for(np.broadcast_arrays)
def broadcast_arrays(*arrays: ArrayLike) -> list[Tensor]:
    """All arrays broadcast to their common shape: a list, as the array API of 2024.12 has it.

    Raises:
        ShapeError: when the shapes do not broadcast together.

    >>> import fgrad as fg
    >>> [x.shape for x in fg.broadcast_arrays(fg.zeros((2, 1)), fg.zeros(3))]
    [(2, 3), (2, 3)]
    """
    operands = [as_operand(array) for array in arrays]
    shapes = [tuple(operand.shape) for operand in operands]
    try:
        common = np.broadcast_shapes(*shapes)
    except ValueError:
        message = f"[broadcast_arrays] the shapes {' and '.join(map(str, shapes))} cannot be broadcast together"
        raise ShapeError(at_user_line(message)) from None
    return [broadcast(operand, common) for operand in operands]


@stands_for(np.expand_dims)
def expand_dims(x: ArrayLike, /, axis: int | Sequence[int]) -> Tensor:
    """A new axis of length 1 at each place that `axis` names in the result.

    >>> import fgrad as fg
    >>> fg.expand_dims(fg.zeros((2, 3)), (0, -1)).shape
    (1, 2, 3, 1)
    """
    operand = as_operand(x)
    count = len(axis) if isinstance(axis, Sequence) else 1
    rank = len(operand.shape) + count
    new = axis_tuple(axis, rank, "expand_dims")
    lengths = iter(operand.shape)
    return reshape_to(operand, tuple([1 if place in new else next(lengths) for place in range(rank)]))


@stands_for(np.squeeze)
def squeeze(x: ArrayLike, /, axis: int | Sequence[int] | None = None) -> Tensor:
    """Axes of length 1 taken out: all of them, or those that `axis` names.

    Raises:
        ShapeError: when a named axis has another length.

    >>> import fgrad as fg
    >>> fg.squeeze(fg.zeros((1, 3, 1))).shape
    (3,)
    """
    operand = as_operand(x)
    lengths = tuple(operand.shape)
    ones = [place for place, length in enumerate(lengths) if length == 1]
    gone = ones if axis is None else axis_tuple(axis, len(lengths), "squeeze")
    if any(place not in ones for place in gone):
        message = f"[squeeze] only axes of length 1 can be taken out, and axis {axis} of shape {lengths} is longer"
        raise ShapeError(at_user_line(message))
    return reshape_to(operand, tuple([length for place, length in enumerate(lengths) if place not in gone]))


@stands_for(np.atleast_1d)
def atleast_1d(*arrays: ArrayLike) -> Any:
    """The array with at least one axis: a scalar becomes shape (1,). Of several arrays, a tuple of them.

    >>> import fgrad as fg
    >>> fg.atleast_1d(2.0)
    Tensor([2.], dtype=float64)
    """
    found = [operand if operand.ndim else reshape_to(operand, (1,)) for operand in map(to_tensor, arrays)]
    return found[0] if len(found) == 1 else tuple(found)


@stands_for(np.atleast_2d)
def atleast_2d(*arrays: ArrayLike) -> Any:
    """The array with at least two axes, new ones in front. Of several arrays, a tuple of them.

    >>> import fgrad as fg
    >>> fg.atleast_2d(fg.asarray([1.0, 2.0])).shape
    (1, 2)
    """
    found = [
        operand if operand.ndim > 1 else reshape_to(operand, (1,) * (2 - operand.ndim) + operand.shape)
        for operand in map(to_tensor, arrays)
    ]
    return found[0] if len(found) == 1 else tuple(found)


@stands_for(np.flip)
def flip(x: ArrayLike, /, axis: int | Sequence[int] | None = None) -> Tensor:
    """The elements in reverse order along the axes, along all of them by default.

    >>> import fgrad as fg
    >>> fg.flip(fg.asarray([1.0, 2.0, 3.0]))
    Tensor([3., 2., 1.], dtype=float64)
    """
    operand = as_operand(x)
    return bind(flip_p, operand, axes=axis_tuple(axis, len(operand.shape), "flip"))


@stands_for(np.roll)
@untraced_by(np.roll)
def roll(x: ArrayLike, /, shift: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Tensor:
    """The elements moved along the axes, those that fall off the end coming in at the start.

    Without `axis` the flattened elements are moved.

    >>> import fgrad as fg
    >>> fg.roll(fg.asarray([1.0, 2.0, 3.0]), 1)
    Tensor([3., 1., 2.], dtype=float64)
    """
    operand = as_operand(x)
    # An array or a Tensor of shape () is one number, though its class can be iterated over.
    shift = as_integer(shift, "roll", "a shift is an integer") if getattr(shift, "shape", None) == () else shift
    if axis is None:
        if isinstance(shift, Iterable):
            shift = sum(as_integer(one, "roll", "a shift is an integer") for one in shift)
        return reshape_to(roll(ravel(operand), shift, 0), operand.shape)
    axes = tuple(axis) if isinstance(axis, Iterable) else (axis,)
    shifts = tuple(shift) if isinstance(shift, Iterable) else (shift,)
    if len(shifts) == 1:
        shifts = shifts * len(axes)
    elif len(axes) == 1:
        axes = axes * len(shifts)
    if len(shifts) != len(axes):
        message = f"[roll] {len(shifts)} shifts were given for {len(axes)} axes"
        raise ShapeError(at_user_line(message))
    places = tuple([axis_index(one, len(operand.shape), "roll") for one in axes])
    steps = tuple([as_integer(one, "roll", "a shift is an integer") for one in shifts])
    return bind(roll_p, operand, shifts=steps, axes=places)


@stands_for(np.tile)
@untraced_by(np.tile)
def tile(x: ArrayLike, /, reps: int | Sequence[int]) -> Tensor:
    """x repeated as a whole, ``reps[i]`` times along axis i.

    >>> import fgrad as fg
    >>> fg.tile(fg.asarray([1.0, 2.0]), 2)
    Tensor([1., 2., 1., 2.], dtype=float64)
    """
    operand = as_operand(x)
    counts = shape_tuple(reps, "tile")
    rank = max(len(counts), len(operand.shape))
    counts = (1,) * (rank - len(counts)) + counts
    lengths = (1,) * (rank - len(operand.shape)) + tuple(operand.shape)
    pairs = [number for pair in zip(counts, lengths, strict=True) for number in pair]
    spread = reshape_to(operand, tuple([number for length in lengths for number in (1, length)]))
    whole = tuple([count * length for count, length in zip(counts, lengths, strict=True)])
    return reshape_to(broadcast(spread, tuple(pairs)), whole)


@stands_for(np.tril)
@untraced_by(np.tril)
def tril(x: ArrayLike, /, k: int = 0) -> Tensor:
    """The lower triangle of the last two axes, zeros above diagonal k; one axis is every row of a square matrix.

    >>> import fgrad as fg
    >>> fg.tril(fg.ones((2, 2)))
    Tensor([[1., 0.],
            [1., 1.]], dtype=float64)
    """
    return _triangle(x, k, "tril", upper=False)


@stands_for(np.triu)
@untraced_by(np.triu)
def triu(x: ArrayLike, /, k: int = 0) -> Tensor:
    """The upper triangle of the last two axes, zeros below diagonal k; one axis is every row of a square matrix.

    >>> import fgrad as fg
    >>> fg.triu(fg.ones((2, 2)))
    Tensor([[1., 1.],
            [0., 1.]], dtype=float64)
    """
    return _triangle(x, k, "triu", upper=True)


def _triangle(x: ArrayLike, k: int, name: str, *, upper: bool) -> Tensor:
    operand = as_operand(x)
    if not operand.shape:
        message = f"[{name}] needs the two axes of matrices, and x has shape ()"
        raise ShapeError(at_user_line(message))
    # Of one axis, NumPy takes the elements as every row of a square matrix.
    lengths = operand.shape[-2:]
    below = np.tri(lengths[0], lengths[-1], k - 1 if upper else k, dtype=bool)
    zero = np.zeros((), operand.dtype)
    return where(~below if upper else below, operand, zero)


operations.transpose = transpose
operations.matrix_transpose = matrix_transpose
operations.swapaxes = swapaxes
operations.reshape = reshape
operations.ravel = ravel
operations.squeeze = squeeze
operations.astype = astype
