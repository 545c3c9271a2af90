import ast
import pathlib
import re
import sys

import benchmarks

_ROOT = pathlib.Path(benchmarks.__file__).parent
# Packages whose modules have another name.
_PACKAGE = {"grpc": "grpcio", "google": "protobuf"}
# Comes with each of the others.
_WITH_OTHERS = {"numpy"}


def _imported(path):
    """Returns the packages that a script imports, at any place."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
    names = {name.split(".")[0] for name in found}
    names -= {*sys.stdlib_module_names, *_WITH_OTHERS, "benchmarks"}
    return {_PACKAGE.get(name, name) for name in names}


def test_what_runs_beside_the_peers_is_installed_with_them():
    lines = (_ROOT / "requirements-peers.txt").read_text().splitlines()
    installed = {re.match(r"[\w-]*", line)[0] for line in lines}
    scripts = [*_ROOT.glob("peers/*.py"), *_ROOT.glob("theirs/*.py")]
    assert scripts
    missing = {
        path.name: packages - installed
        for path in scripts
        if (packages := _imported(path)) - installed
    }
    assert missing == {}
