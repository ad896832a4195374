"""Signatures survive the transforms: for type checkers (mypy reads tests/typing), for inspect and for help()."""

from __future__ import annotations

import inspect
import pydoc
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fgrad as fg

CHECKOUT = Path(__file__).parent.parent
FOLDER = Path("tests") / "typing"

# Each line after the functions is wrong, in the way that the comment says.
WRONG = """\
from typing import Any, assert_type

import fgrad as fg


def loss(w: fg.Tensor, x: fg.Tensor) -> fg.Tensor:
    return fg.sum(w * x)


def check(w: fg.Tensor) -> None:
    fg.grad(loss)(w)  # call-arg
    fg.vmap(loss)(w, "text")  # arg-type
    assert_type(fg.value_and_grad(loss)(w, w), tuple[Any, Any])  # assert-type
    assert_type(fg.vmap(loss)(w, w), Any)  # assert-type
    fg.grad(loss, has_aux=True)  # call-overload
    fg.jacobian(loss)(w, w)  # type: ignore[call-arg]  # unused-ignore
"""


def test_type_checkers_know_the_signatures(tmp_path):
    pytest.importorskip("mypy", reason="mypy is no part of what the tests need: it comes with the dev extra")
    wrong = tmp_path / "wrong.py"
    wrong.write_text(WRONG, encoding="utf-8")
    # One run for both, since reading NumPy's types is what takes long; it shares the cache of `make types`.
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--no-pretty", str(FOLDER), str(wrong)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith(str(FOLDER))] == []
    found = [re.search(r"wrong\.py:(\d+): error: .*\[([a-z-]+)\]$", line) for line in lines]
    expected = [
        (str(number), line.rpartition("# ")[2]) for number, line in enumerate(WRONG.splitlines(), 1) if "  # " in line
    ]
    assert len(expected) == 6
    assert [match.groups() for match in found if match] == expected


def test_every_file_of_the_folder_is_read():
    names = sorted(path.name for path in (CHECKOUT / FOLDER).glob("*.py"))
    assert names == ["check_transforms.py"]


def loss(params, x, scale: float = 1.0, *, power=2):
    """The sum of a power of x, scaled."""
    return scale * fg.sum(params * x**power)


WRAPPING = {
    "grad": fg.grad,
    "value_and_grad": fg.value_and_grad,
    "vmap": fg.vmap,
    "jacrev": fg.jacrev,
    "jacfwd": fg.jacfwd,
    "jacobian": fg.jacobian,
    "hessian": fg.hessian,
    "hessian_matrix": fg.hessian_matrix,
    "make_graph": fg.make_graph,
    "show_tape": fg.show_tape,
    "find_nan": fg.find_nan,
    "checkpoint": fg.checkpoint,
    "custom_jvp": fg.custom_jvp,
    "custom_vjp": fg.custom_vjp,
}
by_transform = pytest.mark.parametrize("transform", WRAPPING.values(), ids=WRAPPING)


@by_transform
def test_inspect_and_help_show_the_function(transform):
    transformed = transform(loss)
    assert inspect.signature(transformed) == inspect.signature(loss)
    assert (transformed.__name__, transformed.__doc__, transformed.__wrapped__) == ("loss", loss.__doc__, loss)
    text = pydoc.plain(pydoc.render_doc(transformed))
    assert "loss(params, x, scale: 'float' = 1.0, *, power=2)" in text
    assert "The sum of a power of x, scaled." in text


@by_transform
def test_transforms_of_transforms_show_the_function(transform):
    assert inspect.signature(transform(fg.vmap(fg.grad(loss)))) == inspect.signature(loss)


@by_transform
def test_functions_without_a_signature_are_welcome(transform):
    class Loss:
        def __call__(self, x):
            return fg.sum(x * x)

    transform(Loss())(fg.ones(3))
    transform(lambda *args: fg.sum(args[0] * args[0]))(fg.ones(3))


@pytest.mark.parametrize("name", [*WRAPPING, "jvp", "vjp", "linearize", "hvp"])
def test_every_transform_documents_itself(name):
    text = pydoc.plain(pydoc.render_doc(getattr(fg, name)))
    assert f"{name}(function" in text
    assert "Args:" in text or name in ("value_and_grad", "make_graph", "show_tape", "jacobian")
    assert ">>> import fgrad as fg" in text


def test_messages_name_the_parameters_of_the_function_within():
    with pytest.raises(TypeError, match="by params was asked for"):
        fg.grad(fg.vmap(fg.value_and_grad(loss)))(3, fg.ones(3))
