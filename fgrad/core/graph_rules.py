"""The rules of a graph as a whole: the graphs of its derivatives, forward and reverse, and of a batch of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fgrad.core.batching import BatchTracer, open_batch
from fgrad.core.dual import open_dual, tangent_of
from fgrad.core.errors import NotDifferentiableError, TreeError, at_user_line
from fgrad.core.graph import Graph, Operand
from fgrad.core.methods import operations
from fgrad.core.primal import is_inexact_value, lower, zeros_for
from fgrad.core.shape import ShapeDtype, shape_dtype_of
from fgrad.core.staging import stage, stage_closed
from fgrad.core.tape import TapeTracer, open_tape, walk_back

__all__ = ["batch_graph", "jvp_graph", "vjp_graph"]


def vjp_graph(graph: Graph, wanted_inputs: Sequence[bool], given_cotangents: Sequence[bool]) -> tuple[Graph, Graph]:
    """The two halves of the reverse-mode derivative of a graph, as graphs.

    With x the inputs and y the outputs, ``forward`` takes x and returns ``(*y, *residuals)``; ``backward`` takes
    ``(*residuals, *cotangents)``, one cotangent for each output that `given_cotangents` marks (that of the others is
    zero), and returns one for each input that `wanted_inputs` marks, zeros included.

    Args:
        graph: the graph of the function.
        wanted_inputs: for each input, whether its cotangent is wanted; wanted ones are of floating point.
        given_cotangents: for each output, whether its cotangent is given; given ones are of floating point.

    Raises:
        TreeError: when the marks are not as many as the inputs or the outputs.
        NotDifferentiableError: when a marked input or output is not of floating point.

    >>> import fgrad as fg
    >>> graph = fg.make_graph(fg.sin)(1.0)
    >>> forward, backward = fg.vjp_graph(graph, [True], [True])
    >>> y, *residuals = forward.evaluate(1.0)
    >>> backward.evaluate(*residuals, fg.asarray(1.0))
    [Tensor(0.54030231, dtype=float64)]
    """
    _require_marks(graph.inputs, wanted_inputs, "wanted_inputs", "input")
    _require_marks(graph.outputs, given_cotangents, "given_cotangents", "output")
    backwards: list[Graph] = []

    def forward(*inputs: Any) -> list[Any]:
        trace = open_tape()
        tracers = [trace.new_input(x) if wanted else x for x, wanted in zip(inputs, wanted_inputs, strict=True)]
        try:
            outputs = graph.evaluate(*tracers)
        finally:
            trace.closed = True
        values = [lower(trace, value) for value in outputs]
        marked = [out for out, given in zip(outputs, given_cotangents, strict=True) if given]
        sources = [tracer for tracer, wanted in zip(tracers, wanted_inputs, strict=True) if wanted]

        def backward(*cotangents: Any) -> list[Any]:
            places: list[Any] = [None] * len(trace.entries)
            for out, cotangent in zip(marked, cotangents, strict=True):
                if isinstance(out, TapeTracer) and out._trace is trace:
                    before = places[out.slot]
                    places[out.slot] = cotangent if before is None else operations.accumulate(before, cotangent)
            walk_back(trace.entries, places, free=False)
            found = [places[tracer.slot] for tracer in sources]
            return [zeros_for(tracer.primal) if g is None else g for g, tracer in zip(found, sources, strict=True)]

        avals = [_strong(shape_dtype_of(out)) for out in marked]
        backward_graph, residuals = stage(backward, avals, "vjp_graph")
        backwards.append(backward_graph)
        return [*values, *residuals]

    forward_graph = stage_closed(forward, [variable.aval for variable in graph.inputs], "vjp_graph")
    return forward_graph, backwards[0]


def jvp_graph(graph: Graph, given_tangents: Sequence[bool]) -> Graph:
    """The forward-mode derivative of a graph, as a graph.

    It takes ``(*inputs, *tangents)``, one tangent for each input that `given_tangents` marks (that of the others is
    zero), and returns ``(*outputs, *tangents)``, one for each output of floating point, zeros included.

    Raises:
        TreeError: when the marks are not as many as the inputs.
        NotDifferentiableError: when a marked input is not of floating point.
    """
    _require_marks(graph.inputs, given_tangents, "given_tangents", "input")
    marked = [variable.aval for variable, given in zip(graph.inputs, given_tangents, strict=True) if given]

    def push(*values: Any) -> list[Any]:
        inputs, tangents = values[: len(graph.inputs)], iter(values[len(graph.inputs) :])
        trace = open_dual()
        duals = [
            trace.new_input(x, next(tangents)) if given else x for x, given in zip(inputs, given_tangents, strict=True)
        ]
        try:
            outputs = graph.evaluate(*duals)
        finally:
            trace.closed = True
        found = [(out, tangent_of(trace, out)) for out in outputs if is_inexact_value(out)]
        return [
            *[lower(trace, out) for out in outputs],
            *[zeros_for(lower(trace, out)) if tangent is None else tangent for out, tangent in found],
        ]

    avals = [*[variable.aval for variable in graph.inputs], *map(_strong, marked)]
    return stage_closed(push, avals, "jvp_graph")


def batch_graph(
    graph: Graph, batched_inputs: Sequence[bool], size: int, required: Sequence[bool]
) -> tuple[Graph, tuple[bool, ...]]:
    """A graph applied to `size` examples at once, as a graph, and which of its outputs have the axis of the examples.

    Inputs that `batched_inputs` marks get that axis in front; so do the outputs that depend on them, and those that
    `required` marks.

    Raises:
        TreeError: when the marks are not as many as the inputs or the outputs.
    """
    _require_marks(graph.inputs, batched_inputs, "batched_inputs", "input", inexact=False)
    _require_marks(graph.outputs, required, "required", "output", inexact=False)
    found: list[bool] = []

    def batched(*inputs: Any) -> list[Any]:
        trace = open_batch(size)
        tracers = [
            trace.new_input(x, weak=variable.aval.weak) if own else x
            for x, own, variable in zip(inputs, batched_inputs, graph.inputs, strict=True)
        ]
        try:
            outputs = graph.evaluate(*tracers)
        finally:
            trace.closed = True
        results = []
        for out, asked in zip(outputs, required, strict=True):
            own = isinstance(out, BatchTracer) and out._trace is trace
            found.append(own or asked)
            results.append(out.batch if own else operations.repeat_over_examples(out, size) if asked else out)
        return results

    avals = [
        ShapeDtype((size, *variable.aval.shape), variable.aval.dtype) if own else variable.aval
        for variable, own in zip(graph.inputs, batched_inputs, strict=True)
    ]
    return stage_closed(batched, avals, "vmap"), tuple(found)


def _strong(aval: ShapeDtype) -> ShapeDtype:
    return ShapeDtype(aval.shape, aval.dtype)


def _require_marks(
    operands: Sequence[Operand], marks: Sequence[bool], name: str, kind: str, *, inexact: bool = True
) -> None:
    if len(marks) != len(operands):
        message = f"{name} has {len(marks)} entries, and the graph has {len(operands)} {kind}s: one for each"
        raise TreeError(at_user_line(message))
    for position, (operand, marked) in enumerate(zip(operands, marks, strict=True)):
        if inexact and marked and operand.aval.dtype.kind not in "fc":
            message = (
                f"{name} marks {kind} {position} of the graph, which is {operand.aval}: only floating-point values "
                f"have derivatives"
            )
            raise NotDifferentiableError(at_user_line(message))
