"""Segments: sums, extrema, products and means over the entries that have one label."""

from __future__ import annotations

from math import prod as product
from typing import Any

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import DtypeError, ShapeError, at_user_line
from fgrad.core.primitive import Primitive, register
from fgrad.core.shape import ShapeDtype
from fgrad.core.tensor import ArrayLike, Tensor
from fgrad.ops.arguments import as_integer, as_operand, dtype_of, is_inexact, shape_of
from fgrad.ops.arithmetic import divide_no_nan, multiply, multiply_no_nan
from fgrad.ops.declare import batch_size
from fgrad.ops.indexing import take
from fgrad.ops.joining import concatenate
from fgrad.ops.known_values import known_values
from fgrad.ops.logic import equal, greater_equal, isnan, less, logical_and, logical_or
from fgrad.ops.selection import maximum, select_p
from fgrad.ops.shaping import moveaxis
from fgrad.ops.sorting import argsort
from fgrad.ops.structure import broadcast, convert, fit_tangent, reshape_to

__all__ = ["add_segments", "segment_max", "segment_mean", "segment_min", "segment_prod", "segment_sum"]

_FLOAT64 = np.dtype(np.float64)


# Evaluation: NumPy's ufunc.at is quick for single elements, and so the rows are taken apart.


def _combine(ufunc: np.ufunc, identity: Any, data: Any, ids: Any, num_segments: int) -> Any:
    shape = (num_segments, *data.shape[1:])
    out = np.full(shape, identity, data.dtype)
    inside = (ids >= 0) & (ids < num_segments)
    if not inside.all():
        data, ids = data[inside], ids[inside]
    width = product(data.shape[1:])
    places = ids.astype(np.intp, copy=False)
    if data.ndim > 1:
        places = (places[:, None] * width + np.arange(width)).reshape(-1)
    ufunc.at(out.reshape(-1), places, data.reshape(-1))
    return out


def _segment_rule(data: ShapeDtype, ids: ShapeDtype, num_segments: int) -> ShapeDtype:
    return ShapeDtype((num_segments, *data.shape[1:]), data.dtype)


def _batch_segment(primitive: Primitive, batched: tuple[bool, ...], data: Any, ids: Any, num_segments: int) -> Any:
    """Labels that all examples share take the examples as columns; others count on from example to example."""
    own, own_ids = batched
    if not own_ids:
        return moveaxis(bind(primitive, moveaxis(data, 0, 1), ids, num_segments=num_segments), 1, 0)
    size = batch_size(batched, (data, ids))
    data = data if own else broadcast(data, (size, *shape_of(data)))
    length, *rest = shape_of(data)[1:]
    flat = reshape_to(data, (size * length, *rest))
    found = bind(primitive, flat, _counted_on(ids, size, num_segments), num_segments=size * num_segments)
    return reshape_to(found, (size, num_segments, *rest))


def _counted_on(ids: Any, size: int, num_segments: int) -> Any:
    inside = logical_and(greater_equal(ids, 0), less(ids, num_segments))
    first = np.arange(size, dtype=np.intp).reshape(size, 1) * num_segments
    moved = bind(select_p, inside, convert(ids, np.dtype(np.intp)) + first, -1)
    return reshape_to(moved, (product(shape_of(ids)),))


# The sum over segments and the reading of each entry's segment are linear, and each other's adjoints.


def _evaluate_read(x: Any, ids: Any) -> Any:
    count = x.shape[0]
    inside = (ids >= 0) & (ids < count)
    if inside.all():
        return x.take(ids.astype(np.intp, copy=False), 0)
    out = np.zeros((*ids.shape, *x.shape[1:]), x.dtype)
    out[inside] = x[ids[inside]]
    return out


