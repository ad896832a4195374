"""fg.save and fg.load: exact round trips, a file that is never half written, and errors that name the leaf."""

import io
import json
import os
import stat
import zipfile
from pathlib import Path
from typing import NamedTuple

import attrs
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

import fgrad as fg
from fgrad import nn, optim, random, training
from fgrad.errors import DataFileError, DtypeError, ShapeError, TracerConversionError, TreeError

INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
DTYPES = ["bool", *INTEGERS, "float16", "float32", "float64", "complex64", "complex128"]


class Point(NamedTuple):
    x: object
    y: object


@attrs.frozen(eq=False)
class Record:
    weight: object
    name: str = attrs.field(default="record", metadata={"static": True})


@fg.tree.static
@attrs.frozen
class Scale:
    factor: float


def same(first, second):
    """Equal trees whose leaves are of equal types, too."""
    types = [type(leaf) for leaf in fg.tree.leaves(first)] == [type(leaf) for leaf in fg.tree.leaves(second)]
    return types and fg.tree.equal(first, second)


def round_trip(folder, tree, like=None):
    fg.save(folder / "tree.npz", tree)
    return fg.load(folder / "tree.npz", like=tree if like is None else like)


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3)])
def test_every_dtype_and_shape(tmp_path, dtype, shape):
    tree = {"leaf": fg.asarray(np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype))}
    assert same(round_trip(tmp_path, tree), tree)


def test_every_kind_of_leaf_and_node(tmp_path):
    tree = {
        "tensor": fg.asarray([1.5, np.nan, np.inf, -0.0]),
        "array": np.arange(6, dtype=np.int16).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "scalar": np.float32(0.1),
        "numbers": (True, False, 3, -(2**63), 2**63, -(2**200), 0.1, float("nan"), -0.0, 1 - 2j),
        "key": random.key(7),
        "keys": random.split(random.key(8), 3),
        "none": None,
        "empty": [(), {}, []],
        "point": Point(fg.asarray(1.0), [fg.asarray(2)]),
        "record": Record(fg.ones(2), "kept"),
        "static": Scale(2.0),
    }
    found = round_trip(tmp_path, tree)
    assert same(found, tree)
    assert fg.tree.structure(found) == fg.tree.structure(tree)
    assert np.signbit(np.asarray(found["tensor"])[3])
    assert np.signbit(found["numbers"][8])


def test_a_leaf_is_a_tree(tmp_path):
    for leaf in (fg.ones(2), 3, random.key(0)):
        assert same(round_trip(tmp_path, leaf), leaf)
    assert round_trip(tmp_path, None) is None


def test_what_holds_no_leaves_comes_from_like(tmp_path):
    found = round_trip(tmp_path, {"w": fg.ones(2), "s": Scale(1.0)}, like={"w": fg.zeros(2), "s": Scale(2.0)})
    assert found["s"] == Scale(2.0)
    np.testing.assert_array_equal(found["w"], [1.0, 1.0])


names = st.one_of(st.text(max_size=4), st.sampled_from(["a/b", "..", "\\", "%5C", "'", '"', "\n", "\x00", "é", "💡"]))
numbers = st.one_of(st.booleans(), st.integers(), st.floats(), st.complex_numbers())
arrays = hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, min_side=0, max_side=3))
trees = st.recursive(
    st.one_of(numbers, arrays.map(fg.asarray), st.none()),
    lambda inner: st.one_of(st.dictionaries(names, inner, max_size=3), st.lists(inner, max_size=3).map(tuple)),
    max_leaves=6,
)


@given(tree=trees)
def test_drawn_trees(tmp_path_factory, tree):
    folder = tmp_path_factory.mktemp("drawn")
    assert same(round_trip(folder, tree), tree)
    assert listing(folder) == ["tree.npz"]


