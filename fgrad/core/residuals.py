"""What a tape keeps of large values: those that the derivative needs, and of the others no more than their types."""

from __future__ import annotations

from typing import Any

import numpy as np

from fgrad.core.buffers import MANY_ELEMENTS
from fgrad.core.errors import FgradError
from fgrad.core.primitive import Primitive
from fgrad.core.shape import ShapeDtype, shape_dtype_of
from fgrad.core.staging import stage
from fgrad.core.tensor import ConcreteTensor, adopt

__all__ = ["is_large", "keep_needed"]


def is_large(value: Any) -> bool:
    """Whether the value is concrete, and of so many elements that it is worth asking whether it is needed."""
    return type(value) is ConcreteTensor and value._array.size >= MANY_ELEMENTS


def keep_needed(
    primitive: Primitive, slots: Any, primals: Any, out: Any, params: dict[str, Any] | None
) -> tuple[Any, Any]:
    """The operands and the result to keep on a tape: large ones whose values the vjp rule does not use take no memory.

    The rule is staged to see what it uses. In the place of a value that it does not use stands one of the same shape
    and dtype, whose elements are one zero.
    """
    values = (out, *primals)
    traced = [place for place, value in enumerate(values) if type(value) is ConcreteTensor]
    rule = primitive.vjp
    if rule is None or primitive.multiple_results:
        return primals, out

    def pull(g: Any, *tracers: Any) -> list[Any]:
        given = list(values)
        for place, tracer in zip(traced, tracers, strict=True):
            given[place] = tracer
        contributions = rule(g, slots, *given, **(params or {}))
        return [part for slot, part in zip(slots, contributions, strict=True) if slot and part is not None]

    avals = [shape_dtype_of(values[place]) for place in traced]
    cotangent = ShapeDtype(out.shape, out.dtype)
    try:
        graph, _ = stage(pull, [cotangent, *avals], "grad")
    except FgradError:
        # A rule that looks at its values cannot be staged, and keeps them.
        return primals, out
    used = {operand for equation in graph.equations for operand in equation.operands} | set(graph.outputs)
    kept = list(values)
    for place, variable in zip(traced, graph.inputs[-len(traced) :], strict=True):
        if variable not in used and is_large(values[place]):
            kept[place] = adopt(np.broadcast_to(np.zeros((), variable.aval.dtype), variable.aval.shape))
    return tuple(kept[1:]), kept[0]
