"""The values of operands that the shape of a result depends on."""

from __future__ import annotations

from typing import Any

import numpy as np

from fgrad.core.bind import Tracer
from fgrad.core.errors import TracerConversionError, at_user_line
from fgrad.core.tensor import ConcreteTensor, adopt

__all__ = ["adopted", "is_traced", "known_values", "plain"]


def is_traced(*operands: Any) -> bool:
    """Whether a transform is tracing one of the operands."""
    return any([isinstance(operand, Tracer) for operand in operands])


def known_values(operand: Any, operation: str, way_out: str) -> np.ndarray[Any, Any]:
    """The array behind an operand whose values decide the shape of a result; under grad and jvp that of the primal.

    Raises:
        TracerConversionError: under vmap and in a graph, where there is no one array; the message ends in `way_out`.
    """
    if type(operand) is ConcreteTensor:
        return operand._array
    if not isinstance(operand, Tracer):
        return np.asarray(operand)
    action = f"the shape of the result of fg.{operation} depends on values, and reading them"
    try:
        return np.asarray(operand._read(action, drops_gradient=False))
    except TracerConversionError as error:
        reason = str(error).partition("\n  at ")[0]
        message = f"{reason}. Here, {way_out}"
        raise TracerConversionError(at_user_line(message)) from None


def plain(operand: Any) -> np.ndarray[Any, Any]:
    """The array of an operand that no transform traces."""
    return operand._array if type(operand) is ConcreteTensor else np.asarray(operand)


def adopted(found: Any) -> Any:
    """What a function of NumPy made, as tensors: one array, or a tuple of them."""
    if isinstance(found, tuple):
        return tuple([adopt(np.asarray(part)) for part in found])
    return adopt(np.asarray(found))
