import json

import pytest

from benchmarks import serving_throughput


@pytest.mark.slow
@pytest.mark.serving
def test_every_server_is_measured_at_every_load(tmp_path):
    path = tmp_path / "rows.json"
    serving_throughput.main(
        ["--preset", "tiny", "--seconds", "1", "--output", str(path)]
    )
    rows = json.loads(path.read_text())
    assert {row["server"] for row in rows} == {
        "ulmfit_tf",
        "ulmfit_tf, batching",
    }
    # Two kinds of documents; 1 and 8 clients, two kinds of arrivals.
    assert len(rows) == 2 * 2 * 4
    for row in rows:
        assert row["errors"] == {}
        assert 0 < row["p50_ms"] <= row["p99_ms"]
