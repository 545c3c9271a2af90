import math

import numpy as np
import pytest

from trainers.recipes import Recipe
from trainers.report import learning


@pytest.fixture
def drawn(monkeypatch):
    """What was to be drawn, by the kind of plot."""
    calls = {"curves": [], "rates": []}
    for kind, kept in calls.items():
        monkeypatch.setattr(
            learning.plots, kind, lambda *args, kept=kept: kept.append(args)
        )
    return calls


def _records(epochs, num_groups):
    rates = {f"learning_rate/group_{group}": 0.1 for group in range(num_groups)}
    figures = {"accuracy": 0.5, "loss": 1.0, "val_loss": 1.0, **rates}
    return [{"epoch": epoch, **figures} for epoch in range(epochs)]


def _triangle(step, total, highest, cut_frac, ratio):
    """Howard & Ruder (2018), equation 3, which ends before the last step."""
    cut = math.floor(total * cut_frac)
    if step < cut:
        p = step / cut
    else:
        p = max(0, 1 - (step - cut) / (cut * (1 / cut_frac - 1)))
    return highest * (1 + p * (ratio - 1)) / ratio


def test_planned_rates_are_the_triangles_of_the_epochs_trained(drawn):
    recipe = Recipe(epochs=5, batch_size=10, learning_rate=0.02)
    # 195 documents are 20 steps an epoch; four groups, three openings.
    learning.learning_curves(
        {"forward_classifier": _records(5, 4)}, recipe, 195
    )
    ((_, planned, groups, trained, moments),) = drawn["rates"]
    assert groups == ["embedding", "LSTM 1", "LSTM 2", "head"]
    assert moments == [1, 2, 3]
    assert [set(each) for each in trained] == [
        {3},
        {2, 3},
        {1, 2, 3},
        {0, 1, 2, 3},
        {0, 1, 2, 3},
    ]
    stages = [(0, 1), (1, 1), (2, 1), (3, 2)]
    for group, (epochs, rates) in enumerate(planned):
        highest = 0.02 / 2.6 ** (3 - group)
        expected = [
            (
                start + step / 20,
                _triangle(step, 20 * length, highest, 0.1, 32),
            )
            for start, length in stages[3 - group :]
            for step in range(20 * length)
        ]
        drawn_points = ~np.isnan(epochs)
        np.testing.assert_allclose(
            np.stack([epochs, rates], 1)[drawn_points], expected, rtol=1e-4
        )
        # A gap after each stage, so that no line joins two triangles.
        assert np.sum(~drawn_points) == group + 1
        assert np.isnan(rates[~drawn_points]).all()


@pytest.mark.parametrize("steps", [50, 17, 4])
def test_stage_two_shows_its_triangle(drawn, steps):
    """Its corner is a whole step: lines missed the dots of short epochs."""
    recipe = Recipe(language_model_epochs=4, language_model_rate=0.004)
    records = [
        {
            "epoch": epoch,
            "step": steps * (epoch + 1),
            "perplexity": 9.0,
            **_lm_rates(epoch, 4, 3, steps),
        }
        for epoch in range(4)
    ]
    learning.learning_curves({"forward_language_model": records}, recipe, 100)
    ((_, planned, *_),) = drawn["rates"]
    for group, (epochs, rates) in enumerate(planned):
        highest = 0.004 / 2.6 ** (2 - group)
        assert rates.max() == pytest.approx(highest, rel=1e-4)
        # A tenth of the way, not the end of an epoch.
        corner = math.floor(0.4 * steps)
        assert epochs[rates.argmax()] == pytest.approx((corner + 1) / steps)
        assert rates[0] == pytest.approx(highest / 32, rel=1e-3)
        ends = [record[f"learning_rate/group_{group}"] for record in records]
        drawn_ends = np.interp([1, 2, 3, 4], epochs, rates)
        np.testing.assert_allclose(drawn_ends, ends, rtol=1e-4)


def _lm_rates(epoch, epochs, groups, steps):
    """Rates of an epoch's last step."""
    step, total = steps * (epoch + 1) - 1, steps * epochs
    return {
        f"learning_rate/group_{group}": _triangle(
            step, total, 0.004 / 2.6 ** (groups - 1 - group), 0.1, 32
        )
        for group in range(groups)
    }


def test_epochs_that_early_stopping_left_out_are_not_marked(drawn):
    recipe = Recipe(epochs=12, early_stopping=1)
    (stage,) = learning.learning_curves(
        {"backward_classifier": _records(2, 5)}, recipe, 100
    )
    (_, _, _, trained, moments) = drawn["rates"][0]
    assert moments == [1] and len(trained) == 2
    assert [call[3] for call in drawn["curves"]] == [[1], [1]]
    assert "backward" in stage.title and "validation loss" in stage.note


def test_stage_one_is_drawn_where_the_model_has_its_curve():
    points = [
        {"million_tokens": 10.0, "perplexity": 90.0},
        {"million_tokens": 20.0, "perplexity": 60.0},
    ]
    stage, other = learning.learning_curves(
        {"forward_pretraining": points, "forward_classifier": _records(12, 5)},
        Recipe(),
        100,
    )
    assert stage.title == "Stage one: forward language model"
    assert "before this run" in stage.note
    (plot,) = stage.plots
    assert "million tokens" in plot and "validation perplexity" in plot
    assert other.title == "Stage three: forward classifier"


def test_each_stage_has_its_own_curves(drawn):
    stages = learning.learning_curves(
        {
            "forward_language_model": _records(3, 4),
            "forward_classifier": _records(12, 5),
            "backward_language_model": [],
        },
        Recipe(),
        100,
    )
    assert [stage.title for stage in stages] == [
        "Stage two: forward language model",
        "Stage three: forward classifier",
    ]
    # Fifteen epochs were asked for: these three are parts.
    assert "a part of one" in stages[0].note
    assert [call[2] for call in drawn["curves"]] == [
        "perplexity",
        "loss",
        "accuracy",
    ]
    assert drawn["rates"][0][2] == ["embedding", "LSTM 1", "LSTM 2", "LSTM 3"]


def test_a_second_classifier_is_drawn_by_its_own_recipe(drawn):
    first, second = learning.learning_curves(
        {
            "forward_classifier": _records(12, 5),
            "forward_second_classifier": _records(6, 5),
        },
        Recipe(epochs=12),
        100,
        second=(Recipe(epochs=6, unfreezing="full"), 1_000),
    )
    assert first.title == "Stage three: first forward classifier"
    assert second.title == "Stage three again: second forward classifier"
    assert "first one's answers count as right" in second.note
    assert "answers" not in first.note
    # Everything is trained in each of its six epochs of 32 steps.
    (_, planned, _, trained, moments) = drawn["rates"][1]
    assert moments == [] and trained == [(0, 1, 2, 3, 4)] * 6
    epochs, _ = planned[0]
    assert len(epochs) == 6 * 32 + 1