def test_a_train_state(tmp_path):
    model, optimizer = nn.MLPResNet(4, hidden_dim=6), optim.Adam()
    train_state = training.create_train_state(model, optimizer, random.key(0))
    like = training.create_train_state(model, optimizer, random.key(1))
    assert same(round_trip(tmp_path, train_state, like=like), train_state)


def test_the_format_is_plain_numpy(tmp_path):
    fg.save(tmp_path / "params.npz", {"params": ({"weight": fg.asarray([1.0, 2.0])}, {"a\\b%": 3})})
    with np.load(tmp_path / "params.npz", allow_pickle=False) as file:
        assert set(file) == {
            "tree['params'][0]['weight']",
            "tree['params'][1]['a%5C%5Cb%25']",
            "fgrad_kinds",
            "fgrad_format",
        }
        np.testing.assert_array_equal(file["tree['params'][0]['weight']"], [1.0, 2.0])
        assert file["fgrad_format"] == 1
        assert json.loads(str(file["fgrad_kinds"])) == {"tree['params'][1]['a%5C%5Cb%25']": "int"}


def test_a_file_of_the_first_format_stays_readable(tmp_path):
    # Written as the first release wrote it, entry by entry and big-endian.
    np.savez(
        tmp_path / "old.npz",
        **{
            "tree['w']": np.asarray([1.0, 2.0], ">f4"),
            "tree['n']": np.asarray(3),
            "tree['big']": np.asarray("-0x10000000000000000"),
            "tree['key']": np.asarray([1, 2], ">u8"),
            "fgrad_kinds": np.asarray('{"tree[\'n\']": "int", "tree[\'big\']": "int", "tree[\'key\']": "key"}'),
            "fgrad_format": np.asarray(1),
        },
    )
    like = {"w": fg.zeros(2, dtype="float32"), "n": 0, "big": 0, "key": random.key(0)}
    found = fg.load(tmp_path / "old.npz", like=like)
    assert found["w"].dtype == np.float32
    assert found["w"].dtype.isnative
    assert found["w"].tolist() == [1.0, 2.0]
    assert (found["n"], found["big"]) == (3, -(2**64))
    assert found["key"].words.tolist() == [1, 2]


def test_a_loaded_key_draws_the_same_numbers(tmp_path):
    key = round_trip(tmp_path, random.key(3))
    assert fg.tree.equal(random.normal(key, (3,)), random.normal(random.key(3), (3,)))


def test_what_is_loaded_is_immutable(tmp_path):
    assert not np.asarray(round_trip(tmp_path, fg.ones(2))).flags.writeable


def test_any_kind_of_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("plain", b"bytes", tmp_path / "with.suffix"):
        fg.save(path, fg.ones(1))
        assert fg.load(path, like=fg.ones(1)).tolist() == [1.0]
    assert listing(tmp_path) == ["bytes", "plain", "with.suffix"]


# Writing: all or nothing.


class DiskFullError(OSError):
    pass


@pytest.mark.parametrize("where", ["os.fsync", "pathlib.Path.replace", "numpy.savez"])
@pytest.mark.parametrize("error", [DiskFullError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, where, error):
    fg.save(tmp_path / "params.npz", {"w": fg.ones(2)})

    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(where, fail)
    with pytest.raises(error):
        fg.save(tmp_path / "params.npz", {"w": fg.zeros(2)})
    with pytest.raises(error):
        fg.save(tmp_path / "new.npz", {"w": fg.zeros(2)})
    assert listing(tmp_path) == ["params.npz"]
    assert fg.load(tmp_path / "params.npz", like={"w": fg.zeros(2)})["w"].tolist() == [1.0, 1.0]


def test_what_is_renamed_is_on_the_disk(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: calls.append(("fsync", os.fstat(file).st_size)) or fsync(file))
    monkeypatch.setattr(
        os, "replace", lambda *args: calls.append(("replace", Path(args[0]).stat().st_size)) or replace(*args)
    )
    fg.save(tmp_path / "params.npz", {"w": fg.ones(1000)})
    assert [name for name, _ in calls] == ["fsync", "replace"]
    assert calls[0][1] == calls[1][1] > 8000


def test_a_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"needs a folder that exists: .*nowhere"):
        fg.save(tmp_path / "nowhere" / "params.npz", fg.ones(1))
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        fg.save(tmp_path / "folder", fg.ones(1))
    assert listing(tmp_path) == ["folder"]


