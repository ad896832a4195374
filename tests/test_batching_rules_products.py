"""Matrix products, einsum and diagonals under vmap and jvp: every rank and mix of what is batched, and derivatives."""

from __future__ import annotations

import gc
import itertools
import string
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fgrad as fg

RNG = np.random.default_rng(11)
SIZE = 3
MIXES = [(True, False), (False, True), (True, True)]


def batches(shape, dtype="float64"):
    values = RNG.normal(size=(SIZE, *shape))
    return np.asarray(values + 1j * RNG.normal(size=values.shape) if np.dtype(dtype).kind == "c" else values).astype(
        dtype
    )


def loop(function, mix, operands):
    chosen = [[x[i] if own else x[0] for x, own in zip(operands, mix, strict=True)] for i in range(SIZE)]
    results = [function(*[fg.asarray(x) for x in example]) for example in chosen]
    return fg.tree.map(lambda *parts: np.stack([np.asarray(part) for part in parts]), *results)


def assert_like_loop(function, mix, operands, rtol=1e-11):
    arguments = [fg.asarray(x if own else x[0]) for x, own in zip(operands, mix, strict=True)]
    found = fg.vmap(function, in_axes=tuple([0 if own else None for own in mix]))(*arguments)
    expected = loop(function, mix, operands)
    assert fg.tree.structure(found) == fg.tree.structure(expected)
    for got, wanted in zip(fg.tree.leaves(found), fg.tree.leaves(expected), strict=True):
        assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
        np.testing.assert_allclose(got, wanted, rtol=rtol, atol=rtol)


def weighted(function):
    """A nonlinear scalar of what the function returns."""

    def loss(*operands):
        out = function(*operands)
        weights = np.linspace(0.5, 2.0, out.size).reshape(out.shape)
        return fg.sum(fg.sin(fg.real(out) * weights)) + fg.sum(fg.cos(fg.imag(out)))

    return loss


RANKS = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 4)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3,)),
    ((3,), (5, 3, 4)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (5, 3, 4)),
    ((5, 2, 3), (1, 3, 4)),
    ((1, 2, 3), (5, 3, 4)),
    ((6, 1, 2, 3), (5, 3, 4)),
    ((5, 2, 3), (6, 1, 3, 4)),
    ((6, 5, 2, 3), (3,)),
    ((3,), (6, 5, 3, 4)),
    ((6, 5, 2, 3), (3, 4)),
    ((2, 3), (6, 5, 3, 4)),
    ((2, 1), (1, 4)),
    ((5, 2, 1), (1, 4)),
    ((1,), (1, 4)),
    ((2, 3), (3, 40)),  # more columns than are worth arranging side by side
    ((0, 3), (3, 4)),
    ((2, 0), (0, 4)),
    ((0,), (0,)),
    ((4, 2, 0), (0, 3)),
    ((0, 2, 3), (3, 4)),
    ((2, 3), (0, 3, 4)),
]
ranks = pytest.mark.parametrize(("left", "right"), RANKS)


@ranks
@pytest.mark.parametrize("dtypes", [("float64", "float64"), ("float32", "float64"), ("complex64", "float32")])
def test_matmul_of_every_rank(left, right, dtypes):
    operands = [batches(left, dtypes[0]), batches(right, dtypes[1])]
    for mix in MIXES:
        assert_like_loop(fg.matmul, mix, operands, rtol=1e-5 if dtypes[0] == "complex64" else 1e-11)


@pytest.mark.parametrize("dtype", ["bool", "int8", "float16"])
def test_matmul_of_other_dtypes(dtype):
    for left, right in [((2, 3), (3, 4)), ((2, 1), (1, 4)), ((3,), (3, 2)), ((3,), (3,))]:
        operands = [(batches(left) * 9).astype(dtype), (batches(right) * 9).astype(dtype)]
        for mix in MIXES:
            assert_like_loop(fg.matmul, mix, operands, rtol=2e-3)


@ranks
def test_gradients_of_matmul_for_each_example(left, right):
    operands = [batches(left), batches(right)]
    gradient = fg.grad(weighted(fg.matmul), (0, 1))
    for mix in MIXES:
        assert_like_loop(gradient, mix, operands)


