"""What a causal graph costs in attention: CausalAttention beside bare SDPA.

Every peer maps tokens (B, n, E) to tokens (B, n, E) through projections of the same shapes, so
that the ratio is the price of the graph alone. The base, ``sdpa``, is the shortest way to write
such a layer: one qkv projection, ``scaled_dot_product_attention`` with a float mask made
beforehand, one output projection.
"""

from __future__ import annotations

import csv
import io
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional

from causal_rl.attention import CausalAttention, attention_mask, prepare_mask
from causal_rl.files import atomic_open

EMBED_DIM = 32
NUM_HEADS = 2
EDGE_PROBABILITY = 0.3
SHAPES = tuple((batch, n) for n in (4, 10, 20) for batch in (8, 64, 256, 1024))
SMOKE_SHAPES = ((8, 4), (64, 10))
BASE = "sdpa"
LABELS = {
    "sdpa": "bare SDPA, float mask (the base)",
    "torch_mha": "nn.MultiheadAttention, float mask",
    "hard_prepared": "CausalAttention hard, mask prepared once",
    "hard": "CausalAttention hard, graph by call",
    "hard_batched": "CausalAttention hard, one graph a row, by call",
    "hard_full": "CausalAttention hard, full graph, prepared (no mask)",
    "log": "CausalAttention log, fixed strengths by call",
    "log_learned": "CausalAttention log, strengths that learn",
    "scale": "CausalAttention scale, graph by call",
}
PASSES = ("forward", "forward+backward")

Row = dict[str, str | int | float]


def run(out: Path, smoke: bool = False) -> None:
    """Measure and write ``raw.csv``, ``summary.csv``, ``cost.png`` and ``RESULTS.md``.

    One thread, CPU time; the peers take turns within each repeat, so that a busy machine slows
    all alike; ratios are taken within a repeat, then the median over repeats.

    Args:
        out: folder to write to; made if absent.
        smoke: two small shapes and three repeats, to show that it runs.

    Raises:
        OSError: the folder cannot be written.
    """
    shapes = SMOKE_SHAPES if smoke else SHAPES
    repeats, seconds = (3, 0.003) if smoke else (9, 0.03)
    rows: list[Row] = []
    with _one_thread():
        for batch, n in shapes:
            rows += _measure(batch, n, repeats, seconds)
    summary = _summarise(rows)
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "raw.csv", _csv(rows))
    _write(out / "summary.csv", _csv(summary))
    picture = io.BytesIO()
    _figure(summary).savefig(picture, format="png", dpi=150)
    _write(out / "cost.png", picture.getvalue())
    _write(out / "RESULTS.md", _report(summary, repeats).encode())


class _Bare(nn.Module):
    """Projections around SDPA and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(EMBED_DIM, 3 * EMBED_DIM)
        self.out = nn.Linear(EMBED_DIM, EMBED_DIM)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, n, _ = x.shape
        heads = self.qkv(x).view(batch, n, 3, NUM_HEADS, EMBED_DIM // NUM_HEADS)
        q, k, v = heads.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        y: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return y


def _peers(batch: int, n: int, generator: torch.Generator) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return each peer as a function of the tokens, all on the same random DAG."""
    graph = (torch.rand(n, n, generator=generator) < EDGE_PROBABILITY).triu(1)
    strengths = torch.rand(n, n, generator=generator) * graph
    learned = strengths.clone().requires_grad_()
    batched = graph.expand(batch, n, n).contiguous()
    full = prepare_mask(torch.ones(n, n))
    prepared = prepare_mask(graph)
    mask = torch.zeros(n, n).masked_fill(~attention_mask(graph), -torch.inf)

    bare = _Bare()
    torch_layer = nn.MultiheadAttention(EMBED_DIM, NUM_HEADS, batch_first=True)
    hard = CausalAttention(EMBED_DIM, NUM_HEADS)
    log = CausalAttention(EMBED_DIM, NUM_HEADS, "log")
    scale = CausalAttention(EMBED_DIM, NUM_HEADS, "scale")

    def torch_mha(x: Tensor) -> Tensor:
        y: Tensor = torch_layer(x, x, x, attn_mask=mask, need_weights=False)[0]
        return y

    return {
        "sdpa": lambda x: bare(x, mask),
        "torch_mha": torch_mha,
        "hard_prepared": lambda x: hard(x, prepared),
        "hard": lambda x: hard(x, graph),
        "hard_batched": lambda x: hard(x, batched),
        "hard_full": lambda x: hard(x, full),
        "log": lambda x: log(x, strengths),
        "log_learned": lambda x: log(x, learned),
        "scale": lambda x: scale(x, strengths),
    }


