"""Datasets of TensorFlow Datasets, by name."""

from kerasft.data.base import from_elements
from kerasft.errors import UserError, nearest


def read(dataset, split="train", data_dir=None):
    """Reads a split of a TensorFlow Datasets builder, which is downloaded and prepared if need be.

    Class numbers become class names, and images stay encoded until a batch needs them.

    Args:
        dataset: str. Such as `"imdb_reviews"` or `"glue/sst2"`.
        split: str. Such as `"train"` or `"train[:10%]"`.
        data_dir: str or None. Where prepared datasets lie; None is the library's own default.

    Returns: pandas.DataFrame, a column a feature. A class number of -1 (not labelled) is missing (NaN).
    Raises: UserError if there is no such dataset or split.
    Source: https://www.tensorflow.org/datasets/overview.
    """
    import tensorflow_datasets as tfds

    builder = _builder(dataset, data_dir)
    features = builder.info.features
    builder.download_and_prepare()
    skip = {name: tfds.decode.SkipDecoding() for name, kind in features.items() if type(kind) is tfds.features.Image}
    try:
        examples = builder.as_dataset(split=split, decoders=skip)
    except (ValueError, KeyError) as error:
        splits = list(builder.info.splits)
        raise UserError(
            f"{dataset} has no split {split!r}.{nearest(split, splits)} It has: {', '.join(splits)} ({error}). "
            f"Received: split={split!r}"
        ) from None
    frame = from_elements(tfds.as_numpy(examples), f"{dataset}/{split}")
    for name, kind in features.items():
        if isinstance(kind, tfds.features.ClassLabel) and name in frame:
            frame[name] = frame[name].map(lambda number, kind=kind: kind.int2str(number) if number >= 0 else None)
    return frame


def _builder(dataset, data_dir):
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(dataset, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        raise UserError(
            f"TensorFlow Datasets has no {dataset!r}.{nearest(dataset, tfds.list_builders())} Received: {dataset!r}"
        ) from None
