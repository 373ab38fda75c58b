import types

import keras
import numpy as np
import pytest

from kerasft import deltas, methods
from kerasft.errors import UserError
from kerasft.model import FineTunedModel, encoder_of
from kerasft.optimizers import AdamW
from kerasft.schedules import Constant, Linear
from kerasft.tasks._head import PooledHead
from kerasft.training import optimizer
from tests import families


def make(given=None, schedule=None, learning_rate=0.1, total_steps=10):
    return optimizer.make(given, schedule, learning_rate, total_steps)


def rate(made):
    """Returns the learning rate of the first update."""
    return float(made.learning_rate)


def test_the_default_is_adamw_with_linear_decay():
    made = make()
    assert type(made) is AdamW
    assert made.weight_decay == 0.01
    assert made.clip_norm == 1.0
    schedule = keras.optimizers.schedules.deserialize(made.get_config()["learning_rate"])
    assert type(schedule) is Linear
    assert schedule.get_config() == {"learning_rate": 0.1, "total_steps": 10, "warmup": 0.1}


def test_names_and_dicts_of_ours_and_of_keras():
    assert make({"name": "adamw", "weight_decay": 0.3}).weight_decay == 0.3
    assert type(make("sgd")) is keras.optimizers.SGD
    made = make({"name": "SGD", "momentum": 0.9}, "constant")
    assert made.momentum == 0.9
    assert rate(made) == pytest.approx(0.1)


def test_schedules_by_name_dict_and_object():
    assert rate(make(schedule={"name": "linear", "warmup": 0.5})) == pytest.approx(0.02)
    assert rate(make(schedule="constant")) == pytest.approx(0.1)
    assert rate(make("sgd", Constant(0.7, 1))) == pytest.approx(0.7)
    assert rate(make(schedule=keras.optimizers.schedules.CosineDecay(0.3, 10))) == pytest.approx(0.3)


def test_an_object_is_copied_for_each_stage():
    given = keras.optimizers.Adam(0.02, beta_1=0.7, global_clipnorm=2.0)
    variables = [keras.Variable(np.ones(2))], [keras.Variable(np.ones(3))]
    for trained in variables:
        made = make(given)
        assert made is not given
        assert made.get_config() == given.get_config()
        made.build(trained)
    assert not given.built


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"optimizer": "adamm"}, "There is no optimizer 'adamm'. Did you mean 'adam'?"),
        ({"optimizer": "optimizer"}, "optimizer"),
        ({"optimizer": {"name": "sgd", "momentun": 0.9}}, "no argument 'momentun'. Did you mean 'momentum'?"),
        ({"optimizer": {"name": "sgd", "momentum": 5}}, "must be a float between"),
        ({"optimizer": {"name": "adamw", "decay": 0.9}}, "no argument 'decay'"),
        ({"optimizer": {"name": "sgd", "learning_rate": 1.0}}, "learning_rate is an argument of FineTuner"),
        ({"optimizer": {"momentum": 0.9}}, "There is no optimizer ''"),
        ({"optimizer": 5}, "optimizer must be a name"),
        ({"schedule": "cosin"}, "has no 'cosin'"),
        ({"schedule": {"name": "linear", "warm_up": 3}}, "no argument 'warm_up'"),
        ({"schedule": {"name": "linear", "learning_rate": 3}}, "learning_rate is an argument of FineTuner"),
        ({"schedule": 0.1}, "schedule must be a name"),
        ({"learning_rate": 0}, "above 0"),
        ({"learning_rate": -1e-3}, "above 0"),
        ({"learning_rate": float("nan")}, "above 0"),
        ({"learning_rate": float("inf")}, "above 0"),
        ({"learning_rate": "1e-4"}, "must be a number"),
        ({"learning_rate": {"head": -1e-3}}, "0 or more. Received: learning_rate={'head': -0.001}"),
        ({"learning_rate": {"head": float("nan")}}, "Received: learning_rate={'head': nan}"),
        ({"learning_rate": {"head": float("inf")}}, "Received: learning_rate={'head': inf}"),
        ({"learning_rate": {"head": "1e-3"}}, "Received: learning_rate={'head': '1e-3'}"),
        ({"learning_rate": {"head": None}}, "Received: learning_rate={'head': None}"),
        ({"learning_rate": {1: 1e-3}}, "dict of regular expression on the path: number"),
        ({"learning_rate": {"head": 1e-3, "(": 0}}, "learning_rate is not a regular expression"),
        ({"optimizer": keras.optimizers.SGD(), "learning_rate": {"head": 0.1}}, "learning rate of its own"),
        ({"optimizer": keras.optimizers.SGD(), "learning_rate": 0.1}, "learning rate of its own"),
        ({"optimizer": keras.optimizers.SGD(), "schedule": "linear"}, "learning rate of its own"),
        ({"schedule": Constant(0.1, 1), "learning_rate": 0.1}, "learning rate of its own"),
    ],
)
def test_what_cannot_be_used_is_refused(arguments, part):
    with pytest.raises(UserError) as error:
        optimizer.check(**{"optimizer": None, "schedule": None, "learning_rate": None, **arguments})
    assert part in str(error.value)
    assert "Received: " in str(error.value)


