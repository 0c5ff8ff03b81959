"""Variables and models that a user may write, and how a wrong one is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from causal_rl.scm import DynamicSCM, Linear, Variable

NAN, INF = float("nan"), float("inf")
Case = tuple[Callable[[], Any], type[Exception], str, str]


def v(name: str, *parents: str, lagged: tuple[str, ...] = (), **more: Any) -> Variable:
    """A linear variable."""
    k = len(parents) + len(lagged)
    return Variable(
        name, Linear([0.5] * k) if k else None, parents=parents, lagged_parents=lagged, **more
    )


def reward(*parents: str, name: str = "r", **more: Any) -> Variable:
    return v(name, *parents, kind="reward", **more)


def model(*variables: Variable) -> DynamicSCM:
    return DynamicSCM(variables)


def with_mechanism(mechanism: Any, *parents: str) -> Variable:
    return Variable("culprit", mechanism, parents=parents)


LOGITS = [Linear([1.0]), Linear([-1.0])]


def refused(make: Callable[[], Any], error: type[Exception], *parts: str) -> None:
    with pytest.raises(error, match=re.escape(parts[0])) as caught:
        make()
    message = str(caught.value)
    assert caught.type is error
    assert "\n" not in message
    for part in parts:
        assert part in message
