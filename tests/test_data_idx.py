"""idx files: what is read, bit for bit, and what is said of files that are not what they should be."""

import gzip
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fgrad as fg
from fgrad import data
from fgrad.errors import DataFileError

MNIST = Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist"
CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array):
    """The idx file of an array, by the description of the format."""
    header = struct.pack(f">HBB{array.ndim}I", 0, CODES[array.dtype.str[1:]], array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write_pair(folder, images=None, labels=None, prefix="train"):
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 4) if images is None else images
    labels = np.array([7, 2], np.uint8) if labels is None else labels
    image_path, label_path = folder / f"{prefix}-images-idx3-ubyte", folder / f"{prefix}-labels-idx1-ubyte"
    image_path.write_bytes(idx_bytes(images))
    label_path.write_bytes(idx_bytes(labels))
    return image_path, label_path


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """One file name for all examples of a property: each writes it anew."""
    return tmp_path_factory.mktemp("idx") / "file"


any_array = hnp.arrays(
    st.sampled_from(sorted(CODES)).map(np.dtype), hnp.array_shapes(min_dims=0, min_side=0, max_side=4)
)


@given(array=any_array, compressed=st.booleans())
def test_every_dtype_and_shape_is_read_bit_for_bit(scratch, array, compressed):
    content = idx_bytes(array)
    scratch.write_bytes(gzip.compress(content) if compressed else content)
    found = data.parse_idx(scratch)
    assert found.shape == array.shape
    assert found.dtype == array.dtype
    assert found.dtype.isnative
    assert found.tobytes() == array.tobytes()


@given(array=any_array)
def test_what_is_read_cannot_be_written_to(scratch, array):
    scratch.write_bytes(idx_bytes(array))
    found = data.parse_idx(str(scratch))
    assert not found.flags.writeable
    with pytest.raises(ValueError, match="cannot set WRITEABLE flag"):
        found.setflags(write=True)


def test_compression_is_seen_from_the_content_not_the_name(tmp_path):
    content = idx_bytes(np.array([1, 2, 3], np.uint8))
    (tmp_path / "plain.gz").write_bytes(content)
    (tmp_path / "compressed").write_bytes(gzip.compress(content))
    assert data.parse_idx(tmp_path / "plain.gz").tolist() == [1, 2, 3]
    assert data.parse_idx(tmp_path / "compressed").tolist() == [1, 2, 3]


def test_gzip_members_in_a_row_and_zero_padding_are_gzip(tmp_path):
    content = idx_bytes(np.arange(50, dtype=np.int16))
    path = tmp_path / "members"
    path.write_bytes(gzip.compress(content[:20]) + gzip.compress(content[20:]) + bytes(7))
    assert data.parse_idx(path).tolist() == list(range(50))


def test_parse_mnist_scales_bytes_to_the_unit_interval(tmp_path):
    pixels = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
    images, labels = data.parse_mnist(*write_pair(tmp_path, pixels, np.array([3, 1, 4, 1], np.uint8)))
    assert images.shape == (4, 8, 8, 1)
    assert images.dtype == np.float32
    assert images.min() == 0
    assert images.max() == 1
    np.testing.assert_array_equal(images[..., 0], pixels.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(np.round(images[..., 0] * 255), pixels)
    assert labels.dtype == np.uint8
    assert labels.tolist() == [3, 1, 4, 1]
    for array in (images, labels):
        with pytest.raises(ValueError, match="cannot set WRITEABLE flag"):
            array.setflags(write=True)
    # Read-only to the owner, so a Tensor of it is no copy.
    assert np.shares_memory(fg.asarray(images).numpy(), images)


def test_no_images_are_no_error(tmp_path):
    images, labels = data.parse_mnist(*write_pair(tmp_path, np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.uint8)))
    assert images.shape == (0, 28, 28, 1)
    assert labels.shape == (0,)


@pytest.mark.skipif(not MNIST.is_dir(), reason=f"needs MNIST's test set (t10k-*.gz) in {MNIST}")
def test_mnist_itself():
    paths = MNIST / "t10k-images-idx3-ubyte.gz", MNIST / "t10k-labels-idx1-ubyte.gz"
    images, labels = data.parse_mnist(*paths)
    assert images.shape == (10000, 28, 28, 1)
    assert images.dtype == np.float32
    assert labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.parse_idx(paths[0]).sum() == 264_923_200
    assert np.rint(images * 255).sum(dtype=np.float64) == 264_923_200
    dataset = data.MNISTDataset(*paths)
    assert len(dataset) == 10000
    np.testing.assert_array_equal(dataset.images, images)


# Files that are not what they should be.


