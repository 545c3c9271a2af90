import dataclasses
import types

import pytest

from trainers.experiments.command import with_language_model_pinned
from trainers.experiments.paper_rows import ROWS
from trainers.recipes import Recipe, recipe_for
from trainers.stages import language_model_recipe

_BY_NAME = {row.name: row for row in ROWS}
# Stage two as it is for a pretrained model of a few words.
_TASK = types.SimpleNamespace(
    language_models={"forward": object()},
    tokenizer=types.SimpleNamespace(vocabulary=range(100)),
)


def _recipe(name):
    row = _BY_NAME[name]
    base = recipe_for("trec6", {}, pretrained=row.pretrained)
    return row.recipe(with_language_model_pinned(base))


def _stage_two(name):
    return language_model_recipe(_TASK, _recipe(name), "forward")


def test_the_full_method_is_the_recipe_itself():
    assert _recipe("freez+discr+stlr") == Recipe(
        language_model_decay_factor=2.6
    )
    assert _stage_two("freez+discr+stlr").decay_factor == 2.6


def test_rows_of_table_7_differ_in_stage_three_alone():
    full = _stage_two("freez+discr+stlr")
    for row in ROWS:
        if row.table == "7" and row.pretrained:
            assert _stage_two(row.name) == full, row.name


def test_rows_of_table_6_differ_in_stage_two_alone():
    full = _recipe("freez+discr+stlr")
    for name in ("no-lm-fine-tuning", "lm-full", "lm-full+discr"):
        changed = {
            field.name
            for field in dataclasses.fields(Recipe)
            if getattr(_recipe(name), field.name) != getattr(full, field.name)
        }
        assert changed and all(
            field.startswith("language_model") for field in changed
        )
    assert _stage_two("lm-full").decay_factor == 1
    assert _stage_two("lm-full+discr").decay_factor == 2.6
    assert _stage_two("lm-full+discr").ratio == 1
    assert full.ratio == 32


def test_rows_have_names_of_their_own_and_no_two_are_the_same():
    assert len(_BY_NAME) == len(ROWS)
    recipes = [
        (_recipe(row.name), row.pretrained, row.directions) for row in ROWS
    ]
    assert len({str(each) for each in recipes}) == len(ROWS)


@pytest.mark.parametrize(
    "name, dataset, error",
    [
        # Howard & Ruder (2018), tables 4 to 7.
        ("without-pretraining", "trec6", 10.67),
        ("vanilla-lm", "imdb", 5.98),
        ("lm-full+discr", "ag_news", 5.47),
        ("last", "trec6", 16.09),
        ("freez+cos", "trec6", 6.38),
        ("freez+discr+stlr", "trec6", 5.69),
        ("backward", "trec6", None),
        ("last", "mine.csv", None),
    ],
)
def test_the_papers_figures(name, dataset, error):
    assert _BY_NAME[name].paper_error(dataset) == error
