"""The tape: what reverse mode writes down while a function runs, and the one walk back over it."""

from __future__ import annotations

from typing import Any

import attrs

from fgrad.core.bind import Trace, Tracer, bind, bind1, bind2, next_level, raise_escaped
from fgrad.core.buffers import MANY_ELEMENTS, reuse
from fgrad.core.methods import operations
from fgrad.core.primal import PrimalTracer, is_inexact_value
from fgrad.core.primitive import Primitive
from fgrad.core.residuals import is_large, keep_needed
from fgrad.core.shape import PYTHON_NUMBERS
from fgrad.core.tensor import ConcreteTensor, to_tensor

__all__ = ["Entry", "TapeTrace", "TapeTracer", "open_tape", "walk_back"]

_new = object.__new__


@attrs.frozen(eq=False, repr=False, str=False, init=False)
class TapeTracer(PrimalTracer):
    """A value on a tape: its primal, which is of a lower level or concrete, and the slot where its cotangent goes."""

    _trace: TapeTrace
    primal: Any
    slot: int


_set_trace = TapeTracer._trace.__set__  # type: ignore[attr-defined]
_set_primal = TapeTracer.primal.__set__
_set_slot = TapeTracer.slot.__set__  # type: ignore[attr-defined]

# An entry is (primitive, slots of the operands, primals, output, params); the slot of an operand that is not on this
# tape is 0, so the slots serve as the mask of needed cotangents; params are None where there are none. Inputs, and the
# unused entry 0, are None. An output of a primitive with multiple results is an entry (None, slot of the operation,
# position).
Entry = tuple[Any, ...]


