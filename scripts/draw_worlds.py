"""Draw every world into docs/worlds/, as the pages show them."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt
from PIL import Image

from causal_rl.envs import GYM_DYNAMICS, plot_world, resolve_spec
from causal_rl.envs.worlds import BUILT_IN

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "worlds"


def main() -> None:
    """Write one picture a world; 64 colours are enough and a third of the size."""
    FOLDER.mkdir(exist_ok=True)
    mpl.use("Agg")
    for name in (*BUILT_IN, *GYM_DYNAMICS):
        path = FOLDER / f"{name}.png"
        if name in BUILT_IN:
            plot_world(resolve_spec(name), path)
        else:
            figure, axes = plt.subplots(figsize=(6, 4))
            GYM_DYNAMICS[name].causal_graph.plot(axes)
            figure.savefig(path, dpi=150, bbox_inches="tight")
            plt.close(figure)
        with Image.open(path) as picture:
            small = picture.convert("RGB").quantize(64)
        small.save(path, optimize=True)
        print(path.name)


if __name__ == "__main__":
    main()
