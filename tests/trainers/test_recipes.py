import dataclasses

import pytest

from trainers.command_line import UserError
from trainers.recipes import FROM_SCRATCH, Recipe, recipe_for


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