@attrs.define(eq=False)
class TapeTrace(Trace):
    """Records every operation on its tracers, in evaluation order."""

    entries: list[Entry | None] = attrs.field(factory=lambda: [None])
    name: str = "grad"

    @property
    def transform(self) -> str:
        """The name of the transform, for messages."""
        return self.name

    def new_input(self, primal: Any) -> TapeTracer:
        """A tracer for a value to differentiate by."""
        self.entries.append(None)
        return _new_tracer(self, primal, len(self.entries) - 1)

    def process(self, primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Evaluates the operation on the primals, one level down, and records it."""
        if self.closed:
            raise_escaped(self)
        primals: list[Any] = []
        slots: list[int] = []
        for value in args:
            if type(value) is TapeTracer and value._trace is self:
                primals.append(value.primal)
                slots.append(value.slot)
            else:
                primals.append(value if type(value) in _IMMUTABLE else _immutable(value))
                slots.append(0)
        if primitive.forward is None:
            out = bind(primitive, *primals, **params)
            if primitive.locally_constant:
                return out
        else:
            out, residuals = primitive.forward(slots, *primals, **params)
            params = {**params, "residuals": residuals}
        kept = (primals, out)
        if primitive.linear is not None and any(map(is_large, primals)):
            kept = keep_needed(primitive, slots, primals, out, params)
        slot = _place(self.entries, (primitive, slots, *kept, params))
        if primitive.multiple_results:
            places = [_place(self.entries, (None, slot, position)) for position in range(len(out))]
            return tuple(
                [
                    _new_tracer(self, part, place) if is_inexact_value(part) else part
                    for place, part in zip(places, out, strict=True)
                ]
            )
        return _new_tracer(self, out, slot)

    def process_unary(self, primitive: Primitive, x: Any) -> Any:
        """`process`, written out for one argument and no params."""
        if self.closed:
            raise_escaped(self)
        primal = x.primal
        out = bind1(primitive, primal)
        if primitive.locally_constant:
            return out
        entries, entry = self.entries, (primitive, (x.slot,), (primal,), out, None)
        if type(out) is ConcreteTensor and out._array.size >= MANY_ELEMENTS:
            entry = (primitive, (x.slot,), *keep_needed(primitive, (x.slot,), (primal,), out, None), None)
        entries.append(entry)
        slot = len(entries) - 1
        if entries[slot] is not entry:
            slot = _find(entries, entry)
        tracer = _new(TapeTracer)
        _set_trace(tracer, self)
        _set_primal(tracer, out)
        _set_slot(tracer, slot)
        return tracer

    def process_binary(self, primitive: Primitive, x: Any, y: Any) -> Any:
        """`process`, written out for two arguments and no params."""
        if self.closed:
            raise_escaped(self)
        if type(x) is TapeTracer and x._trace is self:
            left, left_slot = x.primal, x.slot
        else:
            left, left_slot = x if type(x) in _IMMUTABLE else _immutable(x), 0
        if type(y) is TapeTracer and y._trace is self:
            right, right_slot = y.primal, y.slot
        else:
            right, right_slot = y if type(y) in _IMMUTABLE else _immutable(y), 0
        out = bind2(primitive, left, right)
        if primitive.locally_constant:
            return out
        slots = (left_slot, right_slot)
        entries, entry = self.entries, (primitive, slots, (left, right), out, None)
        if type(out) is ConcreteTensor and out._array.size >= MANY_ELEMENTS:
            entry = (primitive, slots, *keep_needed(primitive, slots, (left, right), out, None), None)
        entries.append(entry)
        slot = len(entries) - 1
        if entries[slot] is not entry:
            slot = _find(entries, entry)
        tracer = _new(TapeTracer)
        _set_trace(tracer, self)
        _set_primal(tracer, out)
        _set_slot(tracer, slot)
        return tracer


_IMMUTABLE = frozenset((ConcreteTensor, TapeTracer, *PYTHON_NUMBERS))


def _immutable(value: Any) -> Any:
    # A copy: what the caller writes into its array later must not change what was recorded.
    return value if isinstance(value, Tracer) else to_tensor(value)


def _new_tracer(trace: TapeTrace, primal: Any, slot: int) -> TapeTracer:
    tracer = _new(TapeTracer)
    _set_trace(tracer, trace)
    _set_primal(tracer, primal)
    _set_slot(tracer, slot)
    return tracer


def _place(entries: list[Entry | None], entry: Entry) -> int:
    """Appends an entry and gives its place, also where other threads append to the same tape."""
    entries.append(entry)
    slot = len(entries) - 1
    return slot if entries[slot] is entry else _find(entries, entry)


def _find(entries: list[Entry | None], entry: Entry) -> int:
    slot = len(entries) - 1
    while entries[slot] is not entry:
        slot -= 1
    return slot


def open_tape(name: str = "grad") -> TapeTrace:
    """A tape for one call of a transform; the caller closes it in a ``finally``."""
    return TapeTrace(next_level(), name=name)


def walk_back(entries: list[Entry | None], cotangents: list[Any], *, free: bool) -> None:
    """Carries cotangents from the end of a tape to its inputs, in place: `cotangents` has one place per entry.

    An empty place is a zero. With `free` each entry is dropped as soon as it is done with, and its residuals with it.
    """
    buffers, accumulate = reuse.buffers, operations.accumulate
    reuse.buffers = []
    try:
        for index in range(len(entries) - 1, 0, -1):
            entry = entries.pop() if free else entries[index]
            cotangent = cotangents[index]
            if cotangent is None or entry is None:
                continue
            cotangents[index] = None
            if entry[0] is None:
                _hand_to_operation(entries, cotangents, entry, cotangent)
                continue
            primitive, slots, primals, out, params = entry
            rule = primitive.vjp or primitive.require_vjp()
            contributions = (
                rule(cotangent, slots, out, *primals, **params) if params else rule(cotangent, slots, out, *primals)
            )
            # Not by a strict zip, which takes as long as a small operation does.
            for position, contribution in enumerate(contributions):
                slot = slots[position]
                if slot and contribution is not None:
                    before = cotangents[slot]
                    cotangents[slot] = contribution if before is None else accumulate(before, contribution)
    finally:
        reuse.buffers = buffers


def _hand_to_operation(entries: list[Entry | None], cotangents: list[Any], entry: Entry, cotangent: Any) -> None:
    """Puts the cotangent of one of several results among those of its operation."""
    _, slot, position = entry
    parts = cotangents[slot]
    if parts is None:
        operation = entries[slot]
        assert operation is not None, slot
        parts = cotangents[slot] = [None] * len(operation[3])
    parts[position] = cotangent
