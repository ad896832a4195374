"""What goes wrong with custom rules: closures over traced values, rules of wrong shapes, arguments without a rule."""

from __future__ import annotations

import numpy as np
import pytest
from custom_functions import ONES, X, Y

import fgrad as fg
from fgrad.errors import (
    DtypeError,
    EscapedTracerError,
    NotDifferentiableError,
    ShapeError,
    TracerConversionError,
    TreeError,
)

# Closures over values that are traced.


def over_a_jvp_rule(w, x):
    @fg.custom_jvp
    def scaled(x):
        return fg.sin(w * x)

    @scaled.defjvp
    def rule(primals, tangents):
        return scaled(*primals), w * fg.cos(w * primals[0]) * tangents[0]

    return scaled(x)


def over_a_tangent(w, x):
    scaled = fg.custom_jvp(fg.sin)

    @scaled.defjvp
    def rule(primals, tangents):
        return fg.sin(primals[0]), w * fg.cos(primals[0]) * tangents[0]

    return scaled(x)


def over_a_vjp_rule(w, x):
    scaled = fg.custom_vjp(lambda x: fg.sin(w * x))
    scaled.defvjp(lambda x: (fg.sin(w * x), x), lambda x, g: (g * w * fg.cos(w * x),))
    return scaled(x)


def over_residuals(w, x):
    scaled = fg.custom_vjp(fg.sin)
    scaled.defvjp(lambda x: (fg.sin(x), w * x), lambda kept, g: (g * kept,))
    return scaled(x)


def over_a_backward_pass(w, x):
    scaled = fg.custom_vjp(fg.sin)
    scaled.defvjp(lambda x: (fg.sin(x), None), lambda _, g: (g * w,))
    return scaled(x)


def over_a_cotangent(w, x):
    """The value itself is returned, and no operation on it fails."""
    scaled = fg.custom_vjp(fg.sin)
    scaled.defvjp(lambda x: (fg.sin(x), None), lambda _, g: (w,))
    return scaled(x)


JVP_CLOSURES = [over_a_jvp_rule, over_a_tangent]
VJP_CLOSURES = [over_a_vjp_rule, over_residuals, over_a_backward_pass, over_a_cotangent]


@pytest.fixture
def refused():
    """The error that every closure over a traced value must raise."""
    return pytest.raises(
        (NotDifferentiableError, EscapedTracerError),
        match=r"(scaled|sin|<lambda>) closes over a value .*pass w as an argument",
    )


STAGINGS = {
    "eager": lambda f: f,
    "checkpoint": lambda f: lambda w, x: fg.checkpoint(lambda x: f(w, x))(x),
    "graph": lambda f: lambda w, x: fg.make_graph(f)(w, x)(w, x),
    "checkpoint with both": fg.checkpoint,
}


@pytest.mark.parametrize("staging", STAGINGS)
@pytest.mark.parametrize("f", [*JVP_CLOSURES, *VJP_CLOSURES], ids=lambda f: f.__name__)
def test_a_closure_over_a_differentiated_value_is_refused(f, staging, refused):
    g = STAGINGS[staging](f)
    with refused:
        fg.grad(lambda w: g(w, 2.0 * w))(0.5)


@pytest.mark.parametrize("staging", STAGINGS)
@pytest.mark.parametrize("f", JVP_CLOSURES, ids=lambda f: f.__name__)
def test_a_closure_over_a_differentiated_value_is_refused_in_forward_mode(f, staging, refused):
    g = STAGINGS[staging](f)
    with refused:
        fg.jvp(lambda w: g(w, 2.0 * w), (0.5,), (1.0,))
    with refused:
        fg.linearize(lambda w: g(w, 2.0 * w), 0.5)


@pytest.mark.parametrize("f", [over_a_jvp_rule, over_a_vjp_rule], ids=lambda f: f.__name__)
def test_a_closure_is_refused_too_when_no_argument_is_traced(f, refused):
    with refused:
        fg.grad(lambda w: f(w, 2.0))(0.5)
    with refused:
        fg.grad(lambda w: fg.checkpoint(lambda: f(w, 2.0))())(0.5)
    with refused:
        fg.grad(lambda v: fg.sum(fg.vmap(lambda w: f(w, 2.0))(v)))(X)


