"""Parents of the reward: forward-backward selection with exchanges, begun from pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery.interaction import InteractionModel, Worth, prune

Group = tuple[int, ...]

# Sets looked at exactly, of those that the screen puts first.
FIRST_PAIRS = 10
FIRST_SINGLES = 4
NEXT = 6


def select_parents(
    model: InteractionModel, usable: Sequence[int], worth: Worth, *, most: int = 6
) -> tuple[Group, dict[int, float]]:
    """Find the candidates that a target depends on.

    The search begins from the best pair as well as from the best single candidate: a goal and
    what is to reach it explain nothing alone. Then candidates are added, exchanged and dropped
    until nothing changes; a member of the first pair must stand on its own like any other.

    Args:
        model: scores sets of candidates.
        usable: the candidates allowed.
        worth: what a parent must be worth.
        most: largest set.

    Returns:
        The parents, ascending, and the worth of every usable candidate: at least 1 for parents,
        roughly estimated for the others.
    """
    pool = np.array(sorted(usable), dtype=np.int64)
    if not model.testable or not len(pool):
        return (), dict.fromkeys(pool.tolist(), 0.0)
    chosen = _first(model, pool, worth)
    for _ in range(2 * most):
        before = chosen
        if len(chosen) < most:
            fit = model.fit(chosen)
            grown = [_with(chosen, c) for c in _promising(model, pool, chosen, fit.residual)]
            best = _best(model, [chosen, *grown])
            if best != chosen:
                gain = model.fit(chosen).left - model.fit(best).left
                chosen = best if gain >= worth.alone else chosen
        for old in chosen:
            rest = tuple(c for c in chosen if c != old)
            residual = model.fit(rest).residual
            swaps = [_with(rest, c) for c in _promising(model, pool, rest, residual)]
            chosen = _best(model, [chosen, *swaps])
            if old not in chosen:
                break
        chosen, _ = prune(model, chosen, worth)
        if chosen == before:
            break
    fit = model.fit(chosen)
    rough = model.screen(fit.residual, chosen) / worth.full
    values = {int(c): float(rough[c]) for c in pool}
    values.update({c: worth.of(loss) for c, loss in model.losses(chosen).items()})
    return chosen, values


def _first(model: InteractionModel, pool: NDArray[np.int64], worth: Worth) -> Group:
    residual = model.fit(()).residual
    single = model.screen(residual, ())
    pair = model.pair_screen(residual, range(model.candidates)) + single[:, None] + single[None, :]
    upper = [(a, b) for index, a in enumerate(pool) for b in pool[index + 1 :]]
    upper.sort(key=lambda group: (-pair[group], group))
    lone = sorted(pool, key=lambda c: (-single[c], c))
    groups: list[Group] = [(int(c),) for c in lone[:FIRST_SINGLES]]
    groups += [(int(a), int(b)) for a, b in upper[:FIRST_PAIRS]]
    best = _best(model, groups)
    return prune(model, best, worth)[0]


def _promising(
    model: InteractionModel,
    pool: NDArray[np.int64],
    chosen: Group,
    residual: NDArray[np.float64],
) -> list[int]:
    score = model.screen(residual, chosen)
    others = [int(c) for c in pool if int(c) not in chosen]
    return sorted(others, key=lambda c: (-score[c], c))[:NEXT]


def _best(model: InteractionModel, groups: list[Group]) -> Group:
    return min(groups, key=lambda group: (model.fit(group).left, len(group), group))


def _with(group: Group, c: int) -> Group:
    return tuple(sorted((*group, c)))
