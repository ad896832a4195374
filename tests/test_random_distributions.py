"""Distributions: their formulas over the bits, their bounds and moments, their derivatives and their errors."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

import fgrad as fg
from fgrad import random
from fgrad.testing import check_grads

INF, NAN = math.inf, math.nan
FLOATS = ("float16", "float32", "float64")
WORD = {"float16": "uint16", "float32": "uint32", "float64": "uint64"}
seeds = st.integers(0, 2**64 - 1)


def words_of(seed, count, dtype="uint64"):
    return [int(word) for word in np.asarray(random.bits(random.key(seed), (count,), dtype))]


# Uniform numbers.


@given(seeds, st.sampled_from(FLOATS))
def test_uniform_is_the_highest_bits_of_a_word(seed, dtype):
    width, precision = {"float16": (16, 11), "float32": (32, 24), "float64": (64, 53)}[dtype]
    expected = [float(Fraction(word >> (width - precision), 2**precision)) for word in words_of(seed, 9, WORD[dtype])]
    assert random.uniform(random.key(seed), (9,), dtype).tolist() == expected


@given(seeds, st.floats(-1e300, 1e300), st.floats(-1e300, 1e300))
def test_uniform_between_bounds(seed, low, high):
    if not low < high or high - low == INF:
        return
    unit = random.uniform(random.key(seed), (20,)).tolist()
    drawn = random.uniform(random.key(seed), (20,), "float64", low, high).tolist()
    below = math.nextafter(high, low)
    assert drawn == [min(low + u * (high - low), below) for u in unit]
    assert all(low <= x < high for x in drawn)


@pytest.mark.parametrize("dtype", FLOATS)
def test_uniform_stays_below_maxval_after_rounding(dtype):
    # Between 1 and its neighbour there is only 1, and near 1000 rounding up is the rule.
    one = np.ones((), dtype)
    for low, high in (
        (one, np.nextafter(one, 2 * one)),
        (one * 1000, np.nextafter(one * 1000, one * 2000)),
        (-one, -one / 2),
    ):
        drawn = np.asarray(random.uniform(random.key(0), (2000,), dtype, low, high))
        assert drawn.dtype == dtype
        assert ((low <= drawn) & (drawn < high)).all()
    assert np.asarray(random.uniform(random.key(0), (5000,), dtype)).max() < 1


def test_uniform_bounds_broadcast_and_keep_the_dtype():
    low, high = fg.asarray([0.0, 10.0], "float64"), np.array([[1], [20]])
    drawn = np.asarray(random.uniform(random.key(1), (2, 2), "float32", low, fg.asarray([5.0, 11.0])))
    assert drawn.dtype == np.float32
    assert (drawn[:, 0] < 5).all()
    assert (drawn[:, 1] >= 10).all()
    assert random.uniform(random.key(1), (2, 2), minval=-1, maxval=high).dtype == np.float64


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ((1.0, 1.0), "minval must be below maxval, in float64"),
        ((2, 1), "minval must be below maxval, in float64"),
        ((0.0, NAN), "minval must be below maxval, in float64"),
        ((0.0, INF), "maxval - minval must be finite, in float64"),
        ((-1e308, 1e308), "maxval - minval must be finite, in float64"),
        ((np.zeros(4), 1.0), r"minval of shape \(4,\) does not broadcast to the shape \(3,\) of the draw; pass shape="),
        ((0.0, 1.0 + 1.0j), "maxval must be real, not of dtype complex128"),
    ],
)
def test_uniform_refuses_bounds(bounds, message):
    with pytest.raises((ValueError, TypeError), match=rf"\[uniform\] on .*{message}"):
        random.uniform(random.key(0), (3,), np.float64, *bounds)


def test_float32_bounds_are_compared_in_float32():
    with pytest.raises(ValueError, match="minval must be below maxval, in float32"):
        random.uniform(random.key(0), (3,), "float32", 1.0, 1.0 + 1e-9)


def test_bounds_in_a_graph_are_checked_when_it_is_evaluated():
    graph = fg.make_graph(lambda key, low: random.uniform(key, (3,), minval=low))(random.key(0), 0.5)
    assert fg.tree.equal(graph(random.key(1), 0.25), random.uniform(random.key(1), (3,), minval=0.25))
    with pytest.raises(ValueError, match="minval must be below maxval"):
        graph(random.key(1), 1.5)


# Normal numbers.


@given(seeds)
def test_normal_is_the_quantile_of_the_word(seed):
    for dtype, word, bits in (("float64", "int64", 53), ("float32", "int32", 32), ("float16", "int32", 32)):
        words = np.asarray(random.bits(random.key(seed), (50,), word.replace("i", "ui"))).view(word).tolist()
        shift = np.dtype(word).itemsize * 8 - bits
        centred = [math.ldexp((w >> shift) + 0.5, -bits) for w in words]
        # erfinv(2 q) keeps its accuracy in the middle, the quantile of the smaller tail out there.
        expected = [
            special.erfinv(2 * q) * math.sqrt(2) if abs(q) < 0.25 else math.copysign(special.ndtri(0.5 - abs(q)), q)
            for q in centred
        ]
        drawn = random.normal(random.key(seed), (50,), dtype)
        assert drawn.dtype == dtype
        info = np.finfo(dtype)
        rtol, atol = (4e-15 if dtype == "float64" else info.eps), float(info.smallest_subnormal)
        np.testing.assert_allclose(np.asarray(drawn), expected, rtol=rtol, atol=atol)


def test_normal_at_its_extremes():
    from fgrad.ops.distributions import normal_p

    words = np.array([2**63, 2**63 - 1, 0, 2**64 - 1], np.uint64)
    for bits, tail in ((words, 2.0**-54), ((words >> np.uint64(32)).astype(np.uint32), 2.0**-33)):
        drawn = normal_p.evaluate(bits, dtype=np.dtype(float)).tolist()
        assert drawn[0] == -drawn[1]
        assert drawn[1] == pytest.approx(-special.ndtri(tail), rel=1e-14)
        assert drawn[3] == -drawn[2]
        assert drawn[2] == pytest.approx(tail * math.sqrt(2 * math.pi), rel=1e-14)


def standardised(draws, mean, variance):
    """How many standard errors the mean and the variance of the draws are off, given the distribution's."""
    count = draws.size
    fourth = ((draws - mean) ** 4).mean()
    return (
        abs(draws.mean() - mean) / math.sqrt(variance / count),
        abs(((draws - mean) ** 2).mean() - variance) / math.sqrt((fourth - variance**2) / count),
    )


