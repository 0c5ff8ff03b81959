"""Pictures of a world at work: its causal graph, coloured by the values of one step.

The layout is that of `causal_rl.graphs.drawing`. What does not change from frame to frame is drawn
once and kept as a background; a frame draws the nodes, their labels and the header over it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causal_rl.envs.frame_scene import Scene, header_line, short_number
from causal_rl.graphs import CausalGraph

_LEAST, _MOST = (240, 180), (4096, 4096)


class GraphRenderer:
    """Draws one frame for each step of an episode.

    Nodes are coloured by value on a diverging map and bear the number where there is room for it;
    their shape tells their kind. A variable set by ``do()`` has a thick outline, and "do" beside
    its name. Edges from one step to the next are dotted.

    Drawing needs no display and leaves pyplot alone. Equal arguments give equal bytes, whatever
    was drawn before. A copy or pickle leaves the canvas behind and draws the same frames.

    Args:
        graph: what to draw. Its nodes of kind "reward" show the reward; the others, in their
            order, show the values.
        size: width and height in pixels, from 240 x 180 to 4096 x 4096. Most video formats ask
            for even numbers.
        limit: values outside [-limit, limit] take the end colours of the map; in [1e-9, 1e9].

    Raises:
        TypeError: ``graph`` is no `CausalGraph`.
        ValueError: a graph without nodes, or a size or limit out of range.
    """

    def __init__(
        self, graph: CausalGraph, *, size: tuple[int, int] = (640, 480), limit: float = 3.0
    ) -> None:
        if not isinstance(graph, CausalGraph):
            raise TypeError(f"graph must be a CausalGraph, got {type(graph).__name__}")
        if graph.n == 0:
            raise ValueError("graph must have at least one node, got none")
        self.graph = graph
        self.size = _checked_size(size)
        self.limit = _checked_number("limit", limit)
        if not 1e-9 <= self.limit <= 1e9:
            raise ValueError(f"limit must lie in [1e-9, 1e9], got {limit!r}")
        self._nodes = [v for v, kind in enumerate(graph.kinds) if kind != "reward"]
        self._scene: Scene | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the variables whose values a frame takes, in that order."""
        return tuple(self.graph.names[v] for v in self._nodes)

    def frame(
        self,
        values: ArrayLike,
        reward: float | None,
        step: int,
        do_target: ArrayLike | None = None,
        do_value: ArrayLike | None = None,
        *,
        episode_return: float | None = None,
    ) -> NDArray[np.uint8]:
        """Draw one step.

        Args:
            values: finite numbers (n,), one for each of ``names``.
            reward: the reward of the step; None, as after a reset, leaves its node white.
            step: number of the step, at least 0.
            do_target: bool (n,), the variables that were set; None if that is not to be told.
            do_value: (n,), what they were set to; None reads ``values``. Entries where nothing
                was set are ignored.
            episode_return: the sum of rewards so far, for the header, or None.

        Returns:
            A fresh uint8 array (height, width, 3), contiguous: red, green, blue.

        Raises:
            ValueError: a wrong shape or dtype, a number that is not finite, a negative step, or
                ``do_value`` without ``do_target``; the argument is named.
        """
        names = self.names
        shown = _checked_values("values", values, names)
        mask, setting = _checked_setting(do_target, do_value, shown, names)
        number = None if reward is None else _checked_number("reward", reward)
        total = (
            None if episode_return is None else _checked_number("episode_return", episode_return)
        )
        header = header_line(_checked_step(step), number, total)
        doing = ""
        if mask is not None:
            done = [f"{names[k]} = {short_number(setting[k])}" for k in np.flatnonzero(mask)]
            doing = f"do({', '.join(done)})" if done else "no intervention"

        numbers = np.full(self.graph.n, np.nan if number is None else number)
        numbers[self._nodes] = shown
        targets = np.zeros(self.graph.n, dtype=np.bool_)
        if mask is not None:
            targets[self._nodes] = mask
        if self._scene is None:
            self._scene = Scene(self.graph, self.size, self.limit)
        return self._scene.draw(numbers, targets, header, doing)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the canvas, which the next frame makes anew."""
        return {**self.__dict__, "_scene": None}


def _checked_size(size: object) -> tuple[int, int]:
    message = (
        f"size must be two integers, width and height, from {_LEAST[0]} x {_LEAST[1]} to "
        f"{_MOST[0]} x {_MOST[1]} pixels, got {size!r}"
    )
    if not isinstance(size, tuple | list) or len(size) != 2:
        raise ValueError(message)
    for side, low, high in zip(size, _LEAST, _MOST, strict=True):
        if not isinstance(side, int | np.integer) or not low <= side <= high:
            raise ValueError(message)
    return int(size[0]), int(size[1])


def _checked_number(name: str, value: object) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float | np.integer | np.floating)
        or not math.isfinite(value)
    ):
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    return float(value)


def _checked_step(step: object) -> int:
    if isinstance(step, bool) or not isinstance(step, int | np.integer) or step < 0:
        raise ValueError(f"step must be an integer of at least 0, got {step!r}")
    return int(step)


def _checked_setting(
    do_target: ArrayLike | None,
    do_value: ArrayLike | None,
    values: NDArray[np.float64],
    names: Sequence[str],
) -> tuple[NDArray[np.bool_] | None, NDArray[np.float64]]:
    """The mask or None, and the values of what is set."""
    if do_target is None:
        if do_value is not None:
            raise ValueError("do_value must be None where do_target is None")
        return None, values
    mask = _array("do_target", do_target)
    if mask.dtype != np.bool_ or mask.shape != (len(names),):
        raise ValueError(
            f"do_target must be bool of shape ({len(names)},), got {mask.dtype} of shape "
            f"{mask.shape}"
        )
    return mask, values if do_value is None else _checked_values("do_value", do_value, names, mask)


def _checked_values(
    name: str, values: ArrayLike, names: Sequence[str], where: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    array = _array(name, values)
    if array.dtype.kind not in "iuf" or array.shape != (len(names),):
        listed = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
        raise ValueError(
            f"{name} must be numbers of shape ({len(names)},), one for each of {listed}; "
            f"got {array.dtype} of shape {array.shape}"
        )
    bad = ~np.isfinite(array) if where is None else where & ~np.isfinite(array)
    if bad.any():
        first = int(np.argmax(bad))
        raise ValueError(f"{name} must be finite, got {array[first]} for {names[first]!r}")
    return array.astype(np.float64)


def _array(name: str, values: ArrayLike) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError:
        raise ValueError(f"{name} must be one-dimensional, got ragged rows") from None
