"""What calls of functions with rules of their own share: arguments, interpreters, staging, batching and checks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Self, TypeAlias

import attrs

from fgrad.core.batching import BatchTrace
from fgrad.core.bind import Trace, Tracer, bind, is_weak, staging
from fgrad.core.errors import (
    DtypeError,
    EscapedTracerError,
    NotDifferentiableError,
    ShapeError,
    TracerConversionError,
    TreeError,
    at_user_line,
)
from fgrad.core.graph import Graph, Variable
from fgrad.core.graph_rules import batch_graph
from fgrad.core.primal import PrimalTracer
from fgrad.core.primitive import Primitive
from fgrad.core.pytree import tree_leaves
from fgrad.core.shape import shape_dtype_of
from fgrad.core.staging import GraphTrace, stage
from fgrad.ops.declare import batch_size
from fgrad.ops.staged import Form, active_outputs, batch_call, run_graph, value_of
from fgrad.ops.structure import repeat_over_examples

__all__ = [
    "CustomCall",
    "Examples",
    "Flat",
    "Owner",
    "apply",
    "batch_custom",
    "custom_primitive",
    "differentiated_leaves",
    "given",
    "placed",
    "run_all_batched",
    "run_closed",
    "run_examples",
    "spread",
]

# A function of flat values, Tensors and Python numbers, that returns such, and the form of the tree that they make.
Flat: TypeAlias = Callable[[list[Any]], tuple[list[Any], Form]]


@attrs.frozen(eq=False, repr=False)
class Owner:
    """Whose call it is, for messages: custom_jvp or custom_vjp, the function's name, and what the user wrote."""

    transform: str
    name: str
    users: Sequence[Callable[..., Any]]

    def refuse_closure(self, value: Tracer | None = None) -> NoReturn:
        """Raises the error for a traced value that the user's functions close over."""
        derivative = value is None or isinstance(value, PrimalTracer)
        kind = NotDifferentiableError if derivative else EscapedTracerError
        by = "by which it is differentiated" if value is None else f"that {value._trace.transform} is tracing"
        way_out = ", or close over fg.stop_gradient of it" if derivative else ""
        message = f"[{self.transform}] {self.name} closes over a value {by}. {self._explain_closure()}{way_out}"
        raise kind(at_user_line(message))

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Calls one of the user's functions; a value of a finished transform in its closure gets a better message."""
        try:
            return function(*args, **kwargs)
        except EscapedTracerError as error:
            if _RULES_ARE_CLOSED in error.args[0]:
                raise
            message = (
                f"[{self.transform}] {self.name} closes over a value of a transform that had finished when its rule "
                f"was needed. {self._explain_closure()}"
            )
            raise EscapedTracerError("\n".join([message, *error.args[0].splitlines()[1:]])) from error

    def _explain_closure(self) -> str:
        names = [name for function in self.users for name in _traced_names(function)]
        return f"{_RULES_ARE_CLOSED}: pass {' and '.join(dict.fromkeys(names)) or 'that value'} as an argument"


_RULES_ARE_CLOSED = "A rule says how to differentiate by the arguments, and knows nothing of other values"


@attrs.frozen(eq=False, repr=False)
class CustomCall:
    """One call of a function with a rule of its own, as a param of its primitive; equal to itself only.

    Attributes:
        owner: whose call it is.
        function: the function, of flat values.
        count: how many values it takes; the operands of the primitive before those are what it closes over.
        level: that of the trace which processes the call; the values that come out are of lower ones.
        forms: where whatever is run of the call leaves the form of the results, for the caller.
        form: that of the results, once the call has been staged.
    """

    owner: Owner
    function: Flat
    count: int
    level: float = attrs.field(default=math.inf, kw_only=True)
    forms: list[Form] = attrs.field(factory=list, kw_only=True)
    form: Form | None = attrs.field(default=None, kw_only=True)

    def __repr__(self) -> str:
        return self.owner.name

    def mapped(self, examples: Examples) -> Self:
        """The call for all examples at once."""
        raise NotImplementedError

    def over_examples(self, examples: Examples) -> Flat:
        """The function for all examples at once."""

        def function(values: list[Any]) -> tuple[list[Any], Form]:
            forms: list[Form] = []

            def one(*tracers: Any) -> list[Any]:
                found, form = self.function(list(tracers))
                forms.append(form)
                return found

            return run_all_batched(examples, one, values), forms[0]

        return function

    def note(self, form: Form) -> None:
        """Takes note of the form of the results.

        Raises:
            TreeError: when it is another than that of the function itself.
        """
        if self.form is None:
            self.forms.append(form)
        elif form != self.form:
            message = (
                f"[{self.owner.transform}] the rule of {self.owner.name} returned a result of {form.structure}, and "
                f"{self.owner.name} itself returns {self.form.structure}"
            )
            raise TreeError(at_user_line(message))

    def require_same(self, graph: Graph, values: Sequence[Any]) -> None:
        """Checks that the rule of a staged call returned what the function does.

        Raises:
            ShapeError, DtypeError: when a result has another shape or dtype.
        """
        for position, (operand, value) in enumerate(zip(graph.outputs, values, strict=True)):
            expected, found = operand.aval, shape_dtype_of(value)
            if (expected.shape, expected.dtype) == (found.shape, found.dtype):
                continue
            assert self.form is not None
            kind = ShapeError if expected.shape != found.shape else DtypeError
            message = (
                f"[{self.owner.transform}] the rule of {self.owner.name} returned out{self.form.paths()[position]} as "
                f"{found}, and {self.owner.name} itself returns {expected}"
            )
            raise kind(at_user_line(message))

    def require_lower(self, values: Sequence[Any], level: float | None = None) -> None:
        """Checks that what came out of the user's functions depends on their arguments alone.

        Raises:
            NotDifferentiableError, EscapedTracerError: when a value belongs to the trace that processes the call, or to
                one inside of it: then it came in through a closure.
        """
        limit = self.level if level is None else level
        for value in values:
            if isinstance(value, Tracer) and (value._trace.closed or value._trace.level >= limit):
                self.owner.refuse_closure(value)


