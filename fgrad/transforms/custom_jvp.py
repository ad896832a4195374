"""custom_jvp: a function with a derivative rule of its own, by its tangents, which serves both modes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar, overload

import attrs
import numpy as np

from fgrad.core.bind import is_weak
from fgrad.core.errors import ImmutableError, MissingRuleError, ShapeError, TreeError, at_user_line
from fgrad.core.graph import Graph
from fgrad.core.primal import is_inexact_value, zeros_for
from fgrad.core.primitive import register
from fgrad.core.pytree import tree_map, unflatten
from fgrad.core.shape import shape_dtype_of
from fgrad.core.tensor import ConcreteTensor
from fgrad.ops.arithmetic import add
from fgrad.ops.staged import Form
from fgrad.transforms.calling import describe, leaf_paths, require_function
from fgrad.transforms.custom_calls import (
    CustomCall,
    Examples,
    custom_primitive,
    differentiated_leaves,
    given,
    placed,
    run_all_batched,
    run_closed,
)
from fgrad.transforms.custom_functions import CustomFunction, align, as_weak_as, fit_leaf
from fgrad.transforms.linear_tape import open_linear_tape
from fgrad.transforms.pullback import Pullback
from fgrad.transforms.static_arguments import Static, Template, static_arguments

__all__ = ["CustomJvp", "custom_jvp"]

P = ParamSpec("P")
R = TypeVar("R")
Rule = TypeVar("Rule", bound=Callable[..., Any])


@attrs.frozen(eq=False, repr=False)
class JvpCall(CustomCall):
    """A call with its rule: of values and tangents, None for what has none, to results, their form and tangents."""

    rule: Callable[[list[Any], list[Any]], tuple[list[Any], Form, list[Any]]]

    def mapped(self, examples: Examples) -> JvpCall:
        """The call for all examples at once."""

        def rule(primals: list[Any], tangents: list[Any]) -> tuple[list[Any], Form, list[Any]]:
            ends: list[Any] = []

            def one(*tracers: Any) -> list[Any]:
                values, form, found = self.rule(*_split(tracers, tangents))
                ends.extend([len(values), form, found])
                return [*values, *given(found)]

            batched = [own for own, tangent in zip(examples.batched, tangents, strict=True) if tangent is not None]
            both = examples.followed_by(batched)
            results = run_all_batched(both, one, [*primals, *given(tangents)])
            count, form, found = ends
            return results[:count], form, placed(found, results[count:])

        return attrs.evolve(self, function=self.over_examples(examples), rule=rule)


def _split(values: Sequence[Any], pattern: list[Any]) -> tuple[list[Any], list[Any]]:
    """Values and the tangents behind them, in the places where the pattern has some."""
    count = len(pattern)
    return list(values[:count]), placed(pattern, values[count:])


def _push(call: JvpCall, graph: Graph | None, primals: list[Any], tangents: list[Any]) -> tuple[list[Any], list[Any]]:
    """The results and tangents that the rule gives; tangents that are zero are written out for it."""
    directions = [
        zeros_for(primal) if tangent is None and is_inexact_value(primal) else tangent
        for primal, tangent in zip(primals, tangents, strict=True)
    ]
    if graph is None:
        values, form, found = call.rule(primals, directions)
        call.note(form)
        return values, found
    pattern: list[Any] = []

    def push(*tracers: Any) -> list[Any]:
        values, form, tangents = call.rule(*_split(tracers, directions))
        call.note(form)
        call.require_same(graph, values)
        pattern.extend(tangents)
        return [*values, *given(tangents)]

    results = run_closed(call, push, [*primals, *given(directions)])
    count = len(graph.outputs)
    return results[:count], placed(pattern, results[count:])


def _dual(
    operands: list[Any], tangents: list[Any], *, graph: Graph | None, call: JvpCall
) -> tuple[tuple[Any, ...], list[Any]]:
    primals = differentiated_leaves(call, graph, operands, [tangent is not None for tangent in tangents])
    values, found = _push(call, graph, primals, tangents[-call.count :] if call.count else [])
    call.require_lower([*values, *found])
    return tuple(values), found


def _forward(needed: Any, *operands: Any, graph: Graph | None, call: JvpCall) -> tuple[tuple[Any, ...], Pullback]:
    # The rule runs once, at zero tangents that are on a tape of their own: the way back over that is the transpose.
    primals = differentiated_leaves(call, graph, operands, [bool(slot) for slot in needed])
    wanted = list(needed)[len(operands) - len(primals) :]
    tape = open_linear_tape()
    tangents = [
        tape.new_input(zeros_for(primal)) if slot else None for primal, slot in zip(primals, wanted, strict=True)
    ]
    try:
        values, found = _push(call, graph, primals, tangents)
    finally:
        tape.closed = True
    if any(map(tape.owns, values)):
        message = (
            f"[custom_jvp] the rule of {call.owner.name} returned a result that depends on the tangents: it must "
            f"return the pair (out, tangent_out), in this order"
        )
        raise TreeError(at_user_line(message))
    outputs = [out for out, value in zip(found, values, strict=True) if is_inexact_value(value)]
    lowered = [tape.lower(out) for out in outputs]
    call.require_lower([*values, *lowered])
    _require_zeros(lowered, call)
    return tuple(values), tape.pullback(given(tangents), outputs)


def _require_zeros(tangents: list[Any], call: JvpCall) -> None:
    """Raises ShapeError when a rule that was run at zero tangents gave others: it is not linear, and has no transpose.

    NaN is let through: at a pole a linear rule multiplies zero by infinity.
    """
    for tangent in tangents:
        if type(tangent) is ConcreteTensor and (np.abs(tangent._array) > 0).any():
            message = (
                f"[custom_jvp] the rule of {call.owner.name} is not linear in its tangents: where they are zero, its "
                f"tangent_out is not. Every term of it has to be a product with a tangent"
            )
            raise ShapeError(at_user_line(message))


def _pull(
    cotangents: list[Any],
    needed: Any,
    out: tuple[Any, ...],
    *operands: Any,
    graph: Graph | None,
    call: JvpCall,
    residuals: Pullback,
) -> tuple[Any, ...]:
    inexact = [cotangent for cotangent, value in zip(cotangents, out, strict=True) if is_inexact_value(value)]
    found = iter(residuals.pull(inexact))
    captured = len(operands) - call.count
    return tuple([next(found) if slot and place >= captured else None for place, slot in enumerate(needed)])


custom_jvp_p = register(custom_primitive("custom_jvp", vjp=_pull, forward=_forward, dual=_dual))


@attrs.frozen(eq=False, repr=False, slots=False)
class CustomJvp(CustomFunction[P, R]):
    """A function with a forward-mode rule of its own, which `custom_jvp` makes; it is called like the function."""

    _rule: Callable[..., Any] | None = attrs.field(default=None, init=False)

    def defjvp(self, rule: Rule) -> Rule:
        """Says what the derivative is, once and for all; returns the rule, so that it serves as a decorator.

        Args:
            rule: ``rule(*static, primals, tangents) -> (out, tangent_out)``: `primals` and `tangents` are tuples with
                one entry for each argument that is not static, and `tangent_out` is like `out`. It must be linear in
                the tangents.

        Raises:
            ImmutableError: when there is a rule already.
        """
        require_function(rule, "custom_jvp(f).defjvp", "")
        if self._rule is not None:
            message = f"{self._name} has its rule already: define it once, or wrap the function anew with fg.custom_jvp"
            raise ImmutableError(at_user_line(message))
        object.__setattr__(self, "_rule", rule)
        return rule

    def defjvps(self, *rules: Callable[..., Any] | None) -> None:
        """Says what the derivative is, by one rule for each argument; their contributions are added up.

        Args:
            *rules: ``rule(tangent, out, *primals)``: the tangent of the result along the tangent of one argument
                alone. None, and a rule that returns None, say that it is zero.

        Raises:
            TypeError: when the function has static arguments, or, at a call, another number of arguments.
            ImmutableError: when there is a rule already.
        """
        if self._static.entries:
            message = f"{self._name} has static arguments, which defjvps has no place for; use defjvp"
            raise TypeError(at_user_line(message))

        def rule(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
            if len(primals) != len(rules):
                message = (
                    f"{self._name} was given {len(rules)} rules by defjvps and called with {len(primals)} arguments: "
                    f"there is one for each, None for a derivative of zero"
                )
                raise TypeError(at_user_line(message))
            call: Any = self
            out = call(*primals)
            found = [
                one(tangent, out, *primals) for one, tangent in zip(rules, tangents, strict=True) if one is not None
            ]
            terms = [term for term in found if term is not None]
            return out, functools.reduce(_add_trees, terms) if terms else None

        self.defjvp(rule)

    def _users(self) -> list[Callable[..., Any]]:
        return [self._function] if self._rule is None else [self._function, self._rule]

    def _call(self, template: Template, form: Form) -> JvpCall:
        owner = self._owner()

        def function(values: list[Any]) -> tuple[list[Any], Form]:
            args, kwargs = template.fill(form.build(values))
            return self._results(owner.run(self._function, *args, **kwargs))

        def rule(primals: list[Any], tangents: list[Any]) -> tuple[list[Any], Form, list[Any]]:
            if self._rule is None:
                raise MissingRuleError(at_user_line(_EXPLAIN_MISSING.format(name=self._name)))
            directions = unflatten(form.structure, as_weak_as(tangents, list(map(is_weak, primals))))
            returned = owner.run(self._rule, *template.static, form.build(primals), directions)
            fitted: tuple[list[Any], Form, list[Any]] = owner.run(self._fit, returned)
            return fitted

        return JvpCall(owner, function, len(form.keys), rule)

    def _fit(self, returned: Any) -> tuple[list[Any], Form, list[Any]]:
        """The results and tangents that the rule returned, those of floating point all written out."""
        if not isinstance(returned, tuple | list) or len(returned) != 2:
            message = (
                f"[custom_jvp] the rule of {self._name} must return a pair (out, tangent_out); it returned "
                f"{describe(returned)}"
            )
            raise TreeError(at_user_line(message))
        values, form = self._results(returned[0])
        found = align(form.structure, returned[1], f"[custom_jvp] in the rule of {self._name}, tangent_out")
        return (
            values,
            form,
            [self._fit_tangent(*pair, place, form) for place, pair in enumerate(zip(found, values, strict=True))],
        )

    def _fit_tangent(self, leaf: Any, value: Any, place: int, form: Form) -> Any:
        def where() -> str:
            return f"[custom_jvp] in the rule of {self._name}, tangent_out{leaf_paths(form.structure)[place]}"

        fitted = fit_leaf(leaf, shape_dtype_of(value), where, "out there")
        return zeros_for(value) if fitted is None and is_inexact_value(value) else fitted


_EXPLAIN_MISSING = (
    "{name} is differentiated and has no rule yet: define one with @{name}.defjvp, as rule(primals, tangents) -> (out, "
    "tangent_out)"
)


def _add_trees(first: Any, second: Any) -> Any:
    return tree_map(add, first, second)


@overload
def custom_jvp(function: Callable[P, R], *, static: Static = ()) -> CustomJvp[P, R]: ...
@overload
def custom_jvp(*, static: Static = ()) -> Callable[[Callable[P, R]], CustomJvp[P, R]]: ...
def custom_jvp(function: Callable[..., Any] | None = None, *, static: Static = ()) -> Any:
    """A function whose derivative is what you say it is, in every transform.

    The rule gives the derivative along a direction: for y = f(x) and a tangent v of x it returns y and J v. It is
    linear in v, so reverse mode turns it around (the transpose of a linear map is its pullback at 0, no second rule is
    needed), and since it is written in differentiable operations, derivatives of any order follow.

    Decorate a function, then define its rule::

        @fg.custom_jvp
        def f(x, y): ...

        @f.defjvp
        def rule(primals, tangents):
            (x, y), (dx, dy) = primals, tangents
            return f(x, y), ...                      # out, and its derivative along (dx, dy)

    Args:
        function: of numbers, arrays, random keys and pytrees of them; it returns such. Without it, the result is a
            decorator: ``@fg.custom_jvp(static="axis")``.
        static: arguments that are passed on as they are (functions, strings, axes), by name or position. The rule gets
            them first, in the order in which they stand here: ``rule(*static, primals, tangents)``.

    Returns:
        The function, with the methods `defjvp`, which takes the rule, and `defjvps`, which takes one for each argument.
        Tangents have the shapes and dtypes of what they belong to (that of a Python number is one), and zeros are
        written out; those of integers, booleans and keys are None, and a rule may return None for a zero.

    Raises:
        TypeError: `static` names no argument of the function.
        DtypeError: from a call, when an argument that is not static holds something else than numbers and keys; when
            it is differentiated and a tangent has not the dtype of its result.
        ShapeError, TreeError: when the rule returns a tangent that is not like its result, or no pair.
        ShapeError: in reverse mode, when the rule returns another tangent than zero for tangents that are zero.
        NotDifferentiableError: when the function closes over a value that is being differentiated: the rule cannot know
            that derivative, so the value must be an argument.
        MissingRuleError: when it is differentiated before a rule is defined.

    >>> import fgrad as fg
    >>> @fg.custom_jvp
    ... def log1pexp(x):
    ...     return fg.log(1.0 + fg.exp(x))
    >>> @log1pexp.defjvp
    ... def rule(primals, tangents):
    ...     (x,), (v,) = primals, tangents
    ...     return log1pexp(x), v / (1.0 + fg.exp(-x))
    >>> fg.grad(log1pexp)(0.0), fg.grad(fg.grad(log1pexp))(0.0)
    (Tensor(0.5, dtype=float64), Tensor(0.25, dtype=float64))
    """
    if function is None:
        return functools.partial(custom_jvp, static=static)
    require_function(function, "custom_jvp")
    return CustomJvp(function, static_arguments(function, static, "custom_jvp"), custom_jvp_p)
