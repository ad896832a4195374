"""Levels and traces: nesting, escaped tracers, exceptions, threads, and what the backward walk does not do."""

from __future__ import annotations

import contextlib
import math
import weakref
from concurrent.futures import ThreadPoolExecutor

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fgrad as fg
from fgrad.core.bind import Tracer, bind, next_level, staging
from fgrad.core.primitive import Primitive
from fgrad.errors import EscapedTracerError, MissingRuleError


def nth_derivative(f, order):
    for _ in range(order):
        f = fg.grad(f)
    return f


# Nesting.


@pytest.mark.parametrize("order", range(7))
def test_derivatives_of_sine_to_any_order(order):
    found = nth_derivative(fg.sin, order)(0.7)
    assert float(found) == pytest.approx(math.sin(0.7 + order * math.pi / 2), rel=1e-12)


@pytest.mark.parametrize("order", range(6))
def test_derivatives_of_a_power_to_any_order(order):
    found = nth_derivative(lambda x: x**5, order)(2.0)
    assert float(found) == math.perm(5, order) * 2.0 ** (5 - order)


def test_perturbations_are_not_confused():
    assert float(fg.grad(lambda x: x * fg.grad(lambda y: x + y)(1.0))(1.0)) == 1.0
    assert float(fg.grad(lambda x: x * fg.grad(lambda y: x * y)(2.0))(3.0)) == 6.0
    assert float(fg.grad(lambda x: fg.grad(lambda y: x)(2.0))(3.0)) == 0.0


def test_nested_gradients_by_different_variables():
    mixed = fg.grad(lambda x: fg.grad(lambda y: x**2 * y**3)(5.0))
    assert float(mixed(3.0)) == 2 * 3 * 3 * 25
    thrice = fg.grad(lambda x: fg.grad(lambda y: fg.grad(lambda z: x * y**2 * z**3)(2.0) * x)(3.0))
    assert float(thrice(5.0)) == 2 * 5 * 2 * 3 * 3 * 4


@given(st.floats(-2, 2), st.floats(-2, 2))
def test_mixed_partials_agree_in_either_order(x, y):
    def f(x, y):
        return fg.sin(x * y) + x**3 * y

    by_y_then_x = fg.grad(lambda x: fg.grad(f, 1)(x, y))(x)
    by_x_then_y = fg.grad(lambda y: fg.grad(f, 0)(x, y))(y)
    expected = math.cos(x * y) - x * y * math.sin(x * y) + 3 * x**2
    np.testing.assert_allclose([by_y_then_x, by_x_then_y], expected, rtol=1e-12, atol=1e-12)


def test_an_inner_gradient_inside_the_outer_argument():
    newton = lambda f, x: x - f(x) / fg.grad(f)(x)
    a = 2.0
    root = lambda a: newton(lambda x: x * x - a, newton(lambda x: x * x - a, 1.5))
    h = 1e-5
    assert float(fg.grad(root)(a)) == pytest.approx((float(root(a + h)) - float(root(a - h))) / (2 * h), rel=1e-8)


def test_hessian_of_a_vector_function():
    x = np.array([0.3, -1.2, 2.0])
    gradient = fg.grad(lambda x: fg.sum(x**3) + x[0] * x[1])
    rows = [fg.grad(lambda x, i=i: gradient(x)[i])(x) for i in range(3)]
    expected = np.diag(6 * x)
    expected[0, 1] = expected[1, 0] = 1
    np.testing.assert_allclose(rows, expected, rtol=1e-12)


def test_vjp_inside_grad_and_grad_inside_vjp():
    def through_pullback(x):
        out, pullback = fg.vjp(lambda y: y**3, x)
        return out + pullback(2.0)[0]

    assert float(fg.grad(through_pullback)(2.0)) == 3 * 4 + 2 * 6 * 2
    out, pullback = fg.vjp(fg.grad(lambda x: x**4), 2.0)
    assert float(out) == 32.0
    assert float(pullback(1.0)[0]) == 48.0


def test_a_pullback_is_differentiable_by_its_cotangent():
    x = np.array([1.0, 2.0])
    _, pullback = fg.vjp(lambda x: x * x, x)
    by_cotangent = fg.grad(lambda u: fg.sum(pullback(u)[0] * fg.asarray([1.0, 10.0])))(np.ones(2))
    np.testing.assert_array_equal(by_cotangent, [2.0, 40.0])


