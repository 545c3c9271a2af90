import json

import numpy as np
import pytest

from ulmfit_tf.data import TaskType
from ulmfit_tf.pretrained import Decision

_CLASSES = ("red", "grün", "blue")
_PROBABILITIES = np.array(
    [[0.2, 0.5, 0.3], [0.1, 0.4, 0.79], [0.9, 0.9, 0.8], [0.2, 0.2, 0.9]],
    "float32",
)


def test_the_likeliest_class_is_the_label():
    decision = Decision.likeliest(3)
    assert decision.task_type is TaskType.MULTI_CLASS
    assert Decision.likeliest(2).task_type is TaskType.BINARY
    assert decision.answers(_PROBABILITIES).tolist() == [1, 2, 0, 2]
    labels = decision.label_strings(_PROBABILITIES, _CLASSES).numpy()
    assert [each.decode() for each in labels] == ["grün", "blue", "red", "blue"]


def test_classes_that_reach_their_threshold_are_the_labels():
    decision = Decision(TaskType.MULTI_LABEL, (0.2, 0.5, 0.8), ", ")
    labels = decision.label_strings(_PROBABILITIES, _CLASSES).numpy()
    assert [each.decode() for each in labels] == [
        "red, grün",
        "",
        "red, grün, blue",
        "red, blue",
    ]
    np.testing.assert_array_equal(
        decision.answers(_PROBABILITIES),
        [[1, 1, 0], [0, 0, 0], [1, 1, 1], [1, 0, 1]],
    )
    empty = decision.label_strings(np.zeros((0, 3), "float32"), _CLASSES)
    assert empty.shape == (0,)


@pytest.mark.parametrize(
    "decision",
    [
        Decision.likeliest(2),
        Decision(TaskType.MULTI_LABEL, (0.1, 1 / 3), ";"),
    ],
)
def test_a_decision_survives_json(decision):
    content = json.loads(json.dumps(decision.as_dict()))
    assert Decision.from_dict(content) == decision


@pytest.mark.parametrize(
    "arguments", [(TaskType.BINARY, (0.5, 0.5)), (TaskType.MULTI_LABEL,)]
)
def test_thresholds_and_task_must_agree(arguments):
    with pytest.raises(ValueError, match="only it has thresholds"):
        Decision(*arguments)
