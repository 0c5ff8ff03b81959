"""Pendulum causal questions: pictures of a pendulum in the sun, asked under another sun.

The shade of the rod on the ground is a function of the light's angle and the pendulum's. The wind,
which no picture shows, drives the pendulum and a flag in the corner: the flag tells where the
pendulum is, yet moves nothing. Where the pendulum is set by hand, it tells nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causal_rl.scm import SCM, Gaussian, NoNoise, Uniform, Variable

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Asked = Literal["length", "position", "pendulum", "changes"]

PIVOT = (10.0, 10.5)
ROD = 9.5
GROUND = -0.5
#: Columns of the model, in order.
VARIABLES = ("wind", "pendulum", "light", "flag", "length", "position")
#: What a question may ask for.
ASKED: tuple[Asked, ...] = ("length", "position", "pendulum", "changes")
#: Angles of the light that questions set, degrees.
ASKED_LIGHTS = tuple(float(angle) for angle in range(65, 116, 5))
BINS = 5
#: Answers to "changes": which of length and position move by more than two units.
CHANGES = ("neither", "length", "position", "both")
N_ANSWERS = 3 * BINS + len(CHANGES)
#: Picture and patch, in pixels; a patch row is 3 units of the world high.
SIZE, PATCH = (32, 32), (4, 8)
#: Rows of patches between sun and pivot: empty in every scene.
SKY_ROWS = (1, 2)

_SWING = 35.0
_LEFT, _BOTTOM, _UNIT = -2.0, -3.0, 0.75
_SUN_HEIGHT = 19.5
# Middle and half the size of the flag.
_FLAG, _FLAG_HALF = (1.0, 19.5), (2.4, 1.2)
_ROD_SHADE, _BALL_SHADE = 0.35, 0.5
# Length or position has changed when it has by so much.
_MOVED = 2.0
_RANGES = {"length": (0.0, 8.0), "position": (5.0, 15.0), "pendulum": (-35.0, 35.0)}


def project(x: ArrayLike, y: ArrayLike, light: ArrayLike) -> Array:
    """Where on the ground the light through a point ends.

    Args:
        x: of the point.
        y: its height.
        light: the light's angle above the ground, degrees in (0, 180).

    Returns:
        The x on the ground at height -0.5: ``(GROUND - (y - x tan p)) / tan p``.
    """
    slope = np.tan(np.deg2rad(np.asarray(light, dtype=np.float64)))
    height = np.asarray(y, dtype=np.float64)
    return np.asarray((GROUND - (height - np.asarray(x) * slope)) / slope)


def ball(pendulum: ArrayLike) -> tuple[Array, Array]:
    """Where the ball hangs, ``(x, y)``, at an angle in degrees from straight down."""
    angle = np.deg2rad(np.asarray(pendulum, dtype=np.float64))
    return PIVOT[0] + ROD * np.sin(angle), PIVOT[1] - ROD * np.cos(angle)


def shade_length(pendulum: ArrayLike, light: ArrayLike) -> Array:
    """Length of the rod's shade, from the pivot's to the ball's."""
    return np.abs(project(*ball(pendulum), light) - project(*PIVOT, light))


def shade_position(pendulum: ArrayLike, light: ArrayLike) -> Array:
    """Middle of the rod's shade."""
    return (project(*ball(pendulum), light) + project(*PIVOT, light)) / 2


def _swing(wind: Array) -> Array:
    return _SWING * wind


def pendulum_scm(*, flag_noise: float = 0.05, by_hand: bool = False) -> SCM:
    """The model of a scene: `VARIABLES`, angles in degrees.

    Args:
        flag_noise: how far the flag is from the wind, standard deviation, > 0.
        by_hand: set the pendulum at random, whatever the wind.

    Raises:
        ValueError: ``flag_noise`` is not above 0.
    """
    if not 0.0 < flag_noise < np.inf:
        raise ValueError(f"flag_noise is {flag_noise!r}; it must be finite and > 0")
    pendulum = Variable("pendulum", _swing, Gaussian(1.0), ("wind",))
    if by_hand:
        pendulum = Variable("pendulum", noise=Uniform(-_SWING, _SWING))
    shade = ("pendulum", "light")
    return SCM(
        [
            Variable("wind", noise=Uniform(-1.0, 1.0)),
            pendulum,
            Variable("light", noise=Uniform(ASKED_LIGHTS[0], ASKED_LIGHTS[-1])),
            Variable("flag", np.copy, Gaussian(flag_noise), ("wind",)),
            Variable("length", shade_length, NoNoise(), shade),
            Variable("position", shade_position, NoNoise(), shade),
        ]
    )


