"""CausalGraph: the two graphs of a world in time, with the names and kinds of its variables."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from causal_rl.graphs import comparison, dot, drawing, exchange, serialization
from causal_rl.graphs.acyclicity import find_cycle
from causal_rl.graphs.adjacency import BoolMatrix, FloatMatrix, read_adjacency, read_matrix
from causal_rl.graphs.kinds import Kind, possible_edges, read_kinds
from causal_rl.graphs.names import list_names, name_difference, read_names
from causal_rl.graphs.random_blocks import draw_blocks
from causal_rl.graphs.relations import GraphRelations

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True, eq=False, init=False, repr=False)
class CausalGraph(GraphRelations):
    """Who causes whom inside one step, and from one step to the next.

    ``matrix[i, j]`` true means that variable i causes variable j. The graph is immutable: its
    arrays are copies and read-only. Two graphs are equal if names (in order), kinds and both
    adjacency matrices are; weights and confidences do not enter.

    Attributes:
        contemporaneous: (n, n) bool, edges inside one step: a DAG with a zero diagonal.
        lagged: (n, n) bool, edges from step t to t+1; diagonal entries are legal.
        names: n distinct names.
        kinds: n of "state", "action", "context", "reward", "hidden".
        contemporaneous_weights: (n, n) float64 signed effects inside the step, or None.
        lagged_weights: (n, n) float64 signed effects from t to t+1, or None.
        contemporaneous_confidence: (n, n) float64 in [0, 1], how sure a learner is that each edge
            exists, the rejected ones included; or None.
        lagged_confidence: (n, n) float64 in [0, 1], the same for the lagged edges; or None.
        allow_cycles: whether the contemporaneous block may be cyclic.
    """

    contemporaneous: BoolMatrix
    lagged: BoolMatrix
    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    contemporaneous_weights: FloatMatrix | None
    lagged_weights: FloatMatrix | None
    contemporaneous_confidence: FloatMatrix | None
    lagged_confidence: FloatMatrix | None
    allow_cycles: bool

    def __init__(
        self,
        contemporaneous: ArrayLike,
        lagged: ArrayLike | None = None,
        names: Iterable[str] | None = None,
        kinds: Iterable[str] | None = None,
        *,
        contemporaneous_weights: ArrayLike | None = None,
        lagged_weights: ArrayLike | None = None,
        contemporaneous_confidence: ArrayLike | None = None,
        lagged_confidence: ArrayLike | None = None,
        allow_cycles: bool = False,
    ) -> None:
        """Check and copy the parts.

        Args:
            contemporaneous: (n, n) of booleans or 0 and 1, zero diagonal, acyclic.
            lagged: (n, n) of booleans or 0 and 1; no lagged edges if None.
            names: n distinct names; X1 to Xn if None.
            kinds: n kinds; all "state" if None.
            contemporaneous_weights: (n, n) real, where known; entries off the edges mean nothing.
            lagged_weights: (n, n) real, where known; entries off the edges mean nothing.
            contemporaneous_confidence: (n, n) in [0, 1].
            lagged_confidence: (n, n) in [0, 1].
            allow_cycles: accept a cyclic contemporaneous block, as the "full" baseline needs.

        Raises:
            TypeError: entries are not numbers, or names or kinds are not sequences of strings.
            ValueError: shapes disagree, entries are outside of what is allowed, names repeat, a
                kind is unknown, the contemporaneous diagonal is nonzero, or the contemporaneous
                block is cyclic (the message shows the cycle).
        """
        if not isinstance(allow_cycles, bool | np.bool_):
            raise TypeError(f"allow_cycles must be True or False, got {allow_cycles!r}")
        edges = read_adjacency(contemporaneous, "contemporaneous")
        n = len(edges)
        checked_names = read_names(names, n)
        if edges.diagonal().any():
            name = checked_names[int(np.flatnonzero(edges.diagonal())[0])]
            raise ValueError(
                f"contemporaneous must have a zero diagonal, got the edge {name} -> {name}; "
                "an effect of a variable on its own next value belongs in lagged"
            )
        if not allow_cycles:
            cycle = find_cycle(edges)
            if cycle is not None:
                shown = " -> ".join(checked_names[i] for i in cycle)
                raise ValueError(f"contemporaneous must be acyclic, but has the cycle {shown}")
        memory = np.zeros((n, n), bool) if lagged is None else read_adjacency(lagged, "lagged", n=n)
        fields: dict[str, Any] = {
            "contemporaneous": edges,
            "lagged": memory,
            "names": checked_names,
            "kinds": read_kinds(kinds, n),
            "contemporaneous_weights": _read_weights(
                contemporaneous_weights, "contemporaneous_weights", n
            ),
            "lagged_weights": _read_weights(lagged_weights, "lagged_weights", n),
            "contemporaneous_confidence": _read_confidence(
                contemporaneous_confidence, "contemporaneous_confidence", n
            ),
            "lagged_confidence": _read_confidence(lagged_confidence, "lagged_confidence", n),
            "allow_cycles": bool(allow_cycles),
        }
        self.__setstate__(fields)

    def __repr__(self) -> str:
        return (
            f"CausalGraph({self.n} variables: {self._first_names()}; "
            f"{int(self.contemporaneous.sum())} contemporaneous and "
            f"{int(self.lagged.sum())} lagged edges)"
        )

    def _structure(self) -> tuple[Any, ...]:
        return self.names, self.kinds, self.contemporaneous.tobytes(), self.lagged.tobytes()

    # ---------------------------------------------------------------- constructors

    @classmethod
    def empty(cls, names: Iterable[str], kinds: Iterable[str] | None = None) -> CausalGraph:
        """Build the graph without edges.

        Args:
            names: distinct names.
            kinds: a kind for each; all "state" if None.

        Raises:
            TypeError: names or kinds are not sequences of strings.
            ValueError: no names, names that repeat, or unknown kinds.
        """
        listed = list_names(names)
        return cls(np.zeros((len(listed), len(listed)), dtype=bool), None, listed, kinds)

    @classmethod
    def full(cls, names: Iterable[str], kinds: Iterable[str] | None = None) -> CausalGraph:
        """Build the graph with every edge that the kinds leave possible (see `possible_edges`).

        Its contemporaneous block is cyclic as soon as two states are there: a baseline, no model.

        Args:
            names: distinct names.
            kinds: a kind for each; all "state" if None.

        Raises:
            TypeError: names or kinds are not sequences of strings.
            ValueError: no names, names that repeat, or unknown kinds.
        """
        listed = list_names(names)
        checked = read_kinds(kinds, len(listed))
        contemporaneous, lagged = possible_edges(checked)
        return cls(contemporaneous, lagged, listed, checked, allow_cycles=True)

    @classmethod
    def random(
        cls,
        names: Iterable[str],
        kinds: Iterable[str] | None,
        density: float,
        rng: np.random.Generator | int,
        *,
        lagged_density: float | None = None,
    ) -> CausalGraph:
        """Draw a random graph: a random order, then every possible edge with equal probability.

        Args:
            names: distinct names.
            kinds: a kind for each; all "state" if None. Edges that they rule out never appear.
            density: expected contemporaneous edges per variable.
            rng: generator, or a seed for one.
            lagged_density: expected lagged edges per variable; as ``density`` if None, and no
                more than the kinds leave possible.

        Raises:
            TypeError: names or kinds are not sequences of strings.
            ValueError: a density is negative or asks for more edges than there can be.
        """
        listed = list_names(names)
        checked = read_kinds(kinds, len(listed))
        blocks = draw_blocks(checked, density, lagged_density, np.random.default_rng(rng))
        return cls(*blocks, listed, checked)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CausalGraph:
        """Build a graph from what `to_dict` returned.

        Args:
            data: the mapping; "contemporaneous" and "names" are needed, the rest is optional.

        Raises:
            TypeError: data is not a mapping, or entries are of the wrong type.
            ValueError: entries are missing, unknown or not a valid graph.
        """
        return cls(**serialization.fields_from_dict(data))

    @classmethod
    def from_networkx(cls, graph: nx.DiGraph) -> CausalGraph:
        """Build a graph from a networkx DiGraph or MultiDiGraph.

        Args:
            graph: nodes (their ``str`` is the name) with an optional attribute "kind"; edges with
                optional attributes "lag" (0 or 1, default 0), "weight" and "confidence".

        Raises:
            TypeError: not a directed networkx graph.
            ValueError: another lag, a repeated edge, weights on some edges of a block only, or no
                valid graph.
        """
        return cls(**exchange.fields_from_networkx(graph))

    @classmethod
    def from_pandas(
        cls,
        table: pd.DataFrame,
        names: Iterable[str] | None = None,
        kinds: Iterable[str] | None = None,
        *,
        allow_cycles: bool = False,
    ) -> CausalGraph:
        """Build a graph from an edge table as `to_pandas` returns it.

        Args:
            table: a row per edge; columns "parent", "child", and optionally "lag" (default 0),
                "weight" and "confidence".
            names: all variables in order, those without edges included; if None, those of the
                table in order of appearance.
            kinds: a kind for each; all "state" if None.
            allow_cycles: accept a cyclic contemporaneous block.

        Raises:
            TypeError: not a table, or names or kinds are not sequences of strings.
            ValueError: columns are missing, names are unknown, or no valid graph.
        """
        return cls(**exchange.fields_from_pandas(table, names, kinds), allow_cycles=allow_cycles)

    @classmethod
    def from_dot(cls, text: str) -> CausalGraph:
        """Build a graph from DOT text: plain node and edge statements of one digraph.

        Args:
            text: DOT; edges may carry "lag", "effect" (the weight: Graphviz keeps the name
                "weight" for its layout) and "confidence", nodes "kind". Subgraphs and ports are
                not read.

        Raises:
            TypeError: text is not a string.
            ValueError: not such a digraph, or no valid graph.
        """
        return cls(**dot.fields_from_dot(text))

    def subgraph(self, names: Iterable[str]) -> CausalGraph:
        """Keep some variables, in the order asked, and the edges among them.

        It is the induced subgraph: paths through dropped variables are not closed up.

        Args:
            names: distinct names, at least one.

        Raises:
            TypeError: a single string was given.
            ValueError: unknown or repeated names, or none.
        """
        chosen = self.indices(names)
        if not chosen:
            raise ValueError("names must have at least one entry")
        block = np.ix_(chosen, chosen)
        matrices: dict[str, Any] = {
            field: None if matrix is None else matrix[block]
            for field, matrix in self._matrices().items()
        }
        return dataclasses.replace(
            self,
            names=tuple(self.names[i] for i in chosen),
            kinds=tuple(self.kinds[i] for i in chosen),
            **matrices,
        )

    def permute(self, names: Iterable[str]) -> CausalGraph:
        """Put the variables into another order.

        Args:
            names: all names, in the new order.

        Raises:
            TypeError: a single string was given.
            ValueError: not the names of this graph, each once.
        """
        listed = list_names(names)
        if sorted(listed) != sorted(self.names):
            difference = name_difference(listed, self.names)
            raise ValueError(f"names must be those of the graph, each once; {difference}")
        return self.subgraph(listed)

    def relabel(self, names: Mapping[str, str]) -> CausalGraph:
        """Give variables new names.

        Args:
            names: old name to new name; variables that are not in it keep theirs.

        Raises:
            TypeError: names is not a mapping.
            ValueError: an unknown old name, or new names that repeat.
        """
        if not isinstance(names, Mapping):
            raise TypeError(f"names must map old names to new ones, got {type(names).__name__}")
        for old in names:
            self.index(old)
        return dataclasses.replace(self, names=tuple(names.get(old, old) for old in self.names))

    def with_(self, **changes: Any) -> CausalGraph:
        """Return a copy with some attributes replaced.

        A new block drops the weights and confidences that belonged to the old one, unless they
        are given too.

        Args:
            **changes: attributes of this class by name.

        Raises:
            TypeError: no such attribute, or an entry of the wrong type.
            ValueError: the result is no valid graph.
        """
        for block in ("contemporaneous", "lagged"):
            if block in changes:
                changes.setdefault(f"{block}_weights", None)
                changes.setdefault(f"{block}_confidence", None)
        return dataclasses.replace(self, **changes)

    def _matrices(self) -> dict[str, Any]:
        return {
            "contemporaneous": self.contemporaneous,
            "lagged": self.lagged,
            "contemporaneous_weights": self.contemporaneous_weights,
            "lagged_weights": self.lagged_weights,
            "contemporaneous_confidence": self.contemporaneous_confidence,
            "lagged_confidence": self.lagged_confidence,
        }

    # ---------------------------------------------------------------- out of this class

    def compare(self, truth: CausalGraph) -> comparison.GraphComparison:
        """Score this graph against the truth, block by block.

        Args:
            truth: a graph over the same names, in any order.

        Raises:
            TypeError: truth is not a CausalGraph.
            ValueError: the names differ; the message says which.
        """
        return comparison.compare(self, self._check_truth(truth))

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, strings and numbers, ready for JSON."""
        return serialization.to_dict(self)

    def to_networkx(self) -> nx.MultiDiGraph:
        """Return a MultiDiGraph: nodes carry "kind", edges "lag" (0 or 1), "weight", "confidence".

        Weights and confidences of absent edges are not carried.
        """
        return exchange.to_networkx(self)

    def to_pandas(self) -> pd.DataFrame:
        """Return a table of edges: parent, child, lag (0 or 1), weight, confidence.

        Weight and confidence are NaN where unknown.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return exchange.to_pandas(self)

    def to_dot(self) -> str:
        """Return DOT text for Graphviz; lagged edges are dashed, the kinds have shapes."""
        return dot.to_dot(self)

    def plot(self, ax: Axes | None = None, *, truth: CausalGraph | None = None) -> Axes:
        """Draw the graph on a circle.

        Without a truth, contemporaneous edges are solid and lagged ones dotted. With one, right
        edges are black, missing ones grey, extra ones red, reversed ones orange.

        Args:
            ax: axes to draw on; a new figure (outside of pyplot) if None, ``plot().figure``.
            truth: a graph over the same names.

        Returns:
            The axes.

        Raises:
            TypeError: truth is not a CausalGraph.
            ValueError: the names of truth differ.
        """
        return drawing.plot(self, ax, None if truth is None else self._check_truth(truth))

    def plot_comparison(
        self, truth: CausalGraph, path: str | os.PathLike[str] | None = None
    ) -> Figure:
        """Draw the truth beside this graph, both blocks, with the errors marked.

        Args:
            truth: a graph over the same names.
            path: where to save the picture (the suffix says the format), if anywhere.

        Returns:
            The figure, outside of pyplot.

        Raises:
            TypeError: truth is not a CausalGraph.
            ValueError: the names differ.
            OSError: the file cannot be written.
        """
        return drawing.plot_comparison(self, self._check_truth(truth), path)

    def _check_truth(self, truth: CausalGraph) -> CausalGraph:
        if not isinstance(truth, CausalGraph):
            raise TypeError(f"truth must be a CausalGraph, got {type(truth).__name__}")
        self._check_names_of(truth)
        return truth


def _read_weights(value: ArrayLike | None, argument: str, n: int) -> FloatMatrix | None:
    return None if value is None else read_matrix(value, argument, n=n)


def _read_confidence(value: ArrayLike | None, argument: str, n: int) -> FloatMatrix | None:
    if value is None:
        return None
    matrix = read_matrix(value, argument, n=n)
    outside = np.argwhere((matrix < 0.0) | (matrix > 1.0))
    if len(outside):
        i, j = outside[0]
        raise ValueError(f"{argument} must lie in [0, 1], got {matrix[i, j]:g} at [{i}, {j}]")
    return matrix
