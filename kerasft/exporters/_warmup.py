"""Requests that TensorFlow Serving runs before it answers others, so that the first user does not wait."""

import os

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
SIGNATURE = tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY


def write(folder, model_name, arrays):
    """Writes a request for each row, and one for all rows together.

    Args:
        folder: str. The SavedModel's.
        model_name: str. What the server calls the model.
        arrays: dict of arrays with one entry a row, strings or numbers, by the names of the signature's inputs.

    Source: https://www.tensorflow.org/tfx/serving/saved_model_warmup
    """
    rows = len(next(iter(arrays.values())))
    slices = [slice(row, row + 1) for row in range(rows)] + [slice(rows)] * (rows > 1)
    with tf.io.TFRecordWriter(os.path.join(folder, FILE)) as writer:
        for chosen in slices:
            request = _request(model_name, {name: values[chosen] for name, values in arrays.items()})
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())


def _request(model_name, arrays):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model_name
    request.model_spec.signature_name = SIGNATURE
    for name, values in arrays.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values, tf.string if values.dtype == object else None))
    return request
