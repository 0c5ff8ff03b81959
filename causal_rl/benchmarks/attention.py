"""What a causal graph costs in attention: CausalAttention beside bare SDPA.

Every peer maps tokens (B, n, E) to tokens (B, n, E) through projections of the same shapes, so
that the ratio is the price of the graph alone. The base, ``sdpa``, is the shortest way to write
such a layer: one qkv projection, ``scaled_dot_product_attention`` with a float mask made
beforehand, one output projection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional

from causal_rl.attention import CausalAttention, attention_mask, prepare_mask
from causal_rl.benchmarks.cells import Cell, Outcome, Row
from causal_rl.benchmarks.report import Findings, markdown_table
from causal_rl.benchmarks.results import Benchmark, Results, run_benchmark
from causal_rl.benchmarks.statistics import interquartile_mean
from causal_rl.benchmarks.timing import call_seconds

EMBED_DIM = 32
NUM_HEADS = 2
EDGE_PROBABILITY = 0.3
SHAPES = tuple((batch, n) for n in (4, 10, 20) for batch in (8, 64, 256, 1024))
SMOKE_SHAPES = ((8, 4), (64, 10))
SECONDS, SMOKE_SECONDS = 0.03, 0.003
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


def grid(repeats: int, smoke: bool) -> list[Cell]:
    """Repeats outermost, so that a slow hour of the machine falls on all shapes alike."""
    shapes = SMOKE_SHAPES if smoke else SHAPES
    settings = {
        "embed_dim": EMBED_DIM,
        "num_heads": NUM_HEADS,
        "edge_probability": EDGE_PROBABILITY,
        "seconds": SMOKE_SECONDS if smoke else SECONDS,
        "torch": str(torch.__version__),
    }
    return [
        Cell({"batch": batch, "n": n, "pass": kind, "repeat": repeat}, settings)
        for repeat in range(min(repeats, 3) if smoke else repeats)
        for batch, n in shapes
        for kind in PASSES
    ]


def measure(cell: Cell) -> Outcome:
    """Time every peer at one shape, in turns, so that a busy machine slows all alike.

    Returns:
        ``microseconds_<peer>``, processor time of a call, and ``ratio_<peer>``, over the base.
    """
    batch, n = int(cell.parameters["batch"] or 0), int(cell.parameters["n"] or 0)
    torch.set_num_threads(1)  # a process of our own, see the pool
    generator = torch.Generator().manual_seed(batch * 1000 + n)
    peers = _peers(batch, n, generator)
    x = torch.randn(batch, n, EMBED_DIM, generator=generator)
    calls = {name: _call(peer, x, str(cell.parameters["pass"])) for name, peer in peers.items()}
    for call in calls.values():
        call_seconds(call, 3)  # first calls allocate
    count = max(1, round(float(cell.settings["seconds"]) / call_seconds(calls[BASE], 3)))
    taken = {name: call_seconds(call, count) for name, call in calls.items()}
    micro = {f"microseconds_{name}": round(t * 1e6, 3) for name, t in taken.items()}
    ratios = {f"ratio_{name}": round(t / taken[BASE], 4) for name, t in taken.items()}
    return Outcome({**micro, **ratios})


def run(out: Path, smoke: bool = False) -> None:
    """Measure and write the folder ``out``; see `causal_rl.benchmarks.run_benchmark`.

    Args:
        out: folder to write to; made if absent.
        smoke: two small shapes and three repeats, to show that it runs.

    Raises:
        RuntimeError: a measurement failed.
    """
    done = run_benchmark(BENCHMARK, out=out, smoke=smoke)
    if done.failures:
        raise RuntimeError(f"{done.failures[0]['cell']} failed: {done.failures[0]['error']}")


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


def findings(results: Results) -> Findings:
    """A table of ratios for each pass; there is no mark to meet."""
    protocol = [
        f"Embed {EMBED_DIM}, {NUM_HEADS} heads, float32, CPU, one thread, torch "
        f"{torch.__version__.partition('+')[0]}. Tokens (batch, n, {EMBED_DIM}); one random DAG a "
        "shape.",
        "Ratio of processor times to the base. All peers take turns within a repeat and ratios "
        "are taken there, so that a busy machine slows all alike; the table has the interquartile "
        "mean over repeats. The figure in brackets is the base in microseconds.",
    ]
    return Findings(protocol, (), [_table(results, kind) for kind in PASSES])


def _table(results: Results, kind: str) -> str:
    shapes = list(dict.fromkeys((row["batch"], row["n"]) for row in results.rows))
    header = ["batch x n"]
    for batch, n in shapes:
        base = _iqm(results, f"microseconds_{BASE}", kind, batch, n)
        header.append(f"{batch} x {n} ({'-' if base is None else f'{base:.0f}'})")
    lines: list[list[object]] = []
    for peer, label in LABELS.items():
        ratios = [_iqm(results, f"ratio_{peer}", kind, batch, n) for batch, n in shapes]
        lines.append([label, *("-" if ratio is None else f"{ratio:.2f}" for ratio in ratios)])
    return f"## {kind}\n\n" + markdown_table(header, lines)


def _iqm(results: Results, metric: str, kind: str, batch: object, n: object) -> float | None:
    rows: Row = {"pass": kind, "batch": int(str(batch)), "n": int(str(n))}
    values = results.values(metric, **rows)
    return float(interquartile_mean(values)) if values.size else None


def figures(results: Results) -> Mapping[str, Figure]:
    """The ratio over the number of tokens, a panel for each pass."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    panels = figure.subplots(1, len(PASSES), sharey=True)
    shapes = list(dict.fromkeys((row["batch"], row["n"]) for row in results.rows))
    for axes, kind in zip(panels, PASSES, strict=True):
        for peer, label in LABELS.items():
            points = sorted(
                (int(str(batch)) * int(str(n)), ratio)
                for batch, n in shapes
                if (ratio := _iqm(results, f"ratio_{peer}", kind, batch, n)) is not None
            )
            style = "--k" if peer == BASE else "o-"
            xs, ys = [p[0] for p in points], [p[1] for p in points]
            axes.plot(xs, ys, style, markersize=3, linewidth=1, label=label)
        axes.set(xscale="log", title=kind, xlabel="tokens (batch x variables)")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("time / time of bare SDPA")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", fontsize=7)
    return {"cost.png": figure}


def _headline(results: Results) -> str:
    values = results.values("ratio_hard_prepared")
    return f"hard / SDPA {float(interquartile_mean(values)):.2f}" if values.size else ""


BENCHMARK = Benchmark(
    name="attention",
    title="The cost of a causal graph in attention",
    description="Processor time of CausalAttention in every modulation beside bare "
    "scaled_dot_product_attention with a float mask.",
    grid=grid,
    function=measure,
    findings=findings,
    figures=figures,
    headline=_headline,
    replicate="repeat",
    seeds=9,
    jobs=1,
)
