import hashlib
import importlib.metadata
import json
import pathlib
import platform
import re
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest

from serving import export, saved_model, self_check, session_model, staging
from serving.command_line import UserError


def test_a_version_holds_what_tf_serving_reads(model_directory):
    version = model_directory / "1"
    files = {
        str(path.relative_to(version))
        for path in version.rglob("*")
        if path.is_file()
    }
    assert files >= {
        "saved_model.pb",
        "variables/variables.index",
        "assets/vocabulary.txt",
        "assets.extra/tf_serving_warmup_requests",
        "export.json",
    }
    # Nothing half-written is left beside the version.
    assert [path.name for path in model_directory.iterdir()] == ["1"]


def test_export_json_describes_the_export(model_directory):
    version = model_directory / "1"
    description = json.loads((version / "export.json").read_text())
    assert description["classes"] == ["ABBR", "DESC", "ENTY"]
    assert description["directions"] == ["backward", "forward"]
    assert description["figures"] == {"test_error": 7.0}
    assert description["information"] == {"seed": 0}
    assert description["versions"] == {
        "python": platform.python_version(),
        "tensorflow": importlib.metadata.version("tensorflow"),
        "tensorflow-text": importlib.metadata.version("tensorflow-text"),
        "keras": importlib.metadata.version("keras"),
    }
    for name, sha256 in description["sha256"].items():
        content = (version / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == sha256
    assert "saved_model.pb" in description["sha256"]


def test_nothing_of_this_machine_is_exported(model_directory):
    assert self_check.foreign_paths(model_directory / "1") == []


@pytest.mark.parametrize(
    "path",
    [
        "/tmp/x/vocabulary.txt",
        "{sys.prefix}/lib/vocabulary.txt",
        "{self_check._ROOT}/vocabulary.txt",
        # No usual place, but it is there.
        "/proc/self/status",
    ],
)
def test_a_path_would_be_found(tmp_path, monkeypatch, path):
    monkeypatch.setattr(sys, "prefix", "/odd/environment")
    monkeypatch.setattr(self_check, "_ROOT", pathlib.Path("/odd/project"))
    path = path.format(sys=sys, self_check=self_check)
    content = b"\x12\x05classifier" + path.encode() + b"\x12\x07a/while/add"
    for name in ("saved_model.pb", "assets.extra/requests"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        assert self_check.foreign_paths(tmp_path) == [path]
        file.unlink()


def test_a_class_name_like_a_path_is_none(tmp_path):
    names = ("/home/garden", "/home/garden/tools", "shop/home/decor", "o")
    content = b"".join(b"\x12" + name.encode() for name in names)
    (tmp_path / "saved_model.pb").write_bytes(content + b"\x12/home/me/words")
    found = self_check.foreign_paths(tmp_path, names)
    assert found == ["/home/me/words"]
    # A class called by a stroke hides nothing.
    found = self_check.foreign_paths(tmp_path, [*names, "/", "/me"])
    assert found == ["/home/me/words"]


@pytest.fixture
def copied_export(model_directory, monkeypatch):
    """Makes writing an export fast: the one that exists is copied."""

    def copy(classifier, directory, *_):
        shutil.copytree(model_directory / "1", directory)

    monkeypatch.setattr(saved_model, "_write", copy)


@pytest.fixture
def unchecked(monkeypatch):
    monkeypatch.setattr(
        self_check, "check_in_fresh_process", lambda *arguments: None
    )


def test_an_export_that_answers_otherwise_is_not_published(
    classifier, copied_export, monkeypatch, tmp_path
):
    right = type(classifier).predict
    monkeypatch.setattr(
        type(classifier),
        "predict",
        lambda self, texts, **options: right(self, texts, **options) + 1e-4,
    )
    with pytest.raises(RuntimeError, match="differ from the trainer's"):
        saved_model.export_classifier(classifier, tmp_path / "model")
    assert list((tmp_path / "model").iterdir()) == []


def _hex(tokens):
    return [[token.hex() for token in row] for row in tokens]


def _check(classifier, directory, **changes):
    """Checks an export in this process; returns what is wrong."""
    texts = ["who wrote this", "What is the capital of France?", ""]
    question = {
        "directory": str(directory),
        "texts": [text.encode().hex() for text in texts],
        "probabilities": classifier.predict(texts).tolist(),
        "classes": list(classifier.classes),
        "decision": classifier.decision.as_dict(),
        "tolerance": 1e-5,
        "token_ids": classifier.tokenizer(texts).to_list(),
        "tokens": _hex(classifier.tokenizer.tokenize(texts).to_list()),
    }
    wrong = self_check._check({**question, **changes})
    # This process has it, unlike the one of the check.
    return [each for each in wrong if "needed ulmfit_tf" not in each]


def test_every_signature_is_compared(classifier, model_directory, monkeypatch):
    version = model_directory / "1"
    assert _check(classifier, version) == []
    (wrong,) = {
        message.split(",")[0][:10]
        for message in _check(classifier, version, token_ids=[[1], [2], [3]])
    }
    assert wrong == "tokens are"
    wrong = _check(classifier, version, tokens=_hex([[b"x"]] * 3))
    assert len(wrong) == 3
    assert all(each.startswith("the strings of tokens") for each in wrong)
    run = session_model.SessionModel.run

    def spoilt(self, name, inputs, *rest):
        outputs = run(self, name, inputs, *rest)
        if name == "classify":
            outputs["scores"] = outputs["scores"][:, ::-1]
        elif name == "serving_default":
            # No label that the probabilities say.
            outputs["label"] = np.full(len(outputs["label"]), b"no", object)
        return outputs

    monkeypatch.setattr(session_model.SessionModel, "run", spoilt)
    messages = " ".join(_check(classifier, version))
    assert "scores of classify differ" in messages
    assert "is not the trainer's" in messages


def test_a_check_that_hangs_ends(classifier, tmp_path, monkeypatch):
    monkeypatch.setattr(self_check, "_TIMEOUT_SECONDS", 0.01)
    with pytest.raises(RuntimeError, match="did not end within"):
        self_check.check_in_fresh_process(tmp_path, [], [], [], {})


def test_the_next_free_version_is_taken(
    classifier, copied_export, unchecked, tmp_path
):
    for name in ("1", "7", "notes", ".hidden"):
        (tmp_path / name).mkdir()
    version = saved_model.export_classifier(classifier, tmp_path)
    assert version == tmp_path / "8"


def test_a_version_is_never_overwritten(
    classifier, copied_export, unchecked, tmp_path
):
    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "kept").touch()
    with pytest.raises(FileExistsError, match="left as it is"):
        saved_model.export_classifier(classifier, tmp_path, version=3)
    assert [path.name for path in tmp_path.rglob("*")] == ["3", "kept"]


@pytest.mark.parametrize("version", [0, -1, "2", 1.5, 1 << 63])
def test_a_version_is_a_positive_integer(classifier, tmp_path, version):
    with pytest.raises(ValueError, match="positive integer"):
        saved_model.export_classifier(classifier, tmp_path, version=version)


@pytest.mark.parametrize(
    "arguments, message",
    [
        pytest.param(["--run-dir", "nowhere"], "run_dir", id="no_run"),
        pytest.param(
            ["--run-dir", ".", "--version", "0"],
            "positive integer",
            id="no_version",
        ),
        pytest.param(
            ["--run-dir", ".", "--version", str(1 << 63)],
            "63 bits",
            id="version_of_no_server",
        ),
    ],
)
def test_a_users_mistake_ends_with_status_2(arguments, message):
    process = subprocess.run(
        [sys.executable, "-m", "serving.export", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 2
    assert message in process.stderr
    assert "Traceback" not in process.stderr
    assert re.fullmatch(r"error: .+\n", process.stderr)


@pytest.mark.parametrize("content", [b'{"test_err', b"", b"\xff\xfe\xfa"])
def test_figures_that_cannot_be_read_are_told(content, monkeypatch, tmp_path):
    monkeypatch.setattr(export, "load_run_classifier", lambda run_dir: None)
    (tmp_path / "metrics.json").write_bytes(content)
    with pytest.raises(UserError, match=r"metrics\.json`.*cannot be read"):
        export.main(["--run-dir", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


@pytest.mark.slow
def test_the_command_exports_a_run(classifier, tmp_path):
    classifier.save_to_preset(tmp_path / "run" / "classifier")
    (tmp_path / "run" / "metrics.json").write_text('{"test_error": 3.5}')
    process = subprocess.run(
        [
            sys.executable,
            "-m",
            "serving.export",
            "--run-dir",
            str(tmp_path / "run"),
            "--version",
            "4",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    figures = json.loads(process.stdout.splitlines()[-1])
    version = tmp_path / "run" / "saved_model" / "4"
    assert figures["saved_model"] == str(version)
    assert figures["version"] == 4
    description = json.loads((version / "export.json").read_text())
    assert description["figures"] == {"test_error": 3.5}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float16", "int8"])
def test_smaller_weights_pass_their_check(classifier, precision, tmp_path):
    version = saved_model.export_classifier(
        classifier, tmp_path / "model", precision=precision
    )
    description = json.loads((version / "export.json").read_text())
    assert description["precision"] == precision


def test_a_version_may_exist_with_leading_zeros(
    classifier, copied_export, unchecked, tmp_path
):
    (tmp_path / "0007").mkdir()
    with pytest.raises(FileExistsError, match="0007"):
        saved_model.export_classifier(classifier, tmp_path, version=7)
    version = saved_model.export_classifier(classifier, tmp_path)
    assert version == tmp_path / "8"


def test_an_empty_folder_that_appears_meanwhile_is_not_replaced(
    classifier, copied_export, monkeypatch, tmp_path
):
    monkeypatch.setattr(
        self_check,
        "check_in_fresh_process",
        lambda *arguments: (tmp_path / "3").mkdir(),
    )
    with pytest.raises(FileExistsError, match="left as it is"):
        saved_model.export_classifier(classifier, tmp_path, version=3)
    assert list((tmp_path / "3").iterdir()) == []


def test_what_killed_exports_left_is_removed(tmp_path):
    code = (
        "import os, signal, sys; from serving import staging\n"
        "with staging.beside(sys.argv[1]) as folder:\n"
        "    (folder / 'written').mkdir()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path], check=False)
    (left,) = tmp_path.iterdir()
    elsewhere = tmp_path / ".export-elsewhere-999999999-x"
    elsewhere.mkdir()
    with staging.beside(tmp_path) as own, staging.beside(tmp_path) as other:
        assert set(tmp_path.iterdir()) == {elsewhere, own, other}
    assert not left.exists()
    assert list(tmp_path.iterdir()) == [elsewhere]


def test_what_others_write_is_let_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "node")
    # Of the machine node-7, and of one that sees other processes than here.
    of_another = tmp_path / ".export-node-7-4242-ab_c"
    of_a_container = tmp_path / ".export-node-999999999-ab_c"
    of_a_killed_one = tmp_path / ".export-node-999999998-ab_c"
    for folder in (of_another, of_a_container, of_a_killed_one):
        folder.mkdir()
    with staging._held(of_a_container), staging.beside(tmp_path) as own:
        assert set(tmp_path.iterdir()) == {of_another, of_a_container, own}
        # And this one is locked itself.
        with pytest.raises(OSError), staging._held(own):
            pass


def test_numbers_that_no_server_takes_are_passed_over(
    classifier, copied_export, unchecked, tmp_path
):
    (tmp_path / ("9" * 20)).mkdir()
    version = saved_model.export_classifier(classifier, tmp_path)
    assert version.name == "1"


def test_a_number_that_is_taken_at_the_last_moment_is_passed_over(
    classifier, copied_export, unchecked, tmp_path, monkeypatch
):
    versions, empty = staging.versions, [{}]
    (tmp_path / "1").mkdir()
    monkeypatch.setattr(
        staging,
        "versions",
        lambda path: empty.pop() if empty else versions(path),
    )
    version = saved_model.export_classifier(classifier, tmp_path)
    assert version.name == "2"


def test_another_backend_of_keras_is_told(classifier, tmp_path, monkeypatch):
    classifier.save_to_preset(tmp_path / "classifier")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(UserError, match="KERAS_BACKEND=tensorflow"):
        export.main(["--run-dir", str(tmp_path)])
