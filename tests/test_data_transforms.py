"""Image transforms: against their definitions, as pure functions of key and image, and their distributions."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fgrad as fg
from fgrad import data, random
from fgrad.errors import DtypeError, ShapeError

images = hnp.arrays(
    st.sampled_from([np.uint8, np.float32, np.float64, np.int16]),
    hnp.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=6),
    elements=st.integers(1, 100),
)
seeds = st.integers(0, 2**64)  # a key is made anew for each use, since two uses of one are worth a warning


def crop_by_definition(image, dx, dy, padding):
    height, width = image.shape[:2]
    padded = np.pad(image, [(padding, padding)] * 2 + [(0, 0)] * (image.ndim - 2))
    return padded[padding + dx :][:height, padding + dy :][:, :width]


@given(image=images, padding=st.integers(0, 9), values=st.data())
def test_crop_shifted_is_its_definition(image, padding, values):
    dx, dy = values.draw(st.integers(-padding, padding)), values.draw(st.integers(-padding, padding))
    expected = crop_by_definition(image, dx, dy, padding)
    before = image.copy()
    for given_image in (image, fg.asarray(image)):
        found = data.crop_shifted(given_image, dx, dy, padding)
        assert isinstance(found, fg.Tensor if given_image is not image else np.ndarray)
        assert found.dtype == image.dtype
        assert found.shape == image.shape
        np.testing.assert_array_equal(np.asarray(found), expected)
    np.testing.assert_array_equal(image, before)


@given(image=images, padding=st.integers(0, 9), seed=seeds)
def test_random_crop_keeps_shape_and_dtype_and_repeats_with_its_key(image, padding, seed):
    crop = data.RandomCrop(padding)
    found = crop(random.key(seed), image)
    assert (found.shape, found.dtype) == (image.shape, image.dtype)
    shifts = [(dx, dy) for dx in range(-padding, padding + 1) for dy in range(-padding, padding + 1)]
    assert any(np.array_equal(found, crop_by_definition(image, dx, dy, padding)) for dx, dy in shifts)
    np.testing.assert_array_equal(crop(random.key(seed), image), found)
    tensor = crop(random.key(seed), fg.asarray(image))
    assert isinstance(tensor, fg.Tensor)
    np.testing.assert_array_equal(np.asarray(tensor), found)


def test_random_crop_draws_every_shift_equally_often():
    image = np.zeros((9, 9, 1), np.uint8)
    image[4, 4] = 1
    crop = data.RandomCrop(padding=1)
    counts = np.zeros((9, 9), int)
    for key in random.split(random.key(0), 900):
        counts += crop(key, image)[:, :, 0]
    shifts = counts[3:6, 3:6]
    assert counts.sum() == shifts.sum() == 900  # never further than the padding
    # chi-squared with 8 degrees of freedom: 26.1 is passed once in a thousand keys
    assert ((shifts - 100.0) ** 2 / 100).sum() < 26.1


@given(image=images, seed=seeds)
def test_flip_reverses_the_axis_w(image, seed):
    np.testing.assert_array_equal(data.RandomFlipHorizontal(p=1.0)(random.key(seed), image), image[:, ::-1])
    np.testing.assert_array_equal(data.RandomFlipHorizontal(p=0.0)(random.key(seed), image), image)
    flip = data.RandomFlipHorizontal()
    found = flip(random.key(seed), image)
    assert (found.shape, found.dtype) == (image.shape, image.dtype)
    assert np.array_equal(found, image) or np.array_equal(found, image[:, ::-1])
    np.testing.assert_array_equal(flip(random.key(seed), image), found)
    tensor = flip(random.key(seed), fg.asarray(image))
    assert isinstance(tensor, fg.Tensor)
    np.testing.assert_array_equal(np.asarray(tensor), found)


@given(seed=seeds, p=st.floats(0, 1))
def test_flip_is_decided_by_bernoulli(seed, p):
    flipped = data.RandomFlipHorizontal(p)(random.key(seed), np.array([[0, 1]]))[0, 0]
    assert bool(flipped) == bool(random.bernoulli(random.key(seed), p))


@pytest.mark.parametrize("p", [0.5, 0.2])
def test_flip_comes_with_probability_p(p):
    image = np.array([[0, 1]])
    flip = data.RandomFlipHorizontal(p)
    flipped = sum(flip(key, image)[0, 0] for key in random.split(random.key(1), 1000))
    assert abs(flipped - 1000 * p) < 3.3 * np.sqrt(1000 * p * (1 - p))  # once in a thousand keys


def test_compose_gives_each_transform_a_key_of_its_own():
    key, seen = random.key(3), []

    def record(key, sample):
        seen.append(key)
        return sample + 1

    assert data.Compose(record, record, record)(key, 0) == 3
    expected = [random.fold_in(key, position) for position in range(3)]
    assert all(fg.tree.equal(found, wanted) for found, wanted in zip(seen, expected, strict=True))
    seen.clear()
    assert data.Compose([record])(key, 0) == 1
    assert seen == [key]  # alone, it gets the key itself
    assert data.Compose()(key, 5) == 5


def test_compose_applies_in_order():
    compose = data.Compose(lambda key, x: x * 2, lambda key, x: x + 1)
    assert compose(random.key(0), 5) == 11


@pytest.mark.parametrize("shape", [(), (3,)])
def test_what_is_no_image_is_refused(shape):
    for call in (
        lambda x: data.RandomCrop(1)(random.key(0), x),
        lambda x: data.RandomFlipHorizontal()(random.key(0), x),
        lambda x: data.crop_shifted(x, 0, 0, 0),
    ):
        with pytest.raises(ShapeError, match=r"\(H, W, C\) or at least \(H, W\), and this has shape"):
            call(np.zeros(shape))


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_p_outside_the_unit_interval(p):
    with pytest.raises(ValueError, match="p is a probability, from 0 to 1, and "):
        data.RandomFlipHorizontal(p)


def test_settings_of_the_wrong_kind():
    with pytest.raises(DtypeError, match="a number from 0 to 1, and 'half' is not"):
        data.RandomFlipHorizontal("half")
    with pytest.raises(ValueError, match="0 or more, and -1 is not"):
        data.RandomCrop(-1)
    with pytest.raises(DtypeError, match=r"an integer, and 1\.5 is not"):
        data.RandomCrop(1.5)
    with pytest.raises(TypeError, match="transforms is a tuple of functions"):
        data.Compose(data.RandomCrop(1), 3)
    with pytest.raises(ValueError, match="dx=3 and dy=0 must be from -2 to 2, the padding"):
        data.crop_shifted(np.zeros((4, 4)), 3, 0, 2)
    with pytest.raises(DtypeError, match="dx and dy are numbers of pixels"):
        data.crop_shifted(np.zeros((4, 4)), 0.5, 0, 2)


def test_transforms_are_static_records():
    crop = data.Compose(data.RandomCrop(3), data.RandomFlipHorizontal())
    assert crop == data.Compose([data.RandomCrop(3), data.RandomFlipHorizontal(0.5)])
    assert crop != data.Compose(data.RandomCrop(2), data.RandomFlipHorizontal())
    assert hash(crop) == hash(data.Compose(data.RandomCrop(3), data.RandomFlipHorizontal()))
    assert fg.tree.leaves(crop) == []
    assert pickle.loads(pickle.dumps(crop)) == copy.deepcopy(crop) == crop
    with pytest.raises(AttributeError):
        data.RandomCrop(3).padding = 4


def test_gradients_pass_through_the_shift_of_a_tensor():
    image = fg.asarray(np.arange(12.0).reshape(3, 4))
    weight = np.arange(12.0).reshape(3, 4)
    gradient = fg.grad(lambda x: fg.sum(data.crop_shifted(x, 1, -1, 2) * weight))(image)
    expected = np.zeros((3, 4))
    expected[1:, :3] = weight[:2, 1:]
    np.testing.assert_array_equal(np.asarray(gradient), expected)
