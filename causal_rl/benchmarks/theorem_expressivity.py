"""Theorem 4: E[Y | do(X2)] from attention under the mutilated graph, against regressions on X2.

The world is the theorem's own, X1 -> X2 -> Y and X1 -> Y. What regression on X2 gives in the limit
is known in closed form, and so is its distance from the truth: the error floor. The theorem says
more, that no standard transformer comes nearer than the floor; two controls could refute that.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from causal_rl.benchmarks.cells import Cell, Outcome, Row
from causal_rl.benchmarks.report import Findings, Mark, decide, markdown_table
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.benchmarks.statistics import Estimate
from causal_rl.benchmarks.theorem_confounded import Confounded
from causal_rl.benchmarks.theorem_curves import along, draw, places, shortly, told
from causal_rl.graphs import topological_order

if TYPE_CHECKING:
    from causal_rl.discovery.masked_predictor import MaskedPredictor

Array = NDArray[np.float64]

NEEDED_SEEDS = 10
ROWS = (100, 1_000, 10_000)
SETTINGS: Mapping[str, Any] = {
    "steps": 300, "batch": 128, "learning_rate": 0.02, "embed_dim": 16, "num_layers": 1,
    "num_heads": 2, "held_out": 0.2, "draws": 1_000,
}  # fmt: skip
SMOKE: Mapping[str, Any] = {**SETTINGS, "steps": 20, "draws": 100}
#: Values of X2 at which the answers are compared, in its standard deviations.
GRID = np.linspace(-1.5, 1.5, 31)
X1, X2, Y = range(3)


def _edges(*edges: tuple[int, int]) -> NDArray[np.bool_]:
    graph = np.zeros((3, 3), dtype=bool)
    for edge in edges:
        graph[edge] = True
    return graph


@dataclass(frozen=True)
class Method:
    """How the question is answered.

    Attributes:
        told: in the report.
        graph: (3, 3) what the attention of each variable may see; None for no network.
        answer: "propagate" through the mutilated graph, "average" over the rows' X1, or "ask".
        interventions: whether it learns from rows in which X2 was set at random.
    """

    told: str
    graph: NDArray[np.bool_] | None
    answer: str = "ask"
    interventions: bool = False


ECAM, REGRESSION, ATTENTION = "ecam", "regression", "attention"
ADJUSTED, ON_DO, WRONG = "attention-adjusted", "attention-do-data", "ecam-wrong-graph"
METHODS: Mapping[str, Method] = {
    ECAM: Method(
        "attention under the true graph; X2 set, its parents cut, the rest propagated",
        _edges((X1, X2), (X1, Y), (X2, Y)),
        "propagate",
    ),
    REGRESSION: Method("a polynomial of degree 5 in X2", None),
    ATTENTION: Method("plain attention that is given X2", _edges((X2, Y))),
    WRONG: Method("as ecam, under a graph without X1 -> Y", _edges((X1, X2), (X2, Y)), "propagate"),
    ADJUSTED: Method(
        "plain attention in which everything sees everything; its answer is averaged over the "
        "rows' X1",
        ~np.eye(3, dtype=bool),
        "average",
    ),
    ON_DO: Method(
        "plain attention that is given X2, on rows in which X2 was set at random",
        _edges((X2, Y)),
        interventions=True,
    ),
}
#: To which the theorem denies what it grants to ecam.
DENIED = (ADJUSTED, ON_DO)


def grid(seeds: int, smoke: bool) -> list[Cell]:
    """A cell is a world: all methods, at every number of rows."""
    settings = {**(SMOKE if smoke else SETTINGS), "rows": list(ROWS[:2] if smoke else ROWS)}
    return [Cell({"seed": seed}, settings) for seed in range(min(seeds, 1) if smoke else seeds)]


def run(cell: Cell) -> Outcome:
    """Every method at every number of rows; a small sample is the beginning of the large one."""
    seed, use = int(cell.parameters["seed"] or 0), cell.settings
    rng = np.random.default_rng([4, seed])
    world = Confounded.draw(rng)
    samples = [model.sample(max(use["rows"]), rng) for model in (world.scm, world.randomised)]
    asked = GRID * world.spread
    truth = world.intervened(asked)
    floor = np.abs(world.regressed(asked) - truth)
    figures: Row = {"floor": float(floor.max())}
    curve: list[Row] = []
    for name, method in METHODS.items():
        errors = []
        for rows in use["rows"]:
            data = samples[int(method.interventions)][:rows]
            error = np.abs(_answer(method, data, asked, seed, use) - truth)
            errors.append(float(error.max()))
            curve.append(
                {
                    "method": name,
                    "rows": rows,
                    "error": errors[-1],
                    "of_floor": errors[-1] / float(floor.max()),
                    "rms": float(np.sqrt(np.mean(error**2))),
                }
            )
        figures[f"error_{name}"] = errors[-1]
        figures[f"of_floor_{name}"] = errors[-1] / float(floor.max())
        figures[f"slope_{name}"] = float(np.polyfit(np.log(use["rows"]), np.log(errors), 1)[0])
    return Outcome(figures, curve)


def _answer(method: Method, data: Array, asked: Array, seed: int, use: Mapping[str, Any]) -> Array:
    """(31,) what a method says of E[Y | do(X2)]."""
    if method.graph is None:
        found = np.polynomial.Polynomial.fit(data[:, X2], data[:, Y], 5)
        return np.asarray(found(asked))
    centre, scale = data.mean(axis=0), data.std(axis=0)
    rows = (data - centre) / scale
    network = fit(method.graph, rows, seed=seed, use=use)
    answers: Array = np.array(
        [_asked_of(network, method, rows, float(x), use) for x in (asked - centre[X2]) / scale[X2]]
    )
    return np.asarray(answers * scale[Y] + centre[Y])


def fit(
    graph: NDArray[np.bool_], rows: Array, *, seed: int, use: Mapping[str, Any]
) -> MaskedPredictor:
    """Train the encoder to predict every variable from those that its graph shows it.

    Args:
        graph: (n, n).
        rows: (N, n) standardised; the last share ``held_out`` of them chooses when to stop.
        seed: of weights and batches.
        use: see `SETTINGS`.
    """
    import torch

    from causal_rl.discovery.masked_predictor import MaskedPredictor

    generator = torch.Generator().manual_seed(seed)
    network = MaskedPredictor(
        torch.from_numpy(graph),
        gated=False,
        embed_dim=use["embed_dim"],
        num_layers=use["num_layers"],
        num_heads=use["num_heads"],
        generator=generator,
    )
    columns = torch.from_numpy(rows.astype(np.float32))
    kept = round(len(rows) * (1 - use["held_out"]))
    learn, held = columns[:kept], columns[kept:]
    optimiser = torch.optim.Adam(network.parameters(), lr=use["learning_rate"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, use["steps"])
    best, state = math.inf, copy.deepcopy(network.state_dict())
    for step in range(1, use["steps"] + 1):
        batch = learn[torch.randint(kept, (use["batch"],), generator=generator)]
        loss = network.negative_log_likelihood(batch, network.allowed, torch.ones_like(batch))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if step % 20 == 0:
            with torch.no_grad():
                error = float(((network.predict(held, network.allowed) - held) ** 2).sum())
            if error < best:
                best, state = error, copy.deepcopy(network.state_dict())
    network.load_state_dict(state)
    return network


def _asked_of(
    network: MaskedPredictor, method: Method, rows: Array, x: float, use: Mapping[str, Any]
) -> float:
    """The mean of Y, all in standardised units; the network's rows stand for the population."""
    import torch

    def predict(values: Array) -> Array:
        with torch.no_grad():
            told = network.predict(torch.from_numpy(values.astype(np.float32)), network.allowed)
        return told.double().numpy()

    values = rows[: use["draws"]].copy()
    if method.answer == "propagate" and method.graph is not None:
        # Abduct the noise of every row, set X2, predict anew: X1 keeps its value, Y gets another.
        noise = values - predict(values)
        cut = method.graph.copy()
        cut[:, X2] = False
        for j in topological_order(cut):
            if j == X2:
                values[:, j] = x
            else:
                values[:, j] = predict(values)[:, j] + noise[:, j]
        return float(values[:, Y].mean())
    values[:, X2] = x
    return float(predict(values)[:, Y].mean())


