"""What stages two and three are given reaches the training.

Most trainings here have a rate of 0: what they measure is then known from
somewhere else.
"""

import argparse
import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from trainers import task_flags
from trainers.classifier_stage import new_classifier, train_classifier
from trainers.language_model_recipe import LanguageModelRecipe
from trainers.language_model_stage import train_language_model
from trainers.objective import class_weights
from trainers.preparation import prepare_split_task, prepare_task
from trainers.recipes import Recipe
from trainers.run_options import RunOptions
from trainers.stages import (
    fine_tune_classifier,
    fine_tune_language_model,
    starting_weights,
    trained_classifier,
    untrained_classifier,
)
from ulmfit_tf import models, pretrained, text
from ulmfit_tf.data.chunks import DocumentBatches
from ulmfit_tf.data.lm_stream import rows_for
from ulmfit_tf.data.token_cache import TokenizedCorpus

DIRECTIONS = ("forward", "backward")
ARCHITECTURE = models.Architecture(8, 10, num_layers=2)
# All documents in one batch, every layer, a constant rate.
ONE_STEP = Recipe(
    epochs=1,
    batch_size=256,
    unfreezing="full",
    ratio=1.0,
    dropout=0.0,
    weight_decay=0.0,
    activation_l2=0.0,
    temporal_l2=0.0,
)
STILL = dataclasses.replace(ONE_STEP, learning_rate=0.0)


@pytest.fixture(scope="module")
def language_models(tmp_path_factory):
    """A folder of two models with weights of their own, far from zero."""
    folder = tmp_path_factory.mktemp("language_models") / "pair"
    vocabulary = text.Vocabulary([*text.SPECIAL_TOKENS, "the", "a", "of"])
    for seed, direction in enumerate(DIRECTIONS):
        model = models.LanguageModel(len(vocabulary), ARCHITECTURE, 1)
        model.build()
        rng = np.random.default_rng(seed)
        weights = {
            name: rng.normal(0, 0.5, array.shape).astype("float32")
            for name, array in models.get_weights(
                models.language_model_weights(model)
            ).items()
        }
        pretrained.PretrainedLanguageModel(
            ARCHITECTURE, direction, text.WordTokenizer(vocabulary), weights
        ).save_to_preset(folder / direction)
    return folder


@pytest.fixture(scope="module")
def settings(small_table, language_models):
    parser = argparse.ArgumentParser()
    task_flags.add_task_flags(parser)
    settings = parser.parse_args(
        ["--dataset", str(small_table), "--pretrained", str(language_models)]
    )
    vars(settings).update(seed=0, direction="forward", bidirectional=True)
    return settings


@pytest.fixture(scope="module")
def task(settings):
    return prepare_task(
        task_flags.load_dataset(settings), Recipe(min_frequency=1), settings
    )


def options(direction="forward"):
    return RunOptions(
        direction, 3, "float32", tf.distribute.get_strategy(), 1e6
    )


def classify(task, recipe, folder, direction="forward", **changes):
    """Trains stage three from the pretrained encoder of a direction."""
    encoder = starting_weights(task, direction)
    task = dataclasses.replace(task, **changes)
    return fine_tune_classifier(
        task, recipe, encoder, folder, options(direction)
    )


def first_classifier(task, recipe):
    """Weights before training, for they are the same for a seed."""
    model = untrained_classifier(task, recipe, options())
    return models.get_weights(models.classifier_weights(model))


def reversed_corpus(corpus):
    return TokenizedCorpus.from_documents(
        [corpus[index][::-1] for index in range(len(corpus))]
    )


def cross_entropy(probabilities, labels, smoothing=0.0):
    targets = np.eye(probabilities.shape[1])[labels]
    targets = targets * (1 - smoothing) + smoothing / probabilities.shape[1]
    return -np.mean(np.sum(targets * np.log(probabilities), axis=1))


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_stage_two_begins_at_the_pretrained_model_of_its_direction(
    task, direction, tmp_path
):
    recipe = Recipe(language_model_epochs=1, language_model_rate=0.0)
    weights, _ = fine_tune_language_model(
        task, recipe, tmp_path, options(direction)
    )
    given = task.language_models[direction]
    known = len(given.tokenizer.vocabulary)
    for name, array in given.weights.items():
        is_word = name in ("embedding", "decoder/bias")
        found = weights[name][:known] if is_word else weights[name]
        np.testing.assert_array_equal(found, array, err_msg=name)


