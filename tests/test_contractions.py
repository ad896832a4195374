"""Contractions: NumPy's ranks and dtypes, adjoints over broadcast stacks, einsum's syntax, error messages."""

import numpy as np
import pytest

import fgrad as fg

RNG = np.random.default_rng(0)


def sample(shape, dtype="float64"):
    x = RNG.normal(size=shape) * 3
    if np.dtype(dtype).kind == "c":
        x = x + 1j * RNG.normal(size=shape)
    return np.asarray(x).astype(dtype)


def check_adjoints(function, *operands):
    """For each operand, <w, f(.., u, ..)> = <gradient, u>: a multilinear map equals its derivative."""
    out = function(*map(fg.asarray, operands))
    weights = sample(out.shape, out.dtype)
    gradients = fg.grad(lambda *xs: fg.real(fg.sum(function(*xs) * weights)), tuple(range(len(operands))))(*operands)
    for place, (operand, gradient) in enumerate(zip(operands, gradients, strict=True)):
        assert gradient.shape == operand.shape
        assert gradient.dtype == operand.dtype
        direction = sample(operand.shape, operand.dtype)
        moved = function(*map(fg.asarray, [*operands[:place], direction, *operands[place + 1 :]]))
        np.testing.assert_allclose(
            np.sum(np.asarray(gradient) * direction).real,
            np.sum(np.asarray(moved) * weights).real,
            rtol=1e-9,
            atol=1e-9,
        )


RANKS = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3,)),
    ((3,), (5, 3, 2)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (5, 3, 4)),
    ((5, 2, 3), (1, 3, 4)),
    ((1, 2, 3), (5, 3, 4)),
    ((6, 1, 2, 3), (5, 3, 4)),
    ((6, 5, 2, 3), (3, 4)),
    ((0, 3), (3, 4)),
    ((2, 0), (0, 4)),
    ((4, 2, 0), (0, 3)),
    ((0, 2, 3), (3, 4)),
]


@pytest.mark.parametrize(("left", "right"), RANKS)
def test_matmul_of_every_rank_and_its_adjoints(left, right):
    x, y = sample(left), sample(right)
    got = fg.matmul(x, y)
    assert got.shape == np.matmul(x, y).shape
    np.testing.assert_allclose(got, np.matmul(x, y), atol=1e-12)
    check_adjoints(fg.matmul, x, y)
    check_adjoints(fg.matmul, sample(left, "complex128"), y)
    check_adjoints(fg.matmul, x, sample(right, "complex128"))
    aval = fg.make_graph(fg.matmul)(x, y).outputs[0].aval
    assert (aval.shape, aval.dtype) == (got.shape, got.dtype)


@pytest.mark.parametrize(("left", "right"), RANKS)
def test_second_derivatives_of_matmul(left, right):
    x, y = sample(left), sample(right)

    def gradient_by_x(y):
        return fg.grad(lambda x: fg.sum(fg.matmul(x, y) ** 2))(fg.asarray(x))

    u, v = sample(left), sample(right)
    # With z = x y: d/dt 2 <u y', z'> at y' = y + t v, z' = x y', is 2 (<u y, x v> + <u v, x y>).
    got = np.sum(np.asarray(fg.grad(lambda y: fg.sum(gradient_by_x(y) * u))(y)) * v)
    expected = 2 * np.sum(np.matmul(u, y) * np.matmul(x, v) + np.matmul(x, y) * np.matmul(u, v))
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("left", ["bool", "int8", "int64", "float16", "float32", "float64", "complex64"])
@pytest.mark.parametrize("right", ["bool", "int8", "float32", "float64"])
def test_matmul_promotes_as_numpy_does(left, right):
    x, y = sample((2, 3), left), sample((3, 2), right)
    expected = np.matmul(x, y)
    got = fg.asarray(x) @ y
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=1e-2 if expected.dtype == "float16" else 1e-5)


