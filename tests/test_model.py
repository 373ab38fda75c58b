import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from kerasft.errors import UserError
from kerasft.model import FineTunedModel, features
from kerasft.objectives.base import Objective
from kerasft.tasks.text_classification import ClassificationHead

TARGETS = np.array([0, 1, 1, 0, 1])
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def inputs(rows=5, width=6):
    ids = np.random.default_rng(0).integers(5, 40, (rows, width))
    return {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": np.ones_like(ids)}


@pytest.fixture
def model(tiny_bert):
    return FineTunedModel(tiny_bert.backbone, ClassificationHead(2, ("tokens", "mask")))


def test_features_of_an_encoder(tiny_bert):
    found = features(tiny_bert.backbone)
    assert found.keys() == {"tokens", "mask", "pooled"}
    assert found["tokens"].shape == (None, None, 16)
    assert found["pooled"].shape == (None, 16)
    assert found["mask"] is tiny_bert.backbone.input["padding_mask"]


def test_features_of_a_decoder_and_of_an_image_backbone(tiny_gpt2, tiny_efficientnet):
    assert features(tiny_gpt2.backbone).keys() == {"tokens", "mask"}
    assert features(tiny_efficientnet.backbone).keys() == {"image"}


def test_an_encoder_decoder_is_refused():
    small = {"num_layers": 1, "num_heads": 1, "hidden_dim": 4, "intermediate_dim": 4}
    bart = keras_hub.models.BartBackbone(vocabulary_size=8, **small)
    with pytest.raises(UserError, match="must be an encoder or a decoder, not both.*Received: 'bart_backbone"):
        features(bart)


def test_layers_keep_the_paths_of_the_backbone(tiny_bert, model):
    head = {weight.path for weight in model.head.weights}
    backbone = {weight.path for weight in tiny_bert.backbone.weights}
    own = {weight.path for weight in model.weights} - head
    assert head == {"head/logits/kernel", "head/logits/bias"}
    assert own <= backbone
    # No head reads the pooled output: a weight that gets no gradient would be trained on weight decay alone.
    assert {path.split("/")[0] for path in backbone - own} == {"pooled_dense"}
    assert model.head is model.get_layer("head")
    assert model.head not in model.backbone_layers


def test_it_is_an_ordinary_functional_model(model):
    assert isinstance(model, keras.Model)
    assert model(inputs()).shape == (5, 2)
    assert set(model.input) == {"token_ids", "segment_ids", "padding_mask"}


def test_loss_is_that_of_keras(model):
    logits = model(inputs())
    model.compile(loss=LOSS)
    np.testing.assert_allclose(model.compute_loss(None, TARGETS, logits), LOSS(TARGETS, logits), rtol=1e-6)


def test_rows_of_weight_0_are_no_rows(model):
    logits = model(inputs())
    model.compile(loss=LOSS)
    weighted = model.compute_loss(None, TARGETS, logits, np.array([1.0, 1, 0, 1, 0]))
    rows = [0, 1, 3]
    np.testing.assert_allclose(weighted, LOSS(TARGETS[rows], tf.gather(logits, rows)), rtol=1e-6)


def test_other_weights_are_those_of_keras(model):
    logits, weights = model(inputs()), np.array([1.0, 2.0, 0.5, 3.0, 1.0])
    model.compile(loss=LOSS)
    weighted = model.compute_loss(None, TARGETS, logits, weights)
    np.testing.assert_allclose(weighted, LOSS(TARGETS, logits, weights), rtol=1e-6)


def test_a_batch_without_a_real_row_is_no_loss(model):
    model.compile(loss=LOSS)
    assert float(model.compute_loss(None, TARGETS, model(inputs()), np.zeros(5))) == 0.0


def test_the_penalty_of_a_layer_does_not_depend_on_row_weights(model):
    model.head.logits.kernel.regularizer = keras.regularizers.L2(1.0)
    model.compile(loss=LOSS)
    logits, weights = model(inputs()), np.array([1.0, 0, 0, 0, 0])
    penalty = np.sum(np.square(model.head.logits.kernel.numpy()))
    loss = LOSS(TARGETS[:1], logits[:1]) + penalty
    np.testing.assert_allclose(model.compute_loss(None, TARGETS, logits, weights), loss, rtol=1e-6)


def test_the_loss_of_an_epoch_is_the_mean_over_real_rows(make_tiny):
    backbone = make_tiny("bert", dropout=0.0).backbone
    model = FineTunedModel(backbone, ClassificationHead(2, ("tokens", "mask"), dropout=0.0))
    model.compile(keras.optimizers.SGD(0.0), LOSS)
    rows = tf.data.Dataset.from_tensor_slices((inputs(), TARGETS, np.array([1.0, 1, 1, 1, 0]))).batch(2)
    expected = float(LOSS(TARGETS[:4], model(inputs())[:4]))
    np.testing.assert_allclose(model.evaluate(rows, verbose=0), expected, rtol=1e-5)
    np.testing.assert_allclose(model.fit(rows, epochs=2, verbose=0).history["loss"], [expected] * 2, rtol=1e-5)


def test_an_objective_is_a_term_of_the_training_loss_only(tiny_bert):
    class Two(Objective):
        name = "two"

        def __call__(self, model, x, y, y_pred):
            assert set(x) == {"token_ids", "segment_ids", "padding_mask"}
            return 2.0 * keras.ops.mean(keras.ops.ones_like(y_pred))

    model = FineTunedModel(tiny_bert.backbone, ClassificationHead(2, ("tokens", "mask"), dropout=0.0), [Two()])
    logits = model(inputs())
    model.compile(loss=LOSS)
    plain = float(LOSS(TARGETS, logits))
    assert float(model.compute_loss(inputs(), TARGETS, logits, training=False)) == pytest.approx(plain)
    assert float(model.compute_loss(inputs(), TARGETS, logits, training=True)) == pytest.approx(plain + 2)
    assert float(model.terms["two"].result()) == 2.0


def test_dropout_is_a_function_of_the_seed_alone(make_tiny):
    def drawn(seed, made_with):
        backbone = make_tiny("bert", seed=made_with).backbone
        model = FineTunedModel(backbone, ClassificationHead(2, ("tokens", "mask")))
        model.set_seed(seed)
        states = [v.numpy().tolist() for v in model.variables if v.path.endswith("seed_generator_state")]
        assert len({tuple(state) for state in states}) == len(states) > 4
        return states

    assert drawn(1, made_with=0) == drawn(1, made_with=5)
    assert drawn(1, made_with=0) != drawn(2, made_with=0)
