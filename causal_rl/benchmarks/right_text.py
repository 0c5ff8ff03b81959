"""Text: reviews and sentence pairs with counterfactual revisions, SICK, and e-CARE."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from causal_rl.benchmarks.cells import Cell, Outcome, Row, Value
from causal_rl.benchmarks.report import Findings, Mark, markdown_table
from causal_rl.benchmarks.results import Results
from causal_rl.benchmarks.right_methods import (
    ATTN_MASK,
    CATT,
    LEARNED,
    TRANSFORMER,
    draw_splits,
    learned_is_better,
    method_lines,
)
from causal_rl.datasets import (
    load_ecare,
    load_revised_imdb,
    load_revised_nli,
    load_sick,
)
from causal_rl.downstream.text_graph import associated_words, fit_words
from causal_rl.downstream.text_model import TextTransformer
from causal_rl.downstream.text_tokens import (
    ROLES,
    Text,
    TextRows,
    make_vocabulary,
    pair_texts,
    question_texts,
    review_texts,
    text_rows,
)
from causal_rl.downstream.token_model import (
    TokenOptions,
    count_parameters,
    predict_logits,
    train_model,
)

PART = "text"
WORDS, AUGMENTED = "word-regression", "augmented"
METHODS: Mapping[str, str] = {
    TRANSFORMER: "every word and the label see all",
    ATTN_MASK: "softmax(A + log M), the label sees words associated with it at level .01",
    CATT: "unmasked, with cross-sample attention beside the in-sample one",
    LEARNED: "hard mask, the label sees words that an L1 regression on all words keeps",
    WORDS: "that regression itself, no network and the same for every seed",
    AUGMENTED: "the transformer, trained on originals and their revisions: a bound, no rival",
}
IMDB, SNLI, SICK, ECARE = "imdb", "snli", "sick", "e-care"
_PLAIN = (TRANSFORMER, ATTN_MASK, CATT, LEARNED, WORDS)
SPLITS: Mapping[str, Sequence[str]] = {
    IMDB: (*_PLAIN, AUGMENTED),
    SNLI: (*_PLAIN, AUGMENTED),
    SICK: _PLAIN,
    ECARE: _PLAIN,
}
#: Splits that the table of all tasks shows.
HEADLINE: Mapping[str, str] = {
    IMDB: "revised reviews", SNLI: "revised SNLI", SICK: "SICK", ECARE: "e-CARE",
}  # fmt: skip
#: Splits whose test data are revised by people.
REVISED = (IMDB, SNLI)
#: Seeds that were not looked at when this was made.
FRESH = 5000
SIZES: Mapping[str, Mapping[str, int]] = {
    IMDB: {"vocabulary": 3000, "longest": 128},
    SNLI: {"vocabulary": 2000, "longest": 48},
    SICK: {"vocabulary": 2000, "longest": 48},
    ECARE: {"vocabulary": 6000, "longest": 40},
}
_MODEL: Mapping[str, Any] = {"batch": 32, "feedforward_dim": 64, "weight_decay": 0.05}
MODELS: Mapping[str, Mapping[str, Any]] = {
    IMDB: {"steps": 600, "learning_rate": 1e-2, "dropout": 0.3, "num_layers": 1},
    SNLI: {"steps": 400, "learning_rate": 3e-3, "dropout": 0.3},
    SICK: {"steps": 500, "learning_rate": 2e-3, "dropout": 0.2},
    ECARE: {"steps": 600, "learning_rate": 3e-3, "dropout": 0.2},
}
#: CATT's second attention has as many parameters as this takes from the feed-forward net, and less
#: than 5 % of a model more.
_CATT: Mapping[str, Any] = {"dictionary": 16, "feedforward_dim": 8}
_HELD_OUT = 10


def cells(seeds: int, smoke: bool) -> list[Cell]:
    """A cell a split, method and seed; smoke: the reviews, by two methods."""
    made = []
    for split, methods in SPLITS.items():
        if smoke and split != IMDB:
            continue
        for method in (TRANSFORMER, LEARNED) if smoke else methods:
            sizes = {**_MODEL, **MODELS[split], **(_CATT if method == CATT else {})}
            options = asdict(TokenOptions(**sizes | ({"steps": 2} if smoke else {})))
            del options["seed"]
            settings: dict[str, Any] = {**SIZES[split], "fresh": FRESH}
            settings |= {f"model.{key}": value for key, value in options.items()}
            for seed in range(1 if smoke else seeds):
                where: dict[str, Value] = {"task": PART, "split": split, "method": method}
                made.append(Cell(where | {"seed": seed}, settings))
    return made


def run(cell: Cell) -> Outcome:
    """Load the texts, find the graph if there is one to find, train on originals, and test."""
    use, split = cell.settings, str(cell.parameters["split"])
    method = str(cell.parameters["method"])
    options = TokenOptions(
        **cell.part("model"), seed=int(use["fresh"]) + int(cell.parameters["seed"] or 0)
    )
    texts = _LOADERS[split](method == AUGMENTED)
    vocabulary = make_vocabulary(texts["train"], most=use["vocabulary"])
    rows = {name: text_rows(own, vocabulary, longest=use["longest"]) for name, own in texts.items()}
    train, held_out = rows.pop("train"), rows.pop("held out")
    n_words, classes = len(vocabulary) + 2, int(train.labels.max()) + 1
    started = time.process_time()
    edges: NDArray[np.bool_] | None = None
    figures: Row = {}
    logits: Callable[[TextRows], NDArray[np.float64]]
    if method in (LEARNED, WORDS):
        regression = fit_words(train, held_out, n_words)
        edges, logits = regression.edges(), regression.logits
    elif method == ATTN_MASK:
        edges = associated_words(train, n_words)
    figures["seconds_graph"] = time.process_time() - started
    if edges is not None:
        figures["edges"] = float(edges.sum())
    if method == WORDS:
        figures["parameters"] = n_words * len(ROLES) * classes
    else:
        longest = train.words.shape[1]
        model = TextTransformer(n_words, longest, classes, options, edges).to(cell.device)
        best = held_out.inputs(), torch.from_numpy(held_out.labels)
        labels = torch.from_numpy(train.labels)
        train_model(model, train.inputs(), labels, options, held_out=best)
        figures["parameters"] = count_parameters(model)

        def logits(chosen: TextRows) -> NDArray[np.float64]:
            return predict_logits(model, chosen.inputs()).double().numpy()

    right = {name: _right(logits(own), own.labels, split) for name, own in rows.items()}
    figures["accuracy"] = float(right["revised" if split in REVISED else "test"].mean())
    if split in REVISED:
        figures["accuracy_in"] = float(right["test"].mean())
    if split == IMDB:
        figures["accuracy_both"] = float((right["test"] & right["revised"]).mean())
    figures["most_frequent"] = _most_frequent(
        rows["revised" if split in REVISED else "test"], split
    )
    figures["seconds"] = time.process_time() - started
    return Outcome(figures)


def _right(logits: NDArray[np.float64], labels: NDArray[np.int64], split: str) -> NDArray[np.bool_]:
    """Whether texts are told; of e-CARE's questions whether the right candidate scores higher."""
    if split != ECARE:
        return np.asarray(logits.argmax(axis=1) == labels)
    score = (logits[:, 1] - logits[:, 0]).reshape(-1, 2)
    return np.asarray(score.argmax(axis=1) == labels.reshape(-1, 2).argmax(axis=1))