@pytest.mark.parametrize("f", [over_a_jvp_rule, over_a_vjp_rule], ids=lambda f: f.__name__)
def test_a_closure_over_a_mapped_value_is_refused(f, refused):
    with refused:
        fg.vmap(lambda w: f(w, w))(X)
    with refused:
        fg.make_graph(fg.vmap(lambda w: f(w, w)))(X)


def test_an_inner_value_is_refused_as_one_of_the_same_level(refused):
    def loss(x):
        return fg.grad(lambda w: over_a_jvp_rule(w, x) * w)(1.0)

    with refused:
        fg.grad(loss)(0.5)


def test_a_closure_over_an_outer_value_of_a_forward_pass_is_differentiated():
    """The passes of custom_vjp are plain operations for what lies outside of the gradient that uses them."""

    def loss(w):
        return fg.grad(lambda x: over_a_vjp_rule(w, x))(2.0)

    # d/dw of w cos(2 w)
    assert float(fg.grad(loss)(0.5)) == pytest.approx(np.cos(1.0) - np.sin(1.0))
    np.testing.assert_allclose(fg.vmap(loss)(X), X * np.cos(2 * X), rtol=1e-15)


def test_closures_over_constants_and_stopped_values_are_fine():
    table = fg.asarray(X)
    f = fg.custom_jvp(lambda x: x * table)
    f.defjvp(lambda primals, tangents: (f(*primals), 10.0 * table * tangents[0]))
    np.testing.assert_array_equal(fg.grad(lambda x: fg.sum(f(x)))(Y), 10 * X)

    def loss(w):
        fixed = fg.stop_gradient(w)
        return over_a_jvp_rule(fixed, w)

    assert float(fg.grad(loss)(0.5)) == 0.5 * np.cos(0.25)
    assert float(fg.jvp(loss, (0.5,), (1.0,))[1]) == 0.5 * np.cos(0.25)


def test_values_are_right_where_nothing_is_differentiated():
    np.testing.assert_allclose(fg.vmap(lambda w: over_a_jvp_rule(w, 2.0))(X), np.sin(2 * X), rtol=1e-15)
    graph = fg.make_graph(over_a_jvp_rule)(0.5, 2.0)
    graph.check()
    assert float(graph(0.5, 2.0)) == np.sin(1.0)
    np.testing.assert_allclose(
        fg.vmap(fg.make_graph(over_a_jvp_rule)(*X[:2]), (0, None))(X, 2.0 * fg.ones(())), np.sin(2 * X), rtol=1e-15
    )


def test_captured_values_that_carry_no_derivative_are_fine():
    def shifted(n, x):
        f = fg.custom_jvp(lambda x: x * n)
        f.defjvp(lambda primals, tangents: (primals[0], 10.0 * tangents[0]))
        return f(x)

    graph = fg.make_graph(shifted)(2, fg.asarray(X))
    np.testing.assert_array_equal(graph(3, X), 3 * X)
    np.testing.assert_array_equal(fg.vjp(lambda x: graph(3, x), X)[1](ONES)[0], 10 * ONES)


def test_a_rule_that_uses_a_value_of_a_finished_graph_is_refused():
    graph = fg.make_graph(over_a_jvp_rule)(0.5, 2.0)
    with pytest.raises(EscapedTracerError) as caught:
        fg.grad(graph, argnums=1)(0.5, 2.0)
    first, *lines = str(caught.value).splitlines()
    assert first == (
        "[custom_jvp] scaled closes over a value of a transform that had finished when its rule was needed. A rule "
        "says how to differentiate by the arguments, and knows nothing of other values: pass w as an argument"
    )
    assert "return fg.sin(w * x)" in lines[0]


def test_an_escaped_value_is_named_with_the_users_line():
    with pytest.raises(NotDifferentiableError) as caught:
        fg.grad(lambda w: over_a_jvp_rule(w, 2.0))(0.5)
    message = str(caught.value)
    assert message.startswith("[custom_jvp] scaled closes over a value that grad is tracing. A rule says how")
    assert f"{__file__}:" in message
    assert "return scaled(x)" in message


