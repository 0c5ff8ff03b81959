"""Second look at the parents that the additive search found, by models with interactions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery.do_shift import add_path
from causal_rl.discovery.interaction import InteractionModel, Worth, prune

Group = tuple[int, ...]

# Share of the explained nonlinearity that misfit of the model is suspected to amount to.
SUSPECTED_MISFIT = 0.2
# Candidates per variable that are tried for what they do together with the parents.
TRIED = 2


@dataclass(frozen=True)
class Limits:
    """Least shares of variance a parent must account for.

    Attributes:
        straight: by its own functions, where mechanisms are straight lines.
        bent: the same where they are not: what is smaller could be the misfit of the others.
        joint: with its products, when its own functions fall short.
    """

    straight: float
    bent: float
    joint: float

    def worth(self, model: InteractionModel, parents: Group) -> Worth:
        """The limits for one variable, the first between straight and bent as its model says."""
        suspected = self.straight + SUSPECTED_MISFIT * model.nonlinearity(parents)
        return Worth(alone=min(suspected, max(self.bent, self.straight)), full=self.joint)


def refine_parents(
    models: list[InteractionModel],
    parents: list[Group],
    allowed: NDArray[np.bool_],
    reach: NDArray[np.bool_],
    limits: Limits,
    *,
    required: Sequence[Group] = (),
) -> list[tuple[Group, dict[int, float]]]:
    """Prune, turn round, add and prune again.

    The additive search takes ancestors for parents where the true parents' products matter; those
    go first. Edges whose direction no do-shift proved are turned round if the two models together
    fit better so. Then parents that matter by products alone are looked for. No cycle arises
    inside the step.

    Args:
        models: one a variable, candidates ``next_state`` then ``state``.
        parents: from the additive search, numbered likewise.
        allowed: ``(n, 2 n)`` true at [j, c] where c may be a parent of j.
        reach: ``(n, n)`` proved ancestors, transitively closed.
        limits: what a parent must be worth.
        required: for every variable, parents that stay; none if empty. Of ``allowed``, none of
            them may be turned round.

    Returns:
        For every variable its parents, ascending, and the worth of those looked at.
    """
    n = len(models)
    held = required or [()] * n

    def pruned(j: int, groups: Group) -> tuple[Group, dict[int, float]]:
        return prune(models[j], groups, limits.worth(models[j], groups), held[j])

    found = [pruned(j, parents[j]) for j in range(n)]
    kept = [groups for groups, _ in found]
    values = [dict(worth) for _, worth in found]
    changed = _turn(models, kept, allowed, reach) | _extend(models, kept, allowed, reach, limits)
    for j in changed:
        kept[j], again = pruned(j, kept[j])
        values[j].update(again)
    return [(kept[j], values[j]) for j in range(n)]


def _turn(
    models: list[InteractionModel],
    kept: list[Group],
    allowed: NDArray[np.bool_],
    reach: NDArray[np.bool_],
) -> set[int]:
    """Turn edges, in place, where that fits better; the variables whose parents changed."""
    n = len(models)
    changed: set[int] = set()
    for j in range(n):
        for c in kept[j]:
            if c >= n or not allowed[c, j] or reach[c, j] or not models[c].testable:
                continue
            trial = list(kept)
            trial[j] = tuple(g for g in kept[j] if g != c)
            trial[c] = tuple(sorted((*kept[c], j)))
            if _closure(trial, reach, skip=c)[c, j]:
                continue
            gain = sum(
                models[k].rows * (_deviance(models[k], kept[k]) - _deviance(models[k], trial[k]))
                for k in (j, c)
            )
            if gain > 0.0:
                kept[:] = trial
                changed |= {j, c}
    return changed


def _extend(
    models: list[InteractionModel],
    kept: list[Group],
    allowed: NDArray[np.bool_],
    reach: NDArray[np.bool_],
    limits: Limits,
) -> set[int]:
    """Add parents, in place, that matter together with those there; the variables they joined."""
    n = len(models)
    offers: list[tuple[float, int, int]] = []
    for j, model in enumerate(models):
        if not kept[j] or not model.testable:
            continue
        score = np.where(allowed[j], model.screen(model.fit(kept[j]).residual, kept[j]), 0.0)
        worth = Worth(alone=limits.joint, full=limits.joint)
        for c in np.argsort(-score, kind="stable")[:TRIED].tolist():
            if score[c] >= 0.5 * limits.joint:
                own = worth.of(model.losses((*kept[j], c))[c])
                if own >= 1.0:
                    offers.append((-own, j, c))
    closed = _closure(kept, reach)
    changed = set()
    for _, j, c in sorted(offers):
        if c >= n or (c != j and not closed[j, c]):
            if c < n:
                add_path(closed, c, j)
            kept[j] = tuple(sorted((*kept[j], c)))
            changed.add(j)
    return changed


def _deviance(model: InteractionModel, parents: Group) -> float:
    return float(np.log(max(model.fit(parents).left, 1e-12)))


def _closure(
    kept: list[Group], reach: NDArray[np.bool_], skip: int | None = None
) -> NDArray[np.bool_]:
    """Proved ancestors and drawn edges together; without the edges into ``skip``."""
    closed = reach.copy()
    for j, groups in enumerate(kept):
        for c in groups:
            if c < len(kept) and j != skip:
                add_path(closed, c, j)
    return closed
