"""Pullbacks and linear maps as values: pytrees that cross vmap, jvp and graphs and still can be applied."""

from __future__ import annotations

import re

import numpy as np
import pytest

import fgrad as fg
from fgrad import errors, random
from fgrad.core.bind import bind
from fgrad.core.primitive import Primitive
from fgrad.transforms.forward import LinearMap
from fgrad.transforms.pullback import Pullback

RNG = np.random.default_rng(11)
W = fg.asarray(RNG.normal(size=(4, 3)))
X = fg.asarray(RNG.normal(size=3))
XS = fg.asarray(RNG.normal(size=(5, 3)))
V = fg.asarray(RNG.normal(size=3))
VS = fg.asarray(RNG.normal(size=(5, 3)))
U = fg.asarray(RNG.normal(size=4))
US = fg.asarray(RNG.normal(size=(5, 4)))


def net(x):
    return 2.0 * fg.tanh(W @ x) + 1


def pull(pullback, u):
    return pullback(u)[0]


def push(linear_map, v):
    return linear_map(v)


def assert_close(found, expected):
    leaves, structure = fg.tree.flatten(found)
    others, other_structure = fg.tree.flatten(expected)
    assert structure == other_structure
    for leaf, other in zip(leaves, others, strict=True):
        assert (leaf.shape, leaf.dtype) == (other.shape, other.dtype)
        np.testing.assert_allclose(np.asarray(leaf), np.asarray(other), rtol=1e-12, atol=1e-14)


def rebuilt(tree):
    leaves, structure = fg.tree.flatten(tree)
    return fg.tree.unflatten(structure, leaves)


# The tree.


def test_the_residuals_are_leaves_and_the_program_is_structure():
    _, pullback = fg.vjp(net, X)
    leaves = fg.tree.leaves(pullback)
    assert leaves
    assert all(isinstance(leaf, fg.Tensor) for leaf in leaves)
    assert any(leaf is W for leaf in leaves)
    assert len({id(leaf) for leaf in leaves}) == len(leaves)
    assert fg.tree.structure(pullback) == fg.tree.structure(fg.vjp(net, V)[1])
    assert hash(fg.tree.structure(pullback)) == hash(fg.tree.structure(fg.vjp(net, V)[1]))
    _, linear_map = fg.linearize(net, X)
    assert all(isinstance(leaf, fg.Tensor) for leaf in fg.tree.leaves(linear_map))
    assert fg.tree.structure(linear_map) == fg.tree.structure(rebuilt(linear_map))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda x: x * 2.0, lambda x: x * 3.0),
        (lambda x: x * 2.0, lambda x: x * 2),
        (lambda x: x * 0.0, lambda x: x * -0.0),
        (fg.sin, fg.cos),
        (fg.sum, lambda x: fg.sum(x, keepdims=True)),
        (lambda x: {"y": x}, lambda x: [x]),
        (lambda x: x * X, lambda x: x[:2] * X[:2]),
    ],
)
def test_another_program_is_another_structure(one, other):
    first, second = (fg.tree.structure(fg.vjp(function, X)[1]) for function in (one, other))
    assert first != second


def test_what_the_result_does_not_need_is_not_kept():
    def function(x):
        fg.exp(x)  # recorded, and used by nothing
        return fg.sin(x)

    assert len(fg.tree.leaves(fg.vjp(function, X)[1])) == len(fg.tree.leaves(fg.vjp(fg.sin, X)[1]))


@pytest.mark.parametrize("argument", [X, 0.5, {"x": X, "n": 3, "key": random.key(1), "none": None}])
def test_a_rebuilt_pullback_gives_the_same_bits(argument):
    def function(x):
        x = x["x"] if isinstance(x, dict) else x
        return {"y": fg.sin(x) * x**2 / 3 + x, "pair": (fg.where(x > 0, x, 0.0), x), "count": fg.sum(x > 0)}

    out, pullback = fg.vjp(function, argument)
    cotangent = {**fg.tree.map(lambda leaf: fg.sin(leaf * 3.0), out), "count": None}
    again = rebuilt(rebuilt(pullback))
    assert repr(again) == repr(pullback)
    assert fg.tree.equal(again(cotangent), pullback(cotangent))
    assert fg.tree.equal(again(cotangent), pullback(cotangent)), "as often as needed"


