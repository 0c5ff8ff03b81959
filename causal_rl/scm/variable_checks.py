"""What a list of variables must fulfil before it is a model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from causal_rl.scm.mechanisms import Constant
from causal_rl.scm.variables import Variable


def distinct_variables(variables: Sequence[Variable]) -> list[Variable]:
    """The variables as a list of at least one, no name twice.

    Raises:
        TypeError: no sequence of variables.
        ValueError: none, or a name twice.
    """
    if isinstance(variables, Variable | str) or not isinstance(variables, Iterable):
        raise TypeError(f"variables must be a sequence of Variable, got {type(variables).__name__}")
    given = list(variables)
    seen: set[str] = set()
    for v in given:
        if not isinstance(v, Variable):
            raise TypeError(f"variables must hold Variable objects, got {type(v).__name__}")
        if v.name in seen:
            raise ValueError(f"variable {v.name!r} is defined twice")
        seen.add(v.name)
    if not given:
        raise ValueError("variables must hold at least one variable")
    return given


def check_parents(variables: Sequence[Variable], *, dynamic: bool) -> None:
    """Refuse parents that are unknown or a reward, and lagged ones in a static model.

    Raises:
        ValueError: the variable and the parent are named.
    """
    kinds = {v.name: v.kind for v in variables}
    for v in variables:
        if v.lagged_parents and not dynamic:
            raise ValueError(
                f"variable {v.name!r} has lagged parents, which a static SCM has not; "
                "use DynamicSCM"
            )
        for parent in (*v.parents, *v.lagged_parents):
            if parent not in kinds:
                raise ValueError(
                    f"variable {v.name!r} has the unknown parent {parent!r}; the variables are "
                    f"{', '.join(kinds)}"
                )
            if kinds[parent] == "reward":
                raise ValueError(
                    f"variable {v.name!r} has the reward {parent!r} as a parent; a reward must "
                    "have no children"
                )


def check_dynamic(variables: Sequence[Variable]) -> None:
    """Refuse contexts that change in an episode, and rewards that are several or noisy.

    Raises:
        ValueError: the variable is named.
    """
    contexts = {v.name for v in variables if v.kind == "context"}
    rewards = [v for v in variables if v.kind == "reward"]
    if len(rewards) > 1:
        raise ValueError(f"only one reward is allowed, got {', '.join(v.name for v in rewards)}")
    for v in variables:
        for parent in v.lagged_parents:
            if parent in contexts:
                raise ValueError(
                    f"variable {v.name!r} has the context {parent!r} as a lagged parent; a "
                    "context is held through an episode, so name it in parents"
                )
        if v.kind == "context" and not isinstance(v.function, Constant):
            raise ValueError(
                f"variable {v.name!r}: the mechanism of a context must be None or Constant, "
                f"got {v.mechanism!r}"
            )
        if v.kind == "reward" and v.noise.std != 0.0:
            raise ValueError(
                f"variable {v.name!r}: a reward must have no noise, got {v.noise}; add a variable "
                "of kind 'hidden' and make it a parent"
            )
