"""What a tape keeps of large values: those that the derivative needs, and of the others no more than their types."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fgrad.core.buffers import MANY_ELEMENTS
from fgrad.core.errors import FgradError
from fgrad.core.primitive import Primitive
from fgrad.core.shape import PYTHON_NUMBERS, ShapeDtype, shape_dtype_of
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

    In the place of such a value stands one of the same shape and dtype, whose elements are one zero.
    """
    values = (out, *primals)
    known = all([type(value) in _KNOWN for value in values])
    if not known or primitive.multiple_results or primitive.vjp is None:
        return primals, out
    kinds = tuple([_kind(value) for value in values])
    needed = tuple(map(bool, slots))
    kept = list(values)
    for place in _unused_places(primitive, needed, kinds, tuple(sorted(params.items())) if params else ()):
        if is_large(values[place]):
            kept[place] = adopt(np.broadcast_to(np.zeros((), values[place].dtype), values[place].shape))
    return tuple(kept[1:]), kept[0]


_KNOWN = frozenset((ConcreteTensor, *PYTHON_NUMBERS))


def _kind(value: Any) -> Any:
    """What a rule may depend on besides the elements: shape and dtype of a tensor, type and value of a number."""
    return shape_dtype_of(value) if type(value) is ConcreteTensor else (type(value), value)


@functools.lru_cache(maxsize=1024)
def _unused_places(
    primitive: Primitive, needed: tuple[bool, ...], kinds: tuple[Any, ...], params: tuple[tuple[str, Any], ...]
) -> tuple[int, ...]:
    """The places of the tensors among the result and the operands whose values the staged vjp rule does not use."""
    rule = primitive.require_vjp()
    traced = [place for place, kind in enumerate(kinds) if isinstance(kind, ShapeDtype)]

    def pull(g: Any, *tracers: Any) -> list[Any]:
        values = [kind if isinstance(kind, ShapeDtype) else kind[1] for kind in kinds]
        for place, tracer in zip(traced, tracers, strict=True):
            values[place] = tracer
        contributions = rule(g, needed, *values, **dict(params))
        return [part for wanted, part in zip(needed, contributions, strict=True) if wanted and part is not None]

    try:
        graph, _ = stage(pull, [kinds[0], *[kinds[place] for place in traced]], "grad")
    except FgradError:
        # A rule that looks at its values cannot be staged, and needs them all.
        return ()
    used = {operand for equation in graph.equations for operand in equation.operands} | set(graph.outputs)
    variables = graph.inputs[-len(traced) :]
    return tuple([place for place, variable in zip(traced, variables, strict=True) if variable not in used])
