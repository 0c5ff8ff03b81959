"""Models of kinship stories: symmetry, what may not compose, batches, rules, bad input."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from small_stories import RELATIONS, R, cyclic, generator, models, story, texts
from torch import Tensor

from causal_rl.downstream import (
    EdgeExtractor,
    EdgeTokenTransformer,
    EdgeTransformer,
    PairComposer,
    RuleTable,
    StoryTraining,
    cut_windows,
    edge_graph,
    encode_stories,
    extract_edges,
    hold_out,
    irm_penalty,
    read_words,
    story_accuracy,
    told_edges,
    train_extractor,
    train_on_stories,
)

# ------------------------------------------------------------------- symmetry and batches


def test_states_of_renumbered_entities_are_the_renumbered_states() -> None:
    stories = cyclic((3,))[:20]
    composer = PairComposer(R, width=8, hidden=8, generator=generator())
    order = torch.tensor([2, 0, 3, 1])
    edges = stories.dense(R)
    expected = composer.states(edges)[:, order][:, :, order]
    found = composer.states(edges[:, order][:, :, order])
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_answers_about_pairs_do_not_depend_on_numbers_of_entities(index: int) -> None:
    model, stories = models()[index], cyclic((2, 3))[:60]
    other = stories.renumbered(5, generator(3))
    assert not torch.equal(other.query, stories.query)
    with torch.no_grad():
        assert torch.allclose(model.answer(other), model.answer(stories), atol=1e-5)


@pytest.mark.parametrize("index", range(6))
def test_a_story_in_a_batch_is_answered_as_it_is_alone(index: int) -> None:
    model, stories = models()[index], cyclic((2, 3, 4))
    picked = stories[torch.tensor([0, 30, 120, 300, 700])]
    with torch.no_grad():
        together = model.answer(picked)
        alone = torch.cat([model.answer(picked[i : i + 1]) for i in range(len(picked))])
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("index", range(6))
def test_answers_are_probabilities(index: int) -> None:
    with torch.no_grad():
        total = models()[index].answer(cyclic((3,))[:30]).exp().sum(dim=1)
    assert (total <= 1 + 1e-4).all()
    assert (total > 0.05).all()


# ------------------------------------------------------------------- where the graph enters


@pytest.mark.parametrize("modulation", ["log", "hard"])
def test_relations_that_may_not_compose_give_exactly_nothing(modulation: str) -> None:
    graph = np.ones((R, R))
    graph[1, 2] = 0
    composer = PairComposer(R, width=8, hidden=8, graph=graph, modulation=modulation)  # type: ignore[arg-type]
    stories = encode_stories([story((1, 2), 0), story((2, 1), 0)], RELATIONS)
    found = composer(stories.dense(R), stories.query)
    assert found[0].tolist() == [0.0] * R
    assert found[1].sum().item() == pytest.approx(1.0, abs=1e-5)


def test_pairs_that_are_not_known_compose_to_nothing_and_pass_no_gradient() -> None:
    edges = torch.zeros(1, 4, 4, R)
    edges[0, 0, 1, 2] = edges[0, 2, 3, 1] = 1.0  # no way from 0 to 3
    edges.requires_grad_(True)
    composer = PairComposer(R, width=8, hidden=8, generator=generator())
    states = composer.states(edges, torch.tensor([3]))
    untold = (edges == 0).all(dim=-1)
    assert (states[untold] == 0).all()
    states[0, 0, 3].sum().backward()
    # To be known it would take 0-2 or 1-3: what is told has no way to it by itself.
    assert (edges.grad[0, 0, 1] == 0).all()


def test_scale_does_not_mask_but_dilutes() -> None:
    stories = encode_stories([story((1, 2), 0)], RELATIONS)
    masked, scaled = (
        PairComposer(R, width=8, hidden=8, graph="full", modulation=m, generator=generator())
        for m in ("log", "scale")
    )
    steps = torch.tensor([1])
    assert masked(stories.dense(R), stories.query, steps).sum().item() == pytest.approx(1.0)
    assert scaled(stories.dense(R), stories.query, steps).sum().item() < 0.9


def test_told_pairs_stay_and_nobody_is_related_to_oneself() -> None:
    edges = torch.zeros(1, 3, 3, R)
    edges[0, 0, 1, 2] = edges[0, 1, 0, 3] = edges[0, 1, 2, 0] = 1.0
    states = PairComposer(R, width=8, hidden=8, graph="full").states(edges, torch.tensor([5]))
    told = edges.sum(dim=-1) > 0
    assert torch.equal(states[told], edges[told])
    assert (states[0].diagonal() == 0).all()


def test_no_steps_leave_what_is_told_and_one_step_is_a_naive_loop() -> None:
    composer = PairComposer(R, width=8, hidden=8, generator=generator()).eval()
    edges = torch.rand(2, 4, 4, R, generator=generator(1)) / R
    apart = ~torch.eye(4, dtype=torch.bool)[None, :, :, None]
    assert torch.equal(composer.states(edges, torch.tensor([0, 0])), edges * apart)
    with torch.no_grad():
        found = composer.train().states(edges, torch.tensor([1, 1]))
        start, table, graph = edges * apart, composer.table(), composer.graph()
        query, key = (
            linear(start @ composer.embedding.weight) for linear in (composer.query, composer.key)
        )
        for b, i, j in itertools.product(range(2), range(4), range(4)):
            if i == j:
                continue
            mixed, unknown = torch.zeros(R), torch.tensor(1.0)
            for k in range(4):
                weight = torch.outer(start[b, i, k], start[b, k, j]) * graph
                score = query[b, i, k] @ key[b, k, j] / 8**0.5
                mixed += score.exp() * torch.einsum("ab,abc->c", weight, table)
                unknown *= 1 - weight.sum()
            new = mixed / mixed.sum() * (1 - unknown)
            expected = start[b, i, j] + (1 - start[b, i, j].sum()) * new
            assert torch.allclose(found[b, i, j], expected, atol=1e-5)


def test_penalty_closes_what_is_not_needed_and_leaves_what_is() -> None:
    """Only relations 0 and 1 are ever composed."""
    few = [story(w, sum(w) % R) for k in (2, 3) for w in itertools.product((0, 1), repeat=k)]
    stories = encode_stories(few, RELATIONS)
    composer = PairComposer(R, width=16, hidden=16, generator=generator())
    training = StoryTraining(
        steps=80, batch_size=12, learning_rate=2e-2, graph_learning_rate=0.1, sparsity=0.3
    )
    train_on_stories(composer, composer.answer, stories, training, seed=0)
    graph = composer.graph()
    assert (graph[:2, :2] == 1).all()
    assert (graph[3:, 3:] == 0).all()
    assert set(story_accuracy(composer.answer, stories).values()) == {1.0}


def test_a_composer_trained_on_two_edges_composes_six() -> None:
    composer = PairComposer(R, width=16, hidden=32, generator=generator())
    training = StoryTraining(steps=100, batch_size=25, learning_rate=2e-2)
    train_on_stories(composer, composer.answer, cyclic((2,)), training, seed=0)
    words = np.random.default_rng(0).integers(0, R, size=(40, 6))
    long = encode_stories([story(tuple(w), int(sum(w)) % R) for w in words.tolist()], RELATIONS)
    assert story_accuracy(composer.answer, long)[6] > 0.95


# ------------------------------------------------------------------- rule table


def test_rule_table_is_exact_on_its_own_rules_at_any_length() -> None:
    rules = RuleTable(R).fit(cyclic((2,)))
    assert rules.n_rules == R * R
    assert story_accuracy(rules.answer, cyclic((2, 3, 4))) == {2: 1.0, 3: 1.0, 4: 1.0}


def test_rule_table_leaves_unknown_what_no_rule_gives() -> None:
    rules = RuleTable(R).fit(encode_stories([story((0, 1), 3)], RELATIONS))
    asked = encode_stories([story((0, 1, 2), 4), story((0, 1), 3)], RELATIONS)
    assert story_accuracy(rules.answer, asked) == {2: 1.0, 3: 0.0}


def test_rule_table_votes_by_shares() -> None:
    told = [story((0, 1), 2)] * 3 + [story((0, 1), 4)]
    rules = RuleTable(R).fit(encode_stories(told, RELATIONS))
    assert rules.rules_[0, 1].tolist() == [0.0, 0.0, 0.75, 0.0, 0.25]


def test_no_answer_is_never_right() -> None:
    asked = encode_stories([story((0, 1), 0)], RELATIONS)
    silent: Tensor = torch.full((1, R), float(np.log(1e-9)))
    assert story_accuracy(lambda _: silent, asked) == {2: 0.0}


# ------------------------------------------------------------------- stories as tensors


def test_equal_stories_are_one_with_a_weight() -> None:
    stories = encode_stories([story((0, 1), 2), story((0, 1), 2), story((1, 0, 2), 2)], RELATIONS)
    assert stories.weight.tolist() == [2.0, 1.0]
    assert stories.k.tolist() == [2, 3]
    dense = stories.dense(R)
    assert dense.shape == (2, 4, 4, R)
    assert dense[0, 0, 1].tolist() == [1, 0, 0, 0, 0]
    assert dense.sum().item() == 5


def test_a_pair_told_two_relations_has_halves() -> None:
    twice = dataclasses.replace(story((0, 1, 2), 3), edges=((0, 1), (1, 2), (1, 2)), query=(0, 2))
    assert encode_stories([twice], RELATIONS).dense(R)[0, 1, 2].tolist() == [0, 0.5, 0.5, 0, 0]


def test_held_out_stories_are_long_and_no_longer_trained_on() -> None:
    stories = cyclic((2, 3))
    kept, held = hold_out(stories, 0.2, generator())
    assert len(held) == 25
    assert len(kept) + len(held) == len(stories)
    assert set(held.k.tolist()) == {3}
    seen = {tuple(row.flatten().tolist()) for row in kept.told}
    assert not seen & {tuple(row.flatten().tolist()) for row in held.told}


def test_training_is_the_same_under_the_same_seed() -> None:
    found = []
    for _ in range(2):
        model = EdgeTokenTransformer(R, slots=6, embed_dim=8, num_heads=2, num_layers=1, seed=4)
        training = StoryTraining(steps=3, slots=6, invariance=10.0)
        train_on_stories(model, model.answer, cyclic((2, 3)), training, seed=1)
        found.append(model.answer(cyclic((2,))))
    assert torch.equal(*found)


def test_line_graph_joins_tokens_that_share_an_entity() -> None:
    tokens = torch.tensor([[[0, 9, 3], [0, 1, 1], [1, 2, 2], [2, 0, 3], [-1, -1, -1]]])
    expected = torch.tensor(
        [[1, 1, 0, 1, 0], [1, 1, 1, 0, 0], [0, 1, 1, 1, 0], [1, 0, 1, 1, 0], [0, 0, 0, 0, 0]]
    )
    assert torch.equal(edge_graph(tokens)[0].long(), expected)


# ------------------------------------------------------------------- invariance penalty


def test_irm_penalty_is_the_squared_gradient_of_a_scale() -> None:
    logits = torch.randn(40, R, generator=generator())
    labels = torch.randint(R, (40,), generator=generator(1))
    scale = torch.ones((), requires_grad=True)
    risk = torch.nn.functional.cross_entropy(logits * scale, labels)
    (slope,) = torch.autograd.grad(risk, scale)
    assert irm_penalty(logits, labels).item() == pytest.approx(slope.item() ** 2, rel=1e-4)


def test_irm_penalty_of_one_logit_is_that_of_two() -> None:
    logits = torch.randn(40, generator=generator())
    labels = torch.randint(2, (40,), generator=generator(1))
    two = torch.stack([torch.zeros(40), logits], dim=1)
    assert irm_penalty(logits, labels).item() == pytest.approx(irm_penalty(two, labels).item())


# ------------------------------------------------------------------- text


def test_windows_name_pairs_and_mask_the_direction_not_told() -> None:
    words = read_words(texts(), least=1)
    windows = cut_windows(texts(), words, RELATIONS)
    by_pair = {
        tuple(p): label
        for p, label in zip(windows.pair.tolist(), windows.label.tolist(), strict=True)
    }
    assert by_pair[0, 0, 1] == [0, -1]
    assert by_pair[0, 1, 2] == [1, -1]
    assert by_pair[0, 0, 2] == [R, R]
    assert "aunt" in words
    assert not any("n0" in word for word in words)


def test_extractor_learns_its_texts_and_reads_no_names() -> None:
    words = read_words(texts(), least=1)
    windows = cut_windows(texts(), words, RELATIONS)
    extractor = EdgeExtractor(R, buckets=512, hidden=16, dropout=0.0)
    train_extractor(extractor, windows, steps=60, batch_size=16)
    told = encode_stories(texts(), RELATIONS)
    found = told_edges(extract_edges(extractor, windows, 2, 3), told, least=0.5)
    for number in range(2):
        rows = {tuple(row) for row in found.told[number].tolist()}
        assert {tuple(row) for row in told.told[number].tolist()} <= rows
    renamed = [
        dataclasses.replace(
            s,
            text=s.text.replace("N", "Z"),
            entities=tuple(n.replace("N", "Z") for n in s.entities),
        )
        for s in texts()
    ]
    other = cut_windows(renamed, words, RELATIONS)
    assert torch.equal(other.words, windows.words)


# ------------------------------------------------------------------- bad input

GOOD = {"edges": torch.zeros(2, 3, 3, R), "query": torch.tensor([[0, 1], [1, 2]])}
TOO_MUCH = torch.full((2, 3, 3, R), 0.5)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"edges": torch.zeros(2, 3, 4, R)}, "edges"),
        ({"edges": torch.zeros(2, 3, 3, R + 1)}, "edges"),
        ({"edges": TOO_MUCH}, "edges: a state sums to 2.5"),
        ({"edges": -TOO_MUCH}, "negative"),
        ({"edges": TOO_MUCH * float("nan")}, "not finite"),
        ({"query": torch.tensor([[0, 1]])}, "query"),
        ({"query": torch.tensor([[0, 3], [1, 2]])}, "query"),
        ({"steps": torch.tensor([1])}, "steps"),
        ({"steps": torch.tensor([1, -1])}, "steps"),
    ],
)
def test_composer_refuses(changes: dict[str, Tensor], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        PairComposer(R, width=4, hidden=4)(**(GOOD | changes))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"n_relations": 0}, "n_relations"),
        ({"hidden": 0}, "hidden"),
        ({"modulation": "soft"}, "modulation"),
        ({"cut": 1.0}, "cut"),
        ({"graph": "oracle"}, "graph"),
        ({"graph": np.ones((2, 2))}, "graph"),
        ({"graph": np.full((R, R), np.nan)}, "graph"),
    ],
)
def test_composer_refuses_options(options: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        PairComposer(**({"n_relations": R} | options))  # type: ignore[arg-type]


def test_peers_refuse() -> None:
    with pytest.raises(ValueError, match="attention"):
        EdgeTokenTransformer(R, attention="sparse")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="slots=2"):
        EdgeTokenTransformer(R, slots=2).answer(cyclic((2,)))
    with pytest.raises(ValueError, match="num_heads"):
        EdgeTransformer(R, embed_dim=9, num_heads=2)
    with pytest.raises(ValueError, match="two edges"):
        RuleTable(R).fit(cyclic((3,)))
    with pytest.raises(ValueError, match="edges"):
        RuleTable(R).chart(torch.zeros(1, 2, 3, R))
    with pytest.raises(ValueError, match="buckets"):
        EdgeExtractor(R, buckets=0)


def test_stories_refuse() -> None:
    with pytest.raises(ValueError, match="none"):
        encode_stories([], RELATIONS)
    with pytest.raises(ValueError, match="'r4'"):
        encode_stories([story((0, 4), 1)], RELATIONS[:4])
    with pytest.raises(ValueError, match="share"):
        hold_out(cyclic((3,)), 1.0, generator())
    with pytest.raises(ValueError, match="more than two edges"):
        hold_out(cyclic((2,)), 0.5, generator())
    with pytest.raises(ValueError, match="slots"):
        cyclic((3,)).renumbered(3, generator())
    with pytest.raises(ValueError, match="near each other"):
        cut_windows([story((0, 1), 2, "Nobody is named.")], {}, RELATIONS)
    with pytest.raises(ValueError, match="1 stories"):
        told_edges(torch.zeros(1, 3, 3, R), cyclic((2,)))


@pytest.mark.parametrize(
    ("logits", "labels", "named"),
    [
        (torch.zeros(3, 2, 2), torch.zeros(3), "logits"),
        (torch.zeros(0, 2), torch.zeros(0), "logits"),
        (torch.zeros(3, 2), torch.zeros(2), "labels"),
        (torch.zeros(3, 2), torch.tensor([0, 1, 2]), r"labels must be in 0\.\.1"),
    ],
)
def test_irm_penalty_refuses(logits: Tensor, labels: Tensor, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        irm_penalty(logits, labels)
