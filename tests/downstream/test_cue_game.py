"""The spurious-cue game, its graph learner and its classifier."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import gammaln

from causal_rl.discovery import GraphFromRepresentations
from causal_rl.downstream import (
    GAMES,
    ClassifierOptions,
    CountEvidence,
    CueClassifier,
    CueGame,
    learn_token_graph,
    make_game,
    predict,
    train_classifier,
)
from causal_rl.downstream.cue_game import REGIMES, SECOND, TRAIN
from causal_rl.downstream.token_model import count_parameters

TINY = ClassifierOptions(embed_dim=8, feedforward_dim=8, steps=2, batch=8)


def _meanings(game, rows, position):
    return game.meanings[position, rows.tokens[:, position]]


@pytest.fixture(scope="module")
def small():
    return CueGame(length=6, followers=1, seed=3)


# ------------------------------------------------------------------- the game


@pytest.mark.parametrize("name", GAMES)
def test_the_label_follows_the_rule_but_for_the_noise(name):
    game = make_game(name, 5)
    rows = game.sample(4000, TRAIN, 0)
    causes = np.stack([_meanings(game, rows, p) for p in game.cause_positions], axis=1)
    expected = {
        "majority": causes.mean(axis=1) > 0.5,
        "parity": causes.sum(axis=1) % 2 == 1,
        "copy": causes[:, 0] == 1,
    }[game.rule]
    assert abs((expected != rows.labels).mean() - game.noise) < 0.01
    assert abs(rows.labels.mean() - 0.5) < 0.05


@pytest.mark.parametrize("correlation", [0.999, 0.5, 0.03])
def test_the_cue_correlates_as_asked_where_there_is_one(correlation):
    game = make_game("majority", 1)
    rows = game.sample(20_000, correlation, 0)
    cue = _meanings(game, rows, game.cue_position)
    there = cue >= 0
    assert abs(there.mean() - game.present) < 0.02
    found = np.corrcoef(cue[there], rows.labels[there])[0, 1]
    assert abs(found - correlation) < 0.03
    always = make_game("always", 1)
    assert (_meanings(always, always.sample(99, 0.5, 0), always.cue_position) >= 0).all()


def test_a_cue_of_the_causes_is_independent_of_the_label_given_them():
    game = replace(GAMES["common-cause"], present=1.0, noise=0.2)
    rows = game.sample(40_000, 0.6, 0)
    causes = np.stack([_meanings(game, rows, p) for p in game.cause_positions], axis=1)
    cue = _meanings(game, rows, game.cue_position)
    for values in itertools.product((0, 1), repeat=3):
        here = (causes == values).all(axis=1)
        assert abs(np.corrcoef(cue[here], rows.labels[here])[0, 1]) < 0.06


def test_set_words_are_uniform_whatever_causes_them_and_move_effects_alone():
    game = make_game("majority", 2)
    rows = game.sample(40_000, TRAIN, 0, set_share=1.0)
    assert (rows.do_target.sum(axis=1) == 1).all()
    cue = game.cue_position
    held = rows.do_target[:, cue]
    shares = np.bincount(rows.tokens[held, cue], minlength=4) / held.sum()
    assert np.abs(shares - 0.25).max() < 0.03
    there = held & (_meanings(game, rows, cue) >= 0)
    agree = (_meanings(game, rows, cue) == rows.labels)[there].mean()
    assert abs(agree - 0.5) < 0.04
    # The label goes by the words that are there, set or not.
    causes = np.stack([_meanings(game, rows, p) for p in game.cause_positions], axis=1)
    assert abs(((causes.sum(axis=1) > 1.5) == rows.labels).mean() - 0.985) < 0.01


def test_regimes_say_where_rows_come_from():
    game = make_game("majority", 0)
    by_name = {regime: game.training_rows(regime, 2000, 0) for regime in REGIMES}
    assert set(by_name["observational"].environment) == {0}
    assert not by_name["observational"].do_target.any()
    assert np.bincount(by_name["environments"].environment).tolist() == [1000, 1000]
    set_rows = by_name["interventions"].do_target.any(axis=1)
    assert 0.003 < set_rows.mean() < 0.02
    assert np.array_equal(set_rows, by_name["interventions"].environment == 1)
    assert SECOND < TRAIN


def test_the_oracle_graph_is_that_of_the_specification(small):
    graph = small.graph
    assert set(graph.parents("label")) == {f"w{p + 1}" for p in small.cause_positions}
    assert graph.children("label") == (f"w{small.cue_position + 1}",)
    assert f"w{small.cue_position + 1}" not in graph.ancestors(["label"])
    common = replace(small, cue_of="causes").graph
    assert common.children("label") == ()
    assert len(graph.edges()) == 3 + 1 + 1


def test_a_seed_is_a_game_and_words_are_distinct():
    game, other = make_game("long", 4), make_game("long", 5)
    assert np.array_equal(
        game.sample(5, 0.5, 1).tokens, make_game("long", 4).sample(5, 0.5, 1).tokens
    )
    assert (game.cause_positions, game.cue_position) != (other.cause_positions, other.cue_position)
    words = [word for w in range(4) for word in game.text([w] * game.length)]
    assert len(set(words)) == len(words)


def test_rows_slice_and_join(small):
    rows = small.sample(10, 0.5, 0)
    joined = rows[:4].followed_by(rows[4:])
    assert len(joined) == 10
    assert np.array_equal(joined.tokens, rows.tokens)
    with pytest.raises(TypeError, match="slice"):
        rows[3]
    with pytest.raises(ValueError, match="positions"):
        rows.followed_by(GAMES["long"].sample(2, 0.5, 0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "or"}, "rule"),
        ({"causes": 2}, "odd"),
        ({"rule": "copy"}, "takes 1"),
        ({"length": 5}, "length is 5"),
        ({"words": 5}, "even"),
        ({"words": 2}, "words is 2"),
        ({"noise": 0.6}, "noise"),
        ({"present": 0.0}, "present"),
        ({"follow": 1.5}, "follow"),
        ({"cue_of": "noise"}, "cue_of"),
    ],
)
def test_bad_games_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        CueGame(**options)


def test_bad_calls_are_refused(small):
    with pytest.raises(TypeError, match="causes"):
        CueGame(causes=1.5)
    with pytest.raises(ValueError, match="rows is 0"):
        small.sample(0, 0.5, 0)
    with pytest.raises(ValueError, match="correlation"):
        small.sample(5, 1.5, 0)
    with pytest.raises(ValueError, match="set_share"):
        small.sample(5, 0.5, 0, set_share=-1)
    with pytest.raises(ValueError, match="regime"):
        small.training_rows("none", 5, 0)
    with pytest.raises(ValueError, match="at least 2"):
        small.training_rows("environments", 1, 0)
    with pytest.raises(ValueError, match="tokens must be 6"):
        small.text([0, 1])
    with pytest.raises(ValueError, match="name is"):
        make_game("chess", 0)


# ------------------------------------------------------------------- its graph, from rows


def test_the_evidence_is_that_of_the_closed_form():
    rng = np.random.default_rng(0)
    columns = rng.integers(0, 3, (40, 3))
    columns[:3] = np.arange(3)[:, None]  # every value occurs
    held = np.zeros(columns.shape, dtype=bool)
    held[:5, 2] = True
    score = CountEvidence(columns, held, 2.0)
    for parents in ((), (0,), (1, 0)):
        q = 3 ** len(parents)
        a, total = 2.0 / q, 0.0
        for values in itertools.product(range(3), repeat=len(parents)):
            here = (columns[5:, list(parents)] == values).all(axis=1)
            counts = np.bincount(columns[5:, 2][here], minlength=3)
            total += gammaln(a) - gammaln(a + counts.sum())
            total += (gammaln(a / 3 + counts) - gammaln(a / 3)).sum()
        assert score(2, parents) == pytest.approx(total)


def test_equivalent_graphs_have_equal_evidence():
    rng = np.random.default_rng(1)
    a = rng.integers(0, 4, 300)
    b = np.where(rng.random(300) < 0.7, a % 3, rng.integers(0, 3, 300))
    score = CountEvidence(np.column_stack([a, b]), np.zeros((300, 2), dtype=bool), 1.0)
    assert score(0, ()) + score(1, (0,)) == pytest.approx(score(1, ()) + score(0, (1,)))


@pytest.mark.parametrize(("rule", "causes"), [("majority", 3), ("parity", 2)])
def test_the_cue_is_found_to_be_an_effect(rule, causes):
    game = CueGame(rule=rule, causes=causes, length=6, followers=1, seed=1)
    rows = game.training_rows("observational", 3000, 0)
    columns = np.column_stack([rows.tokens, rows.labels])
    found = learn_token_graph(columns, names=game.names, max_parents=3)
    heard = found.ancestors(["label"])
    assert set(game.graph.parents("label")) <= set(heard)
    assert f"w{game.cue_position + 1}" not in heard
    assert f"w{game.cue_position + 1}" in found.children("label")


def test_only_an_intervention_tells_the_direction_of_a_chain():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 2, 2000)
    b = a ^ (rng.random(2000) < 0.1)
    columns, held = np.column_stack([a, b]), np.zeros((2000, 2), dtype=bool)
    seen = learn_token_graph(columns, names=["a", "b"])
    assert seen.contemporaneous_confidence[0, 1] == pytest.approx(0.5, abs=0.01)
    # b set in some rows does not move a.
    held[:400, 1], columns[:400, 1] = True, rng.integers(0, 2, 400)
    done = learn_token_graph(columns, do_target=held, names=["a", "b"])
    assert done.contemporaneous_confidence[0, 1] > 0.99


def test_identical_columns_are_not_told_apart_by_words_that_never_occur():
    a = np.random.default_rng(0).integers(0, 2, 500)
    found = learn_token_graph(np.column_stack([a, 3 * a]), names=["a", "b"])
    confidence = found.contemporaneous_confidence
    assert confidence[0, 1] == pytest.approx(confidence[1, 0])


def test_nothing_causes_a_context_and_many_columns_are_screened():
    game = CueGame(length=13, causes=1, rule="copy", followers=0, seed=2)
    rows = game.training_rows("environments", 600, 0)
    columns = np.column_stack([rows.tokens, rows.labels, rows.environment])
    found = learn_token_graph(
        columns,
        names=(*game.names, "where"),
        contexts=["where"],
        max_parents=2,
        max_candidates=4,
        steps=5,
    )
    assert found.parents("where") == ()
    assert found.kinds[-1] == "context"
    cause = f"w{game.cause_positions[0] + 1}"
    assert ("label" in found.children(cause)) or ("label" in found.parents(cause))


def test_bad_tables_are_refused():
    good = np.zeros((4, 2), dtype=int)
    with pytest.raises(ValueError, match="whole numbers"):
        learn_token_graph(good + 0.5)
    with pytest.raises(ValueError, match="whole numbers"):
        learn_token_graph(good - 1)
    with pytest.raises(TypeError, match="dtype"):
        learn_token_graph([["a", "b"]])
    with pytest.raises(ValueError, match="shape"):
        learn_token_graph(np.zeros(3))
    with pytest.raises(ValueError, match="do_target"):
        learn_token_graph(good, do_target=np.zeros((3, 2), dtype=bool))
    with pytest.raises(ValueError, match="where"):
        learn_token_graph(good, contexts=["where"])
    with pytest.raises(ValueError, match="max_parents"):
        learn_token_graph(good, max_parents=0)


# ------------------------------------------------------------------- the classifier


def test_the_label_hears_its_ancestors_and_nothing_else(small):
    torch.manual_seed(0)
    model = CueClassifier(small.length, small.words, replace(TINY, num_layers=3)).eval()
    mask = model.prepare(small.graph.contemporaneous)
    tokens = torch.from_numpy(small.sample(20, 0.5, 0).tokens)
    before = model(tokens, mask)
    for position in range(small.length):
        changed = tokens.clone()
        changed[:, position] = (changed[:, position] + 1) % small.words
        moved = (model(changed, mask) - before).abs().max().item()
        assert (moved > 0) == (position in small.cause_positions)


def test_a_hidden_word_says_nothing(small):
    model = CueClassifier(small.length, small.words, TINY).eval()
    full = np.ones((small.length + 1,) * 2)
    tokens = torch.from_numpy(small.sample(5, 0.5, 0).tokens)
    hidden = torch.zeros(tokens.shape, dtype=torch.bool)
    hidden[:, 2] = True
    changed = tokens.clone()
    changed[:, 2] = (changed[:, 2] + 1) % small.words
    mask = model.prepare(full)
    assert torch.equal(model(tokens, mask, hidden), model(changed, mask, hidden))
    weights = model.attention(tokens, mask)
    assert weights.shape == (5, 2, 7, 7)
    assert np.allclose(weights.sum(axis=-1), 1, atol=1e-5)


def test_training_is_a_function_of_the_seed_and_leaves_the_generator_alone(small):
    rows = small.training_rows("observational", 60, 0)
    torch.manual_seed(7)
    state = torch.get_rng_state()
    full = np.ones((small.length + 1,) * 2)
    one, two = (train_classifier(rows, small.words, full, TINY) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert set(predict(one, rows, full)) <= {0, 1}


def test_catt_has_as_many_parameters_and_every_objective_trains(small):
    plain = count_parameters(CueClassifier(10, 4, ClassifierOptions()))
    catt = count_parameters(
        CueClassifier(10, 4, ClassifierOptions(dictionary=64, feedforward_dim=32))
    )
    assert abs(catt / plain - 1) < 0.05
    rows = small.training_rows("environments", 60, 0)
    full = np.ones((small.length + 1,) * 2)
    for changes in ({"objective": "irm"}, {"dictionary": 3}, {"hide": 0.3}, {"modulation": "log"}):
        model = train_classifier(rows, small.words, full, replace(TINY, **changes))
        assert all(torch.isfinite(p).all() for p in model.parameters())


def test_algorithm_1_changes_its_graph_while_it_trains(small):
    rows = small.training_rows("observational", 200, 0)
    learner = GraphFromRepresentations(small.length + 1, max_conditioning=0, components=1)
    options = replace(TINY, modulation="log", steps=4)
    train_classifier(rows, small.words, learner, options, rounds=1)
    assert learner.last_ is not None
    assert learner.last_.batches == 1


def test_bad_training_is_refused(small):
    rows = small.training_rows("observational", 20, 0)
    full = np.ones((small.length + 1,) * 2)
    with pytest.raises(ValueError, match="two environments"):
        train_classifier(rows, small.words, full, replace(TINY, objective="irm"))
    with pytest.raises(ValueError, match="over 3 nodes"):
        train_classifier(rows, small.words, np.ones((3, 3)), TINY)
    with pytest.raises(ValueError, match="num_heads"):
        train_classifier(rows, small.words, full, replace(TINY, num_heads=3))
    with pytest.raises(ValueError, match="hide"):
        train_classifier(rows, small.words, full, replace(TINY, hide=1.0))
    with pytest.raises(ValueError, match="steps"):
        train_classifier(rows, small.words, full, replace(TINY, steps=0))


@pytest.mark.slow
def test_the_learned_graph_keeps_the_classifier_off_the_cue():
    game = make_game("majority", 11)
    rng = np.random.default_rng(11)
    rows, out = game.training_rows("observational", 20_000, rng), game.sample(5000, 0.03, rng)
    learned = learn_token_graph(np.column_stack([rows.tokens, rows.labels]), names=game.names)
    full = np.ones((game.length + 1,) * 2)
    accuracy = {}
    for name, graph in (("all", full), ("learned", learned.contemporaneous)):
        model = train_classifier(rows, game.words, graph, ClassifierOptions(steps=400))
        accuracy[name] = (predict(model, out, graph) == out.labels).mean()
    assert accuracy["learned"] > 0.95
    assert accuracy["all"] < 0.9
