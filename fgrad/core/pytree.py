"""Pytrees: containers of leaves that every transform takes apart and puts together again."""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import attrs
import numpy as np

from fgrad.core.errors import TreeError, at_user_line, with_article
from fgrad.core.key import Key
from fgrad.core.shape import ShapeDtype
from fgrad.core.tensor import NUMERIC, Tensor

__all__ = [
    "Structure",
    "flatten",
    "flatten_up_to",
    "flatten_with_path",
    "register_node",
    "register_static",
    "tree_all",
    "tree_equal",
    "tree_leaves",
    "tree_map",
    "tree_map_with_path",
    "tree_structure",
    "unflatten",
]

T = TypeVar("T")
C = TypeVar("C", bound=type)


@attrs.frozen(eq=False, repr=False)
class NodeRule:
    """How a container type is taken apart into children and metadata, and put together again.

    `flatten` returns (children, metadata), metadata compared by ``==``; `entries`, for these two, the pieces of path
    that lead to the children (``['weight']``, ``[2]``, ``.params``), which only messages and path functions need.
    """

    flatten: Callable[[Any], tuple[Sequence[Any], Any]]
    unflatten: Callable[[Any, Sequence[Any]], Any]
    entries: Callable[[Sequence[Any], Any], Sequence[str]]


@attrs.frozen(repr=False)
class Structure:
    """A pytree with its leaves taken out: what `flatten` returns beside the leaves and `unflatten` takes."""

    node_type: type | None
    metadata: Any
    children: tuple[Structure, ...]
    num_leaves: int

    def __repr__(self) -> str:
        return f"Structure({unflatten(self, [_Star()] * self.num_leaves)!r})"


class _Star:
    def __repr__(self) -> str:
        return "*"


_LEAF = Structure(None, None, (), 1)
_RULES: dict[type, NodeRule | None] = {}


def register_node(
    node_type: type,
    flatten_node: Callable[[Any], tuple[Sequence[Any], Any]],
    unflatten_node: Callable[[Any, Sequence[Any]], Any],
) -> None:
    """Makes a class a container of pytrees.

    Args:
        node_type: the class; exactly this class, not its subclasses.
        flatten_node: ``flatten_node(node) -> (children, metadata)``, metadata comparable with ``==``.
        unflatten_node: ``unflatten_node(metadata, children) -> node``; children may be any objects, tracers too.

    Raises:
        ValueError: when the class is registered already.

    >>> import fgrad as fg
    >>> class Pair:
    ...     def __init__(self, x, y):
    ...         self.x, self.y = x, y
    >>> fg.tree.register(Pair, lambda p: ((p.x, p.y), None), lambda _, children: Pair(*children))
    >>> fg.tree.leaves(Pair(1.0, 2.0))
    [1.0, 2.0]
    """
    if _RULES.get(node_type) is not None:
        message = f"{node_type.__name__} is registered as a pytree node already"
        raise ValueError(message)
    _RULES[node_type] = NodeRule(flatten_node, unflatten_node, _positions)


def register_static(node_type: C) -> C:
    """Class decorator: records of this class are structure, compared by value, and hold no leaves.

    Modules, optimizers, schedules and loaders are static: they carry hyper-parameters through transforms untouched.

    >>> import attrs, fgrad as fg
    >>> @fg.tree.static
    ... @attrs.frozen
    ... class Scale:
    ...     factor: float
    >>> fg.tree.leaves({"scale": Scale(2.0), "x": 1.0})
    [1.0]
    """
    _RULES[node_type] = NodeRule(lambda node: ((), node), lambda metadata, _: metadata, _positions)
    return node_type


def _positions(children: Sequence[Any], _: Any) -> Sequence[str]:
    return [f"[{position}]" for position in range(len(children))]


def _dict_entries(_: Sequence[Any], keys: tuple[Any, ...]) -> Sequence[str]:
    return [f"[{key!r}]" for key in keys]


def _flatten_dict(node: dict[Any, Any]) -> tuple[Sequence[Any], Any]:
    try:
        keys = sorted(node)
    except TypeError:
        message = (
            f"the keys of a dict in a pytree must be sortable, so that equal dicts have equal structure: {list(node)}; "
            f"make them all strings, or all numbers"
        )
        raise TreeError(at_user_line(message)) from None
    return [node[key] for key in keys], tuple(keys)


def _sequence_rule(build: Callable[[Sequence[Any]], Any]) -> NodeRule:
    def flatten_sequence(node: Sequence[Any]) -> tuple[Sequence[Any], Any]:
        return node, None

    return NodeRule(flatten_sequence, lambda _, children: build(children), _positions)


_RULES[dict] = NodeRule(_flatten_dict, lambda keys, children: dict(zip(keys, children, strict=True)), _dict_entries)
_RULES[collections.OrderedDict] = NodeRule(
    lambda node: (list(node.values()), tuple(node)),
    lambda keys, children: collections.OrderedDict(zip(keys, children, strict=True)),
    _dict_entries,
)
_RULES[list] = _sequence_rule(list)
_RULES[tuple] = _sequence_rule(tuple)
_RULES[type(None)] = NodeRule(lambda _: ((), None), lambda *_: None, _positions)


