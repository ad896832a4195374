"""Matrix decompositions: NumPy's records and options, gauges, degenerate points, empty matrices, errors."""

from __future__ import annotations

import numpy as np
import pytest

import fgrad as fg
from fgrad.errors import DtypeError, ShapeError
from fgrad.testing import check_grads

linalg = fg.linalg
RNG = np.random.default_rng(0)
MATRIX = RNG.normal(size=(3, 3))
COMPLEX = MATRIX + 1j * RNG.normal(size=(3, 3))
BOTH = pytest.mark.parametrize("x", [MATRIX, COMPLEX], ids=["real", "complex"])


def adjoint(x):
    return fg.conj(x.mT)


def hermitian(x):
    return (x + adjoint(x)) / 2


def unitary(kind):
    return np.linalg.qr(COMPLEX if kind is complex else MATRIX)[0]


# What NumPy returns.


@pytest.mark.parametrize(
    ("function", "reference", "fields"),
    [
        (linalg.eigh, np.linalg.eigh, ("eigenvalues", "eigenvectors")),
        (linalg.eig, np.linalg.eig, ("eigenvalues", "eigenvectors")),
        (linalg.svd, np.linalg.svd, ("U", "S", "Vh")),
        (linalg.qr, np.linalg.qr, ("Q", "R")),
    ],
)
def test_results_are_records_with_numpys_fields(function, reference, fields):
    for found in (function(COMPLEX), reference(fg.asarray(COMPLEX))):
        assert found._fields == fields == reference(COMPLEX)._fields
        assert all(isinstance(part, fg.Tensor) for part in found)
        doubled = fg.tree.map(lambda part: part * 2, found)
        assert type(doubled) is type(found)
        for part, expected in zip(found, reference(COMPLEX), strict=True):
            np.testing.assert_array_equal(part, expected)


def test_numpys_functions_take_tensors_and_keyword_arguments():
    t = fg.asarray(MATRIX)
    np.testing.assert_array_equal(np.linalg.eigvalsh(t, UPLO="U"), np.linalg.eigvalsh(MATRIX, UPLO="U"))
    np.testing.assert_array_equal(np.linalg.eigh(t, UPLO="u")[1], np.linalg.eigh(MATRIX, UPLO="U")[1])
    np.testing.assert_array_equal(np.linalg.qr(t, mode="r"), np.linalg.qr(MATRIX, mode="r"))
    np.testing.assert_array_equal(np.linalg.svd(t, compute_uv=False), np.linalg.svd(MATRIX, compute_uv=False))
    np.testing.assert_array_equal(np.linalg.cond(t, p="fro"), np.linalg.cond(MATRIX, p="fro"))
    np.testing.assert_array_equal(np.linalg.matrix_rank(t, rtol=0.5), np.linalg.matrix_rank(MATRIX, rtol=0.5))
    symmetric = MATRIX + MATRIX.T
    for options in ({"hermitian": True}, {"hermitian": True, "compute_uv": False}):
        found = np.linalg.svd(fg.asarray(symmetric), **options)
        for part, expected in zip(
            fg.tree.leaves(found), fg.tree.leaves(np.linalg.svd(symmetric, **options)), strict=True
        ):
            np.testing.assert_allclose(part, expected, rtol=1e-12)


def test_eig_is_complex_whatever_the_values_are():
    for dtype, expected in (("float32", "complex64"), ("float64", "complex128"), ("int64", "complex128")):
        x = np.diag([1, 2]).astype(dtype)
        assert np.linalg.eig(x).eigenvalues.dtype.kind == "f"
        values, vectors = linalg.eig(x)
        assert values.dtype == vectors.dtype == linalg.eigvals(x).dtype == expected
        graph = fg.make_graph(linalg.eigvals)(fg.asarray(x))
        assert graph.outputs[0].aval.dtype == expected


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (2, 0, 3), (0, 2, 3)])
def test_empty_matrices_and_stacks(shape):
    x = np.zeros(shape)
    for function, reference in [
        (linalg.svd, np.linalg.svd),
        (lambda x: linalg.svd(x, full_matrices=False), lambda x: np.linalg.svd(x, full_matrices=False)),
        (linalg.qr, np.linalg.qr),
        (lambda x: linalg.qr(x, "complete"), lambda x: np.linalg.qr(x, "complete")),
        (linalg.svdvals, np.linalg.svdvals),
    ]:
        found, pullback = fg.vjp(function, fg.asarray(x))
        leaves = fg.tree.leaves(found)
        assert [leaf.shape for leaf in leaves] == [np.shape(part) for part in fg.tree.leaves(reference(x))]
        (cotangent,) = pullback(fg.tree.map(fg.ones_like, found))
        assert cotangent.shape == shape
        _, tangents = fg.jvp(function, (fg.asarray(x),), (fg.asarray(x),))
        assert [leaf.shape for leaf in fg.tree.leaves(tangents)] == [leaf.shape for leaf in leaves]
    np.testing.assert_array_equal(linalg.matrix_rank(x), np.linalg.matrix_rank(x))


