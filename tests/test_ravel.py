"""fg.tree.ravel: trees as vectors and back, what stays out of the vector, and what cannot be in it."""

from __future__ import annotations

from typing import NamedTuple

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fgrad as fg
from fgrad import errors, random

RNG = np.random.default_rng(5)
TREE = {"w": RNG.normal(size=(2, 3)), "layers": [{"b": RNG.normal(size=2)}, (None, RNG.normal(size=()))]}


@attrs.frozen
class Record:
    scale: object
    shift: object
    name: str = attrs.field(default="record", metadata={"static": True})


class Pair(NamedTuple):
    first: object
    second: object


def described(tree):
    return fg.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), tree)


def test_the_vector_has_the_leaves_in_order():
    vector, unravel = fg.tree.ravel(TREE)
    leaves = fg.tree.leaves(TREE)
    assert isinstance(vector, fg.Tensor)
    np.testing.assert_array_equal(np.asarray(vector), np.concatenate([leaf.ravel() for leaf in leaves]))
    assert fg.tree.equal(unravel(vector), fg.tree.map(fg.asarray, TREE))
    assert fg.tree.equal(unravel(np.zeros(9)), fg.tree.map(fg.zeros_like, TREE))
    assert repr(unravel) == "<unravel of 9 elements to 3 leaves>"


def test_elements_are_in_row_major_order():
    vector, unravel = fg.tree.ravel(np.asfortranarray([[1.0, 2.0], [3.0, 4.0]]))
    assert vector.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert unravel(vector).tolist() == [[1.0, 2.0], [3.0, 4.0]]


LEAVES = st.one_of(
    st.floats(-1e3, 1e3),
    st.integers(-5, 5),
    st.booleans(),
    hnp.arrays(
        st.sampled_from(["float32", "float64", "int32", "bool"]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
        elements=st.integers(0, 1),
    ),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        st.tuples(inner, st.none()),
        st.builds(Record, inner, inner),
        st.builds(Pair, inner, inner),
    ),
    max_leaves=6,
)


@given(TREES)
def test_there_and_back(tree):
    vector, unravel = fg.tree.ravel(tree)
    floating = [leaf for leaf in fg.tree.leaves(tree) if np.asarray(leaf).dtype.kind == "f"]
    assert vector.shape == (sum(np.size(leaf) for leaf in floating),)
    assert vector.dtype == (np.result_type(*floating) if floating else np.float64)
    back = unravel(vector)
    assert fg.tree.structure(back) == fg.tree.structure(tree)
    for leaf, before in zip(fg.tree.leaves(back), fg.tree.leaves(tree), strict=True):
        if np.asarray(before).dtype.kind != "f":
            assert fg.tree.equal(leaf, before)
            continue
        assert isinstance(leaf, fg.Tensor)
        assert leaf.shape == np.shape(before)
        assert leaf.dtype == (vector.dtype if type(before) is float else before.dtype)
        np.testing.assert_array_equal(np.asarray(leaf), np.asarray(before, leaf.dtype))
    assert fg.tree.equal(fg.tree.ravel(back)[0], vector)


@pytest.mark.parametrize("tree", [{}, [], None, {"n": 3, "flags": np.array([True])}, fg.ones((0, 4))])
def test_a_tree_without_elements(tree):
    vector, unravel = fg.tree.ravel(tree)
    assert (vector.shape, vector.dtype) == ((0,), np.float64)
    assert fg.tree.equal(unravel(vector), tree)


def test_dtypes_are_promoted_and_restored():
    tree = {"single": np.ones(2, "float32"), "double": np.full(1, 0.1), "half": np.ones((), "float16")}
    vector, unravel = fg.tree.ravel(tree)
    assert vector.dtype == np.float64
    assert described(unravel(vector)) == {
        "double": ((1,), "float64"),
        "half": ((), "float16"),
        "single": ((2,), "float32"),
    }


def test_python_numbers_promote_nothing():
    vector, unravel = fg.tree.ravel({"w": np.ones(2, "float32"), "scale": 0.5})
    assert vector.dtype == np.float32
    back = unravel(vector)
    assert described(back) == {"scale": ((), "float32"), "w": ((2,), "float32")}
    assert (back["scale"] * back["w"]).dtype == np.float32
    assert fg.tree.ravel([1.0, 2])[0].dtype == np.float64


