"""Graph: a staged program as typed, immutable data that can be printed, checked and evaluated."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import attrs
import numpy as np

from fgrad.core.bind import bind, staging
from fgrad.core.errors import DtypeError, ShapeError, SourceLine, TreeError, at_user_line
from fgrad.core.key import Key
from fgrad.core.primitive import Primitive
from fgrad.core.pytree import Structure, flatten_up_to, register_static, unflatten
from fgrad.core.shape import PYTHON_NUMBERS, ShapeDtype, shape_dtype_of
from fgrad.core.tensor import ConcreteTensor

__all__ = ["Equation", "Graph", "Literal", "Variable"]


@attrs.frozen(eq=False)
class Variable:
    """A value of a graph; two variables are the same only when they are one object."""

    aval: ShapeDtype


@attrs.frozen(eq=False)
class Literal:
    """A constant of a graph: a concrete tensor or a Python number."""

    value: Any

    @property
    def aval(self) -> ShapeDtype:
        """The shape and dtype of the constant."""
        return shape_dtype_of(self.value)


Operand: TypeAlias = Variable | Literal


@attrs.frozen(eq=False)
class Equation:
    """One operation of a graph: ``results = primitive(operands, **params)``, and the user's line that asked for it."""

    primitive: Primitive
    operands: tuple[Operand, ...]
    params: tuple[tuple[str, Any], ...]
    results: tuple[Variable, ...]
    source: SourceLine | None = None


@register_static
@attrs.frozen(eq=False, repr=False)
class Graph:
    """A program: inputs, equations in the order of evaluation, outputs.

    A graph is closed: everything it uses is an input, a literal or the result of an earlier equation. The first
    `captured` inputs stand for tracers of outer transforms that the function closed over.

    Printing a graph shows one equation a line; a graph that `fgrad.make_graph` made can be called like the function
    that it came from.
    """

    inputs: tuple[Variable, ...]
    equations: tuple[Equation, ...]
    outputs: tuple[Operand, ...]
    captured: int = 0
    in_structure: Structure | None = None
    out_structure: Structure | None = None
    out_keys: tuple[int, ...] = ()
    # For each equation the variables that nothing after it uses.
    _finished: tuple[tuple[Variable, ...], ...] = attrs.field(init=False)

    @_finished.default
    def _find_last_uses(self) -> tuple[tuple[Variable, ...], ...]:
        later = {operand for operand in self.outputs if isinstance(operand, Variable)}
        finished = []
        for equation in reversed(self.equations):
            touched = [*equation.results, *[x for x in equation.operands if isinstance(x, Variable)]]
            finished.append(tuple(dict.fromkeys(variable for variable in touched if variable not in later)))
            later.update(touched)
        return tuple(reversed(finished))

    def __repr__(self) -> str:
        return format_graph(self)

    def __call__(self, *args: Any) -> Any:
        """Evaluates the graph on arguments of the structure, shapes and dtypes that it was made for.

        Raises:
            TreeError, ShapeError, DtypeError: when the arguments are others.
        """
        if self.in_structure is None or self.out_structure is None or self.captured:
            message = "this graph is not a whole function (it has captured values); use graph.evaluate(*inputs)"
            raise TreeError(at_user_line(message))
        leaves = flatten_up_to(self.in_structure, args, "args")
        results = self.evaluate(*[leaf.words if isinstance(leaf, Key) else leaf for leaf in leaves])
        keyed = [Key(value) if position in self.out_keys else value for position, value in enumerate(results)]
        return unflatten(self.out_structure, keyed)

    def evaluate(self, *values: Any) -> list[Any]:
        """The values of the outputs for these values of the inputs; differentiable, as any function is."""
        if len(values) != len(self.inputs):
            message = f"the graph has {len(self.inputs)} inputs, and {len(values)} values were given"
            raise TreeError(at_user_line(message))
        environment: dict[Variable, Any] = {}
        # A value is dropped after its last use, so that a graph holds no more memory than it needs.
        for position, (variable, value) in enumerate(zip(self.inputs, values, strict=True)):
            _require_fit(variable.aval, _type_of_input(value, variable.aval, position), f"input {position}")
            environment[variable] = value
        values, value = (), None
        outer = staging.source
        try:
            for equation, finished in zip(self.equations, self._finished, strict=True):
                staging.source = equation.source
                operands = [_read(environment, operand) for operand in equation.operands]
                out = bind(equation.primitive, *operands, **dict(equation.params))
                results = out if equation.primitive.multiple_results else (out,)
                if type(out) in PYTHON_NUMBERS or equation.primitive.multiple_results:
                    _require_kinds(equation, results)
                environment.update(zip(equation.results, results, strict=True))
                for variable in finished:
                    del environment[variable]
        finally:
            staging.source = outer
        return [_read(environment, operand) for operand in self.outputs]

    def pick(self, positions: Sequence[int]) -> Graph:
        """The graph of some of the outputs only, without the equations that they do not need."""
        outputs = tuple([self.outputs[position] for position in positions])
        needed = {operand for operand in outputs if isinstance(operand, Variable)}
        kept = []
        for equation in reversed(self.equations):
            if needed.intersection(equation.results):
                kept.append(equation)
                needed.update(operand for operand in equation.operands if isinstance(operand, Variable))
        return Graph(self.inputs, tuple(reversed(kept)), outputs, captured=self.captured)

    def check(self) -> None:
        """Checks that every operand is defined before it is used and that every equation's types are its rule's.

        The graphs among the parameters of its equations (branches, bodies of loops) are checked too.

        Raises:
            ShapeError: when the graph is not well formed.
        """
        defined: set[Variable] = set(self.inputs)
        for position, equation in enumerate(self.equations):
            where = f"equation {position} ({equation.primitive.name})"
            for inner in _inner_graphs(equation):
                inner.check()
            _require_defined(defined, equation.operands, where)
            avals = [operand.aval for operand in equation.operands]
            expected = equation.primitive.shape_rule(*avals, **dict(equation.params))
            expected = expected if equation.primitive.multiple_results else (expected,)
            for variable, aval in zip(equation.results, expected, strict=True):
                if variable in defined:
                    message = f"{where} defines a variable a second time"
                    raise ShapeError(at_user_line(message))
                _require_fit(aval, variable.aval, where)
                defined.add(variable)
        _require_defined(defined, self.outputs, "the outputs")


