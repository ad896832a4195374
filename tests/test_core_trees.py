"""Pytrees: every kind of node is taken apart and put together, and errors show the path."""

from __future__ import annotations

import collections
import dataclasses
import typing

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fgrad as fg
from fgrad.errors import TreeError
from fgrad.testing import strategies

Point = collections.namedtuple("Point", ["x", "y"])  # noqa: PYI024 - the untyped kind is what is tested


class TypedPoint(typing.NamedTuple):
    x: object
    y: object = 2.0


@attrs.frozen
class Layer:
    weight: object
    bias: object = None
    activation: str = attrs.field(default="relu", metadata={"static": True})


@attrs.define
class Mutable:
    value: object


@dataclasses.dataclass(frozen=True)
class State:
    mean: object
    count: int = dataclasses.field(default=0, metadata={"static": True})


@attrs.frozen
class Strict:
    value: float = attrs.field(converter=float, validator=attrs.validators.instance_of(float))
    derived: object = attrs.field(init=False, default=7.0)


@fg.tree.static
@attrs.frozen
class Hyper:
    rate: float


NODES = [
    {"b": 1.0, "a": 2.0},
    collections.OrderedDict([("b", 1.0), ("a", 2.0)]),
    [1.0, 2.0],
    (1.0, 2.0),
    (),
    {},
    [],
    None,
    Point(1.0, 2.0),
    TypedPoint(1.0),
    Layer(1.0, [2.0], "tanh"),
    Mutable(1.0),
    State(1.0, 3),
    Strict(1.0),
    Hyper(0.1),
    5.0,
    {"nested": [(1.0, None), {"deep": Point(Layer(1.0), {})}]},
]


@pytest.mark.parametrize("tree", NODES, ids=lambda tree: type(tree).__name__)
def test_flatten_and_unflatten(tree):
    leaves, structure = fg.tree.flatten(tree)
    again = fg.tree.unflatten(structure, leaves)
    assert type(again) is type(tree)
    assert again == tree
    assert fg.tree.structure(again) == structure
    assert hash(structure) == hash(fg.tree.structure(again))
    assert structure.num_leaves == len(leaves) == len(fg.tree.leaves(tree))
    assert fg.tree.map(lambda leaf: leaf, tree) == tree
    assert fg.tree.equal(tree, again)


@given(strategies.pytrees(), strategies.pytrees())
def test_equal_is_equality_of_structure_and_leaves(first, second):
    assert fg.tree.equal(first, first)
    leaves, structure = fg.tree.flatten(first)
    others, other_structure = fg.tree.flatten(second)
    same = structure == other_structure and all(
        np.array_equal(x, y) and x.dtype == y.dtype for x, y in zip(leaves, others, strict=True)
    )
    assert fg.tree.equal(first, second) == same


def test_leaves():
    leaves = [1, 2.0, "text", b"x", fg.asarray([1.0]), np.ones(2), np.float32(1.0), object(), len, {1}, range(2)]
    assert all(found is given for found, given in zip(fg.tree.leaves(leaves), leaves, strict=True))
    assert fg.tree.leaves(None) == []


def test_dicts_are_sorted_so_that_equal_dicts_have_equal_structure():
    first, second = {"b": 1.0, "a": 2.0}, {"a": 2.0, "b": 1.0}
    assert fg.tree.leaves(first) == fg.tree.leaves(second) == [2.0, 1.0]
    assert fg.tree.structure(first) == fg.tree.structure(second)
    assert fg.tree.leaves({2: "two", 10: "ten", 1: "one"}) == ["one", "two", "ten"]
    with pytest.raises(TreeError, match=r"sortable.*\['a', 1\]; make them all strings.*\n  at .*test_core_trees\.py"):
        fg.tree.leaves({"a": 1.0, 1: 2.0})


