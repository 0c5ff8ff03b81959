"""Draw the house: packages on their floors, who imports whom, and the five types that flow.

python scripts/draw_architecture.py [--out docs/architecture.png]
"""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from pathlib import Path

import click

import causal_rl
from causal_rl.agents import save_figure
from causal_rl.graphs.drawing import new_figure

ROOT = Path(__file__).resolve().parent.parent
TYPES = (
    ("DynamicSCM", "a world"),
    ("Transitions", "what happened in it"),
    ("CausalGraph", "what was learned"),
    ("SCMEncoder", "what reads it"),
    ("Algorithm5", "the agent"),
)


def floors() -> list[list[str]]:
    """Packages by floor, the highest first, as the import contract has them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = settings["tool"]["importlinter"]["contracts"]
    return [
        [part.strip().removeprefix("causal_rl.") for part in layer.split("|")]
        for layer in contract["layers"]
    ]


def imports() -> Counter[tuple[str, str]]:
    """How many modules of one package import from another, (importer, imported)."""
    found: set[tuple[str, str, str]] = set()
    for path in (ROOT / "causal_rl").rglob("*.py"):
        package = path.relative_to(ROOT / "causal_rl").parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for name in names:
                parts = name.split(".")
                if parts[0] == "causal_rl" and len(parts) > 1 and parts[1] != package:
                    found.add((str(path), package, parts[1]))
    return Counter((package, other) for _, package, other in found)


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=ROOT / "docs" / "architecture.png",
    help="Where to write.  [default: docs/architecture.png]",
)
def main(out: Path) -> None:
    """Draw the packages of causal_rl."""
    from matplotlib.patches import FancyBboxPatch, Rectangle

    levels = [level for level in floors() if "errors" not in level]
    homes = {name: getattr(causal_rl, name).__module__.split(".")[1] for name, _ in TYPES}
    figure = new_figure(13.0, 8.2)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(xlim=(0, 13), ylim=(0, 8.2))
    axes.set_axis_off()

    def box(x: float, y: float, width: float, text: str, note: str, color: str) -> None:
        shape = FancyBboxPatch(
            (x, y), width, 0.52, boxstyle="round,pad=0.02,rounding_size=0.07",
            facecolor=color, edgecolor="#333333",
        )  # fmt: skip
        axes.add_patch(shape)
        axes.text(x + width / 2, y + 0.35, text, ha="center", va="center", fontsize=11)
        axes.text(x + width / 2, y + 0.13, note, ha="center", va="center", fontsize=8)

    axes.text(0.3, 7.9, "Floors: a package imports from those below it", fontsize=11)
    for row, level in enumerate(levels):
        width = (5.4 - 0.2 * (len(level) - 1)) / len(level)
        for column, package in enumerate(level):
            files = len(list((ROOT / "causal_rl" / package).rglob("*.py"))) or 1
            own = [name for name, home in homes.items() if home == package]
            note = f"{files} file{'s' * (files > 1)}" + (f" · {', '.join(own)}" if own else "")
            x, y = 0.3 + column * (width + 0.2), 7.2 - row * 0.68
            box(x, y, width, package, note, "#dbe9f6" if own else "#f2f4f7")

    packages = [package for level in levels for package in level]
    matrix = figure.add_axes((0.54, 0.25, 0.44, 0.62))
    counts = imports()
    most = max(counts.values())
    for i, package in enumerate(packages):
        for j, other in enumerate(packages):
            count = counts[package, other]
            shade = 0.12 + 0.75 * (count / most) ** 0.5 if count else 0.0
            color = "#eeeeee" if i == j else (0.18, 0.44, 0.68, shade)
            matrix.add_patch(Rectangle((j, i), 1, 1, facecolor=color, edgecolor="#ffffff"))
            if count:
                matrix.text(j + 0.5, i + 0.5, str(count), ha="center", va="center", fontsize=8)
    matrix.set(xlim=(0, len(packages)), ylim=(len(packages), 0))
    places = [place + 0.5 for place in range(len(packages))]
    matrix.set_xticks(places, packages, rotation=40, ha="left", fontsize=9)
    matrix.set_yticks(places, packages, fontsize=9)
    matrix.xaxis.tick_top()
    matrix.tick_params(length=0)
    matrix.set_xlabel(
        "Files of a row's package that import from a column's: none below the diagonal"
    )

    axes.text(0.3, 1.12, "The five types that everything flows in", fontsize=11)
    for place, (name, what) in enumerate(TYPES):
        x = 0.3 + place * 2.55
        box(x, 0.42, 2.0, name, f"{what} · {homes[name]}", "#dbe9f6")
        if place:
            axes.annotate(
                "", (x - 0.04, 0.68), (x - 0.51, 0.68),
                arrowprops={"arrowstyle": "-|>", "linewidth": 1.6},
            )  # fmt: skip
    save_figure(figure, out)
    click.echo(f"Written: {out}")


if __name__ == "__main__":
    main()
