"""Order: sorted values, the positions that sort, the largest values, and the positions where values belong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import DtypeError, ShapeError, at_user_line
from fgrad.core.methods import operations
from fgrad.core.primitive import Primitive, register
from fgrad.core.shape import Shape, ShapeDtype
from fgrad.core.tensor import ArrayLike, Tensor
from fgrad.ops.arguments import as_integer, as_operand, axis_index, dtype_of, shape_of
from fgrad.ops.declare import as_batch, batch_over_axis, batch_size, constant, stands_for
from fgrad.ops.shaping import ravel
from fgrad.ops.structure import convert

__all__ = [
    "TopK",
    "argpartition",
    "argsort",
    "lexsort",
    "partition",
    "search_positions",
    "searchsorted",
    "sort",
    "sort_complex",
    "top_k",
]

_INTP = np.dtype(np.intp)
_STABLE = ("stable", "mergesort")
_KINDS = (None, "quicksort", "heapsort", "introsort", *_STABLE)


# Reading at places along an axis, none of them twice, and writing there into zeros: each is the other's adjoint.


def _batch_places(
    primitive: Primitive, batched: tuple[bool, ...], x: Any, places: Any, axis: int, **params: Any
) -> Any:
    size = batch_size(batched, (x, places))
    x, places = as_batch(x, batched[0], size), as_batch(places, batched[1], size)
    return bind(primitive, x, places, axis=axis + 1, **params)


def _read_places_vjp(g: Any, needed: Any, out: Any, x: Any, places: Any, axis: int) -> tuple[Any, None]:
    return bind(write_places_p, g, places, axis=axis, length=shape_of(x)[axis]), None


def _write_places(values: Any, places: Any, axis: int, length: int) -> Any:
    shape = (*values.shape[:axis], length, *values.shape[axis + 1 :])
    out = np.zeros(shape, values.dtype)
    np.put_along_axis(out, places, values, axis)
    return out


def _write_places_vjp(g: Any, needed: Any, out: Any, values: Any, places: Any, axis: int, length: int) -> Any:
    return bind(read_places_p, g, places, axis=axis), None


read_places_p = register(
    Primitive(
        "read_places",
        np.take_along_axis,
        lambda x, places, axis: ShapeDtype(places.shape, x.dtype),
        _read_places_vjp,
        linear=slice(1),
        batch=_batch_places,
    )
)
write_places_p = register(
    Primitive(
        "write_places",
        _write_places,
        lambda values, places, axis, length: ShapeDtype(
            (*values.shape[:axis], length, *values.shape[axis + 1 :]), values.dtype
        ),
        _write_places_vjp,
        linear=slice(1),
        batch=_batch_places,
    )
)


# Sorting.


def _turned(x: Any, axis: int) -> Any:
    return x[(slice(None),) * axis + (slice(None, None, -1),)]


def _evaluate_argsort(x: Any, axis: int, stable: bool, descending: bool) -> Any:
    kind = "stable" if stable else "quicksort"
    if not descending:
        return x.argsort(axis, kind=kind)
    # Turned round twice, so that equal entries keep their order.
    return x.shape[axis] - 1 - _turned(_turned(x, axis).argsort(axis, kind=kind), axis)


def _evaluate_sort(x: Any, axis: int, descending: bool) -> Any:
    out = x.copy()
    out.sort(axis)
    return _turned(out, axis) if descending else out


def _order(x: Any, axis: int, descending: bool) -> Any:
    return bind(argsort_p, x, axis=axis, stable=True, descending=descending)


def _sort_vjp(g: Any, needed: Any, out: Any, x: Any, axis: int, descending: bool) -> tuple[Any]:
    return (bind(write_places_p, g, _order(x, axis, descending), axis=axis, length=shape_of(x)[axis]),)


def _sort_jvp(tangents: Any, out: Any, x: Any, axis: int, descending: bool) -> Any:
    return bind(read_places_p, tangents[0], _order(x, axis, descending), axis=axis)


argsort_p = constant(
    "argsort",
    _evaluate_argsort,
    lambda x, axis, stable, descending: ShapeDtype(x.shape, _INTP),
    batch=batch_over_axis,
)
sort_p = register(
    Primitive(
        "sort",
        _evaluate_sort,
        lambda x, axis, descending: ShapeDtype(x.shape, x.dtype),
        _sort_vjp,
        _sort_jvp,
        batch=batch_over_axis,
    )
)


def _lanes(x: Any, axis: int | None, operation: str) -> tuple[Any, int]:
    """The operand and the axis to order along: that of all elements in row-major order where it is None."""
    operand = as_operand(x)
    if axis is None:
        return ravel(operand), 0
    return operand, axis_index(axis, len(shape_of(operand)), operation)


def _is_stable(kind: str | None, stable: bool | None, operation: str) -> bool:
    """Whether equal entries keep their order, by both of NumPy's options; they do unless a kind says otherwise."""
    if kind not in _KINDS:
        message = f"[{operation}] kind is one of {', '.join(map(repr, _KINDS))}, not {kind!r}"
        raise ShapeError(at_user_line(message))
    if stable is None:
        return kind is None or kind in _STABLE
    if kind is not None:
        message = f"[{operation}] kind={kind!r} and stable={stable} are two names of one option; give one of them"
        raise ShapeError(at_user_line(message))
    return bool(stable)


