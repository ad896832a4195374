"""Datasets and loaders: every sample exactly once, keys that decide everything, and errors that say what to write."""

import copy
import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fgrad as fg
from fgrad import data, random
from fgrad.errors import DtypeError, FgradError, IndexingError, ShapeError, TreeError

keys = st.integers(0, 2**32 - 1).map(random.key)
sizes = st.integers(0, 40)


def numbered(count, transforms=()):
    """A dataset whose x and y both tell the sample's number."""
    numbers = np.arange(count)
    return data.ArrayDataset(numbers.astype(np.float32)[:, None], numbers, transforms=transforms)


class Squares:
    """A dataset that is not ours: len and [] only."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        assert type(index) is int
        assert 0 <= index < self.count
        return np.full((2,), index, np.float32), index * index


def seen(batches):
    """The numbers of the samples in the batches, in order."""
    return [int(number) for batch in batches for number in np.asarray(batch.x)[:, 0]]


@given(count=sizes, batch_size=st.integers(1, 45), drop_last=st.booleans(), key=keys)
@pytest.mark.parametrize("make", [numbered, Squares])
def test_every_sample_comes_exactly_once(make, count, batch_size, drop_last, key):
    loader = data.DataLoader(make(count), batch_size, shuffle=True, drop_last=drop_last)
    batches = list(loader.epoch(key))
    assert len(batches) == len(loader)
    lengths = [len(batch.x) for batch in batches]
    numbers = seen(batches)
    kept = count - count % batch_size if drop_last else count
    assert sum(lengths) == kept
    assert all(length == batch_size for length in lengths[:-1])
    assert all(1 <= length <= batch_size for length in lengths)
    assert len(set(numbers)) == kept
    assert set(numbers) <= set(range(count))
    for batch in batches:  # x and y of one sample stay together
        expected = np.asarray(batch.x)[:, 0].astype(int)
        np.testing.assert_array_equal(np.asarray(batch.y), expected if make is numbered else expected**2)


@given(count=sizes, batch_size=st.integers(1, 45), drop_last=st.booleans())
@pytest.mark.parametrize("make", [numbered, Squares])
def test_a_plain_loop_goes_in_order(make, count, batch_size, drop_last):
    loader = data.DataLoader(make(count), batch_size, drop_last=drop_last)
    batches = list(loader)
    assert len(batches) == len(loader)
    numbers = seen(batches)
    assert numbers == list(range(count - count % batch_size if drop_last else count))
    assert seen(loader.epoch(random.key(0))) == numbers  # a key changes nothing where there is nothing random


@given(seed=st.integers(0, 10**6), batch_size=st.integers(1, 60))
def test_one_key_is_one_epoch_and_another_key_another(seed, batch_size):
    key = random.key(seed)
    loader = data.DataLoader(numbered(50), batch_size, shuffle=True)
    first = seen(loader.epoch(random.fold_in(key, 0)))
    assert seen(loader.epoch(random.fold_in(key, 0))) == first
    assert seen(loader.epoch(random.fold_in(key, 1))) != first  # 1 / 50! for one key, by chance
    assert first != list(range(50))
    # the order is the key's; the batch size only cuts it
    assert seen(data.DataLoader(numbered(50), 7, shuffle=True).epoch(random.fold_in(key, 0))) == first


def test_shuffling_puts_every_sample_everywhere():
    loader = data.DataLoader(numbered(4), shuffle=True)
    counts = np.zeros((4, 4))
    for key in random.split(random.key(0), 400):
        counts[range(4), seen(loader.epoch(key))] += 1
    # sums of squares over a doubly stochastic 4 x 4 table have 9 degrees of freedom: 27.9 once in a thousand keys
    assert ((counts - 100) ** 2 / 100).sum() * 3 / 4 < 27.9


def test_the_order_is_the_same_for_every_kind_of_dataset():
    key = random.key(4)
    expected = seen(data.DataLoader(numbered(20), 6, shuffle=True).epoch(key))
    for dataset in (Squares(20), numbered(20, (lambda key, x: x,))):
        assert seen(data.DataLoader(dataset, 6, shuffle=True).epoch(key)) == expected


def test_the_order_is_drawn_from_a_key_that_no_sample_has():
    key = random.key(9)
    order = seen(data.DataLoader(numbered(20), 20, shuffle=True).epoch(key))
    for sample in range(20):
        assert random.permutation(random.fold_in(key, sample), 20).tolist() != order
    assert random.permutation(random.key(9), 20).tolist() != order
    random.bits(key)  # an epoch consumes nothing of its key: no warning here


def test_iterators_are_independent():
    loader = data.DataLoader(numbered(10), 2, shuffle=True)
    key = random.key(5)
    alone = seen(loader.epoch(key))
    first, second = loader.epoch(key), loader.epoch(key)
    head = [next(first), next(first)]
    assert seen(second) == alone
    assert seen([*head, *first]) == alone
    plain = data.DataLoader(numbered(6), 2)
    assert [(seen([a]), seen([b])) for a in plain for b in plain][:2] == [([0, 1], [0, 1]), ([0, 1], [2, 3])]


def test_a_batch_holds_tensors_with_the_dtypes_of_the_arrays():
    train, _ = data.digits()
    batch = next(iter(data.DataLoader(train, 50)))
    assert type(batch) is data.Batch
    x, y = batch
    assert batch.x is x
    assert isinstance(x, fg.Tensor)
    assert isinstance(y, fg.Tensor)
    assert (x.shape, x.dtype) == ((50, 8, 8, 1), np.float32)
    assert (y.shape, y.dtype) == ((50,), np.uint8)
    np.testing.assert_array_equal(np.asarray(x), train.images[:50])
    np.testing.assert_array_equal(np.asarray(y), train.labels[:50])


def test_without_transforms_a_batch_is_one_index_over_each_array(monkeypatch):
    from fgrad.data import loader as implementation

    calls = []

    def counted(arrays, rows):
        calls.append(len(rows))
        return data.datasets.take_rows(arrays, rows)

    monkeypatch.setattr(implementation, "take_rows", counted)
    monkeypatch.setattr(data.ArrayDataset, "__getitem__", lambda *_: pytest.fail("a sample was taken by itself"))
    list(data.DataLoader(numbered(25), 10, shuffle=True).epoch(random.key(0)))
    assert calls == [10, 10, 5]


# Transforms and their keys.


def test_sample_i_gets_the_key_fold_in_i_whatever_the_order_and_the_batch():
    def draw(key, x):
        return np.append(x, np.asarray(random.bits(key, ())).astype(np.float64))

    key = random.key(11)
    expected = [int(random.bits(random.fold_in(key, i), ())) for i in range(12)]
    for shuffle in (False, True):
        for batch_size in (1, 5, 12):
            loader = data.DataLoader(numbered(12, (draw,)), batch_size, shuffle=shuffle)
            rows = np.concatenate([np.asarray(batch.x) for batch in loader.epoch(key)])
            assert sorted(rows[:, 0].tolist()) == list(range(12))
            assert [float(expected[int(i)]) for i in rows[:, 0]] == rows[:, 1].tolist()


def test_the_transforms_of_a_dataset_are_applied_to_x_alone():
    train, _ = data.digits(transforms=(data.RandomCrop(2), data.RandomFlipHorizontal()))
    loader = data.DataLoader(train, 100)
    key = random.key(2)
    batch = next(loader.epoch(key))
    assert (batch.x.shape, batch.x.dtype) == ((100, 8, 8, 1), np.float32)
    assert (batch.y.shape, batch.y.dtype) == ((100,), np.uint8)
    both = data.Compose(train.transforms)
    for i in range(100):
        image, label = train[i]
        np.testing.assert_array_equal(np.asarray(batch.x[i]), both(random.fold_in(key, i), image))
        assert int(batch.y[i]) == label
    again, other = next(loader.epoch(key)), next(loader.epoch(random.key(3)))
    assert fg.tree.equal(batch, again)
    assert not fg.tree.equal(batch.x, other.x)
    np.testing.assert_array_equal(train[7][0], train.images[7])  # [] alone leaves the image as it is


def test_a_dataset_of_ones_own_may_have_transforms():
    class Shifted(Squares):
        transforms = (lambda key, x: x + 100,)

    loader = data.DataLoader(Shifted(3), 3)
    batch = next(loader.epoch(random.key(0)))
    assert np.asarray(batch.x).tolist() == [[100, 100], [101, 101], [102, 102]]
    assert batch.y.tolist() == [0, 1, 4]
    with pytest.raises(TypeError, match="random transforms"):
        iter(loader)

    class Bare(Shifted):
        def __getitem__(self, index):
            return np.float32(index)

    assert next(data.DataLoader(Bare(3), 3).epoch(random.key(0))).tolist() == [100, 101, 102]


@pytest.mark.parametrize(
    ("loader", "needs"),
    [
        (data.DataLoader(numbered(3), shuffle=True), "shuffles (shuffle=True)"),
        (data.DataLoader(numbered(3, (data.RandomCrop(1),))), "applies the dataset's random transforms"),
        (
            data.DataLoader(numbered(3, (data.RandomCrop(1),)), shuffle=True),
            "shuffles (shuffle=True) and applies the dataset's random transforms",
        ),
    ],
)
def test_a_plain_for_that_would_need_a_key(loader, needs):
    with pytest.raises(TypeError) as caught:
        for _ in loader:
            pass
    lines = str(caught.value).splitlines()
    assert lines[:4] == [
        f"this DataLoader {needs}, which takes a key, and a plain `for` has none to give. Give each epoch its own:",
        "    for epoch in range(epochs):",
        "        for batch in loader.epoch(random.fold_in(key, epoch)):",
        "            ...",
    ]
    assert re.fullmatch(
        rf"  at {re.escape(__file__)}:\d+, in test_a_plain_for_that_would_need_a_key: for _ in loader:", lines[4]
    )


@pytest.mark.parametrize("key", [0, None, "key"])
def test_what_is_no_key(key):
    with pytest.raises(TypeError, match=r"loader\.epoch takes a key, such as random\.key\(0\), and this is"):
        data.DataLoader(numbered(3)).epoch(key)


def test_an_array_of_keys_is_no_key():
    with pytest.raises(TypeError, match="an array of 2 keys"):
        data.DataLoader(numbered(3)).epoch(random.split(random.key(0), 2))


# Samples of any structure.


def test_samples_are_stacked_leaf_by_leaf():
    samples = [{"image": np.full((2, 2), i), "at": (i, None), "name": fg.asarray([float(i)])} for i in range(3)]
    batch = next(iter(data.DataLoader(samples, 3)))
    assert batch["image"].shape == (3, 2, 2)
    assert batch["at"][0].tolist() == [0, 1, 2]
    assert batch["at"][1] is None
    assert batch["name"].tolist() == [[0.0], [1.0], [2.0]]
    assert all(isinstance(leaf, fg.Tensor) for leaf in fg.tree.leaves(batch))


def test_tuples_of_one_and_two_are_batches_and_others_stay():
    assert next(iter(data.DataLoader(data.ArrayDataset([[1.0]])))).y is None
    assert type(next(iter(data.DataLoader([(1, 2), (3, 4)])))) is data.Batch
    three = next(iter(data.DataLoader(data.ArrayDataset([1.0], [2.0], [3.0]))))
    assert type(three) is tuple
    assert [x.tolist() for x in three] == [[1.0], [2.0], [3.0]]
    assert next(iter(data.DataLoader([5, 6, 7], 2))).tolist() == [5, 6]


def test_samples_that_do_not_fit_together():
    with pytest.raises(ShapeError, match=r"dataset\[0\]\[0\] has \(2,\) and dataset\[1\]\[0\] has \(3,\)"):
        list(data.DataLoader([(np.zeros(2), 0), (np.zeros(3), 1)], 2))
    with pytest.raises(TreeError, match=re.escape("dataset[1] is a list where a tuple is expected")):
        list(data.DataLoader([(1, 2), [1, 2]], 2))
    with pytest.raises(DtypeError, match=re.escape("dataset[0]['name'] is no number or array of numbers: 'cat'")):
        list(data.DataLoader([{"name": "cat"}]))


# Settings.


@pytest.mark.parametrize("batch_size", [0, -3])
def test_batch_size_below_one(batch_size):
    with pytest.raises(
        ValueError, match=f"batch_size is the number of samples in a batch, 1 or more, and {batch_size}"
    ):
        data.DataLoader(numbered(3), batch_size)


@pytest.mark.parametrize("batch_size", [2.0, None, "2", True, [2]])
def test_batch_size_that_is_no_integer(batch_size):
    with pytest.raises(TypeError, match="batch_size is the number of samples in a batch, an integer, and"):
        data.DataLoader(numbered(3), batch_size)


def test_batch_size_may_be_any_integer():
    assert len(data.DataLoader(numbered(3), np.int64(2))) == 2
    assert len(data.DataLoader(numbered(3), fg.asarray(2))) == 2


def test_flags_are_booleans():
    with pytest.raises(TypeError, match="shuffle and drop_last are True or False"):
        data.DataLoader(numbered(3), 2, random.key(0))


@pytest.mark.parametrize("dataset", [3, iter([1, 2]), {"x": [1]}, None])
def test_what_is_no_dataset(dataset):
    with pytest.raises(TypeError, match=r"a dataset is anything with len\(dataset\) and dataset\[i\]"):
        data.DataLoader(dataset)


def test_both_halves_of_a_data_set_at_once():
    with pytest.raises(TypeError, match=re.escape("write `train, test = data.digits()`")):
        data.DataLoader(data.digits(), 50)
    with pytest.raises(TypeError, match=re.escape("data.ArrayDataset(x, y) for the other")):
        data.DataLoader((np.zeros((3, 2)), np.zeros(3)), 50)


def test_loaders_and_datasets_are_static_records():
    dataset = numbered(3)
    loader = data.DataLoader(dataset, 2)
    assert loader == data.DataLoader(dataset, 2)
    assert hash(loader) == hash(data.DataLoader(dataset, 2))
    assert loader != data.DataLoader(dataset, 3)
    assert loader != data.DataLoader(numbered(3), 2)  # a dataset is equal to itself only
    assert fg.tree.leaves((loader, dataset, data.digits())) == []
    assert fg.tree.structure(loader) == fg.tree.structure(data.DataLoader(dataset, 2))
    listed = [np.zeros(3), np.ones(3)]
    assert data.DataLoader(listed) == data.DataLoader(listed) != data.DataLoader([np.zeros(3), np.ones(3)])
    assert hash(data.DataLoader(listed)) == hash(data.DataLoader(listed))
    with pytest.raises(AttributeError):
        loader.batch_size = 5
    assert repr(data.DataLoader(dataset, 2)) == (
        "DataLoader(dataset=ArrayDataset(float32[3, 1], int64[3]), batch_size=2, shuffle=False, drop_last=False)"
    )


# ArrayDataset and MNISTDataset.


@given(count=st.integers(1, 9), values=st.data())
def test_indices_of_a_dataset_are_those_of_its_arrays(count, values):
    dataset = numbered(count)
    index = values.draw(st.integers(-count, count - 1))
    x, y = dataset[index]
    assert x.shape == (1,)
    assert int(y) == x[0] == index % count
    cut = values.draw(st.slices(count))
    assert dataset[cut][1].tolist() == list(range(count))[cut]
    several = values.draw(st.lists(st.integers(-count, count - 1)))
    for given_index in (several, np.array(several, int), fg.asarray(np.array(several, int))):
        assert dataset[given_index][1].tolist() == [i % count for i in several]
        assert dataset[given_index][0].shape == (len(several), 1)
        assert not dataset[given_index][0].flags.writeable
    mask = np.array(values.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    assert dataset[mask][1].tolist() == np.flatnonzero(mask).tolist()


def test_one_index_of_any_integer_kind():
    for index in (2, np.int8(2), np.array(2), fg.asarray(2)):
        assert int(numbered(4)[index][1]) == 2


def test_a_dataset_can_be_looped_over():
    assert [int(y) for _, y in numbered(3)] == [0, 1, 2]


@pytest.mark.parametrize("index", [3, -4, [0, 3], 10**30])
def test_an_index_out_of_range(index):
    with pytest.raises(IndexError, match="does not fit a dataset of 3 samples"):
        numbered(3)[index]


@pytest.mark.parametrize("index", [1.0, "1", None, (0, 1.0), True, [[True]], np.array([True])])
def test_an_index_of_no_use(index):
    with pytest.raises(IndexingError, match="does not fit a dataset of 3 samples"):
        numbered(3)[index]


def test_what_cannot_be_a_dataset_of_arrays():
    with pytest.raises(ShapeError, match=r"equally long; these have the shapes \(3, 2\), \(4,\)"):
        data.ArrayDataset(np.zeros((3, 2)), np.zeros(4))
    with pytest.raises(ShapeError, match=r"these have the shapes \(\)"):
        data.ArrayDataset(3.0)
    with pytest.raises(ShapeError, match="none was given"):
        data.ArrayDataset()
    with pytest.raises(FgradError):
        data.ArrayDataset(["cat", "dog"])
    for transforms in (data.RandomCrop(1), [3], None):
        with pytest.raises(TypeError, match=re.escape("write transforms=(RandomCrop(3),)")):
            data.ArrayDataset([1.0], transforms=transforms)


def test_a_dataset_does_not_follow_later_changes_of_the_array():
    x = np.zeros(3)
    dataset = data.ArrayDataset(x)
    x[0] = 5
    assert dataset[0][0] == 0


def arrays_of(dataset):
    """Every array that a dataset and a loader over it hand out."""
    yield from dataset.arrays
    yield dataset[0][0]
    yield from dataset[:2]
    for batch in data.DataLoader(dataset, 2):
        yield from (leaf.numpy() for leaf in fg.tree.leaves(batch))


@pytest.mark.parametrize("restore", [lambda x: x, copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_nothing_that_a_dataset_hands_out_can_be_written_to(restore):
    for dataset in (numbered(3), data.digits()[1]):
        restored = restore(dataset)
        assert type(restored) is type(dataset)
        assert restored.transforms == dataset.transforms
        assert fg.tree.equal(restored.arrays, dataset.arrays)
        for array in arrays_of(restored):
            with pytest.raises(ValueError, match="cannot set WRITEABLE flag"):
                array.setflags(write=True)
    assert restored.labels is restored.arrays[1]
    assert restored.image_filename == dataset.image_filename


def test_representations_are_short():
    train, _ = data.digits(transforms=(data.RandomCrop(1),))
    assert repr(train).endswith(".gz', transforms=(RandomCrop(padding=1),))")
    assert repr(numbered(3)) == "ArrayDataset(float32[3, 1], int64[3])"
