"""The experiments on theorems 4 to 7: closed forms, gradients, and verdicts made from the data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from causal_rl.benchmarks import find_benchmark
from causal_rl.benchmarks import theorem_expressivity as expressivity
from causal_rl.benchmarks import theorem_rates as rates
from causal_rl.benchmarks import theorem_samples as samples
from causal_rl.benchmarks.results import Results
from causal_rl.benchmarks.theorem_confounded import NOISE, Confounded
from causal_rl.benchmarks.theorem_consistency import FAITHFUL, NEARLY, NOT_AT_ALL, weights_of
from causal_rl.benchmarks.theorem_objective import (
    CausalObjective,
    draw_objective,
    least_curvature,
)
from causal_rl.discovery import make_learner
from causal_rl.discovery.recovery import linear_covariance
from causal_rl.graphs import PartialGraph, h_expm

X1, X2, Y = range(3)
WORLD = Confounded(a=0.8, b=-1.0, w=1.2, s=0.9)


# -------------------------------------------------------------------- theorem 4


def test_the_answers_in_closed_form_are_those_of_the_model() -> None:
    rows = WORLD.scm.sample(40_000, 0)
    assert rows[:, X2].std() == pytest.approx(WORLD.spread, rel=0.02)
    x = np.array([-1.0, 0.3, 1.5])
    for value, told in zip(x, WORLD.regressed(x), strict=True):
        near = np.abs(rows[:, X2] - value) < 0.1
        assert rows[near, Y].mean() == pytest.approx(told, abs=0.08)
    set_rows = WORLD.scm.sample(40_000, 1, do={"X2": 1.5})
    assert set_rows[:, Y].mean() == pytest.approx(float(WORLD.intervened(x)[2]), abs=0.03)
    randomised = WORLD.randomised.sample(40_000, 2)
    assert abs(np.corrcoef(randomised[:, X1], randomised[:, X2])[0, 1]) < 0.02
    assert randomised[:, X2].std() == pytest.approx(WORLD.spread, rel=0.02)


class Exact:
    """A network that has learned the mechanisms as they are."""

    allowed = None

    def predict(self, values: torch.Tensor, graph: object) -> torch.Tensor:
        x1, x2 = values[:, X1], values[:, X2]
        outcome = WORLD.b * x1 + torch.tanh(WORLD.w * x2)
        return torch.stack([torch.zeros_like(x1), WORLD.a * x1, outcome], dim=1)


def test_propagation_through_true_mechanisms_is_the_truth_and_conditioning_is_not() -> None:
    rows = WORLD.scm.sample(2_000, 3)
    use = {"draws": len(rows)}
    noise = rows[:, Y] - WORLD.b * rows[:, X1] - np.tanh(WORLD.w * rows[:, X2])
    assert noise.std() == pytest.approx(NOISE, rel=0.1)
    for x in (-1.2, 0.4):
        found = expressivity._asked_of(
            Exact(), expressivity.METHODS[expressivity.ECAM], rows, x, use
        )  # type: ignore[arg-type]
        exact = np.tanh(WORLD.w * x) + WORLD.b * rows[:, X1].mean() + noise.mean()
        assert found == pytest.approx(float(exact), abs=1e-5)
    assert WORLD.regressed(np.array([1.0]))[0] < np.tanh(WORLD.w) - 0.3


# -------------------------------------------------------------------- theorem 5


def test_the_least_rows_of_a_learner_that_one_knows() -> None:
    calls: list[tuple[int, float]] = []

    def distance(rows: int, level: float) -> float:
        calls.append((rows, level))
        return 0.0 if rows >= 1_000 else 2.0 if rows >= 100 else 5.0

    options: dict[str, Any] = {"delta": 0.1, "n": 4, "draws": 3, "start": 16, "most": 4_096}
    strict, loose, always = samples.least_rows(distance, [1.0, 3.0, 9.0], **options)
    assert strict is not None
    assert 512 < strict <= 1_024
    assert loose is not None
    assert 64 < loose <= 128
    assert always == 16
    assert {level for _, level in calls} == {0.1 / 12}
    assert max(rows for rows, _ in calls) == 1_024  # and no further
    assert samples.least_rows(distance, [-1.0], **options) == [None]


def test_the_crossing_is_interpolated() -> None:
    draws = iter([0, 0, 9, 9, 0, 0, 0, 0])  # half of the draws at 16 rows, all of them at 32

    def distance(rows: int, level: float) -> float:
        return float(next(draws))

    (found,) = samples.least_rows(distance, [1.0], delta=0.25, n=4, draws=4, start=16, most=64)
    assert found == pytest.approx(16 * 2**0.5)


def test_marks_of_samples_follow_the_exponents() -> None:
    exponents = {"d-one": 0.4, "eps": 1.0, "delta": 1.0, "n-er, square": 2.5}
    rows = [
        {
            "seed": seed,
            "part": samples.AXES[axis].part,
            "worlds_unsolved": 0,
            f"exponent_{axis}": value + 0.01 * (seed - 4.5),
        }
        for seed in range(10)
        for axis, value in exponents.items()
    ]
    marks = {mark.claim: mark.holds for mark in samples.findings(Results(rows, [])).marks}
    assert marks["`d-one`: rows grow at least like d^2"] is False
    assert marks["`d-one`: rows of the order of d^2 suffice"] is True
    assert marks["`eps`: rows grow at least like 1 / eps"] is True
    assert marks["`eps`: rows of the order of 1 / eps suffice"] is True
    (square,) = (held for claim, held in marks.items() if "`n-er`" in claim and "n^2" in claim)
    assert square is False
    assert marks["`d-all`: rows grow at least like d^2"] is None  # nothing was measured


# -------------------------------------------------------------------- theorem 6


def small_objective() -> tuple[CausalObjective, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    use = {**rates.SETTINGS, "n": 3, "rows": 200}
    G = rng.normal(scale=0.5, size=(2, 3, 3))
    G[:, range(3), range(3)] = 0.0
    return draw_objective(use, rng), G, rng.normal(scale=0.3, size=(2, 3))


def test_gradients_of_the_objective() -> None:
    objective, G, s = small_objective()
    of_G, of_s = objective.gradient(G, s)
    rng = np.random.default_rng(1)
    step_G = rng.normal(size=G.shape)
    step_G[:, range(3), range(3)] = 0.0
    step_s = rng.normal(size=s.shape)
    h = 1e-6
    ahead, behind = (objective.value(G + k * h * step_G, s + k * h * step_s) for k in (1, -1))
    slope = (of_G * step_G).sum(axis=(1, 2)) + (of_s * step_s).sum(axis=1)
    np.testing.assert_allclose((ahead - behind) / (2 * h), slope, rtol=1e-5, atol=1e-7)
    # The batch of all rows has the gradient of all rows, and so has the mean over halves.
    everything = np.arange(200)
    halves = [objective.batch_gradient(G, s, part) for part in (everything[:100], everything[100:])]
    for k, whole in enumerate((of_G, of_s)):
        np.testing.assert_allclose(objective.batch_gradient(G, s, everything)[k], whole, atol=1e-10)
        np.testing.assert_allclose((halves[0][k] + halves[1][k]) / 2, whole, atol=1e-10)


def test_its_acyclicity_is_the_package_s_and_do_rows_are_masked() -> None:
    objective, G, s = small_objective()
    without = CausalObjective(
        objective.rows, objective.kept, sparsity=0.01, acyclicity=0.0, eps=0.01
    )
    difference = objective.value(G, s) - without.value(G, s)
    np.testing.assert_allclose(difference, [h_expm(block)[0] for block in G], atol=1e-9)
    moved = objective.rows.copy()
    set_rows = objective.kept[:, 1] == 0
    assert set_rows.any()
    moved[set_rows, 1] += 5.0
    other = CausalObjective(moved, objective.kept, sparsity=0.01, acyclicity=1.0, eps=0.01)
    only_own = np.zeros((1, 3, 3))
    only_own[0, 0, 1] = 0.7  # 1 is told from 0, and tells nothing
    calm = np.zeros((1, 3))
    np.testing.assert_allclose(other.value(only_own, calm), objective.value(only_own, calm))


def test_curvature_tells_a_minimum_from_a_hill() -> None:
    objective, G, s = small_objective()
    free = ~np.eye(3, dtype=bool)

    def split(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        whole = np.zeros((1, 3, 3))
        whole[0, free] = x[:6]
        return whole, x[None, 6:]

    def both(x: np.ndarray) -> tuple[float, np.ndarray]:
        of_G, of_s = objective.gradient(*split(x))
        return float(objective.value(*split(x))[0]), np.append(of_G[0, free], of_s[0])

    found = minimize(both, np.append(G[0, free], s[0]), jac=True, options={"gtol": 1e-8})
    at_G, at_s = split(found.x)
    assert least_curvature(objective, at_G[0], at_s[0]) > 0
    # Far from the best weights a variance too large and a weight too large excuse each other.
    bare = CausalObjective(objective.rows, objective.kept, sparsity=0.0, acyclicity=0.0, eps=0.01)
    far = np.zeros((3, 3))
    far[0, 1] = 4.0
    assert least_curvature(bare, far, np.zeros(3)) < 0


def test_the_printed_steps_and_the_kinds_of_rates() -> None:
    G = np.array([[[0.0, 0.5, -0.25], [0.05, 0.0, 0.0], [0.3, -0.4, 0.0]]])
    mended = rates._as_printed(G, 0.1)[0]
    np.testing.assert_allclose(mended[0], [0.0, 0.4 / 0.55, -0.15 / 0.55])
    np.testing.assert_allclose(mended[1], 0.0)
    assert np.abs(mended[2]).sum() == pytest.approx(1.0)
    assert set(rates.ROBBINS_MONRO) == {"power 0.6", "power 0.8", "power 1"}


def test_a_full_batch_under_a_constant_rate_comes_to_rest() -> None:
    # Without noise of batches the constant rate must reach a stationary point: what keeps it up in
    # the benchmark is the batches.
    rng = np.random.default_rng(0)
    use = {**rates.SETTINGS, "n": 3, "rows": 100, "steps": 1_024}
    objective = draw_objective(use, rng)
    objective.batch_gradient = lambda G, s, index: objective.gradient(G, s)  # type: ignore[method-assign]
    curve, _, _ = rates.descend(objective, use, rng)
    norms = [row["norm"] for row in curve if row["schedule"] == rates.CONSTANT]
    assert norms[-1] < 1e-3 * norms[0]


# -------------------------------------------------------------------- theorem 7


@pytest.mark.parametrize("seed", range(3))
def test_the_models_are_as_faithful_as_they_say(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for model in (*FAITHFUL, NEARLY):
        weights = weights_of(model, rng)
        learner = make_learner("pc")
        learner.fit_covariance(linear_covariance(weights))
        assert learner.equivalence_class_.compare(PartialGraph.cpdag(weights != 0)).shd == 0
    weights = weights_of(NOT_AT_ALL, rng)
    covariance = linear_covariance(weights)
    assert covariance[0, 2] == pytest.approx(0.0, abs=1e-12)
    assert (weights[np.triu_indices(3, 1)] != 0).all()


# -------------------------------------------------------------------- all of them


def test_full_grids_have_every_cell_once_over_ten_seeds() -> None:
    for name, size in (("theorem-4", 10), ("theorem-5", 70), ("theorem-6", 10), ("theorem-7", 80)):
        cells = find_benchmark(name).grid(10, False)
        assert len({cell.id for cell in cells}) == len(cells) == size
        assert {cell.parameters["seed"] for cell in cells} == set(range(10))
