"""The reuse check: draws at two source lines from one key are reported, by the key object and the lines.

A record is kept for every key object that was consumed and is still alive: where it was consumed first. Keys that were
taken out of an array of keys are known by the array and their place in it, so that ``keys[0]`` written twice is one
key. Records hang on weak references, so a million keys leave nothing behind. There is no lock on the way: the first
use of a key is decided by a single operation on a dict, which is atomic.
"""

from __future__ import annotations

import itertools
import math
import sys
import threading
import warnings
import weakref
from types import CodeType, FrameType, TracebackType
from typing import Any, Self, TypeAlias

import attrs

from fgrad.core.bind import staging
from fgrad.core.errors import _LIBRARY_FILES, _LIBRARY_FOLDERS, KeyReuseError, KeyReuseWarning, SourceLine
from fgrad.core.key import Key

__all__ = ["StrictKeys", "consume", "strict_keys"]

# Where a key was consumed: the user's code, the instruction in it (its line is looked up only for a report, which is
# slower), and the level of the staging trace, or 0.
Use: TypeAlias = tuple[CodeType | None, int, int]


class _Record(weakref.ref[Key]):
    """The first use of a key object, or of each key of an array of keys, by position."""

    __slots__ = ("identity", "latest", "uses")
    identity: int
    uses: dict[Any, Use]  # by position; and by (position, code, instruction) the later uses that are settled
    latest: Use


_records: dict[int, _Record] = {}
_is_user_file: dict[str, bool] = {}


def consume(key: Key) -> None:
    """Notes that the user's line consumes this key; called once by each function that draws from a key or splits it.

    Eagerly, another line than the first one warns, and the same line again does not: it is a loop, or a function that
    is called again. While a function is staged it runs once, so there every second use is one.

    Raises:
        KeyReuseError: at any second use, while `strict_keys` is in force.
    """
    position = 0
    root = key
    while root.origin is not None:
        parent, index = root.origin
        position += index * math.prod(root.shape)
        root = parent
    identity = id(root)
    record = _records.get(identity)
    if record is None or record() is not root:
        record = _new_record(root, identity)
    frame = _user_frame(sys._getframe(2))
    stage = staging.trace
    level = 0 if stage is None else stage.level
    use = (None, 0, level) if frame is None else (frame.f_code, frame.f_lasti, level)
    first = record.uses.setdefault(position, use)
    if first is use:
        if root is not key:
            _share(record, position, use)
    elif _strict.holders or level or first != use:
        _judge(record, position, first, use)


def _new_record(root: Key, identity: int) -> _Record:
    record = _Record(root, _forget)
    record.identity = identity
    record.uses = {}
    known = _records.setdefault(identity, record)
    if known() is not root:
        known = _records[identity] = record
    return known


def _forget(record: Any) -> None:
    _records.pop(record.identity, None)


def _share(record: _Record, position: int, use: Use) -> None:
    # Thousands of keys of one array are mostly consumed at one line: they share its tuple.
    latest = getattr(record, "latest", None)
    if latest == use:
        record.uses[position] = latest
    else:
        record.latest = use


def _user_frame(frame: FrameType | None) -> FrameType | None:
    while frame is not None:
        filename = frame.f_code.co_filename
        is_user = _is_user_file.get(filename)
        if is_user is None:
            is_user = not filename.startswith(_LIBRARY_FOLDERS) and filename not in _LIBRARY_FILES
            _is_user_file[filename] = is_user
        if is_user:
            return frame
        frame = frame.f_back
    return None


def _judge(record: _Record, position: int, first: Use, now: Use) -> None:
    staged_twice = now[2] != 0 and first[2] == now[2]
    exact = bool(_strict.holders) or staged_twice
    settled = (position, *now[:2])
    if not exact and not now[2] and settled in record.uses:
        return
    first_line, line = _source_line(first), _source_line(now)
    if not exact and _is_same_line(first_line, line):
        # Another trace of a function runs it anew: a second use is to be one within this trace.
        record.uses[position if now[2] else settled] = now
        return
    once = ", in one run of a staged function" if staged_twice else ""
    message = (
        f"a key was consumed a second time{once}, so the draws are not independent\n"
        f"  first at {first_line or 'an unknown line'}\n"
        f"  now at {line or 'an unknown line'}\n"
        f"Draw from different keys: first_key, second_key = random.split(key), or random.fold_in(key, n)"
    )
    if _strict.holders:
        raise KeyReuseError(message)
    warnings.warn(message, KeyReuseWarning, stacklevel=_user_depth())
    record.uses[settled] = now


def _is_same_line(first: SourceLine | None, second: SourceLine | None) -> bool:
    if first is None or second is None:
        return first is second
    return (first.filename, first.line) == (second.filename, second.line)


def _source_line(use: Use) -> SourceLine | None:
    code, instruction, _ = use
    if code is None:
        return None
    line = next(itertools.islice(code.co_positions(), instruction // 2, None))[0]
    return SourceLine(code.co_filename, line or code.co_firstlineno, code.co_name)


def _user_depth() -> int:
    """The stack level of the user's line, as warnings.warn in the calling function counts it."""
    frame: FrameType | None = sys._getframe(1)
    target = _user_frame(frame)
    depth = 1
    while frame is not None and frame is not target:
        frame = frame.f_back
        depth += 1
    return depth


@attrs.define(eq=False)
class _Strictness:
    lock: threading.Lock = attrs.field(factory=threading.Lock)
    holders: int = 0


_strict = _Strictness()


@attrs.define(eq=False, repr=False)
class StrictKeys:
    """One request for strict key checks, in force until `restore` or the end of its ``with`` block."""

    _held: bool = True

    def restore(self) -> None:
        """Withdraws the request; checks stay strict while another request is in force."""
        with _strict.lock:
            _strict.holders -= self._held
            self._held = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.restore()

    def __repr__(self) -> str:
        return f"<strict key checks, {'in force' if self._held else 'ended'}>"


def strict_keys() -> StrictKeys:
    """Makes every second use of a key an error: a process setting, which changes no result.

    Without it, `KeyReuseWarning` is given when two different source lines consume one key object. In force, whatever
    consumes a key object that was consumed before (also at the same line, also before the setting was made) raises
    KeyReuseError. It is in force, in all threads, from the call on: until the end of the block when used as
    ``with random.strict_keys():``, until ``restore()`` of the result is called, or for the life of the process.
    Requests may overlap in any order.

    >>> import fgrad as fg
    >>> key = fg.random.key(0)
    >>> with fg.random.strict_keys():
    ...     for _ in range(2):
    ...         x = fg.random.uniform(key)
    Traceback (most recent call last):
      ...
    fgrad.core.errors.KeyReuseError: a key was consumed a second time, so the draws are not independent
      first at ...
      now at ...
    Draw from different keys: first_key, second_key = random.split(key), or random.fold_in(key, n)
    """
    with _strict.lock:
        _strict.holders += 1
    return StrictKeys()
