"""The rows of Table 3, and what each of them means in each column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SHD, PEHE, CLUTRR = "shd", "pehe", "clutrr"
COLUMNS = (SHD, PEHE, CLUTRR)
#: The figure of each column, its unit, and whether less is better.
METRICS = {SHD: "shd", PEHE: "pehe squared", CLUTRR: "accuracy"}
UNITS = {SHD: "SHD [edges]", PEHE: "PEHE² [variances of y]", CLUTRR: "CLUTRR accuracy"}
LESS_IS_BETTER = {SHD: True, PEHE: True, CLUTRR: False}

FULL = "full ECAM"
NO_GRAPH, NO_INTERVENTION = "no graph learning", "no intervention"
HIDDEN, NO_COUNTERFACTUAL = "targets hidden", "no counterfactual"
COUNTERFACTUAL, BINARY, CORRELATION = "with counterfactuals", "binary M", "correlation graph"
SCALE, LOG, HARD = "scale", "log", "hard"
KERNEL, GENERALISED, MULTI_LEVEL = "kernel", "generalised", "multi-level"
TIME_VARYING = "time-varying"
#: In the order of the table, the paper's before ours.
PAPER_ROWS = (FULL, NO_GRAPH, NO_INTERVENTION, NO_COUNTERFACTUAL, BINARY, CORRELATION)
ROWS = (
    *PAPER_ROWS, HIDDEN, COUNTERFACTUAL, SCALE, LOG, HARD, KERNEL, GENERALISED, MULTI_LEVEL,
    TIME_VARYING,
)  # fmt: skip
#: What the paper prints, CLUTRR in percent there.
PAPER = {
    FULL: (6.2, 0.24, 0.729),
    NO_GRAPH: (12.1, 0.39, 0.641),
    NO_INTERVENTION: (7.3, 0.33, 0.684),
    NO_COUNTERFACTUAL: (6.8, 0.29, 0.701),
    BINARY: (6.5, 0.26, 0.718),
    CORRELATION: (9.4, 0.35, 0.667),
}


@dataclass(frozen=True)
class Meaning:
    """What a row does in a column.

    Attributes:
        kind: "run", measured; "same", it is another row by construction; "none", it has no meaning.
        text: in words.
        row: the row that it is, of "same".
    """

    kind: Literal["run", "same", "none"]
    text: str
    row: str = ""


def _run(text: str) -> Meaning:
    return Meaning("run", text)


def _same(text: str, row: str = FULL) -> Meaning:
    return Meaning("same", text, row)


def _none(text: str) -> Meaning:
    return Meaning("none", text)


_NO_TIME = _none("a table has no time; of one step the form is the plain one")

MEANINGS: dict[str, dict[str, Meaning]] = {
    SHD: {
        FULL: _run(
            "learner `ecam`: the encoder as a masked predictor under gates that are sampled, 0 or "
            "1, with sparsity and acyclicity; it is told which variable was set in which row"
        ),
        NO_GRAPH: _run(
            "M is all ones and nothing of it is learned; a graph is read off the attention by the "
            "fixed rule of the baselines"
        ),
        NO_INTERVENTION: _run("as many rows of the same world in which nothing was set"),
        NO_COUNTERFACTUAL: _none("no counterfactual enters the learning of a graph"),
        BINARY: _same("the gates that are sampled are 0 or 1"),
        CORRELATION: _run(
            "M is 1 for pairs that are rank-correlated at level .01 and stays so; a graph is read "
            "off the attention as above"
        ),
        HIDDEN: _run("the rows of the full learner, which is not told what was set"),
        COUNTERFACTUAL: _none("no counterfactual enters the learning of a graph"),
        SCALE: _run("gates multiply scores, as printed, and remove nothing"),
        LOG: _run("continuous M: the gates' probabilities are the strengths, and none is sampled"),
        HARD: _same(
            "a closed gate keeps odds of 1e-12, for its gradient's sake alone; `hard` passes no "
            "gradient to a graph"
        ),
        KERNEL: _run("radial kernel in place of the exponential"),
        GENERALISED: _none(
            "edges lead from tokens that hold values to tokens that hold none, so that no path of "
            "two edges is there to weigh"
        ),
        MULTI_LEVEL: _run(
            "Algorithm 4, a learner of its own (`multi-level`, bent effects): sparse, smooth and "
            "modular levels, each with its own likelihood; not the encoder"
        ),
        TIME_VARYING: _NO_TIME,
    },
    PEHE: {
        FULL: _run(
            "estimator `ecam`: the encoder over a valid adjustment set and the treatment, `hard`, "
            "under the graph that `gp-network` learned from the same rows"
        ),
        NO_GRAPH: _run("estimator `transformer`: M is all ones, all columns are read"),
        NO_INTERVENTION: _run(
            "estimator `attn-mask` with the learned graph: it conditions on the parents of the "
            "outcome, links into the treatment stay, nothing is adjusted for"
        ),
        NO_COUNTERFACTUAL: _same("the estimator is trained on the rows as they are"),
        BINARY: _same("`hard` reads edges and no strengths"),
        CORRELATION: _run(
            "estimator `attn-mask` without a graph: M is 1 for pairs rank-correlated at level .01"
        ),
        HIDDEN: _none("nothing was set in these rows"),
        COUNTERFACTUAL: _run(
            "trained on every row and its twin under the other treatment, noise kept, which "
            "`EncoderSCM` tells under the same graph (Algorithm 3); the product has no such option"
        ),
        SCALE: _run("edges' confidences multiply the scores, as printed"),
        LOG: _run("continuous M: the logarithms of the edges' confidences are added"),
        HARD: _same("it is the default"),
        KERNEL: _run("radial kernel in place of the exponential"),
        GENERALISED: _run("paths of two edges are seen too, with a learned weight"),
        MULTI_LEVEL: _run("levels: edges, paths, all pairs of covariates; weights learned"),
        TIME_VARYING: _NO_TIME,
    },
    CLUTRR: {
        FULL: _run(
            "`PairComposer`: states on pairs of entities, attention over the entity between, M by "
            "a learned graph over kinds of relations (which may follow which), strengths added as "
            "logarithms"
        ),
        NO_GRAPH: _run("every relation may follow every other"),
        NO_INTERVENTION: _none("nobody intervenes in a story"),
        NO_COUNTERFACTUAL: _none("stories come without noise to keep"),
        BINARY: _same("the graph is cut at one half already in training", HARD),
        CORRELATION: _run(
            "the graph is fixed: relations that follow one another in the training stories more "
            "often than by chance"
        ),
        HIDDEN: _none("nobody intervenes in a story"),
        COUNTERFACTUAL: _none("stories come without noise to keep"),
        SCALE: _run("M multiplies the scores, as printed, and removes nothing"),
        LOG: _same("it is the default"),
        HARD: _run("the graph is cut at one half, gradients pass as if it were not"),
        KERNEL: _run("radial kernel in place of the exponential"),
        GENERALISED: _run("A G + a A² G², G² the paths of two edges in the graph; a is learned"),
        MULTI_LEVEL: _run(
            "the graph is a weighted sum of a learned one, the correlation graph and all ones; "
            "weights learned"
        ),
        TIME_VARYING: _run("a step of composition is a step in time: G_t from G_{t-1}"),
    },
}


def measured(column: str) -> list[str]:
    """Rows that are run in a column, in the order of the table."""
    return [row for row in ROWS if MEANINGS[column][row].kind == "run"]


def behind(column: str, row: str) -> str | None:
    """The measured row whose figures a row of the table shows; None where it means nothing."""
    meaning = MEANINGS[column][row]
    return {"run": row, "same": meaning.row, "none": None}[meaning.kind]
