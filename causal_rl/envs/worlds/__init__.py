"""The built-in worlds: what each is, and how it is made from its options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from causal_rl.envs.spec import SCMEnvSpec
from causal_rl.envs.worlds.blocks import BlockOptions, block_scm
from causal_rl.envs.worlds.cues import CueOptions, ProxyOptions, cues_scm, proxy_chain_scm
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
    """

    options: type
    build: Callable[..., SCMEnvSpec]

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
        spec = self.build(self.options(**options))
        return spec.replace(description=self.description)


BUILT_IN: dict[str, World] = {
    "chain-scm": World(WorldOptions, chain_scm),
    "lagged-chain-scm": World(WorldOptions, lagged_chain_scm),
    "delayed-chain-scm": World(WorldOptions, delayed_chain_scm),
    "fork-scm": World(WorldOptions, fork_scm),
    "collider-scm": World(WorldOptions, collider_scm),
    "tree-scm": World(WorldOptions, tree_scm),
    "jungle-scm": World(WorldOptions, jungle_scm),
    "full-scm": World(WorldOptions, full_scm),
    "er-scm": World(RandomGraphOptions, er_scm),
    "sf-scm": World(RandomGraphOptions, sf_scm),
    "mixed-scm": World(MixedOptions, mixed_scm),
    "proxy-chain-scm": World(ProxyOptions, proxy_chain_scm),
    "cues-scm": World(CueOptions, cues_scm),
    "block-scm": World(BlockOptions, block_scm),
}

__all__ = [
    "BUILT_IN",
    "BlockOptions",
    "CueOptions",
    "MixedOptions",
    "ProxyOptions",
    "RandomGraphOptions",
    "World",
    "WorldOptions",
]
