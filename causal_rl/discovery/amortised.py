"""The amortised learner: a network trained on simulated tables reads the graph off a table."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from causal_rl.devices import check_device
from causal_rl.discovery.batch import BatchLearner, BoolMatrix, Found, Rows
from causal_rl.graphs import project_to_dag
from causal_rl.options import check_integer, check_number

if TYPE_CHECKING:
    from causal_rl.discovery.amortised_model import AmortisedModel

#: The network that comes with the package.
SHIPPED = Path(__file__).with_name("checkpoints") / "amortised.pt"


class AmortisedLearner(BatchLearner):
    """One pass of a trained ECAM transformer (`AmortisedModel`) over the rows; nothing is fitted.

    What it knows of causal directions it learned from simulated tables (`simulated_tasks`), so that
    its answer is as good as the data at hand resemble those. Confidences are its probabilities. Of
    each pair the likelier direction is drawn, if it is likely enough (`likely_edges`); then the
    graph is projected to a DAG by the probabilities.

    Columns of the step before are tokens of their own, and the lagged edges out of them are told by
    the same head.

    Args:
        checkpoint: file of ``causal-rl train-discovery``; None for the network that comes with the
            package.
        threshold: on the probability of an edge, given that the opposite one is not there.
        rows: at most this many are read at a time; of more, the logits of several random parts are
            averaged.
        device: of torch.
        seed: of the parts.
        reward_node: add the reward as the last node.
    """

    name: ClassVar[str] = "amortised"
    obeys: ClassVar[frozenset[str]] = frozenset({"forbidden", "required"})
    most_variables: ClassVar[int] = 100
    uses_interventions: ClassVar[bool] = True
    uses_lags: ClassVar[bool] = True

    def __init__(
        self,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        threshold: float = 0.5,
        rows: int = 400,
        device: str = "cpu",
        seed: int = 0,
        reward_node: bool = False,
    ) -> None:
        super().__init__(reward_node=reward_node)
        self.checkpoint = checkpoint
        self.threshold = threshold
        self.rows = rows
        self.device = device
        self.seed = seed
        self._loaded: tuple[str, AmortisedModel] | None = None

    def check_options(self) -> None:
        """Validate the options; see `GraphLearner.check_options`.

        Raises:
            ValueError: also if the checkpoint is no file.
        """
        super().check_options()
        if self.checkpoint is not None and not isinstance(self.checkpoint, str | os.PathLike):
            raise TypeError(f"checkpoint must be a path or None, not {self.checkpoint!r}")
        if not self._path.is_file():
            raise ValueError(
                f"checkpoint must be a file of causal-rl train-discovery, got {str(self._path)!r}, "
                "which is no file"
            )
        check_number("threshold", self.threshold, least=0.0, below=1.0)
        check_integer("rows", self.rows, least=2)
        check_device(self.device)
        check_integer("seed", self.seed, least=0)

    @property
    def _path(self) -> Path:
        return SHIPPED if self.checkpoint is None else Path(self.checkpoint)

    def _learn(self, rows: Rows, within: BoolMatrix, lagged: BoolMatrix) -> Found:
        from causal_rl.discovery.amortised_model import likely_edges

        m = len(within)
        before = np.flatnonzero(lagged.any(axis=1) & (rows.lagged.std(axis=0) > 0))
        columns = np.hstack([rows.current, _standardised(rows.lagged[:, before])])
        do_target = np.zeros(columns.shape, dtype=bool)
        do_target[:, :m] = rows.do_target
        possible = np.zeros((columns.shape[1],) * 2, dtype=bool)
        possible[:m, :m], possible[m:, :m] = within, lagged[before]
        # Of a variable that was set in every row, the rows show no cause.
        possible[:, :m] &= ~rows.do_target.all(axis=0)
        past = np.arange(columns.shape[1]) >= m
        probabilities = self._probabilities(columns, do_target, past, possible)
        edges = likely_edges(probabilities, self.threshold)
        required = self._required_edges()[np.ix_(self._varying, self._varying)] & within
        # More than any cycle could weigh, so that no required edge is projected away.
        weights = np.where(edges, probabilities, 0.0)[:m, :m]
        found = Found(
            edges=project_to_dag(np.where(required, 2.0 * m, weights)) != 0,
            confidence=np.where(required, 1.0, probabilities[:m, :m]),
        )
        if not lagged.any():
            return found
        all_lagged, confidence = np.zeros((m, m), dtype=bool), np.zeros((m, m))
        all_lagged[before], confidence[before] = edges[m:, :m], probabilities[m:, :m]
        return Found(
            edges=found.edges,
            confidence=found.confidence,
            lagged=all_lagged,
            lagged_confidence=confidence,
        )

    def _probabilities(
        self,
        columns: NDArray[np.float64],
        do_target: BoolMatrix,
        past: NDArray[np.bool_],
        possible: BoolMatrix,
    ) -> NDArray[np.float64]:
        import torch

        from causal_rl.discovery.amortised_model import edge_probabilities

        model = self._model()
        count = len(columns)
        order = np.random.default_rng(self.seed).permutation(count)
        parts = np.array_split(order, -(-count // self.rows)) if count > self.rows else [order]
        total = torch.zeros(possible.shape, device=self.device)
        with torch.inference_mode():
            for part in parts:
                guesses = model(
                    torch.from_numpy(columns[part].astype(np.float32))[None].to(self.device),
                    torch.from_numpy(do_target[part])[None].to(self.device),
                    torch.from_numpy(past).to(self.device),
                    torch.from_numpy(possible).to(self.device),
                )
                total += guesses[-1][0]
            found: NDArray[np.float64] = (
                edge_probabilities(total / len(parts)).double().cpu().numpy()
            )
        return found

    def _model(self) -> AmortisedModel:
        from causal_rl.discovery.amortised_model import load_model

        wanted = f"{self._path} {self.device}"
        if self._loaded is None or self._loaded[0] != wanted:
            self._loaded = wanted, load_model(self._path)[0].to(self.device)
        return self._loaded[1]


def _standardised(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = columns - columns.mean(axis=0)
    return np.asarray(centred / centred.std(axis=0))