@ranks
def test_nested_vmap_of_matmul(left, right):
    """One operand along the outer axis, the other along the inner; and one along both, each in turn."""
    x, y = RNG.normal(size=(2, SIZE, *left)), RNG.normal(size=(2, SIZE, *right))
    nest = lambda outer, inner: fg.vmap(fg.vmap(fg.matmul, inner), outer)
    found = [
        nest((0, None), (None, 0))(x[:, 0], y[0]),
        nest((None, 0), (0, None))(x[0], y[:, 0]),
        nest((0, None), (0, None))(x, y[0, 0]),
        nest((None, 0), (None, 0))(x[0, 0], y),
        nest((0, 0), (0, None))(x, y[:, 0]),
        nest((0, 0), (None, 0))(x[:, 0], y),
        nest((0, 0), (0, 0))(x, y),
    ]
    for i, j in itertools.product(range(2), range(SIZE)):
        pairs = [
            (x[i, 0], y[0, j]),
            (x[0, j], y[i, 0]),
            (x[i, j], y[0, 0]),
            (x[0, 0], y[i, j]),
            (x[i, j], y[i, 0]),
            (x[i, 0], y[i, j]),
            (x[i, j], y[i, j]),
        ]
        for case, (got, (a, b)) in enumerate(zip(found, pairs, strict=True)):
            np.testing.assert_allclose(got[i, j], np.matmul(a, b), atol=1e-12, err_msg=f"case {case}")


@pytest.mark.parametrize("axes", [(1, 0), (0, -1), (-1, 1), (2, None), (None, 2)])
def test_examples_along_other_axes(axes):
    x, y = batches((4, 3)), batches((3, 2))
    along = [
        values[0] if axis is None else fg.moveaxis(values, 0, axis) for values, axis in zip((x, y), axes, strict=True)
    ]
    found = fg.vmap(fg.matmul, axes, out_axes=-1)(*along)
    expected = loop(fg.matmul, tuple([axis is not None for axis in axes]), [x, y])
    np.testing.assert_allclose(found, np.moveaxis(expected, 0, -1), atol=1e-13)


# jvp, against reverse mode and central differences.

PRODUCTS = {
    "matmul": (fg.matmul, [(2, 3), (3, 4)]),
    "matmul of vectors": (fg.matmul, [(3,), (3,)]),
    "matmul of stacks": (fg.matmul, [(4, 1, 2, 3), (5, 3, 2)]),
    "dot": (fg.dot, [(2, 3), (4, 3, 2)]),
    "dot with a number": (fg.dot, [(), (4, 3)]),
    "inner": (fg.inner, [(2, 3), (4, 3)]),
    "outer": (fg.outer, [(2, 2), (3,)]),
    "vdot": (fg.vdot, [(2, 3), (6,)]),
    "vecdot": (fg.vecdot, [(4, 1, 3), (2, 3)]),
    "vecdot along an axis": (lambda x, y: fg.vecdot(x, y, axis=0), [(3, 2), (3, 2)]),
    "tensordot": (fg.tensordot, [(2, 3, 4), (3, 4, 2)]),
    "tensordot of nothing": (lambda x, y: fg.tensordot(x, y, 0), [(2, 3), (4,)]),
    "tensordot over pairs": (lambda x, y: fg.tensordot(x, y, ([0, 2], [1, 0])), [(2, 3, 4), (4, 2, 5)]),
    "trace": (lambda x: fg.trace(x, 1, 2, 0), [(3, 2, 4)]),
    "diagonal": (lambda x: fg.diagonal(x, -1), [(3, 4, 2)]),
    "diagonal of other axes": (lambda x: fg.diagonal(x, 1, -1, 0), [(3, 4, 2)]),
    "einsum of one": (lambda x: fg.einsum("iji->j", x), [(3, 2, 3)]),
    "einsum of two": (lambda x, y: fg.einsum("ij,jk->ki", x, y), [(2, 3), (3, 4)]),
    "einsum with a stack": (lambda x, y: fg.einsum("...ij,...jk", x, y), [(5, 2, 3), (3, 4)]),
    "einsum of rows": (lambda x, y: fg.einsum("bi,bi->b", x, y), [(4, 3), (4, 3)]),
    "einsum of three": (lambda x, y, z: fg.einsum("ij,jk,ki->i", x, y, z), [(2, 3), (3, 4), (4, 2)]),
    "einsum that broadcasts": (lambda x, y: fg.einsum("ij,jk->ik", x, y), [(2, 1), (3, 2)]),
    "einsum of numbers": (lambda x, y: fg.einsum(",i->i", x, y), [(), (3,)]),
    "einsum with repeats": (lambda x, y: fg.einsum("iij,jk->ik", x, y), [(2, 2, 3), (3, 2)]),
    "einsum of an outer product": (lambda x, y: fg.einsum("i,j->ji", x, y), [(2,), (3,)]),
}
products = pytest.mark.parametrize("name", PRODUCTS)