@pytest.mark.parametrize(
    ("draw", "distribution"),
    [
        (lambda key: random.uniform(key, (100_000,), "float32"), stats.uniform()),
        (lambda key: random.uniform(key, (100_000,), minval=-2.0, maxval=5.0), stats.uniform(-2, 7)),
        (lambda key: random.normal(key, (100_000,)), stats.norm()),
        (lambda key: random.normal(key, (100_000,), "float32"), stats.norm()),
        (lambda key: random.truncated_normal(key, -1.0, 2.0, (100_000,)), stats.truncnorm(-1, 2)),
        (lambda key: random.truncated_normal(key, 3.0, INF, (100_000,), "float32"), stats.truncnorm(3, INF)),
    ],
)
def test_moments_and_distribution_functions(draw, distribution):
    draws = np.asarray(draw(random.key(2024))).astype(float)
    assert max(standardised(draws, distribution.mean(), distribution.var())) < 4
    assert stats.kstest(draws, distribution.cdf).pvalue > 1e-3


# Truncated normal numbers.


@given(seeds, st.floats(-37, 37), st.floats(0.01, 80), st.sampled_from(FLOATS))
def test_truncated_normals_stay_within_their_bounds(seed, lower, width, dtype):
    low = np.array(lower, dtype)
    high = np.maximum(np.array(lower + width, dtype), np.nextafter(low, np.array(INF, dtype)))
    drawn = np.asarray(random.truncated_normal(random.key(seed), low, high, (50,), dtype))
    assert drawn.dtype == dtype
    assert ((low <= drawn) & (drawn <= high)).all()


