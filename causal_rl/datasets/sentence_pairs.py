"""Two sentences and whether the first entails the second."""

from __future__ import annotations

from dataclasses import dataclass

NLI_LABELS = ("entailment", "neutral", "contradiction")


@dataclass(frozen=True)
class SentencePair:
    """A premise, a hypothesis and their relation.

    Attributes:
        premise: first sentence.
        hypothesis: second sentence.
        label: one of `NLI_LABELS`.
        relatedness: 1 (unrelated) to 5 (same meaning), None where nobody judged it.
    """

    premise: str
    hypothesis: str
    label: str
    relatedness: float | None = None
