"""The messages of the mistakes that everybody makes once, word for word; docs/errors.md shows them to the user.

In a message the path and the number of the user's line read FILE:LINE.
"""

import gc
import linecache
import math
import re
import runpy
import traceback
import weakref
from pathlib import Path

import numpy as np
import pytest

import fgrad as fg
from fgrad import data, errors, nn, random

PAGE = Path(__file__).parent.parent / "docs" / "errors.md"


def message_of(error_class, function):
    """What the call says, raised as exactly this class."""
    with pytest.raises(error_class) as caught:
        function()
    assert type(caught.value) is error_class
    return re.sub(rf"{re.escape(__file__)}:\d+", "FILE:LINE", str(caught.value))


def image_batch():
    return fg.ones((5, 4), dtype="float32")


# Gradients.


def test_a_vector_loss():
    def call():
        fg.grad(lambda w: (w - 1.0) ** 2)(fg.ones(3))

    assert message_of(errors.NotDifferentiableError, call) == (
        "grad needs a scalar loss, of shape (); the function returned shape (3,) float64. Make it one with .sum() or "
        ".mean(), or use fg.jacobian for the derivatives of every element, or fg.vjp, which pulls a cotangent of that "
        "shape back\n"
        "  at FILE:LINE, in call: fg.grad(lambda w: (w - 1.0) ** 2)(fg.ones(3))"
    )


def test_a_loss_of_one_element():
    def call():
        fg.grad(lambda w: w[:1] * 2.0)(fg.ones(3))

    assert message_of(errors.NotDifferentiableError, call) == (
        "grad needs a scalar loss, of shape (); the function returned shape (1,) float64. Make it its only element "
        "with .reshape(()), or use fg.jacobian for the derivatives of every element, or fg.vjp, which pulls a "
        "cotangent of that shape back\n"
        "  at FILE:LINE, in call: fg.grad(lambda w: w[:1] * 2.0)(fg.ones(3))"
    )


def test_an_integer_argument():
    def call():
        fg.grad(lambda x: x**2)(3)

    assert message_of(errors.NotDifferentiableError, call) == (
        "the gradient by x was asked for, which is the integer 3: write 3.0, since only floating-point numbers have "
        "gradients\n"
        "  at FILE:LINE, in call: fg.grad(lambda x: x**2)(3)"
    )


def test_an_integer_too_large_for_a_float_is_named_all_the_same():
    message = message_of(errors.NotDifferentiableError, lambda: fg.grad(lambda x: x)(10**400))
    assert f"write {10**400}.0" in message


def test_an_integer_leaf():
    def call():
        fg.grad(lambda params: params["w"][0] * 1.0)({"w": [fg.asarray([1, 2])]})

    assert message_of(errors.NotDifferentiableError, call) == (
        "the gradient by params['w'][0] was asked for, which has dtype int64 and shape (2,); only floating-point "
        "leaves have gradients: convert it (params['w'][0].astype(float)), or pass it in an argument that argnums "
        "does not name\n"
        """  at FILE:LINE, in call: fg.grad(lambda params: params["w"][0] * 1.0)({"w": [fg.asarray([1, 2])]})"""
    )


def test_assigning_to_an_element():
    x = fg.zeros(3)

    def call():
        x[0] = 1

    assert message_of(errors.ImmutableError, call) == (
        "tensors are immutable: `x[i] = v` is written `x = x.at[i].set(v)`, which returns a new tensor\n"
        "  at FILE:LINE, in call: x[0] = 1"
    )


def test_a_forgotten_has_aux():
    def call():
        fg.grad(lambda w: (w.sum(), 2.0 * w))(fg.ones(3))

    assert message_of(errors.NotDifferentiableError, call) == (
        "grad needs a function that returns one scalar loss; it returned a tuple of 2: (float64[], float64[3]). If "
        "the first of them is the loss and the rest is extra, write fg.grad(f, has_aux=True)\n"
        "  at FILE:LINE, in call: fg.grad(lambda w: (w.sum(), 2.0 * w))(fg.ones(3))"
    )