@pytest.mark.parametrize(
    ("low", "high"), [(-2, 2), (-INF, INF), (-INF, -3), (4, INF), (0, 0.001), (-30, -29), (29, 31)]
)
def test_truncated_normals_are_the_quantiles(low, high):
    words = words_of(6, 200)
    unit = np.array([(word >> 12) + 0.5 for word in words]) / 2**52
    drawn = np.asarray(random.truncated_normal(random.key(6), low, high, (200,)))
    if low > 0:
        start, end = special.ndtr(-high), special.ndtr(-low)
        expected = -special.ndtri(start + (1 - unit) * (end - start))
    else:
        start, end = special.ndtr(low), special.ndtr(high)
        expected = special.ndtri(start + unit * (end - start))
    # The quantile itself magnifies the rounding of a probability near 1/2 or 1.
    np.testing.assert_allclose(drawn, expected, rtol=2e-14, atol=1e-13)


def test_truncated_normals_never_reach_an_infinite_bound():
    from fgrad.ops.distributions import truncated_normal_p

    extremes = np.array([0, 2**64 - 1], np.uint64)
    for low, high in ((-INF, INF), (-1.0, INF), (-INF, 1.0), (-INF, -37.0), (37.0, INF)):
        drawn = truncated_normal_p.evaluate(extremes, low, high, dtype=np.dtype(float))
        assert np.isfinite(drawn).all()
        assert (drawn >= low).all()
        assert (drawn <= high).all()


def test_truncated_normal_takes_the_shape_of_its_bounds():
    drawn = random.truncated_normal(random.key(0), fg.asarray([-1.0, 0.0]), fg.asarray([[1.0], [2.0], [3.0]]))
    assert drawn.shape == (3, 2)
    with pytest.raises(
        ValueError, match=r"truncated_normal: parameters of shapes \(2,\) and \(3,\) cannot be broadcast"
    ):
        random.truncated_normal(random.key(0), np.zeros(2), np.ones(3))


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ((1.0, 1.0), "lower must be below upper"),
        ((NAN, 1.0), "lower must be below upper"),
        ((38.5, 40.0), "so far out in a tail"),
        ((-INF, -39.0), "so far out in a tail"),
        ((1j, 2.0), "lower must be real"),
    ],
)
def test_truncated_normal_refuses_bounds(bounds, message):
    with pytest.raises((ValueError, TypeError), match=rf"\[truncated_normal\] on .*{message}"):
        random.truncated_normal(random.key(0), *bounds)


# Derivatives.


def test_gradients_by_the_bounds():
    low, high = fg.asarray([-1.0, 0.5]), fg.asarray([[2.0], [0.75]])
    check_grads(lambda a, b: random.uniform(random.key(0), (2, 2), np.float64, a, b), (low, high), order=2)
    check_grads(lambda a, b: random.truncated_normal(random.key(0), a, b, (2, 2)), (low, high), order=2)
    check_grads(lambda a: random.truncated_normal(random.key(0), a, INF, (20,)), (3.0,), order=2)
    check_grads(lambda b: random.truncated_normal(random.key(0), -INF, b, (20,)), (fg.asarray(-4.0),), order=2)
    check_grads(lambda m, s: m + s * random.normal(random.key(0), (5,)), (0.5, fg.asarray([1.0])), order=2)


def test_gradients_have_the_dtypes_of_the_bounds():
    def loss(bounds):
        return fg.sum(random.uniform(random.key(0), (4,), "float32", bounds["low"], bounds["high"]))

    low, high = fg.asarray([0.0], "float64"), fg.asarray(2.0, "float32")
    grads = fg.grad(loss)({"low": low, "high": high})
    unit = np.asarray(random.uniform(random.key(0), (4,), "float32"))
    assert (grads["low"].dtype, grads["high"].dtype) == (np.float64, np.float32)
    assert grads["high"].item() == pytest.approx(unit.sum(), rel=1e-6)
    assert grads["low"].shape == (1,)
    assert grads["low"].item() == pytest.approx((1 - unit).sum(), rel=1e-6)