def test_an_ordered_dict_keeps_its_order():
    tree = collections.OrderedDict([("b", 1.0), ("a", 2.0)])
    assert fg.tree.leaves(tree) == [1.0, 2.0]
    assert list(fg.tree.map(lambda x: x, tree)) == ["b", "a"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((1.0, 2.0), [1.0, 2.0]),
        ((1.0, 2.0), Point(1.0, 2.0)),
        ({"a": 1.0}, {"b": 1.0}),
        ([1.0], [1.0, 2.0]),
        ([None], [1.0]),
        (Layer(1.0, None, "relu"), Layer(1.0, None, "tanh")),
        (State(1.0, 1), State(1.0, 2)),
        (Hyper(0.1), Hyper(0.2)),
        ({"a": ()}, {"a": None}),
    ],
)
def test_different_trees_have_different_structures(first, second):
    assert fg.tree.structure(first) != fg.tree.structure(second)
    assert not fg.tree.equal(first, second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1.0, 2.0),
        (1.0, 1),
        (True, 1),
        (fg.asarray([1.0]), fg.asarray([1.0, 1.0])),
        (fg.asarray([1.0]), fg.asarray([1.0], "float32")),
        ("a", "b"),
        ("a", 1.0),
        (fg.asarray([0.0]), fg.asarray([np.nan])),
    ],
)
def test_equal_tells_leaves_apart(first, second):
    assert not fg.tree.equal([first], [second])


def test_equal_takes_nan_for_itself_and_compares_across_kinds_of_array():
    assert fg.tree.equal(fg.asarray([np.nan, 1.0]), fg.asarray([np.nan, 1.0]))
    assert fg.tree.equal(fg.asarray([1.0]), np.array([1.0]))
    assert fg.tree.equal({"f": len, "s": "x"}, {"f": len, "s": "x"})


def test_static_fields_are_structure():
    structure = fg.tree.structure(Layer(1.0, 2.0, "tanh"))
    assert fg.tree.unflatten(structure, [10.0, 20.0]) == Layer(10.0, 20.0, "tanh")
    assert fg.tree.leaves(State(1.0, 3)) == [1.0]


def test_static_records_hold_no_leaves_and_pass_through():
    hyper = Hyper(0.1)
    assert fg.tree.leaves([hyper]) == []
    gradient = fg.grad(lambda tree: tree["hyper"].rate * tree["x"] ** 2)({"hyper": hyper, "x": 3.0})
    assert gradient["hyper"] is hyper
    assert float(gradient["x"]) == pytest.approx(0.6)


def test_unflatten_bypasses_converters_and_validators():
    marker = object()
    record = fg.tree.map(lambda leaf: marker, Strict(1.0))
    assert record.value is marker
    assert record.derived is marker
    gradient = fg.grad(lambda record: record.value**2)(Strict(3.0))
    assert float(gradient.value) == 6.0
    assert float(gradient.derived) == 0.0


def test_unflatten_of_records_without_init():
    @attrs.frozen(init=False)
    class NoInit:
        value: object

        def __init__(self):
            self.__attrs_init__(1.0)

    assert fg.tree.map(lambda x: x + 1, NoInit()).value == 2.0


def test_dataclasses_with_slots_and_private_fields():
    @dataclasses.dataclass(slots=True)
    class Slotted:
        value: object

    @attrs.frozen
    class Private:
        _value: object

    assert fg.tree.map(lambda x: x + 1, Slotted(1.0)) == Slotted(2.0)
    assert fg.tree.map(lambda x: x + 1, Private(1.0)) == Private(2.0)


def test_register():
    class Pair:
        def __init__(self, first, second, name):
            self.first, self.second, self.name = first, second, name

    assert len(fg.tree.leaves(Pair(1.0, 2.0, "p"))) == 1

    class Triple(Pair):
        pass

    fg.tree.register(
        Triple,
        lambda pair: ((pair.first, pair.second), pair.name),
        lambda name, children: Triple(*children, name),
    )
    pair = Triple(1.0, [2.0], "p")
    assert fg.tree.leaves(pair) == [1.0, 2.0]
    doubled = fg.tree.map(lambda x: 2 * x, pair)
    assert (doubled.first, doubled.second, doubled.name) == (2.0, [4.0], "p")
    gradient = fg.grad(lambda pair: pair.first * pair.second[0])(pair)
    assert (float(gradient.first), float(gradient.second[0])) == (2.0, 1.0)
    assert fg.tree.flatten_with_path(pair)[0] == [("[0]", 1.0), ("[1][0]", 2.0)]
    with pytest.raises(ValueError, match="Triple is registered as a pytree node already"):
        fg.tree.register(Triple, None, None)


def test_map_over_several_trees():
    result = fg.tree.map(lambda x, y, z: (x, y, z), {"a": 1, "b": [2]}, {"a": "x", "b": ["y"]}, {"a": None, "b": [{}]})
    assert result == {"a": (1, "x", None), "b": [(2, "y", {})]}


