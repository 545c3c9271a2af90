"""The language model command on a small text of the user's own."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from trainers import command_line, language_model
from trainers.command_line import UserError
from trainers.locks import run_locked
from ulmfit_tf import text
from ulmfit_tf.pretrained.curve import read_curve

_ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    questions = _ROOT / "ulmfit_tf" / "data" / "questions" / "train.tsv"
    lines = questions.read_text(encoding="utf-8").splitlines()[1:]
    path = tmp_path_factory.mktemp("corpus") / "questions.txt"
    path.write_text("\n".join(line.split("\t")[1] for line in lines))
    return path


@pytest.fixture(scope="module")
def shrunk(corpus):
    return [
        *("--corpus", str(corpus), "--preset", "tiny", "--batch-size", "4"),
        *("--validation-fraction", "0.1", "--sample-size", "64"),
        *("--direction", "backward", "--learning-rate", "0.01"),
        *("--schedule", "cosine", "--averaging", "exponential"),
        *("--averaging-decay", "0.9", "--checkpoint-seconds", "0"),
    ]


@pytest.fixture(scope="module")
def trained(language_model_command, shrunk, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / "run"
    return language_model_command.figures(
        *shrunk, "--epochs", "2", "--output", str(output)
    )


@pytest.mark.parametrize(
    ("tokenizer", "kind"),
    [
        ("word", text.WordTokenizer),
        ("sentencepiece", text.SentencePieceTokenizer),
    ],
)
def test_a_model_has_the_sizes_and_tokens_that_were_asked_for(
    language_model_command, corpus, tmp_path, tokenizer, kind
):
    from ulmfit_tf.pretrained import load_pretrained

    output = tmp_path / "run"
    language_model_command.figures(
        *("--corpus", str(corpus), "--sizes", "12,20,2", "--max-steps", "1"),
        *("--validation-fraction", "0.1", "--tokenizer", tokenizer),
        *("--vocabulary-size", "400", "--batch-size", "4"),
        *("--output", str(output)),
    )
    model = load_pretrained([str(output)], "forward")
    assert dataclasses.astuple(model.architecture) == (12, 20, 2)
    assert isinstance(model.tokenizer, kind)
    words = len(model.tokenizer.vocabulary)
    assert 300 < words <= 400
    assert model.weights["embedding"].shape == (words, 12)
    card = (output / "forward" / "model_card.md").read_text()
    assert "embedding 12, 2 LSTM\nlayers (hidden 20)" in card


def test_it_learns_and_leaves_a_model_that_loads(trained):
    from ulmfit_tf.pretrained import load_pretrained

    run_dir = pathlib.Path(trained["run_dir"])
    records = json.loads((run_dir / "metrics.json").read_text())["records"]
    perplexities = [record["val_perplexity"] for record in records]
    assert perplexities[-1] < perplexities[0]
    model = load_pretrained([str(run_dir)], "backward")
    # A uniform guess would be as bad as the vocabulary is large.
    assert perplexities[-1] < len(model.tokenizer.vocabulary)
    assert all(np.isfinite(a).all() for a in model.weights.values())
    with pytest.raises(ValueError, match="no pretrained forward"):
        load_pretrained([str(run_dir)], "forward")


def _events(folder):
    """Returns the TensorBoard events of a folder, by tag."""
    events = {}
    for path in folder.rglob("events.out.tfevents.*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                events.setdefault(value.tag, []).append(
                    tf.make_ndarray(value.tensor)
                )
    return events


def test_tensorboard_shows_figures_and_samples(trained):
    run_dir = pathlib.Path(trained["run_dir"])
    events = _events(run_dir / "training" / "logs")
    records = json.loads((run_dir / "metrics.json").read_text())["records"]
    for tag, name in (
        ("epoch_perplexity", "val_perplexity"),
        ("epoch_learning_rate/group_0", "learning_rate/group_0"),
    ):
        found = np.array([float(value) for value in events[tag]])
        for record in records:
            assert np.isclose(found, record[name], rtol=1e-5).any()
    # Keras' own, by names that count optimizers, stood beside the groups'.
    assert all("group_" in tag for tag in events if "rate" in tag)
    assert len(events["tokens_per_second"]) == len(records)
    assert all(rate > 0 for rate in events["tokens_per_second"])
    for texts in events["samples"]:
        assert len(texts) == 3 and len(set(texts)) > 1
        assert all(len(each.split()) > 5 for each in texts)


def test_the_best_averaged_weights_are_exported(trained):
    run_dir = pathlib.Path(trained["run_dir"])
    records = json.loads((run_dir / "metrics.json").read_text())["records"]
    best = min(record["val_perplexity"] for record in records)
    assert trained["validation_perplexity"] == pytest.approx(best, abs=1e-3)
    with (
        np.load(run_dir / "training" / "best_weights.npz") as best,
        np.load(run_dir / "backward" / "weights.npz") as exported,
    ):
        for name in exported.files:
            np.testing.assert_array_equal(exported[name], best[name])
        # The last report is the best here, and the state has both: the
        # weights that were trained, and their averages.
        with np.load(run_dir / "training" / "training_state.npz") as state:
            kept = {
                kind: [
                    state[name]
                    for name in state.files
                    if name.startswith(kind)
                    and state[name].shape == exported["embedding"].shape
                ]
                for kind in ("model", "callback")
            }
        (average,), (trained_one, *_) = kept["callback"], kept["model"]
        np.testing.assert_array_equal(exported["embedding"], average)
        assert np.any(trained_one != average)


def test_a_model_of_ones_own_generates(trained):
    figures = language_model.main(
        [
            *("--generate", "the river ?", "--direction", "backward"),
            *("--pretrained", trained["run_dir"], "--num-words", "9"),
        ]
    )
    assert figures["text"].endswith("the river?")
    assert len(figures["text"]) > len("the river?") + 9
    assert "xx" not in figures["text"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--search", "best"], "greedy"),
        (["--search", "beam", "--beam-size", "0"], "beam_size"),
        (["--seed", "-1"], "--seed"),
        (["--direction", "forward"], "no pretrained forward"),
    ],
)
def test_a_mistake_in_generating_is_named(trained, arguments, message):
    with pytest.raises(UserError, match=message):
        language_model.main(
            [
                *("--generate", "A", "--direction", "backward"),
                *("--pretrained", trained["run_dir"]),
                *arguments,
            ]
        )


def test_generating_refuses_what_it_would_not_use(refusal):
    message = refusal("--generate", "A", "--epochs=3", "--precision", "auto")
    assert "leave out --epochs, --precision" in message


def test_the_learning_rate_finder_suggests_and_plots(
    trained, corpus, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    model = pathlib.Path(trained["language_model"]) / "weights.npz"
    before = model.read_bytes()
    figures = language_model.main(
        [
            *("--corpus", str(corpus), "--output", str(tmp_path / "run")),
            *("--validation-fraction", "0.1", "--find-learning-rate"),
            *("--direction", "backward", "--batch-size", "4"),
            *("--pretrained", trained["run_dir"]),
        ]
    )
    # The rates that are tried go from 1e-7 to 10.
    assert 1e-7 < figures["steepest_learning_rate"] < 10
    assert 1e-8 < figures["minimum_tenth_learning_rate"] <= 1
    plot = pathlib.Path(figures["learning_rate_plot"])
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert plot.parent == tmp_path / "run"
    assert model.read_bytes() == before


def _results(run_dir):
    """Records of all epochs, and the final weights."""
    run_dir = pathlib.Path(run_dir)
    metrics = json.loads((run_dir / "metrics.json").read_text())
    with np.load(run_dir / "backward" / "weights.npz") as file:
        return metrics["records"], {name: file[name] for name in file.files}


def _assert_same_weights(actual, expected):
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(actual[name], array, err_msg=name)


def test_killed_in_mid_epoch_and_resumed_it_ends_the_same(
    trained, language_model_command, shrunk, tmp_path
):
    output = tmp_path / "killed"
    language_model_command.kill_in_training(
        "training", 1, *shrunk, "--epochs", "2", "--output", str(output)
    )
    assert not (output / "metrics.json").exists()
    resumed = language_model_command.figures("--resume", str(output))
    perplexity = "validation_perplexity"
    assert resumed[perplexity] == trained[perplexity]
    records, weights = _results(output)
    expected_records, expected_weights = _results(trained["run_dir"])
    assert records == expected_records
    _assert_same_weights(weights, expected_weights)


@pytest.mark.slow
def test_a_stable_run_killed_and_given_more_steps_is_one_of_that_many(
    language_model_command, shrunk, tmp_path
):
    stable = [*shrunk, "--schedule", "stable", "--epochs", "100"]
    reference = tmp_path / "reference"
    expected = language_model_command.figures(
        *stable, "--max-steps", "420", "--output", str(reference)
    )
    output = tmp_path / "killed"
    # Of 360 steps, so 10 parts of 36, the eighth has steps 252 to 288: the
    # rate is constant from step 200 to 288.
    language_model_command.kill_in_training(
        "training", 7, *stable, "--max-steps", "360", "--output", str(output)
    )
    config = (output / "config.json").read_bytes()
    refused = language_model_command.run(
        "--resume", str(output), "--max-steps", "300"
    )
    assert refused.returncode == 2
    assert "the run is at step 253; changed so, its rate" in refused.stderr
    assert (output / "config.json").read_bytes() == config
    resumed = language_model_command.figures(
        "--resume", str(output), "--max-steps", "420"
    )
    perplexity = "validation_perplexity"
    assert resumed[perplexity] == expected[perplexity]
    records, weights = _results(output)
    _assert_same_weights(weights, _results(reference)[1])
    # The first seven reports are 36 steps apart, the others 38: eleven parts.
    steps = [record["step"] for record in records]
    assert steps == [*range(36, 253, 36), *range(266, 419, 38)]
    curve = read_curve(resumed["language_model"])
    tokens = np.array([point.million_tokens for point in curve])
    np.testing.assert_allclose(tokens / tokens[-1], np.array(steps) / 418, 1e-5)
    # From here on the new number is the run's own.
    assert json.loads((output / "config.json").read_text())["max_steps"] == 420


@pytest.fixture
def refusal(caplog, capsys, monkeypatch, tmp_path):
    """Runs the command in this process; returns what it complains of."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            command_line.run(language_model.main, list(arguments))
        captured = capsys.readouterr()
        message = caplog.text + captured.err
        assert ended.value.code == 2, message
        assert "Traceback" not in message
        return message

    return run


