"""What the modules that score, write and draw graphs ask of one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol, Self

from causal_rl.graphs.adjacency import BoolMatrix, FloatMatrix
from causal_rl.graphs.kinds import Kind

Block = Literal["contemporaneous", "lagged"]


class GraphStructure(Protocol):
    """The part of `CausalGraph` that those modules read; see there for the meaning."""

    @property
    def n(self) -> int: ...  # noqa: D102
    @property
    def names(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def kinds(self) -> tuple[Kind, ...]: ...  # noqa: D102
    @property
    def contemporaneous(self) -> BoolMatrix: ...  # noqa: D102
    @property
    def lagged(self) -> BoolMatrix: ...  # noqa: D102
    @property
    def contemporaneous_weights(self) -> FloatMatrix | None: ...  # noqa: D102
    @property
    def lagged_weights(self) -> FloatMatrix | None: ...  # noqa: D102
    @property
    def contemporaneous_confidence(self) -> FloatMatrix | None: ...  # noqa: D102
    @property
    def lagged_confidence(self) -> FloatMatrix | None: ...  # noqa: D102
    @property
    def allow_cycles(self) -> bool: ...  # noqa: D102
    def permute(self, names: Iterable[str]) -> Self: ...  # noqa: D102
    def edges(self) -> list[tuple[Block, str, str]]: ...  # noqa: D102
