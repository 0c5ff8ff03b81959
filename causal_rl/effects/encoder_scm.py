"""Algorithm 3 on the encoder: a structural model whose mechanisms are one attention network.

``x_j = f_j(x_pa(j)) + u_j`` with every f_j read off the same `SCMEncoder`, which attends under the
given graph. To intervene, the set variable holds its new value, its parents are cut, and the others
are predicted in topological order; in a counterfactual each keeps the residual ``u_j`` it had. As
noise is what the network left unexplained, abduction is exact.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional

from causal_rl.discovery import Transitions
from causal_rl.discovery.masked_predictor import MaskedPredictor
from causal_rl.discovery.network_options import check_network
from causal_rl.effects.abduction import DRAWS, NoisePosterior, abduct
from causal_rl.effects.counterfactual import Action, counterfactual, intervene
from causal_rl.effects.counterfactual_answer import CounterfactualAnswer
from causal_rl.effects.empirical_noise import EmpiricalNoise
from causal_rl.effects.encoder_mechanism import EncoderMechanism
from causal_rl.effects.fit_scm import read_fitted_table
from causal_rl.graphs import CausalGraph
from causal_rl.options import check_number
from causal_rl.scm import SCM, Categorical, Constant, NoNoise, Scaled, Variable

Array = NDArray[np.float64]

_EVERY = 25
_LEAST_ROWS = 20


class EncoderSCM:
    """A structural model in one attention network, fitted to a table under a graph.

    Each variable is told from the tokens of its parents alone; the residuals' distribution is kept
    as it is. A column of two values 0 and 1 is a coin whose logit the network tells.

    Args:
        graph: over the columns; within-step edges alone.
        embed_dim: features of a token.
        num_layers: blocks of the encoder.
        num_heads: heads of attention.
        steps: of training.
        batch_size: rows a step.
        learning_rate: of Adam, falling to zero along a cosine.
        held_out: share of the rows that chooses when the network was best.
        device: where it is trained; answers are computed on the CPU.
        seed: of weights, batches and the rows held out.

    Attributes:
        network: the trained network, after `fit`.
        scm: the model, after `fit`: an `SCM` like any other, so that whatever takes one takes it.
    """

    network: MaskedPredictor
    scm: SCM

    def __init__(
        self,
        graph: CausalGraph,
        *,
        embed_dim: int = 32,
        num_layers: int = 2,
        num_heads: int = 2,
        steps: int = 600,
        batch_size: int = 128,
        learning_rate: float = 2e-2,
        held_out: float = 0.15,
        device: str = "cpu",
        seed: int = 0,
    ) -> None:
        if not isinstance(graph, CausalGraph):
            raise TypeError(f"graph must be a CausalGraph, got {type(graph).__name__}")
        self.graph = graph
        self.embed_dim, self.num_layers, self.num_heads = embed_dim, num_layers, num_heads
        self.steps, self.batch_size, self.learning_rate = steps, batch_size, learning_rate
        self.held_out, self.device, self.seed = held_out, device, seed
        check_network(self)
        check_number("held_out", held_out, least=0.0, below=1.0, open_end=True)

    def fit(
        self, data: Transitions | ArrayLike | Any, *, do_target: ArrayLike | None = None
    ) -> Self:
        """Train the network as a masked predictor, and read the noise off its residuals.

        Args:
            data: see `causal_rl.effects.fit_scm`.
            do_target: ``(N, n)`` true where a variable was set; such an entry does not train the
                variable's own mechanism.

        Returns:
            Itself.

        Raises:
            TypeError: not numbers.
            ValueError: as `causal_rl.effects.fit_scm`, or too few rows.
        """
        table, targets, names, adjacency = read_fitted_table(data, self.graph, do_target)
        if len(table) < _LEAST_ROWS:
            raise ValueError(f"data has {len(table)} rows; an encoder needs {_LEAST_ROWS} or more")
        self._names, self._adjacency = names, adjacency
        self._center: Array = table.mean(axis=0)
        spread = table.std(axis=0)
        self._scale: Array = np.where(spread > 1e-12, spread, 1.0)
        self._coins = np.array([set(np.unique(c)) == {0.0, 1.0} for c in table.T])
        order = np.random.default_rng(self.seed).permutation(len(table))
        held = order[: max(round(len(table) * self.held_out), 5)]
        self._train(table, ~targets, np.setdiff1d(order, held), held)
        self.scm = self._read_off(table, ~targets, held)
        return self

    def abduct(
        self, evidence: Mapping[str, Any] | ArrayLike | Any, **options: Any
    ) -> NoisePosterior:
        """The noise behind evidence; see `causal_rl.effects.abduct`.

        Raises:
            RuntimeError: not fitted.
        """
        return abduct(self._fitted(), evidence, **options)

    def intervene(
        self,
        do: Mapping[str, Action],
        *,
        given: Mapping[str, Any] | None = None,
        targets: Sequence[str] | None = None,
        n_samples: int = DRAWS,
        seed: np.random.Generator | int = 0,
    ) -> CounterfactualAnswer:
        """What happens if some variables are set; see `causal_rl.effects.intervene`.

        Raises:
            RuntimeError: not fitted.
        """
        return intervene(
            self._fitted(), do, given=given, targets=targets, n_samples=n_samples, seed=seed
        )

    def counterfactual(
        self,
        evidence: Mapping[str, Any] | ArrayLike | Any,
        do: Mapping[str, Action],
        **options: Any,
    ) -> CounterfactualAnswer:
        """What would have been; see `causal_rl.effects.counterfactual`.

        Raises:
            RuntimeError: not fitted.
        """
        return counterfactual(self._fitted(), evidence, do, **options)

    def _fitted(self) -> SCM:
        if not hasattr(self, "scm"):
            raise RuntimeError("not fitted; call fit first")
        return self.scm

    def _train(
        self,
        table: Array,
        counted: NDArray[np.bool_],
        learn: NDArray[np.intp],
        held: NDArray[np.intp],
    ) -> None:
        device = torch.device(self.device)
        generator = torch.Generator().manual_seed(self.seed)
        network = MaskedPredictor(
            torch.from_numpy(self._adjacency.copy()),
            gated=False,
            embed_dim=self.embed_dim,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            generator=generator,
        ).to(device)
        inputs = torch.from_numpy(((table - self._center) / self._scale).astype(np.float32))
        wanted = torch.where(
            torch.from_numpy(self._coins), torch.from_numpy(table.astype(np.float32)), inputs
        ).to(device)
        inputs, kept = inputs.to(device), torch.from_numpy(counted).to(device)
        rows, tested = torch.from_numpy(learn), torch.from_numpy(held).to(device)
        optimiser = torch.optim.Adam(network.parameters(), lr=self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.steps)
        best, state = math.inf, copy.deepcopy(network.state_dict())
        for step in range(1, self.steps + 1):
            some = rows[torch.randint(len(rows), (self.batch_size,), generator=generator)]
            loss = self._loss(network, inputs, wanted, kept, some.to(device))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            if step % _EVERY == 0 or step == self.steps:
                with torch.no_grad():
                    error = float(self._loss(network, inputs, wanted, kept, tested))
                if error < best:
                    best, state = error, copy.deepcopy(network.state_dict())
        if not math.isfinite(best):
            raise RuntimeError("training diverged; lower learning_rate")
        network.load_state_dict(state)
        self.network = network.cpu().eval().requires_grad_(False)

    def _loss(
        self, network: MaskedPredictor, inputs: Tensor, wanted: Tensor, kept: Tensor, rows: Tensor
    ) -> Tensor:
        """Negative log-likelihood of each variable given its parents, set entries left out."""
        told = network.predict(inputs[rows], network.allowed)
        target = wanted[rows]
        log_variance = network.log_variance.clamp(-9.0, 9.0)
        normal = 0.5 * (log_variance + (target - told) ** 2 * torch.exp(-log_variance))
        coin = functional.binary_cross_entropy_with_logits(
            told, target.clamp(0.0, 1.0), reduction="none"
        )
        terms = torch.where(torch.from_numpy(self._coins).to(told.device), coin, normal)
        return (terms * kept[rows]).sum() / len(rows)

    def _read_off(self, table: Array, counted: NDArray[np.bool_], held: NDArray[np.intp]) -> SCM:
        variables = []
        for j, name in enumerate(self._names):
            parents = np.flatnonzero(self._adjacency[:, j])
            coin = bool(self._coins[j])
            law = EncoderMechanism(
                self.network,
                j,
                tuple(parents.tolist()),
                self._center[parents],
                self._scale[parents],
                0.0 if coin else float(self._center[j]),
                1.0 if coin else float(self._scale[j]),
            )
            told = tuple(self._names[i] for i in parents)
            mechanism = law if told else Constant(float(law.evaluate([], 1)[0]))
            if coin:
                never = Scaled(mechanism, 0.0, 0.0)
                variables.append(Variable(name, Categorical([never, mechanism]), parents=told))
                continue
            used = counted[:, j]
            columns = [np.ascontiguousarray(table[used][:, i]) for i in parents]
            residual = table[used, j] - mechanism.evaluate(columns, int(used.sum()))
            fresh = residual[np.isin(np.flatnonzero(used), held)]
            # Rows held out say how large the noise is, all rows its shape.
            size = float(np.sqrt(np.mean(fresh**2))) if len(fresh) > 1 else float(residual.std())
            varies = residual.std() > 1e-9 * self._scale[j] and size > 0
            noise = EmpiricalNoise(residual, size) if varies else NoNoise()
            variables.append(Variable(name, mechanism, noise, told))
        return SCM(variables)
