"""Late modules: those whose operations load when something first asks for one, so that `import fgrad` stays quick."""

from __future__ import annotations

import importlib

__all__ = ["late_modules", "load_late_modules"]

# Their names, which the public face lists. Whoever looks an operation up in a table that modules fill on import (the
# registry, NumPy's counterparts, the methods of Tensor) loads them before it says that there is none.
late_modules: list[str] = []


def load_late_modules() -> None:
    """Imports every late module; once that has happened, it is a few lookups."""
    for name in late_modules:
        importlib.import_module(name)
