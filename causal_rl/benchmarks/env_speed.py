"""What a step of an SCM world costs: ours beside a bare NumPy kernel and CausalPlayground.

Everything that is compared takes turns within one process, and ratios are taken there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from causal_rl.benchmarks.bare_kernels import chain_kernel, playground_chain
from causal_rl.benchmarks.cells import Cell, Outcome
from causal_rl.benchmarks.report import Findings, Mark, decide, markdown_table
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.benchmarks.statistics import interquartile_mean
from causal_rl.benchmarks.timing import call_seconds
from causal_rl.envs import SCMEnv, SCMEnvSpec, SCMVectorEnv, resolve_spec

WORLDS = ("chain-scm", "lagged-chain-scm")
MECHANISMS = ("linear", "tanh")
BATCHES, SMOKE_BATCHES = (1, 64, 1024, 16384), (1, 64)
MARK_BATCH = 1024
SIZES, SMOKE_SIZES = (8, 16, 32, 64, 128, 256, 512), (8, 16)
SIZE_BATCH = 256
N = 8
SECONDS, SMOKE_SECONDS = 0.15, 0.01
TURNS = 7


def grid(repeats: int, smoke: bool) -> list[Cell]:
    """Repeats outermost, so that a slow hour of the machine falls on all alike."""
    settings = {"n": N, "seconds": SMOKE_SECONDS if smoke else SECONDS, "turns": TURNS}
    cells = []
    for repeat in range(min(repeats, 2) if smoke else repeats):
        cells += [
            _cell("kernel", repeat, settings, world, mechanism, batch)
            for world in WORLDS
            for mechanism in MECHANISMS
            for batch in (SMOKE_BATCHES if smoke else BATCHES)
        ]
        cells.append(_cell("playground", repeat, settings, "chain-scm", "tanh", MARK_BATCH))
        cells += [
            _cell("edges", repeat, settings, "er-scm", "tanh", SIZE_BATCH, n)
            for n in (SMOKE_SIZES if smoke else SIZES)
        ]
    return cells


def _cell(
    part: str,
    repeat: int,
    settings: Mapping[str, object],
    world: str,
    mechanism: str,
    batch: int,
    n: int = N,
) -> Cell:
    return Cell(
        {
            "part": part,
            "world": world,
            "mechanism": mechanism,
            "n": n,
            "num_envs": batch,
            "repeat": repeat,
        },
        settings,
    )


def measure(cell: Cell) -> Outcome:
    """Time what the cell compares.

    Returns:
        Processor microseconds of one call of each (``vector``, ``scalar``, ``kernel``,
        ``playground``) and the ratios that the tables show.
    """
    p, seconds = cell.parameters, float(cell.settings["seconds"])
    batch, n, mechanism = int(p["num_envs"] or 0), int(p["n"] or 0), str(p["mechanism"])
    world = str(p["world"])
    if p["part"] == "edges":
        spec = resolve_spec(world, n=n, mechanism=mechanism, density=2.0)
        taken = _turns({"vector": _stepping(spec, batch)}, cell, seconds)
        edges = int(spec.scm.graph.contemporaneous.sum() + spec.scm.graph.lagged.sum())
        return Outcome({**_micro(taken), "edges": edges})
    vector = _vector(world, batch, n=n, mechanism=mechanism)
    if p["part"] == "playground":
        peers = {
            "playground": _playground(n),
            "scalar": _scalar(world, n=n, mechanism=mechanism),
            "vector": vector,
        }
        taken = _turns(peers, cell, seconds)
        return Outcome(
            {
                **_micro(taken),
                "scalar_over_playground": _ratio(taken, "playground", "scalar"),
                "vector_over_playground": batch * _ratio(taken, "playground", "vector"),
            }
        )
    lagged = world.startswith("lagged")
    calls = {"kernel": _kernel(n, batch, lagged, mechanism), "vector": vector}
    taken = _turns(calls, cell, seconds)
    return Outcome({**_micro(taken), "share_of_kernel": _ratio(taken, "kernel", "vector")})


def _turns(
    calls: Mapping[str, Callable[[], None]], cell: Cell, seconds: float
) -> dict[str, list[float]]:
    """Processor seconds of a call of each, once a turn."""
    counts = {}
    for name, call in calls.items():
        call_seconds(call, 3)  # first calls allocate
        counts[name] = max(3, round(seconds / max(call_seconds(call, 3), 1e-7)))
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(int(cell.settings["turns"])):
        for name, call in calls.items():
            taken[name].append(call_seconds(call, counts[name]))
    return taken


def _ratio(taken: Mapping[str, list[float]], over: str, under: str) -> float:
    """The median over turns of the ratio within a turn."""
    return round(float(np.median(np.array(taken[over]) / np.array(taken[under]))), 4)


def _micro(taken: Mapping[str, list[float]]) -> dict[str, float]:
    return {f"microseconds_{k}": round(float(np.median(v)) * 1e6, 3) for k, v in taken.items()}


def _actions(targets: int, batch: int) -> list[np.ndarray]:
    """Some batches of random actions, made beforehand: choosing them is not what is timed."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, [targets, 7], size=(batch, 2)) for _ in range(32)]


