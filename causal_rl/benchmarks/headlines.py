"""What the page of results says of each benchmark: ours, the best of the others, and the paper.

Contenders of ours are the defaults, not the best of several; the others are everything of other
people's and everything trivial that the benchmark ran on the same rows and told no more than ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from causal_rl.benchmarks import table3_rows
from causal_rl.benchmarks.cells import Value
from causal_rl.benchmarks.contests import Contest, Entry, by_method, by_metric

#: Classic learners and the paper's baselines that Table 1 runs.
_OTHER_LEARNERS = (
    "pc", "ges", "boss", "cam", "score", "notears", "notears-mlp", "dagma", "lingam", "attn-mask",
    "catt", "abcd", "sort-regress", "r2-sort-regress", "empty", "full", "random",
)  # fmt: skip
_OTHER_EFFECTS = (
    "s-learner boosting", "t-learner boosting", "x-learner boosting", "t-learner ridge",
    "transformer", "attn-mask", "catt", "irm", "tarnet", "cfr-wass", "dragonnet", "cevae", "site",
    "causal-forest", "linear-dml", "dr-learner", "difference in means", "no effect",
)  # fmt: skip
#: Ways to explain that need no graph.
_EXPLAINERS = ("attention", "random", "occlusion", "attention-subsets")
_PAPER_ECAM = "ECAM {}"


def _table1() -> list[Contest]:
    made = []
    for structure, shd, f1 in (("er", "6.2", ".81"), ("sf", "8.1", ".77")):
        for metric, name, less, paper in (("shd", "SHD", True, shd), ("f1", "F1", False, f1)):
            ours = Entry(
                "gp-network", metric,
                {"structure": structure, "mechanism": "mlp", "method": "gp-network"},
            )  # fmt: skip
            _, others = by_method(
                metric, "gp-network", _OTHER_LEARNERS,
                structure=structure, mechanism="mlp", scale="standardised",
            )  # fmt: skip
            # Methods that do not look at the scale have one row for both scales.
            _, blind = by_method(
                metric, "gp-network", _OTHER_LEARNERS,
                structure=structure, mechanism="mlp", scale="any",
            )  # fmt: skip
            asks = f"{name} of a graph of 10 variables, MLP, {structure.upper()}, standardised"
            made.append(
                Contest(asks, ours, [*others, *blind], less=less, claimed=_PAPER_ECAM.format(paper))
            )
    pairs = by_method(
        "accuracy", "evidence-ranks", ("igci", "reci"), structure="tuebingen", mechanism="pairs"
    )
    made.append(Contest("Tübingen pairs: weighted share of right directions", *pairs, less=False))
    sachs = by_method(
        "shd", "interventional", _OTHER_LEARNERS, structure="sachs", mechanism="targets hidden"
    )
    known = Entry(
        "interventional", "shd",
        {"structure": "sachs", "mechanism": "targets known", "method": "interventional"},
    )  # fmt: skip
    return [*made, Contest("Sachs: SHD, 17 true edges; ours is told what was set", known, sachs[1])]


def _table2_left() -> list[Contest]:
    def entry(name: str, metric: str, **where: Value) -> Entry:
        return Entry(name, f"{name}: {metric}", where)

    made = []
    for data in ("er", "sf"):
        for metric, what, paper in (
            ("pehe squared", "PEHE²", ".24"),
            ("ate error", "ATE error", ""),
        ):
            ours = Entry(
                "ecam, learned graph", f"ecam: {metric}", {"data": data, "knows": "learned graph"}
            )
            others = [entry(name, metric, data=data, knows="columns") for name in _OTHER_EFFECTS]
            asks = f"{what} where roles are not told, {data.upper()} graphs; others without a graph"
            made.append(
                Contest(asks, ours, others, claimed=_PAPER_ECAM.format(paper) if paper else "")
            )
    for data, what in (("ihdp", "IHDP 1-20"), ("acic2016", "ACIC 2016, 1-5")):
        for real in ("gaussian-process", "ecam"):
            entries = [entry(name, "pehe", data=data) for name in (real, *_OTHER_EFFECTS)]
            made.append(Contest(f"{what}, out of sample: root PEHE", entries[0], entries[1:]))
    return made


def _agents() -> list[Contest]:
    made = []
    for world in ("chain-scm", "er-scm", "proxy-chain-scm", "cues-scm"):
        others = ("sb3-ppo", "attention", "mlp")
        entries = by_method("return_normalised", "planner", others, world=world)
        made.append(Contest(f"{world}: normalised return, planner", *entries, less=False))
        entries = by_method("return_normalised", "ecam", others, world=world)
        made.append(Contest(f"{world}: the same, Algorithm 5", *entries, less=False))
    flipped = by_method("normalised_flip", "ecam", ("sb3-ppo", "attention", "mlp"))
    made.append(
        Contest(
            "worlds with cues: normalised return when the cues turn round", *flipped, less=False,
            by=("world", "seed"),
        )
    )  # fmt: skip
    return made


def _table2_right() -> list[Contest]:
    everyone = (
        "transformer", "attn-mask", "catt", "irm", "edge-transformer", "rule-table",
        "word-regression", "vit",
    )  # fmt: skip

    def accuracy(
        asks: str, task: str, split: str, claimed: str = "", metric: str = "accuracy"
    ) -> Contest:
        entries = by_method(metric, "ecam-learned", everyone, task=task, split=split)
        return Contest(f"{asks}: accuracy", *entries, less=False, claimed=claimed)

    return [
        accuracy("CLUTRR, mean of k = 4 .. 10", "clutrr", "089907f8", _PAPER_ECAM.format(".729")),
        accuracy("CLUTRR, k = 10", "clutrr", "089907f8", metric="accuracy_k10"),
        accuracy("CLUTRR as prose", "clutrr", "text"),
        accuracy("spurious cue, out of distribution", "cues", "majority/observational"),
        accuracy(
            "pendulum questions, out of distribution", "pendulum", "shift",
            _PAPER_ECAM.format(".693, visual questions"),
        ),
        accuracy("ACRE", "pendulum", "acre-iid"),
        accuracy("revised reviews", "text", "imdb"),
        accuracy("revised SNLI", "text", "snli"),
        accuracy("SICK", "text", "sick"),
        accuracy("e-CARE", "text", "e-care"),
    ]  # fmt: skip


def _table3() -> list[Contest]:
    full, none = table3_rows.FULL, table3_rows.NO_GRAPH
    shd, pehe, clutrr = (
        f"{_PAPER_ECAM.format(with_it)}, without {without}"
        for with_it, without in zip(table3_rows.PAPER[full], table3_rows.PAPER[none], strict=True)
    )
    return [
        Contest(
            "SHD, with and without graph learning",
            *by_method("shd", full, (none,), "row", column=table3_rows.SHD), claimed=shd,
        ),
        Contest(
            "PEHE², with and without graph learning",
            *by_metric("{}: pehe squared", full, (none,), column=table3_rows.PEHE), claimed=pehe,
        ),
        Contest(
            "CLUTRR accuracy, with and without graph learning",
            *by_method("accuracy", full, (none,), "row", column=table3_rows.CLUTRR),
            less=False, claimed=clutrr,
        ),
    ]  # fmt: skip


def _figure2() -> list[Contest]:
    """The encoder as a structural model on the learned graph."""
    others = (
        "no change", "t-ridge", "transformer", "transformer + abduction", "cevae", "site",
        "dragonnet",
    )  # fmt: skip
    return [
        Contest(
            f"counterfactuals where graph and roles are not told: {what}",
            *by_metric(f"{metric} {{}}", "encoder, learned graph", others),
            by=("structure", "seed"),
        )
        for metric, what in (("rmse", "RMSE"), ("regret", "policy regret"))
    ]


HEADLINES: Mapping[str, Sequence[Contest]] = {
    "table1": _table1(),
    "table2-left": _table2_left(),
    "table2-right": _table2_right(),
    "table3": _table3(),
    "figure2": _figure2(),
    "ecam-overhead": [
        Contest(
            f"{host}, 256 tokens, forward: milliseconds with a graph, and without the plug-in",
            *by_metric("milliseconds_{}", "hard", ("sdpa",), host=host, **{"pass": "forward"}),
            by=("batch", "repeat"),
        )
        for host in ("bert", "vit", "gpt2", "llama")
    ],
    "known-interventions": [
        Contest(
            f"{what}, 20 variables, 20,000 rows, MLP, every variable set in turn",
            *by_method(
                metric,
                "interventional",
                others,
                part="table",
                mechanism="mlp",
                variables=20,
                rows=20_000,
            ),
        )
        for metric, what, others in (
            ("shd", "SHD", ("gies", "dagma", "notears", "boss", "cam", "pc", "empty")),
            ("seconds", "seconds beside DAGMA", ("dagma",)),
        )
    ],
    "graph-recovery": [
        Contest(
            f"er-scm, {mechanism}: SHD from 5,000 transitions",
            *by_method(
                "shd_contemporaneous",
                "interventional",
                ("notears", "dagma", "empty", "full", "random"),
                mechanism=mechanism,
                rows=5_000,
            ),
        )
        for mechanism in ("linear", "tanh", "mlp")
    ],
    "world-recovery": [
        Contest(
            "all 29 worlds: SHD from 5,000 transitions",
            *by_method(
                "shd_contemporaneous",
                "interventional",
                ("notears", "dagma", "empty", "full", "random"),
                rows=5_000,
            ),
            by=("world", "seed"),
        )
    ],
    "amortised": [
        Contest(
            f"{regime}: SHD, 10 variables, 1,000 rows",
            *by_method(
                "shd", "amortised", ("pc", "empty"), regime=regime, variables=10, rows=1_000
            ),
        )
        for regime in ("observational", "interventional")
    ],
    "abcd": [
        Contest(
            f"{world}: skeleton F1 of the mended reading",
            *by_metric("f1_{}", "mended", ("pc", "fci", "complete", "empty"), world=world),
            less=False,
        )
        for world in ("rows linear", "rows mlp", "sessions")
    ],
    "cleann": [
        Contest(
            "size of explanations, all items where none is found",
            *by_metric("cost_{}", "cleann-mended", _EXPLAINERS),
        ),
        Contest("rank of the replacement", *by_metric("rank_{}", "cleann-mended", _EXPLAINERS)),
    ],
    "cina": [
        Contest(
            f"error of the ATE on unseen data sets, {what}",
            *by_method(f"error_{family}", "cina-zs", ("difference", "ipw", "t-ols", "aipw")),
        )
        for family, what in (("same", "family trained on"), ("confounded", "twice the confounding"))
    ],
    "counterfactual-speed": [
        Contest(
            f"microseconds of a counterfactual of {batch:,} row{'s' * (batch > 1)}, {mechanism}",
            Entry("causal_rl", "microseconds", {"batch": batch, "mechanism": mechanism}),
            [Entry("dowhy.gcm", "gcm_microseconds", {"batch": batch, "mechanism": mechanism})],
        )
        for batch, mechanism in product((1, 2_000), ("linear", "smooth"))
    ],
    "agents": _agents(),
    "agent-chain": [
        Contest(
            "chain-scm, linear: SHD with interventions, and without",
            *by_method(
                "shd_contemporaneous",
                "random interventions",
                ("no interventions",),
                "data",
                part="control",
                mechanism="linear",
            ),
        )
    ],
    "agent-proxy": [
        Contest(
            "proxy-chain-scm: normalised return when the proxies turn round",
            *by_method("normalised_flip", "ecam", ("mlp", "attention"), "encoder"),
            less=False,
        )
    ],
    "encoders": [
        Contest(
            f"proxy-chain-scm: normalised return {what}, learned graph",
            Entry("ecam", metric, {"encoder": "ecam", "graph": "learned"}),
            [Entry(n, metric, {"encoder": n, "graph": "full"}) for n in ("attention", "mlp")],
            less=False,
        )
        for metric, what in (("normalised_train", "as trained"), ("normalised_flip", "under flip"))
    ],
    "counterfactual-data": [
        Contest(
            "three worlds: normalised return with counterfactual data",
            *by_method("return_normalised", "3 stored", ("none", "4 x the passes")),
            less=False,
            by=("world", "seed"),
        )
    ],
    "planner-chain": [
        Contest(
            "chain-scm: interactions to a normalised return of .90",
            Entry("planner", "interactions_to_mark", {"agent": "planner", "variant": "random"}),
            [Entry("PPO", "interactions_to_mark", {"agent": "ppo", "variant": "from nothing"})],
        )
    ],
    "unseen-graphs": [
        Contest(
            f"tanh worlds of {n} variables, 500 transitions: R² of do-predictions",
            *by_method(
                f"r2_n{n}_learned_500",
                "ecam",
                ("attention", "adjacency", "fitted-linear", "fitted-curve"),
                mechanism="tanh",
            ),
            less=False,
        )
        for n in (6, 12)
    ],
    "mechanism-shift": [
        Contest(
            "normalised return 64 transitions after a changed mechanism is named",
            Entry("one mechanism relearned", "return_after", {}),
            [
                Entry("dense model refitted", "dense_return", {}),
                Entry("all edges of the order refitted", "full_return", {}),
            ],
            less=False,
            by=("world", "change", "seed"),
        )
    ],
    "bridges": [
        Contest(
            f"{world}: normalised return at 24,000 steps",
            *by_method(
                "return_normalised",
                "own",
                ("sb3-ppo", "tianshou-ppo", "tianshou-sac"),
                "loop",
                world=world,
            ),
            less=False,
        )
        for world in ("chain-scm", "proxy-chain-scm", "er-scm")
    ],
    "attention": [
        Contest(
            "microseconds forward and backward, batch 256, 10 variables",
            *by_metric(
                "microseconds_{}",
                "hard_prepared",
                ("sdpa", "torch_mha"),
                batch=256,
                n=10,
                **{"pass": "forward+backward"},
            ),
            by=("repeat",),
        )
    ],
    "env-speed": [
        Contest(
            "chain-scm, tanh, 1,024 environments: microseconds a step",
            *by_metric(
                "microseconds_{}",
                "vector",
                ("kernel",),
                part="kernel",
                world="chain-scm",
                mechanism="tanh",
                num_envs=1024,
            ),
            by=("repeat",),
        ),
        Contest(
            "one environment: microseconds a step",
            *by_metric("microseconds_{}", "scalar", ("playground",), part="playground"),
            by=("repeat",),
        ),
    ],
    "train-speed": [
        Contest(
            "environment steps a second, 128 environments, one thread",
            *by_metric(
                "rate_{}", "own", ("sb3-ppo", "tianshou-ppo"), part="speed", threads=1, num_envs=128
            ),
            less=False,
            by=("repeat",),
        )
    ],
    "theorem-4": [
        Contest(
            "error of E[Y | do(X2)], share of the floor of regressions",
            *by_metric(
                "of_floor_{}",
                "ecam",
                ("regression", "attention", "attention-adjusted", "attention-do-data"),
            ),
            claimed="no standard transformer comes below 1",
        )
    ],
    "theorem-5": [
        Contest(
            f"exponent of {factor} in the rows needed, {part}",
            Entry("PC", f"exponent_{part}", {}),
            (),
            claimed=f"rows grow like {formula}",
        )
        for part, factor, formula in (
            ("n-er, square", "n", "d², if d is the number of variables: 1"),
            ("d-all", "d", "d²: 1"),
            ("eps", "1 / eps", "1 / eps: 1"),
        )
    ],
    "theorem-6": [
        Contest(
            "slope of the gradient's norm, rate t^-0.8",
            *by_metric("slope_{}", "power 0.8", ("constant", "power 2")),
            claimed="falls under Robbins-Monro rates",
        )
    ],
    "theorem-7": [
        Contest(
            "share of draws with the true class, 10 variables, 10^12 rows",
            *by_method("exact_last", "vanishing", ("fixed",), "level", model="er-10"),
            less=False,
            claimed="1",
        )
    ],
}
#: Benchmarks in which nothing of ours meets anything else.
WITHOUT_CONTEST = ("world-returns",)
