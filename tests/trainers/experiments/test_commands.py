"""What experiments train, with stages that take no time."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from trainers import ablation, learning_curve, preparation, tune
from trainers.command_line import UserError
from trainers.experiments import paper_rows
from trainers.experiments.command import Experiment
from trainers.task_text import task_tokenizer

# KerasTuner names threads in an old way.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def tiny(tiny_language_models):
    """Flags of small models."""
    pretrained = ("--pretrained", str(tiny_language_models))
    return ("--precision", "float32", *pretrained)


def _rows(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def test_a_row_that_now_means_something_else_is_trained_again(
    small_table, tiny, tmp_path, fast_stages, monkeypatch
):
    trained = fast_stages()
    output = str(tmp_path / "run")
    rows = ["--rows", "full,full+discr", "--seeds", "1"]
    flags = [*tiny, *rows, "--output", output]
    ablation.main(["--dataset", str(small_table), *flags])
    assert len(trained) == 2
    ablation.main(["--resume", output])
    assert len(trained) == 2
    changed = [
        dataclasses.replace(row, changes={**row.changes, "ratio": 7.0})
        if row.name == "full"
        else row
        for row in paper_rows.ROWS
    ]
    monkeypatch.setattr(ablation, "ROWS", changed)
    ablation.main(["--resume", output])
    assert len(trained) == 3 and trained[-1][0].ratio == 7.0


def test_more_labels_from_scratch_than_with_the_method(
    small_table, tiny, tmp_path, fast_stages
):
    trained = fast_stages()
    output = str(tmp_path / "run")
    flags = [*tiny, "--seeds", "1", "--output", output]
    sizes = ["--sizes", "8,20", "--scratch-sizes", "8,40"]
    figures = learning_curve.main(
        ["--dataset", str(small_table), *flags, *sizes]
    )
    by_method: dict = {}
    for row in _rows(tmp_path / "run" / "learning_curve.csv"):
        by_method.setdefault(row["method"], []).append(int(row["labels"]))
    assert by_method == {
        "ULMFiT, supervised": [8, 20],
        "ULMFiT, with unlabelled texts": [8, 20],
        "from scratch": [8, 40],
        "TF-IDF + linear SVM": [8, 40],
    }
    assert len(trained) == 2 + 2 + 2
    assert figures["sentences"]
    # More of them, later: what was trained is not trained again.
    learning_curve.main(["--resume", output, "--scratch-sizes", "60"])
    rows = _rows(tmp_path / "run" / "learning_curve.csv")
    assert [
        int(row["labels"]) for row in rows if row["method"] == "from scratch"
    ] == [8, 40, 60]
    assert len(trained) == 6 + 1
    assert {recipe.learning_rate for recipe, _ in trained[6:]} == {0.004}


@pytest.mark.parametrize(
    "flags, said, not_said",
    [
        ((), "texts to fine-tune the language model on", "not known here"),
        (
            ("--language-model-epochs", "0"),
            "whether the language model `{}` has read these",
            "texts to fine-tune",
        ),
    ],
)
def test_a_curve_says_what_its_language_models_have_read(
    small_table, tiny, tmp_path, fast_stages, flags, said, not_said
):
    fast_stages()
    learning_curve.main(
        [
            *("--dataset", str(small_table), *tiny, *flags, "--seeds", "1"),
            *("--sizes", "8", "--methods", "semi-supervised"),
            *("--output", str(tmp_path / "run")),
        ]
    )
    notes = (tmp_path / "run" / "learning_curve.md").read_text()
    assert said.format(tiny[-1]) in notes and not_said not in notes
    # Three words, in whatever language the texts are.
    assert notes.count("language model does not know") == 1


def test_a_curve_says_which_validation_texts_are_not_read(tiny, tmp_path):
    texts = [f"text {number}" for number in range(200)]
    rows = [f"{text},{'ab'[int(text[-1]) % 2]}" for text in texts]
    data = tmp_path / "data"
    data.mkdir()
    # Few copies: a split may leave one on the other side.
    train = "\n".join(["text,label", *rows, *rows[:4]])
    (data / "train.csv").write_text(train)
    (data / "test.csv").write_text("text,label\nother,a\n")
    (data / "unlabelled.csv").write_text("\n".join(["text", *texts, "new"]))
    learning_curve.main(
        [
            *("--dataset", str(data), *tiny, "--seeds", "1"),
            *("--sizes", "8", "--methods", "linear"),
            *("--output", str(tmp_path / "run")),
        ]
    )
    notes = (tmp_path / "run" / "learning_curve.md").read_text()
    assert "21 unlabelled texts of `data` are left out, as they are" in notes
    assert "1 of the 21 validation texts are training texts as well" in notes
    assert "Those that lose their label are left out." in notes


@pytest.fixture(scope="module")
def tags(tmp_path_factory):
    """A table of texts with any number of labels."""
    rng = np.random.default_rng(0)
    words = {"animal": "dog", "place": "river"}
    lines = ["text,tags"]
    for _ in range(120):
        labels = [name for name in words if rng.random() < 0.4]
        text = [*rng.choice(["a", "the", "of"], 4), *map(words.get, labels)]
        lines.append(f"{' '.join(text)},{'|'.join(labels)}")
    path = tmp_path_factory.mktemp("data") / "tags.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    "main, flags, table",
    [
        pytest.param(
            tune.main,
            ("--oracle", "grid", "--max-trials", "2"),
            "trials",
            id="tune",
        ),
        pytest.param(
            ablation.main,
            ("--rows", "from-scratch,freez+discr+stlr,both"),
            "ablation",
            id="ablation",
        ),
        pytest.param(
            learning_curve.main,
            ("--sizes", "10,30", "--methods", "supervised,linear"),
            "learning_curve",
            id="learning_curve",
        ),
    ],
)
def test_texts_may_have_any_number_of_labels(
    main, flags, table, tags, tiny, tmp_path, fast_stages
):
    fast_stages()
    run = tmp_path / "run"
    main(
        [
            *("--dataset", str(tags), "--multi-label"),
            *("--label-column", "tags", "--seeds", "1", *tiny, *flags),
            *("--output", str(run)),
        ]
    )
    rows = _rows(run / f"{table}.csv")
    assert rows and all(0 <= float(row["mean"]) <= 100 for row in rows)
    assert (
        "threshold of each class is chosen" in (run / f"{table}.md").read_text()
    )
    shapes = {
        np.load(path).shape[1] for path in (run / "probabilities").iterdir()
    }
    assert shapes == {2}


def test_rows_that_need_more_epochs_are_said_to_be_left_out(
    small_table, tiny, tmp_path, fast_stages, caplog
):
    fast_stages()
    run = tmp_path / "run"
    # One layer: an embedding, an LSTM and the head; chain-thaw takes four.
    ablation.main(
        [
            *("--dataset", str(small_table), *tiny, "--epochs", "3"),
            *("--rows", "chain-thaw,full", "--seeds", "1"),
            *("--output", str(run)),
        ]
    )
    by_name = {row["row"]: row for row in _rows(run / "ablation.csv")}
    assert by_name["full"]["mean"] and not by_name["chain-thaw"]["mean"]
    assert "not run" in (run / "ablation.md").read_text()
    with pytest.raises(UserError, match="chain-thaw"):
        ablation.main(
            [
                *("--dataset", str(small_table), *tiny, "--epochs", "3"),
                *("--rows", "chain-thaw", "--output", str(tmp_path / "b")),
            ]
        )
    assert not (tmp_path / "b").exists()


def test_a_row_needs_the_epochs_of_its_own_order(
    small_table, tiny, tmp_path, fast_stages
):
    """The full method's would be too few; all rows here are others."""
    trained = fast_stages()
    file = tmp_path / "scratch.json"
    file.write_text('{"unfreezing": "chain-thaw", "epochs": 2}')
    run = tmp_path / "run"
    ablation.main(
        [
            *("--dataset", str(small_table), *tiny, "--epochs", "2"),
            *("--scratch-recipe", str(file), "--seeds", "1"),
            *("--rows", "full,from-scratch", "--output", str(run)),
        ]
    )
    assert [recipe.unfreezing for recipe, _ in trained] == ["full"]
    rows = {row["row"]: row for row in _rows(run / "ablation.csv")}
    assert f"--scratch-recipe {file}" in rows["from-scratch"]["errors"]