@pytest.mark.skipif(os.name != "posix", reason="modes and symbolic links are POSIX's")
def test_modes_and_links_are_kept(tmp_path):
    path, link = tmp_path / "params.npz", tmp_path / "link.npz"
    mask = os.umask(0o027)
    try:
        fg.save(path, fg.ones(1))
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o600)
    link.symlink_to(path)
    fg.save(link, fg.zeros(1))
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert fg.load(path, like=fg.ones(1)).tolist() == [0.0]


@pytest.mark.parametrize(
    ("leaf", "words"),
    [
        ("adam", r"fg.save: tree\['net'\]\[1\] is the str 'adam'; files hold numbers"),
        (np.asarray(["a"]), r"fg.save: tree\['net'\]\[1\] is an array of dtype <U1"),
        (np.asarray([None]), r"fg.save: tree\['net'\]\[1\] is an array of dtype object"),
        (len, r"fg.save: tree\['net'\]\[1\] is the builtin_function_or_method"),
    ],
)
def test_leaves_that_cannot_be_saved(tmp_path, leaf, words):
    with pytest.raises(DtypeError, match=words):
        fg.save(tmp_path / "tree.npz", {"net": [1.0, leaf]})
    assert listing(tmp_path) == []


def test_traced_values_cannot_be_saved(tmp_path):
    def loss(params):
        fg.save(tmp_path / "tree.npz", params)
        return params["w"]

    for transform in (fg.grad, fg.make_graph):
        with pytest.raises(TracerConversionError, match=r"fg.save of tree\['w'\]"):
            transform(loss)({"w": fg.asarray(1.0)})
    assert listing(tmp_path) == []


# Reading: what does not fit is named.


@pytest.mark.parametrize(
    ("like", "error", "words"),
    [
        ({"a": fg.ones(2), "b": [3]}, TreeError, r"like.npz has tree\['c'\], which `like` has not"),
        ({"a": fg.ones(2)}, TreeError, r"has tree\['b'\]\[0\], which `like` has not \(and 1 more such\)"),
        ({"a": fg.ones(2), "b": [3, 4], "c": None}, TreeError, r"has no tree\['b'\]\[1\], which `like` has"),
        (
            {"a": fg.ones(3), "b": [3], "c": 1.0},
            ShapeError,
            r"tree\['a'\] of .* has shape \(2,\) in the file and \(3,\)",
        ),
        ({"a": fg.ones(2, dtype="float32"), "b": [3], "c": 1.0}, DtypeError, r"has dtype float64 .* and float32 in"),
        (
            {"a": fg.ones(2), "b": [3.0], "c": 1.0},
            DtypeError,
            r"tree\['b'\]\[0\] of .* is a Python int .* Python float",
        ),
        ({"a": fg.ones(2), "b": [True], "c": 1.0}, DtypeError, r"is a Python int in the file and a Python bool"),
        ({"a": fg.ones(2), "b": [fg.asarray(3)], "c": 1.0}, DtypeError, r"a Python int in the file and an array in"),
        ({"a": random.key(0), "b": [3], "c": 1.0}, DtypeError, r"an array in the file and a random key in `like`"),
        ({"a": "w", "b": [3], "c": 1.0}, DtypeError, r"`like` at tree\['a'\] of .* is the str 'w'"),
        (fg.ones(2), TreeError, "has no tree, which `like` has"),
    ],
)
def test_a_tree_that_is_not_like_the_file(tmp_path, like, error, words):
    fg.save(tmp_path / "like.npz", {"a": fg.ones(2), "b": [3], "c": 1.0})
    with pytest.raises(error, match=words) as caught:
        fg.load(tmp_path / "like.npz", like=like)
    assert "test_saving.py" in str(caught.value)


