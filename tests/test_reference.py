"""The reference pages are what docs/make_reference.py writes out of the docstrings, and leave out no public name."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from fgrad.core.primitive import registered_primitives

ROOT = Path(__file__).parent.parent
SPEC = importlib.util.spec_from_file_location("make_reference", ROOT / "docs" / "make_reference.py")
make_reference = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(make_reference)
COMMITTED = sorted((ROOT / "docs" / "reference").glob("*.md"))


@pytest.fixture(scope="module")
def pages():
    return make_reference.pages()


def test_the_pages_are_up_to_date(pages):
    assert {page.name for page in COMMITTED} == set(pages), make_reference.COMMAND
    for page in COMMITTED:
        if page.name == "operations.md" and np.lib.NumpyVersion(np.__version__) < "2.4.0":
            continue  # an older NumPy lacks functions that the table names
        text = page.read_text(encoding="utf-8")
        assert text == pages[page.name], f"{page.name} is out of date; this mends it:  {make_reference.COMMAND}"


@pytest.mark.parametrize("namespace", make_reference.namespaces())
def test_every_public_name_has_an_entry(pages, namespace):
    page = pages[make_reference.page_name(namespace)]
    headings = {heading.replace("\\", "") for heading in re.findall(r"^### (.*)$", page, re.MULTILINE)}
    assert headings == set(make_reference.namespaces()[namespace].__all__)
    assert not re.search(r" at 0x[0-9a-f]+", page)


def test_every_primitive_has_a_line(pages):
    lines = re.findall(r"^\| `([^`]*)` \|", pages["operations.md"], re.MULTILINE)
    assert lines == sorted(primitive.name for primitive in registered_primitives())
    assert "| `add` | differentiable | yes | yes | yes | yes |" in pages["operations.md"]
    assert "`np.add`" in pages["operations.md"]


def test_the_code_of_the_pages_does_not_run_twice(pages):
    """It runs as doctests where it stands; a block fenced as python would run again."""
    assert not any("```python" in page for page in pages.values())


def test_what_a_function_returns_is_prose_and_no_list():
    returns = "Returns:\n    A pair, the second of which\n    is this: a number."
    text = f"A line.\n\n{returns}\n\nRaises:\n    KeyError: it is missing."
    assert make_reference.as_markdown(text).splitlines()[2:] == [
        "**Returns:**",
        "",
        "A pair, the second of which",
        "is this: a number.",
        "",
        "**Raises:**",
        "",
        "* `KeyError`: it is missing.",
    ]
