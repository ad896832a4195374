"""Loops whose end a condition or a counter decides: while_loop and fori_loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np

from fgrad.core.batching import BatchTracer
from fgrad.core.bind import Tracer, bind, bind_creation
from fgrad.core.errors import DtypeError, NotDifferentiableError, ShapeError, TracerConversionError, at_user_line
from fgrad.core.graph import Graph, Variable
from fgrad.core.graph_rules import batch_graph
from fgrad.core.key import Key
from fgrad.core.primal import PrimalTracer
from fgrad.core.primitive import Primitive, register
from fgrad.core.reuse import rehearsal
from fgrad.core.shape import ShapeDtype, result_dtype, shape_dtype_of
from fgrad.core.staging import stage, stage_closed
from fgrad.ops.control_flow import bind_cond, select_examples
from fgrad.ops.declare import batch_size
from fgrad.ops.reductions import any as any_of
from fgrad.ops.scan_primitive import StepDerivative, active_steps, scan_forward, scan_vjp
from fgrad.ops.scans import loop, stage_step
from fgrad.ops.selection import where
from fgrad.ops.staged import (
    NOTHING,
    Carry,
    StagedFunction,
    as_number,
    avals_of,
    concrete_value,
    is_staging,
    require_callable,
    require_count,
    require_integer,
    require_predicate,
    run_graph,
    settle,
    split,
)
from fgrad.ops.structure import convert, repeat_over_examples

__all__ = ["fori_loop", "while_loop"]


# The public functions.


def while_loop(
    cond_fun: Callable[..., Any], body_fun: Callable[..., Any], init_val: Any, max_steps: int | None = None
) -> Any:
    """A loop that goes on while a condition holds.

    It is the same as::

        val = init_val
        while cond_fun(val):
            val = body_fun(val)
        return val

    Where the condition has a value (outside of functions that are staged, also under grad and jvp) it is this loop,
    and reverse mode goes through it however many steps it takes. Under vmap, with a condition that differs from example
    to example, it goes on until the condition fails for all of them, and an example whose condition has failed keeps
    its values.

    In a function that is staged (by make_graph, checkpoint, the body of another loop there) both functions become
    graphs. The number of steps is then unknown when the derivative is made, so reverse mode needs `max_steps`: it goes
    through so many steps, of which those after the end of the loop change nothing, and saves what each of them needs.

    The carry must come out of the body in the structure, shapes and dtypes in which it went in. A Python number in
    `init_val` becomes what the body makes of it, if that is an array or another kind of number, before the first step.

    Args:
        cond_fun: ``cond_fun(val)``, a boolean of shape (); it may use values of the functions around it.
        body_fun: ``body_fun(val)``, the next value; likewise.
        init_val: a pytree of numbers, arrays and random keys.
        max_steps: the loop ends after so many steps, whatever the condition is then; None for no limit.

    Raises:
        TreeError, ShapeError, DtypeError: the body changes the carry; the message has the path.
        ShapeError, DtypeError: the condition is not a single boolean.
        NotDifferentiableError: reverse mode through a staged loop without `max_steps`.

    >>> import fgrad as fg
    >>> def root(a):
    ...     return fg.while_loop(lambda x: abs(x * x - a) > 1e-12, lambda x: (x + a / x) / 2, a)
    >>> root(2.0)
    1.414213562373095
    >>> fg.grad(root)(2.0)
    Tensor(0.35355339, dtype=float64)
    """
    signature = "(cond_fun, body_fun, init_val)"
    require_callable(cond_fun, "while_loop", "cond_fun", signature)
    require_callable(body_fun, "while_loop", "body_fun", signature)
    limit = None if max_steps is None else require_count(max_steps, "while_loop", "max_steps")
    carry = Carry.begin("while_loop", init_val, "init_val")
    return _run_while(_While(cond_fun, body_fun, limit), carry)


def fori_loop(lower: Any, upper: Any, body_fun: Callable[..., Any], init_val: Any) -> Any:
    """A loop over the integers from `lower` to ``upper - 1``.

    It is the same as::

        val = init_val
        for i in range(lower, upper):
            val = body_fun(i, val)
        return val

    Outside of functions that are staged it is this loop, under every transform. In a function that is staged it is a
    `scan` where both bounds are known, and a `while_loop`, through which reverse mode cannot go, where one is not. The
    counter i is of the kind that `lower` is of: a Python int, or an integer array of shape (), in the dtype that it and
    `upper` have together.

    Args:
        lower: the first i, an integer of shape ().
        upper: where i ends; with ``upper <= lower`` there are no steps.
        body_fun: ``body_fun(i, val)``, the next value; it may use values of the functions around it.
        init_val: a pytree of numbers, arrays and random keys; see `while_loop` about its structure and types.

    Raises:
        ShapeError, DtypeError: a bound is not a single integer.
        DtypeError: `lower` is of a dtype that does not reach `upper`.
        TreeError, ShapeError, DtypeError: the body changes the carry; the message has the path.

    >>> import fgrad as fg
    >>> fg.fori_loop(1, 6, lambda i, product: product * i, 1)
    120
    >>> fg.grad(lambda x: fg.fori_loop(0, 3, lambda i, y: y * x + i, x))(2.0)
    Tensor(33., dtype=float64)
    """
    require_callable(body_fun, "fori_loop", "body_fun", "(lower, upper, body_fun, init_val)")
    end = require_integer(upper, "fori_loop", "upper")
    first = _counter(require_integer(lower, "fori_loop", "lower"), end)
    known = concrete_value(first), concrete_value(end)
    carry = Carry.begin("fori_loop", (first, init_val), "init_val", skip="[1]")

    def step(val: Any) -> Any:
        i, current = val
        return i + 1, body_fun(i, current)

    if None in known:
        bounded = _While(lambda val: val[0] < end, step, None)
        return _run_while(bounded, carry)[1]
    count = max(int(known[1]) - int(known[0]), 0)
    if count == 0 and not is_staging():
        return _settled_without_steps(step, carry).tree()[1]
    last, _, _ = loop(lambda val, _: (step(val), None), carry, [], NOTHING, count)
    return carry.form.build(last)[1]


def _counter(first: Any, end: Any) -> Any:
    """The first i, of a dtype in which it can be counted to the end: in another it would start again from below."""
    lower, upper = shape_dtype_of(first), shape_dtype_of(end)
    if lower.weak:
        return first
    dtype = result_dtype(lower, upper)
    last = concrete_value(end)
    if dtype.kind not in "iu" or (upper.weak and last is not None and int(last) > np.iinfo(dtype).max):
        message = (
            f"[fori_loop] lower is {lower} and upper {upper if last is None else int(last)}, to which its dtype does "
            f"not count; convert lower with astype"
        )
        raise DtypeError(at_user_line(message))
    return first if lower.dtype == dtype else convert(first, dtype)


# The loop: in Python, or staged.


@attrs.frozen(eq=False)
class _While:
    """The functions of a loop, and the number of steps that it may still take."""

    cond: Callable[..., Any]
    body: Callable[..., Any]
    limit: int | None

    def predicate(self, carry: Carry) -> Any:
        """The condition for these values."""
        return require_predicate(self.cond(carry.tree()), carry.operation, "the condition")


def _run_while(functions: _While, carry: Carry) -> Any:
    if is_staging():
        return carry.form.build(_while_staged(functions, carry))
    steps = 0
    while functions.limit is None or steps < functions.limit:
        predicate = functions.predicate(carry)
        known = concrete_value(predicate)
        if known is None:
            of_examples = _values_of_examples(predicate)
            if of_examples is None:
                limit = None if functions.limit is None else functions.limit - steps
                return carry.form.build(_while_staged(attrs.evolve(functions, limit=limit), carry))
            if not of_examples.any():
                break
            # What the body gives for an example that is done is not used, so neither are warnings about it.
            with np.errstate(all=None if of_examples.all() else "ignore"):
                after = _step(functions.body, carry, first=steps == 0)
            before = carry.widened(after.avals).leaves
            triples = zip(after.leaves, before, after.avals, strict=True)
            carry = after.with_leaves([_keep_done(predicate, new, old, aval) for new, old, aval in triples])
        elif known:
            carry = _step(functions.body, carry, first=steps == 0)
        else:
            break
        steps += 1
    return (carry if steps else _settled_without_steps(functions.body, carry)).tree()


def _step(body: Callable[..., Any], carry: Carry, *, first: bool) -> Carry:
    if not first:
        return carry.after(body(carry.tree()))

    def step(current: Carry) -> tuple[list[ShapeDtype], Carry]:
        after = current.after(body(current.tree()))
        return after.avals, after

    return settle(carry, step)[1]


def _values_of_examples(value: Any) -> np.ndarray[Any, Any] | None:
    """What all examples have for a value, below the tracers of vmap, grad and jvp; None where another tracer is met."""
    while isinstance(value, BatchTracer | PrimalTracer):
        value._trace.require_open()
        value = value.batch if isinstance(value, BatchTracer) else value.primal
    return None if isinstance(value, Tracer) else np.asarray(value)


def _keep_done(active: Any, new: Any, old: Any, aval: ShapeDtype) -> Any:
    """The new leaf for examples that go on, the old one for those that are done."""
    if new is old:
        return old
    if isinstance(new, Key):
        return Key(where(active, new.words, old.words))
    chosen = where(active, new, old)
    return as_number(chosen) if aval.weak else chosen


def _settled_without_steps(body: Callable[..., Any], carry: Carry) -> Carry:
    """The carry of a loop that takes no step, with the dtypes that a step would have given to its Python numbers."""
    if not any(aval.weak for aval in carry.avals):
        return carry
    try:
        with rehearsal():
            return settle(carry, lambda current: _stage_body(body, current))[0]
    except TracerConversionError:
        # A body that asks for values cannot be staged, and so there is nothing to agree with.
        return carry


def _stage_body(body: Callable[..., Any], carry: Carry) -> tuple[list[ShapeDtype], StagedFunction]:
    return stage_step(lambda current, _: (body(current), None), carry, [], NOTHING)


def _while_staged(functions: _While, carry: Carry) -> Sequence[Any]:
    carry, body = settle(carry, lambda current: _stage_body(functions.body, current))

    def condition(*values: Any) -> list[Any]:
        return [functions.predicate(carry.with_leaves(list(values)))]

    graph, captured = stage(condition, carry.avals, carry.operation)
    return bind_creation(
        while_p,
        *captured,
        *body.captured,
        *carry.values,
        cond=attrs.evolve(graph, captured=0),
        body=body.graph,
        cond_consts=len(captured),
        body_consts=len(body.captured),
        max_steps=functions.limit,
    )


# The primitive. Its operands are what the condition closes over, what the body closes over, and the carry.


def _evaluate_while(
    *operands: Any, cond: Graph, body: Graph, cond_consts: int, body_consts: int, max_steps: int | None
) -> tuple[Any, ...]:
    asked, constants, state = split(operands, cond_consts, body_consts)
    steps = 0
    while (max_steps is None or steps < max_steps) and run_graph(cond, [*asked, *state])[0]:
        state = run_graph(body, [*constants, *state])
        steps += 1
    return tuple(state)


def _while_rule(
    *operands: ShapeDtype, cond: Graph, body: Graph, cond_consts: int, body_consts: int, max_steps: int | None
) -> tuple[ShapeDtype, ...]:
    asked, constants, state = split(operands, cond_consts, body_consts)
    if avals_of(cond.inputs) != [*asked, *state] or avals_of(body.inputs) != [*constants, *state]:
        message = "the operands are not what the condition and the body take"
        raise ShapeError(message)
    predicates = avals_of(cond.outputs)
    if len(predicates) != 1 or predicates[0].shape or predicates[0].dtype.kind != "b":
        message = "the condition does not return a single boolean"
        raise ShapeError(message)
    if avals_of(body.outputs) != list(state):
        message = "the body does not return the carry as it takes it"
        raise ShapeError(message)
    return tuple(state)


def _run_graphs(
    cond: Graph,
    body: Graph,
    asked: Sequence[Any],
    constants: Sequence[Any],
    state: Sequence[Any],
    max_steps: int | None,
) -> Sequence[Any]:
    """The loop over graphs: step by step while the condition has a value, as one operation where it has none."""
    steps = 0
    while not is_staging() and steps != max_steps:
        known = concrete_value(cond.evaluate(*asked, *state)[0])
        if known is None:
            break
        if not known:
            return state
        state = body.evaluate(*constants, *state)
        steps += 1
    if steps == max_steps:
        return state
    return bind(
        while_p,
        *asked,
        *constants,
        *state,
        cond=cond,
        body=body,
        cond_consts=len(asked),
        body_consts=len(constants),
        max_steps=None if max_steps is None else max_steps - steps,
    )


def _while_forward(
    needed: Any, *operands: Any, cond: Graph, body: Graph, cond_consts: int, body_consts: int, max_steps: int | None
) -> tuple[Any, Any]:
    _, outputs = active_steps(body, [bool(slot) for slot in needed[cond_consts:]], body_consts, len(body.outputs))
    if not any(outputs):
        graphs = {"cond": cond, "body": body, "cond_consts": cond_consts, "body_consts": body_consts}
        return bind(while_p, *operands, **graphs, max_steps=max_steps), None
    if max_steps is None:
        message = (
            "[while_loop] reverse mode cannot go through a while_loop that is staged (inside of make_graph, checkpoint "
            "or the body of a staged loop): it would have to save the values of every step, and their number is not "
            "known. Give it max_steps=, write fg.fori_loop with Python integers as bounds or fg.scan, or call it "
            "outside of the staged function, where every step is recorded as it is taken"
        )
        raise NotDifferentiableError(at_user_line(message))
    bounded: dict[str, Any] = {
        "body": _bounded_body(cond, body, cond_consts, body_consts),
        "consts": cond_consts + body_consts,
        "carry": len(body.outputs),
        "length": max_steps,
        "reverse": False,
    }
    out, saved = scan_forward(needed, *operands, **bounded)
    return out, (bounded, saved)


def _bounded_body(cond: Graph, body: Graph, cond_consts: int, body_consts: int) -> Graph:
    """A step that changes nothing once the condition has failed: cond(condition, body, identity)."""
    identity = attrs.evolve(body, equations=(), outputs=body.inputs[body_consts:])

    def step(*values: Any) -> Any:
        asked, constants, state = split(values, cond_consts, body_consts)
        return bind_cond(cond.evaluate(*asked, *state)[0], [*constants, *state], [identity, body])

    return stage_closed(step, [*avals_of(cond.inputs[:cond_consts]), *avals_of(body.inputs)], "while_loop")


def _while_vjp(
    cotangents: list[Any], needed: Any, out: Any, *operands: Any, residuals: Any, **graphs: Any
) -> tuple[Any, ...]:
    if residuals is None:
        return (None,) * len(operands)
    bounded, saved = residuals
    return scan_vjp(cotangents, needed, out, *operands, residuals=saved, **bounded)


def _while_jvp(
    tangents: Sequence[Any],
    out: Any,
    *operands: Any,
    cond: Graph,
    body: Graph,
    cond_consts: int,
    body_consts: int,
    max_steps: int | None,
) -> Any:
    count = len(body.outputs)
    steps = StepDerivative.of(body, tangents[cond_consts:], operands[cond_consts:], body_consts, count)
    if steps is None:
        return None
    constants, state, _ = steps.operands
    ahead = cond.inputs[cond_consts:]
    behind = [Variable(shape_dtype_of(x)) for x in state[count:]]
    condition = attrs.evolve(cond, inputs=(*cond.inputs[:cond_consts], *ahead, *behind))
    return steps.tangents(_run_graphs(condition, steps.graph, operands[:cond_consts], constants, state, max_steps))


def _batch_while(
    primitive: Primitive,
    batched: tuple[bool, ...],
    *operands: Any,
    cond: Graph,
    body: Graph,
    cond_consts: int,
    body_consts: int,
    max_steps: int | None,
) -> Any:
    size = batch_size(batched, operands)
    marks = split(batched, cond_consts, body_consts)
    own_asked, own_constants, own_state = [list(own) for own in marks]
    while True:
        asking, (differs,) = batch_graph(cond, [*own_asked, *own_state], size, [False])
        required = [True] * len(own_state) if differs else own_state
        stepping, flags = batch_graph(body, [*own_constants, *own_state], size, required)
        if list(flags) == own_state:
            break
        own_state = list(flags)
    asked, constants, state = split(operands, cond_consts, body_consts)
    state = [
        repeat_over_examples(x, size) if now and not before else x
        for x, now, before in zip(state, own_state, marks[2], strict=True)
    ]
    if not differs:
        return _run_graphs(asking, stepping, asked, constants, state, max_steps), own_state
    first = asking.evaluate(*asked, *state)
    going = [*first, *state]
    some, masked = _masked_graphs(asking, stepping, len(asked), avals_of([*asked, *constants, *going]))
    # What the body gives for an example that is done is not used, so neither are warnings about it.
    with np.errstate(all="ignore"):
        results = _run_graphs(some, masked, (), [*asked, *constants], going, max_steps)
    return results[1:], own_state


def _masked_graphs(asking: Graph, stepping: Graph, asked: int, avals: list[ShapeDtype]) -> tuple[Graph, Graph]:
    """A loop over examples that end at different steps: it carries, beside their values, which of them go on."""
    consts = len(avals) - len(stepping.outputs) - 1

    def step(*values: Any) -> list[Any]:
        of_condition, of_body, (active, *state) = split(values, asked, consts - asked)
        after = stepping.evaluate(*of_body, *state)
        kept = [new if new is old else select_examples(active, new, old) for new, old in zip(after, state, strict=True)]
        return [*asking.evaluate(*of_condition, *kept), *kept]

    some = stage_closed(lambda active, *_: [any_of(active)], avals[consts:], "while_loop")
    return some, stage_closed(step, avals, "while_loop")


while_p = register(
    Primitive(
        "while",
        _evaluate_while,
        _while_rule,
        _while_vjp,
        _while_jvp,
        batch=_batch_while,
        forward=_while_forward,
        takes_numbers=True,
        makes_views=True,
        multiple_results=True,
    )
)