def _vector(world: str, batch: int, **options: Any) -> Callable[[], None]:
    return _stepping(resolve_spec(world, **options), batch)


def _stepping(spec: SCMEnvSpec, batch: int) -> Callable[[], None]:
    envs = SCMVectorEnv(spec, batch)
    envs.reset(seed=0)
    actions, at = _actions(len(envs.interventions.settable) + 1, batch), 0

    def step() -> None:
        nonlocal at
        at = (at + 1) % len(actions)
        envs.step(actions[at])

    return step


def _scalar(world: str, **options: Any) -> Callable[[], None]:
    env = SCMEnv(resolve_spec(world, **options))
    env.reset(seed=0)
    actions = [a[0] for a in _actions(len(env.interventions.settable) + 1, 1)]
    at, ended = 0, False

    def step() -> None:
        nonlocal at, ended
        if ended:
            env.reset()
        at = (at + 1) % len(actions)
        ended = env.step(actions[at])[3]

    return step


def _kernel(n: int, batch: int, lagged: bool, mechanism: str) -> Callable[[], None]:
    kernel = chain_kernel(n, batch, lagged=lagged, mechanism=mechanism)
    actions, at = [a.T.copy() for a in _actions(n, batch)], 0

    def step() -> None:
        nonlocal at
        at = (at + 1) % len(actions)
        kernel(*actions[at])

    return step


def _playground(n: int) -> Callable[[], None]:
    env = playground_chain(n)
    env.reset(seed=0)
    count, at = len(env.possible_interventions), 0

    def step() -> None:
        nonlocal at
        at = (at + 1) % count
        env.step([at])

    return step


def findings(results: Results) -> Findings:
    """The tables and the marks."""
    protocol = [
        "One process, one thread, processor time. What is compared takes turns and the ratio is "
        "taken within a turn; a cell is the median of its turns, the tables show the interquartile "
        "mean over repeats.",
        f"Kernel: a chain of {N} variables in bare NumPy (noise by `Generator.standard_normal`, "
        "mechanisms, do, costs, reward) without spaces, checks, addressed noise, info or resets. "
        "Ours is the whole `SCMVectorEnv.step`, resets every 32 steps included.",
        "CausalPlayground 0.1.2 samples the same chain anew at every step; it has no vector form.",
        f"Edges: `er-scm`, density 2, {SIZE_BATCH} envs.",
    ]
    needed = 3
    marks = []
    for world in WORLDS:
        for mechanism in MECHANISMS:
            where = {"part": "kernel", "world": world, "mechanism": mechanism}
            shares = results.values("share_of_kernel", num_envs=MARK_BATCH, **where)
            share = _middle(shares)
            marks.append(
                Mark(
                    f"{world}, {mechanism}, {MARK_BATCH} envs: at least half the speed of the bare "
                    "kernel",
                    "-" if share is None else f"{share:.2f}",
                    decide(len(shares), needed, share is not None and share >= 0.5),
                )
            )
    for metric, label, least in (
        ("scalar_over_playground", "scalar env over CausalPlayground: at least 20 x", 20.0),
        ("vector_over_playground", "vector env over CausalPlayground: at least 5,000 x", 5000.0),
    ):
        values = results.values(metric)
        ratio = _middle(values)
        marks.append(
            Mark(
                label,
                "-" if ratio is None else f"{ratio:,.0f} x",
                decide(len(values), needed, ratio is not None and ratio >= least),
            )
        )
    slope = _slope(results)
    marks.append(
        Mark(
            "cost of a step grows no faster than the number of edges (exponent at most 1.1)",
            "-" if slope is None else f"exponent {slope:.2f}",
            decide(
                len(results.select(part="edges")), len(SIZES), slope is not None and slope < 1.1
            ),
        )
    )
    return Findings(protocol, marks, [_kernel_table(results), _edge_table(results)])


