"""Reviews, sentence pairs and causal questions as rows of words, each with its part in the text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causal_rl.datasets import NLI_LABELS, CausalQuestion, Review, SentencePair

Integers = NDArray[np.int64]
#: A text: words with their roles, and a label.
Text = tuple[Sequence[tuple[str, int]], int]

#: What a word's place in the text is. Of two sentences: in the first, in the second, and each of
#: these where the other sentence has the word too.
ROLES = ("alone", "first", "second", "first, shared", "second, shared")
#: Numbers of the words that are none: a filler, and any word that the vocabulary lacks.
FILLER, OTHER = 0, 1

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|[0-9]+|[!?]")


def words_of(text: str) -> list[str]:
    """Lower-case words, numbers, and marks of exclamation and question; no tags."""
    return _WORD.findall(text.replace("<br />", " ").lower())


def review_texts(reviews: Iterable[Review]) -> list[Text]:
    """Reviews; label 1 is positive."""
    texts: list[Text] = []
    for review in reviews:
        texts.append(([(word, 0) for word in words_of(review.text)], int(review.positive)))
    return texts


def pair_texts(pairs: Iterable[SentencePair]) -> list[Text]:
    """Premise and hypothesis; the label is an index into `NLI_LABELS`."""
    return [(_two(p.premise, p.hypothesis), NLI_LABELS.index(p.label)) for p in pairs]


def question_texts(questions: Iterable[CausalQuestion]) -> list[Text]:
    """Two texts a question, in order: cause before effect; label 1 is that of the right answer."""
    texts: list[Text] = []
    for question in questions:
        for number, hypothesis in enumerate(question.hypotheses):
            ends = (question.premise, hypothesis)
            cause, effect = ends if question.ask_for == "effect" else ends[::-1]
            texts.append((_two(cause, effect), int(number == question.answer)))
    return texts


def _two(first: str, second: str) -> Sequence[tuple[str, int]]:
    left, right = words_of(first), words_of(second)
    shared = set(left) & set(right)
    return [(word, 1 + 2 * (word in shared)) for word in left] + [
        (word, 2 + 2 * (word in shared)) for word in right
    ]


@dataclass(frozen=True)
class TextRows:
    """Texts as numbers.

    Attributes:
        words: int64 ``(N, T)``, 0 for a filler, 1 for words that the vocabulary lacks.
        roles: int64 ``(N, T)``, index into `ROLES`.
        labels: int64 ``(N,)``.
    """

    words: Integers
    roles: Integers
    labels: Integers

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.labels)

    def inputs(self) -> tuple[Tensor, Tensor]:
        """The inputs of `TextTransformer`."""
        return torch.from_numpy(self.words), torch.from_numpy(self.roles)


def make_vocabulary(texts: Iterable[Text], *, most: int, least_texts: int = 2) -> tuple[str, ...]:
    """The words in most texts, in that order.

    Args:
        texts: of the training.
        most: words kept at most, >= 1.
        least_texts: texts that a word must be in.

    Raises:
        ValueError: ``most`` is below 1.
    """
    if most < 1:
        raise ValueError(f"most is {most!r}; it must be >= 1")
    counts = Counter(word for text, _ in texts for word in {word for word, _ in text})
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(word for word, count in ranked[:most] if count >= least_texts)


def text_rows(texts: Sequence[Text], vocabulary: Sequence[str], *, longest: int) -> TextRows:
    """Texts as rows; the end of a longer text is cut off.

    Args:
        texts: at least one.
        vocabulary: words from number 2 on.
        longest: words kept of a text, >= 1.

    Raises:
        ValueError: no texts, or ``longest`` below 1.
    """
    if not texts or longest < 1:
        raise ValueError(f"{len(texts)} texts of length {longest}; both must be at least 1")
    number = {word: i + 2 for i, word in enumerate(vocabulary)}
    width = min(longest, max(1, *(len(text) for text, _ in texts)))
    words = np.zeros((len(texts), width), dtype=np.int64)
    roles = np.zeros_like(words)
    for row, (text, _) in enumerate(texts):
        for place, (word, role) in enumerate(text[:width]):
            words[row, place], roles[row, place] = number.get(word, OTHER), role
    return TextRows(words, roles, np.array([label for _, label in texts], dtype=np.int64))