def _batch_read(primitive: Primitive, batched: tuple[bool, ...], x: Any, ids: Any) -> Any:
    own, own_ids = batched
    if not own:
        size, length = shape_of(ids)
        found = bind(primitive, x, reshape_to(ids, (size * length,)))
        return reshape_to(found, (size, length, *shape_of(x)[1:]))
    if not own_ids:
        return moveaxis(bind(primitive, moveaxis(x, 0, 1), ids), 1, 0)
    size, count, *rest = shape_of(x)
    found = bind(primitive, reshape_to(x, (size * count, *rest)), _counted_on(ids, size, count))
    return reshape_to(found, (*shape_of(ids), *rest))


segment_sum_p = register(
    Primitive(
        "segment_sum",
        lambda data, ids, num_segments: _combine(np.add, 0, data, ids, num_segments),
        _segment_rule,
        lambda g, needed, out, data, ids, num_segments: (_read(g, ids), None),
        linear=slice(1),
        batch=_batch_segment,
    )
)
segment_read_p = register(
    Primitive(
        "segment_read",
        _evaluate_read,
        lambda x, ids: ShapeDtype((*ids.shape, *x.shape[1:]), x.dtype),
        lambda g, needed, out, x, ids: (add_segments(g, ids, shape_of(x)[0]), None),
        linear=slice(1),
        batch=_batch_read,
    )
)


def add_segments(data: Any, ids: Any, num_segments: int) -> Any:
    """`segment_sum` of operands that are known to fit."""
    return bind(segment_sum_p, data, ids, num_segments=num_segments)


def _read(x: Any, ids: Any) -> Any:
    """For each entry the value of its segment; 0 for labels out of range."""
    return bind(segment_read_p, x, ids)


# Extrema.


def _bound(dtype: np.dtype[Any], sign: int) -> Any:
    """The smallest value of a dtype (the largest, for the sign -1): the extremum of no elements."""
    if dtype.kind in "iu":
        return np.iinfo(dtype).min if sign > 0 else np.iinfo(dtype).max
    return sign < 0 if dtype.kind == "b" else -sign * np.inf


def _extremum_share(out: Any, data: Any, ids: Any, num_segments: int) -> Any:
    """1 / n at the n entries that equal the extremum of their segment; where that is NaN, at the NaNs."""
    found = _read(out, ids)
    hits = logical_or(equal(data, found), logical_and(isnan(data), isnan(found)))
    hits = convert(hits, dtype_of(data))
    return divide_no_nan(hits, _read(add_segments(hits, ids, num_segments), ids))


def _extremum_vjp(g: Any, needed: Any, out: Any, data: Any, ids: Any, num_segments: int) -> tuple[Any, None]:
    return multiply_no_nan(_extremum_share(out, data, ids, num_segments), _read(g, ids)), None


def _extremum_jvp(tangents: Any, out: Any, data: Any, ids: Any, num_segments: int) -> Any:
    weighted = multiply_no_nan(_extremum_share(out, data, ids, num_segments), tangents[0])
    return fit_tangent(add_segments(weighted, ids, num_segments), out)


def _find_extrema(ufunc: np.ufunc, sign: int, data: Any, ids: Any, num_segments: int) -> Any:
    # NumPy's ufunc.at warns of NaN, its reductions do not.
    with np.errstate(invalid="ignore"):
        return _combine(ufunc, _bound(data.dtype, sign), data, ids, num_segments)


def _extremum_primitive(name: str, ufunc: np.ufunc, sign: int) -> Primitive:
    return register(
        Primitive(
            name,
            lambda data, ids, num_segments: _find_extrema(ufunc, sign, data, ids, num_segments),
            _segment_rule,
            _extremum_vjp,
            _extremum_jvp,
            batch=_batch_segment,
        )
    )


segment_max_p = _extremum_primitive("segment_max", np.maximum, 1)
segment_min_p = _extremum_primitive("segment_min", np.minimum, -1)


# Products. The derivative by an entry is the product of the others in its segment: of those before it times those after
# it, which is right to every order when some are zero. They are found in a logarithmic number of steps (W. D. Hillis
# and G. L. Steele, Data parallel algorithms, Communications of the ACM 29, 1986), over entries in the segments' order.


