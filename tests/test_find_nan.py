"""find_nan: the operation, its line, its operands, and what it does inside and around the other transforms."""

from __future__ import annotations

import inspect
import warnings

import attrs
import numpy as np
import pytest

import fgrad as fg
from fgrad import nn
from fgrad.errors import TracerConversionError, TreeError

INF = np.inf
NAN = np.nan


def line_of(report):
    return report.source.text


def test_everything_finite():
    assert fg.find_nan(lambda x: fg.sum(fg.sqrt(x)))(np.array([1.0, 4.0])) is None
    assert fg.find_nan(lambda: 1.0)() is None
    assert fg.find_nan(lambda x, n: x[n:])(np.zeros(0), 0) is None


def test_a_value():
    def entropy(p):
        logarithms = fg.log(p["weights"])
        return -fg.sum(p["weights"] * logarithms)

    report = fg.find_nan(entropy)({"weights": np.array([0.0, 0.25, 0.5], "float32")})
    assert (report.operation, report.kind, report.harmless, report.error) == ("log", "value", False, None)
    assert line_of(report) == 'logarithms = fg.log(p["weights"])'
    assert report.source.function == "entropy"
    (operand,) = report.operands
    assert operand.origin == "argument p['weights']"
    assert operand.values.is_finite
    assert (operand.values.minimum, operand.values.maximum, operand.cotangent) == (0.0, 0.5, None)
    assert (report.result.shape, report.result.dtype) == ((3,), "float32")
    assert (report.result.nans, report.result.infinities, report.cotangent, report.came_in) == (0, 1, None, ())
    assert report.result.maximum == pytest.approx(np.log(0.5))
    assert "the logarithm of 0 is -inf" in report.hint
    assert "fg.logsumexp" in report.hint


def test_a_cotangent():
    def loss(x):
        distance = fg.sqrt(x)
        return fg.sum(distance * 3.0)

    report = fg.find_nan(loss)(np.array([0.0, 4.0]))
    assert (report.operation, report.kind, report.harmless) == ("sqrt", "cotangent", False)
    assert line_of(report) == "distance = fg.sqrt(x)"
    assert (report.cotangent.minimum, report.cotangent.maximum) == (3.0, 3.0)
    (operand,) = report.operands
    assert (operand.cotangent.infinities, operand.cotangent.maximum) == (1, 0.75)
    assert (report.result.minimum, report.result.maximum) == (0.0, 2.0)
    assert "fg.sqrt(x + 1e-12)" in report.hint


def test_how_it_prints():
    report = fg.find_nan(lambda x: fg.sum(fg.sqrt(x)))(np.array([0.0, 4.0]))
    assert repr(report) == str(report)
    first, place, operand, result, *hint = str(report).splitlines()
    assert first == "sqrt passes on a cotangent that is not finite"
    assert place.startswith(f"  at {__file__}:")
    assert place.endswith("report = fg.find_nan(lambda x: fg.sum(fg.sqrt(x)))(np.array([0.0, 4.0]))")
    assert operand == (
        "  operand 0 (argument x): float64[2], from 0 to 4; it gets the cotangent float64[2], finite elements 0.25, "
        "1 infinite"
    )
    assert result == "  result: float64[2], from 0 to 2; its cotangent is float64[2], 1"
    assert hint[0].startswith("  hint: its derivative 1 / (2 sqrt(x)) is infinite at 0")
    assert max(map(len, hint)) <= 110


def test_the_record_is_frozen():
    report = fg.find_nan(fg.log)(0.0)
    assert isinstance(report, fg.NanReport)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        report.operation = "exp"


