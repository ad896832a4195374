"""Every operation under vmap, by its row in the operation table, against a loop over the examples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operation_checks import (
    PRIMITIVES,
    ROW_OF,
    SIZE,
    assert_close,
    assert_equal_bits,
    batch_of,
    by_smooth_row,
    check_vmap,
    check_vmap_each_and_all,
    examples_of,
    finds_failure,
    leaves_of,
    on_operands,
    pull_back_ones,
    push_forward_ones,
    quietly,
    replaced,
    share_of_examples,
)
from operation_table import ROWS

import fgrad as fg
from fgrad.core.bind import bind
from fgrad.errors import TracerConversionError

BATCHED = [row for row in ROWS if not row.unbatched]
by_batched_row = pytest.mark.parametrize("row", BATCHED, ids=[row.name for row in BATCHED])


@by_batched_row
@given(data=st.data())
def test_vmap_over_each_operand_is_a_loop(row, data):
    call = data.draw(row.calls)
    quietly(check_vmap_each_and_all, row, on_operands(row, call), call.operands)


@by_batched_row
@given(data=st.data())
def test_vmap_over_any_axes_and_nested_vmap_are_loops(row, data):
    call = data.draw(row.calls)
    operands = call.operands
    f = on_operands(row, call)
    choose = lambda: [data.draw(st.booleans()) for _ in operands]
    inner, outer = choose(), choose()
    if not any(inner) or not any(outer):
        return
    axes = [data.draw(st.integers(-operand.ndim - 1, operand.ndim)) for operand in operands]
    stacks = batch_of(row, operands, inner)
    quietly(check_vmap, row, f, stacks, inner, axes)
    both = [
        examples_of(row, stack, 100 + seed, stacked=inner[seed]) if own else stack
        for seed, (stack, own) in enumerate(zip(stacks, outer, strict=True))
    ]
    nested = fg.vmap(f, tuple(0 if own else None for own in inner))
    quietly(check_vmap, row, nested, both, outer, [data.draw(st.integers(0, stack.ndim)) for stack in stacks])


@by_batched_row
@share_of_examples(1 / 3)
@given(data=st.data())
def test_vmap_over_no_examples_gives_the_shapes_and_dtypes_of_one(row, data):
    call = data.draw(row.calls)
    if not call.operands:
        return
    f = on_operands(row, call)
    found = quietly(fg.vmap(f), *[np.zeros((0, *operand.shape), operand.dtype) for operand in call.operands])
    for none, one in zip(leaves_of(found), leaves_of(quietly(f, *call.operands)), strict=True):
        assert (none.shape, none.dtype) == ((0, *one.shape), one.dtype)


@pytest.mark.parametrize("row", [row for row in BATCHED if row.staged], ids=lambda row: row.name)
@share_of_examples(1 / 3)
@given(data=st.data())
def test_graphs_of_vmap_evaluate_to_the_same_bits(row, data):
    call = data.draw(row.calls)
    if not call.operands:
        return
    batches = [fg.asarray(batch) for batch in batch_of(row, call.operands, [True] * len(call.operands))]
    f = fg.vmap(on_operands(row, call))
    graph = quietly(fg.make_graph(f), *batches)
    graph.check()
    assert_equal_bits(quietly(graph, *batches), quietly(f, *batches))


@pytest.mark.parametrize("row", [row for row in ROWS if row.unbatched], ids=lambda row: row.name)
def test_vmap_says_why_it_cannot(row):
    def refuse(call):
        try:
            fg.vmap(on_operands(row, call))(*batch_of(row, call.operands, [True] * len(call.operands)))
        except TracerConversionError as error:
            if "stands for 3 examples at once" in str(error):
                raise AssertionError from error

    assert finds_failure(row.calls, refuse)


# Derivatives of batches, and batches of derivatives.


def loop(f, batches, batched):
    """What vmap gives, by a loop."""
    parts = [f(*[x[k] if own else x for x, own in zip(batches, batched, strict=True)]) for k in range(SIZE)]
    return [None if part[0] is None else np.stack(list(map(np.asarray, part))) for part in zip(*parts, strict=True)]


@by_smooth_row
@share_of_examples(0.4)
@given(data=st.data())
def test_derivatives_and_vmap_commute(row, data):
    """vmap of jvp and of vjp, jvp and vjp of vmap: all are loops over the derivatives of one example."""
    if row.unbatched:
        return
    call = data.draw(row.smooth)
    f = on_operands(row, call)
    count = len(call.operands)
    batched = data.draw(
        st.sampled_from([[True] * count, *[[place == one for place in range(count)] for one in range(count)]])
    )
    batches = batch_of(row, call.operands, batched)
    axes = tuple(0 if own else None for own in batched)
    over_batch = fg.vmap(f, axes)
    close = {8: 1e-9}
    if "fwd" in row.modes:
        flat = lambda g: lambda *x: fg.tree.leaves(push_forward_ones(g)(*x))
        expected = loop(flat(f), batches, batched)
        assert_close(fg.vmap(flat(f), axes)(*batches), expected, close)
        assert_close(flat(over_batch)(*batches), expected, close)
    if "rev" in row.modes:
        expected = loop(pull_back_ones(f), batches, batched)
        found = fg.vmap(lambda *x: dropped(pull_back_ones(f)(*x)), axes)(*batches)
        assert_close(found, dropped(expected), close)
        # What belongs to all examples takes the sum of their cotangents.
        summed = [x if own or x is None else np.sum(x, 0) for x, own in zip(expected, batched, strict=True)]
        assert_close(dropped(pull_back_ones(over_batch)(*batches)), dropped(summed), close)


def dropped(cotangents):
    """Without the places of what has no cotangent."""
    return [cotangent for cotangent in cotangents if cotangent is not None]


# The tester tested: rules that are wrong are found.


def fails_under_vmap(row):
    def check(call):
        quietly(check_vmap_each_and_all, row, on_operands(row, call), call.operands)

    return finds_failure(row.calls, check)


WITH_OPERANDS = [primitive for primitive in PRIMITIVES if primitive.batch is not None]


@pytest.mark.parametrize("primitive", WITH_OPERANDS, ids=lambda primitive: primitive.name)
def test_a_rule_that_mixes_up_the_examples_fails_its_row(primitive):
    rule = primitive.batch

    def wrong(primitive, batched, *operands, **params):
        out = rule(primitive, batched, *operands, **params)
        if not primitive.multiple_results:
            return fg.roll(out, 1, 0)
        values, flags = out
        return [fg.roll(value, 1, 0) if own else value for value, own in zip(values, flags, strict=True)], flags

    with replaced(primitive, batch=wrong):
        assert fails_under_vmap(ROW_OF[primitive.name])


def not_aligned(primitive, batched, *operands, **params):
    return bind(primitive, *operands, **params)


def axes_not_moved(primitive, batched, *operands, **params):
    return bind(primitive, *operands, **params)


def first_example_for_all(primitive, batched, *operands, **params):
    examples = [operand[0] if own else operand for operand, own in zip(operands, batched, strict=True)]
    size = next(operand for operand, own in zip(operands, batched, strict=True) if own).shape[0]
    return fg.stack([bind(primitive, *examples, **params)] * size)


def last_example_twice(primitive, batched, *operands, **params):
    out = rules[primitive.name](primitive, batched, *operands, **params)
    return fg.concatenate([out[:-2], out[-1:], out[-1:]])


def one_operand_batched(primitive, batched, *operands, **params):
    """Forgets all but the first example of every batched operand but the first."""
    first = batched.index(True)
    kept = [
        fg.broadcast_to(operand[:1], operand.shape) if own and place != first else operand
        for place, (operand, own) in enumerate(zip(operands, batched, strict=True))
    ]
    return rules[primitive.name](primitive, batched, *kept, **params)


def slightly_off(primitive, batched, *operands, **params):
    return rules[primitive.name](primitive, batched, *operands, **params) * 1.001


rules = {primitive.name: primitive.batch for primitive in PRIMITIVES}

# One family of operations each: (primitive, a wrong rule that its family invites).
WRONG = [
    ("add", not_aligned),
    ("where", not_aligned),
    ("exp", slightly_off),
    ("sum", axes_not_moved),
    ("max", axes_not_moved),
    ("cumsum", axes_not_moved),
    ("reshape", first_example_for_all),
    ("transpose", first_example_for_all),
    ("broadcast_to", last_example_twice),
    ("concatenate", one_operand_batched),
    ("getitem", one_operand_batched),
    ("scatter_add", one_operand_batched),
    ("matmul", one_operand_batched),
    ("einsum", slightly_off),
    ("argsort", axes_not_moved),
    ("softmax", axes_not_moved),
    ("uniform", one_operand_batched),
    ("random_bits", first_example_for_all),
]


@pytest.mark.parametrize(("name", "wrong"), WRONG, ids=[f"{name}-{wrong.__name__}" for name, wrong in WRONG])
def test_a_wrong_rule_of_each_family_fails_its_row(name, wrong):
    primitive = next(primitive for primitive in PRIMITIVES if primitive.name == name)
    with replaced(primitive, batch=wrong):
        assert fails_under_vmap(ROW_OF[name])
