"""Branches that every transform understands: cond and switch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np

from fgrad.core.bind import bind, bind_creation
from fgrad.core.errors import DtypeError, ShapeError, TreeError, at_user_line, with_article
from fgrad.core.graph import Graph, Literal, Operand
from fgrad.core.graph_rules import batch_graph, jvp_graph, vjp_graph
from fgrad.core.primal import zeros_for
from fgrad.core.primitive import Primitive, register
from fgrad.core.reuse import alternatives
from fgrad.core.shape import ShapeDtype
from fgrad.core.staging import stage_closed
from fgrad.core.tensor import adopt
from fgrad.ops.declare import batch_size
from fgrad.ops.indexing import getitem
from fgrad.ops.joining import concatenate
from fgrad.ops.logic import less_equal
from fgrad.ops.selection import where
from fgrad.ops.staged import (
    Form,
    StagedFunction,
    active_outputs,
    aval_of,
    batch_call,
    concrete_value,
    is_staging,
    join_avals,
    join_captures,
    require_callable,
    require_integer,
    require_predicate,
    run_graph,
    stage_function,
    take_apart,
    value_of,
    with_outputs,
)
from fgrad.ops.structure import repeat_over_examples, reshape_to

__all__ = ["bind_cond", "cond", "select_examples", "switch", "tangent_part"]


def cond(pred: Any, true_fun: Callable[..., Any], false_fun: Callable[..., Any], *operands: Any) -> Any:
    """``true_fun(*operands)`` where the predicate is true, ``false_fun(*operands)`` where it is false.

    Only the branch that is taken runs, and the derivative is that of the branch. Where the predicate has a value
    (outside of functions that are staged, also under grad and jvp) the branch is simply called. In a function that is
    staged (by make_graph, checkpoint, the body of a loop there) both branches become graphs, and what they return must
    agree in structure, shapes and dtypes; a Python number takes on the dtype of the other branch.

    Under vmap, with a predicate that differs from example to example, both branches become graphs too, and each runs
    for the examples that take it. In a staged function, where it is not known which do, both run for all examples and
    the results are selected; the branch that an example does not take adds nothing to its derivative. If it is infinite
    or NaN there, that holds for functions of single elements; a product of matrices (`matmul`, `einsum`) turns it into
    NaN, since the zero and the infinity meet inside of one sum. Select a harmless operand first in that case:
    ``x = fg.where(x > 0, x, 1.0)``.

    Args:
        pred: a boolean of shape ().
        true_fun: a function of the operands; it may use values of the functions around it.
        false_fun: likewise.
        *operands: pytrees of numbers, arrays and random keys.

    Returns:
        What the branch returns: a pytree of numbers, arrays and random keys.

    Raises:
        DtypeError: the predicate is not a boolean.
        ShapeError: it has axes.
        TreeError, ShapeError, DtypeError: the staged branches return different structures, shapes or dtypes.

    >>> import fgrad as fg
    >>> def f(x):
    ...     return fg.cond(x > 0, lambda x: x**2, lambda x: -x, x)
    >>> fg.grad(f)(3.0), fg.grad(f)(-3.0)
    (Tensor(6., dtype=float64), Tensor(-1., dtype=float64))
    >>> fg.vmap(f)(fg.asarray([3.0, -3.0]))
    Tensor([9., 3.], dtype=float64)
    """
    signature = "(pred, true_fun, false_fun, *operands)"
    require_callable(true_fun, "cond", "true_fun", signature)
    require_callable(false_fun, "cond", "false_fun", signature)
    predicate = require_predicate(pred, "cond", "the predicate")
    return _branch("cond", predicate, [false_fun, true_fun], ["false_fun", "true_fun"], operands)


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """``branches[index](*operands)``, with an index below 0 taken as 0 and one past the end as the last.

    Otherwise like `cond`, which has two branches and a boolean: only the branch that is taken runs, a staged switch
    needs branches that agree in what they return, and an index that differs from example to example under vmap runs
    all of them.

    Args:
        index: an integer of shape ().
        branches: functions of the operands, at least one.
        *operands: pytrees of numbers, arrays and random keys.

    Raises:
        DtypeError: the index is not an integer.
        ShapeError: it has axes, or there is no branch.
        TreeError, ShapeError, DtypeError: the staged branches return different structures, shapes or dtypes.

    >>> import fgrad as fg
    >>> branches = [fg.sin, fg.exp, lambda x: x**2]
    >>> fg.switch(2, branches, fg.asarray(3.0))
    Tensor(9., dtype=float64)
    >>> fg.switch(-7, branches, fg.asarray(0.0))
    Tensor(0., dtype=float64)
    """
    if callable(branches) or not isinstance(branches, Sequence):
        message = f"[switch] branches is {with_article(type(branches))}, not a list of functions"
        raise TypeError(at_user_line(message))
    for position, function in enumerate(branches):
        require_callable(function, "switch", f"branches[{position}]", "(index, branches, *operands)")
    if not branches:
        message = "[switch] needs at least one branch"
        raise ShapeError(at_user_line(message))
    chosen = require_integer(index, "switch", "the index")
    return _branch("switch", chosen, branches, [f"branches[{i}]" for i in range(len(branches))], operands)


def _branch(
    operation: str, index: Any, functions: Sequence[Callable[..., Any]], names: Sequence[str], operands: Any
) -> Any:
    leaves, form = take_apart(operands, operation, "operands")
    known = concrete_value(index)
    if len(functions) > 1 and (known is None or is_staging()):
        return _branch_staged(operation, index, functions, names, leaves, form)
    place = 0 if known is None else _place(known, len(functions))
    results, result_form = take_apart(functions[place](*form.build(leaves)), operation, f"the result of {names[place]}")
    return result_form.build(results)


def _place(index: Any, count: int) -> int:
    return min(max(int(index), 0), count - 1)


def _branch_staged(
    operation: str,
    index: Any,
    functions: Sequence[Callable[..., Any]],
    names: Sequence[str],
    leaves: list[Any],
    form: Form,
) -> Any:
    avals = [aval_of(leaf) for leaf in leaves]
    staged = []
    with alternatives() as one_of:
        for function, name in zip(functions, names, strict=True):
            with one_of():
                staged.append(_stage_branch(operation, function, name, avals, form))
    graphs, captured = join_captures(staged)
    joined = _join_results(operation, staged, names)
    fitted = [with_outputs(graph, joined, operation) for graph in graphs]
    values = [value_of(leaf) for leaf in leaves]
    return staged[0].form.build(bind_creation(cond_p, index, *captured, *values, branches=tuple(fitted)))


def _stage_branch(
    operation: str, function: Callable[..., Any], name: str, avals: list[ShapeDtype], form: Form
) -> StagedFunction:
    return stage_function(lambda *values: function(*form.build(values)), avals, operation, f"the result of {name}")


def _join_results(operation: str, staged: list[StagedFunction], names: Sequence[str]) -> list[ShapeDtype]:
    """The types that all branches can return."""
    first = staged[0]
    for function, name in zip(staged[1:], names[1:], strict=True):
        if function.form != first.form:
            message = (
                f"[{operation}] the branches must return the same structure: {names[0]} returns {first.form}, and "
                f"{name} returns {function.form}; {first.form.difference(function.form, 'the result')}"
            )
            raise TreeError(at_user_line(message))
    joined = []
    for position, path in enumerate(first.form.paths()):
        avals = [function.graph.outputs[position].aval for function in staged]
        aval = join_avals(avals)
        if aval is None:
            types = [first.form.type_text(position, aval) for aval in avals]
            listed = ", ".join(f"{name} returns {given}" for name, given in zip(names, types, strict=True))
            place = f" at {path}" if path else ""
            shapes = {given.shape for given in avals}
            hint = "" if len(shapes) > 1 else "; convert one with astype"
            message = f"[{operation}] the branches must return the same shapes and dtypes{place}: {listed}{hint}"
            raise (ShapeError if len(shapes) > 1 else DtypeError)(at_user_line(message))
        joined.append(aval)
    return joined


# The primitive. Its operands are the index (or the predicate; branch 0 is that of False) and the branches' inputs.


def bind_cond(index: Any, operands: Sequence[Any], branches: Sequence[Graph]) -> Any:
    """The outputs of the graph that the index, or the predicate, chooses."""
    return bind(cond_p, index, *operands, branches=tuple(branches))


def _evaluate_cond(index: Any, *operands: Any, branches: tuple[Graph, ...]) -> tuple[Any, ...]:
    return tuple(run_graph(branches[_place(index, len(branches))], operands))


def _cond_rule(index: ShapeDtype, *operands: ShapeDtype, branches: tuple[Graph, ...]) -> tuple[ShapeDtype, ...]:
    if index.shape or index.dtype.kind not in "biu":
        message = f"the index is {index}, and it must be a single boolean or integer"
        raise DtypeError(message)
    results = [tuple([output.aval for output in branch.outputs]) for branch in branches]
    for branch, result in zip(branches, results, strict=True):
        if tuple([variable.aval for variable in branch.inputs]) != operands:
            message = "the operands are not what the branches take"
            raise ShapeError(message)
        if result != results[0]:
            message = "the branches return different types"
            raise ShapeError(message)
    return results[0]


@attrs.frozen(eq=False, repr=False)
class _Saved:
    """What the forward pass of cond keeps: for each branch its backward graph, and what all of them read.

    `direct` are the positions of operands that are residuals themselves, `values` the residuals of the branch that was
    taken, with zeros where another branch has more, and `active` the positions of the outputs that have derivatives.
    """

    backwards: list[Graph]
    direct: list[int]
    values: tuple[Any, ...]
    active: list[int]


def _cond_forward(needed: Any, index: Any, *operands: Any, branches: tuple[Graph, ...]) -> tuple[Any, _Saved | None]:
    wanted = [bool(slot) for slot in needed[1:]]
    flags = [any(marks) for marks in zip(*[active_outputs(branch, wanted) for branch in branches], strict=True)]
    if not any(flags):
        return bind_cond(index, operands, branches), None
    halves = [vjp_graph(branch, wanted, flags) for branch in branches]
    count = len(flags)
    residuals = [_Residuals.of(forward, count) for forward, _ in halves]
    direct = sorted({place for own in residuals for place in own.direct if place is not None})
    avals = _union([own.avals for own in residuals])
    forwards = []
    backwards = []
    for (forward, backward), own in zip(halves, residuals, strict=True):
        places = _assign(own.avals, avals)
        saved = [_zero(aval) for aval in avals]
        for place, operand in zip(places, own.saved, strict=True):
            saved[place] = operand
        forwards.append(attrs.evolve(forward, outputs=(*forward.outputs[:count], *saved)))
        backwards.append(own.rewire(backward, forward, direct, avals, places))
    out = bind_cond(index, operands, forwards)
    active = [position for position, flag in enumerate(flags) if flag]
    return out[:count], _Saved(backwards, direct, out[count:], active)


@attrs.frozen(eq=False)
class _Residuals:
    """The residuals of one branch, in order: the position of those that are operands, None for the others, `saved`."""

    direct: list[int | None]
    saved: list[Operand]

    @classmethod
    def of(cls, forward: Graph, count: int) -> _Residuals:
        """The residuals of a forward graph, which stand behind its outputs."""
        places: dict[Any, int] = {variable: place for place, variable in enumerate(forward.inputs)}
        residuals = forward.outputs[count:]
        direct = [places.get(operand) for operand in residuals]
        return cls(direct, [operand for operand, place in zip(residuals, direct, strict=True) if place is None])

    @property
    def avals(self) -> list[ShapeDtype]:
        """The types of what is saved."""
        return [operand.aval for operand in self.saved]

    def rewire(
        self, backward: Graph, forward: Graph, direct: list[int], avals: list[ShapeDtype], places: list[int]
    ) -> Graph:
        """The backward graph, taking the operands and the saved values of all branches in the places of its own."""
        count = len(self.direct)
        slots = iter(places)
        order = [len(direct) + next(slots) if place is None else direct.index(place) for place in self.direct]

        def taken(*values: Any) -> list[Any]:
            return backward.evaluate(*[values[place] for place in order], *values[len(direct) + len(avals) :])

        inputs = [*[forward.inputs[place].aval for place in direct], *avals]
        return stage_closed(taken, [*inputs, *[variable.aval for variable in backward.inputs[count:]]], "cond")


def _union(groups: Sequence[list[ShapeDtype]]) -> list[ShapeDtype]:
    """As many places of each type as the group with most of them needs."""
    union: list[ShapeDtype] = []
    for group in groups:
        free = list(union)
        for aval in group:
            if aval in free:
                free.remove(aval)
            else:
                union.append(aval)
    return union


def _assign(avals: list[ShapeDtype], union: list[ShapeDtype]) -> list[int]:
    """A place of its own in the union for each type."""
    free = list(range(len(union)))
    places = []
    for aval in avals:
        place = next(place for place in free if union[place] == aval)
        free.remove(place)
        places.append(place)
    return places


def _zero(aval: ShapeDtype) -> Operand:
    zero = aval.dtype.type(0)
    return Literal(zero.item() if aval.weak else adopt(np.broadcast_to(zero, aval.shape)))


def _cond_vjp(
    cotangents: list[Any],
    needed: Any,
    out: Any,
    index: Any,
    *operands: Any,
    branches: tuple[Graph, ...],
    residuals: _Saved | None,
) -> tuple[Any, ...]:
    if residuals is None:
        return (None,) * (1 + len(operands))
    given = [zeros_for(out[place]) if cotangents[place] is None else cotangents[place] for place in residuals.active]
    direct = [operands[place] for place in residuals.direct]
    found = iter(bind_cond(index, [*direct, *residuals.values, *given], residuals.backwards))
    return (None, *[next(found) if slot else None for slot in needed[1:]])


def _cond_jvp(tangents: Any, out: Any, index: Any, *operands: Any, branches: tuple[Graph, ...]) -> Any:
    given = [tangent is not None for tangent in tangents[1:]]
    flags = [any(marks) for marks in zip(*[active_outputs(branch, given) for branch in branches], strict=True)]
    if not any(flags):
        return None
    graphs = [tangent_part(jvp_graph(branch, given), branch, flags) for branch in branches]
    found = iter(bind_cond(index, [*operands, *[t for t in tangents[1:] if t is not None]], graphs))
    return tuple([next(found) if flag else None for flag in flags])


def tangent_part(derivative: Graph, graph: Graph, flags: Sequence[bool]) -> Graph:
    """Of the outputs that a graph's jvp_graph has, the tangents of the outputs of the graph that are marked."""
    inexact = [position for position, output in enumerate(graph.outputs) if output.aval.dtype.kind in "fc"]
    behind = {position: len(flags) + place for place, position in enumerate(inexact)}
    return derivative.pick([behind[position] for position, flag in enumerate(flags) if flag])