def test_gradients_have_the_dtype_of_their_operands():
    x, y = sample((2, 3), "float32"), sample((3, 2), "float64")
    for function in (fg.matmul, fg.dot, lambda a, b: fg.tensordot(a, b, 1), lambda a, b: fg.einsum("ij,jk", a, b)):
        by_x, by_y = fg.grad(lambda a, b, f=function: fg.sum(f(a, b)), (0, 1))(x, y)
        assert (by_x.dtype, by_y.dtype) == ("float32", "float64")


@pytest.mark.parametrize("name", ["dot", "inner", "vdot", "outer", "vecdot"])
@pytest.mark.parametrize(("left", "right"), [((), (3,)), ((3,), (3,)), ((2, 3), (3,)), ((2, 3), (4, 2, 3)), ((), ())])
@pytest.mark.parametrize("dtype", ["float64", "complex128", "int8", "bool"])
def test_products_agree_with_numpy(name, left, right, dtype):
    x, y = sample(left, dtype), sample(right, dtype)
    try:
        expected = np.asarray(getattr(np, name)(x, y))
    except ValueError:
        with pytest.raises(fg.errors.ShapeError):
            getattr(fg, name)(x, y)
        return
    got = getattr(fg, name)(x, y)
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(got, expected)
    if dtype == "float64":
        check_adjoints(getattr(fg, name), x, y)


def test_vdot_conjugates_the_first_operand():
    x, y = sample(3, "complex128"), sample(3, "complex128")
    np.testing.assert_allclose(fg.grad(lambda t: fg.real(fg.vdot(t, y)))(x), np.conj(y))
    np.testing.assert_allclose(fg.grad(lambda t: fg.real(fg.vdot(x, t)))(y), np.conj(x))


@pytest.mark.parametrize("axes", [0, 1, 2, (2, 0), ([1, 2], [1, 0]), ([2, 1], [0, 1]), (-1, -3), ([], [])])
def test_tensordot_over_any_axes(axes):
    x = sample((2, 3, 4))
    y = sample((3, 4, 5)) if axes == 2 else sample((4, 3, 2))
    np.testing.assert_allclose(fg.tensordot(x, y, axes), np.tensordot(x, y, axes), atol=1e-12)
    check_adjoints(lambda a, b: fg.tensordot(a, b, axes), x, y)


@pytest.mark.parametrize("offset", [-4, -1, 0, 1, 2, 5])
@pytest.mark.parametrize("axes", [(0, 1), (1, 0), (2, 0), (-1, 1)])
def test_traces_and_diagonals_of_any_axes(offset, axes):
    x = sample((2, 3, 4))
    np.testing.assert_allclose(fg.trace(x, offset, *axes), np.trace(x, offset, *axes))
    np.testing.assert_array_equal(fg.diagonal(x, offset, *axes), np.diagonal(x, offset, *axes))
    check_adjoints(lambda t: fg.trace(t, offset, *axes), x)
    check_adjoints(lambda t: fg.diagonal(t, offset, *axes), x)


def test_trace_of_small_integers_is_added_in_the_platform_integer():
    x = np.full((2, 2), 100, np.int8)
    assert fg.trace(x).dtype == np.trace(x).dtype
    assert int(fg.trace(x)) == 200
    assert fg.trace(x, dtype="int8").dtype == "int8"