def test_gradients_pass_through_shuffling_and_choosing():
    x = fg.asarray([1.0, 2.0, 3.0, 4.0])
    weights = fg.asarray([1.0, 10.0, 100.0, 1000.0])
    order = random.permutation(random.key(9), 4).tolist()
    gradient = fg.grad(lambda x: fg.sum(weights * random.permutation(random.key(9), x)))(x)
    assert gradient.tolist() == [weights.tolist()[order.index(i)] for i in range(4)]
    check_grads(lambda x: random.permutation(random.key(3), x * x, axis=1, independent=True), (x.reshape(2, 2),))
    check_grads(lambda x: random.choice(random.key(3), x * x, (6,), p=[0.1, 0.2, 0.3, 0.4]), (x,))


def test_decisions_have_no_gradient():
    assert fg.grad(lambda p: fg.sum(random.bernoulli(random.key(0), p, (5,)) * 2.0) * p)(0.5).item() in range(0, 11, 2)
    graph = fg.grad(
        lambda p: fg.sum(random.choice(random.key(0), fg.asarray([1.0, 2.0]), (3,), p=fg.stack([p, 1 - p])))
    )
    assert graph(0.25).item() == 0.0


# Integers.


def exact_integer(word, low, high):
    """What randint documents, in exact arithmetic: word is one of 64 bits, or a pair that makes one of 128."""
    bits = 64 if high - low <= 2**24 else 128
    value = word[0] if bits == 64 else (word[0] << 64) + word[1]
    return low + (value * (high - low) >> bits)


@given(seeds, st.data())
def test_integers_are_scaled_exactly(seed, data):
    dtype = data.draw(st.sampled_from([f"{kind}{size}" for kind in ("int", "uint") for size in (8, 16, 32, 64)]))
    info = np.iinfo(dtype)
    low = data.draw(st.integers(info.min, info.max))
    high = data.draw(st.integers(low + 1, info.max + 1))
    words = words_of(seed, 10)
    drawn = random.randint(random.key(seed), (5,), low, high, dtype)
    assert drawn.dtype == dtype
    assert drawn.tolist() == [exact_integer((words[i], words[5 + i]), low, high) for i in range(5)]


@pytest.mark.parametrize(
    "span", [1, 2, 2**24 - 1, 2**24, 2**24 + 1, 2**32 - 1, 2**32, 2**32 + 1, 2**63, 2**64 - 1, 2**64]
)
def test_integers_at_the_seams_of_the_formulas(span):
    words = words_of(span, 400)
    for low in {0, 2**64 - span}:
        drawn = random.randint(random.key(span), (200,), low, low + span, "uint64").tolist()
        assert drawn == [exact_integer((words[i], words[200 + i]), low, low + span) for i in range(200)]


@given(seeds, st.data())
def test_integers_between_arrays_are_those_between_numbers(seed, data):
    # Narrow, wide and full ranges side by side, in dtypes that are not the result's.
    lows = data.draw(st.lists(st.integers(-(2**63), 2**63 - 2), min_size=4, max_size=4))
    highs = [data.draw(st.integers(low + 1, min(low + 2 ** data.draw(st.integers(1, 64)), 2**63 - 1))) for low in lows]
    pairs = list(zip(lows, highs, strict=True))
    words = words_of(seed, 8)
    low, high = (fg.asarray(np.array(bounds, "int64")) for bounds in zip(*pairs, strict=True))
    drawn = random.randint(random.key(seed), (4,), low, high)
    assert drawn.tolist() == [exact_integer((words[i], words[4 + i]), *pairs[i]) for i in range(4)]
    positive = [(0, high - low) for low, high in pairs]
    ends = fg.asarray(np.array([high for _, high in positive], "uint64"))
    drawn = random.randint(random.key(seed), (4,), np.array(0, "int8"), ends, "uint64")
    assert drawn.tolist() == [exact_integer((words[i], words[4 + i]), *positive[i]) for i in range(4)]