@pytest.mark.parametrize(
    ("f", "args", "operation", "kind", "hint"),
    [
        (fg.log, (-1.0,), "log", "value", "a negative number is NaN"),
        (fg.log1p, (-1.0,), "log1p", "value", "x > -1"),
        (fg.sqrt, (-1e-18,), "sqrt", "value", "fg.maximum(x, 0.0)"),
        (lambda x: x / fg.zeros(()), (1.0,), "divide", "value", "a division by 0"),
        (fg.reciprocal, (0.0,), "reciprocal", "value", "a division by 0"),
        (fg.exp, (np.float32(100.0),), "exp", "value", "overflows in float32. Subtract the largest exponent first"),
        (fg.sinh, (1000.0,), "sinh", "value", "overflows"),
        (lambda x: fg.asarray(x) ** 0.5, (-1.0,), "power", "value", "not an integer"),
        (lambda x: fg.asarray(x) ** fg.asarray(-1.0), (0.0,), "power", "value", "0 to a negative power"),
        (fg.arcsin, (1.5,), "arcsin", "value", "|x| <= 1"),
        (fg.arccosh, (0.5,), "arccosh", "value", "x >= 1"),
        (fg.square, (1e200,), "square", "value", "the largest float64 is 1.8e+308"),
        (lambda x: x.astype("float16"), (np.float32(1e6),), "convert", "value", "the largest float16 is 6.55e+04"),
        (lambda x: x - fg.asarray(INF), (INF,), "subtract", "value", "inf - inf is NaN"),
        (lambda x: x * fg.asarray(INF), (0.0,), "multiply", "value", "0 * inf is NaN"),
        (fg.mean, (np.zeros(0),), "mean", "value", "at least one element"),
        (fg.arccos, (1.0,), "arccos", "cotangent", "fg.clip"),
        (lambda x: fg.asarray(x) ** 0.5, (0.0,), "power", "cotangent", "infinite at x = 0"),
    ],
)
@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_hints(f, args, operation, kind, hint):
    report = fg.find_nan(f)(*args)
    assert (report.operation, report.kind) == (operation, kind)
    assert hint in report.hint


# What is reported when several things are not finite.


def test_the_branch_of_where_that_is_not_taken_is_harmless():
    f = lambda x: fg.sum(fg.where(x > 0, fg.log(x), 0.0))
    report = fg.find_nan(f)(np.array([0.0, 1.0]))
    assert (report.operation, report.harmless) == ("log", True)
    assert "the function's result and its gradient are finite all the same" in str(report)
    assert fg.find_nan(f, infinities=False)(np.array([0.0, 1.0])) is None


def test_the_culprit_and_not_what_was_harmless_before_it():
    def f(x):
        masked = fg.where(x > 0, fg.log(x), 0.0)
        return fg.sum(fg.sqrt(x - 2.0) + masked)

    report = fg.find_nan(f)(np.array([0.0, 1.0]))
    assert (report.operation, report.kind, report.harmless) == ("sqrt", "value", False)


def test_the_first_operation_and_not_what_follows_from_it():
    def f(x):
        overflown = fg.exp(x)
        difference = overflown - overflown
        return fg.sum(difference * 0.0)

    assert fg.find_nan(f)(np.array([1000.0, 1.0])).operation == "exp"
    assert fg.find_nan(f, infinities=False)(np.array([1000.0, 1.0])).operation == "subtract"


def test_the_operation_of_the_backward_pass_from_which_it_reaches_the_gradient():
    def f(x):
        harmless = fg.sqrt(fg.sum(x * x))
        culprit = fg.sqrt(x[0])
        return harmless + culprit

    report = fg.find_nan(f)(np.zeros(2))
    assert (report.kind, line_of(report)) == ("cotangent", "culprit = fg.sqrt(x[0])")
    report = fg.find_nan(lambda x: fg.sqrt(fg.sum(x * x)))(np.zeros(2))
    assert (report.operation, report.kind, report.harmless) == ("sqrt", "cotangent", True)


def test_a_cotangent_that_passes_through_several_operations():
    report = fg.find_nan(lambda x: fg.sum(fg.stack([fg.sqrt(fg.sin(x) * 2.0), x]) * 5.0))(0.0)
    assert (report.operation, report.kind) == ("sqrt", "cotangent")
    assert report.operands[0].origin == "result of multiply"


def test_a_sum_of_cotangents_that_overflows():
    x = np.array([1.0], "float16")
    report = fg.find_nan(lambda x: x * np.float16(40000) + x * np.float16(40000))(x)
    assert (report.operation, report.kind) == ("add", "value")
    report = fg.find_nan(lambda x: x * np.float16(40000) - x * np.float16(-40000) * np.float16(1e-3))(x * 0)
    assert report is None
    report = fg.find_nan(lambda x: [x * np.float16(40000), x * np.float16(40000)])(x * 0)
    assert (report.operation, report.kind, report.came_in) == ("argument", "cotangent", ("argument x",))
    assert "their sum is not" in report.hint


# What came in.


