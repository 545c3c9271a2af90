"""What a language model run leaves and keeps, in this process."""

import argparse
import json
import shlex

import keras
import numpy as np
import pytest

from trainers import command_line, language_model, language_model_stage
from trainers.language_model_arguments import parse_arguments
from ulmfit_tf.pretrained import load_pretrained

_DOCUMENTS = [
    f"The cat number {number % 13} sat on mat {number % 7}, and so on."
    for number in range(400)
]
_FLAGS = [
    *("--preset", "tiny", "--batch-size", "4", "--validation-fraction", "0.1"),
    *("--precision", "float32", "--steps-per-report", "4"),
]


@pytest.fixture(scope="module", autouse=True)
def texts(folder):
    (folder / "texts.txt").write_text("\n".join(_DOCUMENTS))


@pytest.fixture(scope="module")
def arguments():
    return [
        *("--corpus", "texts.txt", "--output", "run", *_FLAGS),
        *("--max-steps", "8", "--stored-precision", "int8"),
    ]


@pytest.fixture(scope="module")
def run(folder, texts, arguments):
    language_model.main(arguments)
    return folder / "run"


def test_a_run_is_stored_as_it_was_asked_for(run):
    with (
        np.load(run / "training" / "best_weights.npz") as trained,
        np.load(run / "forward" / "weights.npz") as stored,
    ):
        assert stored["lstm_1/kernel"].dtype == np.int8
        assert stored["decoder/bias"].dtype == np.float16
        loaded = load_pretrained([str(run)]).weights
        for name, array in loaded.items():
            # Half of a step of an int8 row.
            bound = np.abs(trained[name]).max() / 127 / 2
            np.testing.assert_allclose(
                array, trained[name], atol=1.01 * bound + 1e-3
            )


def test_its_card_tells_what_can_be_known(run, arguments):
    card = (run / "forward" / "model_card.md").read_text()
    metrics = json.loads((run / "metrics.json").read_text())
    for record in metrics["records"]:
        assert f"| {record['val_perplexity']:.1f} |" in card
    curve = load_pretrained([str(run)]).curve
    # The curve is stored with six digits.
    assert [point.perplexity for point in curve] == pytest.approx(
        [record["val_perplexity"] for record in metrics["records"]], rel=1e-5
    )
    first, last = (point.million_tokens for point in curve)
    # Four steps of four rows of 70 tokens, more or less, and eight.
    assert first == pytest.approx(4 * 4 * 70e-6, rel=0.2)
    assert last == pytest.approx(2 * first, rel=1e-4)
    assert "Training: 8 steps" in card and "float32" in card
    assert "Weights stored as int8" in card
    command = next(
        line
        for line in card.splitlines()
        if line.startswith("python -m trainers.language_model ")
    )
    # The command that is named has the settings of the run.
    named = parse_arguments(shlex.split(command)[3:])
    assert named == parse_arguments(arguments)


def test_it_goes_on_from_another_folder(run, tmp_path, monkeypatch, folder):
    before = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").rename(tmp_path / "metrics.json")
    monkeypatch.chdir(tmp_path)
    language_model.main(["--resume", str(run)])
    after = json.loads((run / "metrics.json").read_text())
    assert after["records"] == before["records"]
    config = json.loads((run / "config.json").read_text())
    assert config["corpus"] == str(folder / "texts.txt")
    assert (config["policy"], config["replicas"]) == ("float32", 1)


def test_names_stay_and_paths_become_absolute(folder):
    settings = argparse.Namespace(
        corpus="wikitext-103", data_dir="data", pretrained=["compact", "run"]
    )
    assert language_model._absolute_paths(settings) == {
        "data_dir": str(folder / "data"),
        "pretrained": ["compact", str(folder / "run")],
    }


def test_a_run_that_diverges_is_stopped(tmp_path, monkeypatch, capsys, caplog):
    schedule = language_model_stage.schedule

    def failing(*arguments, **options):
        rates = schedule(*arguments, **options)

        class Failing(type(rates)):
            def __call__(self, step):
                # From the sixth step on the weights are not numbers.
                return keras.ops.where(step < 5, rates(step), float("nan"))

        return Failing.from_config(rates.get_config())

    monkeypatch.setattr(language_model_stage, "schedule", failing)
    output = tmp_path / "run"
    arguments = ["--corpus", "texts.txt", "--output", str(output), *_FLAGS]
    with pytest.raises(SystemExit) as ended:
        command_line.run(
            language_model.main, [*arguments, "--max-steps", "400"]
        )
    message = caplog.text + capsys.readouterr().err
    assert ended.value.code == 2 and "Traceback" not in message
    assert "at step 7: the training has diverged" in message
    assert "Lower the learning rate" in message
    with np.load(output / "training" / "best_weights.npz") as file:
        assert all(np.isfinite(file[name]).all() for name in file.files)


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_after_a_mistake_a_folder_of_the_user_s_stays(kind, tmp_path):
    (tmp_path / "own").mkdir()
    output = tmp_path / "own"
    if kind == "link":
        output = tmp_path / "link"
        output.symlink_to(tmp_path / "own")
    with pytest.raises(command_line.UserError, match="`--vocabulary-size`"):
        language_model.main(
            [
                *("--corpus", "texts.txt", "--output", str(output), *_FLAGS),
                *("--tokenizer", "sentencepiece", "--vocabulary-size", "17"),
            ]
        )
    assert output.is_symlink() == (kind == "link")
    assert output.is_dir() and not list(output.iterdir())


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--search", "greedy", "--temperature", "2"], "top-k or nucleus"),
        (["--search", "beam", "--top-p", "0.5"], "only for --search nucleus"),
        (["--top-k", "9"], "--top-k is only for --search top-k"),
        (["--beam-size", "2"], "only for --search beam"),
        (["--num-words", "0"], "`--num-words` must lie between 1 and"),
    ],
)
def test_generating_refuses_what_it_would_not_heed(
    flags, message, capsys, caplog
):
    with pytest.raises(SystemExit) as ended:
        command_line.run(language_model.main, ["--generate", "A", *flags])
    assert ended.value.code == 2
    assert message in caplog.text + capsys.readouterr().err