SUBSCRIPTS = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk", (2, 3), (3, 4)),
    ("ji,kj", (3, 2), (4, 3)),
    ("ba", (2, 3)),
    ("ij->", (2, 3)),
    ("ii", (3, 3)),
    ("ii->i", (3, 3)),
    ("iijj->j", (2, 2, 3, 3)),
    ("iii", (3, 3, 3)),
    ("iji,ik->jk", (2, 3, 2), (2, 2)),
    ("bij,bjk->bik", (2, 3, 4), (2, 4, 2)),
    ("bi,bi->b", (3, 4), (3, 4)),
    ("bi,bi->ib", (2, 3), (2, 3)),
    ("ij,k->kij", (2, 2), (3,)),
    ("ij,jk->i", (2, 3), (3, 4)),
    ("...ij,...jk->...ik", (2, 1, 2, 3), (5, 3, 2)),
    ("...ij,...jk", (2, 3), (5, 1, 3, 2)),
    ("...,...", (3,), (2, 1)),
    ("b...a", (2, 3, 4)),
    ("...ii->...i", (2, 3, 3)),
    ("i...,i...->...", (2, 3), (2, 1)),
    ("...->...", ()),
    ("ij,jk->ik", (2, 1), (3, 2)),
    ("ij,jk->i", (2, 1), (3, 2)),
    ("i,i->", (1,), (3,)),
    ("iij,i->ij", (1, 1, 2), (3,)),
    ("i,i,i->", (1,), (3,), (1,)),
    ("i,i,j->", (1,), (1,), (3,)),
    ("a,ab,b->", (3,), (3, 4), (4,)),
    ("ij,jk,kl,lm->im", (2, 2), (2, 3), (3, 2), (2, 2)),
    ("ij,ij,ij->ij", (2, 3), (2, 3), (2, 3)),
    ("ab,cd,ef->", (2, 2), (2, 3), (3, 2)),
    ("ij,jk->ik", (2, 0), (0, 2)),
    (",i", (), (3,)),
    ("i,->i", (3,), ()),
    (" i j , j k -> i k ", (2, 3), (3, 2)),
]


@pytest.mark.parametrize("case", SUBSCRIPTS, ids=str)
@pytest.mark.parametrize("dtype", ["float64", "complex128", "int8", "bool"])
def test_einsum_agrees_with_numpy(case, dtype):
    subscripts, *shapes = case
    operands = [sample(shape, dtype) for shape in shapes]
    expected = np.asarray(np.einsum(subscripts, *operands))
    for optimize in (True, False, "optimal"):
        got = fg.einsum(subscripts, *operands, optimize=optimize)
        assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)
    if np.dtype(dtype).kind in "fc":
        check_adjoints(lambda *xs: fg.einsum(subscripts, *xs), *operands)
        aval = fg.make_graph(lambda *xs: fg.einsum(subscripts, *xs))(*operands).outputs[0].aval
        assert (aval.shape, aval.dtype) == (expected.shape, expected.dtype)


def test_einsum_takes_lists_of_labels_a_path_and_a_dtype():
    x, y, z = sample((2, 3)), sample((3, 4)), sample((4, 2))
    np.testing.assert_allclose(fg.einsum(x, [0, 1], y, [1, 2], [2, 0]), (x @ y).T)
    np.testing.assert_allclose(fg.einsum(x, [..., 1], y, [1, 2]), x @ y)
    path = ["einsum_path", (1, 2), (0, 1)]
    np.testing.assert_allclose(fg.einsum("ij,jk,kl->il", x, y, z, optimize=path), x @ y @ z)
    assert fg.einsum("ij->ji", x, dtype="float32").dtype == "float32"


@pytest.mark.parametrize(
    ("subscripts", "shapes", "message"),
    [
        (
            "ij,jk->ik",
            [(2, 3), (4, 2)],
            r"\[einsum\] 'ij,jk->ik' on float64\[2,3\] and float64\[4,2\]: label 'j'.* 3 and 4",
        ),
        ("ii->i", [(1, 3)], "label 'i' has the lengths 1 and 3"),
        ("...i->i", [(2, 3)], r"'\.\.\.' stands for 1 axes"),
        ("i->ii", [(3,)], "label 'i' of the result 'ii' occurs more than once"),
        ("i->ij", [(3,)], "label 'j' of the result 'ij' names no axis"),
        ("ij", [(3,)], "operand 0 has 1 axes, and its subscripts 'ij' name 2"),
        ("i,i", [(3,)], "name 2 operands, and 1 are given"),
        ("i.j", [(3,)], r"'\.' is not a subscript"),
        ("i->j->k", [(3,)], "'->' occurs at most once"),
    ],
)
def test_einsum_says_what_does_not_fit(subscripts, shapes, message):
    with pytest.raises(fg.errors.ShapeError, match=message) as caught:
        fg.einsum(subscripts, *map(fg.zeros, shapes))
    assert "test_contractions.py" in str(caught.value)


