"""What is not zero, selections by a mask, and counts: nonzero and its kin, compress, bincount, digitize, histogram."""

from __future__ import annotations

import contextlib
import operator
from math import prod as product
from typing import Any

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import DtypeError, ShapeError, at_user_line, refuse_out
from fgrad.core.primitive import Primitive
from fgrad.core.shape import Shape, ShapeDtype
from fgrad.core.tensor import ArrayLike, Tensor
from fgrad.ops.arguments import as_integer, as_operand, axis_index, axis_tuple, dtype_of, is_inexact, shape_of
from fgrad.ops.creation import linspace
from fgrad.ops.declare import as_batch, batch_by_example, batch_over_axes, batch_size, constant, stands_for, untraced_by
from fgrad.ops.indexing import take
from fgrad.ops.joining import stack
from fgrad.ops.known_values import adopted, is_traced, known_values, plain
from fgrad.ops.logic import equal, greater_equal
from fgrad.ops.reductions import max as largest
from fgrad.ops.reductions import min as smallest
from fgrad.ops.segments import add_segments
from fgrad.ops.selection import select_p
from fgrad.ops.shaping import ravel
from fgrad.ops.structure import convert, reduce_sum, reduced_shape, reshape_to

__all__ = [
    "argwhere",
    "bincount",
    "compress",
    "count_nonzero",
    "digitize",
    "extract",
    "flatnonzero",
    "histogram",
    "histogram_bin_edges",
    "nonzero",
]

_INTP = np.dtype(np.intp)
_add_up: Any = np.add.reduce  # NumPy's stubs have no overload for a keepdims that is a variable
_SIZE = "say how long the result is to be: size= (and fill_value= for the places that stay free)"


# Positions of what is not zero. With `size` the number of them is a param, and -1 stands in the places that stay free.


def _evaluate_places(mask: Any, size: int, stack: int) -> Any:
    rows = mask.reshape(product(mask.shape[:stack]), -1) if mask.size else mask.reshape(product(mask.shape[:stack]), 0)
    out = np.full((len(rows), size), -1, np.intp)
    for found, row in zip(out, rows, strict=True):
        places = np.flatnonzero(row)[:size]
        found[: places.size] = places
    return out.reshape(*mask.shape[:stack], size)


nonzero_places_p = constant(
    "nonzero_places",
    _evaluate_places,
    lambda mask, size, stack: ShapeDtype((*mask.shape[:stack], size), _INTP),
    batch=lambda primitive, batched, mask, size, stack: bind(primitive, mask, size=size, stack=stack + 1),
)


def _checked_size(size: Any, operation: str) -> int:
    count = as_integer(size, operation, "size is an integer")
    if count < 0:
        message = f"[{operation}] size is at least 0, not {count}"
        raise ShapeError(at_user_line(message))
    return count


def _padded_places(mask: Any, size: Any, operation: str) -> Any:
    return bind(nonzero_places_p, mask, size=_checked_size(size, operation), stack=0)