# What rules return.


def by_tangents(rule, function=lambda x: {"a": x, "n": fg.argmax(x)}):
    f = fg.custom_jvp(function)
    f.defjvp(lambda primals, tangents: rule(function(*primals), *primals, *tangents))
    return f


BAD_TANGENTS = {
    "no pair": (lambda out, x, v: out, TreeError, r"must return a pair \(out, tangent_out\); it returned a dict"),
    "three": (lambda out, x, v: (out, out, out), TreeError, "must return a pair .*it returned a tuple of 3"),
    "a leaf": (lambda out, x, v: (out, v), TreeError, r"of <lambda>, tangent_out is a \w+ where a dict is expected"),
    "keys": (
        lambda out, x, v: (out, {"a": v}),
        TreeError,
        r"in the rule of <lambda>, tangent_out has the keys \['a'\] and should have the keys \['a', 'n'\]",
    ),
    "shape": (
        lambda out, x, v: (out, {"a": fg.sum(v), "n": None}),
        ShapeError,
        r"rule of <lambda>, tangent_out\['a'\] has shape \(\), and out there has shape \(3,\)",
    ),
    "dtype": (
        lambda out, x, v: (out, {"a": v.astype("float32"), "n": None}),
        DtypeError,
        r"tangent_out\['a'\] has dtype float32, and out there has dtype float64; convert it with astype",
    ),
    "integer": (
        lambda out, x, v: (out, {"a": v, "n": 1}),
        NotDifferentiableError,
        r"tangent_out\['n'\] is an int, and out there is int64\[\], which has no derivative: return None",
    ),
    "text": (lambda out, x, v: (out, {"a": "v", "n": None}), TreeError, r"tangent_out\['a'\] is a str, and should be"),
    "text out": (lambda out, x, v: ({"a": "x"}, {"a": None}), DtypeError, r"<lambda>\(\.\.\.\)\['a'\] is a str"),
}


@pytest.mark.parametrize("case", BAD_TANGENTS)
def test_wrong_tangents_are_named(case):
    rule, error, text = BAD_TANGENTS[case]
    f = by_tangents(rule)
    for transform in (
        lambda: fg.jvp(f, (X,), (ONES,)),
        lambda: fg.grad(lambda x: fg.sum(f(x)["a"]))(X),
        lambda: fg.jvp(fg.make_graph(f)(X), (X,), (ONES,)),
        lambda: fg.grad(lambda x: fg.sum(fg.vmap(f)(x)["a"]))(np.stack([X, Y])),
    ):
        with pytest.raises(error, match=text):
            transform()


def test_a_pair_the_wrong_way_round_is_named():
    f = fg.custom_jvp(lambda x: x * 2.0)
    f.defjvp(lambda primals, tangents: (2.0 * tangents[0], f(*primals)))
    with pytest.raises(TreeError, match="a result that depends on the tangents: it must return the pair"):
        fg.grad(f)(3.0)


@pytest.mark.parametrize(
    ("rule", "error", "text"),
    [
        (
            lambda x, v: (fg.sum(x), fg.sum(v)),
            ShapeError,
            r"rule of <lambda> returned out as float64\[\], and .* itself",
        ),
        (
            lambda x, v: (x.astype("float32"), v.astype("float32")),
            DtypeError,
            r"out as float32\[3\], and .* float64\[3\]",
        ),
        (
            lambda x, v: ((x,), (v,)),
            TreeError,
            r"rule of <lambda> returned a result of Structure\(\(\*,\)\), and .* itself",
        ),
    ],
)
def test_a_staged_call_knows_what_its_function_returns(rule, error, text):
    f = fg.custom_jvp(lambda x: x * 2.0)
    f.defjvp(lambda primals, tangents: rule(*primals, *tangents))
    with pytest.raises(error, match=text):
        fg.jvp(fg.make_graph(f)(X), (X,), (ONES,))
    g = fg.custom_vjp(lambda x: x * 2.0)
    g.defvjp(lambda x: (rule(x, x)[0], None), lambda _, u: (u,))
    with pytest.raises(error, match=text):
        fg.vjp(fg.make_graph(g)(X), X)