def _shifted(x: Any, step: int, fill: Any) -> Any:
    """Entries moved by so many places along the first axis, with `fill` in the places that become free."""
    length, *rest = shape_of(x)
    free = np.full((abs(step), *rest), fill, x.dtype)
    if step > 0:
        return concatenate([free, x[: length - step]])
    return concatenate([x[-step:], free])


def _partial_products(x: Any, ids: Any, sign: int) -> Any:
    """For each entry the product of those before it (after it, for the sign -1) with its label."""
    length, *rest = shape_of(x)
    column = (length, *[1] * len(rest))

    def moved(values: Any, step: int) -> Any:
        same = equal(_shifted(ids, sign * step, -1), ids)
        return bind(select_p, reshape_to(same, column), _shifted(values, sign * step, 1), 1)

    products = moved(x, 1)
    step = 1
    while step < length:
        products = multiply(products, moved(products, step))
        step *= 2
    return products


def _other_products(data: Any, ids: Any) -> Any:
    if shape_of(ids)[0] < 2:
        return np.ones(shape_of(data), dtype_of(data))
    order = argsort(ids)
    ordered, labels = take(data, order, 0), take(ids, order, 0)
    found = multiply(_partial_products(ordered, labels, 1), _partial_products(ordered, labels, -1))
    return take(found, argsort(order), 0)


def _product_vjp(g: Any, needed: Any, out: Any, data: Any, ids: Any, num_segments: int) -> tuple[Any, None]:
    return multiply_no_nan(_read(g, ids), _other_products(data, ids)), None


def _product_jvp(tangents: Any, out: Any, data: Any, ids: Any, num_segments: int) -> Any:
    weighted = multiply_no_nan(tangents[0], _other_products(data, ids))
    return fit_tangent(add_segments(weighted, ids, num_segments), out)


segment_prod_p = register(
    Primitive(
        "segment_prod",
        lambda data, ids, num_segments: _combine(np.multiply, 1, data, ids, num_segments),
        _segment_rule,
        _product_vjp,
        _product_jvp,
        batch=_batch_segment,
    )
)


# The public functions.


def _prepare(operation: str, data: Any, segment_ids: Any, num_segments: Any) -> tuple[Any, Any, int]:
    entries, ids = as_operand(data), as_operand(segment_ids)
    if dtype_of(ids).kind not in "iu":
        message = f"[{operation}] segment_ids are integers, not {dtype_of(ids)}; convert them with astype(int)"
        raise DtypeError(at_user_line(message))
    shape, lengths = shape_of(entries), shape_of(ids)
    if len(lengths) != 1 or shape[:1] != lengths:
        message = (
            f"[{operation}] on data of shape {shape} and segment_ids of shape {lengths}: the labels are a vector, one "
            f"for each entry along the first axis of the data"
        )
        raise ShapeError(at_user_line(message))
    if num_segments is None:
        labels = known_values(ids, operation, "give the number of segments, num_segments=")
        return entries, ids, max(int(labels.max(initial=-1)) + 1, 0)
    count = as_integer(num_segments, operation, "num_segments is an integer")
    if count < 0:
        message = f"[{operation}] num_segments is at least 0, not {count}"
        raise ShapeError(at_user_line(message))
    return entries, ids, count


def segment_sum(
    data: ArrayLike, segment_ids: ArrayLike, num_segments: int | None = None, indices_are_sorted: bool = False
) -> Tensor:
    """The sums of the entries that have one label: out[s] is the sum of data[i] over all i with segment_ids[i] = s.

    An entry whose label is negative or not below num_segments is left out, and the sum of no entries is 0. The dtype
    is that of the data; the cotangent of an entry is that of its segment.

    Args:
        data: the entries, along the first axis.
        segment_ids: a vector with the label of each entry, in any order.
        num_segments: the length of the result; by default the largest label and 1, for labels that are known.
        indices_are_sorted: permission to rely on ascending labels, which is not made use of.

    Raises:
        ShapeError: the labels are not a vector of the length of data's first axis.
        DtypeError: the labels are not integers.
        TracerConversionError: num_segments is not given and the labels have no values, under vmap or in a graph.

    >>> import fgrad as fg
    >>> fg.segment_sum(fg.asarray([1.0, 2.0, 3.0]), fg.asarray([0, 1, 0]))
    Tensor([4., 2.], dtype=float64)
    """
    entries, ids, count = _prepare("segment_sum", data, segment_ids, num_segments)
    return bind(segment_sum_p, entries, ids, num_segments=count)


