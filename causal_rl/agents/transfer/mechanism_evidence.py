"""What the first transitions of a world say about its mechanisms, given its graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from causal_rl.discovery import Transitions
from causal_rl.graphs import CausalGraph, topological_order

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_RIDGE = 1.0
_LEAST_ROWS = 16
CURVE_TERMS = 4


@dataclass(frozen=True, eq=False)
class MechanismEvidence:
    """A fit of every variable to its parents in a graph; all that is known of a world.

    In standard units of the transitions, with x' after the step and x before it, the fit is
    ``x'_j = f_j(u) + sum_i lagged[i, j] x_i + residual``, ``u = sum_i now[i, j] x'_i``, where
    ``f_j`` is a cubic: ``sum_k curve[j, k] He_k(u / index_scale[j])``. The weights are those of a
    ridge regression, which for Gaussian causes point in the right direction however ``f_j`` bends.

    Attributes:
        names: of the variables.
        now: (n, n) weights inside the step, 0 off the graph.
        lagged: (n, n) weights from one step to the next, 0 off the graph.
        curve: (n, 4) coefficients of the Hermite polynomials He_0 to He_3.
        index_scale: (n,) standard deviation of u; 1 where there is no parent inside the step.
        index_range: (n, 2) least and greatest u seen, over ``index_scale``.
        residual: (n,) standard deviation of what is left by the cubic.
        linear_residual: (n,) that left by the ridge regression.
        intercept: (n,) of the ridge regression.
        centre: (n,) mean of the variables.
        scale: (n,) standard deviation of the variables, 1 for a constant.
        rows: transitions that it was fitted to.
    """

    names: tuple[str, ...]
    now: FloatArray
    lagged: FloatArray
    curve: FloatArray
    index_scale: FloatArray
    index_range: FloatArray
    residual: FloatArray
    linear_residual: FloatArray
    intercept: FloatArray
    centre: FloatArray
    scale: FloatArray
    rows: int

    @property
    def n(self) -> int:
        """Number of variables."""
        return len(self.names)


def fit_evidence(transitions: Transitions, graph: CausalGraph) -> MechanismEvidence:
    """Fit every variable to its parents.

    Rows in which a variable was set say nothing about its own mechanism and are left out there.

    Args:
        transitions: at least 16 rows; kinds are not read.
        graph: over variables of the same names, perhaps among others, which are left out. It may
            have cycles, as the full graph does.

    Raises:
        ValueError: too few rows, or a variable that the graph does not have.
    """
    if len(transitions) < _LEAST_ROWS:
        raise ValueError(f"transitions must have {_LEAST_ROWS} rows, got {len(transitions)}")
    missing = [name for name in transitions.names if name not in graph.names]
    if missing:
        raise ValueError(f"graph has no variable {missing[0]!r}, which transitions have")
    n = transitions.n
    index = [graph.index(name) for name in transitions.names]
    edges = graph.contemporaneous[np.ix_(index, index)], graph.lagged[np.ix_(index, index)]
    centre, scale = transitions.next_state.mean(axis=0), transitions.next_state.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    after, before = ((x - centre) / scale for x in (transitions.next_state, transitions.state))

    now, lagged, curve = np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, CURVE_TERMS))
    index_scale, index_range = np.ones(n), np.zeros((n, 2))
    residual, linear_residual, intercept = np.ones(n), np.ones(n), np.zeros(n)
    for j in range(n):
        own = ~transitions.do_target[:, j]
        if own.sum() < _LEAST_ROWS // 2:
            continue  # always set: nothing can be known, it is left a root
        y, here, past = (
            after[own, j],
            np.flatnonzero(edges[0][:, j]),
            np.flatnonzero(edges[1][:, j]),
        )
        columns = np.hstack([after[own][:, here], before[own][:, past]])
        intercept[j], slopes = _ridge(columns, y)
        now[here, j], lagged[past, j] = slopes[: len(here)], slopes[len(here) :]
        linear_residual[j] = (y - intercept[j] - columns @ slopes).std()

        u, drift = after[own] @ now[:, j], before[own] @ lagged[:, j]
        if len(here) and u.std() > 0:
            index_scale[j] = u.std()
        u = u / index_scale[j]
        terms = hermite(u)
        level, found = _ridge(terms[:, 1:] if len(here) else terms[:, 1:1], y - drift)
        curve[j, 0], curve[j, 1 : 1 + len(found)] = level, found
        residual[j] = (y - drift - terms @ curve[j]).std()
        index_range[j] = u.min(), u.max()
    return MechanismEvidence(
        names=transitions.names,
        now=now,
        lagged=lagged,
        curve=curve,
        index_scale=index_scale,
        index_range=index_range,
        residual=residual,
        linear_residual=linear_residual,
        intercept=intercept,
        centre=centre,
        scale=scale,
        rows=len(transitions),
    )


def hermite(u: FloatArray) -> FloatArray:
    """He_0 to He_3 at each point, (...) -> (..., 4)."""
    return np.stack([np.ones_like(u), u, u**2 - 1.0, u**3 - 3.0 * u], axis=-1)


def _ridge(columns: FloatArray, y: FloatArray) -> tuple[float, FloatArray]:
    """Intercept, which is not shrunk, and slopes."""
    centre = columns.mean(axis=0)
    x = columns - centre
    gram = x.T @ x + _RIDGE * np.eye(x.shape[1])
    slopes = np.linalg.solve(gram, x.T @ (y - y.mean()))
    return float(y.mean() - centre @ slopes), slopes


class FittedSCM:
    """The model-based answer: propagate through the fitted equations, noise and all.

    Args:
        evidence: the fit; its graph must have no cycle inside the step.
        curved: whether mechanisms are the cubics, evaluated inside the range seen, or the ridge
            regressions.
        samples: of the noise, a power of two: scrambled Sobol points, shared by all rows, in pairs
            of opposite signs, so that the linear mean is exact.
        seed: of the noise.

    Raises:
        ValueError: a cyclic graph, or samples that are no power of two above 1.
    """

    def __init__(
        self, evidence: MechanismEvidence, *, curved: bool, samples: int = 64, seed: int = 0
    ) -> None:
        if samples < 2 or samples & (samples - 1):
            raise ValueError(f"samples must be a power of two, at least 2, got {samples}")
        self.evidence, self.curved = evidence, curved
        self._order = topological_order(evidence.now != 0)
        from scipy.stats import qmc

        points = qmc.Sobol(evidence.n, rng=np.random.default_rng(seed)).random(samples // 2)
        half = ndtri(points.clip(1e-9, 1 - 1e-9))[:, None]
        scale = evidence.residual if curved else evidence.linear_residual
        self._noise = np.concatenate([half, -half]) * scale

    def predict(
        self, previous: FloatArray, do_mask: BoolArray, do_value: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of all variables after the step.

        Args:
            previous: (batch, n) before the step.
            do_mask: bool (batch, n), where a variable is set.
            do_value: (batch, n), read where ``do_mask`` is true.

        Returns:
            float64 (batch, n) each.
        """
        e = self.evidence
        drift = (previous - e.centre) / e.scale @ e.lagged
        value = (do_value - e.centre) / e.scale
        x = np.zeros((e.n, len(self._noise), len(previous)))
        for j in self._order:
            u = np.tensordot(e.now[:, j], x, axes=1)
            if self.curved:
                inside = np.clip(u / e.index_scale[j], *e.index_range[j])
                effect = hermite(inside) @ e.curve[j]
            else:
                effect = e.intercept[j] + u
            moved = effect + drift[:, j] + self._noise[..., j]
            x[j] = np.where(do_mask[:, j], value[:, j], moved)
        return x.mean(axis=1).T * e.scale + e.centre, x.std(axis=1).T * e.scale
