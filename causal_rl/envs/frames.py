"""What a picture of an environment shows besides its values: the last step and the sum so far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causal_rl.envs.rendering import GraphRenderer


@dataclass(frozen=True, eq=False)
class Shown:
    """The last step of an episode; without arguments, its start.

    Attributes:
        reward: of the last step, or None at the start.
        total: the sum of rewards so far.
        do_target: bool (n_observed,), what was set.
        do_value: float64 (n_observed,), to what.
    """

    reward: float | None = None
    total: float = 0.0
    do_target: NDArray[np.bool_] | None = None
    do_value: NDArray[np.float64] | None = None

    def after(
        self, reward: float, do_target: NDArray[np.bool_], do_value: NDArray[np.float64]
    ) -> Shown:
        """What is shown one step later."""
        return Shown(reward, self.total + reward, do_target, do_value)

    def frame(
        self, renderer: GraphRenderer, values: NDArray[np.float64], step: int
    ) -> NDArray[np.uint8]:
        """Draw it, uint8 (height, width, 3).

        Args:
            renderer: of the world's graph.
            values: float64 (n_observed,).
            step: of the episode.
        """
        return renderer.frame(
            values,
            self.reward,
            step,
            self.do_target,
            self.do_value,
            episode_return=self.total,
        )
