"""find_nan: the operation at which a function, or its gradient, stops being finite."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec

import attrs
import numpy as np

from fgrad.core.bind import Tracer, next_level
from fgrad.core.errors import SourceLine, TreeError, at_user_line, user_line
from fgrad.core.primal import is_inexact_value
from fgrad.core.primitive import Primitive
from fgrad.core.pytree import flatten, flatten_with_path, unflatten
from fgrad.core.shape import PYTHON_NUMBERS
from fgrad.core.tape import Entry, TapeTrace, TapeTracer, walk_back
from fgrad.core.tensor import NUMERIC, ConcreteTensor, adopt, to_tensor
from fgrad.transforms.calling import describe, parameter_name, require_function, traceable
from fgrad.transforms.nan_report import ArraySummary, Kind, NanOperand, NanReport, hint_for, summarise

__all__ = ["find_nan"]

P = ParamSpec("P")


def find_nan(
    function: Callable[P, Any], *, has_aux: bool = False, infinities: bool = True
) -> Callable[P, NanReport | None]:
    """Looks for NaN and infinities in a function and its gradient: a function of the same arguments.

    It runs the function and its backward pass, from a cotangent of ones, by every floating-point leaf of every
    argument. It names the first operation from which something that is not finite reaches the function's result. If
    that is finite, it names the first operation of the backward pass from which something reaches the gradient; if
    that is finite too, the first operation that was not finite on the way, and says that it was harmless.

    What happens inside a transform, such as `vmap`, is seen as the operations on whole batches that it consists of; an
    operation that holds a whole function, such as `checkpoint`, counts as one. NumPy's floating-point warnings are
    silent meanwhile.

    Args:
        function: returns a pytree; the leaves of floating point are differentiated.
        has_aux: the function returns ``(out, aux)``, and only `out` is differentiated.
        infinities: whether infinities are looked for; otherwise NaN alone.

    Returns:
        A function of the same arguments, which returns None when everything is finite, and a `NanReport` otherwise. An
        exception of the function is raised, unless something was not finite before it: then the report tells of both.

    Raises:
        TracerConversionError: it is used inside `vmap` or a function that is being staged, where there are no values.

    >>> import fgrad as fg
    >>> def total(x):
    ...     return fg.sum(fg.sqrt(x))
    >>> fg.find_nan(total)(fg.asarray([0.0]))  # doctest: +ELLIPSIS
    sqrt passes on a cotangent that is not finite
      at ...: return fg.sum(fg.sqrt(x))
      operand 0 (argument x): float64[1], 0; it gets the cotangent float64[1], infinite
      result: float64[1], 0; its cotangent is float64[1], 1
      hint: its derivative 1 / (2 sqrt(x)) is infinite at 0: add a small number, fg.sqrt(x + 1e-12), or ...
    >>> fg.find_nan(total)(fg.asarray([4.0])) is None
    True
    """
    require_function(function, "find_nan")

    @functools.wraps(function)
    def find(*args: P.args, **kwargs: P.kwargs) -> NanReport | None:
        leaves, structure = flatten((args, kwargs))
        search = _Search(WatchingTape(next_level()), infinities)
        traced = [search.enter(leaf) for leaf in leaves]
        search.names.update(zip(search.inputs, _names(function, args, kwargs, traced), strict=True))
        error: Exception | None = None
        outputs: list[Any] = []
        with np.errstate(all="ignore"):
            try:
                positional, named = unflatten(structure, traced)
                outputs = _outputs(function(*positional, **named), has_aux=has_aux)
            except Exception as raised:  # noqa: BLE001 - whatever it is may follow from what is looked for
                error = raised
            finally:
                search.tape.closed = True
            report = search.report(outputs, error)
        try:
            if report is None and error is not None:
                raise error
        finally:
            # Its traceback leads to this frame: a cycle, which would keep the values of every caller alive.
            del error
        return report

    return find


def _names(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], traced: list[Any]) -> list[str]:
    paths = [
        parameter_name(function, position) + path
        for position, argument in enumerate(args)
        for path, _ in flatten_with_path(argument)[0]
    ]
    paths += [key + path for key in sorted(kwargs) for path, _ in flatten_with_path(kwargs[key])[0]]
    return [path for path, leaf in zip(paths, traced, strict=True) if isinstance(leaf, TapeTracer)]


def _outputs(out: Any, *, has_aux: bool) -> list[Any]:
    if has_aux:
        if not isinstance(out, tuple) or len(out) != 2:
            message = f"with has_aux=True the function must return a pair (out, aux); it returned {describe(out)}"
            raise TreeError(at_user_line(message))
        out = out[0]
    return [leaf for leaf in flatten(out)[0] if isinstance(leaf, NUMERIC)]


@attrs.frozen(eq=False)
class _Step:
    """One operation that was carried out: the operands as it got them, and its results."""

    primitive: Primitive
    operands: tuple[Any, ...]
    results: tuple[Any, ...]
    slot: int
    source: SourceLine | None


@attrs.define(eq=False)
class WatchingTape(TapeTrace):
    """A tape that remembers the user's line of every operation, those that carry no gradient included."""

    steps: list[_Step] = attrs.field(factory=list)

    @property
    def transform(self) -> str:
        """The name of the transform, for messages."""
        return "find_nan"

    def process(self, primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Records the operation as a tape does, and with its line."""
        slot = len(self.entries)
        # What the caller writes into its arrays later must not change what is reported.
        operands = tuple([x if isinstance(x, Tracer) or type(x) in PYTHON_NUMBERS else to_tensor(x) for x in args])
        out = TapeTrace.process(self, primitive, operands, params)
        results = tuple(out) if primitive.multiple_results else (out,)
        recorded = slot if len(self.entries) > slot else 0
        self.steps.append(_Step(primitive, operands, results, recorded, user_line()))
        return out

    def process_unary(self, primitive: Primitive, x: Any) -> Any:
        """`process` for one argument and no params."""
        return self.process(primitive, (x,), {})

    def process_binary(self, primitive: Primitive, x: Any, y: Any) -> Any:
        """`process` for two arguments and no params."""
        return self.process(primitive, (x, y), {})


@attrs.frozen(eq=False)
class _Passage:
    """What the rule of an operation on the tape was given, and what it made of it."""

    cotangent: Any
    contributions: tuple[Any, ...]


@attrs.frozen(eq=False)
class _Search:
    """One call of find_nan: the tape, the inputs on it, and what counts as finite."""

    tape: WatchingTape
    infinities: bool
    inputs: list[int] = attrs.field(factory=list)
    names: dict[int, str] = attrs.field(factory=dict)

    def enter(self, leaf: Any) -> Any:
        """The leaf of an argument as an input of the tape, or as it is when it has no derivative."""
        primal = traceable(leaf)
        if primal is None or not is_inexact_value(primal):
            return leaf
        tracer = self.tape.new_input(primal)
        self.inputs.append(tracer.slot)
        return tracer

    def is_finite(self, value: Any) -> bool:
        array = _array(value)
        if array.dtype.kind not in "fc":
            return True
        return not np.isnan(array).any() and not (self.infinities and np.isinf(array).any())

    def report(self, outputs: list[Any], error: Exception | None) -> NanReport | None:
        """The report on everything, in the order that `find_nan` promises."""
        text = None if error is None else f"{type(error).__name__}: {error}".splitlines()[0]
        bad_steps = [step for step in self.tape.steps if not all(map(self.is_finite, step.results))]
        bad_outputs = [value for value in outputs if not self.is_finite(value)]
        if bad_outputs:
            if not bad_steps:
                return self._returned(bad_outputs[0])
            return self._of_value(self._value_origin(bad_outputs, bad_steps), text, harmless=False)
        if error is not None:
            return self._of_value(bad_steps[0], text, harmless=False) if bad_steps else None
        passages, gradient = self._walk(outputs)
        bad_inputs = [slot for slot in self.inputs if gradient[slot] is not None and not self.is_finite(gradient[slot])]
        if bad_inputs:
            start = self._cotangent_origin(bad_inputs, passages)
            if start is None:
                return self._too_large_a_sum(bad_inputs[0], gradient[bad_inputs[0]])
            return self._of_cotangent(start, passages[start], harmless=False)
        if bad_steps:
            return self._of_value(bad_steps[0], text, harmless=True)
        return self._of_cotangent(max(passages), passages[max(passages)], harmless=True) if passages else None

    # Values.

    def _value_origin(self, outputs: list[Any], bad_steps: list[_Step]) -> _Step:
        """The first operation from which what is not finite passes on, from operand to result, up to an output.

        Where none is found, because it passed through something that is not on the tape, the first of all.
        """
        makers = {_identity(result): step for step in bad_steps for result in step.results}
        makers.pop(None, None)
        waiting = [makers[_identity(value)] for value in outputs if _identity(value) in makers]
        reached: dict[int, _Step] = {}
        while waiting:
            step = waiting.pop()
            if id(step) not in reached:
                reached[id(step)] = step
                waiting.extend([makers[_identity(x)] for x in step.operands if _identity(x) in makers])
        return next((step for step in bad_steps if id(step) in reached), bad_steps[0])

    def _of_value(self, step: _Step, error: str | None, *, harmless: bool) -> NanReport:
        result = next(result for result in step.results if not self.is_finite(result))
        operands = [NanOperand(self._origin(operand), summarise(_array(operand))) for operand in step.operands]
        came_in = [self._origin(operand) for operand in step.operands if not self.is_finite(operand)]
        return _make("value", step, operands, summarise(_array(result)), tuple(came_in), harmless, error)

    def _returned(self, value: Any) -> NanReport:
        hint = "the function returns it as it came in; no operation on the arguments made it"
        origin = self._origin(value)
        summary = summarise(_array(value))
        return NanReport("output", "value", None, (), summary, None, (origin,), False, None, hint)

    def _origin(self, value: Any) -> str:
        if isinstance(value, TapeTracer) and value._trace is self.tape and value.slot in self.names:
            return f"argument {self.names[value.slot]}"
        sought = _identity(value)
        if sought is not None:
            for step in self.tape.steps:
                if any([_identity(result) == sought for result in step.results]):
                    return f"result of {step.primitive.name}"
        return "constant"

    # Cotangents.

    def _walk(self, outputs: list[Any]) -> tuple[dict[int, _Passage], list[Any]]:
        """The passages at which something was not finite, by slot, and the cotangents of the inputs, at their slots."""
        entries = self.tape.entries
        passages: dict[int, _Passage] = {}
        cotangents: list[Any] = [None] * len(entries)
        for value in outputs:
            if isinstance(value, TapeTracer) and value._trace is self.tape:
                ones = adopt(np.ones(value.shape, value.dtype))
                before = cotangents[value.slot]
                cotangents[value.slot] = ones if before is None else before + ones
        watched = [self._watched(slot, entry, passages) for slot, entry in enumerate(entries)]
        walk_back(watched, cotangents, free=False)
        return passages, cotangents

    def _watched(self, slot: int, entry: Entry | None, passages: dict[int, _Passage]) -> Entry | None:
        """The entry with a rule that notes what is not finite."""
        if entry is None or entry[0] is None:
            return entry
        rule = entry[0].require_vjp()

        def noting(cotangent: Any, needed: Any, *rest: Any, **params: Any) -> Any:
            contributions = rule(cotangent, needed, *rest, **params)
            wanted = [c for c, wants in zip(contributions, needed, strict=True) if wants and c is not None]
            if not all(map(self.is_finite, [*_parts(cotangent), *wanted])):
                passages[slot] = _Passage(cotangent, tuple(contributions))
            return contributions

        return (attrs.evolve(entry[0], vjp=noting), *entry[1:])

    def _cotangent_origin(self, bad_inputs: list[int], passages: dict[int, _Passage]) -> int | None:
        """The slot of the first operation of the backward pass from which what is not finite comes to these inputs."""
        frontier, reached = set(bad_inputs), set()
        # Passages are in the order of the backward pass, so the last one comes first here.
        for slot in reversed(passages):
            entry, passage = self.tape.entries[slot], passages[slot]
            assert entry is not None, slot
            given = zip(entry[1], passage.contributions, strict=True)
            if any([to in frontier and c is not None and not self.is_finite(c) for to, c in given]):
                reached.add(slot)
                if not all(map(self.is_finite, _parts(passage.cotangent))):
                    frontier.update(range(slot, slot + 1 + (len(entry[3]) if entry[0].multiple_results else 0)))
        return max(reached, default=None)

    def _of_cotangent(self, slot: int, passage: _Passage, *, harmless: bool) -> NanReport:
        step = next(step for step in self.tape.steps if step.slot == slot)
        operands = [
            NanOperand(
                self._origin(operand),
                summarise(_array(operand)),
                None if contribution is None or not needed else summarise(_array(contribution)),
            )
            for operand, contribution, needed in zip(
                step.operands, passage.contributions, _needed(self.tape.entries[slot]), strict=True
            )
        ]
        came_in = tuple([operand.origin for operand in operands if not self._counts_as_finite(operand.values)])
        part = next(i for i, c in enumerate(_all_parts(passage.cotangent)) if c is not None)
        result = summarise(_array(step.results[part]))
        cotangent = summarise(_array(_all_parts(passage.cotangent)[part]))
        return _make("cotangent", step, operands, result, came_in, harmless, None, cotangent)

    def _counts_as_finite(self, values: ArraySummary) -> bool:
        return not values.nans and not (self.infinities and values.infinities)

    def _too_large_a_sum(self, slot: int, gradient: Any) -> NanReport:
        hint = "each contribution to this gradient is finite, and their sum is not"
        operand = f"argument {self.names[slot]}"
        summary = summarise(_array(gradient))
        return NanReport("argument", "cotangent", None, (), summary, summary, (operand,), False, None, hint)


def _make(
    kind: Kind,
    step: _Step,
    operands: list[NanOperand],
    result: ArraySummary,
    came_in: tuple[str, ...],
    harmless: bool,
    error: str | None,
    cotangent: ArraySummary | None = None,
) -> NanReport:
    name = step.primitive.name
    hint = hint_for(name, kind, tuple([operand.values for operand in operands]), result, came_in)
    return NanReport(name, kind, step.source, tuple(operands), result, cotangent, came_in, harmless, error, hint)


def _needed(entry: Entry | None) -> Sequence[Any]:
    assert entry is not None
    needed: Sequence[Any] = entry[1]
    return needed


def _all_parts(cotangent: Any) -> list[Any]:
    return cotangent if isinstance(cotangent, list) else [cotangent]


def _parts(cotangent: Any) -> list[Any]:
    return [part for part in _all_parts(cotangent) if part is not None]


def _identity(value: Any) -> Any:
    """What is equal for the same value of the computation; None for a Python number, which tells no origin."""
    if isinstance(value, TapeTracer):  # made anew for each use of a place of the tape
        return id(value._trace), value.slot
    return None if type(value) in PYTHON_NUMBERS else id(value)


def _array(value: Any) -> Any:
    if isinstance(value, TapeTracer):
        return _array(value.primal)
    if type(value) is ConcreteTensor:
        return value._array
    if isinstance(value, Tracer):
        return np.asarray(value._read("fg.find_nan", drops_gradient=False))
    return value if isinstance(value, np.ndarray) else np.asarray(value)
