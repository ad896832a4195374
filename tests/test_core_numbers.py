"""Python numbers stay weak at every level, and dtypes follow NumPy 2 (NEP 50)."""

from __future__ import annotations

import operator

import numpy as np
import pytest

import fgrad as fg
from fgrad.core.bind import Tracer
from fgrad.core.shape import shape_dtype_of

NUMBERS = [True, 2, 2.5, 1.5 - 2j]
DTYPES = [
    "bool",
    "int8",
    "uint8",
    "int32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]
OPERATORS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "&": operator.and_,
    "|": operator.or_,
    "^": operator.xor,
    "<<": operator.lshift,
    ">>": operator.rshift,
}


def by_numpy(operate):
    """The operator on arrays; powers as np.power promotes them.

    NumPy's own operator squares booleans into int8, and in NumPy 2.0 a square by an array of shape () keeps the dtype
    of the base, against its own promotion.
    """
    return np.power if operate is operator.pow else operate


def outcome(operate, *operands):
    """The result of an operator, or the class of error that it raises."""
    try:
        with np.errstate(all="ignore"):
            return operate(*operands)
    except (TypeError, ValueError, OverflowError) as error:
        return next(kind for kind in (TypeError, ValueError, OverflowError) if isinstance(error, kind))


def assert_same(found, expected):
    if isinstance(expected, type):
        assert found is expected
        return
    expected = np.asarray(expected)
    assert isinstance(found, fg.Tensor)
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_array_equal(np.asarray(found), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("symbol", OPERATORS)
def test_operators_promote_numbers_and_arrays_as_numpy_does(symbol, dtype):
    operate = OPERATORS[symbol]
    array = np.array([1, 3], dtype)
    tensor = fg.asarray(array)
    others = [*NUMBERS, np.float64(2.5), np.float32(2.5), np.int64(2), np.array([2, 1], "float32"), np.array(2, "int8")]
    for other in others:
        expected, reflected = outcome(by_numpy(operate), array, other), outcome(by_numpy(operate), other, array)
        assert_same(outcome(operate, tensor, other), expected)
        assert_same(outcome(operate, other, tensor), reflected)
        if type(other) not in (bool, int, float, complex):
            assert_same(outcome(operate, tensor, fg.asarray(other)), expected)
            assert_same(outcome(operate, fg.asarray(other), tensor), reflected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("symbol", OPERATORS)
def test_graphs_know_the_promoted_dtype(symbol, dtype):
    operate = OPERATORS[symbol]
    tensor = fg.asarray(np.array([1, 3], dtype))
    for other in (*NUMBERS, fg.asarray(np.float32(2.5)), fg.asarray(2)):
        for operands in ((tensor, other), (other, tensor)):
            eager = outcome(operate, *operands)
            graph = outcome(fg.make_graph(operate), *operands)
            if isinstance(eager, type):
                assert graph is eager
                continue
            assert graph.outputs[0].aval == fg.ShapeDtype(eager.shape, eager.dtype)
            with np.errstate(all="ignore"):
                assert fg.tree.equal(graph(*operands), eager)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("exponent", [0, 1, 2, 3, -1, 0.5, 2.0, -1.0, True, 2j])
def test_powers_are_those_of_numpy_in_graphs_too(dtype, exponent):
    array = np.array([1, 3], dtype)
    # Booleans apart, whose squares NumPy's operator makes int8, against its own promotion.
    expected = outcome(np.power if array.dtype.kind == "b" else operator.pow, array, exponent)
    found = outcome(operator.pow, fg.asarray(array), exponent)
    assert_same(found, expected)
    if not isinstance(expected, type):
        graph = fg.make_graph(lambda x: x**exponent)(array)
        assert graph.outputs[0].aval == fg.ShapeDtype((2,), expected.dtype)


def test_an_integer_that_does_not_fit_raises_as_in_numpy():
    for operate in (operator.add, operator.mul):
        with pytest.raises(OverflowError):
            operate(np.array([1], "uint8"), 300)
        with pytest.raises(OverflowError):
            operate(fg.asarray(np.array([1], "uint8")), 300)


def test_numpy_scalars_are_not_weak():
    x = fg.asarray(np.ones(2, "float32"))
    assert (x * 2.0).dtype == "float32"
    assert (x * np.float64(2.0)).dtype == "float64"
    assert (np.float64(2.0) * x).dtype == "float64"
    assert (x * fg.asarray(2.0)).dtype == "float64"


def traced(f, *args):
    """What f returns for weak tracers, as a value of the level outside: ``(aux of grad)``."""
    return fg.grad(lambda *args: (0.0, f(*args)), has_aux=True)(*args)[1]


ARITHMETIC = [
    lambda x: x + 1,
    lambda x: 1 - x,
    lambda x: x * 2.5,
    lambda x: 3 / x,
    lambda x: x // 2,
    lambda x: x % 0.7,
    lambda x: x**2,
    lambda x: 2**x,
    lambda x: -x,
    lambda x: +x,
    abs,
    lambda x: x * x + x,
    lambda x: divmod(x, 2)[0],
    lambda x: x.real * 2,
    lambda x: x.imag + x,
    lambda x: x.conjugate(),
]


@pytest.mark.parametrize("function", ARITHMETIC)
def test_a_python_float_stays_one_inside_a_transform(function):
    inside = traced(function, 1.5)
    assert type(inside) is float
    assert inside == function(1.5)
    weak = traced(lambda x: traced(function, x), 1.5)
    assert type(weak) is float
    graph = fg.make_graph(function)(1.5)
    assert graph.outputs[0].aval.weak
    assert type(graph(1.5)) is float
    assert graph(1.5) == function(1.5)


@pytest.mark.parametrize("function", ARITHMETIC)
def test_arithmetic_of_a_traced_python_float_does_not_widen_float32(function):
    x = np.float32(2.0)
    f = lambda scale: function(scale) * fg.asarray(x)
    assert f(1.5).dtype == "float32"
    assert traced(f, 1.5).dtype == "float32"
    assert fg.make_graph(f)(1.5).outputs[0].aval.dtype == "float32"
    assert float(f(1.5)) == float(traced(f, 1.5)) == float(fg.make_graph(f)(1.5)(1.5))


@pytest.mark.parametrize(
    "function",
    [
        fg.sin,
        np.sin,
        lambda x: fg.add(x, 1.0),
        lambda x: fg.reshape(x, (1,)),
        fg.asarray,
        fg.array,
        lambda x: fg.where(x > 0, x, 1.0),
        lambda x: fg.maximum(x, 1.0),
        fg.sum,
        lambda x: fg.astype(x, float),
        fg.abs,
        fg.negative,
        lambda x: fg.full((2,), x),
        lambda x: fg.stack([x, x]),
    ],
)
def test_functions_make_a_python_float_an_array_at_every_level(function):
    """What is strong outside of transforms is strong inside: the promotion that follows must not depend on it."""
    narrow = fg.asarray(np.float32(2.0))
    f = lambda x: function(x) * narrow
    assert f(0.5).dtype == "float64"
    assert traced(f, 0.5).dtype == "float64"
    assert fg.make_graph(f)(0.5).outputs[0].aval.dtype == "float64"


def test_comparisons_of_a_traced_python_float():
    seen = []
    fg.grad(lambda x: seen.extend([x > 1, x == 1.5, bool(x < 1)]) or x)(1.5)
    assert [bool(value) for value in seen] == [True, True, False]


def test_a_traced_float_with_complex_and_integer_partners():
    assert traced(lambda x: x * 2j, 1.5) == 3j
    assert traced(lambda x: x * fg.arange(3), 1.5).dtype == "float64"
    assert traced(lambda x: x * fg.asarray(np.ones(2, "complex64")), 1.5).dtype == "complex64"


@pytest.mark.parametrize(
    "function",
    [lambda z, c: z * c, lambda z, c: z**2 / c - z, lambda z, c: fg.where(True, -z, c), lambda z, c: (z + c) * 2.0],
)
def test_a_traced_python_complex_promotes_as_outside(function):
    c = fg.asarray(np.complex64(2.0 + 1.0j))
    f = lambda z: function(z, c)
    assert f(1.5j).dtype == "complex64"
    assert traced(f, 1.5j).dtype == "complex64"
    out, tangent = fg.jvp(f, (1.5j,), (1.0j,))
    assert (out.dtype, tangent.dtype) == ("complex64", "complex64")
    assert fg.linearize(f, 1.5j)[1](1.0j).dtype == "complex64"
    loss, gradient = fg.value_and_grad(lambda z: fg.abs(f(z)))(1.5j)
    assert (loss.dtype, gradient.dtype, gradient.shape) == ("float32", "complex128", ())
    derivative = fg.grad(f, holomorphic=True)(1.5j)
    np.testing.assert_allclose(derivative, fg.grad(f, holomorphic=True)(fg.asarray(1.5j)), rtol=1e-6)
    np.testing.assert_allclose(derivative, fg.jacfwd(f, holomorphic=True)(1.5j), rtol=1e-6)


@pytest.mark.parametrize(
    "function", [lambda z: z.real, lambda z: z.imag, lambda z: z.conjugate(), lambda z: z.real * z.imag - abs(z)]
)
def test_parts_of_a_traced_python_complex_are_python_numbers(function):
    inside = traced(function, 1.5 - 2j)
    assert type(inside) is type(function(1.5 - 2j))
    assert inside == function(1.5 - 2j)
    assert fg.make_graph(function)(1.5 - 2j)(1.5 - 2j) == inside
    loss = lambda z: fg.real(function(z) * (1.0 + 0.5j))
    expected = fg.grad(loss)(fg.asarray(1.5 - 2j))
    np.testing.assert_allclose(fg.grad(loss)(1.5 - 2j), expected, rtol=1e-14)
    along = [fg.jvp(loss, (1.5 - 2j,), (direction,))[1] for direction in (1.0 + 0j, 1j)]
    np.testing.assert_allclose(along, [expected.real, -expected.imag], rtol=1e-14)


def test_gradients_of_python_floats_are_float64_scalars():
    narrow = fg.asarray(np.full(3, 2.0, "float32"))
    for f in (lambda x: fg.sum(narrow * x), lambda x: fg.sum(narrow**x), lambda x: fg.sum(x / narrow), lambda x: x * 2):
        gradient = fg.grad(f)(3.0)
        assert (gradient.shape, gradient.dtype) == ((), "float64")
        out, pullback = fg.vjp(f, 3.0)
        (cotangent,) = pullback(fg.ones_like(out))
        assert (cotangent.shape, cotangent.dtype) == ((), "float64")


def test_second_gradients_of_python_floats():
    assert float(fg.grad(fg.grad(lambda x: x**3 / 2 - x))(3.0)) == 9.0
    assert float(fg.grad(fg.grad(lambda x: 2**x))(3.0)) == pytest.approx(8 * np.log(2) ** 2)
    assert float(fg.grad(lambda x: x**-2 + x**0)(2.0)) == -0.25


def test_constants_are_kept_by_type_and_bits():
    graph = fg.make_graph(lambda x: (x * 2, x * 2.0, x * 0.0, x * -0.0))(fg.asarray(np.ones(1, "int32")))
    literals = [equation.operands[1].value for equation in graph.equations]
    assert [type(value) for value in literals] == [int, float, float, float]
    assert [str(value) for value in literals] == ["2", "2.0", "0.0", "-0.0"]
    assert [out.aval.dtype for out in graph.outputs] == ["int32", "float64", "float64", "float64"]
    np.testing.assert_array_equal(np.signbit(np.asarray(graph(fg.asarray(np.ones(1, "int32")))[3])), [True])


def test_booleans_and_integers_in_python_arithmetic():
    assert traced(lambda x: x * True, 1.5) == 1.5
    assert type(traced(lambda x: x * 2 // 1, 1.5)) is float
    assert fg.asarray(True).dtype == "bool"
    assert fg.asarray(2).dtype == "int64"
    assert fg.asarray(2.0).dtype == "float64"
    assert fg.asarray(2j).dtype == "complex128"


def test_division_by_a_python_zero_is_what_it_is_outside():
    with pytest.raises(ZeroDivisionError):
        1.0 / 0.0  # noqa: B018 - the division is what is tested
    with pytest.raises(ZeroDivisionError):
        fg.grad(lambda x: 1.0 / x)(0.0)


def test_weak_values_are_tracers_too():
    seen = []
    fg.grad(lambda x: seen.append((isinstance(x, fg.Tensor), isinstance(x, Tracer), x.weak, x.shape, x.dtype)) or x)(
        1.0
    )
    assert seen == [(True, True, True, (), np.dtype("float64"))]


@pytest.mark.parametrize("others", [[np.ones(2, "float32")], [np.ones((1, 2), "int8"), np.ones(2, "float16")], []])
@pytest.mark.parametrize("number", [3, 2.5, True, 1j])
def test_numbers_joined_with_arrays_promote_nothing(others, number):
    expected = np.concatenate([*others, number, number], axis=None)
    join = lambda x: fg.concatenate([*others, x, number], axis=None)
    for found in (join(number), fg.make_graph(join)(number)(number)):
        np.testing.assert_array_equal(found, expected, strict=True)


COUNTING = [
    operator.neg,
    operator.pos,
    operator.abs,
    operator.add,
    operator.sub,
    operator.mul,
    operator.floordiv,
    operator.mod,
    operator.pow,
    operator.lshift,
    operator.rshift,
]


@pytest.mark.parametrize("operation", [*COUNTING, operator.and_, operator.or_, operator.xor, operator.le])
def test_python_booleans_are_counted_wherever_they_are_traced(operation):
    unary = operation in COUNTING[:3]
    f = lambda x, y: operation(x > 0.0) if unary else operation(x > 0.0, y > 0.0)
    expected = f(1.0, 1.0)
    graph = fg.make_graph(f)(1.0, 1.0)
    graph.check()
    assert graph.outputs[0].aval == shape_dtype_of(expected)
    for found in (graph(1.0, 1.0), fg.checkpoint(f)(1.0, 1.0)):
        assert type(found) is type(expected)
        assert found == expected

    def total(n):
        step = lambda c: (c[0] + 1, c[1] + operation(c[0] > 0) if unary else c[1] + operation(c[0] > 0, c[0] > 1))
        return fg.while_loop(lambda c: c[0] < n, step, (0, 0))[1]

    steps = np.array([2, 4])
    if operation not in (operator.floordiv, operator.mod):
        np.testing.assert_array_equal(fg.vmap(total)(steps), [total(2), total(4)])


@pytest.mark.parametrize("number", [2.567, -1.5, 0.5, 7, True])
@pytest.mark.parametrize("digits", [None, 0, 1, -1])
def test_rounding_what_stands_for_a_python_number_is_pythons(number, digits):
    expected = round(number, digits)
    f = lambda x: round(x, digits)
    seen = []
    fg.grad(lambda y: seen.append(f(y + number) if type(number) is float else f(number)) or y)(0.0)
    assert (type(seen[0]), seen[0]) == (type(expected), expected)
    graph = fg.make_graph(f)(number)
    assert (type(graph(number)), graph(number)) == (type(expected), expected)
    narrow = fg.asarray(np.float32(2))
    assert fg.make_graph(lambda x: f(x) * narrow)(number).outputs[0].aval == fg.ShapeDtype((), np.dtype("float32"))
    batched = lambda i: fg.while_loop(lambda c: c[1] < i, lambda c: (f(number), c[1] + 1), (expected * 0, 0))[0]
    np.testing.assert_array_equal(fg.vmap(batched)(np.array([1, 2])), [expected, expected])


def test_a_graph_refuses_a_number_of_another_kind_than_it_was_made_for():
    graph = fg.make_graph(lambda n, m: fg.asarray(n**m))(2, 3)
    assert graph(2, 5).item() == 32
    with pytest.raises(
        fg.errors.DtypeError, match=r"\[power\] gave the Python number 0.5 where the graph was made for one of int64"
    ):
        graph(2, -1)
    assert fg.make_graph(lambda n, m: fg.asarray(n**m))(2.0, 3)(2.0, -1).item() == 0.5
