import dataclasses
import types

import pytest

from trainers.command_line import UserError
from trainers.language_model_recipe import LanguageModelRecipe
from trainers.recipes import (
    CHOICES,
    FROM_SCRATCH,
    Recipe,
    fitted_to_model,
    fitted_to_size,
    recipe_for,
    tokens_to_read,
)
from trainers.stages import language_model_recipe
from ulmfit_tf import models
from ulmfit_tf.training.unfreezing import METHODS


def test_a_flag_beats_the_scratch_recipe_and_that_the_data_sets():
    scratch = recipe_for("imdb", {}, pretrained=False)
    assert scratch.unfreezing == FROM_SCRATCH["unfreezing"]
    imdb = recipe_for("imdb", {"learning_rate": None})
    assert imdb.unfreezing == "paper"
    given = recipe_for("imdb", {"unfreezing": "last"}, pretrained=False)
    assert given.unfreezing == "last"


def test_the_ways_of_unfreezing_are_those_that_there_are():
    assert CHOICES["unfreezing"] == METHODS


def test_the_papers_constants_are_the_defaults():
    # Howard & Ruder (2018), sections 3.2, 3.3 and 4.1.
    recipe = Recipe()
    assert recipe.decay_factor == 2.6
    assert (recipe.cut_frac, recipe.ratio) == (0.1, 32)
    assert recipe.learning_rate == 0.01
    assert recipe.language_model_rate == 0.004
    assert recipe.language_model_batch_size == 64
    assert recipe.head_units == 50
    assert recipe.pooled_length == 20 * 70
    # The authors' `imdb_scripts`: a batch is half of the paper's.
    assert recipe.batch_size == 32
    assert (recipe.global_clipnorm, recipe.weight_decay) == (25, 1e-6)
    assert (recipe.dropout, recipe.encoder_dropout) == (1, 1)
    # Merity et al. (2017), as the scripts have them.
    assert (recipe.activation_l2, recipe.temporal_l2) == (2, 1)


def test_the_papers_constants_are_those_of_a_language_model():
    # Howard & Ruder (2018), sections 3.2 and 4.1.
    recipe = LanguageModelRecipe()
    assert (recipe.learning_rate, recipe.epochs) == (0.004, 15)
    assert recipe.batch_size == 64
    assert recipe.decay_factor == 2.6
    assert (recipe.cut_frac, recipe.ratio) == (0.1, 32)
    # The authors' `imdb_scripts`; Merity et al. (2017) clip at 0.25.
    assert (recipe.global_clipnorm, recipe.weight_decay) == (0.3, 1e-7)
    assert recipe.dropout_multiplier == 1
    # Merity et al. (2017), as the scripts have them.
    assert (recipe.activation_l2, recipe.temporal_l2) == (2, 1)


def test_stage_two_fine_tunes_as_the_language_model_command_does():
    task = types.SimpleNamespace(language_models={"forward": "a model"})
    recipe = language_model_recipe(task, Recipe(), "forward")
    assert recipe == LanguageModelRecipe()


@pytest.mark.parametrize(
    "field, value",
    [
        ("decay_factor", 0.0),
        ("cut_frac", 1.0),
        ("epochs", 0),
        ("batch_size", 1),
        ("label_smoothing", 1.0),
        ("validation_fraction", 0.0),
    ],
)
def test_a_figure_out_of_range_names_its_flag(field, value):
    with pytest.raises(UserError, match="--" + field.replace("_", "-")):
        dataclasses.replace(Recipe(), **{field: value})


def test_an_unknown_field_fails():
    with pytest.raises(TypeError):
        recipe_for("trec6", {"learnign_rate": 0.1})


@pytest.mark.parametrize(
    "documents, epochs",
    [
        pytest.param(160, 50, id="five_steps_an_epoch"),
        pytest.param(640, 20, id="twenty_steps_an_epoch"),
        pytest.param(4906, 12, id="trec6_keeps_its_recipe"),
    ],
)
def test_few_documents_get_more_epochs(documents, epochs):
    recipe = Recipe(epochs=12, batch_size=32)
    fitted = fitted_to_size(recipe, "mine.csv", {}, documents, 10_000, 9_000)
    assert fitted.epochs == epochs
    kept = fitted_to_size(
        recipe, "mine.csv", {"epochs"}, documents, 10_000, 9_000
    )
    assert kept == recipe


