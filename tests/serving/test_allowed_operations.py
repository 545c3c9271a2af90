import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from serving.allowed_operations import ALLOWED_OPERATIONS, unknown_operations


def _unknown_of(function):
    """Returns what is unknown of a function that a graph's function calls."""
    inner = tf.function(function, input_signature=[tf.TensorSpec([None])])
    outer = tf.function(lambda: inner([1.0])).get_concrete_function()
    meta_graph = tf.compat.v1.MetaGraphDef(graph_def=outer.graph.as_graph_def())
    return unknown_operations(meta_graph)


@pytest.mark.parametrize(
    "function, found",
    [
        (lambda x: tf.numpy_function(np.sort, [x], tf.float32), ["PyFunc"]),
        # Forbidden by nobody, and no part of a classifier either.
        (lambda x: tf.linalg.diag(x), ["MatrixDiagV3"]),
        (lambda x: tf.io.read_file(tf.strings.as_string(x[0])), ["ReadFile"]),
        (lambda x: tf.nn.relu(x) + tf.reduce_max(x), []),
    ],
)
def test_an_unknown_operation_is_found_in_functions(function, found):
    assert _unknown_of(function) == found


def test_calls_of_the_graphs_own_functions_are_known():
    graph_def = tf.compat.v1.GraphDef()
    function = graph_def.library.function.add()
    function.signature.name = "of_this_graph"
    graph_def.node.add(op="of_this_graph")
    graph_def.node.add(op="of_another")
    meta_graph = tf.compat.v1.MetaGraphDef(graph_def=graph_def)
    assert unknown_operations(meta_graph) == ["of_another"]


def test_all_are_tensorflows_own_or_tf_texts():
    # In a process that has not loaded TF Text, nor what other tests load.
    script = (
        "import sys\n"
        "from tensorflow.python.framework import op_def_registry\n"
        "names = sys.stdin.read().split()\n"
        "print(*(n for n in names if op_def_registry.get(n) is None))\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", script],
        input=" ".join(ALLOWED_OPERATIONS),
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.split() == ["TFText>FastSentencepieceTokenize"]


def test_none_leaves_the_process_or_reads_other_files():
    others = ("Py", "Cudnn", "Xla", "Nccl", "Tpu", "File", "Rpc", "Debug")
    allowed = {"InitializeTableFromTextFileV2", "ShardedFilename"}
    assert {
        name
        for name in ALLOWED_OPERATIONS
        if any(other in name for other in others)
    } == allowed