@products
def test_batches_of_every_product(name):
    function, shapes = PRODUCTS[name]
    for dtype in ("float64", "complex128"):
        operands = [batches(shape, dtype) for shape in shapes]
        for mix in itertools.product((False, True), repeat=len(shapes)):
            if any(mix):
                assert_like_loop(function, mix, operands)
                assert_like_loop(fg.grad(weighted(function), tuple(range(len(shapes)))), mix, operands)


@products
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_tangents_are_the_transposes_of_cotangents(name, dtype):
    function, shapes = PRODUCTS[name]
    primals = [fg.asarray(batches(shape, dtype)[0]) for shape in shapes]
    directions = [batches(shape, dtype)[0] for shape in shapes]
    loss = weighted(function)
    out, tangent = fg.jvp(function, tuple(primals), tuple(directions))
    assert (tangent.shape, tangent.dtype) == (out.shape, out.dtype)
    value, along = fg.jvp(loss, tuple(primals), tuple(directions))
    assert along.dtype == value.dtype
    gradients = fg.grad(loss, tuple(range(len(shapes))))(*primals)
    pulled = sum(np.sum(np.asarray(g) * v).real for g, v in zip(gradients, directions, strict=True))
    np.testing.assert_allclose(along, pulled, rtol=1e-4 if dtype == "float32" else 1e-10, atol=1e-4)
    precise = [x.astype("complex128" if dtype == "complex128" else "float64") for x in primals]
    step = 1e-5
    moved = [function(*[x + s * step * v for x, v in zip(precise, directions, strict=True)]) for s in (1, -1)]
    expected = (np.asarray(moved[0]) - np.asarray(moved[1])) / (2 * step)
    np.testing.assert_allclose(tangent, expected, rtol=1e-4, atol=1e-4 if dtype == "float32" else 1e-8)


@products
def test_one_tangent_alone(name):
    function, shapes = PRODUCTS[name]
    primals = [fg.asarray(batches(shape)[0]) for shape in shapes]
    for place, primal in enumerate(primals):
        given = [None] * len(primals)
        given[place] = fg.asarray(batches(shapes[place])[0])
        _, tangent = fg.jvp(function, tuple(primals), tuple(given))
        expected = function(*primals[:place], given[place], *primals[place + 1 :])
        np.testing.assert_allclose(tangent, expected, atol=1e-12)
        assert primal.shape == shapes[place]


def test_tangents_of_mixed_dtypes_have_the_dtype_of_the_result():
    x, y = fg.ones((2, 2), "float32"), fg.ones((2, 2), "float64")
    for function in (fg.matmul, lambda a, b: fg.einsum("ij,jk->ik", a, b), lambda a, b: fg.tensordot(a, b, 1)):
        for tangents in ((x, None), (None, y), (x, y)):
            out, tangent = fg.jvp(function, (x, y), tangents)
            assert out.dtype == tangent.dtype == "float64"


# Compositions.


def layered(w, x):
    """A scalar of a matrix and a vector through all the primitives of these families."""
    hidden = fg.tanh(w @ x)
    gram = fg.einsum("ij,kj->ik", w, w) + fg.outer(hidden, x)
    return fg.vdot(hidden, gram @ x) + fg.trace(gram @ w) + fg.sum(fg.diagonal(gram) * hidden)


W, X = batches((3, 3)), batches((3,))


def along(function):
    return lambda w, x: fg.jvp(function, (w, x), (fg.asarray(W[1]), fg.asarray(X[1])))[1]


@pytest.mark.parametrize("mix", MIXES)
def test_compositions_of_transforms(mix):
    gradient = fg.grad(layered, (0, 1))
    for function in (gradient, along(layered), along(gradient), fg.grad(along(layered), (0, 1))):
        assert_like_loop(function, mix, [W, X])
    axes = tuple([0 if own else None for own in mix])
    w, x = (fg.asarray(a if own else a[0]) for a, own in zip((W, X), mix, strict=True))
    batched = fg.vmap(layered, axes)
    each = loop(gradient, mix, [W, X])
    for got, wanted, own in zip(fg.grad(lambda w, x: fg.sum(batched(w, x)), (0, 1))(w, x), each, mix, strict=True):
        np.testing.assert_allclose(got, wanted if own else wanted.sum(0), rtol=1e-11)
    directions = tuple([fg.asarray(a[[1] * SIZE] if own else a[1]) for a, own in zip((W, X), mix, strict=True)])
    tangent = fg.jvp(batched, (w, x), directions)[1]
    np.testing.assert_allclose(tangent, loop(along(layered), mix, [W, X]), rtol=1e-11)