def segment_max(
    data: ArrayLike, segment_ids: ArrayLike, num_segments: int | None = None, indices_are_sorted: bool = False
) -> Tensor:
    """The largest of the entries that have one label; arguments and errors are those of `segment_sum`.

    Of no entries it is -inf, the smallest integer or False. Entries that are equally large share the cotangent; where
    one is NaN the result is, and the NaNs share.

    Raises:
        ShapeError: the labels are not a vector of the length of data's first axis.

    >>> import fgrad as fg
    >>> fg.segment_max(fg.asarray([1.0, 2.0, 3.0]), fg.asarray([0, 1, 0]))
    Tensor([3., 2.], dtype=float64)
    """
    entries, ids, count = _prepare("segment_max", data, segment_ids, num_segments)
    return bind(segment_max_p, entries, ids, num_segments=count)


def segment_min(
    data: ArrayLike, segment_ids: ArrayLike, num_segments: int | None = None, indices_are_sorted: bool = False
) -> Tensor:
    """The smallest of the entries that have one label; arguments and errors are those of `segment_sum`.

    Of no entries it is inf, the largest integer or True. Entries that are equally small share the cotangent; where
    one is NaN the result is, and the NaNs share.

    Raises:
        ShapeError: the labels are not a vector of the length of data's first axis.

    >>> import fgrad as fg
    >>> fg.segment_min(fg.asarray([1.0, 2.0, 3.0]), fg.asarray([0, 1, 0]))
    Tensor([1., 2.], dtype=float64)
    """
    entries, ids, count = _prepare("segment_min", data, segment_ids, num_segments)
    return bind(segment_min_p, entries, ids, num_segments=count)


def segment_prod(
    data: ArrayLike, segment_ids: ArrayLike, num_segments: int | None = None, indices_are_sorted: bool = False
) -> Tensor:
    """The products of the entries that have one label; arguments and errors are those of `segment_sum`.

    Of no entries it is 1. The derivative by an entry is the product of the others in its segment, also where some are
    zero, to every order.

    Raises:
        ShapeError: the labels are not a vector of the length of data's first axis.

    >>> import fgrad as fg
    >>> fg.segment_prod(fg.asarray([1.0, 2.0, 3.0]), fg.asarray([0, 1, 0]))
    Tensor([3., 2.], dtype=float64)
    """
    entries, ids, count = _prepare("segment_prod", data, segment_ids, num_segments)
    return bind(segment_prod_p, entries, ids, num_segments=count)


def segment_mean(
    data: ArrayLike, segment_ids: ArrayLike, num_segments: int | None = None, indices_are_sorted: bool = False
) -> Tensor:
    """The means of the entries that have one label; arguments and errors are those of `segment_sum`.

    Of no entries it is 0. Means of integers and booleans are float64.

    Raises:
        ShapeError: the labels are not a vector of the length of data's first axis.

    >>> import fgrad as fg
    >>> fg.segment_mean(fg.asarray([1.0, 2.0, 3.0]), fg.asarray([0, 1, 0]))
    Tensor([2., 2.], dtype=float64)
    """
    entries, ids, count = _prepare("segment_mean", data, segment_ids, num_segments)
    if not is_inexact(dtype_of(entries)):
        entries = convert(entries, _FLOAT64)
    total = add_segments(entries, ids, count)
    sizes = maximum(add_segments(np.ones(shape_of(ids), np.intp), ids, count), 1)
    sizes = reshape_to(convert(sizes, total.dtype), (count, *[1] * (len(total.shape) - 1)))
    return total / sizes
