"""Loops over the steps of arrays: scan and map."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs

from fgrad.core.bind import bind_creation
from fgrad.core.errors import DtypeError, ShapeError, TreeError, at_user_line
from fgrad.core.key import Key
from fgrad.core.reuse import alternatives, rehearsal
from fgrad.core.shape import PYTHON_NUMBERS, ShapeDtype
from fgrad.core.staging import stage
from fgrad.core.tensor import ConcreteTensor, adopt
from fgrad.ops.indexing import getitem
from fgrad.ops.joining import concatenate
from fgrad.ops.scan_primitive import scan_p, stack_rows, unstack_rows
from fgrad.ops.staged import (
    Carry,
    Form,
    StagedFunction,
    aval_of,
    batch_call,
    describe,
    is_staging,
    require_callable,
    require_count,
    settle,
    strong,
    strong_value,
    take_apart,
    value_of,
)
from fgrad.ops.structure import repeat_over_examples, reshape_to

__all__ = ["loop", "map", "scan", "stage_step"]


# The public functions.


def scan(
    f: Callable[..., Any], init: Any, xs: Any = None, length: int | None = None, reverse: bool = False
) -> tuple[Any, Any]:
    """A loop with a carry, step by step along the first axis of arrays, which collects a result of every step.

    ``carry, y = f(carry, x)`` for every step; the same as::

        carry, ys = init, []
        for x in xs:
            carry, y = f(carry, x)
            ys.append(y)
        return carry, stack(ys)

    Outside of functions that are staged it is this loop, under every transform. In a function that is staged (by
    make_graph, checkpoint, the body of another loop there) f is staged once, so the graph has one step however long
    the loop is; its reverse mode saves, for each step, what the derivative of f reads and neither `xs` nor the values
    that f closes over hold already. For memory that does not grow with what f computes, checkpoint f.

    The carry must come out of f in the structure, shapes and dtypes in which it went in. A Python number in `init`
    becomes what f makes of it, if that is an array or another kind of number, before the first step.

    A random key that f closes over gives the same draws at every step; carry a key and split it, or pass
    ``random.split(key, n)`` as `xs`.

    Args:
        f: ``f(carry, x) -> (carry, y)``; it may use values of the functions around it.
        init: the carry of the first step: a pytree of numbers, arrays and random keys.
        xs: a pytree of arrays of one length along their first axes, whose slices f gets; None for none.
        length: the number of steps, where there are no `xs`.
        reverse: from the last slice to the first; ``ys[i]`` still belongs to ``xs[i]``.

    Returns:
        ``(carry, ys)``: the last carry, and each result y with the steps as a new first axis.

    Raises:
        TreeError, ShapeError, DtypeError: f does not return a pair, or changes the carry; the message has the path.
        ShapeError: the arrays in `xs` differ in length, or nothing tells the number of steps.

    >>> import fgrad as fg
    >>> fg.scan(lambda total, x: (total + x, total * x), 0.0, fg.asarray([1.0, 2.0, 3.0]))
    (Tensor(6., dtype=float64), Tensor([0., 2., 9.], dtype=float64))
    >>> fg.grad(lambda r: fg.scan(lambda c, _: (c * r, None), 1.0, length=5)[0])(2.0)
    Tensor(80., dtype=float64)
    """
    require_callable(f, "scan", "f", "(f, init, xs)")
    carry = Carry.begin("scan", init, "init")
    leaves, form = take_apart(xs, "scan", "xs")
    count = _step_count("scan", leaves, form, length)

    def step(current: Any, x: Any) -> tuple[Any, Any]:
        out = f(current, x)
        if not isinstance(out, tuple | list) or len(out) != 2:
            message = f"[scan] f must return a pair (carry, y), and it returned {describe(out)}"
            raise TreeError(at_user_line(message))
        return out[0], out[1]

    last, ys, y_form = loop(step, carry, leaves, form, count, reverse=bool(reverse))
    return carry.form.build(last), y_form.build(ys)


def map(f: Callable[..., Any], xs: Any, batch_size: int | None = None) -> Any:
    """A function applied to every slice of arrays along their first axes, one after the other, and the results stacked.

    The values are those of `fgrad.vmap`, in the memory of one slice; with `batch_size` f is applied to so many slices
    at once, as vmap would (and to the remaining ones at once at the end).

    Args:
        f: a function of one slice, a pytree of numbers, arrays and random keys.
        xs: a pytree of arrays of one length along their first axes.
        batch_size: how many slices at once; one by one for None.

    Raises:
        ShapeError: the arrays in `xs` differ in length, or there is none.

    >>> import fgrad as fg
    >>> fg.map(lambda x: x @ x, fg.asarray([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    Tensor([ 5., 25., 61.], dtype=float64)
    >>> fg.map(lambda x: x @ x, fg.asarray([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), batch_size=2)
    Tensor([ 5., 25., 61.], dtype=float64)
    """
    require_callable(f, "map", "f", "(f, xs)")
    leaves, form = take_apart(xs, "map", "xs")
    if not leaves:
        message = "[map] xs holds no array to map over"
        raise ShapeError(at_user_line(message))
    count = _step_count("map", leaves, form, None)
    if batch_size is None:
        return _map_slices(f, leaves, form, count)
    size = require_count(batch_size, "map", "batch_size", least=1)
    return _map_batches(f, leaves, form, count, size) if count else _map_slices(f, leaves, form, 0)


def _map_slices(f: Callable[..., Any], leaves: list[Any], form: Form, count: int) -> Any:
    _, ys, y_form = loop(lambda _, x: (None, f(x)), Carry.begin("map", None, ""), leaves, form, count)
    return y_form.build(ys)


def _map_batches(f: Callable[..., Any], leaves: list[Any], form: Form, count: int, size: int) -> Any:
    values = [value_of(leaf) for leaf in leaves]
    whole = count // size
    parts = []
    with alternatives() as one_of:
        if whole:
            chunks = [_cut(value, 0, whole * size, (whole, size)) for value in values]
            with one_of():
                carry = Carry.begin("map", None, "")
                batched = [chunk if not own else Key(chunk) for chunk, own in zip(chunks, form.keys, strict=True)]
                _, ys, y_form = loop(lambda _, x: (None, _call_batch(f, x, form, size)), carry, batched, form, whole)
                parts.append([reshape_to(y, (whole * size, *y.shape[2:])) for y in [value_of(y) for y in ys]])
        if whole * size < count:
            rest = [_cut(value, whole * size, count, (count - whole * size,)) for value in values]
            with one_of():
                out, y_form = take_apart(_call_batch(f, form.build(rest), form, count - whole * size), "map", "f(x)")
                parts.append([value_of(y) for y in out])
    joined = parts[0] if len(parts) == 1 else [concatenate(pair) for pair in zip(*parts, strict=True)]
    return y_form.build(joined)


def _cut(value: Any, start: int, stop: int, lead: tuple[int, ...]) -> Any:
    part = value if (start, stop) == (0, value.shape[0]) else getitem(value, slice(start, stop))
    return reshape_to(part, (*lead, *part.shape[1:]))


def _call_batch(f: Callable[..., Any], xs: Any, form: Form, size: int) -> Any:
    forms: list[Form] = []

    def flat(*tracers: Any) -> list[Any]:
        leaves, out_form = take_apart(f(form.build(tracers)), "map", "f(x)")
        forms.append(out_form)
        return [value_of(leaf) for leaf in leaves]

    operands = [value_of(leaf) for leaf in take_apart(xs, "map", "xs")[0]]
    every = [True] * len(operands)
    values, own = batch_call(flat, every, size, operands, [False] * len(operands))
    repeated = [v if inside else repeat_over_examples(v, size) for v, inside in zip(values, own, strict=True)]
    return forms[0].build(repeated)


def _step_count(name: str, leaves: list[Any], form: Form, length: int | None) -> int:
    steps = None if length is None else require_count(length, name, "length")
    lengths = []
    for position, leaf in enumerate(leaves):
        shape = () if type(leaf) in PYTHON_NUMBERS else leaf.shape
        if not shape:
            message = (
                f"[{name}] xs{form.paths()[position]} is {describe(leaf)}, and {name} goes along the first axis of "
                f"arrays: let the function close over what is the same at every step"
            )
            raise ShapeError(at_user_line(message))
        lengths.append(shape[0])
    counts = Counter(lengths)
    if steps is not None:
        counts[steps] += 0
    if len(counts) == 1:
        return next(iter(counts))
    if not counts:
        message = f"[{name}] nothing tells the number of steps: give xs, or length="
        raise ShapeError(at_user_line(message))
    usual = counts.most_common(1)[0][0] if steps is None else steps
    listed = sorted(zip(lengths, form.paths(), strict=True), key=lambda pair: pair[0] == usual)
    texts = [f"xs{path} has {count}" for count, path in listed]
    asked = "" if steps is None else f"; length is {steps}"
    message = f"[{name}] the arrays of xs have different numbers of steps: {', '.join(texts)}{asked}"
    raise ShapeError(at_user_line(message))


# The loop: in Python, or staged.

Step = Callable[[Any, Any], tuple[Any, Any]]


def loop(
    step: Step, carry: Carry, leaves: list[Any], form: Form, length: int, *, reverse: bool = False
) -> tuple[list[Any], list[Any], Form]:
    """Runs ``carry, y = step(carry, x)`` for each slice x of the leaves; gives the last carry, and the ys stacked."""
    if is_staging():
        return _loop_staged(step, carry, leaves, form, length, reverse)
    if length == 0:
        with rehearsal():
            return _loop_staged(step, carry, leaves, form, length, reverse)
    rows = [_rows(leaf) for leaf in leaves]
    results: list[list[Any]] = [[]] * length
    y_form: Form | None = None
    for count, position in enumerate(reversed(range(length)) if reverse else range(length)):
        x = form.build([column[position] for column in rows])
        if count == 0:
            _, (carry, y) = settle(carry, functools.partial(_first_step, step, x))
        else:
            out, y = step(carry.tree(), x)
            carry = carry.after(out)
        if y_form is None:
            results[position], y_form = take_apart(y, carry.operation, "y")
            types = [aval_of(leaf) for leaf in results[position]]
        else:
            same = y_form.read(y, types)
            results[position] = _other_result(carry.operation, y, y_form, types, count) if same is None else same
    assert y_form is not None, "there is a first step"
    return carry.leaves, [_stack_steps(column) for column in zip(*results, strict=True)], y_form


def _first_step(step: Step, x: Any, carry: Carry) -> tuple[list[ShapeDtype], tuple[Carry, Any]]:
    out, y = step(carry.tree(), x)
    after = carry.after(out)
    return after.avals, (after, y)


def _other_result(operation: str, y: Any, form: Form, types: list[ShapeDtype], count: int) -> list[Any]:
    """The leaves of a y that is not just as that of the first step; Python numbers and arrays may change places.

    Raises:
        TreeError, ShapeError, DtypeError: when it cannot be stacked with the first.
    """
    leaves, own_form = take_apart(y, operation, "y")
    if own_form != form:
        detail = form.difference(own_form, "y")
        message = f"[{operation}] step {count} returns a y of another structure than the first step: {detail}"
        raise TreeError(at_user_line(message))
    for position, (path, leaf, aval) in enumerate(zip(form.paths(), leaves, types, strict=True)):
        first, now = strong(aval), strong(aval_of(leaf))
        if first != now:
            before, after = form.type_text(position, first), form.type_text(position, now)
            message = (
                f"[{operation}] the ys of all steps are stacked and must have one shape and dtype: y{path} is {before} "
                f"at the first step and {after} at step {count}"
            )
            raise (DtypeError if first.shape == now.shape else ShapeError)(at_user_line(message))
    return leaves


def _rows(leaf: Any) -> Sequence[Any]:
    """The slices of a leaf along its first axis."""
    if isinstance(leaf, Key):
        return [Key(words, (leaf, position)) for position, words in enumerate(_rows(leaf.words))]
    if type(leaf) is ConcreteTensor:
        array = leaf._array
        return [adopt(array[position, ...]) for position in range(len(array))]
    return unstack_rows(leaf)


def _stack_steps(leaves: Iterable[Any]) -> Any:
    return stack_rows([strong_value(value_of(leaf)) for leaf in leaves])


def _loop_staged(
    step: Step, carry: Carry, leaves: list[Any], form: Form, length: int, reverse: bool
) -> tuple[list[Any], list[Any], Form]:
    avals = [aval_of(leaf) for leaf in leaves]
    rows = [ShapeDtype(aval.shape[1:], aval.dtype) for aval in avals]
    carry, body = settle(carry, lambda current: stage_step(step, current, rows, form))
    count = len(carry.leaves)
    results = bind_creation(
        scan_p,
        *body.captured,
        *carry.values,
        *[value_of(leaf) for leaf in leaves],
        body=body.graph,
        consts=len(body.captured),
        carry=count,
        length=length,
        reverse=reverse,
    )
    return results[:count], results[count:], body.form


def stage_step(step: Step, carry: Carry, rows: list[ShapeDtype], form: Form) -> tuple[list[ShapeDtype], StagedFunction]:
    """The body as a graph of (*captured, *carry, *slices) -> (*carry, *ys), for `settle`."""
    found: list[tuple[Carry, Form]] = []
    count = len(carry.leaves)

    def flat(*values: Any) -> list[Any]:
        out, y = step(carry.form.build(values[:count]), form.build(values[count:]))
        after = carry.after(out)
        ys, y_form = take_apart(y, carry.operation, "y")
        found.append((after, y_form))
        return [*after.values, *[strong_value(value_of(leaf)) for leaf in ys]]

    graph, captured = stage(flat, [*carry.avals, *rows], carry.operation)
    after, y_form = found[0]
    return after.avals, StagedFunction(attrs.evolve(graph, captured=0), captured, y_form)