def test_integers_may_end_at_the_end_of_the_dtype():
    for dtype in ("int8", "uint8", "int64", "uint64"):
        info = np.iinfo(dtype)
        for low in (info.max, np.array(info.max, dtype)):
            assert random.randint(random.key(0), (2,), low, info.max + 1, dtype).tolist() == [info.max] * 2
        assert random.randint(random.key(0), (), np.array(info.min, dtype), info.min + 1, dtype).item() == info.min


@pytest.mark.parametrize(
    ("low", "high", "cells"), [(0, 10, 10), (-3, 3, 6), (0, 1000, 100), (-(2**62), 2**63, 96), (-(2**63), 2**63, 64)]
)
def test_integers_are_evenly_spread(low, high, cells):
    drawn = [x - low for x in random.randint(random.key(77), (100_000,), low, high, "int64").tolist()]
    counts = np.bincount([x * cells // (high - low) for x in drawn], minlength=cells)
    assert len(counts) == cells
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, 5), "minval must be below maxval"),
        ((5, 4), "minval must be below maxval"),
        ((fg.asarray([0, 5]), 5), "minval must be below maxval"),
        ((0, 257, "uint8"), "uint8 holds integers from 0 to 255, not all from 0 to 256"),
        ((-1, 5, "uint64"), "uint64 holds integers from 0 to 18446744073709551615, not all from -1 to 4"),
        ((0, fg.asarray([5, 300]), "int8"), "int8 holds integers from -128 to 127, not all from 0 to 299"),
        ((fg.asarray([300, 0]), 100, "int8"), "minval must be below maxval"),
        ((0, fg.asarray([-300, 9]), "int8"), "minval must be below maxval"),
        ((0.0, 5), "minval must be integers, not dtype float64"),
        ((0, fg.asarray([5.0])), "maxval must be integers, not dtype float64"),
        ((True, 5), "minval must be integers, not dtype bool"),
        ((np.zeros(3, int), 5), r"minval of shape \(3,\) does not broadcast to the shape \(2,\) of the draw"),
    ],
)
def test_randint_refuses_bounds(arguments, message):
    with pytest.raises((ValueError, TypeError), match=rf"\[randint\] on .*{message}"):
        random.randint(random.key(0), (2,), *arguments)


# Decisions, masks.


@given(seeds, st.floats(0, 1))
def test_bernoulli_compares_uniforms(seed, p):
    expected = [u < p for u in random.uniform(random.key(seed), (20,)).tolist()]
    assert random.bernoulli(random.key(seed), p, (20,)).tolist() == expected


def test_bernoulli_is_certain_at_the_ends():
    assert not np.asarray(random.bernoulli(random.key(0), 0.0, (1000,))).any()
    assert np.asarray(random.bernoulli(random.key(0), 1, (1000,))).all()
    assert random.bernoulli(random.key(0)).dtype == bool
    assert random.bernoulli(random.key(0), fg.asarray([0.1, 0.2], "float32")).shape == (2,)
    for p in (-0.1, 1.1, NAN, fg.asarray([0.5, 2.0])):
        with pytest.raises(ValueError, match=r"\[bernoulli\] on .*p is a probability, from 0 to 1"):
            random.bernoulli(random.key(0), p)
    with pytest.raises(TypeError, match="p must be real"):
        random.bernoulli(random.key(0), 0.5j)


@given(seeds, st.floats(0, 1))
def test_dropout_masks_compare_16_bits(seed, keep):
    mask, probability = random.dropout_mask(random.key(seed), keep, (3, 7))
    assert type(probability) is float
    assert abs(probability - keep) <= 2**-17 or (probability == 2**-16 and 0 < keep < 2**-17)
    assert (mask.dtype, mask.shape) == (bool, (3, 7))
    bits = words_of(seed, 21, "uint16")
    assert np.asarray(mask).ravel().tolist() == [word < probability * 65536 for word in bits]


def test_dropout_masks_at_the_ends():
    for keep in (0.0, 1.0, 0, 1):
        mask, probability = random.dropout_mask(random.key(0), keep, 1000)
        assert probability == keep
        assert set(mask.tolist()) == {bool(keep)}
    assert random.dropout_mask(random.key(0), 1e-9, ())[1] == 2**-16
    assert random.dropout_mask(random.key(0), 1 - 1e-9, ())[1] == 1.0
    for keep in (-0.1, 1.5, NAN):
        with pytest.raises(ValueError, match=r"random\.dropout_mask takes a probability from 0 to 1, not"):
            random.dropout_mask(random.key(0), keep, ())


