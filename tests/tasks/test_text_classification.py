import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from kerasft import methods
from kerasft.data import base as data_sources
from kerasft.errors import UserError
from kerasft.model import FineTunedModel
from kerasft.pipeline import batching
from kerasft.tasks.text_classification import TextClassification
from kerasft.training import fit as training
from tests import families

# Tracing byte-level BPE takes seconds: of the decoders that have it, one is enough for every run.
QUICK = ("gpt2", "llama", "gemma", *(name for name in families.ENCODERS if name not in ("roberta", "roformer_v2")))


@pytest.mark.parametrize("family", families.quick_ones(families.FAMILIES, *QUICK))
def test_every_kind_of_backbone_trains_and_predicts(family, tmp_path):
    pretrained = families.make(family)
    task = TextClassification(dropout=0.0, sequence_length=32)
    rows = [{"text": text, "label": "ab"[i % 2]} for i, text in enumerate(families.TEXTS * 2)]
    frame = task.prepare(data_sources.load(rows))
    examples = task.examples(frame, task.preprocessor(pretrained))
    model = FineTunedModel(pretrained.backbone, task.head(pretrained))
    methods.Full().apply(model)

    def logits(batch):
        return model(batching_inputs(examples, batch)).numpy()

    together = logits(np.arange(4))
    for row in range(4):
        # Padding must not matter: the same text alone, and beside longer ones.
        np.testing.assert_allclose(logits(np.array([row]))[0], together[row], atol=1e-5, err_msg=families.TEXTS[row])
    assert np.ptp(together, axis=0).max() > 1e-3  # The text does matter.

    before = [weight.numpy() for weight in model.trainable_weights]
    settings = training.Settings(None, "constant", 1e-2, 1, 8, 0, str(tmp_path))
    training.fit(model, task, methods.Full().stages(model, 1), (examples, None), settings, list)
    changed = [not np.array_equal(a, w.numpy()) for a, w in zip(before, model.trainable_weights, strict=True)]
    names = [w.path for w, is_changed in zip(model.trainable_weights, changed, strict=True) if not is_changed]
    assert not [name for name in names if "embedding" not in name and "bias" not in name], names
    assert np.isfinite(logits(np.arange(4))).all()
    assert not np.allclose(logits(np.arange(4)), together, atol=1e-4)


def batching_inputs(examples, rows):
    ((inputs, _),) = batching.dataset(examples, lambda: [rows])
    return inputs


@pytest.fixture
def frame(reviews):
    return data_sources.load(reviews)


def pooled(pooling, tokens, mask):
    from kerasft.tasks._head import PooledHead

    head = PooledHead(2, ("tokens", "mask"), pooling)
    return head.pool({"tokens": tf.constant(tokens), "mask": tf.constant(mask)}).numpy()


def test_pooling():
    tokens = np.arange(24, dtype="float32").reshape(2, 4, 3)
    mask = np.array([[1, 1, 1, 0], [1, 0, 0, 0]])
    np.testing.assert_allclose(pooled("mean", tokens, mask), [tokens[0, :3].mean(0), tokens[1, 0]])
    np.testing.assert_allclose(pooled("first", tokens, mask), tokens[:, 0])
    np.testing.assert_allclose(pooled("last", tokens, mask), [tokens[0, 2], tokens[1, 0]])
    np.testing.assert_allclose(pooled("last", tokens, mask.astype(bool)), [tokens[0, 2], tokens[1, 0]])


@pytest.mark.parametrize(("pooling", "reads"), [("pooled", ("pooled",)), ("first", ("tokens", "mask"))])
def test_the_head_follows_pooling(tiny_bert, pooling, reads):
    head = TextClassification(["a", "b"], pooling=pooling).head(tiny_bert)
    assert (head.pooling, head.reads) == (pooling, reads)
    model = FineTunedModel(tiny_bert.backbone, head)
    assert ("pooled_dense" in [layer.name for layer in model.layers]) == (pooling == "pooled")


def test_a_backbone_without_a_pooler_is_told():
    roberta = families.make("roberta")
    with pytest.raises(UserError, match="tiny_roberta has no pooled output; pooling is mean, first, last. Received"):
        TextClassification(["a", "b"], pooling="pooled").head(roberta)


def test_auto_pooling(tiny_bert, tiny_gpt2):
    task = TextClassification(["a", "b"])
    assert task.head(tiny_bert).pooling == "mean"
    assert task.head(tiny_gpt2).pooling == "last"
    assert task.head(families.make("f_net")).pooling == "first"


def test_labels_are_learned_in_order(frame):
    task = TextClassification()
    task.prepare(frame)
    assert task.labels == ["negative", "positive"]
    assert task.targets(frame).tolist() == [1, 0] * 8


def test_given_labels_keep_their_order(frame):
    task = TextClassification(labels=["positive", "negative"])
    task.prepare(frame)
    assert task.targets(frame).tolist() == [0, 1] * 8


def test_labels_may_name_numbers():
    task = TextClassification(labels=["no", "yes"])
    frame = task.prepare(data_sources.load([{"text": "good", "label": 1}, {"text": "bad", "label": 0}]))
    assert task.targets(frame).tolist() == [1, 0]


def test_multi_label_targets_and_decoding():
    task = TextClassification(multi_label=True)
    rows = [{"text": "good", "label": "b|a"}, {"text": "bad", "label": ["c"]}, {"text": "so", "label": "a|b|c"}]
    frame = task.prepare(data_sources.load(rows))
    assert task.labels == ["a", "b", "c"]
    np.testing.assert_array_equal(task.targets(frame), [[1, 1, 0], [0, 0, 1], [1, 1, 1]])
    decoded = task.decode(tf.constant([[2.0, -1.0, 0.0], [-1.0, -2.0, -3.0]]))
    assert decoded["label"].numpy().tolist() == [b"a|c", b""]
    np.testing.assert_allclose(decoded["scores"], 1 / (1 + np.exp([[-2.0, 1, 0], [1, 2, 3]])), rtol=1e-5)
    np.testing.assert_allclose(decoded["score"], [1 / (1 + np.exp(-2.0)), 1 / (1 + np.e)], rtol=1e-5)


