"""The errors and warnings of fgrad; each also derives from the builtin that a caller would catch."""

from fgrad.core.errors import (
    AxisError,
    DataFileError,
    DtypeError,
    EscapedTracerError,
    FgradError,
    ImmutableError,
    IndexingError,
    KeyReuseError,
    KeyReuseWarning,
    MissingRuleError,
    NotDifferentiableError,
    ShapeError,
    TracerConversionError,
    TreeError,
)

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
]
