import contextlib

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from kerasft import weights
from kerasft.errors import UserError
from kerasft.model import FineTunedModel, encoder_of, features
from kerasft.objectives.base import Objective
from kerasft.tasks._head import PooledHead
from tests import families

TARGETS = np.array([0, 1, 1, 0, 1])
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def inputs(rows=5, width=6):
    ids = np.random.default_rng(0).integers(5, 40, (rows, width))
    return {"token_ids": ids, "segment_ids": np.zeros_like(ids), "padding_mask": np.ones_like(ids)}


@pytest.fixture
def model(tiny_bert):
    return FineTunedModel(tiny_bert.backbone, PooledHead(2, ("tokens", "mask")))


def test_weights_that_do_not_learn_are_kept_in_their_own_memory(model):
    model.get_layer("transformer_layer_0").trainable = False
    model.compile(keras.optimizers.SGD(0.1), LOSS)
    before = [weight.numpy() for weight in model.weights]
    kept = model.get_weights()
    shares = [np.may_share_memory(weights.view(v), value) for v, value in zip(model.weights, kept, strict=True)]
    assert shares == ["transformer_layer_0" in variable.path for variable in model.weights]
    model.get_layer("transformer_layer_0").trainable = True  # As in a later stage, which may restore the best.
    model.compile(keras.optimizers.SGD(0.1), LOSS)
    model.fit(inputs(), TARGETS, epochs=2, verbose=0)
    assert any((v.numpy() != value).any() for v, value in zip(model.weights, before, strict=True))
    model.set_weights(kept)
    for variable, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    with pytest.raises(ValueError, match="weight list of length"):
        model.set_weights(kept[:-1])


def test_a_file_that_cannot_be_loaded_is_not_written(model, tmp_path):
    with pytest.raises(UserError, match="tuner.save.*tuner.export.*save_weights_only=True"):
        model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.weights.h5")


def test_features_of_an_encoder(tiny_bert):
    found = features(tiny_bert.backbone)
    assert found.keys() == {"tokens", "mask", "pooled"}
    assert found["tokens"].shape == (None, None, 16)
    assert found["pooled"].shape == (None, 16)
    assert found["mask"] is tiny_bert.backbone.input["padding_mask"]


def test_an_image_in_a_dict_is_read_as_it_is():
    image = keras.Input((4, 4, 3), name="images")
    backbone = keras.Model({"images": image}, keras.layers.Conv2D(2, 3)(image))
    model = FineTunedModel(backbone, PooledHead(2, ("image",)))
    model.choose(lambda model: setattr(model.backbone_layers[0], "trainable", False))
    model.compile(keras.optimizers.SGD(0.1), LOSS)
    assert model.frozen is not None
    model.fit(np.ones((5, 4, 4, 3), "float32"), TARGETS, verbose=0)
    assert model.predict(np.ones((5, 4, 4, 3), "float32"), verbose=0).shape == (5, 2)


def test_features_of_a_decoder_and_of_an_image_backbone(tiny_gpt2, tiny_efficientnet):
    assert features(tiny_gpt2.backbone).keys() == {"tokens", "mask"}
    assert features(tiny_efficientnet.backbone).keys() == {"image"}


def test_of_an_encoder_decoder_the_decoders_tokens_are_features():
    small = {"num_layers": 1, "num_heads": 1, "hidden_dim": 4, "intermediate_dim": 4}
    bart = keras_hub.models.BartBackbone(vocabulary_size=8, **small)
    found = features(bart)
    assert found["tokens"] is bart.output["decoder_sequence_output"]
    assert found["mask"] is bart.input["decoder_padding_mask"]


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
    model = FineTunedModel(backbone, PooledHead(2, ("tokens", "mask"), dropout=0.0))
    model.compile(keras.optimizers.SGD(0.0), LOSS)
    rows = tf.data.Dataset.from_tensor_slices((inputs(), TARGETS, np.array([1.0, 1, 1, 1, 0]))).batch(2)
    expected = float(LOSS(TARGETS[:4], model(inputs())[:4]))
    np.testing.assert_allclose(model.evaluate(rows, verbose=0), expected, rtol=1e-5)
    np.testing.assert_allclose(model.fit(rows, epochs=2, verbose=0).history["loss"], [expected] * 2, rtol=1e-5)