@stands_for(np.sort)
def sort(
    x: ArrayLike,
    /,
    axis: int | None = -1,
    kind: str | None = None,
    *,
    stable: bool | None = None,
    descending: bool = False,
) -> Tensor:
    """The entries along an axis in ascending order; of all elements in row-major order when axis is None.

    NaN counts as the largest: it stands last, and first when `descending`. Complex numbers are ordered by their real
    parts and then by their imaginary ones. A cotangent goes back to the place that its entry came from; of equal
    entries the first in x counts as the first in the result. `kind` and `stable` are NumPy's; no choice changes the
    values.

    Raises:
        ShapeError: the axis is out of range, or the kind unknown.

    >>> import fgrad as fg
    >>> fg.sort(fg.asarray([3.0, 1.0, 2.0]))
    Tensor([1., 2., 3.], dtype=float64)
    >>> fg.grad(lambda x: fg.sort(x)[0])(fg.asarray([3.0, 1.0, 2.0]))
    Tensor([0., 1., 0.], dtype=float64)
    """
    if kind is not None or stable is not None:
        _is_stable(kind, stable, "sort")
    operand, place = _lanes(x, axis, "sort")
    return bind(sort_p, operand, axis=place, descending=descending)


@stands_for(np.argsort)
def argsort(
    x: ArrayLike,
    /,
    axis: int | None = -1,
    kind: str | None = None,
    *,
    stable: bool | None = None,
    descending: bool = False,
) -> Tensor:
    """The positions that put the entries along an axis into ascending order; of all elements when axis is None.

    Equal entries keep their order, also when `descending`, unless ``stable=False`` or a `kind` that is not stable
    leaves that open. NaN counts as the largest. The result is of integers and carries no gradient.

    Raises:
        ShapeError: the axis is out of range, or the kind unknown.

    >>> import fgrad as fg
    >>> fg.argsort(fg.asarray([3.0, 1.0, 2.0]))
    Tensor([1, 2, 0], dtype=int64)
    >>> fg.argsort(fg.asarray([3.0, 1.0, 3.0]), descending=True)
    Tensor([0, 2, 1], dtype=int64)
    """
    operand, place = _lanes(x, axis, "argsort")
    return bind(argsort_p, operand, axis=place, stable=_is_stable(kind, stable, "argsort"), descending=bool(descending))


@stands_for(np.sort_complex)
def sort_complex(a: ArrayLike) -> Tensor:
    """The entries along the last axis as complex numbers, by their real parts and then by their imaginary ones.

    int8, uint8, int16 and uint16 become complex64, other real dtypes complex128.

    >>> import fgrad as fg
    >>> fg.sort_complex(fg.asarray([2.0, 1.0]))
    Tensor([1.+0.j, 2.+0.j], dtype=complex128)
    """
    operand = as_operand(a)
    dtype = dtype_of(operand)
    if dtype.kind != "c":
        operand = convert(operand, np.dtype(np.complex64 if dtype.char in "bhBH" else np.complex128))
    return sort(operand)


