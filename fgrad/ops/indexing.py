"""Indexing: basic and advanced reads, `.at` updates, take and one_hot."""

from __future__ import annotations

import re
from math import prod as product
from typing import Any

import attrs
import numpy as np

from fgrad.core.bind import Tracer, bind
from fgrad.core.errors import DtypeError, IndexingError, ShapeError, TracerConversionError, at_user_line, refuse_out
from fgrad.core.methods import operations
from fgrad.core.primitive import Primitive, register
from fgrad.core.shape import PYTHON_NUMBERS, Shape, ShapeDtype, result_dtype, shape_dtype_of
from fgrad.core.tensor import ArrayLike, ConcreteTensor, Tensor, adopt, to_tensor
from fgrad.ops.arguments import as_integer, as_operand, axis_index, numeric_dtype, shape_of
from fgrad.ops.arithmetic import add, multiply
from fgrad.ops.declare import as_batch, batch_size, constant, stands_for, untraced_by
from fgrad.ops.index import (
    ARRAY,
    FLAT,
    Index,
    axes_before_block,
    batch_index,
    indexed_shape,
    make_index,
    spread_ellipsis,
)
from fgrad.ops.selection import maximum, minimum, where
from fgrad.ops.shaping import astype, ravel, reshape
from fgrad.ops.structure import broadcast

__all__ = ["IndexUpdate", "at", "one_hot", "repeat", "take", "take_along_axis"]


# The three linear primitives of indexing are each other's adjoints: a read, a sum of values into zeros at an index, and
# an overwriting at an index.


_EVERYTHING = slice(None)


def _getitem_evaluate(x: np.ndarray[Any, Any], *arrays: Any, index: Index) -> Any:
    # One array of positions along one axis, and nothing after it: NumPy has a quicker way for that.
    if len(arrays) == 1 and index.items[-1] is ARRAY and x.flags.c_contiguous and arrays[0].dtype.kind == "i":
        axis = len(index.items) - 1
        if axis < x.ndim and all([item == _EVERYTHING for item in index.items[:axis]]):
            return x.take(arrays[0], axis)
    return x[index.fill(arrays)]


def _getitem_rule(x: ShapeDtype, *arrays: ShapeDtype, index: Index) -> ShapeDtype:
    return ShapeDtype(indexed_shape(x, index, arrays), x.dtype)


def _getitem_vjp(g: Any, needed: Any, out: Any, x: Any, *arrays: Any, index: Index) -> tuple[Any, ...]:
    return (bind(scatter_add_p, g, *arrays, index=index, shape=shape_of(x)), *[None] * len(arrays))


def _batch_getitem(primitive: Primitive, batched: tuple[bool, ...], x: Any, *arrays: Any, index: Index) -> Any:
    own, *own_arrays = batched
    size = batch_size(batched, (x, *arrays))
    place = batch_index(index, arrays, own_arrays, len(shape_of(x)) - own, size, shared=not own)
    return place.from_read(_bind_for_one(own, primitive, x, *place.arrays, index=place.index))


_OUT_OF_RANGE = re.compile(r"index (-?\d+) is out of bounds for axis (\d+) with (?:size|length) (\d+)")


def _bind_for_one(further: int, primitive: Primitive, *operands: Any, **params: Any) -> Any:
    """`bind`, where an index that is out of range is reported as one example sees it: `further` axes are not its own.

    Raises:
        IndexError: with the reason alone; the batching trace adds the operands as one example knows them.
    """
    try:
        return bind(primitive, *operands, **params)
    except IndexError as error:
        found = _OUT_OF_RANGE.search(str(error))
        if found is None:
            raise
        position, axis, length = map(int, found.groups())
        message = f"index {position} is out of bounds for axis {axis - further} with length {length}"
        raise IndexError(message) from None


getitem_p = register(
    Primitive(
        "getitem",
        _getitem_evaluate,
        _getitem_rule,
        _getitem_vjp,
        linear=slice(1),
        batch=_batch_getitem,
        makes_views=True,
    )
)


