"""Distributions over orders of the variables: the part of the posterior that is not in closed form.

Given an order, the best q(G) is known exactly: every variable draws its parents among those before
it in proportion to their weights (`ParentTables.draw_graphs`). What remains is q(order):

* `ExactOrders`: the maximiser of the ELBO over all distributions, by dynamic programming over the
  2^n sets that may come first (Koivisto and Sood 2004).
* `PriorityOrders`: variables are drawn one after the other with logits ``theta_i + sum of B[j, i]``
  over those placed; a priority vector alone cannot say "next to a neighbour of what is there".
  The ELBO's gradient is estimated from sampled orders, with what the others got as the baseline.

A DAG may follow many orders. Its weight under the posterior is shared among them by a second
distribution r(order | G), which both classes give, so that importance weights are exact for DAGs.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from causal_rl.discovery.parent_tables import Array, BoolMatrix, Orders, ParentTables
from causal_rl.graphs import topological_order

_INITIAL_SLOPE = 0.5
_ORDERS_A_STEP = 48
# Random orders that the climb to a best one starts from.
_STARTS = 4


class OrderDistribution(Protocol):
    """What a posterior over DAGs needs of its orders."""

    def sample(self, m: int, rng: np.random.Generator) -> tuple[Orders, Array]:
        """``(orders (m, n), log q (m,))``."""

    def log_shares(self, orders: Orders, graphs: BoolMatrix) -> Array:
        """``(m,)`` log r of each order among all that its graph ``(n, n)`` may follow."""


class ExactOrders:
    """Orders in proportion to the summed weight of the DAGs that follow them.

    Args:
        tables: of few variables; memory is ``n 2^n`` numbers.
        sums: `ParentTables.sums`.
    """

    def __init__(self, tables: ParentTables, sums: Array) -> None:
        n = tables.n
        self.n = n
        sets = np.arange(1 << n, dtype=np.int64)
        size = np.bitwise_count(sets)
        powers = 1 << np.arange(tables.bits, dtype=np.int64)
        self._next = np.full((n, 1 << n), -np.inf)
        for j in range(n):
            inside = (sets[:, None] >> tables.candidates[j][None, :]) & 1
            self._next[j] = np.where(sets >> j & 1, -np.inf, sums[j, inside @ powers])
        completions = np.full(1 << n, -np.inf)
        completions[-1] = 0.0
        for count in range(n - 1, -1, -1):
            level = sets[size == count]
            parts = np.stack([self._next[j, level] + completions[level | 1 << j] for j in range(n)])
            completions[level] = logsumexp(parts, axis=0)
            self._next[:, level] = parts - completions[level]

    def sample(self, m: int, rng: np.random.Generator) -> tuple[Orders, Array]:
        """Independent orders and the logarithm of their probability."""
        placed = np.zeros(m, dtype=np.int64)
        orders = np.empty((m, self.n), dtype=np.intp)
        log_q = np.zeros(m)
        for place in range(self.n):
            logits = self._next[:, placed]  # (n, m)
            chosen = _draw(logits.T, rng)
            log_q += logits[chosen, np.arange(m)]
            orders[:, place] = chosen
            placed |= 1 << chosen
        return orders, log_q

    def log_shares(self, orders: Orders, graphs: BoolMatrix) -> Array:
        """One over the number of orders that each graph may follow."""
        unique, where = np.unique(graphs.reshape(len(graphs), -1), axis=0, return_inverse=True)
        counts = np.array([_log_extensions(g.reshape(self.n, self.n)) for g in unique])
        result: Array = -counts[where.ravel()]
        return result


class PriorityOrders:
    """Orders drawn variable by variable, with logits linear in what has been placed.

    Args:
        tables: of any number of variables.
        sums: `ParentTables.sums`.
        steps: gradient steps on the ELBO.
        learning_rate: of the logits.
        seed: of the sampled orders.
    """

    def __init__(
        self,
        tables: ParentTables,
        sums: Array,
        *,
        steps: int = 400,
        learning_rate: float = 0.1,
        seed: int = 0,
    ) -> None:
        self.n = tables.n
        self._needed = tables.needed().astype(np.intp)
        rng = np.random.default_rng(seed)
        best = best_order(tables, sums, rng)
        self.theta: Array = np.empty(self.n)
        self.theta[best] = -_INITIAL_SLOPE * np.arange(self.n)
        self.B: Array = np.zeros((self.n, self.n))
        self.elbo = -np.inf
        self._ascend(tables, sums, steps, learning_rate, rng)

    def sample(self, m: int, rng: np.random.Generator) -> tuple[Orders, Array]:
        """Independent orders and the logarithm of their probability."""
        orders = np.empty((m, self.n), dtype=np.intp)
        log_q = np.zeros(m)
        free = np.ones((m, self.n), dtype=bool)
        logits = np.tile(self.theta, (m, 1))
        rows = np.arange(m)
        for place in range(self.n):
            log_p = _log_softmax(np.where(self._ready(free), logits, -np.inf))
            chosen = _draw(log_p, rng)
            log_q += log_p[rows, chosen]
            orders[:, place] = chosen
            free[rows, chosen] = False
            logits += self.B[chosen]
        return orders, log_q

    def log_shares(self, orders: Orders, graphs: BoolMatrix) -> Array:
        """The same draws, confined at every place to the variables whose parents are all placed."""
        m = len(orders)
        rows = np.arange(m)
        waiting = graphs.sum(axis=1)
        free = np.ones((m, self.n), dtype=bool)
        logits = np.tile(self.theta, (m, 1))
        log_r = np.zeros(m)
        for place in range(self.n):
            chosen = orders[:, place]
            ready = free & (waiting == 0)
            log_r += _log_softmax(np.where(ready, logits, -np.inf))[rows, chosen]
            free[rows, chosen] = False
            waiting = waiting - graphs[rows, chosen]
            logits += self.B[chosen]
        return log_r

    def _ready(self, free: BoolMatrix) -> BoolMatrix:
        """``(m, n)`` what may come next: not placed, and all parents that it must have placed."""
        ready: BoolMatrix = free & (free.astype(np.intp) @ self._needed == 0)
        return ready

    def _ascend(
        self,
        tables: ParentTables,
        sums: Array,
        steps: int,
        learning_rate: float,
        rng: np.random.Generator,
    ) -> None:
        """Climb E_q[log weight(order) - log q(order) + log r(order | G)]."""
        first = np.zeros(self.n * (self.n + 1))
        second = np.zeros_like(first)
        for step in range(1, steps + 1):
            orders, log_q = self.sample(_ORDERS_A_STEP, rng)
            graphs, _ = tables.draw_graphs(orders, sums, rng)
            gain = order_weights(tables, sums, orders) - log_q + self.log_shares(orders, graphs)
            self.elbo = float(gain.mean())
            # What an order got beyond the others; clipped, as single bad orders cost thousands.
            advantage = (gain - gain.mean()) * _ORDERS_A_STEP / (_ORDERS_A_STEP - 1)
            advantage = np.clip(advantage, -50.0, 50.0)
            gradient = self._score(orders, advantage / _ORDERS_A_STEP)
            first = 0.9 * first + 0.1 * gradient
            second = 0.99 * second + 0.01 * gradient**2
            move = (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.99**step)) + 1e-8)
            move *= learning_rate * min(1.0, 2.0 * (1.0 - step / steps) + 0.05)
            self.theta += move[: self.n]
            self.B += move[self.n :].reshape(self.n, self.n)

    def _score(self, orders: Orders, weight: Array) -> Array:
        """Weighted sum of the gradients of log q, of theta and then of B."""
        m = len(orders)
        rows = np.arange(m)
        by_theta, by_B = np.zeros(self.n), np.zeros((self.n, self.n))
        free = np.ones((m, self.n), dtype=bool)
        logits = np.tile(self.theta, (m, 1))
        for place in range(self.n):
            chosen = orders[:, place]
            surprise = -np.exp(_log_softmax(np.where(self._ready(free), logits, -np.inf)))
            surprise[rows, chosen] += 1.0
            surprise *= weight[:, None]
            by_theta += surprise.sum(axis=0)
            by_B += (~free).astype(np.float64).T @ surprise
            free[rows, chosen] = False
            logits += self.B[chosen]
        return np.concatenate([by_theta, by_B.ravel()])


def order_weights(tables: ParentTables, sums: Array, orders: Orders) -> Array:
    """``(m,)`` log of the summed weight of all DAGs that follow each order."""
    found: Array = sums[np.arange(tables.n), tables.predecessors(orders)].sum(axis=1)
    return found


def best_order(tables: ParentTables, sums: Array, rng: np.random.Generator) -> NDArray[np.intp]:
    """Climb over orders by moving one variable at a time, from several random starts.

    Returns:
        ``(n,)`` variables, causes first.
    """
    best, most = np.arange(tables.n), -np.inf
    for _ in range(_STARTS):
        # Any order of the required edges; others have no weight, and no way to climb from.
        shuffled = rng.permutation(tables.n)
        order = shuffled[topological_order(tables.needed()[np.ix_(shuffled, shuffled)])]
        value, moved = -np.inf, True
        while moved:
            moved = False
            for v in order.copy():
                rest = order[order != v]
                tried = np.stack([np.insert(rest, place, v) for place in range(tables.n)])
                values = order_weights(tables, sums, tried)
                top = int(np.argmax(values))
                if values[top] > value + 1e-9:
                    order, value, moved = tried[top], float(values[top]), True
        if value > most:
            best, most = order, value
    return np.asarray(best, dtype=np.intp)


def _log_extensions(graph: BoolMatrix) -> float:
    """Log of the number of orders that a DAG may follow."""
    n = len(graph)
    counts = {0: 1}
    parents = [int((graph[:, j] * (1 << np.arange(n))).sum()) for j in range(n)]
    for _ in range(n):
        later: dict[int, int] = {}
        for placed, count in counts.items():
            for j in range(n):
                if not placed >> j & 1 and parents[j] & ~placed == 0:
                    key = placed | 1 << j
                    later[key] = later.get(key, 0) + count
        counts = later
    return float(np.log(float(counts[(1 << n) - 1])))


def _log_softmax(logits: Array) -> Array:
    top = logits.max(axis=1, keepdims=True)
    shifted = logits - top
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def _draw(log_p: Array, rng: np.random.Generator) -> NDArray[np.intp]:
    """One index a row of ``(m, n)``, in proportion to the exponentials."""
    noise = rng.gumbel(size=log_p.shape)
    drawn: NDArray[np.intp] = np.argmax(log_p + noise, axis=1)
    return drawn
