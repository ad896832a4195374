"""Jacobians, Hessians and products with them: values, structures, dtypes, nesting, memory and messages."""

from __future__ import annotations

import functools
import re
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fgrad as fg
from fgrad import errors, random
from fgrad.core.bind import bind
from fgrad.core.primitive import Primitive
from fgrad.core.shape import ShapeDtype

MODES = [fg.jacrev, fg.jacfwd, fg.jacobian]
by_mode = pytest.mark.parametrize("transform", MODES)

RNG = np.random.default_rng(7)
A = RNG.normal(size=(4, 3))
B = RNG.normal(size=(3, 3))
X = RNG.normal(size=3)
V = RNG.normal(size=3)


def assert_close(found, expected, rtol=1e-12):
    leaves, structure = fg.tree.flatten(found)
    others, other_structure = fg.tree.flatten(expected)
    assert structure == other_structure
    for leaf, other in zip(leaves, others, strict=True):
        assert leaf.shape == np.shape(other)
        np.testing.assert_allclose(np.asarray(leaf), np.asarray(other), rtol=rtol, atol=rtol)


def shapes(tree):
    return fg.tree.map(lambda leaf: leaf.shape, tree)


def softmax(x):
    e = fg.exp(x - fg.stop_gradient(fg.max(x)))
    return e / fg.sum(e)


def rosenbrock(x):
    return fg.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def rosenbrock_hessian(x):
    n = len(x)
    matrix = np.zeros((n, n))
    for i in range(n - 1):
        matrix[i, i] += 2.0 + 1200.0 * x[i] ** 2 - 400.0 * x[i + 1]
        matrix[i + 1, i + 1] += 200.0
        matrix[i, i + 1] = matrix[i + 1, i] = -400.0 * x[i]
    return matrix


def net(params, x):
    return fg.tanh(params["w"] @ x + params["b"])


PARAMS = {"b": RNG.normal(size=4), "w": A}


def net_jacobian(params, x):
    slope = 1.0 - np.tanh(params["w"] @ x + params["b"]) ** 2
    return {"b": np.diag(slope), "w": np.einsum("i,ij,k->ijk", slope, np.eye(len(slope)), x)}


# Values against closed forms.


@by_mode
def test_of_a_linear_map_it_is_the_matrix(transform):
    assert_close(transform(lambda x: fg.asarray(A) @ x)(X), A)


@by_mode
def test_of_an_elementwise_function_it_is_diagonal(transform):
    assert_close(transform(fg.sin)(X), np.diag(np.cos(X)))


@by_mode
def test_of_softmax(transform):
    p = np.exp(X) / np.exp(X).sum()
    assert_close(transform(softmax)(X), np.diag(p) - np.outer(p, p))


@by_mode
def test_of_a_function_of_matrices_it_has_the_axes_of_the_output_and_then_of_the_input(transform):
    eye = np.eye(3)
    expected = np.einsum("ik,lj->ijkl", eye, B) + np.einsum("ik,jl->ijkl", B, eye)
    assert_close(transform(lambda x: x @ x)(B), expected)
    assert transform(lambda x: fg.asarray(A) @ x)(B).shape == (4, 3, 3, 3)


@by_mode
def test_of_a_scalar_function_it_is_the_gradient(transform):
    assert_close(transform(rosenbrock)(X), fg.grad(rosenbrock)(X))


@by_mode
def test_of_a_constant_it_is_zero(transform):
    assert_close(transform(lambda x: fg.ones(2))(X), np.zeros((2, 3)))
    assert_close(transform(lambda x: (2.0 * x, 1.0))(X), (2.0 * np.eye(3), np.zeros(3)))


@by_mode
def test_python_numbers(transform):
    derivative = transform(lambda x: x**3)(2.0)
    assert_close(derivative, 12.0)
    assert derivative.dtype == np.float64
    assert_close(transform(lambda x: {"x": x, "square": [x * x]})(3.0), {"x": 1.0, "square": [6.0]})
    assert_close(transform(lambda t: fg.stack([fg.cos(t), fg.sin(t)]))(0.5), np.array([-np.sin(0.5), np.cos(0.5)]))