# The conventions of the derivatives.


@BOTH
def test_the_gradient_of_a_hermitian_matrix_is_hermitian_whichever_triangle_is_read(x):
    h = hermitian(fg.asarray(x))
    for triangle in "LU":
        g = fg.grad(lambda h, triangle=triangle: linalg.eigvalsh(h, triangle)[0])(h)
        vector = linalg.eigh(h, triangle).eigenvectors[:, :1]
        np.testing.assert_allclose(g, fg.conj(vector @ adjoint(vector)), atol=1e-12)
        tangent = fg.asarray(x)
        _, skew = fg.jvp(lambda h, triangle=triangle: linalg.eigh(h, triangle), (h,), (tangent - adjoint(tangent),))
        np.testing.assert_allclose(skew[0], 0, atol=1e-12)
        np.testing.assert_allclose(skew[1], 0, atol=1e-12)


def test_only_the_triangle_is_read():
    lower, upper = fg.tril(MATRIX), fg.triu(MATRIX)
    np.testing.assert_array_equal(linalg.eigvalsh(lower), linalg.eigvalsh(MATRIX))
    np.testing.assert_array_equal(linalg.eigvalsh(upper, "U"), linalg.eigvalsh(MATRIX, "U"))


@BOTH
def test_the_gauges_of_the_tangents(x):
    tangent = fg.asarray(np.roll(x, 1))
    (_, v), (_, dv) = fg.jvp(linalg.eigh, (hermitian(fg.asarray(x)),), (tangent,))
    np.testing.assert_allclose(fg.diagonal(adjoint(v) @ dv), 0, atol=1e-12)
    (_, v), (_, dv) = fg.jvp(linalg.eig, (fg.asarray(x),), (tangent,))
    np.testing.assert_allclose(fg.diagonal(adjoint(v) @ dv), 0, atol=1e-12)
    (u, _, vh), (du, _, dvh) = fg.jvp(linalg.svd, (fg.asarray(x),), (tangent,))
    np.testing.assert_allclose(fg.diagonal(adjoint(u) @ du + vh @ adjoint(dvh)), 0, atol=1e-12)


@BOTH
@pytest.mark.parametrize("rows", [2, 3], ids=["wide", "square"])
def test_tangents_put_the_matrix_together_again(x, rows):
    """d(U S Vh) = dA and d(Q R) = dA, and bases stay orthonormal; also of full and complete ones, tall and wide."""
    for matrix in (x[:rows], x[:rows].T):
        a, da = fg.asarray(matrix), fg.asarray(np.roll(matrix, 1))
        k = rows
        for full in (False, True):
            (u, s, vh), (du, ds, dvh) = fg.jvp(lambda a, full=full: linalg.svd(a, full), (a,), (da,))
            u1, du1, vh1, dvh1 = u[:, :k], du[:, :k], vh[:k], dvh[:k]
            np.testing.assert_allclose((du1 * s + u1 * ds) @ vh1 + (u1 * s) @ dvh1, da, atol=1e-12)
            for basis, change in ((u, du), (adjoint(vh), adjoint(dvh))):
                moved = adjoint(basis) @ change
                np.testing.assert_allclose(moved + adjoint(moved), 0, atol=1e-12)
        for mode in ("reduced", "complete"):
            (q, r), (dq, dr) = fg.jvp(lambda a, mode=mode: linalg.qr(a, mode), (a,), (da,))
            np.testing.assert_allclose(dq @ r + q @ dr, da, atol=1e-12)
            np.testing.assert_allclose(fg.tril(dr, -1), 0, atol=1e-12)
            moved = adjoint(q) @ dq
            np.testing.assert_allclose(moved + adjoint(moved), 0, atol=1e-12)


def test_eigvals_pairs_its_values_with_the_vectors_of_eig():
    x = fg.asarray(RNG.normal(size=(12, 12)))
    tangent = fg.asarray(RNG.normal(size=(12, 12)))
    values, change = fg.jvp(linalg.eigvals, (x,), (tangent,))
    step = 1e-6
    moved = np.asarray(linalg.eigvals(x + step * tangent))
    # Every eigenvalue moves to the one that is nearest to where its tangent points.
    distance = np.abs(moved[:, None] - np.asarray(values + step * change)[None, :])
    np.testing.assert_allclose(distance.min(axis=0), 0, atol=1e-9)
    assert sorted(distance.argmin(axis=0)) == list(range(12))


