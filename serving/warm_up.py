"""Requests that TF Serving replays before a version takes traffic."""

import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    predict_pb2,
    prediction_log_pb2,
)

from serving.served_classifier import TEXT_FEATURE


def write_warm_up(path, model_name, batches):
    """Writes warm-up requests: each batch to every signature.

    Args:
        path: Path of the TFRecord file; its folder is made.
        model_name: Str.
        batches: List of lists of str.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for texts in batches:
            for record in (
                _predict_log(model_name, "serving_default", texts),
                _predict_log(model_name, "tokens", texts),
                _classify_log(model_name, texts),
            ):
                writer.write(record.SerializeToString())


def _predict_log(model_name, signature_name, texts):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model_name
    request.model_spec.signature_name = signature_name
    request.inputs["text"].CopyFrom(tf.make_tensor_proto(texts, tf.string))
    return prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
    )


def _classify_log(model_name, texts):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = model_name
    request.model_spec.signature_name = "classify"
    for text in texts:
        example = request.input.example_list.examples.add()
        feature = example.features.feature[TEXT_FEATURE]
        feature.bytes_list.value.append(text.encode("utf-8"))
    return prediction_log_pb2.PredictionLog(
        classify_log=prediction_log_pb2.ClassifyLog(request=request)
    )