def findings(results: Results) -> Findings:
    """What holds of the theorem, what does not, and every method's distance from the truth."""
    protocol = [
        "X1 -> X2 -> Y and X1 -> Y: X2 = a X1 + noise, Y = b X1 + tanh(w X2) + noise, all "
        "Gaussian; seed k draws a, b, w and the noise of X2. E[Y | do(X2 = x)] = tanh(w x) and "
        "E[Y | X2 = x] = tanh(w x) + b a x / (a2 + s2) in closed form. An error is the largest "
        f"distance from the former among {GRID.size} values within {GRID[-1]:g} standard "
        "deviations of X2; the floor is that of the latter, which is what the best regression on "
        "X2 has with any number of rows.",
        *(f"`{name}`: {method.told}." for name, method in METHODS.items()),
        "All networks are one class, the encoder as a masked predictor, trained alike "
        f"({SETTINGS['steps']} steps of {SETTINGS['batch']} rows, a fifth of the rows held out); "
        "they differ in the graph that their attention is under and in the rows.",
    ]
    return Findings(protocol, _marks(results), [_table(results)])


def _marks(results: Results) -> list[Mark]:
    shares = {name: results.estimate(f"of_floor_{name}") for name in METHODS}
    count = results.values(f"of_floor_{ECAM}").size
    values = results.values(f"of_floor_{ECAM}")
    slope = results.estimate(f"slope_{ECAM}")
    at_the_floor = [
        Mark(
            f"with {ROWS[-1]:,} rows `{name}` is at the floor still: .9 of it or more",
            str(shares[name] or "-"),
            decide(count, NEEDED_SEEDS, _stays(shares[name])),
        )
        for name in (REGRESSION, ATTENTION, WRONG)
    ]
    return [
        Mark(
            f"the error of `{ECAM}` falls with the rows: its slope in log-log is below 0",
            str(slope or "-"),
            decide(count, NEEDED_SEEDS, slope is not None and slope.high < 0),
        ),
        Mark(
            f"with {ROWS[-1]:,} rows `{ECAM}` is below a quarter of the floor in every world",
            f"{int((values < 0.25).sum())} of {count}; mean {shares[ECAM] or '-'}",
            decide(count, NEEDED_SEEDS, bool(count and (values < 0.25).all())),
        ),
        *at_the_floor,
        Mark(
            "the theorem's claim on classes of functions: no standard transformer comes nearer "
            "than the floor",
            told({name: shares[name] for name in DENIED}),
            decide(count, NEEDED_SEEDS, all(_stays(shares[name]) for name in DENIED)),
        ),
    ]