def test_an_argument_that_is_not_finite():
    def loss(params, x):
        return fg.sum(params["w"] * x)

    report = fg.find_nan(loss)({"b": 1.0, "w": np.ones(2)}, np.array([1.0, NAN]))
    assert (report.operation, report.came_in) == ("multiply", ("argument x",))
    assert [operand.origin for operand in report.operands] == ["argument params['w']", "argument x"]
    assert [operand.values.nans for operand in report.operands] == [0, 1]
    assert "fg.where(fg.isfinite(x), x, 0.0)" in report.hint
    assert "infinities=False" not in report.hint


def test_a_constant_that_is_not_finite():
    mask = np.array([0.0, -INF])
    report = fg.find_nan(lambda scores: fg.sum(scores + mask))(np.ones(2))
    assert (report.operation, report.came_in) == ("add", ("constant",))
    assert "a mask of -inf, fg.find_nan(f, infinities=False) looks for NaN alone" in report.hint
    assert fg.find_nan(lambda scores: fg.logsumexp(scores + mask), infinities=False)(np.ones(2)) is None


def test_what_is_not_finite_and_not_used():
    assert fg.find_nan(lambda x: fg.sum(fg.where(fg.isnan(x), 0.0, x)))(np.array([1.0, NAN])) is None
    assert fg.find_nan(lambda x, y: x)(1.0, NAN) is None


def test_what_is_returned_as_it_came_in():
    report = fg.find_nan(lambda x: (x, NAN))(1.0)
    assert (report.operation, report.source, report.operands, report.came_in) == ("output", None, (), ("constant",))
    report = fg.find_nan(lambda x: x)(INF)
    assert (report.operation, report.came_in) == ("output", ("argument x",))


def test_what_passes_through_an_operation_without_a_gradient():
    report = fg.find_nan(lambda x: fg.sum(fg.floor(1 / x) * 2))(np.zeros(2))
    assert report.operation == "divide"
    report = fg.find_nan(lambda x: fg.stop_gradient(fg.log(x)) * x)(np.zeros(()))
    assert report.operation == "log"


def test_arrays_that_are_overwritten_later():
    buffer = np.zeros(2)

    def f(x):
        y = x / buffer
        buffer[:] = 1.0
        return fg.sum(y)

    report = fg.find_nan(f)(np.ones(2))
    assert report.operands[1].values.maximum == 0.0


# Signatures, outputs and errors.


def test_the_signature_survives():
    def loss(params, x, *, scale: float = 1.0):
        """How far off."""

    found = fg.find_nan(loss)
    assert inspect.signature(found) == inspect.signature(loss)
    assert (found.__name__, found.__doc__) == ("loss", "How far off.")


def test_keyword_arguments_are_differentiated_too():
    report = fg.find_nan(lambda x, *, scales: x * fg.sqrt(scales[0]))(1.0, scales=[0.0])
    assert (report.operation, report.kind) == ("sqrt", "cotangent")
    assert report.operands[0].origin == "argument scales[0]"


def test_any_pytree_of_outputs():
    f = lambda x, label: {"loss": fg.sqrt(x), "label": label, "others": [None, 3, fg.argmax(x), "name"]}
    assert fg.find_nan(f)(np.ones(2), fg.asarray(1)) is None
    assert fg.find_nan(f)(np.zeros(2), fg.random.key(0)).operation == "sqrt"


def test_complex_values():
    report = fg.find_nan(lambda z: fg.log(fg.abs(z)))(np.array([0j, 3 + 4j]))
    assert report.operation == "log"
    report = fg.find_nan(fg.log)(np.array([0j, 3 + 4j]))
    assert (report.operation, report.operands[0].values.maximum) == ("log", 5.0)


def test_an_output_that_is_not_differentiated():
    f = lambda x: (x, fg.sqrt(x))
    assert fg.find_nan(f)(0.0).operation == "sqrt"
    assert fg.find_nan(f, has_aux=True)(0.0) is None
    with pytest.raises(TreeError, match="must return a pair"):
        fg.find_nan(lambda x: x, has_aux=True)(0.0)


def test_a_function_that_raises():
    def f(x):
        y = fg.log(x)
        if not np.isfinite(fg.stop_gradient(y)):
            message = "not a number"
            raise ValueError(message)
        return y

    report = fg.find_nan(f)(0.0)
    assert (report.operation, report.error) == ("log", "ValueError: not a number")
    assert "the function then raised ValueError: not a number" in str(report)

    def g(x):
        raise KeyError(x.shape)

    with pytest.raises(KeyError):
        fg.find_nan(g)(1.0)
    with pytest.raises(ZeroDivisionError):
        fg.find_nan(lambda x: 1 / x)(0.0)


