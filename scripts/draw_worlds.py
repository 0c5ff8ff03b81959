"""Draw every built-in world into docs/worlds/, as the pages show them."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from causal_rl.envs import plot_world, resolve_spec
from causal_rl.envs.worlds import BUILT_IN

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "worlds"


def main() -> None:
    """Write one picture a world; 64 colours are enough and a third of the size."""
    FOLDER.mkdir(exist_ok=True)
    for name in BUILT_IN:
        path = FOLDER / f"{name}.png"
        plot_world(resolve_spec(name), path)
        with Image.open(path) as picture:
            small = picture.convert("RGB").quantize(64)
        small.save(path, optimize=True)
        print(path.name)


if __name__ == "__main__":
    main()
