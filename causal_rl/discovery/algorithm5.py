"""The graph learner of Algorithm 5 (lines 28-37), with the mends that PAPER.md names.

    28  Collect recent state transitions S                 -> Transitions, do-targets included
    29  for iteration = 1 to N_causal
    30    L_causal      negative log-likelihood of the transition model, do-rows masked
    31    L_sparse = lambda |G|_1
    32    L_dag    = mu (tr exp(G∘G) - n), or its log-det form; contemporaneous block only
    33    L        = L_causal + L_sparse + L_dag
    34    G <- G - alpha grad L
    36  G <- sign(G) max(|G| - tau, 0)                     -> negative effects are effects
    37  G <- ProjectToDAG(G)                               -> contemporaneous block only

The transition model is x'_j ~ N(f_j(contemporaneous parents in x', lagged parents in x), v_j).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery.base import (
    ConvergenceWarning,
    GraphLearner,
    stacked_columns,
)
from causal_rl.discovery.linear_path import fit_linear
from causal_rl.discovery.masked_likelihood import MaskedLikelihood, MaskedMoments
from causal_rl.discovery.transitions import Transitions
from causal_rl.graphs import CausalGraph, is_dag, project_to_dag
from causal_rl.options import check_choice, check_integer, check_number

Array = NDArray[np.float64]

MECHANISMS = ("linear", "mlp")
ACYCLICITIES = ("logdet", "expm")

# What None stands for. tau is in the units of G: standardised weights, or probabilities of gates.
DEFAULTS = {
    "linear": {"sparsity": 0.01, "threshold": 0.1, "penalty_end": 1e5},
    "mlp": {"sparsity": 0.005, "threshold": 0.5, "penalty_end": 10.0},
}

# Below this the product of weights around a cycle cannot leave all of them above any useful tau.
ACYCLICITY_TOLERANCE = {"linear": 1e-6, "mlp": 0.05}

_LARGEST = 1e150  # squares of larger numbers overflow


@dataclass(frozen=True)
class _Weights:
    """G after line 35: both blocks ``(m, m)``, and whether the descent met its criterion."""

    contemporaneous: Array
    lagged: Array
    converged: bool


class Algorithm5Learner(GraphLearner):
    """Masked likelihood + L1 + acyclicity, then threshold and projection (Algorithm 5, 28-37).

    With ``mechanism="linear"`` the data enter through second moments, one set a target with its
    do-rows left out: the cost of learning does not depend on the number of rows, and `update`
    adds to the moments. With ``"mlp"`` the rows are kept and every `update` trains small gated
    networks on them from the start, so that its result never depends on how the rows arrived.

    A prior is obeyed in the descent: forbidden edges have no weight, required ones are exempt from
    L1 (linear) or have open gates (mlp), pass any threshold, and come first in the projection.

    Args:
        mechanism: ``"linear"`` or ``"mlp"``.
        acyclicity: ``"logdet"``, or ``"expm"`` as in the paper, slower and blind to long cycles.
        sparsity: lambda, in nats of log-likelihood a row: roughly half the share of a variable's
            remaining variance that an edge must explain. 0.003 to 0.03; None for 0.01 (linear) or
            0.005 (mlp).
        threshold: tau on |G|; None for 0.1 (linear, standardised weights) or 0.5 (mlp, gates).
        penalty_start: the first mu of the linear path.
        penalty_growth: factor from one mu of the linear path to the next.
        penalty_end: the last mu; None for 1e5 (linear) or 10 (mlp).
        max_iter: steps of one descent of the linear path.
        hidden: width of the networks (mlp).
        steps: gradient steps (mlp), the last two fifths after wrongly closed gates reopened.
        batch_size: rows a gradient step (mlp).
        learning_rate: of the networks (mlp).
        gate_learning_rate: of the gates (mlp).
        temperature: of the relaxed gates (mlp).
        capacity: rows kept, the latest (mlp).
        seed: of first weights, batches and gates (mlp).
        reward_node: add the reward as the last node.

    Attributes:
        converged_: whether the last learning met its criterion; if not, a `ConvergenceWarning`
            was given too.
    """

    name: ClassVar[str] = "algorithm5"
    uses_interventions: ClassVar[bool] = True
    uses_lags: ClassVar[bool] = True
    obeys: ClassVar[frozenset[str]] = frozenset({"forbidden", "required"})
    most_variables: ClassVar[int] = 600

    def __init__(
        self,
        *,
        mechanism: str = "linear",
        acyclicity: str = "logdet",
        sparsity: float | None = None,
        threshold: float | None = None,
        penalty_start: float = 0.1,
        penalty_growth: float = 4.0,
        penalty_end: float | None = None,
        max_iter: int = 500,
        hidden: int = 24,
        steps: int = 1500,
        batch_size: int = 256,
        learning_rate: float = 0.01,
        gate_learning_rate: float = 0.05,
        temperature: float = 0.5,
        capacity: int = 50_000,
        seed: int = 0,
        reward_node: bool = False,
    ) -> None:
        super().__init__(reward_node=reward_node)
        self.mechanism = mechanism
        self.acyclicity = acyclicity
        self.sparsity = sparsity
        self.threshold = threshold
        self.penalty_start = penalty_start
        self.penalty_growth = penalty_growth
        self.penalty_end = penalty_end
        self.max_iter = max_iter
        self.hidden = hidden
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.gate_learning_rate = gate_learning_rate
        self.temperature = temperature
        self.capacity = capacity
        self.seed = seed
        self._clear()

    def _clear(self) -> None:
        self.converged_: bool | None = None
        self._moments: MaskedMoments | None = None
        self._rows: tuple[Array, NDArray[np.bool_]] | None = None

    def check_options(self) -> None:
        """Validate the options; see `GraphLearner.check_options`."""
        super().check_options()
        check_choice("mechanism", self.mechanism, MECHANISMS)
        check_choice("acyclicity", self.acyclicity, ACYCLICITIES)
        for name in ("sparsity", "threshold", "penalty_end"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), least=0.0)
        check_number("penalty_start", self.penalty_start, least=0.0, open_end=True)
        check_number("penalty_growth", self.penalty_growth, least=1.0, open_end=True)
        for name in ("learning_rate", "gate_learning_rate", "temperature"):
            check_number(name, getattr(self, name), least=0.0, open_end=True)
        for name in ("max_iter", "hidden", "steps", "batch_size", "capacity"):
            check_integer(name, getattr(self, name), least=1)
        check_integer("seed", self.seed, least=0)

    def reset(self) -> None:
        """Forget everything learned; options stay."""
        super().reset()
        self._clear()

    def update(self, transitions: Transitions) -> CausalGraph:
        """Learn from these transitions added to those seen; see `GraphLearner.update`.

        Returns:
            The graph. Confidences are those of all candidate edges, above 0.5 where an edge
            passed the threshold; weights (linear only) are least-squares effects on the learned
            parents, in the units of the data.

        Raises:
            TypeError: not `Transitions`.
            ValueError: no rows, other variables than before, no rewards for a reward node, or
                values beyond 1e150.

        Warns:
            ConvergenceWarning: the descent did not meet its criterion.
        """
        names, kinds = self._admit(transitions)
        columns = stacked_columns(transitions, reward_node=self.reward_node)
        if max(float(np.abs(block).max()) for block in columns[:2]) > _LARGEST:
            raise ValueError(f"transitions has values beyond {_LARGEST:g}, whose squares overflow")
        self._collect(*columns)  # line 28
        allowed, required = self._possible_edges(), self._required_edges()
        descend = self._descend_linear if self.mechanism == "linear" else self._descend
        G = descend(allowed, required)
        tau = self._or_default("threshold")
        within, lagged = (_shrink(block, tau) for block in (G.contemporaneous, G.lagged))  # line 36
        within = np.where(required, 1.0 + np.abs(within).sum(), within)  # none weighs as much
        self.converged_ = G.converged and is_dag(within != 0)
        within = project_to_dag(within)  # line 37
        if not self.converged_:
            warnings.warn(
                f"algorithm5 (mechanism={self.mechanism}, acyclicity={self.acyclicity}) did not "
                "converge; the graph is thresholded and projected from where it ended",
                ConvergenceWarning,
                stacklevel=2,
            )
        weights: tuple[Array | None, Array | None] = (None, None)
        if self._moments is not None:
            weights = _refit(self._moments, within != 0, lagged != 0)
        self.graph_ = CausalGraph(
            within != 0,
            lagged != 0,
            names,
            kinds,
            contemporaneous_weights=weights[0],
            lagged_weights=weights[1],
            contemporaneous_confidence=np.where(
                required, 1.0, self._confidence(G.contemporaneous, tau)
            ),
            lagged_confidence=self._confidence(G.lagged, tau),
        )
        return self.graph_

    def _or_default(self, option: str) -> float:
        value: float | None = getattr(self, option)
        return DEFAULTS[self.mechanism][option] if value is None else value

    def _collect(self, current: Array, lagged: Array, do_target: NDArray[np.bool_]) -> None:
        if self.mechanism == "linear":
            if self._moments is None:
                self._moments = MaskedMoments(current.shape[1])
            self._moments.add(current, lagged, do_target)
            return
        rows = np.hstack([current, lagged])
        if self._rows is not None:
            rows = np.concatenate([self._rows[0], rows])
            do_target = np.concatenate([self._rows[1], do_target])
        self._rows = rows[-self.capacity :].copy(), do_target[-self.capacity :].copy()

    def _descend_linear(
        self, allowed: tuple[NDArray[np.bool_], NDArray[np.bool_]], required: NDArray[np.bool_]
    ) -> _Weights:
        """Lines 29-35 on the moments."""
        if self._moments is None:
            raise RuntimeError("algorithm5 has seen no rows")
        fit = fit_linear(
            MaskedLikelihood(self._moments),
            allowed,
            required=required,
            sparsity=self._or_default("sparsity"),
            acyclicity=self.acyclicity,
            penalty_start=self.penalty_start,
            penalty_growth=self.penalty_growth,
            penalty_end=self._or_default("penalty_end"),
            tolerance=ACYCLICITY_TOLERANCE["linear"],
            max_iter=self.max_iter,
        )
        return _Weights(fit.contemporaneous, fit.lagged, fit.converged)

    def _descend(
        self, allowed: tuple[NDArray[np.bool_], NDArray[np.bool_]], required: NDArray[np.bool_]
    ) -> _Weights:
        """Lines 29-35 on the rows, by gated networks."""
        import torch

        from causal_rl.discovery.gated_mlp import GatedMLP, train_and_reopen

        if self._rows is None:
            raise RuntimeError("algorithm5 has seen no rows")
        rows, do_target = self._rows
        centred = rows - rows.mean(axis=0)
        scale = centred.std(axis=0)
        scale[scale <= 1e-7 * (1 + np.abs(rows).max(axis=0))] = np.inf  # constants become 0
        generator = torch.Generator().manual_seed(self.seed)
        model = GatedMLP(
            torch.from_numpy(np.vstack(allowed)),
            hidden=self.hidden,
            generator=generator,
            required=torch.from_numpy(np.vstack([required, np.zeros_like(required)])),
        )
        columns = torch.from_numpy((centred / scale).astype(np.float32))
        kept = torch.from_numpy((~do_target).astype(np.float32))
        fit = train_and_reopen(
            model,
            columns,
            kept,
            steps=self.steps,
            batch_size=self.batch_size,
            sparsity=self._or_default("sparsity"),
            acyclicity=self.acyclicity,
            penalty_end=self._or_default("penalty_end"),
            learning_rate=self.learning_rate,
            gate_learning_rate=self.gate_learning_rate,
            temperature=self.temperature,
            generator=generator,
        )
        if not fit.finite:
            nothing = np.zeros(allowed[0].shape)
            return _Weights(nothing, nothing, False)
        m = rows.shape[1] // 2
        probabilities = fit.probabilities.double().numpy()
        converged = fit.acyclicity < ACYCLICITY_TOLERANCE["mlp"]
        return _Weights(probabilities[:m], probabilities[m:], converged)

    def _confidence(self, G: Array, tau: float) -> Array:
        """Monotone in |G|, in [0, 1], and 0.5 at tau."""
        if self.mechanism == "mlp" and tau == 0.5:
            return G
        size = np.abs(G)
        return np.divide(size, size + tau, out=np.zeros_like(size), where=size > 0)

    def state_dict(self) -> dict[str, Any]:
        """All that was learned; see `GraphLearner.state_dict`."""
        return {
            **super().state_dict(),
            "mechanism": self.mechanism,
            "converged": self.converged_,
            "moments": None if self._moments is None else self._moments.state_dict(),
            "rows": None if self._rows is None else self._rows[0].copy(),
            "do_target": None if self._rows is None else self._rows[1].copy(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` was called; see `GraphLearner.load_state_dict`.

        Raises:
            ValueError: also if the state is of another ``mechanism``.
        """
        if state.get("mechanism", self.mechanism) != self.mechanism:
            raise ValueError(
                f"state has mechanism={state['mechanism']!r}; "
                f"this learner has mechanism={self.mechanism!r}"
            )
        super().load_state_dict(state)
        self.converged_ = state["converged"]
        moments, rows = state["moments"], state["rows"]
        self._moments = None if moments is None else MaskedMoments.from_state(moments)
        self._rows = None
        if rows is not None:
            self._rows = np.array(rows), np.array(state["do_target"], dtype=bool)


def _shrink(G: Array, tau: float) -> Array:
    """Line 36, mended: sign(G) max(|G| - tau, 0)."""
    shrunk: Array = np.sign(G) * np.maximum(np.abs(G) - tau, 0.0)
    return shrunk


def _refit(
    moments: MaskedMoments, contemporaneous: NDArray[np.bool_], lagged: NDArray[np.bool_]
) -> tuple[Array, Array]:
    """Do-masked least squares of every node on its parents, in the units of the data.

    L1 and the threshold shrink G; the effects of the edges that remain are told without that.
    """
    m = moments.n_nodes
    covariance, scale = moments.covariances(), moments.scale()
    weights = np.zeros((2 * m, m))
    for j in range(m):
        parents = np.flatnonzero(np.concatenate([contemporaneous[:, j], lagged[:, j]]))
        block = covariance[j][np.ix_(parents, parents)]
        effects = np.linalg.lstsq(block, covariance[j][parents, j], rcond=None)[0]
        weights[parents, j] = effects * scale[j] / scale[parents]
    return weights[:m], weights[m:]
