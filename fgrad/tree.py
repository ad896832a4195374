"""Pytrees: nested containers of tensors, taken apart, mapped over and compared.

Nodes are dicts (in the order of their sorted keys), lists, tuples, namedtuples, None, attrs and dataclass records
(fields with ``metadata={"static": True}`` are structure), and registered classes. Leaves are everything else: tensors,
arrays, numbers, random keys.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fgrad.core.pytree import Structure, flatten, flatten_up_to, flatten_with_path, unflatten
from fgrad.core.pytree import register_node as register
from fgrad.core.pytree import register_static as static
from fgrad.core.pytree import tree_all as all
from fgrad.core.pytree import tree_equal as equal
from fgrad.core.pytree import tree_leaves as leaves
from fgrad.core.pytree import tree_map as map
from fgrad.core.pytree import tree_map_with_path as map_with_path
from fgrad.core.pytree import tree_structure as structure

if TYPE_CHECKING:
    from fgrad.ops.ravel import ravel_tree as ravel

__all__ = [
    "Structure",
    "all",
    "equal",
    "flatten",
    "flatten_up_to",
    "flatten_with_path",
    "leaves",
    "map",
    "map_with_path",
    "ravel",
    "register",
    "static",
    "structure",
    "unflatten",
]


def __getattr__(name: str) -> Any:
    if name == "ravel":
        value = globals()[name] = importlib.import_module("fgrad.ops.ravel").ravel_tree
        return value
    message = f"module 'fgrad.tree' has no attribute {name!r}"
    raise AttributeError(message)
