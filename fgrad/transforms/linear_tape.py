"""The transpose of a linear function: a tape of it at zero, and its pullback without the zeros."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from fgrad.core.bind import next_level
from fgrad.core.primitive import Primitive
from fgrad.core.pytree import flatten
from fgrad.core.shape import shape_dtype_of
from fgrad.core.tape import Entry, TapeTrace, TapeTracer
from fgrad.core.tensor import ConcreteTensor, adopt
from fgrad.transforms.pullback import Ends, Pullback

__all__ = ["LinearTape", "open_linear_tape"]


@attrs.define(eq=False)
class LinearTape(TapeTrace):
    """A tape of a function that is linear in the inputs, which are zeros: only what they meet on the way matters.

    A zero may well meet an infinity: there is nothing wrong with it, and NumPy does not warn of it.
    """

    @property
    def transform(self) -> str:
        """The name of the transform, for messages."""
        return "custom_jvp"

    def process(self, primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Records the operation."""
        with np.errstate(all="ignore"):
            return TapeTrace.process(self, primitive, args, params)

    def process_unary(self, primitive: Primitive, x: Any) -> Any:
        """`process` for one argument and no params."""
        with np.errstate(all="ignore"):
            return TapeTrace.process_unary(self, primitive, x)

    def process_binary(self, primitive: Primitive, x: Any, y: Any) -> Any:
        """`process` for two arguments and no params."""
        with np.errstate(all="ignore"):
            return TapeTrace.process_binary(self, primitive, x, y)

    def owns(self, value: Any) -> bool:
        """Whether a value depends on the inputs."""
        return isinstance(value, TapeTracer) and value._trace is self

    def lower(self, value: Any) -> Any:
        """The value without the tape."""
        return value.primal if self.owns(value) else value

    def pullback(self, inputs: Sequence[TapeTracer], outputs: Sequence[Any]) -> Pullback:
        """The transpose: from cotangents of the outputs to those of the inputs."""
        values = [self.lower(out) for out in outputs]
        ends = Ends(
            tuple([tracer.slot for tracer in inputs]),
            tuple([shape_dtype_of(tracer) for tracer in inputs]),
            flatten(tuple(inputs))[1],
            tuple([out.slot if self.owns(out) else 0 for out in outputs]),
            tuple([shape_dtype_of(value) for value in values]),
            flatten(tuple(values))[1],
        )
        return Pullback(ends, [_without_zeros(entry) for entry in self.entries])


def open_linear_tape() -> LinearTape:
    """A tape for one linear function; the caller closes it in a ``finally``."""
    return LinearTape(next_level())


def _without_zeros(entry: Entry | None) -> Entry | None:
    # Of a value that is zero the rule of a linear operation needs the shape and dtype. What runs a function anew, or
    # has residuals, keeps its operands.
    if entry is None or entry[0] is None or entry[0].multiple_results or entry[0].forward is not None:
        return entry
    primitive, slots, primals, out, params = entry
    return (
        primitive,
        slots,
        [_light(x) if slot else x for x, slot in zip(primals, slots, strict=True)],
        _light(out),
        params,
    )


# Below this many elements the stand-in takes more memory than the zeros do.
_SMALL = 64


def _light(value: Any) -> Any:
    if type(value) is not ConcreteTensor or value.size <= _SMALL:
        return value
    return adopt(np.broadcast_to(np.zeros((), value.dtype), value.shape))
