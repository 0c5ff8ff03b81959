from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from causal_rl.errors import MissingExtraError, import_extra, require_extra
from causal_rl.files import atomic_open, atomic_write_text, read_torch, sole_writer


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file.txt"
    atomic_write_text(path, "old")

    def fail_half_way() -> None:
        with atomic_open(path) as file:
            file.write(b"half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    atomic_write_text(path, "new: ä")
    assert path.read_text(encoding="utf-8") == "new: ä"


def test_files_get_the_usual_permissions(tmp_path):
    plain, ours = tmp_path / "plain", tmp_path / "ours"
    plain.write_text("")
    atomic_write_text(ours, "")
    assert stat.S_IMODE(ours.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_what_torch_saved_is_read_without_being_executed(tmp_path):
    state = {
        "weights": torch.arange(3.0),
        "arrays": [np.eye(2), np.zeros((0, 3)), np.array([True]), np.arange(2, dtype=np.uint64)],
        "number": np.float64(0.5),
        "generator": np.random.default_rng(3).bit_generator.state,
        "plain": ("text", None, 1, {"a": [True]}),
    }
    torch.save(state, tmp_path / "state.pt")
    read = read_torch(tmp_path / "state.pt")
    assert torch.equal(read["weights"], state["weights"])
    for ours, theirs in zip(read["arrays"], state["arrays"], strict=True):
        np.testing.assert_array_equal(ours, theirs, strict=True)
    for key in ("number", "generator", "plain"):
        assert read[key] == state[key]

    class Hostile:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    torch.save({"state": Hostile()}, tmp_path / "hostile.pt")
    with pytest.raises(OSError, match="holds more than tensors, arrays and plain values"):
        read_torch(tmp_path / "hostile.pt")
    assert not (tmp_path / "executed").exists()
    (tmp_path / "text.pt").write_text("weights")
    with pytest.raises(OSError, match="no archive of torch"):
        read_torch(tmp_path / "text.pt")


def test_a_folder_has_one_writer(tmp_path):
    folder = tmp_path / "a" / "b"
    with sole_writer(folder, "out"):
        busy = pytest.raises(ValueError, match=r"out: another process is writing to '.*'; wait")
        with busy, sole_writer(folder, "out"):
            pass
        (folder / "kept").touch()
    with sole_writer(folder, "out"):  # and it is free again
        pass
    assert [path.name for path in folder.iterdir()] == ["kept"]
    with sole_writer(tmp_path / "empty", "out"):
        pass
    assert not (tmp_path / "empty").exists()
    (tmp_path / "file").touch()
    bad = pytest.raises(ValueError, match="resume must be a folder that can be written")
    with bad, sole_writer(tmp_path / "file", "resume"):
        pass


def test_the_lock_of_a_killed_process_does_not_stay(tmp_path):
    code = (
        "import os, sys\nfrom causal_rl.files import sole_writer\n"
        "with sole_writer(sys.argv[1], 'out'):\n    os.kill(os.getpid(), 9)"
    )
    folder = tmp_path / "run"
    subprocess.run([sys.executable, "-c", code, str(folder)], check=False)
    assert folder.is_dir()
    with sole_writer(folder, "out"):
        pass


def test_extras():
    assert import_extra("json.decoder", extra="none").__name__ == "json.decoder"
    require_extra("json", extra="none")
    for call in (import_extra, require_extra):
        with pytest.raises(MissingExtraError, match=r"pip install 'causal_rl\[some\]'"):
            call("no_such_package_at_all", extra="some")


def test_a_broken_package_is_not_reported_as_absent(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency") as caught:
        import_extra("broken_package", extra="some")
    assert not isinstance(caught.value, MissingExtraError)
