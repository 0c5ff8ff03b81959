"""PartialGraph: an equivalence class of causal graphs, with marks at the ends of its edges."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causal_rl.graphs import (
    dag_extension,
    meek,
    partial_comparison,
    partial_drawing,
    serialization,
)
from causal_rl.graphs.adjacency import BoolMatrix, read_adjacency, read_matrix
from causal_rl.graphs.causal_graph import CausalGraph
from causal_rl.graphs.kinds import Kind, read_kinds
from causal_rl.graphs.marks import ARROW, CIRCLE, NONE, TAIL, Marks, marks_of
from causal_rl.graphs.named_graph import NamedGraph
from causal_rl.graphs.names import list_names, name_difference, read_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMAT = "causal_rl.partial_graph"
VERSION = 1


@dataclasses.dataclass(frozen=True, eq=False, init=False, repr=False)
class PartialGraph(NamedGraph):
    """A CPDAG or a PAG: variables joined by edges with a mark at each end.

    ``marks[i, j]`` is the mark at j's end of the edge between i and j: 0 no edge, 1 tail, 2
    arrowhead, 3 circle (undetermined). So i -> j is ``marks[i, j] = 2, marks[j, i] = 1``, and i - j
    has 1 at both ends. It is about one step; there is no lagged block. Immutable: the array is a
    copy and read-only. Two graphs are equal if names (in order), kinds and marks are.

    Directed cycles are not refused, since what is learned from finite data may have them; `to_dag`
    refuses them.

    Attributes:
        marks: (n, n) int8, zero diagonal, zero at one end exactly if at the other.
        names: n distinct names.
        kinds: n of "state", "action", "context", "reward", "hidden".
    """

    marks: Marks
    names: tuple[str, ...]
    kinds: tuple[Kind, ...]

    def __init__(
        self,
        marks: ArrayLike,
        names: Iterable[str] | None = None,
        kinds: Iterable[str] | None = None,
    ) -> None:
        """Check and copy the parts.

        Args:
            marks: (n, n) of 0 to 3.
            names: n distinct names; X1 to Xn if None.
            kinds: n kinds; all "state" if None.

        Raises:
            TypeError: entries are not numbers, or names or kinds are not sequences of strings.
            ValueError: shapes disagree, a mark outside of 0 to 3, an edge with a mark at one end
                only, a nonzero diagonal, names that repeat, or an unknown kind.
        """
        matrix = read_matrix(marks, "marks")
        n = len(matrix)
        checked_names = read_names(names, n)
        wrong = np.argwhere(~np.isin(matrix, (NONE, TAIL, ARROW, CIRCLE)))
        if len(wrong):
            i, j = wrong[0]
            raise ValueError(
                f"marks must hold 0 (none), 1 (tail), 2 (arrowhead) or 3 (circle), "
                f"got {matrix[i, j]:g} at [{i}, {j}]"
            )
        if matrix.diagonal().any():
            name = checked_names[int(np.flatnonzero(matrix.diagonal())[0])]
            raise ValueError(f"marks must have a zero diagonal, got an edge of {name} with itself")
        lone = np.argwhere((matrix != 0) & (matrix.T == 0))
        if len(lone):
            i, j = lone[0]
            raise ValueError(
                "marks must be nonzero at both ends of an edge or at none, "
                f"got {matrix[i, j]:g} at [{i}, {j}] and 0 at [{j}, {i}]"
            )
        self.__setstate__(
            {
                "marks": matrix.astype(np.int8),
                "names": checked_names,
                "kinds": read_kinds(kinds, n),
            }
        )

    def __repr__(self) -> str:
        total = int(np.triu(self.skeleton).sum())
        return (
            f"PartialGraph({self.n} variables: {self._first_names()}; {total} edges, "
            f"{int(self.directed.sum())} of them directed)"
        )

    def _structure(self) -> tuple[Any, ...]:
        return self.names, self.kinds, self.marks.tobytes()

    # ---------------------------------------------------------------- constructors

    @classmethod
    def empty(cls, names: Iterable[str], kinds: Iterable[str] | None = None) -> PartialGraph:
        """Build the graph without edges.

        Args:
            names: distinct names.
            kinds: a kind for each; all "state" if None.

        Raises:
            TypeError: names or kinds are not sequences of strings.
            ValueError: no names, names that repeat, or unknown kinds.
        """
        listed = list_names(names)
        return cls(np.zeros((len(listed), len(listed))), listed, kinds)

    @classmethod
    def from_adjacency(
        cls,
        adjacency: ArrayLike,
        names: Iterable[str] | None = None,
        kinds: Iterable[str] | None = None,
    ) -> PartialGraph:
        """Build a graph of directed and undirected edges.

        Args:
            adjacency: (n, n) of booleans or 0 and 1, zero diagonal; i -> j where [i, j] alone is
                set, i - j where [j, i] is set too.
            names: n distinct names; X1 to Xn if None.
            kinds: n kinds; all "state" if None.

        Raises:
            TypeError: entries are not numbers, or names or kinds are not sequences of strings.
            ValueError: not such a matrix, or names or kinds are not valid.
        """
        edges = read_adjacency(adjacency, "adjacency")
        if edges.diagonal().any():
            i = int(np.flatnonzero(edges.diagonal())[0])
            raise ValueError(f"adjacency must have a zero diagonal, got an edge at [{i}, {i}]")
        both = edges & edges.T
        return cls(marks_of(edges & ~both, both), names, kinds)

    @classmethod
    def cpdag(cls, dag: CausalGraph | ArrayLike) -> PartialGraph:
        """Build the class of all DAGs that are Markov equivalent to a DAG.

        Args:
            dag: a CausalGraph, of which the contemporaneous block counts, or (n, n) of 0 and 1.

        Returns:
            The completed partially directed graph: i -> j where all of the class agree, else i - j.

        Raises:
            TypeError: entries are not numbers.
            ValueError: cyclic, or not a valid adjacency matrix.
        """
        if not isinstance(dag, CausalGraph):
            dag = CausalGraph(read_adjacency(dag, "dag"), allow_cycles=True)
        if not dag.is_acyclic:
            raise ValueError("dag must be acyclic; a cyclic graph has no CPDAG")
        return cls(marks_of(*meek.cpdag_of_dag(dag.contemporaneous)), dag.names, dag.kinds)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PartialGraph:
        """Build a graph from what `to_dict` returned.

        Args:
            data: the mapping; "marks" and "names" are needed.

        Raises:
            TypeError: data is not a mapping, or entries are of the wrong type.
            ValueError: entries are missing, unknown or not a valid graph.
        """
        known = ("names", "kinds", "marks")
        needed = ("names", "marks")
        fields = serialization.read_fields(data, (FORMAT, VERSION), needed=needed, known=known)
        return cls(**fields)

    # ---------------------------------------------------------------- structure

    @property
    def skeleton(self) -> BoolMatrix:
        """Who is joined to whom by an edge of any marks, (n, n) bool, symmetric."""
        joined: BoolMatrix = self.marks != NONE
        return joined

    @property
    def directed(self) -> BoolMatrix:
        """Edges with a tail and an arrowhead, (n, n) bool: [i, j] for i -> j."""
        found: BoolMatrix = (self.marks == ARROW) & (self.marks.T == TAIL)
        return found

    @property
    def undirected(self) -> BoolMatrix:
        """Edges with two tails, (n, n) bool, symmetric."""
        found: BoolMatrix = (self.marks == TAIL) & (self.marks.T == TAIL)
        return found

    @property
    def bidirected(self) -> BoolMatrix:
        """Edges with two arrowheads (a hidden common cause), (n, n) bool, symmetric."""
        found: BoolMatrix = (self.marks == ARROW) & (self.marks.T == ARROW)
        return found

    @property
    def circles(self) -> BoolMatrix:
        """Edges with a circle at one end at least, (n, n) bool, symmetric."""
        found: BoolMatrix = (self.marks == CIRCLE) | (self.marks.T == CIRCLE)
        return found

    @property
    def is_cpdag(self) -> bool:
        """Whether this is the CPDAG of some DAG."""
        try:
            dag = self.to_dag()
        except ValueError:
            return False
        return bool((PartialGraph.cpdag(dag).marks == self.marks).all())

    def edges(self) -> list[tuple[str, str, str]]:
        """List the edges once each as (name, symbol, name), for example ``("a", "-->", "b")``.

        Symbols are ``-->``, ``---``, ``<->``, ``o->``, ``o-o`` and ``--o``; the one with an
        arrowhead on the right comes first, else the earlier column.
        """
        listed = []
        for i, j in np.argwhere(np.triu(self.skeleton)):
            a, b = int(i), int(j)
            # Arrowheads go right, and a circle goes left of one.
            if _RANK[int(self.marks[b, a])] > _RANK[int(self.marks[a, b])]:
                a, b = b, a
            symbol = f"{_LEFT[int(self.marks[b, a])]}-{_RIGHT[int(self.marks[a, b])]}"
            listed.append((self.names[a], symbol, self.names[b]))
        return listed

    def permute(self, names: Iterable[str]) -> PartialGraph:
        """Put the variables into another order.

        Args:
            names: all names, in the new order.

        Raises:
            TypeError: a single string was given.
            ValueError: not the names of this graph, each once.
        """
        chosen = self._columns(names, "names")
        return PartialGraph(
            self.marks[np.ix_(chosen, chosen)],
            [self.names[i] for i in chosen],
            [self.kinds[i] for i in chosen],
        )

    def _columns(self, names: Iterable[str], argument: str) -> list[int]:
        listed = list_names(names)
        if sorted(listed) != sorted(self.names):
            difference = name_difference(listed, self.names)
            raise ValueError(f"{argument} must be the names of the graph, each once; {difference}")
        return [self.names.index(name) for name in listed]

    # ---------------------------------------------------------------- orientation

    def close(self) -> PartialGraph:
        """Orient what Meek's four rules orient (Meek 1995); a graph without circles and <->.

        Returns:
            A graph of the same skeleton with the same directed edges and perhaps more; of an edge
            that the rules would turn both ways, nothing is said.

        Raises:
            ValueError: the graph has circles or bidirected edges: the rules are for directed and
                undirected ones.
        """
        self._check_plain()
        return PartialGraph(
            marks_of(*meek.close_under_meek(self.directed, self.undirected)),
            self.names,
            self.kinds,
        )

    def to_dag(self, order: Iterable[str] | None = None) -> CausalGraph:
        """Pick one DAG of the class (Dor and Tarsi 1992): same skeleton, same v-structures.

        Args:
            order: all names, causes first: the way that free edges point where they can. None is
                the columns from last to first. Tables are often written causes first, and an
                edge that the data leave open is not to be scored in one's favour.

        Returns:
            The DAG; all directed edges keep their direction.

        Raises:
            TypeError: order is a single string.
            ValueError: no such DAG exists, or the graph has circles or bidirected edges; see
                `forced_dag` for an answer even then.
        """
        self._check_plain()
        dag, broken = dag_extension.extend(self.directed, self.undirected, self._ranks(order))
        if broken:
            raise ValueError(
                "the graph has no consistent DAG extension: every way to orient its undirected "
                "edges makes a cycle or a new v-structure"
            )
        return CausalGraph(dag, names=self.names, kinds=self.kinds)

    def forced_dag(self, order: Iterable[str] | None = None) -> CausalGraph:
        """Pick a DAG even where `to_dag` finds none; where it finds one, the same.

        The rule of Dor and Tarsi takes away sinks one by one. Where no variable may be taken, the
        one is taken for which the fewest directed edges are turned, then the fewest new
        v-structures made, then the one that comes last in ``order``. A circle beside a tail or an
        arrowhead is read as the other end of a directed edge, two circles as an undirected edge,
        and bidirected edges are left out: neither end causes the other.

        Args:
            order: as in `to_dag`.

        Returns:
            A DAG with the skeleton of this graph, bidirected edges aside.

        Raises:
            TypeError: order is a single string.
            ValueError: order does not hold the names of the graph, each once.
        """
        here, there = self.marks, self.marks.T
        directed = ((here == ARROW) & (there != ARROW)) | ((there == TAIL) & (here == CIRCLE))
        directed &= self.skeleton
        free = self.skeleton & ~directed & ~directed.T & ~self.bidirected
        dag, _ = dag_extension.extend(directed, free, self._ranks(order))
        return CausalGraph(dag, names=self.names, kinds=self.kinds)

    def _check_plain(self) -> None:
        for found, what in ((self.circles, "circle marks"), (self.bidirected, "bidirected edges")):
            if found.any():
                i, j = np.argwhere(found)[0]
                raise ValueError(
                    f"the graph has {what} ({self.names[i]}, {self.names[j]}); "
                    "this is for directed and undirected edges"
                )

    def _ranks(self, order: Iterable[str] | None) -> NDArray[np.intp]:
        """The place of each column in the order of preference, causes first."""
        if order is None:
            return np.arange(self.n)[::-1]
        return np.argsort(self._columns(order, "order"))

    # ---------------------------------------------------------------- out of this class

    def compare(self, truth: PartialGraph) -> partial_comparison.PartialComparison:
        """Score this graph against the true one, for example ``PartialGraph.cpdag(dag)``.

        Args:
            truth: a graph over the same names, in any order.

        Raises:
            TypeError: truth is not a PartialGraph.
            ValueError: the names differ; the message says which.
        """
        aligned = self._check_truth(truth)
        return partial_comparison.compare(self.marks, aligned.marks)

    def to_dot(self) -> str:
        """Return DOT text for Graphviz; every edge says the marks at both of its ends."""
        return partial_drawing.to_dot(self.marks, self.forced_dag())

    def plot(self, ax: Axes | None = None, *, truth: PartialGraph | None = None) -> Axes:
        """Draw the graph on a circle: bare ends are tails, rings circles.

        With a truth, right edges are black, missing ones grey, extra ones red, and those with other
        marks orange.

        Args:
            ax: axes to draw on; a new figure (outside of pyplot) if None, ``plot().figure``.
            truth: a graph over the same names.

        Returns:
            The axes.

        Raises:
            TypeError: truth is not a PartialGraph.
            ValueError: the names of truth differ.
        """
        marks = None if truth is None else self._check_truth(truth).marks
        return partial_drawing.plot(self.marks, self.forced_dag(), ax, marks)

    def _check_truth(self, truth: PartialGraph) -> PartialGraph:
        """The truth in the order of this graph."""
        if not isinstance(truth, PartialGraph):
            raise TypeError(f"truth must be a PartialGraph, got {type(truth).__name__}")
        self._check_names_of(truth)
        return truth.permute(self.names)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, strings and numbers, ready for JSON."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "names": list(self.names),
            "kinds": list(self.kinds),
            "marks": self.marks.tolist(),
        }


_RANK = {TAIL: 0, CIRCLE: 1, ARROW: 2}
_LEFT = {TAIL: "-", CIRCLE: "o", ARROW: "<"}
_RIGHT = {TAIL: "-", CIRCLE: "o", ARROW: ">"}