@by_mode
def test_arguments_and_results_without_elements(transform):
    assert shapes(transform(lambda x: x[:0])(fg.ones(3))) == (0, 3)
    assert shapes(transform(lambda x: fg.ones(2) * fg.sum(x))(fg.ones(0))) == (2, 0)
    assert shapes(transform(lambda x: x)(fg.ones((0, 2)))) == (0, 2, 0, 2)
    assert_close(transform(lambda p: p["x"] * 2.0)({"empty": fg.ones(0), "x": 1.5}), {"empty": np.zeros(0), "x": 2.0})
    assert transform(lambda x: fg.ones(2))(None) is None
    assert transform(lambda x: ())(fg.ones(2)) == ()


@given(st.data())
def test_both_modes_agree(data):
    def draw_shape():
        return data.draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3))

    def draw(shape):
        return data.draw(hnp.arrays(np.float64, shape, elements=st.floats(-2.0, 2.0)))

    argument = {"x": draw(draw_shape()), "y": (draw(draw_shape()), draw(()))}
    scale = draw(draw_shape())

    def function(tree):
        x, (y, z) = tree["x"], tree["y"]
        return [fg.sin(x) * z, {"outer": fg.tanh(scale * fg.sum(y * y) + fg.sum(x)), "y": y * fg.sum(x)}]

    reverse, forward = fg.jacrev(function)(argument), fg.jacfwd(function)(argument)
    assert_close(forward, reverse, rtol=1e-10)
    chunk = data.draw(st.integers(1, 7))
    assert_close(fg.jacrev(function, chunk_size=chunk)(argument), reverse, rtol=1e-10)
    assert_close(fg.jacfwd(function, chunk_size=chunk)(argument), reverse, rtol=1e-10)
    for out, column in zip(fg.tree.leaves(function(argument)), [reverse[0], *reverse[1].values()], strict=True):
        assert shapes(column) == fg.tree.map(lambda leaf, out=out: out.shape + leaf.shape, argument)


# Structures and arguments.


@by_mode
def test_trees(transform):
    expected = net_jacobian(PARAMS, X)
    assert_close(transform(net)(PARAMS, X), expected)
    result = transform(lambda p: {"y": net(p, X), "pair": (fg.sum(p["b"]), p["b"])})(PARAMS)
    b, w = np.zeros((4, 4)), np.zeros((4, 4, 3))
    assert_close(result, {"pair": ({"b": np.ones(4), "w": w[0]}, {"b": b + np.eye(4), "w": w}), "y": expected})


@by_mode
def test_argnums(transform):
    by_x = net_jacobian(PARAMS, X)["b"] @ A
    assert_close(transform(net, 1)(PARAMS, X), by_x)
    assert_close(transform(net, argnums=-1)(PARAMS, X), by_x)
    assert_close(transform(net, (1, 0))(PARAMS, X), (by_x, net_jacobian(PARAMS, X)))
    assert_close(transform(net, [1])(PARAMS, X), (by_x,))
    both = transform(lambda x, y: {"product": x * y}, (0, 1))(2.0, 3.0)
    assert_close(both, {"product": (3.0, 2.0)})


@by_mode
def test_other_arguments_may_be_anything(transform):
    def function(x, name, *, power, key):
        assert name == "name"
        assert isinstance(key, type(random.key(0)))
        return x**power

    assert_close(transform(function)(X, "name", power=3, key=random.key(0)), np.diag(3.0 * X**2))


@by_mode
def test_has_aux(transform):
    jacobian, aux = transform(lambda x: (fg.sin(x), {"input": x, "kind": "sine", "n": 3}), has_aux=True)(X)
    assert_close(jacobian, np.diag(np.cos(X)))
    assert fg.tree.equal(aux, {"input": fg.asarray(X), "kind": "sine", "n": 3})
    with pytest.raises((errors.NotDifferentiableError, errors.TreeError), match=r"return a pair \(.*, aux\)"):
        transform(fg.sin, has_aux=True)(X)


