"""What a run does around its trainings."""

from trainers import run
from trainers.locks import run_locked


def test_only_what_a_killed_run_was_writing_is_removed(tmp_path):
    for name in (".classifier-x1", "classifier", "classifier_backup"):
        (tmp_path / name).mkdir()
    (tmp_path / "classifier.zip").touch()
    (tmp_path / "forward").mkdir()
    (tmp_path / "forward" / "language_model.npz.ab12.partial").touch()
    run._remove_unfinished(tmp_path)
    with run_locked(tmp_path):
        pass
    assert {path.name for path in tmp_path.rglob("*")} == {
        *("classifier", "classifier_backup", "classifier.zip"),
        *("forward", ".lock"),
    }
