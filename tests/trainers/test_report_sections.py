"""What the report does with many classes, rare ones and two directions."""

import numpy as np

from trainers.report.report import (
    _SHOWN_CLASSES,
    _errors_alone,
    _factor,
    _flat,
    _folded,
    _isolated,
)
from trainers.thresholds import choose_thresholds, shares_threshold


def test_many_classes_show_the_worst_first():
    f1 = np.linspace(0.2, 0.9, 100)
    f1[[7, 50]] = np.nan, 0.1
    shown, folded = _folded(f1)
    assert shown[0] == 50 and len(shown) == _SHOWN_CLASSES
    assert 7 not in shown
    assert sorted([*shown, *folded]) == list(range(100))
    assert folded == sorted(folded)
    assert _folded(f1[:60]) == (list(range(60)), [])


def test_classes_that_share_a_threshold_are_known():
    labels = np.zeros((40, 3), bool)
    labels[:5, 0] = labels[:4, 1] = True
    assert shares_threshold(labels) == [False, True, True]
    probabilities = np.random.default_rng(0).random((40, 3), "float32")
    first, second, third = choose_thresholds(probabilities, labels)
    assert second == third != first


def test_both_directions_are_told_of_alone():
    figures = {
        "test_error": 4.4,
        "forward_test_error": 5.4,
        "backward_test_error": 4.6,
        "validation_error": 6.0,
    }
    assert _errors_alone(figures, "test") == {"forward": 5.4, "backward": 4.6}
    settings = {"direction": "forward", "bidirectional": True, "recipe": {}}
    assert "direction" not in _flat(settings)
    assert "direction" in _flat(settings | {"bidirectional": False})


def test_names_keep_their_own_direction_and_no_markup():
    assert _isolated(["חיובי", "<b>"]) == (
        "<bdi>חיובי</bdi>, <bdi>&lt;b&gt;</bdi>"
    )


def test_factors_of_odds_read_as_numbers():
    shown = [_factor(np.log(each)) for each in (0.0123, 0.5, 1.64, 24.4, 8192)]
    assert [each.removeprefix("×\u00a0") for each in shown] == [
        *("0.012", "0.5", "1.6", "24", "8,192")
    ]
