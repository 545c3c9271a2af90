"""TF Serving's protocol, imported without importing TensorFlow.

The generated modules of tensorflow-serving-api need a few generated modules
inside the `tensorflow` package. Importing those runs that package's
`__init__`, which takes seconds and hundreds of megabytes and is not needed
for messages. So an empty package with the same path stands in its place
while they are imported; a later `import tensorflow` gets the real one.
"""

import importlib.util
import sys
import types


def _import_messages():
    from tensorflow_serving.apis import (
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )

    return predict_pb2, prediction_service_pb2_grpc, model_service_pb2_grpc


def _import_without_tensorflow():
    specification = importlib.util.find_spec("tensorflow")
    if "tensorflow" in sys.modules or specification is None:
        return _import_messages()
    package = types.ModuleType("tensorflow")
    package.__path__ = list(specification.submodule_search_locations or ())
    sys.modules["tensorflow"] = package
    try:
        return _import_messages()
    finally:
        # Another thread may have begun the real import meanwhile.
        if sys.modules.get("tensorflow") is package:
            del sys.modules["tensorflow"]


predict_pb2, prediction_service_pb2_grpc, model_service_pb2_grpc = (
    _import_without_tensorflow()
)
