"""Pretraining takes as much memory for four shards as for one."""

import itertools
import json
import lzma
import os
import pathlib
import subprocess
import sys

import pytest

_SHARDS = sorted(
    pathlib.Path(os.environ.get("ULMFIT_TF_DATA", "none")).glob(
        "wikipedia-en-2015/wiki-*.jsonl.xz"
    )
)
_ROOT = pathlib.Path(__file__).parents[2]
# Vocabulary, tokenizing and 20 steps; then the peak of the process, in KiB.
_SCRIPT = """
import json, resource, sys
from trainers import language_model
figures = language_model.main(sys.argv[1:])
figures["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps(figures))
"""


def _peak(shards, folder):
    """Returns the peak memory of a run on shards, in MiB."""
    result = subprocess.run(
        [
            *(sys.executable, "-c", _SCRIPT),
            *("--corpus", str(shards), "--output", str(folder / "run")),
            *("--preset", "tiny", "--max-steps", "20"),
            *("--validation-fraction", "0.002"),
        ],
        cwd=_ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])["peak"] / 1024


@pytest.mark.slow
@pytest.mark.skipif(len(_SHARDS) < 4, reason="needs wikipedia-en-2015")
def test_memory_is_flat_from_one_to_four_shards(tmp_path):
    # `DOCUMENTS_PER_SHARD=0` takes whole shards, and minutes.
    documents = int(os.environ.get("DOCUMENTS_PER_SHARD", 4000)) or None
    peaks = {}
    for count in (1, 4):
        folder = tmp_path / str(count)
        (folder / "texts").mkdir(parents=True)
        for shard in _SHARDS[:count]:
            with (
                lzma.open(shard, "rt", encoding="utf-8") as source,
                open(
                    folder / "texts" / shard.stem, "w", encoding="utf-8"
                ) as target,
            ):
                target.writelines(itertools.islice(source, documents))
        peaks[count] = _peak(folder / "texts", folder)
    print("peak MiB by shards:", peaks)
    assert peaks[4] < 1.1 * peaks[1], peaks