def still(backbone, *objectives):
    """Returns a model without dropout, compiled for plain gradient descent of rate 1."""
    model = FineTunedModel(backbone, PooledHead(2, ("tokens", "mask"), dropout=0.0), objectives)
    model.compile(keras.optimizers.SGD(1.0), LOSS, run_eagerly=True)
    return model


def descended(model, x=None):
    """Returns the logs of one step and by how much it moved the weights that learn, the gradient."""
    before = [weight.numpy().copy() for weight in model.trainable_weights]
    logs = model.train_on_batch(x or inputs(), TARGETS, return_dict=True)
    logs = {name: float(value) for name, value in logs.items()}
    return logs, [b - w.numpy() for b, w in zip(before, model.trainable_weights, strict=True)]


class Two(Objective):
    """A term of 2, as a scalar or for each row."""

    name = "two"

    def __init__(self, by_row=False):
        self.by_row = by_row

    def __call__(self, model, x, y, y_pred, extra=None):
        assert set(x) == {"token_ids", "segment_ids", "padding_mask"}
        return 2.0 * keras.ops.ones_like(y_pred[:, 0]) if self.by_row else tf.constant(2.0)


@pytest.mark.parametrize("by_row", [True, False])
def test_an_objective_is_a_term_of_the_training_loss_only(make_tiny, by_row):
    model = still(make_tiny("bert", dropout=0.0).backbone, Two(by_row))
    plain = float(LOSS(TARGETS, model(inputs())))
    assert model.evaluate(inputs(), TARGETS, verbose=0, return_dict=True) == {"loss": pytest.approx(plain)}
    rows = tf.data.Dataset.from_tensors((inputs(), TARGETS, np.ones(5, "float32")))
    for data in ((inputs(), TARGETS), (rows,)):
        model.optimizer.learning_rate = 0.0
        assert model.fit(*data, verbose=0, batch_size=5).history == {"loss": [pytest.approx(plain + 2)], "two": [2.0]}


def test_changes_of_the_loss_wrap_each_other(make_tiny):
    class Squared(Objective):
        name = "squared"

        def loss(self, inner, y, y_pred):
            return inner(y, y_pred) ** 2

    class Doubled(Objective):
        name = "doubled"

        def loss(self, inner, y, y_pred):
            return 2 * inner(y, y_pred)

    model = still(make_tiny("bert", dropout=0.0).backbone, Doubled(), Squared())
    rows = keras.losses.sparse_categorical_crossentropy(TARGETS, model(inputs()), from_logits=True).numpy()
    np.testing.assert_allclose(model.row_losses(TARGETS, model(inputs())), (2 * rows) ** 2, rtol=1e-5)
    logs, _ = descended(model)
    np.testing.assert_allclose(logs["doubled"], rows.mean(), rtol=1e-5)
    np.testing.assert_allclose(logs["squared"], ((2 * rows) ** 2 - 2 * rows).mean(), rtol=1e-5)
    np.testing.assert_allclose(logs["loss"], ((2 * rows) ** 2).mean(), rtol=1e-5)


def test_forward_gives_the_model_and_the_terms_other_inputs(make_tiny):
    class Swapped(Objective):
        name = "swapped"
        has_term = False

        @contextlib.contextmanager
        def forward(self, model, x, y):
            yield {key: values[::-1] for key, values in x.items()}

    class Seen(Objective):
        name = "seen"

        def __call__(self, model, x, y, y_pred, extra=None):
            return tf.reduce_sum(tf.abs(model(x, training=True) - y_pred))

    model = still(make_tiny("bert", dropout=0.0).backbone, Swapped(), Seen())
    expected = float(LOSS(TARGETS[::-1], model(inputs())))
    logs, _ = descended(model)
    assert logs == {"loss": pytest.approx(expected, rel=1e-5), "seen": pytest.approx(0.0, abs=1e-5)}


def test_rows_are_counted_by_their_targets(make_tiny):
    class Pairs(Two):
        def __call__(self, model, x, y, y_pred, extra=None):
            return 2.0 * keras.ops.ones_like(y_pred[: len(y), 0])

    class OfFirst(keras.losses.Loss):
        def call(self, y_true, y_pred):
            return tf.reduce_sum(y_pred[: tf.shape(y_true)[0]], -1)

    model = still(make_tiny("bert", dropout=0.0).backbone, Pairs())
    model.compile(keras.optimizers.SGD(0.0), OfFirst(), run_eagerly=True)
    logs = model.train_on_batch(inputs(rows=6), TARGETS[:3], return_dict=True)
    assert float(logs["two"]) == 2.0