@by_mode
@pytest.mark.parametrize(
    ("argument", "result", "expected"),
    [("float32", "float32", "float32"), ("float32", "float64", "float64"), ("float64", "float32", "float64")],
)
def test_the_dtype_is_what_output_and_input_promote_to(transform, argument, result, expected):
    jacobian = transform(lambda x: x.astype(result) * 2)(X.astype(argument))
    assert jacobian.dtype == expected
    assert_close(jacobian, 2.0 * np.eye(3))


def test_each_leaf_has_a_dtype_of_its_own():
    argument = {"single": X.astype("float32"), "double": X}
    for transform in MODES:
        result = transform(lambda p: {"s": fg.sum(p["single"]), "d": p["double"]})(argument)
        dtypes = fg.tree.map(lambda leaf: str(leaf.dtype), result)
        single = {"double": "float64", "single": "float32"}
        assert dtypes == {"s": single, "d": {"double": "float64", "single": "float64"}}


# How it is computed.


def test_the_function_runs_once_and_in_the_cheaper_mode():
    runs = []

    def many_outputs(x):
        runs.append(None)
        return fg.concatenate([x, x])

    def runs_of(derivative):
        runs.clear()
        derivative(X)
        return len(runs)

    assert runs_of(fg.jacrev(many_outputs)) == 1
    assert runs_of(fg.jacfwd(many_outputs)) == 1
    assert runs_of(fg.jacobian(many_outputs)) == 2
    assert runs_of(fg.jacobian(lambda x: many_outputs(x)[:3])) == 1
    assert runs_of(fg.hessian(lambda x: fg.sum(many_outputs(x)))) == 1
    assert runs_of(fg.jacrev(many_outputs, chunk_size=2)) == 1
    assert runs_of(fg.jacfwd(many_outputs, chunk_size=2)) == 2


@pytest.mark.parametrize("transform", [*MODES, fg.hessian])
def test_all_directions_go_through_one_batched_walk(transform):
    def count(n):
        return len(fg.make_graph(transform(lambda x: fg.sum(fg.sin(x)) * x))(fg.ones(n)).equations)

    assert count(3) == count(30)


@pytest.mark.parametrize("transform", [fg.jacrev, fg.jacfwd])
def test_chunks_bound_the_memory(transform):
    spread = fg.ones((20_000, 20))
    gather = fg.ones((20, 20_000))

    def function(x):
        return gather @ fg.tanh(spread @ x)

    def peak(chunk_size):
        derivative = transform(function, chunk_size=chunk_size)
        derivative(fg.ones(20))
        tracemalloc.start()
        result = derivative(fg.ones(20))
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest, result

    (full, all_at_once), (chunked, in_chunks) = peak(None), peak(2)
    assert_close(in_chunks, all_at_once)
    row = 20_000 * 8
    assert full > 20 * row
    assert chunked < full / 2


def test_a_chunk_size_of_one_needs_no_batching_rule():
    double = Primitive(
        "double",
        evaluate=lambda x: 2 * x,
        shape_rule=lambda x: ShapeDtype(x.shape, x.dtype),
        vjp=lambda g, needed, out, x: (bind(double, g),),
        linear=slice(1),
    )
    for transform in MODES:
        assert_close(transform(lambda x: bind(double, x), chunk_size=1)(fg.asarray(X)), 2.0 * np.eye(3))
        with pytest.raises(errors.MissingRuleError, match="batching rule"):
            transform(lambda x: bind(double, x))(fg.asarray(X))


# Hessians.


def test_hessian_of_rosenbrock():
    x = RNG.normal(size=20)
    assert_close(fg.hessian(rosenbrock)(x), rosenbrock_hessian(x))
    assert_close(fg.hessian_matrix(rosenbrock)(x), rosenbrock_hessian(x))
    assert_close(fg.hessian(rosenbrock, chunk_size=7)(x), rosenbrock_hessian(x))
    assert_close(fg.hessian_matrix(rosenbrock, chunk_size=7)(x), rosenbrock_hessian(x))