def test_a_pullback_closed_over_an_outer_tracer_is_differentiable_by_it():
    def f(w):
        _, pullback = fg.vjp(lambda x: w * x * x, 3.0)
        return pullback(1.0)[0]

    assert float(fg.grad(f)(5.0)) == 6.0


def test_levels_are_unique_over_threads():
    with ThreadPoolExecutor(8) as pool:
        levels = [level for part in pool.map(lambda _: [next_level() for _ in range(500)], range(8)) for level in part]
    assert len(set(levels)) == len(levels)


def test_a_long_chain_does_not_recurse():
    def chain(x):
        for _ in range(20_000):
            x = x * 1.0001
        return x

    assert float(fg.grad(chain)(1.0)) == pytest.approx(1.0001**20_000)


# Exceptions.


class StopError(Exception):
    pass


def fail(*args):
    raise StopError


@pytest.mark.parametrize(
    "raising",
    [
        lambda: fg.grad(lambda x: fail(x * x))(1.0),
        lambda: fg.vjp(lambda x: fail(x * x), 1.0),
        lambda: fg.show_tape(lambda x: fail(x * x))(1.0),
        lambda: fg.make_graph(lambda x: fail(x * x))(1.0),
        lambda: fg.grad(lambda x: x * fg.grad(lambda y: fail(x * y))(1.0))(1.0),
        lambda: fg.grad(lambda x: fg.make_graph(lambda y: fail(x * y))(1.0))(1.0),
        lambda: fg.make_graph(lambda x: fg.grad(lambda y: fail(x * y))(1.0))(1.0),
        lambda: fg.make_graph(lambda x: fg.make_graph(lambda y: fail(x * y))(1.0))(1.0),
        lambda: fg.vjp(lambda x: x, 1.0)[1](fail()),
    ],
)
def test_an_exception_leaves_no_trace_behind(raising):
    with pytest.raises(StopError):
        raising()
    assert staging.trace is None
    assert float(fg.grad(lambda x: x**2)(3.0)) == 6.0
    assert float(fg.grad(fg.grad(lambda x: x**3))(2.0)) == 12.0
    assert fg.make_graph(lambda x: x * 2.0)(1.0)(4.0) == 8.0
    assert type(fg.sin(1.0) * 2) is type(fg.asarray(1.0))


def test_an_exception_that_is_caught_inside_leaves_the_outer_gradient_right():
    def f(x):
        with contextlib.suppress(StopError):
            fg.grad(lambda y: fail(x * y))(2.0)
        return x**2 * fg.grad(lambda y: x * y)(1.0)

    assert float(fg.grad(f)(2.0)) == 12.0


def test_a_tracer_kept_in_an_exception_has_escaped():
    class CarrierError(Exception):
        pass

    def f(x):
        raise CarrierError(x * 2)

    with pytest.raises(CarrierError) as caught:
        fg.grad(f)(1.0)
    with pytest.raises(EscapedTracerError):
        caught.value.args[0] + 1


# Escapes.


def escaped(transform=fg.grad):
    seen = []
    transform(lambda x: seen.append(x * 1.0) or x * x)(3.0)
    return seen[0]


@pytest.mark.parametrize(
    "use",
    [
        lambda t: t + 1,
        lambda t: 1 + t,
        lambda t: np.ones(2) * t,
        lambda t: fg.asarray([1.0, 2.0]) * t,
        lambda t: -t,
        fg.sin,
        np.sin,
        lambda t: t > 0,
        lambda t: t.reshape(1),
        lambda t: fg.concatenate([t.reshape(1), t.reshape(1)]),
        bool,
        int,
        float,
        np.asarray,
        lambda t: t.item(),
        lambda t: fg.grad(lambda x: x * t)(1.0),
        lambda t: fg.grad(lambda x: t)(1.0),
        lambda t: fg.grad(lambda x: (x, t), has_aux=True)(1.0),
        fg.grad(lambda x: x * x),
        lambda t: fg.grad(lambda x: fg.grad(lambda y: x * y * t)(1.0))(1.0),
        lambda t: fg.vjp(lambda x: x * t, 1.0),
        lambda t: fg.vjp(lambda x: t, 1.0),
        lambda t: fg.make_graph(lambda x: x * t)(1.0),
        lambda t: fg.make_graph(lambda x: t)(1.0),
    ],
)
@pytest.mark.parametrize("transform", [fg.grad, fg.make_graph])
def test_an_escaped_tracer_raises_wherever_it_is_used(use, transform):
    with pytest.raises(EscapedTracerError, match=f"belongs to a finished {transform.__name__} call"):
        use(escaped(transform))