BAD_COTANGENTS = {
    "no tuple": (lambda p, x, g: g, TreeError, "one cotangent for each argument that is not static, 3 of them; it"),
    "two": (lambda p, x, g: (p, g), TreeError, r"3 of them; it returned a tuple of 2"),
    "structure": (
        lambda p, x, g: ({"v": g}, g, None),
        TreeError,
        r"pass of scaled, the cotangent of params has the keys \['v'\] and should have the keys \['w'\]",
    ),
    "shape": (
        lambda p, x, g: ({"w": fg.sum(g)}, g, None),
        ShapeError,
        r"backward pass of scaled, the cotangent of params\['w'\] has shape \(\), and the argument has shape \(3,\)",
    ),
    "dtype": (
        lambda p, x, g: (None, g.astype("float32"), None),
        DtypeError,
        r"the cotangent of x has dtype float32, and the argument has dtype float64",
    ),
    "integer": (
        lambda p, x, g: (None, g, g),
        NotDifferentiableError,
        r"the cotangent of n is float64\[3\], and the argument is int64\[3\], which has no derivative: return None",
    ),
    "text": (
        lambda p, x, g: (None, "g", None),
        TreeError,
        "backward pass of scaled, the cotangent of x is a str, and should be a number",
    ),
}


@pytest.mark.parametrize("case", BAD_COTANGENTS)
def test_wrong_cotangents_are_named(case):
    backward, error, text = BAD_COTANGENTS[case]

    @fg.custom_vjp(static="mode")
    def scaled(params, mode, x, n):
        return params["w"] * x

    scaled.defvjp(
        lambda params, mode, x, n: (scaled(params, mode, x, n), (params, x)),
        lambda mode, residuals, g: backward(*residuals, g),
    )
    loss = lambda params, x: fg.sum(scaled(params, "fast", x, np.array([1, 2, 3])))
    for g in (loss, fg.make_graph(loss)({"w": X}, Y)):
        with pytest.raises(error, match=text) as caught:
            fg.grad(g)({"w": X}, Y)
        assert str(caught.value).count("\n  at ") == 1


def test_a_forward_pass_returns_a_pair():
    f = fg.custom_vjp(lambda x: x)
    f.defvjp(lambda x: x, lambda _, g: (g,))
    with pytest.raises(TreeError, match=r"forward pass of <lambda> must return a pair \(out, residuals\); it returned"):
        fg.grad(f)(1.0)


# Arguments.


@pytest.mark.parametrize("make", [fg.custom_jvp, fg.custom_vjp])
def test_arguments_that_are_no_numbers_name_static(make):
    def f(options, x):
        return x

    text = r"the argument options\['mode'\] of f is a str, and only numbers, .*static=\('options',\)"
    for call in (lambda: make(f)({"mode": "a"}, 1.0), lambda: fg.vmap(lambda x: make(f)({"mode": "a"}, x))(X)):
        with pytest.raises(DtypeError, match=text):
            call()
    with pytest.raises(DtypeError, match=r"the argument x of f is a function, .*static"):
        make(f, static="options")("a", fg.sin)


@pytest.mark.parametrize("make", [fg.custom_jvp, fg.custom_vjp, fg.checkpoint])
def test_static_must_name_arguments(make):
    def f(x, power=2, *, flag=False):
        return x

    name = make.__name__
    with pytest.raises(
        TypeError, match=f"{name}: static='q' names no argument of f; its parameters are x, power, flag"
    ):
        make(f, static="q")
    with pytest.raises(TypeError, match=f"{name}: static=7 names no argument of f"):
        make(f, static=("flag", 7))
    with pytest.raises(TypeError, match="names an argument of f twice"):
        make(f, static=(0, "x"))
    with pytest.raises(TypeError, match=rf"fg\.{name} takes a function, not"):
        make(3.0)
    with pytest.raises(TypeError, match=r"static='x' names no argument of max; its parameters are not known"):
        make(max, static="x")