def _traced_names(function: Callable[..., Any]) -> list[str]:
    """The names of the values that a function closes over and that are traced."""
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None)
    if code is None or not cells:
        return []
    found = []
    for name, cell in zip(code.co_freevars, cells, strict=True):
        try:
            leaves = tree_leaves(cell.cell_contents)
        except ValueError:  # the name has no value yet
            continue
        if any(isinstance(value_of(leaf), Tracer) for leaf in leaves):
            found.append(name)
    return found


# Which interpreter a call goes to, and what it does.


def apply(primitive: Primitive, call: CustomCall, operands: list[Any]) -> list[Any]:
    """Carries out a call by the trace that `bind` would choose, which may run the user's functions."""
    trace: Trace | None = None
    for value in operands:
        if isinstance(value, Tracer) and (trace is None or value._trace.level > trace.level):
            trace = value._trace
    stage_trace = staging.trace
    if stage_trace is not None and (trace is None or stage_trace.level > trace.level):
        return _write_down(primitive, call, operands, stage_trace, traced=trace is not None)
    if trace is None:
        values, form = call.function(operands)
        call.note(form)
        require_no_derivative(call.owner, values)
        return values
    trace.require_open()
    if isinstance(trace, GraphTrace):
        return _write_down(primitive, call, operands, trace, traced=True)
    if isinstance(trace, BatchTrace):
        return _apply_to_examples(primitive, call, operands, trace)
    own = attrs.evolve(call, level=trace.level)
    return list(trace.process(primitive, tuple(operands), {"graph": None, "call": own}))


def require_no_derivative(owner: Owner, values: Sequence[Any]) -> None:
    """Checks what came out of a call none of whose arguments is traced.

    Raises:
        NotDifferentiableError: when it carries a derivative, which passed the rule by.
    """
    for value in values:
        found = value
        while isinstance(found, Tracer):
            if isinstance(found, PrimalTracer):
                owner.refuse_closure(found)
            found = getattr(found, "batch", None)


def _write_down(
    primitive: Primitive, call: CustomCall, operands: list[Any], trace: Trace, *, traced: bool
) -> list[Any]:
    # Where no operand is traced the function runs on their values, as operations on constants do.
    inputs = operands if traced else []
    forms: list[Form] = []

    def flat(*tracers: Any) -> list[Any]:
        values, form = call.function(list(tracers) if traced else operands)
        forms.append(form)
        return values

    try:
        graph, captured = stage(flat, [shape_dtype_of(value) for value in inputs], call.owner.transform)
    except TracerConversionError as error:
        raise _with_way_out(call.owner, error) from None
    for tracer in captured:
        if tracer._trace.level > trace.level:
            call.owner.refuse_closure(tracer)
    call.note(forms[0])
    if not traced and not captured:
        return graph.evaluate()
    unused = () if traced else tuple([Variable(shape_dtype_of(value)) for value in operands])
    closed = attrs.evolve(graph, inputs=(*graph.inputs, *unused), captured=0)
    staged = attrs.evolve(call, form=forms[0], forms=[], level=math.inf)
    return list(trace.process(primitive, (*captured, *operands), {"graph": closed, "call": staged}))


def _with_way_out(owner: Owner, error: TracerConversionError) -> TracerConversionError:
    if f"that {owner.transform} is tracing" not in error.args[0]:
        return error
    message = (
        f"{error.args[0]}\n{owner.name} is part of a program that is being staged, so its arguments are stand-ins: "
        f"name those that Python code decides by in static=, as in fg.{owner.transform}(f, static=('name',))"
    )
    return TracerConversionError(message)


@attrs.frozen(eq=False)
class Examples:
    """The examples of a mapped call: how many, which values are batched and which of them stand for Python numbers."""

    size: int
    batched: Sequence[bool]
    weak: Sequence[bool]
    # Which results of the last run stand for Python numbers.
    numbers: list[bool] = attrs.field(factory=list)

    def followed_by(self, batched: Sequence[bool]) -> Examples:
        """The same, with more values behind those of the call."""
        return Examples(
            self.size, [*self.batched, *batched], [*self.weak, *[False] * len(batched)], numbers=self.numbers
        )


