"""What control-flow operations share: trees of values, functions staged into graphs, loop carries and their checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

import attrs
import numpy as np

from fgrad.core.batching import BatchTracer, open_batch
from fgrad.core.bind import Tracer, bind, staging
from fgrad.core.errors import DtypeError, ShapeError, TreeError, at_user_line, with_article
from fgrad.core.graph import Graph, Literal, Variable
from fgrad.core.key import Key
from fgrad.core.primal import PrimalTracer
from fgrad.core.primitive import Primitive, register
from fgrad.core.pytree import Structure, flatten, flatten_up_to, flatten_with_path, unflatten
from fgrad.core.reuse import alternatives
from fgrad.core.shape import PYTHON_NUMBERS, ShapeDtype, result_dtype, shape_dtype_of
from fgrad.core.staging import stage, stage_closed
from fgrad.core.tensor import NUMERIC, ConcreteTensor, Tensor, adopt, to_tensor
from fgrad.ops.arguments import integer_or_none
from fgrad.ops.structure import convert, fit_tangent, unbroadcast

__all__ = [
    "NOTHING",
    "Carry",
    "Form",
    "StagedFunction",
    "active_outputs",
    "as_number",
    "aval_of",
    "avals_of",
    "batch_call",
    "concrete_value",
    "describe",
    "fit_value",
    "is_staging",
    "join_avals",
    "join_captures",
    "require_callable",
    "require_count",
    "require_integer",
    "require_predicate",
    "run_graph",
    "settle",
    "split",
    "stage_function",
    "strong",
    "strong_value",
    "take_apart",
    "value_of",
    "with_outputs",
]

T = TypeVar("T")

# The kinds of Python numbers, each of which holds those before it.
_KINDS = "bifc"

# A tuple: a union would be built anew at every call.
_VALUES = (Tensor, Key)


# Trees.


class _Leaf:
    """A leaf of a tree without values, as messages show it."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


@attrs.frozen(repr=False)
class Form:
    """A pytree without its values: its structure, and which of its leaves are random keys."""

    structure: Structure
    keys: tuple[bool, ...]

    def __repr__(self) -> str:
        return repr(self._without_values())

    def _without_values(self) -> Any:
        return unflatten(self.structure, [_Leaf("key" if is_key else "*") for is_key in self.keys])

    def build(self, leaves: Sequence[Any]) -> Any:
        """The tree of these leaves; a key may be given as its words."""
        if True in self.keys:
            pairs = zip(leaves, self.keys, strict=True)
            leaves = [Key(leaf) if is_key and type(leaf) is not Key else leaf for leaf, is_key in pairs]
        return unflatten(self.structure, leaves)

    def read(self, tree: Any, avals: Sequence[ShapeDtype]) -> list[Any] | None:
        """The leaves of a tree that has this form and these types; None for one that has not."""
        leaves, structure = flatten(tree)
        if structure != self.structure:
            return None
        return leaves if all(map(_has_type, leaves, avals, self.keys)) else None

    def paths(self) -> list[str]:
        """The path to each leaf."""
        return [path for path, _ in flatten_with_path(self._without_values())[0]]

    def type_text(self, position: int, aval: ShapeDtype) -> str:
        """The type of a leaf, for messages, which say nothing of the words that stand for a key."""
        return f"key[{','.join(map(str, aval.shape[:-1]))}]" if self.keys[position] else str(aval)

    def difference(self, other: Form, name: str) -> str:
        """Where another form parts from this one; the path starts with `name`."""
        try:
            parts = flatten_up_to(self.structure, other._without_values(), name)
        except TreeError as error:
            # The type of a leaf here is none that the user knows; the user's line is added by the caller.
            detail: str = error.args[0].replace(_Leaf.__name__, "single value")
            return detail.partition("\n")[0]
        for path, part, is_key in zip(self.paths(), parts, self.keys, strict=True):
            expected = "a random key" if is_key else "a number or an array"
            if not isinstance(part, _Leaf):
                return f"{name}{path} is {describe(part)} where {expected} is expected"
            if (part.text == "key") != is_key:
                return f"{name}{path} is {'no' if is_key else 'a'} random key where {expected} is expected"
        return ""


