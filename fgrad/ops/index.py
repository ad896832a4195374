"""Index: what stands between the brackets of x[...], as data: what it reads, and how it reads a batch of examples."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from fgrad.core.bind import Tracer
from fgrad.core.errors import DtypeError, IndexingError, TracerConversionError, at_user_line, with_article
from fgrad.core.shape import Shape, ShapeDtype
from fgrad.core.tensor import to_tensor
from fgrad.ops.arguments import as_operand, shape_of
from fgrad.ops.declare import lead_axes
from fgrad.ops.shaping import moveaxis

__all__ = [
    "ARRAY",
    "FLAT",
    "BatchedIndex",
    "Index",
    "axes_before_block",
    "batch_index",
    "indexed_shape",
    "make_index",
    "spread_ellipsis",
]


class _ArrayPlace:
    """Marks, in an index, the place of an array that travels as an operand."""

    def __repr__(self) -> str:
        return "array"


ARRAY = _ArrayPlace()


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
        return tuple([next(remaining) if item is ARRAY else item for item in self.items])

    def after(self, item: Any) -> Index:
        """The index with one more item in front."""
        return Index((item, *self.items), (_item_key(item), *self.key))

    def __repr__(self) -> str:
        return f"[{', '.join(map(_format_item, self.items))}]"


FLAT = Index((ARRAY,), (ARRAY,))


def _format_item(item: Any) -> str:
    if isinstance(item, slice):
        parts = [item.start, item.stop] if item.step is None else [item.start, item.stop, item.step]
        return ":".join("" if part is None else str(part) for part in parts)
    return "..." if item is Ellipsis else repr(item)


def _item_key(item: Any) -> Any:
    return ("slice", item.start, item.stop, item.step) if isinstance(item, slice) else item


def make_index(index: Any, shape: Shape | None = None) -> tuple[Index, list[Any]]:
    """An index as a user writes it, as an Index and its arrays of integers; `shape` is that of what it indexes.

    A boolean mask may have the length 0 along an axis of any length, as in NumPy: it selects nothing.

    Raises:
        IndexingError: for an item that cannot index, or a boolean mask of other lengths than the axes that it selects
            from.
        TracerConversionError: for a boolean mask without a value, whose result would have no fixed shape.
    """
    items: list[Any] = []
    arrays: list[Any] = []
    masks: list[tuple[int, Shape]] = []
    for item in index if isinstance(index, tuple) else (index,):
        if type(item) is int or item is None or item is Ellipsis:
            items.append(item)
        elif isinstance(item, slice):
            items.append(slice(*[None if end is None else operator.index(end) for end in _ends(item)]))
        else:
            array = _index_array(item)
            if isinstance(array, int):
                items.append(array)
            elif array.dtype.kind == "b":
                masks.append((len(items), array.shape))
                positions = np.nonzero(_known_mask(array))
                items.extend([ARRAY] * len(positions))
                arrays.extend(map(to_tensor, positions))
            else:
                items.append(ARRAY)
                arrays.append(array)
    if masks and shape is not None:
        _require_fitting_masks(items, masks, shape)
    return Index(tuple(items), tuple([_item_key(item) for item in items])), arrays


def _ends(item: slice) -> tuple[Any, Any, Any]:
    return item.start, item.stop, item.step


def _index_array(item: Any) -> Any:
    if isinstance(item, bool | np.bool_):
        item = np.asarray(item)
    elif isinstance(item, int | np.integer):
        return int(item)
    if isinstance(item, list) and not item:
        item = np.zeros(0, np.intp)
    try:
        array: Any = as_operand(item)
    except DtypeError:
        array = None
    if array is None or array.dtype.kind not in "biu":
        what = with_article(type(item)) if array is None else f"{array.dtype}"
        message = f"an index is made of integers, slices, None, ..., and arrays of integers or booleans, not {what}"
        raise IndexingError(at_user_line(message))
    if not array.shape and not isinstance(array, Tracer) and array.dtype.kind != "b":
        return int(array)
    return array


def _known_mask(array: Any) -> np.ndarray[Any, Any]:
    if isinstance(array, Tracer):
        message = (
            f"a boolean mask is an index only where its values are known: inside {array._trace.transform} this one "
            f"would select a number of elements that no shape can tell. Write fg.where(mask, x, other) instead of "
            f"x[mask], and fg.where(mask, v, x) instead of x.at[mask].set(v)"
        )
        raise TracerConversionError(at_user_line(message))
    mask = np.asarray(array)
    if mask.ndim == 0:
        message = "a boolean scalar is an index only by itself, x[mask]; otherwise write x[None] or fg.where(mask, ...)"
        raise IndexingError(at_user_line(message))
    return mask


def _require_fitting_masks(items: Sequence[Any], masks: Sequence[tuple[int, Shape]], shape: Shape) -> None:
    for place, lengths in masks:
        axis = _axes_of(items[:place])
        if Ellipsis in items[:place]:
            axis = len(shape) - _axes_of(items[place:])
        found = shape[axis : axis + len(lengths)]
        if len(found) != len(lengths) or any(
            length not in (0, own) for length, own in zip(lengths, found, strict=True)
        ):
            message = (
                f"a boolean mask of shape {lengths} cannot select from axis {axis} of shape {shape}: it needs the "
                f"lengths of the axes that it stands for, {found}"
            )
            raise IndexingError(at_user_line(message))


def _axes_of(items: Sequence[Any]) -> int:
    """How many axes these items read from."""
    return sum(item is not None and item is not Ellipsis for item in items)


def indexed_shape(x: ShapeDtype, index: Index, arrays: Sequence[ShapeDtype]) -> Shape:
    """The shape of ``x[index]``.

    Raises:
        IndexError, ValueError: when an integer is out of range, there are too many items, or the index arrays do not
            broadcast; the message is the reason alone.
    """
    if not arrays:
        # Indexing a view of one element repeated costs nothing, whatever the shape.
        shape: Shape = np.broadcast_to(np.zeros((), np.int8), x.shape)[index.items].shape
        return shape
    consumed = _axes_of(index.items)
    if consumed > len(x.shape):
        message = f"there are {consumed} indices for the {len(x.shape)} axes of {x.shape}"
        raise IndexError(message)
    items = spread_ellipsis(index.items, len(x.shape))
    block = np.broadcast_shapes(*(array.shape for array in arrays))
    return _combine(x.shape, items, block, together=_stand_together(index.items))


def spread_ellipsis(items: Sequence[Any], rank: int) -> list[Any]:
    """The items of an index into `rank` axes with full slices in place of the Ellipsis, or at the end."""
    missing = [slice(None)] * (rank - _axes_of(items))
    place = items.index(Ellipsis) if Ellipsis in items else len(items)
    return [*items[:place], *missing, *items[place + 1 :]]


def _is_advanced(item: Any) -> bool:
    """Whether an item of an index with arrays belongs to the block: integers act as arrays there."""
    return item is ARRAY or isinstance(item, int)


def _stand_together(items: Sequence[Any]) -> bool:
    """Whether all integers and arrays of an index are neighbours, so that their block takes their place."""
    advanced = [position for position, item in enumerate(items) if _is_advanced(item)]
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
            if item is not ARRAY and not -shape[axis] <= item < shape[axis]:
                message = f"index {item} is out of bounds for axis {axis} with length {shape[axis]}"
                raise IndexError(message)
        axis += 1
    start = (where_block or 0) if together else 0
    return (*result[:start], *block, *result[start:])


def axes_before_block(index: Index, rank: int) -> int:
    """How many axes of what an index with arrays reads, of a value with `rank` axes, stand before its block."""
    if not _stand_together(index.items):
        return 0
    count = 0
    for item in index.items:
        if _is_advanced(item):
            break
        count += rank - _axes_of(index.items) if item is Ellipsis else 1
    return count


# A batch of examples: what is indexed has the axis of the examples first, and so must what is read. With an index that
# is the same for all examples that is a full slice in front, with one of its own for each example the example's number.


@attrs.frozen(eq=False)
class BatchedIndex:
    """An index for all examples at once: the index, its arrays, and which axes of what it reads belong elsewhere."""

    index: Index
    arrays: list[Any]
    _found: tuple[int, ...] = ()
    _wanted: tuple[int, ...] = ()

    def from_read(self, read: Any) -> Any:
        """What the index reads, with the axis of the examples first and the rest as it is for one example."""
        return moveaxis(read, self._found, self._wanted) if self._found else read

    def to_read(self, values: Any) -> Any:
        """Values laid out in that way, as the index takes them."""
        return moveaxis(values, self._wanted, self._found) if self._found else values


def batch_index(
    index: Index, arrays: Sequence[Any], batched: Sequence[bool], rank: int, size: int, *, shared: bool = False
) -> BatchedIndex:
    """The index into a batch of `size` examples, each with `rank` axes, that does what `index` does to each of them.

    Args:
        index: the index into one example.
        arrays: its arrays.
        batched: for each array, whether it has the axis of the examples.
        rank: the number of axes of one example's value.
        size: the number of examples.
        shared: all examples read one value, which has no axis of the examples; some array has it then.
    """
    block = max([len(shape_of(array)) - own for array, own in zip(arrays, batched, strict=True)], default=0)
    if not any(batched):
        lead = index.after(slice(None))
        # A block that NumPy moves to the front comes before the axis of the examples.
        in_front = block > 0 and not _stand_together(index.items)
        return BatchedIndex(lead, list(arrays), (block,), (0,)) if in_front else BatchedIndex(lead, list(arrays))
    aligned = [lead_axes(array, block) if own else array for array, own in zip(arrays, batched, strict=True)]
    before = axes_before_block(index, rank) if block or shared else 0
    if shared:
        return BatchedIndex(index, aligned, (before,), (0,)) if before else BatchedIndex(index, aligned)
    arrays = [np.arange(size).reshape((size, *[1] * block)), *aligned]
    # The numbers of the examples make the block come first.
    found = tuple(range(1, block + 1)) if before else ()
    return BatchedIndex(index.after(ARRAY), arrays, found, tuple([axis + before for axis in found]))