@pytest.mark.parametrize("make", [fg.custom_jvp, fg.custom_vjp, fg.checkpoint])
def test_static_arguments_are_not_traced(make):
    f = make(lambda x, scale: x * scale, static="scale")
    text = r"the argument scale of <lambda> is static for \w+, and a value that grad is tracing was given for it"
    with pytest.raises(NotDifferentiableError, match=text):
        fg.grad(lambda w: f(1.0, {"s": w}["s"]))(2.0)


def test_keyword_only_arguments_must_be_static():
    f = fg.custom_jvp(lambda x, *, scale=2.0: x * scale)
    with pytest.raises(TypeError, match="takes arguments by position, and <lambda> has scale by keyword only"):
        f(1.0)


def test_calls_that_do_not_fit_the_signature():
    f = fg.custom_jvp(lambda x, y: x)
    with pytest.raises(
        TypeError, match="<lambda> cannot be called with these arguments: missing a required argument: 'y'"
    ):
        f(1.0)
    f.defjvps(None)
    with pytest.raises(TypeError, match="was given 1 rules by defjvps and called with 2 arguments"):
        fg.grad(f)(1.0, 2.0)
    with pytest.raises(TypeError, match="has static arguments, which defjvps has no place for; use defjvp"):
        fg.custom_jvp(lambda x, y: x, static="y").defjvps(None)
    for define in (lambda: f.defjvp(1.0), lambda: fg.custom_vjp(lambda x: x).defvjp(fg.sin, 1.0)):
        with pytest.raises(TypeError, match="takes a function, not a float"):
            define()


def test_values_asked_for_inside_a_graph_name_static():
    @fg.custom_jvp
    def power(x, n):
        return x if n == 1 else x * x

    with pytest.raises(
        TracerConversionError, match=r"(?s)custom_jvp is tracing has no value.*name those .* in static="
    ):
        fg.make_graph(lambda x: power(x, 2))(3.0)


def test_errors_of_the_users_functions_pass_unchanged():
    class OwnError(ValueError):
        pass

    def fail(*args):
        raise OwnError("mine")

    f, g = fg.custom_jvp(lambda x: x), fg.custom_vjp(lambda x: x)
    f.defjvp(fail)
    g.defvjp(fail, fail)
    for h in (fg.custom_jvp(fail), fg.custom_vjp(fail)):
        for transform in (lambda h: h(1.0), lambda h: fg.vmap(h)(X), lambda h: fg.make_graph(h)(X)):
            with pytest.raises(OwnError, match="mine"):
                transform(h)
    for h in (f, g):
        for transform in (
            lambda h: fg.grad(h)(1.0),
            lambda h: fg.vmap(fg.grad(h))(X),
            lambda h: fg.grad(lambda x: fg.sum(fg.vmap(h)(x)))(X),
        ):
            with pytest.raises(OwnError, match="mine"):
                transform(h)


@pytest.mark.parametrize("tangent", [fg.ones_like, lambda v: v + 1.0, fg.exp])
def test_a_rule_that_is_not_zero_at_zero_tangents_is_refused_in_reverse_mode(tangent):
    f = fg.custom_jvp(lambda x: x * 2.0)
    f.defjvp(lambda primals, tangents: (primals[0] * 2.0, tangent(tangents[0])))
    with pytest.raises(fg.errors.ShapeError, match="not linear in its tangents: where they are zero"):
        fg.grad(f)(1.0)
    with pytest.raises(fg.errors.ShapeError, match="not linear"):
        fg.grad(lambda x: fg.sum(f(x)))(fg.ones(3))


def test_a_rule_may_be_nan_at_zero_tangents_where_it_has_a_pole():
    f = fg.custom_jvp(lambda x: x**0.5)
    f.defjvp(lambda primals, tangents: (fg.sqrt(primals[0]), tangents[0] * (0.5 / fg.sqrt(primals[0]))))
    with np.errstate(divide="ignore", invalid="ignore"):
        assert fg.grad(f)(fg.asarray(0.0)).item() == np.inf