def test_stage_three_begins_at_what_stage_two_gave(task, tmp_path):
    direction = "backward"
    recipe = dataclasses.replace(ONE_STEP, unfreezing="last", learning_rate=0.1)
    weights, _ = classify(task, recipe, tmp_path, direction)
    encoder = starting_weights(task, direction)
    shared = set(encoder) & set(weights)
    assert {"embedding", "lstm_1/kernel", "lstm_2/bias"} <= shared
    for name in shared:
        np.testing.assert_array_equal(weights[name], encoder[name])


def test_only_words_of_its_texts_are_trained(task, tmp_path):
    recipe = dataclasses.replace(ONE_STEP, learning_rate=0.1)
    few = {
        "train": task.train.select(range(8)),
        "dataset": dataclasses.replace(
            task.dataset,
            train_texts=task.dataset.train_texts[:8],
            train_labels=task.dataset.train_labels[:8],
        ),
    }
    weights, _ = classify(task, recipe, tmp_path, **few)
    before = starting_weights(task, "forward")["embedding"]
    moved = np.flatnonzero((weights["embedding"] != before).any(axis=1))
    trained = set(few["train"].token_ids)
    assert trained <= set(moved)
    assert set(moved) <= trained | set(task.validation.token_ids)
    assert len(moved) < len(before)


def test_validation_is_what_the_classifier_answers(task, tmp_path):
    """In its direction and without dropout, which would move the loss."""
    direction = "backward"
    recipe = dataclasses.replace(STILL, dropout=1.0)
    weights, records = classify(task, recipe, tmp_path, direction)

    def loss(of_direction):
        classifier = trained_classifier(
            task, recipe, {of_direction: weights}, 0
        )
        probabilities = classifier.predict(task.validation_texts)
        return cross_entropy(probabilities, task.validation_labels)

    assert records[0]["val_loss"] == pytest.approx(loss(direction), rel=1e-4)
    assert abs(loss("forward") - loss(direction)) > 1e-3


def _check_backward_is_forward_on_reversed_texts(losses, task):
    """`losses` takes a direction, a corpus to train on and one to validate."""
    turned = reversed_corpus(task.train), reversed_corpus(task.validation)
    backward = losses("backward", task.train, task.validation)
    assert backward == pytest.approx(losses("forward", *turned), rel=1e-5)
    forward = losses("forward", task.train, task.validation)
    assert all(
        abs(a - b) > 1e-4 for a, b in zip(forward, backward, strict=True)
    )


def test_a_backward_classifier_is_trained_on_reversed_texts(task, tmp_path):
    def loss(direction, train, validation):
        # One encoder for both, so that only the texts differ.
        _, records = fine_tune_classifier(
            dataclasses.replace(task, train=train, validation=validation),
            STILL,
            starting_weights(task, "forward"),
            tmp_path / f"{direction}-{id(train)}",
            options(direction),
        )
        return records[0]["loss"], records[0]["val_loss"]

    _check_backward_is_forward_on_reversed_texts(loss, task)


def test_a_backward_language_model_is_trained_on_reversed_texts(task, tmp_path):
    recipe = LanguageModelRecipe(
        epochs=1, learning_rate=0.0, dropout_multiplier=0.0, batch_size=2
    )

    def losses(direction, train, validation):
        _, records = train_language_model(
            task.architecture,
            task.tokenizer,
            starting_weights(task, "forward"),
            train,
            validation,
            recipe,
            tmp_path / f"{direction}-{id(train)}",
            options(direction),
        )
        return records[0]["loss"], records[0]["val_perplexity"]

    _check_backward_is_forward_on_reversed_texts(losses, task)


def _group(name, num_layers):
    if name.startswith("embedding"):
        return 0
    if name.startswith("lstm_"):
        return int(name[5])
    return num_layers + 1


def _largest_steps(before, after, group_of):
    """The largest change of a weight, group by group."""
    steps = {}
    for name in set(before) & set(after):
        change = np.abs(after[name] - before[name]).max()
        group = group_of(name)
        steps[group] = max(steps.get(group, 0.0), change)
    return [steps[group] for group in sorted(steps)]


def test_each_group_of_a_classifier_has_its_rate(task, tmp_path):
    """Adam's first step is as large as the rate, whatever the gradient."""
    recipe = dataclasses.replace(
        ONE_STEP, learning_rate=0.01, decay_factor=2.6, head_units=8
    )
    before = first_classifier(task, recipe) | starting_weights(task, "forward")
    weights, _ = classify(task, recipe, tmp_path)
    trained = {n: a for n, a in weights.items() if "moving" not in n}
    steps = _largest_steps(
        before, trained, lambda name: _group(name, ARCHITECTURE.num_layers)
    )
    expected = [0.01 / 2.6**power for power in (3, 2, 1, 0)]
    assert steps == pytest.approx(expected, rel=0.02)


