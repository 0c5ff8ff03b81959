"""Models under a graph over patches or relations: what they cannot see, and that they learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from causal_rl.datasets import AcreProblem, AcreQuery, AcreTrial
from causal_rl.downstream.acre_tokens import (
    RELATIONS,
    TOGETHER,
    TRUE_RELATIONS,
    AcreTransformer,
    acre_rows,
    relation_codes,
)
from causal_rl.downstream.pendulum import draw_questions, patch_objects, pendulum_scm
from causal_rl.downstream.pendulum_model import (
    N_PATCHES,
    SceneTransformer,
    correlated_patches,
    invariant_patches,
    scene_inputs,
    true_patches,
)
from causal_rl.downstream.token_model import (
    TokenOptions,
    count_parameters,
    predict_classes,
    train_model,
)

OPTIONS = TokenOptions(embed_dim=8, num_heads=2, feedforward_dim=16, steps=2, batch=8)
PROBLEM = AcreProblem(
    trials=(
        AcreTrial((7, 3), light=True),
        AcreTrial((3,), light=False),
        AcreTrial((5,), light=True),
    ),
    queries=(
        AcreQuery((7,), "on", "indirect", None),
        AcreQuery((3, 5), "on", "direct", 1),
    ),
)


def test_what_a_patch_without_edges_shows_changes_nothing() -> None:
    data = draw_questions(6, [pendulum_scm()], 0)
    cut, asked, light = scene_inputs(data)
    other = cut.clone()
    hidden = torch.from_numpy(~true_patches())
    other[:, hidden] = torch.rand(6, int(hidden.sum()), cut.shape[2])
    model = SceneTransformer(OPTIONS, true_patches()).eval()
    with torch.no_grad():
        assert torch.equal(model(cut, asked, light), model(other, asked, light))
        full = SceneTransformer(OPTIONS).eval()
        assert not torch.allclose(full(cut, asked, light), full(other, asked, light))


def test_hidden_patches_are_hidden_in_training_alone() -> None:
    model = SceneTransformer(OPTIONS, hide=0.5)
    assert model.train().graph(4).shape == (4, 3 + N_PATCHES, 3 + N_PATCHES)
    assert model.eval().graph(4).all()


def test_the_flag_is_correlated_and_the_ground_to_the_left_is_not() -> None:
    kept = correlated_patches(draw_questions(1500, [pendulum_scm()], 0))
    names = patch_objects()
    assert kept[names.index("flag")]
    assert kept[[i for i, name in enumerate(names) if name == "pendulum"]].sum() >= 6
    assert not kept.all()


def test_the_invariant_set_is_a_set_of_patches() -> None:
    models = [pendulum_scm(), pendulum_scm(flag_noise=0.5)]
    kept = invariant_patches(draw_questions(100, models, 0), OPTIONS, level=1e-12)
    # An untrained model tells nothing of any patch.
    assert kept.all()
    assert kept.shape == (N_PATCHES,)
    with pytest.raises(ValueError, match="one environment"):
        invariant_patches(draw_questions(20, models[:1], 0), OPTIONS)


def test_a_model_learns_and_the_state_that_was_best_is_kept() -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(200, 4, generator=rng)
    y = (x[:, 0] > 0).long()
    options = replace(OPTIONS, steps=150, batch=32, learning_rate=0.05)
    model = train_model(torch.nn.Linear(4, 2), [x], y, options, held_out=([x], y))
    assert (predict_classes(model, [x]) == y.numpy()).mean() > 0.95


def test_irm_prefers_what_is_invariant() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=4000)
    environment = np.arange(4000) % 2
    cause = np.where(rng.random(4000) < 0.75, y, 1 - y)
    cue = np.where(rng.random(4000) < np.where(environment == 0, 0.95, 0.8), y, 1 - y)
    x = torch.tensor(np.stack([cause, cue], axis=1) * 2.0 - 1, dtype=torch.float32)
    options = replace(OPTIONS, steps=200, batch=256, learning_rate=0.02, weight_decay=0.0)
    trust = {}
    for objective in ("erm", "irm"):
        torch.manual_seed(0)
        model = torch.nn.Linear(2, 2)
        train_model(
            model, [x], torch.from_numpy(y), replace(options, objective=objective),
            environments=torch.from_numpy(environment),
        )  # fmt: skip
        weight = (model.weight[1] - model.weight[0]).detach()
        trust[objective] = float(weight[1] / weight[0].abs())
    assert trust["irm"] < trust["erm"]


def test_catt_can_have_as_many_weights() -> None:
    plain = count_parameters(SceneTransformer(TokenOptions()))
    catt = TokenOptions(feedforward_dim=33, dictionary=64)
    model = SceneTransformer(catt)
    model.eval()(*scene_inputs(draw_questions(2, [pendulum_scm()], 0)))
    assert abs(count_parameters(model) / plain - 1) < 0.01


def test_tokens_of_a_problem() -> None:
    rows = acre_rows([PROBLEM])
    assert rows.slot.tolist() == [[0, 1, 1, 2, 0, -1], [0, 1, 1, 2, 1, 2]]
    assert rows.trial.tolist() == [[0, 0, 1, 2, 6, -1], [0, 0, 1, 2, 6, 6]]
    assert rows.light.tolist() == [[1, 1, 0, 1, 2, -1], [1, 1, 0, 1, 2, 2]]
    assert rows.answer.tolist() == [2, 2]
    assert rows.kind.tolist() == [1, 0]


def test_relations_of_a_problem() -> None:
    rows = acre_rows([PROBLEM])
    code = relation_codes(torch.from_numpy(rows.slot), torch.from_numpy(rows.trial))[0]
    none = len(RELATIONS)

    def name(i: int, j: int) -> str | None:
        return None if code[i, j] == none else RELATIONS[code[i, j]]

    # Tokens: the answer, 7 and 3 in trial 0, 3 in trial 1, 5 in trial 2, 7 in the query, none.
    assert name(1, 2) == name(2, 1) == "trial to trial, same trial"
    assert name(2, 3) == name(3, 2) == "trial to trial, same object"
    assert name(1, 3) == "trial to trial, neither"
    assert name(1, 5) == "trial to query, same object"
    assert name(4, 5) == "trial to query, another object"
    assert name(5, 0) == "query to answer"
    assert name(4, 0) == "trial to answer"
    assert name(5, 1) == "query to trial, same object"
    assert name(5, 4) == "query to trial, another object"
    assert {name(i, 6) for i in range(7)} | {name(6, i) for i in range(7)} == {None}
    assert {name(0, i) for i in range(1, 7)} == {None}


@pytest.mark.parametrize("relations", [RELATIONS, TRUE_RELATIONS, TOGETHER])
def test_fillers_and_names_of_objects_do_not_matter(relations: tuple[str, ...]) -> None:
    rows = acre_rows([PROBLEM])
    model = AcreTransformer(replace(OPTIONS, num_layers=4), relations).eval()
    slot, trial, light = rows.inputs()
    with torch.no_grad():
        both = model(slot, trial, light)
        alone = model(slot[:1, :5], trial[:1, :5], light[:1, :5])
    torch.testing.assert_close(both[:1], alone)


def test_another_trial_is_heard_only_through_open_relations() -> None:
    rows = acre_rows([PROBLEM])
    slot, trial, light = rows.inputs()
    other = light.clone()
    other[0, 3] = 0  # the trial of object 5, which the first query has nothing to do with
    chosen = AcreTransformer(replace(OPTIONS, num_layers=4), TRUE_RELATIONS).eval()
    with torch.no_grad():
        assert torch.equal(chosen(slot, trial, light)[0], chosen(slot, trial, other)[0])
        other[0, 2] = 1  # object 3 alone: it shares a trial with the one asked about
        assert not torch.equal(chosen(slot, trial, light)[0], chosen(slot, trial, other)[0])


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="num_heads is 3; it must divide"):
        SceneTransformer(replace(OPTIONS, num_heads=3))
    with pytest.raises(ValueError, match=r"kept has shape \(3,\)"):
        SceneTransformer(OPTIONS, [True] * 3)
    with pytest.raises(ValueError, match="relations holds 'all'"):
        AcreTransformer(OPTIONS, ["all"])
    with pytest.raises(ValueError, match="problems is empty"):
        acre_rows([])
    crowd = AcreProblem((AcreTrial(tuple(range(10)), light=True),), (PROBLEM.queries[0],))
    with pytest.raises(ValueError, match="at most 9 fit"):
        acre_rows([crowd])
    x, labels = torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(ValueError, match="at least two environments"):
        train_model(torch.nn.Linear(2, 2), [x], labels, replace(OPTIONS, objective="irm"))
