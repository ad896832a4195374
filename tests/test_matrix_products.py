"""Cross and Kronecker products, chains of matrices, diagonals, and NumPy's linalg variants of products."""

import itertools

import numpy as np
import pytest
from scipy import linalg as scipy_linalg

import fgrad as fg
from fgrad.core.bind import bind2
from fgrad.errors import DtypeError, ShapeError
from fgrad.ops import matrix_products
from fgrad.testing import check_grads

RNG = np.random.default_rng(0)


def sample(shape, dtype="float64"):
    x = RNG.normal(size=shape) * 3
    if np.dtype(dtype).kind == "c":
        x = x + 1j * RNG.normal(size=shape)
    return np.asarray(x).astype(dtype)


def assert_agrees(found, expected):
    assert isinstance(found, fg.Tensor)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


AXES = [
    ((3,), (3,), {}),
    ((4, 3), (3,), {}),
    ((4, 1, 3), (2, 3), {}),
    ((3, 4), (4, 3), {"axisa": 0}),
    ((3, 4), (4, 3), {"axisa": 0, "axisc": 0}),
    ((3, 4), (3, 4), {"axis": 0}),
    ((3, 2, 4), (2, 4, 3), {"axisa": 0, "axisb": -1, "axisc": 1}),
]


@pytest.mark.parametrize("dtype", ["float64", "complex128", "int64"])
@pytest.mark.parametrize("case", AXES, ids=str)
def test_cross_products_along_any_axes(case, dtype):
    left, right, axes = case
    x, y = sample(left, dtype), sample(right, dtype)
    assert_agrees(fg.cross(x, y, **axes), np.cross(x, y, **axes))
    assert_agrees(np.cross(fg.asarray(x), y, **axes), np.cross(x, y, **axes))
    if dtype != "int64":
        check_grads(lambda x, y: fg.cross(x, y, **axes), (x, y), 2)


@pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors:DeprecationWarning")
@pytest.mark.parametrize(("left", "right"), [((2,), (2,)), ((4, 2), (3,)), ((3,), (4, 2)), ((4, 2), (2,))])
def test_cross_products_of_planar_vectors_are_deprecated(left, right):
    x, y = sample(left), sample(right)
    with pytest.warns(DeprecationWarning, match="append a zero to each"):
        found = fg.cross(x, y)
    assert_agrees(found, np.asarray(np.cross(x, y)))
    with pytest.warns(DeprecationWarning, match="append a zero to each"):
        check_grads(fg.cross, (x, y), 1)


@pytest.mark.parametrize("axis", [0, -2])
def test_linalg_cross_has_one_axis(axis):
    x, y = sample((3, 4)), sample((3, 4))
    assert_agrees(fg.linalg.cross(x, y, axis=axis), np.linalg.cross(x, y, axis=axis))
    assert_agrees(np.linalg.cross(fg.asarray(x), y, axis=axis), np.linalg.cross(x, y, axis=axis))


def test_the_adjoints_of_a_cross_product_are_cross_products():
    x, y, g = sample(3), sample(3), sample(3)
    by_x, by_y = fg.vjp(fg.cross, x, y)[1](fg.asarray(g))
    np.testing.assert_allclose(by_x, np.cross(y, g))
    np.testing.assert_allclose(by_y, np.cross(g, x))


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
@pytest.mark.parametrize(
    ("left", "right"), [((2, 3), (3,)), ((5, 2, 3), (3,)), ((2, 3), (5, 3)), ((4, 1, 2, 3), (5, 3))]
)
def test_matrices_times_vectors(left, right, dtype):
    x, y = sample(left, dtype), sample(right, dtype)
    assert_agrees(fg.matvec(x, y), np.matmul(x, y[..., None])[..., 0])
    flipped = np.swapaxes(x, -1, -2)
    assert_agrees(fg.vecmat(y, flipped), np.matmul(y.conj()[..., None, :], flipped)[..., 0, :])
    if hasattr(np, "matvec"):
        assert_agrees(np.matvec(fg.asarray(x), y), np.matvec(x, y))
        assert_agrees(np.vecmat(fg.asarray(y), flipped), np.vecmat(y, flipped))