def _has_type(leaf: Any, aval: ShapeDtype, is_key: bool) -> bool:
    if is_key:
        return type(leaf) is Key and leaf.words.shape == aval.shape
    if isinstance(leaf, Tensor):
        return leaf.shape == aval.shape and leaf.dtype == aval.dtype and leaf.weak == aval.weak
    return aval.weak and type(leaf) in PYTHON_NUMBERS and shape_dtype_of(leaf) == aval


def take_apart(tree: Any, operation: str, name: str) -> tuple[list[Any], Form]:
    """The leaves of a tree as tensors, Python numbers and keys, and its form.

    Raises:
        DtypeError: when a leaf is something else; the message has its path, which starts with `name`.
    """
    leaves, structure = flatten(tree)
    found = []
    for position, leaf in enumerate(leaves):
        if isinstance(leaf, _VALUES) or type(leaf) in PYTHON_NUMBERS:
            found.append(leaf)
        elif isinstance(leaf, NUMERIC):
            found.append(to_tensor(leaf))
        else:
            path = flatten_with_path(tree)[0][position][0]
            message = (
                f"[{operation}] {name}{path} is {describe(leaf)}, and {operation} takes and returns pytrees of "
                f"numbers, arrays and random keys"
            )
            raise DtypeError(at_user_line(message))
    return found, Form(structure, tuple([type(leaf) is Key for leaf in found]))


def value_of(leaf: Any) -> Any:
    """What stands for a leaf in operations: the words of a key, and anything else itself."""
    return leaf.words if isinstance(leaf, Key) else leaf


# The form of a tree without leaves.
NOTHING = take_apart(None, "", "")[1]


def aval_of(leaf: Any) -> ShapeDtype:
    """The shape and dtype of what stands for a leaf."""
    return shape_dtype_of(value_of(leaf))


def avals_of(values: Sequence[Any]) -> list[ShapeDtype]:
    """The types of values, or of the operands of a graph."""
    return [value.aval if isinstance(value, Variable | Literal) else shape_dtype_of(value) for value in values]


def describe(value: Any) -> str:
    """A value in a few words, for messages."""
    if isinstance(value, Tensor | np.ndarray | np.generic | ShapeDtype):
        return str(shape_dtype_of(value))
    if isinstance(value, Key):
        return "a random key"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else with_article(type(value))


# Arguments.


def require_callable(function: Any, operation: str, name: str, signature: str) -> None:
    """Raises TypeError when something else stands where a function should."""
    if not callable(function):
        message = f"[{operation}] {name} is {describe(function)}, not a function: fg.{operation}{signature}"
        raise TypeError(at_user_line(message))


def require_predicate(value: Any, operation: str, name: str) -> Any:
    """A predicate as a Tensor or a bool.

    Raises:
        ShapeError, DtypeError: when it is not a single boolean.
    """
    if type(value) is bool:
        return value
    scalar = _require_scalar(value, operation, name, "a single boolean")
    aval = shape_dtype_of(scalar)
    if aval.dtype.kind != "b":
        message = f"[{operation}] {name} is {aval}, and it must be a boolean: compare it, for example x > 0 or x != 0"
        raise DtypeError(at_user_line(message))
    return scalar


def require_integer(value: Any, operation: str, name: str) -> Any:
    """An integer argument as a Tensor or an int.

    Raises:
        ShapeError, DtypeError: when it is not a single integer.
    """
    scalar = _require_scalar(value, operation, name, "a single integer")
    aval = shape_dtype_of(scalar)
    if aval.dtype.kind not in "iu":
        hint = "; fg.cond decides by a boolean" if aval.dtype.kind == "b" else "; convert it with astype"
        message = f"[{operation}] {name} is {aval}, and it must be an integer{hint}"
        raise DtypeError(at_user_line(message))
    return scalar


