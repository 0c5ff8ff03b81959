"""CLEANN on text: the words that a prediction is due to, and the graph that they were found in.

The attention of a transformer over the words and the prediction is read as a partial ancestral
graph (`abcd`); sets of words linked to the prediction are removed, small and near ones first, until
the model predicts something else (`explain_by_graph`; Rohekar et al. 2023).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from causal_rl.discovery.abcd import ReadAs, abcd
from causal_rl.discovery.cleann import Explanation, Places, Recommendation, explain_by_graph
from causal_rl.discovery.pag import influences
from causal_rl.graphs import PartialGraph

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from causal_rl.downstream.cue_classifier import CueClassifier
    from causal_rl.downstream.cue_game import CueGame

Array = NDArray[np.float64]
#: Scores (m, classes), such as log odds, without each of m sets of places of words.
Score = Callable[[Sequence[Places]], ArrayLike]

PREDICTION = "prediction"
#: Of the temperature by which cosines of sentence embeddings are made log odds, for the picture.
_SHARPNESS = 20.0


class TextPrediction(Recommendation):
    """A model's prediction of a class from words, and what becomes of it without some.

    Args:
        score: of the classes, without each of some sets of words.
        length: number of words.

    Attributes:
        item: the class that is predicted.
        ranking: all classes, the predicted first.

    Raises:
        ValueError: no words, or scores of another shape or not finite.
    """

    def __init__(self, score: Score, length: int) -> None:
        if length < 1:
            raise ValueError(f"length is {length}; it must be at least 1")
        self._score = score
        self._rank(np.arange(length, dtype=np.int64))

    def _ask(self, sets: Sequence[Places]) -> Array:
        found = np.asarray(self._score(sets), dtype=np.float64)
        if found.ndim != 2 or len(found) != len(sets) or not np.isfinite(found).all():
            raise ValueError(
                f"score must give ({len(sets)}, classes) finite numbers, got {found.shape}"
            )
        return found


@dataclass(frozen=True, eq=False)
class TextExplanation:
    """A prediction, the words that it is due to, and the graph that they were found in.

    Attributes:
        words: in their order.
        classes: names of the classes.
        found: the words removed, by their places, and what is predicted without them.
        graph: over the words and the prediction, last; its names are distinct.
        attention: (n,) what the prediction gives to each word, mean over heads.
        scores: (classes,) with all words.
        scores_without: (classes,) without the words found; None where there are none.
    """

    words: tuple[str, ...]
    classes: tuple[str, ...]
    found: Explanation
    graph: PartialGraph
    attention: Array
    scores: Array
    scores_without: Array | None

    @property
    def prediction(self) -> str:
        """The class that is predicted."""
        return self.classes[int(np.argmax(self.scores))]

    @property
    def due_to(self) -> tuple[str, ...]:
        """The words without which the prediction is another; none if no set was found."""
        return tuple(self.words[place] for place in self.found.places or ())

    def __str__(self) -> str:
        """The explanation in a sentence."""
        if self.found.replacement is None:
            return f"{self.prediction!r}: no set of linked words that was tried changes it"
        words = ", ".join(repr(word) for word in self.due_to)
        return (
            f"{self.prediction!r} because of {words}; else {self.classes[self.found.replacement]!r}"
        )

    def plot(self, figure: Any = None, *, title: str | None = None) -> Any:
        """Draw the words, the graph, and the prediction with and without the words found.

        Args:
            figure: a matplotlib figure or sub-figure to draw on; a new one if None.
            title: above it; the explanation in a sentence if None.

        Returns:
            The figure.
        """
        if figure is None:
            from matplotlib.figure import Figure

            figure = Figure(figsize=(7, 8.5), layout="constrained")
        above, middle, below = figure.subplots(3, 1, height_ratios=[1.4, 5, 1.1])
        figure.suptitle(str(self) if title is None else f"{title}\n{self}", fontsize=10)
        self._draw_words(above)
        self.graph.plot(middle)
        self._draw_classes(below)
        return figure

    def _draw_words(self, axes: Axes) -> None:
        last = len(self.words)
        near = influences(self.graph.marks, last)
        per_line = max(4, -(-last // (1 + last // 12)))
        lines = -(-last // per_line)
        for place, word in enumerate(self.words):
            line, column = divmod(place, per_line)
            removed = place in (self.found.places or ())
            share = float(self.attention[place] / max(self.attention.max(), 1e-12))
            axes.text(
                (column + 0.5) / per_line,
                1 - (line + 0.5) / lines,
                f"{word}\n{near[place]}" if place in near else f"{word}\n ",
                ha="center",
                va="center",
                fontsize=9,
                fontweight="bold" if removed else "normal",
                bbox={
                    "boxstyle": "round",
                    "facecolor": (1.0, 1.0 - 0.5 * share, 1.0 - 0.9 * share),
                    "edgecolor": "C3" if removed else "none",
                    "linewidth": 2,
                },
            )
        axes.set_axis_off()
        axes.set_title(
            "words: shade by attention, distance to the prediction in the graph below, "
            "frame where removed",
            fontsize=8,
        )

    def _draw_classes(self, axes: Axes) -> None:
        places = np.arange(len(self.classes))
        axes.barh(places - 0.2, _softmax(self.scores), 0.4, color="C0", label="all words")
        if self.scores_without is not None:
            without = _softmax(self.scores_without)
            axes.barh(places + 0.2, without, 0.4, color="C3", label="without the framed")
        axes.set_yticks(places, list(self.classes))
        axes.set(xlim=(0, 1), ylim=(len(places) - 0.5, -0.5), xlabel="probability")
        axes.legend(fontsize=8, loc="lower right")


def explain_text(
    words: Sequence[str],
    score: Score,
    attention: ArrayLike,
    *,
    classes: Sequence[str],
    rows: float,
    read_as: ReadAs = "mended",
    alpha: float = 0.05,
    max_size: int = 3,
) -> TextExplanation:
    """Explain a prediction from words.

    Args:
        words: n words.
        score: see `Score`; how a word is removed is its affair.
        attention: (n + 1, n + 1) or (heads, n + 1, n + 1) as [query, key], rows of sum 1, the
            prediction last.
        classes: names of the classes, in the order of the scores.
        rows: independent rows that the correlations read from the attention are taken to rest on:
            for "printed" the features of a token, for "mended" the texts of the training.
        read_as: see `attention_covariance`.
        alpha: level of the tests.
        max_size: of a set of words.

    Returns:
        The explanation.

    Raises:
        TypeError: attention is not numbers.
        ValueError: sizes disagree, or a value out of range.
    """
    words, classes = tuple(words), tuple(classes)
    weights = np.asarray(attention)
    if weights.ndim not in (2, 3) or weights.shape[-1] != len(words) + 1:
        n = len(words) + 1
        raise ValueError(
            f"attention has shape {weights.shape}; it must be ({n}, {n}) or (heads, {n}, {n}): "
            f"{len(words)} words and the prediction"
        )
    prediction = TextPrediction(score, len(words))
    scores = prediction.scores([()])[0]
    if len(scores) != len(classes):
        raise ValueError(f"classes has {len(classes)} names; score gives {len(scores)} scores")
    graph = abcd(weights, rows, read_as=read_as, alpha=alpha, names=_distinct([*words, PREDICTION]))
    found = explain_by_graph(prediction, graph, max_size=max_size)
    mean = weights.reshape(-1, *weights.shape[-2:]).mean(axis=0)
    return TextExplanation(
        words=words,
        classes=classes,
        found=found,
        graph=graph,
        attention=mean[-1, :-1],
        scores=scores,
        scores_without=None if found.places is None else prediction.scores([found.places])[0],
    )


def explain_cue(
    model: CueClassifier,
    game: CueGame,
    tokens: Sequence[int] | NDArray[np.int64],
    graph: ArrayLike,
    *,
    read_as: ReadAs = "mended",
    alpha: float = 0.05,
    max_size: int = 3,
) -> TextExplanation:
    """Explain a classifier of the cue game. Words are hidden; train with ``hide`` above 0.

    Correlations are taken to rest on the rows of the training; for "printed", on the features of a
    token, as the authors of ABCD have it.

    Args:
        model: trained.
        game: for the words.
        tokens: (length,) the sequence.
        graph: (length + 1, length + 1), that of the training.
        read_as: as `explain_text`.
        alpha: as `explain_text`.
        max_size: as `explain_text`.

    Raises:
        ValueError: as `explain_text`, or no such words.
    """
    words = game.text(tokens)
    row = torch.as_tensor(np.asarray(tokens, dtype=np.int64))[None]
    mask = model.prepare(graph)

    @torch.no_grad()
    def score(sets: Sequence[Places]) -> ArrayLike:
        hidden = _hidden(sets, len(words))
        scores: Array = model(row.repeat(len(sets), 1), mask, hidden).double().numpy()
        return scores

    return explain_text(
        words,
        score,
        model.attention(row, mask)[0],
        classes=("no", "yes"),
        rows=model.rows_seen if read_as == "mended" and model.rows_seen else len(model.label),
        read_as=read_as,
        alpha=alpha,
        max_size=max_size,
    )


def explain_sentence(
    model: Any,
    tokenizer: Any,
    sentence: str,
    classes: Mapping[str, str],
    *,
    read_as: ReadAs = "mended",
    alpha: float = 0.05,
    max_size: int = 3,
) -> TextExplanation:
    """Explain to which description a BERT for sentence embeddings finds a sentence nearest.

    A word is removed by hiding it from the attention. The prediction is a mean over tokens, so its
    row of attention is the mean of theirs in the last layer; what goes to special tokens is counted
    as its own. Correlations are taken to rest on as many rows as a token has features.

    Args:
        model: a BERT of the transformers library in evaluation mode, with eager attention.
        tokenizer: its fast tokenizer.
        sentence: of at least two words.
        classes: descriptions by the names of the classes, at least two.
        read_as: as `explain_text`.
        alpha: as `explain_text`.
        max_size: as `explain_text`.

    Raises:
        ValueError: fewer than two classes or words, or a model that gives no attention.
    """
    words = sentence.split()
    if len(classes) < 2 or len(words) < 2:
        raise ValueError(
            f"there are {len(classes)} classes and {len(words)} words; both must be at least 2"
        )
    given = tokenizer(words, is_split_into_words=True, return_tensors="pt")
    owner = np.array([-1 if w is None else w for w in given.word_ids()])
    described = tokenizer(list(classes.values()), padding=True, return_tensors="pt")

    @torch.no_grad()
    def embed(batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        states = model(**batch).last_hidden_state
        seen = batch["attention_mask"].unsqueeze(-1)
        return torch.nn.functional.normalize((states * seen).sum(1) / seen.sum(1), dim=-1)

    wanted = embed(dict(described))

    def score(sets: Sequence[Places]) -> ArrayLike:
        kept = ~_hidden(sets, len(words) + 1)[:, owner]  # owner -1 is the place after the words
        batch = {k: v.repeat(len(sets), 1) for k, v in given.items()}
        batch["attention_mask"] = kept.long()
        scores: Array = (_SHARPNESS * embed(batch) @ wanted.T).double().numpy()
        return scores

    with torch.no_grad():
        layers = model(**given, output_attentions=True).attentions
    if not layers:
        raise ValueError("model gives no attention; load it with attn_implementation='eager'")
    weights = layers[-1][0].double().numpy()
    return explain_text(
        words,
        score,
        _by_word(weights, owner),
        classes=tuple(classes),
        rows=model.config.hidden_size,
        read_as=read_as,
        alpha=alpha,
        max_size=max_size,
    )


def _by_word(weights: Array, owner: NDArray[np.intp]) -> Array:
    """Attention (heads, T, T) of pieces as (heads, n + 1, n + 1) of words and the pooled mean."""
    n = int(owner.max()) + 1
    belongs = np.zeros((n + 1, len(owner)))
    belongs[owner, np.arange(len(owner))] = 1.0
    queries = belongs / belongs.sum(axis=1, keepdims=True)
    queries[-1] = 1.0 / len(owner)
    merged: Array = queries @ weights @ belongs.T
    return merged


def _hidden(sets: Sequence[Places], n: int) -> torch.Tensor:
    hidden = torch.zeros(len(sets), n, dtype=torch.bool)
    for row, places in enumerate(sets):
        hidden[row, list(places)] = True
    return hidden


def _distinct(words: Iterable[str]) -> list[str]:
    """Words that occurred before get a number."""
    seen: dict[str, int] = {}
    names: list[str] = []
    for word in words:
        seen[word] = seen.get(word, 0) + 1
        name = word if seen[word] == 1 else f"{word} {seen[word]}"
        while name in names:
            name += "'"
        names.append(name)
    return names


def _softmax(scores: Array) -> Array:
    share = np.exp(scores - scores.max())
    return np.asarray(share / share.sum())
