"""Algorithm 1, lines 14 to 36: a graph learned beside a network that is trained under it.

     1  G all ones                             -> G[i, j] is the strength of i -> j; no diagonal
     5  train the network under G              -> the caller's loop, or `trainer_callback`
    14  every k epochs                         -> `due`
    15  Z of the deepest attention layer       -> `observe`
    16  S of conditional independence          -> PC's search with Wilks' test, all pairs
    18  for each batch: grad_G of the task     -> `add_gradient`
    20  + lambda |G|_1 + mu h(G)               -> h by log det or by the exponential
    24  accumulate                             -> the mean: eta then does not depend on the batches
    33  G <- G - eta grad
    34  G <- ReLU(G - tau)                     -> sign(G) max(|G| - tau, 0): effects can be negative
    26  S[i, j] < threshold: delete both ways  -> where independence is not rejected at level alpha,
                                                  and after the step, which would undo it
    35  rows of G normalised to sum 1          -> only on demand: h(G) = 0 cannot hold then

The task's loss says little of the graph, and tokens that have attended to each other are dependent
whatever the variables are: docs/discovery_training.md has what that means.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causal_rl.devices import check_device
from causal_rl.discovery.base import ConvergenceWarning
from causal_rl.discovery.independence import WilksLambda
from causal_rl.discovery.representations import blocks_of, read_representations
from causal_rl.discovery.reservoir import Reservoir
from causal_rl.discovery.skeleton import Skeleton, find_skeleton
from causal_rl.graphs import CausalGraph, h_expm, h_logdet, project_to_dag
from causal_rl.options import check_choice, check_integer, check_number

if TYPE_CHECKING:
    import torch

Array = NDArray[np.float64]
BoolMatrix = NDArray[np.bool_]

ACYCLICITIES = ("logdet", "expm")


@dataclass(frozen=True)
class GraphStep:
    """What one pass through lines 16 to 35 did.

    Attributes:
        graph: (n, n) G after it.
        gradient: (n, n) the gradient that was taken, mean over batches.
        skeleton: the search, with its p-values; None where ``alpha`` is None.
        separated: (n, n) bool, symmetric: pairs whose independence was not rejected.
        rows: independent rows that the tests counted, after ``effective_share``.
        batches: gradients of the task that entered.
        acyclicity: h(G) after the step.
    """

    graph: Array
    gradient: Array
    skeleton: Skeleton | None
    separated: BoolMatrix
    rows: float
    batches: int
    acyclicity: float


class GraphFromRepresentations:
    """The graph of Algorithm 1, for any network that takes a graph and gives a token a variable.

    ``graph`` is a leaf tensor to call the network with: ``log`` and ``scale`` modulation have
    gradients to it, ``hard`` has none. It is changed in place by `step` alone; keep it out of the
    network's optimiser::

        for epoch in range(1, epochs + 1):
            for values, target in batches:  # lines 4 to 13
                optimizer.zero_grad()
                task(network(values, learner.graph.detach()), target).backward()
                optimizer.step()
            if learner.due(epoch):
                for values, target in batches:  # the network stands still
                    tokens = network(values, learner.graph)
                    learner.observe(tokens)
                    task(tokens, target).backward()
                    learner.add_gradient()
                learner.step()

    Representations gathered while the network is still moving would share its motion, and every
    pair would depend.

    Args:
        n: number of variables, tokens of the network.
        every: k, epochs from one graph to the next.
        sparsity: lambda, >= 0.
        acyclicity: mu, >= 0.
        penalty: h. ``"logdet"`` is -log det(sI - G * G) + n log s with s = n bound^2, for which
            every G inside the bound is in the domain; ``"expm"``, the paper's tr exp(G * G) - n,
            overflows for some dozens of variables that are all linked.
        learning_rate: eta, > 0. Of a task's mean loss the gradient in a strength is small.
        threshold: tau of the soft threshold, >= 0, at every step.
        alpha: level of the tests, in (0, 1); None leaves them out (lines 16 and 26 to 32).
        components: principal components kept of each token, at most.
        max_conditioning: largest conditioning set; no bound if None.
        max_tests: the search ends before a size of conditioning sets that would need more tests.
        effective_share: independent rows that one row is worth, in (0, 1].
        capacity: rows of representations kept for a step; a sample beyond that.
        bound: strengths are clipped to [-bound, bound], > 0; ``log`` needs at most 1.
        row_normalise: divide each row by the sum of its absolute values, as printed.
        initial: the first G, a number for all entries or (n, n); the diagonal is set to 0.
        names: n distinct names; X1 to Xn if None.
        device: of ``graph``.

    Attributes:
        graph: float32 tensor (n, n), ``[i, j]`` the strength of i -> j.
        last_: the last `GraphStep`, or None.

    Raises:
        TypeError: an option of another type.
        ValueError: an option out of range.
    """

    def __init__(
        self,
        n: int,
        *,
        every: int = 1,
        sparsity: float = 1e-3,
        acyclicity: float = 1e-3,
        penalty: str = "logdet",
        learning_rate: float = 1.0,
        threshold: float = 1e-3,
        alpha: float | None = 0.01,
        components: int = 3,
        max_conditioning: int | None = 2,
        max_tests: int = 100_000,
        effective_share: float = 1.0,
        capacity: int = 5000,
        bound: float = 1.0,
        row_normalise: bool = False,
        initial: ArrayLike = 1.0,
        names: Iterable[str] | None = None,
        device: str = "cpu",
    ) -> None:
        import torch

        sizes = {"n": n, "every": every, "components": components, "max_tests": max_tests}
        for name, value in sizes.items():
            check_integer(name, value, least=1)
        check_integer("capacity", capacity, least=2)
        check_device(device)
        if max_conditioning is not None:
            check_integer("max_conditioning", max_conditioning, least=0)
        check_number("sparsity", sparsity, least=0.0)
        check_number("acyclicity", acyclicity, least=0.0)
        check_number("threshold", threshold, least=0.0)
        check_choice("penalty", penalty, ACYCLICITIES)
        check_number("learning_rate", learning_rate, least=0.0, open_end=True)
        check_number("bound", bound, least=0.0, open_end=True)
        if alpha is not None:
            check_number("alpha", alpha, least=0.0, below=1.0, open_end=True)
        check_number("effective_share", effective_share, least=0.0, open_end=True)
        if effective_share > 1:
            raise ValueError(f"effective_share is {effective_share}; it must be at most 1")
        if not isinstance(row_normalise, bool):
            raise TypeError(f"row_normalise must be True or False, not {row_normalise!r}")
        self.n = n
        self.every = every
        self.sparsity = sparsity
        self.acyclicity = acyclicity
        self.penalty = penalty
        self.learning_rate = learning_rate
        self.threshold = threshold
        self.alpha = alpha
        self.components = components
        self.max_conditioning = max_conditioning
        self.max_tests = max_tests
        self.effective_share = effective_share
        self.capacity = capacity
        self.bound = bound
        self.row_normalise = row_normalise
        self._frame = CausalGraph(np.zeros((n, n)), names=names)
        first = _first_graph(initial, n, bound)
        self.graph: torch.Tensor = torch.tensor(first, dtype=torch.float32, device=device)
        self.graph.requires_grad_()
        self.last_: GraphStep | None = None
        self._gradient = np.zeros((n, n))
        self._batches = 0
        self._rows: Reservoir | None = None

    def due(self, epoch: int) -> bool:
        """Whether the graph is learned in this epoch (line 14).

        Args:
            epoch: counted from 1.

        Returns:
            True for every ``every``-th epoch.

        Raises:
            TypeError: not an integer.
            ValueError: below 1.
        """
        check_integer("epoch", epoch, least=1)
        return epoch % self.every == 0

    def observe(self, representations: torch.Tensor | ArrayLike) -> None:
        """Add representations of a batch to those that the next step tests (line 15).

        Args:
            representations: (B, n, d), a tensor of any float dtype and device, or numbers.

        Raises:
            TypeError: not numbers.
            ValueError: another shape than (B, n, d) with the d of the batches before, NaN.
        """
        detach = getattr(representations, "detach", None)
        if detach is not None:
            representations = detach().double().cpu().numpy()
        array = read_representations(representations)
        rows, n, d = array.shape
        if n != self.n:
            raise ValueError(f"representations has {n} variables; it must have {self.n}")
        if self._rows is None:
            self._rows = Reservoir(n * d, 1, self.capacity)
        if self._rows.width != n * d:
            before = self._rows.width // n
            raise ValueError(f"representations has {d} dimensions; it had {before} before")
        self._rows.add(array.reshape(rows, n * d), np.zeros(rows, dtype=np.int64))

    def add_gradient(self, gradient: torch.Tensor | ArrayLike | None = None) -> None:
        """Add the gradient in G of one batch's task loss (lines 19 and 23 to 24).

        Args:
            gradient: (n, n); None takes ``graph.grad``, what `backward` left there, and clears it.

        Raises:
            TypeError: not numbers.
            ValueError: another shape, NaN, or None where no gradient reached the graph.
        """
        given: Any = gradient
        if given is None:
            given = self.graph.grad
            if given is None:
                raise ValueError(
                    "graph.grad is None: no backward pass reached the graph; "
                    "use modulation 'log' or 'scale' and call the network with learner.graph"
                )
            self.graph.grad = None
        detach = getattr(given, "detach", None)
        array = np.asarray(given if detach is None else detach().double().cpu().numpy())
        if array.dtype.kind not in "biuf":
            raise TypeError(f"gradient must hold real numbers, got dtype {array.dtype}")
        if array.shape != (self.n, self.n) or not np.isfinite(array).all():
            wrong = "NaN or infinite entries" if array.shape == (self.n, self.n) else array.shape
            raise ValueError(f"gradient has {wrong}; it must be finite and ({self.n}, {self.n})")
        self._gradient += array
        self._batches += 1

    def step(self) -> GraphStep:
        """Change the graph by what was added since the last step (lines 16 to 35).

        Returns:
            What was done; also kept as ``last_``. Representations and gradients are forgotten.

        Raises:
            ValueError: no representations were observed and ``alpha`` is not None.

        Warns:
            ConvergenceWarning: ``max_tests`` ended the search early.
        """
        skeleton = self._search()
        separated = np.zeros((self.n, self.n), dtype=bool)
        if skeleton is not None:
            # A pair of which no test said anything keeps its edges.
            separated = ~skeleton.adjacency & skeleton.tested
        G = self.strengths()
        gradient = self._gradient / max(self._batches, 1)
        gradient = gradient + self.sparsity * np.sign(G) + self.acyclicity * self._h(G)[1]
        G = G - self.learning_rate * gradient
        G = np.sign(G) * np.maximum(np.abs(G) - self.threshold, 0.0)
        G = np.clip(G, -self.bound, self.bound)
        G[separated] = 0.0
        np.fill_diagonal(G, 0.0)
        if self.row_normalise:
            sums = np.abs(G).sum(axis=1, keepdims=True)
            G = np.divide(G, sums, out=np.zeros_like(G), where=sums > 0)
        self._write(G)
        rows = 0.0 if self._rows is None else self.effective_share * len(self._rows.rows)
        self.last_ = GraphStep(G, gradient, skeleton, separated, rows, self._batches, self._h(G)[0])
        self._gradient, self._batches, self._rows = np.zeros((self.n, self.n)), 0, None
        return self.last_

    def strengths(self) -> Array:
        """G as numbers.

        Returns:
            (n, n) float64, a copy.
        """
        copied: Array = self.graph.detach().double().cpu().numpy().copy()
        return copied

    def causal_graph(self) -> CausalGraph:
        """The graph learned so far, made acyclic by dropping the weakest strengths.

        Returns:
            A graph with the strengths as weights; confidences are ``|G| / (|G| + m)``, m the mean
            of those that are not 0, of all strengths, dropped or not.
        """
        G = self.strengths()
        kept, size = project_to_dag(G), np.abs(G)
        typical = float(size[size > 0].mean()) if (size > 0).any() else 1.0
        return self._frame.with_(
            contemporaneous=kept != 0,
            contemporaneous_weights=kept,
            contemporaneous_confidence=size / (size + typical),
        )

    def state_dict(self) -> dict[str, Any]:
        """All that changes, for `load_state_dict`.

        Returns:
            Copies of numbers and arrays.
        """
        return {
            "graph": self.strengths(),
            "gradient": self._gradient.copy(),
            "batches": self._batches,
            "width": None if self._rows is None else self._rows.width,
            "rows": None if self._rows is None else self._rows.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` was called.

        Args:
            state: of a learner with the same options.

        Raises:
            ValueError: the state is of another number of variables.
        """
        graph = np.asarray(state["graph"], dtype=np.float64)
        if graph.shape != (self.n, self.n):
            raise ValueError(f"state has a graph {graph.shape}; it must be ({self.n}, {self.n})")
        self._write(graph)
        self._gradient = np.array(state["gradient"], dtype=np.float64)
        self._batches = int(state["batches"])
        self._rows = None
        if state["rows"] is not None:
            self._rows = Reservoir(int(state["width"]), 1, self.capacity)
            self._rows.load_state_dict(state["rows"])
        self.last_ = None

    def _search(self) -> Skeleton | None:
        """S: which pairs no set of others separates."""
        if self.alpha is None:
            return None
        if self._rows is None:
            raise ValueError("no representations were observed; call observe before step")
        rows = self._rows.rows.reshape(len(self._rows.rows), self.n, -1)
        test = WilksLambda(*blocks_of(rows, self.components), rows=self.effective_share * len(rows))
        skeleton = find_skeleton(
            test, self.alpha, max_conditioning=self.max_conditioning, max_tests=self.max_tests
        )
        if skeleton.stopped:
            warnings.warn(
                f"stopped after conditioning sets of size {skeleton.depth}, since the next size "
                f"needs more than max_tests={self.max_tests} tests; edges may be too many",
                ConvergenceWarning,
                stacklevel=3,
            )
        return skeleton

    def _h(self, G: Array) -> tuple[float, Array]:
        if self.penalty == "expm":
            return h_expm(G)
        return h_logdet(G, s=self.n * self.bound**2)

    def _write(self, G: Array) -> None:
        import torch

        with torch.no_grad():
            self.graph.copy_(torch.from_numpy(G))


def _first_graph(initial: ArrayLike, n: int, bound: float) -> Array:
    array = np.asarray(initial)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"initial must hold real numbers, got dtype {array.dtype}")
    if array.shape not in ((), (n, n)):
        raise ValueError(f"initial has shape {array.shape}; it must be a number or ({n}, {n})")
    graph = np.broadcast_to(array.astype(np.float64), (n, n)).copy()
    if not (np.abs(graph) <= bound).all():
        raise ValueError(f"initial has NaN or an entry beyond bound={bound:g}")
    np.fill_diagonal(graph, 0.0)
    return graph
