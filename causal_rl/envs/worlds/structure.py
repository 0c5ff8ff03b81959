"""Worlds that differ in the shape of their graph and in the timing of its edges."""

from __future__ import annotations

from dataclasses import replace

from causal_rl.envs.spec import SCMEnvSpec
from causal_rl.envs.worlds.control import control_spec, structure
from causal_rl.envs.worlds.options import RandomGraphOptions, WorldOptions


def chain_scm(options: WorldOptions) -> SCMEnvSpec:
    """A chain inside each step that ends in the slow sink."""
    return control_spec("chain-scm", options, structure("chain", options))


def lagged_chain_scm(options: WorldOptions) -> SCMEnvSpec:
    """The chain with every edge from one step to the next: what is set now tells a step later."""
    lagged = replace(options, timing="lagged")
    return control_spec("lagged-chain-scm", lagged, structure("chain", lagged))


def delayed_chain_scm(options: WorldOptions) -> SCMEnvSpec:
    """The chain with edges that act 1, 2 or 3 steps later, by cells that remember."""
    delayed = replace(options, timing="delayed")
    return control_spec("delayed-chain-scm", delayed, structure("chain", delayed))


def fork_scm(options: WorldOptions) -> SCMEnvSpec:
    """One cause of all the others, of which one is the slow sink."""
    return control_spec("fork-scm", options, structure("fork", options))


def collider_scm(options: WorldOptions) -> SCMEnvSpec:
    """Independent causes of one slow sink."""
    return control_spec("collider-scm", options, structure("collider", options))


def tree_scm(options: WorldOptions) -> SCMEnvSpec:
    """A random tree: every variable but the root has one cause."""
    return control_spec("tree-scm", options, structure("tree", options))


def jungle_scm(options: WorldOptions) -> SCMEnvSpec:
    """A binary tree in which grandparents are causes too."""
    return control_spec("jungle-scm", options, structure("jungle", options))


def full_scm(options: WorldOptions) -> SCMEnvSpec:
    """Every variable causes all later ones: the densest graph there is."""
    return control_spec("full-scm", options, structure("full", options))


def er_scm(options: RandomGraphOptions) -> SCMEnvSpec:
    """A random DAG inside each step; the sink is the childless variable with most ancestors."""
    return control_spec("er-scm", options, structure("er", options, options.density))


def sf_scm(options: RandomGraphOptions) -> SCMEnvSpec:
    """A scale-free random DAG: a few variables cause many."""
    return control_spec("sf-scm", options, structure("sf", options, options.density))
