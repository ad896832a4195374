"""Initializers: the range and the moments of 1e5 draws, shapes, dtypes, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fgrad as fg
from fgrad import nn, random
from fgrad.nn import initializers

FAN_IN, FAN_OUT = 400, 250  # 1e5 draws
RANDOM = ["kaiming_normal", "kaiming_uniform", "normal", "one_hot", "uniform", "xavier_normal", "xavier_uniform"]
FIXED = ["constant", "ones", "zeros"]


def draw(name, *args, seed=0, **kwargs):
    weight = getattr(initializers, name)(random.key(seed), FAN_IN, FAN_OUT, *args, **kwargs)
    assert weight.shape == (FAN_IN, FAN_OUT)
    return np.asarray(weight).astype(np.float64)


def check_uniform(values, low, high):
    """Range, and the first four moments to five standard errors of 1e5 draws."""
    assert values.min() >= np.float32(low)
    assert values.max() <= np.float32(high)
    width = high - low
    # The probability that none of 1e5 draws falls into an outer thousandth is exp(-100).
    assert values.min() < low + width / 1000
    assert values.max() > high - width / 1000
    unit = (values - low) / width - 0.5
    for power, moment, variance in [(1, 0, 1 / 12), (2, 1 / 12, 1 / 180), (3, 0, 1 / 448), (4, 1 / 80, 1 / 3600)]:
        assert abs((unit**power).mean() - moment) < 5 * math.sqrt(variance / values.size)


def check_normal(values, mean, std):
    unit = (values - mean) / std
    assert 3.5 < np.abs(unit).max() < 6.5
    for power, moment, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
        assert abs((unit**power).mean() - moment) < 5 * math.sqrt(variance / values.size)


@pytest.mark.parametrize("gain", [1.0, 2.5])
def test_xavier_uniform(gain):
    bound = gain * math.sqrt(6 / (FAN_IN + FAN_OUT))
    check_uniform(draw("xavier_uniform", gain), -bound, bound)


@pytest.mark.parametrize("gain", [1.0, 2.5])
def test_xavier_normal(gain):
    check_normal(draw("xavier_normal", gain), 0.0, gain * math.sqrt(2 / (FAN_IN + FAN_OUT)))


def test_kaiming_uniform():
    bound = math.sqrt(2) * math.sqrt(3 / FAN_IN)
    check_uniform(draw("kaiming_uniform"), -bound, bound)


def test_kaiming_normal():
    check_normal(draw("kaiming_normal"), 0.0, math.sqrt(2) / math.sqrt(FAN_IN))


def test_uniform():
    check_uniform(draw("uniform"), 0.0, 1.0)
    check_uniform(draw("uniform", 2.0, low=-1.0, high=3.0), -2.0, 6.0)
    check_uniform(draw("uniform", -1.0, low=0.0, high=1.0), -1.0, 0.0)
    assert np.all(draw("uniform", low=0.5, high=0.5) == 0.5)


def test_normal():
    check_normal(draw("normal"), 0.0, 1.0)
    check_normal(draw("normal", 2.0, mean=1.0, std=0.5), 2.0, 1.0)
    assert np.all(draw("normal", std=0.0, mean=0.5) == 0.5)


def test_zeros_ones_constant():
    assert np.all(draw("zeros") == 0.0)
    assert np.all(draw("zeros", 3.0) == 0.0)
    assert np.all(draw("ones") == 1.0)
    assert np.all(draw("ones", 0.5) == 0.5)
    assert np.all(draw("constant") == 1.0)
    assert np.all(draw("constant", value=0.25) == 0.25)
    assert np.all(draw("constant", 2.0, value=0.25) == 0.5)


def test_one_hot_has_one_entry_a_row_at_a_uniform_column():
    weight = np.asarray(initializers.one_hot(random.key(0), 100_000, 10, 2.0))
    assert set(np.unique(weight)) == {0.0, 2.0}
    assert np.all((weight != 0).sum(axis=1) == 1)
    share = (weight != 0).mean(axis=0)
    assert np.all(np.abs(share - 0.1) < 5 * math.sqrt(0.1 * 0.9 / 100_000))


@pytest.mark.parametrize("name", RANDOM)
def test_the_key_decides(name):
    first, again, other = draw(name), draw(name), draw(name, seed=1)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", RANDOM + FIXED)
def test_signature_shape_and_dtype(name):
    initializer = getattr(nn.initializers, name)
    assert name in nn.initializers.__all__
    key = random.key(0)
    weight = initializer(key, 3, 4)
    assert isinstance(weight, fg.Tensor)
    assert weight.shape == (3, 4)
    assert weight.dtype == np.float32
    for dtype in [np.float16, "float32", np.float64, np.dtype(np.float64)]:
        assert initializer(random.key(0), 3, 4, dtype=dtype).dtype == np.dtype(dtype)
    if not name.startswith("kaiming"):
        # A strong NumPy number as gain does not widen the weights.
        assert initializer(random.key(0), 3, 4, np.float64(2.0)).dtype == np.float32
        assert initializer(random.key(0), 3, 4, 2.0, "float64").dtype == np.float64
    assert initializer(random.key(0), np.int64(2), np.uint8(1)).shape == (2, 1)


@pytest.mark.parametrize("name", FIXED)
def test_what_draws_nothing_needs_no_key(name):
    assert getattr(initializers, name)(None, 2, 3).shape == (2, 3)


@pytest.mark.parametrize("name", ["kaiming_uniform", "kaiming_normal"])
@pytest.mark.parametrize("nonlinearity", ["tanh", "leaky_relu", "", None, 1.0])
def test_kaiming_knows_relu_only(name, nonlinearity):
    initializer = getattr(initializers, name)
    assert fg.tree.equal(initializer(random.key(0), 2, 3), initializer(random.key(0), 2, 3, nonlinearity="relu"))
    with pytest.raises(ValueError, match=f"{name}: the nonlinearity {nonlinearity!r} is not supported; only 'relu' is"):
        initializer(random.key(0), 2, 3, nonlinearity=nonlinearity)


@pytest.mark.parametrize("name", RANDOM + FIXED)
def test_refused_arguments(name):
    initializer = getattr(initializers, name)
    for fans in [(0, 3), (3, 0), (-1, 3)]:
        with pytest.raises(ValueError, match=f"initializers.{name}: fan_in and fan_out are at least 1, not {fans[0]}"):
            initializer(random.key(0), *fans)
    with pytest.raises(TypeError):
        initializer(random.key(0), 2.5, 3)
    for dtype in [int, bool, complex]:
        with pytest.raises(
            fg.errors.DtypeError, match=f"{name}: weights have a floating-point dtype, not {np.dtype(dtype)}"
        ):
            initializer(random.key(0), 2, 3, dtype=dtype)


def test_refused_ranges():
    with pytest.raises(ValueError, match=r"high=-1.0 is less than low=0.0"):
        initializers.uniform(random.key(0), 2, 3, low=0.0, high=-1.0)
    with pytest.raises(ValueError, match=r"std=-1.0 is negative"):
        initializers.normal(random.key(0), 2, 3, std=-1.0)


def test_linear_draws_weight_and_bias_from_the_two_halves_of_its_key():
    # Part of the promise that random streams stay: which key makes which parameter.
    params, state = nn.Linear(5, 7).init(random.key(3))
    weight_key, bias_key = random.split(random.key(3))
    assert state == {}
    assert set(params) == {"weight", "bias"}
    assert fg.tree.equal(params["weight"], initializers.kaiming_uniform(weight_key, 5, 7))
    assert params["bias"].shape == (7,)
    assert fg.tree.equal(params["bias"], initializers.kaiming_uniform(bias_key, 7, 1).reshape(7))
    without, _ = nn.Linear(5, 7, bias=False).init(random.key(3))
    assert fg.tree.equal(without, {"weight": params["weight"]})