def _batch_cond(
    primitive: Primitive, batched: tuple[bool, ...], index: Any, *operands: Any, branches: tuple[Graph, ...]
) -> Any:
    own_index, *own = batched
    size = batch_size(batched, (index, *operands))
    if own_index:
        known = concrete_value(index)
        if known is None:
            return _select_branches(index, own, size, operands, branches)
        # In its own dtype: an index that int64 does not hold is one past the end.
        places = np.clip(np.asarray(known), 0, len(branches) - 1).astype(np.int64)
        return _route_examples(places, own, size, operands, branches)
    nothing = [False] * len(branches[0].outputs)
    found = [batch_graph(branch, own, size, nothing)[1] for branch in branches]
    flags = [any(marks) for marks in zip(*found, strict=True)]
    graphs = [batch_graph(branch, own, size, flags)[0] for branch in branches]
    return bind_cond(index, operands, graphs), flags


def _route_examples(
    places: np.ndarray[Any, Any], own: Sequence[bool], size: int, operands: Sequence[Any], branches: tuple[Graph, ...]
) -> tuple[list[Any], list[bool]]:
    """Each branch for the examples that take it; so a branch computes nothing, and warns of nothing, for the others."""
    taken = np.unique(places).tolist() or [0]
    if len(taken) == 1:
        return _call_branch(branches[taken[0]], own, size, operands)
    columns = []
    order = []
    for place in taken:
        chosen = np.flatnonzero(places == place)
        rows = [getitem(x, chosen) if inside else x for x, inside in zip(operands, own, strict=True)]
        columns.append(_repeated(*_call_branch(branches[place], own, len(chosen), rows), len(chosen)))
        order.append(chosen)
    back = np.argsort(np.concatenate(order))
    results = [getitem(concatenate(parts), back) for parts in zip(*columns, strict=True)]
    return results, [True] * len(results)