# Up to this many values, NumPy's own addition at an index is the quickest; beyond, it takes up to three times longer.
_SCATTER_LIMIT = 16384


def _scatter_add_evaluate(values: np.ndarray[Any, Any], *arrays: Any, index: Index, shape: Shape) -> Any:
    if not arrays:
        out = np.zeros(shape, values.dtype)
        out[index.items] = values
        return out
    if values.size > _SCATTER_LIMIT and all([_reads_whole_axis(item) or _is_place(item) for item in index.items]):
        return _add_rows_at(values, arrays, index, shape)
    out = np.zeros(shape, values.dtype)
    np.add.at(out, index.fill(arrays), values)
    return out


def _reads_whole_axis(item: Any) -> bool:
    return item is Ellipsis or (isinstance(item, slice) and item == _EVERYTHING)


def _is_place(item: Any) -> bool:
    return item is ARRAY or isinstance(item, int)


def _add_rows_at(values: np.ndarray[Any, Any], arrays: tuple[Any, ...], index: Index, shape: Shape) -> Any:
    """The values summed into zeros at an index whose arrays and integers each name places along one whole axis."""
    items = spread_ellipsis(index.items, len(shape))
    named = [axis for axis, item in enumerate(items) if _is_place(item)]
    whole = [axis for axis, item in enumerate(items) if not _is_place(item)]
    block = np.broadcast_shapes(*(array.shape for array in arrays))
    remaining = iter(arrays)
    places: Any = 0
    for axis in named:
        item = items[axis]
        positions = _count_from_zero(next(remaining) if item is ARRAY else item, axis, shape[axis])
        places = places * shape[axis] + positions
    places = np.broadcast_to(places, block).reshape(-1)
    before = axes_before_block(index, len(shape))
    rows = np.moveaxis(values, range(before, before + len(block)), range(len(block)))
    found = _sum_rows(places, rows.reshape(places.size, -1), product([shape[axis] for axis in named]))
    order = [*named, *whole]
    arranged = found.reshape([shape[axis] for axis in order])
    return arranged if order == sorted(order) else arranged.transpose(np.argsort(order))


def _count_from_zero(positions: Any, axis: int, length: int) -> Any:
    positions = np.asarray(positions).astype(np.intp)
    wrong = (positions < -length) | (positions >= length)
    if wrong.any():
        message = f"index {positions[wrong].flat[0]} is out of bounds for axis {axis} with size {length}"
        raise IndexError(message)
    return np.where(positions < 0, positions + length, positions)


# With more rows than this to one place, adding single elements is quicker than adding rows turn by turn.
_MOST_TURNS = 8


def _sum_rows(places: np.ndarray[Any, Any], rows: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, Any]:
    """A matrix of `count` rows; each is the sum, in the order given, of the rows whose place it is."""
    width = rows.shape[1]
    out = np.zeros((count, width), rows.dtype)
    turns = _turns(places) if width > 1 else []
    if width == 1 or len(turns) > _MOST_TURNS:
        elements = places if width == 1 else (places[:, None] * width + np.arange(width)).reshape(-1)
        np.add.at(out.reshape(-1), elements, rows.reshape(-1))
        return out
    for number, turn in enumerate(turns):
        if number:
            out[places[turn]] += rows[turn]
        else:
            out[places[turn]] = rows[turn]
    return out