def test_matrices_that_do_not_fit():
    x, weight = fg.ones((32, 10)), fg.ones((3, 10))

    def call():
        x @ weight

    assert message_of(errors.ShapeError, call) == (
        "[matmul] on float64[32,10] and float64[3,10]: the last axis of the first (length 10) must equal the second "
        "to last of the second (length 3); the second would fit transposed: x @ y.T\n"
        "  at FILE:LINE, in call: x @ weight"
    )


def test_matrices_that_do_not_fit_inside_grad():
    x = np.ones((32, 10), np.float32)

    def loss(weight):
        return (x @ weight).sum()

    assert message_of(errors.ShapeError, lambda: fg.grad(loss)(fg.ones((7, 3)))) == (
        "[matmul] on float32[32,10] and float64[7,3]: the last axis of the first (length 10) must equal the second to "
        "last of the second (length 7)\n"
        "  at FILE:LINE, in loss: return (x @ weight).sum()"
    )


CONVERSIONS = {
    "np.asarray(x)": np.asarray,
    "float(x)": math.sin,
    "x.item()": fg.Tensor.item,
    "x.numpy()": fg.Tensor.numpy,
    "x.tolist()": fg.Tensor.tolist,
}


@pytest.mark.parametrize(("action", "convert"), CONVERSIONS.items(), ids=CONVERSIONS)
def test_an_array_out_of_a_tracer(action, convert):
    def loss(w):
        return convert(w) * w

    stack = ", fg.stack([x, y]) where NumPy got a list" if action == "np.asarray(x)" else ""
    assert message_of(errors.TracerConversionError, lambda: fg.grad(loss)(2.0)) == (
        f"{action} on a value that grad is tracing would drop its gradient. Use fgrad's function of the same name "
        f"(np.sin(x), fg.sum(x), x.sum() keep it){stack}, or say that the value is a constant: fg.stop_gradient(x)\n"
        "  at FILE:LINE, in loss: return convert(w) * w"
    )


def test_an_array_of_a_list_of_tracers():
    def loss(w):
        return np.sum(np.array([w, 2.0 * w]))

    message = message_of(errors.TracerConversionError, lambda: fg.grad(loss)(2.0))
    assert "fg.stack([x, y]) where NumPy got a list" in message
    assert "  at FILE:LINE, in loss: return np.sum(np.array([w, 2.0 * w]))" in message
    assert fg.grad(lambda w: np.sum(fg.stack([w, 2.0 * w])))(2.0) == 3.0


def test_a_numpy_function_without_a_counterpart():
    def loss(w):
        return np.roots(w)

    assert message_of(errors.TracerConversionError, lambda: fg.grad(loss)(fg.ones(3))) == (
        "np.roots has no counterpart in fgrad that takes a Tensor, and would drop its gradient; convert with "
        "np.asarray(t) outside of transforms; inside one, np.asarray(fg.stop_gradient(t)) says that the value is a "
        "constant there\n"
        "  at FILE:LINE, in loss: return np.roots(w)"
    )


def test_a_value_that_outlives_its_grad():
    seen = []
    fg.grad(lambda w: seen.append(w) or w * w)(3.0)

    def call():
        return seen[0] + 1.0

    assert message_of(errors.EscapedTracerError, call) == (
        "a value that belongs to a finished grad call is used outside of it; return it from the function instead of "
        "storing it (has_aux=True returns extra values beside the loss)\n"
        "  at FILE:LINE, in call: return seen[0] + 1.0"
    )


# Modules.


def test_the_pair_of_apply_taken_for_its_output():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    params, state = model.init(random.key(0))
    logits = model.apply(params, state, image_batch())

    def call():
        nn.softmax_cross_entropy(logits, fg.zeros(5, dtype=int))

    assert message_of(nn.ModuleCallError, call) == (
        "softmax_cross_entropy: the logits are a tuple; apply returns the pair (y, state): write `y, state = "
        "module.apply(params, state, x)` and pass y on\n"
        "  at FILE:LINE, in call: nn.softmax_cross_entropy(logits, fg.zeros(5, dtype=int))"
    )