CHAINS = [
    [(2, 3), (3, 4)],
    [(3,), (3,)],
    [(2, 3), (3,)],
    [(3,), (3, 4), (4,)],
    [(10, 2), (2, 10), (10, 2)],
    [(2, 10), (10, 2), (2, 10), (10, 2)],
    [(3,), (3, 5), (5, 1), (1, 4), (4,)],
    [(2, 3), (3, 0), (0, 2), (2, 3), (3, 1), (1, 2)],
]


@pytest.mark.parametrize("shapes", CHAINS, ids=str)
@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_chains_of_matrices(shapes, dtype):
    factors = [sample(shape, dtype) for shape in shapes]
    expected = np.asarray(np.linalg.multi_dot(factors))
    assert_agrees(fg.linalg.multi_dot(factors), expected)
    assert_agrees(np.linalg.multi_dot([fg.asarray(factor) for factor in factors]), expected)
    check_grads(lambda *factors: fg.linalg.multi_dot(factors), tuple(factors), 1)


def test_a_chain_is_multiplied_in_the_cheapest_order(monkeypatch):
    costs = []

    def counted(primitive, x, y):
        costs.append(int(np.prod(x.shape)) * (y.shape[1] if y.ndim == 2 else 1))
        return bind2(primitive, x, y)

    monkeypatch.setattr(matrix_products, "bind2", counted)
    # The example of Cormen et al., section 15.2.
    sizes = [30, 35, 15, 5, 10, 20, 25]
    fg.linalg.multi_dot([fg.ones(pair) for pair in itertools.pairwise(sizes)])
    assert sum(costs) == 15125
    costs.clear()
    fg.linalg.multi_dot([fg.ones((50, 50)), fg.ones((50, 50)), fg.ones(50)])
    assert sum(costs) == 5000


@pytest.mark.parametrize(
    ("left", "right"),
    [((), ()), ((), (2,)), ((2,), (3,)), ((2, 3), (3, 2)), ((2,), (3, 2, 2)), ((2, 1, 2), (3,)), ((0,), (2, 2))],
)
@pytest.mark.parametrize("dtype", ["float64", "complex128", "int64", "bool"])
def test_kronecker_products(left, right, dtype):
    x, y = sample(left, dtype), sample(right, dtype)
    assert_agrees(fg.kron(x, y), np.asarray(np.kron(x, y)))
    assert_agrees(np.kron(fg.asarray(x), y), np.asarray(np.kron(x, y)))
    if dtype == "float64":
        check_grads(fg.kron, (x, y), 2)


@pytest.mark.parametrize("k", [-2, 0, 1, 4])
@pytest.mark.parametrize("shape", [(3,), (0,), (2, 3), (3, 2)])
def test_diag(shape, k):
    x = sample(shape)
    assert_agrees(fg.diag(x, k), np.diag(x, k))
    assert_agrees(fg.diagflat(x, k), np.diagflat(x, k))
    assert_agrees(np.diag(fg.asarray(x), k=k), np.diag(x, k))
    check_grads(lambda x: fg.diag(x, k), (x,), 1)
    check_grads(lambda x: fg.diagflat(x, k), (x,), 1)


@pytest.mark.parametrize("offset", [-1, 0, 2])
def test_diagonals_and_traces_of_the_last_axes(offset):
    x = sample((2, 3, 4))
    assert_agrees(fg.linalg.diagonal(x, offset=offset), np.linalg.diagonal(x, offset=offset))
    assert_agrees(np.linalg.diagonal(fg.asarray(x), offset=offset), np.linalg.diagonal(x, offset=offset))
    assert_agrees(fg.linalg.trace(x, offset=offset), np.linalg.trace(x, offset=offset))
    assert_agrees(np.linalg.trace(fg.asarray(x), offset=offset), np.linalg.trace(x, offset=offset))
    assert fg.linalg.trace(x, dtype="float32").dtype == "float32"


BLOCKS = [
    [],
    [()],
    [(2, 1), (1, 3)],
    [(), (2,), (2, 2)],
    [(2, 0), (1, 1), (0, 2)],
    [(0,), (1, 1)],
    [(4, 1, 2), (2, 1)],
    [(1, 1, 2), (3, 2, 1)],
]


