"""The Tuebingen cause-effect pairs (Mooij et al. 2016): one of two columns causes the other."""

from __future__ import annotations

import tarfile
import zipfile
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
    texts = _texts(locate(_ARCHIVE, _ZIP))
    if "pairmeta.txt" not in texts:
        texts["pairmeta.txt"] = locate(_META).read_bytes()
    pairs = []
    for line in texts["pairmeta.txt"].decode("ascii").splitlines():
        if not line.strip():
            continue
        number, *ends, weight = line.split()
        first_cause, last_cause, first_effect, last_effect = map(int, ends)
        if first_cause != last_cause or first_effect != last_effect:
            continue
        table = _table(texts[f"data/pair.{int(number)}.txt"].decode("ascii"))
        values = table[:, [first_cause - 1, first_effect - 1]]
        pairs.append(CauseEffectPair(int(number), values, float(weight)))
    return pairs


def _texts(path: Path) -> dict[str, bytes]:
    """Contents of the text files of the archive, by path below its top folder."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    texts = {}
    with tarfile.open(path) as packed:
        for member in packed:
            stream = packed.extractfile(member) if member.name.endswith(".txt") else None
            if stream is not None:
                texts[member.name.removeprefix("./")] = stream.read()
    return texts


def _table(text: str) -> NDArray[np.float64]:
    """The first two columns of numbers, under an optional line of names.

    Some files have a third, empty or nearly so, left by white space at the end of lines; an
    asterisk stands for a missing value.
    """
    lines = [line.split()[:2] for line in text.splitlines() if line.strip()]
    if any(character.isalpha() for character in lines[0][0]):
        lines = lines[1:]
    return np.array([line for line in lines if "*" not in line], dtype=np.float64)
