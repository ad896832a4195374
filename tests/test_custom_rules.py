"""custom_jvp and custom_vjp: the functions they make, their rules, trees, dtypes and static arguments."""

from __future__ import annotations

import functools
import inspect
import pydoc
import tracemalloc

import attrs
import numpy as np
import pytest
from custom_functions import BOTH, MARKED, ONES, X, Y, marked, modes_of, plain, product, product_rule, pulled

import fgrad as fg
from fgrad.errors import ImmutableError, MissingRuleError, NotDifferentiableError
from fgrad.testing import check_grads

# Values, and the function as an object.


@BOTH
def test_values_are_those_of_the_function(f):
    assert fg.tree.equal(f(X, Y), plain(X, Y))
    assert fg.tree.equal(f(fg.asarray(X), y=Y), plain(X, Y))
    assert f(0.0, 2.0) == 0.0


@BOTH
def test_name_documentation_and_signature_survive(f):
    assert f.__name__ in ("product", "pulled")
    assert f.__doc__ in ("sin(x) y, by a rule.", "sin(x) y, by two passes.")
    assert f.__module__ == "custom_functions"
    assert list(inspect.signature(f).parameters) == ["x", "y"]
    assert f.__doc__ in pydoc.render_doc(f, renderer=pydoc.plaintext)
    assert repr(f) == f"<{'custom_jvp' if f is product else 'custom_vjp'} function {f.__name__}>"


@BOTH
def test_it_is_frozen_and_has_one_rule(f):
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        f.anything = 1
    with pytest.raises(ImmutableError, match="has its rule already: define it once"):
        f.defjvp(product_rule) if f is product else f.defvjp(product_rule, product_rule)


def test_defjvp_is_a_decorator():
    assert product_rule.__name__ == "product_rule"
    assert callable(product_rule)


def test_without_a_rule_values_work_and_derivatives_say_what_is_missing():
    f, g = fg.custom_jvp(lambda x: x * 2.0), fg.custom_vjp(lambda x: x * 2.0)
    for function, text in ((f, r"define one with @<lambda>\.defjvp"), (g, r"define one with <lambda>\.defvjp")):
        assert fg.tree.equal(fg.vmap(function)(X), fg.asarray(X * 2))
        assert fg.tree.equal(fg.make_graph(function)(X)(X), fg.asarray(X * 2))
        with pytest.raises(MissingRuleError, match=text):
            fg.grad(function)(1.0)


def test_a_rule_defined_later_serves_a_graph_made_before():
    @fg.custom_jvp
    def f(x):
        return x * x

    graph = fg.make_graph(f)(1.0)
    f.defjvp(lambda primals, tangents: (f(*primals), 7.0 * tangents[0]))
    assert float(fg.grad(graph)(3.0)) == 7.0


def test_methods():
    @attrs.frozen
    class Scale:
        factor: float

        @fg.custom_jvp
        def apply(self, x):
            return self.factor * x

        @apply.defjvp
        def rule(primals, tangents):  # noqa: N805 - it is no method: the instance is one of the primals
            (scale, x), (dscale, dx) = primals, tangents
            return scale.apply(x), 10.0 * (dscale.factor * x + scale.factor * dx)

    assert Scale(2.0).apply(3.0) == 6.0
    gradient = fg.grad(lambda scale, x: scale.apply(x), argnums=(0, 1))(Scale(2.0), 3.0)
    assert (float(gradient[0].factor), float(gradient[1])) == (30.0, 20.0)


# Derivatives.


@BOTH
def test_derivatives_of_three_orders_in_every_nesting(f):
    check_grads(f, (X, Y), order=3, modes=modes_of(f))
    check_grads(f, (0.3, 1.5), order=2, modes=modes_of(f))


def test_a_rule_by_tangents_broadcasts_as_its_operations_do():
    check_grads(product, (0.3, Y), order=2)
    check_grads(product, (X, fg.asarray(0.5)), order=2)


@MARKED
def test_the_rule_is_used_and_not_the_function(f):
    assert float(fg.grad(f)(3.0)) == 30.0
    assert float(fg.grad(lambda x: f(x) * x)(3.0)) == 30.0 * 3 + 9
    assert float(fg.grad(fg.grad(f))(3.0)) == 10.0
    assert float(fg.vjp(f, 3.0)[1](fg.asarray(2.0))[0]) == 60.0
    np.testing.assert_array_equal(fg.vmap(fg.grad(f))(X), 10 * X)
    np.testing.assert_array_equal(fg.grad(lambda x: fg.sum(fg.vmap(f)(x)))(X), 10 * X)
    np.testing.assert_array_equal(fg.jacrev(f)(X), np.diag(10 * X))