def _rule_of(node_type: type) -> NodeRule | None:
    try:
        return _RULES[node_type]
    except KeyError:
        rule = _find_rule(node_type)
        _RULES[node_type] = rule
        return rule


def _find_rule(node_type: type) -> NodeRule | None:
    if issubclass(node_type, Tensor | Key | np.ndarray | np.generic | ShapeDtype):
        return None
    if issubclass(node_type, tuple) and hasattr(node_type, "_fields"):
        entries = [f".{name}" for name in node_type._fields]
        return NodeRule(lambda node: (node, None), lambda _, children: node_type(*children), lambda *_: entries)
    if attrs.has(node_type):
        return _record_rule(node_type, {field.name: field.metadata for field in attrs.fields(node_type)})
    if dataclasses.is_dataclass(node_type):
        return _record_rule(node_type, {field.name: field.metadata for field in dataclasses.fields(node_type)})
    return None


def _record_rule(node_type: type, fields: dict[str, Any]) -> NodeRule:
    dynamic = [name for name, metadata in fields.items() if not metadata.get("static")]
    static = [name for name, metadata in fields.items() if metadata.get("static")]
    entries = [f".{name}" for name in dynamic]

    def flatten_record(node: Any) -> tuple[Sequence[Any], Any]:
        return [getattr(node, name) for name in dynamic], tuple([getattr(node, name) for name in static])

    def unflatten_record(metadata: Any, children: Sequence[Any]) -> Any:
        # Past __init__, so that converters and validators never see a tracer.
        node: Any = object.__new__(node_type)
        for name, value in zip((*dynamic, *static), (*children, *metadata), strict=True):
            object.__setattr__(node, name, value)
        return node

    return NodeRule(flatten_record, unflatten_record, lambda *_: entries)


IsLeaf = Callable[[Any], bool]


def flatten(tree: Any, is_leaf: IsLeaf | None = None) -> tuple[list[Any], Structure]:
    """The leaves of a pytree, in a fixed order, and its structure.

    >>> import fgrad as fg
    >>> leaves, structure = fg.tree.flatten({"b": 2.0, "a": (1.0, None)})
    >>> leaves
    [1.0, 2.0]
    >>> fg.tree.unflatten(structure, [10.0, 20.0])
    {'a': (10.0, None), 'b': 20.0}
    """
    leaves: list[Any] = []
    return leaves, _flatten_into(tree, leaves, is_leaf)


def _flatten_into(tree: Any, leaves: list[Any], is_leaf: IsLeaf | None) -> Structure:
    rule = None if is_leaf is not None and is_leaf(tree) else _rule_of(type(tree))
    if rule is None:
        leaves.append(tree)
        return _LEAF
    children, metadata = rule.flatten(tree)
    before = len(leaves)
    structures = tuple([_flatten_into(child, leaves, is_leaf) for child in children])
    return Structure(type(tree), metadata, structures, len(leaves) - before)


def unflatten(structure: Structure, leaves: Sequence[Any]) -> Any:
    """The pytree of this structure with these leaves; the inverse of `flatten`.

    Raises:
        TreeError: when the number of leaves is not that of the structure.
    """
    leaves = list(leaves)
    if len(leaves) != structure.num_leaves:
        message = f"the structure has {structure.num_leaves} leaves, and {len(leaves)} were given"
        raise TreeError(at_user_line(message))
    return _unflatten_from(structure, iter(leaves))


def _unflatten_from(structure: Structure, leaves: Any) -> Any:
    if structure.node_type is None:
        return next(leaves)
    children = [_unflatten_from(child, leaves) for child in structure.children]
    return _node_rule(structure).unflatten(structure.metadata, children)


def tree_leaves(tree: Any, is_leaf: IsLeaf | None = None) -> list[Any]:
    """The leaves of a pytree in order."""
    return flatten(tree, is_leaf)[0]


def tree_structure(tree: Any, is_leaf: IsLeaf | None = None) -> Structure:
    """The structure of a pytree."""
    return flatten(tree, is_leaf)[1]


def flatten_with_path(tree: Any, is_leaf: IsLeaf | None = None) -> tuple[list[tuple[str, Any]], Structure]:
    """Like `flatten`, with each leaf's path: ``[("['blocks'][2]['weight']", leaf), ...]``."""
    found: list[tuple[str, Any]] = []
    _collect_with_path(tree, "", is_leaf, found)
    return found, tree_structure(tree, is_leaf)