@pytest.mark.parametrize("shapes", BLOCKS, ids=str)
def test_block_diagonals(shapes):
    blocks = [sample(shape) for shape in shapes]
    assert_agrees(fg.block_diag(*blocks), scipy_linalg.block_diag(*blocks))
    if blocks:
        check_grads(fg.block_diag, tuple(blocks), 1)
    assert fg.linalg.block_diag is fg.block_diag


def test_block_diagonals_promote():
    found = fg.block_diag(np.ones((1, 1), "float32"), 1, np.ones((1, 1), "complex64"))
    assert found.dtype == scipy_linalg.block_diag(np.ones((1, 1), "float32"), 1, np.ones((1, 1), "complex64")).dtype


def test_linalg_variants_of_products_run_through_numpy():
    x, y = sample((3, 3)), sample((3, 3))
    for function in (np.linalg.matmul, np.linalg.tensordot, np.linalg.vecdot, np.linalg.cross):
        assert_agrees(function(fg.asarray(x), y), np.asarray(function(x, y)))
        assert_agrees(getattr(fg.linalg, function.__name__)(x, y), np.asarray(function(x, y)))
    assert_agrees(np.linalg.vecdot(fg.asarray(x), y, axis=0), np.linalg.vecdot(x, y, axis=0))
    assert_agrees(np.linalg.matrix_transpose(fg.asarray(x)), x.T)
    assert_agrees(np.linalg.outer(fg.asarray(x[0]), y[0]), np.linalg.outer(x[0], y[0]))


def test_batches_of_products():
    x, y = sample((4, 3)), sample((4, 3))
    np.testing.assert_allclose(fg.vmap(fg.cross)(x, y), np.cross(x, y))
    np.testing.assert_allclose(fg.vmap(fg.cross, (None, 0))(x[0], y), np.cross(x[0], y))
    np.testing.assert_allclose(fg.vmap(fg.kron)(x, y), np.stack([np.kron(a, b) for a, b in zip(x, y, strict=True)]))
    np.testing.assert_allclose(fg.vmap(fg.diag)(x), np.stack([np.diag(a) for a in x]))
    np.testing.assert_allclose(fg.vmap(lambda a: fg.block_diag(a, a))(x)[2], scipy_linalg.block_diag(x[2], x[2]))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: fg.cross(fg.zeros(4), fg.zeros(3)), ShapeError, r"\[cross\] .*they have 4 and 3 entries"),
        (lambda: fg.linalg.cross(fg.zeros(2), fg.zeros(2)), ShapeError, r"\[cross\] .*they have 2 and 2 entries"),
        (lambda: fg.cross(fg.zeros(()), fg.zeros(3)), ShapeError, r"\[cross\] on float64\[\]: a vector needs an axis"),
        (lambda: fg.cross(fg.zeros((2, 3)), fg.zeros((4, 3))), ShapeError, r"\[cross\] .*\(2,\) and \(4,\), do not"),
        (lambda: fg.cross([True] * 3, [True] * 3), DtypeError, r"\[cross\] .*convert one with astype"),
        (lambda: fg.linalg.outer(fg.zeros((2, 2)), fg.zeros(2)), ShapeError, r"\[outer\] .*fg.outer flattens"),
        (lambda: fg.linalg.multi_dot([fg.zeros(2)]), ShapeError, r"\[multi_dot\] .* at least two factors, and 1 is"),
        (lambda: fg.linalg.multi_dot([fg.zeros((2, 2)), fg.zeros(2), fg.zeros((2, 2))]), ShapeError, r"operand 1 is"),
        (lambda: fg.diag(fg.zeros((2, 2, 2))), ShapeError, r"\[diag\] on float64\[2,2,2\]: .*fg.linalg.diagonal"),
        (lambda: fg.matvec(fg.zeros(2), fg.zeros(2)), ShapeError, r"\[matvec\] .*the first needs at least 2 axes"),
        (lambda: fg.block_diag(fg.zeros((2, 1, 1)), fg.zeros((3, 1, 1))), ShapeError, r"\[block_diag\] .*do not broad"),
    ],
)
def test_errors_name_the_operation_and_the_line(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "test_matrix_products.py" in str(caught.value)
