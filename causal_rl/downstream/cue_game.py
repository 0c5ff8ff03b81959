"""A token game with a spurious cue: does a classifier read the causes, or what is easier?

A sequence has a word at each of ``length`` positions. Words are nominal: half of those of a
position mean 1, which ones is drawn with the game. In causal order:

    causes      words drawn uniformly; they mean C_1 .. C_k
    followers   copy the meaning of a cause with probability ``follow``, else a word at random
    label       rule(C_1 .. C_k), turned over with probability ``noise``
    others      words drawn uniformly, of no account
    cue         in a share ``present`` of the sequences: the word that means the label, with
                probability ``correlation``, else one of the two cue words at random; in the other
                sequences a filler

so that the correlation of cue and label, where there is a cue, is ``correlation``: .999 when the
training rows are drawn and .03 out of distribution. The cue causes nothing.

Two numbers were chosen with an eye on what models then do. ``noise`` makes .985 the best that
causes allow. ``present`` is a third, as a telling word in real texts is there or is not: a model
that heeds the cue where there is one and the causes where there is none has
(1 - p)(1 - noise) + p / 2 out of distribution, .82. With a cue in every sequence (the game
"always") a transformer reads nothing else, and guesses there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from causal_rl.graphs import CausalGraph

Rule = Literal["majority", "parity", "copy"]
RULES: tuple[Rule, ...] = get_args(Rule)
CueOf = Literal["label", "causes"]
Regime = Literal["observational", "environments", "interventions"]
REGIMES: tuple[Regime, ...] = get_args(Regime)
LABEL = "label"
ENVIRONMENT = "environment"

#: Correlation of cue and label in training, in a second environment, and out of distribution.
TRAIN, SECOND, SHIFTED = 0.999, 0.9, 0.03
#: Share of rows of the regime "interventions" in which one word was set.
SET_SHARE = 0.01

_ONSETS, _VOWELS = "bdfgklmnprstvz", "aeiou"


@dataclass(frozen=True, eq=False)
class CueRows:
    """Sequences with their labels.

    Attributes:
        tokens: (N, length) int64, the number of the word at each position, 0 to words - 1.
        labels: (N,) int64, 0 or 1.
        do_target: (N, length) bool, true where the word was set and not drawn.
        environment: (N,) int64, where the row was collected, from 0.
    """

    tokens: NDArray[np.int64]
    labels: NDArray[np.int64]
    do_target: NDArray[np.bool_]
    environment: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.labels)

    def __getitem__(self, rows: slice) -> CueRows:
        """A slice of the rows."""
        if not isinstance(rows, slice):
            raise TypeError(f"rows must be a slice, not {type(rows).__name__}")
        return CueRows(
            self.tokens[rows], self.labels[rows], self.do_target[rows], self.environment[rows]
        )

    def followed_by(self, more: CueRows) -> CueRows:
        """These rows and then others.

        Raises:
            ValueError: the others are of another length.
        """
        if more.tokens.shape[1] != self.tokens.shape[1]:
            raise ValueError(
                f"more has {more.tokens.shape[1]} positions; it must have {self.tokens.shape[1]}"
            )
        return CueRows(
            np.concatenate([self.tokens, more.tokens]),
            np.concatenate([self.labels, more.labels]),
            np.concatenate([self.do_target, more.do_target]),
            np.concatenate([self.environment, more.environment]),
        )


@dataclass(frozen=True)
class CueGame:
    """One game: which positions cause the label, which holds the cue, what words mean.

    Args:
        rule: "majority" of the causes' meanings, their "parity", or a "copy" of the first.
        causes: k; odd for "majority", 1 for "copy".
        length: positions, the cue's included.
        words: that there are for a position, even and at least 4.
        followers: positions that are effects of a cause, and no causes of the label.
        follow: probability with which they copy its meaning.
        noise: probability with which the label is turned over, below .5.
        present: share of the sequences with a cue, in (0, 1].
        cue_of: the cue shows the "label"; or what the rule makes of the "causes", so that label
            and cue are two effects of common causes.
        seed: of positions and meanings.

    Raises:
        TypeError: a size that is no integer.
        ValueError: out of range, or more causes, followers and cue than positions.
    """

    rule: Rule = "majority"
    causes: int = 3
    length: int = 10
    words: int = 4
    followers: int = 2
    follow: float = 0.5
    noise: float = 0.015
    present: float = 1 / 3
    cue_of: CueOf = "label"
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"causes": 1, "length": 2, "words": 4, "followers": 0, "seed": 0}
        for name, low in least.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise TypeError(f"{name} must be an integer, not {value!r}")
            if value < low:
                raise ValueError(f"{name} is {value}; it must be at least {low}")
        if self.rule not in RULES:
            raise ValueError(f"rule is {self.rule!r}; it must be one of {', '.join(RULES)}")
        if self.cue_of not in ("label", "causes"):
            raise ValueError(f"cue_of is {self.cue_of!r}; it must be 'label' or 'causes'")
        if self.words % 2:
            raise ValueError(f"words is {self.words}; it must be even")
        if self.rule == "majority" and self.causes % 2 == 0:
            raise ValueError(f"causes is {self.causes}; a majority needs an odd number")
        if self.rule == "copy" and self.causes != 1:
            raise ValueError(f"causes is {self.causes}; rule 'copy' takes 1")
        needed = self.causes + self.followers + 1
        if needed > self.length:
            raise ValueError(f"length is {self.length}; causes, followers and cue take {needed}")
        for name, most in (("follow", 1.0), ("noise", 0.5), ("present", 1.0)):
            share = getattr(self, name)
            if not 0.0 <= share <= most or (name == "present" and share == 0):
                raise ValueError(f"{name} is {share}; it must be from 0 to {most}")

    @cached_property
    def _roles(self) -> NDArray[np.intp]:
        return np.random.default_rng([self.seed, 0]).permutation(self.length)

    @property
    def cause_positions(self) -> tuple[int, ...]:
        """Positions of the causes of the label, the first cause first."""
        return tuple(int(p) for p in self._roles[: self.causes])

    @property
    def follower_positions(self) -> tuple[int, ...]:
        """Positions of effects of the causes; the i-th follows cause i modulo k."""
        return tuple(int(p) for p in self._roles[self.causes : self.causes + self.followers])

    @property
    def cue_position(self) -> int:
        """The position of the cue."""
        return int(self._roles[-1])

    @cached_property
    def meanings(self) -> NDArray[np.int64]:
        """(length, words) what the words mean: 0, 1, or -1 for a filler at the cue's position."""
        rng = np.random.default_rng([self.seed, 1])
        table = np.tile(np.arange(self.words) % 2, (self.length, 1))
        table[self.cue_position, 2:] = -1
        return np.asarray(rng.permuted(table, axis=1), dtype=np.int64)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the positions, w1 to w<length>, and the label, last."""
        return (*(f"w{p + 1}" for p in range(self.length)), LABEL)

    @property
    def graph(self) -> CausalGraph:
        """The oracle graph over positions and label, from the specification alone."""
        edges = np.zeros((self.length + 1,) * 2, dtype=bool)
        causes, cue = list(self.cause_positions), self.cue_position
        edges[causes, -1] = True
        for i, follower in enumerate(self.follower_positions):
            edges[causes[i % self.causes], follower] = True
        if self.cue_of == "label":
            edges[-1, cue] = True
        else:
            edges[causes, cue] = True
        return CausalGraph(edges, names=self.names)

    def text(self, tokens: Sequence[int] | NDArray[np.int64]) -> list[str]:
        """The words of a sequence, invented ones.

        Args:
            tokens: (length,) numbers of words.

        Raises:
            ValueError: another length, or no such word.
        """
        row = [int(w) for w in tokens]
        if len(row) != self.length or min(row) < 0 or max(row) >= self.words:
            raise ValueError(
                f"tokens must be {self.length} numbers from 0 to {self.words - 1}, got {row}"
            )
        return [_word(p * self.words + w, self.seed) for p, w in enumerate(row)]

    def sample(
        self,
        rows: int,
        correlation: float,
        rng: np.random.Generator | int,
        *,
        set_share: float = 0.0,
        environment: int = 0,
    ) -> CueRows:
        """Draw sequences.

        Args:
            rows: how many, at least 1.
            correlation: of cue and label where there is a cue, in [0, 1].
            rng: generator or seed.
            set_share: share of the sequences in which the word at one position, any of them, is
                set to one drawn uniformly, whatever would have caused it.
            environment: what the rows are marked with.

        Raises:
            ValueError: out of range.
        """
        if rows < 1:
            raise ValueError(f"rows is {rows}; it must be at least 1")
        for name, value in (("correlation", correlation), ("set_share", set_share)):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} is {value}; it must be from 0 to 1")
        rng = np.random.default_rng(rng)
        tokens = rng.integers(0, self.words, (rows, self.length))
        do_target = np.zeros(tokens.shape, dtype=bool)
        chosen = rng.integers(0, self.length, rows)
        do_target[np.arange(rows), chosen] = rng.random(rows) < set_share
        set_to = tokens.copy()

        def write(position: int, meaning: NDArray[np.int64]) -> None:
            """Words of a meaning at a position, where it was not set."""
            drawn = np.empty(rows, dtype=np.int64)
            for value in np.unique(meaning):
                words = np.flatnonzero(self.meanings[position] == value)
                here = meaning == value
                drawn[here] = rng.choice(words, int(here.sum()))
            held = do_target[:, position]
            tokens[:, position] = np.where(held, set_to[:, position], drawn)

        def meaning(position: int) -> NDArray[np.int64]:
            found: NDArray[np.int64] = self.meanings[position, tokens[:, position]]
            return found

        causes = np.stack([meaning(p) for p in self.cause_positions], axis=1)
        for i, position in enumerate(self.follower_positions):
            copied = rng.random(rows) < self.follow
            random = rng.integers(0, 2, rows)
            write(position, np.where(copied, causes[:, i % self.causes], random))
        clean = _apply(self.rule, causes)
        labels = clean ^ (rng.random(rows) < self.noise)
        shown = labels if self.cue_of == "label" else clean
        faithful = rng.random(rows) < correlation
        cue = np.where(faithful, shown, rng.integers(0, 2, rows))
        if self.present < 1:
            cue = np.where(rng.random(rows) < self.present, cue, -1)
        write(self.cue_position, cue)
        return CueRows(
            tokens, labels.astype(np.int64), do_target, np.full(rows, environment, dtype=np.int64)
        )

    def training_rows(self, regime: Regime, rows: int, rng: np.random.Generator | int) -> CueRows:
        """The data that every method gets under a regime, in random order.

        "observational" has one environment of correlation .999; "environments" half of the rows
        from another one, of .9; "interventions" a word set in 1 % of the rows, marked in
        ``do_target`` and as environment 1.

        Args:
            regime: one of `REGIMES`.
            rows: how many, at least 2.
            rng: generator or seed.

        Raises:
            ValueError: unknown regime, or too few rows.
        """
        if regime not in REGIMES:
            raise ValueError(f"regime is {regime!r}; it must be one of {', '.join(REGIMES)}")
        if rows < 2:
            raise ValueError(f"rows is {rows}; it must be at least 2")
        rng = np.random.default_rng(rng)
        if regime == "environments":
            first = self.sample(rows - rows // 2, TRAIN, rng)
            whole = first.followed_by(self.sample(rows // 2, SECOND, rng, environment=1))
            order = rng.permutation(rows)
            return CueRows(
                whole.tokens[order], whole.labels[order], whole.do_target[order],
                whole.environment[order],
            )  # fmt: skip
        if regime == "observational":
            return self.sample(rows, TRAIN, rng)
        found = self.sample(rows, TRAIN, rng, set_share=SET_SHARE)
        was_set = np.asarray(found.do_target.any(axis=1), dtype=np.int64)
        return replace(found, environment=was_set)


#: Games by name; "majority" is the one that the marks are about.
GAMES: Mapping[str, CueGame] = {
    "majority": CueGame(),
    "parity": CueGame(rule="parity", causes=2),
    "copy": CueGame(rule="copy", causes=1),
    "common-cause": CueGame(cue_of="causes"),
    "always": CueGame(present=1.0),
    "long": CueGame(length=24, causes=5, followers=6),
}


def make_game(name: str, seed: int) -> CueGame:
    """A game of `GAMES` with positions and meanings of its own.

    Raises:
        ValueError: unknown name.
    """
    if name not in GAMES:
        raise ValueError(f"name is {name!r}; it must be one of {', '.join(GAMES)}")
    return replace(GAMES[name], seed=seed)


def _apply(rule: Rule, meanings: NDArray[np.int64]) -> NDArray[np.int64]:
    count = meanings.sum(axis=1)
    if rule == "parity":
        return np.asarray(count % 2)
    return np.asarray((2 * count > meanings.shape[1]).astype(np.int64))


def _word(number: int, seed: int) -> str:
    """An invented word, another one for every number."""
    onsets, vowels = len(_ONSETS), len(_VOWELS)
    size = (onsets * vowels) ** 2
    # A step without common factor with the size goes through all words before one comes again.
    place = (number * 1597 + seed * 397) % size
    letters, endless = "", number // size
    for _ in range(2):
        place, onset = divmod(place, onsets)
        place, vowel = divmod(place, vowels)
        letters += _ONSETS[onset] + _VOWELS[vowel]
    return letters if not endless else f"{letters}{endless}"
