"""Files that appear whole or not at all, and folders that one process at a time writes to."""

from __future__ import annotations

import json
import os
import pickle
import struct
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

_LOCK_FILE = ".lock"


@contextmanager
def atomic_open(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open ``path`` for writing bytes; it is replaced when the block ends without an error.

    A killed process leaves the old file, or none.

    Args:
        path: the file to write; its folder must exist.

    Yields:
        A binary file open for writing.
    """
    target = Path(path)
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes the file private to its owner; give it the usual permissions.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_torch(path: str | os.PathLike[str]) -> Any:
    """Read what torch saved: tensors, NumPy arrays and plain values; nothing in it is executed.

    Args:
        path: a file of ``torch.save``.

    Raises:
        OSError: it cannot be read, is no such file, or holds other objects.
    """
    import numpy as np
    import torch

    if not zipfile.is_zipfile(path):
        raise OSError("no archive of torch")
    # What an array of numbers or a number of NumPy is rebuilt by; no array of objects among them.
    numbers = [np.dtype(code) for code in "?bhilqBHILQefd"]
    rebuild: list[Any] = [np.empty(1).__reduce__()[0], np.float64(0).__reduce__()[0]]
    rebuild += [np.ndarray, np.dtype, bytes]  # the last, of an array without entries
    try:
        with torch.serialization.safe_globals([*rebuild, *{type(number) for number in numbers}]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise OSError("it holds more than tensors, arrays and plain values") from error
    except (RuntimeError, EOFError, KeyError) as error:
        raise OSError(f"no archive of torch ({type(error).__name__})") from error


def read_payload(
    path: str | os.PathLike[str],
    form: str,
    *,
    missing: str,
    unreadable: str,
    foreign: str,
    why: bool = False,
) -> dict[str, Any]:
    """Read a dictionary that torch saved, if its ``"format"`` is the one wanted.

    Args:
        path: a file of ``torch.save``; nothing in it is executed.
        form: what it must hold under ``"format"``.
        missing: what to say where there is no such file.
        unreadable: what to say where it cannot be read.
        foreign: what to say where it holds anything else.
        why: add the cause to ``unreadable``.

    Raises:
        ValueError: with one of the three messages.
    """
    if not Path(path).is_file():
        raise ValueError(missing)
    try:
        payload = read_torch(path)
    except OSError as error:
        raise ValueError(f"{unreadable}: {error}" if why else unreadable) from error
    if not isinstance(payload, dict) or payload.get("format") != form:
        raise ValueError(foreign)
    return payload


def read_npz(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read all arrays of an .npz file; nothing in it is executed.

    Args:
        path: a file of ``numpy.savez``.

    Returns:
        Arrays by name.

    Raises:
        OSError: it cannot be read (FileNotFoundError: there is none), is damaged, or holds objects.
    """
    import numpy as np

    # What zipfile, zlib and NumPy's reader of headers say of bytes that were cut or overwritten.
    damaged = (
        zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError, EOFError, ValueError,
        TypeError, AttributeError, KeyError, RuntimeError, OverflowError, MemoryError,
    )  # fmt: skip
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except damaged as error:
        raise OSError(f"no archive of arrays ({type(error).__name__})") from error


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Args:
        path: the file.

    Returns:
        What it holds.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not JSON; the message names the file.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)} is not a JSON file: {error}") from error


def atomic_write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` as UTF-8 through `atomic_open`."""
    with atomic_open(path) as file:
        file.write(text.encode("utf-8"))


def make_folder(folder: str | os.PathLike[str], argument: str) -> None:
    """Make a folder, and those above it, unless it is there.

    Args:
        folder: the folder.
        argument: what named it, for the message.

    Raises:
        ValueError: it cannot be made.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(Path(folder), argument, error) from error


def _unwritable(folder: Path, argument: str, error: OSError) -> ValueError:
    return ValueError(
        f"{argument} must be a folder that can be written, got {str(folder)!r}: {error.strerror}"
    )


@contextmanager
def sole_writer(folder: str | os.PathLike[str], argument: str) -> Iterator[None]:
    """Keep other processes that ask for the same from writing to a folder.

    The lock goes with the process, however it ends. A folder that holds nothing else in the end is
    removed.

    Args:
        folder: made if it is not there.
        argument: what named the folder, for the message.

    Raises:
        ValueError: another process is writing to it, or it cannot be made.
    """
    from filelock import FileLock, Timeout  # imports asyncio, which few need

    place = Path(folder)
    make_folder(place, argument)
    lock = FileLock(place / _LOCK_FILE, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(
            f"{argument}: another process is writing to {str(place)!r}; wait for it or stop it"
        ) from None
    except OSError as error:
        raise _unwritable(place, argument, error) from error
    try:
        yield
    finally:
        (place / _LOCK_FILE).unlink(missing_ok=True)
        lock.release()
        if not any(place.iterdir()):
            place.rmdir()
