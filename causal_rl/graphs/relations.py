"""Who is whose parent, child, ancestor: the questions that a causal graph answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from causal_rl.graphs.acyclicity import find_cycle, topological_order
from causal_rl.graphs.adjacency import BoolMatrix
from causal_rl.graphs.named_graph import NamedGraph
from causal_rl.graphs.names import list_names
from causal_rl.graphs.structure import Block

Scope = Literal["summary", "contemporaneous", "lagged"]


class GraphRelations(NamedGraph):
    """What follows from two blocks over named variables; `CausalGraph` holds them.

    Attributes:
        contemporaneous: (n, n) bool, edges inside one step.
        lagged: (n, n) bool, edges from step t to t+1.
    """

    contemporaneous: BoolMatrix
    lagged: BoolMatrix

    @property
    def summary(self) -> BoolMatrix:
        """The union of both blocks, (n, n) bool: who causes whom at any lag; may be cyclic."""
        return self.contemporaneous | self.lagged

    @property
    def is_acyclic(self) -> bool:
        """Whether the contemporaneous block is a DAG, as it always is without ``allow_cycles``."""
        return find_cycle(self.contemporaneous) is None

    def edges(self) -> list[tuple[Block, str, str]]:
        """List all edges as (block, parent, child), the contemporaneous ones first."""
        blocks: tuple[tuple[Block, BoolMatrix], ...] = (
            ("contemporaneous", self.contemporaneous),
            ("lagged", self.lagged),
        )
        return [
            (block, self.names[i], self.names[j])
            for block, matrix in blocks
            for i, j in np.argwhere(matrix)
        ]

    def indices(self, names: Iterable[str]) -> list[int]:
        """Return the columns of several variables, in the order asked.

        Args:
            names: some of ``names``.

        Raises:
            TypeError: a single string was given.
            ValueError: no such variable.
        """
        return [self.index(name) for name in list_names(names)]

    def parents(self, name: str, *, block: Scope = "summary") -> tuple[str, ...]:
        """Name the direct causes of a variable, in column order.

        Args:
            name: one of ``names``.
            block: count the edges of one block, or of both ("summary"). A lagged self-edge makes
                a variable its own parent.

        Raises:
            ValueError: no such variable or block.
        """
        column = self._matrix(block)[:, self.index(name)]
        return tuple(self.names[i] for i in np.flatnonzero(column))

    def children(self, name: str, *, block: Scope = "summary") -> tuple[str, ...]:
        """Name the direct effects of a variable, in column order.

        Args:
            name: one of ``names``.
            block: count the edges of one block, or of both ("summary").

        Raises:
            ValueError: no such variable or block.
        """
        row = self._matrix(block)[self.index(name)]
        return tuple(self.names[j] for j in np.flatnonzero(row))

    def ancestors(
        self, names: str | Iterable[str], *, include_self: bool = True
    ) -> tuple[str, ...]:
        """Name all variables from which a path leads to the given ones, at whatever lag.

        Args:
            names: one name or several.
            include_self: keep the given variables themselves.

        Returns:
            The names in column order.

        Raises:
            ValueError: no such variable.
        """
        return self._reachable(self.summary.T, names, include_self)

    def descendants(
        self, names: str | Iterable[str], *, include_self: bool = True
    ) -> tuple[str, ...]:
        """Name all variables to which a path leads from the given ones, at whatever lag.

        Args:
            names: one name or several.
            include_self: keep the given variables themselves.

        Returns:
            The names in column order.

        Raises:
            ValueError: no such variable.
        """
        return self._reachable(self.summary, names, include_self)

    def topological_order(self) -> list[int]:
        """Return the columns so that causes inside the step come before their effects.

        Raises:
            ValueError: the contemporaneous block is cyclic.
        """
        return topological_order(self.contemporaneous)

    def _matrix(self, block: Scope) -> BoolMatrix:
        if block == "summary":
            return self.summary
        if block in ("contemporaneous", "lagged"):
            return self.contemporaneous if block == "contemporaneous" else self.lagged
        raise ValueError(f"block must be summary, contemporaneous or lagged, got {block!r}")

    def _reachable(
        self, steps: BoolMatrix, names: str | Iterable[str], include_self: bool
    ) -> tuple[str, ...]:
        start = self.indices([names] if isinstance(names, str) else names)
        seen = np.zeros(self.n, dtype=bool)
        seen[start] = True
        frontier = seen.copy()
        while frontier.any():
            frontier = steps[frontier].any(axis=0) & ~seen
            seen |= frontier
        if not include_self:
            seen[start] = False
        return tuple(self.names[i] for i in np.flatnonzero(seen))