def _select_branches(
    index: Any, own: Sequence[bool], size: int, operands: Sequence[Any], branches: tuple[Graph, ...]
) -> tuple[list[Any], list[bool]]:
    """All branches for all examples, and a selection; for an index whose values are not known."""
    # What a branch gives for examples that do not take it is not used, so neither are warnings about it.
    with np.errstate(all="ignore"):
        columns = [_repeated(*_call_branch(branch, own, size, operands), size) for branch in branches]
    results = columns[-1]
    for place in reversed(range(len(columns) - 1)):
        earlier = less_equal(index, place)
        results = [select_examples(earlier, x, y) for x, y in zip(columns[place], results, strict=True)]
    return results, [True] * len(results)


def _call_branch(
    branch: Graph, own: Sequence[bool], size: int, operands: Sequence[Any]
) -> tuple[list[Any], list[bool]]:
    return batch_call(branch.evaluate, own, size, operands, [variable.aval.weak for variable in branch.inputs])


def _repeated(values: list[Any], own: list[bool], size: int) -> list[Any]:
    return [v if inside else repeat_over_examples(v, size) for v, inside in zip(values, own, strict=True)]


def select_examples(condition: Any, x: Any, y: Any) -> Any:
    """For each example x where its condition is true, y elsewhere; all three have the axis of the examples."""
    rank = len(x.shape)
    return where(reshape_to(condition, (condition.shape[0], *[1] * (rank - 1))) if rank > 1 else condition, x, y)


cond_p = register(
    Primitive(
        "cond",
        _evaluate_cond,
        _cond_rule,
        _cond_vjp,
        _cond_jvp,
        batch=_batch_cond,
        forward=_cond_forward,
        takes_numbers=True,
        makes_views=True,
        multiple_results=True,
    )
)
