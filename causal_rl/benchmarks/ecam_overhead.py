"""What a graph costs in a model of ``transformers``, beside the same model's own sdpa."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from causal_rl.attention import Modulation
from causal_rl.attention.huggingface import use_ecam
from causal_rl.benchmarks.bars import draw_bar
from causal_rl.benchmarks.cells import Cell, Outcome, Row
from causal_rl.benchmarks.report import Findings, Mark, decide, markdown_table
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.benchmarks.statistics import Estimate, number
from causal_rl.errors import import_extra, require_extra

HOSTS = ("bert", "vit", "gpt2", "llama")
PASSES = ("forward", "forward+backward")
BASE = "sdpa"
#: Peers of the base: their label, and whether the mark speaks of them.
PEERS: Mapping[str, tuple[str, bool]] = {
    "none": ("plug-in, no graph", False),
    "hard": ("hard, one graph", True),
    "hard_rows": ("hard, a graph for each row", True),
    "log": ("log, one graph", True),
    "log_learned": ("log, a graph that learns", False),
    "scale": ("scale, one graph", False),
}
TOKENS, BATCHES = 256, (2,)
#: The shape of MiniLM-L6.
SIZES = {"hidden": 384, "layers": 6, "heads": 12, "inner": 1536}
SMOKE_SIZES = {"hidden": 32, "layers": 1, "heads": 2, "inner": 32}
EDGE_PROBABILITY = 0.3
ROUNDS, NEEDED_SEEDS, MOST = 7, 5, 1.12


def grid(seeds: int, smoke: bool) -> list[Cell]:
    """Repeats outermost, so that a slow hour of the machine falls on all hosts alike."""
    settings: dict[str, Any] = {
        **(SMOKE_SIZES if smoke else SIZES),
        "tokens": 16 if smoke else TOKENS,
        "edge_probability": EDGE_PROBABILITY,
        "rounds": 2 if smoke else ROUNDS,
        "torch": str(torch.__version__),
    }
    return [
        Cell({"host": host, "batch": batch, "pass": kind, "repeat": repeat}, settings)
        for repeat, host, batch, kind in product(
            range(1 if smoke else seeds), HOSTS, BATCHES, PASSES
        )
    ]


def run(cell: Cell) -> Outcome:
    """Time all peers in turn; a ratio is the median of those of the rounds.

    Returns:
        ``milliseconds_<peer>``, processor time of a call, and ``ratio_<peer>``, over the base.
    """
    where, settings = cell.parameters, cell.settings
    host, batch = str(where["host"]), int(where["batch"] or 1)
    torch.set_num_threads(1)  # a process of our own, see the pool
    torch.manual_seed(int(where["repeat"] or 0))
    calls = _calls(host, batch, str(where["pass"]), settings)
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()  # first calls allocate
    for turn in range(settings["rounds"]):
        names = list(calls)
        # Another order in each round: whoever follows a large call finds the caches cold.
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            started = time.process_time()
            calls[name]()
            taken[name].append(time.process_time() - started)
    base = np.array(taken[BASE])
    figures: dict[str, float | int | None] = {
        f"milliseconds_{name}": float(np.median(seconds)) * 1e3 for name, seconds in taken.items()
    }
    for name in PEERS:
        figures[f"ratio_{name}"] = float(np.median(np.array(taken[name]) / base))
    return Outcome(figures)


def _calls(
    host: str, batch: int, kind: str, settings: Mapping[str, Any]
) -> dict[str, Callable[[], None]]:
    """Each peer as a call: one model with its own sdpa, and copies of it with the plug-in."""
    model, given = _host(host, batch, settings)
    n = settings["tokens"]
    graph = (torch.rand(n, n) < settings["edge_probability"]).triu(1)
    order = torch.randperm(n)
    graph = graph[order][:, order]
    strengths = graph * torch.rand(n, n)
    graphs: dict[str, tuple[Modulation, Tensor | None]] = {
        "none": ("hard", None),
        "hard": ("hard", graph),
        "hard_rows": ("hard", graph.expand(batch, n, n).contiguous()),
        "log": ("log", strengths),
        "log_learned": ("log", strengths.clone().requires_grad_()),
        "scale": ("scale", strengths),
    }
    weights = model.state_dict()

    def call(peer: Any, extra: Mapping[str, Any]) -> Callable[[], None]:
        def forward() -> None:
            with torch.no_grad():
                peer(**given, **extra)

        def both() -> None:
            peer(**given, **extra)[0].square().mean().backward()

        return forward if kind == "forward" else both

    found = {BASE: call(model, {})}
    for name, (modulation, one) in graphs.items():
        peer, _ = _host(host, batch, settings)
        peer.load_state_dict(weights)
        found[name] = call(use_ecam(peer, modulation), {"ecam_graph": one})
    return found


def _host(host: str, batch: int, settings: Mapping[str, Any]) -> tuple[Any, dict[str, Tensor]]:
    """A model with random weights, and what it is fed; no padding, sdpa's best case."""
    library = import_extra("transformers", extra="transformers")
    n, hidden, heads = settings["tokens"], settings["hidden"], settings["heads"]
    sizes: dict[str, Any] = {
        "hidden_size": hidden,
        "num_hidden_layers": settings["layers"],
        "num_attention_heads": heads,
        "intermediate_size": settings["inner"],
    }
    text = {"vocab_size": 1_000, "max_position_embeddings": n}
    if host == "vit":
        # A strip of n - 1 patches; the class token is one more.
        config = library.ViTConfig(**sizes, image_size=(4, 4 * n - 4), patch_size=4)
        pixels = torch.randn(batch, 3, 4, 4 * n - 4)
        return library.ViTModel(config).eval(), {"pixel_values": pixels}
    given = {"input_ids": torch.randint(0, 1_000, (batch, n))}
    if host == "bert":
        return library.BertModel(library.BertConfig(**sizes, **text)).eval(), given
    if host == "gpt2":
        config = library.GPT2Config(
            n_embd=hidden, n_layer=settings["layers"], n_head=heads, n_inner=settings["inner"],
            n_positions=n, vocab_size=1_000, use_cache=False,
            bos_token_id=0, eos_token_id=0,
        )  # fmt: skip
        return library.GPT2Model(config).eval(), given
    config = library.LlamaConfig(**sizes, **text, num_key_value_heads=heads // 2, use_cache=False)
    return library.LlamaModel(config).eval(), given


def findings(results: Results) -> Findings:
    """A mark for each host and pass, and the tables."""
    size = ", ".join(f"{value} {name}" for name, value in SIZES.items())
    protocol = [
        f"Models with random weights ({size}), {TOKENS} tokens, float32, CPU, one thread, no "
        "padding, no cache: what sdpa is fastest at (it runs without a mask, and for gpt2 and "
        "llama knows that it is causal). The base is the model as the library makes it; peers are "
        f"copies with the plug-in and a random DAG of {EDGE_PROBABILITY:g} density.",
        f"Processor time; all peers take turns in one process, {ROUNDS} rounds in rotating order, "
        "and a ratio is the median of the rounds'. Checks and preparation of the graph, once a "
        "forward pass, are inside. Intervals are over repeats, each with weights of its own.",
    ]
    marks = []
    for host, kind in product(HOSTS, PASSES):
        found = {
            (peer, batch): results.estimate(f"ratio_{peer}", **_where(host, kind, batch))
            for peer, (_, marked) in PEERS.items()
            for batch in BATCHES
            if marked
        }
        there = [estimate for estimate in found.values() if estimate is not None]
        worst: Estimate | None = max(there, key=lambda one: one.value, default=None)
        marks.append(
            Mark(
                f"{host}, {kind}: hard and log cost at most {MOST:g} times sdpa",
                f"dearest {worst}" if worst else "-",
                decide(
                    min((one.count for one in there), default=0),
                    NEEDED_SEEDS,
                    worst is not None and worst.value <= MOST,
                ),
            )
        )
    return Findings(protocol, marks, [_table(results, kind) for kind in PASSES])


def _where(host: str, kind: str, batch: int) -> Row:
    return {"host": host, "pass": kind, "batch": batch}


def _table(results: Results, kind: str) -> str:
    header, where = ["peer"], []
    for host, batch in product(HOSTS, BATCHES):
        at = _where(host, kind, batch)
        base = results.estimate(f"milliseconds_{BASE}", **at)
        if base is not None:
            header.append(f"{host} x {batch} ({number(base.value)})")
            where.append(at)
    lines = [
        [label, *(str(results.estimate(f"ratio_{peer}", **at) or "-") for at in where)]
        for peer, (label, _) in PEERS.items()
    ]
    text = "Time over sdpa's; in brackets the milliseconds of sdpa. Columns: host x batch."
    return f"## {kind}\n\n{text}\n\n" + markdown_table(header, lines)


def figures(results: Results) -> Mapping[str, Figure]:
    """The ratios by host, a panel for each pass."""
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    panels = figure.subplots(1, len(PASSES), sharey=True)
    for axes, kind in zip(panels, PASSES, strict=True):
        for place, (peer, (label, _)) in enumerate(PEERS.items()):
            first = True
            for at, host in enumerate(HOSTS):
                found = results.estimate(f"ratio_{peer}", **_where(host, kind, BATCHES[0]))
                if found is not None:
                    x = at + (place - 2.5) * 0.13
                    draw_bar(axes, x, found, f"C{place}", width=0.12, cap=2,
                             label=label if first else None)  # fmt: skip
                    first = False
        axes.axhline(MOST, color="black", linestyle="--", linewidth=0.8)
        axes.axhline(1.0, color="black", linewidth=0.8)
        axes.set_xticks(range(len(HOSTS)), HOSTS)
        axes.set(title=kind)
        axes.grid(axis="y", alpha=0.3)
    panels[0].set_ylabel("time / time of sdpa")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", fontsize=7)
    return {"overhead.png": figure}


def _headline(results: Results) -> str:
    found = results.estimate("ratio_hard")
    return f"hard / sdpa {number(found.value)}" if found else ""


def _prepare() -> None:
    require_extra("transformers", extra="transformers")


BENCHMARK = Benchmark(
    name="ecam-overhead",
    title="What a graph costs in transformers",
    description="Processor time of BERT, ViT, GPT-2 and Llama with ECAM's plug-in at "
    f"{TOKENS} tokens, as a ratio to the same model's sdpa in the same run.",
    grid=grid,
    function=run,
    findings=findings,
    figures=figures,
    headline=_headline,
    prepare=_prepare,
    replicate="repeat",
    seeds=NEEDED_SEEDS,
    jobs=1,
)
