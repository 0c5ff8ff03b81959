"""The part of table2-right about the spurious-cue game."""

from __future__ import annotations

import numpy as np
import pytest

from causal_rl.benchmarks import right_cues
from causal_rl.benchmarks.cells import check_grid
from causal_rl.benchmarks.results import Results
from causal_rl.downstream.cue_game import CueGame, make_game


@pytest.fixture(scope="module")
def finished():
    wanted = {"transformer", "irm", "ecam-pc", "ecam-true"}
    cells = [c for c in right_cues.cells(3, True) if c.parameters["method"] in wanted]
    assert len(cells) == len(wanted)
    return Results([{**c.parameters, **right_cues.run(c).figures} for c in cells], [])


def test_the_grid_has_the_keys_of_all_parts_and_irm_only_with_environments():
    cells = right_cues.cells(5, False)
    check_grid(cells)
    assert {tuple(cell.parameters) for cell in cells} == {("task", "split", "method", "seed")}
    splits = {c.parameters["split"] for c in cells if c.parameters["method"] == "irm"}
    assert splits == {"majority/environments", "majority/interventions"}
    assert set(right_cues.HEADLINE) <= set(right_cues.SPLITS)
    both = {("ecam-learned", split) for split in right_cues.SPLITS}
    assert both <= {(c.parameters["method"], c.parameters["split"]) for c in cells}


def test_cells_bring_their_figures(finished):
    for row in finished.rows:
        assert 0 <= row["accuracy"] <= 1
        assert row["parameters"] > 10_000
    (true,) = finished.select(method="ecam-true")
    assert (true["cue_read"], true["causes_read"], true["shd"]) == (0.0, 1.0, 0)
    (plain,) = finished.select(method="transformer")
    assert (plain["cue_read"], plain["causes_read"]) == (1.0, 1.0)


def test_the_text_says_what_is_there_and_no_more(finished):
    found = right_cues.findings(finished)
    assert len(found.marks) == 5
    assert all(mark.holds is None for mark in found.marks)
    whole = "\n".join(found.sections)
    assert "majority/environments" in whole
    assert "parity/observational" not in whole
    assert set(right_cues.figures(finished)) == {"accuracy.png"}
    assert right_cues.figures(Results([], [])) == {}


def test_a_mark_falls_short_where_the_data_do():
    rows = [
        {"task": "cues", "split": "majority/observational", "method": method, "seed": seed}
        | {"accuracy": accuracy, "accuracy_in": 0.98}
        for method, accuracy in (("ecam-learned", 0.94), ("ecam-true", 0.98), ("transformer", 0.82))
        for seed in range(5)
    ]
    assert [mark.holds for mark in right_cues.findings(Results(rows, [])).marks] == [
        False, True, True, True,
    ]  # fmt: skip


def test_association_sees_cue_and_causes_but_no_parity():
    game = make_game("majority", 0)
    rows = game.training_rows("observational", 4000, 0)
    mask = right_cues.associated(rows)
    assert np.array_equal(mask, mask.T)
    assert mask[[*game.cause_positions, game.cue_position], -1].all()
    parity = CueGame(rule="parity", causes=2, seed=0)
    deaf = right_cues.associated(parity.training_rows("observational", 4000, 0))
    assert not deaf[list(parity.cause_positions), -1].all()
