"""The derivatives of every operation, by its row in the operation table, in both modes and every nesting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operation_checks import (
    PRIMITIVES,
    ROW_OF,
    assert_close,
    assert_equal_bits,
    by_smooth_row,
    every_array_is_large,
    finds_failure,
    is_inexact,
    leaves_of,
    on_operands,
    ones_for,
    pull_back_ones,
    push_forward_ones,
    replaced,
    share_of_examples,
)

import fgrad as fg
from fgrad.core.bind import bind
from fgrad.core.primal import zeros_for
from fgrad.ops.structure import fit_tangent
from fgrad.testing import check_grads


@by_smooth_row
@given(data=st.data())
def test_derivatives_are_those_of_central_differences(row, data):
    """Both modes and all four nestings of second order, and <u, J v> == <J^T u, v>."""
    call = data.draw(row.smooth)
    check_grads(on_operands(row, call), tuple(call.operands), 2, row.modes, eps=row.eps)


# Values, shapes and dtypes inside transforms.


def as_tensors(operands):
    return [fg.asarray(operand) for operand in operands]


def narrowed(operands, mixed, *, even):
    """Every other operand (all of them, if dtypes may not be mixed) in single precision."""
    narrow = {"float64": "float32", "complex128": "complex64"}
    return [
        operand.astype(narrow.get(str(operand.dtype), operand.dtype))
        if even == (place % 2 == 0) or not mixed
        else operand
        for place, operand in enumerate(operands)
    ]


@by_smooth_row
@given(data=st.data())
def test_values_and_cotangents_in_reverse_mode(row, data):
    """Values are those outside, cotangents have the dtypes of their primals, graphs of pullbacks are the pullbacks."""
    if "rev" not in row.modes:
        return
    call = data.draw(row.smooth)
    f = on_operands(row, call)
    eager = f(*as_tensors(call.operands))
    out, pullback = fg.vjp(f, *call.operands)
    assert_equal_bits(out, eager)
    assert_equal_bits(fg.vjp(lambda *operands: fg.vjp(f, *operands)[0], *call.operands)[0], eager)
    wide = pullback(ones_for(out))
    assert_graph_is_the_same(pull_back_ones(f), call.operands, wide)
    operands = narrowed(call.operands, row.mixed, even=data.draw(st.booleans()))
    for operand, cotangent, reference in zip(operands, pull_back_ones(f)(*operands), wide, strict=True):
        if operand.dtype.kind not in "fc":
            assert cotangent is None
            continue
        assert (cotangent.dtype, cotangent.shape) == (operand.dtype, operand.shape)
        np.testing.assert_allclose(cotangent, reference, rtol=2e-3, atol=2e-3)


@by_smooth_row
@given(data=st.data())
def test_values_and_tangents_in_forward_mode(row, data):
    """Values are those outside, tangents have the dtypes of their outputs, graphs of jvp are jvp; linearize is jvp."""
    if "fwd" not in row.modes:
        return
    call = data.draw(row.smooth)
    f = on_operands(row, call)
    eager = f(*as_tensors(call.operands))
    tangents = tuple(ones_for(call.operands))
    out, wide = fg.jvp(f, call.operands, tangents)
    assert_equal_bits(out, eager)
    assert_equal_bits(fg.jvp(lambda *operands: fg.jvp(f, operands, tangents)[0], call.operands, tangents)[0], eager)
    assert_graph_is_the_same(push_forward_ones(f), call.operands, wide)
    linear_out, linear_map = fg.linearize(f, *call.operands)
    assert_equal_bits(linear_out, eager)
    for x, y in zip(leaves_of(linear_map(*tangents)), leaves_of(wide), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12)
    operands = narrowed(call.operands, row.mixed, even=data.draw(st.booleans()))
    values = [leaf for leaf in fg.tree.leaves(f(*as_tensors(operands))) if is_inexact(leaf)]
    found = fg.tree.leaves(push_forward_ones(f)(*operands))
    for value, tangent, reference in zip(values, found, fg.tree.leaves(wide), strict=True):
        assert (tangent.dtype, tangent.shape) == (value.dtype, value.shape)
        np.testing.assert_allclose(tangent, reference, rtol=2e-3, atol=2e-3)


@by_smooth_row
@given(data=st.data())
@share_of_examples(0.2)
def test_large_arrays_have_the_derivatives_of_small_ones(row, data):
    """In blocks, in memory that was used before, and without the values that the rules say they do not need."""
    call = data.draw(row.smooth)
    f = on_operands(row, call)
    for mode, derivative in (("rev", pull_back_ones(f)), ("fwd", push_forward_ones(f))):
        if mode in row.modes:
            expected = derivative(*call.operands)
            with every_array_is_large():
                found = derivative(*call.operands)
            assert_close(found, expected, {8: 1e-12})


def assert_graph_is_the_same(derivative, operands, expected):
    tensors = as_tensors(operands)
    graph = fg.make_graph(derivative)(*tensors)
    graph.check()
    assert_equal_bits(graph(*tensors), expected)


# The tester tested: every declared rule is seen.


def scaled(derivative):
    """A tangent, or a sequence of cotangents or tangents, wrong by a thousandth."""
    if isinstance(derivative, tuple | list):
        return type(derivative)([None if part is None else part * 1.001 for part in derivative])
    return None if derivative is None else derivative * 1.001


def wrong_linear_rule(primitive):
    """The tangent that `linear` declares, wrong by a thousandth."""

    def jvp(tangents, out, *primals, **params):
        places = range(*primitive.linear.indices(len(primals)))
        if all(tangents[place] is None for place in places):
            return None
        operands = list(primals)
        for place in places:
            operands[place] = zeros_for(primals[place]) if tangents[place] is None else tangents[place]
        result = bind(primitive, *operands, **params)
        return scaled(result if primitive.multiple_results else fit_tangent(result, out))

    return {"jvp": jvp}


def wrong_rule(primitive, kind):
    """The primitive's rule of a kind, wrong by a thousandth, by the name of the field that has it."""
    rule = getattr(primitive, kind)
    if kind == "linear":
        return wrong_linear_rule(primitive)
    if kind in ("vjp", "jvp"):
        return {kind: lambda *args, **params: scaled(rule(*args, **params))}
    if kind == "dual":

        def dual(primals, tangents, **params):
            out, found = rule(primals, tangents, **params)
            return out, scaled(found)

        return {"dual": dual}

    def forward(needed, *primals, **params):
        out, residuals = rule(needed, *primals, **params)
        return scaled(out), residuals

    return {"forward": forward}


KINDS = {"vjp": "rev", "jvp": "fwd", "linear": "fwd", "dual": "fwd", "forward": "rev"}
RULES = [
    (primitive, kind)
    for primitive in PRIMITIVES
    for kind, mode in KINDS.items()
    if getattr(primitive, kind) is not None and mode in ROW_OF[primitive.name].modes
]


@pytest.mark.parametrize(("primitive", "kind"), RULES, ids=[f"{primitive.name}-{kind}" for primitive, kind in RULES])
def test_a_rule_that_is_wrong_by_a_thousandth_fails_its_row(primitive, kind):
    row = ROW_OF[primitive.name]
    assert row.smooth is not None, "a rule whose row has no smooth arguments is never checked"

    def check(call):
        check_grads(on_operands(row, call), tuple(call.operands), 1, KINDS[kind], eps=row.eps)

    with replaced(primitive, **wrong_rule(primitive, kind)):
        assert finds_failure(row.smooth, check)