def test_a_mistake_in_a_file_of_an_ablation_names_it(
    small_table, tiny, tmp_path
):
    file = tmp_path / "scratch.json"
    file.write_text('{"vocabulary_size": 16}')
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(UserError, match=rf"`--scratch-recipe {file}`: `--voc"),
    ):
        patch.setattr(preparation, "task_tokenizer", _no_room_for_new_weights)
        ablation.main(
            [
                *("--dataset", str(small_table), *tiny),
                *("--scratch-recipe", str(file), "--rows", "from-scratch"),
                *("--output", str(tmp_path / "run")),
            ]
        )


def _no_room_for_new_weights(texts, language_model, *arguments):
    if language_model is None:
        raise ValueError("no room")
    return task_tokenizer(texts, language_model, *arguments)


def test_a_baseline_that_would_look_at_more_labels_is_refused(
    small_table, tiny, tmp_path
):
    file = tmp_path / "scratch.json"
    file.write_text('{"early_stopping": 3}')
    with pytest.raises(UserError, match="early-stopping"):
        learning_curve.main(
            [
                *("--dataset", str(small_table), *tiny, "--sizes", "8"),
                *("--scratch-recipe", str(file)),
                *("--output", str(tmp_path / "run")),
            ]
        )


@pytest.mark.parametrize(
    "recipe, message",
    [
        ('{"unfreezing": "gradual"}', "gradual"),
        # Known only with the model's layers.
        ('{"unfreezing": "chain-thaw", "epochs": 2}', "Train for 4 epochs"),
    ],
)
def test_a_mistake_in_a_baseline_s_recipe_is_told_at_once(
    small_table, tiny, tmp_path, recipe, message
):
    file = tmp_path / "scratch.json"
    file.write_text(recipe)
    with pytest.raises(UserError, match=rf"`--scratch-recipe.*{message}"):
        learning_curve.main(
            [
                *("--dataset", str(small_table), *tiny, "--sizes", "8"),
                *("--scratch-recipe", str(file)),
                *("--output", str(tmp_path / "run")),
            ]
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ("--unfreezing", "full"),
        ("--schedule", "cosine"),
        ("--decay-factor", "1"),
        ("--language-model-ratio", "1"),
    ],
)
def test_what_rows_differ_in_cannot_be_set_for_all(
    small_table, tiny, tmp_path, flags
):
    with pytest.raises(UserError, match=f"{flags[0]}.*rows"):
        ablation.main(
            [
                *("--dataset", str(small_table), *tiny, *flags),
                *("--output", str(tmp_path / "run")),
            ]
        )
    assert not (tmp_path / "run").exists()


