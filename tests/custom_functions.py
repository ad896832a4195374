"""Functions with rules of their own, for the tests of custom rules."""

from __future__ import annotations

import numpy as np
import pytest

import fgrad as fg

X = np.array([0.3, -0.7, 1.1])
Y = np.array([1.5, 0.4, -0.8])
ONES = np.ones(3)


@fg.custom_jvp
def product(x, y):
    """sin(x) y, by a rule."""
    return fg.sin(x) * y


@product.defjvp
def product_rule(primals, tangents):
    (x, y), (dx, dy) = primals, tangents
    return product(x, y), fg.cos(x) * y * dx + fg.sin(x) * dy


@fg.custom_vjp
def pulled(x, y):
    """sin(x) y, by two passes."""
    return fg.sin(x) * y


pulled.defvjp(
    lambda x, y: (pulled(x, y), (x, y)),
    lambda residuals, g: (g * fg.cos(residuals[0]) * residuals[1], g * fg.sin(residuals[0])),
)


def plain(x, y):
    return fg.sin(x) * y


def marked(factor):
    """x^2 with the derivative `factor` times x: the rule is seen to be used."""

    @fg.custom_jvp
    def by_tangent(x):
        return x * x

    by_tangent.defjvp(lambda primals, tangents: (by_tangent(*primals), factor * primals[0] * tangents[0]))

    @fg.custom_vjp
    def by_cotangent(x):
        return x * x

    by_cotangent.defvjp(lambda x: (by_cotangent(x), x), lambda x, g: (factor * x * g,))
    return by_tangent, by_cotangent


BOTH = pytest.mark.parametrize("f", [product, pulled], ids=["custom_jvp", "custom_vjp"])
MARKED = pytest.mark.parametrize("f", marked(10.0), ids=["custom_jvp", "custom_vjp"])


def modes_of(f):
    return ("fwd", "rev") if f is product else ("rev",)
