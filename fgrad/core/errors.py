"""The errors and warnings of fgrad, and how the user's own source line is found."""

from __future__ import annotations

import linecache
import os
import sys
from types import FrameType
from typing import NoReturn

import attrs
import numpy as np

__all__ = [
    "AxisError",
    "DataFileError",
    "DtypeError",
    "EscapedTracerError",
    "FgradError",
    "ImmutableError",
    "IndexingError",
    "KeyReuseError",
    "KeyReuseWarning",
    "MissingRuleError",
    "NotDifferentiableError",
    "ShapeError",
    "TracerConversionError",
    "TreeError",
    "at_user_line",
    "refuse_out",
    "with_article",
]


class FgradError(Exception):
    """Base of every error that fgrad raises on purpose; each also derives from the builtin a caller would catch.

    `reason` is the part of the message that does not depend on the shapes of the operands, where there is one.
    """

    reason: str | None = None


class ShapeError(FgradError, ValueError):
    """The shapes of the operands do not fit the operation, or a value is outside what it accepts."""


class AxisError(ShapeError, np.exceptions.AxisError):
    """An axis is out of range; it is an IndexError too, and NumPy's own AxisError."""


class DtypeError(FgradError, TypeError):
    """The dtypes of the operands do not fit the operation."""


class IndexingError(FgradError, IndexError):
    """An index is out of range or of a kind that cannot index a tensor."""


class ImmutableError(FgradError, TypeError):
    """Something tried to change a tensor; the message names the operation that returns a new one instead."""


class TreeError(FgradError, ValueError):
    """Two pytrees that must have one structure do not; the message shows the path where they part."""


class NotDifferentiableError(FgradError, TypeError):
    """A gradient was asked of something that has none: an integer leaf, a non-scalar loss."""


class MissingRuleError(FgradError, NotImplementedError):
    """A primitive has no rule for the transform that met it."""


class TracerConversionError(FgradError, TypeError):
    """A value inside a transform was about to become a plain number or array, which would drop its gradient.

    Failing::

        def loss(x):
            return math.sin(x)          # float(x) inside grad

    Repaired: use fgrad's function, or say that the value is a constant::

        def loss(x):
            return fg.sin(x)            # or: float(fg.stop_gradient(x))
    """


class EscapedTracerError(FgradError, RuntimeError):
    """A value that belongs to a transform was used after that transform had finished.

    Failing::

        seen = []
        fg.grad(lambda x: seen.append(x) or x * x)(3.0)
        seen[0] + 1                     # seen[0] belongs to the finished grad

    Repaired: return what is needed, with ``has_aux=True``::

        grad, seen = fg.grad(lambda x: (x * x, x), has_aux=True)(3.0)
    """


class KeyReuseWarning(UserWarning):
    """Two different source lines drew random numbers from one key, so the draws are not independent."""


class KeyReuseError(FgradError, RuntimeError):
    """A key was consumed twice while ``random.strict_keys()`` was in force."""


class DataFileError(FgradError, ValueError):
    """A file does not hold what its format promises: truncated, corrupt, or of another kind."""


_LIBRARY_FOLDERS = (
    *[
        os.path.join(os.path.abspath(folder), "")
        for folder in (
            os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
            os.path.dirname(np.__file__),
            os.path.dirname(attrs.__file__),
            os.path.join(os.path.dirname(attrs.__file__), os.pardir, "attr"),
        )
    ],
    "<attrs generated ",  # the __init__ of a record, which calls converters and validators
)
_LIBRARY_FILES = tuple(
    os.path.join(os.path.dirname(os.__file__), name) for name in ("contextlib.py", "functools.py", "copy.py")
)


@attrs.frozen(eq=False)
class SourceLine:
    """A line of the user's program: where an operation was called."""

    filename: str
    line: int
    function: str

    @property
    def text(self) -> str:
        """The source text of the line, or an empty string where it cannot be read."""
        return linecache.getline(self.filename, self.line).strip()

    def __str__(self) -> str:
        text = self.text
        place = f"{self.filename}:{self.line}, in {self.function}"
        return f"{place}: {text}" if text else place


def user_line() -> SourceLine | None:
    """The innermost line of the call stack that is neither fgrad's nor NumPy's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        filename = frame.f_code.co_filename
        if not filename.startswith(_LIBRARY_FOLDERS) and filename not in _LIBRARY_FILES:
            return SourceLine(filename, frame.f_lineno, frame.f_code.co_name)
        frame = frame.f_back
    return None


def at_user_line(message: str) -> str:
    """The message with the user's own source line below it, where one is found and it does not end with it already."""
    line = user_line()
    return message if line is None or message.endswith(f"\n  at {line}") else f"{message}\n  at {line}"


def with_article(kind: type) -> str:
    """The name of a type after "a" or "an", for messages."""
    return f"{'an' if kind.__name__[0].lower() in 'aeiou' else 'a'} {kind.__name__}"


def refuse_out(call: str) -> NoReturn:
    """Raises the error for ``out=`` in a call: of a function of fgrad or of NumPy, or of a method."""
    message = f"{call}(out=...) cannot write into an array: tensors are immutable; use the result that it returns"
    raise ImmutableError(at_user_line(message))