def _apply_to_examples(primitive: Primitive, call: CustomCall, operands: list[Any], trace: BatchTrace) -> list[Any]:
    own = [isinstance(value, Tracer) and value._trace is trace for value in operands]
    weak = [inside and value.weak for value, inside in zip(operands, own, strict=True)]
    values = [value.batch if inside else value for value, inside in zip(operands, own, strict=True)]
    examples = Examples(trace.size, own, weak)
    mapped = call.mapped(examples)
    # Not by trace.process, which takes the errors of a rule for those of the operation and words them anew.
    results, _ = primitive.require_batch()(primitive, tuple(own), *values, graph=None, call=mapped)
    call.require_lower(results, trace.level)
    # The function and the rules return the results first.
    return [trace.new_input(value, weak=number) for value, number in zip(results, examples.numbers, strict=False)]


def run_examples(
    examples: Examples, function: Callable[..., Sequence[Any]], values: Sequence[Any]
) -> tuple[list[Any], list[bool]]:
    """Runs ``function(*values)``, of one example, for all of them; gives the results, and which are batched."""

    def run(*tracers: Any) -> Sequence[Any]:
        results = function(*tracers)
        examples.numbers[:] = map(is_weak, results)
        return results

    return batch_call(run, examples.batched, examples.size, values, examples.weak)


def run_all_batched(examples: Examples, function: Callable[..., Sequence[Any]], values: Sequence[Any]) -> list[Any]:
    """Runs ``function(*values)``, of one example, for all of them; every result is batched."""
    return spread(examples, *run_examples(examples, function, values))


def spread(examples: Examples, values: Sequence[Any], batched: Sequence[bool]) -> list[Any]:
    """The values with the axis of the examples, repeated along it where they have none."""
    return [
        value if own else repeat_over_examples(value, examples.size) for value, own in zip(values, batched, strict=True)
    ]


def given(values: Sequence[Any]) -> list[Any]:
    """Those of the tangents or cotangents that are not None."""
    return [value for value in values if value is not None]


def placed(pattern: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    """The values in the places where the pattern is not None."""
    remaining = iter(values)
    return [None if place is None else next(remaining) for place in pattern]


def batch_custom(
    primitive: Primitive, batched: tuple[bool, ...], *operands: Any, graph: Graph | None, call: CustomCall
) -> tuple[list[Any], list[bool]]:
    """The batching rule: a call for all examples, all of whose results are batched; without a graph, `call` is it."""
    if graph is None:
        results = apply(primitive, call, list(operands))
        return results, [True] * len(results)
    size = batch_size(batched, operands)
    required = [True] * len(graph.outputs)
    over_examples, _ = batch_graph(graph, batched, size, required)
    captured = len(operands) - call.count
    weak = [own and variable.aval.weak for own, variable in zip(batched, graph.inputs, strict=True)]
    mapped = call.mapped(Examples(size, batched[captured:], weak[captured:]))
    return list(bind(primitive, *operands, graph=over_examples, call=mapped)), required


def custom_primitive(name: str, **rules: Any) -> Primitive:
    """The primitive of one kind of call; how it is differentiated is what the rules say."""
    return Primitive(
        name,
        evaluate=_evaluate,
        shape_rule=lambda *avals, graph, call: tuple([operand.aval for operand in graph.outputs]),
        batch=batch_custom,
        takes_numbers=True,
        makes_views=True,
        multiple_results=True,
        **rules,
    )


def _evaluate(*operands: Any, graph: Graph, call: CustomCall) -> list[Any]:
    return run_graph(graph, operands)


# What the rules of both primitives need.


def differentiated_leaves(
    call: CustomCall, graph: Graph | None, operands: Sequence[Any], marked: Sequence[bool]
) -> list[Any]:
    """The operands that are arguments of the function, when it is differentiated by the operands that are marked.

    Raises:
        NotDifferentiableError: when a value that the function closes over is marked, and a result depends on it.
    """
    captured = len(operands) - call.count
    if graph is not None and any(marked[:captured]):
        by_closure = [*marked[:captured], *[False] * call.count]
        if any(active_outputs(graph, by_closure)):
            call.owner.refuse_closure()
    return list(operands[captured:])


def run_closed(call: CustomCall, function: Callable[..., Sequence[Any]], values: Sequence[Any]) -> list[Any]:
    """Runs ``function(*values)``, which runs the rule of a staged call, as a graph that may capture nothing.

    Raises:
        NotDifferentiableError, EscapedTracerError: when it uses other traced values than those given.
    """
    avals = [shape_dtype_of(value) for value in values]
    graph, captured = call.owner.run(stage, function, avals, call.owner.transform)
    if captured:
        call.owner.refuse_closure(captured[0])
    results: list[Any] = graph.evaluate(*values)
    return results