def test_hessian_of_a_tanh_network():
    # f(x) = sum(h^2) with h = tanh(A x): H = A^T diag(2 s (s - 2 h^2)) A, with s = 1 - h^2 the slope of tanh.
    h = np.tanh(A @ X)
    s = 1.0 - h**2
    expected = A.T @ np.diag(2.0 * s * (s - 2.0 * h**2)) @ A
    assert_close(fg.hessian(lambda x: fg.sum(fg.tanh(fg.asarray(A) @ x) ** 2))(X), expected)


def test_hessian_of_a_quadratic_form_is_the_symmetric_part():
    assert_close(fg.hessian(lambda x: x @ fg.asarray(B) @ x)(X), B + B.T)


def test_hessian_of_python_numbers():
    assert_close(fg.hessian(lambda x: x**3)(2.0), 12.0)
    assert_close(fg.hessian(lambda x, y: x**2 * y, (0, 1))(2.0, 3.0), ((6.0, 4.0), (4.0, 0.0)))
    assert_close(fg.hessian_matrix(lambda x, y: x**2 * y, (0, 1))(2.0, 3.0), np.array([[6.0, 4.0], [4.0, 0.0]]))


def test_hessian_of_several_outputs_is_a_tree_of_trees_of_trees():
    def function(p):
        return {"cube": p["x"] ** 3, "mixed": [p["x"][0] * p["y"]]}

    x, y = X[:2], 2.0
    result = fg.hessian(function)({"x": x, "y": y})
    cube = np.einsum("ij,jk,j->ijk", np.eye(2), np.eye(2), 6.0 * x)
    first = np.array([1.0, 0.0])
    expected = {
        "cube": {"x": {"x": cube, "y": np.zeros((2, 2))}, "y": {"x": np.zeros((2, 2)), "y": np.zeros(2)}},
        "mixed": [{"x": {"x": np.zeros((2, 2)), "y": first}, "y": {"x": first, "y": 0.0}}],
    }
    assert_close(result, expected)


def test_hessian_matrix_is_made_of_the_blocks_of_the_hessian():
    def loss(p, x):
        return fg.sum(net(p, x) ** 2)

    blocks, matrix = fg.hessian(loss)(PARAMS, X), fg.hessian_matrix(loss)(PARAMS, X)
    rows = [[np.asarray(blocks[i][j]).reshape(A.size if i == "w" else 4, -1) for j in "bw"] for i in "bw"]
    assert_close(matrix, np.block(rows))
    assert_close(matrix, matrix.T)
    whole = fg.hessian_matrix(loss, (0, 1))(PARAMS, X)
    assert whole.shape == (4 + 12 + 3, 4 + 12 + 3)
    assert_close(whole[:16, :16], matrix)
    assert_close(whole[16:, 16:], fg.hessian(loss, 1)(PARAMS, X))


def test_hessian_matrix_promotes_as_ravel_does():
    tree = {"a": np.ones(2, "float32"), "b": 2.0}
    assert fg.hessian_matrix(lambda p: fg.sum(p["a"] ** 2 * p["b"]))(tree).dtype == np.float32
    tree["c"] = np.ones(1)
    assert fg.hessian_matrix(lambda p: fg.sum(p["a"] ** 2 * p["b"]) * p["c"][0])(tree).dtype == np.float64


@pytest.mark.parametrize("transform", [fg.hessian, fg.hessian_matrix])
def test_hessians_with_aux(transform):
    found, aux = transform(lambda x: (rosenbrock(x), {"x": x, "name": "valley"}), has_aux=True)(X)
    assert_close(found, rosenbrock_hessian(X))
    assert fg.tree.equal(aux, {"x": fg.asarray(X), "name": "valley"})