def test_a_finished_run_resumed_gives_its_figures(
    trained, language_model_command
):
    figures = language_model_command.figures("--resume", trained["run_dir"])
    assert figures == trained


@pytest.mark.parametrize(
    "schedule, max_steps, expected",
    [
        ("slanted", "9", "needs a run of `--schedule stable`. This one has"),
        ("stable", "9", "the run is finished"),
        ("stable", "-1", "`--max-steps` must lie between 0 and"),
    ],
)
def test_other_steps_are_refused_where_rates_have_fallen(
    refusal, schedule, max_steps, expected, tmp_path
):
    config = {
        "command": "trainers.language_model",
        "run_version": 1,
        "pretrained": None,
        "schedule": schedule,
    }
    command_line.write_json(tmp_path / "run" / "config.json", config)
    command_line.write_json(tmp_path / "run" / "metrics.json", {"figures": {}})
    before = (tmp_path / "run" / "config.json").read_bytes()
    message = refusal(
        "--resume", str(tmp_path / "run"), "--max-steps", max_steps
    )
    assert expected in message
    assert (tmp_path / "run" / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    "arguments, message",
    [
        pytest.param(["--corpus", "wikitext-13"], "wikitext-103", id="name"),
        pytest.param(["--preset", "huge"], "compact", id="preset"),
        pytest.param(["--sizes", "300"], "300,512,3", id="one_size"),
        pytest.param(["--sizes", "16,24,0"], "300,512,3", id="no_layer"),
        pytest.param(["--sizes", "1,2,3,4"], "300,512,3", id="four_sizes"),
        pytest.param(["--sizes", "16x24"], "300,512,3", id="sizes_no_numbers"),
        pytest.param(
            ["--sizes", "16,24", "--preset", "tiny"],
            "either --preset or --sizes",
            id="sizes_and_preset",
        ),
        pytest.param(
            ["--pretrained", "compact", "--sizes", "400,800,3"],
            "--sizes: a --pretrained model has its own",
            id="sizes_of_pretrained",
        ),
        pytest.param(["--pretrained", "nowhere"], "nowhere", id="pretrained"),
        pytest.param(["--epochs", "0"], "--epochs", id="epochs"),
        pytest.param(["--max-steps", "-1"], "--max-steps", id="max_steps"),
        pytest.param(["--generate", "A"], "--corpus", id="generate"),
        pytest.param(
            ["--pretrained", "compact", "--preset", "paper"],
            "--preset: a --pretrained model has its own",
            id="preset_of_pretrained",
        ),
        pytest.param(
            ["--pretrained", "compact", "--tokenizer", "sentencepiece"],
            "--tokenizer: a --pretrained model has its own",
            id="tokenizer_of_pretrained",
        ),
        pytest.param(
            ["--no-extend-vocabulary"],
            "--no-extend-vocabulary: only with --pretrained",
            id="extend_nothing",
        ),
        pytest.param(["--top-k", "3"], "--top-k", id="generation_flag"),
    ],
)
def test_a_mistake_leaves_no_folder(
    refusal, corpus, arguments, message, tmp_path
):
    output = tmp_path / "run"
    assert message in refusal(
        *("--corpus", str(corpus), "--output", str(output)), *arguments
    )
    assert not output.exists()