def test_the_rule_serves_forward_mode_too():
    f, _ = marked(10.0)
    assert [float(part) for part in fg.jvp(f, (3.0,), (1.0,))] == [9.0, 30.0]
    out, linear_map = fg.linearize(f, 3.0)
    assert (float(out), float(linear_map(2.0))) == (9.0, 60.0)
    np.testing.assert_array_equal(fg.jacfwd(f)(X), np.diag(10 * X))
    np.testing.assert_array_equal(fg.hessian(lambda x: fg.sum(f(x)))(X), 10 * np.eye(3))


@pytest.mark.parametrize("outer", ["jvp", "grad"])
@pytest.mark.parametrize("inner", ["jvp", "grad"])
def test_second_derivatives_in_all_four_nestings(outer, inner):
    transforms = {"jvp": lambda f: lambda x: fg.jvp(f, (x,), (1.0,))[1], "grad": fg.grad}
    f, _ = marked(10.0)
    assert float(transforms[outer](transforms[inner](f))(3.0)) == 10.0
    # f f has the derivative 2 f f', and that 2 f' f' + 2 f f''.
    assert float(transforms[outer](transforms[inner](lambda x: f(x) * f(x)))(2.0)) == 2 * (20 * 20 + 4 * 10)


def test_the_rule_runs_once_in_a_gradient_and_the_function_inside_it():
    counts = {"function": 0, "rule": 0}

    @fg.custom_jvp
    def f(x):
        counts["function"] += 1
        return x * x

    @f.defjvp
    def rule(primals, tangents):
        counts["rule"] += 1
        return f(*primals), 2.0 * primals[0] * tangents[0]

    fg.grad(f)(3.0)
    assert counts == {"function": 1, "rule": 1}
    _, pullback = fg.vjp(f, 3.0)
    assert [float(pullback(fg.asarray(u))[0]) for u in (1.0, 2.0)] == [6.0, 12.0]
    assert counts == {"function": 2, "rule": 2}


def test_the_zeros_at_which_a_rule_is_transposed_raise_no_warnings_and_take_no_memory():
    f = fg.custom_jvp(lambda x: fg.sqrt(x))  # noqa: PLW0108 - a function of its own
    f.defjvp(lambda primals, tangents: (f(*primals), tangents[0] * 0.5 / fg.sqrt(primals[0])))
    out, pullback = fg.vjp(f, 0.0)  # 0 / 0, if one looks
    assert out == 0.0
    with np.errstate(divide="ignore"):
        assert float(pullback(fg.asarray(1.0))[0]) == np.inf

    x = np.linspace(1.0, 2.0, 100_000)
    tracemalloc.start()
    try:
        kept = fg.vjp(f, x)
        size = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(kept) == 2
    assert size < 3.1 * x.nbytes  # the argument, the result and the square root of the rule


def test_python_control_flow_on_concrete_values_works_under_grad_and_jvp():
    @fg.custom_jvp
    def root(a):
        x = a
        while abs(x * x - a) > 1e-12:
            x = 0.5 * (x + a / x)
        return x

    @root.defjvp
    def rule(primals, tangents):
        x = root(*primals)
        return x, tangents[0] / (2.0 * x)

    assert float(fg.grad(root)(4.0)) == pytest.approx(0.25)
    assert float(fg.jvp(root, (4.0,), (1.0,))[1]) == pytest.approx(0.25)
    assert float(fg.grad(fg.grad(root))(4.0)) == pytest.approx(-1 / 32)
    check_grads(root, (4.0,), order=2)


def test_only_what_is_needed_is_pulled_back():
    assert float(fg.grad(lambda x: product(x, 2.0))(0.0)) == 2.0
    assert float(fg.grad(lambda y: product(1.0, y))(0.0)) == np.sin(1.0)
    assert float(fg.jvp(lambda y: product(1.0, y), (0.0,), (1.0,))[1]) == np.sin(1.0)


def test_zero_tangents_are_written_out():
    seen = []

    @fg.custom_jvp
    def f(x, n, y):
        return x * y

    @f.defjvp
    def rule(primals, tangents):
        seen.append(tangents)
        return f(*primals), primals[2] * tangents[0]

    fg.jvp(lambda x: f(x, 3, np.ones(3, np.float32)), (X,), (ONES,))
    fg.grad(lambda x: fg.sum(f(x, 3, np.ones(3, np.float32))))(X)
    for _, dn, dy in seen:
        assert dn is None
        assert fg.tree.equal(dy, fg.zeros(3, np.float32))


