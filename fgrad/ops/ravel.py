"""Trees as vectors: all floating-point leaves of a pytree in one, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from fgrad.core.errors import DtypeError, ShapeError, TreeError, at_user_line, with_article
from fgrad.core.key import Key
from fgrad.core.pytree import Structure, flatten_with_path, unflatten
from fgrad.core.shape import PYTHON_NUMBERS, Shape, ShapeDtype, result_dtype, shape_dtype_of
from fgrad.core.tensor import NUMERIC, ArrayLike, Tensor, adopt, to_tensor
from fgrad.ops.indexing import getitem
from fgrad.ops.joining import concatenate
from fgrad.ops.structure import convert, reshape_to

__all__ = ["Unravel", "ravel_tree"]


@attrs.frozen
class Segment:
    """Where a leaf lies in the vector, and what it is there."""

    first: int
    last: int
    shape: Shape
    dtype: np.dtype[Any]


@attrs.frozen(eq=False, repr=False)
class Unravel:
    """The way back from a vector to the tree that it was made of; see `fgrad.tree.ravel`."""

    length: int
    _structure: Structure
    # For each leaf its segment of the vector, or the leaf itself where it is not in the vector.
    _parts: Sequence[Any]

    def __repr__(self) -> str:
        return f"<unravel of {self.length} elements to {self._structure.num_leaves} leaves>"

    def __call__(self, vector: ArrayLike) -> Any:
        """The tree whose leaves have these elements.

        Raises:
            ShapeError: when it is no vector of the length that the tree has.
            DtypeError: when the vector is complex and a leaf of the tree is not.
        """
        flat = to_tensor(vector)
        if flat.shape != (self.length,):
            message = (
                f"the tree has {self.length} floating-point elements and is made of a vector of that length; this one "
                + (f"has length {flat.shape[0]}" if len(flat.shape) == 1 else f"has shape {flat.shape}")
            )
            raise ShapeError(at_user_line(message))
        return unflatten(self._structure, [self._leaf(flat, part) for part in self._parts])

    def _leaf(self, flat: Tensor, part: Any) -> Any:
        if not isinstance(part, Segment):
            return part
        if flat.dtype.kind == "c" and part.dtype.kind != "c":
            message = (
                f"a vector of dtype {flat.dtype} cannot fill a leaf of dtype {part.dtype}; take fg.real(...) of it"
            )
            raise DtypeError(at_user_line(message))
        leaf = flat if part.last - part.first == self.length else getitem(flat, slice(part.first, part.last))
        if part.shape != leaf.shape:
            leaf = reshape_to(leaf, part.shape)
        return leaf if leaf.dtype == part.dtype else convert(leaf, part.dtype)


def ravel_tree(tree: Any) -> tuple[Tensor, Unravel]:
    """All floating-point leaves of a pytree as one vector, and the function that leads back.

    The vector has the elements of the floating-point and complex leaves, leaf after leaf in the order of
    `fgrad.tree.leaves`, each in row-major order, in the dtype that the leaves promote to. Both directions can be
    differentiated, mapped and staged.

    Args:
        tree: a pytree of numbers and arrays. Integers and booleans stay out of the vector, and come back with the rest.

    Returns:
        ``(vector, unravel)``: ``unravel(vector)`` has the structure of the tree, and leaves of the same shapes and
        dtypes; a Python float comes back as a Tensor of shape () and of the vector's dtype, which promotes the others
        no more than the number did. A vector of another floating dtype is converted.

    Raises:
        TreeError: a leaf is a random key or no number or array; the message has its path.
        ShapeError: from `unravel`, when the vector has another length.

    >>> import fgrad as fg
    >>> vector, unravel = fg.tree.ravel({"w": fg.asarray([[1.0, 2.0]]), "b": 3.0, "steps": 7})
    >>> vector
    Tensor([3., 1., 2.], dtype=float64)
    >>> unravel(10 * vector)
    {'b': Tensor(30., dtype=float64), 'steps': 7, 'w': Tensor([[10., 20.]], dtype=float64)}
    """
    found, structure = flatten_with_path(tree)
    for path, leaf in found:
        if not isinstance(leaf, NUMERIC):
            kind = "a random key" if isinstance(leaf, Key) else with_article(type(leaf))
            message = f"tree.ravel makes a vector of numbers and arrays, and tree{path} is {kind}"
            raise TreeError(at_user_line(message))
    avals = [shape_dtype_of(leaf) for _, leaf in found]
    inexact = [aval for aval in avals if aval.dtype.kind in "fc"]
    dtype = result_dtype(*inexact) if inexact else np.dtype(float)
    parts: list[Any] = []
    pieces: list[Any] = []
    length = 0
    for (_, leaf), aval in zip(found, avals, strict=True):
        if aval.dtype.kind not in "fc":
            parts.append(to_tensor(leaf) if isinstance(leaf, np.ndarray) else leaf)
            continue
        parts.append(Segment(length, length + aval.size, aval.shape, dtype if aval.weak else aval.dtype))
        length += aval.size
        pieces.append(_as_vector(leaf, aval, dtype))
    if not pieces:
        vector: Tensor = adopt(np.zeros(0, dtype))
    else:
        vector = pieces[0] if len(pieces) == 1 else concatenate(pieces)
    return vector, Unravel(length, structure, parts)


def _as_vector(leaf: Any, aval: ShapeDtype, dtype: np.dtype[Any]) -> Any:
    tensor = to_tensor(np.asarray(leaf, dtype) if type(leaf) in PYTHON_NUMBERS else leaf)
    converted = tensor if aval.dtype == dtype and not aval.weak else convert(tensor, dtype)
    return converted if len(aval.shape) == 1 else reshape_to(converted, (aval.size,))