def _inner_graphs(equation: Equation) -> Iterator[Graph]:
    for _, value in equation.params:
        parts = value if isinstance(value, tuple) else (value,)
        yield from [part for part in parts if isinstance(part, Graph)]


def _read(environment: dict[Variable, Any], operand: Operand) -> Any:
    return operand.value if isinstance(operand, Literal) else environment[operand]


def _require_defined(defined: set[Variable], operands: Sequence[Operand], where: str) -> None:
    for operand in operands:
        if isinstance(operand, Variable) and operand not in defined:
            message = f"{where} use{'s' if where[-1] == ')' else ''} a variable that is not defined before"
            raise ShapeError(at_user_line(message))


def _type_of_input(value: Any, expected: ShapeDtype, position: int) -> ShapeDtype:
    try:
        return shape_dtype_of(value)
    except AttributeError:
        message = f"input {position} is of type {type(value).__name__} where {expected} is expected"
        raise DtypeError(at_user_line(message)) from None


def _require_kinds(equation: Equation, results: Sequence[Any]) -> None:
    """Raises DtypeError where a Python number is of another kind than the graph was made for: 2 ** -1 is a float."""
    for variable, result in zip(equation.results, results, strict=True):
        if variable.aval.weak and type(result) in PYTHON_NUMBERS and np.dtype(type(result)) != variable.aval.dtype:
            message = (
                f"[{equation.primitive.name}] gave the Python number {result!r} where the graph was made for one of "
                f"{variable.aval}: its kind depends on the values; begin with a float (2.0 ** n)"
            )
            raise DtypeError(at_user_line(message))


def _require_fit(expected: ShapeDtype, given: ShapeDtype, where: str) -> None:
    if expected.shape != given.shape:
        message = f"{where} has shape {given.shape} where {expected.shape} is expected"
        raise ShapeError(at_user_line(message))
    if expected.dtype != given.dtype or expected.weak != given.weak:
        message = f"{where} is {given} where {expected} is expected"
        raise DtypeError(at_user_line(message))


def format_graph(graph: Graph) -> str:
    """The graph as text: one equation a line, with the user's line at its end."""
    names: dict[Variable, str] = {}
    fresh = _variable_names()

    def name(operand: Operand) -> str:
        if isinstance(operand, Literal):
            return _format_literal(operand.value)
        if operand not in names:
            names[operand] = next(fresh)
        return names[operand]

    def typed(variables: Sequence[Variable]) -> str:
        return ", ".join(f"{name(variable)}: {variable.aval}" for variable in variables)

    lines = [f"graph({typed(graph.inputs)}):"]
    for equation in graph.equations:
        params = [f"{key}={_format_param(value)}" for key, value in equation.params]
        arguments = ", ".join([*map(name, equation.operands), *params])
        source = f"  # {equation.source.text}" if equation.source and equation.source.text else ""
        lines.append(f"    {typed(equation.results)} = {equation.primitive.name}({arguments}){source}")
    lines.append(f"    return {', '.join(map(name, graph.outputs)) or 'nothing'}")
    return "\n".join(lines)


def _variable_names() -> Iterator[str]:
    for length in itertools.count(1):
        for letters in itertools.product("abcdefghijklmnopqrstuvwxyz", repeat=length):
            yield "".join(letters)


def _format_literal(value: Any) -> str:
    if isinstance(value, ConcreteTensor):
        array = np.asarray(value)
        return f"{array.item()!r}:{array.dtype}" if array.ndim == 0 else f"<{shape_dtype_of(value)}>"
    return repr(value)


def _format_param(value: Any) -> str:
    if isinstance(value, Graph):
        return "{ " + format_graph(value).replace("\n", "\n    ") + " }"
    if isinstance(value, tuple) and any(isinstance(part, Graph) for part in value):
        return f"({', '.join(map(_format_param, value))})"
    return str(value) if isinstance(value, np.dtype) else repr(value)
