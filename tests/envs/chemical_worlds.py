"""The Chemical worlds by kind."""

from __future__ import annotations

from collections.abc import Callable

from causal_rl.envs import SCMEnvSpec
from causal_rl.envs.worlds.chemical import (
    ChemicalOptions,
    chemical_chain,
    chemical_collider,
    chemical_full,
    chemical_full_chain,
    chemical_full_fork,
    chemical_jungle,
    object_names,
)
from causal_rl.scm import Variable

BUILDERS: dict[str, Callable[[ChemicalOptions], SCMEnvSpec]] = {
    "chain": chemical_chain,
    "collider": chemical_collider,
    "full": chemical_full,
    "jungle": chemical_jungle,
    "full-fork": chemical_full_fork,
    "full-chain": chemical_full_chain,
}
KINDS = list(BUILDERS)
SWITCHING = ["full-fork", "full-chain"]


def variables(spec: SCMEnvSpec, options: ChemicalOptions) -> list[Variable]:
    """The objects, causes first."""
    by_name = {v.name: v for v in spec.scm.variables}
    return [by_name[name] for name in object_names(options)]
