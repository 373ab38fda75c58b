"""What all tests share: a quiet TensorFlow, a cache of their own, models small enough to build for each test."""

import os
import random

# Read once, when TensorFlow is first imported. Models of a few neurons gain nothing by a second thread.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

WORDS = (
    "a an the film movie plot actor scene story music is was and but not very so too this that it of in with for "
    "good great funny warm bright gorgeous moving witty bad dull slow cold weak boring awful flat "
    "i you we like love hate see think felt made one two best worst . , ! ?"
).split()
AS_SHIPPED = ("contracts", "distribution", "exporters", "serving")  # Folders whose tests have Grappler on.
PIECES = ["##s", "##ed", "##ing", "##ly", "##er"]


@pytest.fixture(autouse=True)
def cache_folder(request, monkeypatch, tmp_path_factory):
    """Keeps tests away from the user's downloads, except those marked `starter`, which need them."""
    if request.node.get_closest_marker("starter") is None:
        monkeypatch.setenv("KERASFT_HOME", str(tmp_path_factory.getbasetemp() / "kerasft_home"))


@pytest.fixture(autouse=True)
def graphs_as_traced(request):
    """Leaves out Grappler, a quarter of the time of a tiny `fit`; where what users get is tested, it is on."""
    import tensorflow as tf

    as_shipped = request.node.get_closest_marker("starter") or request.path.parent.name in AS_SHIPPED
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not as_shipped})


@pytest.fixture(autouse=True)
def fixed_seed(request):
    """Makes random weights the same in every run of a test that uses one of the tiny models."""
    if any(name.startswith("tiny_") for name in request.fixturenames):
        import keras

        keras.utils.set_random_seed(0)


@pytest.fixture
def enough_memory(monkeypatch):
    """What tests before left this process counts, and may be much."""
    monkeypatch.setattr("kerasft.memory.free", lambda: (10**12, 10**12))


@pytest.fixture
def tiny_bert(fixed_seed):
    """A `Pretrained` text encoder: WordPiece over `WORDS`, 2 layers, width 16, random weights.

    It is new in each test: methods freeze, wrap and train what they get.
    """
    return _tiny_bert()


@pytest.fixture
def tiny_gpt2(fixed_seed):
    """A `Pretrained` text decoder: byte-level BPE with two merges, 2 layers, width 16, random weights."""
    return _tiny_gpt2()


@pytest.fixture
def tiny_efficientnet(fixed_seed):
    """A `Pretrained` image backbone: EfficientNet with two blocks, for images of 32 x 32, random weights."""
    return _tiny_efficientnet()


@pytest.fixture(scope="session")
def make_tiny():
    """A function that makes a new `Pretrained` by name, the same each time: `make_tiny("bert", dropout=0.0)`.

    The names are "bert", "gpt2", "efficientnet" and "vit"; further arguments are those of the backbone.
    """
    makers = {"bert": _tiny_bert, "gpt2": _tiny_gpt2, "efficientnet": _tiny_efficientnet, "vit": _tiny_vit}

    def make(name, seed=0, **arguments):
        random.seed(seed)  # Keras's initializers draw from it.
        return makers[name](**arguments)

    return make


def _tiny_bert(**arguments):
    import keras_hub

    from kerasft.presets.base import Pretrained

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *PIECES]
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=len(vocabulary),
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=64,
        **arguments,
    )
    tokenizer = keras_hub.tokenizers.BertTokenizer(vocabulary=vocabulary, lowercase=True)
    return Pretrained(name="tiny_bert", backbone=backbone, modality="text", converter=tokenizer)


def _tiny_gpt2(**arguments):
    import keras_hub

    from kerasft.presets.base import Pretrained

    # Every byte has a token, so every text can be written; "Ġ" is how GPT-2 writes a space.
    symbols = _gpt2_symbols()
    tokens = [*symbols, "th", "the", "<|endoftext|>"]
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=len(tokens),
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=64,
        **arguments,
    )
    tokenizer = keras_hub.tokenizers.GPT2Tokenizer(
        vocabulary={token: index for index, token in enumerate(tokens)}, merges=["t h", "th e"]
    )
    return Pretrained(name="tiny_gpt2", backbone=backbone, modality="text", converter=tokenizer, causal=True)


def _tiny_efficientnet(**arguments):
    import keras_hub

    from kerasft.presets.base import Pretrained

    backbone = keras_hub.models.EfficientNetBackbone(
        stackwise_width_coefficients=[1.0, 1.0],
        stackwise_depth_coefficients=[1.0, 1.0],
        stackwise_kernel_sizes=[3, 3],
        stackwise_num_repeats=[1, 1],
        stackwise_input_filters=[8, 8],
        stackwise_output_filters=[8, 16],
        stackwise_expansion_ratios=[1, 2],
        stackwise_squeeze_and_excite_ratios=[0, 0],
        stackwise_strides=[1, 2],
        stackwise_block_types=["v1", "unfused"],
        stackwise_force_input_filters=[0, 0],
        stackwise_nores_option=[False, False],
        num_features=16,
        **{"input_shape": (32, 32, 3), **arguments},
    )
    converter = keras_hub.layers.EfficientNetImageConverter(
        image_size=(32, 32), scale=1 / 128, offset=-127 / 128, crop_to_aspect_ratio=True
    )
    return Pretrained(name="tiny_efficientnet", backbone=backbone, modality="image", converter=converter)


def _tiny_vit(**arguments):
    import keras_hub

    from kerasft.presets.base import Pretrained

    backbone = keras_hub.models.ViTBackbone(
        image_shape=(32, 32, 3), patch_size=16, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, **arguments
    )
    converter = keras_hub.layers.ViTImageConverter(image_size=(32, 32), scale=1 / 128, offset=-127 / 128)
    return Pretrained(name="tiny_vit", backbone=backbone, modality="image", converter=converter)


@pytest.fixture
def reviews():
    """Sixteen short film reviews, a list of `{"text": str, "label": "positive" | "negative"}`."""
    positive = ["good", "great", "funny", "warm", "bright", "gorgeous", "moving", "witty"]
    negative = ["bad", "dull", "slow", "cold", "weak", "boring", "awful", "flat"]
    rows = []
    for good, bad in zip(positive, negative, strict=True):
        rows.append({"text": f"a very {good} film , i love it !", "label": "positive"})
        rows.append({"text": f"the plot is {bad} .", "label": "negative"})
    return rows


@pytest.fixture
def png_images():
    """Eight PNG files as bytes, 40 x 36 RGB, and their labels: `(list of bytes, list of "dark" | "light")`."""
    import io

    from PIL import Image

    random = np.random.default_rng(0)
    labels = ["dark", "light"] * 4
    files = []
    for label in labels:
        low, high = (0, 100) if label == "dark" else (155, 255)
        buffer = io.BytesIO()
        Image.fromarray(random.integers(low, high, (36, 40, 3), dtype="uint8")).save(buffer, "PNG")
        files.append(buffer.getvalue())
    return files, labels


def _gpt2_symbols():
    """Returns the 256 characters by which byte-level BPE writes the bytes 0 to 255 (GPT-2's `bytes_to_unicode`)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    codes = {byte: byte for byte in printable} | {byte: 256 + index for index, byte in enumerate(others)}
    return [chr(codes[byte]) for byte in range(256)]
