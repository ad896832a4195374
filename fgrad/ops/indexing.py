"""Indexing: basic and advanced reads, `.at` updates, take and one_hot."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from fgrad.core.bind import Tracer, bind
from fgrad.core.errors import DtypeError, IndexingError, ShapeError, TracerConversionError, at_user_line
from fgrad.core.methods import operations
from fgrad.core.primitive import Primitive, register
from fgrad.core.shape import PYTHON_NUMBERS, Shape, ShapeDtype, result_dtype, shape_dtype_of
from fgrad.core.tensor import ArrayLike, Tensor, to_tensor
from fgrad.ops.arguments import as_operand, axis_index
from fgrad.ops.arithmetic import add, multiply
from fgrad.ops.declare import constant, stands_for
from fgrad.ops.selection import maximum, minimum, where
from fgrad.ops.shaping import astype, ravel, reshape
from fgrad.ops.structure import broadcast

__all__ = ["IndexUpdate", "at", "one_hot", "repeat", "take", "take_along_axis"]


class _ArrayPlace:
    """Marks, in an index, the place of an array that travels as an operand."""

    def __repr__(self) -> str:
        return "array"


_ARRAY = _ArrayPlace()


@attrs.frozen(repr=False)
class Index:
    """An index as a hashable parameter: integers, slices, None, Ellipsis, and places of index arrays."""

    items: tuple[Any, ...] = attrs.field(eq=False)
    key: tuple[Any, ...] = attrs.field()

    def fill(self, arrays: Sequence[Any]) -> tuple[Any, ...]:
        """The index with its arrays in place."""
        if not arrays:
            return self.items
        remaining = iter(arrays)
        return tuple([next(remaining) if item is _ARRAY else item for item in self.items])

    def __repr__(self) -> str:
        return f"[{', '.join(map(_format_item, self.items))}]"


def _format_item(item: Any) -> str:
    if isinstance(item, slice):
        parts = [item.start, item.stop] if item.step is None else [item.start, item.stop, item.step]
        return ":".join("" if part is None else str(part) for part in parts)
    return "..." if item is Ellipsis else repr(item)


def _item_key(item: Any) -> Any:
    return ("slice", item.start, item.stop, item.step) if isinstance(item, slice) else item


def make_index(index: Any) -> tuple[Index, list[Any]]:
    """An index as a user writes it, as an Index and its arrays of integers.

    Raises:
        IndexingError: for an item that cannot index.
        TracerConversionError: for a boolean mask without a value, whose result would have no fixed shape.
    """
    items: list[Any] = []
    arrays: list[Any] = []
    for item in index if isinstance(index, tuple) else (index,):
        if type(item) is int or item is None or item is Ellipsis:
            items.append(item)
        elif isinstance(item, slice):
            items.append(slice(*[None if end is None else operator.index(end) for end in _ends(item)]))
        else:
            found = _array_items(item)
            items.extend(item if isinstance(item, int) else _ARRAY for item in found)
            arrays.extend(item for item in found if not isinstance(item, int))
    return Index(tuple(items), tuple([_item_key(item) for item in items])), arrays


def _ends(item: slice) -> tuple[Any, Any, Any]:
    return item.start, item.stop, item.step


def _array_items(item: Any) -> list[Any]:
    if isinstance(item, bool | np.bool_):
        item = np.asarray(item)
    elif isinstance(item, int | np.integer):
        return [int(item)]
    if isinstance(item, list) and not item:
        item = np.zeros(0, np.intp)
    try:
        array: Any = as_operand(item)
    except DtypeError:
        array = None
    kind = "" if array is None else array.dtype.kind
    if array is None or kind not in "biu":
        what = f"a {type(item).__name__}" if array is None else f"{array.dtype}"
        message = f"an index is made of integers, slices, None, ..., and arrays of integers or booleans, not {what}"
        raise IndexingError(at_user_line(message))
    if kind == "b":
        if isinstance(array, Tracer):
            message = (
                "a boolean mask whose values are not known here would give a result of unknown shape; select with "
                "fg.where(mask, x, other) instead of x[mask]"
            )
            raise TracerConversionError(at_user_line(message))
        mask = np.asarray(array)
        if mask.ndim == 0:
            message = "a boolean scalar is not an index; write x[None] or select with fg.where"
            raise IndexingError(at_user_line(message))
        return [to_tensor(positions) for positions in np.nonzero(mask)]
    if not array.shape and not isinstance(array, Tracer):
        return [int(array)]
    return [array]


def _indexed_shape(x: ShapeDtype, index: Index, arrays: Sequence[ShapeDtype]) -> Shape:
    if not arrays:
        # Indexing a view of one element repeated costs nothing, whatever the shape.
        shape: Shape = np.broadcast_to(np.zeros((), np.int8), x.shape)[index.items].shape
        return shape
    consumed = [item for item in index.items if item is not None and item is not Ellipsis]
    if len(consumed) > len(x.shape):
        message = f"there are {len(consumed)} indices for the {len(x.shape)} axes of {x.shape}"
        raise IndexError(message)
    missing = [slice(None)] * (len(x.shape) - len(consumed))
    place = index.items.index(Ellipsis) if Ellipsis in index.items else len(index.items)
    items = [*index.items[:place], *missing, *index.items[place + 1 :]]
    block = np.broadcast_shapes(*(array.shape for array in arrays))
    return _combine(x.shape, items, block, together=_stand_together(index.items))


def _stand_together(items: Sequence[Any]) -> bool:
    """Whether all integers and arrays of an index are neighbours, so that their block takes their place."""
    advanced = [position for position, item in enumerate(items) if item is _ARRAY or isinstance(item, int)]
    return advanced[-1] - advanced[0] + 1 == len(advanced)


def _combine(shape: Shape, items: Sequence[Any], block: Shape, *, together: bool) -> Shape:
    result: list[int] = []
    where_block = None
    axis = 0
    for item in items:
        if item is None:
            result.append(1)
            continue
        if isinstance(item, slice):
            result.append(len(range(*item.indices(shape[axis]))))
        else:
            where_block = len(result) if where_block is None else where_block
            if item is not _ARRAY and not -shape[axis] <= item < shape[axis]:
                message = f"index {item} is out of bounds for axis {axis} with length {shape[axis]}"
                raise IndexError(message)
        axis += 1
    start = (where_block or 0) if together else 0
    return (*result[:start], *block, *result[start:])


# The three linear primitives of indexing are each other's adjoints: a read, a sum of values into zeros at an index, and
# an overwriting at an index.


def _getitem_evaluate(x: np.ndarray[Any, Any], *arrays: Any, index: Index) -> Any:
    return x[index.fill(arrays)]


def _getitem_rule(x: ShapeDtype, *arrays: ShapeDtype, index: Index) -> ShapeDtype:
    return ShapeDtype(_indexed_shape(x, index, arrays), x.dtype)


def _getitem_vjp(g: Any, needed: Any, out: Any, x: Any, *arrays: Any, index: Index) -> tuple[Any, ...]:
    return (bind(scatter_add_p, g, *arrays, index=index, shape=tuple(x.shape)), *[None] * len(arrays))


getitem_p = register(Primitive("getitem", _getitem_evaluate, _getitem_rule, _getitem_vjp, makes_views=True))


def _scatter_add_evaluate(values: np.ndarray[Any, Any], *arrays: Any, index: Index, shape: Shape) -> Any:
    out = np.zeros(shape, values.dtype)
    if arrays:
        np.add.at(out, index.fill(arrays), values)
    else:
        out[index.items] = values
    return out


def _scatter_add_rule(values: ShapeDtype, *arrays: ShapeDtype, index: Index, shape: Shape) -> ShapeDtype:
    read = _indexed_shape(ShapeDtype(shape, values.dtype), index, arrays)
    if values.shape != read:
        message = f"values of shape {values.shape} cannot stand at an index that reads shape {read}"
        raise ShapeError(message)
    return ShapeDtype(shape, values.dtype)


def _scatter_add_vjp(g: Any, needed: Any, out: Any, values: Any, *arrays: Any, index: Index, shape: Shape) -> Any:
    return (bind(getitem_p, g, *arrays, index=index), *[None] * len(arrays))


scatter_add_p = register(Primitive("scatter_add", _scatter_add_evaluate, _scatter_add_rule, _scatter_add_vjp))


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
            last = bind(last_writer_p, *arrays, index=index, shape=tuple(x.shape), values_shape=tuple(values.shape))
            by_values = where(last, by_values, np.zeros((), values.dtype))
    return (by_x, by_values, *[None] * len(arrays))


setitem_p = register(Primitive("setitem", _setitem_evaluate, _setitem_rule, _setitem_vjp))


def _last_writer_evaluate(*arrays: Any, index: Index, shape: Shape, values_shape: Shape) -> Any:
    # Of values written to one place only the last stays, and only it has a derivative.
    numbers = np.arange(1, int(np.prod(values_shape)) + 1).reshape(values_shape)
    board = np.zeros(shape, numbers.dtype)
    place = index.fill(arrays)
    board[place] = numbers
    return board[place] == numbers


last_writer_p = constant(
    "last_writer",
    _last_writer_evaluate,
    lambda *arrays, index, shape, values_shape: ShapeDtype(values_shape, np.dtype(bool)),
)


def getitem(x: ArrayLike, index: Any) -> Tensor:
    """``x[index]`` as NumPy reads it: basic and advanced indexing; the adjoint sums into zeros.

    Raises:
        IndexingError: when the index is out of range or of a kind that cannot index.
    """
    place, arrays = make_index(index)
    return bind(getitem_p, as_operand(x), *arrays, index=place)


@attrs.frozen(repr=False, eq=False)
class IndexUpdate:
    """``x.at[index]``: each method returns a new tensor that differs from x at the index.

    Values broadcast against ``x[index]`` and must be convertible to the dtype of x without loss of kind (no float into
    integers). Where an index names a place more than once, `add`, `multiply`, `min` and `max` apply every value, and
    `set` keeps the last.
    """

    _x: Any
    _index: Any = None

    def __getitem__(self, index: Any) -> IndexUpdate:
        return IndexUpdate(self._x, (index,))

    def __repr__(self) -> str:
        return f"<updates of a tensor of shape {self._x.shape}>"

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
        return bind(setitem_p, self._x, fitted, *arrays, index=index)

    def add(self, values: ArrayLike) -> Tensor:
        """x with ``x[index] += values``, every value added where an index repeats.

        >>> import fgrad as fg
        >>> fg.zeros(3).at[fg.asarray([1, 1])].add(5.0)
        Tensor([ 0., 10.,  0.], dtype=float64)
        """
        index, arrays, fitted = self._prepare(values)
        return add(self._x, bind(scatter_add_p, fitted, *arrays, index=index, shape=tuple(self._x.shape)))

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

    def _prepare(self, values: ArrayLike) -> tuple[Index, list[Any], Tensor]:
        index, arrays = make_index(self._place())
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
        fitted = astype(operand, x_aval.dtype)
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
            return _combine_at(self._x, combine, fitted, arrays, index)
        if any(isinstance(array, Tracer) for array in arrays):
            message = (
                "x.at[i].multiply, .min and .max need an index with known values, to treat repeated places rightly; "
                "here the index is being traced. Use .add or .set, or compute the index outside"
            )
            raise TracerConversionError(at_user_line(message))
        result = self._x
        for array_round, positions in _rounds(index, arrays, tuple(self._x.shape), fitted.shape):
            part = bind(getitem_p, ravel(fitted), positions, index=_FLAT)
            result = reshape(_combine_at(ravel(result), combine, part, [array_round], _FLAT), self._x.shape)
        return to_tensor(result)


_FLAT = Index((_ARRAY,), (_ARRAY,))


def _read_shape(x: Any, index: Index, arrays: list[Any]) -> Shape:
    avals = [shape_dtype_of(array) for array in arrays]
    try:
        return _indexed_shape(shape_dtype_of(x), index, avals)
    except (IndexError, ValueError) as error:
        message = f"x.at{index!r} on shape {tuple(x.shape)}: {error.args[0]}"
        raise IndexingError(at_user_line(message)) from None


def _combine_at(x: Any, combine: Any, values: Any, arrays: list[Any], index: Index) -> Tensor:
    combined = combine(bind(getitem_p, x, *arrays, index=index), values)
    return bind(setitem_p, x, combined, *arrays, index=index)


def _rounds(index: Index, arrays: list[Any], shape: Shape, values_shape: Shape) -> list[tuple[Any, Any]]:
    """Flat places in x and flat positions in the values, in rounds in which no place repeats."""
    numbers = np.arange(int(np.prod(shape))).reshape(shape)
    try:
        places = numbers[index.fill([np.asarray(array) for array in arrays])].reshape(-1)
    except IndexError as error:
        raise IndexingError(at_user_line(f"x.at{index!r} on shape {shape}: {error}")) from None
    del values_shape
    order = np.argsort(places, kind="stable")
    ordered = places[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if ordered.size else np.zeros(0, np.intp)
    lengths = np.diff(np.r_[starts, ordered.size])
    occurrence = np.arange(ordered.size) - np.repeat(starts, lengths)
    return [
        (to_tensor(ordered[occurrence == turn]), to_tensor(order[occurrence == turn]))
        for turn in range(int(lengths.max(initial=0)))
    ]


def at(x: Tensor) -> IndexUpdate:
    """The property ``x.at``: see `IndexUpdate`."""
    return IndexUpdate(x)


@stands_for(np.take)
def take(x: ArrayLike, indices: ArrayLike, /, axis: int | None = None, *, mode: str = "raise") -> Tensor:
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
    operand = as_operand(x)
    if axis is None:
        operand, axis = ravel(operand), 0
    place = axis_index(axis, len(operand.shape), "take")
    positions: Any = as_operand(indices)
    length = operand.shape[place]
    if mode == "wrap":
        positions = positions % length
    elif mode == "clip":
        positions = minimum(maximum(positions, 0), length - 1)
    elif mode != "raise":
        message = f"[take] mode is 'raise', 'wrap' or 'clip', not {mode!r}"
        raise ShapeError(at_user_line(message))
    return getitem(operand, (*[slice(None)] * place, positions))


@stands_for(np.take_along_axis)
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


one_hot_p = constant(
    "one_hot",
    _one_hot_evaluate,
    lambda labels, num_classes, dtype: ShapeDtype((*labels.shape, num_classes), dtype),
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
    return bind(one_hot_p, operand, num_classes=operator.index(num_classes), dtype=np.dtype(dtype))


operations.getitem = getitem
operations.at = at
operations.take = take
operations.repeat = repeat
