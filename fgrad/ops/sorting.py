"""Order: the positions that sort, and the positions where values belong."""

from __future__ import annotations

from typing import Any

import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import ShapeError, at_user_line
from fgrad.core.methods import operations
from fgrad.core.shape import ShapeDtype
from fgrad.core.tensor import ArrayLike, Tensor
from fgrad.ops.arguments import as_operand, axis_index
from fgrad.ops.declare import constant, stands_for
from fgrad.ops.shaping import ravel

__all__ = ["argsort", "searchsorted"]

argsort_p = constant(
    "argsort",
    lambda x, axis, stable: np.argsort(x, axis, kind="stable" if stable else "quicksort"),
    lambda x, axis, stable: ShapeDtype(x.shape, np.dtype(np.intp)),
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


searchsorted_p = constant(
    "searchsorted",
    np.searchsorted,
    lambda a, v, side: ShapeDtype(v.shape, np.dtype(np.intp)),
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
    return bind(searchsorted_p, ascending, as_operand(v), side=side)


operations.argsort = argsort