# Degenerate points: finite everywhere, and right where something is determined.


@pytest.mark.parametrize("kind", [float, complex])
def test_a_function_of_a_space_of_equal_eigenvalues_has_its_derivative(kind):
    """The projector on the eigenvectors of 1, 1 of diag(1, 1, 4) in another basis, which rounding splits in two."""
    q = unitary(kind)
    x = hermitian(fg.asarray((q * [1.0, 1.0, 4.0]) @ q.conj().T))

    def projector(x):
        first = linalg.eigh(hermitian(x)).eigenvectors[:, :2]
        return first @ adjoint(first)

    check_grads(projector, (x,), order=1)
    check_grads(lambda x: fg.sum(linalg.eigvalsh(hermitian(x))[:2]), (x,), order=1)
    check_grads(lambda x: fg.sum(fg.exp(linalg.eigvalsh(hermitian(x)))), (x,), order=1)


@pytest.mark.parametrize("kind", [float, complex])
def test_a_function_of_spaces_of_equal_singular_values_has_its_derivative(kind):
    q = unitary(kind)
    x = fg.asarray((q * [3.0, 3.0, 1.0]) @ q[::-1])

    def projector(x):
        first = linalg.svd(x).U[:, :2]
        return first @ adjoint(first)

    def polar(x):
        u, _, vh = linalg.svd(x)
        return u @ vh

    check_grads(projector, (x,), order=1)
    check_grads(polar, (x,), order=1)
    check_grads(lambda x: fg.sum(linalg.svdvals(x)), (x,), order=2)
    check_grads(lambda x: fg.sum(linalg.svdvals(x) ** 2), (x,), order=1)


SINGULAR = [np.zeros((2, 2)), np.eye(2), np.ones((2, 2)), np.diag([1.0, 0.0]), np.ones((3, 2)), np.zeros((2, 3))]


def functions_of(x):
    yield linalg.svd
    yield lambda x: linalg.svd(x, full_matrices=False)
    yield linalg.svdvals
    yield linalg.qr
    yield lambda x: linalg.qr(x, "complete")
    yield lambda x: linalg.qr(x, "r")
    if x.shape[0] == x.shape[1]:
        yield linalg.eigh
        yield linalg.eigvalsh
        yield linalg.eig
        yield linalg.eigvals
        yield lambda x: linalg.svd(x, hermitian=True)


@pytest.mark.parametrize("x", SINGULAR, ids=lambda x: str(x.tolist()))
@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128"])
def test_everything_is_finite_at_degenerate_points(x, dtype):
    x = fg.asarray(x.astype(dtype))
    tangent = fg.asarray(np.arange(1.0, x.size + 1).reshape(x.shape).astype(dtype))
    for f in functions_of(x):
        pull = lambda x, f=f: fg.vjp(f, x)[1](fg.tree.map(fg.ones_like, f(x)))[0]
        push = lambda x, f=f: fg.jvp(f, (x,), (tangent,))[1]
        for derivative in (
            pull,
            push,
            lambda x, g=pull: fg.jvp(g, (x,), (tangent,)),
            lambda x, g=push: fg.vjp(g, x)[0],
        ):
            assert all(np.isfinite(leaf).all() for leaf in fg.tree.leaves(derivative(x)))


def test_a_degenerate_example_of_a_batch_does_not_touch_the_others():
    batch = fg.asarray(np.stack([np.eye(3), MATRIX + MATRIX.T, np.zeros((3, 3))]))
    f = lambda x: fg.sum(fg.sin(linalg.eigh(x).eigenvectors[:, 0] ** 2) * [1.0, 2.0, 3.0])
    gradients = fg.vmap(fg.grad(f))(batch)
    for x, gradient in zip(batch, gradients, strict=True):
        np.testing.assert_array_equal(gradient, fg.grad(f)(x))
    assert np.abs(gradients[1]).max() > 0.01


def test_small_eigenvalues_beside_large_ones_keep_their_gaps_in_single_precision():
    x = fg.asarray(np.diag([1e7, 1.0, 2.0]).astype("float32"))
    _, (_, turned) = fg.jvp(linalg.eigh, (x,), (fg.ones_like(x),))
    np.testing.assert_allclose(np.abs(turned)[1, 1], 1.0, rtol=1e-3)


# Rank and condition.


