"""DAGMA for linear models, from the package dagma."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from causal_rl.discovery.adapters import EXTRA
from causal_rl.discovery.adapters.peer import call_peer
from causal_rl.discovery.batch import Array
from causal_rl.discovery.weighted import WeightedLearner
from causal_rl.errors import import_extra, require_extra


class DagmaLearner(WeightedLearner):
    """DAGMA for linear models (Bello et al. 2022).

    Args:
        sparsity: the peer's L1 weight; the package's default.
        threshold: as in `WeightedLearner`; the package's default.
        standardise: as in `WeightedLearner`.
        reward_node: add the reward as the last node.
    """

    name: ClassVar[str] = "dagma"
    most_variables: ClassVar[int] = 200

    def __init__(
        self,
        *,
        sparsity: float = 0.03,
        threshold: float = 0.3,
        standardise: bool = True,
        reward_node: bool = False,
    ) -> None:
        super().__init__(
            sparsity=sparsity,
            threshold=threshold,
            standardise=standardise,
            reward_node=reward_node,
        )

    def check_options(self) -> None:
        """Validate the options, and that dagma is there; see `GraphLearner.check_options`.

        Raises:
            MissingExtraError: dagma is not installed.
        """
        super().check_options()
        require_extra("dagma", extra=EXTRA)

    def _weights(self, columns: Array) -> Array:
        with call_peer(self.name):
            peer = import_extra("dagma.linear", extra=EXTRA).DagmaLinear(loss_type="l2")
            # fit centres its argument in place: `columns` is ours, made for this call.
            weights = peer.fit(columns, lambda1=self.sparsity, w_threshold=0.0)
        return np.asarray(weights, dtype=np.float64)
