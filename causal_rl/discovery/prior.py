"""What is known of a graph before the data: edges required, edges forbidden, tiers."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from causal_rl.graphs import CausalGraph, find_cycle
from causal_rl.graphs.names import unknown_name

BoolMatrix = NDArray[np.bool_]
Edge = tuple[str, str]

HEADER = ("rule", "variable", "to")
RULES = ("required", "forbidden", "tier")


@dataclass(frozen=True)
class EdgePrior:
    """Edges inside the step that must be, that cannot be, and an order of groups of variables.

    Lagged edges are not concerned. Variables in no tier are free of the tiers.

    Args:
        required: pairs (cause, effect).
        forbidden: pairs (cause, effect).
        tiers: groups of names, the earliest first; no edge leads from a later group into an
            earlier one. Inside a group the tiers say nothing.

    Raises:
        TypeError: not pairs of strings, or tiers that are not groups of strings.
        ValueError: a contradiction: an edge of a variable to itself, one both required and
            forbidden, required edges in a cycle (it is shown) or against the tiers, a variable
            in two tiers.
    """

    required: frozenset[Edge] = frozenset()
    forbidden: frozenset[Edge] = frozenset()
    tiers: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "required", _edges("required", self.required))
        object.__setattr__(self, "forbidden", _edges("forbidden", self.forbidden))
        object.__setattr__(self, "tiers", _tiers(self.tiers))
        both = sorted(self.required & self.forbidden)
        if both:
            raise ValueError(f"prior both requires and forbids the edge {_arrow(both[0])}")
        level = self._levels()
        for cause, effect in sorted(self.required):
            if level.get(cause, 0) > level.get(effect, len(self.tiers)):
                raise ValueError(
                    f"prior requires the edge {_arrow((cause, effect))}, which leads from tier "
                    f"{level[cause] + 1} back to tier {level[effect] + 1}"
                )
        names = sorted({name for edge in self.required for name in edge})
        cycle = find_cycle(self.needed(names)) if names else None
        if cycle is not None:
            shown = " -> ".join(names[i] for i in cycle)
            raise ValueError(f"prior requires a cycle: {shown}")

    @property
    def rules(self) -> frozenset[str]:
        """What a learner must be able to obey: of "required" and "forbidden" (tiers forbid)."""
        forbids = self.forbidden or len(self.tiers) > 1
        found = {"required"} if self.required else set()
        return frozenset(found | ({"forbidden"} if forbids else set()))

    def names(self) -> tuple[str, ...]:
        """All variables named, sorted."""
        pairs = self.required | self.forbidden
        grouped = {name for tier in self.tiers for name in tier}
        return tuple(sorted({name for edge in pairs for name in edge} | grouped))

    def check(self, names: Sequence[str]) -> None:
        """Refuse variables that are not among the data's.

        Args:
            names: those of the data.

        Raises:
            ValueError: an unknown variable; the nearest names are offered.
        """
        for name in self.names():
            if name not in names:
                raise ValueError(f"prior: {unknown_name(name, names)}")

    def needed(self, names: Sequence[str]) -> BoolMatrix:
        """The required edges.

        Args:
            names: of the variables, in the order wanted; edges to others are left out.

        Returns:
            ``(n, n)`` booleans, true at [i, j] where i must cause j.
        """
        index = {name: i for i, name in enumerate(names)}
        matrix = np.zeros((len(names), len(names)), dtype=bool)
        for cause, effect in self.required:
            if cause in index and effect in index:
                matrix[index[cause], index[effect]] = True
        return matrix

    def allowed(self, names: Sequence[str]) -> BoolMatrix:
        """The edges that the prior leaves possible.

        Besides those forbidden and those against the tiers, an edge is impossible that would close
        a cycle with required ones.

        Args:
            names: of the variables, in the order wanted.

        Returns:
            ``(n, n)`` booleans, true at [i, j] where i may cause j; the diagonal is false.
        """
        n = len(names)
        index = {name: i for i, name in enumerate(names)}
        reach = self.needed(names)
        for k in range(n):
            reach |= reach[:, [k]] & reach[[k], :]
        allowed = ~reach.T
        level = self._levels()
        early = np.array([level.get(name, 0) for name in names])
        late = np.array([level.get(name, len(self.tiers)) for name in names])
        allowed &= early[:, None] <= late[None, :]
        for cause, effect in self.forbidden:
            if cause in index and effect in index:
                allowed[index[cause], index[effect]] = False
        np.fill_diagonal(allowed, False)
        return allowed

    def broken(self, graph: CausalGraph) -> list[str]:
        """What a graph does against the prior, in words; empty where it obeys."""
        extra = graph.contemporaneous & ~self.allowed(graph.names)
        absent = self.needed(graph.names) & ~graph.contemporaneous
        names = graph.names
        return [
            *(f"has {names[i]} -> {names[j]}" for i, j in np.argwhere(extra)),
            *(f"lacks {names[i]} -> {names[j]}" for i, j in np.argwhere(absent)),
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, sorted."""
        return {
            "required": [list(edge) for edge in sorted(self.required)],
            "forbidden": [list(edge) for edge in sorted(self.forbidden)],
            "tiers": [list(tier) for tier in self.tiers],
        }

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> EdgePrior:
        """Read a CSV file with the header ``rule,variable,to``.

        A row is ``required,a,b`` (a causes b), ``forbidden,a,b`` (a does not cause b directly) or
        ``tier,a,2`` (a is in tier 2). Empty rows are passed over.

        Raises:
            OSError: the file cannot be read.
            ValueError: another header, an unknown rule, a tier that is no whole number, or a
                contradiction; file and line are named.
        """
        file = Path(path)
        required: set[Edge] = set()
        forbidden: set[Edge] = set()
        tiers: dict[int, list[str]] = {}
        with file.open(newline="", encoding="utf-8-sig") as stream:
            try:
                rows = [(number, [cell.strip() for cell in row])
                        for number, row in enumerate(csv.reader(stream), 1)]  # fmt: skip
            except (csv.Error, UnicodeDecodeError) as error:
                raise ValueError(f"prior {file.name} is no CSV text: {error}") from error
        rows = [(number, row) for number, row in rows if any(row)]
        if not rows or tuple(rows[0][1]) != HEADER:
            raise ValueError(
                f"prior {file.name} must begin with the line {','.join(HEADER)}, "
                f"got {','.join(rows[0][1]) if rows else 'nothing'!r}"
            )
        for number, row in rows[1:]:
            where = f"prior {file.name}, line {number}"
            if len(row) != len(HEADER) or not all(row):
                raise ValueError(f"{where}: must be {','.join(HEADER)}, got {','.join(row)!r}")
            rule, name, to = row
            if rule == "tier":
                if not (to.isascii() and to.isdigit()):
                    raise ValueError(f"{where}: a tier is a whole number, got {to!r}")
                tiers.setdefault(int(to), []).append(name)
            elif rule in RULES:
                (required if rule == "required" else forbidden).add((name, to))
            else:
                raise ValueError(f"{where}: rule must be one of {', '.join(RULES)}, got {rule!r}")
        groups = tuple(tuple(tiers[key]) for key in sorted(tiers))
        return cls(frozenset(required), frozenset(forbidden), groups)

    def _levels(self) -> dict[str, int]:
        return {name: level for level, tier in enumerate(self.tiers) for name in tier}


