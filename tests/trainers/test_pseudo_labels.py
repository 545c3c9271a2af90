"""Which texts get a classifier's answers for labels, and who is told no."""

import argparse
import dataclasses

import numpy as np
import pytest

from trainers import rounds, task_flags
from trainers.command_line import UserError
from trainers.preparation import prepare_task
from trainers.pseudo_labels import (
    check_pseudo_labels,
    surest,
    texts_to_read,
    with_pseudo_labels,
)
from trainers.recipes import recipe_for
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


def test_texts_are_drawn_that_nothing_is_known_or_measured_of():
    dataset = _dataset()
    dataset = dataclasses.replace(
        dataset,
        unlabelled_texts=[
            *dataset.unlabelled_texts,
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
    assert sorted(everything) == sorted(_dataset().unlabelled_texts)


def test_mistakes_are_told():
    check_pseudo_labels(_dataset(unlabelled=0), 0)
    check_pseudo_labels(_dataset(unlabelled=3), 5)
    with pytest.raises(UserError, match="Received: -1"):
        check_pseudo_labels(_dataset(), -1)
    with pytest.raises(UserError, match=r"`unlabelled`.*`--num-labels`"):
        check_pseudo_labels(_dataset(unlabelled=2), 5)
    several = TextDataset.from_label_sets(
        "mine", ["a", "b"], [["no"], ["no", "yes"]], unlabelled_texts=["c"] * 9
    )
    with pytest.raises(UserError, match="exclude each other"):
        check_pseudo_labels(several, 5)


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


def test_preparation_asks_before_anything_is_read(settings):
    with pytest.raises(UserError, match="without a label"):
        _task(settings, _dataset(unlabelled=0))


def test_the_second_training_has_the_first_answers_for_labels(
    settings, run_dir, monkeypatch
):
    task, recipe = _task(settings)
    trained = []

    def train(task, recipe, encoder, directory, options):
        trained.append((task, recipe, directory.name, options.direction))
        size = len(task.tokenizer.vocabulary)
        return {"embedding": np.zeros((size, 2), "float32")}, [{"epoch": 0}]

    def answers(evaluation, split, texts):
        # That of a text's last digit: 0 to 4 no, 5 to 9 yes, 0 and 9 surest.
        assert (split, evaluation.prefix) == ("unlabelled", "first_")
        yes = np.array([int(text[-1]) / 9 for text in texts])
        return np.stack([1 - yes, yes], axis=1)

    monkeypatch.setattr(rounds, "fine_tune_classifier", train)
    monkeypatch.setattr(rounds.Evaluation, "probabilities", answers)
    both = rounds.Rounds(task, recipe, settings, run_dir)
    _, second, second_recipe = both.second(both.first())
    assert [(name, direction) for _, _, name, direction in trained] == [
        ("classifier", "forward"),
        ("classifier", "backward"),
        ("second_classifier", "forward"),
        ("second_classifier", "backward"),
    ]
    first_task = trained[0][0]
    assert all(each[0] is second for each in trained[2:])
    own = len(first_task.train)
    texts, labels = second.dataset.train_texts, second.dataset.train_labels
    assert texts[:own] == first_task.dataset.train_texts
    np.testing.assert_array_equal(labels[:own], first_task.dataset.train_labels)
    added = dict(zip(texts[own:], labels[own:], strict=True))
    assert set(added) <= set(first_task.dataset.unlabelled_texts)
    # Of ten, by the shares of 3 to 1.
    assert sum(added.values()) in (2, 3)
    assert len(added) - sum(added.values()) in (7, 8)
    for text, label in added.items():
        assert label == (int(text[-1]) > 4)
    # What is trained on are these texts' tokens.
    assert len(second.train) == len(texts)
    for ids, expected in zip(
        second.train, task.tokenizer(texts).to_list(), strict=True
    ):
        assert ids.tolist() == expected
    # What is measured stays; the report tells of it.
    assert second.validation is task.validation
    (note,) = second.dataset.notes
    assert f"beside {len(added)} of 50 texts" in note
    assert set(both.records) == {
        f"{direction}_{name}"
        for direction in ("forward", "backward")
        for name in ("classifier", "second_classifier")
    }


def test_more_texts_take_fewer_epochs(settings, run_dir, monkeypatch):
    """The second recipe is fitted to what it is trained on."""
    settings.overrides = {}
    settings.pseudo_labels = 10_000
    task, recipe = _task(settings, _dataset(unlabelled=30_000))
    monkeypatch.setattr(
        rounds.Evaluation,
        "probabilities",
        lambda evaluation, split, texts: (
            np.full((len(texts), 2), 0.5)
            + np.arange(len(texts))[:, None] % 2 * [0.1, -0.1]
        ),
    )
    monkeypatch.setattr(
        rounds,
        "fine_tune_classifier",
        lambda task, *rest: (
            {"embedding": np.zeros((len(task.tokenizer.vocabulary), 2))},
            [],
        ),
    )
    monkeypatch.setattr(
        rounds, "fine_tune_language_model", lambda *rest: ({}, [])
    )
    first = rounds.fitted_to_task(recipe, "mine.csv", {}, task, False)
    both = rounds.Rounds(task, first, settings, run_dir)
    _, second, second_recipe = both.second(both.first())
    assert len(second.train) > 5_000
    # 50 epochs are for a few dozen texts.
    assert first.epochs > 40
    assert second_recipe.epochs == recipe.epochs


def test_with_pseudo_labels_keeps_the_kind_of_labels(settings):
    task, _ = _task(settings)
    texts = task.dataset.unlabelled_texts
    answers = np.tile([[0.2, 0.8], [0.7, 0.3]], (25, 1))
    more = with_pseudo_labels(task, texts, answers, 4)
    assert more.dataset.train_labels.dtype == task.dataset.train_labels.dtype
    assert more.dataset.task_type is task.dataset.task_type
