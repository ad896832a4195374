"""Staging: running a function on variables of a graph, so that its operations are written down, not carried out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import attrs
import numpy as np

from fgrad.core.bind import Trace, Tracer, explain, next_level, raise_escaped, staging
from fgrad.core.errors import DtypeError, user_line
from fgrad.core.graph import Equation, Graph, Literal, Operand, Variable
from fgrad.core.primitive import Primitive
from fgrad.core.shape import PYTHON_NUMBERS, Shape, ShapeDtype
from fgrad.core.tensor import ConcreteTensor, index_hint, refuse_conversion, to_tensor

__all__ = ["GraphTrace", "GraphTracer", "stage", "stage_closed"]


@attrs.frozen(eq=False, repr=False, str=False, init=False)
class GraphTracer(Tracer):
    """A tensor that stands for a variable of the graph being written."""

    _trace: GraphTrace
    variable: Variable

    @property
    def shape(self) -> Shape:
        """The length of each axis."""
        return self.variable.aval.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype of the elements."""
        return self.variable.aval.dtype

    @property
    def weak(self) -> bool:
        """Whether this stands for a Python number."""
        return self.variable.aval.weak

    def _read(self, action: str, *, drops_gradient: bool) -> NoReturn:
        self._trace.require_open()
        way_out = (
            "has no value yet: only its shape and dtype are known. Compute with fgrad's functions (fg.where selects by "
            "a condition, fg.cond branches and fg.while_loop loops by one), or pass what the program's shape depends "
            "on as a plain Python value"
        )
        refuse_conversion(action, self._trace.transform, way_out + index_hint(action))

    def __repr__(self) -> str:
        return f"Tensor({self.variable.aval}, traced by {self._trace.transform})"

    __str__ = __repr__


@attrs.define(eq=False)
class GraphTrace(Trace):
    """Writes every operation that reaches it as an equation; tracers of outer transforms become captured inputs."""

    name: str = "make_graph"
    equations: list[Equation] = attrs.field(factory=list)
    captures: dict[int, tuple[Tracer, Variable]] = attrs.field(factory=dict)

    @property
    def transform(self) -> str:
        """The name of the transform, for messages."""
        return self.name

    def process(self, primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Appends the equation; its results are tracers of this trace."""
        self.require_open()
        operands = tuple([self.operand_for(value) for value in args])
        avals = [operand.aval for operand in operands]
        try:
            expected = primitive.shape_rule(*avals, **params)
        except (ValueError, TypeError, IndexError) as reason:
            raise explain(primitive, avals, reason) from None
        results = tuple([Variable(aval) for aval in (expected if primitive.multiple_results else (expected,))])
        sorted_params = tuple(sorted(params.items()))
        self.equations.append(Equation(primitive, operands, sorted_params, results, staging.source or user_line()))
        tracers = tuple([_new_tracer(self, variable) for variable in results])
        return tracers if primitive.multiple_results else tracers[0]

    def operand_for(self, value: Any) -> Operand:
        """The variable or literal that stands for a value in this graph."""
        if isinstance(value, Tracer):
            if value._trace is self:
                return value.variable  # type: ignore[attr-defined, no-any-return]
            if value._trace.closed:
                raise_escaped(value._trace)
            found = self.captures.get(id(value))
            if found is None:
                # One step, so that threads that capture the same value agree on its variable.
                variable = Variable(ShapeDtype(value.shape, value.dtype, value.weak))
                found = self.captures.setdefault(id(value), (value, variable))
            return found[1]
        if type(value) is ConcreteTensor or type(value) in PYTHON_NUMBERS:
            return Literal(value)
        return Literal(to_tensor(value))


def _new_tracer(trace: GraphTrace, variable: Variable) -> GraphTracer:
    tracer = object.__new__(GraphTracer)
    tracer.__attrs_init__(trace, variable)
    return tracer


def stage(
    function: Callable[..., Sequence[Any]], avals: Sequence[ShapeDtype], name: str, *, everything: bool = True
) -> tuple[Graph, list[Tracer]]:
    """Runs ``function(*tracers)``, which returns a flat sequence, and gives its graph and the tracers it captured.

    The captured tracers are the values for the graph's first inputs. With `everything`, all operations on tracers
    are written down, also those that touch only tracers of outer transforms; otherwise only those on the inputs and
    on what follows from them, and the rest is carried out at once.

    Raises:
        DtypeError: when an output is not a number or an array.
    """
    trace = GraphTrace(next_level(), name=name)
    inputs = [Variable(aval) for aval in avals]
    outer, outer_run = staging.trace, staging.run
    if everything:
        staging.trace, staging.run = trace, outer_run or trace.level
    try:
        outputs = function(*[_new_tracer(trace, variable) for variable in inputs])
        operands = tuple([_output_operand(trace, value, position) for position, value in enumerate(outputs)])
    finally:
        staging.trace, staging.run = outer, outer_run
        trace.closed = True
    captured = [tracer for tracer, _ in trace.captures.values()]
    capture_inputs = [variable for _, variable in trace.captures.values()]
    graph = Graph((*capture_inputs, *inputs), tuple(trace.equations), operands, captured=len(captured))
    return graph, captured


def _output_operand(trace: GraphTrace, value: Any, position: int) -> Operand:
    if isinstance(value, Tracer) and value._trace.level > trace.level:
        raise_escaped(value._trace)
    try:
        return trace.operand_for(value)
    except DtypeError as error:
        message = f"output {position} of the function given to {trace.name} is not a number or an array: {error}"
        raise DtypeError(message) from None


def stage_closed(function: Callable[..., Sequence[Any]], avals: Sequence[ShapeDtype], name: str) -> Graph:
    """The graph of a function that is made of graphs, and so captures nothing."""
    graph, captured = stage(function, avals, name)
    assert not captured, "a graph is closed, and so is what is made of it"
    return graph