def test_decoding():
    decoded = TextClassification(labels=["a", "b", "c"]).decode(tf.constant([[1.0, 3.0, 2.0]]))
    expected = np.exp([1.0, 3, 2]) / np.exp([1.0, 3, 2]).sum()
    assert decoded["label"].numpy().tolist() == [b"b"]
    np.testing.assert_allclose(decoded["scores"][0], expected, rtol=1e-5)
    np.testing.assert_allclose(decoded["score"], expected[1:2], rtol=1e-5)


def test_other_column_names():
    task = TextClassification(columns={"text": "review", "label": "stars"})
    frame = task.prepare(data_sources.load(pd.DataFrame({"review": ["a", "b"] * 2, "stars": [1, 5] * 2})))
    assert list(frame) == ["text", "label"]
    assert task.labels == ["1", "5"]


@pytest.mark.parametrize(
    ("arguments", "rows", "part"),
    [
        ({}, [{"txt": "a", "label": "x"}], "has no column 'text'. Did you mean 'txt'?"),
        ({}, [{"text": "a", "labels": "x"}], "has no column 'label'. Did you mean 'labels'?"),
        ({"pair": True}, [{"text": "a", "label": "x"}], "has no column 'text_pair'"),
        ({}, [{"text": " ", "label": "x"}, {"text": "a", "label": "y"}], "row 1: text is blank"),
        ({}, [{"text": "a", "label": "x"}, {"text": None, "label": "y"}], "row 2: text is missing"),
        ({}, [{"text": 3, "label": "x"}], "row 1: text is not a string"),
        ({"labels": ["x", "y"]}, [{"text": "a", "label": "yy"}], "'yy' is not one of the labels. Did you mean 'y'?"),
        ({"labels": ["x", "y"]}, [{"text": "a", "label": None}], "label is missing"),
        ({}, [{"text": "a", "label": "x"}] * 3, "only one class, 'x'"),
        ({}, [{"text": str(i), "label": i / 7} for i in range(9)], "no label occurs twice"),
        (
            {},
            [{"text": "a", "label": ["x", "y"]}] * 2,
            "row 1: label is a list; rows of several",
        ),
    ],
)
def test_unusable_rows_are_named(arguments, rows, part):
    with pytest.raises(UserError) as error:
        TextClassification(**arguments).prepare(data_sources.load(rows))
    assert part in str(error.value)
    assert "Received: " in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"labels": ["a"]}, "two or more different names"),
        ({"labels": ["a", "a"]}, "two or more different names"),
        ({"labels": "ab"}, "labels must be a list"),
        ({"labels": [0, "0"]}, "two or more different names"),
        ({"pooling": "max"}, "pooling must be 'auto' or one of mean, first"),
        ({"sequence_length": 4}, "8 or more"),
        ({"sequence_length": "128"}, "must be a whole number"),
        ({"sequence_length": True}, "must be a whole number"),
        ({"dropout": 1.5}, "dropout must be 0 or more and below 1"),
        ({"dropout": "0.1"}, "dropout must be 0 or more and below 1"),
        ({"columns": ["text"]}, "columns must be a dict"),
    ],
)
def test_unusable_arguments_are_refused(arguments, part):
    with pytest.raises(UserError) as error:
        TextClassification(**arguments)
    assert part in str(error.value)
    assert "Received: " in str(error.value)


def test_a_length_beyond_the_backbone_is_refused(tiny_bert):
    with pytest.raises(UserError, match="tiny_bert reads 64 tokens at most. Received: sequence_length=65"):
        TextClassification(["a", "b"], sequence_length=65).preprocessor(tiny_bert)
    assert TextClassification(["a", "b"], sequence_length=64).preprocessor(tiny_bert).sequence_length == 64
    assert TextClassification(["a", "b"]).preprocessor(tiny_bert).sequence_length == 64


def test_inputs_of_predict():
    task = TextClassification(labels=["a", "b"])
    assert task.frame_of("good")["text"].tolist() == ["good"]
    assert task.frame_of(["good", "bad"])["text"].tolist() == ["good", "bad"]
    assert task.frame_of(np.array(["good"]))["text"].tolist() == ["good"]
    with pytest.raises(UserError, match="Each input must be text. Received: "):
        task.frame_of([("good", "bad")])
    pair = TextClassification(labels=["a", "b"], pair=True)
    assert pair.frame_of([("good", "bad"), ["a", "b"]])["text_pair"].tolist() == ["bad", "b"]
    assert pair.frame_of(("good", "bad"))["text_pair"].tolist() == ["bad"]
    with pytest.raises(UserError, match="Each input must be text and text_pair. Received: "):
        pair.frame_of(["good"])


def test_signature_and_request_have_the_same_names():
    for task in (TextClassification(["a", "b"]), TextClassification(["a", "b"], pair=True)):
        frame = task.frame_of([("x", "y")] if task.pair else ["x"])
        assert task.request(frame).keys() == task.signature().keys() == set(task.inputs)


def test_config_round_trip():
    made = TextClassification(["a", "b"], pair=True, pooling="first", sequence_length=32, multi_label=True, dropout=0.2)
    assert TextClassification(**made.get_config()).get_config() == made.get_config()