def test_einsum_without_subscripts_shows_both_forms():
    with pytest.raises(fg.errors.ShapeError, match=r"einsum\('ij,jk->ik', a, b\)"):
        fg.einsum(fg.zeros((2, 3)), fg.zeros((3, 2)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: fg.matmul(fg.zeros((3, 4)), fg.zeros((5, 2))),
            r"^\[matmul\] on float64\[3,4\] and float64\[5,2\]: the last axis of the first \(length 4\) must equal",
        ),
        (
            lambda: fg.zeros((7, 3, 4)) @ fg.zeros((5, 2)),
            r"on float64\[7,3,4\] and float64\[5,2\]: .*length 4.*length 5",
        ),
        (lambda: fg.zeros((3, 4)) @ fg.zeros(5), r"must equal the only axis of the second \(length 5\)"),
        (lambda: fg.zeros((2, 3, 4)) @ fg.zeros((3, 4, 5)), r"leading axes \(2,\) and \(3,\) cannot be broadcast"),
        (lambda: fg.zeros((2, 3)) @ 2.0, r"a product with a number is x \* y"),
        (lambda: fg.dot(fg.zeros((3, 4)), fg.zeros((5, 2))), r"\[dot\] .*axis 1 of the first \(length 4\)"),
        (lambda: fg.inner(fg.zeros(3), fg.zeros(4)), r"\[inner\] .*\(length 3\).*\(length 4\)"),
        (lambda: fg.vdot(fg.zeros(3), fg.zeros(4)), r"\[vdot\] .*3 and 4"),
        (lambda: fg.vecdot(fg.zeros(3), fg.zeros(4)), r"\[vecdot\] .*3 and 4"),
        (lambda: fg.tensordot(fg.zeros((2, 3)), fg.zeros((2, 3)), 3), r"\[tensordot\] .*axes=3"),
        (lambda: fg.tensordot(fg.zeros((2, 3)), fg.zeros((2, 3)), ([0, 1], [0])), r"\[tensordot\] .*2 axes .* 1"),
        (lambda: fg.trace(fg.zeros(3)), r"\[trace\] on float64\[3\]: a diagonal needs two axes"),
        (lambda: fg.diagonal(fg.zeros((3, 3)), 0, 1, -1), r"\[diagonal\] axis1=1 and axis2=-1 are one axis"),
    ],
)
def test_operands_that_do_not_fit_are_named_with_the_line_of_the_caller(call, message):
    with pytest.raises(fg.errors.ShapeError, match=message) as caught:
        call()
    assert "test_contractions.py" in str(caught.value)


def test_numpy_functions_and_operators_keep_the_gradient():
    x, y = sample((3, 3)), sample((3, 3))
    functions = [np.matmul, np.dot, np.inner, np.vdot, np.outer, np.vecdot, np.tensordot, lambda a, b: x @ a @ b]
    functions += [lambda a, b: np.einsum("ij,jk", a, b), lambda a, b: np.trace(a) + np.sum(np.diagonal(b))]
    for function in functions:
        by_x, by_y = fg.grad(lambda a, b, f=function: np.sum(f(a, b)), (0, 1))(x, y)
        assert np.any(by_x != 0)
        assert np.any(by_y != 0)


def test_matmul_leaves_foreign_types_to_their_own_operator():
    class Foreign:
        def __rmatmul__(self, other):
            return "reflected"

    assert fg.zeros((2, 2)) @ Foreign() == "reflected"
    with pytest.raises(TypeError):
        fg.zeros((2, 2)) @ object()
