"""M(G): how a causal graph becomes a modulation of attention scores (ECAM, equation 2).

A graph is written ``graph[i, j]`` = *i causes j*; attention scores are written
``scores[query, key]``. :func:`attention_mask` is the one place that turns the first into the
second. :func:`prepare_mask` does everything that depends on the graph alone (checks, logarithm,
cast), so that a caller whose graph stays the same pays for it once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Modulation = Literal["hard", "log", "scale"]
MODULATIONS: tuple[Modulation, ...] = get_args(Modulation)

LOG_FLOOR = 0.01
"""Attention odds, against a full-strength edge, that ``log`` leaves to an edge of weight 0."""

Graph: TypeAlias = Tensor | NDArray[Any]


@dataclass(frozen=True, eq=False, slots=True)
class PreparedMask:
    """A graph made ready for attention scores; built by :func:`prepare_mask`.

    Both tensors absent means that the graph is full: nothing is modulated.

    Attributes:
        modulation: which of ``MODULATIONS`` it was prepared for.
        n: number of variables.
        add: float (n, n), (B, 1, n, n) or (B, H, n, n), added to the scaled scores; ``hard`` and
            ``log``.
        multiply: the same shapes, multiplied with the scaled scores; ``scale``.
    """

    modulation: Modulation
    n: int
    add: Tensor | None = None
    multiply: Tensor | None = None


def check_modulation(modulation: str) -> Modulation:
    """Return ``modulation`` if it is one of ``MODULATIONS``.

    Args:
        modulation: a name.

    Returns:
        The same name, typed.

    Raises:
        ValueError: the name is none of the allowed ones, which the message lists.
    """
    if modulation not in MODULATIONS:
        allowed = ", ".join(repr(name) for name in MODULATIONS)
        raise ValueError(f"modulation: unknown {modulation!r}; allowed: {allowed}")
    return modulation


def as_graph(graph: Graph, *, heads: bool = False) -> Tensor:
    """Return a graph as a tensor after checking type and shape (not the entries).

    Args:
        graph: (n, n) or (B, n, n), bool, integer or float; a tensor, or an array, which is copied.
        heads: whether (B, H, n, n), a graph for each head, is allowed too.

    Returns:
        The graph as a tensor; the very object if it was one.

    Raises:
        TypeError: neither a tensor nor an array, or neither bool nor real.
        ValueError: not square, or not of so many axes, or without variables.
    """
    most = 4 if heads else 3
    shapes = "(n, n), (B, n, n) or (B, H, n, n)" if heads else "(n, n) or (B, n, n)"
    if isinstance(graph, np.ndarray):
        if graph.dtype.kind not in "biuf":
            raise TypeError(f"graph: dtype {graph.dtype}; allowed: bool, integer or float")
        graph = torch.from_numpy(np.array(graph))
    if not isinstance(graph, Tensor):
        raise TypeError(f"graph: {type(graph).__name__}; allowed: a tensor or array {shapes}")
    if graph.is_complex():
        raise TypeError(f"graph: dtype {graph.dtype}; allowed: bool, integer or float")
    if not 2 <= graph.ndim <= most or graph.shape[-1] != graph.shape[-2] or 0 in graph.shape:
        raise ValueError(
            f"graph: shape {tuple(graph.shape)}; allowed: {shapes} with n >= 1, B >= 1"
        )
    return graph


def attention_mask(graph: Graph) -> Tensor:
    """Turn a graph into the (query, key) order of attention, with the diagonal on.

    ``mask[j, i]`` is ``graph[i, j]``: query j sees key i exactly when i causes j, or i = j. The
    diagonal is on whatever the graph says there, so a variable without parents attends to itself
    and no softmax is taken over nothing. Gradients reach the graph's off-diagonal entries.

    Args:
        graph: (n, n) or (B, n, n), bool, integer or float; ``graph[i, j]`` = i causes j.

    Returns:
        A mask of the graph's shape and dtype; its diagonal is True or 1.

    Raises:
        TypeError: the graph is no tensor or array of a real dtype.
        ValueError: its shape is not square, or it holds NaN or infinity.
    """
    graph = as_graph(graph)
    check_entries(graph)
    return _turn(graph)


def prepare_mask(
    graph: Graph,
    modulation: Modulation = "hard",
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
    log_floor: float = LOG_FLOOR,
    share: float = 1.0,
    heads: bool = False,
) -> PreparedMask:
    """Do all work that depends on the graph alone.

    With A the scaled scores and M = ``attention_mask(graph)`` (Eq. 2):

    * ``hard``: softmax(A + (0 where M is nonzero, else -inf)). A non-edge gets exactly no
      weight and passes exactly no gradient. Strengths are not read and receive no gradient.
    * ``log``: ``softmax(A + log(eps + (1 - eps) |M|))``, eps = ``log_floor``; that is, softmax(A)
      times the floored strengths, renormalised. Strengths lie in [-1, 1] and ``|.|`` decides, as
      negative effects are effects; 1 leaves a score as it is, 0 adds log(eps): a non-edge keeps
      a little weight and its gradient (1 - eps) / eps, so a learner can bring it back. At
      exactly 0 the gradient of ``|.|`` is taken as +1, so a graph of zeros can learn.
    * ``scale``: softmax(A * M), the paper's product, kept for the ablation. It does NOT mask: a
      score of 0 still gets weight exp(0), and a negative strength turns the preference round.

    With ``share`` s below 1 the graph is only partly applied: M gives way to 1 - s + s M (``hard``:
    of the 0/1 indicator, with softmax(A + log(1 - s + s M)); ``log``: of ``|M|``), which is all
    ones, plain attention, at s = 0 and the three formulas above at s = 1.

    A full graph (all M equal to 1, and no gradient wanted) leaves no mask, so that attention runs
    without one. Reading the entries synchronises a GPU: prepare once where speed counts.

    Args:
        graph: (n, n) for the whole batch or (B, n, n), one each; bool, integer or float.
        modulation: "hard", "log" or "scale".
        dtype: float dtype of the scores.
        device: device of the scores; None keeps the graph's.
        log_floor: eps of ``log``, in (0, 1).
        share: s, how much of the graph is applied, in [0, 1].
        heads: whether ``graph`` may also be (B, H, n, n), one for each head.

    Returns:
        The mask to pass to :class:`~causal_rl.attention.CausalAttention` in place of the graph.

    Raises:
        TypeError: the graph is no tensor or array of a real dtype, or ``dtype`` is no float.
        ValueError: unknown modulation; ``log_floor`` outside (0, 1) or ``share`` outside [0, 1];
            the graph is not square, or holds NaN or infinity, or for ``log`` a strength outside
            [-1, 1].
    """
    modulation = check_modulation(modulation)
    check_log_floor(log_floor)
    if not dtype.is_floating_point:
        raise TypeError(f"dtype: {dtype}; allowed: a floating point dtype")
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share: {share!r}; allowed: a number in [0, 1]")
    graph = as_graph(graph, heads=heads)
    check_entries(graph, limit=1.0 if modulation == "log" else None)
    n = graph.shape[-1]
    if modulation == "hard":
        seen = _turn(graph if graph.dtype == torch.bool else graph.detach() != 0)
        if share == 0.0 or bool(seen.all()):
            return PreparedMask("hard", n)
        unseen = math.log1p(-share) if share < 1.0 else -math.inf
        bias = torch.where(seen, 0.0, unseen).to(device=device, dtype=dtype)
        return PreparedMask("hard", n, add=for_heads(bias))
    strengths = _turn(graph.to(device=device, dtype=dtype))
    if modulation == "log":
        # Not abs(): its gradient at 0 is 0, and an edge of strength 0 could never come back.
        strengths = torch.where(strengths < 0, -strengths, strengths)
    if share < 1.0:
        strengths = 1.0 - share + share * strengths
    if not strengths.requires_grad and bool((strengths == 1).all()):
        return PreparedMask(modulation, n)
    if modulation == "log":
        return PreparedMask(
            "log", n, add=for_heads((log_floor + (1 - log_floor) * strengths).log())
        )
    return PreparedMask("scale", n, multiply=for_heads(strengths))


def check_log_floor(log_floor: float) -> None:
    """Refuse a floor that is not strictly between 0 and 1.

    Args:
        log_floor: eps of ``log``.

    Raises:
        ValueError: the floor is not inside (0, 1), or NaN.
    """
    if not 0.0 < log_floor < 1.0:
        raise ValueError(f"log_floor: {log_floor!r}; allowed: a number inside (0, 1)")


def _turn(graph: Tensor) -> Tensor:
    """Transpose and switch the diagonal on."""
    eye = torch.eye(graph.shape[-1], dtype=torch.bool, device=graph.device)
    return graph.transpose(-1, -2).masked_fill(eye, 1)


def for_heads(mask: Tensor) -> Tensor:
    """Give a batch of masks (B, n, n) an axis for the heads: (B, 1, n, n)."""
    return mask.unsqueeze(1) if mask.ndim == 3 else mask


def check_entries(graph: Tensor, limit: float | None = None) -> None:
    """Refuse NaN, infinity, and entries beyond a limit.

    Args:
        graph: of any shape.
        limit: largest absolute value allowed; any finite one if None.

    Raises:
        ValueError: an entry is none of the allowed; the message names the first.
    """
    if graph.dtype == torch.bool:
        return
    # One pass finds all three faults: NaN propagates through aminmax.
    low, high = (float(end) for end in torch.aminmax(graph.detach()))
    bound = torch.inf if limit is None else limit
    if -bound <= low and high <= bound and abs(low) != torch.inf and abs(high) != torch.inf:
        return
    allowed = "finite numbers" if limit is None else f"finite numbers in [-{limit:g}, {limit:g}]"
    wrong = ~torch.isfinite(graph) if limit is None else ~(graph.abs() <= limit)
    where = tuple(int(k) for k in wrong.nonzero()[0])
    raise ValueError(f"graph: {float(graph[where])} at {where}; allowed: {allowed}")
