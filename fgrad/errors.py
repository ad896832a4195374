"""The errors and warnings of fgrad; each also derives from the builtin that a caller would catch."""

from fgrad.core.errors import *  # noqa: F403 - the whole of core.errors' hand-written __all__
from fgrad.core.errors import __all__
