"""The Tuebingen cause-effect pairs (Mooij et al. 2016): one of two columns causes the other."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from causal_rl.datasets.locate import DataFile, locate

_ARCHIVE = DataFile(
    "tuebingen/pairs_cc0.tar.gz",
    "62d2731e4f8022cd26e36205e873c8a072f050412afeec29a2ce97193882c510",
)
_ZIP = DataFile(
    "tuebingen/tuebingen_pairwise_data.zip",
    "07fe6dc7a52877bff80bd035e099605773785c743398d3aaf1aa222583658de8",
    "https://raw.githubusercontent.com/cmu-phil/example-causal-datasets/main/real/pairs/"
    "tuebingen_pairwise_data.zip",
)
_META = DataFile(
    "tuebingen/pairmeta.txt",
    "e630e7ea56b2ba6ec551d6a88183a8fde2154bd24e59ecdc9fc98365efe8e4a9",
)


@dataclass(frozen=True)
class CauseEffectPair:
    """One pair.

    Attributes:
        number: 1 to 108.
        values: ``(N, 2)`` rows; column 0 is the cause, in this form always.
        weight: that pairs from one study together count about once.
    """

    number: int
    values: NDArray[np.float64]
    weight: float


def load_tuebingen() -> list[CauseEffectPair]:
    """The 102 pairs whose cause and effect are one column each, the cause first.

    A method must not see which column comes first: show the columns in random order.

    Raises:
        DataUnavailableError: not at hand and not to be fetched.
        ValueError: a file is not the published one.
    """
    path = locate(_ARCHIVE, _ZIP)
    with ExitStack() as stack:
        read = _reader(path, stack)
        meta = read("pairmeta.txt") if path.suffix == ".zip" else _meta_text()
        pairs = []
        for line in meta.splitlines():
            if not line.strip():
                continue
            number, *ends, weight = line.split()
            first_cause, last_cause, first_effect, last_effect = map(int, ends)
            if first_cause != last_cause or first_effect != last_effect or float(weight) == 0:
                continue
            table = _table(read(f"data/pair.{int(number)}.txt"))
            values = table[:, [first_cause - 1, first_effect - 1]]
            pairs.append(CauseEffectPair(int(number), values, float(weight)))
    return pairs


def _meta_text() -> str:
    return locate(_META).read_text(encoding="ascii")


def _reader(path: Path, stack: ExitStack) -> Callable[[str], str]:
    """Read a member by the end of its name."""
    if path.suffix == ".zip":
        archive = stack.enter_context(zipfile.ZipFile(path))
        members = {name.partition("/")[2]: name for name in archive.namelist()}
        return lambda name: archive.read(members[name]).decode("ascii")
    packed = stack.enter_context(tarfile.open(path))
    texts = {}
    for member in packed.getmembers():
        if member.isfile() and member.name.endswith(".txt"):
            stream = packed.extractfile(member)
            texts[member.name.removeprefix("./")] = b"" if stream is None else stream.read()
    return lambda name: texts[name].decode("ascii")


def _table(text: str) -> NDArray[np.float64]:
    """The first two columns of numbers, under an optional line of names.

    Some files have a third, empty or nearly so, left by white space at the end of lines; an
    asterisk stands for a missing value.
    """
    lines = [line.split()[:2] for line in text.splitlines() if line.strip()]
    if any(character.isalpha() for character in lines[0][0]):
        lines = lines[1:]
    return np.array([line for line in lines if "*" not in line], dtype=np.float64)
