"""Table 3's first column: the paper's graph learner with one part changed, and its SHD."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from causal_rl.attention import (
    CausalAttention,
    KernelAttention,
    Modulation,
    PreparedMask,
    attention_mask,
    prepare_mask,
)
from causal_rl.benchmarks.cells import Cell, Outcome
from causal_rl.benchmarks.known_interventions import intervened_table
from causal_rl.benchmarks.recordings import score_within_step
from causal_rl.benchmarks.static_models import STRUCTURES, draw_structure
from causal_rl.benchmarks.table3_rows import (
    CORRELATION,
    FULL,
    HIDDEN,
    KERNEL,
    LOG,
    MULTI_LEVEL,
    NO_GRAPH,
    NO_INTERVENTION,
    SCALE,
    SHD,
    measured,
)
from causal_rl.benchmarks.timing import timed_fit
from causal_rl.discovery import GraphLearner, learner_options, make_learner
from causal_rl.discovery.attention_baselines import AttentionLearner
from causal_rl.discovery.batch import BoolMatrix, Rows
from causal_rl.discovery.ecam import EcamLearner
from causal_rl.discovery.masked_predictor import GATE_FLOOR, MaskedPredictor

#: The default learner, on the three kinds of rows that a learner may be given.
DEFAULT = "interventional"
DEFAULT_ROWS = tuple(f"{DEFAULT}: {row}" for row in (FULL, NO_INTERVENTION, HIDDEN))

_VARIABLES, _DEGREE, _ROWS, _MECHANISM = 10, 2, 2_000, "mlp"
_SMOKE_VARIABLES, _SMOKE_ROWS, _SMOKE_STEPS = 4, 200, 30
_CHANGES = {KERNEL: {"kernel": True}, SCALE: {"product": True}, LOG: {"soft": True}}


class AblatedPredictor(MaskedPredictor):
    """The learner's network with another form of attention, modulation or kind of gate.

    Args:
        allowed: see `MaskedPredictor`.
        kernel: weigh by the radial kernel of A.1.2 in place of the exponential.
        product: multiply scores by gates, as printed, in place of removing closed ones.
        soft: show gates' probabilities in place of sampled zeros and ones.
        **options: see `MaskedPredictor`.
    """

    def __init__(
        self,
        allowed: Tensor,
        *,
        kernel: bool = False,
        product: bool = False,
        soft: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(allowed, gated=True, **options)
        self.product, self.soft = product, soft
        modulation: Modulation = "scale" if product else "log"
        if not (kernel or product):
            return
        for block in self.encoder.blocks:
            plain = cast(CausalAttention, block.attention)
            form = KernelAttention if kernel else CausalAttention
            other = form(plain.embed_dim, plain.num_heads, modulation, log_floor=GATE_FLOOR)
            other.load_state_dict(plain.state_dict(), strict=False)  # the same first weights
            block.attention = other

    def sample_gates(self, rows: int, temperature: float, generator: torch.Generator) -> Tensor:
        """See `MaskedPredictor.sample_gates`; soft ones are the same for all rows."""
        if self.soft:
            return self.probabilities()
        return super().sample_gates(rows, temperature, generator)

    def _mask(self, gates: Tensor) -> PreparedMask:
        if not self.product:
            return super()._mask(gates)
        # A product hides nothing; the variable's own value must be hidden all the same.
        never = ~attention_mask(self.tokens_graph(self.allowed))
        hidden = torch.zeros(never.shape, device=gates.device).masked_fill(never, -torch.inf)
        return replace(prepare_mask(self.tokens_graph(gates), "scale"), add=hidden)


class AblatedLearner(EcamLearner):
    """`EcamLearner` with an `AblatedPredictor` in the network's place.

    Args:
        changes: options of `AblatedPredictor`; none for the learner as it is.
        **options: of `EcamLearner`.
    """

    def __init__(self, *, changes: Mapping[str, bool] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.changes = dict(changes or {})

    def _network(
        self, allowed: BoolMatrix, always: BoolMatrix, generator: torch.Generator
    ) -> MaskedPredictor:
        return AblatedPredictor(
            torch.from_numpy(allowed),
            embed_dim=self.embed_dim,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            generator=generator,
            required=torch.from_numpy(always),
            **self.changes,
        )


class FullAttentionLearner(AttentionLearner):
    """Nothing is masked or learned of a graph: M is all ones, and attention is read as one.

    Args: as in `AttentionLearner`.
    """

    def _seen(self, rows: Rows, within: BoolMatrix) -> BoolMatrix:
        return ~np.eye(within.shape[0], dtype=bool)


def cells(seeds: int, smoke: bool, fresh: int) -> list[Cell]:
    """Worlds, structures taking turns, by rows."""
    found = []
    for seed in range(1 if smoke else seeds):
        for row in (*measured(SHD), *DEFAULT_ROWS):
            options = _options(row, seed)
            if smoke and "steps" in options:
                options["steps"] = _SMOKE_STEPS
            settings: dict[str, Any] = {
                "fresh": fresh, "structure": STRUCTURES[seed % len(STRUCTURES)],
                "mechanism": _MECHANISM, "variables": _SMOKE_VARIABLES if smoke else _VARIABLES,
                "degree": 1 if smoke else _DEGREE, "rows": _SMOKE_ROWS if smoke else _ROWS,
            }  # fmt: skip
            settings |= {f"learner.{key}": value for key, value in options.items()}
            found.append(Cell({"column": SHD, "row": row, "seed": seed}, settings))
    return found


def _options(row: str, seed: int) -> dict[str, Any]:
    if row in DEFAULT_ROWS:
        options = learner_options(DEFAULT)
    elif row == MULTI_LEVEL:
        options = learner_options("multi-level") | {"mechanism": "basis"}
    elif row in (CORRELATION, NO_GRAPH):
        options = learner_options("attn-mask")
    else:
        options = learner_options("ecam")
    return options | ({"seed": seed} if "seed" in options else {})


def _learner(row: str, options: Mapping[str, Any]) -> GraphLearner:
    if row in DEFAULT_ROWS:
        return make_learner(DEFAULT, **options)
    if row == MULTI_LEVEL:
        return make_learner("multi-level", **options)
    if row == CORRELATION:
        return make_learner("attn-mask", **options)
    if row == NO_GRAPH:
        return FullAttentionLearner(**options)
    return AblatedLearner(changes=_CHANGES.get(row), **options)


def run(cell: Cell) -> Outcome:
    """Fit the learner of one row; the world and its noise are those of the other rows."""
    settings, row = cell.settings, str(cell.parameters["row"])
    rng = np.random.default_rng([settings["fresh"], int(cell.parameters["seed"] or 0)])
    adjacency = draw_structure(
        settings["structure"], settings["variables"], settings["degree"], rng
    )
    values, targets = intervened_table(
        adjacency,
        settings["mechanism"],
        settings["rows"],
        rng,
        intervene=not row.endswith(NO_INTERVENTION),
    )
    told = {} if row.endswith(HIDDEN) else {"do_target": targets}
    learner = _learner(row, cell.part("learner"))
    graph, seconds = timed_fit(learner, values, **told)
    return Outcome({**score_within_step(graph, adjacency), "seconds": round(seconds, 2)})