def test_floating_point_warnings_are_silent():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fg.find_nan(lambda x: np.log(x) / np.exp(x))(np.array([0.0, 1e4])).operation == "log"
    with np.errstate(all="raise"):
        assert fg.find_nan(lambda x: 1 / x)(np.zeros(1)).operation == "divide"


def test_it_takes_a_function():
    with pytest.raises(TypeError, match=r"fg.find_nan takes a function, not a float"):
        fg.find_nan(1.0)


# With the other transforms.


def test_inside_of_vmap_and_jvp_in_the_function():
    def f(x):
        return fg.sum(fg.vmap(lambda row: fg.sqrt(fg.sum(row)))(x))

    report = fg.find_nan(f)(np.array([[1.0, 2.0], [0.0, 0.0]]))
    assert (report.operation, report.kind, report.result.shape) == ("sqrt", "cotangent", (2,))
    assert line_of(report) == "return fg.sum(fg.vmap(lambda row: fg.sqrt(fg.sum(row)))(x))"

    tangent = lambda x: fg.jvp(fg.log, (x,), (fg.ones_like(x),))[1]
    report = fg.find_nan(tangent)(np.zeros(2))
    assert (report.operation, report.kind) == ("divide_no_nan", "value")
    assert "part of a derivative" in report.hint


def test_a_gradient_in_the_function():
    penalty = lambda x: fg.sum(fg.square(fg.grad(lambda x: fg.sum(fg.sqrt(x)))(x)))
    report = fg.find_nan(penalty)(np.array([0.0, 1.0]))
    assert (report.operation, report.kind) == ("divide_no_nan", "value")
    assert line_of(report).startswith("penalty = ")
    assert fg.find_nan(penalty)(np.array([0.5, 1.0])) is None


def test_control_flow_and_checkpoint_in_the_function():
    def step(carry, x):
        carry = carry * x
        return carry, fg.log(carry)

    report = fg.find_nan(lambda start: fg.scan(step, start, fg.asarray([1.0, 0.0])))(fg.asarray(2.0))
    assert (report.operation, line_of(report)) == ("log", "return carry, fg.log(carry)")

    f = lambda x: fg.cond(x > 0, fg.sqrt, lambda x: fg.sqrt(-x), x)
    assert fg.find_nan(f)(0.0).operation == "sqrt"
    assert fg.find_nan(f)(1.0) is None

    report = fg.find_nan(lambda x: fg.sum(fg.checkpoint(lambda x: fg.log(x) * 2.0)(x)))(np.array([0.0, 1.0]))
    assert (report.operation, report.kind) == ("checkpoint", "value")
    assert "looks inside" in report.hint


def test_custom_rules_in_the_function():
    @fg.custom_vjp
    def f(x):
        return x * 2.0

    f.defvjp(lambda x: (f(x), None), lambda residuals, g: (g / 0.0,))
    report = fg.find_nan(lambda x: fg.sum(f(x)))(np.ones(2))
    assert (report.operation, report.kind, report.harmless) == ("custom_vjp", "cotangent", False)
    assert "what was given to defjvp or defvjp" in report.hint


def test_inside_of_another_transform():
    seen = []

    def loss(x):
        seen.append(fg.find_nan(fg.sqrt)(x))
        return x * x

    assert fg.grad(loss)(0.0) == 0.0
    assert seen[0].operation == "sqrt"
    with pytest.raises(TracerConversionError, match=r"fg\.find_nan on a value that vmap is tracing"):
        fg.vmap(loss)(np.zeros(3))


def test_a_network():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    params, state = model.init(fg.random.key(0))
    x = fg.ones((5, 3), dtype="float32")

    def loss(params, x, label):
        logits, _ = model.apply(params, state, x)
        return fg.mean(fg.log(nn.softmax(logits * 1e4)[:, label]))

    assert fg.find_nan(loss)(params, x * 1e-6, 0) is None
    label = int(np.argmin(model.apply(params, state, x)[0][0]))
    report = fg.find_nan(loss)(params, x, label)
    assert (report.operation, report.operands[0].values.minimum) == ("log", 0.0)
    assert line_of(report) == "return fg.mean(fg.log(nn.softmax(logits * 1e4)[:, label]))"
