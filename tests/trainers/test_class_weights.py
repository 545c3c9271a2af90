"""Balanced class weights against scikit-learn's."""

import dataclasses

import numpy as np
from sklearn.utils.class_weight import compute_sample_weight

from trainers.objective import objective
from trainers.recipes import Recipe
from ulmfit_tf.data import TaskType

LABELS = np.array([0] * 9 + [2] * 3 + [1])


def weigh(kind):
    recipe = dataclasses.replace(Recipe(), class_weights=kind)
    return objective(TaskType.MULTI_CLASS, LABELS, 3, recipe).document_weights


def test_balanced_weights_are_the_inverse_of_a_class_frequency():
    expected = compute_sample_weight("balanced", LABELS)
    weights = weigh("balanced")
    np.testing.assert_allclose(weights(LABELS), expected, rtol=1e-6)
    # Another split's, by the same frequencies.
    np.testing.assert_allclose(weights(LABELS[9:]), expected[9:], rtol=1e-6)


def test_no_weights_unless_asked_for():
    assert weigh("none")(LABELS) is None