def _turns(places: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    """Positions in `places`, in rounds in which no place repeats, each place's positions in their order."""
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if ordered.size else np.zeros(0, np.intp)
    lengths = np.diff(np.r_[starts, ordered.size])
    occurrence = np.arange(ordered.size) - np.repeat(starts, lengths)
    return [order[occurrence == turn] for turn in range(int(lengths.max(initial=0)))]


def _scatter_add_rule(values: ShapeDtype, *arrays: ShapeDtype, index: Index, shape: Shape) -> ShapeDtype:
    read = indexed_shape(ShapeDtype(shape, values.dtype), index, arrays)
    if values.shape != read:
        message = f"values of shape {values.shape} cannot stand at an index that reads shape {read}"
        raise ShapeError(message)
    return ShapeDtype(shape, values.dtype)


def _scatter_add_vjp(g: Any, needed: Any, out: Any, values: Any, *arrays: Any, index: Index, shape: Shape) -> Any:
    return (bind(getitem_p, g, *arrays, index=index), *[None] * len(arrays))


def _batch_scatter_add(
    primitive: Primitive, batched: tuple[bool, ...], values: Any, *arrays: Any, index: Index, shape: Shape
) -> Any:
    own, *own_arrays = batched
    size = batch_size(batched, (values, *arrays))
    place = batch_index(index, arrays, own_arrays, len(shape), size)
    laid_out = place.to_read(as_batch(values, own, size))
    return _bind_for_one(1, primitive, laid_out, *place.arrays, index=place.index, shape=(size, *shape))


scatter_add_p = register(
    Primitive(
        "scatter_add",
        _scatter_add_evaluate,
        _scatter_add_rule,
        _scatter_add_vjp,
        linear=slice(1),
        batch=_batch_scatter_add,
    )
)


def _setitem_evaluate(x: np.ndarray[Any, Any], values: np.ndarray[Any, Any], *arrays: Any, index: Index) -> Any:
    out = x.copy()
    out[index.fill(arrays)] = values
    return out


def _setitem_rule(x: ShapeDtype, values: ShapeDtype, *arrays: ShapeDtype, index: Index) -> ShapeDtype:
    return ShapeDtype(_scatter_add_rule(values, *arrays, index=index, shape=x.shape).shape, x.dtype)


def _setitem_vjp(g: Any, needed: Any, out: Any, x: Any, values: Any, *arrays: Any, index: Index) -> tuple[Any, ...]:
    zeros = np.zeros(values.shape, values.dtype)
    by_x = bind(setitem_p, g, zeros, *arrays, index=index) if needed[0] else None
    by_values = None
    if needed[1]:
        by_values = bind(getitem_p, g, *arrays, index=index)
        if arrays:
            last = bind(last_writer_p, *arrays, index=index, shape=shape_of(x), values_shape=tuple(values.shape))
            by_values = where(last, by_values, np.zeros((), values.dtype))
    return (by_x, by_values, *[None] * len(arrays))


def _batch_setitem(
    primitive: Primitive, batched: tuple[bool, ...], x: Any, values: Any, *arrays: Any, index: Index
) -> Any:
    own, own_values, *own_arrays = batched
    size = batch_size(batched, (x, values, *arrays))
    place = batch_index(index, arrays, own_arrays, len(shape_of(x)) - own, size)
    laid_out = place.to_read(as_batch(values, own_values, size))
    return _bind_for_one(1, primitive, as_batch(x, own, size), laid_out, *place.arrays, index=place.index)


setitem_p = register(
    Primitive("setitem", _setitem_evaluate, _setitem_rule, _setitem_vjp, linear=slice(2), batch=_batch_setitem)
)


def _last_writer_evaluate(*arrays: Any, index: Index, shape: Shape, values_shape: Shape) -> Any:
    # Of values written to one place only the last stays, and only it has a derivative.
    numbers = np.arange(1, int(np.prod(values_shape)) + 1).reshape(values_shape)
    board = np.zeros(shape, numbers.dtype)
    place = index.fill(arrays)
    board[place] = numbers
    return board[place] == numbers


def _batch_last_writer(
    primitive: Primitive, batched: tuple[bool, ...], *arrays: Any, index: Index, shape: Shape, values_shape: Shape
) -> Any:
    size = batch_size(batched, arrays)
    place = batch_index(index, arrays, batched, len(shape), size)
    whole = (size, *shape)
    avals = [shape_dtype_of(array) for array in place.arrays]
    read = indexed_shape(ShapeDtype(whole, np.dtype(bool)), place.index, avals)
    return place.from_read(bind(primitive, *place.arrays, index=place.index, shape=whole, values_shape=read))


last_writer_p = constant(
    "last_writer",
    _last_writer_evaluate,
    lambda *arrays, index, shape, values_shape: ShapeDtype(values_shape, np.dtype(bool)),
    batch=_batch_last_writer,
)


_NO_MASKS = frozenset((int, slice, tuple))
_BASIC = frozenset((int, slice, type(None), type(Ellipsis)))
_asarray = np.asarray


def _is_boolean_scalar(index: Any) -> bool:
    if isinstance(index, bool | np.bool_):
        return True
    concrete = isinstance(index, Tensor | np.ndarray) and not isinstance(index, Tracer)
    return concrete and index.dtype.kind == "b" and not index.shape


def getitem(x: ArrayLike, index: Any) -> Tensor:
    """``x[index]`` as NumPy reads it: basic and advanced indexing; the adjoint sums into zeros.

    Raises:
        IndexingError: when the index is out of range or of a kind that cannot index.
    """
    if type(x) is ConcreteTensor and (
        type(index) in _BASIC or (type(index) is tuple and all([type(item) in _BASIC for item in index]))
    ):
        # What is quick in NumPy: no array among the index, and no tracer that records it.
        try:
            return adopt(_asarray(x._array[index]))
        except (IndexError, TypeError, ValueError):
            operand: Any = x  # what is wrong with it is found and explained below
    else:
        operand = as_operand(x)
    if type(index) not in _NO_MASKS and _is_boolean_scalar(index):
        operand, (index,) = _along_mask(operand, index)
    place, arrays = make_index(index, operand.shape)
    return bind(getitem_p, operand, *arrays, index=place)


def _along_mask(x: Any, mask: Any) -> tuple[Any, tuple[slice]]:
    # A mask of no axes selects x as a whole or not at all: along a new axis, as every mask makes one.
    return reshape(x, (1, *x.shape)), (slice(int(bool(mask))),)


@attrs.frozen(repr=False, eq=False)
class IndexUpdate:
    """``x.at[index]``: each method returns a new tensor that differs from x at the index.

    Values broadcast against ``x[index]`` and must be convertible to the dtype of x without loss of kind (no float into
    integers). Where an index names a place more than once, `add`, `multiply`, `min` and `max` apply every value, and
    `set` keeps the last.
    """

    _x: Any
    _index: Any = None
    # The shape of the result where `_x` has one more axis: that of a mask of no axes.
    _shape: Shape | None = None

    def __getitem__(self, index: Any) -> IndexUpdate:
        if type(index) not in _NO_MASKS and _is_boolean_scalar(index):
            return IndexUpdate(*_along_mask(self._x, index), self._x.shape)
        return IndexUpdate(self._x, (index,))

    def __repr__(self) -> str:
        return f"<updates of a tensor of shape {self._x.shape if self._shape is None else self._shape}>"

    def get(self) -> Tensor:
        """``x[index]``."""
        return getitem(self._x, self._place())

    def set(self, values: ArrayLike) -> Tensor:
        """x with ``x[index] = values``.

        >>> import fgrad as fg
        >>> fg.zeros(3).at[1].set(5.0)
        Tensor([0., 5., 0.], dtype=float64)
        """
        index, arrays, fitted = self._prepare(values)
        return self._finish(bind(setitem_p, self._x, fitted, *arrays, index=index))

    def add(self, values: ArrayLike) -> Tensor:
        """x with ``x[index] += values``, every value added where an index repeats.

        >>> import fgrad as fg
        >>> fg.zeros(3).at[fg.asarray([1, 1])].add(5.0)
        Tensor([ 0., 10.,  0.], dtype=float64)
        """
        index, arrays, fitted = self._prepare(values)
        sums = bind(scatter_add_p, fitted, *arrays, index=index, shape=tuple(self._x.shape))
        return self._finish(add(self._x, sums))

    def multiply(self, values: ArrayLike) -> Tensor:
        """x with ``x[index] *= values``."""
        return self._combine_in_rounds(multiply, values)

    def min(self, values: ArrayLike) -> Tensor:
        """x with ``x[index] = minimum(x[index], values)``."""
        return self._combine_in_rounds(minimum, values)

    def max(self, values: ArrayLike) -> Tensor:
        """x with ``x[index] = maximum(x[index], values)``."""
        return self._combine_in_rounds(maximum, values)

    def _place(self) -> Any:
        if self._index is None:
            message = "x.at needs an index: x.at[i].set(v)"
            raise IndexingError(at_user_line(message))
        return self._index[0]

    def _finish(self, result: Any) -> Tensor:
        found: Tensor = result if self._shape is None else reshape(result, self._shape)
        return found

    def _prepare(self, values: ArrayLike) -> tuple[Index, list[Any], Tensor]:
        index, arrays = make_index(self._place(), self._x.shape)
        x_aval = shape_dtype_of(self._x)
        operand = values if type(values) in PYTHON_NUMBERS else as_operand(values)
        promoted = result_dtype(ShapeDtype(x_aval.shape, x_aval.dtype), shape_dtype_of(operand))
        if not np.can_cast(promoted, x_aval.dtype, "same_kind"):
            message = (
                f"x.at[...] on dtype {x_aval.dtype} was given values of dtype {shape_dtype_of(operand).dtype}, which "
                f"would lose what they are; convert x with astype first"
            )
            raise DtypeError(at_user_line(message))
        shape = _read_shape(self._x, index, arrays)
        # An integer that the dtype does not hold raises, as in NumPy.
        is_number = type(operand) in PYTHON_NUMBERS
        fitted = to_tensor(np.asarray(operand, x_aval.dtype)) if is_number else astype(operand, x_aval.dtype)
        if fitted.shape != shape:
            try:
                fitted = broadcast(fitted, shape)
            except ShapeError:
                message = f"values of shape {fitted.shape} do not broadcast to x.at[...], which has shape {shape}"
                raise ShapeError(at_user_line(message)) from None
        return index, arrays, fitted

    def _combine_in_rounds(self, combine: Any, values: ArrayLike) -> Tensor:
        # Each round takes one value for each place, so that a place named twice is combined twice.
        index, arrays, fitted = self._prepare(values)
        if not arrays:
            return self._finish(_combine_at(self._x, combine, fitted, arrays, index))
        if any(isinstance(array, Tracer) for array in arrays):
            message = (
                "x.at[i].multiply, .min and .max need an index with known values, to treat repeated places rightly; "
                "here the index is being traced. Use .add or .set, or compute the index outside"
            )
            raise TracerConversionError(at_user_line(message))
        result = self._x
        for array_round, positions in _rounds(index, arrays, tuple(self._x.shape)):
            part = bind(getitem_p, ravel(fitted), positions, index=FLAT)
            result = reshape(_combine_at(ravel(result), combine, part, [array_round], FLAT), self._x.shape)
        return to_tensor(result)


def _read_shape(x: Any, index: Index, arrays: list[Any]) -> Shape:
    avals = [shape_dtype_of(array) for array in arrays]
    try:
        return indexed_shape(shape_dtype_of(x), index, avals)
    except (IndexError, ValueError) as error:
        message = f"x.at{index!r} on shape {tuple(x.shape)}: {error.args[0]}"
        raise IndexingError(at_user_line(message)) from None


def _combine_at(x: Any, combine: Any, values: Any, arrays: list[Any], index: Index) -> Tensor:
    combined = combine(bind(getitem_p, x, *arrays, index=index), values)
    return bind(setitem_p, x, combined, *arrays, index=index)


def _rounds(index: Index, arrays: list[Any], shape: Shape) -> list[tuple[Any, Any]]:
    """Flat places in x and flat positions in the values, in rounds in which no place repeats."""
    numbers = np.arange(int(np.prod(shape))).reshape(shape)
    try:
        places = numbers[index.fill([np.asarray(array) for array in arrays])].reshape(-1)
    except IndexError as error:
        raise IndexingError(at_user_line(f"x.at{index!r} on shape {shape}: {error}")) from None
    return [(to_tensor(places[turn]), to_tensor(turn)) for turn in _turns(places)]


def at(x: Tensor) -> IndexUpdate:
    """The property ``x.at``: see `IndexUpdate`."""
    return IndexUpdate(x)


@stands_for(np.take)
def take(
    x: ArrayLike, indices: ArrayLike, /, axis: int | None = None, *, mode: str = "raise", out: None = None
) -> Tensor:
    """The entries at positions along an axis; of the flattened elements without `axis`.

    Args:
        x: where to read.
        indices: integer positions of any shape, which takes the place of the axis.
        axis: the axis to read along.
        mode: what to do with positions out of range: "raise", "wrap" around, or "clip" to the ends.

    Raises:
        IndexingError: for a position out of range in the mode "raise".

    >>> import fgrad as fg
    >>> fg.take(fg.asarray([10.0, 20.0, 30.0]), [2, 0])
    Tensor([30., 10.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.take")
    if type(x) is ConcreteTensor and type(indices) is ConcreteTensor and mode == "raise":
        try:
            return adopt(_asarray(x._array.take(indices._array, axis)))
        except (IndexError, TypeError, ValueError):
            operand: Any = x  # explained below
    else:
        operand = as_operand(x)
    if axis is None:
        operand, axis = ravel(operand), 0
    place = axis_index(axis, len(operand.shape), "take")
    positions: Any = as_operand(indices)
    if positions.dtype.kind == "b" or (isinstance(indices, list | tuple) and 0 in positions.shape):
        positions = astype(positions, np.intp)  # positions 0 and 1 and no mask, as in NumPy; and [] is of floats
    length = operand.shape[place]
    if mode in ("wrap", "clip"):
        positions = astype(positions, np.intp)  # the length may be more than their own dtype holds
    if mode == "wrap":
        positions = positions % length
    elif mode == "clip":
        positions = minimum(maximum(positions, 0), length - 1)
    elif mode != "raise":
        message = f"[take] mode is 'raise', 'wrap' or 'clip', not {mode!r}"
        raise ShapeError(at_user_line(message))
    return getitem(operand, (*[slice(None)] * place, positions))


@stands_for(np.take_along_axis)
@untraced_by(np.take_along_axis)
def take_along_axis(x: ArrayLike, indices: ArrayLike, /, axis: int | None = -1) -> Tensor:
    """Entries matched along an axis: ``out[i, j] = x[i, indices[i, j]]`` for the last axis of a matrix.

    `indices` has as many axes as x, and broadcasts against it along the others.

    >>> import fgrad as fg
    >>> fg.take_along_axis(fg.asarray([[1.0, 2.0], [3.0, 4.0]]), [[1], [0]], 1)
    Tensor([[2.],
            [3.]], dtype=float64)
    """
    operand, positions = as_operand(x), as_operand(indices)
    if axis is None:
        operand, axis = ravel(operand), 0
    rank = len(operand.shape)
    if len(positions.shape) != rank:
        message = (
            f"[take_along_axis] indices of shape {positions.shape} need as many axes as x of shape {operand.shape}"
        )
        raise ShapeError(at_user_line(message))
    place = axis_index(axis, rank, "take_along_axis")
    grid: list[Any] = []
    for number, length in enumerate(operand.shape):
        along = [1] * rank
        along[number] = length
        grid.append(positions if number == place else np.arange(length).reshape(along))
    return getitem(operand, tuple(grid))


@stands_for(np.repeat)
def repeat(x: ArrayLike, /, repeats: Any, axis: int | None = None) -> Tensor:
    """Each entry repeated: ``repeats`` times, or ``repeats[i]`` times for the i-th along the axis.

    Without `axis` the flattened elements are repeated. The adjoint sums over the copies.

    >>> import fgrad as fg
    >>> fg.repeat(fg.asarray([1.0, 2.0]), 2)
    Tensor([1., 1., 2., 2.], dtype=float64)
    """
    operand = as_operand(x)
    if axis is None:
        operand, axis = ravel(operand), 0
    place = axis_index(axis, len(operand.shape), "repeat")
    if type(operand) is ConcreteTensor and type(repeats) is int and repeats >= 0:
        return adopt(operand._array.repeat(repeats, place))
    length = operand.shape[place]
    if isinstance(repeats, int):
        count = max(repeats, 0)
        shape = tuple(operand.shape)
        spread = reshape(operand, (*shape[: place + 1], 1, *shape[place + 1 :]))
        copies = broadcast(spread, (*shape[: place + 1], count, *shape[place + 1 :]))
        return reshape(copies, (*shape[:place], length * count, *shape[place + 1 :]))
    counts = np.asarray(repeats)
    try:
        positions = np.repeat(np.arange(length), counts)
    except (ValueError, TypeError) as error:
        message = f"[repeat] repeats of shape {counts.shape} for an axis of length {length}: {error}"
        raise ShapeError(at_user_line(message)) from None
    return getitem(operand, (*[slice(None)] * place, positions))


def _one_hot_evaluate(labels: np.ndarray[Any, Any], num_classes: int, dtype: np.dtype[Any]) -> Any:
    wrong = (labels < 0) | (labels >= num_classes)
    if wrong.any():
        position = tuple(int(axis[0]) for axis in np.nonzero(np.atleast_1d(wrong)))
        label = np.atleast_1d(labels)[position]
        message = f"label {label} at position {position} is outside 0..{num_classes - 1}, the {num_classes} classes"
        raise ShapeError(message)
    out = np.zeros((labels.size, num_classes), dtype)
    out[np.arange(labels.size), labels.reshape(-1)] = 1
    return out.reshape(*labels.shape, num_classes)


def _batch_one_hot(
    primitive: Primitive, batched: tuple[bool, ...], labels: Any, num_classes: int, dtype: np.dtype[Any]
) -> Any:
    try:
        return bind(primitive, labels, num_classes=num_classes, dtype=dtype)
    except ShapeError as error:
        # The position counts the examples too, which the user's function does not see.
        found = re.search(r"label -?\d+", str(error))
        label = "a label" if found is None else found.group()
        message = f"{label} of an example is outside 0..{num_classes - 1}, the {num_classes} classes"
        raise ValueError(message) from None


one_hot_p = constant(
    "one_hot",
    _one_hot_evaluate,
    lambda labels, num_classes, dtype: ShapeDtype((*labels.shape, num_classes), dtype),
    batch=_batch_one_hot,
)


def one_hot(labels: ArrayLike, num_classes: int, dtype: Any = np.float32) -> Tensor:
    """Rows with a 1 at the label and 0 elsewhere: shape ``(*labels.shape, num_classes)``.

    Raises:
        ShapeError: a label is outside 0..num_classes - 1 (-1 included); the message names it and its position.
        DtypeError: the labels are not integers.

    >>> import fgrad as fg
    >>> fg.one_hot([1, 0], 3)
    Tensor([[0., 1., 0.],
            [1., 0., 0.]], dtype=float32)
    """
    operand = as_operand(labels)
    if operand.dtype.kind not in "iu":
        message = f"[one_hot] labels are integers, not {operand.dtype}; convert them with astype(int)"
        raise DtypeError(at_user_line(message))
    count = as_integer(num_classes, "one_hot", "num_classes is an integer")
    return bind(one_hot_p, operand, num_classes=count, dtype=numeric_dtype(dtype))


operations.getitem = getitem
operations.at = at
operations.take = take
operations.repeat = repeat
