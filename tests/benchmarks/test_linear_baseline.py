"""What the linear baseline is trained and tested on."""

import numpy as np
import pytest

from benchmarks import linear_baseline
from serving.command_line import UserError
from trainers.experiments import linear
from ulmfit_tf.data import load_dataset


def test_it_has_the_labels_that_the_classifier_has(monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(
        linear, "linear_error", lambda *split: seen.append(split) or 12.34
    )
    linear_baseline.main(["questions", "--num-labels", "50", "--seed", "3"])
    dataset = load_dataset("questions")
    kept = dataset.limit_labels(50, seed=3)
    ((texts, labels, test_texts, test_labels),) = seen
    assert texts == kept.train_texts and len(texts) == 50
    np.testing.assert_array_equal(labels, kept.train_labels)
    assert test_texts == dataset.test_texts
    np.testing.assert_array_equal(test_labels, dataset.test_labels)
    assert capsys.readouterr().out == "questions: 12.3 % of 299 wrong\n"


def test_more_labels_than_there_are_is_told():
    with pytest.raises(UserError, match="keep 100000 labels"):
        linear_baseline.main(["questions", "--num-labels", "100000"])