# Products with the Hessian.


def test_hvp():
    x, v = RNG.normal(size=20), RNG.normal(size=20)
    product = fg.hvp(rosenbrock, (x,), (v,))
    assert_close(product, rosenbrock_hessian(x) @ v, rtol=1e-11)
    assert_close(product, fg.jvp(fg.grad(rosenbrock), (x,), (v,))[1])
    assert_close(fg.hvp(lambda x: x**3, [2.0], [0.5]), 6.0)


def test_hvp_of_trees_and_of_several_arguments():
    def loss(p, x):
        return fg.sum(net(p, x) ** 2)

    direction = fg.tree.map(lambda leaf: RNG.normal(size=leaf.shape), PARAMS)
    vector, restore = fg.tree.ravel((PARAMS, X))
    matrix = fg.hessian_matrix(loss, (0, 1))(PARAMS, X)
    expected = restore(matrix @ fg.tree.ravel((direction, V))[0])
    assert matrix.shape == (vector.size, vector.size)
    assert_close(fg.hvp(loss, (PARAMS, X), (direction, V)), expected)
    by_params = fg.hvp(lambda p: loss(p, X), (PARAMS,), ({"b": None, "w": direction["w"]},))
    assert_close(by_params["b"], np.einsum("ijk,jk->i", fg.hessian(loss)(PARAMS, X)["b"]["w"], direction["w"]))


def test_hvp_costs_a_few_gradients():
    def loss(x):
        for _ in range(20):
            x = fg.tanh(fg.asarray(B) @ x)
        return fg.sum(x * x)

    gradient = len(fg.make_graph(fg.grad(loss))(X).equations)
    product = len(fg.make_graph(lambda x, v: fg.hvp(loss, (x,), (v,)))(X, V).equations)
    assert product < 4 * gradient


# Inside of other transforms, and they inside of these.


@pytest.mark.parametrize("outer", MODES)
@pytest.mark.parametrize("inner", MODES)
def test_every_nesting_gives_the_hessian(outer, inner):
    x = RNG.normal(size=4)
    assert_close(outer(inner(rosenbrock))(x), rosenbrock_hessian(x))
    assert_close(outer(fg.grad(rosenbrock))(x), rosenbrock_hessian(x))


@pytest.mark.parametrize("inner", MODES)
def test_gradient_of_a_function_of_a_jacobian(inner):
    # f(x) = sum of the squares of the entries of diag(3 x^2) is sum(9 x^4), with the gradient 36 x^3.
    def function(x):
        return fg.sum(inner(lambda y: y**3)(x) ** 2)

    assert_close(fg.grad(function)(X), 36.0 * X**3)
    assert_close(fg.vmap(fg.grad(function))(np.stack([X, V])), 36.0 * np.stack([X, V]) ** 3)


@pytest.mark.parametrize("transform", [fg.hessian, fg.hessian_matrix])
def test_vmap_and_jvp_of_a_hessian(transform):
    points = RNG.normal(size=(5, 3))
    assert_close(fg.vmap(transform(rosenbrock))(points), np.stack([rosenbrock_hessian(x) for x in points]))
    # The third derivative of x^4 along v.
    matrix, along = fg.jvp(transform(lambda x: fg.sum(x**4)), (X,), (V,))
    assert_close(matrix, np.diag(12.0 * X**2))
    assert_close(along, np.diag(24.0 * X * V))


def test_hessian_of_vmap():
    weights = RNG.normal(size=(5, 3))

    def loss(x):
        return fg.sum(fg.vmap(lambda w: fg.tanh(w @ x) ** 2)(fg.asarray(weights)))

    h = np.tanh(weights @ X)
    s = 1.0 - h**2
    assert_close(fg.hessian(loss)(X), weights.T @ np.diag(2.0 * s * (s - 2.0 * h**2)) @ weights)


