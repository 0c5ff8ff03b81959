"""ECAM's graph learner (Eq. 2 and 3): the encoder as a masked predictor whose graph is learned."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from causal_rl.discovery.base import ConvergenceWarning
from causal_rl.discovery.batch import BatchLearner, BoolMatrix, Found, Rows
from causal_rl.discovery.network_options import check_network
from causal_rl.graphs import project_to_dag
from causal_rl.options import check_choice, check_number

if TYPE_CHECKING:
    import torch

    from causal_rl.discovery.masked_predictor import MaskedPredictor

#: A penalty below this is no cycle that a threshold of one half would leave.
_ACYCLIC = 0.1
_ACYCLICITIES = ("logdet", "expm")


class EcamLearner(BatchLearner):
    """Minimises ``L_task + sparsity |G|_1 + mu h(G)`` (Eq. 3) over an encoder and its graph.

    The task is to tell every variable from the others: Gaussian likelihood of the rows in which it
    was not set. What the encoder sees is decided by the graph alone, which modulates its attention
    (`MaskedPredictor`); ``G[i, j]`` is the probability that the gate from i to j is open. Soft
    gates do not do, as scores grow until the modulation is undone: gates are sampled, 0 or 1, with
    the gradient of their relaxation. Then ``|G|`` is thresholded and projected (Algorithm 5).

    mu grows during the descent; edges that it closed wrongly are reopened once, at three fifths.

    Args:
        sparsity: lambda, in nats a row.
        threshold: tau on the gates' probabilities.
        acyclicity: ``"logdet"``, or the paper's ``"expm"``, blind to long cycles.
        penalty_end: the last mu.
        steps: gradient steps.
        batch_size: rows a step.
        learning_rate: of the encoder.
        gate_learning_rate: of the gates.
        temperature: of the relaxed gates.
        embed_dim: features of a token.
        num_layers: blocks of the encoder.
        num_heads: heads of attention.
        device: of torch.
        seed: of first weights, batches and gates.
        reward_node: add the reward as the last node.

    Attributes:
        converged_: whether the last descent ended acyclic and finite; if not, a
            `ConvergenceWarning` was given too.
    """

    name: ClassVar[str] = "ecam"
    obeys: ClassVar[frozenset[str]] = frozenset({"forbidden", "required"})
    most_variables: ClassVar[int] = 200
    uses_interventions: ClassVar[bool] = True
    uses_lags: ClassVar[bool] = True

    def __init__(
        self,
        *,
        sparsity: float = 0.1,
        threshold: float = 0.5,
        acyclicity: str = "logdet",
        penalty_end: float = 10.0,
        steps: int = 900,
        batch_size: int = 128,
        learning_rate: float = 0.005,
        gate_learning_rate: float = 0.05,
        temperature: float = 0.5,
        embed_dim: int = 32,
        num_layers: int = 1,
        num_heads: int = 4,
        device: str = "cpu",
        seed: int = 0,
        reward_node: bool = False,
    ) -> None:
        super().__init__(reward_node=reward_node)
        self.sparsity = sparsity
        self.threshold = threshold
        self.acyclicity = acyclicity
        self.penalty_end = penalty_end
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.gate_learning_rate = gate_learning_rate
        self.temperature = temperature
        self.embed_dim = embed_dim
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.device = device
        self.seed = seed
        self.converged_: bool | None = None

    def check_options(self) -> None:
        """Validate the options; see `GraphLearner.check_options`."""
        super().check_options()
        for name in ("sparsity", "penalty_end"):
            check_number(name, getattr(self, name), least=0.0)
        for name in ("gate_learning_rate", "temperature"):
            check_number(name, getattr(self, name), least=0.0, open_end=True)
        check_number("threshold", self.threshold, least=0.0, below=1.0)
        check_choice("acyclicity", self.acyclicity, _ACYCLICITIES)
        check_network(self)

    def reset(self) -> None:
        """Forget everything learned; options stay."""
        super().reset()
        self.converged_ = None

    def _network(
        self, allowed: BoolMatrix, always: BoolMatrix, generator: torch.Generator
    ) -> MaskedPredictor:
        """The network that is trained; an ablation puts another in its place."""
        import torch

        from causal_rl.discovery.masked_predictor import MaskedPredictor

        return MaskedPredictor(
            torch.from_numpy(allowed),
            gated=True,
            embed_dim=self.embed_dim,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            generator=generator,
            required=torch.from_numpy(always),
        )

    def _learn(self, rows: Rows, within: BoolMatrix, lagged: BoolMatrix) -> Found:
        import torch

        from causal_rl.discovery.gated_mlp import train_and_reopen

        m = within.shape[0]
        required = self._required_edges()[np.ix_(self._varying, self._varying)] & within
        allowed, values, always = within, rows.current, required
        if lagged.any():
            allowed = np.vstack([within, lagged])
            values = np.hstack([rows.current, rows.lagged])
            always = np.vstack([required, np.zeros_like(lagged)])
        generator = torch.Generator().manual_seed(self.seed)
        model = self._network(allowed, always, generator).to(self.device)
        columns = torch.from_numpy(values.astype(np.float32)).to(self.device)
        kept = torch.from_numpy((~rows.do_target).astype(np.float32)).to(self.device)
        fit = train_and_reopen(
            model,
            columns,
            kept,
            steps=self.steps,
            batch_size=self.batch_size,
            sparsity=self.sparsity,
            acyclicity=self.acyclicity,
            penalty_end=self.penalty_end,
            learning_rate=self.learning_rate,
            gate_learning_rate=self.gate_learning_rate,
            temperature=self.temperature,
            generator=generator,
        )
        self.converged_ = fit.finite and fit.acyclicity < _ACYCLIC
        if not self.converged_:
            warnings.warn(
                "ecam did not converge: "
                + (f"h(G) is {fit.acyclicity:.2g}" if fit.finite else "the loss is not finite")
                + "; the graph is the best so far",
                ConvergenceWarning,
                stacklevel=4,
            )
        strengths = np.zeros(allowed.shape)
        if fit.finite:
            strengths = fit.probabilities.double().cpu().numpy()
        strong = np.where((strengths > self.threshold) | always, strengths, 0.0)
        # Twice what any cycle could weigh, so that no required edge is projected away.
        dag = project_to_dag(np.where(required, 2.0 * m, strong[:m])) != 0
        if not lagged.any():
            return Found(edges=dag, confidence=strengths)
        return Found(
            edges=dag,
            confidence=strengths[:m],
            lagged=strong[m:] > 0,
            lagged_confidence=strengths[m:],
        )
