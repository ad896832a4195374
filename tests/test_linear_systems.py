"""Linear systems, determinants and functions of matrices: what their rows in the operation table do not show."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg as scipy_linalg

import fgrad as fg
from fgrad.errors import DtypeError, ShapeError, TracerConversionError
from fgrad.testing import check_grads

RNG = np.random.default_rng(5)


def normal(*shape, complex_numbers=False):
    drawn = RNG.standard_normal(shape)
    return drawn + 1j * RNG.standard_normal(shape) if complex_numbers else drawn


def far_from_singular(*shape, **options):
    return normal(*shape, **options) + 4 * np.eye(shape[-1])


def equations(f, *args):
    return [equation.primitive.name for equation in fg.make_graph(f)(*args).equations]


# solve.


@pytest.mark.parametrize(("right", "columns"), [((5, 3), (3, 5)), ((5, 3, 2), (3, 10))], ids=["vectors", "matrices"])
def test_right_sides_under_vmap_are_columns_of_one_system(right, columns):
    a, b = far_from_singular(3, 3), normal(*right)
    batched = fg.vmap(fg.linalg.solve, (None, 0))
    (solve,) = [one for one in fg.make_graph(batched)(a, b).equations if one.primitive.name == "solve"]
    assert [operand.aval.shape for operand in solve.operands] == [(3, 3), columns]
    expected = np.stack([np.linalg.solve(a, one) for one in b])
    np.testing.assert_allclose(batched(a, b), expected, rtol=1e-12)


def test_right_sides_under_vmap_of_a_stack_are_columns_of_its_systems():
    a, b = far_from_singular(2, 3, 3), normal(5, 2, 3, 1)
    batched = fg.vmap(fg.linalg.solve, (None, 0))
    (solve,) = [one for one in fg.make_graph(batched)(a, b).equations if one.primitive.name == "solve"]
    assert [operand.aval.shape for operand in solve.operands] == [(2, 3, 3), (2, 3, 5)]
    np.testing.assert_allclose(batched(a, b), np.linalg.solve(a, b), rtol=1e-12)


def test_the_pullback_of_solve_is_one_more_solve():
    a, b = far_from_singular(3, 3), normal(3)
    names = equations(fg.grad(lambda a, b: fg.sum(fg.linalg.solve(a, b)), argnums=(0, 1)), a, b)
    assert names.count("solve") == 2


def test_a_matrix_that_many_right_sides_share_gets_the_sum_of_their_cotangents():
    a, b = far_from_singular(3, 3), normal(4, 3, 2)
    loss = lambda a, b: fg.sum(fg.linalg.solve(a, b) ** 2)
    found = fg.grad(loss)(a, b)
    expected = sum(np.asarray(fg.grad(loss)(a, one)) for one in b)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ((3, 2), (3,), "must be square in its last two axes, which have lengths 3 and 2"),
        ((3,), (3,), "must be a matrix or a stack of matrices"),
        ((3, 3), (2,), r"have 3 rows, the only axis of the second has length 2"),
        ((3, 3), (5, 3), r"only a b of one axis is a vector"),
        ((2, 3, 3), (4, 3, 1), r"leading axes \(2,\) and \(4,\) cannot be broadcast"),
        ((3, 3), (), "the second must be a vector"),
    ],
)
@pytest.mark.parametrize("function", [fg.linalg.solve, fg.linalg.solve_triangular])
def test_systems_whose_shapes_do_not_fit_are_named(function, a, b, message):
    with pytest.raises(ShapeError, match=message) as caught:
        function(fg.ones(a), fg.ones(b))
    assert f"[{function.__name__}] on float64[" in str(caught.value)
    with pytest.raises(ShapeError, match=message):
        fg.make_graph(function)(fg.ones(a), fg.ones(b))


@pytest.mark.parametrize(
    ("f", "text"),
    [
        (lambda x: fg.linalg.solve(x, fg.ones(2)), r"\[solve\] on float64\[2,2\] and float64\[2\]: Singular matrix"),
        (fg.linalg.inv, r"\[inv\] on float64\[2,2\]: Singular matrix"),
        (lambda x: fg.linalg.solve_triangular(x, fg.ones(2)), r"\[solve_triangular\] on .*Singular matrix"),
        (lambda x: fg.linalg.cholesky(x - 3), r"\[cholesky\] on float64\[2,2\]: Matrix is not positive definite"),
        (lambda x: fg.linalg.matrix_power(x, -1), r"\[inv\] on float64\[2,2\]: Singular matrix"),
    ],
)
def test_matrices_that_have_no_answer_raise_numpys_error_with_the_operation(f, text):
    zeros = fg.zeros((2, 2))
    for call in (
        lambda: f(zeros),
        lambda: fg.vjp(f, zeros),
        lambda: fg.jvp(f, (zeros,), (zeros,)),
        lambda: fg.vmap(f)(fg.zeros((3, 2, 2))),
    ):
        with pytest.raises(np.linalg.LinAlgError, match=text) as caught:
            call()
        assert type(caught.value) is np.linalg.LinAlgError


@pytest.mark.parametrize(
    "function",
    [fg.linalg.inv, fg.linalg.det, fg.linalg.slogdet, fg.linalg.cholesky, fg.linalg.pinv, fg.linalg.expm],
)
def test_half_precision_is_refused(function):
    with pytest.raises(DtypeError, match=r"linear algebra has no float16: convert with x.astype"):
        function(fg.eye(2, dtype="float16"))


# Triangular systems.


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("size", [1, 64, 65, 150])
def test_large_triangles_are_solved_in_blocks(size, lower):
    a = (
        np.tril(normal(size, size)) / size + np.eye(size)
        if lower
        else np.triu(normal(size, size)) / size + np.eye(size)
    )
    b = normal(size, 2)
    expected = scipy_linalg.solve_triangular(a, b, lower=lower)
    np.testing.assert_allclose(fg.linalg.solve_triangular(a, b, lower=lower), expected, rtol=1e-10)
    stack = fg.linalg.solve_triangular(np.stack([a, 2 * a]), b, lower=lower)
    np.testing.assert_allclose(stack, np.stack([expected, expected / 2]), rtol=1e-10)


def test_substitution_is_as_accurate_as_scipys_on_a_graded_triangle():
    """General elimination of a lower triangle exchanges rows, and loses what the small entries say."""
    size = 12
    a = np.tril(normal(size, size)) * 10.0 ** np.arange(size)[:, np.newaxis] + np.diag(np.full(size, 1e-3))
    x = normal(size)
    found = fg.linalg.solve_triangular(a, a @ x, lower=True)
    expected = scipy_linalg.solve_triangular(a, a @ x, lower=True)
    residual = lambda y: np.max(np.abs(a @ y - a @ x) / (np.abs(a) @ np.abs(y)))
    assert residual(np.asarray(found)) <= 4 * residual(expected) + 1e-15


@pytest.mark.parametrize("unit_diagonal", [True, False])
def test_the_other_triangle_is_not_read(unit_diagonal):
    a = np.where(np.tri(3, k=-1 if unit_diagonal else 0, dtype=bool), far_from_singular(3, 3), np.nan)
    f = lambda a: fg.sum(fg.linalg.solve_triangular(a, fg.ones(3), lower=True, unit_diagonal=unit_diagonal))
    value, gradient = fg.value_and_grad(f)(a)
    assert np.isfinite(value)
    np.testing.assert_array_equal(np.asarray(gradient)[np.isnan(a)], 0.0)
    assert np.all(np.isfinite(gradient))


def test_trans_is_one_of_scipys():
    with pytest.raises(ShapeError, match="trans is 0, 1, 2, 'N', 'T' or 'C', not 'H'"):
        fg.linalg.solve_triangular(fg.eye(2), fg.ones(2), trans="H")
    for name, number in zip("NTC", range(3), strict=True):
        a, b = far_from_singular(3, 3, complex_numbers=True), normal(3)
        expected = scipy_linalg.solve_triangular(a, b, trans=name)
        for trans in (name, number):
            np.testing.assert_allclose(fg.linalg.solve_triangular(a, b, trans), expected, rtol=1e-12)


# Cholesky factors.


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("complex_numbers", [False, True])
def test_the_gradient_of_cholesky_is_hermitian_and_its_tangents_count_with_their_hermitian_part(upper, complex_numbers):
    x = normal(3, 3, complex_numbers=complex_numbers)
    a = x @ x.conj().T + np.eye(3)
    f = lambda a: fg.linalg.cholesky(a, upper=upper)
    weights = normal(3, 3, complex_numbers=complex_numbers)
    (gradient,) = fg.vjp(f, a)[1](fg.asarray(weights))
    np.testing.assert_allclose(gradient, np.asarray(gradient).conj().T, rtol=1e-10, atol=1e-12)
    tangent = normal(3, 3, complex_numbers=complex_numbers)
    both = [fg.jvp(f, (a,), (t,))[1] for t in (tangent, (tangent + tangent.conj().T) / 2)]
    np.testing.assert_allclose(*both, rtol=1e-12, atol=1e-14)


def test_a_normal_density_by_cholesky_has_the_gradients_of_its_formula():
    x, y = normal(3, 3), normal(3)
    covariance = x @ x.T + np.eye(3)

    def by_factor(a):
        factor = fg.linalg.cholesky(a)
        return y @ fg.linalg.cho_solve((factor, True), y) + 2 * fg.sum(fg.log(fg.diagonal(factor)))

    inverse = np.linalg.inv(covariance)
    expected = inverse - np.outer(inverse @ y, inverse @ y)
    np.testing.assert_allclose(fg.grad(by_factor)(covariance), expected, rtol=1e-10)


# Determinants.


@pytest.mark.parametrize("complex_numbers", [False, True])
@pytest.mark.parametrize("rank", range(4))
def test_derivatives_of_det_are_right_at_every_rank_to_third_order(rank, complex_numbers):
    left, right = (normal(*shape, complex_numbers=complex_numbers) for shape in ((4, rank), (rank, 4)))
    check_grads(fg.linalg.det, (left @ right,), order=3)


def test_the_gradient_of_det_is_the_cofactors():
    a = np.arange(9.0).reshape(3, 3)  # of rank 2
    expected = [[-3.0, 6.0, -3.0], [6.0, -12.0, 6.0], [-3.0, 6.0, -3.0]]
    np.testing.assert_allclose(fg.grad(fg.linalg.det)(a), expected, rtol=1e-12)
    stack = np.stack([a, np.diag([1.0, 2.0, 3.0]), np.zeros((3, 3))])
    found = np.asarray(fg.grad(lambda x: fg.sum(fg.linalg.det(x)))(stack))
    np.testing.assert_allclose(found, [expected, np.diag([6.0, 3.0, 2.0]), np.zeros((3, 3))], rtol=1e-12, atol=1e-15)


def test_cofactors_of_nearly_singular_matrices_are_accurate():
    q, r = (np.linalg.qr(normal(4, 4))[0] for _ in range(2))
    for smallest in (1.0, 1e-5, 1e-13, 0.0):
        s = np.array([3.0, 2.0, 1.0, smallest])
        others = np.array([np.prod(np.delete(s, i)) for i in range(4)])
        expected = np.linalg.det(q) * np.linalg.det(r) * (q * others) @ r
        np.testing.assert_allclose(fg.grad(fg.linalg.det)((q * s) @ r), expected, rtol=1e-9, atol=1e-11)


def test_a_matrix_that_is_not_finite_makes_its_own_cofactors_nan_alone():
    stack = np.stack([np.eye(2), np.full((2, 2), np.nan)])
    with np.errstate(invalid="ignore"):
        found = np.asarray(fg.grad(lambda x: fg.sum(fg.linalg.det(x)))(stack))
    np.testing.assert_array_equal(found[0], np.eye(2))
    assert np.all(np.isnan(found[1]))


def test_slogdet_at_a_singular_matrix_is_infinite_but_for_a_zero_cotangent():
    stack = fg.asarray(np.stack([np.diag([2.0, 4.0]), np.ones((2, 2))]))
    assert np.asarray(fg.linalg.slogdet(stack).logabsdet)[1] == -np.inf
    logarithm = lambda x: fg.linalg.slogdet(x).logabsdet
    found = np.asarray(fg.grad(lambda x: fg.sum(logarithm(x)))(stack))
    np.testing.assert_allclose(found[0], np.diag([0.5, 0.25]))
    assert np.all(np.isinf(found[1]))
    guarded = lambda x: fg.sum(fg.where(fg.asarray([True, False]), logarithm(x), 0.0))
    np.testing.assert_array_equal(np.asarray(fg.grad(guarded)(stack))[1], 0.0)


def test_slogdet_gives_a_named_tuple_through_numpy_too():
    for f in (fg.linalg.slogdet, np.linalg.slogdet):
        result = f(fg.asarray(-np.eye(3)))
        assert (float(result.sign), float(result.logabsdet)) == (-1.0, 0.0)
    assert float(fg.linalg.slogdet(1e200 * np.eye(2)).logabsdet) == pytest.approx(2 * np.log(1e200))


# Least squares.


@pytest.mark.parametrize("complex_numbers", [False, True])
def test_least_squares_of_low_rank_differentiate_along_their_rank(complex_numbers):
    u, v, b = (normal(*s, complex_numbers=complex_numbers) for s in ((4, 2), (2, 3), (4,)))
    u, v = u * 0.3 + 2 * np.eye(4, 2), v * 0.3 + 2 * np.eye(2, 3)
    solution = lambda u, v, b: fg.linalg.lstsq(u @ v, b, 1e-10)[0]
    check_grads(solution, (u, v, b))
    check_grads(lambda u, v: fg.linalg.pinv(u @ v, rtol=1e-10), (u, v))


def test_residuals_are_empty_where_numpys_are():
    low = np.ones((3, 2))
    assert fg.linalg.lstsq(low, np.ones(3))[1].shape == (0,)
    assert fg.linalg.lstsq(low, np.ones(3), numpy_resid=False)[1].shape == (1,)
    assert fg.linalg.lstsq(np.eye(2, 3), np.ones(2), numpy_resid=False)[1].shape == (0,)
    check_grads(lambda a, b: fg.linalg.lstsq(a, b)[1], (normal(4, 2) + 2 * np.eye(4, 2), normal(4, 2)))


def test_residuals_whose_shape_depends_on_the_rank_are_refused_where_it_is_unknown():
    a, b = normal(5, 4, 2), normal(4)
    with pytest.raises(TracerConversionError, match="numpy_resid=False they have their full shape"):
        fg.vmap(fg.linalg.lstsq, (0, None))(a, b)
    with pytest.raises(TracerConversionError, match="numpy_resid=False"):
        fg.make_graph(fg.linalg.lstsq)(a[0], b)
    found = fg.vmap(lambda a, b: fg.linalg.lstsq(a, b, numpy_resid=False), (0, None))(a, b)
    for place, one in enumerate(a):
        for part, expected in zip(found, np.linalg.lstsq(one, b), strict=True):
            np.testing.assert_allclose(part[place], expected, rtol=1e-10)


def test_right_sides_of_least_squares_under_vmap_share_one_decomposition():
    a, b = normal(4, 2), normal(5, 4)
    graph = fg.make_graph(fg.vmap(lambda b: fg.linalg.lstsq(a, b, numpy_resid=False)[0]))(b)
    (lstsq,) = [one for one in graph.equations if one.primitive.name == "lstsq"]
    assert [operand.aval.shape for operand in lstsq.operands] == [(4, 2), (4, 5)]


@pytest.mark.parametrize("complex_numbers", [False, True])
def test_the_pseudo_inverse_of_hermitian_matrices(complex_numbers):
    x = normal(3, 3, complex_numbers=complex_numbers) * 0.3 + 2 * np.eye(3)
    f = lambda x: fg.linalg.pinv((x + fg.conj(x).mT) * 0.5, hermitian=True)
    np.testing.assert_allclose(f(x), np.linalg.inv((x + x.conj().T) / 2), rtol=1e-12)
    check_grads(f, (x,))


def test_the_cut_off_has_one_name_at_a_time():
    with pytest.raises(ShapeError, match="two names of one cut-off"):
        fg.linalg.pinv(fg.eye(2), 1e-3, rtol=1e-3)
    a = np.diag([1.0, 1e-10])
    for options in ({"rtol": None}, {"rtol": 1e-5}, {"rcond": 1e-5}, {}):
        np.testing.assert_allclose(fg.linalg.pinv(a, **options), np.linalg.pinv(a, **options))
    with pytest.raises(ShapeError, match="rcond has shape"):
        fg.linalg.pinv(np.ones((2, 3, 3)), np.ones(3))


# Functions of matrices.


@pytest.mark.parametrize("scale", [0.0, 1e-3, 0.1, 0.6, 1.5, 4.0, 30.0])
@pytest.mark.parametrize("dtype", ["float64", "complex128", "float32"])
def test_exponentials_of_every_size_are_scipys(scale, dtype):
    a = (normal(3, 4, 4, complex_numbers=True) if dtype == "complex128" else normal(3, 4, 4)) * scale / 2
    a[0] = np.triu(a[0], 1)  # nilpotent: its exponential is a polynomial
    expected = scipy_linalg.expm(a)
    found = np.asarray(fg.linalg.expm(a.astype(dtype)))
    rtol = 1e-3 if dtype == "float32" else 1e-11
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=rtol * np.abs(other).max())


@pytest.mark.parametrize("scale", [1e-3, 0.1, 0.6, 1.5, 4.0, 30.0])
def test_derivatives_of_exponentials_of_every_size_are_scipys(scale):
    a, direction = normal(4, 4) * scale / 2, normal(4, 4)
    expected = scipy_linalg.expm_frechet(a, direction, compute_expm=False)
    found = fg.jvp(fg.linalg.expm, (a,), (direction,))[1]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11 * np.abs(expected).max())


def test_an_exponential_far_from_normal_is_not_scaled_too_much():
    """The norm is a million, and the exponential is exact to rounding (Al-Mohy and Higham, 2009, section 1)."""
    a = np.array([[1.0, 1e6], [0.0, -1.0]])
    expected = np.array([[np.e, 1e6 * np.sinh(1.0)], [0.0, 1 / np.e]])
    np.testing.assert_allclose(fg.linalg.expm(a), expected, rtol=1e-14)


def test_third_derivatives_of_the_exponential():
    check_grads(fg.linalg.expm, (normal(2, 2),), order=3)


def test_an_exponential_of_what_is_not_finite_is_nan_and_leaves_its_neighbours_alone():
    stack = np.stack([np.zeros((2, 2)), np.full((2, 2), np.inf)])
    found = np.asarray(fg.linalg.expm(stack))
    np.testing.assert_array_equal(found[0], np.eye(2))
    assert np.all(np.isnan(found[1]))


@pytest.mark.parametrize("n", [-3, -1, 0, 1, 2, 3, 7])
def test_matrix_powers(n):
    a = far_from_singular(2, 3, 3)
    np.testing.assert_allclose(fg.linalg.matrix_power(a, n), np.linalg.matrix_power(a, n), rtol=1e-10)
    check_grads(lambda a: fg.linalg.matrix_power(a, n), (a / 4,))


def test_matrix_power_takes_an_integer_and_square_matrices():
    with pytest.raises(DtypeError, match=r"the exponent is an integer, not 0\.5"):
        fg.linalg.matrix_power(fg.eye(2), 0.5)
    with pytest.raises(ShapeError, match=r"\[matrix_power\] on float64\[2,3\]"):
        fg.linalg.matrix_power(fg.ones((2, 3)), 2)


@pytest.mark.parametrize(
    "function", [fg.linalg.inv, fg.linalg.det, fg.linalg.slogdet, fg.linalg.cholesky, fg.linalg.pinv, fg.linalg.expm]
)
@pytest.mark.parametrize("shape", [(0, 0), (2, 0, 0), (0, 3, 3)])
def test_empty_matrices_and_stacks_have_derivatives(function, shape):
    out, pullback = fg.vjp(function, fg.zeros(shape))
    (gradient,) = pullback(fg.tree.map(fg.ones_like, out))
    assert (gradient.shape, gradient.dtype) == (shape, np.dtype(float))


def test_tensor_forms_say_what_does_not_fit():
    with pytest.raises(ShapeError, match=r"\[tensorsolve\] .* 2 equations for 3 unknowns"):
        fg.linalg.tensorsolve(fg.ones((2, 3)), fg.ones(2))
    with pytest.raises(ShapeError, match=r"\[tensorinv\] .* must be positive"):
        fg.linalg.tensorinv(fg.ones((4, 4)), ind=0)


@pytest.mark.parametrize("name", ["inv", "det", "slogdet", "cholesky", "pinv", "expm", "svd", "qr", "eigh", "eigvals"])
def test_a_batch_of_vectors_is_no_matrix(name):
    with pytest.raises(fg.errors.ShapeError, match="matrix"):
        fg.vmap(getattr(fg.linalg, name))(fg.eye(3))


def test_a_batch_of_vectors_is_no_system():
    with pytest.raises(fg.errors.ShapeError, match=r"\[solve\] on float64\[3\]"):
        fg.vmap(lambda a: fg.linalg.solve(a, a))(fg.eye(3))