def refusal(path, function=data.parse_idx, error=DataFileError):
    """The message of the error, which must name the file."""
    with pytest.raises(error) as caught:
        function(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def read_or_refuse(path):
    """What is read, or None after an error that names the file; any other error is a failure."""
    try:
        return data.parse_idx(path)
    except DataFileError as error:
        message = str(error)
    assert str(path) in message
    return None


@given(array=any_array, cut=st.integers(1, 10**6))
def test_a_truncated_file_is_refused_wherever_it_breaks_off(scratch, array, cut):
    content = idx_bytes(array)
    scratch.write_bytes(content[: -min(cut, len(content))])
    refusal(scratch)


@given(array=any_array, cut=st.integers(1, 10**6))
def test_a_truncated_gzip_file_is_refused_wherever_it_breaks_off(scratch, array, cut):
    content = gzip.compress(idx_bytes(array), mtime=0)
    scratch.write_bytes(content[: -min(cut, len(content))])
    refusal(scratch)


@given(array=any_array, place=st.integers(0, 10**6), mask=st.integers(1, 255))
def test_a_damaged_gzip_file_never_gives_other_numbers(scratch, array, place, mask):
    content = bytearray(gzip.compress(idx_bytes(array), mtime=0))
    content[place % len(content)] ^= mask
    scratch.write_bytes(content)
    found = read_or_refuse(scratch)
    # Damage that gives no error is in what gzip does not check: the time stamp and the like.
    assert found is None or found.tobytes() == array.tobytes()


@given(content=st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(scratch, content):
    scratch.write_bytes(content)
    read_or_refuse(scratch)


def test_truncated_says_what_was_expected_and_found(tmp_path):
    content = idx_bytes(np.random.default_rng(0).integers(0, 256, (100, 5, 5)).astype(np.uint8))
    path = tmp_path / "images"
    path.write_bytes(content[:1000])
    assert (
        "shape (100, 5, 5) of uint8 needs 2500 bytes of elements, and the file holds 984: it is truncated"
        in refusal(path)
    )
    path.write_bytes(gzip.compress(content)[:1500])
    message = refusal(path)
    assert "it is truncated: its 1500 bytes of gzip-compressed data break off" in message
    assert re.search(r"with \d+ bytes unpacked of the 2516 of its shape \(100, 5, 5\)", message)
    path.write_bytes(content[:10])
    assert "the header of 3 axes has 16 bytes, and the file holds 10" in refusal(path)
    path.write_bytes(b"")
    assert "starts with a magic number of 4 bytes, and this file holds 0" in refusal(path)


def test_a_header_of_absurd_size_costs_nothing(tmp_path):
    path = tmp_path / "huge"
    path.write_bytes(struct.pack(">HBB4I", 0, 0x0E, 4, *[2**32 - 1] * 4))
    assert "it is truncated" in refusal(path)


def test_a_shape_beyond_numpy(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(struct.pack(">HBB", 0, 0x08, 255) + struct.pack(">I", 1) * 255 + b"x")
    assert "its header tells of uint8 of shape (1, 1, 1," in refusal(path)
    path.write_bytes(struct.pack(">HBB4I", 0, 0x0E, 4, 0, *[2**32 - 1] * 3))
    assert "its header tells of float64 of shape (0, 4294967295," in refusal(path)


def test_corrupt_gzip(tmp_path):
    content = bytearray(gzip.compress(idx_bytes(np.arange(1000, dtype=np.int32))))
    content[len(content) // 2] ^= 0xFF
    path = tmp_path / "labels.gz"
    path.write_bytes(content)
    assert "the gzip-compressed data are corrupt" in refusal(path)


def test_more_than_the_header_says(tmp_path):
    content = idx_bytes(np.arange(3, dtype=np.uint8))
    path = tmp_path / "labels"
    path.write_bytes(content + b"!")
    assert "needs 3 bytes of elements, and the file holds 4: it is corrupt, or more was appended" in refusal(path)
    path.write_bytes(gzip.compress(content) + b"!!")
    assert "it is corrupt: 2 bytes of something else follow the gzip-compressed data" in refusal(path)


def test_no_idx_file_at_all(tmp_path):
    path = tmp_path / "page.html"
    path.write_bytes(b"<!DOCTYPE html>")
    message = refusal(path)
    assert "this one starts with 3c 21 44 4f, so it is no idx file" in message
    assert "one of 08 09 0b 0c 0d 0e" in message


def test_wrong_magic_number_names_what_the_file_is(tmp_path):
    image_path, label_path = write_pair(tmp_path)
    message = refusal(label_path, lambda path: data.parse_mnist(path, label_path))
    assert "images have the magic number 2051, and this file has 2049: it is a file of labels" in message
    message = refusal(image_path, lambda path: data.parse_mnist(image_path, path))
    assert "labels have the magic number 2049, and this file has 2051: it is a file of images" in message
    label_path.write_bytes(idx_bytes(np.zeros((2, 2), np.float32)))
    message = refusal(label_path, lambda path: data.MNISTDataset(image_path, path))
    assert "it is an array of float32 with 2 axes" in message


def test_image_and_label_count_mismatch(tmp_path):
    image_path, label_path = write_pair(tmp_path, labels=np.zeros(3, np.uint8))
    message = refusal(image_path, lambda path: data.MNISTDataset(path, label_path))
    assert f"{image_path} holds 2 images and {label_path} holds 3 labels" in message
    assert f"at {__file__}" in message


def test_a_missing_file_and_the_way_out(tmp_path):
    image_path, _ = write_pair(tmp_path)
    missing = tmp_path / "no-such-file.gz"
    message = refusal(missing, lambda path: data.MNISTDataset(image_path, path), FileNotFoundError)
    assert f"there is no file {missing}" in message
    assert "data.digits()" in message


# Data sets by name.


def test_digits():
    train, test = data.digits()
    assert (len(train), len(test)) == (1437, 360)
    for dataset in (train, test):
        assert dataset.images.shape == (len(dataset), 8, 8, 1)
        assert dataset.images.dtype == np.float32
        assert dataset.images.min() == 0
        assert dataset.images.max() == 1
        assert dataset.labels.shape == (len(dataset),)
        assert dataset.labels.dtype == np.uint8
        assert set(dataset.labels.tolist()) == set(range(10))
        # 17 grey levels, as in the original
        assert set(np.round(dataset.images * 255).ravel()) == set(np.round(np.arange(17) * 255 / 16))


def test_digits_are_those_of_scikit_learn():
    # The numbers are of load_digits() after RandomState(0).permutation(1797).
    train, test = data.digits()
    assert train.labels[:5].tolist() == [2, 8, 2, 6, 6]
    assert test.labels[:5].tolist() == [7, 9, 4, 7, 0]
    assert np.bincount(train.labels).tolist() == [147, 147, 138, 150, 137, 153, 141, 139, 146, 139]
    assert np.bincount(test.labels).tolist() == [31, 35, 39, 33, 44, 29, 40, 40, 28, 41]
    assert data.parse_idx(train.image_filename).sum() == 7_163_212
    assert data.parse_idx(test.image_filename).sum() == 1_790_589
    assert data.parse_idx(train.image_filename)[0, 3].tolist() == [0, 0, 0, 0, 191, 175, 0, 0]


def write_four(folder, compress):
    rng = np.random.default_rng(1)
    for prefix, count in (("train", 6), ("t10k", 4)):
        for path in write_pair(
            folder,
            rng.integers(0, 256, (count, 28, 28)).astype(np.uint8),
            rng.integers(0, 10, count).astype(np.uint8),
            prefix,
        ):
            if compress:
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
                path.unlink()


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("function", [data.mnist, data.fashion_mnist])
def test_a_folder_of_four_files(tmp_path, function, compress):
    write_four(tmp_path, compress)
    crop = data.RandomCrop(2)
    train, test = function(str(tmp_path), transforms=[crop])
    assert train.images.shape == (6, 28, 28, 1)
    assert test.images.shape == (4, 28, 28, 1)
    assert train.image_filename == str(tmp_path / f"train-images-idx3-ubyte{'.gz' if compress else ''}")
    assert train.transforms == (crop,)
    assert test.transforms == ()


def test_missing_mnist_says_which_files_where_and_where_to_get_them(tmp_path):
    write_four(tmp_path, compress=True)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    message = refusal(tmp_path, data.mnist, FileNotFoundError)
    assert f"MNIST: {tmp_path} lacks t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz;" in message
    assert "the MNIST page of Yann LeCun and Corinna Cortes" in message
    message = refusal(tmp_path / "elsewhere", data.mnist, FileNotFoundError)
    assert f"there is no folder {tmp_path / 'elsewhere'}" in message
    message = refusal(tmp_path, data.fashion_mnist, FileNotFoundError)
    assert "dataset-fashion-mnist" in message
    assert "t10k-labels-idx1-ubyte" in message


def test_a_relative_folder_is_told_with_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=re.escape(f"no folder mnist (looked for from {Path.cwd()})")):
        data.mnist("mnist")


def test_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    write_four(tmp_path / "mnist", compress=False)
    assert len(data.mnist("~/mnist")[0]) == 6


@pytest.mark.skipif(
    not Path("/usr/share/datasets/fashion-mnist").is_dir(), reason="needs the Debian package dataset-fashion-mnist"
)
def test_fashion_mnist_is_found_where_debian_puts_it():
    train, test = data.fashion_mnist()
    assert train.images.shape == (60000, 28, 28, 1)
    assert test.images.shape == (10000, 28, 28, 1)
    assert np.bincount(train.labels).tolist() == [6000] * 10
    assert np.bincount(test.labels).tolist() == [1000] * 10
