"""Reductions: optional arguments, ties and kinks, special values, error messages."""

import warnings

import numpy as np
import pytest

import fgrad as fg

INF, NAN = float("inf"), float("nan")


def rows_of_jacobian(function, x):
    """The Jacobian of a vector function by one gradient for each row."""
    length = function(fg.asarray(x)).shape[0]
    return np.stack([np.asarray(fg.grad(lambda t, k=k: function(t)[k])(x)) for k in range(length)])


def central_difference(function, x, step=1e-6):
    out = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        above, below = x.copy(), x.copy()
        above[index] += step
        below[index] -= step
        out[index] = (float(function(fg.asarray(above))) - float(function(fg.asarray(below)))) / (2 * step)
    return out


def warned(call):
    """The result of a call and the texts of its warnings, all of them NumPy's RuntimeWarnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = call()
    assert {warning.category for warning in caught} == {RuntimeWarning}
    return result, [str(warning.message).removesuffix(".") for warning in caught]


MASK = np.array([[True, False, True], [True, True, True]])


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "var", "std", "any", "all"])
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1)])
def test_where_leaves_elements_out_as_in_numpy(name, axis):
    x = np.array([[0.5, -2.0, 3.0], [4.0, 0.0, -1.5]])
    got = getattr(fg, name)(fg.asarray(x), axis=axis, where=MASK)
    expected = getattr(np, name)(x, axis=axis, where=MASK)
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected)


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "var", "std"])
def test_gradient_of_a_masked_reduction_is_zero_where_the_mask_is_false(name):
    x = np.array([[0.5, -2.0, 3.0], [4.0, 0.25, -1.5]])

    def loss(t):
        return getattr(fg, name)(t, where=MASK)

    gradient = np.asarray(fg.grad(loss)(x))
    assert gradient[0, 1] == 0
    np.testing.assert_allclose(gradient, central_difference(loss, x), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["max", "min"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int8", "uint8", "bool"])
def test_extremum_of_a_selection_starts_from_initial(name, dtype):
    x = np.array([[3, 1, 0], [2, 5, 0]]).astype(dtype)
    mask = np.array([[True, False, False], [True, True, False]])
    got = getattr(fg, name)(fg.asarray(x), axis=0, where=mask, initial=1)
    expected = getattr(np, name)(x, axis=0, where=mask, initial=1)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


def test_initial_that_equals_the_maximum_takes_its_share_of_the_cotangent():
    np.testing.assert_allclose(fg.grad(lambda t: fg.max(t, initial=2.0))(np.array([1.0, 2.0])), [0, 0.5])
    np.testing.assert_allclose(fg.grad(lambda t: fg.max(t, initial=3.0))(np.array([1.0, 2.0])), [0, 0])


@pytest.mark.parametrize("dtype", ["bool", "int8", "float32", "float64", "complex64"])
@pytest.mark.parametrize("name", ["sum", "prod"])
def test_initial_never_changes_the_dtype(name, dtype):
    x = np.array([1, 0, 1]).astype(dtype)
    got = getattr(fg, name)(fg.asarray(x), initial=np.float64(2))
    expected = getattr(np, name)(x, initial=np.float64(2)) if dtype != "bool" else getattr(np, name)(x, initial=2)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("source", ["float32", "int8", "bool"])
@pytest.mark.parametrize("wanted", ["float64", "int8", "int64"])
def test_dtype_is_that_of_the_addition_and_of_the_result(source, wanted):
    x = np.array([100, 100, 1]).astype(source)
    for name in ("sum", "prod", "cumsum"):
        got = getattr(fg, name)(fg.asarray(x), dtype=wanted)
        expected = getattr(np, name)(x, dtype=wanted)
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)


def test_means_of_integers_are_float64_and_float32_stays():
    assert fg.mean(fg.asarray([1, 2])).dtype == "float64"
    assert fg.var(fg.asarray([True, False])).dtype == "float64"
    x = np.array([1.0, 2.0], np.float32)
    for name in ("sum", "mean", "var", "std", "logsumexp", "prod"):
        assert getattr(fg, name)(x).dtype == "float32"
        assert fg.grad(getattr(fg, name))(x).dtype == "float32"
    assert fg.var(x, ddof=np.float64(1)).dtype == "float32"


def test_mean_of_many_half_precision_numbers_is_added_up_in_float32():
    x = np.ones(70_000, np.float16)
    assert float(fg.mean(fg.asarray(x))) == 1
    gradient = np.asarray(fg.grad(lambda t: fg.mean(t).astype("float32"))(x))
    np.testing.assert_allclose(gradient.astype(float), 1 / 70_000, rtol=2e-3)


def test_empty_arrays_as_in_numpy():
    empty = fg.zeros((0, 3))
    assert float(fg.sum(empty)) == 0
    np.testing.assert_array_equal(fg.prod(empty, axis=0), [1, 1, 1])
    assert not bool(fg.any(empty))
    assert bool(fg.all(empty))
    assert float(fg.logsumexp(empty)) == -INF
    assert fg.max(empty, axis=1).shape == (0,)
    value, messages = warned(lambda: fg.mean(empty))
    assert np.isnan(value.item())
    assert "Mean of empty slice" in messages
    for name in ("sum", "prod", "logsumexp"):
        assert fg.grad(getattr(fg, name))(empty).shape == (0, 3)


@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin"])
def test_extremum_of_nothing_names_operation_and_shape(name):
    with pytest.raises(fg.errors.ShapeError, match=rf"\[{name}\] on float64\[0,3\]: .*no elements"):
        getattr(fg, name)(fg.zeros((0, 3)), axis=0)


def test_initial_is_the_maximum_of_nothing():
    np.testing.assert_array_equal(fg.max(fg.zeros((0, 2)), axis=0, initial=4.0), [4, 4])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: fg.sum(x, axis=2), r"\[sum\] axis 2 is out of bounds for a tensor with 2 axes"),
        (lambda x: fg.mean(x, axis=(0, -2)), r"\[mean\] axis \(0, -2\) names an axis twice"),
        (lambda x: fg.sum(x, where=np.ones((3, 1, 1), bool)), r"\[sum\] where has shape \(3, 1, 1\)"),
        (lambda x: fg.prod(x, where=np.ones(2, bool)), r"\[prod\] where has shape \(2,\)"),
        (lambda x: fg.max(x, where=x > 0), r"\[max\] .* needs `initial`"),
        (lambda x: fg.sum(x, initial=[1.0, 2.0]), r"\[sum\] initial is one number"),
        (lambda x: fg.var(x, ddof=1, correction=1), r"\[var\] ddof and correction"),
    ],
)
def test_wrong_arguments_are_named_with_the_line_of_the_caller(call, message):
    with pytest.raises(fg.errors.ShapeError, match=message) as caught:
        call(fg.zeros((2, 3)))
    assert "test_reductions.py" in str(caught.value)


@pytest.mark.parametrize("name", ["max", "min"])
def test_ties_share_the_cotangent_evenly(name):
    x = np.array([[2.0, 2.0, 2.0], [5.0, 5.0, 1.0]])
    sign = 1 if name == "max" else -1
    gradient = fg.grad(lambda t: fg.sum(getattr(fg, name)(sign * t, axis=1) * fg.asarray([3.0, 4.0])))(x)
    np.testing.assert_allclose(gradient, sign * np.array([[1, 1, 1], [2, 2, 0]]))


def test_nan_among_the_elements_takes_the_cotangent_of_the_maximum():
    np.testing.assert_array_equal(fg.grad(fg.max)(np.array([1.0, NAN, 3.0])), [0, 1, 0])


def test_maximum_beside_an_infinite_derivative_leaves_the_others_at_zero():
    with np.errstate(divide="ignore"):
        gradient = fg.grad(lambda t: fg.log(fg.max(t)))(np.array([-1.0, 0.0]))
    np.testing.assert_array_equal(gradient, [0, INF])


@pytest.mark.parametrize("zeros", [[], [1], [0, 3], [0, 1, 2], [0, 1, 2, 3]])
def test_derivatives_of_a_product_with_zeros_to_third_order(zeros):
    x = np.array([1.5, -2.0, 0.5, 3.0])
    x[zeros] = 0

    def others(*left_out):
        return np.prod([value for place, value in enumerate(x) if place not in left_out])

    places = range(4)
    np.testing.assert_allclose(fg.grad(fg.prod)(x), [others(i) for i in places])
    hessian = rows_of_jacobian(fg.grad(fg.prod), x)
    np.testing.assert_allclose(hessian, [[others(i, j) if i != j else 0 for j in places] for i in places])
    third = rows_of_jacobian(fg.grad(lambda t: fg.grad(fg.prod)(t)[0]), x)
    expected = [[others(0, i, j) if len({0, i, j}) == 3 else 0 for j in places] for i in places]
    np.testing.assert_allclose(third, expected)


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 9, 17])
def test_gradient_of_a_product_along_inner_axes_of_any_length(length):
    x = np.random.default_rng(length).uniform(0.5, 2.0, (2, length, 3))
    gradient = fg.grad(lambda t: fg.sum(fg.prod(t, axis=(1, 0))))(x)
    np.testing.assert_allclose(gradient, np.prod(x, axis=(0, 1), keepdims=True) / x)


def test_variance_of_large_numbers_loses_no_digits():
    spread = np.random.default_rng(0).normal(size=1000)
    np.testing.assert_allclose(float(fg.var(1e8 + spread)), np.var(spread), rtol=1e-6)


def test_variance_of_complex_numbers_is_the_mean_square_of_the_modulus():
    z = np.array([1.0 + 2.0j, -1.0, 0.5j])
    np.testing.assert_allclose(float(fg.var(z)), np.var(z))
    np.testing.assert_allclose(fg.grad(fg.var)(z), 2 / 3 * np.conj(z - z.mean()))


def test_variance_about_a_given_mean_holds_it_fixed():
    x = np.array([1.0, 2.0, 6.0])
    np.testing.assert_allclose(fg.grad(lambda t: fg.var(t, mean=fg.asarray([3.0])))(x), 2 / 3 * (x - 3))


def test_too_few_elements_for_a_variance_warn_as_in_numpy():
    value, messages = warned(lambda: fg.var(fg.asarray([1.0]), ddof=1))
    assert np.isnan(value.item())
    assert any("Degrees of freedom" in message for message in messages)


def test_standard_deviation_of_equal_numbers_has_zero_derivatives():
    x = np.full((2, 3), 7.0)
    np.testing.assert_array_equal(fg.grad(lambda t: fg.sum(fg.std(t, axis=1)))(x), np.zeros((2, 3)))
    np.testing.assert_array_equal(fg.grad(lambda t: fg.sum(fg.grad(lambda s: fg.std(s[0]))(t)))(x), np.zeros((2, 3)))
    beside = np.array([[7.0, 7.0], [1.0, 3.0]])
    np.testing.assert_allclose(fg.grad(lambda t: fg.sum(fg.std(t, axis=1)))(beside), [[0, 0], [-0.5, 0.5]])


@pytest.mark.parametrize("axis", [None, 0, 1, -1, -2])
def test_adjoint_of_a_cumulative_sum_runs_backwards(axis):
    x = np.arange(6.0).reshape(2, 3)
    weights = np.random.default_rng(1).normal(size=np.cumsum(x, axis).shape)
    gradient = fg.grad(lambda t: fg.sum(fg.cumsum(t, axis) * weights))(x)
    backwards = np.flip(np.cumsum(np.flip(weights, axis), axis or 0), axis) if axis is not None else None
    if axis is None:
        backwards = np.cumsum(weights[::-1])[::-1].reshape(2, 3)
    np.testing.assert_allclose(gradient, backwards)


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), (-1, -2)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_logsumexp_over_any_axes_and_its_gradient_softmax(axis, keepdims):
    x = np.random.default_rng(2).normal(size=(2, 3, 4))
    got = fg.logsumexp(fg.asarray(x), axis, keepdims=keepdims)
    np.testing.assert_allclose(got, np.log(np.sum(np.exp(x), axis, keepdims=keepdims)))
    gradient = fg.grad(lambda t: fg.sum(fg.logsumexp(t, axis)))(x)
    np.testing.assert_allclose(gradient, np.exp(x) / np.sum(np.exp(x), axis, keepdims=True))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-14)])
@pytest.mark.parametrize("shift", [0.0, 1e4, -1e4])
def test_logsumexp_is_accurate_far_from_zero(dtype, tolerance, shift):
    # Whole numbers, so that the shift is exact in float32.
    x = np.array([3.0, 0.0, -2.0, 3.0])
    p = np.exp(x) / np.exp(x).sum()
    shifted = (x + shift).astype(dtype)
    np.testing.assert_allclose(float(fg.logsumexp(shifted)), np.log(np.exp(x).sum()) + shift, rtol=1e-6)
    np.testing.assert_allclose(fg.grad(fg.logsumexp)(shifted), p, rtol=tolerance * 10)
    hessian = rows_of_jacobian(fg.grad(fg.logsumexp), shifted)
    np.testing.assert_allclose(hessian, np.diag(p) - np.outer(p, p), atol=tolerance)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    ("values", "result", "gradient"),
    [
        ([-INF, -INF], -INF, [0, 0]),
        ([-INF, 1.0], 1.0, [0, 1]),
        ([INF, 1.0], INF, [1, 0]),
        ([INF, 1e4, INF, -INF], INF, [0.5, 0, 0.5, 0]),
        ([1e4, -1e4], 1e4, [1, 0]),
    ],
)
def test_logsumexp_of_infinities(dtype, values, result, gradient):
    x = np.array(values, dtype)
    value, got = fg.value_and_grad(fg.logsumexp)(x)
    assert float(fg.stop_gradient(value)) == result
    np.testing.assert_array_equal(got, gradient)
    hessian = rows_of_jacobian(fg.grad(fg.logsumexp), x)
    np.testing.assert_array_equal(hessian, np.diag(gradient) - np.outer(gradient, gradient))


def test_logsumexp_of_rows_of_which_one_is_all_minus_infinity():
    x = np.array([[-INF, -INF], [0.0, 0.0]])
    np.testing.assert_allclose(fg.logsumexp(x, axis=1), [-INF, np.log(2)])
    np.testing.assert_allclose(fg.grad(lambda t: fg.logsumexp(t, axis=1)[1])(x), [[0, 0], [0.5, 0.5]])
    assert np.isnan(fg.logsumexp(fg.asarray([NAN, INF])).item())


def test_reductions_of_numpy_ufuncs_keep_the_gradient():
    x = np.array([[1.0, 2.0], [3.0, 0.5]])
    for ufunc in (np.add, np.multiply, np.maximum, np.minimum, np.logaddexp):
        np.testing.assert_allclose(ufunc.reduce(fg.asarray(x)), ufunc.reduce(x))
        gradient = fg.grad(lambda t, ufunc=ufunc: ufunc.reduce(t, axis=None))(x)
        expected = central_difference(lambda t, ufunc=ufunc: ufunc.reduce(t, axis=None), x)
        np.testing.assert_allclose(gradient, expected, atol=1e-7)


def test_a_writable_array_reduced_over_no_axes_is_not_shared():
    x = np.ones(3)
    for name in ("sum", "max", "prod"):
        result = getattr(fg, name)(x, axis=())
        x[0] = 5
        assert float(result[0]) == 1
        x[0] = 1


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: fg.sum(x, axis=1.0), r"\[sum\] an axis is an integer, not 1\.0"),
        (lambda x: np.sum(x, axis="rows"), r"\[sum\] an axis is an integer, not 'rows'"),
        (lambda x: x.max(axis=(0, None)), r"\[max\] an axis is an integer, not None"),
        (lambda x: fg.stack([x, x], axis=0.5), r"\[stack\] an axis is an integer, not 0\.5"),
        (lambda x: x.reshape(x.size / 2, -1), r"\[reshape\] a shape is made of integers, not 3\.0"),
        (lambda x: fg.broadcast_to(x, "ab"), r"\[broadcast_to\] a shape is made of integers, not 'ab'"),
    ],
)
def test_an_axis_or_a_length_that_is_no_integer_is_named_with_the_operation(call, words):
    with pytest.raises(TypeError, match=rf"^{words}\n  at .*test_reductions\.py"):
        call(fg.ones((2, 3)))


def test_an_array_without_axes_is_one_axis_or_length():
    x = fg.ones((2, 3))
    for one in (np.array(0), fg.asarray(0)):
        assert fg.sum(x, axis=one).shape == (3,)
        assert fg.ones(one + 3).shape == x[0].shape == fg.reshape(x[0], one + 3).shape


def test_an_axis_that_is_traced_says_what_to_do():
    for axis in (lambda i: i, lambda i: (i,)):
        with pytest.raises(fg.errors.TracerConversionError, match="in_axes"):
            fg.vmap(lambda i, axis=axis: fg.sum(fg.ones((2, 3)), axis=axis(i)))(np.array([0, 1]))


@pytest.mark.parametrize("name", ["zeros", "ones", "empty"])
def test_shapes_of_new_arrays_are_refused_by_the_name_of_their_function(name):
    for shape, message in ((2.5, "a shape is made of integers"), ((2, -1), "a shape has no negative lengths")):
        with pytest.raises((TypeError, ValueError), match=rf"\[{name}\] {message}"):
            getattr(fg, name)(shape)
