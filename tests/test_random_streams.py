"""Keys and their streams: what a key gives is fixed for good, and the same wherever it is asked for.

The golden numbers may never change. They are checked against Philox written out in Python, too.
"""

import copy
import math
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fgrad as fg
from fgrad import random
from fgrad.ops.random_bits import DRAWS, FOLDED, SEEDS, SPLIT, philox_words

MASK = 2**64 - 1
SEED = 0x0123456789ABCDEFFEDCBA9876543210
WORDS = (0xFEDCBA9876543210, 0x0123456789ABCDEF)
INF = math.inf


def philox(counter, key):
    """Philox4x64-10 as its paper defines it (Salmon et al. 2011), on Python's integers."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * c0, 0xCA5A826395121157 * c2
        c0, c1, c2, c3 = (second >> 64) ^ c1 ^ k0, second & MASK, (first >> 64) ^ c3 ^ k1, first & MASK
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return [c0, c1, c2, c3]


def stream(key, domain, count, start=0):
    """The words of a stream: the blocks at the counters start + 1, start + 2, ..., with the domain on top."""
    words = []
    while len(words) < count:
        start = (start + 1) & (2**192 - 1)
        words += philox((start & MASK, start >> 64 & MASK, start >> 128, domain), key)
    return words[:count]


def golden_key():
    return random.key(SEED)


def ulps(x, y):
    """How many numbers of their dtype lie between x and y."""
    kind = {2: np.int16, 4: np.int32, 8: np.int64}[x.dtype.itemsize]
    ordered = [np.where(a.view(kind) < 0, np.iinfo(kind).min - a.view(kind), a.view(kind)) for a in (x, y)]
    return np.abs(ordered[0] - ordered[1])


def test_the_reference_gives_the_published_known_answers():
    # Random123, kat_vectors: philox4x64, 10 rounds.
    zeros = [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    ones = [0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0]
    assert philox([0] * 4, [0] * 2) == zeros
    assert philox([MASK] * 4, [MASK] * 2) == ones


@given(
    st.tuples(st.integers(0, MASK), st.integers(0, MASK)), st.integers(0, 9), st.integers(0, 3), st.integers(0, MASK)
)
def test_streams_are_the_blocks_of_the_reference(key, count, domain, start):
    assert philox_words(list(key), count, domain, start).tolist() == stream(key, domain, count, start)


# Golden numbers.


def test_golden_keys():
    assert random.key(0).words.tolist() == [0, 0]
    assert random.key(42).words.tolist() == [42, 0]
    assert random.key(2**64 - 1).words.tolist() == [MASK, 0]
    assert golden_key().words.tolist() == list(WORDS)
    assert random.key(1 << 200).words.tolist() == [5581385118230912404, 13352539240725692130]
    assert random.split(golden_key(), 3).words.tolist() == [
        [9061246194320339725, 5155815348466925895],
        [4145079234804799901, 9311245039219119054],
        [10548396747034898195, 5070299365593923721],
    ]
    assert random.fold_in(golden_key(), 7).words.tolist() == [10231481384776637792, 2141173862014022860]
    assert random.fold_in(golden_key(), MASK).words.tolist() == [18432914870901364572, 4124586611291385831]


def test_large_seeds_are_folded_by_64_bits():
    words = (3, 9)
    for limb in (7, 5):
        words = tuple(stream(words, SEEDS, 2, limb))
    assert random.key((5 << 192) + (7 << 128) + (9 << 64) + 3).words.tolist() == list(words)


GOLDEN_INTEGERS = {
    "bits": (
        lambda key: random.bits(key, (5,)),
        [5377138790426312260, 13516482618556681533, 12365056258449691161, 8734471196405456682, 6819451634207212921],
    ),
    "bits32": (
        lambda key: random.bits(key, (4,), np.uint32),
        [2538962500, 1251962685, 63966525, 3147051348],
    ),
    "bits16": (lambda key: random.bits(key, (5,), np.uint16), [32324, 38741, 28477, 19103, 3389]),
    "bits8": (lambda key: random.bits(key, (9,), np.uint8), [68, 126, 85, 151, 61, 111, 159, 74, 61]),
    "randint": (lambda key: random.randint(key, (8,), 0, 10), [2, 7, 6, 4, 3, 5, 6, 9]),
    "randint8": (lambda key: random.randint(key, (8,), -128, 128, np.int8), [-54, 59, 43, -7, -34, 9, 29, 127]),
    "randint, wide": (
        lambda key: random.randint(key, (4,), -(10**15), 10**15),
        [-417009444166372, 465459981940171, 340622085831663, -53006735334515],
    ),
    "randint, all of int64": (
        lambda key: random.randint(key, (4,), -(2**63), 2**63),
        [-3846233246428463548, 4293110581701905725, 3141684221594915353, -488900840449319126],
    ),
    "randint, all of uint64": (
        lambda key: random.randint(key, (2,), 0, 2**64, np.uint64),
        [5377138790426312260, 13516482618556681533],
    ),
    "permutation": (lambda key: random.permutation(key, 10), [0, 4, 3, 5, 6, 9, 2, 1, 8, 7]),
    "choice": (lambda key: random.choice(key, 10, (5,)), [2, 7, 6, 4, 3]),
    "choice, different": (lambda key: random.choice(key, 10, (5,), replace=False), [0, 4, 3, 5, 6]),
    "choice, p": (lambda key: random.choice(key, 4, (8,), p=[0.1, 0.2, 0.3, 0.4]), [1, 3, 3, 2, 2, 2, 3, 3]),
    "choice, different, p": (
        lambda key: random.choice(key, 4, (3,), replace=False, p=[0.1, 0.2, 0.3, 0.4]),
        [2, 1, 3],
    ),
    "bernoulli": (lambda key: random.bernoulli(key, 0.3, (4,)), [True, False, False, False]),
    "dropout_mask": (
        lambda key: random.dropout_mask(key, 0.5, (8,))[0],
        [True, False, True, True, True, True, True, False],
    ),
}

GOLDEN_UNIFORMS = {
    ("float64", 0.0, 1.0): ["0x1.2a7dbcf65d55ep-2", "0x1.772862a807a01p-1", "0x1.5733024ef13aap-1"],
    ("float64", -3.0, 7.0): ["-0x1.5c5a79816a940p-4", "0x1.14f27b5209881p+2", "0x1.d9ff85c55b128p+1"],
    ("float32", 0.0, 1.0): ["0x1.2eaafcp-1", "0x1.2a7dbcp-2", "0x1.e8068p-7"],
    ("float32", -3.0, 7.0): ["0x1.74ab78p+1", "-0x1.5c5a8p-4", "-0x1.6cefcp+1"],
    ("float16", 0.0, 1.0): ["0x1.f9p-2", "0x1.2e8p-1", "0x1.bc8p-2"],
    ("float16", -3.0, 7.0): ["0x1.eep+0", "0x1.74p+1", "0x1.57p+0"],
}

GOLDEN_NORMALS = {
    "float64": [
        "0x1.9f8cb7badc5f5p-1",
        "-0x1.75b3980a65746p-1",
        "-0x1.e7e7558b26144p-1",
        "0x1.ef5361a4ac13ep+0",
        "0x1.1ff91cc1d2f23p+0",
        "-0x1.cd529daa1aca1p+0",
        "-0x1.32c05125abf17p+0",
        "-0x1.53e0fdcd7e302p-13",
    ],
    "float32": ["-0x1.556e7ep+0", "0x1.9f8cb8p-1", "0x1.31e55cp-5", "-0x1.75b398p-1", "0x1.e5e1e6p+0"],
    "float16": ["-0x1.558p+0", "0x1.9f8p-1", "0x1.32p-5", "-0x1.75cp-1", "0x1.e6p+0"],
}

GOLDEN_TRUNCATED = {
    "float64": ["0x1.36bcfd26623dfp+0", "0x1.b933df87e68b4p+0", "0x1.9f757578f5ad6p+0"],
    "float32": ["0x1.83e14p+0", "0x1.36bcfep+0", "0x1.028322p+0"],
    "float16": ["0x1.84p+0", "0x1.36cp+0", "0x1.028p+0"],
}


@pytest.mark.parametrize("name", GOLDEN_INTEGERS)
def test_golden_integers_to_the_bit(name):
    draw, expected = GOLDEN_INTEGERS[name]
    assert draw(golden_key()).tolist() == expected


@pytest.mark.parametrize(("dtype", "low", "high"), GOLDEN_UNIFORMS)
def test_golden_uniforms_to_the_bit(dtype, low, high):
    expected = np.array([float.fromhex(text) for text in GOLDEN_UNIFORMS[dtype, low, high]], dtype)
    found = random.uniform(golden_key(), (3,), dtype, low, high)
    assert found.dtype == dtype
    np.testing.assert_array_equal(np.asarray(found), expected)


@pytest.mark.parametrize("dtype", GOLDEN_NORMALS)
def test_golden_normals_to_two_units_in_the_last_place(dtype):
    for found, texts in (
        (random.normal(golden_key(), (len(GOLDEN_NORMALS[dtype]),), dtype), GOLDEN_NORMALS[dtype]),
        (random.truncated_normal(golden_key(), 1.0, INF, (3,), dtype), GOLDEN_TRUNCATED[dtype]),
    ):
        assert found.dtype == dtype
        expected = np.array([float.fromhex(text) for text in texts], dtype)
        assert ulps(np.asarray(found), expected).max() <= 2


# The streams in terms of the reference.


@given(st.integers(0, 2**128 - 1), st.integers(0, 5))
def test_bits_are_the_words_and_their_little_endian_parts(seed, count):
    words = stream((seed & MASK, seed >> 64), DRAWS, count)
    assert random.bits(random.key(seed), (count,)).tolist() == words
    packed = b"".join(word.to_bytes(8, "little") for word in words)
    for size in (1, 2, 4):
        parts = [int.from_bytes(packed[i : i + size], "little") for i in range(0, len(packed), size)]
        assert random.bits(random.key(seed), (8 // size * count,), f"u{size}").tolist() == parts


@given(st.integers(0, 2**128 - 1), st.integers(0, MASK))
def test_children_are_words_of_their_own_streams(seed, number):
    words = (seed & MASK, seed >> 64)
    children = stream(words, SPLIT, 10)
    assert random.split(random.key(seed), 5).words.tolist() == [children[i : i + 2] for i in range(0, 10, 2)]
    assert random.fold_in(random.key(seed), number).words.tolist() == stream(words, FOLDED, 2, number)


def test_a_longer_array_of_keys_starts_with_the_shorter_one():
    longer = random.split(random.key(5), (2, 3))
    assert longer.shape == (2, 3)
    assert np.asarray(longer.words).reshape(6, 2)[:4].tolist() == random.split(random.key(5), 4).words.tolist()


def test_large_draws_are_the_small_ones_continued():
    # More than one block of the kernels.
    for draw in (random.uniform, random.normal):
        for dtype in (np.float32, np.float64):
            large = np.asarray(draw(random.key(3), (3, 20_000), dtype)).ravel()
            np.testing.assert_array_equal(np.asarray(draw(random.key(3), (7,), dtype)), large[:7])
            np.testing.assert_array_equal(np.asarray(draw(random.key(3), (20_001,), dtype)), large[:20_001])


def test_fold_in_takes_tensors_and_arrays_of_keys():
    key = random.key(11)
    one_by_one = [random.fold_in(key, i).words.tolist() for i in (3, 0, 2)]
    for dtype in ("int8", "uint8", "int64", "uint64"):
        folded = random.fold_in(key, fg.asarray([3, 0, 2], dtype))
        assert folded.shape == (3,)
        assert folded.words.tolist() == one_by_one
    assert random.fold_in(key, np.int16(3)).words.tolist() == one_by_one[0]
    assert random.fold_in(key, fg.asarray(3)).words.tolist() == one_by_one[0]
    assert random.fold_in(key, [3, 0, 2]).words.tolist() == one_by_one
    keys = random.split(random.key(12), 2)
    assert random.fold_in(keys, 5).words.tolist() == [random.fold_in(child, 5).words.tolist() for child in keys]
    grid = random.fold_in(keys, fg.asarray([[1], [2], [3]]))
    assert grid.shape == (3, 2)
    assert grid[2, 1].words.tolist() == random.fold_in(keys[1], 3).words.tolist()
    assert random.fold_in(key, fg.asarray([], "int64")).shape == (0,)


def test_all_keys_that_come_from_one_are_different():
    key = random.key(0)
    words = [tuple(child) for child in random.split(key, 1000).words.tolist()]
    words += [tuple(child) for child in random.fold_in(key, fg.arange(1000)).words.tolist()]
    words += [tuple(random.key(seed).words.tolist()) for seed in range(1000)]
    draws = random.bits(random.fold_in(key, 2000), (2000,)).tolist()
    assert len({*words}) == 3000
    assert len({*draws}) == 2000


# The same everywhere.

DRAWS_OF_A_KEY = {
    **{name: draw for name, (draw, _) in GOLDEN_INTEGERS.items()},
    "split": lambda key: random.split(key, 3).words,
    "split and draw": lambda key: random.normal(random.split(key)[1], (2,)),
    "fold_in": lambda key: random.fold_in(key, 2**64 - 1).words,
    "fold_in, tensor": lambda key: random.fold_in(key, fg.asarray([1, 2])).words,
    "uniform": lambda key: random.uniform(key, (2, 3)),
    "uniform, scalar": lambda key: random.uniform(key, (), np.float32),
    "uniform, bounds": lambda key: random.uniform(key, (2, 3), np.float32, fg.asarray([-1.0, 0.0, 5.0]), 10),
    "uniform, empty": lambda key: random.uniform(key, (0, 3), np.float16),
    "normal": lambda key: random.normal(key, (40_000,)),
    "normal, scalar": lambda key: random.normal(key, dtype="float32"),
    "normal, empty": lambda key: random.normal(key, (2, 0)),
    "truncated_normal": lambda key: random.truncated_normal(key, -1.0, fg.asarray([0.5, 2.0])),
    "truncated_normal, empty": lambda key: random.truncated_normal(key, -1.0, 2.0, (0,)),
    "bernoulli, array": lambda key: random.bernoulli(key, fg.asarray([0.0, 0.5, 1.0])),
    "bernoulli, empty": lambda key: random.bernoulli(key, shape=(0,)),
    "dropout_mask, all": lambda key: random.dropout_mask(key, 1.0, (5,))[0],
    "randint, arrays": lambda key: random.randint(key, (2, 3), fg.asarray([0, -5, 2]), fg.asarray([1, 10**12, 9])),
    "randint, scalar": lambda key: random.randint(key, (), -(2**40), 2**40),
    "randint, empty": lambda key: random.randint(key, (0,), 0, 5),
    "permutation, array": lambda key: random.permutation(key, fg.arange(12.0).reshape(3, 4), axis=1),
    "permutation, independent": lambda key: random.permutation(key, fg.arange(12.0).reshape(3, 4), independent=True),
    "permutation, empty": lambda key: random.permutation(key, 0),
    "choice, array": lambda key: random.choice(key, fg.arange(12.0).reshape(3, 4), (2, 2), axis=-1),
    "choice, empty": lambda key: random.choice(key, 5, (0,)),
}


@pytest.mark.parametrize("name", DRAWS_OF_A_KEY)
def test_a_graph_gives_what_eager_mode_gives(name):
    draw = DRAWS_OF_A_KEY[name]
    eager = draw(random.key(17))
    of_argument = fg.make_graph(draw)(random.key(1))
    of_argument.check()
    assert fg.tree.equal(of_argument(random.key(17)), eager)
    held = random.key(17)
    of_constant = fg.make_graph(lambda: draw(held))()
    assert of_constant.equations, "a draw from a concrete key is recorded too"
    assert fg.tree.equal(of_constant(), eager)


def test_the_same_key_gives_the_same_numbers_after_copying_and_pickling():
    key = random.split(random.key(4))[1]
    for other in (copy.copy(key), copy.deepcopy(key), pickle.loads(pickle.dumps(key))):
        assert fg.tree.equal(random.normal(other, (3,)), random.normal(key, (3,)))


def test_a_draw_leaves_nothing_behind_for_the_next_one():
    # NumPy's generator buffers a block and half a word: neither may leak from one draw into another.
    alone = random.bits(random.key(1), (4,)).tolist()
    for count, dtype in ((1, np.uint64), (3, np.uint64), (1, np.uint8), (7, np.uint16), (3, np.uint32)):
        random.bits(random.key(2), (count,), dtype)
        assert random.bits(random.key(1), (4,)).tolist() == alone


def test_threads_draw_what_one_thread_draws():
    expected = [random.normal(random.key(seed), (500,)).tolist() for seed in range(16)]
    wrong = []
    start = threading.Barrier(8)

    def work(first):
        start.wait()
        for round_ in range(20):
            seed = (first + round_) % 16
            if random.normal(random.key(seed), (500,)).tolist() != expected[seed]:
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_importing_loads_no_generator_of_numpys():
    loaded = "'numpy.random' in sys.modules"
    code = f"import sys, numpy; before = {loaded}; import fgrad; print(before, {loaded})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = run.stdout.split()
    assert after == before


# Keys as values.


def test_keys_are_opaque_leaves():
    key = random.key(3)
    keys = random.split(key, 4)
    assert fg.tree.leaves({"key": key, "keys": keys}) == [key, keys]
    assert repr(key) == "Key([3, 0])"
    assert keys.shape == (4,)
    assert len(keys) == 4
    assert fg.tree.equal(keys[1], list(keys)[1])
    assert keys[1:3].shape == (2,)
    assert isinstance(key, random.Key)
    graph = fg.make_graph(lambda key: random.split(key, 2))(key)
    assert fg.tree.equal(graph(key), random.split(random.key(3)))


@pytest.mark.parametrize("seed", [1.0, "1", None, fg.asarray(1.5), np.float32(2)])
def test_seeds_that_are_no_integers(seed):
    with pytest.raises(TypeError, match=r"random.key takes an integer seed, not a \w+"):
        random.key(seed)


def test_seeds_may_be_any_integer():
    for seed in (5, np.int8(5), np.uint64(5), fg.asarray(5), np.array(5)):
        assert random.key(seed).words.tolist() == [5, 0]
    with pytest.raises(
        ValueError, match=r"random.key takes an integer seed, and a negative one is none: -1\n  at .*key"
    ):
        random.key(-1)
    with pytest.raises(fg.errors.TracerConversionError):
        fg.make_graph(random.key)(3)


DRAWING = {
    "split": random.split,
    "bits": random.bits,
    "uniform": random.uniform,
    "normal": random.normal,
    "truncated_normal": lambda key: random.truncated_normal(key, -1.0, 1.0),
    "bernoulli": random.bernoulli,
    "dropout_mask": lambda key: random.dropout_mask(key, 0.5, ()),
    "randint": lambda key: random.randint(key, (), 0, 5),
    "permutation": lambda key: random.permutation(key, 5),
    "choice": lambda key: random.choice(key, 5),
}


@pytest.mark.parametrize("name", DRAWING)
def test_draws_refuse_what_is_no_single_key(name):
    keys = random.split(random.key(0), 3)
    with pytest.raises(
        ValueError,
        match=rf"random.{name} takes one key, and this is an array of keys of shape \(3,\): take .* \(keys\[0\]\), "
        rf"or draw with each of them: fg\.vmap\(lambda key: random\.{name}\(key, \.\.\.\)\)\(keys\)",
    ):
        DRAWING[name](keys)
    wrong_ones = {
        "an int": 0,
        "a NoneType": None,
        "a Generator": np.random.default_rng(0),
        "a ConcreteTensor": fg.asarray([0, 0], "uint64"),
    }
    for named, wrong in wrong_ones.items():
        with pytest.raises(TypeError, match=rf"random.{name} takes a key as its first argument, not {named}:"):
            DRAWING[name](wrong)
    with pytest.raises(TypeError, match=r"random\.fold_in takes a key"):
        random.fold_in(0, 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (-1, "from 0 to 2\\*\\*64 - 1, not -1"),
        (2**64, "from 0 to 2\\*\\*64 - 1, not 18446744073709551616"),
        (fg.asarray([1, -2]), "from 0 to 2\\*\\*64 - 1, not -2"),
        (1.0, "integers, not with dtype float64"),
        (True, "integers, not with dtype bool"),
        (fg.asarray([1.0]), "integers, not with dtype float64"),
    ],
)
def test_fold_in_refuses_other_numbers(data, message):
    with pytest.raises((ValueError, TypeError), match=rf"\[fold_in\] on .*{message}"):
        random.fold_in(random.key(0), data)
    with pytest.raises(ValueError, match="cannot be broadcast together"):
        random.fold_in(random.split(random.key(0), 3), fg.asarray([1, 2]))


@pytest.mark.parametrize("name", ["split", "bits", "uniform", "normal"])
def test_shapes_are_checked(name):
    draw = getattr(random, name)
    with pytest.raises(ValueError, match=rf"\[{name}\] a shape has no negative lengths: \(2, -1\)"):
        draw(random.key(0), (2, -1))
    with pytest.raises(TypeError):
        draw(random.key(0), 1.5)
    assert (draw(random.key(0), 3)).shape == (3,)
