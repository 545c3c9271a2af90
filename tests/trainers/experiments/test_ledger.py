import concurrent.futures

from trainers.experiments.ledger import Ledger


def test_what_was_appended_is_found_again(tmp_path):
    ledger = Ledger(tmp_path / "new" / "results.jsonl")
    assert ledger.find("a") is None
    ledger.append({"key": "a", "error": 1.5})
    ledger.append({"key": "b", "error": 2.5})
    assert Ledger(ledger.path).find("b") == {"key": "b", "error": 2.5}
    assert list(ledger.records()) == ["a", "b"]


def test_a_line_torn_by_a_kill_is_left_out_and_closed(tmp_path):
    ledger = Ledger(tmp_path / "results.jsonl")
    ledger.append({"key": "a", "error": 1.5})
    with open(ledger.path, "a") as file:
        file.write('{"key": "b", "err')
    assert list(ledger.records()) == ["a"]
    ledger.append({"key": "b", "error": 3.0})
    assert ledger.records()["b"] == {"key": "b", "error": 3.0}
    assert list(ledger.records()) == ["a", "b"]


def _append(path, worker):
    ledger = Ledger(path)
    for index in range(50):
        ledger.append({"key": f"{worker}-{index}", "text": "x" * 500})


def test_several_processes_share_a_ledger(tmp_path):
    path = tmp_path / "results.jsonl"
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        # Threads: each append opens the file anew, as a process would.
        list(pool.map(lambda worker: _append(path, worker), range(4)))
    assert len(Ledger(path).records()) == 200