def test_dropout_masks_keep_what_they_promise():
    mask, probability = random.dropout_mask(random.key(5), 0.9, (500, 400))
    assert abs(np.asarray(mask).mean() - probability) < 4 * math.sqrt(0.09 / 200_000)


# Orders and choices.


@given(seeds, st.integers(0, 50))
def test_permutations_sort_random_words(seed, count):
    words = words_of(seed, count)
    expected = sorted(range(count), key=words.__getitem__)
    drawn = random.permutation(random.key(seed), count)
    assert drawn.dtype == np.int64
    assert drawn.tolist() == expected
    array = np.arange(2.0 * count).reshape(count, 2)
    if count:
        np.testing.assert_array_equal(np.asarray(random.permutation(random.key(seed), array)), array[expected])
        along_the_last = random.permutation(random.key(seed), array.T, axis=-1)
        np.testing.assert_array_equal(np.asarray(along_the_last), array[expected].T)


def test_independent_permutations():
    x = np.tile(np.arange(6), (200, 1))
    drawn = np.asarray(random.permutation(random.key(0), x, axis=1, independent=True))
    np.testing.assert_array_equal(np.sort(drawn, 1), x)
    assert len({tuple(row) for row in drawn.tolist()}) > 100
    together = np.asarray(random.permutation(random.key(0), x, axis=1))
    assert len({tuple(row) for row in together.tolist()}) == 1


def test_every_order_is_as_likely():
    drawn = [tuple(random.permutation(random.fold_in(random.key(1), i), 3).tolist()) for i in range(1200)]
    counts = [drawn.count(order) for order in sorted(set(drawn))]
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 1e-3


