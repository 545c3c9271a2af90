"""The commands of the two READMEs fit together."""

import os
import pathlib
import re
import shlex

import pytest

import serving
from serving import client
from serving.server_arguments import parse_arguments

SERVING = pathlib.Path(serving.__file__).parent


def _arguments(path, module):
    """Arguments of the one command of a file that runs a module."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    (command,) = re.findall(rf"^python -m {module} (-.*)$", text, re.MULTILINE)
    return shlex.split(os.path.expandvars(command))


@pytest.mark.parametrize(
    "path", [SERVING.parent / "README.md", SERVING / "README.md"]
)
def test_the_client_asks_for_the_model_that_is_served(
    path, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", str(tmp_path))
    served = _arguments(path, "serving.server")
    base_path = served[served.index("--model-base-path") + 1]
    pathlib.Path(base_path).mkdir(parents=True)
    ((source,), options) = parse_arguments(served)
    asked = client._parser().parse_args(_arguments(path, "serving.client"))
    assert asked.model == source.name
    assert asked.target == f"localhost:{options.port}"