# A function of the module: a local one that calls itself is a reference cycle, which would keep the leaves alive.
def _collect_with_path(node: Any, path: str, is_leaf: IsLeaf | None, found: list[tuple[str, Any]]) -> None:
    rule = None if is_leaf is not None and is_leaf(node) else _rule_of(type(node))
    if rule is None:
        found.append((path, node))
        return
    children, metadata = rule.flatten(node)
    for entry, child in zip(rule.entries(children, metadata), children, strict=True):
        _collect_with_path(child, path + entry, is_leaf, found)


def flatten_up_to(structure: Structure, tree: Any, name: str = "tree") -> list[Any]:
    """The subtrees of `tree` that stand where `structure` has leaves.

    Raises:
        TreeError: when the tree parts from the structure, naming the path, which starts with `name`.
    """
    found: list[Any] = []
    if not _collect(structure, tree, found):
        raise TreeError(at_user_line(_explain_mismatch(structure, tree, name)))
    return found


def _collect(structure: Structure, tree: Any, found: list[Any]) -> bool:
    if structure.node_type is None:
        found.append(tree)
        return True
    if type(tree) is not structure.node_type:
        return False
    children, metadata = _node_rule(structure).flatten(tree)
    if metadata != structure.metadata or len(children) != len(structure.children):
        return False
    return all(map(_collect, structure.children, children, itertools.repeat(found)))


def _node_rule(structure: Structure) -> NodeRule:
    assert structure.node_type is not None
    rule = _rule_of(structure.node_type)
    assert rule is not None, structure.node_type
    return rule


def _explain_mismatch(structure: Structure, tree: Any, path: str) -> str:
    """Where a tree parts from a structure, by a second walk that only a mismatch pays for; empty where it does not."""
    expected = structure.node_type
    if expected is None:
        return ""
    if type(tree) is not expected:
        return f"{path} is {with_article(type(tree))} where {with_article(expected)} is expected"
    rule = _node_rule(structure)
    children, metadata = rule.flatten(tree)
    if metadata != structure.metadata:
        return f"{path} has {_describe_metadata(metadata)} and should have {_describe_metadata(structure.metadata)}"
    if len(children) != len(structure.children):
        return f"{path} has {len(children)} entries where {len(structure.children)} are expected"
    pieces = zip(structure.children, children, rule.entries(children, metadata), strict=True)
    messages = (_explain_mismatch(child_structure, child, path + entry) for child_structure, child, entry in pieces)
    return next(filter(None, messages), "")


def _describe_metadata(metadata: Any) -> str:
    return f"the keys {list(metadata)}" if isinstance(metadata, tuple) else repr(metadata)


def tree_map(function: Callable[..., Any], tree: Any, *rest: Any, is_leaf: IsLeaf | None = None) -> Any:
    """Applies a function to every leaf of a tree (and to what stands there in the `rest`); a tree like the first.

    Raises:
        TreeError: when one of the rest lacks the structure of the first; the message names the path.

    >>> import fgrad as fg
    >>> fg.tree.map(lambda w, g: w - 0.5 * g, {"w": 2.0}, {"w": 1.0})
    {'w': 1.5}
    """
    leaves, structure = flatten(tree, is_leaf)
    others = [flatten_up_to(structure, other, f"tree {i + 2}") for i, other in enumerate(rest)]
    return _unflatten_from(structure, iter([function(*values) for values in zip(leaves, *others, strict=True)]))


def tree_map_with_path(function: Callable[..., Any], tree: Any, *rest: Any, is_leaf: IsLeaf | None = None) -> Any:
    """Like `tree_map`; the function's first argument is the leaf's path, such as ``"['blocks'][2]['weight']"``."""
    found, structure = flatten_with_path(tree, is_leaf)
    others = [flatten_up_to(structure, other, f"tree {i + 2}") for i, other in enumerate(rest)]
    results = [function(path, leaf, *values) for (path, leaf), *values in zip(found, *others, strict=True)]
    return unflatten(structure, results)


def tree_all(predicate: Callable[[Any], bool], tree: Any) -> bool:
    """Whether the predicate holds for every leaf."""
    return all(predicate(leaf) for leaf in tree_leaves(tree))


def tree_equal(first: Any, second: Any) -> bool:
    """Whether two trees have equal structure and leaves equal in kind, dtype, shape and every element (NaN is NaN).

    >>> import fgrad as fg
    >>> fg.tree.equal({"w": fg.asarray([1.0])}, {"w": fg.asarray([1.0])})
    True
    """
    leaves, structure = flatten(first)
    others, other_structure = flatten(second)
    return structure == other_structure and all(map(_leaves_equal, leaves, others))


def _leaves_equal(first: Any, second: Any) -> bool:
    if isinstance(first, Key) and isinstance(second, Key):
        first, second = first.words, second.words
    if not (isinstance(first, NUMERIC) and isinstance(second, NUMERIC)):
        return type(first) is type(second) and bool(first == second)
    x, y = np.asarray(first), np.asarray(second)
    nan = x.dtype.kind in "fc"
    return x.dtype == y.dtype and x.shape == y.shape and bool(np.array_equal(x, y, equal_nan=nan))