@dataclass(frozen=True)
class PendulumQuestions:
    """Pictures, one question about each, and its answer.

    Attributes:
        pictures: float32 ``(N, 32, 32)``, 0 dark to 1 bright, with noise.
        asked: int64 ``(N,)``, index into `ASKED`.
        light: int64 ``(N,)``, index into `ASKED_LIGHTS`: the light is set to this angle.
        answer: int64 ``(N,)``: 0-4, 5-9 and 10-14 are bins of length, position and pendulum, 15-18
            `CHANGES`.
        environment: int64 ``(N,)``, index of the model that the scene was drawn from.
        values: float64 ``(N, 6)``, `VARIABLES` as they are in the picture.
        counterfactual: float64 ``(N, 6)``, as they would be under the light of the question.
    """

    pictures: NDArray[np.float32]
    asked: Integers
    light: Integers
    answer: Integers
    environment: Integers
    values: Array
    counterfactual: Array

    def __len__(self) -> int:
        """Number of questions."""
        return len(self.answer)


def draw_questions(
    n: int,
    models: Sequence[SCM],
    seed: int,
    *,
    shares: Sequence[float] | None = None,
    pixel_noise: float = 0.3,
) -> PendulumQuestions:
    """Draw scenes, questions and exact counterfactual answers.

    Args:
        n: questions.
        models: of `pendulum_scm`, one an environment.
        seed: of everything.
        shares: of the models in the questions, positive; even if None.
        pixel_noise: standard deviation of the noise of a pixel, >= 0.

    Raises:
        ValueError: ``n`` below 1, no models, other shares than one a model, negative noise.
    """
    if n < 1:
        raise ValueError(f"n is {n!r}; it must be >= 1")
    weights = np.ones(len(models)) if shares is None else np.asarray(shares, dtype=np.float64)
    if not models or weights.shape != (len(models),) or not (weights > 0).all():
        raise ValueError(
            f"shares is {shares!r}; it must hold a positive number for each of the "
            f"{len(models)} models, at least one"
        )
    if not 0.0 <= pixel_noise < np.inf:
        raise ValueError(f"pixel_noise is {pixel_noise!r}; it must be finite and >= 0")
    rng = np.random.default_rng(seed)
    environment = np.searchsorted(np.cumsum(weights / weights.sum()), (np.arange(n) + 0.5) / n)
    environment = rng.permutation(environment.astype(np.int64))
    light = rng.integers(len(ASKED_LIGHTS), size=n)
    asked = rng.integers(len(ASKED), size=n)
    values = np.empty((n, len(VARIABLES)))
    under = np.empty_like(values)
    for index, model in enumerate(models):
        rows = np.flatnonzero(environment == index)
        values[rows] = model.sample(len(rows), rng)
        for number, angle in enumerate(ASKED_LIGHTS):
            chosen = rows[light[rows] == number]
            if len(chosen):
                under[chosen] = model.counterfactual(values[chosen], {"light": angle})
    pictures = render(values)
    pictures += rng.normal(scale=pixel_noise, size=pictures.shape).astype(np.float32)
    answer = answers(values, under, asked)
    return PendulumQuestions(pictures, asked, light, answer, environment, values, under)


def answers(values: ArrayLike, counterfactual: ArrayLike, asked: ArrayLike) -> Integers:
    """The answers to questions, as numbers 0 .. `N_ANSWERS` - 1.

    Args:
        values: ``(N, 6)`` the scenes.
        counterfactual: ``(N, 6)`` the same under the question's light.
        asked: ``(N,)`` index into `ASKED`.
    """
    before, after = np.asarray(values), np.asarray(counterfactual)
    columns = np.stack([_bin(after, name) for name in ("length", "position", "pendulum")])
    moved = [
        np.abs(after[:, i] - before[:, i]) > _MOVED
        for i in (VARIABLES.index("length"), VARIABLES.index("position"))
    ]
    table = np.stack([*columns, moved[0] + 2 * moved[1]])
    kind = np.asarray(asked, dtype=np.int64)
    return np.asarray(BINS * kind + table[kind, np.arange(len(kind))], dtype=np.int64)


