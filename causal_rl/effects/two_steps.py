"""A world's graph over two steps, as a table of its transitions needs it."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from causal_rl.graphs import CausalGraph, Kind
from causal_rl.graphs.names import unknown_name

BEFORE = "{}_before"
_PAST = "the past"
_NOT_BEFORE = ("context", "reward")


def two_step_graph(graph: CausalGraph, *, set_by_agent: Collection[str] = ()) -> CausalGraph:
    """Unroll a graph: ``x_before`` is x one step earlier, ``x`` is x now.

    All that came earlier is one hidden cause of every variable of the step before, so that what
    is identified here is identified in the whole history. A context is one variable, as it is held,
    and a cause of all that came earlier; a reward is that of the present step alone.

    Args:
        graph: with lagged edges, such as an agent learns.
        set_by_agent: variables that an agent sets in the rows looked at, knowing the step before:
            all that it observed, contexts included, is their cause, and nothing else.

    Returns:
        A graph without lagged edges; contexts keep their kind, a reward and what is hidden too.

    Raises:
        ValueError: ``set_by_agent`` names no variable, or the names with ``_before`` are taken.
    """
    for name in set_by_agent:
        if name not in graph.names:
            raise ValueError(f"set_by_agent: {unknown_name(name, graph.names)}")
    kind_of = dict(zip(graph.names, graph.kinds, strict=True))
    earlier = {
        name: BEFORE.format(name) for name in graph.names if kind_of[name] not in _NOT_BEFORE
    }
    names = [*earlier.values(), *graph.names]
    kinds: list[Kind] = [*(kind_of[name] for name in earlier), *graph.kinds]
    if earlier:
        names, kinds = [_PAST, *names], ["hidden", *kinds]
    if len(set(names)) < len(names):
        repeated = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(
            f"graph has a variable named {', '.join(repeated)}, which stands for a past one"
        )
    place = {name: i for i, name in enumerate(names)}
    edges = np.zeros((len(names),) * 2, dtype=bool)
    for block, cause, effect in graph.edges():
        if block == "lagged":
            edges[place[earlier.get(cause, cause)], place[effect]] = True
            continue
        edges[place[cause], place[effect]] = True
        if effect in earlier:
            edges[place[earlier.get(cause, cause)], place[earlier[effect]]] = True
    for past in earlier.values():
        edges[place[_PAST], place[past]] = True
    for name, kind in kind_of.items():
        if kind == "context" and earlier:
            edges[place[name], place[_PAST]] = True
    for name in set_by_agent:
        edges[:, place[name]] = False
        for seen, kind in kind_of.items():
            if kind == "context" or (seen in earlier and kind != "hidden"):
                edges[place[earlier.get(seen, seen)], place[name]] = True
    np.fill_diagonal(edges, False)
    return CausalGraph(edges, names=names, kinds=kinds)
