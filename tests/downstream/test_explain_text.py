"""Explanations of predictions on text."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from causal_rl.downstream import (
    ClassifierOptions,
    CueClassifier,
    TextPrediction,
    explain_cue,
    explain_sentence,
    explain_text,
    make_game,
)

WORDS = ("a", "dull", "plot", "a")


def _score(sets):
    """Class 1 as long as "dull" is there."""
    return np.array([[0.0, -1.0 if 1 in places else 1.0] for places in sets])


def _attention(n=5, favourite=1):
    """Everything looks at itself, the prediction at one word too."""
    weights = np.eye(n)
    weights[-1] = 0.0
    weights[-1, [favourite, n - 1]] = 0.5
    return weights


def test_the_word_that_decides_is_found_and_drawn(tmp_path):
    found = explain_text(WORDS, _score, _attention(), classes=("good", "bad"), rows=1000)
    assert found.prediction == "bad"
    assert found.due_to == ("dull",)
    assert found.found.calls == 1
    assert str(found) == "'bad' because of 'dull'; else 'good'"
    assert found.graph.names == ("a", "dull", "plot", "a 2", "prediction")
    assert found.scores.tolist() == [0.0, 1.0]
    assert found.scores_without.tolist() == [0.0, -1.0]
    figure = found.plot(title="why")
    figure.savefig(tmp_path / "why.png", dpi=40)
    assert (tmp_path / "why.png").stat().st_size > 1000
    texts = {text.get_text().split("\n")[0] for axes in figure.axes for text in axes.texts}
    assert set(WORDS) <= texts


def test_a_word_that_is_not_linked_is_not_tried():
    found = explain_text(
        WORDS, _score, _attention(favourite=2), classes=("good", "bad"), rows=1000, max_size=2
    )
    assert found.due_to == ()
    assert found.scores_without is None
    assert "no set of linked words" in str(found)
    outer = Figure()
    assert found.plot(outer) is outer


def test_each_set_is_asked_once():
    asked = []

    def score(sets):
        asked.extend(sets)
        return _score(sets)

    prediction = TextPrediction(score, 4)
    prediction.scores([(0,), (1,)])
    prediction.scores([(1,), (2,)])
    assert asked == [(), (0,), (1,), (2,)]
    assert len(prediction) == 4
    assert (prediction.item, prediction.ranking) == (1, [1, 0])


def test_the_printed_reading_rests_on_the_features_of_a_token():
    options = {"classes": ("good", "bad"), "read_as": "printed"}
    assert explain_text(WORDS, _score, _attention(), rows=32, **options).due_to == ("dull",)
    assert explain_text(WORDS, _score, _attention(), rows=4, **options).due_to == ()


def test_the_explanation_of_a_classifier_names_words_of_the_sequence():
    game = make_game("majority", 0)
    torch.manual_seed(0)
    model = CueClassifier(game.length, game.words, ClassifierOptions()).eval()
    tokens = game.sample(1, 0.5, 0).tokens[0]
    found = explain_cue(model, game, tokens, game.graph.contemporaneous, max_size=2)
    assert list(found.words) == game.text(tokens)
    # What the label cannot hear gets no attention.
    deaf = [p for p in range(game.length) if p not in game.cause_positions]
    assert np.allclose(found.attention[deaf], 0)
    assert found.attention[list(game.cause_positions)].sum() > 0
    places = list(found.found.places or ())
    assert set(places) <= set(game.cause_positions)


def test_a_small_bert_is_explained_by_words_not_pieces():
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "bad", "good", "film", "##s", "a"]
    model = tokenizers.models.WordPiece(
        {word: k for k, word in enumerate(vocabulary)}, unk_token="[UNK]"
    )
    inner = tokenizers.Tokenizer(model)
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    inner.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="[PAD]")
    config = transformers.BertConfig(
        vocab_size=10, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=8, attn_implementation="eager",
    )  # fmt: skip
    torch.manual_seed(0)
    bert = transformers.BertModel(config).eval()
    classes = {"yes": "a good film", "no": "bad"}
    found = explain_sentence(bert, tokenizer, "bad films a", classes)
    assert found.words == ("bad", "films", "a")
    assert found.graph.n == 4
    assert found.prediction in classes
    with pytest.raises(ValueError, match="1 words"):
        explain_sentence(bert, tokenizer, "films", classes)
    with pytest.raises(ValueError, match="1 classes"):
        explain_sentence(bert, tokenizer, "bad films", {"yes": "a"})


def test_bad_input_is_refused():
    classes = ("good", "bad")
    with pytest.raises(ValueError, match="attention has shape"):
        explain_text(WORDS, _score, np.eye(4), classes=classes, rows=1000)
    with pytest.raises(ValueError, match="sum to 1"):
        explain_text(WORDS, _score, 2 * np.eye(5), classes=classes, rows=1000)
    with pytest.raises(ValueError, match="3 names"):
        explain_text(WORDS, _score, _attention(), classes=("a", "b", "c"), rows=1000)
    with pytest.raises(ValueError, match="finite"):
        TextPrediction(lambda sets: np.full((len(sets), 2), np.nan), 3)
    with pytest.raises(ValueError, match="length is 0"):
        TextPrediction(_score, 0)