@by_mode
def test_jacobians_of_functions_that_close_over_tracers(transform):
    def function(scale):
        return fg.sum(transform(lambda x: scale * x**2)(X))

    assert_close(fg.grad(function)(3.0), 2.0 * X.sum())
    assert_close(fg.vmap(function)(np.array([1.0, 2.0])), 2.0 * X.sum() * np.array([1.0, 2.0]))
    assert_close(fg.jvp(function, (3.0,), (0.5,))[1], X.sum())


@pytest.mark.parametrize("transform", [*MODES, fg.hessian])
def test_jacobians_can_be_staged_and_linearized(transform):
    def function(x):
        return fg.sum(fg.sin(x)) * x

    expected = transform(function)(X)
    graph = fg.make_graph(transform(function))(X)
    graph.check()
    assert_close(graph(X), expected)
    value, linear_map = fg.linearize(transform(function), X)
    assert_close(value, expected)
    assert_close(linear_map(V), fg.jvp(transform(function), (X,), (V,))[1])


# Complex numbers.


def test_reverse_mode_by_complex_arguments_gives_the_gradient_of_each_output():
    z = X[:2] + 1j * V[:2]

    def function(z):
        return fg.stack([fg.sum(fg.abs(z) ** 2), fg.real(z[0] * z[1])])

    rows = [fg.grad(lambda z, i=i: function(z)[i])(z) for i in range(2)]
    for transform in (fg.jacrev, fg.jacobian):
        assert_close(transform(function)(z), np.stack(rows))
        assert_close(transform(lambda z: function(z)[:1])(z), np.stack(rows[:1]))
    with pytest.raises(
        errors.NotDifferentiableError, match=r"jacfwd differentiates by real arguments; z is complex128"
    ):
        fg.jacfwd(function)(z)
    with pytest.raises(errors.NotDifferentiableError, match=r"hessian differentiates by real arguments; p\['z'\]"):
        fg.hessian(lambda p: fg.sum(fg.abs(p["z"]) ** 2))({"z": z})


@pytest.mark.parametrize(
    "transform", [fg.jacobian, *[functools.partial(fg.jacfwd, chunk_size=n) for n in (1, 2)], fg.jacrev, fg.hessian]
)
def test_a_function_that_runs_several_times_consumes_a_key_once(transform):
    key = random.key(0)
    x = fg.asarray([1.0, 2.0, 3.0])
    noisy = lambda x: fg.concatenate([x * x, x * random.normal(key, (3,))])
    with random.strict_keys():
        transform(noisy)(x)
        with pytest.raises(errors.KeyReuseError):
            random.normal(key)
    twice = lambda x: x * random.normal(other) + random.normal(other)
    other = random.key(1)
    with random.strict_keys(), pytest.raises(errors.KeyReuseError):
        transform(twice)(x)


def test_hessian_matrix_names_the_complex_argument():
    f = lambda x, p: x * fg.abs(fg.sum(p["z"]))
    with pytest.raises(errors.NotDifferentiableError, match=r"p\['z'\] is complex128\[2\]: pass the real") as caught:
        fg.hessian_matrix(f, argnums=1)(1.0, {"z": fg.asarray([1j, 2j])})
    assert "holomorphic" not in str(caught.value)


def test_forward_mode_gives_complex_outputs_by_real_arguments():
    def function(t):
        return {"circle": fg.exp(1j * t), "t": t}

    expected = {"circle": np.diag(1j * np.exp(1j * X)), "t": np.eye(3)}
    for transform in (fg.jacfwd, fg.jacobian):
        assert_close(transform(function)(X), expected)
        assert transform(function)(X)["t"].dtype == np.float64
    message = r"jacrev needs a function of real results; its result\['circle'\] is complex128\[3\].*fg.jacfwd"
    with pytest.raises(errors.NotDifferentiableError, match=message):
        fg.jacrev(function)(X)
    with pytest.raises(errors.NotDifferentiableError, match="jacobian needs a function of real results"):
        fg.jacobian(fg.exp)(1j * X)


# Messages.