def _edges(argument: str, edges: Iterable[Edge]) -> frozenset[Edge]:
    found = set()
    for edge in edges:
        if isinstance(edge, str) or len(edge) != 2 or not all(isinstance(v, str) for v in edge):
            raise TypeError(f"{argument} must hold pairs of names (cause, effect), got {edge!r}")
        if edge[0] == edge[1]:
            raise ValueError(f"prior: {argument} has an edge of {edge[0]!r} to itself")
        found.add((edge[0], edge[1]))
    return frozenset(found)


def _tiers(tiers: Iterable[Iterable[str]]) -> tuple[tuple[str, ...], ...]:
    if isinstance(tiers, str):
        raise TypeError(f"tiers must be groups of names, got {tiers!r}")
    groups: list[tuple[str, ...]] = []
    seen: set[str] = set()
    for tier in tiers:
        group = (tier,) if isinstance(tier, str) else tuple(tier)
        if isinstance(tier, str) or not all(isinstance(name, str) for name in group):
            raise TypeError(f"tiers must be groups of names, got {tier!r}")
        for name in group:
            if name in seen:
                raise ValueError(f"prior puts {name!r} into a tier more than once")
            seen.add(name)
        groups.append(group)
    return tuple(groups)


def _arrow(edge: Edge) -> str:
    return f"{edge[0]} -> {edge[1]}"