def test_jvp_of_grad_runs_the_passes_as_plain_operations():
    @fg.custom_vjp
    def f(x):
        return fg.sin(x)

    f.defvjp(lambda x: (fg.sin(x), x), lambda x, g: (g * fg.cos(x),))
    assert float(fg.jvp(fg.grad(f), (0.5,), (1.0,))[1]) == -np.sin(0.5)
    np.testing.assert_allclose(fg.hvp(lambda x: fg.sum(f(x)), (X,), (ONES,)), -np.sin(X))


def test_custom_vjp_under_jvp_names_custom_jvp():
    for transform in (
        lambda: fg.jvp(pulled, (1.0, 1.0), (1.0, 1.0)),
        lambda: fg.linearize(pulled, 1.0, 1.0),
        lambda: fg.jacfwd(pulled)(1.0, 1.0),
        lambda: fg.jvp(fg.vmap(pulled), (X, Y), (X, Y)),
        lambda: fg.jvp(fg.make_graph(pulled)(1.0, 1.0), (1.0, 1.0), (1.0, 1.0)),
    ):
        with pytest.raises(NotDifferentiableError, match=r"forward mode .* came to pulled.* with fg\.custom_jvp"):
            transform()


# Pytrees, dtypes, integers, keys.


def test_pytrees_in_and_out():
    @fg.custom_jvp
    def f(params, x):
        return {"y": params["w"] * x, "parts": (fg.sum(x), [params["b"]], None)}

    @f.defjvp
    def rule(primals, tangents):
        (params, x), (dparams, dx) = primals, tangents
        tangent = {
            "y": dparams["w"] * x + params["w"] * dx,
            "parts": (fg.sum(dx), [dparams["b"]], None),
        }
        return f(params, x), tangent

    params = {"w": X, "b": 2.0}
    check_grads(f, (params, Y), order=2)
    out, tangent = fg.jvp(f, (params, Y), (params, Y))
    assert fg.tree.structure(out) == fg.tree.structure(tangent) == fg.tree.structure(f(params, Y))


def test_pytrees_through_custom_vjp():
    @fg.custom_vjp
    def f(params, x):
        return params["w"] * x, fg.sum(x)

    def backward(residuals, g):
        params, x = residuals["kept"]
        assert residuals["name"] == "anything"
        return {"w": g[0] * x, "b": None}, params["w"] * g[0] + g[1]

    f.defvjp(lambda params, x: (f(params, x), {"kept": (params, x), "name": "anything"}), backward)
    check_grads(lambda w, x: f({"w": w, "b": 2.0}, x), (X, Y), order=2, modes=("rev",))
    gradient = fg.grad(lambda params: f(params, Y)[1] * 2.0)({"w": X, "b": 2.0})
    assert fg.tree.equal(gradient, {"b": fg.asarray(0.0), "w": fg.asarray(np.zeros(3))})


def test_none_stands_for_zeros_of_a_whole_argument_and_result():
    @fg.custom_vjp
    def f(params, x):
        return x

    f.defvjp(lambda params, x: (x, None), lambda _, g: (None, g * 3.0))
    gradient = fg.grad(lambda params, x: fg.sum(f(params, x)), argnums=(0, 1))({"a": X, "b": [Y]}, X)
    assert fg.tree.equal(gradient, ({"a": fg.zeros(3), "b": [fg.zeros(3)]}, fg.asarray(3 * ONES)))

    h = fg.custom_jvp(lambda x: {"a": x, "b": [x, x]})
    h.defjvp(lambda primals, tangents: (h(*primals), {"a": 5.0 * tangents[0], "b": None}))
    tangent = fg.jvp(h, (X,), (ONES,))[1]
    assert fg.tree.equal(tangent, {"a": fg.asarray(5 * ONES), "b": [fg.zeros(3), fg.zeros(3)]})
    np.testing.assert_array_equal(fg.grad(lambda x: fg.sum(h(x)["a"] + h(x)["b"][0]))(X), 5 * ONES)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@BOTH
def test_dtypes_are_kept(f, dtype):
    x, y = X.astype(dtype), Y.astype(dtype)
    out, pullback = fg.vjp(f, x, y)
    assert out.dtype == dtype
    assert [g.dtype for g in pullback(fg.ones_like(out))] == [np.dtype(dtype)] * 2
    expected = fg.vjp(plain, x, y)[1](fg.ones_like(out))
    for found, other in zip(pullback(fg.ones_like(out)), expected, strict=True):
        np.testing.assert_allclose(found, other, rtol=1e-6)