def _measure(batch: int, n: int, repeats: int, seconds: float) -> list[Row]:
    """Time every peer at one shape; a row per peer, pass and repeat."""
    generator = torch.Generator().manual_seed(batch * 1000 + n)
    peers = _peers(batch, n, generator)
    x = torch.randn(batch, n, EMBED_DIM, generator=generator)
    rows: list[Row] = []
    for kind in PASSES:
        calls = {name: _call(peer, x, kind) for name, peer in peers.items()}
        for call in calls.values():
            _time(call, 3)  # first calls allocate
        count = max(1, round(seconds / _time(calls[BASE], 3)))
        for repeat in range(repeats):
            taken = {name: _time(call, count) for name, call in calls.items()}
            rows += [
                {
                    "batch": batch,
                    "n": n,
                    "pass": kind,
                    "peer": name,
                    "repeat": repeat,
                    "microseconds": round(second * 1e6, 3),
                    "ratio": round(second / taken[BASE], 4),
                }
                for name, second in taken.items()
            ]
    return rows


def _call(peer: Callable[[Tensor], Tensor], x: Tensor, kind: str) -> Callable[[], None]:
    """Return what is timed: a forward pass without gradients, or both passes."""
    if kind == "forward":

        def forward() -> None:
            with torch.no_grad():
                peer(x)

        return forward

    inputs, upstream = x.clone().requires_grad_(), torch.ones_like(x)

    def both() -> None:
        torch.autograd.backward(peer(inputs), upstream)

    return both


def _time(call: Callable[[], None], count: int) -> float:
    """Return CPU seconds of one call, averaged over ``count``."""
    start = time.process_time()
    for _ in range(count):
        call()
    return (time.process_time() - start) / count


def _summarise(rows: Sequence[Row]) -> list[Row]:
    """Return medians over the repeats, with the quartiles of the ratio."""
    cells: dict[tuple[str | int | float, ...], list[Row]] = {}
    for row in rows:
        cells.setdefault((row["batch"], row["n"], row["pass"], row["peer"]), []).append(row)
    summary: list[Row] = []
    for (batch, n, kind, peer), cell in cells.items():
        ratios = [float(row["ratio"]) for row in cell]
        low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
        micro = statistics.median(float(row["microseconds"]) for row in cell)
        summary.append(
            {
                "batch": batch,
                "n": n,
                "pass": kind,
                "peer": peer,
                "microseconds": round(micro, 1),
                "ratio": round(middle, 3),
                "ratio_q25": round(low, 3),
                "ratio_q75": round(high, 3),
            }
        )
    return summary


def _figure(summary: Sequence[Row]) -> Figure:
    """Draw the ratio over the number of tokens, a panel for each pass."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    panels = figure.subplots(1, len(PASSES), sharey=True)
    for axes, kind in zip(panels, PASSES, strict=True):
        for peer, label in LABELS.items():
            cells = [row for row in summary if row["pass"] == kind and row["peer"] == peer]
            points = sorted(
                (int(row["batch"]) * int(row["n"]), float(row["ratio"])) for row in cells
            )
            style = "--k" if peer == BASE else "o-"
            xs, ys = [p[0] for p in points], [p[1] for p in points]
            axes.plot(xs, ys, style, markersize=3, linewidth=1, label=label)
        axes.set(xscale="log", title=kind, xlabel="tokens (batch x variables)")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("time / time of bare SDPA")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", fontsize=7)
    return figure


def _report(summary: Sequence[Row], repeats: int) -> str:
    """Return the text of RESULTS.md, every figure taken from the summary."""
    lines = [
        "# The cost of a causal graph in attention",
        "",
        f"Embed {EMBED_DIM}, {NUM_HEADS} heads, float32, torch {torch.__version__} on CPU, one"
        f" thread. Ratio of CPU times to the base, median of {repeats} interleaved repeats."
        " The figure in brackets is the base in microseconds.",
    ]
    for kind in PASSES:
        part = [row for row in summary if row["pass"] == kind]
        shapes = list(dict.fromkeys((row["batch"], row["n"]) for row in part))
        base = {(r["batch"], r["n"]): r["microseconds"] for r in part if r["peer"] == BASE}
        head = "".join(f" {batch} x {n} ({base[batch, n]:.0f}) |" for batch, n in shapes)
        lines += ["", f"## {kind}", "", f"| batch x n |{head} median |"]
        lines.append("|---" * (len(shapes) + 2) + "|")
        for peer, label in LABELS.items():
            cell = {(r["batch"], r["n"]): float(r["ratio"]) for r in part if r["peer"] == peer}
            ratios = [cell[shape] for shape in shapes]
            figures = "".join(f" {ratio:.2f} |" for ratio in ratios)
            lines.append(f"| {label} |{figures} {statistics.median(ratios):.2f} |")
    return "\n".join([*lines, "", "![cost](cost.png)", ""])


def _csv(rows: Sequence[Mapping[str, object]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _write(path: Path, content: bytes) -> None:
    with atomic_open(path) as file:
        file.write(content)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run on one thread, then restore the caller's number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