def _middle(values: np.ndarray) -> float | None:
    return float(interquartile_mean(values)) if values.size else None


def _kernel_table(results: Results) -> str:
    batches = sorted({int(str(row["num_envs"])) for row in results.select(part="kernel")})
    lines: list[list[object]] = []
    for world in WORLDS:
        for mechanism in MECHANISMS:
            cells: list[object] = [f"{world}, {mechanism}"]
            for batch in batches:
                where = {"part": "kernel", "world": world, "mechanism": mechanism}
                share = _middle(results.values("share_of_kernel", num_envs=batch, **where))
                micro = _middle(results.values("microseconds_vector", num_envs=batch, **where))
                if share is None or micro is None:
                    cells.append("-")
                else:
                    cells.append(f"{share:.2f} ({batch / micro:.2f} M/s)")
            lines.append(cells)
    header = ["share of the kernel's speed (steps a second)", *(f"{b} envs" for b in batches)]
    return "## Beside the bare kernel\n\n" + markdown_table(header, lines)


def _edge_table(results: Results) -> str:
    lines: list[list[object]] = []
    for n, edges, micro in _edge_points(results):
        lines.append([n, edges, f"{micro:.0f}", f"{micro / edges:.2f}"])
    header = ["variables", "edges", "microseconds a step", "a step and edge"]
    return f"## Cost by size ({SIZE_BATCH} envs)\n\n" + markdown_table(header, lines)


def _edge_points(results: Results) -> list[tuple[int, int, float]]:
    """Variables, edges and microseconds of a step, by size."""
    points = []
    for n in sorted({int(str(row["n"])) for row in results.select(part="edges")}):
        micro = _middle(results.values("microseconds_vector", part="edges", n=n))
        edges = _middle(results.values("edges", part="edges", n=n))
        if micro is not None and edges is not None:
            points.append((n, round(edges), micro))
    return points


def _slope(results: Results) -> float | None:
    """Least-squares slope of log microseconds on log edges, over the larger half of the sizes."""
    points = _edge_points(results)
    points = points[len(points) // 2 :]
    if len(points) < 2:
        return None
    edges, micro = np.log([p[1] for p in points]), np.log([p[2] for p in points])
    return float(np.polyfit(edges, micro, 1)[0])


def figures(results: Results) -> Mapping[str, Figure]:
    """Steps a second by batch, beside the kernel; microseconds by edges."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for world, style in zip(WORLDS, ("o-", "s-"), strict=True):
        for name, colour in (("kernel", "0.6"), ("vector", "#1b6ca8")):
            points = []
            where = {"part": "kernel", "world": world, "mechanism": "tanh"}
            for batch in sorted({int(str(r["num_envs"])) for r in results.select(**where)}):
                micro = _middle(results.values(f"microseconds_{name}", num_envs=batch, **where))
                if micro is not None:
                    points.append((batch, batch / micro))
            label = f"{world}, {'bare kernel' if name == 'kernel' else 'SCMVectorEnv'}"
            left.plot(*zip(*points, strict=True), style, color=colour, label=label, markersize=4)
    left.set(xscale="log", yscale="log", xlabel="envs", ylabel="million steps a second")
    left.legend(fontsize=7)
    sizes = _edge_points(results)
    right.plot([p[1] for p in sizes], [p[2] for p in sizes], "o-", markersize=4)
    right.set(xscale="log", yscale="log", xlabel="edges", ylabel="microseconds a step")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    return {"speed.png": figure}


def _headline(results: Results) -> str:
    share = _middle(results.values("share_of_kernel", part="kernel", num_envs=MARK_BATCH))
    ratio = _middle(results.values("scalar_over_playground"))
    if share is None or ratio is None:
        return ""
    return f"{share:.2f} of a bare kernel; scalar env {ratio:.0f} x CausalPlayground"


BENCHMARK = Benchmark(
    name="env-speed",
    title="The speed of SCM worlds",
    description="Processor time of a step of our environments beside a bare NumPy kernel that does "
    "the same arithmetic, and beside CausalPlayground.",
    grid=grid,
    function=measure,
    findings=findings,
    figures=figures,
    headline=_headline,
    replicate="repeat",
    seeds=5,
    jobs=1,
)