@pytest.mark.parametrize("staged", [False, True])
@BOTH
def test_python_numbers_promote_nothing(f, staged):
    """Nor do their tangents and cotangents: single precision stays what it is."""
    x = np.asarray(0.3, np.float32)
    g = fg.make_graph(f)(x, 2.0) if staged else f
    out, pullback = fg.vjp(g, x, 2.0)
    dx, dy = pullback(fg.ones_like(out))
    assert (out.dtype, dx.dtype, dy.dtype, dy.shape) == (np.float32, np.float32, np.float64, ())
    np.testing.assert_allclose(dy, np.sin(x), rtol=1e-6)
    if f is product:
        assert fg.jvp(g, (x, 2.0), (x, 1.0))[1].dtype == np.float32
        assert fg.linearize(g, x, 2.0)[1](x, 1.0).dtype == np.float32


def test_results_that_are_python_numbers_stay_such():
    @fg.custom_vjp
    def f(x, y):
        return x * y, y * 2

    f.defvjp(
        lambda x, y: (f(x, y), (x, y)), lambda kept, g: (g[0] * kept[1] + g[1] * 0, fg.sum(g[0] * kept[0]) + 2 * g[1])
    )
    x = X.astype(np.float32)

    def loss(x, y):
        first, second = f(x, y)
        return fg.sum(first * second)

    for transform in (lambda g: g, lambda g: fg.make_graph(g)(x, 3.0)):
        dx, dy = fg.grad(transform(loss), argnums=(0, 1))(x, 3.0)
        np.testing.assert_allclose(dx, [18.0] * 3, rtol=1e-6)
        np.testing.assert_allclose(dy, 12 * np.sum(x), rtol=1e-6)
        assert (dx.dtype, dy.dtype) == (np.float32, np.float64)
    assert fg.vmap(lambda x: f(x, 2.0)[1] * x)(x).dtype == np.float32


def test_integers_booleans_and_keys_have_no_tangents():
    @fg.custom_jvp
    def draw(x, n, flag, key):
        first, second = fg.random.split(key)
        return x * n + fg.random.normal(first, x.shape), fg.argmax(x), second

    @draw.defjvp
    def rule(primals, tangents):
        assert tangents[1:] == (None, None, None)
        out = draw(*primals)
        return out, (tangents[0] * primals[1], None, None)

    key = fg.random.key(0)
    n, flag = fg.asarray([1, 2, 3]), fg.asarray(True)
    out, tangent = fg.jvp(lambda x: draw(x, n, flag, key), (fg.asarray(X),), (ONES,))
    np.testing.assert_array_equal(tangent[0], [1.0, 2.0, 3.0])
    assert tangent[1:] == (None, None)
    assert fg.tree.equal(out, draw(fg.asarray(X), n, flag, key))
    assert int(out[1]) == 2
    assert type(out[2]) is type(key)
    np.testing.assert_array_equal(fg.grad(lambda x: fg.sum(draw(x, n, flag, key)[0]))(fg.asarray(X)), [1.0, 2.0, 3.0])
    keys = fg.random.split(fg.random.key(1), 2)
    batch = fg.asarray(np.stack([X, Y]))
    mapped = fg.vmap(draw, in_axes=(0, None, None, 0))(batch, n, flag, keys)
    np.testing.assert_array_equal(mapped[0][1], draw(fg.asarray(Y), n, flag, keys[1])[0])
    gradient = fg.grad(lambda x: fg.sum(fg.vmap(draw, in_axes=(0, None, None, 0))(x, n, flag, keys)[0]))(batch)
    np.testing.assert_array_equal(gradient, [[1.0, 2.0, 3.0]] * 2)


@pytest.mark.parametrize("zero", [None, 0, np.zeros(3, int)])
def test_zeros_for_integers_are_accepted(zero):
    @fg.custom_vjp
    def f(x, n):
        return x * n

    f.defvjp(lambda x, n: (f(x, n), n), lambda n, g: (g * n, zero))
    np.testing.assert_array_equal(fg.grad(lambda x: fg.sum(f(x, np.array([1, 2, 3]))))(X), [1.0, 2.0, 3.0])

    h = fg.custom_jvp(lambda x: (x, fg.argmax(x)))
    h.defjvp(lambda primals, tangents: (h(*primals), (tangents[0], zero)))
    assert fg.jvp(h, (X,), (ONES,))[1][1] is None