def _stays(share: Estimate | None) -> bool:
    return share is not None and share.low >= 0.9


def _table(results: Results) -> str:
    sizes = places(results, "rows")
    lines: list[list[object]] = [
        [
            name,
            *(along(results, "of_floor", method=name, rows=rows) or "-" for rows in sizes),
            results.estimate(f"slope_{name}") or "-",
        ]
        for name in METHODS
    ]
    header = ["method", *(f"{rows:,} rows" for rows in sizes), "slope of the error"]
    return "## Largest error, as a share of the floor\n\n" + markdown_table(header, lines)


def figures(results: Results) -> Mapping[str, Figure]:
    """Error over rows, as a share of the floor."""
    figure = Figure(figsize=(8.5, 4.6), layout="constrained")
    axes = figure.subplots()
    for index, name in enumerate(METHODS):
        points = [
            (rows, along(results, "of_floor", method=name, rows=rows))
            for rows in places(results, "rows")
        ]
        style = "--" if name in DENIED else "-"
        draw(axes, points, colour=f"C{index}", label=name, style=style)
    axes.axhline(1.0, color="black", linewidth=1, linestyle=":", label="floor: E[Y | X2]")
    axes.set(
        xscale="log", yscale="log", xlabel="rows", title="E[Y | do(X2)], X2 and Y confounded by X1",
        ylabel="largest error, share of the floor",
    )  # fmt: skip
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return {"error.png": figure}


def _headline(results: Results) -> str:
    names = (ECAM, REGRESSION, ADJUSTED)
    found = {name: results.estimate(f"of_floor_{name}") for name in names}
    return f"share of the floor: {shortly(found)}"


BENCHMARK = Benchmark(
    name="theorem-4",
    title="Theorem 4: what regression cannot say and a mutilated graph can",
    description="Error of E[Y | do(X2)] under confounding by attention under the mutilated true "
    "graph, by regressions on X2, and by plain attention that the theorem says cannot do it.",
    grid=grid,
    function=run,
    findings=findings,
    figures=figures,
    headline=_headline,
)