def _bin(table: Array, name: str) -> Integers:
    low, high = _RANGES[name]
    share = (table[:, VARIABLES.index(name)] - low) / (high - low)
    return np.clip((BINS * share).astype(np.int64), 0, BINS - 1)


def render(values: ArrayLike) -> NDArray[np.float32]:
    """Draw scenes: sun, rod and ball, the shade on the ground, the flag in the upper left corner.

    Shapes have soft edges one pixel wide. The flag is the brighter the stronger the wind blows to
    the right.

    Args:
        values: ``(N, 6)``, `VARIABLES`; length and position are drawn as they are given.

    Returns:
        float32 ``(N, 32, 32)`` in [0, 1], the first row on top.

    Raises:
        ValueError: another shape, or values that are not finite.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != len(VARIABLES) or not np.isfinite(table).all():
        raise ValueError(f"values must be finite and (N, {len(VARIABLES)}), got {table.shape}")
    rows, columns = SIZE
    x = _LEFT + _UNIT * (np.arange(columns) + 0.5)
    y = _BOTTOM + _UNIT * (rows - 0.5 - np.arange(rows))
    grid = cast(tuple[Array, Array], np.meshgrid(x, y))
    _, pendulum, light, flag, length, position = table.T[:, :, None, None]
    ball_x, ball_y = ball(pendulum)
    sun_x = PIVOT[0] + (_SUN_HEIGHT - PIVOT[1]) / np.tan(np.deg2rad(light))
    picture = 0.9 * _disc(grid, sun_x, _SUN_HEIGHT, 1.2)
    picture = np.maximum(picture, _ROD_SHADE * _rod(grid, ball_x, ball_y, 0.35))
    picture = np.maximum(picture, _BALL_SHADE * _disc(grid, ball_x, ball_y, 0.9))
    ground = np.clip(0.5 + (0.5 - np.abs(grid[1] - GROUND + 0.75)) / _UNIT, 0, 1)
    along = np.clip(0.5 + (length / 2 - np.abs(grid[0] - position)) / _UNIT, 0, 1)
    picture = np.maximum(picture, 0.8 * ground * along)
    brightness = np.clip(0.5 + 0.4 * flag, 0, 1)
    cloth = np.ones_like(grid[0])
    for axis, middle, half in zip(grid, _FLAG, _FLAG_HALF, strict=True):
        cloth = cloth * np.clip(0.5 + (half - np.abs(axis - middle)) / _UNIT, 0, 1)
    picture = np.maximum(picture, brightness * cloth)
    return np.asarray(picture, dtype=np.float32)


def _disc(grid: tuple[Array, Array], x: Array | float, y: Array | float, radius: float) -> Array:
    distance = np.hypot(grid[0] - x, grid[1] - y)
    return np.asarray(np.clip(0.5 + (radius - distance) / _UNIT, 0, 1))


def _rod(grid: tuple[Array, Array], x: Array, y: Array, width: float) -> Array:
    """Pixels near the line from the pivot to (x, y)."""
    along_x, along_y = x - PIVOT[0], y - PIVOT[1]
    from_x, from_y = grid[0] - PIVOT[0], grid[1] - PIVOT[1]
    share = np.clip((from_x * along_x + from_y * along_y) / ROD**2, 0, 1)
    distance = np.hypot(from_x - share * along_x, from_y - share * along_y)
    return np.asarray(np.clip(0.5 + (width - distance) / _UNIT, 0, 1))


def patches(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cut pictures ``(N, 32, 32)`` into patches ``(N, 24, 32)``: by rows from the upper left.

    `SKY_ROWS` are left out.
    """
    n, (rows, columns), (high, wide) = len(pictures), SIZE, PATCH
    cut = pictures.reshape(n, rows // high, high, columns // wide, wide)
    cut = cut.transpose(0, 1, 3, 2, 4)[:, [i for i in range(rows // high) if i not in SKY_ROWS]]
    return np.ascontiguousarray(cut.reshape(n, -1, high * wide))


def patch_objects() -> tuple[str, ...]:
    """What each patch shows: "flag", "light", "pendulum" or "shade".

    The flag's corner is out of the sun's reach, the ground below the ball's; so a patch shows one
    variable at most, and a graph over patches can be the true one for all scenes.
    """
    across = SIZE[1] // PATCH[1]
    rows = ["light", "pendulum", "pendulum", "pendulum", "pendulum", "shade"]
    names = [name for name in rows for _ in range(across)]
    names[0] = "flag"
    return tuple(names)