def _most_frequent(rows: TextRows, split: str) -> float:
    """Accuracy of always giving the most frequent label."""
    labels = rows.labels.reshape(-1, 2).argmax(axis=1) if split == ECARE else rows.labels
    return float(np.bincount(labels).max() / len(labels))


def _imdb(augmented: bool) -> dict[str, list[Text]]:
    data = load_revised_imdb()
    train = [*data.train.original, *(data.train.revised if augmented else ())]
    held_out = [*data.dev.original, *(data.dev.revised if augmented else ())]
    return {
        "train": review_texts(train),
        "held out": review_texts(held_out),
        "test": review_texts(data.test.original),
        "revised": review_texts(data.test.revised),
    }


def _snli(augmented: bool) -> dict[str, list[Text]]:
    data = load_revised_nli()

    def with_revised(part: Any) -> list[Text]:
        more = [pair for group in part.revised for pair in group] if augmented else []
        return pair_texts([*part.original, *more])

    return {
        "train": with_revised(data.train),
        "held out": with_revised(data.dev),
        "test": pair_texts(data.test.original),
        "revised": pair_texts(pair for group in data.test.revised for pair in group),
    }


def _sick(augmented: bool) -> dict[str, list[Text]]:
    data = load_sick()
    parts = {"train": data.train, "held out": data.trial, "test": data.test}
    return {name: pair_texts(part) for name, part in parts.items()}


