"""One stream, two questions: which edges are there now, and which where? A few seconds.

A hand moves a cube one step later, where the gap between them is closed. In the middle of the
stream the force no longer moves the hand.

python examples/local_graphs.py
"""

import numpy as np

from causal_rl.discovery import Transitions, make_learner

ROWS, CLOSED = 3000, 0.4


def record(rng: np.random.Generator) -> Transitions:
    """Steps of the world; every third sets one variable at random."""
    x, target = np.zeros((ROWS + 1, 4)), np.zeros((ROWS, 4), dtype=bool)
    target[::3] = rng.permuted(np.tile(np.eye(4, dtype=bool)[0], (ROWS // 3, 1)), axis=1)
    for t in range(ROWS):
        force, hand, gap, cube = x[t]
        noise, value = rng.normal(0, 0.6, size=4), rng.normal(size=4)
        x[t + 1, 0] = value[0] if target[t, 0] else 0.5 * force + noise[0]
        pushed = 0.8 * x[t + 1, 0] if t < ROWS // 2 else 0.0
        x[t + 1, 1] = value[1] if target[t, 1] else pushed + noise[1]
        x[t + 1, 2] = value[2] if target[t, 2] else 0.5 * gap + noise[2]
        moved = hand if gap < CLOSED else 0.0
        x[t + 1, 3] = value[3] if target[t, 3] else 0.3 * cube + moved + noise[3]
    return Transitions(
        state=x[:-1],
        next_state=x[1:],
        do_target=target,
        names=["force", "hand", "gap", "cube"],
    )


if __name__ == "__main__":
    data = record(np.random.default_rng(0))

    when = make_learner("time-varying")
    when.fit(data)
    for change in when.changes():
        verb = "appears" if change.opens else "vanishes"
        print(f"row {change.row}: {change.cause} -> {change.effect} {verb}")

    where = make_learner("state-dependent")
    where.fit(data[: ROWS // 2])
    for region in where.regions("cube"):
        parents = ", ".join(name for _, name in region.parents)
        print(f"cube, where {' and '.join(region.conditions)}: {parents}")
