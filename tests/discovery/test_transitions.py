from __future__ import annotations

import numpy as np
import pytest

from causal_rl.discovery import Transitions


def arrays(rows: int = 6, n: int = 3) -> dict:
    rng = np.random.default_rng(0)
    state, after = rng.normal(size=(2, rows, n))
    target = np.zeros((rows, n), dtype=bool)
    target[1, 0] = target[3, 2] = True
    return {
        "state": state,
        "next_state": after,
        "action": np.arange(rows),
        "reward": rng.normal(size=rows),
        "terminated": np.arange(rows) == 2,
        "truncated": np.zeros(rows, dtype=bool),
        "do_target": target,
        "do_value": np.where(target, after, 7.0),
    }


def same(left: Transitions, right: Transitions) -> bool:
    keys = ("state", "next_state", "action", "reward", "terminated", "truncated")
    keys += ("do_target", "do_value")
    return (left.names, left.kinds) == (right.names, right.kinds) and all(
        np.array_equal(getattr(left, key), getattr(right, key))
        and getattr(left, key).dtype == getattr(right, key).dtype
        for key in keys
    )


def test_defaults_and_types():
    plain = Transitions(state=[[1, 2]], next_state=np.array([[3, 4]], dtype=np.float32))
    assert plain.state.dtype == plain.next_state.dtype == np.float64
    assert plain.names == ("X1", "X2")
    assert plain.kinds == ("state", "state")
    assert plain.reward is None
    assert not plain.do_target.any()
    assert (len(plain), plain.n) == (1, 2)


def test_arrays_are_copies_and_read_only():
    given = arrays()
    held = Transitions(**given)
    before = held.state[0, 0]
    given["state"][0, 0] = 99.0
    assert held.state[0, 0] == before
    with pytest.raises(ValueError, match="read-only"):
        held.state[0, 0] = 1.0


def test_off_target_do_values_mean_nothing():
    held = Transitions(**arrays())
    assert (held.do_value[~held.do_target] == 0).all()
    assert np.array_equal(held.do_value[held.do_target], held.next_state[held.do_target])


def test_do_value_defaults_to_next_state():
    given = arrays()
    del given["do_value"]
    assert same(Transitions(**given), Transitions(**arrays()))


def test_do_value_survives_float32_observations():
    given = arrays()
    given["next_state"] = given["next_state"].astype(np.float32)
    Transitions(**given)
    given["do_value"][3, 2] += 1e-3
    with pytest.raises(ValueError, match=r"do_value is .* in row 3, column 2, but next_state"):
        Transitions(**given)


def test_reset_rows_never_enter():
    given = arrays()
    reset = np.arange(6) == 4
    given["next_state"][4] = np.nan  # what a reset row holds is nobody's business
    held = Transitions(**given, reset=reset)
    assert len(held) == 5
    assert np.array_equal(held.action, [0, 1, 2, 3, 5])


@pytest.mark.parametrize("name", ["state", "next_state", "reward", "do_value", "action"])
def test_nan_names_array_and_row_of_the_callers_arrays(name: str):
    given = arrays()
    given[name] = given[name].astype(float)
    given[name][2:] = np.nan
    with pytest.raises(ValueError, match=rf"^{name} has NaN, first in row 2"):
        Transitions(**given, reset=np.arange(6) == 0)


def test_infinity_is_refused():
    given = arrays()
    given["state"][5, 1] = np.inf
    with pytest.raises(ValueError, match="state has an infinite value, first in row 5"):
        Transitions(**given)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"state": np.zeros(3)}, ValueError, r"state has shape \(3,\)"),
        ({"next_state": np.zeros((6, 2))}, ValueError, r"next_state has shape \(6, 2\).*\(6, 3\)"),
        ({"reward": np.zeros((6, 1))}, ValueError, "reward has shape"),
        ({"action": np.zeros(5)}, ValueError, "action has shape"),
        ({"terminated": np.full(6, 2)}, ValueError, "terminated has 2.0 in row 0"),
        ({"do_target": np.zeros((6, 2))}, ValueError, "do_target has shape"),
        ({"do_target": None}, ValueError, "do_value was given without do_target"),
        ({"state": [["a"]]}, TypeError, "state must be an array of real numbers"),
        ({"names": ["a", "b"]}, ValueError, "names has 2 entries"),
        ({"names": ["a", "b", "a"]}, ValueError, "names repeats a"),
        ({"names": "abc"}, TypeError, "names must be a sequence"),
        ({"kinds": ["state"]}, ValueError, "kinds has 1 entries"),
        ({"kinds": ["state", "hidden", "state"]}, ValueError, r"kinds\[1\] is 'hidden'"),
    ],
)
def test_bad_input_is_one_line(change: dict, error: type[Exception], words: str):
    with pytest.raises(error, match=words) as caught:
        Transitions(**{**arrays(), **change})
    assert "\n" not in str(caught.value)


def test_slices_concatenate_to_the_whole():
    whole = Transitions(**arrays(), names=["a", "b", "c"], kinds=["context", "state", "state"])
    parts = [whole[:2], whole[2:2], whole[2:]]
    assert same(Transitions.concatenate(parts), whole)
    assert same(whole[np.arange(6) < 2], whole[:2])
    with pytest.raises(TypeError, match="not int"):
        whole[3]  # type: ignore[index]


def test_concatenate_refuses_what_does_not_fit():
    whole = Transitions(**arrays())
    with pytest.raises(ValueError, match="no parts"):
        Transitions.concatenate([])
    with pytest.raises(ValueError, match="part 1 has variables"):
        Transitions.concatenate([whole, Transitions(**arrays(), names=["a", "b", "c"])])
    with pytest.raises(ValueError, match="part 1 has no reward"):
        Transitions.concatenate([whole, Transitions(**{**arrays(), "reward": None})])


def test_save_and_load(tmp_path):
    whole = Transitions(**arrays(), names=["a", "b", "c"], kinds=["context", "state", "action"])
    whole.save(tmp_path / "data.npz")
    assert same(Transitions.load(tmp_path / "data.npz"), whole)
    whole[:1].save(tmp_path / "data.npz")
    assert len(Transitions.load(tmp_path / "data.npz")) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["data.npz"]


def test_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    whole = Transitions(**arrays())
    whole.save(tmp_path / "data.npz")

    def broken(*args: object, **kwargs: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", broken)
    with pytest.raises(OSError, match="disk full"):
        whole[:1].save(tmp_path / "data.npz")
    assert len(Transitions.load(tmp_path / "data.npz")) == 6
    assert len(list(tmp_path.iterdir())) == 1


def test_load_refuses_other_files(tmp_path):
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    for name in ("text.npz", "other.npz"):
        with pytest.raises(ValueError, match="is not a file of transitions"):
            Transitions.load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        Transitions.load(tmp_path / "absent.npz")
    with pytest.raises(ValueError, match=r"\.npz"):
        Transitions(**arrays()).save(tmp_path / "data.txt")