def test_second_derivatives_agree_in_all_four_nestings():
    w, x, v = fg.asarray(W[0]), fg.asarray(X[0]), fg.asarray(X[1])
    of_x = lambda x: layered(w, x)
    jvp = lambda f: lambda x: fg.jvp(f, (x,), (v,))[1]
    dot = lambda f: lambda x: fg.sum(f(x) * v)
    found = [
        jvp(jvp(of_x))(x),
        dot(jvp(fg.grad(of_x)))(x),
        dot(fg.grad(jvp(of_x)))(x),
        dot(fg.grad(dot(fg.grad(of_x))))(x),
    ]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-11)
    step = 1e-4
    values = [float(of_x(x + s * step * v)) for s in (1, 0, -1)]
    np.testing.assert_allclose(found[0], (values[0] - 2 * values[1] + values[2]) / step**2, rtol=1e-4)


@pytest.mark.parametrize("mix", MIXES)
def test_graphs_of_batches_and_batches_of_graphs(mix):
    axes = tuple([0 if own else None for own in mix])
    w, x = (fg.asarray(a if own else a[0]) for a, own in zip((W, X), mix, strict=True))
    for function in (layered, fg.grad(layered), along(layered), along(fg.grad(layered))):
        expected = fg.vmap(function, axes)(w, x)
        graph = fg.make_graph(fg.vmap(function, axes))(w, x)
        graph.check()
        np.testing.assert_allclose(graph(w, x), expected, rtol=1e-11)
        of_one = fg.make_graph(function)(W[0], X[0])
        of_one.check()
        np.testing.assert_allclose(fg.vmap(lambda w, x, g=of_one: g(w, x), axes)(w, x), expected, rtol=1e-11)


# The forms that the rules choose.


def primitives_of(function, *args):
    return [equation.primitive.name for equation in fg.make_graph(function)(*args).equations]


def test_vectors_by_a_shared_matrix_are_one_product_of_matrices():
    x, w = fg.zeros((64, 7)), fg.zeros((7, 5))
    assert primitives_of(fg.vmap(fg.matmul, (0, None)), x, w) == ["matmul"]
    shared_first = fg.make_graph(fg.vmap(fg.matmul, (None, 0)))(w.T, x)
    assert [equation.primitive.name for equation in shared_first.equations] == ["transpose", "matmul"]
    assert shared_first.equations[-1].operands[1].aval.shape == (7, 5)
    stacked = fg.make_graph(fg.vmap(fg.vmap(fg.matmul, (0, None)), (0, None)))(fg.zeros((3, 64, 7)), w)
    assert [equation.primitive.name for equation in stacked.equations] == ["matmul"]


def test_a_stack_of_matrices_by_one_is_one_product_of_matrices():
    """However many leading axes there are, NumPy is given two matrices for each example at most."""
    graph = fg.make_graph(fg.vmap(fg.matmul))(fg.zeros((8, 2, 3, 4, 5)), fg.zeros((8, 5, 6)))
    assert [e.operands[0].aval.shape for e in graph.equations if e.primitive.name == "matmul"] == [(8, 24, 5)]


@given(st.data())
def test_products_of_columns_and_rows_are_those_of_matmul(data):
    dtype = data.draw(st.sampled_from(["float32", "float64", "int8", "bool", "complex64"]))
    lead = data.draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3))
    m, n = data.draw(st.integers(0, 4)), data.draw(st.integers(0, 4))
    x, y = (np.asarray(RNG.normal(size=s) * 5).astype(dtype) for s in ((*lead, m, 1), (*lead, 1, n)))
    found, expected = fg.matmul(x, y), np.matmul(x, y)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex128"])
@pytest.mark.parametrize("lead", [((), ()), ((5,), (5,)), ((2, 1), (3,))])
def test_many_products_of_columns_and_rows(lead, dtype):
    x, y = (np.asarray(RNG.normal(size=s)).astype(dtype) for s in ((*lead[0], 80, 1), (*lead[1], 1, 70)))
    found = fg.matmul(x, y)
    assert found.dtype == dtype
    assert found.numpy().flags.c_contiguous
    np.testing.assert_array_equal(found, x * y)


# einsum.


@st.composite
def pairs(draw):
    """Subscripts and shapes of two operands, each label in at least two of the operands and the result."""
    labels = draw(st.lists(st.sampled_from("abcde"), unique=True, max_size=5))
    places = [draw(st.sampled_from(["xy", "xo", "yo", "xyo"])) for _ in labels]
    lengths = {label: draw(st.integers(1, 3)) for label in labels}
    terms = [
        "".join(draw(st.permutations([label for label, place in zip(labels, places, strict=True) if where in place])))
        for where in "xyo"
    ]
    return f"{terms[0]},{terms[1]}->{terms[2]}", [tuple([lengths[label] for label in term]) for term in terms[:2]]


