"""What type checkers know of the transforms: read by mypy (see test_typing.py), never run.

A comment `type: ignore[...]` stands where mypy has to find a mistake: it is an error when there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, assert_type

import fgrad as fg
from fgrad.transforms.forward import LinearMap
from fgrad.transforms.pullback import Pullback
from fgrad.transforms.show_tape import TapeRecord

Params = dict[str, fg.Tensor]


def loss(params: Params, x: fg.Tensor, scale: float = 1.0, *, power: int = 2) -> fg.Tensor:
    return fg.sum((x @ params["w"]) ** power) * scale


def loss_and_steps(params: Params, x: fg.Tensor) -> tuple[fg.Tensor, list[int]]:
    return loss(params, x), [1]


def predict(params: Params, x: fg.Tensor) -> dict[str, fg.Tensor]:
    return {"y": x @ params["w"]}


def loop() -> int:
    return 3


class LikeLoss(Protocol):
    """A function with the parameters of `loss`, their names, kinds and defaults."""

    def __call__(self, params: Params, x: fg.Tensor, scale: float = 1.0, *, power: int = 2) -> Any: ...


class TensorLikeLoss(Protocol):
    """The same, of a tensor."""

    def __call__(self, params: Params, x: fg.Tensor, scale: float = 1.0, *, power: int = 2) -> fg.Tensor: ...


def parameters_survive() -> None:
    functions: list[LikeLoss] = [
        fg.grad(loss),
        fg.value_and_grad(loss),
        fg.vmap(loss, in_axes=(None, 0)),
        fg.jacrev(loss),
        fg.jacfwd(loss, argnums=1),
        fg.jacobian(loss, (0, 1), chunk_size=10),
        fg.hessian(loss),
        fg.hessian_matrix(loss),
        fg.make_graph(loss),
        fg.show_tape(loss),
        fg.find_nan(loss),
        fg.vmap(fg.grad(fg.vmap(loss))),
        fg.grad(fg.checkpoint(fg.custom_jvp(loss))),
    ]
    tensors: list[TensorLikeLoss] = [
        fg.vmap(loss),
        fg.vmap(fg.vmap(loss)),
        fg.hessian_matrix(loss, 1),
        fg.checkpoint(loss),
        fg.checkpoint(static="power")(loss),
        fg.custom_jvp(loss),
        fg.custom_jvp(static=("power",))(loss),
        fg.custom_vjp(loss),
        fg.custom_vjp(static=("power",))(loss),
    ]
    assert functions
    assert tensors


def wrong_calls_are_found(params: Params, x: fg.Tensor) -> None:
    fg.grad(loss)(params, x, 2.0, power=3)
    fg.grad(loss)(params)  # type: ignore[call-arg]
    fg.grad(loss)(params, "text")  # type: ignore[arg-type]
    fg.grad(loss)(params, x, unknown=1)  # type: ignore[call-arg]
    fg.value_and_grad(loss)(params, x, "text")  # type: ignore[arg-type]
    fg.vmap(loss)(x, params)  # type: ignore[arg-type]
    fg.jacrev(loss)(params)  # type: ignore[call-arg]
    fg.jacfwd(loss)(params)  # type: ignore[call-arg]
    fg.jacobian(loss)(params)  # type: ignore[call-arg]
    fg.hessian(loss)(params)  # type: ignore[call-arg]
    fg.hessian_matrix(loss)(params)  # type: ignore[call-arg]
    fg.make_graph(loss)(params)  # type: ignore[call-arg]
    fg.show_tape(loss)(params)  # type: ignore[call-arg]
    fg.find_nan(loss)(params)  # type: ignore[call-arg]
    fg.checkpoint(loss)(params)  # type: ignore[call-arg]
    fg.custom_jvp(loss)(params)  # type: ignore[call-arg]
    fg.custom_vjp(loss)(params, x, "text")  # type: ignore[arg-type]
    fg.grad(fg.grad(loss))(params)  # type: ignore[call-arg]


def wrong_uses_are_found(x: fg.Tensor) -> None:
    fg.grad(loss, has_aux=True)  # type: ignore[call-overload]
    fg.value_and_grad(loss, 0, True)  # type: ignore[call-overload]
    fg.hessian_matrix(loss, has_aux=True)  # type: ignore[call-overload]
    fg.grad(x)  # type: ignore[call-overload]
    fg.vmap(3.0)  # type: ignore[arg-type]
    fg.jacobian(loss, "params")  # type: ignore[arg-type]
    fg.hessian(loss, chunk_size="10")  # type: ignore[arg-type]
    fg.jvp(loss, x)  # type: ignore[call-overload]


def gradients(params: Params, x: fg.Tensor) -> None:
    assert_type(fg.grad(loss)(params, x), Any)
    assert_type(fg.value_and_grad(loss)(params, x), tuple[fg.Tensor, Any])
    assert_type(fg.value_and_grad(loss, argnums=(0, 1))(params, x), tuple[fg.Tensor, Any])
    assert_type(fg.grad(loss_and_steps, has_aux=True)(params, x), tuple[Any, list[int]])
    assert_type(fg.grad(loss_and_steps, 0, True)(params, x), tuple[Any, list[int]])
    value_and_gradient = fg.value_and_grad(loss_and_steps, has_aux=True)
    assert_type(value_and_gradient(params, x), tuple[tuple[fg.Tensor, list[int]], Any])
    assert_type(fg.value_and_grad(loss_and_steps, 1, True)(params, x), tuple[tuple[fg.Tensor, list[int]], Any])
    assert_type(fg.grad(lambda x: x * 2.0)(1.0), Any)


def batches(params: Params, x: fg.Tensor) -> None:
    assert_type(fg.vmap(loss, in_axes=(None, 0))(params, x), fg.Tensor)
    assert_type(fg.vmap(predict)(params, x), dict[str, fg.Tensor])
    assert_type(fg.vmap(fg.value_and_grad(loss))(params, x), tuple[fg.Tensor, Any])
    assert_type(fg.vmap(loop, axis_size=3), Callable[[], int])


def products(params: Params, x: fg.Tensor) -> None:
    assert_type(fg.jvp(loss, (params, x), (params, x)), tuple[fg.Tensor, fg.Tensor])
    assert_type(fg.jvp(predict, (params, x), (params, x)), tuple[dict[str, fg.Tensor], dict[str, fg.Tensor]])
    assert_type(fg.jvp(loss_and_steps, (params, x), (params, x), has_aux=True), tuple[fg.Tensor, fg.Tensor, list[int]])
    assert_type(fg.vjp(loss, params, x), tuple[fg.Tensor, Pullback])
    assert_type(fg.vjp(predict, params, x)[1](predict(params, x)), tuple[Any, ...])
    assert_type(fg.vjp(loss_and_steps, params, x, has_aux=True), tuple[fg.Tensor, Pullback, list[int]])
    out, linear_map = fg.linearize(predict, params, x)
    assert_type(out, dict[str, fg.Tensor])
    assert_type(linear_map, LinearMap[dict[str, fg.Tensor]])
    assert_type(linear_map(params, x), dict[str, fg.Tensor])
    assert_type(fg.hvp(loss, (params, x), (params, x)), Any)


def jacobians(params: Params, x: fg.Tensor) -> None:
    assert_type(fg.jacrev(predict)(params, x), Any)
    assert_type(fg.jacfwd(predict)(params, x), Any)
    assert_type(fg.jacobian(predict)(params, x), Any)
    assert_type(fg.hessian(loss)(params, x), Any)
    assert_type(fg.hessian_matrix(loss)(params, x), fg.Tensor)
    assert_type(fg.hessian_matrix(loss_and_steps, has_aux=True)(params, x), tuple[fg.Tensor, list[int]])


def programs(params: Params, x: fg.Tensor) -> None:
    assert_type(fg.make_graph(loss)(params, x), fg.Graph)
    assert_type(fg.show_tape(loss)(params, x), tuple[TapeRecord, ...])
    assert_type(fg.find_nan(loss)(params, x), fg.NanReport | None)


def rules(params: Params, x: fg.Tensor) -> None:
    assert_type(fg.checkpoint(predict)(params, x), dict[str, fg.Tensor])
    assert_type(fg.custom_jvp(predict)(params, x), dict[str, fg.Tensor])
    assert_type(fg.custom_vjp(predict)(params, x), dict[str, fg.Tensor])
    assert_type(fg.custom_vjp(static="scale")(loss)(params, x, 2.0), fg.Tensor)
    fg.custom_jvp(predict).defjvp(lambda primals, tangents: (primals, tangents))
    fg.custom_vjp(predict).defvjp(lambda params, x: (predict(params, x), x), lambda kept, g: (g, kept))


def trees(params: Params) -> None:
    vector, unravel = fg.tree.ravel(params)
    assert_type(vector, fg.Tensor)
    assert_type(unravel(vector), Any)


@fg.grad
def decorated(x: fg.Tensor, y: int = 2) -> fg.Tensor:
    return fg.sum(x**y)


def decorators(x: fg.Tensor) -> None:
    assert_type(decorated(x), Any)
    decorated(x, "text")  # type: ignore[arg-type]
