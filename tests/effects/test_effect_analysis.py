"""From a table to an effect, in Python: data frames, arms of text, and what is noted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from causal_rl.effects import NotIdentifiedError
from causal_rl.effects.analysis import EffectAnalysis, analyse, steps
from causal_rl.effects.overlap import NoOverlapError
from causal_rl.effects.pictures import roles
from causal_rl.effects.plan import Plan
from causal_rl.effects.report import summary
from causal_rl.graphs import CausalGraph

DOSES = ["high", "low", "none"]


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    age = rng.normal(size=600)
    dose = rng.permutation(np.resize(np.array(DOSES), 600))
    cure = age + np.select([dose == "high", dose == "low"], [2.0, 1.0]) + rng.normal(size=600)
    return pd.DataFrame({"age": age, "dose": dose, "cure": cure})


def find(frame: pd.DataFrame, **changes: Any) -> EffectAnalysis:
    given = {"treatment": "dose", "outcome": "cure", "refutations": 0}
    return analyse(frame, Plan(**{**given, **changes}))


def test_a_frame_with_arms_of_text(frame: pd.DataFrame) -> None:
    found = find(frame, levels={"dose": ("none", "low", "high")})
    assert found.arms == ("none", "low", "high")
    assert [c.arm for c in found.contrasts] == ["low", "high"]
    assert found.contrasts[0].estimate == pytest.approx(1.0, abs=0.35)
    assert found.contrasts[1].estimate == pytest.approx(2.0, abs=0.35)
    assert found.cate.shape == (600, 2)
    assert found.file == "data frame"
    assert roles(found) == {"age": "adjusted for", "dose": "treatment", "cure": "outcome"}
    # In alphabetical order the first level is another.
    assert find(frame).contrasts[0].baseline == "high"
    assert list(frame["dose"].unique()) != [0, 1, 2]


def test_no_covariates(frame: pd.DataFrame) -> None:
    found = find(frame[["dose", "cure"]], refutations=2)
    for contrast in found.contrasts:
        assert contrast.estimate == pytest.approx(contrast.difference, abs=1e-6)
    assert any("no covariates" in note for note in found.notes)


def test_a_graph_of_fewer_columns_and_more(frame: pd.DataFrame) -> None:
    graph = CausalGraph([[0, 1, 0], [0, 0, 0], [0, 0, 0]], names=["dose", "cure", "gene"])
    found = find(frame, graph=graph)
    assert found.adjusted == ()
    assert found.covariates == ()
    told = " ".join(found.notes)
    assert "not in the graph: age" in told
    assert "not in the table: gene" in told
    assert roles(found)["gene"] == "not observed"


def test_a_learned_graph_that_leaves_a_direction_open(frame: pd.DataFrame) -> None:
    numbers = frame.assign(dose=(frame["dose"] == "high").astype(int))
    try:
        found = find(numbers, discover="pc")
    except NotIdentifiedError:
        pytest.fail("pc found the outcome to cause the treatment in a trial")
    assert found.learned is not None
    assert found.graph is not None
    assert set(found.graph.names) == {"age", "dose", "cure"}


def test_a_learned_graph_without_an_effect_is_told_of(frame: pd.DataFrame) -> None:
    found = find(frame, discover="empty")
    assert found.graph is not None
    assert found.graph.edges() == []
    assert any("no directed path from dose to cure" in note for note in found.notes)
    assert summary(found)["graph"] == "learned by empty from the same table"


def test_a_graph_over_time_is_unrolled() -> None:
    rng = np.random.default_rng(4)
    before, lever = rng.normal(size=300), rng.integers(0, 2, 300)
    heat = before + lever + rng.normal(size=300)
    graph = CausalGraph([[0, 1], [0, 0]], [[0, 0], [1, 1]], ["lever", "heat"])
    table = pd.DataFrame({"heat_before": before, "lever": lever, "heat": heat})
    found = find(table, treatment="lever", outcome="heat", graph=graph)
    assert found.adjusted == ("heat_before",)
    assert found.contrasts[0].estimate == pytest.approx(1.0, abs=0.4)
    assert any("unrolled" in note for note in found.notes)


def test_progress_goes_through_all_steps(frame: pd.DataFrame) -> None:
    plan = Plan("dose", "cure", discover="empty", refutations=2)
    told: list[int] = []
    analyse(frame, plan, progress=told.append)
    assert told == list(range(1, steps(plan) + 1))


def test_bad_input(frame: pd.DataFrame) -> None:
    with pytest.raises(TypeError, match="data must be a CSV file or a data frame, not list"):
        analyse([[1.0]], Plan("dose", "cure"))
    with pytest.raises(TypeError, match="'age' of values holds no numbers"):
        find(frame.assign(age="old"))
    with pytest.raises(ValueError, match="'none', which is not among its levels high, low"):
        find(frame, levels={"dose": ("high", "low")})
    with pytest.raises(ValueError, match=r"NaN in row 2, column 'cure'"):
        find(frame.assign(cure=frame["cure"].where(frame.index != 2)))
    with pytest.raises(NoOverlapError, match="age determines the treatment"):
        find(
            frame.assign(
                age=frame["dose"].map({"high": 3.0, "low": 2.0, "none": 5.0})
                + 0.1 * frame["age"] ** 2 / (1 + frame["age"] ** 2)
            )
        )
    with pytest.raises(ValueError, match="outcome must be another"):
        Plan("dose", "dose")
    with pytest.raises(ValueError, match="unknown effect estimator 'aipv'"):
        Plan("dose", "cure", method="aipv")
