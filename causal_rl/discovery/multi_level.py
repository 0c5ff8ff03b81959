"""Algorithm 4: several graphs under several inductive biases, weighed by held-out rows, and summed.

     6  for each level l
     7  sparse: lambda |G|_1; smooth: lambda TV(G); modular: lambda Mod(G)
    16  the level's loss        -> do-masked likelihood of the level's own graph (mended)
    19  descend                 -> with acyclicity of the contemporaneous block, log-det
    22  validation scores       -> held-out log-likelihood a row of the level's edges, refitted
    23  w_l = softmax(val_l / T)
    25  G^(l) <- ProjectToDAG(G^(l))
    26  G^(l) <- sign(G^(l)) max(|G^(l)| - tau, 0)
    29  G = sum_l w_l G^(l)     -> projected to a DAG: a sum of DAGs may be cyclic

Line 15 of the paper has the loss of the weighted sum descend on every level. That leaves the levels
undetermined (any shift from one to another costs nothing but its prior) and their validation scores
without meaning, since none is a model by itself. Here a level has its own likelihood; the weights
then do not enter it, and the alternation of the paper stands still after one round.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery.base import ConvergenceWarning
from causal_rl.discovery.batch import Array, BatchLearner, BoolMatrix, Found, Rows
from causal_rl.discovery.edge_levels import (
    BIASES,
    FeatureMoments,
    Level,
    contributions,
    fit_level,
)
from causal_rl.discovery.masked_likelihood import MaskedLikelihood
from causal_rl.discovery.multi_level_figure import draw_side_by_side
from causal_rl.discovery.transitions import Transitions
from causal_rl.graphs import CausalGraph, project_to_dag
from causal_rl.options import check_choice, check_integer, check_number

if TYPE_CHECKING:
    import os

    from matplotlib.figure import Figure

MECHANISMS = ("linear", "basis")


class MultiLevelLearner(BatchLearner):
    """Sparse, smooth and modular graphs, their weights, and their sum (Algorithm 4).

    See `edge_levels` for the three biases. Strengths are standard deviations of contributions, in
    standardised units; with ``mechanism="basis"`` those of additive bent effects.

    Args:
        levels: names among "sparse", "smooth", "modular", each at most once.
        mechanism: ``"linear"``, or ``"basis"``: sums of four bent functions of each parent.
        sparsity: lambda of the sparse level, in nats a row for a strength of 1.
        smoothness: lambda of the smooth level.
        modularity: lambda of the modular level.
        threshold: tau on |G|.
        temperature: T of the weights, in nats a row.
        agreement: an edge enters the sum if levels of at least this weight together have it; in
            [0, 1]. 0 is the paper's sum, whose edges are those of any level.
        validation: share of the rows held out for the scores, in (0, 1); which ones, ``seed`` says.
            With fewer than 5 rows none are, and the weights are equal. The levels that are
            scored do not see them; those that are summed are fitted to all rows.
        max_iter: steps of one descent.
        seed: of the rows held out.
        reward_node: add the reward as the last node.

    Attributes:
        levels_: the graph of each level by its name, weights being G^(l) in standardised units.
        level_weights_: w_l by the level's name; they sum to 1.
        level_scores_: the validation scores, nats a row.
        communities_: for each node name, the number of its community in the modular level; None
            without that level.
    """

    name: ClassVar[str] = "multi-level"
    uses_interventions: ClassVar[bool] = True
    uses_lags: ClassVar[bool] = True
    obeys: ClassVar[frozenset[str]] = frozenset({"forbidden"})
    most_variables: ClassVar[int] = 60

    def __init__(
        self,
        *,
        levels: Sequence[str] = BIASES,
        mechanism: str = "linear",
        sparsity: float = 0.01,
        smoothness: float = 0.01,
        modularity: float = 0.01,
        threshold: float = 0.1,
        temperature: float = 0.01,
        agreement: float = 0.5,
        validation: float = 0.2,
        max_iter: int = 300,
        seed: int = 0,
        reward_node: bool = False,
    ) -> None:
        super().__init__(reward_node=reward_node)
        self.levels = levels
        self.mechanism = mechanism
        self.sparsity = sparsity
        self.smoothness = smoothness
        self.modularity = modularity
        self.threshold = threshold
        self.temperature = temperature
        self.agreement = agreement
        self.validation = validation
        self.max_iter = max_iter
        self.seed = seed
        self._clear()

    def _clear(self) -> None:
        self.levels_: dict[str, CausalGraph] | None = None
        self.level_weights_: dict[str, float] | None = None
        self.level_scores_: dict[str, float] | None = None
        self.communities_: dict[str, int] | None = None
        self._fitted: dict[str, Level] = {}

    def check_options(self) -> None:
        """Validate the options; see `GraphLearner.check_options`."""
        super().check_options()
        if isinstance(self.levels, str) or not isinstance(self.levels, Sequence):
            raise TypeError(f"levels must be a sequence of names, not {self.levels!r}")
        for level in self.levels:
            check_choice("levels", level, BIASES)
        if not self.levels or len(set(self.levels)) < len(self.levels):
            raise ValueError(
                f"levels is {tuple(self.levels)!r}; it must name one or more, each once"
            )
        check_choice("mechanism", self.mechanism, MECHANISMS)
        for name in ("sparsity", "smoothness", "modularity", "threshold"):
            check_number(name, getattr(self, name), least=0.0)
        check_number("temperature", self.temperature, least=0.0, open_end=True)
        check_number("agreement", self.agreement, least=0.0, below=1.0 + 1e-12)
        check_number("validation", self.validation, least=0.0, below=1.0, open_end=True)
        check_integer("max_iter", self.max_iter, least=1)
        check_integer("seed", self.seed, least=0)

    def reset(self) -> None:
        """Forget everything learned; options stay."""
        super().reset()
        self._clear()

    def update(self, transitions: Transitions) -> CausalGraph:
        """Fit all levels on all rows so far; see `BatchLearner.update`.

        Returns:
            The graph. Confidences are ``s / (s + tau)`` with s the summed strength before any
            threshold; weights (linear only) are do-masked least squares on the parents.

        Raises:
            TypeError: not `Transitions`.
            ValueError: as `BatchLearner.update`.

        Warns:
            ConvergenceWarning: a level's descent did not meet its criterion.
        """
        self._clear()
        graph = super().update(transitions)
        # No two columns vary: nothing was fitted, and no level is better than another.
        nothing = Level(np.zeros((0, 0)), np.zeros((0, 0), dtype=bool), True)
        if self.level_weights_ is None:
            self.level_weights_ = dict.fromkeys(self.levels, 1.0 / len(self.levels))
            self.level_scores_ = dict.fromkeys(self.levels, 0.0)
            self._varying = self._varying[:0]
        m = graph.n
        self.levels_ = {}
        for name in self.levels:
            level = self._fitted.get(name, nothing)
            blocks = np.zeros((2, m, m))
            v = self._varying
            blocks[:, v[:, None], v] = level.graph.reshape(2, len(v), len(v))
            self.levels_[name] = CausalGraph(
                blocks[0] != 0,
                blocks[1] != 0,
                graph.names,
                graph.kinds,
                contemporaneous_weights=blocks[0],
                lagged_weights=blocks[1],
            )
        if "modular" in self.levels:
            same = np.eye(m, dtype=bool)
            block = np.ix_(self._varying, self._varying)
            same[block] = self._fitted.get("modular", nothing).together
            first = same.argmax(axis=1)
            number = {int(i): k for k, i in enumerate(np.unique(first))}
            self.communities_ = {
                name: number[int(i)] for name, i in zip(graph.names, first, strict=True)
            }
        return graph

    def _learn(self, rows: Rows, within: BoolMatrix, lagged: BoolMatrix) -> Found:
        m, count = rows.current.shape[1], len(rows.current)
        features = contributions(rows.current, rows.lagged, self.mechanism)
        held = np.zeros(count, dtype=bool)
        if count >= 5:
            share = min(max(round(self.validation * count), 1), count - 2)
            held[np.random.default_rng(self.seed).permutation(count)[:share]] = True
        train = FeatureMoments.of(features[~held], rows.do_target[~held])
        moments = FeatureMoments.of(features, rows.do_target)
        scores: dict[str, float] = {}
        raw: dict[str, Array] = {}
        failed: list[str] = []
        for name in self.levels:
            # The weights are those of levels that never saw the held-out rows; the levels
            # themselves are then fitted to all.
            if held.any() and len(self.levels) > 1:
                tried = self._constrained(self._descend(train, name, within, lagged))
                scores[name] = _held_out(train, features[held], rows.do_target[held], tried != 0)
            else:
                scores[name] = 0.0
            level = self._descend(moments, name, within, lagged)
            if not level.converged:
                failed.append(name)
            raw[name] = np.abs(level.graph)
            graph = self._constrained(level)
            self._fitted[name] = Level(graph, level.together, level.converged)
        if failed:
            warnings.warn(
                f"multi-level: {', '.join(failed)} did not converge; projected from where it ended",
                ConvergenceWarning,
                stacklevel=4,
            )
        value = np.array([scores[name] for name in self.levels]) / self.temperature
        odds = np.exp(value - value.max())
        total, agreed = np.zeros((2 * m, m)), np.zeros((2 * m, m))
        weights = dict(zip(self.levels, (odds / odds.sum()).tolist(), strict=True))  # line 23
        for name, weight in weights.items():
            total += weight * self._fitted[name].graph  # line 29
            agreed += weight * (self._fitted[name].graph != 0)
        # Levels that share an edge may weigh a hair less than 1 in all.
        total[agreed < self.agreement - 1e-9] = 0.0
        total[:m] = project_to_dag(total[:m])
        self.level_scores_, self.level_weights_ = scores, weights
        size = sum((w * raw[name] for name, w in weights.items()), np.zeros((2 * m, m)))
        confidence = size / (size + self.threshold + 1e-12)
        slopes = None
        if self.mechanism == "linear":
            slopes = np.zeros((2 * m, m))
            scale = moments.scale()
            for j in range(m):
                parents = np.flatnonzero(total[:, j])
                own = _regression(moments, j, parents)[0]
                slopes[parents, j] = own * scale[j] / scale[parents]
        return Found.stacked(total != 0, slopes, confidence)

    def _descend(
        self, moments: FeatureMoments, name: str, within: BoolMatrix, lagged: BoolMatrix
    ) -> Level:
        pressure = {
            "sparse": self.sparsity, "smooth": self.smoothness, "modular": self.modularity
        }  # fmt: skip
        return fit_level(
            MaskedLikelihood(moments),
            (within, lagged),
            name,
            strength=pressure[name],
            max_iter=self.max_iter,
        )

    def _constrained(self, level: Level) -> Array:
        """Lines 25 and 26: a DAG inside the step, and a soft threshold."""
        graph = level.graph.copy()
        m = graph.shape[1]
        graph[:m] = project_to_dag(graph[:m])
        shrunk: Array = np.sign(graph) * np.maximum(np.abs(graph) - self.threshold, 0.0)
        return shrunk

    def plot_levels(
        self, *, truth: CausalGraph | None = None, path: str | os.PathLike[str] | None = None
    ) -> Figure:
        """Draw the levels, each with its weight, and their sum beside them.

        Args:
            truth: a graph over the same names; errors are then marked.
            path: where to save the picture, or None.

        Returns:
            The figure.

        Raises:
            ValueError: nothing was learned yet.
        """
        if self.levels_ is None or self.level_weights_ is None or self.graph_ is None:
            raise ValueError("multi-level has learned nothing yet; call fit first")
        titles = [f"{name}, weight {self.level_weights_[name]:.2f}" for name in self.levels_]
        return draw_side_by_side(
            [*self.levels_.values(), self.graph_], [*titles, "sum"], truth=truth, path=path
        )

    def state_dict(self) -> dict[str, Any]:
        """All that was learned, and the rows; see `GraphLearner.state_dict`."""
        levels = self.levels_
        return {
            **super().state_dict(),
            "levels": None if levels is None else {k: g.to_dict() for k, g in levels.items()},
            "level_weights": self.level_weights_,
            "level_scores": self.level_scores_,
            "communities": self.communities_,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` was called; see `GraphLearner.load_state_dict`."""
        super().load_state_dict(state)
        self._clear()
        if state["levels"] is not None:
            self.levels_ = {k: CausalGraph.from_dict(g) for k, g in state["levels"].items()}
        for name in ("level_weights", "level_scores", "communities"):
            found = state[name]
            setattr(self, f"{name}_", None if found is None else dict(found))