def test_residuals_may_hold_keys_integers_and_numbers():
    @fg.custom_vjp
    def f(x, key):
        return x

    def forward(x, key):
        return x, (key, 3, fg.asarray([1, 2, 3]), None, "text", x)

    def backward(residuals, g):
        key, number, integers, nothing, text, x = residuals
        assert (nothing, text, number) == (None, "text", 3)
        return g * number * integers + 0.0 * fg.random.normal(key, x.shape), None

    f.defvjp(forward, backward)
    loss = lambda x, key: fg.sum(f(x, key))
    key = fg.random.key(1)
    expected = np.array([3.0, 6.0, 9.0])
    np.testing.assert_array_equal(fg.grad(loss)(X, key), expected)
    np.testing.assert_array_equal(fg.grad(fg.make_graph(loss)(X, key))(X, key), expected)
    keys = fg.random.split(key, 2)
    np.testing.assert_array_equal(fg.vmap(fg.grad(loss))(np.stack([X, Y]), keys), [expected] * 2)
    batched = fg.grad(lambda x: fg.sum(fg.vmap(f)(x, keys)))(np.stack([X, Y]))
    np.testing.assert_array_equal(batched, [expected] * 2)


# Static arguments.


@pytest.mark.parametrize("static", ["f", 0, ("f",), (0,), [0], -3, ("f", "power"), ("power", "f"), (2, 0)])
def test_static_arguments_by_name_and_position_come_first(static):
    names = [static] if isinstance(static, str | int) else list(static)
    order = [{"f": "f", "power": "power", 0: "f", -3: "f", 2: "power"}[name] for name in names]
    values = {"f": fg.sin, "power": 2}

    def function(f, x, power):
        return f(x) ** power

    by_tangents = fg.custom_jvp(function, static=static)
    by_cotangents = fg.custom_vjp(static=static)(function)

    @by_tangents.defjvp
    def rule(*args):
        *fixed, primals, tangents = args
        assert fixed == [values[name] for name in order]
        return by_tangents(fg.sin, primals[0], 2), 10.0 * tangents[0]

    def backward(*args):
        *fixed, residuals, g = args
        assert fixed == [values[name] for name in order]
        assert residuals == "kept"
        return (10.0 * g,) if "power" in order else (10.0 * g, None)

    by_cotangents.defvjp(lambda f, x, power: (f(x) ** power, "kept"), backward)
    for g in (by_tangents, by_cotangents):
        of_x = functools.partial(lambda g, x: g(fg.sin, x, 2), g)
        by_keyword = functools.partial(lambda g, x: g(x=x, f=fg.sin, power=2), g)
        assert float(fg.grad(of_x)(1.0)) == float(fg.grad(by_keyword)(1.0)) == 10.0
        np.testing.assert_array_equal(fg.vmap(fg.grad(of_x))(X), 10 * ONES)
        assert float(fg.grad(fg.make_graph(of_x)(1.0))(1.0)) == 10.0


def test_defaults_and_keyword_only_static_arguments():
    @fg.custom_jvp(static="axis")
    def total(x, scale=2.0, *, axis=0):
        return fg.sum(x, axis=axis) * scale

    @total.defjvp
    def rule(axis, primals, tangents):
        (x, scale), (dx, dscale) = primals, tangents
        return total(x, scale, axis=axis), fg.sum(dx, axis=axis) * scale + fg.sum(x, axis=axis) * dscale

    x = np.outer(X, Y)
    check_grads(total, (x,), order=2)
    check_grads(lambda x, scale: total(x, scale, axis=1), (x, 3.0), order=2)


@pytest.mark.parametrize("custom", [fg.custom_jvp, fg.custom_vjp])
def test_array_functions_take_rules_although_they_have_out(custom):
    x = fg.asarray([0.5, 1.0])
    np.testing.assert_array_equal(custom(fg.sin)(x), fg.sin(x))
    np.testing.assert_array_equal(custom(fg.add)(x, x), x + x)
    with pytest.raises(TypeError, match="out"):
        custom(fg.sin)(x, out=np.empty(2))


# One rule for each argument.


def test_defjvps_adds_up_the_rules_of_the_arguments():
    @fg.custom_jvp
    def f(x, y, z):
        return {"a": fg.sin(x) * y, "b": y * 2.0}

    f.defjvps(
        lambda dx, out, x, y, z: {"a": fg.cos(x) * y * dx, "b": fg.zeros_like(y)},
        lambda dy, out, x, y, z: {"a": fg.sin(x) * dy, "b": out["b"] / y * dy},
        None,
    )
    check_grads(lambda x, y: f(x, y, 1.0), (X, Y), order=2)
    assert float(fg.grad(lambda z: fg.sum(f(X, Y, z)["a"]))(1.0)) == 0.0

    square = fg.custom_jvp(lambda x: x * x)
    square.defjvps(lambda dx, out, x: None)
    assert float(fg.grad(square)(3.0)) == 0.0
