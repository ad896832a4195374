"""Softmax and its kin: values against SciPy, extreme numbers, derivatives, and the labels that the losses refuse."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fgrad as fg
from fgrad import nn
from fgrad.errors import DtypeError, ShapeError
from fgrad.testing import check_grads

LOGITS = np.random.default_rng(0).normal(size=(5, 4))
LABELS = np.array([0, 3, 1, 1, 2])

finite_arrays = hnp.arrays(
    np.float64, hnp.array_shapes(min_dims=1, max_dims=3, max_side=4), elements=st.floats(-1e4, 1e4)
)


# Activations.


@given(finite_arrays, st.data())
def test_softmax_and_log_softmax_against_scipy(x, data):
    axis = data.draw(st.sampled_from([None, *range(-x.ndim, x.ndim), tuple(range(x.ndim))]))
    np.testing.assert_allclose(nn.softmax(x, axis), scipy.special.softmax(x, axis), rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(nn.log_softmax(x, axis), scipy.special.log_softmax(x, axis), rtol=1e-12, atol=1e-12)


@given(hnp.arrays(np.float64, st.integers(0, 5), elements=st.floats(-800, 800)))
def test_sigmoid_and_softplus_against_scipy(x):
    # SciPy flushes subnormal results to zero, exp does not.
    tiny = np.finfo(np.float64).tiny
    np.testing.assert_allclose(nn.sigmoid(x), scipy.special.expit(x), rtol=1e-14, atol=tiny)
    np.testing.assert_allclose(nn.softplus(x), np.logaddexp(x, 0), rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("function", [nn.softmax, nn.log_softmax, nn.sigmoid, nn.softplus, nn.relu])
def test_activations_keep_the_dtype(function, dtype):
    x = fg.asarray(np.array([[0.0, 1.0], [-2.0, 3.0]], dtype))
    assert function(x).dtype == dtype
    assert fg.grad(lambda x: fg.sum(function(x) ** 2))(x).dtype == dtype


@pytest.mark.parametrize("function", [nn.softmax, nn.log_softmax, nn.sigmoid, nn.softplus])
def test_integers_do_not_wrap_around(function):
    for x in [np.array([3, 0, 255], np.uint8), np.array([-128, 127], np.int8), np.array([True, False]), [3, 0, 7]]:
        y = function(x)
        assert y.dtype == np.float64
        np.testing.assert_array_equal(y, function(np.asarray(x, np.float64)))


@pytest.mark.parametrize("function", [nn.softmax, nn.log_softmax, nn.sigmoid, nn.softplus])
def test_derivatives_of_activations(function):
    check_grads(function, (LOGITS,), order=3)


def test_derivatives_of_sigmoid_and_softplus_at_the_seam():
    # The two formulas meet at 0: the derivatives there must be those of the smooth function.
    assert float(fg.grad(nn.softplus)(0.0)) == 0.5
    assert float(fg.grad(fg.grad(nn.softplus))(0.0)) == 0.25
    assert float(fg.grad(nn.sigmoid)(0.0)) == 0.25
    assert float(fg.grad(fg.grad(nn.sigmoid))(0.0)) == 0.0
    assert float(fg.grad(fg.grad(fg.grad(nn.sigmoid)))(0.0)) == -0.125


@pytest.mark.parametrize("function", [nn.sigmoid, nn.softplus])
def test_no_overflow_at_either_end(function):
    x = fg.asarray(np.array([-np.inf, -1e4, 1e4, np.inf], np.float32))
    ends = {nn.sigmoid: [0.0, 0.0, 1.0, 1.0], nn.softplus: [0.0, 0.0, 1e4, np.inf]}[function]
    slopes = {nn.sigmoid: [0.0] * 4, nn.softplus: [0.0, 0.0, 1.0, 1.0]}[function]
    np.testing.assert_array_equal(function(x), ends)
    np.testing.assert_array_equal(fg.grad(lambda x: fg.sum(function(x)[1:3]))(x), [0.0, *slopes[1:3], 0.0])
    assert np.isnan(function(fg.asarray(np.nan)))


def test_sigmoid_keeps_the_digits_of_small_values():
    np.testing.assert_allclose(nn.sigmoid(fg.asarray([-40.0, -300.0])), np.exp([-40.0, -300.0]), rtol=1e-14)


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_softmax_at_large_numbers_in_float32(size):
    x = fg.asarray(np.array([size, size - 1.0, size - 2.0, -1e4], np.float32))
    exact = scipy.special.log_softmax(np.asarray(x).astype(np.float64))
    # x - logsumexp(x) would lose four digits here.
    np.testing.assert_allclose(nn.log_softmax(x), exact, rtol=3e-7)
    np.testing.assert_allclose(nn.softmax(x), np.exp(exact), rtol=3e-7, atol=1e-37)
    losses = nn.softmax_cross_entropy(fg.stack([x] * 4), fg.arange(4))
    np.testing.assert_allclose(losses, -exact, rtol=3e-7)
    gradient = fg.grad(lambda x: nn.softmax_cross_entropy(x, 2))(x)
    np.testing.assert_allclose(gradient, np.exp(exact) - np.eye(4)[2], rtol=1e-6, atol=1e-37)


def test_masked_classes():
    x = fg.asarray([1.0, -np.inf, 2.0])
    kept = scipy.special.softmax([1.0, 2.0])
    np.testing.assert_allclose(nn.softmax(x), [kept[0], 0.0, kept[1]], rtol=1e-14)
    np.testing.assert_allclose(nn.log_softmax(x), [np.log(kept[0]), -np.inf, np.log(kept[1])], rtol=1e-14)
    for labels in [0, fg.asarray([1.0, 0.0, 0.0])]:
        np.testing.assert_allclose(nn.softmax_cross_entropy(x, labels), -np.log(kept[0]), rtol=1e-14)
        gradient = fg.grad(nn.softmax_cross_entropy)(x, labels)
        np.testing.assert_allclose(gradient, [kept[0] - 1, 0.0, kept[1]], rtol=1e-14)
    assert float(nn.softmax_cross_entropy(x, 1)) == np.inf


def test_a_row_without_any_class_is_nan():
    x = fg.asarray([[-np.inf, -np.inf], [0.0, 0.0]])
    with np.errstate(invalid="ignore"):
        for function, second in [(nn.softmax, 0.5), (nn.log_softmax, np.log(0.5))]:
            np.testing.assert_allclose(function(x), [[np.nan] * 2, [second] * 2])
    with pytest.warns(RuntimeWarning, match="invalid value"):
        nn.softmax(x)


# Cross-entropy.


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64", "uint64"])
def test_cross_entropy_of_integer_labels(dtype):
    losses = nn.softmax_cross_entropy(fg.asarray(LOGITS), fg.asarray(LABELS.astype(dtype)))
    expected = -scipy.special.log_softmax(LOGITS, axis=-1)[np.arange(5), LABELS]
    assert losses.shape == (5,)
    np.testing.assert_allclose(losses, expected, rtol=1e-13)


def test_cross_entropy_of_probabilities():
    targets = scipy.special.softmax(LOGITS[::-1] * 2, axis=-1)
    losses = nn.softmax_cross_entropy(LOGITS, targets)
    expected = -(targets * scipy.special.log_softmax(LOGITS, axis=-1)).sum(axis=-1)
    np.testing.assert_allclose(losses, expected, rtol=1e-13)
    one_hot = fg.one_hot(LABELS, 4, dtype="float64")
    np.testing.assert_allclose(
        nn.softmax_cross_entropy(LOGITS, one_hot), nn.softmax_cross_entropy(LOGITS, LABELS), rtol=1e-13
    )


def test_gradient_is_softmax_minus_the_label():
    expected = scipy.special.softmax(LOGITS, axis=-1) - np.eye(4)[LABELS]
    for labels in [LABELS, np.eye(4)[LABELS]]:
        gradient = fg.grad(lambda x, y: fg.sum(nn.softmax_cross_entropy(x, y)))(fg.asarray(LOGITS), labels)
        np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-15)


def test_derivatives_of_cross_entropy():
    check_grads(lambda x: nn.softmax_cross_entropy(x, LABELS), (LOGITS,), order=3)
    targets = scipy.special.softmax(LOGITS[::-1], axis=-1)
    check_grads(nn.softmax_cross_entropy, (LOGITS, targets), order=2)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,), (2, 0)])
def test_any_leading_axes(shape):
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(*shape, 4)), rng.integers(0, 4, shape)
    losses = nn.softmax_cross_entropy(logits, labels)
    assert losses.shape == shape
    expected = -np.take_along_axis(scipy.special.log_softmax(logits, axis=-1), labels[..., None], -1)[..., 0]
    np.testing.assert_allclose(losses, expected, rtol=1e-13)
    np.testing.assert_allclose(nn.softmax_cross_entropy(logits, np.eye(4)[labels]), expected, rtol=1e-13)


def test_dtypes_of_cross_entropy():
    logits = fg.asarray(LOGITS.astype("float32"))
    assert nn.softmax_cross_entropy(logits, LABELS).dtype == np.float32
    assert nn.softmax_cross_entropy(logits, fg.one_hot(LABELS, 4)).dtype == np.float32
    assert nn.SoftmaxLoss()(logits, LABELS).dtype == np.float32


def test_softmax_loss_is_the_mean():
    loss = nn.SoftmaxLoss()
    assert loss == nn.SoftmaxLoss()
    assert fg.tree.leaves(loss) == []
    value = loss(LOGITS, LABELS)
    assert value.shape == ()
    np.testing.assert_allclose(value, np.mean(nn.softmax_cross_entropy(LOGITS, LABELS)), rtol=1e-14)
    np.testing.assert_allclose(
        fg.grad(loss)(fg.asarray(LOGITS), LABELS),
        (scipy.special.softmax(LOGITS, -1) - np.eye(4)[LABELS]) / 5,
        atol=1e-15,
    )


def test_uniform_logits_cost_log_of_the_number_of_classes():
    np.testing.assert_allclose(nn.SoftmaxLoss()(fg.zeros((3, 10)), fg.asarray([0, 5, 9])), np.log(10.0), rtol=1e-15)


def test_graph_of_the_loss():
    graph = fg.make_graph(nn.SoftmaxLoss())(fg.asarray(LOGITS), fg.asarray(LABELS))
    np.testing.assert_array_equal(graph(fg.asarray(LOGITS), fg.asarray(LABELS)), nn.SoftmaxLoss()(LOGITS, LABELS))
    # Labels without a value cannot be checked while tracing; they are when the graph has them.
    with pytest.raises(ShapeError, match=r"label 4 at position \(0,\) is outside 0\.\.3"):
        graph(fg.asarray(LOGITS), fg.asarray(LABELS + 4))


# Refused arguments.


@pytest.mark.parametrize("loss", [nn.softmax_cross_entropy, nn.SoftmaxLoss()])
@pytest.mark.parametrize(("label", "dtype"), [(4, "int64"), (-1, "int64"), (255, "uint8"), (-128, "int8")])
def test_labels_out_of_range(loss, label, dtype):
    labels = LABELS.astype(dtype)
    labels[3] = label
    with pytest.raises(ShapeError, match=re.escape(f"label {label} at position (3,) is outside 0..3, the 4 classes")):
        loss(LOGITS, labels)
    with pytest.raises(ValueError, match="the 4 classes"):
        fg.grad(lambda x: fg.sum(loss(x, labels)))(fg.asarray(LOGITS))


def refusal(error_class, logits, labels):
    with pytest.raises(error_class) as caught:
        nn.softmax_cross_entropy(logits, labels)
    message, _, place = str(caught.value).partition("\n")
    assert place.startswith(f"  at {__file__}:")
    return message.removeprefix("softmax_cross_entropy: ")


def test_labels_of_the_wrong_shape_or_dtype():
    logits = fg.zeros((5, 4), "float32")
    assert refusal(ShapeError, logits, np.zeros((5, 1), int)) == (
        "labels int64 of shape (5, 1) do not fit logits of shape (5, 4): integer labels are class numbers, of the "
        "logits' shape without its last axis, (5,)"
    )
    assert refusal(ShapeError, logits, np.zeros((5, 4), int)) == (
        "labels int64 of shape (5, 4) do not fit logits of shape (5, 4): integer labels are class numbers, of shape "
        "(5,); for one-hot rows or probabilities convert them with astype('float32')"
    )
    assert refusal(ShapeError, logits, np.zeros(5)) == (
        "labels float64 of shape (5,) do not fit logits of shape (5, 4): floating-point labels are probabilities of "
        "the logits' shape; convert class numbers with astype(int)"
    )
    assert refusal(ShapeError, logits, np.zeros((5, 3))) == (
        "labels float64 of shape (5, 3) do not fit logits of shape (5, 4): floating-point labels are probabilities, of "
        "the logits' shape"
    )
    assert refusal(DtypeError, logits, np.zeros(5, bool)) == (
        "labels bool of shape (5,) do not fit logits of shape (5, 4): labels are integers or floating-point "
        "probabilities; convert them with astype(int) or astype(float)"
    )


def test_logits_of_the_wrong_shape_or_dtype():
    assert refusal(ShapeError, 1.0, 0) == "the logits have shape (), and need a last axis that counts the classes"
    assert refusal(DtypeError, np.zeros((5, 4), int), LABELS) == (
        "the logits are floating point, not int64; convert them with astype"
    )
