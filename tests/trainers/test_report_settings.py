"""Settings and versions as a report shows them."""

import argparse

import pytest
import tensorflow as tf
import tensorflow_text

from trainers import run
from trainers.report import report
from trainers.run_options import RunOptions


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_what_is_computed_in_and_on_is_shown(policy):
    settings = argparse.Namespace(precision="auto", strategy="auto")
    options = RunOptions(
        "forward", 0, policy, tf.distribute.get_strategy(), 1.0
    )
    used = run._used(settings, options)
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    assert used == {
        "precision": f"auto: {policy}",
        "strategy": f"auto: 1 {kind}",
    }


def test_the_versions_are_those_that_are_loaded():
    versions = report._versions()
    assert versions["tensorflow-text"] == tensorflow_text.__version__
    assert versions["tensorflow"] == tf.__version__
