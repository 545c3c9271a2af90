import argparse
import dataclasses
import json

import pytest

from trainers.command_line import UserError
from trainers.recipe_files import (
    add_recipe_flags,
    read_recipe,
    recipe_overrides,
    write_recipe,
)
from trainers.recipe_flags import field_descriptions
from trainers.recipes import Recipe


def test_a_written_recipe_is_read_back(tmp_path):
    for fields in (
        {"decay_factor": 1.7, "epochs": 9, "unfreezing": "full"},
        dataclasses.asdict(Recipe(decay_factor=1.7)),
    ):
        write_recipe(tmp_path / "best.json", fields)
        assert read_recipe(tmp_path / "best.json") == fields
        assert json.loads((tmp_path / "best.json").read_text()) == fields


def test_flags_overrule_the_file_and_the_rest_is_not_given(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text('{"decay_factor": 3, "epochs": 7}')
    parser = argparse.ArgumentParser()
    parser.set_defaults(dataset="trec6", pretrained=["compact"])
    add_recipe_flags(parser)
    arguments = parser.parse_args(["--recipe", str(file), "--epochs", "8"])
    assert recipe_overrides(arguments) == {"decay_factor": 3.0, "epochs": 8}
    assert recipe_overrides(parser.parse_args([])) == {}


def test_a_file_with_all_fields_gives_all_of_them(tmp_path):
    """What is the default is a choice as well, and no size changes it."""
    parser = argparse.ArgumentParser()
    parser.set_defaults(dataset="trec6", pretrained=["compact"])
    add_recipe_flags(parser)
    fields = dataclasses.asdict(Recipe())
    write_recipe(tmp_path / "all.json", fields)
    arguments = parser.parse_args(["--recipe", str(tmp_path / "all.json")])
    assert recipe_overrides(arguments) == fields


def test_help_says_of_each_flag_what_it_does():
    parser = argparse.ArgumentParser()
    add_recipe_flags(parser)
    text = " ".join(parser.format_help().split())
    assert "--decay-factor FLOAT Rate of a layer over that of the one" in text
    assert "below (default: 2.6, 1.0 without a pretrained model)" in text
    assert "--schedule {slanted,stable,cosine,one-cycle} Of stage" in text
    assert "(default: 12, 16 for trec50, 6 for imdb, 6 for ag_news" in text
    descriptions = field_descriptions(Recipe)
    assert list(descriptions) == [f.name for f in dataclasses.fields(Recipe)]
    assert all(len(each) > 15 for each in descriptions.values())


@pytest.mark.parametrize(
    "content, message",
    [
        pytest.param(
            '{"decay_facter": 2}', "Did you mean `decay_factor`", id="unknown"
        ),
        pytest.param(
            '{"epochs": 2.5}', "`epochs` must be a whole number", id="float"
        ),
        pytest.param(
            '{"ratio": "32"}', "`ratio` must be a number", id="string"
        ),
        pytest.param('{"ratio": true}', "Received: true", id="bool"),
        pytest.param('{"unfreezing": 1}', "must be a string", id="number"),
        pytest.param(
            '{"cut_frac": 1.5}', r"recipe\.json`: `--cut-frac`", id="range"
        ),
        pytest.param(
            '{"unfreezing": "gradual"}',
            r"recipe\.json`: `--unfreezing` must be paper or",
            id="unfreezing",
        ),
        pytest.param('{"ratio": NaN}', "--ratio", id="not_a_number"),
        pytest.param(
            '{"schedule": "linear"}', "`--schedule` must be", id="schedule"
        ),
        pytest.param("[1]", "one JSON object", id="list"),
        pytest.param("{", "cannot be read as JSON", id="no_json"),
        pytest.param(None, "cannot be read as JSON", id="no_file"),
    ],
)
def test_a_wrong_file_is_told_in_one_message(content, message, tmp_path):
    file = tmp_path / "recipe.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UserError, match=message):
        read_recipe(file)