def test_a_vector_of_another_dtype_is_converted():
    vector, unravel = fg.tree.ravel({"w": np.ones(2, "float32")})
    assert described(unravel(np.asarray(vector, float))) == {"w": ((2,), "float32")}
    assert described(unravel([1, 2])) == {"w": ((2,), "float32")}


def test_complex_leaves():
    tree = {"z": np.array([1.0 + 2.0j]), "w": np.array([3.0])}
    vector, unravel = fg.tree.ravel(tree)
    assert vector.tolist() == [3.0 + 0.0j, 1.0 + 2.0j]
    with pytest.raises(errors.DtypeError, match="a vector of dtype complex128 cannot fill a leaf of dtype float64"):
        unravel(vector)
    only, unravel = fg.tree.ravel(tree["z"])
    assert fg.tree.equal(unravel(only), fg.asarray(tree["z"]))


def test_integers_stay_out_and_come_back():
    labels = np.array([1, 2])
    vector, unravel = fg.tree.ravel({"labels": labels, "step": 3, "w": 1.5})
    assert vector.tolist() == [1.5]
    back = unravel(vector * 2.0)
    assert back["step"] == 3
    labels[:] = 7
    assert unravel(vector)["labels"].tolist() == back["labels"].tolist() == [1, 2]
    assert back["w"] == 3.0


# Inside transforms.


def loss(tree):
    return fg.sum(fg.sin(tree["w"]) ** 2) + tree["layers"][1][1] * fg.sum(tree["layers"][0]["b"])


def test_gradients_go_both_ways():
    vector, unravel = fg.tree.ravel(TREE)
    gradient = fg.grad(loss)(TREE)
    flat = fg.grad(lambda v: loss(unravel(v)))(vector)
    np.testing.assert_allclose(np.asarray(flat), np.asarray(fg.tree.ravel(gradient)[0]), rtol=1e-14)
    weights = RNG.normal(size=9)
    through = fg.grad(lambda tree: fg.sum(fg.tree.ravel(tree)[0] * weights))(TREE)
    assert fg.tree.equal(through, unravel(weights))


def test_every_transform_goes_through():
    def normed(tree):
        vector, unravel = fg.tree.ravel(tree)
        return unravel(vector / fg.sqrt(fg.sum(vector * vector)))

    vector, unravel = fg.tree.ravel(TREE)
    expected = normed(TREE)
    assert fg.tree.equal(fg.make_graph(normed)(TREE)(TREE), expected)
    twice = fg.vmap(normed)(fg.tree.map(lambda leaf: np.stack([leaf, 2.0 * leaf]), TREE))
    for leaf, single in zip(fg.tree.leaves(twice), fg.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(np.asarray(leaf), np.stack([single, single]), rtol=1e-14)
    _, tangent = fg.jvp(normed, (TREE,), (TREE,))
    np.testing.assert_allclose(np.asarray(fg.tree.ravel(tangent)[0]), np.zeros(9), atol=1e-15)
    assert fg.hessian(lambda v: loss(unravel(v)))(vector).shape == (9, 9)


def test_unravel_of_the_tracers_of_a_batch():
    vector, unravel = fg.tree.ravel(TREE)
    batch = fg.stack([vector, -vector])
    assert described(fg.vmap(unravel)(batch))["w"] == ((2, 2, 3), "float64")


# Messages.


def test_a_vector_of_the_wrong_length_names_both():
    _, unravel = fg.tree.ravel(TREE)
    with pytest.raises(errors.ShapeError, match=r"the tree has 9 floating-point elements.*this one has length 8"):
        unravel(np.zeros(8))
    with pytest.raises(errors.ShapeError, match=r"the tree has 9 floating-point elements.*this one has shape \(3, 3\)"):
        unravel(np.zeros((3, 3)))
    with pytest.raises(errors.ShapeError, match=r"has shape \(\)"):
        unravel(1.0)


def test_leaves_that_are_no_numbers_name_their_path():
    with pytest.raises(errors.TreeError, match=r"tree\['keys'\]\[0\] is a random key"):
        fg.tree.ravel({"keys": [random.key(0)], "w": 1.0})
    with pytest.raises(errors.TreeError, match=r"tree\['name'\] is a str"):
        fg.tree.ravel({"name": "text"})
    with pytest.raises(errors.TreeError, match="and tree is a str"):
        fg.tree.ravel("text")
