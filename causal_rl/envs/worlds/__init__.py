"""The built-in worlds: what each is, and how it is made from its options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from causal_rl.envs.shifts import drop_edge
from causal_rl.envs.spec import SCMEnvSpec, Shift
from causal_rl.envs.unseen_graphs import graph_shifts
from causal_rl.envs.worlds.blocks import BlockOptions, block_scm
from causal_rl.envs.worlds.chemical import (
    ChemicalOptions,
    ChemicalSwitchOptions,
    chemical_chain,
    chemical_collider,
    chemical_full,
    chemical_full_chain,
    chemical_full_fork,
    chemical_jungle,
)
from causal_rl.envs.worlds.confounding import (
    BanditOptions,
    ConfoundedMDPOptions,
    RegimeOptions,
    bandit_uc,
    confounded_mdp,
    treatment_regime,
)
from causal_rl.envs.worlds.cues import CueOptions, ProxyOptions, cues_scm, proxy_chain_scm
from causal_rl.envs.worlds.deconfounding import (
    FrontDoorOptions,
    InstrumentOptions,
    WhereOptions,
    front_door,
    instrument,
    where_to_intervene,
)
from causal_rl.envs.worlds.mixed import MixedOptions, mixed_scm
from causal_rl.envs.worlds.options import RandomGraphOptions, WorldOptions
from causal_rl.envs.worlds.structure import (
    chain_scm,
    collider_scm,
    delayed_chain_scm,
    er_scm,
    fork_scm,
    full_scm,
    jungle_scm,
    lagged_chain_scm,
    sf_scm,
    tree_scm,
)


@dataclass(frozen=True)
class World:
    """A built-in world: how to make its specification from its options.

    Attributes:
        options: the dataclass of its options, whose fields are the arguments of ``gymnasium.make``.
        build: from such options to the specification.
        shifts: how its graph can change at test time: "graphs" (an edge less, or another graph of
            the family), "edge" (an edge less alone) or "none".
    """

    options: type
    build: Callable[..., SCMEnvSpec]
    shifts: Literal["graphs", "edge", "none"] = "none"

    @property
    def description(self) -> str:
        """One sentence, from the builder's docstring."""
        return (self.build.__doc__ or "").strip().splitlines()[0]

    def make(self, **options: object) -> SCMEnvSpec:
        """The specification under some options.

        Raises:
            ValueError: an option out of its range; it is named.
            TypeError: an option that the world has not.
        """
        chosen = self.options(**options)
        spec = self.build(chosen)
        more: dict[str, Shift] = {}
        if self.shifts == "graphs":
            more = dict(graph_shifts(self.build, chosen))
        elif self.shifts == "edge":
            more = {"edge": drop_edge}
        return spec.replace(description=self.description, shifts={**spec.shifts, **more})


BUILT_IN: dict[str, World] = {
    "chain-scm": World(WorldOptions, chain_scm, "graphs"),
    "lagged-chain-scm": World(WorldOptions, lagged_chain_scm, "graphs"),
    "delayed-chain-scm": World(WorldOptions, delayed_chain_scm, "edge"),
    "fork-scm": World(WorldOptions, fork_scm, "graphs"),
    "collider-scm": World(WorldOptions, collider_scm, "edge"),
    "tree-scm": World(WorldOptions, tree_scm, "graphs"),
    "jungle-scm": World(WorldOptions, jungle_scm, "graphs"),
    "full-scm": World(WorldOptions, full_scm, "graphs"),
    "er-scm": World(RandomGraphOptions, er_scm, "graphs"),
    "sf-scm": World(RandomGraphOptions, sf_scm, "graphs"),
    "mixed-scm": World(MixedOptions, mixed_scm, "graphs"),
    "proxy-chain-scm": World(ProxyOptions, proxy_chain_scm, "graphs"),
    "cues-scm": World(CueOptions, cues_scm, "graphs"),
    "block-scm": World(BlockOptions, block_scm, "edge"),
    "chemical-chain": World(ChemicalOptions, chemical_chain),
    "chemical-collider": World(ChemicalOptions, chemical_collider),
    "chemical-full": World(ChemicalOptions, chemical_full),
    "chemical-jungle": World(ChemicalOptions, chemical_jungle),
    "chemical-full-fork": World(ChemicalSwitchOptions, chemical_full_fork),
    "chemical-full-chain": World(ChemicalSwitchOptions, chemical_full_chain),
    "bandit-uc": World(BanditOptions, bandit_uc),
    "confounded-mdp": World(ConfoundedMDPOptions, confounded_mdp),
    "dtr": World(RegimeOptions, treatment_regime),
    "front-door": World(FrontDoorOptions, front_door),
    "instrument": World(InstrumentOptions, instrument),
    "where-to-intervene": World(WhereOptions, where_to_intervene),
}

__all__ = [
    "BUILT_IN",
    "BanditOptions",
    "BlockOptions",
    "ChemicalOptions",
    "ChemicalSwitchOptions",
    "ConfoundedMDPOptions",
    "CueOptions",
    "FrontDoorOptions",
    "InstrumentOptions",
    "MixedOptions",
    "ProxyOptions",
    "RandomGraphOptions",
    "RegimeOptions",
    "WhereOptions",
    "World",
    "WorldOptions",
]
