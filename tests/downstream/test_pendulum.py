"""Pendulum causal questions: geometry by hand, answers by the model, what moves which patch."""

from __future__ import annotations

import numpy as np
import pytest

from causal_rl.downstream.pendulum import (
    ASKED,
    ASKED_LIGHTS,
    BINS,
    N_ANSWERS,
    VARIABLES,
    PendulumQuestions,
    answers,
    ball,
    draw_questions,
    patch_objects,
    patches,
    pendulum_scm,
    project,
    render,
    shade_length,
    shade_position,
)

LENGTH, POSITION = VARIABLES.index("length"), VARIABLES.index("position")


@pytest.fixture(scope="module")
def questions() -> PendulumQuestions:
    return draw_questions(400, [pendulum_scm(), pendulum_scm(flag_noise=0.5)], 0, shares=(3, 1))


def test_light_from_above_throws_the_shade_straight_down() -> None:
    assert project(7.0, 4.0, 90.0) == pytest.approx(7.0)
    assert shade_length(0.0, 90.0) == pytest.approx(0.0, abs=1e-9)
    assert shade_length(30.0, 90.0) == pytest.approx(9.5 * 0.5)
    assert shade_position(30.0, 90.0) == pytest.approx(10 + 9.5 * 0.25)


def test_light_at_45_degrees_moves_a_point_by_its_height() -> None:
    assert project(3.0, 1.5, 45.0) == pytest.approx(3.0 - 2.0)
    assert project(3.0, 1.5, 135.0) == pytest.approx(3.0 + 2.0)


def test_the_rod_has_its_length() -> None:
    x, y = ball(np.linspace(-35, 35, 11))
    np.testing.assert_allclose(np.hypot(x - 10, y - 10.5), 9.5)


def test_the_mirror_image_has_the_mirrored_shade() -> None:
    pendulum, light = np.array([12.0, -30.0]), np.array([70.0, 110.0])
    np.testing.assert_allclose(shade_length(pendulum, light), shade_length(-pendulum, 180 - light))
    mirrored = 20 - shade_position(-pendulum, 180 - light)
    np.testing.assert_allclose(shade_position(pendulum, light), mirrored)


def test_under_another_light_only_light_and_shade_change(questions: PendulumQuestions) -> None:
    before, after = questions.values, questions.counterfactual
    np.testing.assert_array_equal(before[:, [0, 1, 3]], after[:, [0, 1, 3]])
    lights = np.asarray(ASKED_LIGHTS)[questions.light]
    np.testing.assert_array_equal(after[:, 2], lights)
    np.testing.assert_allclose(after[:, LENGTH], shade_length(before[:, 1], lights))
    np.testing.assert_allclose(after[:, POSITION], shade_position(before[:, 1], lights))


def test_under_the_light_that_was_nothing_changes(questions: PendulumQuestions) -> None:
    asked = np.full(len(questions), ASKED.index("changes"))
    found = answers(questions.values, questions.values, asked)
    assert set(found.tolist()) == {3 * BINS}


def test_answers_are_of_the_kind_that_was_asked(questions: PendulumQuestions) -> None:
    assert set(questions.answer // BINS) == {0, 1, 2, 3}
    np.testing.assert_array_equal(questions.answer // BINS, questions.asked)
    assert questions.answer.max() < N_ANSWERS
    for kind in range(len(ASKED)):
        share = np.bincount(questions.answer[questions.asked == kind] - BINS * kind)
        assert share.max() / share.sum() < 0.6


def test_environments_differ_in_the_flag_and_have_their_shares(
    questions: PendulumQuestions,
) -> None:
    assert np.bincount(questions.environment).tolist() == [300, 100]
    wind, flag = questions.values[:, 0], questions.values[:, 3]
    spread = [np.std((flag - wind)[questions.environment == e]) for e in (0, 1)]
    assert spread[0] < 0.1 < 0.3 < spread[1]


def test_set_by_hand_the_pendulum_leaves_the_wind() -> None:
    left = draw_questions(400, [pendulum_scm()], 1).values
    right = draw_questions(400, [pendulum_scm(by_hand=True)], 1).values
    assert np.corrcoef(left[:, 1], left[:, 3])[0, 1] > 0.95
    assert abs(np.corrcoef(right[:, 1], right[:, 3])[0, 1]) < 0.2


@pytest.mark.parametrize(
    ("column", "shown"), [("pendulum", "pendulum"), ("light", "light"), ("flag", "flag"),
                          ("length", "shade"), ("position", "shade")],
)  # fmt: skip
def test_a_variable_moves_its_own_patches_alone(
    questions: PendulumQuestions, column: str, shown: str
) -> None:
    changed = questions.values.copy()
    index = VARIABLES.index(column)
    changed[:, index] = np.random.default_rng(0).permutation(changed[:, index])
    moved = np.abs(patches(render(changed)) - patches(render(questions.values))).max(axis=(0, 2))
    assert (moved > 0.01).any()
    assert {name for name, by in zip(patch_objects(), moved, strict=True) if by > 0} == {shown}


def test_pictures_are_bright_where_things_are(questions: PendulumQuestions) -> None:
    clean = render(questions.values)
    assert clean.shape == (400, 32, 32)
    assert clean.min() == 0
    assert clean.max() <= 1
    # Patches keep every pixel but those of the empty sky.
    assert clean[:, 4:12].max() == 0
    assert patches(clean).sum() == pytest.approx(clean.sum(), rel=1e-5)


def test_the_same_seed_draws_the_same(questions: PendulumQuestions) -> None:
    models = [pendulum_scm(), pendulum_scm(flag_noise=0.5)]
    again = draw_questions(400, models, 0, shares=(3, 1))
    np.testing.assert_array_equal(again.pictures, questions.pictures)
    np.testing.assert_array_equal(again.answer, questions.answer)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="flag_noise is 0"):
        pendulum_scm(flag_noise=0.0)
    with pytest.raises(ValueError, match="n is 0"):
        draw_questions(0, [pendulum_scm()], 0)
    with pytest.raises(ValueError, match="shares is"):
        draw_questions(5, [pendulum_scm()], 0, shares=(1, 2))
    with pytest.raises(ValueError, match="pixel_noise is -1"):
        draw_questions(5, [pendulum_scm()], 0, pixel_noise=-1)
    with pytest.raises(ValueError, match=r"values must be finite and \(N, 6\)"):
        render(np.zeros((2, 5)))
