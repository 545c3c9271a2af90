"""Sweeps, ablations and learning curves as a user runs them, shrunk."""

import csv
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from trainers import ablation, classifier, learning_curve, tune
from trainers.command_line import UserError
from ulmfit_tf import models, pretrained, text

_ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    """A tiny language model, forward only."""
    words = ["the", "a", "of", "is", "was", "bread", "team"]
    vocabulary = text.Vocabulary([*text.SPECIAL_TOKENS, *words])
    architecture = models.Architecture(8, 8, num_layers=1)
    model = models.LanguageModel(len(vocabulary), architecture, batch_size=1)
    model.build()
    folder = tmp_path_factory.mktemp("pretrained") / "tiny"
    pretrained.PretrainedLanguageModel(
        architecture,
        "forward",
        text.WordTokenizer(vocabulary),
        models.get_weights(models.language_model_weights(model)),
    ).save_to_preset(folder)
    return folder


@pytest.fixture(scope="module")
def flags(small_table, language_model):
    return [
        *("--dataset", str(small_table), "--precision", "float32"),
        *("--pretrained", str(language_model), "--unfreezing", "full"),
        *("--language-model-epochs", "1", "--epochs", "2"),
        *("--batch-size", "8", "--learning-rate", "0.05"),
    ]


def _of_rows(flags):
    """Flags for an ablation, whose rows have unfreezing of their own."""
    index = flags.index("--unfreezing")
    # Three groups, one after the other.
    return [*flags[:index], *flags[index + 2 :], "--epochs", "3"]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """Flags of a short training from scratch."""
    file = tmp_path_factory.mktemp("scratch") / "recipe.json"
    file.write_text('{"epochs": 2, "language_model_epochs": 1}')
    return ["--scratch-recipe", str(file)]


def _rows(path):
    with open(path) as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def sweep(flags, tmp_path_factory):
    output = tmp_path_factory.mktemp("tune") / "run"
    grid = ["--oracle", "grid", "--max-trials", "2", "--seeds", "2"]
    return tune.main([*flags, *grid, "--output", str(output)])


def test_a_sweep_leaves_table_plot_and_recipe(sweep):
    run = pathlib.Path(sweep["run_dir"])
    rows = _rows(run / "trials.csv")
    assert {row["decay_factor"] for row in rows} == {"2.6", "6.0"} or {
        row["decay_factor"] for row in rows
    } == {"1.0", "2.6"}
    means = [float(row["mean"]) for row in rows]
    assert means == sorted(means) and means[0] == sweep["validation_error"]
    assert all(len(row["errors"].split()) == 2 for row in rows)
    assert (run / "decay_factor.png").read_bytes()[1:4] == b"PNG"
    # What was searched and what the flags said, and no more.
    assert json.loads((run / "best_recipe.json").read_text()) == {
        "decay_factor": sweep["decay_factor"],
        "language_model_decay_factor": 2.6,
        "unfreezing": "full",
        "language_model_epochs": 1,
        "epochs": 2,
        "batch_size": 8,
        "learning_rate": 0.05,
    }
    # One stage two a seed, whatever the decay factor of stage three.
    assert len(list((run / "language_models").iterdir())) == 2
    events = list((run / "logs").glob("trial_*/seed_*/events*"))
    assert len(events) == 4
    # What TensorBoard's HParams page looks for.
    for path in events:
        assert b"_hparams_/session_start_info" in path.read_bytes()


def test_a_sweep_can_be_given_more_trials(sweep):
    run = pathlib.Path(sweep["run_dir"])
    before = (run / "cells.jsonl").read_text()
    # A finer grid has one point more; the others are not trained again.
    again = tune.main(["--resume", str(run), "--max-trials", "3"])
    assert again["trials"] == 3
    cells = (run / "cells.jsonl").read_text()
    assert cells.startswith(before)
    assert len(cells.splitlines()) == len(before.splitlines()) + 2
    factors = {row["decay_factor"] for row in _rows(run / "trials.csv")}
    assert len(factors) == 3 and "2.6" in factors


@pytest.mark.slow
def test_the_best_recipe_gives_the_classifier_the_trials_error(
    sweep, flags, tmp_path
):
    run = pathlib.Path(sweep["run_dir"])
    figures = classifier.main(
        [
            *flags[: flags.index("--unfreezing")],
            *("--recipe", str(run / "best_recipe.json")),
            *("--output", str(tmp_path / "run")),
        ]
    )
    # Of all trials: the sweep may have been given more.
    best = _rows(run / "trials.csv")[0]
    first_seed = float(best["errors"].split()[0])
    assert figures["validation_error"] == pytest.approx(first_seed, rel=1e-3)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["recipe"]["decay_factor"] == float(best["decay_factor"])