def test_each_group_of_a_language_model_has_its_rate(task, tmp_path):
    recipe = Recipe(
        language_model_epochs=1,
        language_model_steps=1,
        language_model_rate=0.004,
        language_model_decay_factor=2.6,
        language_model_ratio=1.0,
        language_model_dropout=0.0,
    )
    before = starting_weights(task, "forward")
    after, _ = fine_tune_language_model(task, recipe, tmp_path, options())
    # The last LSTM and the softmax's bias are one group.
    steps = _largest_steps(before, after, lambda name: _group(name, 2))
    expected = [0.004 / 2.6**power for power in (2, 1, 0, 0)]
    assert steps == pytest.approx(expected, rel=0.02)


def test_dropouts_reach_the_training(task, tmp_path):
    def loss(**changes):
        recipe = dataclasses.replace(STILL, **changes)
        folder = tmp_path / str(sorted(changes.items()))
        return classify(task, recipe, folder)[1][0]["loss"]

    without = loss()
    of_head = loss(dropout=1.0, encoder_dropout=0.0)
    of_all = loss(dropout=1.0)
    assert len({without, of_head, of_all}) == 3

    def of_language_model(multiplier):
        recipe = Recipe(
            language_model_epochs=1,
            language_model_rate=0.0,
            language_model_dropout=multiplier,
        )
        folder = tmp_path / str(multiplier)
        _, records = fine_tune_language_model(task, recipe, folder, options())
        return records[0]["loss"]

    assert abs(of_language_model(1.0) - of_language_model(0.0)) > 1e-3


def test_class_weights_weigh_the_losses(task, tmp_path):
    balanced = dataclasses.replace(STILL, class_weights="balanced")
    labels = task.dataset.train_labels
    # Few of one class, so that the weights differ.
    kept = np.concatenate(
        [np.flatnonzero(labels == 0)[:5], np.flatnonzero(labels == 1)]
    )
    few = {
        "train": task.train.select(kept),
        "dataset": dataclasses.replace(
            task.dataset,
            train_texts=[task.dataset.train_texts[i] for i in kept],
            train_labels=labels[kept],
        ),
    }
    losses = [
        classify(task, recipe, tmp_path / recipe.class_weights, **few)[1][0][
            "loss"
        ]
        for recipe in (STILL, balanced)
    ]
    # Each document's loss, of a model that normalizes by the same batch.
    model = new_classifier(
        task.architecture,
        len(task.tokenizer.vocabulary),
        2,
        STILL,
        options(),
    )
    models.set_weights(
        models.encoder_weights(model.encoder),
        starting_weights(task, "forward"),
    )
    weights = class_weights(labels[kept], 2)[labels[kept]]
    batches = DocumentBatches(
        few["train"],
        np.eye(2, dtype="float32")[labels[kept]],
        256,
        document_weights=weights,
    )
    ids, targets, weights = next(iter(batches.dataset()))
    logits = model(ids, training=True)
    of_documents = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
    assert losses[0] == pytest.approx(np.mean(of_documents), rel=1e-4)
    expected = np.mean(weights * of_documents)
    assert losses[1] == pytest.approx(expected, rel=1e-4)
    assert abs(losses[1] - losses[0]) > 1e-3


def test_the_best_epoch_is_chosen_by_weighted_losses(task, tmp_path):
    """Else that of the most frequent class would be kept."""
    recipe = dataclasses.replace(STILL, class_weights="balanced")
    labels = task.dataset.train_labels
    kept = np.concatenate(
        [np.flatnonzero(labels == 0)[:5], np.flatnonzero(labels == 1)]
    )
    dataset = dataclasses.replace(
        task.dataset,
        train_texts=[task.dataset.train_texts[i] for i in kept],
        train_labels=labels[kept],
    )
    weights, records = classify(
        task, recipe, tmp_path, train=task.train.select(kept), dataset=dataset
    )
    classifier = trained_classifier(task, recipe, {"forward": weights}, 0)
    probabilities = classifier.predict(task.validation_texts)
    losses = np.array(
        [
            cross_entropy(row[None], np.array([label]))
            for row, label in zip(
                probabilities, task.validation_labels, strict=True
            )
        ]
    )
    weighted = class_weights(labels[kept], 2)[task.validation_labels] * losses
    found = records[0]["val_loss"]
    assert found == pytest.approx(weighted.mean(), rel=1e-4)
    assert abs(found - losses.mean()) > 1e-3