def require_count(value: Any, operation: str, name: str, least: int = 0) -> int:
    """A number of steps or slices as an int.

    Raises:
        DtypeError, ShapeError: when it is no integer, or less than the least.
        TracerConversionError: when it has no value.
    """
    count = integer_or_none(value)
    if count is None:
        message = f"[{operation}] {name} is {describe(value)}, and it must be an integer"
        raise DtypeError(at_user_line(message))
    if count < least:
        message = f"[{operation}] {name} is {count}, and it must be at least {least}"
        raise ShapeError(at_user_line(message))
    return count


def _require_scalar(value: Any, operation: str, name: str, expectation: str) -> Any:
    if not isinstance(value, NUMERIC):
        message = f"[{operation}] {name} is {describe(value)}, and it must be {expectation}"
        raise DtypeError(at_user_line(message))
    scalar = value if type(value) in PYTHON_NUMBERS else to_tensor(value)
    shape = shape_dtype_of(scalar).shape
    if shape:
        message = (
            f"[{operation}] {name} has shape {shape}, and it must be {expectation}: reduce it with fg.all or fg.any, "
            f"select elementwise with fg.where, or write the function for one example and map it with fg.vmap"
        )
        raise ShapeError(at_user_line(message))
    return scalar


def is_staging() -> bool:
    """Whether a function is being staged in this thread, so that control flow is written down with it."""
    return staging.trace is not None


def concrete_value(value: Any) -> Any:
    """The number or tensor below the tracers of grad and jvp; None where a tracer of another kind is met."""
    while isinstance(value, PrimalTracer):
        value._trace.require_open()
        value = value.primal
    return None if isinstance(value, Tracer) else value


# Python numbers and dtypes.


def join_avals(avals: Sequence[ShapeDtype]) -> ShapeDtype | None:
    """The type that values of all these types can have: Python numbers take on the dtype of the others.

    None where the shapes differ, two dtypes differ, or a Python number does not fit the dtype of the others.
    """
    first = avals[0]
    if any(aval.shape != first.shape for aval in avals):
        return None
    dtypes = {aval.dtype for aval in avals if not aval.weak}
    if len(dtypes) > 1:
        return None
    if not dtypes:
        return max(avals, key=lambda aval: _KINDS.index(aval.dtype.kind))
    joined = ShapeDtype(first.shape, dtypes.pop())
    return joined if all(result_dtype(aval, joined) == joined.dtype for aval in avals) else None


def strong(aval: ShapeDtype) -> ShapeDtype:
    """The type of an array in the place of a Python number."""
    return ShapeDtype(aval.shape, aval.dtype)


def fit_value(value: Any, aval: ShapeDtype) -> Any:
    """A value as one of a type that `join_avals` found for it."""
    given = shape_dtype_of(value)
    if given == aval:
        return value
    if not aval.weak:
        return adopt(np.asarray(value, aval.dtype)) if type(value) in PYTHON_NUMBERS else convert(value, aval.dtype)
    # In Python's own arithmetic, in which it stays a Python number.
    return value + 0j if aval.dtype.kind == "c" else value * aval.dtype.type(1).item()


def strong_value(value: Any) -> Any:
    """A value as a tensor: a Python number as an array of NumPy's dtype for it."""
    aval = shape_dtype_of(value)
    return fit_value(value, strong(aval)) if aval.weak else value


_NUMBERS = {"b": bool, "i": int, "u": int, "f": float, "c": complex}


def _number_rule(x: ShapeDtype) -> tuple[ShapeDtype]:
    if x.shape:
        message = f"an array of shape {x.shape} is no single number"
        raise ShapeError(message)
    return (ShapeDtype((), np.dtype(_NUMBERS[x.dtype.kind]), weak=True),)


# An array of shape () as a Python number. It has a tuple of results, because only such results keep being Python
# numbers in a batch (see BatchTrace).
as_number_p = register(
    Primitive(
        "as_number",
        evaluate=lambda x: (x.item(),),
        shape_rule=_number_rule,
        vjp=lambda cotangents, needed, out, x: (unbroadcast(cotangents[0], x),),
        jvp=lambda tangents, out, x: (fit_tangent(tangents[0], out[0]),),
        batch=lambda primitive, batched, x: ((x,), (True,)),
        multiple_results=True,
    )
)


