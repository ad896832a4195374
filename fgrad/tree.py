"""Pytrees: nested containers of tensors, taken apart, mapped over and compared.

Nodes are dicts (in the order of their sorted keys), lists, tuples, namedtuples, None, attrs and dataclass records
(fields with ``metadata={"static": True}`` are structure), and registered classes. Leaves are everything else: tensors,
arrays, numbers, random keys.
"""

from fgrad.core.pytree import Structure, flatten, flatten_up_to, flatten_with_path, unflatten
from fgrad.core.pytree import register_node as register
from fgrad.core.pytree import register_static as static
from fgrad.core.pytree import tree_all as all
from fgrad.core.pytree import tree_equal as equal
from fgrad.core.pytree import tree_leaves as leaves
from fgrad.core.pytree import tree_map as map
from fgrad.core.pytree import tree_map_with_path as map_with_path
from fgrad.core.pytree import tree_structure as structure
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
