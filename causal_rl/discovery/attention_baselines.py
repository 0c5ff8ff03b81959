"""Two baselines of the paper's Table 1 as graph learners: Attn+Mask and CATT.

Neither source learns a graph. Both are trained here as ECAM is, to tell every variable from the
others, and the graph is read from the trained attention by one fixed rule (`read_graph`).
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from causal_rl.discovery.base import ConvergenceWarning
from causal_rl.discovery.batch import BatchLearner, BoolMatrix, Found, Rows
from causal_rl.discovery.network_options import check_network
from causal_rl.graphs import project_to_dag

if TYPE_CHECKING:
    import torch

    from causal_rl.discovery.masked_predictor import MaskedPredictor

# Of the screening, a pair; entries of the dictionary of other samples.
_LEVEL, _DICTIONARY = 0.01, 64


class AttentionLearner(BatchLearner):
    """A masked predictor with fixed edges, whose averaged attention is read as a graph.

    Args:
        steps: gradient steps.
        batch_size: rows a step.
        learning_rate: of the network.
        embed_dim: features of a token.
        num_layers: blocks.
        num_heads: heads of attention.
        device: of torch.
        seed: of first weights and batches.
        reward_node: add the reward as the last node.
    """

    obeys: ClassVar[frozenset[str]] = frozenset({"forbidden"})
    most_variables: ClassVar[int] = 200
    uses_interventions: ClassVar[bool] = True

    def __init__(
        self,
        *,
        steps: int = 600,
        batch_size: int = 128,
        learning_rate: float = 0.005,
        embed_dim: int = 32,
        num_layers: int = 1,
        num_heads: int = 4,
        device: str = "cpu",
        seed: int = 0,
        reward_node: bool = False,
    ) -> None:
        super().__init__(reward_node=reward_node)
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.embed_dim = embed_dim
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.device = device
        self.seed = seed

    def check_options(self) -> None:
        """Validate the options; see `GraphLearner.check_options`."""
        super().check_options()
        check_network(self)

    @abstractmethod
    def _seen(self, rows: Rows, within: BoolMatrix) -> BoolMatrix:
        """``(m, m)`` true at [i, j] where the query of j may attend to the value of i."""

    def _change(
        self, model: MaskedPredictor, columns: torch.Tensor, generator: torch.Generator
    ) -> None:
        """Put into the network what makes the method, before it is trained."""

    def _learn(self, rows: Rows, within: BoolMatrix, lagged: BoolMatrix) -> Found:
        import torch

        from causal_rl.discovery.gated_mlp import train_gates
        from causal_rl.discovery.masked_predictor import MaskedPredictor

        # What a variable that was set in every row attends to was never learned.
        seen = self._seen(rows, within) & within & ~rows.do_target.all(axis=0)
        generator = torch.Generator().manual_seed(self.seed)
        model = MaskedPredictor(
            torch.from_numpy(seen),
            gated=False,
            embed_dim=self.embed_dim,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            generator=generator,
        ).to(self.device)
        columns = torch.from_numpy(rows.current.astype(np.float32)).to(self.device)
        self._change(model, columns, generator)
        fit = train_gates(
            model,
            columns,
            torch.from_numpy((~rows.do_target).astype(np.float32)).to(self.device),
            steps=self.steps,
            batch_size=self.batch_size,
            sparsity=0.0,
            acyclicity="expm",
            penalty_end=0.0,
            learning_rate=self.learning_rate,
            gate_learning_rate=self.learning_rate,
            temperature=1.0,
            generator=generator,
        )
        attention = model.attention(columns).double().cpu().numpy()
        if not fit.finite or not np.isfinite(attention).all():
            warnings.warn(
                f"{self.name} did not converge: the loss is not finite; the graph is empty",
                ConvergenceWarning,
                stacklevel=4,
            )
            return Found(edges=np.zeros(within.shape, dtype=bool))
        edges, confidence = read_graph(attention, seen)
        return Found(edges=edges, confidence=confidence)


class AttnMaskLearner(AttentionLearner):
    """Attn+Mask: attention under a mask that was made beforehand and stays.

    What the paper says of it: connections that contradict a given graph are masked out. The mask
    here is the one that data give before any learning: pairs whose rank correlation is significant
    at level 0.01, in the rows in which the variable that attends was not set.

    Args: as in `AttentionLearner`.
    """

    name: ClassVar[str] = "attn-mask"

    def _seen(self, rows: Rows, within: BoolMatrix) -> BoolMatrix:
        return correlated(rows, _LEVEL)


class CattLearner(AttentionLearner):
    """CATT: the attention of Yang et al. (2021), after the front-door criterion.

    ``P(Y | do(X)) = sum_z P(z | X) sum_x P(x) P(Y | z, x)``: beside the attention over the sample's
    own tokens (in-sample, P(z | X)) every block has one over a dictionary of 64 tokens of other
    samples (cross-sample, P(x)), learned from centres of the data's tokens; both are added up. The
    graph is read from the in-sample attention, which sees all variables.

    Args: as in `AttentionLearner`.
    """

    name: ClassVar[str] = "catt"

    def _seen(self, rows: Rows, within: BoolMatrix) -> BoolMatrix:
        return ~np.eye(within.shape[0], dtype=bool)

    def _change(
        self, model: MaskedPredictor, columns: torch.Tensor, generator: torch.Generator
    ) -> None:
        from causal_rl.discovery.cross_sample import add_cross_sample

        add_cross_sample(model, columns, entries=_DICTIONARY, generator=generator)


def read_graph(
    attention: NDArray[np.float64], seen: BoolMatrix
) -> tuple[BoolMatrix, NDArray[np.float64]]:
    """The fixed rule: more attention than an equal share is an edge, from the more attended to.

    A query that sees k values and itself would give each ``1 / (k + 1)`` if it told none apart.
    Edges are i -> j where j gives i more than that, and more than i gives j; of cycles the edges
    with least attention go.

    Args:
        attention: ``(m, m)``, [i, j] what the query of j gives to the value of i.
        seen: ``(m, m)`` booleans, what it might have given.

    Returns:
        ``(edges, confidence)``: a DAG, and ``w / (w + share)``, one half at the equal share.
    """
    weight = np.where(seen, attention, 0.0)
    share = 1.0 / (1.0 + seen.sum(axis=0))[None, :]
    relative = weight / share
    drawn = (relative > 1.0) & (relative > np.where(seen.T, relative.T, 0.0))
    edges: BoolMatrix = project_to_dag(np.where(drawn, weight, 0.0)) != 0
    return edges, relative / (1.0 + relative)


def correlated(rows: Rows, alpha: float) -> BoolMatrix:
    """``(m, m)``: [i, j] whether i and j are rank-correlated where j was not set."""
    m = rows.current.shape[1]
    found = np.zeros((m, m), dtype=bool)
    for j in range(m):
        values = rows.current[~rows.do_target[:, j]]
        if len(values) < 5:
            continue
        from scipy.stats import rankdata

        ranks = rankdata(values, axis=0)
        ranks -= ranks.mean(axis=0)
        size = np.sqrt((ranks**2).sum(axis=0))
        # A column that is constant in these rows is correlated with nothing.
        r = (ranks.T @ ranks[:, j]) / np.where(size > 0, size * max(float(size[j]), 1e-300), np.inf)
        z = np.arctanh(np.clip(r, -1 + 1e-12, 1 - 1e-12)) * np.sqrt(len(values) - 3)
        found[:, j] = np.abs(z) > -ndtri(alpha / 2)
    np.fill_diagonal(found, False)
    return found
