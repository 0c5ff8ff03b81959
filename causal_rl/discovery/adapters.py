"""Peers' methods under our interface: thin adapters around their own packages.

Both know neither interventions nor lags. They are given ``next_state`` of all rows pooled (with
the reward as one more column where it is a node), do-rows included, and fill the contemporaneous
block only; the lagged block stays empty. Edges that the kinds forbid are dropped afterwards.
"""

from __future__ import annotations

import contextlib
import io
import logging
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from causal_rl.discovery.base import GraphLearner, stacked_columns
from causal_rl.discovery.options import check_number
from causal_rl.discovery.transitions import Transitions
from causal_rl.errors import import_extra, require_extra
from causal_rl.graphs import CausalGraph, possible_edges, project_to_dag

Array = NDArray[np.float64]

_EXTRA = "discovery"


class PooledLearner(GraphLearner):
    """What the adapters share: pool the rows, ask the peer for weights, make a graph of them.

    `update` keeps all rows and runs the peer on them anew: neither package learns online.

    Args:
        sparsity: the peer's L1 weight.
        threshold: edges of smaller absolute weight are dropped, in the units of the data given.
        standardise: give every column unit variance first. Both methods live off the order of
            the variances on raw data, which in a benchmark is an artefact.
        reward_node: add the reward as the last node.
    """

    def __init__(
        self,
        *,
        sparsity: float = 0.1,
        threshold: float = 0.3,
        standardise: bool = True,
        reward_node: bool = False,
    ) -> None:
        super().__init__(reward_node=reward_node)
        self.sparsity = sparsity
        self.threshold = threshold
        self.standardise = standardise
        self._rows: Array | None = None

    package: ClassVar[str]

    @abstractmethod
    def _weights(self, columns: Array) -> Array:
        """The peer's weights before any threshold, ``(m, m)``, from its own copy ``(N, m)``."""

    def check_options(self) -> None:
        """Validate the options, and that the peer is installed; see `GraphLearner.check_options`.

        Raises:
            MissingExtraError: the peer's package is not installed.
        """
        super().check_options()
        require_extra(self.package, extra=_EXTRA)
        check_number("sparsity", self.sparsity, least=0.0)
        check_number("threshold", self.threshold, least=0.0)
        if not isinstance(self.standardise, bool):
            raise TypeError(f"standardise must be True or False, not {self.standardise!r}")

    def reset(self) -> None:
        """Forget everything learned; options stay."""
        super().reset()
        self._rows = None

    def update(self, transitions: Transitions) -> CausalGraph:
        """Run the peer on all rows so far; see `GraphLearner.update`.

        Raises:
            MissingExtraError: the peer's package is not installed.
            RuntimeError: the peer returned weights that are not finite.
        """
        names, kinds = self._admit(transitions)
        current, _, _ = stacked_columns(transitions, reward_node=self.reward_node)
        rows = current if self._rows is None else np.concatenate([self._rows, current])
        columns = rows - rows.mean(axis=0)
        scale = columns.std(axis=0)
        scale[scale <= 1e-7 * (1 + np.abs(rows).max(axis=0))] = 1.0
        if self.standardise:
            columns /= scale
        weights = np.asarray(self._weights(columns), dtype=np.float64)
        if not np.isfinite(weights).all():
            raise RuntimeError(f"{self.name} did not converge: its weights are not finite")
        self._rows = np.array(rows)
        weights = np.where(possible_edges(kinds)[0], weights, 0.0)
        size = np.abs(weights)
        kept = project_to_dag(np.where(size > self.threshold, weights, 0.0))
        units = scale[None, :] / scale[:, None] if self.standardise else 1.0
        self.graph_ = CausalGraph(
            kept != 0,
            names=names,
            kinds=kinds,
            contemporaneous_weights=kept * units,
            contemporaneous_confidence=size / (size + self.threshold + 1e-12),
        )
        return self.graph_

    def state_dict(self) -> dict[str, Any]:
        """All that was learned, and the rows; see `GraphLearner.state_dict`."""
        rows = None if self._rows is None else self._rows.copy()
        return {**super().state_dict(), "rows": rows}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` was called; see `GraphLearner.load_state_dict`."""
        super().load_state_dict(state)
        self._rows = None if state["rows"] is None else np.array(state["rows"])


class NotearsLearner(PooledLearner):
    """NOTEARS for linear models (Zheng et al. 2018) from the package gcastle.

    Options are those of `PooledLearner`; defaults are the package's.
    """

    name: ClassVar[str] = "notears"
    package: ClassVar[str] = "castle"

    def _weights(self, columns: Array) -> Array:
        with _quiet():
            notears = import_extra("castle.algorithms", extra=_EXTRA).Notears(
                lambda1=self.sparsity, w_threshold=self.threshold
            )
            notears.learn(columns)
        return np.asarray(notears.weight_causal_matrix, dtype=np.float64)


class DagmaLearner(PooledLearner):
    """DAGMA for linear models (Bello et al. 2022) from the package dagma.

    Args:
        sparsity: the peer's L1 weight; the package's default.
        threshold: as in `PooledLearner`; the package's default.
        standardise: as in `PooledLearner`.
        reward_node: add the reward as the last node.
    """

    name: ClassVar[str] = "dagma"
    package: ClassVar[str] = "dagma"

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

    def _weights(self, columns: Array) -> Array:
        with _quiet():
            model = import_extra("dagma.linear", extra=_EXTRA).DagmaLinear(loss_type="l2")
            # fit centres its argument in place: `columns` is ours, made for this call.
            weights = model.fit(columns, lambda1=self.sparsity, w_threshold=0.0)
        return np.asarray(weights, dtype=np.float64)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the peers' progress bars, and undo what importing gcastle does to the process.

    It configures the root logger and makes float64 the default dtype of torch.
    """
    import torch

    dtype = torch.get_default_dtype()
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    silent = logging.NullHandler()
    root.handlers = [silent]  # so that basicConfig finds a handler and leaves the logger alone
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        torch.set_default_dtype(dtype)
        root.handlers = handlers
        root.setLevel(level)
