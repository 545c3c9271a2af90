"""Requests a second and latencies of a served classifier, beside fastai's.

    python -m benchmarks.serving_throughput [--peers-python PYTHON]

Serves a classifier with random weights by `serving.server` and asks it, one
text a request, by `serving.client`'s load test: processes of their own, as
in use. With the Python of an environment that has fastai, protobuf and
grpcio, the same architecture is served by fastai's `predict` behind the same
gRPC call (`benchmarks/peers/fastai_server.py`).
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

# Words of an IMDb review: median, and standard deviation of the logarithm,
# over the test split.
_REVIEW_MEDIAN, _REVIEW_SPREAD = 172, 0.64
_CLASSES = ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM")
_CLIENTS = (1, 8)
# The share of the most requests a second at which latency is looked at.
_LOAD = 0.7
_BATCHING = "max_batch_size { value: 64 } num_batch_threads { value: 2 }"
_PEER = pathlib.Path(__file__).parent / "peers" / "fastai_server.py"


def main(argv=None):
    """Measures and prints each row; returns them all."""
    arguments = _parser().parse_args(argv)
    rows = []

    def add(**row):
        rows.append(row)
        print(_line(row), flush=True)

    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        files = _write_documents(directory)
        model = arguments.model_base_path or _export(
            arguments.preset, directory / "model"
        )
        servers = {
            "ulmfit_tf": _own_command(model),
            "ulmfit_tf, batching": _own_command(
                model, _write(directory / "batching.config", _BATCHING)
            ),
        }
        if arguments.peers_python:
            servers["fastai"] = _peer_command(arguments, directory)
        for name, command in servers.items():
            with _running(command) as target:
                for documents, file in files.items():
                    _measure(add, arguments, name, documents, target, file)
    if arguments.output:
        _write(pathlib.Path(arguments.output), json.dumps(rows, indent=2))
    return rows


def _measure(add, arguments, server, documents, target, file):
    """Adds the rows of one server and one kind of documents."""
    for clients in _CLIENTS:
        figures = _load_test(target, file, arguments.seconds, clients)
        add(
            server=server,
            documents=documents,
            load=f"{clients} clients",
            **figures,
        )
    rate = round(_LOAD * figures["requests_per_second"], 2)
    for arrivals in ("constant", "poisson"):
        # More callers than ever wait: arrivals do not depend on answers.
        figures = _load_test(
            *(target, file, 2 * arguments.seconds, 64),
            *("--rate", str(rate), "--arrivals", arrivals),
        )
        add(
            server=server,
            documents=documents,
            load=f"{_LOAD:.0%} load, {arrivals}",
            **figures,
        )


def _load_test(target, file, seconds, callers, *options):
    process = subprocess.run(
        [
            *(sys.executable, "-m", "serving.client", "--target", target),
            *("--model", "model", "--file", str(file), "--batch-size", "1"),
            *("--load-test", str(seconds), "--max-in-flight", str(callers)),
            *options,
        ],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(process.stdout)


def _line(row):
    ratio = row["p99_ms"] / row["p50_ms"] if row["p50_ms"] else float("nan")
    return (
        f"{row['server']:20} {row['documents']:10} {row['load']:20}"
        f"{row['requests_per_second']:8.1f}/s  p50 {row['p50_ms']:8.1f} ms"
        f"  p99 {row['p99_ms']:8.1f} ms  p99/p50 {ratio:4.1f}"
        f"  errors {sum(row['errors'].values())}"
    )


@contextlib.contextmanager
def _running(command):
    """Starts a server that prints its address; yields the address."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(
                f"`{' '.join(command)}` ended with status {process.wait()}."
            )
        yield json.loads(line)["grpc"]
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def _own_command(model, batching=None):
    command = [sys.executable, "-m", "serving.server", "--port", "0"]
    command += ["--model-base-path", str(model), "--model-name", "model"]
    if batching:
        command += ["--enable-batching", "--batching-parameters-file"]
        command.append(str(batching))
    return command


def _peer_command(arguments, directory):
    from ulmfit_tf.models.presets import ARCHITECTURES

    sizes = dataclasses.astuple(ARCHITECTURES[arguments.preset])
    words = _write(directory / "words.txt", "\n".join(_words()))
    return [arguments.peers_python, str(_PEER), str(words), *map(str, sizes)]


def _words():
    """Words of the shipped model's vocabulary, without special tokens."""
    from ulmfit_tf import text

    tokens = _tokenizer().vocabulary.tokens
    return [word for word in tokens if word not in text.SPECIAL_TOKENS]


def _tokenizer():
    from ulmfit_tf.pretrained import load_pretrained

    return load_pretrained(["compact"], "forward").tokenizer


def _write_documents(directory):
    """Writes one text a line; returns the files by kind of document."""
    from ulmfit_tf import data

    questions = data.load_dataset("questions").test_texts
    rng = random.Random(0)
    reviews = []
    for _ in range(200):
        length = _REVIEW_MEDIAN * rng.lognormvariate(0, _REVIEW_SPREAD)
        words = []
        while len(words) < length:
            words += rng.choice(questions).split()
        reviews.append(" ".join(words[: round(length)]))
    return {
        name: _write(directory / f"{name}.txt", "\n".join(texts))
        for name, texts in (("questions", questions), ("reviews", reviews))
    }


def _write(path, content):
    path.write_text(content + "\n", encoding="utf-8")
    return path


def _export(preset, directory):
    """Exports a forward classifier with random weights."""
    from serving.saved_model import export_classifier
    from ulmfit_tf import models
    from ulmfit_tf.models.presets import ARCHITECTURES
    from ulmfit_tf.pretrained import TrainedClassifier

    settings = {
        "architecture": dataclasses.asdict(ARCHITECTURES[preset]),
        "head_units": 50,
        "chunk_length": 70,
        "pooled_length": 1400,
    }
    tokenizer = _tokenizer()
    model = models.TextClassifier(
        len(tokenizer.vocabulary), len(_CLASSES), **settings
    )
    model.build()
    weights = {
        name: variable.numpy()
        for name, variable in models.classifier_weights(model).items()
    }
    classifier = TrainedClassifier(
        _CLASSES, tokenizer, settings, {"forward": weights}
    )
    export_classifier(classifier, directory)
    return directory


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving_throughput",
        description="Throughput and latency of a served classifier.",
    )
    parser.add_argument(
        "--preset", choices=("tiny", "compact", "paper"), default="compact"
    )
    parser.add_argument(
        "--model-base-path",
        help="an exported model; by default one with random weights",
    )
    parser.add_argument(
        "--peers-python",
        default=os.environ.get("PEERS_PYTHON"),
        help="Python of an environment with fastai; without it ours is "
        "measured alone",
    )
    parser.add_argument(
        "--seconds", type=float, default=6.0, help="of a measurement"
    )
    parser.add_argument("--output", help="JSON file of the rows")
    return parser


if __name__ == "__main__":
    main()
