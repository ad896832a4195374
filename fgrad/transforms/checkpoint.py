"""checkpoint: less memory for more time, by running a function again when the backward pass comes to it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar, overload

from fgrad.core.bind import Tracer, bind
from fgrad.core.errors import TracerConversionError
from fgrad.core.graph import Graph
from fgrad.core.graph_rules import batch_graph, jvp_graph
from fgrad.core.key import Key
from fgrad.core.methods import operations
from fgrad.core.primal import zeros_for
from fgrad.core.primitive import Primitive, register
from fgrad.core.pytree import flatten, unflatten
from fgrad.core.shape import PYTHON_NUMBERS, shape_dtype_of
from fgrad.core.staging import stage, stage_closed
from fgrad.core.tape import TapeTracer, open_tape, walk_back
from fgrad.core.tensor import NUMERIC, to_tensor
from fgrad.ops.declare import batch_size
from fgrad.ops.staged import Form, run_graph, strong, take_apart, value_of
from fgrad.transforms.calling import function_name, require_function
from fgrad.transforms.static_arguments import Static, static_arguments

__all__ = ["checkpoint"]

P = ParamSpec("P")
R = TypeVar("R")


@overload
def checkpoint(function: Callable[P, R], *, static: Static = ()) -> Callable[P, R]: ...
@overload
def checkpoint(*, static: Static = ()) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def checkpoint(function: Callable[..., Any] | None = None, *, static: Static = ()) -> Any:
    """The same function, of which reverse mode keeps the arguments only: it runs again in the backward pass.

    What `grad` keeps of a function grows with the number of its operations. With a checkpoint around each of n layers
    it keeps n arguments and, while the backward pass is there, the intermediate values of one layer, for the price of
    one more run of each (Griewank and Walther, Evaluating Derivatives, 2nd ed., chapter 12). Values are the same to the
    bit, and so are gradients, save that what a value gets from several places inside is added up before the rest.

    The function is staged at every call: it runs on stand-ins that have a shape and a dtype and no values, and then its
    program is carried out. What it closes over is kept like an argument.

    Args:
        function: of pytrees of numbers, arrays and random keys, and anything else, which is passed on as it is; it
            returns a pytree of numbers, arrays and keys. Without it, the result is a decorator:
            ``@fg.checkpoint(static="training")``.
        static: arguments, by name or position, that are passed on as they are though they hold numbers or arrays: a
            flag that an ``if`` reads, a number of steps.

    Returns:
        A function of the same arguments. In every transform its derivatives of any order are checkpointed too.

    Raises:
        TracerConversionError: from a call, when the function asks a stand-in for its value (``if x > 0``): use
            fg.where or fg.cond, or make the argument static.
        TypeError: `static` names no argument of the function.

    >>> import fgrad as fg
    >>> @fg.checkpoint
    ... def layer(x, w):
    ...     return fg.tanh(fg.sin(x) * w)
    >>> for record in fg.show_tape(lambda x: layer(layer(x, 2.0), 3.0))(1.0):
    ...     print(str(record).partition("(")[0])
    %1: float64*[] = input
    %2: float64[] = checkpoint
    %3: float64[] = result 0 of
    %4: float64[] = checkpoint
    %5: float64[] = result 0 of
    >>> fg.grad(lambda x: layer(x, 2.0))(0.0)
    Tensor(2., dtype=float64)
    """
    if function is None:
        return functools.partial(checkpoint, static=static)
    require_function(function, "checkpoint")
    parameters = static_arguments(function, static, "checkpoint")

    @functools.wraps(function)
    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        arguments = parameters.split(args, kwargs)
        leaves, structure = flatten((arguments.positional, arguments.named))
        places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, (*NUMERIC, Key))]
        values = [_as_value(leaves[place]) for place in places]
        forms: list[Form] = []

        def flat(*tracers: Any) -> list[Any]:
            filled = list(leaves)
            for place, tracer in zip(places, tracers, strict=True):
                filled[place] = Key(tracer) if isinstance(leaves[place], Key) else tracer
            positional, named = unflatten(structure, filled)
            given, keywords = arguments.template.fill(positional, named)
            found, form = take_apart(function(*given, **keywords), "checkpoint", f"{function_name(function)}(...)")
            forms.append(form)
            return list(map(value_of, found))

        try:
            graph, captured = stage(flat, [shape_dtype_of(value) for value in values], "checkpoint")
        except TracerConversionError as error:
            raise _with_way_out(function, error) from None
        return forms[0].build(bind(checkpoint_p, *captured, *values, graph=graph))

    return checkpointed


def _as_value(leaf: Any) -> Any:
    value = value_of(leaf)
    return value if type(value) in PYTHON_NUMBERS else to_tensor(value)


def _with_way_out(function: Callable[..., Any], error: TracerConversionError) -> TracerConversionError:
    if "that checkpoint is tracing" not in error.args[0]:
        return error
    name = function_name(function)
    message = (
        f"{error.args[0]}\ncheckpoint stages {name}, because it runs again in the backward pass: decide by fg.where or "
        f"fg.cond, or name arguments that Python code decides by in static=, as in fg.checkpoint({name}, "
        f"static=('name',))"
    )
    return TracerConversionError(message)


# The primitive.


def _pull(graph: Graph, wanted: Sequence[bool], primals: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
    """Runs a graph again, on a tape, and walks back: the cotangents of the inputs that are wanted, None for zeros."""
    trace = open_tape()
    tracers = [trace.new_input(x) if own else x for x, own in zip(primals, wanted, strict=True)]
    sources = [tracer for tracer, own in zip(tracers, wanted, strict=True) if own]
    try:
        outputs = graph.evaluate(*tracers)
    finally:
        trace.closed = True
    places: list[Any] = [None] * len(trace.entries)
    for out, cotangent in zip(outputs, cotangents, strict=True):
        if cotangent is not None and isinstance(out, TapeTracer) and out._trace is trace:
            before = places[out.slot]
            places[out.slot] = cotangent if before is None else operations.accumulate(before, cotangent)
    del outputs, tracers
    walk_back(trace.entries, places, free=True)
    return [places[tracer.slot] for tracer in sources]


def _vjp(cotangents: list[Any], needed: Any, out: Any, *primals: Any, graph: Graph) -> tuple[Any, ...]:
    wanted = [bool(slot) for slot in needed]
    if not any(isinstance(value, Tracer) for value in (*primals, *cotangents)):
        found = iter(_pull(graph, wanted, primals, cotangents))
        return tuple([next(found) if own else None for own in wanted])
    # Inside another transform the second run is a checkpoint of its own: that transform keeps as little of it.
    given = [cotangent for cotangent in cotangents if cotangent is not None]
    backward = _backward_graph(graph, wanted, [cotangent is not None for cotangent in cotangents])
    results = iter(bind(checkpoint_p, *primals, *given, graph=backward))
    return tuple([next(results) if own else None for own in wanted])


def _backward_graph(graph: Graph, wanted: Sequence[bool], given: Sequence[bool]) -> Graph:
    """The graph of ``(*inputs, *cotangents)``, of those outputs that are given, to the cotangents that are wanted."""
    count = len(graph.inputs)

    def backward(*tracers: Any) -> list[Any]:
        remaining = iter(tracers[count:])
        cotangents = [next(remaining) if own else None for own in given]
        found = _pull(graph, wanted, tracers[:count], cotangents)
        sources = [tracer for tracer, own in zip(tracers, wanted, strict=False) if own]
        return [zeros_for(x) if g is None else g for g, x in zip(found, sources, strict=True)]

    marked = [operand.aval for operand, own in zip(graph.outputs, given, strict=True) if own]
    return stage_closed(backward, [*[variable.aval for variable in graph.inputs], *map(strong, marked)], "checkpoint")


def _dual(primals: list[Any], tangents: list[Any], *, graph: Graph) -> tuple[Sequence[Any], list[Any]]:
    given = [tangent for tangent in tangents if tangent is not None]
    derivative = jvp_graph(graph, [tangent is not None for tangent in tangents])
    count = len(graph.outputs)
    if not any(isinstance(tangent, Tracer) for tangent in given):
        results = bind(checkpoint_p, *primals, *given, graph=derivative)
        out, found = results[:count], results[count:]
    else:
        # The tangents may belong to a program that is being written (linearize), or to the tape of a custom_jvp rule:
        # the results must not, and of one operation all results would.
        out = bind(checkpoint_p, *primals, graph=graph)
        found = bind(checkpoint_p, *primals, *given, graph=derivative.pick(range(count, len(derivative.outputs))))
    remaining = iter(found)
    inexact = [operand.aval.dtype.kind in "fc" for operand in graph.outputs]
    return out, [next(remaining) if own else None for own in inexact]


def _batch(
    primitive: Primitive, batched: tuple[bool, ...], *operands: Any, graph: Graph
) -> tuple[Sequence[Any], tuple[bool, ...]]:
    required = [False] * len(graph.outputs)
    over_examples, own = batch_graph(graph, batched, batch_size(batched, operands), required)
    return bind(checkpoint_p, *operands, graph=over_examples), own


checkpoint_p = register(
    Primitive(
        "checkpoint",
        evaluate=lambda *operands, graph: run_graph(graph, operands),
        shape_rule=lambda *avals, graph: tuple([operand.aval for operand in graph.outputs]),
        vjp=_vjp,
        dual=_dual,
        batch=_batch,
        takes_numbers=True,
        makes_views=True,
        multiple_results=True,
    )
)