def test_without_stage_two_its_rows_are_not_trained(
    small_table, tiny, tmp_path, fast_stages
):
    trained = fast_stages()
    ablation.main(
        [
            *("--dataset", str(small_table), *tiny, "--seeds", "1"),
            *("--language-model-epochs", "0"),
            *("--rows", "lm-full,no-lm-fine-tuning,freez+discr+stlr"),
            *("--output", str(tmp_path / "run")),
        ]
    )
    assert len(trained) == 1
    rows = {r["row"]: r for r in _rows(tmp_path / "run" / "ablation.csv")}
    assert "same as the full method" in rows["lm-full"]["errors"]
    assert rows["freez+discr+stlr"]["seeds"] == "1"


def test_rows_and_seeds_of_another_process_stay_in_the_table(
    small_table, tiny, tmp_path, fast_stages, monkeypatch
):
    """The other begins later, with more to do, and ends first."""
    fast_stages()
    output = str(tmp_path / "run")
    original, begun = ablation._Ablation.measure, []

    def measure(self, row, seed):
        original(self, row, seed)
        if not begun:
            begun.append(row)
            more = ["--rows", "full+discr", "--seeds", "2"]
            ablation.main(["--resume", output, *more])

    monkeypatch.setattr(ablation._Ablation, "measure", measure)
    flags = [*tiny, "--rows", "full", "--seeds", "1", "--output", output]
    ablation.main(["--dataset", str(small_table), *flags])
    rows = {r["row"]: r for r in _rows(tmp_path / "run" / "ablation.csv")}
    assert rows["full+discr"]["seeds"] == "2" and rows["full"]["seeds"] == "1"


def test_a_process_with_less_to_do_takes_nothing_back(
    small_table, tiny, tmp_path, fast_stages
):
    fast_stages()
    output = str(tmp_path / "run")
    flags = [*tiny, "--rows", "full", "--seeds", "2", "--output", output]
    ablation.main(["--dataset", str(small_table), *flags])
    ablation.main(["--resume", output, "--rows", "full+discr", "--seeds", "1"])
    rows = _rows(tmp_path / "run" / "ablation.csv")
    assert [row["seeds"] for row in rows] == ["2", "2"]


def test_settings_of_processes_that_begin_together_add_up(
    small_table, tiny, tmp_path, fast_stages
):
    """One reads the folder, another goes ahead of it, then it writes."""
    fast_stages()
    output = str(tmp_path / "run")
    sizes = ["--sizes", "8,20", "--seeds", "1"]
    learning_curve.main(
        ["--dataset", str(small_table), *tiny, *sizes, "--output", output]
    )
    original, begun = Experiment.open, []

    def open_later(self, **facts):
        if not begun:
            begun.append(self)
            more = ["--scratch-sizes", "60", "--seeds", "2"]
            learning_curve.main(["--resume", output, *more])
        original(self, **facts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Experiment, "open", open_later)
        learning_curve.main(["--resume", output, "--scratch-sizes", "40"])
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["seeds"] == 2
    rows = _rows(tmp_path / "run" / "learning_curve.csv")
    assert [
        (row["labels"], row["seeds"])
        for row in rows
        if row["method"] == "from scratch"
    ] == [("8", "2"), ("20", "2"), ("40", "2"), ("60", "2")]
