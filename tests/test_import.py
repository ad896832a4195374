"""What importing fgrad loads, and what its public face offers."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fgrad as fg

HEAVY = [
    "hypothesis",
    "scipy",
    "matplotlib",
    "tqdm",
    "pytest",
    "fgrad.nn",
    "fgrad.optim",
    "fgrad.data",
    "fgrad.training",
]
LAZY = ["data", "fft", "linalg", "nn", "optim", "testing", "training"]


def run(code):
    """Runs code in a fresh interpreter and gives what it prints as JSON."""
    found = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def loaded_after(statement):
    return set(run(f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"))


def test_importing_fgrad_loads_nothing_heavy():
    loaded = loaded_after("import fgrad")
    assert loaded.isdisjoint(HEAVY)
    assert "fgrad.testing" not in loaded


def test_using_fgrad_loads_nothing_heavy():
    loaded = loaded_after(
        "import fgrad as fg\nfg.grad(lambda x: fg.sum(fg.sin(x)))(fg.ones(3))\nfg.make_graph(fg.sin)(1.0)\ndir(fg)"
    )
    assert loaded.isdisjoint(HEAVY)


def test_an_interpreter_that_counts_no_references():
    code = (
        "import json, sys\ndel sys.getrefcount\nimport fgrad as fg\n"
        "gradient = fg.grad(lambda x: fg.sum(x * x * x))(fg.full(600_000, 2.0))\n"
        "print(json.dumps([float(gradient[0]), float(gradient[-1])]))"
    )
    assert run(code) == [12.0, 12.0]


def test_importing_fgrad_starts_no_thread():
    code = "import json, threading, fgrad\nprint(json.dumps(threading.active_count()))"
    assert run(code) == 1


@pytest.mark.parametrize("name", LAZY)
def test_sub_namespaces_load_when_they_are_first_used(name):
    code = f"import json, sys, fgrad\nfgrad.{name}\nprint(json.dumps('fgrad.{name}' in sys.modules))"
    assert run(code) is True
    assert f"fgrad.{name}" in loaded_after(f"from fgrad import {name}")


def test_check_grads_needs_only_numpy():
    loaded = loaded_after(
        "import fgrad as fg\nfg.testing.check_grads(fg.sin, (0.5,))\nfrom fgrad.testing import check_grads"
    )
    assert loaded.isdisjoint({"hypothesis", "scipy", "pytest"})


def test_strategies_without_hypothesis_say_what_to_install():
    code = """
import json, sys
sys.modules["hypothesis"] = None
import fgrad as fg
fg.testing.check_grads(fg.sin, (0.5,))
messages = []
for statement in ("fg.testing.strategies", "from fgrad.testing import strategies", "import fgrad.testing.strategies"):
    try:
        exec(statement)
    except ImportError as error:
        messages.append(str(error))
print(json.dumps(messages))
"""
    messages = run(code)
    assert len(messages) == 3
    assert all("pip install fgrad[test]" in message for message in messages)


def test_the_parts_of_testing_are_public():
    assert fg.testing.__all__ == ["check_grads", "strategies"]
    assert dir(fg.testing) == ["check_grads", "strategies"]
    assert fg.testing.check_grads.__doc__
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        fg.testing.nonsense  # noqa: B018 - the access is what is tested


def test_the_version_stands_once():
    assert re.fullmatch(r"\d+\.\d+\.\d+", fg.__version__)
    package = Path(fg.__file__).parent
    places = [
        path for path in package.rglob("*.py") if re.search(r"^__version__\s*=", path.read_text("utf-8"), re.MULTILINE)
    ]
    assert places == [package / "__init__.py"]
    project = package.parent / "pyproject.toml"
    if project.exists():
        assert fg.__version__ not in project.read_text("utf-8")


def test_the_public_names_are_complete_and_exist():
    assert len(set(fg.__all__)) == len(fg.__all__)
    for name in fg.__all__:
        getattr(fg, name)
    # Besides them there are only modules, which importing puts there.
    private = {name for name in vars(fg) if name.startswith("_") or inspect.ismodule(getattr(fg, name))}
    imported = {"annotations", "importlib", "TYPE_CHECKING", "Any"}
    assert set(vars(fg)) - private - imported <= set(fg.__all__)
    assert set(fg.__all__) <= set(dir(fg))
    assert "__version__" in dir(fg)
    with pytest.raises(AttributeError, match="module 'fgrad' has no attribute 'nonsense'"):
        fg.nonsense  # noqa: B018 - the access is what is tested


@pytest.mark.parametrize("name", sorted(fg.__all__))
def test_every_public_name_is_documented(name):
    value = getattr(fg, name)
    if not (inspect.isroutine(value) or inspect.isclass(value) or inspect.ismodule(value)):
        return
    assert inspect.getdoc(value), name
    if inspect.isfunction(value):
        assert ">>>" in value.__doc__, f"{name} has no example"
        assert value.__module__.startswith("fgrad.")
        annotations = {
            parameter: value.__annotations__.get(parameter) for parameter in inspect.signature(value).parameters
        }
        assert None not in annotations.values(), f"{name} has parameters without a type: {annotations}"


NAMESPACES = ["errors", "fft", "linalg", "random", "tree", "nn", "optim", "data", "training", "testing.strategies"]


@pytest.mark.parametrize("namespace", NAMESPACES)
def test_every_name_of_a_sub_namespace_is_documented(namespace):
    module = importlib.import_module(f"fgrad.{namespace}")
    assert module.__doc__
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isroutine(value) or inspect.isclass(value):
            assert inspect.getdoc(value), f"{namespace}.{name}"


def test_errors_derive_from_the_builtin_that_a_caller_would_catch():
    builtin = {
        "ShapeError": ValueError,
        "AxisError": IndexError,
        "DtypeError": TypeError,
        "IndexingError": IndexError,
        "ImmutableError": TypeError,
        "TreeError": ValueError,
        "NotDifferentiableError": TypeError,
        "MissingRuleError": NotImplementedError,
        "TracerConversionError": TypeError,
        "EscapedTracerError": RuntimeError,
        "KeyReuseError": RuntimeError,
        "DataFileError": ValueError,
    }
    for name, parent in builtin.items():
        error = getattr(fg.errors, name)
        assert issubclass(error, parent)
        assert issubclass(error, fg.errors.FgradError)
    assert issubclass(fg.errors.KeyReuseWarning, UserWarning)
    assert set(fg.errors.__all__) == {*builtin, "FgradError", "KeyReuseWarning"}


def test_no_module_of_the_library_imports_another_inside_a_function():
    """The circle that such an import would hide must not exist; what is loaded lazily goes through importlib."""
    offenders = []
    for path in Path(fg.__file__).parent.rglob("*.py"):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if re.match(r"\s+(from fgrad|import fgrad)", line) and ">>>" not in line:
                offenders.append(f"{path.name}:{number}: {line.strip()}")
    allowed = [line for line in offenders if line.startswith(("__init__.py", "methods.py", "tree.py"))]
    assert offenders == allowed


LAYERS = ["core", "ops", "transforms"]


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_run_one_way(layer):
    above = [*LAYERS[LAYERS.index(layer) + 1 :], "nn", "optim", "data", "training", "testing", "random", "_saving"]
    for path in (Path(fg.__file__).parent / layer).glob("*.py"):
        code = path.read_text("utf-8")
        for other in above:
            assert not re.search(
                rf"^\s*from fgrad\.{other}\b|^\s*from fgrad import .*\b{other}\b", code, re.MULTILINE
            ), path