def as_number(x: Any) -> Any:
    """The Python number (or what stands for one) that an array of shape () holds."""
    return bind(as_number_p, x)[0]


# Functions as graphs.


@attrs.frozen(eq=False)
class StagedFunction:
    """A function as a graph of ``(*captured, *inputs)``, and the form of the pytree that it returns."""

    graph: Graph
    captured: list[Tracer]
    form: Form


def stage_function(
    function: Callable[..., Any], avals: Sequence[ShapeDtype], operation: str, name: str
) -> StagedFunction:
    """Stages a function of single values that returns a pytree; `name` is what messages call its result."""
    forms: list[Form] = []

    def flat(*tracers: Any) -> list[Any]:
        leaves, form = take_apart(function(*tracers), operation, name)
        forms.append(form)
        return [value_of(leaf) for leaf in leaves]

    graph, captured = stage(flat, avals, operation)
    return StagedFunction(attrs.evolve(graph, captured=0), captured, forms[0])


def join_captures(functions: Sequence[StagedFunction]) -> tuple[list[Graph], list[Tracer]]:
    """The graphs of functions that take the same inputs, brought to the same captured tracers in front of them."""
    union = {id(tracer): tracer for function in functions for tracer in function.captured}
    graphs = []
    for function in functions:
        inputs = function.graph.inputs
        own = dict(zip(map(id, function.captured), inputs, strict=False))
        every = [own.get(place) or Variable(shape_dtype_of(tracer)) for place, tracer in union.items()]
        graphs.append(attrs.evolve(function.graph, inputs=(*every, *inputs[len(own) :])))
    return graphs, list(union.values())


def with_outputs(graph: Graph, avals: Sequence[ShapeDtype], operation: str) -> Graph:
    """The graph with its outputs converted to these types."""
    if [output.aval for output in graph.outputs] == list(avals):
        return graph

    def converted(*inputs: Any) -> list[Any]:
        return [fit_value(out, aval) for out, aval in zip(graph.evaluate(*inputs), avals, strict=True)]

    return stage_closed(converted, [variable.aval for variable in graph.inputs], operation)


def split(operands: Sequence[T], first: int, second: int) -> tuple[Sequence[T], Sequence[T], Sequence[T]]:
    """The operands of a loop's primitive, or marks of them, in their three groups: so many, so many, and the rest."""
    middle = first + second
    return operands[:first], operands[first:middle], operands[middle:]


def run_graph(graph: Graph, operands: Sequence[Any]) -> list[Any]:
    """Evaluates a graph inside of a primitive's evaluation: on arrays and Python numbers, giving the same."""
    values = [x if type(x) in PYTHON_NUMBERS else adopt(x) for x in operands]
    return [out._array if type(out) is ConcreteTensor else out for out in graph.evaluate(*values)]


def batch_call(
    function: Callable[..., Sequence[Any]],
    batched: Sequence[bool],
    size: int,
    operands: Sequence[Any],
    weak: Sequence[bool],
) -> tuple[list[Any], list[bool]]:
    """Calls a function of one example's values for `size` of them at once; gives values, and which are batched.

    Operands that `batched` marks have the axis of the examples in front; those that `weak` marks are Python numbers.
    """
    trace = open_batch(size)
    try:
        tracers = [
            trace.new_input(x, weak=number) if own else x
            for x, own, number in zip(operands, batched, weak, strict=True)
        ]
        outputs = function(*tracers)
    finally:
        trace.closed = True
    own = [isinstance(out, BatchTracer) and out._trace is trace for out in outputs]
    return [out.batch if inside else out for out, inside in zip(outputs, own, strict=True)], own


def active_outputs(graph: Graph, marks: Sequence[bool]) -> list[bool]:
    """Which outputs of a graph may have a derivative by the inputs that are marked."""
    active = {variable for variable, marked in zip(graph.inputs, marks, strict=True) if marked}
    for equation in graph.equations:
        if not equation.primitive.locally_constant and not active.isdisjoint(equation.operands):
            active.update(result for result in equation.results if result.aval.dtype.kind in "fc")
    return [operand in active for operand in graph.outputs]


# Loop carries.


