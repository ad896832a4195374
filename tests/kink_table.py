"""Every kink and singular point with the derivative chosen there: the data of tests/test_kinks.py and docs/kinks.md.

``python tests/kink_table.py`` writes the tables of the document.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np

import fgrad as fg
from fgrad import nn, random, special
from fgrad.errors import ShapeError

DOCUMENT = Path(__file__).parent.parent / "docs" / "kinks.md"

INF = np.inf
NAN = np.nan
NAMES = {"fg": fg, "nn": nn, "random": random, "special": special, "inf": INF, "nan": NAN}


@attrs.frozen(eq=False)
class Kink:
    """One function at one point.

    Attributes:
        expression: the function as code, in terms of the names of `at`.
        at: the arguments by name: numbers, or lists for arrays.
        value: the value of the function; the class of the error that it raises; None for a random draw.
        first: for each argument the derivative of the function, of the sum of its results if it has several.
        second: the matrix of the second derivatives by all elements of all arguments, or the number that every entry
            is; None where it is not chosen.
        why: one sentence.
    """

    expression: str
    at: dict[str, Any]
    value: Any
    first: tuple[Any, ...]
    second: Any
    why: str

    @property
    def function(self) -> Callable[..., Any]:
        return eval(f"lambda {', '.join(self.at)}: {self.expression}", NAMES)

    @property
    def raises(self) -> bool:
        return isinstance(self.value, type)

    @property
    def is_complex(self) -> bool:
        return any(np.iscomplexobj(value) for value in self.at.values())

    def __str__(self) -> str:
        return f"{self.expression} at {show_point(self.at)}"


@attrs.frozen(eq=False)
class Section:
    heading: str
    introduction: str
    kinks: tuple[Kink, ...]


def at(expression: str, x: Any, value: Any, first: Any, second: Any, why: str) -> Kink:
    return Kink(expression, {"x": x}, value, (first,), second, why)


# Reasons that several rows have.
LIMITS = "The limits."
FROM_RIGHT = "The limits from the right."
CONSTANT = "Constant on either side."
EDGE = "An edge belongs to the range, so that what is there can move inside."
SHARED = "They share: exchanging them changes nothing."
SINGLE = "One element has no deviation, wherever it is."
REMAINDER = "1 and -floor(x / y), as on the right of the jump."
BY_P = "By p it is the limit of x**p log(x)."
NOTHING = "0 / 0 is nothing in particular."
SMOOTH = "Smooth, although two branches of the computation meet here."
ABSENT = "An entry that is not there."
OTHERS = "Products of the others, and nothing is divided by."
NO_ELEMENTS = "0 / 0, with NumPy's warning."
NO_FREEDOM = "0 / 0, with NumPy's warning: no degree of freedom is left."
OUTSIDE = "The operand is outside of the domain, or at its edge."
OVERFLOW = "Overflow."
REDUCTION = "A reduction over an infinite element."

CORNERS = Section(
    "Corners",
    "A corner has a slope on either side. Where they are equal up to sign, their middle is taken; a function that is "
    "constant on one side has derivative 0 in the corner, unless it says otherwise.",
    (
        at("fg.abs(x)", 0.0, 0, 0, 0, "The middle of the slopes -1 and 1."),
        at("fg.abs(x)", -0.0, 0, 0, 0, "Zero has no sign here."),
        Kink("fg.abs(z)", {"z": 0j}, 0, (0,), None, "The modulus is a cone, and every direction of it is like abs."),
        at("fg.relu(x)", 0.0, 0, 0, 0, "As everywhere else: a unit that gives 0 learns nothing."),
        at("fg.maximum(x, 0.0)", 0.0, 0, 0.5, 0, "A tie between x and the number; each takes half."),
        Kink("fg.maximum(x, y)", {"x": 2.0, "y": 2.0}, 2, (0.5, 0.5), 0, SHARED),
        Kink("fg.minimum(x, y)", {"x": 2.0, "y": 2.0}, 2, (0.5, 0.5), 0, SHARED),
        at("fg.maximum(x, x)", 2.0, 2, 1, 0, "Two halves of the same x."),
        at("fg.clip(x, 0.0, 1.0)", 0.0, 0, 1, 0, EDGE),
        at("fg.clip(x, 0.0, 1.0)", 1.0, 1, 1, 0, EDGE),
        at(
            "fg.astype(fg.interp(x, [0, 1, 2], [0.0, 3, 4]), fg.asarray(x).dtype)",
            1.0,
            3,
            1,
            0,
            "A knot begins the interval to its right.",
        ),
        at(
            "fg.astype(fg.interp(x, [0, 1, 2], [0.0, 3, 4]), fg.asarray(x).dtype)",
            2.0,
            4,
            1,
            0,
            "The last knot ends the last interval.",
        ),
        Kink(
            "fg.clip(x, low, high)",
            {"x": 0.0, "low": 0.0, "high": 1.0},
            0,
            (1, 0, 0),
            0,
            "At its edge x is what is returned.",
        ),
        Kink(
            "fg.clip(x, low, high)",
            {"x": 2.0, "low": 0.0, "high": 1.0},
            1,
            (0, 0, 1),
            0,
            "Outside, the limit is what is returned.",
        ),
        Kink(
            "fg.clip(x, low, high)",
            {"x": 0.5, "low": 1.0, "high": 0.0},
            0,
            (0, 0, 1),
            0,
            "Of crossed limits the upper one wins, as in NumPy.",
        ),
        at("fg.sqrt(fg.sum(x * x))", [0.0, 0.0], 0, [0, 0], None, "The norm is a cone: 0 is the middle of its slopes."),
        at("fg.sqrt(x @ x)", [0.0, 0.0], 0, [0, 0], None, "The norm again, written as a product."),
        at("fg.sqrt(x**2)", 0.0, 0, 0, None, "abs, written as a root."),
        at("fg.std(x)", [2.0, 2.0], 0, [0, 0], 0, "Deviations of 0: a cone again."),
        at("fg.std(x)", [2.0], 0, [0], 0, SINGLE),
        at("fg.var(x)", [2.0], 0, [0], 0, SINGLE),
        at("fg.sqrt(fg.var(x))", [2.0, 2.0], 0, [0, 0], None, "std, composed."),
    ),
)

JUMPS = Section(
    "Jumps and steps",
    "Between its jumps such a function has a derivative, and at a jump it keeps that derivative.",
    (
        at("fg.sign(x)", 0.0, 0, 0, 0, CONSTANT),
        Kink("fg.real(fg.sign(z))", {"z": 0j}, 0, (0,), None, "The direction of 0 is 0, and stays so."),
        at("fg.floor(x)", 2.0, 2, 0, 0, CONSTANT),
        at("fg.ceil(x)", 2.0, 2, 0, 0, CONSTANT),
        at("fg.trunc(x)", 2.0, 2, 0, 0, CONSTANT),
        at("fg.round(x)", 0.5, 0, 0, 0, "Constant on either side; halves go to the even number."),
        at("fg.rint(x)", 1.5, 2, 0, 0, "Constant on either side; halves go to the even number."),
        Kink("x // y", {"x": 4.0, "y": 2.0}, 2, (0, 0), 0, CONSTANT),
        Kink("x % y", {"x": 4.0, "y": 2.0}, 0, (1, -2), 0, REMAINDER),
        Kink("x % y", {"x": -4.0, "y": 2.0}, 0, (1, 2), 0, REMAINDER),
        at("fg.where(x > 0, 2 * x, 3 * x)", 0.0, 0, 3, 0, "The branch that is taken decides, and `>` is false at 0."),
    ),
)

TIES = Section(
    "Ties and order",
    "Equal elements share where the function treats them alike. Where it returns a position, the position decides.",
    (
        at("fg.max(x)", [1.0, 3.0, 3.0], 3, [0, 0.5, 0.5], 0, "n equal largest elements take 1/n each."),
        at("fg.min(x)", [1.0, 1.0, 1.0, 1.0], 1, [0.25] * 4, 0, "n equal smallest elements take 1/n each."),
        at("fg.max(x, axis=0)", [[1.0, 2.0], [1.0, 3.0]], [1, 3], [[0.5, 0], [0.5, 1]], 0, "Each slice by itself."),
        at("fg.max(x)", [1.0, NAN, NAN], NAN, [0, 0.5, 0.5], 0, "The NaN is the result, and the NaNs share."),
        at("fg.nanmax(x)", [1.0, NAN, 1.0], 1, [0.5, 0, 0.5], 0, "A NaN is not there, and takes nothing."),
        at("fg.nanmax(x)", [NAN, NAN], NAN, [0, 0], 0, "A NaN is not there, and takes nothing."),
        at("fg.cummax(x)", [1.0, 3.0, 3.0], [1, 3, 3], [1, 1.5, 0.5], 0, "Equal largest elements so far share evenly."),
        at(
            "fg.cummin(x)", [3.0, 1.0, 1.0], [3, 1, 1], [1, 1.5, 0.5], 0, "Equal smallest elements so far share evenly."
        ),
        at(
            "fg.take_along_axis(x, fg.argsort(x))[0]",
            [2.0, 1.0, 1.0],
            1,
            [0, 1, 0],
            0,
            "The order is a constant; equal elements keep theirs, so the first one comes first.",
        ),
        at(
            "x[fg.argmax(x)]",
            [1.0, 3.0, 3.0],
            3,
            [0, 1, 0],
            0,
            "argmax is the first of the largest, a constant position.",
        ),
        at("x[fg.argmin(x)]", [2.0, 1.0, 1.0], 1, [0, 1, 0], 0, "argmin is the first of the smallest."),
        at("fg.sort(x)[0]", [2.0, 1.0, 1.0], 1, [0, 1, 0], 0, "Of equal entries the first in x comes first."),
        at("fg.sort(x, descending=True)[0]", [1.0, 2.0, 2.0], 2, [0, 1, 0], 0, "Descending too."),
        at("fg.sort(x)[1]", [1.0, NAN], NAN, [0, 1], 0, "NaN counts as the largest."),
        at("fg.top_k(x, 1).values", [1.0, 2.0, 2.0], [2], [0, 1, 0], 0, "The first of the largest."),
        at("fg.median(x)", [1.0, 1.0, 1.0], 1, [0, 1, 0], 0, "The one in the middle, in the order of x."),
        at("fg.median(x)", [1.0, NAN, 2.0], NAN, [0, 1, 0], 0, "The NaN is the result."),
        at("fg.quantile(x, 0.5)", [1.0, 1.0], 1, [0.5, 0.5], 0, "Half of each, though they are equal."),
        Kink(
            "fg.quantile(x, q)",
            {"x": [1.0, 2.0, 4.0], "q": 0.5},
            2,
            ([0, 1, 0], 4),
            None,
            "At an element, the slope towards the next one.",
        ),
        Kink("fg.quantile(x, q)", {"x": [1.0, 2.0], "q": 1.0}, 2, ([0, 1], 0), None, "There is no next one."),
        at("fg.unique(x, size=2)[0]", [1.0, 2.0, 1.0], 1, [1, 0, 0], 0, "The place where the value first occurs."),
        at(
            "fg.segment_max(x, fg.asarray([0, 0, 1]), 2)",
            [2.0, 2.0, 3.0],
            [2, 3],
            [0.5, 0.5, 1],
            0,
            "Equal entries of a segment share.",
        ),
        Kink("x.at[0].max(v)", {"x": [1.0, 2.0], "v": 1.0}, [1, 2], ([0.5, 1], 0.5), 0, "maximum, at one place."),
        Kink(
            "x.at[fg.asarray([0, 0])].set(v)",
            {"x": [1.0, 2.0], "v": [3.0, 4.0]},
            [4, 2],
            ([0, 1], [0, 1]),
            0,
            "Of several values for one place the last one stays.",
        ),
        at("x[fg.asarray([0, 0, 1])]", [1.0, 2.0], [1, 1, 2], [2, 1], 0, "A place that is read twice counts twice."),
    ),
)

POWERS = Section(
    "Powers of zero",
    "Let p be the exponent, a number or an array. The derivative p x**(p - 1) is taken as 0 for p = 0, and the one by "
    "the exponent, x**p log(x), as 0 for x = 0, which is its limit for p > 0.",
    (
        at("x**0", 0.0, 1, 0, 0, "x**0 is 1 everywhere."),
        at("x**0.5", 0.0, 0, INF, -INF, "A square root: the limit."),
        at("x**1", 0.0, 0, 1, 0, "x itself."),
        at("x**1.5", 0.0, 0, 0, INF, LIMITS),
        at("x**2", 0.0, 0, 0, 2, "A parabola."),
        at("x**3", 0.0, 0, 0, 0, "A cubic."),
        at("x**-1", 0.0, INF, -INF, INF, FROM_RIGHT),
        at("x**-2", 0.0, INF, -INF, INF, FROM_RIGHT),
        at(
            "x ** fg.asarray([0, 1, 2], dtype=x.dtype)",
            [0.0, 0.0, 0.0],
            [1, 0, 0],
            [0, 1, 0],
            [[0, 0, 0], [0, 0, 0], [0, 0, 2]],
            "An array of exponents is the same, element by element.",
        ),
        at("fg.square(x)", 0.0, 0, 0, 2, "A parabola."),
        Kink("x**p", {"x": 0.0, "p": 0.0}, 1, (0, 0), 0, "0**0 is 1, by x because x**0 is, by p as for every other p."),
        Kink("x**p", {"x": 0.0, "p": 0.5}, 0, (INF, 0), None, BY_P),
        Kink("x**p", {"x": 0.0, "p": 1.0}, 0, (1, 0), None, BY_P),
        Kink("x**p", {"x": 0.0, "p": 2.0}, 0, (0, 0), [[2, 0], [0, 0]], BY_P),
        Kink(
            "x**p", {"x": 0.0, "p": -1.0}, INF, (-INF, 0), None, "By p it is 0 for every p, though there is no limit."
        ),
        Kink("0.0**p", {"p": 0.0}, 1, (0,), 0, "By p it is 0 for every p."),
        Kink("0.0**p", {"p": 2.0}, 0, (0,), 0, "0 to every positive power."),
        at("x**x", 0.0, 1, 0, None, "What 0**0 has by either of them; the limit would be -inf."),
        Kink("x**p", {"x": -2.0, "p": 3.0}, -8, (12, NAN), None, "Next to an integer exponent there is no real power."),
        Kink("x**p", {"x": -2.0, "p": 0.5}, NAN, (NAN, NAN), None, "There is no real power."),
    ),
)

POLES = Section(
    "Poles and edges",
    "Where the derivative grows without bound, it is its limit from inside the domain, infinite, and NumPy's settings "
    "decide about a warning. Outside of the domain nothing is chosen: the value is NaN.",
    (
        at("fg.sqrt(x)", 0.0, 0, INF, -INF, LIMITS),
        at("fg.sqrt(x)", -1.0, NAN, NAN, NAN, "Outside."),
        at("fg.log(x)", 0.0, -INF, INF, -INF, LIMITS),
        at("fg.log(x)", -1.0, NAN, -1, -1, "Outside; the value is NaN, and 1/x is not."),
        at("fg.log2(x)", 0.0, -INF, INF, -INF, LIMITS),
        at("fg.log10(x)", 0.0, -INF, INF, -INF, LIMITS),
        at("fg.log1p(x)", -1.0, -INF, INF, -INF, LIMITS),
        at("fg.reciprocal(x)", 0.0, INF, -INF, INF, "The limits from the right, since 0 is +0."),
        at("1 / x", -0.0, -INF, -INF, -INF, "The limits from the left."),
        Kink("x / y", {"x": 1.0, "y": 0.0}, INF, (INF, -INF), [[0, -INF], [-INF, INF]], FROM_RIGHT),
        Kink("x / y", {"x": 0.0, "y": 0.0}, NAN, (INF, NAN), None, NOTHING),
        Kink("x / y", {"x": 1.0, "y": INF}, 0, (0, 0), 0, LIMITS),
        Kink("x % y", {"x": 1.0, "y": 0.0}, NAN, (1, -INF), 0, "floor(x / y) is infinite."),
        Kink(
            "fg.divide_no_nan(x, y)",
            {"x": 0.0, "y": 0.0},
            0,
            (INF, 0),
            [[0, -INF], [-INF, 0]],
            "1/y, and -x/y**2 with x = 0 in it.",
        ),
        Kink("fg.multiply_no_nan(x, y)", {"x": 0.0, "y": INF}, 0, (INF, 0), [[0, 1], [1, 0]], "y and x."),
        at("fg.arcsin(x)", 1.0, np.pi / 2, INF, INF, LIMITS),
        at("fg.arcsin(x)", -1.0, -np.pi / 2, INF, -INF, LIMITS),
        at("fg.arccos(x)", 1.0, 0, -INF, -INF, LIMITS),
        at("fg.arccos(x)", -1.0, np.pi, -INF, INF, LIMITS),
        at("fg.arccosh(x)", 1.0, 0, INF, -INF, LIMITS),
        at("fg.arctanh(x)", 1.0, INF, INF, INF, LIMITS),
        at("fg.arctanh(x)", -1.0, -INF, INF, -INF, LIMITS),
        at("special.erfinv(x)", 1.0, INF, INF, INF, "The limits; random draws are made with it."),
        at("special.erfinv(x)", -1.0, -INF, INF, -INF, LIMITS),
        at("special.logit(x)", 0.0, -INF, INF, -INF, LIMITS),
        at("special.logit(x)", 1.0, INF, INF, INF, LIMITS),
        at("x * fg.log(x)", 0.0, NAN, -INF, INF, "The limits; the value is 0 * -inf."),
        at("fg.sin(x) / x", 0.0, NAN, NAN, NAN, NOTHING),
    ),
)

INFINITIES = Section(
    "Infinite and overflowing operands",
    "The limits, and no NaN where a limit exists. A NaN operand gives NaN, except where the result does not depend on "
    "how large it is.",
    (
        at("fg.exp(x)", -INF, 0, 0, 0, LIMITS),
        at("fg.exp(x)", 800.0, INF, INF, INF, OVERFLOW),
        at("fg.tanh(x)", INF, 1, 0, 0, LIMITS),
        at("fg.arctan(x)", INF, np.pi / 2, 0, 0, LIMITS),
        at("fg.arcsinh(x)", INF, INF, 0, 0, LIMITS),
        at("fg.log(x)", INF, INF, 0, 0, LIMITS),
        at("fg.sqrt(x)", INF, INF, 0, 0, LIMITS),
        at("1 / x", INF, 0, 0, 0, LIMITS),
        at("special.erf(x)", INF, 1, 0, 0, LIMITS),
        at(
            "1 / (1 + fg.exp(-x))",
            -800.0,
            0,
            0,
            0,
            "The exponential overflows, the quotient and its derivative do not.",
        ),
        at("nn.sigmoid(x)", -INF, 0, 0, 0, LIMITS),
        at("nn.sigmoid(x)", INF, 1, 0, 0, LIMITS),
        at("nn.sigmoid(x)", 0.0, 0.5, 0.25, 0, SMOOTH),
        at("nn.softplus(x)", 0.0, np.log(2), 0.5, 0.25, SMOOTH),
        at("nn.softplus(x)", 800.0, 800, 1, 0, "No overflow."),
        at("nn.softplus(x)", -INF, 0, 0, 0, LIMITS),
        at("fg.relu(x)", NAN, NAN, 0, 0, "The value shows it; NaN is not above 0."),
        at("fg.abs(x)", NAN, NAN, NAN, 0, "The sign of NaN is NaN."),
        Kink("fg.maximum(x, y)", {"x": NAN, "y": 2.0}, NAN, (0, 0), 0, "The value shows it; neither is larger."),
        at("fg.clip(x, 0.0, 1.0)", NAN, NAN, 1, 0, "NaN is not outside of the range."),
        Kink(
            "random.truncated_normal(random.key(0), low, high)",
            {"low": -INF, "high": INF},
            None,
            (0, 0),
            0,
            "A bound at infinity cuts nothing off.",
        ),
    ),
)

EXPONENTIALS = Section(
    "logsumexp and softmax",
    "An entry of -inf is an entry that is not there. Entries of +inf share, as they would if they grew together.",
    (
        at("fg.logsumexp(x)", [-INF, 1.0], 1, [0, 1], 0, ABSENT),
        at("fg.logsumexp(x)", [-INF, -INF], -INF, [0, 0], 0, "A sum of nothing; it stays one when an entry moves."),
        at("fg.logsumexp(x)", [INF, 1.0], INF, [1, 0], 0, "The limit of softmax."),
        at(
            "fg.logsumexp(x)",
            [INF, INF],
            INF,
            [0.5, 0.5],
            [[0.25, -0.25], [-0.25, 0.25]],
            "The limit of softmax on the diagonal.",
        ),
        at("fg.logsumexp(x)", [NAN, 1.0], NAN, [NAN, NAN], NAN, "NaN."),
        at("fg.log(fg.sum(fg.exp(x)))", [-INF, -INF], -INF, [0, 0], 0, "The same, composed."),
        at("nn.softmax(x)[1]", [-INF, 0.0, 0.0], 0.5, [0, 0.25, -0.25], 0, ABSENT),
        at("nn.softmax(x)[0]", [-INF, 0.0], 0, [0, 0], 0, "The probability 0, which stays 0."),
        at("nn.softmax(x)[0]", [-INF, -INF], NAN, [NAN, NAN], NAN, "There is no distribution over nothing."),
        at("nn.log_softmax(x)[1]", [-INF, 0.0], 0, [0, 0], 0, "The probability 1."),
        at("nn.log_softmax(x)[0]", [-INF, 0.0], -INF, [1, -1], 0, "x[0] - logsumexp(x), term by term."),
        at("nn.softmax_cross_entropy(x, 1)", [-INF, 0.0], 0, [0, 0], 0, "The label has probability 1."),
        at(
            "nn.softmax_cross_entropy(x, 0)",
            [-INF, 0.0],
            INF,
            [-1, 1],
            0,
            "The label has probability 0: softmax(x) - (1, 0).",
        ),
    ),
)

PRODUCTS = Section(
    "Products with zeros, and too few elements",
    "",
    (
        at("fg.prod(x)", [2.0, 0.0, 4.0], 0, [0, 8, 0], [[0, 4, 0], [4, 0, 2], [0, 2, 0]], OTHERS),
        at("fg.prod(x)", [2.0, 0.0, 0.0], 0, [0, 0, 0], [[0, 0, 0], [0, 0, 2], [0, 2, 0]], OTHERS),
        at("fg.sum(x)", [], 0, [], 0, "The neutral element, with an empty gradient."),
        at("fg.prod(x)", [], 1, [], 0, "The neutral element, with an empty gradient."),
        at("fg.cumsum(x)", [], [], [], 0, "Nothing of nothing."),
        at("fg.logsumexp(x)", [], -INF, [], 0, "The logarithm of an empty sum."),
        at("fg.mean(x)", [], NAN, [], 0, NO_ELEMENTS),
        at("fg.var(x)", [], NAN, [], 0, NO_ELEMENTS),
        at("fg.std(x)", [], NAN, [], 0, NO_ELEMENTS),
        at("fg.var(x, ddof=1)", [3.0], NAN, [NAN], None, NO_FREEDOM),
        at("fg.std(x, ddof=1)", [3.0], NAN, [NAN], None, NO_FREEDOM),
        at("fg.max(x)", [], ShapeError, (), None, "There is no largest element; `initial=` gives one."),
        at("fg.min(x)", [], ShapeError, (), None, "There is no smallest element; `initial=` gives one."),
        at("fg.argmax(x)", [], ShapeError, (), None, "There is no position."),
        at("fg.max(x, initial=2.0)", [], 2, [], 0, "The initial value."),
    ),
)

SPACE = "The vectors are any basis of the space: that they turn into each other is taken as 0."
UNIT, NOTHING_LEFT = [[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]

# Of the determinant of a matrix of two rows, a d - b c, by a, b, c, d.
TWO_BY_TWO = [[0, 0, 0, 1], [0, 0, -1, 0], [0, -1, 0, 0], [1, 0, 0, 0]]
NOT_TAKEN = "A zero cotangent contributes nothing."

SINGULAR = Section(
    "Singular matrices",
    "The derivatives of a determinant are made of products of the other singular values, and divide by none. "
    "PyTorch's second derivative is NaN where more than one singular value is zero.",
    (
        at("fg.linalg.det(x)", [[1.0, 1.0], [1.0, 1.0]], 0, [[1, -1], [-1, 1]], TWO_BY_TWO, "The cofactors."),
        at("fg.linalg.det(x)", NOTHING_LEFT, 0, NOTHING_LEFT, TWO_BY_TWO, "A polynomial of the entries."),
        at("fg.linalg.slogdet(x).logabsdet", NOTHING_LEFT, -INF, [[INF, INF], [INF, INF]], None, "As log at 0."),
        at("fg.where(False, fg.linalg.slogdet(x).logabsdet, 0.0)", NOTHING_LEFT, 0, NOTHING_LEFT, None, NOT_TAKEN),
    ),
)

DEGENERATE = Section(
    "Equal eigenvalues, equal and zero singular values",
    "The terms 1 / (w_j - w_i) by which vectors of equal values turn into each other are taken as 0, for values that "
    "are equal up to rounding. What treats equal values alike has its derivative. PyTorch and JAX give NaN or "
    "infinities for the vectors, and for qr at a zero pivot.",
    (
        at("fg.sum(fg.linalg.eigvalsh(x))", UNIT, 2, [[1, 0], [0, 1]], 0, "The trace."),
        at(
            "fg.sum(fg.linalg.eigvalsh(x) ** 2)",
            UNIT,
            2,
            [[2, 0], [0, 2]],
            [[2, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 2]],
            "The first derivative is right; to the second, equal eigenvalues contribute nothing for each other.",
        ),
        at("fg.linalg.eigh(x).eigenvectors[0]", UNIT, [1, 0], NOTHING_LEFT, 0, SPACE),
        at("fg.sum(fg.real(fg.linalg.eigvals(x)))", UNIT, 2, [[1, 0], [0, 1]], 0, "The trace."),
        at("fg.real(fg.linalg.eig(x).eigenvectors[0])", UNIT, [1, 0], NOTHING_LEFT, 0, SPACE),
        at(
            "fg.sum(fg.linalg.svdvals(x))",
            UNIT,
            2,
            [[1, 0], [0, 1]],
            [[0, 0, 0, 0], [0, 0.5, -0.5, 0], [0, -0.5, 0.5, 0], [0, 0, 0, 0]],
            "The nuclear norm, which is smooth here.",
        ),
        at(
            "fg.sum(fg.linalg.svdvals(x))",
            NOTHING_LEFT,
            0,
            NOTHING_LEFT,
            0,
            "A singular value of 0 has a corner, and 0 is the middle; PyTorch and JAX give the identity.",
        ),
        at("fg.sum(fg.linalg.svdvals(x))", [[1.0, 0.0], [0.0, 0.0]], 1, [[1, 0], [0, 0]], None, "One corner."),
        at("fg.linalg.svd(x).U[0]", NOTHING_LEFT, [1, 0], NOTHING_LEFT, 0, SPACE),
        at("fg.linalg.svd(x).U[0]", UNIT, [1, 0], [[0, 0.25], [-0.25, 0]], None, "A rotation of x, half of it in U."),
        at("fg.linalg.qr(x).Q[0]", NOTHING_LEFT, [1, 0], NOTHING_LEFT, 0, "A zero pivot turns nothing."),
        at(
            "fg.linalg.qr(x).R",
            NOTHING_LEFT,
            NOTHING_LEFT,
            [[1, 1], [0, 1]],
            0,
            "The upper triangle of Q^H x, with the Q that is there.",
        ),
        at("fg.linalg.qr(x).Q[0]", [[1.0, 0.0], [0.0, 0.0]], [1, 0], [[0, 0], [-1, 0]], None, "One zero pivot."),
    ),
)

NORMS = Section(
    "Norms of every order",
    "Where a norm is 0 every derivative of it is 0, the second one too, and an element that is 0 has the derivative 0. "
    "Elements, and sums of them, that are equally large or small share.",
    (
        at("fg.linalg.norm(x)", [0.0, 0.0], 0, [0, 0], 0, "The norm is a cone: 0 is the middle of its slopes."),
        at("fg.linalg.norm(x, 1)", [0.0, 2.0], 2, [0, 1], 0, "|x| has a corner there."),
        at("fg.linalg.norm(x, 1.5)", [0.0, 0.0], 0, [0, 0], 0, "A cone again."),
        at("fg.linalg.norm(x, 1.5)", [0.0, 2.0], 2, [0, 1], 0, "The true second derivative by the first is infinite."),
        at("fg.linalg.norm(x, inf)", [2.0, -2.0], 2, [0.5, -0.5], 0, SHARED),
        at("fg.linalg.norm(x, -inf)", [0.0, 3.0], 0, [0, 0], 0, "|x| has a corner there."),
        at("fg.linalg.norm(x, 0)", [0.0, 3.0], 1, [0, 0], 0, "It counts, and so is constant but for jumps."),
        at("fg.linalg.norm(x, -1)", [0.0, 3.0], 0, [0, 0], 0, "A corner, as of |x|."),
        at("fg.linalg.norm(x)", [[0.0, 0.0], [0.0, 0.0]], 0, [[0, 0], [0, 0]], 0, "The Frobenius norm, a cone."),
        at("fg.linalg.norm(x, 1)", [[1.0], [-1.0]], 2, [[1], [-1]], 0, "One column, which is the largest."),
    ),
)

BRANCHES = Section(
    "The branch of `where` that is not taken",
    "Both branches are computed, and the one that is not taken may be infinite or NaN, and have such derivatives. It "
    "contributes nothing, to any order.",
    (
        at("fg.where(x > 0, fg.log(x), 0.0)", 0.0, 0, 0, 0, OUTSIDE),
        at("fg.where(x > 0, fg.sqrt(x), 0.0)", -1.0, 0, 0, 0, OUTSIDE),
        at("fg.where(x > 0, x**0.5, 0.0)", 0.0, 0, 0, 0, OUTSIDE),
        at("fg.where(x > 0, x**-1.5, 0.0)", 0.0, 0, 0, 0, OUTSIDE),
        at("fg.where(x != 0, 1 / x, 0.0)", 0.0, 0, 0, 0, "A division by 0."),
        at(
            "fg.where(x != 0, fg.sin(x) / x, 1.0)",
            0.0,
            1,
            0,
            0,
            "0 / 0. The true second derivative is -1/3: a constant branch has none.",
        ),
        at("fg.where(x > 0, x * fg.log(x), 0.0)", 0.0, 0, 0, 0, "0 * -inf."),
        at("fg.where(x > 0, fg.exp(-1 / x), 0.0)", 0.0, 0, 0, 0, "An exponential of -inf."),
        at("fg.where(x < 1, fg.arcsin(x), x)", 1.0, 1, 1, 0, OUTSIDE),
        at("fg.where(x > 1, fg.arccosh(x), x)", 0.5, 0.5, 1, 0, OUTSIDE),
        at("fg.where(x < 1, fg.arctanh(x), x)", 1.0, 1, 1, 0, OUTSIDE),
        at("fg.where(x > 0, x, fg.log1p(fg.exp(x)))", 800.0, 800, 1, 0, OVERFLOW),
        at("fg.where(x > 0, x, fg.expm1(x))", 800.0, 800, 1, 0, OVERFLOW),
        at("fg.where(x > 0, x, x * fg.exp(x))", 800.0, 800, 1, 0, OVERFLOW),
        at("fg.where(x > 0, x, x**900)", 800.0, 800, 1, 0, OVERFLOW),
        at("fg.where(x > 0, x, fg.square(fg.sinh(x)))", 800.0, 800, 1, 0, OVERFLOW),
        at("fg.where(fg.isnan(x), 0.0, fg.sin(x) * fg.tanh(x) + fg.abs(x))", NAN, 0, 0, 0, "Missing data."),
        at("fg.where(fg.isinf(x), 0.0, fg.cos(x) + fg.tan(x) + fg.arctan(x))", INF, 0, 0, 0, "Infinite data."),
        at("fg.where(x > 0, fg.std(fg.stack([x, 1 / x])), 0.0)", 0.0, 0, 0, 0, REDUCTION),
        at("fg.where(x > 0, fg.prod(fg.stack([x, 1 / x])), 0.0)", 0.0, 0, 0, 0, REDUCTION),
        at("fg.where(x > 0, fg.max(fg.stack([x, 1 / x])), 0.0)", 0.0, 0, 0, 0, REDUCTION),
        at("fg.where(x > 0, fg.logsumexp(fg.stack([x, fg.log(x)])), 0.0)", 0.0, 0, 0, 0, REDUCTION),
        at("fg.where(x > 0, fg.sqrt(fg.sum(fg.square(fg.stack([x, x])))), x)", 0.0, 0, 1, 0, "A norm of 0."),
        Kink("fg.where(x > 0, x**p, 0.0)", {"x": -2.0, "p": 0.5}, 0, (0, 0), 0, "A power that does not exist."),
        Kink("fg.where(y != 0, x / y, x)", {"x": 1.0, "y": 0.0}, 1, (1, 0), 0, "A division by 0."),
        Kink("fg.where(x > 0, x % y, x)", {"x": -1.0, "y": 0.0}, -1, (1, 0), 0, "A remainder by 0."),
    ),
)

ELEMENTWISE = Section(
    "Distances, angles, steps and sums of exponentials",
    "",
    (
        Kink("fg.hypot(x, y)", {"x": 0.0, "y": 0.0}, 0, (0, 0), None, "A cone: the middle of its slopes."),
        Kink("fg.hypot(x, y)", {"x": 0.0, "y": 2.0}, 2, (0, 1), [[0.5, 0], [0, 0]], "Smooth away from the origin."),
        Kink("fg.hypot(x, y)", {"x": -INF, "y": 1.0}, INF, (-1, 0), 0, LIMITS),
        Kink("fg.arctan2(y, x)", {"y": 0.0, "x": 0.0}, 0, (0, 0), None, "There is no angle at the origin."),
        Kink("fg.arctan2(y, x)", {"y": 0.0, "x": -2.0}, np.pi, (-0.5, 0), None, "On the cut, as on both sides of it."),
        Kink("fg.heaviside(x, y)", {"x": 0.0, "y": 0.5}, 0.5, (0, 1), 0, CONSTANT),
        Kink("fg.heaviside(x, y)", {"x": 1.0, "y": 0.5}, 1, (0, 0), 0, CONSTANT),
        Kink("fg.copysign(x, y)", {"x": 0.0, "y": -1.0}, 0, (0, 0), 0, "As abs."),
        Kink("fg.copysign(x, y)", {"x": 2.0, "y": 0.0}, 2, (1, 0), 0, "A zero has a sign; it does not vary."),
        Kink("fg.fmax(x, y)", {"x": 2.0, "y": 2.0}, 2, (0.5, 0.5), 0, SHARED),
        Kink("fg.fmin(x, y)", {"x": 2.0, "y": 2.0}, 2, (0.5, 0.5), 0, SHARED),
        Kink("fg.fmax(x, y)", {"x": NAN, "y": 2.0}, 2, (0, 1), 0, "What is returned takes it all."),
        Kink("fg.fmod(x, y)", {"x": 6.0, "y": 3.0}, 0, (1, -2), 0, "1 and -trunc(x / y), as on the right of the jump."),
        Kink(
            "fg.logaddexp(x, y)",
            {"x": -INF, "y": -INF},
            -INF,
            (0, 0),
            0,
            "A sum of nothing; it stays one when an entry moves.",
        ),
        Kink(
            "fg.logaddexp(x, y)",
            {"x": INF, "y": INF},
            INF,
            (0.5, 0.5),
            [[0.25, -0.25], [-0.25, 0.25]],
            "The limit on the diagonal.",
        ),
        Kink("fg.logaddexp(x, y)", {"x": INF, "y": 1.0}, INF, (1, 0), 0, LIMITS),
        Kink("fg.logaddexp(x, y)", {"x": -INF, "y": 1.0}, 1, (0, 1), 0, ABSENT),
        at("fg.cbrt(x)", 0.0, 0, INF, -INF, FROM_RIGHT),
        at("fg.sinc(x)", 0.0, 1, 0, -(np.pi**2) / 3, "Smooth: the derivatives of its power series."),
        at("fg.fabs(x)", 0.0, 0, 0, 0, "The middle of the slopes -1 and 1."),
        at("fg.nan_to_num(x)", NAN, 0, 0, 0, "What is put there is constant."),
        at("fg.angle(x)", 0.0, 0, 0, None, "There is no angle at 0."),
    ),
)

SECTIONS = (
    CORNERS,
    JUMPS,
    TIES,
    POWERS,
    POLES,
    INFINITIES,
    EXPONENTIALS,
    PRODUCTS,
    SINGULAR,
    DEGENERATE,
    NORMS,
    BRANCHES,
    ELEMENTWISE,
)
KINKS = tuple(kink for section in SECTIONS for kink in section.kinks)


# The document.


def show_number(value: Any) -> str:
    if isinstance(value, complex):
        return "0j" if value == 0 else str(value)
    if np.isnan(value):
        return "NaN"
    return f"{value:.4g}"


def show(value: Any) -> str:
    return f"[{', '.join(map(show, value))}]" if isinstance(value, list) else show_number(value)


def show_point(at: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {show(value)}" for name, value in at.items())


def show_value(kink: Kink) -> str:
    if kink.raises:
        return f"raises `{kink.value.__name__}`"
    return "the draw" if kink.value is None else show(kink.value)


def show_first(kink: Kink) -> str:
    if kink.raises:
        return "–"
    if len(kink.first) == 1:
        return show(kink.first[0])
    return ", ".join(f"{show(value)} by {name}" for name, value in zip(kink.at, kink.first, strict=True))


def render() -> str:
    """The tables, one for each section."""
    lines = []
    for section in SECTIONS:
        lines += [f"## {section.heading}", "", *([section.introduction, ""] if section.introduction else [])]
        lines += ["| function | at | value | derivative | second derivative | why |", "|---|---|---|---|---|---|"]
        for kink in section.kinks:
            second = "–" if kink.second is None else show(kink.second)
            cells = [f"`{kink.expression}`", show_point(kink.at), show_value(kink), show_first(kink), second, kink.why]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


START, END = "<!-- The tables: python tests/kink_table.py writes them. -->\n\n", "\n<!-- The end of the tables. -->"


def written(text: str) -> str:
    """The text of the document with the tables of this file."""
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    return before + start + render() + end + after


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
