"""Order: the positions that sort, and the positions where values belong."""

from __future__ import annotations

from typing import Any

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import ShapeError, at_user_line
from fgrad.core.methods import operations
from fgrad.core.primitive import Primitive
from fgrad.core.shape import ShapeDtype
from fgrad.core.tensor import ArrayLike, Tensor
from fgrad.ops.arguments import as_operand, axis_index
from fgrad.ops.declare import as_batch, batch_over_axis, batch_size, constant, stands_for
from fgrad.ops.shaping import ravel

__all__ = ["argsort", "searchsorted"]

argsort_p = constant(
    "argsort",
    lambda x, axis, stable: np.argsort(x, axis, kind="stable" if stable else "quicksort"),
    lambda x, axis, stable: ShapeDtype(x.shape, np.dtype(np.intp)),
    batch=batch_over_axis,
)


@stands_for(np.argsort)
def argsort(x: ArrayLike, /, axis: int | None = -1, *, stable: bool = True) -> Tensor:
    """The positions that put the entries along an axis into ascending order, NaN last; equal entries keep theirs.

    >>> import fgrad as fg
    >>> fg.argsort(fg.asarray([3.0, 1.0, 2.0]))
    Tensor([1, 2, 0], dtype=int64)
    """
    operand: Any = as_operand(x)
    if axis is None:
        operand, axis = ravel(operand), 0
    return bind(argsort_p, operand, axis=axis_index(axis, len(operand.shape), "argsort"), stable=stable)


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
    lambda a, v, side, stack: ShapeDtype(v.shape, np.dtype(np.intp)),
    batch=_batch_searchsorted,
)


@stands_for(np.searchsorted)
def searchsorted(a: ArrayLike, v: ArrayLike, /, side: str = "left", sorter: Any = None) -> Tensor:
    """Where each v belongs in the ascending vector a: before its equals ("left") or after them ("right").

    Raises:
        ShapeError: when a is not a vector, or `side` is neither.

    >>> import fgrad as fg
    >>> fg.searchsorted(fg.asarray([1.0, 2.0, 3.0]), fg.asarray([2.0, 5.0]))
    Tensor([1, 3], dtype=int64)
    """
    if side not in ("left", "right"):
        message = f"[searchsorted] side is 'left' or 'right', not {side!r}"
        raise ShapeError(at_user_line(message))
    ascending = as_operand(a)
    if len(ascending.shape) != 1:
        message = f"[searchsorted] searches in a vector, not in shape {tuple(ascending.shape)}"
        raise ShapeError(at_user_line(message))
    if sorter is not None:
        ascending = ascending[sorter]
    return bind(searchsorted_p, ascending, as_operand(v), side=side, stack=0)


operations.argsort = argsort