# Partial orders.


def _check_kth(kth: tuple[int, ...], length: int) -> None:
    for one in kth:
        if not -length <= one < length:
            message = f"kth={one} is out of bounds for an axis of length {length}"
            raise ShapeError(message)


def _argpartition_rule(x: ShapeDtype, kth: tuple[int, ...], axis: int) -> ShapeDtype:
    _check_kth(kth, x.shape[axis])
    return ShapeDtype(x.shape, _INTP)


def _partition_rule(x: ShapeDtype, kth: tuple[int, ...], axis: int) -> ShapeDtype:
    _check_kth(kth, x.shape[axis])
    return ShapeDtype(x.shape, x.dtype)


def _evaluate_partition(x: Any, kth: tuple[int, ...], axis: int) -> Any:
    # By the positions, and not by x.partition: that may arrange the entries around the k-th otherwise.
    places = x.argpartition(kth, axis)
    return x[places] if x.ndim == 1 else np.take_along_axis(x, places, axis)


def _partition_vjp(g: Any, needed: Any, out: Any, x: Any, kth: tuple[int, ...], axis: int) -> tuple[Any]:
    places = bind(argpartition_p, x, kth=kth, axis=axis)
    return (bind(write_places_p, g, places, axis=axis, length=shape_of(x)[axis]),)


def _partition_jvp(tangents: Any, out: Any, x: Any, kth: tuple[int, ...], axis: int) -> Any:
    return bind(read_places_p, tangents[0], bind(argpartition_p, x, kth=kth, axis=axis), axis=axis)


argpartition_p = constant(
    "argpartition",
    lambda x, kth, axis: x.argpartition(kth, axis),
    _argpartition_rule,
    batch=batch_over_axis,
)
partition_p = register(
    Primitive("partition", _evaluate_partition, _partition_rule, _partition_vjp, _partition_jvp, batch=batch_over_axis)
)


def _kth_tuple(kth: Any) -> tuple[int, ...]:
    return (kth,) if type(kth) is int else tuple([int(one) for one in np.asarray(kth).reshape(-1)])


@stands_for(np.partition)
def partition(a: ArrayLike, kth: Any, axis: int | None = -1, kind: str = "introselect") -> Tensor:
    """The entries along an axis with the k-th where sorting would put it: none before it is larger, none after smaller.

    The order on either side is not specified. `kth` is one position or several. A cotangent goes back to the place
    that its entry came from. NaN counts as the largest.

    Raises:
        ShapeError: the axis or a position is out of range, or the kind is not NumPy's.

    >>> import fgrad as fg
    >>> fg.partition(fg.asarray([3.0, 1.0, 2.0]), 1)[1]
    Tensor(2., dtype=float64)
    """
    operand, place = _lanes(a, axis, "partition")
    _require_introselect(kind, "partition")
    return bind(partition_p, operand, kth=_kth_tuple(kth), axis=place)


@stands_for(np.argpartition)
def argpartition(a: ArrayLike, kth: Any, axis: int | None = -1, kind: str = "introselect") -> Tensor:
    """The positions that `partition` reads its entries from; integers, without a gradient.

    Raises:
        ShapeError: the axis or a position is out of range, or the kind is not NumPy's.

    >>> import fgrad as fg
    >>> fg.argpartition(fg.asarray([3.0, 1.0, 2.0]), 1)[1]
    Tensor(2, dtype=int64)
    """
    operand, place = _lanes(a, axis, "argpartition")
    _require_introselect(kind, "argpartition")
    return bind(argpartition_p, operand, kth=_kth_tuple(kth), axis=place)


def _require_introselect(kind: str, operation: str) -> None:
    if kind != "introselect":
        message = f"[{operation}] kind is 'introselect', not {kind!r}"
        raise ShapeError(at_user_line(message))