@pytest.mark.parametrize("pattern", [".", "**/*.txt"])
def test_a_run_in_the_folder_of_its_texts_is_refused(
    refusal, corpus, monkeypatch, pattern
):
    monkeypatch.chdir(corpus.parent)
    message = refusal("--corpus", pattern, "--output", "runs/lm")
    assert "`--output runs/lm` lies in the folder of the corpus" in message
    assert not (corpus.parent / "runs").exists()


def test_a_run_at_work_is_left_alone(refusal, trained):
    run_dir = pathlib.Path(trained["run_dir"])
    metrics = run_dir / "metrics.json"
    metrics.rename(run_dir / "kept.json")
    try:
        with run_locked(run_dir):
            message = refusal("--resume", str(run_dir))
    finally:
        (run_dir / "kept.json").rename(metrics)
    assert "another process is at work on this run" in message


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--text-column", "review"], "review"),
        (["--validation-fraction", "0.001"], "`--validation-fraction`"),
        (
            ["--tokenizer", "sentencepiece", "--vocabulary-size", "17"],
            "`--vocabulary-size`",
        ),
    ],
    ids=["column", "little", "pieces"],
)
def test_after_a_mistake_the_folder_is_free(flags, message, tmp_path):
    """So that the corrected command can be given."""
    table = tmp_path / "texts.csv"
    table.write_text("text\n" + "A short text of a few words.\n" * 300)
    output = tmp_path / "run"
    arguments = ["--corpus", str(table), "--output", str(output)]
    with pytest.raises(command_line.USER_ERRORS, match=message):
        language_model.main([*arguments, "--preset", "tiny", *flags])
    assert not output.exists()
