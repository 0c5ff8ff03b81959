"""Changes of a world at test time.

A shift is a function from a specification to another. Those here change what they say and leave
every other variable as it was; being plain functions or ``functools.partial`` of them, they pickle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from causal_rl.envs.spec import SCMEnvSpec, Shift
from causal_rl.scm import DynamicSCM, Noise, Scaled, Variable


def scale_noise(spec: SCMEnvSpec, factor: float = 2.0) -> SCMEnvSpec:
    """Multiply the noise scale of every variable but contexts (a context's noise is its goal).

    Args:
        spec: the world.
        factor: above 0.
    """
    return _changed(
        spec,
        [v.name for v in spec.scm.variables if v.kind not in ("context", "reward")],
        lambda variable: replace(variable, noise=variable.noise.scaled(factor)),
    )


def change_mechanism(
    spec: SCMEnvSpec, name: str | None = None, shift: float = 0.5, scale: float = 0.6
) -> SCMEnvSpec:
    """Soften one mechanism: its output x becomes ``shift + scale * x``; noise and parents stay.

    Args:
        spec: the world.
        name: the variable; by default the first state variable that the reward reads, the one
            mechanism that every good policy has to know.
        shift: added to the output.
        scale: multiplies the output.

    Raises:
        ValueError: no such variable, or none to choose by default.
    """
    chosen = _first_reward_parent(spec) if name is None else name
    return _changed(
        spec,
        [chosen],
        lambda variable: replace(
            variable, mechanism=Scaled(variable.function, shift=shift, scale=scale)
        ),
    )


def flip_mechanisms(spec: SCMEnvSpec, names: tuple[str, ...]) -> SCMEnvSpec:
    """Turn the sign of the mechanisms of ``names``; their noise stays.

    Args:
        spec: the world.
        names: variables to flip.
    """
    return _changed(
        spec,
        names,
        lambda variable: replace(variable, mechanism=Scaled(variable.function, scale=-1.0)),
    )


def randomise(spec: SCMEnvSpec, names: tuple[str, ...], noise: Noise) -> SCMEnvSpec:
    """Cut ``names`` off their parents; each is drawn anew from ``noise`` at every step.

    Args:
        spec: the world.
        names: variables to cut.
        noise: their distribution.
    """
    return _changed(
        spec,
        names,
        lambda variable: Variable(name=variable.name, noise=noise, kind=variable.kind),
    )


def standard_shifts() -> dict[str, Shift]:
    """The shifts that every world has: ``noise`` (scales x 2) and ``mechanism``."""
    return {"noise": partial(scale_noise, factor=2.0), "mechanism": change_mechanism}


def _first_reward_parent(spec: SCMEnvSpec) -> str:
    reward = spec.scm.reward
    kinds = dict(zip(spec.scm.names, spec.scm.kinds, strict=False))
    parents = () if reward is None else (*reward.parents, *reward.lagged_parents)
    for name in parents:
        if kinds[name] != "context":
            return name
    raise ValueError(
        f"world {spec.name!r}: the reward reads no variable whose mechanism can change"
    )


def _changed(
    spec: SCMEnvSpec, names: Iterable[str], change: Callable[[Variable], Variable]
) -> SCMEnvSpec:
    chosen = set(names)
    unknown = chosen - {variable.name for variable in spec.scm.variables}
    if unknown:
        raise ValueError(f"world {spec.name!r} has no variable {min(unknown)!r} to shift")
    variables = [change(v) if v.name in chosen else v for v in spec.scm.variables]
    return spec.replace(scm=DynamicSCM(variables))