def test_a_primitive_of_several_results_and_one_that_keeps_residuals():
    def pair_vjp(g, needed, out, x, residuals):
        first, second = (fg.zeros_like(x) if part is None else part for part in g)
        return (residuals["slope"] * first + 2.0 * x * second + 0.0 * residuals["two"] + random_zero(residuals["key"]),)

    def random_zero(key):
        return 0.0 * random.normal(key, (3,))

    pair = Primitive(
        "sine_and_square",
        evaluate=lambda x: (np.sin(x), x * x),
        shape_rule=lambda x: (x, x),
        vjp=pair_vjp,
        forward=lambda needed, x: (
            (fg.sin(x), x * x),
            {"slope": fg.cos(x), "two": 2, "key": random.key(1), "name": "sine"},
        ),
        multiple_results=True,
    )
    out, pullback = fg.vjp(lambda x: bind(pair, x), X)
    assert_close(out, (fg.sin(X), X * X))
    for cotangent in ((V, U[:3]), (V, None), (None, V)):
        first, second = (0.0 if part is None else part for part in cotangent)
        expected = fg.cos(X) * first + 2.0 * X * second
        assert_close(pullback(cotangent), (expected,))
        assert fg.tree.equal(rebuilt(pullback)(cotangent), pullback(cotangent))
    pullbacks = fg.vmap(lambda x: fg.vjp(lambda x: bind(pair, x), x)[1])(XS)
    assert_close(fg.vmap(pull)(pullbacks, (VS, VS)), fg.cos(XS) * VS + 2.0 * XS * VS)


def test_a_rebuilt_linear_map_gives_the_same_bits():
    _, linear_map = fg.linearize(net, X)
    assert isinstance(linear_map, LinearMap)
    again = rebuilt(linear_map)
    assert repr(again) == repr(linear_map) == "<linear map from 1 to 1 arrays>"
    assert fg.tree.equal(again(V), linear_map(V))
    scaled = fg.tree.map(lambda leaf: leaf + 0.0, linear_map)
    assert fg.tree.equal(scaled(V), linear_map(V))


def test_trees_may_be_taken_apart_with_anything_for_leaves():
    for tree in (fg.vjp(net, X)[1], fg.linearize(net, X)[1]):
        names = fg.tree.map_with_path(lambda path, leaf: path, tree)
        assert fg.tree.leaves(names) == [f"[{place}]" for place in range(len(fg.tree.leaves(tree)))]
        assert "Structure" in repr(fg.tree.structure(tree))


# Across transforms.


def test_vmap_returns_a_batch_of_pullbacks_that_vmap_applies():
    pullbacks = fg.vmap(lambda x: fg.vjp(net, x)[1])(XS)
    assert isinstance(pullbacks, Pullback)
    expected = fg.stack([fg.vjp(net, x)[1](u)[0] for x, u in zip(XS, US, strict=True)])
    assert_close(fg.vmap(pull)(pullbacks, US), expected)
    same_cotangent = fg.stack([fg.vjp(net, x)[1](U)[0] for x in XS])
    assert_close(fg.vmap(pull, in_axes=(0, None))(pullbacks, U), same_cotangent)


def test_vmap_over_cotangents_of_one_pullback():
    _, pullback = fg.vjp(net, X)
    expected = fg.stack([pullback(u)[0] for u in US])
    assert_close(fg.vmap(lambda u: pullback(u)[0])(US), expected)
    assert_close(fg.vmap(pull, in_axes=(None, 0))(pullback, US), expected)


def test_pullbacks_cross_two_vmaps():
    grid = fg.stack([XS, 2.0 * XS])
    cotangents = fg.stack([US, US + 1.0])
    pullbacks = fg.vmap(fg.vmap(lambda x: fg.vjp(net, x)[1]))(grid)
    expected = fg.stack(
        [
            fg.stack([fg.vjp(net, x)[1](u)[0] for x, u in zip(*pair, strict=True)])
            for pair in zip(grid, cotangents, strict=True)
        ]
    )
    assert_close(fg.vmap(fg.vmap(pull))(pullbacks, cotangents), expected)


def test_vmap_of_pullbacks_along_another_axis():
    pullbacks = fg.vmap(lambda x: fg.vjp(fg.sin, x)[1], out_axes=-1)(XS)
    assert_close(fg.vmap(pull, in_axes=(-1, 0))(pullbacks, VS), fg.cos(XS) * VS)


def test_vmap_returns_a_batch_of_linear_maps_that_vmap_applies():
    maps = fg.vmap(lambda x: fg.linearize(net, x)[1])(XS)
    assert isinstance(maps, LinearMap)
    expected = fg.stack([fg.jvp(net, (x,), (v,))[1] for x, v in zip(XS, VS, strict=True)])
    assert_close(fg.vmap(push)(maps, VS), expected)
    _, one = fg.linearize(net, X)
    assert_close(fg.vmap(push, in_axes=(None, 0))(one, VS), fg.stack([one(v) for v in VS]))


