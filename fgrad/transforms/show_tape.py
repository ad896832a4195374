"""show_tape: a look at what reverse mode records."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import attrs

from fgrad.core.pytree import flatten, unflatten
from fgrad.core.shape import ShapeDtype, shape_dtype_of
from fgrad.core.tape import Entry, TapeTracer
from fgrad.transforms.calling import require_function
from fgrad.transforms.reverse import trace_inputs

__all__ = ["TapeRecord", "show_tape"]

P = ParamSpec("P")


@attrs.frozen(repr=False)
class TapeRecord:
    """One line of a tape: the operation, the tape positions of its operands (0: not on the tape), its result.

    Printed as ``%3: float64[2] = multiply(%1, %2)``.
    """

    position: int
    operation: str
    operands: tuple[int, ...]
    result: ShapeDtype | tuple[ShapeDtype, ...]
    params: tuple[tuple[str, Any], ...] = ()

    def __repr__(self) -> str:
        operands = [f"%{operand}" if operand else "constant" for operand in self.operands]
        params = [f"{name}={value!r}" for name, value in self.params]
        result = self.result if isinstance(self.result, ShapeDtype) else ", ".join(map(str, self.result))
        return f"%{self.position}: {result} = {self.operation}({', '.join([*operands, *params])})"


def show_tape(function: Callable[P, Any]) -> Callable[P, tuple[TapeRecord, ...]]:
    """What `grad` writes down for a function: a function of the same arguments that returns the tape.

    Every floating-point leaf of every positional argument is an input. The backward pass of `grad` walks the records
    from the last to the first.

    >>> import fgrad as fg
    >>> for record in fg.show_tape(lambda x: fg.sin(x) * x)(2.0):
    ...     print(record)
    %1: float64*[] = input()
    %2: float64[] = sin(%1)
    %3: float64[] = multiply(%2, %1)
    """
    require_function(function, "show_tape")

    @functools.wraps(function)
    def tape(*args: P.args, **kwargs: P.kwargs) -> tuple[TapeRecord, ...]:
        leaves, structure = flatten(args)
        trace, tracers = trace_inputs(leaves)
        inputs = [tracer for tracer in tracers if isinstance(tracer, TapeTracer) and tracer._trace is trace]
        try:
            function(*unflatten(structure, tracers), **kwargs)
        finally:
            trace.closed = True
        records = [TapeRecord(tracer.slot, "input", (), shape_dtype_of(tracer)) for tracer in inputs]
        return (*records, *_tape_records(trace.entries))

    return tape


def _tape_records(entries: list[Entry | None]) -> list[TapeRecord]:
    records = []
    for position, entry in enumerate(entries):
        if entry is None:
            continue
        if entry[0] is None:
            _, slot, index = entry
            operation = entries[slot]
            assert operation is not None, slot
            aval = shape_dtype_of(operation[3][index])
            records.append(TapeRecord(position, f"result {index} of", (slot,), aval))
            continue
        primitive, slots, _, out, params = entry
        avals = tuple([shape_dtype_of(part) for part in out]) if primitive.multiple_results else shape_dtype_of(out)
        records.append(TapeRecord(position, primitive.name, tuple(slots), avals, tuple(sorted((params or {}).items()))))
    return records