def test_like_is_read_for_its_shapes_only(tmp_path):
    fg.save(tmp_path / "w.npz", {"w": fg.asarray([1.0, 2.0])})
    graph = fg.make_graph(lambda params: fg.load(tmp_path / "w.npz", like=params))({"w": fg.zeros(2)})
    assert graph({"w": fg.zeros(2)})["w"].tolist() == [1.0, 2.0]


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.npz"):
        fg.load(tmp_path / "nothing.npz", like=fg.ones(1))


TREE = {"w": fg.asarray(np.arange(7.0)), "n": 3, "key": random.key(1)}


def content_of(folder):
    fg.save(folder / "good.npz", TREE)
    return (folder / "good.npz").read_bytes()


def test_every_truncation_is_noticed(tmp_path):
    content = content_of(tmp_path)
    for length in range(0, len(content), 7):
        (tmp_path / "cut.npz").write_bytes(content[:length])
        with pytest.raises(DataFileError, match=r"cut.npz is not a file that fg.save wrote, or is truncated"):
            fg.load(tmp_path / "cut.npz", like=TREE)


def test_no_flipped_byte_gives_wrong_numbers(tmp_path):
    content = content_of(tmp_path)
    noticed = 0
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 0x11
        (tmp_path / "changed.npz").write_bytes(changed)
        try:
            found = fg.load(tmp_path / "changed.npz", like=TREE)
        except DataFileError:
            noticed += 1
        else:  # a byte that holds no data, such as a date
            assert same(found, TREE)
    assert noticed > len(content) / 2


def npz(**entries):
    file = io.BytesIO()
    np.savez(file, **entries)
    return file.getvalue()


def zipped(name, content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


KINDS = np.asarray("{}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not a file that fg.save wrote"),
        (b"weights, 1, 2, 3\n" * 100, "is not a file that fg.save wrote"),
        (zipped("readme.txt", "hello"), "is not a file that fg.save wrote"),
        (npz(w=np.ones(2)), "is an .npz archive, but not one that fg.save wrote"),
        (npz(tree=np.ones(2), fgrad_format=np.asarray(1)), "is an .npz archive, but not one that fg.save wrote"),
        (npz(fgrad_format=np.ones(2), fgrad_kinds=KINDS), "is an .npz archive, but not one that fg.save wrote"),
        (npz(fgrad_format=np.asarray(1), fgrad_kinds=np.asarray("[1]")), "contradicts itself"),
        (npz(fgrad_format=np.asarray(1), fgrad_kinds=np.asarray("{")), "contradicts itself"),
        (npz(fgrad_format=np.asarray(2), fgrad_kinds=KINDS), r"has format 2, and this .* up to 1: update fgrad"),
        (npz(fgrad_format=np.asarray(1), fgrad_kinds=np.asarray('{"tree": "spell"}')), "contradicts itself"),
        (npz(tree=np.ones(2), fgrad_format=np.asarray(1), fgrad_kinds=np.asarray('{"tree": "int"}')), "contradicts"),
        (npz(fgrad_format=np.asarray(1), fgrad_kinds=np.asarray('{"tree": "int"}')), "contradicts itself"),
    ],
)
def test_foreign_files(tmp_path, content, words):
    (tmp_path / "foreign.npz").write_bytes(content)
    with pytest.raises(DataFileError, match=f"foreign.npz .*{words}"):
        fg.load(tmp_path / "foreign.npz", like={"w": fg.ones(2)})


def test_pickles_are_never_run(tmp_path):
    np.savez(tmp_path / "evil.npz", tree=np.asarray([print], dtype=object), fgrad_format=1, fgrad_kinds="{}")
    with pytest.raises(DataFileError, match="allow_pickle=False"):
        fg.load(tmp_path / "evil.npz", like=fg.ones(1))
