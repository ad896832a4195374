"""Pullback: the reverse-mode derivative at a point, a pytree: residuals are leaves, the program is structure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import attrs

from fgrad.core.graph import Graph
from fgrad.core.key import Key
from fgrad.core.methods import operations
from fgrad.core.primal import zeros_for
from fgrad.core.pytree import Structure, flatten, flatten_up_to, register_node, unflatten
from fgrad.core.shape import PYTHON_NUMBERS, ShapeDtype, shape_dtype_of
from fgrad.core.tape import Entry, walk_back
from fgrad.core.tensor import NUMERIC, Tensor
from fgrad.transforms.calling import fit_linear, leaf_paths, require_kept

__all__ = ["Ends", "Pullback"]


@attrs.frozen
class Ends:
    """Where a tape begins and ends: slots (0: not on the tape), types (None: no cotangent) and structures."""

    in_slots: tuple[int, ...]
    in_avals: tuple[ShapeDtype | None, ...]
    in_structure: Structure
    out_slots: tuple[int, ...]
    out_avals: tuple[ShapeDtype | None, ...]
    out_structure: Structure


@attrs.frozen(eq=False, repr=False)
class Pullback:
    """The linear map from cotangents of a function's output to cotangents of its inputs; call it as often as needed.

    A pullback is a pytree whose leaves are the values that it keeps from the run of the function, so that it can be
    returned through `vmap`, `jvp` and the like. What `vmap` returns is one of a batch, and is applied under `vmap`.

    >>> import fgrad as fg
    >>> pullbacks = fg.vmap(lambda x: fg.vjp(fg.sin, x)[1])(fg.asarray([0.0, 1.0]))
    >>> fg.vmap(lambda pullback, u: pullback(u))(pullbacks, fg.asarray([2.0, 2.0]))
    (Tensor([2.        , 1.08060461], dtype=float64),)
    """

    ends: Ends
    # Either the entries of the tape as they were recorded, or, after a passage through a tree, the program and values.
    _entries: list[Entry | None] | None
    _program: Program | None = None
    _values: Sequence[Any] = ()

    def __repr__(self) -> str:
        return f"<pullback of {len(self.ends.out_slots)} outputs to {len(self.ends.in_slots)} inputs>"

    def __call__(self, cotangent: Any) -> tuple[Any, ...]:
        """The cotangent of every argument, for a cotangent of the output's structure, shapes and dtypes.

        Integer, boolean and key leaves of the arguments have the cotangent None, and so have those of the output; None
        stands for a zero elsewhere too.

        Raises:
            TreeError, ShapeError, DtypeError: when the cotangent is not like the output, naming the path.
        """
        given = flatten_up_to(self.ends.out_structure, cotangent, "cotangent")
        fitted = [
            leaf if leaf is None or aval is None or _fits(leaf, aval) else self._fit(leaf, aval, position)
            for position, (leaf, aval) in enumerate(zip(given, self.ends.out_avals, strict=True))
        ]
        return unflatten(self.ends.in_structure, self.pull(fitted))  # type: ignore[no-any-return]

    def _fit(self, leaf: Any, aval: ShapeDtype, position: int) -> Any:
        path = leaf_paths(self.ends.out_structure)[position]
        return fit_linear(leaf, aval, f"cotangent{path}", "the output")

    def pull(self, given: Sequence[Any]) -> list[Any]:
        """The cotangents of the leaves of the inputs, zeros included, for those of the leaves of the output."""
        ends = self.ends
        entries = self._entries
        if entries is None:
            assert self._program is not None
            entries = self._program.with_values(self._values)
        cotangents: list[Any] = [None] * len(entries)
        for slot, leaf in zip(ends.out_slots, given, strict=True):
            if slot and leaf is not None:
                before = cotangents[slot]
                cotangents[slot] = leaf if before is None else operations.accumulate(before, leaf)
        walk_back(entries, cotangents, free=False)
        return [
            None if aval is None else zeros_for(aval) if cotangents[slot] is None else cotangents[slot]
            for slot, aval in zip(ends.in_slots, ends.in_avals, strict=True)
        ]

    def taken_apart(self) -> tuple[Sequence[Any], Program]:
        """The values that the pullback keeps, each once, and its program."""
        if self._program is not None:
            return self._values, self._program
        assert self._entries is not None
        return _take_apart(self._entries, self.ends.out_slots)


def _fits(leaf: Any, aval: ShapeDtype) -> bool:
    return isinstance(leaf, Tensor) and leaf.shape == aval.shape and leaf.dtype == aval.dtype and not leaf.weak


@attrs.frozen
class Constant:
    """A part of a program: a Python number, equal to another by type and bits, or an object, equal to itself."""

    kind: type
    identity: str | int
    value: Any = attrs.field(eq=False)


# What stands for an operand or a result in a program: a position among the values, or a constant.
Reference: TypeAlias = int | Constant


@attrs.frozen
class Step:
    """An entry of a tape without its values."""

    primitive: Any
    slots: tuple[int, ...]
    primals: tuple[Reference, ...]
    out: Reference | tuple[Reference, ...]
    params: tuple[tuple[str, Any], ...] | None
    residuals: tuple[tuple[Reference, ...], Structure] | None


@attrs.frozen
class Program:
    """A tape without its values: a step, (slot of the operation, position) of one result of several, or None."""

    steps: tuple[Step | tuple[int, int] | None, ...]
    avals: tuple[ShapeDtype | None, ...]

    def with_values(self, values: Sequence[Any]) -> list[Entry | None]:
        """The entries of the tape with these values.

        Raises:
            ShapeError, TreeError: when they are not the values of one example.
        """
        for value, aval in zip(values, self.avals, strict=True):
            if aval is not None:
                require_kept(value, aval, "pullback", "pullback, u: pullback(u)")

        def find(reference: Reference) -> Any:
            return reference.value if isinstance(reference, Constant) else values[reference]

        return [step if step is None else _entry(step, find) for step in self.steps]


def _entry(step: Step | tuple[int, int], find: Callable[[Reference], Any]) -> Entry:
    if isinstance(step, tuple):
        return (None, *step)
    primals = [find(reference) for reference in step.primals]
    out = tuple(map(find, step.out)) if isinstance(step.out, tuple) else find(step.out)
    params = None if step.params is None else dict(step.params)
    if step.residuals is not None:
        references, structure = step.residuals
        params = {**(params or {}), "residuals": unflatten(structure, [find(reference) for reference in references])}
    return (step.primitive, step.slots, primals, out, params)


def _take_apart(entries: list[Entry | None], out_slots: Sequence[int]) -> tuple[list[Any], Program]:
    values: list[Any] = []
    places: dict[int, int] = {}

    def refer(value: Any, *, constant: bool = False) -> Reference:
        if constant and type(value) in PYTHON_NUMBERS:
            return Constant(type(value), repr(value), value)
        if not isinstance(value, (*NUMERIC, Key)):
            return Constant(type(value), id(value), value)
        if id(value) not in places:
            places[id(value)] = len(values)
            values.append(value)
        return places[id(value)]

    def step_of(entry: Entry) -> Step | tuple[int, int]:
        if entry[0] is None:
            return entry[1], entry[2]
        primitive, slots, primals, out, params = entry
        operands = tuple([refer(primal, constant=not slot) for primal, slot in zip(primals, slots, strict=True)])
        results = tuple([refer(part) for part in out]) if primitive.multiple_results else refer(out)
        kept = None
        if params and "residuals" in params:
            leaves, structure = flatten(params["residuals"], is_leaf=lambda node: isinstance(node, Graph))
            kept = tuple([refer(leaf, constant=True) for leaf in leaves]), structure
            params = {name: value for name, value in params.items() if name != "residuals"}
        return Step(primitive, tuple(slots), operands, results, params and tuple(sorted(params.items())), kept)

    needed = _needed(entries, out_slots)
    steps = [step_of(entry) if entry is not None and slot in needed else None for slot, entry in enumerate(entries)]
    return values, Program(tuple(steps), tuple([None if isinstance(v, Key) else shape_dtype_of(v) for v in values]))


def _needed(entries: list[Entry | None], out_slots: Sequence[int]) -> set[int]:
    # The entries that the walk back from these outputs can come to.
    needed = set(out_slots)
    for slot in range(len(entries) - 1, 0, -1):
        entry = entries[slot]
        if entry is not None and slot in needed:
            needed.update([entry[1]] if entry[0] is None else entry[1])
    return needed


def _flatten(pullback: Pullback) -> tuple[Sequence[Any], Any]:
    values, program = pullback.taken_apart()
    return values, (pullback.ends, program)


def _unflatten(metadata: Any, values: Sequence[Any]) -> Pullback:
    ends, program = metadata
    return Pullback(ends, None, program, tuple(values))


register_node(Pullback, _flatten, _unflatten)