@pytest.mark.slow
def test_an_ablation_tells_of_rows_it_cannot_train_and_takes_more_seeds(
    flags, scratch, tmp_path
):
    output = str(tmp_path / "run")
    rows = "from-scratch,full+discr,backward"
    figures = ablation.main(
        [
            *(*_of_rows(flags), *scratch, "--rows", rows),
            *("--seeds", "1", "--output", output),
        ]
    )
    table = {row["row"]: row for row in _rows(tmp_path / "run/ablation.csv")}
    assert set(table) == set(rows.split(","))
    assert "has no backward language model" in table["backward"]["errors"]
    assert figures["rows"]["backward"] is None
    mean = float(table["full+discr"]["mean"])
    assert figures["rows"]["full+discr"] == mean
    before = (tmp_path / "run" / "cells.jsonl").read_text().splitlines()
    assert len(before) == 2
    more = ["--seeds", "2", "--rows", "from-scratch"]
    ablation.main(["--resume", output, *more])
    after = (tmp_path / "run" / "cells.jsonl").read_text().splitlines()
    assert after[:2] == before and len(after) == 3
    # Those of before stay in the table.
    table = {row["row"]: row for row in _rows(tmp_path / "run/ablation.csv")}
    assert set(table) == set(rows.split(","))
    assert table["from-scratch"]["seeds"] == "2"
    assert table["full+discr"]["seeds"] == "1"


@pytest.mark.slow
def test_a_learning_curve(flags, scratch, tmp_path):
    methods = "semi-supervised,from-scratch,linear"
    figures = learning_curve.main(
        [
            *flags,
            *scratch,
            *("--sizes", "40,12", "--seeds", "1", "--unlabelled-limit", "20"),
            *("--methods", methods, "--output", str(tmp_path / "run")),
        ]
    )
    rows = _rows(tmp_path / "run/learning_curve.csv")
    assert len(rows) == 3 * 2
    assert [row["labels"] for row in rows[:2]] == ["12", "40"]
    assert len(figures["sentences"]) == 1
    assert "40 labels match" in figures["sentences"][0]
    # The sizes have the same texts, and share stage two.
    assert len(list((tmp_path / "run/language_models").iterdir())) == 1
    before = (tmp_path / "run" / "cells.jsonl").read_text()
    again = learning_curve.main(["--resume", str(tmp_path / "run")])
    assert again["sentences"] == figures["sentences"]
    assert (tmp_path / "run" / "cells.jsonl").read_text() == before


@pytest.mark.parametrize(
    "main, arguments, message",
    [
        pytest.param(
            tune.main, ["--tune", "decay"], "takes fields", id="tune_field"
        ),
        pytest.param(
            tune.main,
            ["--tune", "epochs", "--oracle", "hyperband"],
            "chooses the epochs itself",
            id="hyperband_epochs",
        ),
        pytest.param(
            tune.main,
            ["--tune", "encoder_dropout", "--encoder-dropout", "0"],
            "logarithmic scale.*`--encoder-dropout`",
            id="nothing_on_a_logarithmic_scale",
        ),
        pytest.param(
            tune.main,
            ["--tune", "unfreezing"],
            "chain-thaw unfreezing takes 4 epochs or more",
            id="too_few_epochs",
        ),
        pytest.param(
            ablation.main, ["--rows", "ful"], "Did you mean `full`", id="row"
        ),
        pytest.param(
            ablation.main,
            ["--rows", "chain-thaw"],
            "row `chain-thaw`: unfreezing by 'chain-thaw'",
            id="row_too_few_epochs",
        ),
        pytest.param(
            learning_curve.main,
            ["--sizes", "10,x"],
            "`--sizes` takes numbers",
            id="sizes",
        ),
        pytest.param(
            learning_curve.main,
            ["--sizes", "10,100000"],
            "to keep 100000 labels",
            id="too_many_labels",
        ),
    ],
)
def test_a_mistake_leaves_no_folder(main, arguments, message, flags, tmp_path):
    from ulmfit_tf.data import DataError

    output = tmp_path / "run"
    if main is ablation.main:
        flags = _of_rows(flags)
    with pytest.raises((UserError, DataError), match=message):
        main([*flags, *arguments, "--output", str(output)])
    assert not output.exists()


def test_workers_need_all_of_kerastuners_variables(flags, monkeypatch):
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "worker0")
    with pytest.raises(UserError, match="KERASTUNER_ORACLE_IP"):
        tune.main([*flags, "--output", "unused"])
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "localhost")
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", "8000")
    with pytest.raises(UserError, match="the same `--output DIR`"):
        tune.main(flags)


def _start(arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "trainers.tune", *arguments],
        cwd=_ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _wait_for(process, condition):
    deadline = time.monotonic() + 300
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def _end(process):
    stdout, stderr = process.communicate(timeout=600)
    assert process.returncode == 0, stderr
    return json.loads(stdout.splitlines()[-1])


