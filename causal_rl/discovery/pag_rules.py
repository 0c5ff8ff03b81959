"""Orientation of a partial ancestral graph: v-structures, then the rules of Zhang (2008).

Rules 1 to 4 and 8 to 10. Rules 5 to 7 only speak where rows were selected by the variables' common
effects, which is taken not to be the case: no edge has two tails.

Marks are those of `PartialGraph`: ``marks[i, j]`` is the mark at j's end of the edge between i and
j. A rule only ever fills in a circle, so what one wrote another does not turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from causal_rl.graphs.marks import ARROW, CIRCLE, NONE, TAIL, Marks

#: For (x, y) with x < y, whether a variable is in a set that separates them.
InSeparatingSet = Callable[[int, int, int], bool]


def circles_on(skeleton: NDArray[np.bool_]) -> Marks:
    """The graph with a circle at both ends of every edge."""
    return np.where(skeleton, CIRCLE, NONE).astype(np.int8)


def orient_pag(marks: Marks, in_separating_set: InSeparatingSet) -> Marks:
    """Fill in all marks that the rules know.

    Args:
        marks: (n, n) with the arrowheads of the v-structures.
        in_separating_set: ``(x, y, v)`` whether v is in a set that separates x and y, for the
            discriminating paths.

    Returns:
        (n, n), another array.
    """
    marks = marks.copy()
    rules = (_rule1, _rule2, _rule3, _rule8, _rule9, _rule10)
    while True:
        before = marks.copy()
        for rule in rules:
            rule(marks)
        _rule4(marks, in_separating_set)
        if (marks == before).all():
            return marks


def discriminating_paths(marks: Marks, b: int, c: int) -> Iterator[tuple[int, int]]:
    """Discriminating paths for b that end in c: (d, ..., a, b, c).

    Args:
        marks: (n, n).
        b: a neighbour of c.
        c: a variable.

    Yields:
        (d, a) once a pair: d is not adjacent to c, and all between d and b are colliders on the
        path and parents of c.
    """
    parents = (marks[:, c] == ARROW) & (marks[c] == TAIL)
    for a in np.flatnonzero(parents & (marks[b] == ARROW)):
        seen = {b, int(a)}
        front = [int(a)]
        while front:
            v = front.pop()
            # The path comes into v with an arrowhead from both sides.
            for d in np.flatnonzero(marks[:, v] == ARROW):
                if int(d) in seen or d == c:
                    continue
                if marks[d, c] == NONE:
                    yield int(d), int(a)
                elif parents[d] and marks[v, d] == ARROW:
                    seen.add(int(d))
                    front.append(int(d))


def _rule1(marks: Marks) -> None:
    """A *-> b o-* c, a and c apart: b --> c."""
    for b, c in np.argwhere((marks.T == CIRCLE) & (marks != NONE)):
        if ((marks[:, b] == ARROW) & (marks[:, c] == NONE) & _others(marks, c)).any():
            _fill(marks, c, b, TAIL)
            _fill(marks, b, c, ARROW)


def _rule2(marks: Marks) -> None:
    """A --> b *-> c or a *-> b --> c, with a *-o c: a *-> c."""
    for a, c in np.argwhere(marks == CIRCLE):
        into = (marks[a] == ARROW) & (marks[:, c] == ARROW)
        if (into & ((marks[:, a] == TAIL) | (marks[c] == TAIL))).any():
            marks[a, c] = ARROW


def _rule3(marks: Marks) -> None:
    """A *-> b <-* c, a *-o d o-* c, a and c apart, d *-o b: d *-> b."""
    for d, b in np.argwhere(marks == CIRCLE):
        ends = np.flatnonzero((marks[:, b] == ARROW) & (marks[:, d] == CIRCLE))
        if (marks[np.ix_(ends, ends)] + np.eye(len(ends)) == NONE).any():
            marks[d, b] = ARROW


def _rule4(marks: Marks, in_separating_set: InSeparatingSet) -> None:
    """A discriminating path for b o-* c tells whether b is a collider on it."""
    for b, c in np.argwhere((marks.T == CIRCLE) & (marks != NONE)):
        for d, a in discriminating_paths(marks, int(b), int(c)):
            if marks[c, b] != CIRCLE:
                break
            if in_separating_set(min(d, int(c)), max(d, int(c)), int(b)):
                _fill(marks, c, b, TAIL)
                _fill(marks, b, c, ARROW)
            else:
                for i, j in ((a, b), (b, a), (c, b), (b, c)):
                    _fill(marks, i, j, ARROW)


def _rule8(marks: Marks) -> None:
    """A --> b --> c or a --o b --> c, with a o-> c: a --> c."""
    for a, c in _half_known(marks):
        from_a = (marks[:, a] == TAIL) & ((marks[a] == ARROW) | (marks[a] == CIRCLE))
        if (from_a & (marks[:, c] == ARROW) & (marks[c] == TAIL)).any():
            marks[c, a] = TAIL


def _rule9(marks: Marks) -> None:
    """A o-> c and an uncovered potentially directed path a, b, ..., c, b and c apart: a --> c."""
    for a, c in _half_known(marks):
        for b in np.flatnonzero(_onward(marks)[a]):
            if marks[b, c] == NONE and b != c and c in _reached(marks, a, int(b)):
                marks[c, a] = TAIL
                break


def _rule10(marks: Marks) -> None:
    """A o-> c with b --> c <-- d, paths from a to b and to d that begin apart: a --> c."""
    for a, c in _half_known(marks):
        parents = set(np.flatnonzero((marks[:, c] == ARROW) & (marks[c] == TAIL)).tolist()) - {a}
        if len(parents) < 2:
            continue
        firsts = [int(m) for m in np.flatnonzero(_onward(marks)[a]) if m != c]
        reach = {m: _reached(marks, a, m) & parents for m in firsts}
        for m in firsts:
            apart = [w for w in firsts if w != m and marks[m, w] == NONE]
            # Two different parents of c, one at the end of each path.
            if any(reach[m] and reach[w] and len(reach[m] | reach[w]) > 1 for w in apart):
                marks[c, a] = TAIL
                break


def _reached(marks: Marks, a: int, first: int) -> set[int]:
    """Where uncovered potentially directed paths a, first, ... lead to, ``first`` included."""
    onward = _onward(marks)
    steps = {(a, first)}
    front = [(a, first)]
    while front:
        u, v = front.pop()
        for w in np.flatnonzero(onward[v] & (marks[u] == NONE)):
            step = (v, int(w))
            if w not in (u, a) and step not in steps:
                steps.add(step)
                front.append(step)
    return {v for _, v in steps}


def _onward(marks: Marks) -> NDArray[np.bool_]:
    """(n, n) true at [u, v] where u may cause v: no arrowhead at u, no tail at v."""
    onward: NDArray[np.bool_] = (marks != NONE) & (marks.T != ARROW) & (marks != TAIL)
    return onward


def _half_known(marks: Marks) -> list[tuple[int, int]]:
    """The edges a o-> c."""
    return [(int(a), int(c)) for a, c in np.argwhere((marks == ARROW) & (marks.T == CIRCLE))]


def _others(marks: Marks, c: int) -> NDArray[np.bool_]:
    others: NDArray[np.bool_] = np.arange(len(marks)) != c
    return others


def _fill(marks: Marks, i: int, j: int, mark: int) -> None:
    if marks[i, j] == CIRCLE:
        marks[i, j] = mark