def _batch_lexsort(primitive: Primitive, batched: tuple[bool, ...], *keys: Any, axis: int) -> Any:
    size = batch_size(batched, keys)
    return bind(primitive, *[as_batch(key, own, size) for key, own in zip(keys, batched, strict=True)], axis=axis + 1)


def _lexsort_rule(*keys: ShapeDtype, axis: int) -> ShapeDtype:
    if any(key.shape != keys[0].shape for key in keys):
        message = f"keys of the shapes {', '.join(str(key.shape) for key in keys)} must have one shape"
        raise ShapeError(message)
    return ShapeDtype(keys[0].shape, _INTP)


lexsort_p = constant(
    "lexsort", lambda *keys, axis: np.asarray(np.lexsort(keys, axis)), _lexsort_rule, batch=_batch_lexsort
)


@stands_for(np.lexsort)
def lexsort(keys: ArrayLike | Sequence[ArrayLike], axis: int = -1) -> Tensor:
    """The positions that sort along an axis by several keys, the last of which decides first.

    Args:
        keys: arrays of one shape, or one array whose first axis goes over the keys.
        axis: the axis to sort along, of each key.

    Raises:
        ShapeError: there are no keys, they have different shapes, or the axis is out of range.

    >>> import fgrad as fg
    >>> fg.lexsort((fg.asarray([3, 1, 2]), fg.asarray([1, 1, 0])))
    Tensor([2, 1, 0], dtype=int64)
    """
    listed = list(keys) if isinstance(keys, list | tuple) else list(as_operand(keys))
    if not listed:
        message = "[lexsort] needs at least one key"
        raise ShapeError(at_user_line(message))
    operands = [as_operand(key) for key in listed]
    rank = len(shape_of(operands[0]))
    place = axis_index(axis, rank, "lexsort") if rank else -1
    if not rank:
        operands = [ravel(key) for key in operands]
        return bind(lexsort_p, *operands, axis=0)[0]
    return bind(lexsort_p, *operands, axis=place)


# The largest entries.


class TopK(NamedTuple):
    """What `top_k` returns: the entries, and their positions along the axis."""

    values: Any
    indices: Any


# From so long an axis on, finding the k-th entry first is quicker than sorting all, if k is that part of it or less.
_LONG, _FEW = 512, 8


def _evaluate_top_places(x: Any, k: int, axis: int, largest: bool) -> Any:
    length = x.shape[axis]
    if length < _LONG or k * _FEW > length:
        order = _evaluate_argsort(x, axis, True, largest)
        return order[(slice(None),) * axis + (slice(k),)]
    rows = np.moveaxis(x, axis, -1)
    out = np.empty((*rows.shape[:-1], k), np.intp)
    for place in np.ndindex(rows.shape[:-1]):
        out[place] = _top_places_of_row(rows[place], k, largest)
    return np.moveaxis(out, -1, axis)


def _top_places_of_row(row: Any, k: int, largest: bool) -> Any:
    if not k:
        return np.zeros(0, np.intp)
    # Everything that is beyond the k-th entry or equals it, in order, so that the first of equals are taken.
    limit = row[row.argpartition(-k if largest else k - 1)[-k if largest else k - 1]]
    if np.isnan(limit):
        candidates = np.flatnonzero(np.isnan(row)) if largest else np.arange(row.size)
    else:
        candidates = np.flatnonzero(~(row < limit) if largest else row <= limit)
    order = _evaluate_argsort(row[candidates], 0, True, largest)
    return candidates[order[:k]]


def _top_places_rule(x: ShapeDtype, k: int, axis: int, largest: bool) -> ShapeDtype:
    return ShapeDtype((*x.shape[:axis], k, *x.shape[axis + 1 :]), _INTP)


top_places_p = constant("top_places", _evaluate_top_places, _top_places_rule, batch=batch_over_axis)


