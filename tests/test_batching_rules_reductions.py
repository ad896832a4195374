"""Reductions, moments and order under vmap and in forward mode: against loops, reverse mode and differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fgrad as fg
from fgrad.core.bind import bind
from fgrad.errors import ShapeError, TracerConversionError
from fgrad.ops.moments import softmax_p
from fgrad.ops.products import product_derivative_p
from fgrad.ops.reductions import cumsum_p, extremum_share_p
from fgrad.ops.special import erf, erfinv

INF, NAN = float("inf"), float("nan")
SIZE = 3  # examples in a batch

SMOOTH = {
    "cumsum over an axis": lambda x: fg.cumsum(x, axis=0),
    "cumsum of all": fg.cumsum,
    "cumsum from the end": lambda x: bind(cumsum_p, x, axis=1, reverse=True),
    "mean of all": fg.mean,
    "mean over the last axis": lambda x: fg.mean(x, axis=-1, keepdims=True),
    "mean of a selection": lambda x: fg.mean(x, axis=0, where=MASK),
    "prod of all": fg.prod,
    "prod over an axis": lambda x: fg.prod(x, axis=1, keepdims=True, initial=2.0),
    "prod over no axis": lambda x: fg.prod(x, axis=()),
    "prod of a selection": lambda x: fg.prod(x, axis=(1, 0), where=MASK),
    "max of all": fg.max,
    "max over an axis": lambda x: fg.max(x, axis=1, keepdims=True),
    "max of a selection": lambda x: fg.max(x, axis=0, where=MASK, initial=-0.25),
    "min over an axis": lambda x: fg.min(x, axis=-2),
    "min over both axes": lambda x: fg.min(x, axis=(0, 1), keepdims=True, initial=5.0),
    "var of all": lambda x: fg.var(x, ddof=1),
    "var over an axis": lambda x: fg.var(x, axis=0, keepdims=True),
    "var of a selection": lambda x: fg.var(x, axis=0, where=MASK),
    "std over an axis": lambda x: fg.std(x, axis=1),
    "logsumexp of all": fg.logsumexp,
    "logsumexp over an axis": lambda x: fg.logsumexp(x, axis=0, keepdims=True),
    "softmax": lambda x: bind(softmax_p, x, axes=(1,)),
    "erf": erf,
    "erfinv": lambda x: erfinv(x * 0.4),
}
CONSTANT = {
    "argmax of all": fg.argmax,
    "argmax of all, keepdims": lambda x: fg.argmax(x, keepdims=True),
    "argmax over an axis": lambda x: fg.argmax(x, axis=0),
    "argmin of all, keepdims": lambda x: fg.argmin(x, keepdims=True),
    "argmin over the last axis": lambda x: fg.argmin(x, axis=-1, keepdims=True),
    "any": lambda x: fg.any(x > 1.0, axis=1),
    "any of numbers": fg.any,
    "all": lambda x: fg.all(x > -1.0, axis=0, keepdims=True),
    "all of a selection": lambda x: fg.all(x > -1.0, where=MASK),
    "argsort": lambda x: fg.argsort(x, axis=0),
    "argsort of all": lambda x: fg.argsort(x, axis=None),
    "round": lambda x: fg.round(x, 1),
    "isclose": lambda x: fg.isclose(x, x[0] + 0.3, rtol=0.5),
    "sign": fg.sign,
}
COMPLEX = ["cumsum over an axis", "mean over the last axis", "prod of all", "prod over an axis", "var over an axis"]
COMPLEX += ["var of a selection", "logsumexp over an axis", "softmax"]
MASK = np.array([[True, True, False, True], [True, False, True, True], [False, True, True, True]])


def numbers(shape, dtype="float64", seed=0):
    """Numbers without ties, so that no function above is at a kink."""
    generator = np.random.default_rng(seed)
    parts = generator.permutation(np.linspace(-2.0, 2.2, int(np.prod(shape)))).reshape(shape)
    if np.dtype(dtype).kind == "c":
        parts = parts + 0.5j * generator.permutation(np.linspace(-1.0, 1.5, parts.size)).reshape(shape)
    return parts.astype(dtype)


def looped(f, *batches):
    """What vmap stands for: the function on one example after the other."""
    return np.stack([np.asarray(f(*[fg.asarray(x) for x in example])) for example in zip(*batches, strict=True)])


def assert_same(got, expected, rtol=1e-13):
    got, expected = np.asarray(got), np.asarray(expected)
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    scale = 1.0 if got.dtype in (np.float64, np.complex128) else 1e8
    np.testing.assert_allclose(got, expected, rtol=rtol * scale, atol=rtol * scale)


def real_dot(u, v):
    """The pairing Re sum(u v) of cotangents and tangents."""
    return float(np.sum(np.asarray(u) * np.asarray(v)).real)


# vmap is a loop.


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", [*SMOOTH, *CONSTANT])
def test_vmap_is_a_loop(name, dtype):
    f = (SMOOTH | CONSTANT)[name]
    x = numbers((SIZE, 3, 4), dtype)
    expected = looped(f, x)
    assert_same(fg.vmap(f)(x), expected)
    for axis in (1, -1):
        assert_same(fg.vmap(f, in_axes=axis)(np.moveaxis(x, 0, axis)), expected)


@pytest.mark.parametrize("name", [*SMOOTH, *CONSTANT])
def test_nested_vmap_is_a_nested_loop(name):
    f = (SMOOTH | CONSTANT)[name]
    x = numbers((2, SIZE, 3, 4))
    expected = np.stack([looped(f, part) for part in x])
    assert_same(fg.vmap(fg.vmap(f))(x), expected)
    assert_same(fg.vmap(fg.vmap(f, in_axes=1), in_axes=3)(np.moveaxis(x, (0, 1), (3, 1))), expected)


@pytest.mark.parametrize("name", COMPLEX)
def test_vmap_of_complex_numbers(name):
    x = numbers((SIZE, 3, 4), "complex128")
    assert_same(fg.vmap(SMOOTH[name])(x), looped(SMOOTH[name], x))


@pytest.mark.parametrize("name", [*SMOOTH, *CONSTANT])
def test_a_batch_of_no_examples_gives_none(name):
    f = (SMOOTH | CONSTANT)[name]
    one = f(fg.asarray(numbers((3, 4))))
    none = fg.vmap(f)(np.zeros((0, 3, 4)))
    assert (none.shape, none.dtype) == ((0, *one.shape), one.dtype)
    if name in SMOOTH:
        gradient = fg.grad(lambda x: fg.sum(fg.vmap(f)(x)))(np.zeros((0, 3, 4)))
        assert gradient.shape == (0, 3, 4)


@pytest.mark.parametrize("f", [fg.mean, fg.prod, fg.max, fg.min, fg.var, fg.logsumexp, fg.argmax, fg.all, erf])
def test_examples_that_are_single_numbers(f):
    x = numbers((5,))
    assert_same(fg.vmap(f)(x), looped(f, x))
    assert_same(fg.vmap(fg.vmap(f))(x.reshape(5, 1)), looped(f, x).reshape(5, 1))


@pytest.mark.parametrize("f", [fg.sum, fg.prod, fg.logsumexp, fg.any, fg.all, fg.cumsum])
def test_examples_without_elements(f):
    assert_same(fg.vmap(f)(np.zeros((SIZE, 0))), looped(f, np.zeros((SIZE, 0))))


@pytest.mark.parametrize("size", [0, SIZE])
@pytest.mark.parametrize("f", [fg.max, fg.min, fg.argmax, fg.argmin])
def test_an_extremum_of_no_elements_is_refused_with_the_shape_of_one_example(f, size):
    with pytest.raises(ShapeError, match=rf"^\[{f.__name__}\] on float64\[0,2\]: there is no extremum of no elements"):
        fg.vmap(lambda x: f(x, axis=0))(np.zeros((size, 0, 2)))


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16"])
@pytest.mark.parametrize("f", [fg.cumsum, fg.prod, fg.mean, fg.max, fg.min, fg.var, fg.argmax, fg.any, fg.argsort])
def test_vmap_of_integers_and_booleans(f, dtype):
    x = np.array([[3, 1, 0, 1], [1, 2, 5, 1]]).astype(dtype)
    if dtype == "bool" and f in (fg.max, fg.min):
        f = {fg.max: fg.any, fg.min: fg.all}[f]
    assert_same(fg.vmap(f)(x), looped(f, x))


# Optional arguments that differ from example to example.

MASKED = {
    "sum": lambda x, mask, start: fg.sum(x, axis=0, where=mask, initial=start),
    "prod": lambda x, mask, start: fg.prod(x, axis=0, where=mask, initial=start),
    "max": lambda x, mask, start: fg.max(x, axis=0, where=mask, initial=start),
    "min": lambda x, mask, start: fg.min(x, axis=0, where=mask, initial=start),
    "all": lambda x, mask, start: fg.all(x, axis=0, where=mask, initial=start),
    "mean": lambda x, mask, start: fg.mean(x, where=mask) * start,
}


@pytest.mark.parametrize("batched", [(0, None, None), (None, 0, None), (None, None, 0), (0, 0, None), (0, 0, 0)])
@pytest.mark.parametrize("name", MASKED)
def test_masks_and_initial_values_may_be_batched(name, batched):
    f = MASKED[name]
    x, mask, start = numbers((SIZE, 3, 4)), numbers((SIZE, 4), seed=1) > -1.5, np.array([0.5, -1.0, 2.0])
    arguments = [x, mask, start]
    given = [a if axis == 0 else a[1] for a, axis in zip(arguments, batched, strict=True)]
    loop = [a if axis == 0 else np.stack([a[1]] * SIZE) for a, axis in zip(arguments, batched, strict=True)]
    assert_same(fg.vmap(f, in_axes=batched)(*given), looped(f, *loop))


def test_the_mean_of_var_may_be_batched():
    x, mean = numbers((SIZE, 4)), numbers((SIZE, 1), seed=1)
    f = lambda x, mean: fg.var(x, mean=mean)
    assert_same(fg.vmap(f)(x, mean), looped(f, x, mean))
    assert_same(fg.vmap(f, in_axes=(None, 0))(x[0], mean), looped(f, np.stack([x[0]] * SIZE), mean))


# Operations of several operands, each batched or not.


@pytest.mark.parametrize("batched", [(0, None), (None, 0), (0, 0)])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("shape", [(), (5,), (2, 2), (0,)])
def test_searchsorted_in_vectors_of_each_example(batched, side, shape):
    a = np.sort(np.round(numbers((SIZE, 6)), 0), axis=1)
    v = np.round(np.random.default_rng(0).normal(size=(SIZE, *shape)), 0)
    f = lambda a, v: fg.searchsorted(a, v, side=side)
    given = [a if batched[0] == 0 else a[0], v if batched[1] == 0 else v[0]]
    loop = [a if batched[0] == 0 else np.stack([a[0]] * SIZE), v if batched[1] == 0 else np.stack([v[0]] * SIZE)]
    assert_same(fg.vmap(f, in_axes=batched)(*given), looped(f, *loop))


@pytest.mark.parametrize("inner", [(0, None), (None, 0), (0, 0)])
@pytest.mark.parametrize("outer", [(0, None), (None, 0), (0, 0)])
def test_searchsorted_in_nested_vmap(outer, inner):
    # An operand has an axis for each level that it is batched at.
    lengths = [[n for n, axes in ((2, outer), (SIZE, inner)) if axes[place] == 0] for place in (0, 1)]
    a, v = np.sort(numbers((*lengths[0], 6)), axis=-1), numbers((*lengths[1], 4), seed=1)
    got = fg.vmap(fg.vmap(fg.searchsorted, in_axes=inner), in_axes=outer)(a, v)
    for i, j in np.ndindex(2, SIZE):
        places = [[n for n, axes in ((i, outer), (j, inner)) if axes[place] == 0] for place in (0, 1)]
        np.testing.assert_array_equal(got[i, j], np.searchsorted(a[tuple(places[0])], v[tuple(places[1])]))


def test_searchsorted_of_no_examples():
    got = fg.vmap(fg.searchsorted)(np.zeros((0, 4)), np.zeros((0, 2, 3)))
    assert (got.shape, got.dtype) == ((0, 2, 3), np.intp)


def test_searchsorted_still_refuses_a_matrix_inside_vmap():
    with pytest.raises(ShapeError, match=r"searches in a vector, not in shape \(2, 3\)"):
        fg.vmap(fg.searchsorted, in_axes=(0, None))(np.zeros((SIZE, 2, 3)), 1.0)


@pytest.mark.parametrize("batched", [(0, None, None), (None, 0, None), (0, None, 0), (None, None, 0), (0, 0, 0)])
def test_product_derivative_with_any_operands_batched(batched):
    f = lambda x, first, second: bind(product_derivative_p, x, first, second, axes=(1,))
    operands = [numbers((SIZE, 2, 5), seed=seed) for seed in range(3)]
    given = [x if axis == 0 else x[0] for x, axis in zip(operands, batched, strict=True)]
    loop = [x if axis == 0 else np.stack([x[0]] * SIZE) for x, axis in zip(operands, batched, strict=True)]
    assert_same(fg.vmap(f, in_axes=batched)(*given), looped(f, *loop))


@pytest.mark.parametrize("batched", [(0, None), (None, 0), (0, 0)])
def test_shares_of_an_extremum_with_either_operand_batched(batched):
    f = lambda x, top: bind(extremum_share_p, x, top, axes=(1,))
    x = np.array([[[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]], [[1.0, 3.0, 1.0], [NAN, NAN, 0.0]]])
    top = np.max(x, axis=2, keepdims=True)
    given = [operand if axis == 0 else operand[0] for operand, axis in zip((x, top), batched, strict=True)]
    loop = [
        operand if axis == 0 else np.stack([operand[0]] * 2) for operand, axis in zip((x, top), batched, strict=True)
    ]
    with np.errstate(invalid="ignore", divide="ignore"):  # a maximum that does not occur in x has no shares
        got = fg.vmap(f, in_axes=batched)(*given)
        assert_same(got, looped(f, *loop))
    (result,) = fg.make_graph(fg.vmap(f, in_axes=batched))(*given).outputs
    assert result.aval.shape == got.shape


# Creation: from a value that differs from example to example, and from none.

CREATED = {
    "full": lambda x: fg.full((2, 3), x),
    "full of a vector": lambda x: fg.full((2, 3), fg.stack([x, x + 1, x + 2]), "float32"),
    "full_like": lambda x: fg.full_like(fg.zeros(3), x),
    "linspace": lambda x: fg.linspace(x, 2.0, 5),
    "linspace of vectors": lambda x: fg.linspace(x, fg.asarray([3.0, 4.0]), 5),
    "asarray of a list": lambda x: fg.asarray([[x, 1.0], [2.0, x]]),
    "zeros_like": lambda x: fg.zeros_like(x) + x,
    "constants": lambda x: x * fg.eye(2) + fg.arange(2) - fg.ones((2, 1)),
}


@pytest.mark.parametrize("name", CREATED)
def test_creation_inside_vmap_and_forward_mode(name):
    f = CREATED[name]
    x = np.array([0.5, -1.0, 2.0])
    assert_same(fg.vmap(f)(x), looped(f, x))
    assert_same(fg.vmap(fg.vmap(f))(x[:, None]), looped(f, x)[:, None])
    y, tangent = fg.jvp(f, (x[0],), (1.0,))
    assert (tangent.shape, tangent.dtype) == (y.shape, y.dtype)
    np.testing.assert_allclose(tangent, np.asarray(f(fg.asarray(1.5))) - np.asarray(f(fg.asarray(0.5))), rtol=1e-6)
    assert_same(fg.make_graph(fg.vmap(f))(x)(x), looped(f, x))


def test_constants_inside_vmap_are_the_same_for_all_examples():
    assert_same(fg.vmap(lambda x: fg.arange(3))(np.zeros(2)), np.array([[0, 1, 2], [0, 1, 2]]))
    assert_same(fg.vmap(lambda x: fg.eye(2), out_axes=None)(np.zeros(2)), np.eye(2))


def test_a_range_cannot_end_differently_in_each_example():
    with pytest.raises(TracerConversionError, match="vmap"):
        fg.vmap(fg.arange)(np.array([2, 3]))


# Forward mode.


@pytest.mark.parametrize("name", SMOOTH)
def test_forward_mode_agrees_with_reverse_mode_and_differences(name):
    f = SMOOTH[name]
    x, v = numbers((3, 4)), numbers((3, 4), seed=1)
    y, tangent = fg.jvp(f, (x,), (v,))
    assert_same(y, f(fg.asarray(x)))
    assert (tangent.shape, tangent.dtype) == (y.shape, y.dtype)
    step = 1e-6
    difference = (np.asarray(f(fg.asarray(x + step * v))) - np.asarray(f(fg.asarray(x - step * v)))) / (2 * step)
    np.testing.assert_allclose(tangent, difference, rtol=2e-8, atol=2e-8)
    u = numbers(y.shape, seed=2)
    (cotangent,) = fg.vjp(f, x)[1](u)
    np.testing.assert_allclose(real_dot(u, tangent), real_dot(cotangent, v), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SMOOTH)
def test_forward_mode_in_float32(name):
    f = SMOOTH[name]
    x, v = numbers((3, 4), "float32"), numbers((3, 4), "float32", seed=1)
    y, tangent = fg.jvp(f, (x,), (v,))
    wide = fg.jvp(f, (x.astype("float64"),), (v.astype("float64"),))[1]
    assert (y.dtype, tangent.dtype) == (np.float32, np.float32)
    np.testing.assert_allclose(tangent, wide, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", COMPLEX)
def test_forward_mode_of_complex_numbers(name):
    f = SMOOTH[name]
    x, v = numbers((3, 4), "complex128"), numbers((3, 4), "complex128", seed=1)
    y, tangent = fg.jvp(f, (x,), (v,))
    assert (tangent.shape, tangent.dtype) == (y.shape, y.dtype)
    step = 1e-6
    difference = (np.asarray(f(fg.asarray(x + step * v))) - np.asarray(f(fg.asarray(x - step * v)))) / (2 * step)
    np.testing.assert_allclose(tangent, difference, rtol=2e-8, atol=2e-8)
    u = numbers(y.shape, y.dtype, seed=2)
    (cotangent,) = fg.vjp(f, x)[1](u)
    np.testing.assert_allclose(real_dot(u, tangent), real_dot(cotangent, v), rtol=1e-12, atol=1e-12)


def test_a_product_of_one_number_is_that_number():
    assert [float(part) for part in fg.jvp(fg.prod, (3.0,), (2.0,))] == [3.0, 2.0]
    assert [float(part) for part in fg.jvp(fg.grad(fg.prod), (3.0,), (2.0,))] == [1.0, 0.0]


@pytest.mark.parametrize("f", [fg.mean, fg.prod, fg.max, fg.logsumexp, fg.cumsum, erf])
def test_python_numbers_have_tangents_of_float64(f):
    y, tangent = fg.jvp(f, (0.5,), (2.0,))
    (gradient,) = fg.vjp(f, 0.5)[1](fg.ones(y.shape))
    assert tangent.dtype == np.float64
    assert float(fg.sum(tangent)) == 2.0 * float(gradient)


@pytest.mark.parametrize("name", SMOOTH)
def test_second_derivatives_in_every_nesting(name):
    """u H v, of the function u . f, by all four orders of forward and reverse mode."""
    f = SMOOTH[name]
    x, v, w = (numbers((3, 4), seed=seed) for seed in range(3))
    u = numbers(f(fg.asarray(x)).shape, seed=3)
    loss = lambda x: fg.sum(f(x) * u)
    push = lambda g, v: lambda x: fg.jvp(g, (x,), (v,))[1]
    forward_reverse = real_dot(push(fg.grad(loss), v)(x), w)
    reverse_forward = real_dot(fg.grad(push(loss, v))(x), w)
    forward_forward = float(push(push(loss, v), w)(x))
    reverse_reverse = real_dot(fg.grad(lambda x: fg.sum(fg.grad(loss)(x) * v))(x), w)
    step = 1e-5
    above, below = (np.asarray(fg.grad(loss)(x + sign * step * v)) for sign in (1, -1))
    expected = real_dot((above - below) / (2 * step), w)
    np.testing.assert_allclose(forward_reverse, expected, rtol=1e-6, atol=1e-7)
    found = [reverse_forward, forward_forward, reverse_reverse]
    np.testing.assert_allclose(found, [forward_reverse] * 3, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_of_each_example(name):
    f = SMOOTH[name]
    x, v = numbers((SIZE, 3, 4)), numbers((SIZE, 3, 4), seed=1)
    loss = lambda x: fg.sum(f(x) * f(x))
    push = lambda x, v: fg.jvp(f, (x,), (v,))[1]
    curvature = lambda x, v: fg.jvp(fg.grad(loss), (x,), (v,))[1]
    assert_same(fg.vmap(fg.grad(loss))(x), looped(fg.grad(loss), x), rtol=1e-12)
    assert_same(fg.vmap(push)(x, v), looped(push, x, v), rtol=1e-12)
    assert_same(fg.vmap(push, in_axes=(None, 0))(x[0], v), looped(push, np.stack([x[0]] * SIZE), v), rtol=1e-12)
    assert_same(fg.vmap(curvature)(x, v), looped(curvature, x, v), rtol=1e-11)
    total = fg.jvp(fg.vmap(f), (x,), (v,))[1]
    assert_same(total, looped(push, x, v), rtol=1e-12)
    assert_same(fg.grad(lambda x: fg.sum(fg.vmap(loss)(x)))(x), looped(fg.grad(loss), x), rtol=1e-12)


@pytest.mark.parametrize("name", [*SMOOTH, *CONSTANT])
def test_graphs_of_forward_mode_and_of_vmap(name):
    f = (SMOOTH | CONSTANT)[name]
    x, v = numbers((SIZE, 3, 4)), numbers((SIZE, 3, 4), seed=1)
    graph = fg.make_graph(fg.vmap(f))(x)
    graph.check()
    assert_same(graph(x), fg.vmap(f)(x), rtol=0)
    if name not in SMOOTH:
        return
    for push in (
        lambda x, v: fg.jvp(f, (x,), (v,))[1],
        lambda x, v: fg.jvp(fg.grad(lambda x: fg.sum(f(x) ** 2)), (x,), (v,))[1],
    ):
        graph = fg.make_graph(push)(x[0], v[0])
        graph.check()
        assert_same(graph(x[0], v[0]), push(x[0], v[0]), rtol=0)
        graph = fg.make_graph(fg.vmap(push))(x, v)
        graph.check()
        assert_same(graph(x, v), fg.vmap(push)(x, v), rtol=0)


@pytest.mark.parametrize("f", [fg.max, fg.prod, fg.logsumexp])
def test_graphs_of_derivatives_of_python_numbers(f):
    graph = fg.make_graph(lambda x: fg.jvp(fg.grad(f), (x,), (fg.ones(()),)))(2.0)
    graph.check()
    assert [part.dtype for part in graph(2.0)] == [np.float64] * 2


# Kinks and special values: both modes choose the same.

POINTS = [
    ("ties of max", fg.max, [1.0, 3.0, 3.0, 2.0]),
    ("ties of min", fg.min, [1.0, 1.0, 1.0, 2.0]),
    ("NaN in max", fg.max, [1.0, NAN, 3.0, NAN]),
    ("infinite max", fg.max, [INF, 1.0, INF, -INF]),
    ("initial ties with max", lambda x: fg.max(x, initial=3.0), [1.0, 3.0, 3.0, 2.0]),
    ("one zero in prod", fg.prod, [2.0, 0.0, 3.0, 4.0]),
    ("two zeros in prod", fg.prod, [2.0, 0.0, 3.0, 0.0]),
    ("infinity in prod", fg.prod, [2.0, INF, 3.0, 1.0]),
    ("zero and infinity in prod", fg.prod, [2.0, 0.0, INF, 1.0]),
    ("logsumexp of -inf", fg.logsumexp, [-INF, -INF, -INF, -INF]),
    ("-inf in logsumexp", fg.logsumexp, [-INF, 0.0, 1.0, -INF]),
    ("inf in logsumexp", fg.logsumexp, [INF, 0.0, INF, -INF]),
    ("NaN in logsumexp", fg.logsumexp, [NAN, 0.0, 1.0, -INF]),
    ("std of equal elements", fg.std, [2.0, 2.0, 2.0, 2.0]),
    ("var of equal elements", fg.var, [2.0, 2.0, 2.0, 2.0]),
    ("ends of erfinv", lambda x: fg.sum(erfinv(x)), [1.0, -1.0, 0.0, 0.5]),
    ("erf far out", lambda x: fg.sum(erf(x)), [INF, -INF, 30.0, NAN]),
]


@pytest.mark.parametrize(("f", "x"), [row[1:] for row in POINTS], ids=[row[0] for row in POINTS])
def test_forward_mode_has_the_values_of_reverse_mode_at_kinks(f, x):
    x = np.array(x)
    with np.errstate(all="ignore"):
        gradient = np.asarray(fg.grad(f)(x))
        columns = [float(fg.jvp(f, (x,), (e,))[1]) for e in np.eye(4)]
        batched = np.asarray(fg.vmap(lambda e: fg.jvp(f, (x,), (e,))[1])(np.eye(4)))
        stacked = np.asarray(fg.vmap(fg.grad(f))(np.stack([x, np.arange(4.0) / 8, x])))
    np.testing.assert_array_equal(columns, gradient)
    np.testing.assert_array_equal(batched, gradient)
    np.testing.assert_array_equal(stacked[[0, 2]], [gradient, gradient])


@pytest.mark.parametrize("f", [fg.prod, fg.var, fg.std, fg.logsumexp, fg.max, fg.mean, lambda x: fg.sum(erf(x))])
@pytest.mark.parametrize("x", [[NAN, 1.0], [INF, 0.0], [INF, -INF]])
def test_a_branch_that_is_not_taken_contributes_nothing(f, x):
    x = np.array(x)
    guarded = lambda x: fg.where(False, f(x), 5.0)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(fg.grad(guarded)(x), [0.0, 0.0])
        assert float(fg.jvp(guarded, (x,), (np.ones(2),))[1]) == 0.0
        np.testing.assert_array_equal(fg.jvp(f, (x,), (np.zeros(2),))[1], 0.0)
        np.testing.assert_array_equal(fg.grad(lambda x: fg.sum(fg.grad(guarded)(x)))(x), [0.0, 0.0])


@pytest.mark.parametrize("dtype", ["float64", "float32", "complex64"])
def test_a_variance_of_too_few_elements_has_derivative_nan(dtype):
    x = np.array([[1.5], [2.0]], dtype)
    f = lambda x: fg.var(x, axis=1, ddof=1)
    with np.errstate(all="ignore"), pytest.warns(RuntimeWarning, match="Degrees of freedom"):
        value, tangent = fg.jvp(f, (x,), (np.ones_like(x),))
    with pytest.warns(RuntimeWarning, match="Degrees of freedom"), np.errstate(all="ignore"):
        gradient = fg.grad(lambda x: fg.real(fg.sum(f(x))))(x)
    assert tangent.dtype == value.dtype
    assert gradient.dtype == x.dtype
    assert np.isnan(np.asarray(tangent)).all()
    assert np.isnan(np.asarray(gradient)).all()


@pytest.mark.parametrize("f", [fg.mean, fg.var])
def test_moments_of_no_elements_depend_on_none(f):
    with np.errstate(all="ignore"), pytest.warns(RuntimeWarning, match=r"Mean of empty|Degrees of freedom"):
        value, tangent = fg.jvp(f, (np.zeros((0, 2)),), (np.zeros((0, 2)),))
    assert np.isnan(value).all()
    assert float(tangent) == 0.0


def test_an_infinite_tangent_of_an_element_that_is_not_the_maximum_does_not_matter():
    assert float(fg.jvp(fg.max, (np.array([1.0, 2.0]),), (np.array([INF, 3.0]),))[1]) == 3.0


def test_float16_is_added_up_in_float32():
    x = np.full(5000, 2.0, "float16")
    x[::2] = 4.0
    assert float(fg.jvp(fg.mean, (x,), (x,))[1]) == 3.0
    assert float(fg.jvp(fg.var, (x,), (x * np.float16(8),))[1]) == 16.0


@given(count=st.integers(1, 9), zeros=st.integers(0, 3), seed=st.integers(0, 99))
def test_products_with_zeros_to_third_order(count, zeros, seed):
    """Along v, the product of x_i + s v_i + t w_i + r z_i is a polynomial whose coefficient of s t r is known."""
    generator = np.random.default_rng(seed)
    x, v, w, z = generator.integers(-3, 4, (4, count)).astype(float)
    x[:zeros] = 0.0
    push = lambda g, v: lambda x: fg.jvp(g, (x,), (v,))[1]
    expected = sum(
        v[i] * w[j] * z[k] * np.prod(np.delete(x, [i, j, k]))
        for i in range(count)
        for j in range(count)
        for k in range(count)
        if len({i, j, k}) == 3
    )
    assert float(push(push(push(fg.prod, v), w), z)(x)) == expected
    assert real_dot(push(push(fg.grad(fg.prod), v), w)(x), z) == expected
    assert real_dot(fg.grad(push(push(fg.prod, v), w))(x), z) == expected
    by_example = fg.vmap(lambda x, v: push(push(push(fg.prod, v), w), z)(x))(np.stack([x, x + 1]), np.stack([v, w]))
    assert float(by_example[0]) == expected