def test_the_error_of_an_escaped_tracer_names_the_line_and_the_way_out():
    tracer = escaped()
    with pytest.raises(EscapedTracerError) as caught:
        tracer + 1
    message = str(caught.value)
    assert "has_aux=True" in message
    assert "test_core_dispatch.py" in message
    assert "tracer + 1" in message


def test_an_escaped_tracer_can_be_shown():
    assert "finished" in repr(escaped())
    assert "finished" in str(escaped())


def test_a_tracer_of_an_inner_call_cannot_be_returned_by_the_outer_function():
    def leak(x):
        seen = []
        fg.grad(lambda y: seen.append(y * x) or y * x)(2.0)
        return seen[0]

    for call in (
        lambda: fg.grad(leak)(1.0),
        lambda: fg.grad(lambda x: (x, leak(x)), has_aux=True)(1.0),
        lambda: fg.vjp(leak, 1.0),
        lambda: fg.make_graph(leak)(1.0),
    ):
        with pytest.raises(EscapedTracerError):
            call()


def test_a_pullback_made_inside_grad_cannot_be_used_after_it():
    pullbacks = []
    fg.grad(lambda x: pullbacks.append(fg.vjp(lambda y: y * y * x, x)[1]) or x)(2.0)
    with pytest.raises(EscapedTracerError):
        pullbacks[0](1.0)


def test_auxiliary_values_are_those_of_the_level_outside():
    gradient, (aux,) = fg.grad(lambda x: (x * x, [x * 3.0]), has_aux=True)(fg.asarray(2.0))
    assert not isinstance(aux, Tracer)
    assert (float(gradient), float(aux)) == (4.0, 6.0)

    def nested(x):
        gradient, aux = fg.grad(lambda y: (x * y * y, x * y), has_aux=True)(3.0)
        return gradient * aux

    assert float(fg.grad(nested)(2.0)) == 2 * 2 * 6 * 3


# What is not done.


def identity_primitive(rule, *, name="under_test"):
    return Primitive(name, lambda *arrays: sum(arrays) * 1.0, lambda *avals: avals[0], rule)


def test_rules_are_told_what_is_needed():
    masks = []

    def rule(g, needed, out, x, y):
        masks.append([bool(one) for one in needed])
        return (g if needed[0] else None, g if needed[1] else None)

    primitive = identity_primitive(rule)
    x, data = fg.asarray([1.0, 2.0]), fg.asarray([3.0, 4.0])
    fg.grad(lambda x: fg.sum(bind(primitive, x, data)))(x)
    fg.grad(lambda x: fg.sum(bind(primitive, data, x)))(x)
    fg.grad(lambda x, y: fg.sum(bind(primitive, x, y)), (0, 1))(x, data)
    assert masks == [[True, False], [False, True], [True, True]]


def test_untouched_branches_cost_no_backward_work():
    calls = []
    primitive = identity_primitive(lambda g, needed, out, x: calls.append(1) or (g,))

    def f(x):
        unused = bind(primitive, x)
        constant = bind(primitive, fg.asarray(2.0))
        stopped = fg.stop_gradient(bind(primitive, x))
        compared = bind(primitive, x) > 0
        assert unused.shape == ()
        return x * constant * stopped * compared

    fg.grad(f)(fg.asarray(1.0))
    assert calls == []


def test_operations_on_constants_are_not_recorded():
    a = fg.asarray([1.0, 2.0])
    tape = fg.show_tape(lambda x: fg.sum(fg.sin(a) * fg.exp(a) * x))(a)
    assert [record.operation for record in tape] == ["input", "multiply", "sum"]


def test_a_rule_without_contribution_counts_as_zero():
    primitive = identity_primitive(lambda g, needed, out, x: (None,))
    np.testing.assert_array_equal(fg.grad(lambda x: fg.sum(bind(primitive, x)))(np.ones(2)), np.zeros(2))


