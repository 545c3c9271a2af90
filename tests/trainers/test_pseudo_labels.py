"""Which texts get a classifier's answers for labels, and who is told no."""

import argparse
import dataclasses
import json
import math

import numpy as np
import pytest

from trainers import rounds, task_flags
from trainers.command_line import UserError
from trainers.preparation import prepare_task
from trainers.pseudo_labels import check_pseudo_labels, surest, texts_to_read
from trainers.recipes import fitted_to_task, recipe_for
from ulmfit_tf.data import TextDataset


def _dataset(train=40, unlabelled=50):
    return TextDataset(
        "mine",
        ("no", "yes"),
        [f"text {i}" for i in range(train)],
        np.arange(train) % 4 // 3,
        [f"test {i}" for i in range(5)],
        np.zeros(5, int),
        [f"new {i}" for i in range(unlabelled)],
    )


def test_of_each_class_the_likeliest_by_its_share_of_the_labels():
    yes = np.array([0.9, 0.8, 0.95, 0.6, 0.7, 0.1, 0.45, 0.05, 0.2, 0.3])
    probabilities = np.stack([1 - yes, yes], axis=1)
    indices, labels = surest(probabilities, np.array([10, 30]), 4)
    # Three of the five that are answered with yes, one of the others.
    assert dict(zip(indices, labels, strict=True)) == {0: 1, 1: 1, 2: 1, 7: 0}
    assert indices.tolist() == sorted(indices)
    # Two fifths of ten texts, however many are wanted.
    assert len(surest(probabilities, np.array([10, 30]), 100)[0]) == 4
    # By confidence alone these would be 0, 2, 5 and 7.
    indices, labels = surest(probabilities, np.array([30, 10]), 4)
    assert dict(zip(indices, labels, strict=True)) == {2: 1, 5: 0, 7: 0, 8: 0}


def test_a_class_that_is_answered_too_seldom_gets_what_there_is():
    yes = np.full(20, 0.9)
    yes[3] = 0.4
    indices, labels = surest(
        np.stack([1 - yes, yes], axis=1), np.array([5, 5]), 8
    )
    assert labels.tolist().count(0) == 1
    assert labels[indices.tolist().index(3)] == 0
    # Of equals the first.
    assert indices.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("classes", "wanted"), [(2, 1), (4, 2), (50, 20), (50, 75), (100, 160)]
)
def test_shares_of_many_classes_add_up(classes, wanted):
    # Each class is the answer to ten texts.
    probabilities = np.tile(np.eye(classes), (10, 1))
    indices, labels = surest(probabilities, np.full(classes, 3), wanted)
    assert len(indices) == wanted
    counts = np.bincount(labels, minlength=classes)
    assert counts.max() - counts.min() <= 1


def test_texts_are_drawn_that_nothing_is_known_or_measured_of():
    dataset = _dataset()
    dataset = dataclasses.replace(
        dataset,
        unlabelled_texts=[
            *dataset.unlabelled_texts,
            # Copies of each other, and of what has a label or is measured on.
            *("new 7", " new 8"),
            *("text 3", " test 2\n", "held out"),
        ],
    )
    held_out = ["held out"]
    drawn = texts_to_read(dataset, held_out, 8, seed=0)
    # Two fifths of these get a label.
    assert len(set(drawn)) == 20
    assert drawn == texts_to_read(dataset, held_out, 8, seed=0)
    assert drawn != texts_to_read(dataset, held_out, 8, seed=1)
    everything = texts_to_read(dataset, held_out, 10**9, seed=0)
    assert sorted(text.strip() for text in everything) == sorted(
        _dataset().unlabelled_texts
    )


def test_too_few_texts_without_a_label_are_told():
    check_pseudo_labels(_dataset(unlabelled=3))
    with pytest.raises(UserError, match=r"Received: 2.*`unlabelled`"):
        check_pseudo_labels(_dataset(unlabelled=2))
    # Those that have a label elsewhere are none.
    copies = dataclasses.replace(
        _dataset(unlabelled=2), unlabelled_texts=_dataset().train_texts
    )
    with pytest.raises(UserError, match=r"Received: 0.*`--num-labels`"):
        check_pseudo_labels(copies)


@pytest.fixture
def settings():
    parser = argparse.ArgumentParser()
    task_flags.add_task_flags(parser)
    settings = parser.parse_args(
        ["--dataset", "mine.csv", "--pretrained", "none"]
    )
    vars(settings).update(
        seed=0,
        direction="forward",
        bidirectional=True,
        preset="tiny",
        tokenizer="word",
        pseudo_labels=10,
        overrides={"language_model_epochs": 0},
    )
    return settings