@attrs.frozen(eq=False)
class Carry:
    """What a loop carries from step to step: the values that it starts with, and their types, which must stay.

    `skip` is the piece of path that stands before what the user knows of the tree.
    """

    operation: str
    form: Form
    leaves: list[Any]
    avals: list[ShapeDtype]
    skip: str = ""

    @classmethod
    def begin(cls, operation: str, init: Any, name: str, skip: str = "") -> Carry:
        """The carry of a loop that starts with this tree, which messages call `name`."""
        leaves, form = take_apart(init, operation, name)
        return cls(operation, form, leaves, [aval_of(leaf) for leaf in leaves], skip)

    @property
    def values(self) -> list[Any]:
        """What stands for each leaf."""
        return [value_of(leaf) for leaf in self.leaves]

    def tree(self) -> Any:
        """The values as the body takes them."""
        return self.form.build(self.leaves)

    def with_leaves(self, leaves: list[Any]) -> Carry:
        """The same types with other values."""
        return Carry(self.operation, self.form, leaves, self.avals, self.skip)

    def widened(self, avals: list[ShapeDtype]) -> Carry:
        """The same values, with Python numbers among them converted to these types."""
        if avals == self.avals:
            return self
        triples = zip(self.leaves, self.avals, avals, strict=True)
        leaves = [leaf if aval == own else fit_value(leaf, aval) for leaf, own, aval in triples]
        return Carry(self.operation, self.form, leaves, avals, self.skip)

    def after(self, out: Any) -> Carry:
        """The carry of the next step: what the body returned, in these types, or wider ones for Python numbers.

        Raises:
            TreeError, ShapeError, DtypeError: when it is no such carry.
        """
        found = self.form.read(out, self.avals)
        if found is not None:
            return self.with_leaves(found)
        leaves = self._leaves_of(out)
        given = [aval_of(leaf) for leaf in leaves]
        joined = [self._join(position, aval) for position, aval in enumerate(given)]
        fitted = [
            leaf if aval == own else fit_value(leaf, aval)
            for leaf, own, aval in zip(leaves, given, joined, strict=True)
        ]
        return Carry(self.operation, self.form, fitted, joined, self.skip)

    def _leaves_of(self, out: Any) -> list[Any]:
        leaves, form = take_apart(out, self.operation, "the body's carry")
        if form != self.form:
            detail = self.form.difference(form, "carry")
            message = f"{self._rule()}: {detail.replace('carry' + self.skip, 'carry', 1)}"
            raise TreeError(at_user_line(message))
        return leaves

    def _rule(self) -> str:
        return f"[{self.operation}] the carry must come out of the body as it went in, in structure, shapes and dtypes"

    def _join(self, position: int, aval: ShapeDtype) -> ShapeDtype:
        joined = join_avals([self.avals[position], aval])
        if joined is None:
            self._refuse(position, aval)
        return joined

    def _refuse(self, position: int, aval: ShapeDtype) -> NoReturn:
        own = self.avals[position]
        path = self.form.paths()[position].removeprefix(self.skip)
        before, after = self.form.type_text(position, own), self.form.type_text(position, aval)
        message = f"{self._rule()}: carry{path} goes in as {before} and comes out as {after}"
        if own.shape != aval.shape:
            raise ShapeError(at_user_line(message))
        hint = (
            f"; to keep {own.dtype}, convert in the body what takes part in it, or the result, with "
            f".astype({own.dtype.name!r}); otherwise start the loop with {aval.dtype}"
        )
        raise DtypeError(at_user_line(message + hint))


def settle(carry: Carry, step: Callable[[Carry], tuple[list[ShapeDtype], T]]) -> tuple[Carry, T]:
    """Takes the first step, with a carry whose Python numbers have become what the body makes of them.

    ``step(carry)`` runs the body and gives the types of the carry after it, beside its result. It is taken again with
    a carry of those types until they stay, and gives that carry and the last result. What these runs draw from keys
    counts once.
    """
    with alternatives() as one_of:
        while True:
            with one_of():
                avals, result = step(carry)
            if avals == carry.avals:
                return carry, result
            carry = carry.widened(avals)