def test_a_missing_rule_names_primitive_and_way_out():
    primitive = identity_primitive(None, name="mystery")
    with pytest.raises(MissingRuleError, match=r"\[mystery\] has no reverse-mode rule \(vjp\).*stop_gradient"):
        fg.grad(lambda x: fg.sum(bind(primitive, x)))(np.ones(2))
    np.testing.assert_array_equal(bind(primitive, np.ones(2)), np.ones(2))


def test_grad_frees_residuals_as_it_walks_and_vjp_keeps_them():
    references = []
    alive = []

    def evaluate_late(x):
        out = np.array(x) * 1.0
        references.append(weakref.ref(out))
        return out

    late = Primitive("late", evaluate_late, lambda x: x, lambda g, needed, out, x: (g,))
    early = identity_primitive(lambda g, needed, out, x: alive.append(references[-1]() is not None) or (g,))
    f = lambda x: fg.sum(bind(late, bind(early, x)) * 1.0)
    fg.grad(f)(fg.asarray([1.0, 2.0]))
    _, pullback = fg.vjp(f, fg.asarray([1.0, 2.0]))
    pullback(1.0)
    pullback(1.0)
    assert alive == [False, True, True]


def test_results_with_several_outputs_take_the_cotangents_that_there_are():
    given_cotangents = []

    def rule(g, needed, out, x):
        given_cotangents.append([part is not None for part in g])
        return (sum(part * factor for part, factor in zip(g, (2.0, 3.0), strict=True) if part is not None),)

    primitive = Primitive("pair", lambda x: (2.0 * x, 3.0 * x), lambda x: (x, x), rule, multiple_results=True)
    first = fg.grad(lambda x: bind(primitive, x)[0])(fg.asarray(1.0))
    second = fg.grad(lambda x: bind(primitive, x)[1])(fg.asarray(1.0))
    both = fg.grad(lambda x: bind(primitive, x)[0] * bind(primitive, x)[1])(fg.asarray(5.0))
    assert (float(first), float(second), float(both)) == (2.0, 3.0, 60.0)
    assert given_cotangents == [[True, False], [False, True], [False, True], [True, False]]


# Threads.


def test_eight_threads_with_different_gradients_at_once():
    def work(number):
        found = []
        for turn in range(30):
            k = float(number + turn)
            f = lambda x, k=k: fg.sum(fg.sin(x * k) + x**3)
            x = np.linspace(0.1, 1.0, 5)
            gradient = fg.grad(f)(x)
            second = fg.grad(fg.grad(lambda x, k=k: fg.sin(x * k) + x**3))(0.5)
            graph = fg.make_graph(lambda x, k=k: x * k + fg.ones(5))(x)
            found.append(
                np.allclose(gradient, k * np.cos(x * k) + 3 * x**2)
                and np.isclose(second, -k * k * math.sin(0.5 * k) + 3.0)
                and len(graph.equations) == 3
                and np.array_equal(graph(x), x * k + 1)
            )
        return all(found)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_staging_in_one_thread_does_not_stage_in_another():
    def f(x):
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(lambda: (staging.trace, fg.ones(2), fg.grad(lambda y: y * y)(3.0))).result()
        assert other[0] is None
        assert not isinstance(other[1], Tracer)
        assert float(other[2]) == 6.0
        return x * 2.0

    graph = fg.make_graph(f)(1.0)
    assert [equation.primitive.name for equation in graph.equations] == ["multiply"]


def test_a_tracer_may_be_used_in_another_thread():
    def f(x):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: x * x).result()

    assert float(fg.grad(f)(3.0)) == 6.0


# Records.


def test_records_are_frozen():
    x = fg.asarray([1.0])
    graph = fg.make_graph(fg.sin)(x)
    tape = fg.show_tape(fg.sin)(x)
    _, pullback = fg.vjp(fg.sin, x)
    seen = []
    fg.grad(lambda y: seen.append(y) or fg.sum(y))(x)
    fg.make_graph(lambda y: seen.append(y) or y)(x)
    records = [x, graph, graph.equations[0], graph.inputs[0], graph.inputs[0].aval, tape[0], pullback, *seen]
    for record in records:
        name = attrs.fields(type(record))[0].name
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(record, name, None)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            delattr(record, name)