def test_early_stopping_gives_the_best_epoch_back(task, tmp_path):
    recipe = Recipe(
        epochs=40,
        learning_rate=0.5,
        decay_factor=1.0,
        unfreezing="full",
        early_stopping=1,
        label_smoothing=0.1,
        min_frequency=1,
    )
    weights, records = classify(task, recipe, tmp_path)
    losses = [record["val_loss"] for record in records]
    assert len(losses) < 40 and losses[-1] > min(losses)
    classifier = trained_classifier(task, recipe, {"forward": weights}, 0)
    found = cross_entropy(
        classifier.predict(task.validation_texts),
        task.validation_labels,
        smoothing=0.1,
    )
    assert found == pytest.approx(min(losses), rel=1e-3)


def test_a_split_given_is_not_read(settings):
    dataset = task_flags.load_dataset(settings)
    recipe = Recipe(min_frequency=1)
    held_out = ["zebra zebra"], np.array([0])
    unread = prepare_split_task(dataset, *held_out, recipe, settings)
    assert "zebra" not in unread.tokenizer.vocabulary
    assert len(unread.corpus) == len(dataset.train_texts)
    split = dataset.split_validation(0.1, 0)
    task = prepare_task(dataset, recipe, settings)
    assert len(task.corpus) == len(split[0].train_texts) + len(split[1])


def test_texts_in_another_language_are_told(settings, caplog):
    dataset = task_flags.load_dataset(settings)
    recipe = Recipe(min_frequency=1)
    caplog.set_level("WARNING", "trainers")
    # Its vocabulary are three words, beside marks as of capital letters.
    task = prepare_task(dataset, recipe, settings)
    (note,) = [each for each in task.dataset.notes if "language" in each]
    assert "does not know" in note and note in caplog.text
    none = argparse.Namespace(**{**vars(settings), "pretrained": ["none"]})
    none.preset, none.tokenizer = "tiny", "word"
    task = prepare_task(dataset, recipe, none)
    assert not any("language" in each for each in task.dataset.notes)
    known = dataclasses.replace(
        dataset,
        train_texts=[
            "of a " * n for n in range(1, 1 + len(dataset.train_texts))
        ],
    )
    task = prepare_task(known, recipe, settings)
    assert not any("language" in each for each in task.dataset.notes)


def test_words_that_a_model_from_scratch_does_not_know_are_told(settings):
    # As in languages without blanks: each phrase is a word of its own.
    dataset = task_flags.load_dataset(settings)
    letters = {ord(digit): chr(0xE01 + int(digit)) for digit in "0123456789"}
    phrases = [
        f"{n}1 {n}2 {n}3".translate(letters)
        for n in range(len(dataset.train_texts))
    ]
    dataset = dataclasses.replace(
        dataset, train_texts=phrases, unlabelled_texts=[]
    )
    none = {"pretrained": ["none"], "preset": "tiny", "tokenizer": "word"}
    none = argparse.Namespace(**{**vars(settings), **none})
    task = prepare_task(dataset, Recipe(min_frequency=3), none)
    (note,) = [each for each in task.dataset.notes if "unknown" in each]
    assert "--tokenizer sentencepiece" in note


@pytest.mark.parametrize(
    "tokens, rows", [(100, 1), (700, 1), (1400, 2), (44_800, 64), (10**6, 64)]
)
def test_short_texts_are_read_in_few_streams(tokens, rows):
    """Each of ten windows of 70 tokens at least."""
    assert rows_for(tokens, 64) == rows


def test_train_classifier_measures_nothing_where_nothing_is_given(
    task, tmp_path
):
    _, records = train_classifier(
        task.architecture,
        len(task.tokenizer.vocabulary),
        2,
        task.dataset.task_type,
        None,
        (task.train, task.dataset.train_labels),
        None,
        STILL,
        tmp_path,
        options(),
    )
    assert "loss" in records[0] and "val_loss" not in records[0]


def test_a_run_is_resumed_with_the_test_split_that_it_began_with(settings):
    dataset = task_flags.load_dataset(settings)
    recipe = Recipe(min_frequency=1)

    def fingerprint(**changes):
        changed = dataclasses.replace(dataset, **changes)
        return prepare_task(changed, recipe, settings).fingerprint

    labels = dataset.test_labels
    fingerprints = {
        fingerprint(),
        fingerprint(test_texts=[*dataset.test_texts[:-1], "another"]),
        fingerprint(test_labels=1 - labels),
        fingerprint(classes=("meals", "sport")),
        fingerprint(test_texts=None, test_labels=None),
    }
    assert len(fingerprints) == 5
    assert fingerprint() in fingerprints
