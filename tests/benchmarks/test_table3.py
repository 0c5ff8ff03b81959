"""Table 3: its grid, what its rows are, and what it says about made-up figures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from causal_rl.benchmarks import table3_effects, table3_graphs, table3_stories, table3_text
from causal_rl.benchmarks.cells import Row, check_grid
from causal_rl.benchmarks.results import Results
from causal_rl.benchmarks.table3 import BENCHMARK
from causal_rl.benchmarks.table3_rows import (
    CLUTRR,
    COLUMNS,
    CORRELATION,
    FULL,
    GENERALISED,
    KERNEL,
    LOG,
    MEANINGS,
    MULTI_LEVEL,
    NO_GRAPH,
    NO_INTERVENTION,
    PAPER_ROWS,
    PEHE,
    ROWS,
    SCALE,
    SHD,
    TIME_VARYING,
    behind,
    measured,
)
from causal_rl.datasets.clutrr import CLUTRR_RELATIONS
from causal_rl.discovery import Transitions, make_learner
from causal_rl.downstream.pair_composer import PairComposer
from causal_rl.downstream.stories import StoryTraining, story_accuracy, train_on_stories
from causal_rl.graphs import CausalGraph


def test_every_row_of_the_paper_has_a_meaning_in_every_column() -> None:
    for column in COLUMNS:
        assert set(MEANINGS[column]) == set(ROWS) >= set(PAPER_ROWS)
        for row in ROWS:
            source = behind(column, row)
            assert source is None or MEANINGS[column][source].kind == "run"
            assert len(MEANINGS[column][row].text) > 10


def test_the_grid_has_what_is_measured_and_no_cell_twice() -> None:
    cells = BENCHMARK.grid(10, False)
    check_grid(cells)
    assert len({cell.id for cell in cells}) == len(cells)
    for column in (SHD, CLUTRR):
        rows = {c.parameters["row"] for c in cells if c.parameters["column"] == column}
        assert rows - set(table3_graphs.DEFAULT_ROWS) == set(measured(column))
    effects = [cell for cell in cells if cell.parameters["column"] == PEHE]
    assert set(effects[0].part("row")) == set(measured(PEHE))
    by_column = [sum(c.parameters["column"] == column for c in cells) for column in COLUMNS]
    assert by_column == [10 * (len(measured(SHD)) + 3), 10, 5 * len(measured(CLUTRR))]


def made_up(shift: float, spread: float, seeds: int = 6) -> list[Row]:
    """Rows on which all but the full row differ from it by a shift, give or take a spread."""
    rng, found = np.random.default_rng(0), []
    for seed in range(seeds):
        world = float(rng.normal())
        for column, metric, sign in ((SHD, "shd", 1), (CLUTRR, "accuracy", -1)):
            for row in measured(column):
                gap = 0.0 if row == FULL else sign * (shift + spread * float(rng.normal()))
                line: Row = {"column": column, "row": row, "seed": seed, "seconds": 1.0}
                found.append(line | {metric: 10.0 + world + gap, "accuracy k=4": 0.5})
        line = {"column": PEHE, "row": table3_effects.ALL, "seed": seed}
        line |= {"edges between tokens": seed % 2, "graph shd": 0}
        for row in measured(PEHE):
            gap = 0.0 if row == FULL else shift + spread * float(rng.normal())
            line[f"{row}: pehe squared"] = 10.0 + world + gap
        found.append(line)
    return found


@pytest.mark.parametrize(
    ("shift", "spread", "verdict", "holds"),
    [
        (2.0, 0.01, table3_text.MATTERS, True),
        (-2.0, 0.01, table3_text.HELPS, False),
        (0.001, 0.0001, table3_text.SMALL, False),
        (0.0, 1.0, table3_text.UNSEEN, False),
        (0.0, 0.0, table3_text.NOTHING, False),
    ],
)
def test_verdicts_are_read_off_paired_differences(shift, spread, verdict, holds) -> None:
    results = Results(made_up(shift, spread), [])
    for column in COLUMNS:
        found = table3_text.comparisons(results, column)
        assert set(found) == set(measured(column)) - {FULL}
        if verdict != table3_text.UNSEEN:  # pure noise may by chance seem to be something
            assert {held.verdict for held in found.values()} == {verdict}
    findings = BENCHMARK.findings(results)
    if verdict != table3_text.UNSEEN:
        assert {mark.holds for mark in findings.marks} == {holds}
    text = "\n".join(findings.sections)
    for heading in ("## Table 3", "## Which rows matter", "## What each cell is"):
        assert heading in text
    assert "does not apply: nobody intervenes in a story" in text
    assert set(BENCHMARK.figures(results)) == {"table3.png", "lengths.png"}


def test_few_seeds_decide_nothing() -> None:
    findings = BENCHMARK.findings(Results(made_up(2.0, 0.01, seeds=4), []))
    assert findings.marks
    assert all(mark.holds is None for mark in findings.marks)
    assert BENCHMARK.findings(Results([], [])).marks == []


def toy(rows: int = 300) -> Transitions:
    rng = np.random.default_rng(0)
    x = rng.normal(size=rows)
    y = np.sin(2 * x) + 0.2 * rng.normal(size=rows)
    return Transitions.from_table(np.column_stack([y, x, rng.normal(size=rows)]))


@pytest.mark.filterwarnings("ignore::causal_rl.discovery.ConvergenceWarning")
def test_without_a_change_the_ablated_learner_is_the_learner() -> None:
    options = {"steps": 10, "seed": 3}
    plain = make_learner("ecam", **options).fit(toy())
    changed = table3_graphs.AblatedLearner(**options).fit(toy())
    np.testing.assert_array_equal(
        plain.contemporaneous_confidence, changed.contemporaneous_confidence
    )
    np.testing.assert_array_equal(plain.contemporaneous, changed.contemporaneous)


@pytest.mark.parametrize("change", ["kernel", "product", "soft"])
def test_no_change_shows_a_variable_its_own_value(change: str) -> None:
    allowed = ~torch.eye(3, dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    options = {"embed_dim": 8, "num_layers": 2, "num_heads": 2, "generator": generator}
    model = table3_graphs.AblatedPredictor(allowed, **options, **{change: True})
    columns = torch.randn(4, 3, requires_grad=True)
    gates = model.sample_gates(4, 0.5, generator)
    told = model.predict(columns, gates)
    (slopes,) = torch.autograd.grad(told[:, 0].sum(), columns, retain_graph=True)
    assert (slopes[:, 0] == 0).all()
    (slope,) = torch.autograd.grad(told.square().sum(), model.gates)
    assert (slope[allowed] != 0).all()


def test_all_rows_of_a_seed_have_the_same_world_and_noise() -> None:
    rows = (FULL, NO_INTERVENTION)
    cells = {c.parameters["row"]: c for c in table3_graphs.cells(1, True, 0)}
    edges = {table3_graphs.run(cells[row]).figures["true_edges"] for row in rows}
    assert len(edges) == 1


def composers(*rows: str) -> dict[str, PairComposer]:
    train, _ = table3_stories._stories("made up")
    return {row: table3_stories.composer(row, train, 3, hidden=8).eval() for row in rows}


def test_forms_begin_with_the_weights_of_the_full_row() -> None:
    found = composers(*measured(CLUTRR))
    for model in found.values():
        torch.testing.assert_close(model.embedding.weight, found[FULL].embedding.weight)
        torch.testing.assert_close(model.table(), found[FULL].table())


def test_forms_are_the_full_row_where_what_they_add_is_nothing() -> None:
    _, stories = table3_stories._stories("made up")
    found = composers(FULL, GENERALISED, TIME_VARYING, MULTI_LEVEL, NO_GRAPH)
    expected = found[FULL].answer(stories)
    torch.testing.assert_close(found[GENERALISED].answer(stories), expected)
    with torch.no_grad():
        found[GENERALISED].order_weight.fill_(0.7)
        # All weight on the learned level.
        found[MULTI_LEVEL].level_graph_logits.copy_(torch.tensor([40.0, 0.0, 0.0]))
    torch.testing.assert_close(found[MULTI_LEVEL].answer(stories), expected)
    # In the first step, of two edges, no time has passed.
    short = table3_stories.encode_stories(table3_stories._made_up(2))
    torch.testing.assert_close(found[TIME_VARYING].answer(short), found[FULL].answer(short))
    # Gates start open, so that the cut graph is all ones.
    torch.testing.assert_close(found[NO_GRAPH].answer(stories), expected)


def test_the_kernel_composer_weighs_by_the_radial_kernel() -> None:
    model = composers(KERNEL)[KERNEL]
    x = torch.randn(5, 64)
    q, k = model.query.linear(x), model.key.linear(x)
    features = model.query(x), model.key(x)
    scores = features[0] @ features[1].T * features[0].shape[-1] ** -0.5
    s = model.log_bandwidth.detach().exp()
    assert float(s) == pytest.approx(64**0.25)
    torch.testing.assert_close(scores, -(torch.cdist(q, k) ** 2) / (2 * s**2), rtol=1e-4, atol=1e-5)


def test_the_correlation_graph_has_what_follows_more_often_than_by_chance() -> None:
    train, _ = table3_stories._stories("made up")
    n = len(CLUTRR_RELATIONS)
    # Brothers and sisters follow one another as independent draws would.
    assert table3_stories.correlation_graph(train, n).sum() == 0
    sister = CLUTRR_RELATIONS.index("sister")
    ends = train.told[:, 0, 1] == train.told[:, 1, 1]
    uneven = dataclasses.replace(train, weight=torch.where(ends, 20.0, 1.0))
    found = table3_stories.correlation_graph(uneven, n)
    assert found[sister, sister] == 1
    assert found.sum() == 2


def test_composition_learned_on_short_stories_carries_to_longer_ones() -> None:
    train, test = table3_stories._stories("made up")
    model = table3_stories.composer(FULL, train, 0, hidden=16)
    training = StoryTraining(steps=60, batch_size=12, learning_rate=0.01, sparsity=0.1)
    train_on_stories(model, model.answer, train, training, seed=0)
    assert story_accuracy(model.answer, test) == {4: 1.0}


def test_twins_keep_noise_and_what_the_treatment_does_not_reach() -> None:
    names = ("a", "m", "t", "y")
    edges = np.zeros((4, 4), dtype=bool)
    for cause, effect in ("at", "ay", "tm", "my"):
        edges[names.index(cause), names.index(effect)] = True
    rng = np.random.default_rng(0)
    a = rng.normal(size=200)
    t = (rng.random(200) < 1 / (1 + np.exp(-a))).astype(int)
    m = 2.0 * t + 0.3 * rng.normal(size=200)
    y = m + a
    X, both, outcomes = table3_effects.with_twins(
        CausalGraph(edges, names=names), np.column_stack([a, m]), t, y, {"steps": 60, "seed": 0}
    )
    np.testing.assert_array_equal(both[200:], 1 - t)
    np.testing.assert_allclose(X[200:, 0], a)
    np.testing.assert_array_equal(outcomes[:200], y)
    gap = np.where(t == 1, outcomes[:200] - outcomes[200:], outcomes[200:] - outcomes[:200])
    assert gap.mean() == pytest.approx(2.0, abs=0.3)
    assert set(np.sign(gap)) == {1.0}


def test_modulations_of_the_effect_rows_are_those_they_are_named_after() -> None:
    (cell,) = table3_effects.cells(1, False, 0)
    rows = cell.part("row")
    assert rows[FULL]["modulation"] == "hard"
    assert {rows[name]["modulation"] for name in (SCALE, LOG)} == {SCALE, LOG}
    assert {rows[n]["attention"] for n in (KERNEL, GENERALISED, MULTI_LEVEL)} == {
        KERNEL, GENERALISED, MULTI_LEVEL,
    }  # fmt: skip
    assert "attention" not in rows[CORRELATION]