def test_numbers_and_integers_cross_vmap():
    def function(x):
        return x * 2 + fg.asarray([1, 2, 3]) * x**2

    single, directions = XS.astype("float32"), VS.astype("float32")
    factor = 2 + 2 * np.array([1, 2, 3]) * np.asarray(single, float)
    pullbacks = fg.vmap(lambda x: fg.vjp(function, x)[1])(single)
    found = fg.vmap(pull)(pullbacks, VS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.asarray(found), factor * np.asarray(VS), rtol=1e-5)
    maps = fg.vmap(lambda x: fg.linearize(function, x)[1])(single)
    found = fg.vmap(push)(maps, directions)
    assert found.dtype == np.float64
    np.testing.assert_allclose(np.asarray(found), factor * np.asarray(directions), rtol=1e-5)


def test_pullbacks_of_values_that_are_the_same_for_all_examples():
    pullbacks = fg.vmap(lambda x: fg.vjp(lambda a: a * x, 3.0)[1])(XS)
    assert_close(fg.vmap(pull)(pullbacks, VS), fg.sum(XS * VS, axis=1))


def test_pullbacks_cross_jvp():
    def derivative(x):
        return fg.vjp(net, x)[1]

    pullback, _ = fg.jvp(derivative, (X,), (V,))
    assert_close(pullback(U), fg.vjp(net, X)[1](U))
    linear_map, _ = fg.jvp(lambda x: fg.linearize(net, x)[1], (X,), (V,))
    assert_close(linear_map(V), fg.jvp(net, (X,), (V,))[1])


def test_the_tangent_of_a_pullback_has_the_tangents_of_its_residuals():
    _, tangent = fg.jvp(lambda x: fg.vjp(fg.sin, x)[1], (X,), (V,))
    assert any(np.allclose(np.asarray(leaf), np.asarray(V)) for leaf in fg.tree.leaves(tangent))


def test_derivatives_go_through_the_application_of_a_pullback():
    def through(x):
        return fg.vjp(fg.sin, x)[1](V)[0]

    def across(x):
        pullback = fg.tree.map(lambda leaf: leaf * 1.0, fg.vjp(fg.sin, x)[1])
        return pullback(V)[0]

    assert_close(fg.jacobian(across)(X), fg.jacobian(through)(X))
    residuals = fg.vjp(fg.sin, X)[1]
    gradient = fg.grad(lambda pullback: fg.sum(pullback(V)[0]))(residuals)
    assert fg.tree.structure(gradient) == fg.tree.structure(residuals)


def test_pullbacks_come_out_of_graphs():
    graph = fg.make_graph(lambda x: fg.vjp(net, x)[1])(X)
    assert_close(graph(V)(U), fg.vjp(net, V)[1](U))
    graph = fg.make_graph(lambda x: fg.linearize(net, x)[1])(X)
    assert_close(graph(V)(V), fg.jvp(net, (V,), (V,))[1])


def test_nested_pullbacks():
    # d/dx (x exp(x)) = (1 + x) exp(x)
    _, pullback = fg.vjp(lambda x: fg.vjp(fg.exp, x)[1](x)[0], X)
    assert_close(pullback(V), ((1.0 + X) * fg.exp(X) * V,))
    assert_close(rebuilt(pullback)(V), pullback(V))


def test_values_and_pullbacks_of_a_batch():
    values, pullbacks = fg.vmap(lambda x: fg.vjp(net, x))(XS)
    assert_close(values, fg.stack([net(x) for x in XS]))
    assert_close(fg.vmap(pull)(pullbacks, US), fg.stack([fg.vjp(net, x)[1](u)[0] for x, u in zip(XS, US, strict=True)]))


# Operations that hold functions.


@fg.custom_vjp
def custom_cube(x):
    return x**3


custom_cube.defvjp(lambda x: (x**3, {"x": x, "factor": 3.0}), lambda kept, g: (kept["factor"] * kept["x"] ** 2 * g,))


@fg.custom_jvp
def custom_square(x):
    return x * x


custom_square.defjvp(lambda primals, tangents: (primals[0] ** 2, 2.0 * primals[0] * tangents[0]))


def looped(x):
    last, seen = fg.scan(lambda c, t: (fg.sin(c) * t + x, c * 2.0), x, fg.asarray([1.0, 2.0]))
    return last + fg.sum(seen, axis=0)


def branched(x):
    return fg.cond(fg.sum(x) > 0, lambda x: fg.sin(x) * x, lambda x: x * 3.0, x)


HOLDERS = {
    "scan": looped,
    "staged scan": fg.make_graph(looped)(X),
    "cond": branched,
    "staged cond": fg.make_graph(branched)(X),
    "checkpoint": fg.checkpoint(lambda x: fg.sin(x) * x),
    "custom_vjp": custom_cube,
    "custom_jvp": custom_square,
}


