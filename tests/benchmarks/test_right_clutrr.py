"""The part of table2-right about CLUTRR."""

from __future__ import annotations

import pytest

from causal_rl.benchmarks import right_clutrr
from causal_rl.benchmarks.cells import check_grid
from causal_rl.benchmarks.clutrr_text import questions
from causal_rl.benchmarks.results import Results
from causal_rl.datasets import DataUnavailableError
from causal_rl.datasets.clutrr import load_clutrr
from causal_rl.downstream import EdgeTokenTransformer, EdgeTransformer, PairComposer, encode_stories

FIRST, LEARNED = right_clutrr.FIRST, right_clutrr.LEARNED


@pytest.fixture(scope="module")
def data():
    try:
        return load_clutrr(FIRST)
    except DataUnavailableError as error:
        pytest.skip(f"the data are not at hand: {error}")


@pytest.fixture(scope="module")
def finished(data):
    wanted = {(FIRST, "rule-table"), (FIRST, LEARNED), ("text", "rule-table")}
    cells = [
        cell
        for cell in right_clutrr.cells(1, True)
        if (cell.parameters["split"], cell.parameters["method"]) in wanted
    ]
    assert len(cells) == len(wanted)
    return Results([{**c.parameters, **right_clutrr.run(c).figures} for c in cells], [])


def rows(mean: float, longest: float, seeds: int) -> Results:
    return Results(
        [
            {"task": "clutrr", "split": FIRST, "method": LEARNED, "seed": seed}
            | {"accuracy": mean, "accuracy_k10": longest}
            for seed in range(seeds)
        ],
        [],
    )


def test_the_grid_has_the_keys_of_all_parts_and_every_peer_on_both_sets():
    cells = right_clutrr.cells(5, False)
    check_grid(cells)
    assert {tuple(cell.parameters) for cell in cells} == {("task", "split", "method", "seed")}
    for split, left_out in ((FIRST, set()), (right_clutrr.SECOND, {"ecam-true", "ecam-full"})):
        methods = {c.parameters["method"] for c in cells if c.parameters["split"] == split}
        assert methods == set(right_clutrr.METHODS) - left_out
    assert set(right_clutrr.HEADLINE) <= set(right_clutrr.SPLITS)
    assert len(right_clutrr.cells(5, True)) == 5


def test_networks_have_equal_numbers_of_parameters():
    models = right_clutrr._MODELS
    counts = [
        sum(p.numel() for p in model.parameters())
        for model in (
            *(EdgeTokenTransformer(20, **models[m]) for m in ("transformer", "attn-mask", "catt")),
            EdgeTransformer(20, **models["edge-transformer"]),
            *(PairComposer(20, **models[m]) for m in (LEARNED, "ecam-full")),
        )
    ]
    assert max(counts) <= 1.05 * min(counts)


def test_cells_bring_their_figures(finished):
    for row in finished.rows:
        assert 0 <= row["accuracy"] <= 1
        assert row["parameters"] > 0
        assert row["seconds"] >= 0
        assert {f"accuracy_k{k}" for k in range(4, 11)} <= set(row)
    (learned,) = finished.select(split=FIRST, method=LEARNED)
    right = learned["graph_edges"] - learned["graph_extra"]
    assert right + learned["graph_missing"] == 62
    (rules,) = finished.select(split=FIRST, method="rule-table")
    assert rules["parameters"] == 62
    assert rules["accuracy"] > 0.95


def test_the_oracle_graph_is_what_two_edges_show(data):
    """The rules of stories of two edges are all that proofs of longer stories use."""
    graph = right_clutrr.true_graph(right_clutrr.flat(data.train))
    assert graph.sum() == 62
    assert (right_clutrr.true_graph(data.train[2]) == graph).all()
    assert not (right_clutrr.true_graph(right_clutrr.flat(data.test)) & ~graph).any()


def test_questions_tell_no_edge(data):
    stories = data.test[4][:5]
    asked = questions(stories)
    assert (asked.told == -1).all()
    assert asked.query.tolist() == [list(s.query) for s in stories]
    assert encode_stories(stories).weight.sum() == 5


def test_the_text_says_what_is_there_and_no_more(finished):
    found = right_clutrr.findings(finished)
    assert [mark.holds for mark in found.marks] == [None, None]
    whole = "\n".join(found.sections)
    assert "### `text`" in whole
    assert "db9b8f04" not in whole
    assert set(right_clutrr.figures(finished)) == {"length.png"}


@pytest.mark.parametrize(
    ("mean", "longest", "seeds", "holds"),
    [
        (0.96, 0.91, 5, [True, True]),
        (0.96, 0.89, 5, [True, False]),
        (0.94, 0.95, 5, [False, True]),
        (0.99, 0.99, 4, [None, None]),
    ],
)
def test_marks_follow_the_data(mean, longest, seeds, holds):
    found = right_clutrr.findings(rows(mean, longest, seeds))
    assert [mark.holds for mark in found.marks] == holds


def test_without_rows_nothing_is_drawn():
    assert right_clutrr.figures(Results([], [])) == {}
    assert [mark.measured for mark in right_clutrr.findings(Results([], [])).marks] == ["-", "-"]