def top_k(x: ArrayLike, k: int, axis: int = -1, largest: bool = True, sorted: bool = True) -> TopK:
    """The k largest entries along an axis (the smallest, unless `largest`) in order, and their positions.

    Of equal entries the first come first, and NaN counts as the largest. A cotangent of the values goes back to the
    places they came from. ``sorted=False`` permits any order; the result is in order all the same.

    Returns:
        A namedtuple ``(values, indices)``; both have length k along the axis.

    Raises:
        ShapeError: the axis is out of range, or k is negative or larger than the axis is long.

    >>> import fgrad as fg
    >>> values, indices = fg.top_k(fg.asarray([1.0, 5.0, 3.0]), 2)
    >>> values
    Tensor([5., 3.], dtype=float64)
    >>> indices
    Tensor([1, 2], dtype=int64)
    """
    operand, place = _lanes(x, axis, "top_k")
    length = shape_of(operand)[place]
    count = as_integer(k, "top_k", "k is an integer")
    if not 0 <= count <= length:
        message = f"[top_k] k={count} of an axis of length {length}, in shape {shape_of(operand)}"
        raise ShapeError(at_user_line(message))
    places = bind(top_places_p, operand, k=count, axis=place, largest=bool(largest))
    return TopK(bind(read_places_p, operand, places, axis=place), places)


# Searching.


def _evaluate_searchsorted(a: Any, v: Any, side: str, stack: int) -> Any:
    """The search in each of a stack of vectors, each for values of its own; `stack` counts the stack's axes."""
    if not stack:
        return a.searchsorted(v, side)
    out = np.empty(v.shape, np.intp)
    for place in np.ndindex(a.shape[:stack]):
        out[place] = a[place].searchsorted(v[place], side)
    return out


def _batch_searchsorted(primitive: Primitive, batched: tuple[bool, ...], a: Any, v: Any, side: str, stack: int) -> Any:
    if not stack and not batched[0]:
        return bind(primitive, a, v, side=side, stack=0)
    size = batch_size(batched, (a, v))
    return bind(primitive, as_batch(a, batched[0], size), as_batch(v, batched[1], size), side=side, stack=stack + 1)


searchsorted_p = constant(
    "searchsorted",
    _evaluate_searchsorted,
    lambda a, v, side, stack: ShapeDtype(v.shape, _INTP),
    batch=_batch_searchsorted,
)


def search_positions(ascending: Any, values: Any, side: str) -> Any:
    """`searchsorted` of operands that are known to fit."""
    return bind(searchsorted_p, ascending, values, side=side, stack=0)


@stands_for(np.searchsorted)
def searchsorted(a: ArrayLike, v: ArrayLike, /, side: str = "left", sorter: ArrayLike | None = None) -> Tensor:
    """Where each v belongs in the ascending vector a: before its equals ("left") or after them ("right").

    `sorter` holds the positions that sort a, where it is not ascending itself. The result is of integers, of the shape
    of v, and carries no gradient.

    Raises:
        ShapeError: a is not a vector, `side` is neither, or `sorter` has not the shape of a.
        DtypeError: `sorter` is not of integers.

    >>> import fgrad as fg
    >>> fg.searchsorted(fg.asarray([1.0, 2.0, 3.0]), fg.asarray([2.0, 5.0]))
    Tensor([1, 3], dtype=int64)
    """
    if side not in ("left", "right"):
        message = f"[searchsorted] side is 'left' or 'right', not {side!r}"
        raise ShapeError(at_user_line(message))
    ascending = as_operand(a)
    shape: Shape = shape_of(ascending)
    if len(shape) != 1:
        message = f"[searchsorted] searches in a vector, not in shape {shape}"
        raise ShapeError(at_user_line(message))
    if sorter is not None:
        places = as_operand(sorter)
        if dtype_of(places).kind not in "iu":
            message = f"[searchsorted] sorter holds integer positions, not {dtype_of(places)}"
            raise DtypeError(at_user_line(message))
        if shape_of(places) != shape:
            message = f"[searchsorted] sorter has shape {shape_of(places)} for a vector of shape {shape}"
            raise ShapeError(at_user_line(message))
        ascending = bind(read_places_p, ascending, places, axis=0)
    return search_positions(ascending, as_operand(v), side)


operations.argsort = argsort
