"""Defaults, checks and flags of the language model recipe."""

import dataclasses

import pytest

from trainers.command_line import UserError
from trainers.language_model_arguments import parse_arguments, recipe_of
from trainers.language_model_recipe import (
    FINE_TUNING,
    PRETRAINING,
    LanguageModelRecipe,
    dropout_for,
)
from trainers.recipes import Recipe
from ulmfit_tf.models import ARCHITECTURES

_NEEDED = ["--corpus", "a.txt", "--output", "run"]


def _recipe(*flags):
    return recipe_of(vars(parse_arguments([*_NEEDED, *flags])))


def test_a_pretrained_model_changes_the_defaults():
    assert _recipe() == _recipe("--pretrained", "none") == PRETRAINING
    assert _recipe("--pretrained", "compact") == FINE_TUNING
    # The paper's rate, epochs and decay; nothing else is meant by it.
    assert (FINE_TUNING.learning_rate, FINE_TUNING.epochs) == (0.004, 15)
    assert FINE_TUNING.decay_factor == 2.6


def test_every_field_is_a_flag_that_overrides_it():
    for field in dataclasses.fields(LanguageModelRecipe):
        value = {
            "schedule": "one-cycle",
            "averaging": "nt-asgd",
            "windows": "equal",
        }.get(field.name, 1 if field.type is int else 0.5)
        if field.name == "vocabulary_size":
            value = 99
        if field.name == "ratio":
            value = 2.0
        flag = f"--{field.name.replace('_', '-')}"
        changed = _recipe(flag, str(value))
        assert changed == dataclasses.replace(
            PRETRAINING, **{field.name: value}
        )


def test_stage_two_has_the_same_defaults():
    recipe = Recipe()
    # Howard & Ruder (2018), section 4.1; the vocabulary is fastai v2's.
    assert recipe.language_model_epochs == FINE_TUNING.epochs == 15
    assert recipe.language_model_rate == FINE_TUNING.learning_rate == 0.004
    assert recipe.vocabulary_size == FINE_TUNING.vocabulary_size == 60_000


def test_a_small_model_drops_little_but_some():
    # In proportion to the weights of the LSTMs; two digits of each.
    for name, expected in (("compact", 0.23), ("tiny", 0.00054)):
        assert dropout_for(ARCHITECTURES[name]) == expected
    paper = ARCHITECTURES["paper"]
    larger = dataclasses.replace(paper, hidden_units=2 * paper.hidden_units)
    assert dropout_for(paper) == dropout_for(larger) == 1.0


def test_help_tells_the_dropout_of_the_shipped_model(capsys):
    with pytest.raises(SystemExit, match="0"):
        parse_arguments(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    compact = dropout_for(ARCHITECTURES["compact"])
    assert (
        f"(default: at most 0.5 and {compact / 2} for compact, at most 1.0 "
        f"and {compact} with --pretrained)"
    ) in told


@pytest.mark.parametrize(
    "sample_size, vocabulary_size, expected",
    [(-1, 8192, None), (-1, 8193, 2048), (0, 20000, None), (64, 100, 64)],
)
def test_large_vocabularies_are_sampled(sample_size, vocabulary_size, expected):
    recipe = LanguageModelRecipe(sample_size=sample_size)
    assert recipe.softmax_sample(vocabulary_size) == expected
    # A sample of all words is the full softmax.
    assert LanguageModelRecipe(sample_size=64).softmax_sample(64) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"averaging_decay": 1.0},
        {"cut_frac": 0.0},
        {"schedule": "steps"},
        {"averaging": "all"},
    ],
    ids=str,
)
def test_a_wrong_value_is_refused(wrong):
    flag = f"--{next(iter(wrong)).replace('_', '-')}"
    with pytest.raises(UserError, match=flag):
        LanguageModelRecipe(**wrong)


@pytest.mark.parametrize(
    "flags",
    [
        ["--generate", "A"],
        ["--resume", "run"],
        ["--schedule", "steps"],
    ],
    ids=str,
)
def test_flags_that_do_not_go_together_end_with_status_2(flags):
    with pytest.raises(SystemExit, match="2"):
        parse_arguments([*_NEEDED, *flags])
