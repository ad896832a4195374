"""Key: the state of a random stream, an opaque immutable leaf of pytrees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np

from fgrad.core.shape import Shape
from fgrad.core.tensor import ConcreteTensor, Tensor, adopt

__all__ = ["Key"]

_INTEGERS = (int, np.integer)


@attrs.frozen(eq=False, repr=False)
class Key:
    """A key of the Philox counter-based generator, or an array of keys; made by `fgrad.random.key`.

    A key is a value: it never changes, and the same key gives the same numbers. ``split`` and ``fold_in`` make
    independent keys out of one. An array of keys is indexed and iterated over like an array.

    Attributes:
        words: the key itself, uint64 of shape ``(*shape, 2)``.
        origin: for a key taken out of an array of keys, that array and the index; the reuse check goes by it.
    """

    words: Tensor
    origin: tuple[Key, int] | None = None

    @property
    def shape(self) -> Shape:
        """The shape of an array of keys; () for a single key."""
        return self.words.shape[:-1]

    def __len__(self) -> int:
        if not self.shape:
            message = "a single key has no len(); random.split(key, n) makes n keys of it"
            raise TypeError(message)
        return self.shape[0]

    def __getitem__(self, index: Any) -> Key:
        if not self.shape:
            message = "a single key cannot be indexed; random.split(key, n) makes n keys of it"
            raise TypeError(message)
        if not isinstance(index, _INTEGERS) or isinstance(index, bool):
            return Key(self.words[index])
        position = int(index) + len(self) if index < 0 else int(index)
        words = self.words
        if type(words) is ConcreteTensor and 0 <= position < len(self):
            # Unpacking the keys of a split is in every training loop: no need to go through the indexing operation.
            return Key(adopt(words._array[position]), (self, position))
        return Key(words[int(index)], (self, position))

    def __iter__(self) -> Iterator[Key]:
        return (self[position] for position in range(len(self)))

    def __repr__(self) -> str:
        return f"Key({self.words.tolist()})" if type(self.words) is ConcreteTensor else "Key(traced)"
