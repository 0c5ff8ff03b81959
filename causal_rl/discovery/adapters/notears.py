"""NOTEARS, linear and by neural networks, from the package gcastle."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from causal_rl.discovery.adapters import EXTRA
from causal_rl.discovery.adapters.peer import call_peer
from causal_rl.discovery.batch import Array
from causal_rl.discovery.weighted import WeightedLearner
from causal_rl.errors import import_extra, require_extra
from causal_rl.options import check_integer, check_number


class NotearsLearner(WeightedLearner):
    """NOTEARS for linear models (Zheng et al. 2018).

    Options are those of `WeightedLearner`; defaults are the package's, but for ``standardise``.
    """

    name: ClassVar[str] = "notears"
    most_variables: ClassVar[int] = 100

    def check_options(self) -> None:
        """Validate the options, and that gcastle is there; see `GraphLearner.check_options`.

        Raises:
            MissingExtraError: gcastle is not installed.
        """
        super().check_options()
        require_extra("castle", extra=EXTRA)

    def _weights(self, columns: Array) -> Array:
        with call_peer(self.name):
            peer = import_extra("castle.algorithms", extra=EXTRA).Notears(
                lambda1=self.sparsity, w_threshold=self.threshold
            )
            peer.learn(columns)
        return np.asarray(peer.weight_causal_matrix, dtype=np.float64)


class NotearsMlpLearner(NotearsLearner):
    """NOTEARS by one small network a variable (Zheng et al. 2020); minutes at ten variables.

    Args:
        sparsity: L1 weight of the first layers; the package's default.
        ridge: L2 weight; the package's default.
        threshold: as in `WeightedLearner`; the package's default.
        hidden: width of the networks; the package's default.
        seed: of the first weights.
        standardise: as in `WeightedLearner`.
        reward_node: add the reward as the last node.
    """

    name: ClassVar[str] = "notears-mlp"
    most_variables: ClassVar[int] = 50

    def __init__(
        self,
        *,
        sparsity: float = 0.01,
        ridge: float = 0.01,
        threshold: float = 0.3,
        hidden: int = 10,
        seed: int = 0,
        standardise: bool = True,
        reward_node: bool = False,
    ) -> None:
        super().__init__(
            sparsity=sparsity,
            threshold=threshold,
            standardise=standardise,
            reward_node=reward_node,
        )
        self.ridge = ridge
        self.hidden = hidden
        self.seed = seed

    def check_options(self) -> None:
        """Validate the options; see `GraphLearner.check_options`."""
        super().check_options()
        check_number("ridge", self.ridge, least=0.0)
        check_integer("hidden", self.hidden, least=1)
        check_integer("seed", self.seed, least=0)

    def _weights(self, columns: Array) -> Array:
        import torch

        with call_peer(self.name), torch.random.fork_rng(devices=[]):
            algorithms = import_extra("castle.algorithms", extra=EXTRA)
            torch.manual_seed(self.seed)
            torch.set_default_dtype(torch.float64)  # the package's own choice, at its first import
            peer = algorithms.NotearsNonlinear(
                lambda1=self.sparsity,
                lambda2=self.ridge,
                w_threshold=self.threshold,
                hidden_layers=(self.hidden, 1),
                model_type="mlp",
            )
            peer.learn(columns)
        return np.asarray(peer.weight_causal_matrix, dtype=np.float64)
