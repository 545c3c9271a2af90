"""Finding, downloading and checking registered files."""

import hashlib

import pytest

from ulmfit_tf.data import DataError, download, load_dataset
from ulmfit_tf.data.http_transfer import TransferError
from ulmfit_tf.data.sources import Layout, Source, resolve

CONTENT = b"ABBR:exp What ?\n"
SOURCE = Source(
    name="tiny",
    folders=("tiny",),
    layouts=(Layout(("a.label",)),),
    addresses=("https://example.org/x/a.label",),
    sha256={"a.label": hashlib.sha256(CONTENT).hexdigest()},
)


class Network:
    """Stands in for `fetch_rest`; fails as often as told."""

    def __init__(self, failures, content=CONTENT):
        self.failures = list(failures)
        self.content = content
        self.attempts = 0

    def fetch_rest(self, address, partial, hash_is_known):
        self.attempts += 1
        if self.failures:
            raise self.failures.pop(0)
        partial.write_bytes(self.content)
        return False


@pytest.fixture
def network(monkeypatch):
    """Installs a `Network`."""

    def install(*arguments):
        installed = Network(*arguments)
        monkeypatch.setattr(download, "fetch_rest", installed.fetch_rest)
        return installed

    return install


def no_route():
    return TransferError("no route")


def test_an_official_file_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "a.label").write_bytes(CONTENT)
    monkeypatch.setattr(download, "sha256_of", refuse)
    with pytest.raises(DataError, match=r"a\.label. could not be read"):
        resolve(SOURCE, tmp_path)


@pytest.mark.parametrize("folder", ["~nobody-of-this-name/x", "x" * 300])
def test_data_folders_that_cannot_be_looked_up_are_refused(folder):
    with pytest.raises(DataError, match="does not exist"):
        resolve(SOURCE, folder)


def test_download_goes_to_the_cache_once(network, tmp_path):
    installed = network([])
    for _ in range(2):
        _, (path,) = resolve(SOURCE)
        assert path == tmp_path / "cache/ulmfit_tf/tiny/a.label"
        assert path.read_bytes() == CONTENT
    assert installed.attempts == 1
    assert [p.name for p in path.parent.iterdir()] == ["a.label"]


def test_order_of_places(network, write, monkeypatch, tmp_path):
    network([])
    monkeypatch.setenv("ULMFIT_TF_DATA", str(tmp_path / "env"))
    cache = tmp_path / "my_cache"
    _, found = resolve(SOURCE, cache_dir=cache)
    assert found == [cache / "tiny/a.label"]
    expected = write("env/a.label", CONTENT)
    assert resolve(SOURCE, cache_dir=cache)[1] == [expected]
    expected = write("mine/tiny/a.label", CONTENT)
    assert resolve(SOURCE, tmp_path / "mine", cache)[1] == [expected]


def test_failures_that_may_pass_are_retried(network):
    installed = network([no_route(), no_route()])
    resolve(SOURCE)
    assert installed.attempts == 3


def test_permanent_failures_are_not_retried(network):
    installed = network([TransferError("HTTP Error 404", may_pass=False)])
    with pytest.raises(DataError, match="HTTP Error 404"):
        resolve(SOURCE)
    assert installed.attempts == 1


def test_no_network_says_what_to_do(network, tmp_path):
    installed = network([no_route() for _ in range(9)])
    with pytest.raises(DataError) as error:
        load_dataset("trec6")
    assert installed.attempts == 3
    for part in (
        "`trec6` are not on this machine",
        "no route",
        "`https://cogcomp.seas.upenn.edu/Data/QA/QC/train_5500.label` and",
        "QC/TREC_10.label`",
        "`DIR/trec6/`",
        "`--data-dir DIR`",
        "ULMFIT_TF_DATA",
        "`--dataset questions`",
    ):
        assert part in str(error.value)
    assert list((tmp_path / "cache/ulmfit_tf/trec6").iterdir()) == []


def test_download_with_a_wrong_hash(network, tmp_path):
    installed = network([], b"something else")
    with pytest.raises(DataError, match="not the official file, and was del"):
        resolve(SOURCE)
    assert installed.attempts == 1
    assert list((tmp_path / "cache/ulmfit_tf/tiny").iterdir()) == []


def test_unwritable_cache(network, write):
    network([])
    with pytest.raises(DataError, match="could not be downloaded: .*Not a dir"):
        resolve(SOURCE, cache_dir=write("file", "x") / "cache")


def test_missing_data_folder(tmp_path):
    with pytest.raises(DataError, match="data folder.*nowhere.*not exist"):
        load_dataset("trec6", data_dir=tmp_path / "nowhere")