@stands_for(np.nonzero, method="nonzero")
def nonzero(x: ArrayLike, /, *, size: int | None = None, fill_value: Any = None) -> tuple[Tensor, ...]:
    """The positions of the elements that are not zero, in row-major order: for each axis a vector of integers.

    Their number depends on values, which are known outside of transforms and under grad and jvp.

    Args:
        x: where to look.
        size: how many positions to give, for vmap and graphs: the first so many, and `fill_value` beyond the last.
        fill_value: a position, or a tuple of one for each axis; 0 by default.

    Raises:
        ShapeError: x has no axes.
        TracerConversionError: without `size`, under vmap and in a graph.

    >>> import fgrad as fg
    >>> fg.nonzero(fg.asarray([[0.0, 1.0], [2.0, 0.0]]))
    (Tensor([0, 1], dtype=int64), Tensor([1, 0], dtype=int64))
    >>> fg.vmap(lambda x: fg.nonzero(x, size=2, fill_value=-1)[0])(fg.asarray([[0, 1, 1], [0, 0, 3]]))
    Tensor([[ 1,  2],
            [ 2, -1]], dtype=int64)
    """
    operand = as_operand(x)
    shape = shape_of(operand)
    if not shape:
        message = "[nonzero] a tensor of shape () has no positions; use x != 0"
        raise ShapeError(at_user_line(message))
    if size is None:
        return adopted(known_values(operand, "nonzero", _SIZE).nonzero())
    flat = _padded_places(operand, size, "nonzero")
    fills = fill_value if isinstance(fill_value, tuple) else (0 if fill_value is None else fill_value,) * len(shape)
    if len(fills) != len(shape):
        message = f"[nonzero] fill_value has {len(fills)} parts for {len(shape)} axes"
        raise ShapeError(at_user_line(message))
    taken = greater_equal(flat, 0)
    strides = [product(shape[axis + 1 :]) for axis in range(len(shape))]
    return tuple(
        [
            convert(bind(select_p, taken, flat // max(stride, 1) % max(length, 1), fill), _INTP)
            for stride, length, fill in zip(strides, shape, fills, strict=True)
        ]
    )


@stands_for(np.flatnonzero)
def flatnonzero(a: ArrayLike, *, size: int | None = None, fill_value: Any = None) -> Tensor:
    """The positions, in row-major order, of the elements that are not zero; `size` and `fill_value` as in `nonzero`.

    Raises:
        TracerConversionError: without `size`, under vmap and in a graph.

    >>> import fgrad as fg
    >>> fg.flatnonzero(fg.asarray([[0.0, 1.0], [2.0, 0.0]]))
    Tensor([1, 2], dtype=int64)
    """
    operand = as_operand(a)
    if size is None:
        return adopted(known_values(operand, "flatnonzero", _SIZE).ravel().nonzero()[0])
    return nonzero(ravel(operand), size=size, fill_value=fill_value)[0]


@stands_for(np.argwhere)
def argwhere(a: ArrayLike, *, size: int | None = None, fill_value: Any = None) -> Tensor:
    """The positions of the elements that are not zero, one in each row; `size` and `fill_value` as in `nonzero`.

    Raises:
        TracerConversionError: without `size`, under vmap and in a graph.

    >>> import fgrad as fg
    >>> fg.argwhere(fg.asarray([[0.0, 1.0], [2.0, 0.0]]))
    Tensor([[0, 1],
            [1, 0]], dtype=int64)
    """
    operand = as_operand(a)
    if size is None:
        return adopted(np.argwhere(known_values(operand, "argwhere", _SIZE)))
    if not shape_of(operand):
        message = "[argwhere] a tensor of shape () has no positions for `size` to count"
        raise ShapeError(at_user_line(message))
    return stack(nonzero(operand, size=size, fill_value=fill_value), 1)


def _evaluate_count(x: Any, axes: tuple[int, ...], keepdims: bool) -> Any:
    if len(axes) == x.ndim and not keepdims:
        return np.asarray(np.count_nonzero(x))
    return _add_up(x if x.dtype.kind == "b" else x != 0, axis=axes, dtype=np.intp, keepdims=keepdims)


count_nonzero_p = constant(
    "count_nonzero",
    _evaluate_count,
    lambda x, axes, keepdims: ShapeDtype(reduced_shape(x.shape, axes, keepdims=keepdims), _INTP),
    batch=batch_over_axes,
)


@stands_for(np.count_nonzero)
def count_nonzero(x: ArrayLike, /, axis: int | tuple[int, ...] | None = None, *, keepdims: bool = False) -> Tensor:
    """How many elements are not zero, over axes (all of them by default); integers, without a gradient.

    Raises:
        ShapeError: an axis is out of range or named twice.

    >>> import fgrad as fg
    >>> fg.count_nonzero(fg.asarray([[0.0, 1.0], [2.0, 3.0]]), axis=1)
    Tensor([1, 2], dtype=int64)
    """
    operand = as_operand(x)
    axes = axis_tuple(axis, len(shape_of(operand)), "count_nonzero")
    return bind(count_nonzero_p, operand, axes=axes, keepdims=keepdims)


# Selections by a mask.


@stands_for(np.compress)
def compress(
    condition: ArrayLike,
    a: ArrayLike,
    axis: int | None = None,
    *,
    size: int | None = None,
    fill_value: ArrayLike = 0,
    out: None = None,
) -> Tensor:
    """The entries along an axis for which a vector of conditions is true; of the flattened elements without `axis`.

    Entries beyond the last condition are left out. The cotangent goes to the entries that were selected.

    Args:
        condition: a vector, no longer than the axis unless what is beyond is false.
        a: where to read.
        axis: the axis to select along.
        size: how many entries to give, for conditions without known values: the first so many that are selected, and
            `fill_value` beyond the last.
        fill_value: what stands in the places that stay free.

    Raises:
        ShapeError: the condition is not a vector, or the axis is out of range.
        IndexingError: a condition beyond the end of the axis is true.
        TracerConversionError: without `size`, for a condition under vmap or in a graph.

    >>> import fgrad as fg
    >>> fg.compress(fg.asarray([True, False, True]), fg.asarray([1.0, 2.0, 3.0]))
    Tensor([1., 3.], dtype=float64)
    """
    if out is not None:
        refuse_out("fg.compress")
    mask, operand = as_operand(condition), as_operand(a)
    if len(shape_of(mask)) != 1:
        message = f"[compress] the condition is a vector, and has shape {shape_of(mask)}"
        raise ShapeError(at_user_line(message))
    if size is None and not is_traced(mask, operand):
        # What is quick in NumPy; its errors are explained below.
        with contextlib.suppress(IndexError, ValueError):
            return adopted(plain(operand).compress(plain(mask), axis))
    if axis is None:
        operand, axis = ravel(operand), 0
    place = axis_index(axis, len(shape_of(operand)), "compress")
    if size is None:
        return take(operand, known_values(mask, "compress", _SIZE).nonzero()[0], place)
    return _selected(mask, operand, place, size, fill_value, "compress")


def _selected(mask: Any, operand: Any, axis: int, size: Any, fill_value: Any, operation: str) -> Any:
    shape = shape_of(operand)
    places = _padded_places(mask, size, operation)
    along = [1] * len(shape)
    along[axis] = shape_of(places)[0]
    fill = fill_value if isinstance(fill_value, bool | int | float | complex) else as_operand(fill_value)
    if not shape[axis]:
        places, operand = greater_equal(places, 1), np.zeros((*shape[:axis], 1, *shape[axis + 1 :]), dtype_of(operand))
        return bind(select_p, False, take(operand, convert(places, _INTP), axis), fill)
    taken = reshape_to(greater_equal(places, 0), tuple(along))
    found = take(operand, places, axis)
    return convert(bind(select_p, taken, found, fill), found.dtype)


@stands_for(np.extract)
def extract(condition: ArrayLike, arr: ArrayLike, *, size: int | None = None, fill_value: ArrayLike = 0) -> Tensor:
    """The elements for which a condition of the same size is true, in row-major order.

    The cotangent goes to the elements that were selected; `size` and `fill_value` are those of `compress`.

    Raises:
        TracerConversionError: without `size`, for a condition under vmap or in a graph.

    >>> import fgrad as fg
    >>> x = fg.asarray([[1.0, -2.0], [3.0, -4.0]])
    >>> fg.extract(x > 0, x)
    Tensor([1., 3.], dtype=float64)
    """
    return compress(ravel(as_operand(condition)), arr, size=size, fill_value=fill_value)


# Counts.


@stands_for(np.bincount)
@untraced_by(np.bincount)
def bincount(
    x: ArrayLike,
    /,
    weights: ArrayLike | None = None,
    minlength: int = 0,
    *,
    length: int | None = None,
) -> Tensor:
    """How often each number from 0 on occurs in a vector of integers; with `weights`, the sums of the weights there.

    The length is the largest number and 1, and no less than `minlength`. Weighted sums are float64, and their
    cotangent goes to the weights.

    Args:
        x: a vector of integers, none negative.
        weights: a vector of as many real numbers.
        minlength: the least length of the result.
        length: the length of the result, for vmap and graphs; what lies beyond is not counted, nor are negative
            numbers.

    Raises:
        ShapeError: x is not a vector, has a negative number, or the weights have another shape.
        DtypeError: x is not of integers, or the weights are complex.
        TracerConversionError: without `length`, under vmap and in a graph.

    >>> import fgrad as fg
    >>> fg.bincount(fg.asarray([0, 1, 1, 3]))
    Tensor([1, 2, 0, 1], dtype=int64)
    """
    numbers = as_operand(x)
    shape, kind = shape_of(numbers), dtype_of(numbers).kind
    if len(shape) != 1 or kind not in "biu":
        message = f"[bincount] counts in a vector of integers, and was given dtype {dtype_of(numbers)}, shape {shape}"
        raise (DtypeError if kind not in "biu" else ShapeError)(at_user_line(message))
    sums = None if weights is None else _as_weights(weights, shape)
    if length is None:
        way_out = "say how long the result is to be: length="
        values = known_values(numbers, "bincount", way_out)
        minlength = as_integer(minlength, "bincount", "minlength is an integer")
        if minlength < 0 or (values.size and values.min() < 0):
            message = f"[bincount] counts numbers from 0 on, and there are negative ones (or minlength={minlength} is)"
            raise ShapeError(at_user_line(message))
        if not is_traced(sums):
            known = None if sums is None else plain(sums)
            # NumPy before 2.3 does not count in unsigned integers of 64 bits.
            return adopted(np.bincount(values.astype(_INTP) if kind == "u" else values, known, minlength))
        length = max(int(values.max(initial=-1)) + 1, minlength)
    if sums is None:
        sums = np.ones(shape, np.intp)
    if kind in "bu":
        numbers = convert(numbers, _INTP)
    return add_segments(sums, numbers, _checked_size(length, "bincount"))


def _as_weights(weights: Any, shape: Shape) -> Any:
    operand = as_operand(weights)
    if shape_of(operand) != shape:
        message = f"[bincount] weights of shape {shape_of(operand)} for numbers of shape {shape}"
        raise ShapeError(at_user_line(message))
    if dtype_of(operand).kind == "c":
        message = f"[bincount] weights are real, not {dtype_of(operand)}"
        raise DtypeError(at_user_line(message))
    return operand if dtype_of(operand) == np.dtype(float) else convert(operand, np.dtype(float))


def _batch_digitize(primitive: Primitive, batched: tuple[bool, ...], x: Any, bins: Any, right: bool) -> Any:
    if batched[1]:
        return batch_by_example(primitive, batched, x, bins, right=right)
    return bind(primitive, x, bins, right=right)


digitize_p = constant(
    "digitize",
    np.digitize,
    lambda x, bins, right: ShapeDtype(x.shape, _INTP),
    batch=_batch_digitize,
)


@stands_for(np.digitize)
def digitize(x: ArrayLike, bins: ArrayLike, right: bool = False) -> Tensor:
    """The number of the bin that each x lies in: i with bins[i - 1] <= x < bins[i], for ascending bins.

    With `right` it is bins[i - 1] < x <= bins[i]. Descending bins are counted from the other side. Values below all
    bins give 0, those beyond give len(bins); NaN counts as the largest. The result carries no gradient.

    Raises:
        ShapeError: the bins are not a vector, or neither ascending nor descending.
        DtypeError: x is complex.

    >>> import fgrad as fg
    >>> fg.digitize(fg.asarray([0.5, 1.0, 3.0]), fg.asarray([0.0, 1.0, 2.0]))
    Tensor([1, 2, 3], dtype=int64)
    """
    values, edges = as_operand(x), as_operand(bins)
    if len(shape_of(edges)) != 1:
        message = f"[digitize] bins are a vector, and have shape {shape_of(edges)}"
        raise ShapeError(at_user_line(message))
    return bind(digitize_p, values, edges, right=bool(right))


# Histograms.


def _evaluate_bins(x: Any, edges: Any, stack: int) -> Any:
    if not stack:
        places = edges.searchsorted(x, "right") - 1
        last = len(edges) - 2
        places[x == edges[-1]] = last
        places[(places > last) | np.isnan(x)] = -1
        return places
    out = np.empty(x.shape, np.intp)
    for place in np.ndindex(x.shape[:stack]):
        out[place] = _evaluate_bins(x[place], edges[place], 0)
    return out


def _batch_bins(primitive: Primitive, batched: tuple[bool, ...], x: Any, edges: Any, stack: int) -> Any:
    size = batch_size(batched, (x, edges))
    return bind(primitive, as_batch(x, batched[0], size), as_batch(edges, batched[1], size), stack=stack + 1)


# Which bin of a histogram each value lies in; the last one is closed on both sides, and -1 is none.
histogram_bins_p = constant(
    "histogram_bins", _evaluate_bins, lambda x, edges, stack: ShapeDtype(x.shape, _INTP), batch=_batch_bins
)


@stands_for(np.histogram_bin_edges)
@untraced_by(np.histogram_bin_edges)
def histogram_bin_edges(
    a: ArrayLike,
    bins: Any = 10,
    range: tuple[float, float] | None = None,
    weights: ArrayLike | None = None,
) -> Tensor:
    """The edges of the bins of a histogram: so many bins of equal width from the least to the largest value.

    The edges of `bins` by number can be differentiated by the least and the largest value, unless `range` gives both.

    Args:
        a: the values.
        bins: their number, the edges themselves, or the name of one of NumPy's estimators for values that are known.
        range: the first and the last edge.
        weights: accepted as NumPy does; the edges do not depend on them.

    Raises:
        ShapeError: the number of bins is not positive, the edges descend, or the range is not finite and ascending.
        TracerConversionError: an estimator is named, under vmap or in a graph.

    >>> import fgrad as fg
    >>> fg.histogram_bin_edges(fg.asarray([0.0, 1.0, 4.0]), bins=2)
    Tensor([0., 2., 4.], dtype=float64)
    """
    values = ravel(as_operand(a))
    if isinstance(bins, str):
        known = known_values(values, "histogram_bin_edges", "give the number of bins: bins=")
        bins = _checked("histogram", lambda: len(np.histogram_bin_edges(known, bins, range, weights)) - 1)
    elif not isinstance(bins, int | np.integer):
        edges = as_operand(bins)
        if len(shape_of(edges)) != 1:
            message = f"[histogram] bins are a number or a vector of edges, and have shape {shape_of(edges)}"
            raise ShapeError(at_user_line(message))
        if not is_traced(edges) and (plain(edges)[1:] < plain(edges)[:-1]).any():
            message = "[histogram] the edges of bins ascend, and these descend somewhere; sort them"
            raise ShapeError(at_user_line(message))
        return edges if isinstance(edges, Tensor) else adopted(edges.copy())
    return _equal_bins(values, operator.index(bins), range)


def _checked(operation: str, function: Any) -> Any:
    try:
        return function()
    except ValueError as error:
        raise ShapeError(at_user_line(f"[{operation}] {error}")) from None


def _equal_bins(values: Any, count: int, limits: Any) -> Any:
    if count < 1:
        message = f"[histogram] the number of bins is positive, not {count}"
        raise ShapeError(at_user_line(message))
    dtype = np.result_type(dtype_of(values), *([np.float16] if is_inexact(dtype_of(values)) else [np.float64]))
    if limits is None and shape_of(values)[0]:
        low, high = (convert(find(values), dtype) for find in (smallest, largest))
        if not is_traced(low, high) and not (np.isfinite(plain(low)) and np.isfinite(plain(high))):
            message = f"[histogram] the values go from {low} to {high}: give range=, or take out what is not finite"
            raise ShapeError(at_user_line(message))
    else:
        low, high = (0.0, 1.0) if limits is None else limits
        if not (np.isfinite(low) and np.isfinite(high) and low <= high):
            message = f"[histogram] range {limits} is not finite and ascending"
            raise ShapeError(at_user_line(message))
        if limits is not None:
            dtype = np.result_type(low, high, dtype_of(values))
            dtype = dtype if is_inexact(dtype) else np.dtype(float)
    half = bind(select_p, equal(low, high), 0.5, 0.0)
    half = convert(half, dtype) if limits is None else half
    # Numbers that are given keep their precision until the edges are there, as in NumPy.
    return linspace(low - half, high + half, count + 1, dtype=dtype)


# NumPy adds up weights in another order.
@stands_for(np.histogram)
@untraced_by(np.histogram, unless=lambda *args, **kwargs: len(args) > 4 or kwargs.get("weights") is not None)
def histogram(
    a: ArrayLike,
    bins: Any = 10,
    range: tuple[float, float] | None = None,
    density: bool | None = None,
    weights: ArrayLike | None = None,
) -> tuple[Tensor, Tensor]:
    """How many values lie in each bin, or the sums of their weights, and the edges of the bins.

    Bin i holds edges[i] <= a < edges[i + 1], the last one its upper edge too. With `density` the counts are divided
    by their sum and by the width of the bin. The counts are differentiable in the weights and, with `density`, in the
    edges; they do not change with the values, as long as none crosses an edge.

    Raises:
        ShapeError: bins, range or weights do not fit; see `histogram_bin_edges`.

    >>> import fgrad as fg
    >>> counts, edges = fg.histogram(fg.asarray([1.0, 2.0, 1.0, 4.0]), bins=3)
    >>> counts
    Tensor([2, 1, 1], dtype=int64)
    >>> edges
    Tensor([1., 2., 3., 4.], dtype=float64)
    """
    values = as_operand(a)
    shape = shape_of(values)
    if weights is not None and shape_of(as_operand(weights)) != shape:
        message = f"[histogram] weights of shape {shape_of(as_operand(weights))} for values of shape {shape}"
        raise ShapeError(at_user_line(message))
    edges = histogram_bin_edges(values, bins, range, weights)
    places = bind(histogram_bins_p, ravel(values), edges, stack=0)
    entries = np.ones(product(shape), np.intp) if weights is None else ravel(as_operand(weights))
    counts = add_segments(entries, places, shape_of(edges)[0] - 1)
    if density:
        widths = convert(edges[1:] - edges[:-1], np.dtype(float))
        counts = counts / widths / reduce_sum(counts, (0,))
    return counts, edges