@pytest.mark.parametrize("function", HOLDERS.values(), ids=HOLDERS)
def test_pullbacks_of_operations_that_hold_functions(function):
    _, pullback = fg.vjp(function, X)
    again = rebuilt(pullback)
    assert fg.tree.equal(again(V), pullback(V))
    assert fg.tree.structure(again) == fg.tree.structure(pullback)
    pullbacks = fg.vmap(lambda x: fg.vjp(function, x)[1])(XS)
    expected = fg.stack([fg.vjp(function, x)[1](v)[0] for x, v in zip(XS, VS, strict=True)])
    assert_close(fg.vmap(pull)(pullbacks, VS), expected)


@pytest.mark.parametrize("name", [name for name in HOLDERS if name != "custom_vjp"])
def test_linear_maps_of_operations_that_hold_functions(name):
    function = HOLDERS[name]
    _, linear_map = fg.linearize(function, X)
    assert fg.tree.equal(rebuilt(linear_map)(V), linear_map(V))
    assert_close(linear_map(V), fg.jvp(function, (X,), (V,))[1])
    maps = fg.vmap(lambda x: fg.linearize(function, x)[1])(XS)
    expected = fg.stack([fg.jvp(function, (x,), (v,))[1] for x, v in zip(XS, VS, strict=True)])
    assert_close(fg.vmap(push)(maps, VS), expected)


# Keys and integers among the outputs.


def test_keys_and_integers_among_the_outputs_have_no_cotangent():
    key = random.key(3)
    out, pullback = fg.vjp(lambda x: {"y": x * x, "key": key, "n": fg.argmax(x)}, X)
    assert fg.tree.equal(out["key"], key)
    assert_close(pullback({"y": V, "key": None, "n": None}), (2.0 * X * V,))
    assert_close(pullback({"y": None, "key": None, "n": None}), (0.0 * X,))
    assert fg.tree.equal(
        rebuilt(pullback)({"y": V, "key": None, "n": None}), pullback({"y": V, "key": None, "n": None})
    )
    (by_key, by_x) = fg.vjp(lambda key, x: (random.split(key)[0], 3.0 * x), key, X)[1]((None, V))
    assert by_key is None
    assert_close(by_x, 3.0 * V)


def test_keys_among_the_outputs_of_a_mapped_vjp():
    keys = random.split(random.key(0), 5)

    def function(key, x):
        out, pullback = fg.vjp(lambda x: (x * x, random.fold_in(key, 1)), x)
        return out, pullback((fg.ones_like(x), None))[0]

    (_, folded), gradients = fg.vmap(function)(keys, XS)
    assert fg.tree.equal(folded, random.Key(fg.stack([random.fold_in(key, 1).words for key in keys])))
    assert_close(gradients, 2.0 * XS)


# Messages.


def test_a_batch_of_pullbacks_says_how_to_apply_it():
    pullbacks = fg.vmap(lambda x: fg.vjp(net, x)[1])(XS)
    message = (
        "One that vmap returned is a batch of them, and is applied under vmap: fg.vmap(lambda pullback, u: pullback"
    )
    with pytest.raises(errors.ShapeError, match=re.escape(message)):
        pullbacks(U)
    maps = fg.vmap(lambda x: fg.linearize(net, x)[1])(XS)
    message = "this linear map has an array of shape (5, "
    with pytest.raises(errors.ShapeError, match=re.escape(message)):
        maps(V)


def test_a_tree_of_something_else_is_not_applied():
    with pytest.raises(errors.TreeError, match="this pullback cannot be applied: it has a str in the place of"):
        fg.tree.map(str, fg.vjp(net, X)[1])(U)
    with pytest.raises(errors.TreeError, match="this linear map cannot be applied: it has None in the place of"):
        fg.tree.map(lambda leaf: None, fg.linearize(net, X)[1])(V)


def test_cotangents_that_do_not_fit_name_their_path():
    _, pullback = fg.vjp(lambda x: {"y": [x, x]}, X)
    with pytest.raises(errors.ShapeError, match=r"cotangent\['y'\]\[1\] has shape \(2,\), and the output has shape"):
        pullback({"y": [V, V[:2]]})
    with pytest.raises(errors.DtypeError, match=r"cotangent\['y'\]\[0\] has dtype float32, and the output has dtype"):
        rebuilt(pullback)({"y": [V.astype("float32"), V]})
    with pytest.raises(errors.TreeError, match=r"cotangent\['y'\] has 1 entries where 2 are expected"):
        pullback({"y": [V]})
    with pytest.raises(errors.DtypeError, match="cotangent has dtype complex128, and the output has dtype float64"):
        fg.vjp(lambda x: x * 2.0, 1.5)[1](1j)


def test_outputs_that_are_no_numbers_name_their_path():
    with pytest.raises(
        errors.TreeError, match=r"vjp needs a function that returns numbers and arrays.*a str at \['b'\]"
    ):
        fg.vjp(lambda x: {"a": x, "b": "text"}, X)
