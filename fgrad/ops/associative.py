"""Scans of an associative function, in a number of rounds that grows with the logarithm of the length."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from fgrad.core.errors import DtypeError, ShapeError, TreeError, at_user_line
from fgrad.core.shape import PYTHON_NUMBERS
from fgrad.ops.arguments import axis_index
from fgrad.ops.indexing import getitem
from fgrad.ops.joining import concatenate, stack
from fgrad.ops.shaping import flip
from fgrad.ops.staged import Form, aval_of, describe, require_callable, take_apart, value_of
from fgrad.ops.structure import reshape_to

__all__ = ["associative_scan"]


def associative_scan(fn: Callable[..., Any], elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """All partial results of an associative function along an axis: e0, fn(e0, e1), fn(fn(e0, e1), e2) and so on.

    ``fn(a, b)`` is applied to whole arrays of elements at once, about 2 log2(n) times for n elements and to fewer than
    2n of them in all: neighbours are joined in pairs, the pairs are scanned in the same way, and what lies between them
    follows (Blelloch, Prefix sums and their applications, CMU-CS-90-190, 1990, section 1.3). fn need not commute: a
    always comes before b. The scan is made of slices and joins, so every transform goes through it as through fn.

    Args:
        fn: ``fn(a, b)``, associative and elementwise along `axis`: it gets two pytrees like `elems` whose arrays have
            one length along it, and returns such a tree with the results, in the shapes and dtypes of its arguments.
        elems: a pytree of arrays of one length along `axis`.
        reverse: from the last element to the first: ..., fn(e[n-1], e[n-2]), e[n-1].
        axis: the axis along which the elements lie.

    Returns:
        A pytree like `elems`, with the partial result at the place of each element.

    Raises:
        ShapeError: the arrays differ in length along the axis or have no such axis, or there are none.
        TreeError, ShapeError, DtypeError: fn returns another structure, other shapes or dtypes.

    >>> import fgrad as fg
    >>> fg.associative_scan(fg.add, fg.asarray([1.0, 2.0, 3.0, 4.0]))
    Tensor([ 1.,  3.,  6., 10.], dtype=float64)
    >>> fg.associative_scan(fg.maximum, fg.asarray([1.0, 3.0, 2.0]), reverse=True)
    Tensor([3., 3., 2.], dtype=float64)
    """
    require_callable(fn, "associative_scan", "fn", "(fn, elems)")
    leaves, form = take_apart(elems, "associative_scan", "elems")
    places = [_place_of(leaf, axis, path) for leaf, path in zip(leaves, form.paths(), strict=True)]
    values = [value_of(leaf) for leaf in leaves]
    _require_one_length(values, places, form)
    if reverse:
        values = [flip(value, place) for value, place in zip(values, places, strict=True)]
    results = _Scan(fn, form, places).partial_results(values)
    if reverse:
        results = [flip(value, place) for value, place in zip(results, places, strict=True)]
    return form.build(results)


def _place_of(leaf: Any, axis: int, path: str) -> int:
    shape = () if type(leaf) in PYTHON_NUMBERS else leaf.shape
    if not -len(shape) <= axis < len(shape):
        message = f"[associative_scan] elems{path} is {describe(leaf)}, which has no axis {axis}"
        raise ShapeError(at_user_line(message))
    return axis_index(axis, len(shape), "associative_scan")


def _require_one_length(values: list[Any], places: list[int], form: Form) -> None:
    if not values:
        message = "[associative_scan] elems holds no array"
        raise ShapeError(at_user_line(message))
    lengths = [value.shape[place] for value, place in zip(values, places, strict=True)]
    if len(set(lengths)) > 1:
        listed = ", ".join(f"elems{path} has {length}" for path, length in zip(form.paths(), lengths, strict=True))
        message = f"[associative_scan] the arrays of elems have different numbers of elements: {listed}"
        raise ShapeError(at_user_line(message))


@attrs.frozen(eq=False)
class _Scan:
    """The function of a scan, with the form of the trees that it takes and the axis of each array in them."""

    fn: Callable[..., Any]
    form: Form
    places: list[int]

    def partial_results(self, elements: list[Any]) -> list[Any]:
        """The results up to each element: those of the pairs are every second one, and give the ones between."""
        length = elements[0].shape[self.places[0]]
        if length < 2:
            return elements
        pairs = self._join(self._slice(elements, 0, length - 1, 2), self._slice(elements, 1, length, 2))
        odd = self.partial_results(pairs)
        even = self._slice(elements, 0, 1)
        if length > 2:
            before = self._slice(odd, 0, (length - 1) // 2)
            after = self._join(before, self._slice(elements, 2, length, 2))
            even = [concatenate(parts, place) for *parts, place in zip(even, after, self.places, strict=True)]
        return [_interleave(*columns) for columns in zip(even, odd, self.places, strict=True)]

    def _slice(self, elements: list[Any], start: int, stop: int, step: int = 1) -> list[Any]:
        return [
            getitem(value, (*[slice(None)] * place, slice(start, stop, step)))
            for value, place in zip(elements, self.places, strict=True)
        ]

    def _join(self, left: list[Any], right: list[Any]) -> list[Any]:
        out = self.fn(self.form.build(left), self.form.build(right))
        leaves, form = take_apart(out, "associative_scan", "the result of fn")
        if form != self.form:
            detail = self.form.difference(form, "the result")
            message = f"[associative_scan] fn must return a tree like its arguments: {detail}"
            raise TreeError(at_user_line(message))
        for value, leaf, path in zip(left, leaves, form.paths(), strict=True):
            expected, found = aval_of(value), aval_of(leaf)
            if expected != found:
                message = (
                    f"[associative_scan] fn must return the shapes and dtypes of its arguments: result{path} is "
                    f"{found}, and the arguments are {expected}"
                )
                raise (DtypeError if expected.shape == found.shape else ShapeError)(at_user_line(message))
        return [value_of(leaf) for leaf in leaves]


def _interleave(even: Any, odd: Any, place: int) -> Any:
    """The elements of two arrays in turns, beginning with the first array, which may be longer by one."""
    count = odd.shape[place]
    lead = [slice(None)] * place
    turns = stack([getitem(even, (*lead, slice(0, count))), odd], place + 1)
    joined = reshape_to(turns, (*odd.shape[:place], 2 * count, *odd.shape[place + 1 :]))
    if even.shape[place] == count:
        return joined
    return concatenate([joined, getitem(even, (*lead, slice(count, count + 1)))], place)
