"""Theorem 6: do gradients of the causal objective vanish under Robbins-Monro rates, and only there?

Stochastic gradient descent on {theta, G} of Algorithm 5's objective: the do-masked Gaussian
likelihood of a linear model, theta its noise variances, G its weights, plus lambda |G|_1 + mu h(G)
(`theorem_objective`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from causal_rl.benchmarks.cells import Cell, Outcome, Row
from causal_rl.benchmarks.report import Findings, Mark, decide, markdown_table
from causal_rl.benchmarks.results import Benchmark, Results
from causal_rl.benchmarks.statistics import Estimate, number
from causal_rl.benchmarks.theorem_curves import along, draw, exponential, places, shortly, told
from causal_rl.benchmarks.theorem_objective import CausalObjective, draw_objective, least_curvature

Array = NDArray[np.float64]

NEEDED_SEEDS = 10
SETTINGS: Mapping[str, Any] = {
    "n": 5, "density": 1.0, "rows": 1_000, "batch": 16, "steps": 2**15, "first_rate": 0.05,
    "delay": 100, "sparsity": 0.01, "acyclicity": 1.0, "eps": 0.01, "every": 10, "threshold": 0.1,
}  # fmt: skip
SMOKE: Mapping[str, Any] = {**SETTINGS, "rows": 200, "steps": 2**8}


@dataclass(frozen=True)
class Schedule:
    """The rate of step t is ``first (1 + t / delay) ** -power``.

    Attributes:
        told: in the report.
        power: .5 < power <= 1 are the rates of Robbins and Monro.
        printed: whether G is thresholded and its rows normalised every so often, as Algorithm 1 has
            it.
    """

    told: str
    power: float
    printed: bool = False

    @property
    def robbins_monro(self) -> bool:
        """Whether the rates sum to infinity and their squares do not."""
        return 0.5 < self.power <= 1.0


SCHEDULES: Mapping[str, Schedule] = {
    "constant": Schedule("constant: the squares sum to infinity", 0.0),
    "power 0.3": Schedule("falling, but the squares sum to infinity", 0.3),
    "power 0.6": Schedule("Robbins-Monro", 0.6),
    "power 0.8": Schedule("Robbins-Monro", 0.8),
    "power 1": Schedule("Robbins-Monro, the fastest", 1.0),
    "power 2": Schedule("too fast: the rates have a finite sum", 2.0),
    "power 3": Schedule("too fast", 3.0),
    "power 0.8, as printed": Schedule("Robbins-Monro, with Algorithm 1's other steps", 0.8, True),
}
CONSTANT, PRINTED = "constant", "power 0.8, as printed"
FAST = ("power 2", "power 3")
ROBBINS_MONRO = tuple(
    name for name, rate in SCHEDULES.items() if rate.robbins_monro and not rate.printed
)


def descend(
    objective: CausalObjective, use: Mapping[str, Any], rng: np.random.Generator
) -> tuple[list[Row], Array, Array]:
    """All schedules side by side on the same batches, from the same start.

    Returns:
        Rows "schedule", "steps", "norm" (of the gradient over all rows), its logarithm, and that
        of the least so far ("log_least"), sixteen a doubling; and the last G (S, n, n), s (S, n).
    """
    n, steps = int(use["n"]), int(use["steps"])
    count = len(SCHEDULES)
    G = np.repeat(rng.normal(scale=0.1, size=(1, n, n)), count, axis=0)
    G[:, np.arange(n), np.arange(n)] = 0.0
    s = np.zeros((count, n))
    powers = np.array([rate.power for rate in SCHEDULES.values()])
    printed = np.array([rate.printed for rate in SCHEDULES.values()])
    least = np.full(count, np.inf)
    curve: list[Row] = []
    looks = _looks(steps)
    for t in range(steps + 1):
        if t in looks:
            norm = _norm(*objective.gradient(G, s))
            least = np.minimum(least, norm)
            curve += [
                {
                    "schedule": name,
                    "steps": t,
                    "norm": float(a),
                    "log_norm": float(np.log(a)),
                    "log_least": float(np.log(b)),
                }
                for name, a, b in zip(SCHEDULES, norm, least, strict=True)
            ]
        rate = use["first_rate"] * (1.0 + t / use["delay"]) ** -powers
        index = rng.integers(0, len(objective.rows), use["batch"])
        of_G, of_s = objective.batch_gradient(G, s, index)
        G -= rate[:, None, None] * of_G
        s -= rate[:, None] * of_s
        if (t + 1) % use["every"] == 0:
            G[printed] = _as_printed(G[printed], use["threshold"])
    return curve, G, s


def _looks(steps: int) -> set[int]:
    """Sixteen a doubling: a norm is noisy, and so is the one step at which it is taken."""
    count = round(16 * np.log2(steps))
    return {0} | {round(2 ** (k / 16)) for k in range(count + 1)}


def _as_printed(G: Array, threshold: float) -> Array:
    """Soft threshold, then rows that add up to 1 (mended: of absolute values)."""
    shrunk = np.sign(G) * np.maximum(np.abs(G) - threshold, 0.0)
    total = np.abs(shrunk).sum(axis=-1, keepdims=True)
    return np.asarray(np.divide(shrunk, total, out=np.zeros_like(shrunk), where=total > 0))


def _norm(of_G: Array, of_s: Array) -> Array:
    return np.asarray(np.sqrt((of_G**2).sum(axis=(1, 2)) + (of_s**2).sum(axis=1)))


def grid(seeds: int, smoke: bool) -> list[Cell]:
    """A cell is a world and a start: all schedules on the same batches."""
    settings = dict(SMOKE if smoke else SETTINGS)
    return [Cell({"seed": seed}, settings) for seed in range(min(seeds, 1) if smoke else seeds)]


def run(cell: Cell) -> Outcome:
    """Norms over the steps, their slope over the last six doublings, and the end."""
    use, seed = cell.settings, int(cell.parameters["seed"] or 0)
    rng = np.random.default_rng([6, seed])
    objective = draw_objective(use, rng)
    curve, G, s = descend(objective, use, rng)
    figures: Row = {}
    value = objective.value(G, s)
    for k, name in enumerate(SCHEDULES):
        rows = [row for row in curve if row["schedule"] == name]
        t = np.array([float(row["steps"] or 0) for row in rows])
        norm = np.array([float(row["norm"] or 0.0) for row in rows])
        late = t >= use["steps"] / 64
        slope = np.polyfit(np.log(t[late]), np.log(norm[late]), 1)[0]
        last = t >= use["steps"] / 2
        figures |= {
            f"slope_{name}": float(slope),
            f"norm_{name}": float(np.sqrt(np.mean(norm[last] ** 2))),
            f"share_{name}": float(np.sqrt(np.mean(norm[last] ** 2)) / norm[0]),
            f"value_{name}": float(value[k]),
            f"curvature_{name}": least_curvature(objective, G[k], s[k]),
        }
    return Outcome(figures, curve)


def findings(results: Results) -> Findings:
    """The marks, and how each schedule ends."""
    protocol = [
        f"A random linear Gaussian model of {SETTINGS['n']} variables a seed, {SETTINGS['rows']:,} "
        "rows, in each of which one variable was set at random or none; a set variable has no term "
        "of its own. The objective is mean negative log-likelihood + lambda |G|_1 + mu h(G), "
        "lambda "
        f"{SETTINGS['sparsity']:g}, mu {SETTINGS['acyclicity']:g}, h = tr exp(G*G) - n, with |G| "
        f"rounded within {SETTINGS['eps']:g} of zero, over G and the noise variances.",
        f"{SETTINGS['steps']:,} steps on batches of {SETTINGS['batch']} rows. The rate of step t "
        "is "
        f"{SETTINGS['first_rate']:g} (1 + t / {SETTINGS['delay']}) to the power of minus p. All "
        "schedules have the same start and batches. Norms are of the gradient over all rows.",
        "Slope: of the norm on the steps in log-log, over the last six doublings; of a stochastic "
        "descent it is -p / 2. The end: root mean square of the norms of the last half. Curvature: "
        "the least eigenvalue of the Hessian where it ended; below 0 there is a way down.",
        f"`{PRINTED}`: every {SETTINGS['every']} steps G is thresholded at "
        f"{SETTINGS['threshold']:g} and its rows divided by their sums, as lines 34 and 35 of "
        "Algorithm 1 have it (with signs kept).",
    ]
    return Findings(protocol, _marks(results), [_table(results)])


def _each(results: Results, figure: str, names: tuple[str, ...]) -> dict[str, Estimate]:
    found = {name: results.estimate(f"{figure}_{name}") for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _marks(results: Results) -> list[Mark]:
    count = results.values(f"slope_{CONSTANT}").size
    vanish = _each(results, "slope", ROBBINS_MONRO)
    curvature = [results.values(f"curvature_{name}") for name in ROBBINS_MONRO]
    bent = min((float(v.min()) for v in curvature if v.size), default=0.0)
    stay = _each(results, "slope", (CONSTANT,))
    stuck = _each(results, "slope", FAST)
    printed = _each(results, "slope", (PRINTED,))
    return [
        Mark(
            "Robbins-Monro rates: the norm falls as a power of the steps, slope below -.1",
            told(vanish),
            decide(
                count, NEEDED_SEEDS, bool(vanish) and all(e.high < -0.1 for e in vanish.values())
            ),
        ),
        Mark(
            "Robbins-Monro rates: no world ends at a saddle",
            f"least curvature {number(bent)}",
            decide(count, NEEDED_SEEDS, bent > 0.0),
        ),
        Mark(
            "a constant rate: the norm does not fall, slope above -.1",
            told(stay),
            decide(count, NEEDED_SEEDS, all(e.low > -0.1 for e in stay.values())),
        ),
        Mark(
            "rates that fall too fast: the norm does not fall, slope above -.1",
            told(stuck),
            decide(count, NEEDED_SEEDS, all(e.low > -0.1 for e in stuck.values())),
        ),
        Mark(
            "Algorithm 1 as printed, of which the theorem speaks: the norm falls, slope below -.1",
            told(printed),
            decide(count, NEEDED_SEEDS, all(e.high < -0.1 for e in printed.values())),
        ),
    ]


def _table(results: Results) -> str:
    lines: list[list[object]] = []
    for name, schedule in SCHEDULES.items():
        curvature = results.values(f"curvature_{name}")
        lines.append(
            [
                f"{name} ({schedule.told})",
                *(results.estimate(f"{key}_{name}") or "-" for key in ("slope", "norm", "share")),
                number(float(curvature.min())) if curvature.size else "-",
                results.estimate(f"value_{name}") or "-",
            ]
        )
    header = [
        "rate", "slope", "norm at the end", "as a share of the first", "least curvature",
        "objective",
    ]  # fmt: skip
    return "## How each schedule ends\n\n" + markdown_table(header, lines)


def figures(results: Results) -> Mapping[str, Figure]:
    """Norm of the gradient, and the least so far, over the steps; geometric means over worlds."""
    figure = Figure(figsize=(12, 4.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    steps = [t for t in places(results, "steps") if t > 0]
    for axes, metric in zip(panels, ("norm", "least"), strict=True):
        for index, name in enumerate(SCHEDULES):
            points = [
                (t, exponential(along(results, f"log_{metric}", schedule=name, steps=t)))
                for t in steps
            ]
            style = "-" if name in ROBBINS_MONRO else "--"
            draw(axes, points, colour=f"C{index}", label=f"p: {name}", style=style)
        axes.set(xscale="log", yscale="log", xlabel="steps")
        axes.grid(alpha=0.3, which="both")
    panels[0].set(ylabel="norm of the gradient over all rows", title="at the step")
    panels[1].set_title("least so far")
    if panels[1].lines:
        panels[1].legend(fontsize=8)
    return {"gradients.png": figure}


def _headline(results: Results) -> str:
    return f"slopes of the gradient: {shortly(_each(results, 'slope', (*ROBBINS_MONRO, CONSTANT)))}"


BENCHMARK = Benchmark(
    name="theorem-6",
    title="Theorem 6: gradients of the causal objective under learning rates",
    description="Norm of the gradient of the do-masked likelihood with sparsity and acyclicity "
    "over the steps of stochastic descent, under rates that meet the theorem's conditions and "
    "others.",
    grid=grid,
    function=run,
    findings=findings,
    figures=figures,
    headline=_headline,
)
