"""Many objects of one class: worlds of hundreds of variables."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from causal_rl.envs.interventions import Interventions
from causal_rl.envs.shifts import standard_shifts
from causal_rl.envs.spec import SCMEnvSpec
from causal_rl.envs.worlds.control import GOAL, negative_distance
from causal_rl.envs.worlds.options import WorldOptions
from causal_rl.options import check_integer
from causal_rl.scm import (
    DynamicSCM,
    Gaussian,
    Linear,
    Mechanism,
    Variable,
    random_dynamic_scm,
)

# Attributes of a block: what is set, what it drives a step later, what that shows at once.
_ATTRIBUTES = ("force", "speed", "place")


@dataclass(frozen=True, kw_only=True)
class BlockOptions(WorldOptions):
    """As :class:`WorldOptions`; ``n``, ``sink_lag`` and ``timing`` are not read.

    Args:
        blocks: objects, of three variables each, at least 2.
    """

    blocks: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("blocks", self.blocks, least=2)


def block_scm(options: BlockOptions) -> SCMEnvSpec:
    """Blocks of one class, three variables each, whose places add up to a total."""
    rng = np.random.default_rng(options.graph_seed)
    mechanisms = _class_mechanisms(options, rng)
    labels = [f"B{i + 1}" for i in range(options.blocks)]
    members: list[Variable] = []
    for label in labels:
        name = {a: f"{label}.{a}" for a in _ATTRIBUTES}
        for attribute, member in mechanisms.items():
            members.append(
                Variable(
                    name[attribute],
                    member.function,
                    member.noise,
                    parents=tuple(name[p] for p in member.parents),
                    lagged_parents=tuple(name[p] for p in member.lagged_parents),
                )
            )
    noise = 0.2 if isinstance(options.noise_share, str) else options.noise_share
    share = math.sqrt((1.0 - noise) / options.blocks)
    total: Mechanism = Linear([share * float(rng.choice([-1.0, 1.0])) for _ in labels])
    places = tuple(f"{label}.place" for label in labels)
    members.append(Variable("total", total, Gaussian(math.sqrt(noise)), parents=places))
    shuffled = [members[i] for i in rng.permutation(len(members))]
    goal = Variable("goal", noise=GOAL, kind="context")
    reward = Variable("reward", negative_distance, parents=("total", "goal"), kind="reward")
    settable = [v.name for v in shuffled if v.name.endswith((".force", ".speed"))]
    cost = {x: options.max_cost * (0.5 if x.endswith(".force") else 1.0) for x in settable}
    values = np.linspace(-options.max_value, options.max_value, options.n_values).tolist()
    return SCMEnvSpec(
        name="block-scm",
        scm=DynamicSCM([*shuffled, goal, reward]),
        interventions=Interventions(settable, values, cost),
        horizon=options.horizon,
        shifts=standard_shifts(),
    )


def _class_mechanisms(options: BlockOptions, rng: np.random.Generator) -> dict[str, Variable]:
    """The mechanisms that all blocks share: force is free; speed and place remember."""
    k = len(_ATTRIBUTES)
    within, lagged = np.zeros((k, k), dtype=np.bool_), np.zeros((k, k), dtype=np.bool_)
    lagged[0, 1] = lagged[1, 1] = True  # speed <- force and speed, a step before
    within[1, 2] = True  # place <- speed, at once
    lagged[2, 2] = True
    scm = random_dynamic_scm(
        within, lagged, options.mechanism, rng, options.noise_share, names=_ATTRIBUTES
    )
    return {v.name: v for v in scm.variables}
