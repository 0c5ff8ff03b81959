"""What the benchmarks of agents say about given figures, and that one run may stand for several."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from causal_rl.agents import ActorCritic, TrainConfig
from causal_rl.benchmarks import Results, agents, counterfactual_data, encoders
from causal_rl.benchmarks.agents_scores import curve_iqm, learning_curves
from causal_rl.benchmarks.statistics import Estimate
from causal_rl.envs import resolve_spec
from causal_rl.graphs import CausalGraph

RETURNS = {"planner": 0.95, "ecam": 0.9, "attention": 0.7, "mlp": 0.98}


def agent_results(seeds: int = 10) -> Results:
    rows, curves = [], []
    for seed in range(seeds):
        for world in ("chain-scm", "proxy-chain-scm"):
            for method, mean in RETURNS.items():
                place = {"cell": f"{world}{method}{seed}", "world": world, "method": method}
                place |= {"seed": seed}
                score = mean + 0.001 * seed - 0.1 * (world == "chain-scm")
                figures = {"return_normalised": score, "normalised_mechanism": score / 2}
                if world == "proxy-chain-scm":
                    figures["normalised_flip"] = score if method != "attention" else -score
                book = {"return_random": -40.0, "return_noop": -37.0, "return_oracle": -14.0}
                rows.append({**place, **figures, **book, "env_steps": 24_000, "cpu_seconds": 9.0})
                curves += [
                    {**place, "env_steps": step, "normalised": score * share}
                    for step, share in ((1_000, 0.1), (6_000 + 100 * seed, 0.9), (24_000, 1.0))
                ]
    return Results(rows, curves)


def test_agents_report_names_who_is_best_and_where_a_graph_does_not_pay() -> None:
    text = "\n".join(agents.findings(agent_results()).sections)
    assert "- chain-scm: mlp, which reads no graph, 0.030 above planner." in text
    assert "| attention | 1 [1, 1] |" in text  # ecam beats it in every pair
    assert "| mlp | 0 [0, 0] |" in text
    assert "(-40)" in text
    paired = next(line for line in text.splitlines() if line.startswith("| ecam - attention"))
    # .2 everywhere as trained; .9045 + .7045 under flip, in the one world that has it.
    assert "0.200 [0.200, 0.200]" in paired
    assert "1.609 [" in paired
    assert "nan" not in text


def test_curves_meet_on_the_steps_of_the_first_run() -> None:
    steps, tasks = learning_curves(agent_results(), "ecam")
    assert steps == [1_000, 6_000, 24_000]
    assert [task.shape for task in tasks] == [(10, 3), (10, 3)]
    late = tasks[0][9]  # its second evaluation was at 6,900 steps
    assert late[0] < late[1] < 0.9 * late[2]
    assert curve_iqm(tasks)[2] == pytest.approx(0.8545, abs=1e-6)


def test_agents_report_of_nothing_yet() -> None:
    empty = Results([], [])
    assert agents.findings(empty).protocol
    assert encoders.findings(empty).protocol
    assert all(mark.holds is None for mark in encoders.findings(empty).marks)


def encoder_results(noise_gain: float = 0.0, seeds: int = 10) -> Results:
    rows = []
    for cell in encoders.grid(seeds, smoke=False):
        encoder, graph, seed = (cell.parameters[key] for key in ("encoder", "graph", "seed"))
        reads = encoder in encoders.BLIND and graph in ("learned", "oracle")
        jitter = 0.001 * (int(seed) % 3)
        figures = {
            "normalised_train": 0.9 + jitter,
            "normalised_flip": 0.9 + jitter if reads else -0.5,
            "normalised_noise": 0.8 + jitter + noise_gain * reads,
            "normalised_mechanism": 0.7 - 0.3 * (graph == "empty"),
        }
        rows.append({**cell.parameters, **figures, "env_steps": 24_000, "cpu_seconds": 9.0})
    return Results(rows, [])


def test_encoders_report_says_where_nothing_is_gained() -> None:
    found = encoders.findings(encoder_results())
    assert all(mark.holds for mark in found.marks)
    text = "\n".join(found.sections)
    assert "- **as trained nothing is gained by any graph**" in text
    assert "- **under noise nothing is gained by any graph**" in text
    assert "lost: ecam/empty, masked-mlp/empty" in text
    assert "- under flip: gained: ecam/learned, ecam/oracle, masked-mlp/learned" in text
    table = text.split("## Under flip")[1].split("##")[0]
    # No run is shown twice: what stands for another is named.
    assert "| mlp | the same | the same | -0.500 [-0.500, -0.500] | the same |" in table
    assert "as mlp" in next(line for line in table.splitlines() if "masked-mlp" in line)
    gained = "\n".join(encoders.findings(encoder_results(noise_gain=0.1)).sections)
    assert "- under noise: " in gained
    short = encoders.findings(encoder_results(seeds=9))
    assert all(mark.holds is None for mark in short.marks)


def counterfactual_results(worth: float, seeds: int = 10) -> Results:
    rows = []
    for cell in counterfactual_data.grid(seeds, smoke=False):
        seed = int(cell.parameters["seed"])
        score = 0.7 + 0.01 * seed  # seeds differ by more than methods: only pairs tell
        score += worth if cell.parameters["method"] == counterfactual_data.OURS else 0.0
        figures = {"return_normalised": score, "curve_mean": score - 0.1, "env_steps": 12_000}
        rows.append({**cell.parameters, **figures})
    return Results(rows, [])


def test_counterfactual_marks_are_of_pairs_and_can_fall_short() -> None:
    better = counterfactual_data.findings(counterfactual_results(0.004))
    assert [mark.holds for mark in better.marks] == [True] * 4
    assert "0.004" in better.marks[0].measured
    assert "| none, at the end | 0.004 [" in "\n".join(better.sections)
    same = counterfactual_data.findings(counterfactual_results(0.0))
    assert [mark.holds for mark in same.marks] == [False] * 4
    few = counterfactual_data.findings(counterfactual_results(0.004, seeds=9))
    assert [mark.holds for mark in few.marks] == [None] * 4
    assert all(m.holds is None for m in counterfactual_data.findings(Results([], [])).marks)


def test_counterfactual_methods_make_as_many_gradient_steps() -> None:
    default, options = TrainConfig(), counterfactual_data.METHODS
    passes = options[counterfactual_data.PASSES]["epochs"]
    for method in (counterfactual_data.OURS, counterfactual_data.FRESH):
        assert default.epochs * (1 + options[method]["counterfactuals"]) == passes


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [
        (0.5, 0.4, 0.6, "gained"), (-0.5, -0.6, -0.4, "lost"), (0.0, -0.01, 0.01, "nothing"),
        (0.01, 0.005, 0.015, "nothing to speak of"), (0.1, -0.2, 0.4, "cannot be told"),
    ],
)  # fmt: skip
def test_verdicts(value: float, low: float, high: float, said: str) -> None:
    assert encoders.verdict(Estimate(value, low, high, 10)) == said


def test_one_run_may_stand_for_several_places() -> None:
    """All that a run knows of its graph goes through ``set_graph``, which changes nothing here."""
    spec = resolve_spec(encoders.ENV)
    names, kinds = list(spec.observed_names), list(spec.observed_kinds)
    graphs = {
        "oracle": spec.causal_graph,
        "full": CausalGraph.full([*names, "reward"], [*kinds, "reward"]),
        "empty": CausalGraph.empty([*names, "reward"], [*kinds, "reward"]),
    }
    observation = torch.tensor(np.random.default_rng(0).normal(size=(32, len(names)))).float()

    def outputs(encoder: str, graph: str) -> torch.Tensor:
        torch.manual_seed(0)
        policy = ActorCritic(len(names), 4, 3, TrainConfig(encoder=encoder))
        policy.set_graph(graphs[graph], names)
        logits, value = policy(observation)
        return torch.cat([logits.nan_to_num(neginf=-9.0), value[:, None]], dim=1)

    for (encoder, graph), stands in encoders.SAME_RUN.items():
        if graph in graphs:
            torch.testing.assert_close(
                outputs(encoder, graph), outputs(*stands), rtol=0.0, atol=0.0
            )
    for encoder in encoders.BLIND:  # and these are runs of their own
        assert not torch.equal(outputs(encoder, "oracle"), outputs(encoder, "full"))
        assert not torch.equal(outputs(encoder, "oracle"), outputs(encoder, "empty"))
    assert not torch.equal(outputs("ecam", "full"), outputs("attention", "full"))
