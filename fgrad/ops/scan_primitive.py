"""The primitive of scan with its rules, and those that take an array apart into slices and put it together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from fgrad.core.bind import bind
from fgrad.core.errors import ShapeError
from fgrad.core.graph import Graph
from fgrad.core.graph_rules import batch_graph, jvp_graph, vjp_graph
from fgrad.core.methods import operations
from fgrad.core.primal import zeros_for
from fgrad.core.primitive import Primitive, register
from fgrad.core.shape import ShapeDtype, shape_dtype_of
from fgrad.core.staging import stage_closed
from fgrad.ops.control_flow import tangent_part
from fgrad.ops.declare import as_batch, batch_size
from fgrad.ops.shaping import moveaxis
from fgrad.ops.staged import active_outputs, as_number, avals_of, run_graph, split, strong, with_outputs
from fgrad.ops.structure import repeat_over_examples

__all__ = [
    "StepDerivative",
    "active_steps",
    "scan_forward",
    "scan_p",
    "scan_vjp",
    "stack_rows",
    "unstack_rows",
]


# An array taken apart into its slices along the first axis, and put together again. Each is one operation and the
# adjoint of the other: slices that are taken one by one would make the reverse mode of a loop add up as many arrays of
# the size of the whole.


def unstack_rows(x: Any) -> Sequence[Any]:
    """The slices of an array along its first axis."""
    rows: Sequence[Any] = bind(unstack_p, x)
    return rows


def stack_rows(rows: Sequence[Any]) -> Any:
    """Tensors of one shape and dtype as the slices of one array; at least one."""
    return bind(stack_p, *rows)


def _unstack_vjp(cotangents: list[Any], needed: Any, out: tuple[Any, ...], x: Any) -> tuple[Any]:
    return (stack_rows([zeros_for(row) if g is None else g for g, row in zip(cotangents, out, strict=True)]),)


def _batch_unstack(primitive: Primitive, batched: tuple[bool, ...], x: Any) -> Any:
    rows = unstack_rows(moveaxis(x, 0, 1))
    return rows, [True] * len(rows)


def _unstack_rule(x: ShapeDtype) -> tuple[ShapeDtype, ...]:
    if not x.shape:
        message = "an array of shape () has no axis to be taken apart along"
        raise ShapeError(message)
    return (ShapeDtype(x.shape[1:], x.dtype),) * x.shape[0]


unstack_p = register(
    Primitive(
        "unstack_rows",
        evaluate=lambda x: tuple([x[position, ...] for position in range(len(x))]),
        shape_rule=_unstack_rule,
        vjp=_unstack_vjp,
        linear=slice(1),
        batch=_batch_unstack,
        makes_views=True,
        multiple_results=True,
    )
)


def _stack_vjp(g: Any, needed: Any, out: Any, *rows: Any) -> tuple[Any, ...]:
    return tuple([part if wanted else None for part, wanted in zip(unstack_rows(g), needed, strict=True)])


def _batch_stack(primitive: Primitive, batched: tuple[bool, ...], *rows: Any) -> Any:
    size = batch_size(batched, rows)
    return moveaxis(stack_rows([as_batch(row, own, size) for row, own in zip(rows, batched, strict=True)]), 0, 1)


def _stack_rule(*rows: ShapeDtype) -> ShapeDtype:
    if any(row != rows[0] for row in rows):
        message = "the slices of one array have one shape and dtype"
        raise ShapeError(message)
    return ShapeDtype((len(rows), *rows[0].shape), rows[0].dtype)


stack_p = register(
    Primitive(
        "stack_rows",
        evaluate=lambda *rows: np.stack(rows),
        shape_rule=_stack_rule,
        vjp=_stack_vjp,
        linear=slice(None),
        batch=_batch_stack,
    )
)


# The primitive. Its operands are constants (what the body closes over), the carry, and arrays that the loop goes along;
# the body is a graph of (*constants, *carry, *slices) -> (*carry, *ys).


def _evaluate_scan(*operands: Any, body: Graph, consts: int, carry: int, length: int, reverse: bool) -> tuple[Any, ...]:
    constants, state, xs = split(operands, consts, carry)
    ys = [np.empty((length, *output.aval.shape), output.aval.dtype) for output in body.outputs[carry:]]
    for position in reversed(range(length)) if reverse else range(length):
        out = run_graph(body, [*constants, *state, *[x[position, ...] for x in xs]])
        state = out[:carry]
        for y, value in zip(ys, out[carry:], strict=True):
            y[position] = value
    return (*state, *ys)


def _scan_rule(
    *operands: ShapeDtype, body: Graph, consts: int, carry: int, length: int, reverse: bool
) -> tuple[ShapeDtype, ...]:
    constants, state, xs = split(operands, consts, carry)
    if any(x.shape[:1] != (length,) for x in xs):
        message = f"the arrays that the loop goes along must have length {length} along their first axis"
        raise ShapeError(message)
    rows = [ShapeDtype(x.shape[1:], x.dtype) for x in xs]
    if [variable.aval for variable in body.inputs] != [*constants, *state, *rows]:
        message = "the operands are not what the body takes"
        raise ShapeError(message)
    out = [output.aval for output in body.outputs]
    if out[:carry] != list(state):
        message = "the body does not return the carry as it takes it"
        raise ShapeError(message)
    return (*state, *[ShapeDtype((length, *y.shape), y.dtype) for y in out[carry:]])


def active_steps(body: Graph, marks: Sequence[bool], consts: int, carry: int) -> tuple[list[bool], list[bool]]:
    """Which inputs and outputs of a body may have derivatives at some step, by the operands that are marked."""
    constants, state, xs = [list(part) for part in split(marks, consts, carry)]
    while True:
        inputs = [*constants, *state, *xs]
        outputs = active_outputs(body, inputs)
        after = [before or now for before, now in zip(state, outputs[:carry], strict=True)]
        if after == state:
            return inputs, [*after, *outputs[carry:]]
        state = after


@attrs.frozen(eq=False, repr=False)
class _Saved:
    """What the forward pass of a scan keeps: its backward graph, and where each of that graph's residuals is found.

    `sources` has for each residual the operand that it is (a constant or one of xs), or None for those that were
    stacked, step by step: `stacks`, in order. `inputs` and `outputs` mark what has derivatives.
    """

    backward: Graph
    sources: list[int | None]
    stacks: tuple[Any, ...]
    inputs: list[bool]
    outputs: list[bool]


def scan_forward(
    needed: Any, *operands: Any, body: Graph, consts: int, carry: int, length: int, reverse: bool
) -> tuple[Any, _Saved | None]:
    """The loop, and what its reverse mode reads; see `Primitive.forward`."""
    sizes = {"consts": consts, "carry": carry, "length": length, "reverse": reverse}
    inputs, outputs = active_steps(body, [bool(slot) for slot in needed], consts, carry)
    if not any(outputs):
        return bind(scan_p, *operands, body=body, **sizes), None
    forward, backward = vjp_graph(body, inputs, outputs)
    count = len(outputs)
    places: dict[Any, int] = {variable: place for place, variable in enumerate(forward.inputs)}
    found = [places.get(residual) for residual in forward.outputs[count:]]
    sources = [None if place is None or consts <= place < consts + carry else place for place in found]
    stacked = [count + place for place, source in enumerate(sources) if source is None]
    out = bind(scan_p, *operands, body=_with_arrays(forward.pick([*range(count), *stacked]), carry), **sizes)
    return out[:count], _Saved(backward, sources, out[count:], inputs, outputs)


def _with_arrays(body: Graph, carry: int) -> Graph:
    """The body with arrays for Python numbers among its ys, which are stacked."""
    avals = [output.aval for output in body.outputs]
    return with_outputs(body, [*avals[:carry], *map(strong, avals[carry:])], "scan")


@attrs.frozen(eq=False)
class _Backward:
    """What the reversed loop reads and carries, by the places of the operands and the results that it belongs to.

    Attributes:
        saved: what the forward pass kept.
        kept: constants that are residuals.
        along: arrays of xs that are residuals.
        sums: constants whose cotangents are summed.
        states: carries that have cotangents.
        ys: ys that have derivatives; `given` are those of them whose cotangents are not zero.
    """

    saved: _Saved
    kept: list[int]
    along: list[int]
    sums: list[int]
    states: list[int]
    ys: list[int]
    given: list[int]

    @classmethod
    def of(cls, saved: _Saved, cotangents: list[Any], consts: int, carry: int) -> _Backward:
        """The plan for these cotangents of the results."""
        direct = sorted({source for source in saved.sources if source is not None})
        constants, state, _ = split(saved.inputs, consts, carry)
        ys = [place for place, own in enumerate(saved.outputs) if own and place >= carry]
        return cls(
            saved,
            [place for place in direct if place < consts],
            [place for place in direct if place >= consts],
            [place for place, own in enumerate(constants) if own],
            [place for place, own in enumerate(state) if own],
            ys,
            [place for place in ys if cotangents[place] is not None],
        )

    def step(self, *values: Any) -> list[Any]:
        """One step back: (constants, cotangents of the carry, sums, xs) to (cotangents, sums, cotangents of xs)."""
        reader = iter(values)
        known = {place: next(reader) for place in self.kept}
        state = [next(reader) for _ in self.states]
        totals = [next(reader) for _ in self.sums]
        known.update({place: next(reader) for place in self.along})
        stacks = iter([next(reader) for _ in self.saved.stacks])
        result = {place: next(reader) for place in self.given}

        backward = self.saved.backward
        avals = avals_of(backward.inputs)
        sources = self.saved.sources
        residuals = [next(stacks) if source is None else known[source] for source in sources]
        # The Python numbers of all steps were stacked as an array.
        residuals = [
            as_number(x) if aval.weak and not shape_dtype_of(x).weak else x
            for x, aval in zip(residuals, avals, strict=False)
        ]
        of_ys = zip(self.ys, avals[len(residuals) + len(state) :], strict=True)
        cotangents = [result[place] if place in result else zeros_for(aval) for place, aval in of_ys]
        found = iter(backward.evaluate(*residuals, *state, *cotangents))
        terms = [next(found) for _ in self.sums]
        before = [next(found) for _ in self.states]
        return [*before, *[operations.accumulate(x, y) for x, y in zip(totals, terms, strict=True)], *found]


def scan_vjp(
    cotangents: list[Any],
    needed: Any,
    out: Any,
    *operands: Any,
    body: Graph,
    consts: int,
    carry: int,
    length: int,
    reverse: bool,
    residuals: _Saved | None,
) -> tuple[Any, ...]:
    """The reverse mode of a loop: a loop in the other direction.

    It carries the cotangents of the carry and the sums of those of the constants, and collects those of xs.
    """
    if residuals is None:
        return (None,) * len(operands)
    plan = _Backward.of(residuals, cotangents, consts, carry)
    constants = [operands[place] for place in plan.kept]
    start = [
        *[zeros_for(out[place]) if cotangents[place] is None else cotangents[place] for place in plan.states],
        *[zeros_for(operands[place]) for place in plan.sums],
    ]
    xs = [
        *[operands[place] for place in plan.along],
        *residuals.stacks,
        *[cotangents[place] for place in plan.given],
    ]
    rows = [ShapeDtype(aval.shape[1:], aval.dtype) for aval in avals_of(xs)]
    results = bind(
        scan_p,
        *constants,
        *start,
        *xs,
        body=stage_closed(plan.step, [*avals_of(constants), *avals_of(start), *rows], "scan"),
        consts=len(constants),
        carry=len(start),
        length=length,
        reverse=not reverse,
    )
    of_states = dict(zip(plan.states, results, strict=False))
    rest = iter(results[len(plan.states) :])
    wanted_consts, _, wanted_xs = split(residuals.inputs, consts, carry)
    return (
        *[next(rest) if own else None for own in wanted_consts],
        *[of_states[place] if needed[consts + place] else None for place in range(carry)],
        *[next(rest) if own else None for own in wanted_xs],
    )


@attrs.frozen(eq=False)
class StepDerivative:
    """The forward mode of a loop's step, which carries tangents behind the values.

    Attributes:
        graph: of (*constants, *carry, *slices), with tangents behind the values of each of the three, to (*carry,
            *tangents of the carry, *tangents of the ys), for those that have some.
        operands: constants, carry and xs for it.
        outputs: which outputs of the body have tangents.
        carry: how many values the loop carries.
    """

    graph: Graph
    operands: list[list[Any]]
    outputs: list[bool]
    carry: int

    @classmethod
    def of(
        cls, body: Graph, tangents: Sequence[Any], operands: Sequence[Any], consts: int, carry: int
    ) -> StepDerivative | None:
        """The derivative for these tangents of the operands; None where all results have tangents of zero."""
        inputs, outputs = active_steps(body, [tangent is not None for tangent in tangents], consts, carry)
        if not any(outputs):
            return None
        derivative = jvp_graph(body, inputs)
        behind = iter(derivative.inputs[len(inputs) :])
        variables = [next(behind) if own else None for own in inputs]
        filled = [
            zeros_for(x) if own and tangent is None else tangent
            for x, own, tangent in zip(operands, inputs, tangents, strict=True)
        ]
        groups = _with_tangents(operands, filled, consts, carry)
        order = _with_tangents(derivative.inputs[: len(inputs)], variables, consts, carry)
        found = tangent_part(derivative, body, outputs)
        graph = attrs.evolve(
            derivative,
            inputs=(*order[0], *order[1], *order[2]),
            outputs=(*derivative.outputs[:carry], *found.outputs),
        )
        return cls(graph.pick(range(len(graph.outputs))), groups, outputs, carry)

    def tangents(self, results: Sequence[Any]) -> tuple[Any, ...]:
        """The tangent of each result of the loop, None for zeros, out of what the loop over `graph` gives."""
        found = iter(results[self.carry :])
        return tuple([next(found) if own else None for own in self.outputs])


def _with_tangents(values: Sequence[Any], tangents: Sequence[Any], consts: int, carry: int) -> list[list[Any]]:
    pairs = zip(split(values, consts, carry), split(tangents, consts, carry), strict=True)
    return [[*group, *[tangent for tangent in own if tangent is not None]] for group, own in pairs]


def _scan_jvp(
    tangents: Sequence[Any], out: Any, *operands: Any, body: Graph, consts: int, carry: int, length: int, reverse: bool
) -> Any:
    steps = StepDerivative.of(body, tangents, operands, consts, carry)
    if steps is None:
        return None
    constants, state, xs = steps.operands
    results = bind(
        scan_p,
        *constants,
        *state,
        *xs,
        body=steps.graph,
        consts=len(constants),
        carry=len(state),
        length=length,
        reverse=reverse,
    )
    return steps.tangents(results)


def _batch_scan(
    primitive: Primitive,
    batched: tuple[bool, ...],
    *operands: Any,
    body: Graph,
    consts: int,
    carry: int,
    length: int,
    reverse: bool,
) -> Any:
    size = batch_size(batched, operands)
    own_consts, own_state, own_xs = [list(marks) for marks in split(batched, consts, carry)]
    ys = [False] * (len(body.outputs) - carry)
    while True:
        graph, flags = batch_graph(body, [*own_consts, *own_state, *own_xs], size, [*own_state, *ys])
        if list(flags[:carry]) == own_state:
            break
        own_state = list(flags[:carry])
    constants, state, xs = split(operands, consts, carry)
    state = [
        repeat_over_examples(x, size) if now and not before else x
        for x, now, before in zip(state, own_state, batched[consts : consts + carry], strict=True)
    ]
    xs = [moveaxis(x, 0, 1) if own else x for x, own in zip(xs, own_xs, strict=True)]
    results = bind(
        primitive,
        *constants,
        *state,
        *xs,
        body=graph,
        consts=consts,
        carry=carry,
        length=length,
        reverse=reverse,
    )
    out = [
        moveaxis(x, 0, 1) if own and place >= carry else x
        for place, (x, own) in enumerate(zip(results, flags, strict=True))
    ]
    return out, flags


scan_p = register(
    Primitive(
        "scan",
        _evaluate_scan,
        _scan_rule,
        scan_vjp,
        _scan_jvp,
        batch=_batch_scan,
        forward=scan_forward,
        takes_numbers=True,
        makes_views=True,
        multiple_results=True,
    )
)
