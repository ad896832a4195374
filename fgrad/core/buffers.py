"""Memory for large arrays that is used again within one walk: asking the system for it takes as long as arithmetic."""

from __future__ import annotations

import sys
import threading
from math import prod as product
from typing import Any

import numpy as np

from fgrad.core.shape import Shape

__all__ = ["MANY_ELEMENTS", "empty_array", "reuse"]

# From this many elements on, memory comes from the system page by page.
MANY_ELEMENTS = 1 << 19

_Buffers = list[np.ndarray[Any, Any]]


class _Reuse(threading.local):
    buffers: _Buffers | None = None


# The buffers of the innermost walk of this thread. Whoever sets them restores the previous ones in a ``finally``.
reuse = _Reuse()


def empty_array(shape: Shape, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """An array to fill; a large one, within a walk, in memory that an earlier one there has given up."""
    size = product(shape)
    buffers = reuse.buffers
    if buffers is None or size < MANY_ELEMENTS or not _COUNTS_TELL:
        return np.empty(shape, dtype)
    return _take_buffer(buffers, size * dtype.itemsize).view(dtype).reshape(shape)


def _take_buffer(buffers: _Buffers, length: int) -> np.ndarray[Any, Any]:
    """A buffer of this many bytes: one that nothing uses, or else a new one in the place of those that nothing uses."""
    idle = [place for place in range(len(buffers)) if _count_references(buffers, place) == _IDLE]
    for place in idle:
        buffer = buffers[place]
        if buffer.size == length:
            # An array that was handed out is locked together with the owner of its memory.
            buffer.setflags(write=True)
            return buffer
    for place in reversed(idle):
        del buffers[place]
    buffers.append(np.empty(length, np.uint8))
    return buffers[-1]


def _count_references(buffers: _Buffers, place: int) -> int:
    return sys.getrefcount(buffers[place])


# Not every interpreter counts references (PyPy does not). Without the lock of the interpreter a count is no promise
# about what other threads do.
_COUNTS_TELL: bool = hasattr(sys, "getrefcount") and getattr(sys, "_is_gil_enabled", lambda: True)()
# What is counted for a buffer that only a list refers to. Every array in its memory refers to it, a view of a view too.
_IDLE = _count_references([np.empty(0, np.uint8)], 0) if _COUNTS_TELL else 0