def test_map_with_path():
    tree = {"blocks": [Layer(1.0, 2.0), Point(3.0, (4.0,))]}
    paths = fg.tree.map_with_path(lambda path, leaf: f"params{path}={leaf}", tree)
    assert paths == {
        "blocks": [
            Layer("params['blocks'][0].weight=1.0", "params['blocks'][0].bias=2.0"),
            Point("params['blocks'][1].x=3.0", ("params['blocks'][1].y[0]=4.0",)),
        ]
    }
    found, structure = fg.tree.flatten_with_path(tree)
    assert [leaf for _, leaf in found] == fg.tree.leaves(tree)
    assert structure == fg.tree.structure(tree)
    assert fg.tree.map_with_path(lambda path, x, y: (path, x + y), [1], [2]) == [("[0]", 3)]


def test_is_leaf():
    tree = {"a": (1.0, 2.0), "b": None}
    is_pair = lambda node: isinstance(node, tuple)
    assert fg.tree.leaves(tree, is_leaf=is_pair) == [(1.0, 2.0)]
    assert fg.tree.map(sum, tree, is_leaf=is_pair) == {"a": 3.0, "b": None}
    assert fg.tree.leaves(tree, is_leaf=lambda node: node is None) == [1.0, 2.0, None]


@pytest.mark.parametrize(
    ("tree", "other", "text"),
    [
        ({"a": [1.0]}, {"a": (1.0,)}, r"tree 2\['a'\] is a tuple where a list is expected"),
        ({"a": 1.0}, {"b": 1.0}, r"tree 2 has the keys \['b'\] and should have the keys \['a'\]"),
        ({"a": [1.0, 2.0]}, {"a": [1.0]}, r"tree 2\['a'\] has 1 entries where 2 are expected"),
        ([{"x": None}], [{"x": 1.0}], r"tree 2\[0\]\['x'\] is a float where a NoneType is expected"),
        (Layer(1.0, Point(1.0, 2.0)), Layer(1.0, 5.0), r"tree 2\.bias is a float where a Point is expected"),
        (Layer(1.0, 2.0), Layer(1.0, 2.0, "tanh"), r"tree 2 has .*tanh"),
    ],
)
def test_trees_that_do_not_fit_name_the_path(tree, other, text):
    with pytest.raises(TreeError, match=text):
        fg.tree.map(lambda x, y: x, tree, other)


def test_flatten_up_to_names_what_it_is_told():
    structure = fg.tree.structure({"w": 1.0, "b": [1.0]})
    assert fg.tree.flatten_up_to(structure, {"w": {"deeper": 1}, "b": [None]}, "gradients") == [None, {"deeper": 1}]
    with pytest.raises(TreeError, match=r"gradients\['b'\] is a NoneType where a list is expected"):
        fg.tree.flatten_up_to(structure, {"w": 1.0, "b": None}, "gradients")


def test_unflatten_counts_leaves():
    structure = fg.tree.structure([1.0, 2.0])
    for leaves in ([1.0], [1.0, 2.0, 3.0]):
        with pytest.raises(TreeError, match=rf"2 leaves, and {len(leaves)} were given\n  at .*test_core_trees"):
            fg.tree.unflatten(structure, leaves)


def test_a_structure_shows_itself():
    assert repr(fg.tree.structure({"a": (1.0, None)})) == "Structure({'a': (*, None)})"


@given(
    st.recursive(
        st.integers() | st.none(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
        max_leaves=8,
    )
)
def test_any_tree_of_plain_containers(tree):
    leaves, structure = fg.tree.flatten(tree)
    assert fg.tree.unflatten(structure, leaves) == tree
    paths = [path for path, _ in fg.tree.flatten_with_path(tree)[0]]
    assert len(set(paths)) == len(paths)
    assert all(eval(f"tree{path}", {"tree": tree}) == leaf for path, leaf in zip(paths, leaves, strict=True))


def test_mapping_changes_nothing():
    tree = {"a": [1.0, {"b": 2.0}], "c": Mutable(3.0)}
    inner, record = tree["a"], tree["c"]
    fg.tree.map(lambda x: x + 1, tree)
    assert tree["a"] is inner
    assert tree["c"] is record
    assert (tree["a"][0], tree["a"][1]["b"], record.value) == (1.0, 2.0, 3.0)
