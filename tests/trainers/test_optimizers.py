import numpy as np
import pytest

from trainers.optimizers import (
    classifier_schedules,
    group_optimizers,
    schedule,
    staged_schedules,
)
from trainers.recipes import Recipe
from ulmfit_tf import training


def _triangle(rate, total, step, cut_frac=0.1, ratio=32):
    """Equation 3 of Howard & Ruder (2018)."""
    cut = int(total * cut_frac)
    if step < cut:
        p = step / cut
    else:
        p = 1 - (step - cut) / (cut * (1 / cut_frac - 1))
    return rate * (1 + p * (ratio - 1)) / ratio


def test_a_group_has_a_triangle_for_each_stage_that_trains_it():
    # Three groups, thawed from the top; 20 steps an epoch.
    stages = training.unfreezing_stages("paper", 3, 4)
    rates = training.discriminative_rates(0.01, 3, 2.6)
    schedules = staged_schedules(stages, 20, rates, 0.1, 32)
    head, middle, bottom = schedules[2], schedules[1], schedules[0]
    # The head lives through all stages: 20, 20 and 40 steps.
    for step, total, own in [(3, 20, 3), (25, 20, 5), (61, 40, 21)]:
        expected = _triangle(0.01, total, own)
        assert float(head(step)) == pytest.approx(expected, rel=1e-5)
    # The middle group starts with the second stage, at its own step 0.
    assert float(middle(2)) == pytest.approx(0.01 / 2.6, rel=1e-5)
    assert float(bottom(4)) == pytest.approx(0.01 / 2.6**2, rel=1e-5)


def test_a_group_that_is_never_trained_has_an_optimizer():
    stages = training.unfreezing_stages("last", 3, 2)
    schedules = staged_schedules(stages, 5, [1.0, 1.0, 1.0], 0.1, 32)
    optimizers = group_optimizers(schedules, 0.0)
    assert len(optimizers) == 3
    assert np.isfinite(float(schedules[0](0)))


def test_the_papers_betas_and_decoupled_decay():
    (optimizer,) = group_optimizers([0.1], 0.01)
    assert (optimizer.beta_1, optimizer.beta_2) == (0.7, 0.99)
    assert optimizer.weight_decay == 0.01


def test_a_cosine_falls_from_the_highest_rate_in_each_stage():
    recipe = Recipe(unfreezing="script", epochs=4, schedule="cosine")
    stages, schedules = classifier_schedules(recipe, 3, 10)
    assert [stage.epochs for stage in stages] == [1, 1, 2]
    head = schedules[2]
    # Two stages of 10 steps and one of 20; a tenth of each rises.
    for first, rising, total in [(0, 1, 10), (10, 1, 10), (20, 2, 20)]:
        assert float(head(first)) == pytest.approx(0.01 / 32, rel=1e-4)
        assert float(head(first + rising)) == pytest.approx(0.01, rel=1e-4)
        half = first + rising + (total - rising) / 2
        middle = 0.01 * (1 + 1 / 32) / 2
        assert float(head(half)) == pytest.approx(middle, rel=1e-4)
    # A ratio of 1 leaves the rate where it is.
    constant = Recipe(unfreezing="full", ratio=1.0, decay_factor=2.0)
    _, (lower, upper) = classifier_schedules(constant, 2, 10)
    rates = [float(upper(step)) for step in range(0, 120, 7)]
    assert rates == pytest.approx([0.01] * len(rates))
    assert float(lower(50)) == pytest.approx(0.005)


def test_groups_below_the_head_can_share_a_rate_of_their_own():
    recipe = Recipe(
        unfreezing="chain-thaw",
        learning_rate=1e-3,
        lower_learning_rate=1e-4,
        ratio=1.0,
    )
    _, schedules = classifier_schedules(recipe, 4, 10)
    rates = [float(schedule(3)) for schedule in schedules]
    assert rates == pytest.approx([1e-4, 1e-4, 1e-4, 1e-3])


@pytest.mark.parametrize("total_steps", [26, 153, 5000])
@pytest.mark.parametrize("name", ["slanted", "stable", "cosine", "one-cycle"])
def test_every_schedule_reaches_its_highest_rate(name, total_steps):
    rates = schedule(name, 0.01, total_steps, 0.1, 32)
    highest = max(float(rates(step)) for step in range(total_steps))
    assert highest == pytest.approx(0.01, rel=0.05)
