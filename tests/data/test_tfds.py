import numpy as np
import pandas as pd
import pytest

from kerasft.data.base import load
from kerasft.errors import UserError

TEXTS = ["good film", "dull film", "señal 中文", "no label"]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A folder for a dataset that is made here; defining its class is what gives it a name."""
    import tensorflow_datasets as tfds

    class KerasftTinyReviews(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = tmp_path_factory.mktemp("package")

        def _info(self):
            features = {
                "text": tfds.features.Text(),
                "image": tfds.features.Image(shape=(None, None, 3)),
                "label": tfds.features.ClassLabel(names=["negative", "positive"]),
            }
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for index, text in enumerate(TEXTS):
                label = [1, 0, 1, -1][index]
                yield index, {"text": text, "image": np.full((2, 3, 3), index, np.uint8), "label": label}

    return str(tmp_path_factory.mktemp("tfds"))


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    import socket

    def refuse(*args, **kwargs):
        raise AssertionError("tfds must not look for prepared data on the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_class_names_and_encoded_images(data_dir):
    frame = load({"name": "tfds", "dataset": "kerasft_tiny_reviews", "data_dir": data_dir}).sort_values("text")
    assert frame.attrs["origin"] == "kerasft_tiny_reviews/train"
    assert frame["text"].tolist() == sorted(TEXTS)
    labels = frame.set_index("text")["label"]
    assert labels.dropna().to_dict() == {"good film": "positive", "dull film": "negative", "señal 中文": "positive"}
    assert pd.isna(labels["no label"])
    assert all(image.startswith(b"\x89PNG") for image in frame["image"])


def test_split_with_a_slice(data_dir):
    frame = load({"name": "tfds", "dataset": "kerasft_tiny_reviews", "split": "train[:2]", "data_dir": data_dir})
    assert frame.index.tolist() == [1, 2]


def test_unknown_split_names_the_nearest(data_dir):
    with pytest.raises(UserError, match=r"no split 'trian'.* Did you mean 'train'\?(.|\n)*Received: split='trian'"):
        load({"name": "tfds", "dataset": "kerasft_tiny_reviews", "split": "trian", "data_dir": data_dir})


def test_unknown_dataset_names_the_nearest(data_dir):
    with pytest.raises(UserError, match=r"no 'imdb_review'\. Did you mean 'imdb_reviews'\? Received"):
        load({"name": "tfds", "dataset": "imdb_review", "data_dir": data_dir})