def _trials(run):
    lines = (pathlib.Path(run) / "trials.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    by_id = {record["key"]: record for record in records}
    assert len(by_id) == len(records)
    return by_id


def _check_same_results(run, expected):
    """The same trials, trained to the same classifiers, each once."""
    assert _trials(run) == _trials(expected)
    answers = {
        folder: {
            path.name: np.load(path)
            for path in (folder / "probabilities").iterdir()
        }
        for folder in (run, expected)
    }
    # A file's name is the key of the cell's content.
    assert set(answers[run]) == set(answers[expected])
    for name, probabilities in answers[expected].items():
        np.testing.assert_allclose(answers[run][name], probabilities, rtol=1e-5)
    assert len((run / "cells.jsonl").read_text().splitlines()) == 4


@pytest.fixture(scope="module")
def random_sweep(flags, tmp_path_factory):
    """Flags of a sweep, and the folder of one process that did it all."""
    arguments = [*flags, "--max-trials", "4", "--seeds", "1"]
    arguments += ["--checkpoint-seconds", "0"]
    output = tmp_path_factory.mktemp("random") / "run"
    _end(_start([*arguments, "--output", str(output)]))
    assert len(_trials(output)) == 4
    return arguments, output


def _place():
    """Where a chief may listen."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    return {
        "KERASTUNER_ORACLE_IP": "127.0.0.1",
        "KERASTUNER_ORACLE_PORT": port,
    }


@pytest.mark.slow
def test_a_chief_ends_when_its_last_worker_was_killed(random_sweep, tmp_path):
    arguments, expected = random_sweep
    run = tmp_path / "run"
    arguments = [*arguments, "--output", str(run), "--worker-timeout", "15"]
    place = _place()
    chief = _start(arguments, KERASTUNER_TUNER_ID="chief", **place)
    worker = _start(arguments, KERASTUNER_TUNER_ID="worker0", **place)
    try:
        _wait_for(worker, lambda: (run / "trials.jsonl").exists())
        worker.send_signal(signal.SIGKILL)
        worker.communicate()
        stdout, stderr = chief.communicate(timeout=120)
    finally:
        chief.kill()
        worker.kill()
    assert chief.returncode == 2 and not stdout
    assert "worker0 gave no sign of life" in stderr
    assert "Traceback" not in stderr
    assert len(_rows(run / "trials.csv")) == len(_trials(run)) < 4
    _end(_start(["--resume", str(run)]))
    _check_same_results(run, expected)


def test_a_worker_is_not_told_of_other_settings(sweep, flags, monkeypatch):
    for name, value in {**_place(), "KERASTUNER_TUNER_ID": "w0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="`--seeds` 1, and the run in .* has 2"):
        tune.main([*flags, "--seeds", "1", "--output", sweep["run_dir"]])


@pytest.mark.slow
def test_two_workers_give_the_trials_of_one_process(random_sweep, tmp_path):
    arguments, expected = random_sweep
    arguments = [*arguments, "--output", str(tmp_path / "run")]
    place = _place()
    processes = [
        _start(arguments, KERASTUNER_TUNER_ID=name, **place)
        for name in ("chief", "worker0", "worker1")
    ]
    try:
        chief, *workers = [_end(process) for process in processes]
    finally:
        for process in processes:
            process.kill()
    _check_same_results(tmp_path / "run", expected)
    assert chief["trials"] == 4
    assert {worker["worker"] for worker in workers} == {"worker0", "worker1"}


@pytest.mark.slow
def test_a_killed_sweep_goes_on_without_losing_or_repeating_a_trial(
    random_sweep, tmp_path
):
    arguments, expected = random_sweep
    run = tmp_path / "run"
    process = _start([*arguments, "--output", str(run)])
    # In the second trial: the first one's line is there.
    _wait_for(process, lambda: (run / "trials.jsonl").exists())
    _wait_for(
        process, lambda: list((run / "stages").rglob("training_state.npz"))
    )
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = set(_trials(run))
    assert 0 < len(done) < 4
    before = (run / "cells.jsonl").read_text()
    figures = _end(_start(["--resume", str(run)]))
    assert figures["trials"] == 4
    _check_same_results(run, expected)
    assert (run / "cells.jsonl").read_text().startswith(before)


def test_a_size_that_one_seed_cannot_draw_is_told_before_training(tmp_path):
    """With several labels a text, whether there are two of each is luck."""
    from ulmfit_tf.data import DataError

    rng = np.random.default_rng(0)
    labels = rng.random((400, 12)) < 0.15
    labels[~labels.any(axis=1), 0] = True
    rows = (
        f"text {i},{'|'.join(f'l{j}' for j in np.flatnonzero(each))}"
        for i, each in enumerate(labels)
    )
    path = tmp_path / "many.csv"
    path.write_text("\n".join(["text,label", *rows]) + "\n")
    command = ["--dataset", str(path), "--multi-label", "--methods", "linear"]
    refused = []
    for seeds in ("1", "3"):
        output = tmp_path / seeds
        flags = ["--sizes", "11,100", "--seeds", seeds, "--output", str(output)]
        try:
            learning_curve.main([*command, *flags])
        except DataError as error:
            assert "11 labels of" in str(error) and not output.exists()
            refused.append(seeds)
    assert refused == ["3"]
