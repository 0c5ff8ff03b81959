"""Texts as rows, word statistics, and what the label's token can read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from causal_rl.datasets import CausalQuestion, Review, SentencePair
from causal_rl.downstream.text_graph import associated_words, fit_words, presence
from causal_rl.downstream.text_model import TextTransformer
from causal_rl.downstream.text_tokens import (
    FILLER,
    OTHER,
    ROLES,
    TextRows,
    make_vocabulary,
    pair_texts,
    question_texts,
    review_texts,
    text_rows,
    words_of,
)
from causal_rl.downstream.token_model import TokenOptions

OPTIONS = TokenOptions(embed_dim=8, num_heads=2, feedforward_dim=8, steps=2)


def test_words_are_lower_case_and_tags_are_none() -> None:
    assert words_of("It isn't GOOD.<br /><br />Why? 10/10!") == [
        "it", "isn't", "good", "why", "?", "10", "10", "!",
    ]  # fmt: skip


def test_reviews_have_one_role_and_pairs_four() -> None:
    assert review_texts([Review("so good", positive=True)]) == [([("so", 0), ("good", 0)], 1)]
    ((words, label),) = pair_texts([SentencePair("a man eats", "the man sleeps", "contradiction")])
    assert [ROLES[role] for _, role in words] == [
        "first", "first, shared", "first", "second", "second, shared", "second",
    ]  # fmt: skip
    assert label == 2


def test_the_cause_comes_before_the_effect() -> None:
    ask = CausalQuestion("it rained", "cause", ("clouds came", "grass grew"), 0)
    (first, right), (second, wrong) = question_texts([ask])
    assert [word for word, _ in first] == ["clouds", "came", "it", "rained"]
    assert [word for word, _ in second] == ["grass", "grew", "it", "rained"]
    assert (right, wrong) == (1, 0)
    ((told, _), _) = question_texts([CausalQuestion("it rained", "effect", ("a", "b"), 1)])
    assert [word for word, _ in told] == ["it", "rained", "a"]


def test_rows_are_filled_up_and_cut_off() -> None:
    texts = review_texts([Review("b a b c", positive=True), Review("a", positive=False)])
    vocabulary = make_vocabulary(texts, most=5)
    assert vocabulary == ("a",)  # the one word in two texts
    rows = text_rows(texts, vocabulary, longest=3)
    assert rows.words.tolist() == [[OTHER, 2, OTHER], [2, FILLER, FILLER]]
    assert rows.labels.tolist() == [1, 0]


def _rows(n: int, seed: int) -> TextRows:
    """Word 2 causes the label, word 3 goes with word 2, words from 4 on are noise."""
    rng = np.random.default_rng(seed)
    cause = rng.random(n) < 0.5
    label = cause ^ (rng.random(n) < 0.1)
    follows = cause ^ (rng.random(n) < 0.2)
    noise = rng.integers(4, 12, size=(n, 3))
    words = np.column_stack([np.where(cause, 2, OTHER), np.where(follows, 3, OTHER), noise])
    return TextRows(
        words.astype(np.int64), np.zeros_like(words, dtype=np.int64), label.astype(np.int64)
    )


def test_a_word_that_goes_with_a_cause_is_associated_and_gets_no_weight() -> None:
    rows, held_out = _rows(4000, 0), _rows(500, 1)
    associated = associated_words(rows, 12)
    assert associated[2, 0]
    assert associated[3, 0]
    assert not associated[4:].any()
    found = fit_words(rows, held_out, 12, strengths=(0.02,))
    assert found.edges()[2, 0]
    assert not found.edges()[3:].any()
    assert (found.logits(held_out).argmax(axis=1) == held_out.labels).mean() > 0.85


def test_the_penalised_loss_is_at_its_minimum() -> None:
    rows = _rows(600, 2)
    strength = 0.005
    found = fit_words(rows, rows, 12, strengths=(strength,))
    X = presence(rows, 12)
    residual = np.exp(found.logits(rows)) - np.eye(2)[rows.labels]
    slope = X.T @ residual / len(rows)
    active = found.weights != 0
    np.testing.assert_allclose(slope[active], -strength * np.sign(found.weights[active]), atol=2e-4)
    assert (np.abs(slope[~active]) <= strength + 2e-4).all()
    np.testing.assert_allclose(residual.mean(axis=0), 0, atol=2e-4)


def test_presence_counts_a_word_once_in_a_role() -> None:
    rows = TextRows(np.array([[2, 2, 3, 1, 0]]), np.array([[0, 0, 1, 0, 0]]), np.array([0]))
    table = presence(rows, 4).toarray()
    assert table.sum() == 2
    assert table[0, 2 * len(ROLES)] == table[0, 3 * len(ROLES) + 1] == 1


def test_the_label_hears_words_with_edges_and_their_neighbours_alone() -> None:
    edges = np.zeros((10, len(ROLES)), dtype=bool)
    edges[2, 0] = True
    model = TextTransformer(10, 12, 2, TokenOptions(embed_dim=8, num_heads=2, num_layers=1), edges)
    model.eval()
    words = torch.tensor([[3, 4, 5, 6, 2, 7, 8, 9, 3, 4]])
    roles = torch.zeros_like(words)
    with torch.no_grad():
        before = model(words, roles)
        for place in range(10):
            other = words.clone()
            other[0, place] = 9 if place != 7 else 3
            # In one layer the label reads words with edges as they are.
            assert torch.equal(model(other, roles), before) is (place != 4)
    deeper = TextTransformer(10, 12, 2, OPTIONS, edges).eval()
    with torch.no_grad():
        before = deeper(words, roles)
        changed = []
        for place in range(10):
            other = words.clone()
            other[0, place] = 9 if place != 7 else 3
            changed.append(not torch.equal(deeper(other, roles), before))
    assert changed == [2 <= place <= 6 for place in range(10)]


def test_fillers_change_nothing() -> None:
    words, roles = torch.tensor([[3, 4, 5]]), torch.tensor([[1, 1, 2]])
    for edges in (None, np.ones((6, len(ROLES)), dtype=bool)):
        model = TextTransformer(6, 8, 3, OPTIONS, edges).eval()
        with torch.no_grad():
            short = model(words, roles)
            pad = torch.zeros(1, 4, dtype=torch.int64)
            long = model(torch.cat([words, pad], 1), torch.cat([roles, pad], 1))
        torch.testing.assert_close(short, long)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="most is 0"):
        make_vocabulary([], most=0)
    with pytest.raises(ValueError, match="0 texts of length 3"):
        text_rows([], (), longest=3)
    with pytest.raises(ValueError, match="strengths is empty"):
        fit_words(_rows(10, 0), _rows(10, 1), 12, strengths=())
    with pytest.raises(ValueError, match=r"edges has shape \(2, 2\)"):
        TextTransformer(6, 8, 3, OPTIONS, np.ones((2, 2)))