def test_choices():
    letters = fg.asarray([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    for axis in (1, -1):
        drawn = np.asarray(random.choice(random.key(0), letters, (2, 5), axis=axis))
        assert drawn.shape == (2, 2, 5)
        np.testing.assert_array_equal(drawn[1], drawn[0] + 3)
    assert random.choice(random.key(0), 5).shape == ()
    assert random.choice(random.key(0), [7, 7, 7], 2).tolist() == [7, 7]
    assert sorted(random.choice(random.key(0), 5, (5,), replace=False).tolist()) == [0, 1, 2, 3, 4]
    assert len(set(random.choice(random.key(0), 100, (10, 3), replace=False).reshape(-1).tolist())) == 30
    assert random.choice(random.key(0), 0, (0,)).shape == (0,)


@pytest.mark.parametrize("dtype", FLOATS)
def test_choices_by_probability(dtype):
    p = np.array([0.0, 0.5, 0.0, 0.125, 0.375, 0.0], dtype)
    drawn = np.asarray(random.choice(random.key(8), 6, (20_000,), p=p))
    counts = np.bincount(drawn, minlength=6)
    assert counts[p == 0].tolist() == [0, 0, 0]
    assert stats.chisquare(counts[p > 0], 20_000 * p[p > 0].astype(float)).pvalue > 1e-3
    assert random.choice(random.key(0), 4, (9,), p=[0, 0, 1, 0]).tolist() == [2] * 9


def test_an_entry_of_probability_zero_is_not_chosen_by_the_number_zero(monkeypatch):
    from fgrad.ops import distributions

    monkeypatch.setattr(distributions, "draw_bits", lambda words, shape, dtype: fg.zeros(shape, dtype))
    assert random.choice(random.key(0), 3, (2,), p=[0.0, 0.0, 1.0]).tolist() == [2, 2]


def test_choices_by_probability_without_replacement():
    # The chance of the ordered pair (i, j) is p_i p_j / (1 - p_i).
    p = [0.5, 0.3, 0.2]
    drawn = [
        tuple(random.choice(random.fold_in(random.key(2), i), 3, (2,), replace=False, p=p).tolist())
        for i in range(3000)
    ]
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    expected = [3000 * p[i] * p[j] / (1 - p[i]) for i, j in pairs]
    assert stats.chisquare([drawn.count(pair) for pair in pairs], expected).pvalue > 1e-3
    sure = random.choice(random.key(0), 4, (2,), replace=False, p=[0.0, 0.9, 0.0, 0.1])
    assert sorted(sure.tolist()) == [1, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, (1,)), "random.choice cannot choose 1 entries: there are none to choose from"),
        ((np.zeros((0, 2)), (1,)), "there are none to choose from"),
        ((3, (4,), False), "random.choice cannot choose 4 different entries of 3; with replace=True they may repeat"),
        ((2, (), True, [0.5, 0.6]), r"\[choice\] on .*p sums to 1.1, not to 1"),
        ((2, (), True, [1.5, -0.5]), r"\[choice\] on .*p has negative entries, or NaN"),
        ((2, (), True, [1.0, NAN]), r"\[choice\] on .*p has negative entries, or NaN"),
        ((2, (), True, [1.0]), r"p needs shape \(2,\), one probability for each of the choices, and has shape \(1,\)"),
        ((2, (), True, 0.5), r"p needs shape \(2,\)"),
        ((2, (), True, [1.0, 0.0j]), "p must be real"),
        ((3, (2,), False, [1.0, 0.0, 0.0]), "p has 1 positive entries, and 2 different ones are to be chosen"),
        ((2.5,), "random.choice takes an integer or an array of at least one axis, not a float: 2.5"),
        ((-2,), "and a negative one is none: -2"),
        ((np.zeros(3), (), True, None, 1), "axis 1 is out of bounds"),
    ],
)
def test_choice_refuses(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        random.choice(random.key(0), *arguments)


def test_probabilities_sum_to_one_in_their_own_precision():
    p32 = np.full(1000, 1 / 1000, np.float32)
    assert 0 <= random.choice(random.key(0), 1000, p=p32).item() < 1000
    with pytest.raises(ValueError, match=r"p sums to 1\.0000"):
        random.choice(random.key(0), 2, p=[0.5, 0.500001])


@pytest.mark.parametrize("x", [2.5, None, "abc"])
def test_permutation_refuses(x):
    with pytest.raises(TypeError):
        random.permutation(random.key(0), x)


def test_dtypes_are_checked():
    key = random.key(0)
    with pytest.raises(TypeError, match=r"random\.normal draws float16, float32 or float64, not int64\n  at .*normal"):
        random.normal(key, (2,), int)
    with pytest.raises(TypeError, match=r"random\.uniform draws float16, float32 or float64, not complex128"):
        random.uniform(key, (2,), complex)
    with pytest.raises(TypeError, match=r"random\.bits draws uint8, uint16, uint32 or uint64, not int32"):
        random.bits(key, (2,), "int32")
    with pytest.raises(TypeError, match=r"random\.randint draws integers, not float64; random\.uniform draws floats"):
        random.randint(key, (2,), 0, 5, float)


# Independence.


def test_children_are_uncorrelated():
    key = random.key(31)
    rows = [random.normal(child, (4000,)) for child in random.split(key, 8)]
    rows += [random.normal(random.fold_in(key, i), (4000,)) for i in range(8)]
    rows += [random.normal(random.key(seed), (4000,)) for seed in range(8)]
    correlations = np.corrcoef(np.array(rows)) - np.eye(24)
    assert np.abs(correlations).max() < 5 / math.sqrt(4000)
    shifted = [np.corrcoef(np.asarray(rows[0])[lag:], np.asarray(rows[0])[:-lag])[0, 1] for lag in range(1, 20)]
    assert np.abs(shifted).max() < 4 / math.sqrt(4000)


def test_bits_are_balanced():
    words = np.asarray(random.bits(random.key(13), (20_000,)))
    ones = np.array([((words >> np.uint64(bit)) & np.uint64(1)).sum().item() for bit in range(64)])
    assert np.abs(ones - 10_000).max() < 4.5 * math.sqrt(5_000)
