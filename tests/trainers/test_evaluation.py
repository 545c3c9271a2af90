"""What is read of whole splits, and how often."""

import dataclasses

import numpy as np

from trainers.evaluation import Evaluation
from ulmfit_tf.pretrained import Decision

TEXTS = ["aa", "b", "cccc"]
LABELS = np.array([0, 1, 1])
# Probability of the first class, by direction and text.
ANSWERS = {"forward": [0.9, 0.6, 0.2], "backward": [0.7, 0.2, 0.7]}


@dataclasses.dataclass(frozen=True)
class _Classifier:
    """Answers by heart; `asked` says how often, and for which direction."""

    weights: dict
    asked: list
    decision: Decision = dataclasses.field(
        default_factory=lambda: Decision.likeliest(2)
    )

    def predict(self, texts):
        (direction,) = self.weights
        self.asked.append((direction, len(texts)))
        first = np.array(ANSWERS[direction])[[TEXTS.index(t) for t in texts]]
        return np.stack([first, 1 - first], axis=1).astype("float32")


def test_each_split_is_read_once_a_direction_whoever_resumes(tmp_path):
    asked = []
    for _ in range(2):
        classifier = _Classifier(dict.fromkeys(ANSWERS), asked)
        evaluation = Evaluation(classifier, tmp_path)
        both = evaluation.answers("test", TEXTS, LABELS)
        np.testing.assert_allclose(
            both.probabilities[:, 0], np.mean(list(ANSWERS.values()), axis=0)
        )
        # 0.8, 0.4 and 0.45: all right; alone each has one wrong.
        assert both.error == 0
        for direction, error in (("forward", 33.3333), ("backward", 33.3333)):
            alone = evaluation.answers(
                "test", TEXTS, LABELS, directions=[direction]
            )
            assert alone.error == error
            np.testing.assert_allclose(
                alone.probabilities[:, 0], ANSWERS[direction], rtol=1e-6
            )
    assert asked == [("forward", 3), ("backward", 3)]
    # Another split is another reading.
    evaluation.answers("validation", TEXTS[:1], LABELS[:1])
    assert asked[2:] == [("forward", 1), ("backward", 1)]


def test_each_classifier_of_a_run_has_its_own_answers(tmp_path):
    asked = []
    first = _Classifier({"forward": None}, asked)
    second = _Classifier({"backward": None}, asked)
    evaluation = Evaluation(first, tmp_path, prefix="first_")
    evaluation.probabilities("test", TEXTS)
    # In the first one's folder, as if it were of the same direction.
    (tmp_path / "forward").rename(tmp_path / "backward")
    found = Evaluation(second, tmp_path).probabilities("test", TEXTS)
    np.testing.assert_allclose(found[:, 0], ANSWERS["backward"], rtol=1e-6)
    # As many other texts as were kept.
    evaluation.probabilities("test", TEXTS[::-1])
    assert asked == [("forward", 3), ("backward", 3), ("forward", 3)]
