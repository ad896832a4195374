"""Partial derivatives of many elements, evaluated in blocks whose intermediate results stay in the cache."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from fgrad.core.buffers import MANY_ELEMENTS, empty_array
from fgrad.core.shape import PYTHON_NUMBERS
from fgrad.core.tensor import ConcreteTensor, adopt

__all__ = ["blockwise"]

# Small enough that intermediate results of any dtype but complex128 come from memory that the process has.
_BLOCK = 1 << 14


def _is_composed(formula: Callable[..., Any]) -> bool:
    """Whether the formula is written with two functions or more, as ``multiply(g, cos(x))`` is."""
    code = getattr(formula, "__code__", None)
    return code is None or len(code.co_names) > 1


def blockwise(formula: Callable[..., Any]) -> Callable[..., Any]:
    """The formula, evaluated in blocks where there are many elements; one of a single step is returned as it is."""
    if not _is_composed(formula):
        return formula

    @functools.wraps(formula)
    def evaluate(g: Any, out: Any, *operands: Any) -> Any:
        if type(out) is ConcreteTensor and out._array.size >= MANY_ELEMENTS:
            return _evaluate_in_blocks(formula, g, out, *operands)
        return formula(g, out, *operands)

    return evaluate


def _evaluate_in_blocks(formula: Callable[..., Any], g: Any, out: ConcreteTensor, *operands: Any) -> Any:
    """``formula(g, out, *operands)``, elementwise, to the bit, without arrays of full size but that of its result.

    That is for concrete operands of the shape of `out`, and single numbers; with others, such as those that a transform
    traces or that broadcast, the formula is evaluated at once.
    """
    values = (g, out, *operands)
    shape, size = out._array.shape, out._array.size
    # NumPy gives a result the order of its operands in memory, and sums follow that order.
    if not out._array.flags.c_contiguous:
        return formula(*values)
    axis = next((axis for axis, length in enumerate(shape) if length * _BLOCK >= size), None)
    divided = [type(value) is ConcreteTensor and value._array.shape == shape for value in values]
    if axis is None or not all(own or _is_single(value) for own, value in zip(divided, values, strict=True)):
        return formula(*values)
    step = max(1, _BLOCK * shape[axis] // size)
    lead = (slice(None),) * axis
    result: Any = None
    for start in range(0, shape[axis], step):
        block = (*lead, slice(start, start + step))
        parts = [adopt(value._array[block]) if own else value for own, value in zip(divided, values, strict=True)]
        found = formula(*parts)._array
        if result is None:
            result = empty_array(shape, found.dtype)
        result[block] = found
    return adopt(result)


def _is_single(value: Any) -> bool:
    return type(value) in PYTHON_NUMBERS or (type(value) is ConcreteTensor and value._array.ndim == 0)