@pytest.mark.parametrize("documents", [10, 20, 50, 100, 200, 350, 500, 1000])
def test_few_documents_are_trained_for_as_many_steps_from_scratch(documents):
    steps, sizes = [], []
    for pretrained in (True, False):
        recipe = recipe_for("imdb", {}, pretrained=pretrained)
        recipe = fitted_to_size(recipe, "imdb", {}, documents, 10**6, 10**5)
        a_epoch = -(-documents // recipe.batch_size)
        steps.append(recipe.epochs * a_epoch)
        sizes.append(recipe.batch_size)
        # No batch is more than half of them.
        assert recipe.batch_size <= documents / 2
        # One epoch less would be too few.
        assert steps[-1] - a_epoch < 400
    # Equal up to an epoch's rounding.
    assert abs(steps[0] - steps[1]) <= max(
        -(-documents // size) for size in sizes
    )
    assert min(steps) >= 100


@pytest.mark.parametrize("pretrained", [True, False])
def test_trec6_at_its_full_size_keeps_both_recipes(pretrained):
    recipe = recipe_for("trec6", {}, pretrained=pretrained)
    assert fitted_to_size(recipe, "trec6", {}, 4906, 60_000, 50_000) == recipe


@pytest.mark.parametrize("pretrained, epochs", [(True, 15), (False, 10)])
def test_a_small_part_of_a_large_set_is_read_as_any_small_set(
    pretrained, epochs
):
    """From scratch too, where more epochs overfit."""
    for name in ("ag_news", "mine.csv"):
        recipe = recipe_for(name, {}, pretrained)
        fitted = fitted_to_size(
            *(recipe, name, {}, 5000, 10**6, 10**6), pretrained=pretrained
        )
        assert fitted.language_model_epochs == epochs


def test_a_batch_size_that_was_given_stays():
    recipe = Recipe(batch_size=64)
    given = {"batch_size": 64}
    fitted = fitted_to_size(recipe, "imdb", given, 50, 10**6, 10**4)
    assert (fitted.batch_size, fitted.epochs) == (64, 100)


def test_much_text_is_read_fewer_times_unless_the_set_has_a_recipe():
    recipe = Recipe(language_model_epochs=15)
    large = fitted_to_size(recipe, "mine.csv", {}, 10**6, 10_000_000, 10**6)
    assert large.language_model_epochs == 2
    named = fitted_to_size(recipe, "imdb", {}, 10**6, 10_000_000, 10**6)
    assert named.language_model_epochs == 15
    assert large.language_model_steps == named.language_model_steps == 0


def test_of_a_billion_tokens_stage_two_reads_a_part():
    recipe = Recipe(language_model_epochs=15, language_model_batch_size=50)
    size = (1000, 10**9, 10**5)
    fitted = fitted_to_size(recipe, "mine.csv", {}, *size)
    assert fitted.language_model_epochs == 1
    # Of 50 streams of some 70 tokens each.
    read = 50 * 70 * fitted.language_model_steps
    assert 19_000_000 < read <= 20_000_000
    for name in ("language_model_epochs", "language_model_steps"):
        kept = fitted_to_size(recipe, "mine.csv", {name}, *size)
        assert kept.language_model_steps == 0
    none = dataclasses.replace(recipe, language_model_epochs=0)
    none = fitted_to_size(none, "mine.csv", {}, *size)
    assert none.language_model_steps == none.language_model_epochs == 0


def test_much_labelled_text_leaves_the_epochs_that_unfreezing_takes():
    """Five layers of LSTMs, an embedding and a head are seven groups."""
    size = (10**6, 10**8, 10**8)
    for fewest, epochs in ((5, 6), (7, 7)):
        fitted = fitted_to_size(
            Recipe(), "mine.csv", {}, *size, fewest_epochs=fewest
        )
        assert fitted.epochs == epochs


@pytest.mark.parametrize(
    "tokens, epochs", [(15_000, 15), (3_000_000, 6), (23_000_000, 5)]
)
def test_a_part_of_a_large_set_is_read_more_often_than_the_whole(
    tokens, epochs
):
    recipe = recipe_for("imdb", {})
    fitted = fitted_to_size(recipe, "imdb", {}, 1000, tokens, 15_000)
    assert fitted.language_model_epochs == epochs
    for given in (0, 5):
        recipe = recipe_for("imdb", {"language_model_epochs": given})
        fields = {"language_model_epochs"}
        kept = fitted_to_size(recipe, "imdb", fields, 1000, tokens, 15_000)
        assert kept.language_model_epochs == given
    # As without stage two, which learning curves compare with.
    recipe = dataclasses.replace(recipe, language_model_epochs=0)
    kept = fitted_to_size(recipe, "imdb", {}, 1000, tokens, 15_000)
    assert kept.language_model_epochs == 0


@pytest.mark.parametrize(
    "documents, tokens, epochs",
    [
        pytest.param(20_000, 1_000_000, 12, id="short"),
        pytest.param(20_000, 2_500_000, 8, id="longer"),
        pytest.param(20_000, 10_000_000, 6, id="long"),
        pytest.param(1_600, 10_000_000, 6, id="few_and_long"),
        pytest.param(180, 18_000_000, 6, id="very_few_and_very_long"),
    ],
)
def test_many_labelled_tokens_are_trained_on_for_fewer_epochs(
    documents, tokens, epochs
):
    size = (documents, tokens, tokens)
    recipe = Recipe(epochs=12, batch_size=32)
    assert fitted_to_size(recipe, "mine.csv", {}, *size).epochs == epochs
    assert fitted_to_size(recipe, "mine.csv", {"epochs"}, *size).epochs == 12
    assert fitted_to_size(recipe, "trec6", {}, *size).epochs == 12
    # The user's order of unfreezing may need them.
    given = {"unfreezing": "chain-thaw"}
    recipe = Recipe(**given)
    assert fitted_to_size(recipe, "mine.csv", given, *size).epochs == 12


@pytest.mark.parametrize(
    "documents, tokens, batch_size",
    [
        # In 50 epochs they are 2.5 million tokens, not too many.
        (200, 50_000, 32),
        (1_600, 10_000_000, 24),
        (900, 18_000_000, 13),
        # About as many steps as without the limit, not more.
        (60, 405_000, 29),
        (100, 420_000, 23),
        # Smaller ones batch norm would suffer from.
        (180, 18_000_000, 8),
    ],
)
def test_few_long_documents_get_small_batches_in_place_of_epochs(
    documents, tokens, batch_size
):
    size = (documents, tokens, tokens)
    fitted = fitted_to_size(Recipe(), "mine.csv", {}, *size)
    assert fitted.batch_size == batch_size
    assert fitted.epochs * tokens <= max(20_000_000, 6 * tokens)
    if 8 < batch_size < 32:
        steps = fitted.epochs * -(-documents // batch_size)
        unlimited = fitted_to_size(
            Recipe(), "mine.csv", {}, documents, 10_000, 10_000
        )
        usual = unlimited.epochs * -(-documents // unlimited.batch_size)
        assert min(usual, 400) <= steps <= 1.6 * usual
    # An order that was asked for keeps its epochs, and batches that suit them.
    order = {"unfreezing": "chain-thaw"}
    asked = fitted_to_size(Recipe(**order), "mine.csv", order, *size)
    assert asked.epochs >= Recipe.epochs
    assert asked.batch_size >= fitted.batch_size
    # Epochs that were asked for need no smaller batches.
    kept = fitted_to_size(Recipe(), "mine.csv", {"epochs"}, *size)
    most = min(32, documents // 2)
    assert (kept.epochs, kept.batch_size) == (Recipe.epochs, most)
    kept = fitted_to_size(Recipe(), "mine.csv", {"batch_size"}, *size)
    assert kept.batch_size == 32


@pytest.mark.parametrize(
    ("sizes", "expected"),
    # 400/1152/3 has 4 x (1152 x 1552 + 1152 x 2304 + 400 x 1552) weights.
    [((300, 512), 0.23), ((400, 1152), 1.0), ((400, 1500), 1.0)],
)
def test_dropouts_follow_a_pretrained_model_s_size(sizes, expected):
    sizes = models.Architecture(*sizes)
    fitted = fitted_to_model(Recipe(), {}, sizes)
    assert fitted == dataclasses.replace(
        Recipe(), language_model_dropout=expected, encoder_dropout=expected
    )


def test_dropouts_that_were_given_stay():
    sizes = models.ARCHITECTURES["compact"]
    given = {"encoder_dropout": 0.9}
    recipe = dataclasses.replace(Recipe(), **given)
    fitted = fitted_to_model(recipe, given, sizes)
    assert fitted.encoder_dropout == 0.9
    assert fitted.language_model_dropout == 0.23
    # The head is as wide whatever the encoder.
    assert fitted.dropout == 1.0


def test_what_is_read_is_told_in_tokens():
    recipe = Recipe(language_model_epochs=3, epochs=4)
    assert tokens_to_read(recipe, 10_000, 2_000) == (30_000, 8_000)
    limited = dataclasses.replace(
        recipe, language_model_steps=2, language_model_batch_size=10
    )
    assert tokens_to_read(limited, 10_000, 2_000) == (1_400, 8_000)
    assert tokens_to_read(limited, 400, 40) == (1_200, 160)
    without = dataclasses.replace(recipe, language_model_epochs=0)
    assert tokens_to_read(without, 10_000, 2_000) == (0, 8_000)
