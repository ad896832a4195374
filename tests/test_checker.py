"""The tester tested: check_grads finds wrong rules and passes right ones; the strategies draw what they promise."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings

import fgrad as fg
from fgrad.core.bind import bind
from fgrad.core.primitive import Primitive
from fgrad.core.shape import ShapeDtype
from fgrad.errors import MissingRuleError, NotDifferentiableError
from fgrad.testing import check_grads, strategies

X = np.linspace(0.3, 1.7, 6).reshape(2, 3)
NAMES = {"fwd": "forward", "rev": "reverse"}
NESTINGS = [(outer, inner) for outer in NAMES for inner in NAMES]
by_mode = pytest.mark.parametrize("mode", NAMES)


def same(x):
    return x


def operation(evaluate, vjp=None, jvp=None, shape_rule=same, **rules):
    """A function over a primitive that is not registered."""
    primitive = Primitive("under_test", evaluate, shape_rule, vjp, jvp, **rules)
    return lambda *args: bind(primitive, *map(fg.asarray, args))


def unary(evaluate, derivative, *, rev=1.0, fwd=1.0):
    """A function of one operand; each rule is the derivative, of that mode, times a factor."""
    derivatives = derivative if isinstance(derivative, dict) else {"rev": derivative, "fwd": derivative}
    return operation(
        evaluate,
        lambda g, needed, out, x: (g * derivatives["rev"](x) * rev,),
        lambda tangents, out, x: tangents[0] * derivatives["fwd"](x) * fwd,
    )


def sine(**factors):
    return unary(np.sin, fg.cos, **factors)


def product(left, right, **rules):
    """The product of two operands, by the derivatives ``left(g, x, y)`` and ``right(g, x, y)``."""

    def jvp(tangents, out, x, y):
        terms = [rule(t, x, y) for rule, t in zip((left, right), tangents, strict=True) if t is not None]
        return sum(terms[1:], terms[0])

    return operation(
        np.multiply,
        lambda g, needed, out, x, y: (left(g, x, y), right(g, x, y)),
        jvp,
        lambda x, y: ShapeDtype(np.broadcast_shapes(x.shape, y.shape), np.result_type(x.dtype, y.dtype)),
        **rules,
    )


def test_right_rules_pass_to_third_order():
    check_grads(sine(), (X,), order=3)
    check_grads(product(lambda g, x, y: g * y, lambda g, x, y: g * x), (X, X + 1), order=3)


# Wrong rules, in each mode and nesting.


@by_mode
@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128", "complex64"])
@pytest.mark.parametrize("factor", [1.001, 0.999])
def test_a_rule_wrong_by_a_thousandth_fails_at_first_order(mode, dtype, factor):
    with pytest.raises(AssertionError, match=rf"order 1, by args\[0\]: {NAMES[mode]} mode gives"):
        check_grads(sine(**{mode: factor}), (X.astype(dtype),))
    with pytest.raises(AssertionError, match=rf"order 1, by args\[0\]: {NAMES[mode]} mode gives"):
        check_grads(sine(**{mode: factor}), (X.astype(dtype),), 1, (mode,))


@pytest.mark.parametrize(("outer", "inner"), NESTINGS)
@pytest.mark.parametrize("factor", [1.001, 0.999])
def test_a_rule_wrong_by_a_thousandth_fails_in_its_nesting(outer, inner, factor):
    """The rule of the inner mode uses a cosine, whose rule of the outer mode is wrong."""
    wrong_cosine = unary(np.cos, lambda x: -fg.sin(x), **{outer: factor})
    planted = unary(np.sin, {"rev": fg.cos, "fwd": fg.cos} | {inner: wrong_cosine})
    check_grads(planted, (X,), order=1)
    with pytest.raises(AssertionError, match=rf"order 2, {NAMES[outer]} over {NAMES[inner]}, by args\[0\]"):
        check_grads(planted, (X,), order=2)
    if outer == inner:
        check_grads(planted, (X,), order=2, modes=[mode for mode in NAMES if mode != inner])


@pytest.mark.parametrize("nesting", list(itertools.product(NAMES, repeat=3)), ids="-over-".join)
def test_a_rule_wrong_by_a_thousandth_fails_at_third_order(nesting):
    outer, middle, inner = nesting
    minus_sine = unary(lambda x: -np.sin(x), lambda x: -fg.cos(x), **{outer: 1.001})
    cosine = unary(np.cos, {"rev": lambda x: -fg.sin(x), "fwd": lambda x: -fg.sin(x)} | {middle: minus_sine})
    planted = unary(np.sin, {"rev": fg.cos, "fwd": fg.cos} | {inner: cosine})
    check_grads(planted, (X,), order=2)
    with pytest.raises(AssertionError, match=f"order 3, {' over '.join(NAMES[mode] for mode in nesting)}, by"):
        check_grads(planted, (X,), order=3)


def test_modes_that_disagree_by_less_than_differences_can_see_fail():
    """Rules wrong by one part in ten million pass beside differences, and not beside each other."""
    for factors in ({"rev": 1 + 1e-7}, {"fwd": 1 - 1e-7}):
        check_grads(sine(**factors), (X,), 2, tuple(factors))
        with pytest.raises(
            AssertionError, match=r"args\[0\]: the modes disagree: forward mode gives <u, J v> = .* and"
        ):
            check_grads(sine(**factors), (X,))


@by_mode
def test_one_wrong_element_among_many_fails(mode):
    weights = np.ones(1000)
    weights[417] = 1.001
    with pytest.raises(AssertionError, match="order 1"):
        check_grads(sine(**{mode: weights}), (np.linspace(0.1, 1.0, 1000),), 1, (mode,))


@by_mode
def test_a_rule_that_drops_to_numpy_fails_at_second_order(mode):
    detached = lambda x: np.cos(np.asarray(fg.stop_gradient(x)))
    dropping = unary(np.sin, {"rev": fg.cos, "fwd": fg.cos} | {mode: detached})
    check_grads(dropping, (X,), order=1)
    with pytest.raises(AssertionError, match=f"order 2, reverse over {NAMES[mode]}"):
        check_grads(dropping, (X,), order=2)


def test_a_rule_that_forgets_the_cotangent_fails_at_second_order():
    """With a constant cotangent this error hides; the cotangent is an argument of the second order."""
    detached = operation(np.sin, lambda g, needed, out, x: (fg.stop_gradient(g) * fg.cos(x),))
    check_grads(detached, (X,), 1, "rev")
    with pytest.raises(AssertionError, match="order 2, reverse over reverse, by the cotangent of output 0"):
        check_grads(detached, (X,), 2, "rev")


def test_a_rule_that_forgets_the_tangent_fails_at_second_order():
    detached = operation(np.sin, None, lambda tangents, out, x: fg.stop_gradient(tangents[0]) * fg.cos(x))
    check_grads(detached, (X,), 1, "fwd")
    with pytest.raises(AssertionError, match=r"order 2, forward over forward, by the tangent of args\[0\]"):
        check_grads(detached, (X,), 2, "fwd")


# What the messages say.


@by_mode
@pytest.mark.parametrize("which", [0, 1])
def test_the_failing_argument_is_named(mode, which):
    factors = [1.0, 1.0]
    factors[which] = 1.001
    wrong = product(lambda g, x, y: g * y * factors[0], lambda g, x, y: g * x * factors[1])
    with pytest.raises(AssertionError, match=rf"order 1, by args\[{which}\]: {NAMES[mode]}"):
        check_grads(wrong, (X, X + 1), modes=(mode,))


@by_mode
def test_the_failing_leaf_is_named_by_its_path(mode):
    wrong = sine(**{mode: 1.001})
    params = {"blocks": [{"weight": X}, {"weight": X, "bias": 0.5}]}

    def f(params, scale):
        first, second = params["blocks"]
        return fg.sum(first["weight"] * scale) + fg.sum(wrong(second["weight"])) * second["bias"]

    with pytest.raises(AssertionError, match=r"by args\[0\]\['blocks'\]\[1\]\['weight'\]"):
        check_grads(f, (params, 2.0), order=1)


@by_mode
def test_the_message_names_numbers_and_tolerances(mode):
    with pytest.raises(AssertionError) as caught:
        check_grads(sine(**{mode: 1.001}), (1.0,), rtol=1e-5, atol=1e-8, eps=2.0**-9)
    message = str(caught.value)
    assert f"check_grads of <lambda>, order 1, by args[0]: {NAMES[mode]} mode" in message
    assert "rtol 1e-05" in message
    assert "atol 1e-08" in message
    assert "step 0.00195" in message
    exact, differences = (
        float(message.split(part)[1].split(maxsplit=1)[0].strip(",")) for part in ("mode gives", "rences give")
    )
    np.testing.assert_allclose(exact, 1.001 * differences, rtol=1e-9)


def test_tolerances_are_those_that_are_given():
    for factors in ({"rev": 1.001}, {"fwd": 1.001}):
        check_grads(sine(**factors), (X,), rtol=1e-2)
        check_grads(sine(**factors), (X,), atol=1e-1)
    with pytest.raises(AssertionError):
        check_grads(sine(rev=1 + 1e-8, fwd=1 + 1e-8), (X,), rtol=1e-10, atol=1e-10)


def test_checks_are_deterministic_and_depend_on_the_seed():
    def message(seed):
        with pytest.raises(AssertionError) as caught:
            check_grads(sine(rev=1.001), (X,), seed=seed)
        return str(caught.value)

    assert message(0) == message(0)
    assert message(0) != message(1)


# Shapes, dtypes and values inside the modes.


@by_mode
def test_a_derivative_of_the_wrong_dtype_fails(mode):
    wide = lambda x: fg.astype(fg.cos(x), "float64")
    wrong = unary(np.sin, {"rev": fg.cos, "fwd": fg.cos} | {mode: wide})
    what = {"rev": "cotangent has .* the primal has", "fwd": "tangent of output 0 has .* the output has"}[mode]
    expected = rf"by args\[0\]: the {what} shape \(2, 3\) and dtype float32"
    with pytest.raises(AssertionError, match=expected):
        check_grads(wrong, (X.astype("float32"),), order=1)


def test_a_derivative_of_the_wrong_shape_fails():
    unsummed = product(lambda g, x, y: g * y, lambda g, x, y: g * x)
    with pytest.raises(AssertionError, match=r"by args\[1\]: the cotangent has shape \(2, 3\)"):
        check_grads(unsummed, (X, 2.0 * X[0]), order=1)
    unspread = product(lambda g, x, y: g * y, lambda g, x, y: g)
    with pytest.raises(AssertionError, match=r"by args\[1\]: the tangent of output 0 has shape \(3,\)"):
        check_grads(unspread, (X, 2.0 * X[0]), 1, ("fwd",))


@by_mode
def test_another_value_inside_a_mode_fails(mode):
    def forward(needed, x):
        return fg.sin(x) * 1.001, None

    def dual(primals, tangents):
        return fg.sin(primals[0]) * 1.001, tangents[0] * fg.cos(primals[0])

    rules = {
        "rev": {"vjp": lambda g, needed, out, x, residuals: (g * fg.cos(x),), "forward": forward},
        "fwd": {"dual": dual},
    }[mode]
    with pytest.raises(AssertionError, match=rf"inside {NAMES[mode]} mode, output 0 has another value .* at index \(0"):
        check_grads(operation(np.sin, **rules), (X,), 1, (mode,))


def test_rules_that_save_residuals_or_give_both_at_once_pass():
    saving = operation(
        np.sin,
        lambda g, needed, out, x, residuals: (g * residuals,),
        forward=lambda needed, x: (fg.sin(x), fg.cos(x)),
        dual=lambda primals, tangents: (fg.sin(primals[0]), tangents[0] * fg.cos(primals[0])),
    )
    check_grads(saving, (X,), order=3)


def test_primitives_with_several_results_pass_and_fail():
    def pair(factor):
        def vjp(g, needed, out, x):
            s, c = out
            terms = [part * other for part, other in zip(g, (c, -s * factor), strict=True) if part is not None]
            return (sum(terms[1:], terms[0]),)

        def jvp(tangents, out, x):
            s, c = out
            return tangents[0] * c, -tangents[0] * s * factor

        return operation(lambda x: (np.sin(x), np.cos(x)), vjp, jvp, lambda x: (x, x), multiple_results=True)

    check_grads(pair(1.0), (X,), order=2)
    for mode, name in NAMES.items():
        with pytest.raises(AssertionError, match=f"{name} mode gives"):
            check_grads(pair(1.001), (X,), 1, mode)


@by_mode
def test_a_missing_conjugate_fails(mode):
    modulus = operation(
        np.abs,
        lambda g, needed, out, x: (g * x / out,),
        lambda tangents, out, x: fg.real(tangents[0] * x / out),
        lambda x: ShapeDtype(x.shape, np.dtype("float64")),
    )
    with pytest.raises(AssertionError, match="order 1"):
        check_grads(modulus, (X + 1j,), modes=(mode,))
    check_grads(fg.abs, (X + 1j,), modes=(mode,))


@by_mode
def test_a_derivative_that_is_not_finite_fails(mode):
    broken = unary(np.sin, lambda x: np.full(x.shape, np.nan))
    with pytest.raises(AssertionError, match="not finite"):
        check_grads(broken, (X,), 1, (mode,))


def test_values_that_are_not_finite_fail_without_a_warning():
    with pytest.raises(AssertionError, match="not finite"):
        check_grads(lambda x: x * np.inf, (1.0,), order=1)


def test_a_kink_is_pointed_out():
    with pytest.raises(AssertionError, match="has a kink near"):
        check_grads(fg.abs, (1e-4,), order=1)


# What can be checked.


def test_one_mode_alone_needs_only_its_rules():
    reverse_only = operation(np.sin, lambda g, needed, out, x: (g * fg.cos(x),))
    check_grads(reverse_only, (X,), 2, ("rev",))
    check_grads(reverse_only, (X,), 2, "rev")
    with pytest.raises(MissingRuleError, match="jvp"):
        check_grads(reverse_only, (X,))
    forward_only = operation(np.sin, None, lambda tangents, out, x: tangents[0] * fg.cos(x))
    check_grads(forward_only, (X,), 2, ["fwd"])
    with pytest.raises(MissingRuleError, match="vjp"):
        check_grads(forward_only, (X,))


@pytest.mark.parametrize("modes", [(), ("forward",), "reverse", ("fwd", "rev", "jit")])
def test_modes_are_forward_and_reverse(modes):
    with pytest.raises(ValueError, match=r'modes is "fwd", "rev" or both, not'):
        check_grads(fg.sin, (X,), modes=modes)


def test_the_order_of_the_modes_does_not_matter():
    for modes in (("fwd", "rev"), ["rev", "fwd"], ("rev", "rev", "fwd")):
        with pytest.raises(AssertionError, match=r"order 1, .*: reverse mode gives"):
            check_grads(sine(rev=1.001, fwd=1.001), (X,), modes=modes)


def test_leaves_without_gradient_stay_as_they_are():
    def f(x, labels, flag, nothing, name, key):
        assert isinstance(labels, np.ndarray)
        assert (flag, nothing, name) == (True, None, "name")
        assert isinstance(key, type(fg.random.key(0)))
        return {"loss": fg.sum(x * labels), "count": labels.size, "none": None}

    check_grads(f, (X, np.arange(3), True, None, "name", fg.random.key(0)))


def test_python_floats_stay_python_floats():
    seen = []

    def f(x):
        seen.append(type(x))
        return x * x

    check_grads(f, (3.0,), order=1)
    assert float in seen


def test_complex_functions_that_are_not_holomorphic_pass():
    check_grads(lambda z: fg.abs(z) * fg.real(z) + fg.conj(z) * 1j, (X + 1j * X[::-1],), order=2)
    check_grads(lambda x: x * (1 + 2j), (X,), order=2)


def test_several_outputs_and_mixed_dtypes_pass():
    def f(x, y):
        return x * y, {"x": fg.sin(x), "y": y}

    check_grads(f, (X, X.astype("float32")), order=2)


def test_zero_size_and_zero_dimensions_pass():
    check_grads(fg.sin, (np.zeros((0, 3)),), order=2)
    check_grads(fg.sin, (np.array(0.5),), order=2)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (
            (fg.sin, X),
            TypeError,
            r"args is the tuple of f's positional arguments, not a ndarray: check_grads\(f, \(x,\)\)",
        ),
        ((X, (X,)), TypeError, "takes a function and its arguments, not a ndarray"),
        ((fg.sin, (X,), 0), ValueError, "order is the highest order of derivative to check, 1 or more, not 0"),
        ((fg.sin, (3,)), NotDifferentiableError, "no floating-point or complex leaf"),
        ((fg.sin, ()), NotDifferentiableError, "no leaf"),
        ((fg.argmax, (X,)), NotDifferentiableError, "the function returns no floating-point or complex leaf"),
    ],
)
def test_nothing_to_check_is_an_error(arguments, error, text):
    with pytest.raises(error, match=text):
        check_grads(*arguments)


def found(strategy, condition):
    quick = settings(max_examples=5000, database=None, phases=[Phase.generate])
    return find(strategy, condition, settings=quick, random=random.Random(0))


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 0), (3, 2, 1)])
def test_shapes_include(shape):
    assert found(strategies.shapes(), lambda drawn: drawn == shape) == shape


def test_broadcastable_shapes_include_the_hard_ones():
    pairs = strategies.broadcastable_shapes(2)
    assert found(pairs, lambda drawn: drawn[0] == () and len(drawn[1]) == 2)
    assert found(pairs, lambda drawn: 0 in drawn[0] and drawn[0] != drawn[1])
    assert found(pairs, lambda drawn: len({len(shape) for shape in drawn}) == 2 and 1 in drawn[0] and 3 in drawn[1])


@given(strategies.broadcastable_shapes(3))
def test_broadcastable_shapes_broadcast(drawn):
    assert len(drawn) == 3
    np.broadcast_shapes(*drawn)


@pytest.mark.parametrize("kind", "fciub")
def test_dtypes_include(kind):
    assert found(strategies.dtypes(), lambda dtype: dtype.kind == kind).kind == kind


@given(strategies.arrays(strategies.dtypes(), min_value=-1.5, max_value=2.5))
def test_arrays_keep_their_bounds(array):
    for part in (array.real, array.imag) if array.dtype.kind == "c" else (array,):
        assert np.all(part >= -1.5)
        assert np.all(part <= 2.5)


@given(strategies.tensors(strategies.dtypes()))
def test_tensors_are_tensors(tensor):
    assert isinstance(tensor, fg.Tensor)


@given(strategies.separated_arrays(min_value=-1.0, max_value=1.0))
def test_separated_arrays_have_no_ties_and_no_zeros(array):
    spacing = 2.0 / (array.size + 1)
    assert np.all(np.abs(array) < 1)
    assert np.all(np.abs(array) >= spacing / 4 - 1e-12)
    assert np.all(np.diff(np.sort(array, axis=None)) >= spacing / 4 - 1e-12)


@given(strategies.axes(3))
def test_axes_are_valid(axis):
    np.sum(np.ones((2, 3, 4)), axis=axis)


def test_axes_include_every_form():
    for wanted in (None, 1, -1, (), (0, -1)):
        assert found(strategies.axes(2), lambda axis, wanted=wanted: axis == wanted) == wanted
    assert found(strategies.axes(0), lambda axis: axis == ()) == ()


@given(strategies.pytrees())
def test_pytrees_are_taken_apart_and_put_together(tree):
    leaves, structure = fg.tree.flatten(tree)
    assert fg.tree.equal(fg.tree.unflatten(structure, leaves), tree)


@pytest.mark.parametrize("node", ["dict", "list", "tuple", "Pair", "Record", "NoneType"])
def test_pytrees_include(node):
    assert type(found(strategies.pytrees(), lambda tree: type(tree).__name__ == node)).__name__ == node
