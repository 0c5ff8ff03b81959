"""Files that a figure is saved to: the suffix tells the format."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from causal_rl.files import atomic_open

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_figure(figure: Figure, path: str | os.PathLike[str], *, dpi: int = 120) -> None:
    """Write a figure in the format of the suffix; the file appears whole or not at all.

    Args:
        figure: what is drawn.
        path: where to; PNG without a suffix.
        dpi: dots per inch.
    """
    with atomic_open(path) as file:
        figure.savefig(file, format=_format(Path(path)), dpi=dpi)


def check_picture(path: object, argument: str) -> Path:
    """Refuse a path that no picture can be written to.

    Args:
        path: where the picture goes.
        argument: what named it, for the message.

    Returns:
        The path.

    Raises:
        TypeError: no path.
        ValueError: matplotlib knows no format with its suffix, it is a folder, or in none.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{argument} must be a path or None, got {path!r}")
    target = Path(path)
    known = FigureCanvasBase.get_supported_filetypes()
    if target.is_dir():
        raise ValueError(f"{argument} {str(target)!r} is a folder; name a file in it")
    if _format(target) not in known:
        raise ValueError(
            f"{argument} {str(target)!r} must end in one of .{', .'.join(sorted(known))}"
        )
    if not target.parent.is_dir():
        raise ValueError(f"{argument} {str(target)!r}: there is no folder {str(target.parent)!r}")
    return target


def _format(path: Path) -> str:
    return path.suffix.lstrip(".").lower() or "png"