def _regression(moments: FeatureMoments, j: int, columns: NDArray[np.intp]) -> tuple[Array, float]:
    """Do-masked least squares of node j on some columns, in units of `MaskedMoments.scale`.

    Returns:
        The slopes, and the residual variance.
    """
    scale = moments.scale()
    scatter = moments.scatter[j] / np.outer(scale, scale) / max(moments.count[j], 1.0)
    block, cross = scatter[np.ix_(columns, columns)], scatter[columns, j]
    slopes = np.linalg.lstsq(block, cross, rcond=1e-10)[0]
    return slopes, max(float(scatter[j, j] - slopes @ cross), 0.0)


def _held_out(
    moments: FeatureMoments, features: Array, do_target: BoolMatrix, edges: BoolMatrix
) -> float:
    """Log-likelihood a held-out row, do-rows masked, of least squares on the edges ``(2 m, m)``."""
    inputs, m = edges.shape
    scale, total = moments.scale(), 0.0
    for j in range(m):
        kept = features[~do_target[:, j]]
        if len(kept) == 0 or moments.count[j] < 1:
            continue
        columns = np.flatnonzero(np.tile(edges[:, j], features.shape[1] // inputs))
        slopes, variance = _regression(moments, j, columns)
        error = (kept - moments.mean[j]) / scale
        left = error[:, j] - error[:, columns] @ slopes
        variance += 1e-6  # as in the likelihood that is descended
        total -= float((np.log(variance) + left * left / variance).sum()) / 2
    return total / max(len(features), 1)