def test_what_can_be_used_is_not_refused():
    optimizer.check(None, None, None)
    optimizer.check("sgd", "constant", np.float32(0.1))
    optimizer.check(keras.optimizers.SGD(), None, None)
    optimizer.check("sgd", Constant(0.1, 1), None)
    optimizer.check(None, None, {"head": 1e-3, "^embed": 0})


@pytest.fixture
def model(tiny_bert):
    return FineTunedModel(tiny_bert.backbone, PooledHead(2, ("tokens", "mask")))


HEAD = ["head/logits/kernel", "head/logits/bias"]


@pytest.fixture
def probed(model):
    methods.LinearProbe().apply(model)
    return model


def test_rates_by_path(probed):
    """The last pattern that matches counts; a rate of 0 is allowed where nothing learns."""
    found = optimizer.rates_by_path(probed, {"head": 0.1, "bias$": 0.2, "token_embedding": 0})
    assert found[HEAD[0]] == 0.1
    assert found[HEAD[1]] == 0.2
    assert found["token_embedding/embeddings"] == 0
    assert "token_embedding/embeddings" not in optimizer.rates_by_path(probed, {"head": 0.1})


def test_the_rates_of_a_run(model):
    method = methods.Full(layer_decay=0.5)
    factors = method.rates(model)
    assert factors["transformer_layer_1/feedforward_output_dense/kernel"] == 0.5
    default, given, by_path = (
        optimizer.rates(rate, method, model, "text") for rate in (None, 1e-3, {"logits/bias": 0})
    )
    assert default == {"learning_rate": 5e-5, "factors": factors, "rates": {}}
    assert given == {"learning_rate": 1e-3, "factors": factors, "rates": {}}
    assert by_path == {"learning_rate": 5e-5, "factors": factors, "rates": {"head/logits/bias": 0}}


def test_rates_of_no_weight(model):
    with pytest.raises(UserError) as error:
        optimizer.rates_by_path(model, {"head": 0.1, "nowhere": 0.2})
    five = ", ".join(weight.path for weight in model.weights[:5])
    assert str(error.value) == (
        f"No weight has a path that matches. Paths look like: {five}. Received: learning_rate={{'nowhere': 0.2}}"
    )


def test_rates_of_weights_that_never_learn(probed):
    with pytest.raises(UserError, match=r"trains none of the .* head/logits/bias\. Received: .*'token_embedding': 0.2"):
        optimizer.rates_by_path(probed, {"token_embedding": 0.2})


