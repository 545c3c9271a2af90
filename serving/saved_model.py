"""Publishes a trained classifier as a version that TF Serving loads."""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from serving import self_check, staging, warm_up
from serving.allowed_operations import all_nodes
from serving.served_classifier import ServedClassifier
from serving.session_model import WARM_UP_FILE
from serving.stored_weights import TOLERANCES
from ulmfit_tf.whole_files import sha256_of

_PACKAGES = ("tensorflow", "tensorflow-text", "keras")
_SAMPLE_TEXTS = (
    "",
    "What is the capital of France?",
    "who wrote this, and WHEN?",
    "A film that I would not see again -- not for $10!!!",
    "Straße, naïve, 東京, \U0001f600",
    "One sentence after another makes a document. " * 40,
)


def export_classifier(
    classifier,
    model_directory,
    version=None,
    sample_texts=(),
    figures=None,
    precision="float32",
):
    """Exports a classifier as a new version of a served model.

    The version is written beside its place, loaded from a moved folder in a
    fresh process, compared with `classifier.predict` and only then renamed
    into place, so that a server that watches the directory never sees half
    of one, or a wrong one.

    Args:
        classifier: `ulmfit_tf.pretrained.TrainedClassifier`.
        model_directory: Path of the model; its name is the model's.
        version: Optional int, by default one more than the highest.
        sample_texts: Sequence of str to compare answers on, besides those
            that are built in.
        figures: Optional dict, JSON-serializable, of the training run, kept
            in `export.json`.
        precision: Str, of the weights on disk, see `StoredWeights`.

    Returns:
        Path of the version, `model_directory/<version>`.

    Raises:
        ValueError: If `version` is not a positive integer.
        FileExistsError: If the version exists.
        RuntimeError: If the exported model fails its check.
    """
    model_directory = pathlib.Path(model_directory)
    if version is not None:
        _check_version(model_directory, version)
    model_directory.mkdir(parents=True, exist_ok=True)
    with staging.beside(model_directory) as beside:
        written = beside / "written"
        _write(classifier, written, model_directory.name, figures, precision)
        moved = written.rename(beside / "moved")
        texts = [*_SAMPLE_TEXTS, *sample_texts]
        self_check.check_in_fresh_process(
            moved,
            texts,
            classifier.predict(texts, portable=True),
            classifier.classes,
            classifier.decision.as_dict(),
            TOLERANCES[precision],
            classifier.tokenizer(texts).to_list(),
            classifier.tokenizer.tokenize(texts).to_list(),
        )
        return _publish(moved, model_directory, version)


def size_on_disk(version_directory):
    """Returns the bytes of all files of an exported version."""
    files = pathlib.Path(version_directory).rglob("*")
    return sum(path.stat().st_size for path in files if path.is_file())


def _check_version(model_directory, version):
    if not isinstance(version, int) or not (
        1 <= version <= staging.HIGHEST_VERSION
    ):
        raise ValueError(
            "`version` must be a positive integer of 63 bits: it names the "
            "version's folder, and servers prefer the highest. Received: "
            f"{version!r}."
        )
    if not model_directory.exists():
        return
    existing = staging.versions(model_directory).get(version)
    if existing is not None:
        raise FileExistsError(
            f"`{existing}` exists already and is left as it is. Choose "
            "another version, or none for the next free one."
        )


def _publish(moved, model_directory, version):
    """Renames a checked version into place."""
    while True:
        number = version or 1 + max(
            staging.versions(model_directory), default=0
        )
        target = model_directory / str(number)
        try:
            # Renaming would replace an empty folder.
            _check_version(model_directory, number)
            # Fails if another export has just taken the number.
            os.rename(moved, target)
            return target
        except OSError:
            # It is a `FileExistsError`, too.
            if version is not None or not target.exists():
                raise


def _write(classifier, directory, model_name, figures, precision):
    served = ServedClassifier(classifier, precision)
    tf.saved_model.save(
        served,
        str(directory),
        signatures=served.signatures(),
        options=tf.saved_model.SaveOptions(experimental_custom_gradients=False),
    )
    _finish(directory / "saved_model.pb")
    # One by one: a batch could be larger than the server's batching allows.
    samples = [text for text in _SAMPLE_TEXTS if text]
    warm_up.write_warm_up(
        directory / WARM_UP_FILE, model_name, [[text] for text in samples]
    )
    description = {
        "format": "ulmfit_tf.saved_model",
        "format_version": 1,
        "classes": list(classifier.classes),
        **classifier.decision.as_dict(),
        "directions": sorted(classifier.weights),
        "settings": classifier.settings,
        "precision": precision,
        "information": classifier.information,
        "figures": figures or {},
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
        "exported_at": datetime.datetime.now(datetime.UTC).isoformat(
            timespec="seconds"
        ),
        "sha256": {
            str(path.relative_to(directory)): sha256_of(path)
            for path in sorted(directory.rglob("*"))
            if path.is_file()
        },
    }
    (directory / "export.json").write_text(
        json.dumps(description, indent=2) + "\n"
    )


def _finish(path):
    """Says in the graph what `tf.saved_model.save` cannot.

    The method of `classify` is Classify, which TF Serving can be told to
    insist on. Lookup tables lose the path here from their names: TensorFlow
    names a table after the file that it was made from.
    """
    saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for meta_graph in saved_model.meta_graphs:
        signature = meta_graph.signature_def["classify"]
        signature.method_name = tf.saved_model.CLASSIFY_METHOD_NAME
        for node in all_nodes(meta_graph.graph_def):
            if node.op == "HashTableV2":
                name = os.path.basename(node.attr["shared_name"].s)
                node.attr["shared_name"].s = b"hash_table_" + name
    path.write_bytes(saved_model.SerializeToString(deterministic=True))