@pytest.mark.parametrize(
    ("transform", "derivative"),
    [(t, "Jacobian") for t in MODES] + [(fg.hessian, "Hessian"), (fg.hessian_matrix, "Hessian")],
)
def test_integer_arguments_are_refused_as_by_grad(transform, derivative):
    message = f"the {derivative} by x was asked for, which is the integer 3: write 3.0"
    with pytest.raises(errors.NotDifferentiableError, match=re.escape(message)):
        transform(lambda x: x * 1.0)(3)
    message = f"the {derivative} by p['n'] was asked for, which has dtype int64 and shape (2,)"
    with pytest.raises(errors.NotDifferentiableError, match=re.escape(message)):
        transform(lambda p: p["x"])({"x": 1.0, "n": np.array([1, 2])})
    with pytest.raises(errors.NotDifferentiableError, match="by key was asked for, which is a random key"):
        transform(lambda key: 1.0)(random.key(0))


@pytest.mark.parametrize("transform", [*MODES, fg.hessian])
def test_outputs_without_derivatives_are_refused(transform):
    name = transform.__name__
    message = f"{name} needs a function that returns floating-point numbers; its result['count'] is int64[]"
    with pytest.raises(errors.NotDifferentiableError, match=re.escape(message)):
        transform(lambda x: {"x": x, "count": fg.sum(x > 0)})(X)
    with pytest.raises(errors.NotDifferentiableError, match=r"its result\[1\] is a random key"):
        transform(lambda x: (x, random.key(0)))(X)
    with pytest.raises(errors.TreeError, match="returns numbers and arrays; it returned a str"):
        transform(lambda x: "text")(X)


def test_the_gradient_of_a_gradient_that_is_no_scalar_names_jacobian():
    with pytest.raises(
        errors.NotDifferentiableError, match=r"returned shape \(3,\) float64.*or use fg.jacobian for the"
    ):
        fg.grad(fg.grad(rosenbrock))(X)
    assert_close(fg.grad(fg.grad(lambda x: x**3))(2.0), 12.0)
    assert_close(fg.jacobian(fg.grad(rosenbrock))(X), rosenbrock_hessian(X))


def test_hessian_matrix_of_several_outputs_names_hessian():
    with pytest.raises(errors.NotDifferentiableError, match=r"hessian_matrix needs a scalar loss.*use fg.hessian for"):
        fg.hessian_matrix(lambda x: x)(X)


@pytest.mark.parametrize("transform", [*MODES, fg.hessian, fg.hessian_matrix])
def test_mistakes_of_the_call(transform):
    name = transform.__name__
    with pytest.raises(TypeError, match=rf"fg.{name} takes a function"):
        transform(1.0)
    with pytest.raises(TypeError, match=f"{name} differentiates by positional argument 1, and"):
        transform(lambda x: x, 1)(X)
    with pytest.raises(errors.ShapeError, match="chunk_size is 0; it is a number of rows or columns, at least 1"):
        transform(rosenbrock, chunk_size=0)
    for chunk_size in (2.0, True, "3"):
        with pytest.raises(TypeError, match=r"chunk_size is .*; it is a number of rows or columns, or None"):
            transform(rosenbrock, chunk_size=chunk_size)


def test_mistakes_of_hvp():
    with pytest.raises(TypeError, match=r"the primals of hvp are given as a tuple.*fg.hvp\(f, \(x,\), \(v,\)\)"):
        fg.hvp(rosenbrock, X, (V,))
    with pytest.raises(errors.ShapeError, match=r"tangents\[0\] has shape \(2,\), and primals\[0\] has shape \(3,\)"):
        fg.hvp(rosenbrock, (X,), (V[:2],))
    with pytest.raises(errors.NotDifferentiableError, match="hvp needs a scalar loss"):
        fg.hvp(lambda x: x, (X,), (V,))
    with pytest.raises(errors.NotDifferentiableError, match="the gradient by n was asked for, which is the integer 3"):
        fg.hvp(lambda x, n: fg.sum(x) * n, (X, 3), (V, None))
