"""The graph of a run whose encoder reads a given one, not the one that is learned."""

from __future__ import annotations

from causal_rl.agents.config import GRAPH_SOURCES, TrainConfig
from causal_rl.envs import SCMEnvSpec
from causal_rl.graphs import CausalGraph


def fixed_graph(
    config: TrainConfig, spec: SCMEnvSpec, given: CausalGraph | None = None
) -> CausalGraph | None:
    """The graph that the encoder reads for good, or None where it reads the learned one.

    Args:
        config: ``graph`` is read.
        spec: the world; its truth is read only where ``config.graph`` is "oracle".
        given: the graph of the file that ``config.graph`` names; None reads the file.

    Raises:
        ValueError: no such file, no graph in it, or one over other variables than the world's.
    """
    names, kinds = [*spec.observed_names, "reward"], [*spec.observed_kinds, "reward"]
    if config.graph == "learned":
        return None
    if config.graph == "oracle":
        return spec.causal_graph
    if config.graph == "full":
        return CausalGraph.full(names, kinds)
    if config.graph == "empty":
        return CausalGraph.empty(names, kinds)
    if given is None:
        file = config.graph_file
        if file is None or not file.is_file():
            raise ValueError(
                f"graph must be {', '.join(GRAPH_SOURCES)} or a graph JSON file; got "
                f"{config.graph!r}, which is none of these"
            )
        given = CausalGraph.load(file)
    if set(given.names) - {"reward"} != set(spec.observed_names):
        raise ValueError(
            f"graph {config.graph!r} is over {', '.join(given.names)}; "
            f"this world has {', '.join(spec.observed_names)}"
        )
    return given