class Moved(Objective):
    """Takes the gradient where all weights are larger by `by`."""

    name = "moved"
    has_term = False

    def __init__(self, by):
        self.by = by

    def gradients(self, model, compute, values=None):
        values = values or [variable.value for variable in model.trainable_variables]
        return compute([value + self.by for value in values])


def test_gradients_may_be_taken_elsewhere(make_tiny):
    backbone = make_tiny("bert", dropout=0.0).backbone
    plain = still(backbone)
    start = plain.get_weights()
    moved = still(backbone, Moved(0.1), Moved(0.2))
    moved.set_weights(start)
    _, found = descended(moved)
    learned = {id(weight) for weight in plain.trainable_weights}
    plain.set_weights([w + 0.3 * (id(v) in learned) for w, v in zip(start, plain.weights, strict=True)])
    _, expected = descended(plain)
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, two, atol=2e-5)


@pytest.mark.parametrize("objectives", [[], [Moved(0.0)]])
def test_a_pass_leaves_statistics_and_seeds_behind_wherever_it_is_made(make_tiny, objectives):
    model = FineTunedModel(make_tiny("efficientnet").backbone, PooledHead(2, ("image",)), objectives)
    model.compile(keras.optimizers.SGD(0.0), LOSS)
    before = {variable.path: variable.numpy().copy() for variable in model.non_trainable_variables}
    model.fit(np.random.default_rng(0).random((4, 32, 32, 3)), np.array([0, 1, 0, 1]), verbose=0)
    after = {variable.path: variable.numpy() for variable in model.non_trainable_variables}
    moved = {path.split("/")[-1] for path in before if not np.array_equal(before[path], after[path])}
    assert moved == {"moving_mean", "moving_variance", "seed_generator_state"}


def test_what_a_batch_has_beside_it_goes_to_its_objective(make_tiny):
    class Beside(Objective):
        name = "beside"

        def __call__(self, model, x, y, y_pred, extra=None):
            return extra["number"]

    model = still(make_tiny("bert", dropout=0.0).backbone, Two(), Beside())
    batch = {"inputs": inputs(), "extras": {"beside": {"number": np.arange(5.0, dtype="float32")}}}
    rows = tf.data.Dataset.from_tensors((batch, TARGETS))
    assert model.fit(rows, verbose=0).history["beside"] == [2.0]


def test_dropout_is_a_function_of_the_seed_alone(make_tiny):
    def drawn(seed, made_with):
        backbone = make_tiny("bert", seed=made_with).backbone
        model = FineTunedModel(backbone, PooledHead(2, ("tokens", "mask")))
        model.set_seed(seed)
        states = [v.numpy().tolist() for v in model.variables if v.path.endswith("seed_generator_state")]
        assert len({tuple(state) for state in states}) == len(states) > 4
        return states

    assert drawn(1, made_with=0) == drawn(1, made_with=5)
    assert drawn(1, made_with=0) != drawn(2, made_with=0)


@pytest.mark.parametrize("name", families.ENCODER_DECODERS)
def test_an_encoder_of_an_encoder_with_a_decoder(name):
    whole, x = families.make(name).backbone, inputs()
    ids, mask = x["token_ids"] % 20 + 5, (np.arange(6) < [[6], [3], [4], [6], [1]]).astype("int32")
    both = {"encoder_token_ids": ids, "encoder_padding_mask": mask}
    expected = whole({**both, "decoder_token_ids": ids, "decoder_padding_mask": mask})["encoder_sequence_output"]
    encoder = encoder_of(whole)
    assert set(encoder.input) == {"token_ids", "padding_mask"}
    np.testing.assert_array_equal(encoder({"token_ids": ids, "padding_mask": mask}), expected)
    assert encoder.count_params() < whole.count_params() / 1.5
    assert not {id(layer) for layer in encoder.layers} & {id(layer) for layer in whole.layers}
    assert encoder_of(encoder) is encoder
