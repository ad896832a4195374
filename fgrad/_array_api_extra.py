"""Teaches array_api_extra.at, which writes into arrays that it does not know, that tensors have an `.at` of their own.

``array_api_extra.at(x, i).set(v)`` assigns ``x[i] = v`` unless x is JAX's, and has no place where another library could
say that its arrays are immutable. So this answers for tensors in front of its one method. It happens when that
package (or a copy that another one vendors) is imported, before fgrad or after it; where it never is, nothing happens.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from fgrad.core.errors import ShapeError, at_user_line
from fgrad.core.tensor import Tensor

__all__ = ["adapt_array_api_extra"]

_MODULE = "array_api_extra._at"


def adapt_array_api_extra() -> None:
    """Adapts the package where it is loaded already, and sees to it that it is adapted when it is loaded later."""
    for name, module in list(sys.modules.items()):
        if _is_wanted(name):
            _adapt(module)
    sys.meta_path.insert(0, _Finder)


class _Finder:
    """Finds that one module as Python does, and adapts it after it has run."""

    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's own spec; None for every other module, which Python's finders then find."""
        if not _is_wanted(fullname):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        loader: Any = None if spec is None else spec.loader
        if loader is not None:
            run = loader.exec_module

            def run_and_adapt(module: ModuleType) -> None:
                run(module)
                _adapt(module)

            loader.exec_module = run_and_adapt
        return spec


def _is_wanted(name: str) -> bool:
    return name.endswith(_MODULE) and name[: -len(_MODULE)][-1:] in ("", ".")


def _adapt(module: ModuleType) -> None:
    updates: Any = getattr(module, "at", None)
    theirs = getattr(updates, "_op", None)
    if theirs is None:  # a release that works in another way
        return

    def update(self: Any, at_op: Any, in_place: Any, combine: Any, value: Any, /, *args: Any, **options: Any) -> Any:
        x, index = self._x, self._idx
        if not isinstance(x, Tensor) or index is getattr(module, "_undef", None):
            return theirs(self, at_op, in_place, combine, value, *args, **options)
        if options.get("copy") is False:
            message = "at(x, i, copy=False) would write into a tensor, and tensors are immutable: use the result"
            raise ShapeError(at_user_line(message))  # a ValueError, as that package promises
        place = x.at[index]
        own = getattr(place, at_op.value, None)
        return place.set(combine(x[index], value)) if own is None else own(value)

    updates._op = update
