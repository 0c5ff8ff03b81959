"""CausalGraph to and from lists of edges: networkx graphs and pandas tables.

An edge list says nothing about absent edges. So the confidence of a rejected edge is not carried
(JSON carries it), and a block without edges comes back without weights and confidences.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from causal_rl.errors import import_extra
from causal_rl.graphs.adjacency import FloatMatrix
from causal_rl.graphs.structure import GraphStructure

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd


class Edge(NamedTuple):
    """One edge.

    Attributes:
        parent: name of the cause.
        child: name of the effect.
        lag: 0 inside the step, 1 from t to t+1.
        weight: signed effect, or None if unknown.
        confidence: in [0, 1], or None if unknown.
    """

    parent: str
    child: str
    lag: int
    weight: float | None
    confidence: float | None


def edge_list(graph: GraphStructure) -> list[Edge]:
    """List the edges with what is known of them, the contemporaneous ones first.

    Args:
        graph: the graph.

    Returns:
        The edges, in row order inside each block.
    """
    blocks = (
        (graph.contemporaneous, graph.contemporaneous_weights, graph.contemporaneous_confidence),
        (graph.lagged, graph.lagged_weights, graph.lagged_confidence),
    )
    return [
        Edge(
            graph.names[i],
            graph.names[j],
            lag,
            None if weights is None else float(weights[i, j]),
            None if confidence is None else float(confidence[i, j]),
        )
        for lag, (edges, weights, confidence) in enumerate(blocks)
        for i, j in np.argwhere(edges)
    ]


def fields_from_edges(
    names: Sequence[str], kinds: Iterable[str] | None, edges: Iterable[Edge]
) -> dict[str, Any]:
    """Turn a list of edges into the arguments of `CausalGraph`.

    Args:
        names: all variables in order.
        kinds: a kind for each; all "state" if None.
        edges: the edges.

    Returns:
        Keyword arguments; the constructor checks their values.

    Raises:
        ValueError: an unknown name, another lag, a repeated edge, or a weight or confidence on some
            edges of a block and not on others.
    """
    index = {name: i for i, name in enumerate(names)}
    n = len(names)
    listed = list(edges)
    seen = set()
    for edge in listed:
        for name in (edge.parent, edge.child):
            if name not in index:
                raise ValueError(f"edges must join variables of names, got {name!r}")
        if edge.lag not in (0, 1):
            raise ValueError(f"lag must be 0 or 1, got {edge.lag} at {edge.parent} -> {edge.child}")
        if edge[:3] in seen:
            raise ValueError(
                f"edges must be distinct, got {edge.parent} -> {edge.child} "
                f"at lag {edge.lag} more than once"
            )
        seen.add(edge[:3])
    fields: dict[str, Any] = {"names": list(names), "kinds": kinds}
    for lag, block in enumerate(("contemporaneous", "lagged")):
        own = [edge for edge in listed if edge.lag == lag]
        adjacency = np.zeros((n, n), dtype=bool)
        for edge in own:
            adjacency[index[edge.parent], index[edge.child]] = True
        fields[block] = adjacency
        fields[f"{block}_weights"] = _matrix(own, index, "weight", block)
        fields[f"{block}_confidence"] = _matrix(own, index, "confidence", block)
    return fields


def _matrix(
    edges: list[Edge], index: Mapping[str, int], attribute: str, block: str
) -> FloatMatrix | None:
    values = [getattr(edge, attribute) for edge in edges]
    known = [value is not None for value in values]
    if not any(known):
        return None
    if not all(known):
        edge = edges[known.index(False)]
        raise ValueError(
            f"{attribute} must be on all {block} edges or on none, "
            f"lacks on {edge.parent} -> {edge.child}"
        )
    matrix = np.zeros((len(index), len(index)))
    for edge, value in zip(edges, values, strict=True):
        matrix[index[edge.parent], index[edge.child]] = value
    return matrix


def read_edge(parent: str, child: str, attributes: Mapping[str, Any]) -> Edge:
    """Build an edge from attributes that came from elsewhere.

    Args:
        parent: name of the cause.
        child: name of the effect.
        attributes: may hold "lag", "weight" and "confidence"; None and NaN mean unknown.

    Returns:
        The edge.

    Raises:
        ValueError: an attribute is not a number, or the lag is not a whole one.
    """
    numbers: dict[str, float | None] = {}
    for key in ("lag", "weight", "confidence"):
        value = attributes.get(key)
        try:
            number = None if value is None else float(value)
        except (TypeError, ValueError):
            raise ValueError(
                f"{key} must be a number, got {value!r} at {parent} -> {child}"
            ) from None
        numbers[key] = None if number is None or np.isnan(number) else number
    lag = numbers["lag"] or 0.0
    if lag not in (0.0, 1.0):
        raise ValueError(f"lag must be 0 or 1, got {lag:g} at {parent} -> {child}")
    return Edge(parent, child, int(lag), numbers["weight"], numbers["confidence"])


def to_networkx(graph: GraphStructure) -> nx.MultiDiGraph:
    """Turn a graph into a networkx MultiDiGraph, keyed by lag; see `CausalGraph.to_networkx`.

    Args:
        graph: the graph.

    Returns:
        A MultiDiGraph; its attribute "allow_cycles" is that of the graph.
    """
    import networkx as nx

    result = nx.MultiDiGraph(allow_cycles=graph.allow_cycles)
    for name, kind in zip(graph.names, graph.kinds, strict=True):
        result.add_node(name, kind=kind)
    for edge in edge_list(graph):
        known = {
            key: value
            for key, value in (("weight", edge.weight), ("confidence", edge.confidence))
            if value is not None
        }
        result.add_edge(edge.parent, edge.child, key=edge.lag, lag=edge.lag, **known)
    return result


def fields_from_networkx(graph: nx.DiGraph) -> dict[str, Any]:
    """Read the arguments of `CausalGraph` from a networkx graph.

    Args:
        graph: a DiGraph or MultiDiGraph, see `CausalGraph.from_networkx`.

    Returns:
        Keyword arguments; the constructor checks their values.

    Raises:
        TypeError: not a directed networkx graph.
        ValueError: see `fields_from_edges`.
    """
    import networkx as nx

    if not isinstance(graph, nx.Graph) or not graph.is_directed():
        raise TypeError(f"graph must be a directed networkx graph, got {type(graph).__name__}")
    fields = fields_from_edges(
        [str(node) for node in graph.nodes],
        [str(kind) for _, kind in graph.nodes(data="kind", default="state")],
        [read_edge(str(u), str(v), attributes) for u, v, attributes in graph.edges(data=True)],
    )
    return {**fields, "allow_cycles": bool(graph.graph.get("allow_cycles", False))}


def to_pandas(graph: GraphStructure) -> pd.DataFrame:
    """Turn a graph into a table of edges; see `CausalGraph.to_pandas`.

    Args:
        graph: the graph.

    Returns:
        Columns parent, child, lag (int64), weight, confidence (float64, NaN where unknown).

    Raises:
        MissingExtraError: pandas is not installed.
    """
    pandas = import_extra("pandas", extra="pandas")
    table = pandas.DataFrame(edge_list(graph), columns=list(Edge._fields))
    return table.astype({"lag": "int64", "weight": "float64", "confidence": "float64"})


def fields_from_pandas(
    table: pd.DataFrame, names: Iterable[str] | None, kinds: Iterable[str] | None
) -> dict[str, Any]:
    """Read the arguments of `CausalGraph` from a table of edges.

    Args:
        table: see `CausalGraph.from_pandas`.
        names: all variables in order; those of the table in order of appearance if None.
        kinds: a kind for each; all "state" if None.

    Returns:
        Keyword arguments; the constructor checks their values.

    Raises:
        TypeError: table has no columns, or names is a single string.
        ValueError: a column is missing, or see `fields_from_edges`.
    """
    if not hasattr(table, "columns") or not hasattr(table, "to_dict"):
        raise TypeError(f"table must be a pandas DataFrame, got {type(table).__name__}")
    if isinstance(names, str):
        raise TypeError(f"names must be a sequence of strings, got the string {names!r}")
    if missing := [column for column in ("parent", "child") if column not in table.columns]:
        raise ValueError(f"table must have the columns parent and child, lacks {missing}")
    rows = table.to_dict("records")
    edges = [read_edge(str(row["parent"]), str(row["child"]), row) for row in rows]
    if names is None:
        names = dict.fromkeys(name for edge in edges for name in edge[:2])
    return fields_from_edges(list(names), kinds, edges)
