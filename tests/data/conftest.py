"""No test of this folder reads the user's data or the network."""

import os

import pytest

from ulmfit_tf.data import download

REAL_DATA = os.environ.get("ULMFIT_TF_DATA")


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    """Empties the places data is looked for and makes downloads fail."""

    def unreachable(address, partial, hash_is_known):
        raise AssertionError(f"A test tried to download {address}.")

    monkeypatch.delenv("ULMFIT_TF_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "BACK_OFF_SECONDS", 0.0)
    monkeypatch.setattr(download, "fetch_rest", unreachable)


@pytest.fixture
def real_data():
    """Folder with the real public data, where a developer has it."""
    if not REAL_DATA:
        pytest.skip("needs $ULMFIT_TF_DATA")
    return REAL_DATA


@pytest.fixture
def write(tmp_path):
    """Writes a file below the test's folder and returns its path."""

    def write_file(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            content = content.encode()
        path.write_bytes(content)
        return path

    return write_file
