"""Where a file of a data set lies: a folder of the user's, the cache, or the public source."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "CAUSAL_RL_DATA"


class DataUnavailableError(FileNotFoundError):
    """A file is in no folder and could not be fetched."""


@dataclass(frozen=True)
class DataFile:
    """A file of a data set.

    Attributes:
        name: its path below the folder of all data, such as ``"sachs/table.txt"``.
        sha256: checksum, hexadecimal.
        url: public source, or None where there is none to fetch it from.
    """

    name: str
    sha256: str
    url: str | None = None


def locate(*alternatives: DataFile) -> Path:
    """The path of the first of some equivalent files that is at hand, or the last one, fetched.

    Args:
        *alternatives: files with the same content in other packings, the preferred first.

    Returns:
        A path to a file with the right checksum.

    Raises:
        ValueError: a file is there and has another checksum.
        DataUnavailableError: none is there, and none could be fetched; the line says where to
            put it.
    """
    folders = [_cache()]
    if own := os.environ.get(VARIABLE):
        folders.insert(0, Path(own))
    for folder in folders:
        for file in alternatives:
            path = folder / file.name
            if path.is_file():
                _check(path, file)
                return path
    source = next((file for file in reversed(alternatives) if file.url), None)
    if source is None:
        raise DataUnavailableError(
            f"{alternatives[0].name} is not at hand and has no public address; put it below the "
            f"folder that {VARIABLE} names, or below {_cache()}"
        )
    return _fetch(source)


def _cache() -> Path:
    import pooch

    return Path(pooch.os_cache("causal_rl"))


def _fetch(file: DataFile) -> Path:
    import pooch

    target = _cache() / file.name
    try:
        # It downloads to a temporary name, checks, and renames.
        found = pooch.retrieve(
            file.url, f"sha256:{file.sha256}", fname=target.name, path=target.parent
        )
    except OSError as error:
        raise DataUnavailableError(
            f"{file.name} is not below the folder that {VARIABLE} names, nor in {_cache()}, and "
            f"could not be fetched from {file.url}: {error}"
        ) from error
    return Path(found)


def _check(path: Path, file: DataFile) -> None:
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != file.sha256:
        raise ValueError(
            f"{path} has the checksum {found[:12]}..., not {file.sha256[:12]}... of the published "
            f"file; remove it, or put the published one there"
        )