def test_matrix_rank():
    stack = np.stack([np.zeros((2, 2)), np.eye(2), np.ones((2, 2))])
    for options in ({}, {"hermitian": True}, {"tol": [0.5, 2.0, 0.5]}, {"rtol": 0.5}, {"rtol": [1.0, 0.5, 2.0]}):
        np.testing.assert_array_equal(
            linalg.matrix_rank(stack, **options), np.linalg.matrix_rank(stack, **options), err_msg=str(options)
        )
    for vector in ([0.0, 0.0], [0.0, 2.0], [], 3.0):
        assert linalg.matrix_rank(fg.asarray(vector)) == np.linalg.matrix_rank(np.asarray(vector))
    assert fg.grad(lambda x: fg.sum(x) * linalg.matrix_rank(x))(fg.asarray(stack[1])).tolist() == [[2, 2], [2, 2]]
    np.testing.assert_array_equal(fg.vmap(linalg.matrix_rank)(fg.asarray(stack)), [0, 2, 1])


@pytest.mark.parametrize("compute_uv", [True, False])
def test_zero_singular_values_of_a_hermitian_matrix_contribute_nothing(compute_uv):
    # Of rank one, but its other eigenvalues are zero up to rounding alone.
    x = np.outer([1.0, 1.0, 2.0], [1.0, 1.0, 2.0]) / 3
    found = fg.linalg.svd(x, compute_uv=compute_uv, hermitian=True)
    assert np.abs(np.asarray(found.S if compute_uv else found)[1:]).max() < 1e-15

    def nuclear(x):
        found = fg.linalg.svd(x, compute_uv=compute_uv, hermitian=True)
        return fg.sum(found.S if compute_uv else found)

    np.testing.assert_allclose(fg.grad(nuclear)(x), x / 2, atol=1e-15)
    np.testing.assert_allclose(fg.jvp(nuclear, (x,), (np.eye(3),))[1], 1, atol=1e-15)


@pytest.mark.parametrize("p", [None, 2, -2, 1, -1, np.inf, -np.inf, "fro", "nuc"])
def test_cond_of_singular_matrices_is_infinite_and_quiet(p):
    stack = np.stack([np.eye(2), np.asarray([[1.0, 2.0], [2.0, 4.0]]), np.zeros((2, 2))])
    found = np.asarray(linalg.cond(stack, p))
    if p in (None, 2, -2):
        np.testing.assert_array_equal(found, np.linalg.cond(stack, p))
    else:
        assert found.tolist() == [np.linalg.cond(np.eye(2), p), np.inf, np.inf]


# Errors.


@pytest.mark.parametrize("transform", [lambda f: f, fg.make_graph, fg.grad, lambda f: lambda x: fg.vmap(f)(x[None])])
def test_errors_name_the_operation_and_the_shape(transform):
    total = lambda f: lambda x: fg.sum(fg.real(fg.tree.leaves(f(x))[0]))
    for name in ("eigh", "eigvalsh", "eig", "eigvals"):
        with pytest.raises(ShapeError, match=rf"\[{name}\] on float64\[2,3\].*square(.|\n)*at .*test_decompositions"):
            transform(total(getattr(linalg, name)))(fg.ones((2, 3)))
    for name, primitive in (("qr", "qr"), ("svd", "svd"), ("svdvals", "svdvals")):
        with pytest.raises(ShapeError, match=rf"\[{primitive}\] on float64\[3\].*two axes"):
            transform(total(getattr(linalg, name)))(fg.ones(3))
        with pytest.raises(DtypeError, match="float16"):
            transform(total(getattr(linalg, name)))(fg.ones((2, 2), dtype="float16"))


@pytest.mark.parametrize("name", ["eigh", "eigvalsh", "eig", "eigvals", "qr", "svd", "svdvals"])
def test_a_batch_of_vectors_is_no_matrix(name):
    with pytest.raises(ShapeError, match=rf"\[{name}\] on float64\[3\].*two axes"):
        fg.vmap(getattr(linalg, name))(fg.ones((3, 3)))


def test_errors_of_options():
    x = fg.eye(2)
    with pytest.raises(ShapeError, match="UPLO is 'L'"):
        linalg.eigh(x, "M")
    with pytest.raises(ShapeError, match="'raw'; LAPACK's reflectors"):
        linalg.qr(x, "raw")
    with pytest.raises(ShapeError, match="mode is 'reduced'"):
        linalg.qr(x, "full")
    with pytest.raises(ShapeError, match="give one of them"):
        linalg.matrix_rank(x, 0.1, rtol=0.1)
    with pytest.raises(ShapeError, match="p is None, 2"):
        linalg.cond(x, 3)
    with pytest.raises(np.linalg.LinAlgError, match=r"\[cond\] on float64\[0,0\]"):
        linalg.cond(fg.zeros((0, 0)))
    with pytest.raises(np.linalg.LinAlgError, match=r"\[eig\] on float64\[2,2\].*infs or NaNs"):
        linalg.eig(fg.full((2, 2), np.nan))