@pytest.mark.parametrize("callback", [keras.callbacks.ReduceLROnPlateau(), keras.callbacks.LearningRateScheduler(max)])
def test_callbacks_that_set_the_rate_need_one_that_no_schedule_sets(callback):
    schedule = keras.optimizers.schedules.CosineDecay(0.3, 10)
    for given in (None, "sgd", {"name": "adamw"}, keras.optimizers.SGD(schedule)):
        with pytest.raises(
            UserError, match=f"{type(callback).__name__} needs an optimizer object.*Received: optimizer"
        ):
            optimizer.check_callbacks([callback], given)
        optimizer.check_callbacks([keras.callbacks.EarlyStopping()], given)
    optimizer.check_callbacks([callback], keras.optimizers.SGD(0.1))


@pytest.mark.parametrize("name", ["optimizer", "schedule"])
def test_a_stages_own_rate_goes_with_names_alone(model, name):
    given = {"optimizer": keras.optimizers.SGD(0.1), "schedule": Constant(0.1, 1)}[name]
    arguments = {"optimizer": "sgd", "schedule": "constant"}
    assert len(optimizer.stages(methods.LPFT(), model, 2, arguments)) == 2
    assert len(optimizer.stages(methods.GradualUnfreeze(), model, 2, {**arguments, name: given})) == 2
    with pytest.raises(UserError, match=f"give the {name} by name. Received: 0.005 and {name}={type(given).__name__}"):
        optimizer.stages(methods.LPFT(), model, 2, {**arguments, name: given})


def decayed(model):
    """Returns the paths of the weights that a step with gradients of 0 takes a twentieth off; the others stay."""
    weights = model.trainable_variables
    made = make({"name": "adamw", "weight_decay": 0.5}, "constant")
    optimizer.spare_from_decay(made, weights)
    made.build(weights)
    for weight in weights:
        weight.assign(np.ones(weight.shape))
    made.apply([np.zeros(weight.shape, "float32") for weight in weights])
    found = {weight.path for weight in weights if not np.array_equal(weight, np.ones(weight.shape))}
    for weight in weights:
        if weight.path in found:
            np.testing.assert_allclose(weight.numpy(), 0.95, rtol=1e-6, err_msg=weight.path)
    return found


def test_biases_and_normalisation_do_not_decay(model):
    last = {weight.path: weight.path.split("/")[-1] for weight in model.trainable_variables}
    assert decayed(model) == {path for path, name in last.items() if name not in ("bias", "gamma", "beta")}


def test_the_scales_of_t5_do_not_decay():
    head = PooledHead(2, ("tokens", "mask"))
    made = FineTunedModel(encoder_of(families.make("t5").backbone), head)
    names = {path.split("/")[-1] for path in decayed(made)}
    assert "weight" in {weight.path.split("/")[-1] for weight in made.trainable_variables}
    assert "weight" not in names and "kernel" in names


def test_what_multiplies_does_not_decay(model):
    methods.IA3().attach(model)
    methods.LoRA(use_dora=True).attach(model)
    deltas.train_only(model)
    names = {path.split("/")[-1] for path in decayed(model)}
    assert {weight.path.split("/")[-1] for weight in model.trainable_variables} - names == {"factor", "length", "bias"}
    assert names == {"a", "b", "kernel"}


def test_an_optimizer_without_decay_is_left_alone():
    made = make("sgd")
    optimizer.spare_from_decay(made, [keras.Variable(np.ones(2), name="bias")])
    made.build([])


@pytest.mark.parametrize(
    ("given", "schedule", "stated"),
    [
        (None, None, 0.1),
        ("sgd", {"name": "linear", "warmup": 0.5}, 0.1),
        (keras.optimizers.SGD(5e-5), None, 5e-5),
        (keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(5e-5)), None, 5e-5),
        (keras.optimizers.SGD(Constant(0.7, 1)), None, "the optimizer's own"),
        ("sgd", Constant(0.7, 1), "the schedule's own"),
    ],
)
def test_the_rate_that_is_stated(given, schedule, stated):
    settings = types.SimpleNamespace(optimizer=given, schedule=schedule, learning_rate=0.1)
    assert optimizer.stated_rate(settings) == stated