def _ecare(augmented: bool) -> dict[str, list[Text]]:
    data = load_ecare()
    cut = len(data.train) * (_HELD_OUT - 1) // _HELD_OUT
    parts = {"train": data.train[:cut], "held out": data.train[cut:], "test": data.dev}
    return {name: question_texts(part) for name, part in parts.items()}


_LOADERS: Mapping[str, Callable[[bool], dict[str, list[Text]]]] = {
    IMDB: _imdb,
    SNLI: _snli,
    SICK: _sick,
    ECARE: _ecare,
}


# ------------------------------------------------------------------- what is said of the results


def findings(results: Results) -> Findings:
    """Learned graph against none and against the correlation graph, and a table a split."""
    words = ", ".join(f"{sizes['longest']} of {split}" for split, sizes in SIZES.items())
    protocol = [
        "Text: transformers of one or two layers, trained from scratch on a few thousand texts, at "
        f"most so many words of a text: {words}. No pretrained weights. `{IMDB}` and `{SNLI}` "
        "train on original texts alone and are tested on texts that people revised until another "
        f"label was right. `{ECARE}` gives each candidate a score; its published answers end with "
        "the dev split, which is the test here, a tenth of the training questions held out. "
        "Held-out originals choose the step that is kept and the strength of the regression. Rates "
        "and numbers of steps were set by held-out accuracy on a seed that is not among these; "
        "accuracies on the tests were seen there too. There are no environments, hence no IRM, and "
        "nobody knows the true graph. Intervals are over seeds, of weights and batches, on one set "
        "of texts.",
    ]
    sections = [_table(results, split) for split in SPLITS if results.select(split=split)]
    return Findings(protocol, _marks(results), sections)


def _marks(results: Results) -> list[Mark]:
    return [
        learned_is_better(
            results, split, other, split + (", revised test data" if split in REVISED else "")
        )
        for split in SPLITS
        for other in (TRANSFORMER, ATTN_MASK)
    ]


def _table(results: Results, split: str) -> str:
    names = {"accuracy": "revised test" if split in REVISED else "test"}
    names |= {"accuracy_in": "original test"} if split in REVISED else {}
    names |= {"accuracy_both": "both of a pair"} if split == IMDB else {}
    plain = ("most_frequent", "edges", "parameters", "seconds", "seconds_graph")
    found = method_lines(results, split, SPLITS[split], names, plain)
    lines = [[method, METHODS[str(method)], *figures] for method, *figures in found]
    header = ["method", "what it is", *names.values(), "most frequent label",
              "words with an edge", "parameters", "CPU s", "of it graph"]  # fmt: skip
    return f"## Text: {split}\n\n{markdown_table(header, lines)}"


def figures(results: Results) -> Mapping[str, Figure]:
    """Accuracy of every method, a panel a split."""
    figure = draw_splits(results, SPLITS, "original test", "test", columns=4)
    return {} if figure is None else {"text.png": figure}