@given(pairs(), st.sampled_from(MIXES))
def test_einsum_of_any_two_operands(drawn, mix):
    subscripts, shapes = drawn
    operands = [batches(shape) for shape in shapes]
    function = lambda x, y: fg.einsum(subscripts, x, y)
    assert_like_loop(function, mix, operands)
    assert_like_loop(fg.grad(weighted(function), (0, 1)), mix, operands)
    both = fg.vmap(fg.vmap(function, (0, None)), (None, 0))(operands[0], operands[1])
    np.testing.assert_allclose(both[1, 2], function(operands[0][2], operands[1][1]), rtol=1e-11, atol=1e-12)


def test_einsum_when_every_letter_is_in_use():
    left, right = string.ascii_lowercase, string.ascii_uppercase
    x, y = np.ones((SIZE, *[1] * 25, 2)), np.ones((*[1] * 25, 3))
    x *= np.arange(SIZE).reshape((SIZE, *[1] * 26))
    function = lambda x, y: fg.einsum(f"{left},{right}->{left[-1]}{right}{left[:-1]}", x, y)
    found = fg.vmap(function, (0, None))(x, y)
    assert found.shape == (SIZE, 2, *[1] * 25, 3, *[1] * 25)
    np.testing.assert_array_equal(found.ravel(), np.repeat(np.arange(SIZE), 6))
    by_x = fg.vmap(fg.grad(lambda x: fg.sum(function(x, y))))(x)
    np.testing.assert_array_equal(by_x, np.full(x.shape, 3.0))


# Diagonals, whose adjoint is a primitive of its own.


@pytest.mark.parametrize("offset", [-3, -1, 0, 2, 5])
@pytest.mark.parametrize("axes", [(0, 1), (2, 0), (-1, 1)])
def test_diagonals_of_a_batch_and_their_adjoints(offset, axes):
    x = batches((3, 4, 2))
    assert_like_loop(lambda x: fg.diagonal(x, offset, *axes), (True,), [x])
    square = lambda x: fg.sum(fg.diagonal(x, offset, *axes) ** 3)
    assert_like_loop(fg.grad(square), (True,), [x])
    v = fg.asarray(x[2])
    second = lambda x: fg.jvp(fg.grad(square), (x,), (v,))[1]
    assert_like_loop(second, (True,), [x])
    assert_like_loop(fg.grad(lambda x: fg.sum(second(x) * v)), (True,), [x])


def test_gradients_for_each_example_are_freed_when_they_are_dropped():
    """Without a reference cycle; with one, each call would take fresh memory until the collector happens to run."""
    batched = fg.vmap(fg.grad(lambda params, x: fg.sum(fg.tanh(x @ params["w"]))), (None, 0))
    gc.disable()
    try:
        found = batched({"w": fg.asarray(W[0])}, fg.asarray(X))
        gradient = weakref.ref(found["w"])
        assert gradient() is not None
        del found
        assert gradient() is None
    finally:
        gc.enable()


# Errors.


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            fg.vmap(fg.matmul),
            r"^\[matmul\] on float64\[3,4\] and float64\[5,2\]: .*length 4.*length 5",
        ),
        (lambda x, y: fg.vmap(fg.matmul, (0, None))(x, y[0]), r"^\[matmul\] on float64\[3,4\] and float64\[5,2\]"),
        (lambda x, y: fg.vmap(fg.matmul, (None, 0))(x[0, 0], y[:, 0]), r"^\[matmul\] on float64\[4\] and float64\[2\]"),
        (lambda x, y: fg.vmap(fg.matmul)(x[:, 0, 0], y), r"^\[matmul\] on float64\[\] and .*both operands need"),
        (lambda x, y: fg.vmap(fg.matmul, (0, None))(x[:, 0, 0], x[:, 0, 0]), r"\[\] and float64\[6\]: both operands"),
        (fg.vmap(fg.dot), r"^\[dot\] on float64\[3,4\] and float64\[5,2\]"),
        (fg.vmap(lambda a, b: fg.einsum("ij,jk->ik", a, b)), r"'j' has the lengths 4 and 5"),
        (lambda x, y: fg.vmap(lambda a: fg.trace(a[0]))(x), r"^\[trace\] on float64\[4\]: a diagonal needs two axes"),
    ],
)
def test_errors_show_the_shapes_of_one_example(call, message):
    with pytest.raises(fg.errors.ShapeError, match=message) as caught:
        call(fg.zeros((6, 3, 4)), fg.zeros((6, 5, 2)))
    assert "test_batching_rules_products.py" in str(caught.value)
