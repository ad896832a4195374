"""custom_vjp: a function with a backward pass of its own, from cotangents of its result to those of its arguments."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, ParamSpec, TypeVar, overload

import attrs
import numpy as np

from fgrad.core.bind import is_weak
from fgrad.core.errors import ImmutableError, MissingRuleError, NotDifferentiableError, TreeError, at_user_line
from fgrad.core.graph import Graph
from fgrad.core.key import Key
from fgrad.core.primal import is_inexact_value, zeros_for
from fgrad.core.primitive import register
from fgrad.core.pytree import flatten, unflatten
from fgrad.core.shape import ShapeDtype, shape_dtype_of
from fgrad.core.tensor import Tensor, to_tensor
from fgrad.ops.staged import Form, value_of
from fgrad.ops.structure import reduce_sum
from fgrad.transforms.calling import describe, require_function
from fgrad.transforms.custom_calls import (
    CustomCall,
    Examples,
    custom_primitive,
    differentiated_leaves,
    given,
    placed,
    run_all_batched,
    run_closed,
    run_examples,
    spread,
)
from fgrad.transforms.custom_functions import CustomFunction, align, as_weak_as, fit_leaf
from fgrad.transforms.static_arguments import Static, Template, static_arguments

__all__ = ["CustomVjp", "custom_vjp"]

P = ParamSpec("P")
R = TypeVar("R")


@attrs.frozen(eq=False)
class Plan:
    """How residuals are put together of their values, and what they belong to.

    `form` is that of the results, `weak` says which of them are Python numbers, and `batched` which of the values are
    batched, for each vmap around the call.
    """

    rebuild: Callable[[Sequence[Any]], Any]
    form: Form
    weak: Sequence[bool]
    batched: tuple[tuple[bool, ...], ...] = ()


@attrs.frozen(eq=False, repr=False)
class Residuals:
    """What a forward pass keeps: arrays and the words of keys, which are leaves, and the rest, which is structure."""

    values: list[Any]
    plan: Plan = attrs.field(metadata={"static": True})

    def __repr__(self) -> str:
        return f"<{len(self.values)} arrays>"


def _pack(residuals: Any, form: Form, weak: Sequence[bool]) -> Residuals:
    leaves, structure = flatten(residuals)
    places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, _ARRAYS)]
    keys = {place for place in places if isinstance(leaves[place], Key)}
    values = [to_tensor(value_of(leaves[place])) for place in places]
    others = [None if place in places else leaf for place, leaf in enumerate(leaves)]

    def rebuild(given: Sequence[Any]) -> Any:
        filled = list(others)
        for place, value in zip(places, given, strict=True):
            filled[place] = Key(value) if place in keys else value
        return unflatten(structure, filled)

    return Residuals(values, Plan(rebuild, form, weak))


_ARRAYS = (Tensor, Key, np.ndarray, np.generic)


@attrs.frozen(eq=False, repr=False)
class VjpCall(CustomCall):
    """A call with its two passes.

    ``forward(values)`` gives the results, their form and the residuals; ``backward(residuals, cotangents, avals)``,
    with a cotangent or None for each result and the types of the values, a cotangent or None for each value.
    """

    forward: Callable[[list[Any]], tuple[list[Any], Form, Residuals]]
    backward: Callable[[Residuals, list[Any], list[ShapeDtype]], list[Any]]

    def mapped(self, examples: Examples) -> VjpCall:
        """The call for all examples at once."""

        def forward(values: list[Any]) -> tuple[list[Any], Form, Residuals]:
            ends: list[Any] = []

            def one(*tracers: Any) -> list[Any]:
                found, form, residuals = self.forward(list(tracers))
                ends.extend([len(found), form, residuals.plan])
                return [*found, *residuals.values]

            # Residuals that are the same for all examples stay so.
            results, own = run_examples(examples, one, values)
            count, form, plan = ends
            kept = attrs.evolve(plan, batched=(tuple(own[count:]), *plan.batched))
            return spread(examples, results[:count], own[:count]), form, Residuals(results[count:], kept)

        def backward(residuals: Residuals, cotangents: list[Any], avals: list[ShapeDtype]) -> list[Any]:
            own, *rest = residuals.plan.batched
            plan = attrs.evolve(residuals.plan, batched=tuple(rest))
            kinds = [
                ShapeDtype(aval.shape[1:], aval.dtype, weak) if inside else aval
                for aval, inside, weak in zip(avals, examples.batched, examples.weak, strict=True)
            ]
            pattern: list[Any] = []

            def one(*tracers: Any) -> list[Any]:
                kept = Residuals(list(tracers[: len(own)]), plan)
                pattern.extend(self.backward(kept, placed(cotangents, tracers[len(own) :]), kinds))
                return given(pattern)

            batched = [*own, *[True] * len(given(cotangents))]
            inputs = Examples(examples.size, batched, [False] * len(batched))
            results = run_all_batched(inputs, one, [*residuals.values, *given(cotangents)])
            found = placed(pattern, results)
            # What is the same for all examples gets the sum of what each of them gives.
            return [
                cotangent if cotangent is None or inside else reduce_sum(cotangent, (0,))
                for cotangent, inside in zip(found, examples.batched, strict=True)
            ]

        return attrs.evolve(self, function=self.over_examples(examples), forward=forward, backward=backward)


def _forward(needed: Any, *operands: Any, graph: Graph | None, call: VjpCall) -> tuple[tuple[Any, ...], Residuals]:
    values = differentiated_leaves(call, graph, operands, [bool(slot) for slot in needed])
    if graph is None:
        results, form, residuals = call.forward(values)
        call.note(form)
        call.require_lower([*results, *residuals.values])
        return tuple(results), residuals
    plans: list[Plan] = []

    def forward(*tracers: Any) -> list[Any]:
        results, form, residuals = call.forward(list(tracers))
        call.note(form)
        call.require_same(graph, results)
        plans.append(residuals.plan)
        return [*results, *residuals.values]

    found = run_closed(call, forward, values)
    count = len(graph.outputs)
    return tuple(found[:count]), Residuals(found[count:], plans[0])


def _pull(
    cotangents: list[Any],
    needed: Any,
    out: tuple[Any, ...],
    *operands: Any,
    graph: Graph | None,
    call: VjpCall,
    residuals: Residuals,
) -> tuple[Any, ...]:
    captured = len(operands) - call.count
    avals = [shape_dtype_of(operand) for operand in operands[captured:]]
    directions = [
        zeros_for(value) if cotangent is None and is_inexact_value(value) else cotangent
        for cotangent, value in zip(cotangents, out, strict=True)
    ]
    if graph is None:
        found = call.backward(residuals, directions, avals)
        call.require_lower(found, math.inf)
    else:
        found = _pull_closed(call, residuals, directions, avals)
    return tuple([g if slot else None for g, slot in zip([*[None] * captured, *found], needed, strict=True)])


def _pull_closed(call: VjpCall, residuals: Residuals, cotangents: list[Any], avals: list[ShapeDtype]) -> list[Any]:
    count = len(residuals.values)
    pattern: list[Any] = []

    def backward(*tracers: Any) -> list[Any]:
        kept = Residuals(list(tracers[:count]), residuals.plan)
        pattern.extend(call.backward(kept, placed(cotangents, tracers[count:]), avals))
        return given(pattern)

    return placed(pattern, run_closed(call, backward, [*residuals.values, *given(cotangents)]))


def _refuse_dual(operands: list[Any], tangents: list[Any], *, graph: Graph | None, call: VjpCall) -> NoReturn:
    name = call.owner.name
    message = (
        f"[custom_vjp] forward mode (jvp, linearize, jacfwd, hessian) came to {name}, which has a backward pass of its "
        f"own and no forward rule; define {name} with fg.custom_jvp, whose one rule serves both modes"
    )
    raise NotDifferentiableError(at_user_line(message))


custom_vjp_p = register(custom_primitive("custom_vjp", vjp=_pull, forward=_forward, dual=_refuse_dual))


@attrs.frozen(eq=False, repr=False, slots=False)
class CustomVjp(CustomFunction[P, R]):
    """A function with a backward pass of its own, which `custom_vjp` makes; it is called like the function."""

    _passes: tuple[Callable[..., Any], Callable[..., Any]] | None = attrs.field(default=None, init=False)

    def defvjp(self, forward: Callable[..., Any], backward: Callable[..., Any]) -> None:
        """Says what the two passes are, once and for all.

        Args:
            forward: ``forward(*args) -> (out, residuals)``, with the arguments of the function; the residuals are a
                pytree of whatever the backward pass will need.
            backward: ``backward(*static, residuals, cotangent)``: a tuple with one cotangent for each argument that is
                not static, like that argument; None stands for a zero.

        Raises:
            ImmutableError: when they are defined already.
        """
        require_function(forward, "custom_vjp(f).defvjp", ", backward")
        require_function(backward, "custom_vjp(f).defvjp", ", backward")
        if self._passes is not None:
            message = f"{self._name} has its rule already: define it once, or wrap the function anew with fg.custom_vjp"
            raise ImmutableError(at_user_line(message))
        object.__setattr__(self, "_passes", (forward, backward))

    def _users(self) -> list[Callable[..., Any]]:
        return [self._function, *(self._passes or ())]

    def _require_passes(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        if self._passes is None:
            message = (
                f"{self._name} is differentiated and has no rule yet: define one with {self._name}.defvjp(forward, "
                f"backward)"
            )
            raise MissingRuleError(at_user_line(message))
        return self._passes

    def _call(self, template: Template, form: Form) -> VjpCall:
        owner = self._owner()

        def run(part: Callable[..., Any], values: list[Any]) -> Any:
            args, kwargs = template.fill(form.build(values))
            return owner.run(part, *args, **kwargs)

        def function(values: list[Any]) -> tuple[list[Any], Form]:
            return self._results(run(self._function, values))

        def forward(values: list[Any]) -> tuple[list[Any], Form, Residuals]:
            returned = run(self._require_passes()[0], values)
            if not isinstance(returned, tuple | list) or len(returned) != 2:
                message = (
                    f"[custom_vjp] the forward pass of {self._name} must return a pair (out, residuals); it returned "
                    f"{describe(returned)}"
                )
                raise TreeError(at_user_line(message))
            results, out_form = self._results(returned[0])
            return results, out_form, _pack(returned[1], out_form, list(map(is_weak, results)))

        def backward(residuals: Residuals, cotangents: list[Any], avals: list[ShapeDtype]) -> list[Any]:
            plan = residuals.plan
            kept = plan.rebuild(residuals.values)
            cotangent = unflatten(plan.form.structure, as_weak_as(cotangents, plan.weak))
            returned = owner.run(self._require_passes()[1], *template.static, kept, cotangent)
            fitted: list[Any] = owner.run(self._fit, returned, form, avals)
            return fitted

        return VjpCall(owner, function, len(form.keys), forward, backward)

    def _fit(self, returned: Any, form: Form, avals: list[ShapeDtype]) -> list[Any]:
        """The cotangents that the backward pass returned, None for zeros."""
        count = len(form.structure.children)
        if not isinstance(returned, tuple | list) or len(returned) != count:
            message = (
                f"[custom_vjp] the backward pass of {self._name} must return a tuple with one cotangent for each "
                f"argument that is not static, {count} of them; it returned {describe(returned)}"
            )
            raise TreeError(at_user_line(message))
        found: list[Any] = []
        for place, (structure, cotangent) in enumerate(zip(form.structure.children, returned, strict=True)):
            name = f"[custom_vjp] in the backward pass of {self._name}, the cotangent of {self._static.name_of(place)}"
            found.extend(align(structure, cotangent, name))
        return [self._fit_cotangent(*pair, place, form) for place, pair in enumerate(zip(found, avals, strict=True))]

    def _fit_cotangent(self, leaf: Any, aval: ShapeDtype, place: int, form: Form) -> Any:
        def where() -> str:
            path = self._argument_path(place, form.structure)
            return f"[custom_vjp] in the backward pass of {self._name}, the cotangent of {path}"

        return fit_leaf(leaf, aval, where, "the argument")


@overload
def custom_vjp(function: Callable[P, R], *, static: Static = ()) -> CustomVjp[P, R]: ...
@overload
def custom_vjp(*, static: Static = ()) -> Callable[[Callable[P, R]], CustomVjp[P, R]]: ...
def custom_vjp(function: Callable[..., Any] | None = None, *, static: Static = ()) -> Any:
    """A function whose backward pass is what you say it is.

    For y = f(x) the forward pass gives y and residuals, and the backward pass makes of these and of a cotangent u of y
    that of x, which should be u^T J where there is such a thing. Prefer `custom_jvp`, whose rule serves both modes,
    except where there is no sensible direction to push forward, or the backward pass is what matters (a cotangent that
    is clipped, an equation that is solved).

    Decorate a function, then define the two passes::

        @fg.custom_vjp
        def f(x, y): ...

        def forward(x, y):
            return f(x, y), (x, y)                   # out, and the residuals

        def backward(residuals, u):
            x, y = residuals
            return ..., None                         # the cotangent of x, and a zero for y

        f.defvjp(forward, backward)

    Args:
        function: of numbers, arrays, random keys and pytrees of them; it returns such. Without it, the result is a
            decorator: ``@fg.custom_vjp(static="solver")``.
        static: arguments that are passed on as they are (functions, strings, axes), by name or position. The forward
            pass gets them where the function does; the backward pass first, in the order in which they stand here:
            ``backward(*static, residuals, cotangent)``.

    Returns:
        The function, with the method `defvjp`, which takes the two passes. Both are differentiated for derivatives of
        higher order. Under `vmap`, an argument that is the same for all examples gets the sum of their cotangents.

    Raises:
        TypeError: `static` names no argument of the function.
        NotDifferentiableError: forward mode meets the function, for which there is no rule; or the function closes over
            a value that is being differentiated, which must be an argument.
        DtypeError: from a call, when an argument that is not static holds something else than numbers and keys; when
            it is differentiated and a cotangent has not the dtype of its argument.
        ShapeError, TreeError: when a pass returns cotangents that are not like the arguments, or no pair.
        MissingRuleError: when it is differentiated before `defvjp`.

    >>> import fgrad as fg
    >>> @fg.custom_vjp
    ... def limit(x):
    ...     return x
    >>> limit.defvjp(lambda x: (x, None), lambda _, u: (fg.clip(u, -1.0, 1.0),))
    >>> fg.grad(lambda x: 5.0 * limit(x))(2.0)
    Tensor(1., dtype=float64)
    """
    if function is None:
        return functools.partial(custom_vjp, static=static)
    require_function(function, "custom_vjp")
    return CustomVjp(function, static_arguments(function, static, "custom_vjp"), custom_vjp_p)