@pytest.fixture
def run_dir(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def _task(settings, dataset=None):
    recipe = recipe_for("mine.csv", settings.overrides, pretrained=False)
    return prepare_task(dataset or _dataset(), recipe, settings), recipe


def _train_nothing(monkeypatch):
    """Stages that end at once; returns what each was given."""
    given = []

    def language_model(task, recipe, directory, options):
        given.append((directory.name, options.direction, None, task, recipe))
        start = np.full(3, len(options.direction), "float32")
        return {"start": start}, [{"epoch": 0}]

    def classifier(task, recipe, encoder, directory, options):
        start = None if encoder is None else encoder["start"].tolist()
        given.append((directory.name, options.direction, start, task, recipe))
        size = len(task.tokenizer.vocabulary)
        return {"embedding": np.zeros((size, 2), "float32")}, [{"epoch": 0}]

    monkeypatch.setattr(rounds, "fine_tune_language_model", language_model)
    monkeypatch.setattr(rounds, "fine_tune_classifier", classifier)
    return given


class _Answers:
    """An `Evaluation` of who is surest of texts that end with a 0 or a 9."""

    def __init__(self, classifier):
        self.classifier = classifier

    def probabilities(self, split, texts):
        assert split == "unlabelled"
        yes = np.array([int(text[-1]) / 9 for text in texts])
        return np.stack([1 - yes, yes], axis=1)


def test_the_second_training_has_the_first_answers_for_labels(
    settings, run_dir, monkeypatch
):
    dataset = _dataset()
    task, recipe = _task(
        settings,
        # Copies of what is trained, validated and tested on.
        dataclasses.replace(
            dataset,
            unlabelled_texts=dataset.train_texts
            + dataset.unlabelled_texts
            + dataset.test_texts,
        ),
    )
    given = _train_nothing(monkeypatch)
    both = rounds.Rounds(task, recipe, settings, run_dir)
    second = both.second(_Answers(both.first().classifier)).task
    assert [each[3] for each in given] == [task, task, second, second]
    own = len(task.train)
    texts, labels = second.dataset.train_texts, second.dataset.train_labels
    assert texts[:own] == task.dataset.train_texts
    np.testing.assert_array_equal(labels[:own], task.dataset.train_labels)
    assert labels.dtype == task.dataset.train_labels.dtype
    added = dict(zip(texts[own:], labels[own:], strict=True))
    assert set(added) <= set(dataset.unlabelled_texts)
    # Of ten, by the shares of 3 to 1.
    assert len(added) == 10
    assert sum(added.values()) in (2, 3)
    for text, label in added.items():
        assert label == (int(text[-1]) > 4)
    # What is trained on are these texts' tokens.
    for ids, expected in zip(
        second.train, task.tokenizer(texts).to_list(), strict=True
    ):
        assert ids.tolist() == expected
    # What is measured stays; the report tells of it.
    assert second.validation is task.validation
    (note,) = second.dataset.notes
    assert "beside 10 texts without a label" in note


@pytest.mark.parametrize("epochs", [0, 2])
def test_both_trainings_start_from_stage_two(
    settings, run_dir, monkeypatch, epochs
):
    settings.overrides = {"language_model_epochs": epochs}
    task, recipe = _task(settings)
    given = _train_nothing(monkeypatch)
    both = rounds.Rounds(task, recipe, settings, run_dir)
    both.second(_Answers(both.first().classifier))
    # As long as the direction's name, see `_train_nothing`.
    starts = ([7.0] * 3, [8.0] * 3) if epochs else (None, None)
    expected = [
        ("language_model", "forward", None),
        ("classifier", "forward", starts[0]),
        ("language_model", "backward", None),
        ("classifier", "backward", starts[1]),
        ("second_classifier", "forward", starts[0]),
        ("second_classifier", "backward", starts[1]),
    ]
    if not epochs:
        expected = [each for each in expected if "model" not in each[0]]
    assert [each[:3] for each in given] == expected
    stages = ["classifier", "second_classifier"]
    stages += ["language_model"] if epochs else []
    assert set(both.records) == {
        f"{direction}_{stage}"
        for direction in ("forward", "backward")
        for stage in stages
    }
    # Killed in its second training, and begun again.
    for direction in ("forward", "backward"):
        (run_dir / direction / "second_classifier.npz").unlink()
    again = rounds.Rounds(task, recipe, settings, run_dir)
    again.second(_Answers(again.first().classifier))
    assert [each[:3] for each in given] == expected + expected[-2:]
    assert again.records == both.records


def test_the_second_recipe_has_the_epochs_of_more_texts_and_is_kept(
    settings, run_dir, monkeypatch
):
    settings.overrides = {}
    settings.pseudo_labels = 2_000
    task, recipe = _task(settings, _dataset(unlabelled=6_000))
    given = _train_nothing(monkeypatch)
    recipe = fitted_to_task(recipe, "mine.csv", {}, task, pretrained=False)
    recipe = dataclasses.replace(recipe, language_model_dropout=0.3)
    both = rounds.Rounds(task, recipe, settings, run_dir)
    second = both.second(_Answers(both.first().classifier))
    assert len(second.task.train) > 1_000
    # 50 epochs are for a few dozen texts, in small batches.
    assert recipe.epochs == 50
    # 400 steps are enough.
    steps = math.ceil(len(second.task.train) / 64)
    assert second.recipe.epochs == math.ceil(400 / steps) < 20
    assert second.recipe.batch_size == 64
    changed = {"epochs": recipe.epochs, "batch_size": recipe.batch_size}
    assert dataclasses.replace(second.recipe, **changed) == recipe
    assert given[-1][4] == second.recipe
    # A release with other epochs goes on with these.
    config = json.loads((run_dir / "config.json").read_text())
    assert config["second_recipe"] == dataclasses.asdict(second.recipe)
    config["second_recipe"]["epochs"] = 7
    (run_dir / "config.json").write_text(json.dumps(config))
    again = rounds.Rounds(task, recipe, settings, run_dir)
    assert again.second(_Answers(None)).recipe.epochs == 7
