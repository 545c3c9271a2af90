"""Commands that are killed at a chosen step, as a whole process."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]

# Kills itself as soon as the wanted training state is on disk.
_KILLED_IN_TRAINING = """
import importlib, os, signal, sys
from ulmfit_tf.training import resume
command, stage, epoch = sys.argv[1], sys.argv[2], int(sys.argv[3])
save = resume.TrainingState._save
def save_and_die(self):
    save(self)
    if self.path.parent.match(stage) and len(self.records) == epoch:
        # In the middle of the epoch.
        if self.step % self.steps_per_epoch:
            os.kill(os.getpid(), signal.SIGKILL)
resume.TrainingState._save = save_and_die
main = importlib.import_module(command).main
from trainers import command_line
command_line.run(main, sys.argv[4:])
"""

# Kills itself where a function is called.
_KILLED_AT = """
import importlib, os, signal, sys
def die(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)
command, module, function = sys.argv[1:4]
setattr(importlib.import_module(module), function, die)
main = importlib.import_module(command).main
from trainers import command_line
command_line.run(main, sys.argv[4:])
"""


class Command:
    """A command line, run in processes of its own.

    Args:
        module: Name of its module.
        cache: Folder for what it caches.
    """

    def __init__(self, module, cache):
        self.module = module
        self.environment = {
            **os.environ,
            "XDG_CACHE_HOME": str(cache),
            "PYTHONPATH": str(ROOT),
        }

    def run(self, *arguments):
        """Runs it to its end."""
        return self._run("-m", self.module, *arguments)

    def figures(self, *arguments):
        """Runs it to its good end and returns its last line."""
        result = self.run(*arguments)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout.splitlines()[-1])

    def kill_in_training(self, stage, epoch, *arguments):
        """Kills it in mid-epoch, counted from 0, of a stage's folder."""
        self._kill(_KILLED_IN_TRAINING, stage, str(epoch), *arguments)

    def kill_at(self, module, function, *arguments):
        """Kills it where it calls a module's function."""
        self._kill(_KILLED_AT, module, function, *arguments)

    def _kill(self, script, *arguments):
        result = self._run("-c", script, self.module, *arguments)
        assert result.returncode == -signal.SIGKILL, result.stderr

    def _run(self, *arguments):
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The working folder of a module that asks for it, its cache within."""
    folder = tmp_path_factory.mktemp("folder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="session")
def classifier_command(tmp_path_factory):
    return Command("trainers.classifier", tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def language_model_command(tmp_path_factory):
    return Command("trainers.language_model", tmp_path_factory.mktemp("cache"))
