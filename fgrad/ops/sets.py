"""Sets: the distinct elements of arrays, membership, unions, intersections and differences."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import ShapeError, at_user_line
from fgrad.core.primitive import Primitive
from fgrad.core.shape import ShapeDtype, result_dtype, shape_dtype_of
from fgrad.core.tensor import ArrayLike, Tensor, adopt
from fgrad.ops.arguments import as_integer, as_operand, axis_index, dtype_of, shape_of
from fgrad.ops.declare import batch_by_example, batch_size, constant, stands_for, untraced_by
from fgrad.ops.indexing import getitem, take
from fgrad.ops.joining import concatenate, stack
from fgrad.ops.known_values import adopted, is_traced, known_values, plain
from fgrad.ops.logic import greater
from fgrad.ops.selection import select_p
from fgrad.ops.shaping import ravel
from fgrad.ops.structure import convert, reshape_to

__all__ = [
    "UniqueAll",
    "UniqueCounts",
    "UniqueInverse",
    "intersect1d",
    "isin",
    "setdiff1d",
    "setxor1d",
    "union1d",
    "unique",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
]

_INTP = np.dtype(np.intp)
_SIZE = "say how many distinct elements to give: size= (and fill_value= for the places that stay free)"
_OUTSIDE = "compute the set outside, or select by fg.isin and fg.where, which keep the shape"


class UniqueAll(NamedTuple):
    """What `unique_all` returns."""

    values: Any
    indices: Any
    inverse_indices: Any
    counts: Any


class UniqueCounts(NamedTuple):
    """What `unique_counts` returns."""

    values: Any
    counts: Any


class UniqueInverse(NamedTuple):
    """What `unique_inverse` returns."""

    values: Any
    inverse_indices: Any


# The distinct elements by their positions: where each first occurs, which one each element is, and how many there are.
# With `size` their number is a param, and the positions of the first one stand in the places that stay free.


def _find_unique(x: Any, axis: int | None, equal_nan: bool) -> tuple[Any, Any, Any, Any]:
    values, first, inverse, counts = np.unique(x, True, True, True, axis, equal_nan=equal_nan)
    return values, first, inverse.reshape(x.shape if axis is None else (x.shape[axis],)), counts


def _evaluate_unique_places(x: Any, size: int, axis: int | None, equal_nan: bool) -> tuple[Any, Any, Any]:
    _, first, inverse, counts = _find_unique(x, axis, equal_nan)
    free = max(size - len(first), 0)
    spare = first[:1] if len(first) else np.zeros(1, _INTP)
    return (
        np.concatenate([first[:size], np.repeat(spare, free)]),
        inverse,
        np.concatenate([counts[:size], np.zeros(free, _INTP)]),
    )


def _unique_places_rule(x: ShapeDtype, size: int, axis: int | None, equal_nan: bool) -> tuple[ShapeDtype, ...]:
    inverse = x.shape if axis is None else (x.shape[axis],)
    return ShapeDtype((size,), _INTP), ShapeDtype(inverse, _INTP), ShapeDtype((size,), _INTP)


def _batch_unique_places(primitive: Primitive, batched: tuple[bool, ...], x: Any, **params: Any) -> Any:
    size = batch_size(batched, (x,))
    if not size:
        aval = shape_dtype_of(x)
        rule = primitive.shape_rule(ShapeDtype(aval.shape[1:], aval.dtype), **params)
        return [adopt(np.zeros((0, *one.shape), one.dtype)) for one in rule], [True] * 3
    found = [bind(primitive, getitem(x, position), **params) for position in range(size)]
    return [stack(parts) for parts in zip(*found, strict=True)], [True] * 3


unique_places_p = constant(
    "unique_places",
    _evaluate_unique_places,
    _unique_places_rule,
    batch=_batch_unique_places,
    multiple_results=True,
)


def _unique_parts(
    operation: str, x: Any, axis: Any, equal_nan: bool, size: Any, fill_value: Any
) -> tuple[Any, Any, Any, Any]:
    """The values, their first positions, the inverse and the counts."""
    operand = as_operand(x)
    shape = shape_of(operand)
    place = None if axis is None else axis_index(axis, len(shape), operation)
    if size is None and not is_traced(operand):
        return adopted(_find_unique(plain(operand), place, equal_nan))
    lanes, along = (ravel(operand), 0) if place is None else (operand, place)
    if size is None:
        known = known_values(operand, operation, _SIZE)
        _, first, inverse, counts = adopted(_find_unique(known, place, equal_nan))
        return take(lanes, first, along), first, inverse, counts
    count = as_integer(size, operation, "size is an integer")
    if count < 0 or (count and not shape_of(lanes)[along]):
        message = f"[{operation}] size={count} of the distinct elements of shape {shape}"
        raise ShapeError(at_user_line(message))
    first, inverse, counts = bind(unique_places_p, operand, size=count, axis=place, equal_nan=bool(equal_nan))
    values = take(lanes, first, along)
    if fill_value is not None:
        taken = reshape_to(greater(counts, 0), tuple([count if k == along else 1 for k in range(len(values.shape))]))
        values = convert(bind(select_p, taken, values, fill_value), values.dtype)
    return values, first, inverse, counts


@stands_for(np.unique)
def unique(
    ar: ArrayLike,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
    sorted: bool = True,
    size: int | None = None,
    fill_value: ArrayLike | None = None,
) -> Any:
    """The distinct elements in ascending order; with `axis`, the distinct slices along it.

    Their number depends on values, which are known outside of transforms and under grad and jvp. The cotangent of a
    value goes to the place where it first occurs; positions and counts carry none.

    Args:
        ar: the elements.
        return_index: whether to return where each value first occurs, too.
        return_inverse: whether to return which of the values each element is, too.
        return_counts: whether to return how often each value occurs, too.
        axis: the axis whose slices are compared; by default single elements are.
        equal_nan: whether NaNs are one value.
        sorted: ``sorted=False`` permits any order; the result is in order all the same.
        size: how many values to give, for vmap and graphs: the first so many, and `fill_value` beyond the last.
        fill_value: by default the smallest value. The places that stay free have the count 0.

    Returns:
        The values, or a tuple of them and of what else was asked for.

    Raises:
        ShapeError: the axis is out of range, or `size` is negative or asks for values of no elements.
        TracerConversionError: without `size`, under vmap and in a graph.

    >>> import fgrad as fg
    >>> values, counts = fg.unique(fg.asarray([3.0, 1.0, 3.0]), return_counts=True)
    >>> values
    Tensor([1., 3.], dtype=float64)
    >>> counts
    Tensor([1, 2], dtype=int64)
    """
    operand = as_operand(ar)
    options = (return_index, return_inverse, return_counts)
    if size is None and axis is None and not is_traced(operand):
        known: Any = known_values(operand, "unique", _SIZE)
        return adopted(np.unique(known, return_index, return_inverse, return_counts, equal_nan=equal_nan))  # type: ignore[call-overload]  # NumPy's stubs want to know the booleans
    values, *others = _unique_parts("unique", operand, axis, equal_nan, size, fill_value)
    wanted = [part for part, asked in zip(others, options, strict=True) if asked]
    return (values, *wanted) if wanted else values


@stands_for(np.unique_all)
@untraced_by(np.unique_all, result=UniqueAll)
def unique_all(x: ArrayLike, /, *, size: int | None = None, fill_value: ArrayLike | None = None) -> UniqueAll:
    """The distinct elements, where each first occurs, which of them each element is, and how often each occurs.

    Every NaN is a value of its own. `size` and `fill_value` are those of `unique`.

    Returns:
        A namedtuple ``(values, indices, inverse_indices, counts)``; inverse_indices has the shape of x.

    Raises:
        TracerConversionError: without `size`, under vmap and in a graph.

    >>> import fgrad as fg
    >>> fg.unique_all(fg.asarray([3.0, 1.0, 3.0])).indices
    Tensor([1, 0], dtype=int64)
    """
    return UniqueAll(*_unique_parts("unique_all", x, None, False, size, fill_value))


@stands_for(np.unique_counts)
@untraced_by(np.unique_counts, result=UniqueCounts)
def unique_counts(x: ArrayLike, /, *, size: int | None = None, fill_value: ArrayLike | None = None) -> UniqueCounts:
    """The distinct elements and how often each occurs; every NaN is a value of its own. See `unique`.

    Raises:
        TracerConversionError: without `size`, under vmap and in a graph.

    >>> import fgrad as fg
    >>> fg.unique_counts(fg.asarray([3.0, 1.0, 3.0])).counts
    Tensor([1, 2], dtype=int64)
    """
    values, _, _, counts = _unique_parts("unique_counts", x, None, False, size, fill_value)
    return UniqueCounts(values, counts)


@stands_for(np.unique_inverse)
@untraced_by(np.unique_inverse, result=UniqueInverse)
def unique_inverse(x: ArrayLike, /, *, size: int | None = None, fill_value: ArrayLike | None = None) -> UniqueInverse:
    """The distinct elements and which of them each element is; every NaN is a value of its own. See `unique`.

    Raises:
        TracerConversionError: without `size`, under vmap and in a graph.

    >>> import fgrad as fg
    >>> fg.unique_inverse(fg.asarray([3.0, 1.0, 3.0])).inverse_indices
    Tensor([1, 0, 1], dtype=int64)
    """
    values, _, inverse, _ = _unique_parts("unique_inverse", x, None, False, size, fill_value)
    return UniqueInverse(values, inverse)


@stands_for(np.unique_values)
def unique_values(x: ArrayLike, /, *, size: int | None = None, fill_value: ArrayLike | None = None) -> Tensor:
    """The distinct elements in ascending order; every NaN is a value of its own. See `unique`.

    Raises:
        TracerConversionError: without `size`, under vmap and in a graph.

    >>> import fgrad as fg
    >>> fg.unique_values(fg.asarray([3.0, 1.0, 3.0]))
    Tensor([1., 3.], dtype=float64)
    """
    values: Tensor = unique(x, equal_nan=False, size=size, fill_value=fill_value)
    return values


# Membership.


def _batch_isin(primitive: Primitive, batched: tuple[bool, ...], x: Any, among: Any, **params: Any) -> Any:
    if batched[1]:
        return batch_by_example(primitive, batched, x, among, **params)
    return bind(primitive, x, among, **params)


isin_p = constant(
    "isin",
    lambda x, among, invert: np.isin(x, among, invert=invert),
    lambda x, among, invert: ShapeDtype(x.shape, np.dtype(bool)),
    batch=_batch_isin,
)


@stands_for(np.isin)
def isin(
    element: ArrayLike,
    test_elements: ArrayLike,
    assume_unique: bool = False,
    invert: bool = False,
    *,
    kind: str | None = None,
) -> Tensor:
    """Whether each element is among the test elements (whether it is not, with `invert`); NaN is among none.

    `assume_unique` and `kind` are accepted as NumPy does, and do not change the result, which carries no gradient.

    >>> import fgrad as fg
    >>> fg.isin(fg.asarray([1, 2, 3]), [1, 3])
    Tensor([ True, False,  True], dtype=bool)
    """
    return bind(isin_p, as_operand(element), as_operand(test_elements), invert=bool(invert))


# Sets of two arrays: found among known values, and read from the operands, so that the gradient is kept.


def _joined(first: Any, second: Any) -> Any:
    dtype = result_dtype(shape_dtype_of(first), shape_dtype_of(second))
    parts = [ravel(part) for part in (first, second)]
    return concatenate([part if dtype_of(part) == dtype else convert(part, dtype) for part in parts])


def _first_places(values: Any, assume_unique: bool) -> Any:
    """The positions of the distinct values, in their order; all positions if they are distinct already."""
    return np.arange(values.size) if assume_unique else np.unique(values, return_index=True)[1]


@stands_for(np.union1d)
def union1d(ar1: ArrayLike, ar2: ArrayLike, *, size: int | None = None, fill_value: ArrayLike | None = None) -> Tensor:
    """The distinct elements of both arrays in ascending order; `size` and `fill_value` are those of `unique`.

    The cotangent of a value goes to the place where it first occurs, in ar1 before ar2.

    Raises:
        TracerConversionError: without `size`, under vmap and in a graph.

    >>> import fgrad as fg
    >>> fg.union1d(fg.asarray([3.0, 1.0]), fg.asarray([2.0, 1.0]))
    Tensor([1., 2., 3.], dtype=float64)
    """
    first, second = as_operand(ar1), as_operand(ar2)
    if size is None and not is_traced(first, second):
        return adopted(np.union1d(plain(first), plain(second)))
    found: Tensor = unique(_joined(first, second), size=size, fill_value=fill_value)
    return found


@stands_for(np.intersect1d)
def intersect1d(
    ar1: ArrayLike, ar2: ArrayLike, assume_unique: bool = False, return_indices: bool = False
) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    """The distinct elements that both arrays have, in ascending order.

    The cotangent of a value goes to the place where it first occurs in ar1.

    Args:
        ar1: the first array.
        ar2: the second array.
        assume_unique: whether each array is known to have distinct elements.
        return_indices: whether to return where the values first occur in ar1 and in ar2, too.

    Raises:
        TracerConversionError: under vmap and in a graph, where values are not known.

    >>> import fgrad as fg
    >>> fg.intersect1d(fg.asarray([3.0, 1.0, 2.0]), fg.asarray([2.0, 3.0, 4.0]))
    Tensor([2., 3.], dtype=float64)
    """
    first, second = as_operand(ar1), as_operand(ar2)
    if not is_traced(first, second):
        # The two spellings are two overloads of NumPy's stubs.
        known = plain(first), plain(second)
        if return_indices:
            return adopted(np.intersect1d(*known, assume_unique, return_indices=True))
        return adopted(np.intersect1d(*known, assume_unique))
    values = [known_values(operand, "intersect1d", _OUTSIDE) for operand in (first, second)]
    places: Any = np.intersect1d(values[0], values[1], assume_unique, return_indices=True)[1:]
    dtype = result_dtype(shape_dtype_of(first), shape_dtype_of(second))
    found = take(ravel(first), places[0])
    found = found if found.dtype == dtype else convert(found, dtype)
    return (found, *adopted(tuple(places))) if return_indices else found


@stands_for(np.setdiff1d)
def setdiff1d(ar1: ArrayLike, ar2: ArrayLike, assume_unique: bool = False) -> Tensor:
    """The distinct elements of ar1 that ar2 does not have, in ascending order; as they stand, if `assume_unique`.

    The cotangent of a value goes to the place where it first occurs in ar1.

    Raises:
        TracerConversionError: under vmap and in a graph, where values are not known.

    >>> import fgrad as fg
    >>> fg.setdiff1d(fg.asarray([3.0, 1.0, 2.0]), fg.asarray([2.0, 4.0]))
    Tensor([1., 3.], dtype=float64)
    """
    first, second = as_operand(ar1), as_operand(ar2)
    if not is_traced(first, second):
        return adopted(np.setdiff1d(plain(first), plain(second), assume_unique))
    one, other = (known_values(operand, "setdiff1d", _OUTSIDE).ravel() for operand in (first, second))
    places = _first_places(one, assume_unique)
    return take(ravel(first), places[np.isin(one[places], other, invert=True)])


@stands_for(np.setxor1d)
def setxor1d(ar1: ArrayLike, ar2: ArrayLike, assume_unique: bool = False) -> Tensor:
    """The distinct elements that one of the arrays has and the other has not, in ascending order.

    The cotangent of a value goes to the place where it first occurs.

    Raises:
        TracerConversionError: under vmap and in a graph, where values are not known.

    >>> import fgrad as fg
    >>> fg.setxor1d(fg.asarray([3.0, 1.0, 2.0]), fg.asarray([2.0, 4.0]))
    Tensor([1., 3., 4.], dtype=float64)
    """
    first, second = as_operand(ar1), as_operand(ar2)
    if not is_traced(first, second):
        return adopted(np.setxor1d(plain(first), plain(second), assume_unique))
    one, other = (known_values(operand, "setxor1d", _OUTSIDE).ravel() for operand in (first, second))
    places = np.concatenate([_first_places(one, assume_unique), one.size + _first_places(other, assume_unique)])
    values = np.concatenate([one, other])[places]
    order = values.argsort(kind="stable")
    ordered = values[order]
    differs = np.concatenate([[True], ordered[1:] != ordered[:-1], [True]])
    alone = differs[1:] & differs[:-1] if values.size else np.zeros(0, bool)
    return take(_joined(first, second), places[order[alone]])
