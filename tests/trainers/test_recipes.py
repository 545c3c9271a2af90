import dataclasses

import pytest

from trainers.command_line import UserError
from trainers.recipes import (
    FROM_SCRATCH,
    Recipe,
    fitted_to_size,
    recipe_for,
)


def test_a_flag_beats_the_scratch_recipe_and_that_the_data_sets():
    scratch = recipe_for("imdb", {}, pretrained=False)
    assert scratch.unfreezing == FROM_SCRATCH["unfreezing"]
    imdb = recipe_for("imdb", {"learning_rate": None})
    assert imdb.unfreezing == "paper"
    given = recipe_for("imdb", {"unfreezing": "last"}, pretrained=False)
    assert given.unfreezing == "last"


def test_the_papers_constants_are_the_defaults():
    # Howard & Ruder (2018), sections 3.2, 3.3 and 4.1.
    recipe = Recipe()
    assert recipe.decay_factor == 2.6
    assert (recipe.cut_frac, recipe.ratio) == (0.1, 32)
    assert recipe.learning_rate == 0.01
    assert recipe.language_model_rate == 0.004
    assert recipe.head_units == 50
    assert recipe.pooled_length == 20 * 70


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
    fitted = fitted_to_size(recipe, "mine.csv", {}, documents, 10_000)
    assert fitted.epochs == epochs
    kept = fitted_to_size(recipe, "mine.csv", {"epochs"}, documents, 10_000)
    assert kept == recipe


def test_much_text_is_read_fewer_times_unless_the_set_has_a_recipe():
    recipe = Recipe(language_model_epochs=15)
    large = fitted_to_size(recipe, "mine.csv", {}, 10**6, 10_000_000)
    assert large.language_model_epochs == 2
    named = fitted_to_size(recipe, "imdb", {}, 10**6, 10_000_000)
    assert named.language_model_epochs == 15