def test_the_pair_of_apply_given_to_the_next_module():
    layer = nn.Linear(4, 4)
    params, state = layer.init(random.key(0))
    hidden = layer.apply(params, state, image_batch())

    def call():
        layer.apply(params, state, hidden)

    assert message_of(nn.ModuleCallError, call) == (
        "Linear: the input is a tuple; apply returns the pair (y, state): write `y, state = module.apply(params, "
        "state, x)` and pass y on\n"
        "  at FILE:LINE, in call: layer.apply(params, state, hidden)"
    )


USES = {
    "a function": fg.mean,
    "an operator": lambda pair: pair - fg.ones((5, 4)),
    "an array function": lambda pair: fg.concatenate([pair, pair]),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("inside_grad", [False, True])
def test_the_pair_of_apply_taken_for_an_array(use, inside_grad):
    layer = nn.BatchNorm1d(4)
    params, state = layer.init(random.key(0))

    def loss(params):
        return use(layer.apply(params, state, image_batch()))

    message = message_of(errors.DtypeError, lambda: (fg.grad(loss) if inside_grad else loss)(params))
    assert message.startswith(
        "a pair of a Tensor and a dict is not an array; if a module's apply returned it, it is (y, state): write "
        "`y, state = module.apply(params, state, x)` and use y\n  at FILE:LINE, in "
    )


def test_a_list_of_tracers():
    def loss(w):
        return fg.sum([w, 2.0 * w])

    assert message_of(errors.TracerConversionError, lambda: fg.grad(loss)(3.0)) == (
        "a list of values that a transform is tracing is not an array yet; make one of it with fg.asarray(...) or "
        "fg.stack(...), which keep the gradient\n"
        "  at FILE:LINE, in loss: return fg.sum([w, 2.0 * w])"
    )
    assert fg.grad(lambda w: fg.sum(fg.asarray([w, 2.0 * w])))(3.0) == 3.0


def test_a_ragged_list():
    def call():
        fg.asarray([[1.0, 2.0], [3.0]])

    assert message_of(errors.ShapeError, call) == (
        "a list whose parts have different shapes is not an array: [[1.0, 2.0], [3.0]]\n"
        "  at FILE:LINE, in call: fg.asarray([[1.0, 2.0], [3.0]])"
    )


def test_apply_without_state():
    layer = nn.BatchNorm1d(4)
    params, _ = layer.init(random.key(0))

    def call():
        layer.apply(params, image_batch())

    assert message_of(nn.ModuleCallError, call) == (
        "BatchNorm1d: apply takes params, state and the input, and was called without state: write `y, state = "
        "module.apply(params, state, x)`; state is what `params, state = module.init(key)` returned ({} for a module "
        "that carries none)\n"
        "  at FILE:LINE, in call: layer.apply(params, image_batch())"
    )


def test_dropout_without_a_key():
    model = nn.Sequential(nn.Linear(4, 8), nn.Residual(nn.Sequential(nn.ReLU(), nn.Dropout(0.5))))
    params, state = model.init(random.key(0))

    def call():
        model.apply(params, state, image_batch(), training=True)

    assert message_of(nn.ModuleCallError, call) == (
        "Sequential.layers[1].f.layers[1] (Dropout): it draws random numbers while training and was given no key; "
        "write `module.apply(params, state, x, key=key, training=True)`, with a new key for every step\n"
        "  at FILE:LINE, in call: model.apply(params, state, image_batch(), training=True)"
    )


# Loaders.


def test_a_plain_loop_over_a_shuffling_loader():
    loader = data.DataLoader(data.ArrayDataset(np.arange(6.0)), batch_size=2, shuffle=True)

    def call():
        for _ in loader:
            pass

    assert message_of(TypeError, call) == (
        "this DataLoader shuffles (shuffle=True), which takes a key, and a plain `for` has none to give. Give each "
        "epoch its own:\n"
        "    for epoch in range(epochs):\n"
        "        for batch in loader.epoch(random.fold_in(key, epoch)):\n"
        "            ...\n"
        "  at FILE:LINE, in call: for _ in loader:"
    )


# The page.


def failing_programs():
    """The programs of the page that end with an error, and its text."""
    shown = r"```python\n((?:(?!```).)*)```\n\n```text\n((?:(?!```).)*)```"
    blocks = re.findall(shown, PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [(program, message) for program, message in blocks if "Error: " in message]


def test_the_page_covers_every_mistake():
    page = PAGE.read_text(encoding="utf-8")
    title, *sections = re.split(r"^## ", page, flags=re.MULTILINE)
    headings = [section.partition("\n")[0] for section in sections]
    links = re.findall(r"^\| \[(.*?)\]\(#(.*?)\)", title, re.MULTILINE)
    assert [heading for heading, _ in links] == headings
    assert len(failing_programs()) == len(headings) == 16
    for heading, anchor in links:
        assert anchor == re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
    for section in sections:
        failing, _, repaired = section.partition("```text\n")
        assert failing.count("```python\n") == 1
        assert "```python\n" in repaired


@pytest.mark.parametrize(("program", "message"), failing_programs())
def test_a_failing_program_stands_alone(program, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("example.py").write_text(program, encoding="utf-8")
    linecache.clearcache()
    with pytest.raises(Exception, match=r"\S") as caught:
        runpy.run_path("example.py")
    assert "".join(traceback.format_exception_only(caught.value)).split() == message.split()


# What an error leaves behind.


@pytest.mark.parametrize(
    "fails",
    [
        lambda: fg.ones(3) + fg.ones(4),
        lambda: fg.ones(3).reshape(7),
        lambda: fg.ones(3)[10],
        lambda: fg.grad(lambda x: fg.sum(x @ fg.ones((4, 4))))(fg.ones(3)),
        lambda: fg.vmap(lambda x: x @ fg.ones((4, 4)))(fg.ones((2, 3))),
        lambda: fg.grad(lambda x: fg.sum([x, x]))(1.0),
        lambda: fg.asarray([[1.0], [1.0, 2.0]]),
        lambda: fg.find_nan(lambda x: 1 / 0)(1.0),
    ],
)
def test_an_error_that_was_handled_keeps_no_values_alive(fails):
    class Value:
        pass

    kept = []

    def call():
        value = Value()
        kept.append(weakref.ref(value))
        fails()

    gc.disable()
    try:
        with pytest.raises((ValueError, TypeError, IndexError, ZeroDivisionError)) as caught:
            call()
        del caught
        assert kept[0]() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: fg.array_split(x, [1.5]), "array_split] a place to split at is an integer, not 1.5"),
        (lambda x: fg.tensordot(x, x, 1.5), "tensordot] axes is a number of axes, or a pair of axes, not 1.5"),
        (lambda x: fg.diagonal(x, 1.5), "diagonal] offset is an integer, not 1.5"),
        (lambda x: fg.trace(x, 1.5), "trace] offset is an integer, not 1.5"),
        (lambda x: fg.diff(x, 1.5), "diff] n is an integer, not 1.5"),
        (lambda x: fg.linspace(x, x, 1.5), "linspace] num is an integer, not 1.5"),
        (lambda x: fg.eye(1.5), "eye] a number of rows is an integer, not 1.5"),
        (lambda x: fg.nonzero(x, size=1.5), "nonzero] size is an integer, not 1.5"),
        (lambda x: fg.bincount([1, 2], minlength=1.5), "bincount] minlength is an integer, not 1.5"),
        (lambda x: fg.special.polygamma(1.5, x), "polygamma] the order is an integer, not 1.5"),
        (lambda x: fg.one_hot([1], 1.5), "one_hot] num_classes is an integer, not 1.5"),
        (lambda x: fg.linalg.tensorinv(x, 1.5), "tensorinv] ind is an integer, not 1.5"),
        (lambda x: fg.fft.fft(x, 1.5), "fft] the number of points is an integer, not 1.5"),
        (lambda x: fg.diag(x, 1.5), "diag] k is an integer, not 1.5"),
        (lambda x: fg.segment_sum(x, [0, 1], 1.5), "segment_sum] num_segments is an integer, not 1.5"),
        (lambda x: fg.top_k(x, 1.5), "top_k] k is an integer, not 1.5"),
    ],
)
def test_an_argument_that_is_no_integer_is_named_with_its_operation(call, message):
    with pytest.raises(TypeError) as caught:
        call(fg.ones((2, 2)))
    assert message in str(caught.value)
    assert "test_errors.py" in str(caught.value)
