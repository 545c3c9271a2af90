"""The operations that an export may consist of.

All are TensorFlow's own or TF Text's, both of which the stock TF Serving
links; none calls back into Python, needs a GPU, talks to other machines or
reads files besides the SavedModel's own. A graph with any other operation is
not published: a list of what is known to run cannot be outgrown, as a list
of what is forbidden can.
"""

# What a SavedModel's own loading and saving takes.
_VARIABLES = """
    AssignVariableOp DisableCopyOnRead MergeV2Checkpoints ReadVariableOp
    RestoreV2 SaveV2 ShardedFilename VarHandleOp VarIsInitializedOp
"""
_CONTROL = """
    Assert Case Const ControlTrigger Identity IdentityN If NoOp
    PartitionedCall Placeholder PlaceholderWithDefault PreventGradient
    StatefulPartitionedCall StatelessIf StatelessWhile StopGradient While
"""
_ARITHMETIC = """
    Abs Add AddN AddV2 All Any ArgMax ArgMin BatchMatMulV2 BiasAdd Cast
    Ceil Cumsum DenseBincount Equal Exp Floor FloorDiv FloorMod Greater
    GreaterEqual Less LessEqual Log LogSoftmax LogicalAnd LogicalNot
    LogicalOr MatMul Max Maximum Mean Min Minimum Mul Neg NotEqual Prod
    RealDiv Relu Round Rsqrt Select SelectV2 Sigmoid Sign Softmax Sqrt
    Square SquaredDifference Sub Sum Tanh
"""
_SHAPES = """
    BroadcastArgs BroadcastTo ConcatV2 ExpandDims Fill GatherNd GatherV2
    OnesLike Pack Pad PadV2 Range Rank Reshape ReverseV2 ScatterNd Shape Size
    Slice Split SplitV Squeeze StridedSlice TensorListFromTensor
    TensorListGetItem TensorListReserve TensorListSetItem TensorListStack
    TensorScatterUpdate Tile TopKV2 Transpose Unique Unpack Where ZerosLike
"""
_RAGGED = """
    RaggedGather RaggedRange RaggedTensorToTensor ReverseSequence
    UnsortedSegmentJoin UnsortedSegmentMax UnsortedSegmentSum
"""
_TEXT = """
    AsString HashTableV2 InitializeTableFromTextFileV2 LookupTableFindV2
    ParseExampleV2 RegexReplace StaticRegexFullMatch StaticRegexReplace
    StringJoin StringLength StringLower StringSplitV2 Substr
    TFText>FastSentencepieceTokenize UnicodeDecode UnicodeDecodeWithOffsets
    UnicodeEncode UnicodeTranscode
"""
ALLOWED_OPERATIONS = frozenset(
    " ".join(
        (_VARIABLES, _CONTROL, _ARITHMETIC, _SHAPES, _RAGGED, _TEXT)
    ).split()
)


def all_nodes(graph_def):
    """Returns the nodes of a graph and of its functions."""
    functions = graph_def.library.function
    return [
        *graph_def.node,
        *(node for function in functions for node in function.node_def),
    ]


def unknown_operations(meta_graph):
    """Returns operations that are not known to run in TF Serving.

    Args:
        meta_graph: `MetaGraphDef`.

    Returns:
        Sorted list of names of operations. A node that names a function of
        the graph, as calls in older graphs do, is none.
    """
    graph = meta_graph.graph_def
    own = {function.signature.name for function in graph.library.function}
    names = {node.op for node in all_nodes(graph)}
    return sorted(names - own - ALLOWED_OPERATIONS)
