"""BOSS, FCI and DirectLiNGAM, from the package causal-learn."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from causal_rl.discovery.adapters import EXTRA
from causal_rl.discovery.adapters.peer import call_peer
from causal_rl.discovery.batch import BatchLearner, BoolMatrix, Found, Rows
from causal_rl.errors import import_extra, require_extra
from causal_rl.graphs import project_to_dag
from causal_rl.graphs.marks import Marks
from causal_rl.options import check_integer, check_number


class _CausalLearnLearner(BatchLearner):
    """What the three share.

    Args:
        reward_node: add the reward as the last node.
    """

    needs_full_rank: ClassVar[bool] = True

    def check_options(self) -> None:
        """Validate the options, and that causal-learn is there; see `GraphLearner.check_options`.

        Raises:
            MissingExtraError: causal-learn is not installed.
        """
        super().check_options()
        require_extra("causallearn", extra=EXTRA)


class BossLearner(_CausalLearnLearner):
    """BOSS (Andrews et al. 2023) with the Gaussian BIC; its answer is a CPDAG.

    Args:
        penalty: factor of BIC's penalty; the package's default.
        seed: of the orders in which it tries the variables; the package draws them from Python's
            global generator, and its answer may change with them.
        reward_node: add the reward as the last node.
    """

    name: ClassVar[str] = "boss"
    most_variables: ClassVar[int] = 200

    def __init__(self, *, penalty: float = 2.0, seed: int = 0, reward_node: bool = False) -> None:
        super().__init__(reward_node=reward_node)
        self.penalty = penalty
        self.seed = seed

    def check_options(self) -> None:
        """Validate the options; see `_CausalLearnLearner.check_options`."""
        super().check_options()
        check_number("penalty", self.penalty, least=0.0, open_end=True)
        check_integer("seed", self.seed, least=0)

    def _learn(self, rows: Rows, within: BoolMatrix, lagged: BoolMatrix) -> Found:
        with call_peer(self.name, seed=self.seed):
            module = import_extra("causallearn.search.PermutationBased.BOSS", extra=EXTRA)
            found = module.boss(
                rows.current, parameters={"lambda_value": self.penalty}, verbose=False
            )
        return Found(marks=_marks(found))


class FciLearner(_CausalLearnLearner):
    """FCI (Spirtes et al. 2000) with Fisher's z; its answer is a PAG, hidden causes allowed.

    ``equivalence_class_`` keeps the PAG. In ``graph_`` bidirected edges are no edges, and circles
    beside arrowheads are tails.

    Args:
        alpha: level of the tests; the package's default.
        depth: largest conditioning set, -1 for any; the package's default.
        max_path_length: longest discriminating path, -1 for any; the package's default.
        reward_node: add the reward as the last node.
    """

    name: ClassVar[str] = "fci"
    most_variables: ClassVar[int] = 60

    def __init__(
        self,
        *,
        alpha: float = 0.05,
        depth: int = -1,
        max_path_length: int = -1,
        reward_node: bool = False,
    ) -> None:
        super().__init__(reward_node=reward_node)
        self.alpha = alpha
        self.depth = depth
        self.max_path_length = max_path_length

    def check_options(self) -> None:
        """Validate the options; see `_CausalLearnLearner.check_options`."""
        super().check_options()
        check_number("alpha", self.alpha, least=0.0, below=1.0, open_end=True)
        check_integer("depth", self.depth, least=-1)
        check_integer("max_path_length", self.max_path_length, least=-1)

    def _learn(self, rows: Rows, within: BoolMatrix, lagged: BoolMatrix) -> Found:
        with call_peer(self.name):
            module = import_extra("causallearn.search.ConstraintBased.FCI", extra=EXTRA)
            found, _ = module.fci(
                rows.current,
                alpha=self.alpha,
                depth=self.depth,
                max_path_length=self.max_path_length,
                show_progress=False,
            )
        return Found(marks=_marks(found))


class LingamLearner(_CausalLearnLearner):
    """DirectLiNGAM (Shimizu et al. 2011): linear models with noise that is not Gaussian.

    Args:
        reward_node: add the reward as the last node.
    """

    name: ClassVar[str] = "lingam"
    most_variables: ClassVar[int] = 60

    def _learn(self, rows: Rows, within: BoolMatrix, lagged: BoolMatrix) -> Found:
        with call_peer(self.name):
            lingam = import_extra("causallearn.search.FCMBased.lingam", extra=EXTRA)
            peer = lingam.DirectLiNGAM()
            peer.fit(rows.current)
        # The package has effects in rows and causes in columns.
        weights = np.asarray(peer.adjacency_matrix_, dtype=np.float64).T
        self._check_finite(Found(weights=weights))
        weights = project_to_dag(np.where(within, weights, 0.0))
        return Found(edges=weights != 0, weights=weights)


def _marks(found: Any) -> Marks:
    """The package's matrix has at [i, j] the mark at i: -1 a tail, 1 an arrowhead, 2 a circle."""
    theirs = np.asarray(found.graph).T
    ours = {-1: 1, 1: 2, 2: 3}
    marks = np.zeros(theirs.shape, dtype=np.int8)
    for code, mark in ours.items():
        marks[theirs == code] = mark
    return marks
