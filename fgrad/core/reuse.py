"""The reuse check: draws at two source lines from one key are reported, by the key object and the lines.

A record is kept for every key object that was consumed and is still alive: where it was consumed first. Keys that were
taken out of an array of keys are known by the array and their place in it, so that ``keys[0]`` written twice is one
key. Records hang on weak references, so a million keys leave nothing behind. There is no lock on the way: the first
use of a key is decided by a single operation on a dict, which is atomic.

Functions of which one will run (the branches of cond) are judged as alternatives: each by what was consumed before
them, and afterwards the keys that any of them consumed count as consumed once.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from types import CodeType, FrameType, TracebackType
from typing import Any, Self, TypeAlias

import attrs

from fgrad.core.bind import staging
from fgrad.core.errors import _LIBRARY_FILES, _LIBRARY_FOLDERS, KeyReuseError, KeyReuseWarning, SourceLine
from fgrad.core.key import Key

__all__ = ["StrictKeys", "alternatives", "consume", "rehearsal", "strict_keys"]

# Where a key was consumed: the user's code, the instruction in it (its line is looked up only for a report, which is
# slower), and the run of a staged function, with all that is staged inside of it, or 0.
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
    run = staging.run
    use = (None, 0, run) if frame is None else (frame.f_code, frame.f_lasti, run)
    first = record.uses.setdefault(position, use)
    if first is use:
        if root is not key:
            _share(record, position, use)
        if _journal.entries is not None:
            _journal.entries.append((record, position, None, use))
    elif _strict.holders or run or first != use:
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
        if now[2] and _journal.entries is not None:
            _journal.entries.append((record, position, first, now))
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


# A change of a record: the key's position in it, the use that stood there, and the one that stands there now.
_Change: TypeAlias = tuple[_Record, int, Use | None, Use]


class _Journal(threading.local):
    entries: list[_Change] | None = None


# The changes that this thread makes inside of a rehearsal.
_journal = _Journal()


@contextlib.contextmanager
def rehearsal() -> Iterator[list[_Change]]:
    """What is consumed inside counts inside, and is forgotten at the end: for a function that runs for its types."""
    outer = _journal.entries
    changes: list[_Change] = []
    _journal.entries = changes
    try:
        yield changes
    finally:
        _journal.entries = outer
        for record, position, before, _ in reversed(changes):
            if before is None:
                record.uses.pop(position, None)
            else:
                record.uses[position] = before


@contextlib.contextmanager
def alternatives() -> Iterator[Callable[[], contextlib.AbstractContextManager[None]]]:
    """Functions of which one will run: ``with alternatives() as one_of:``, and each in a ``with one_of():`` of its own.

    None of them knows what the others consumed; after all of them, what any of them consumed counts as consumed once.
    """
    changes: list[_Change] = []

    @contextlib.contextmanager
    def one_of() -> Iterator[None]:
        with rehearsal() as made:
            yield
        changes.extend(made)

    yield one_of
    for record, position, _, use in changes:
        before = record.uses.get(position)
        record.uses[position] = use
        if _journal.entries is not None:
            _journal.entries.append((record, position, before, use))


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
