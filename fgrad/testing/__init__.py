"""Tools for tests: check_grads, and hypothesis strategies for tensors, shapes and pytrees."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from fgrad.testing._check_grads import check_grads

__all__ = ["check_grads", "strategies"]


def __getattr__(name: str) -> ModuleType | Any:
    # Loaded when it is asked for: it needs hypothesis, and check_grads does not.
    if name == "strategies":
        return importlib.import_module("fgrad.testing.strategies")
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)


def __dir__() -> list[str]:
    return sorted(__all__)
