import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasft import methods, remat
from kerasft.errors import UserError
from kerasft.methods.base import Stage
from kerasft.training import fit as training


def settings(made, **changes):
    given = {"optimizer": None, "schedule": "constant", "learning_rate": 1e-2, "epochs": 2, "batch_size": 8, "seed": 0}
    return training.Settings(**{**given, "directory": made.directory, **changes})


def train(made, callbacks=list, stages=None, validation=None, **changes):
    given = settings(made, **changes)
    stages = stages or methods.Full().stages(made.model, given.epochs)
    return training.fit(made.model, made.task, stages, (made.examples, validation), given, callbacks)


def test_every_row_is_trained_on_once_an_epoch_in_a_new_order(session, monkeypatch):
    made, seen = session(), []
    gather = type(made.examples).gather
    record = lambda self, rows, width: seen.append(rows.tolist()) or gather(self, rows, width)  # noqa: E731
    monkeypatch.setattr(type(made.examples), "gather", record)
    train(made, epochs=3)
    steps = training.batching.steps_per_epoch(len(made.examples), 8)
    assert steps == 3
    epochs = [seen[start : start + steps] for start in range(0, 3 * steps, steps)]
    for number, batches in enumerate(epochs):
        plan = training.batching.training_batches(made.examples, 8, 0, number)
        assert batches == [batch.tolist() for batch in plan]
        assert sorted(sum(batches, [])) == list(range(24))
    assert epochs[0] != epochs[1] != epochs[2]


def test_history_has_a_value_for_each_epoch(session):
    made = session()
    history = train(made, validation=made.examples, epochs=2)
    assert isinstance(history, keras.callbacks.History)
    assert history.epoch == [0, 1]
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= history.history.keys()
    assert {len(values) for values in history.history.values()} == {2}


def test_the_schedule_ends_with_the_last_step(session):
    made = session()
    train(made, schedule="linear", epochs=2)
    assert int(made.model.optimizer.iterations) == 6
    assert float(made.model.optimizer.learning_rate) == 0.0


def test_stages_compile_anew_and_share_one_history(session):
    made, rates = session(), []

    class Rates(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            rates.append((epoch, len(self.model.trainable_weights), self.params["epochs"]))

    stages = [Stage("head", 1, methods.LinearProbe().apply), Stage("all", 2, methods.Full().apply)]
    history = train(made, lambda: [Rates()], stages, epochs=3)
    assert rates == [(0, 2, 3), (1, len(made.model.trainable_weights), 3), (2, len(made.model.trainable_weights), 3)]
    assert len(history.history["loss"]) == 3
    assert int(made.model.optimizer.iterations) == 6


def test_early_stopping_ends_the_later_stages_too(session):
    made = session()

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    stages = [Stage("a", 2, methods.Full().apply), Stage("b", 2, methods.Full().apply)]
    assert len(train(made, lambda: [Stop()], stages).history["loss"]) == 1


def test_nothing_to_learn_is_refused(session):
    made = session()

    def freeze_all(model):
        for layer in model.layers:
            layer.trainable = False

    with pytest.raises(UserError, match="leaves nothing to learn"):
        train(made, stages=[Stage("none", 1, freeze_all)])


def test_an_optimizer_object_works_in_every_stage(session):
    made = session()
    stages = [Stage("head", 1, methods.LinearProbe().apply), Stage("all", 1, methods.Full().apply)]
    history = train(made, stages=stages, optimizer=keras.optimizers.SGD(0.1, momentum=0.9), schedule=None)
    assert len(history.history["loss"]) == 2
    assert type(made.model.optimizer) is keras.optimizers.SGD
    assert made.model.optimizer.momentum == 0.9


def test_float16_scales_the_loss(session):
    made = session()
    train(made, epochs=1, precision="mixed_float16")
    assert type(made.model.optimizer) is keras.optimizers.LossScaleOptimizer
    other = session()
    train(other, epochs=1)
    assert type(other.model.optimizer).__name__ == "AdamW"
    for one, two in zip(made.model.weights, other.model.weights, strict=True):
        np.testing.assert_allclose(one.numpy(), two.numpy(), atol=1e-4)


def test_it_learns(session):
    made = session()
    history = train(made, validation=made.examples, epochs=8)
    assert history.history["val_accuracy"][-1] == 1.0


def test_validation_is_over_all_rows(session):
    made = session()
    history = train(made, validation=made.examples, epochs=1, batch_size=9)
    outputs = made.model.predict(training.evaluation_dataset(made.examples, settings(made)), verbose=0)
    order = np.argsort(-made.examples.lengths, kind="stable")
    expected = made.task.loss()(made.examples.targets[order], outputs)
    assert history.history["val_loss"] == [pytest.approx(float(expected), rel=1e-5)]


def test_a_stage_that_continues_keeps_moments_and_schedule(session):
    """Two stages of which nothing changes but the name train as one does."""
    one, two = session(), session()
    train(one, schedule="linear", epochs=4)
    everything = methods.Full().apply
    stages = [Stage("first", 1, everything), Stage("second", 3, everything, continues=True)]
    train(two, stages=stages, schedule="linear", epochs=4)
    for left, right in zip(one.model.weights, two.model.weights, strict=True):
        np.testing.assert_array_equal(left.numpy(), right.numpy(), err_msg=left.path)


@pytest.mark.parametrize("optimizer", ["adamw", pytest.param("adam", marks=pytest.mark.slow)])
def test_weights_that_join_later_begin_to_count_then(session, optimizer):
    made = session()
    applies = methods.LinearProbe().apply, methods.Full().apply, methods.Full().apply
    stages = [Stage(str(n), 1, apply, continues=n > 0) for n, apply in enumerate(applies)]
    train(made, stages=stages, optimizer=optimizer)
    head = {id(variable) for variable in made.model.head.weights}
    steps = {id(variable) in head: made.model.optimizer.joined[id(variable)] for variable in made.model.weights}
    assert steps == {True: 0, False: 3}


def test_schedules_of_stages():
    stages = [Stage("a", 1, None), Stage("b", 2, None, continues=True), Stage("c", 4, None)]
    assert [training._schedule(stages, number) for number in range(3)] == [(0, 3), (0, 3), (2, 4)]


def test_a_stage_may_have_its_own_rate(session):
    made = session()
    train(made, stages=[Stage("slow", 1, methods.Full().apply, learning_rate=1e-4)], epochs=1)
    assert float(made.model.optimizer.learning_rate) == pytest.approx(1e-4)


def test_a_weight_keeps_its_own_rate_in_a_stage_with_another(session):
    made, path, rates = session(), "head/logits/kernel", []

    class Rates(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            rate, factors = float(self.model.optimizer.learning_rate), self.model.optimizer.factors
            rates.append((rate, rate * factors[id(self.model.head.logits.kernel)]))

    everything = methods.Full().apply
    stages = [Stage("slow", 1, everything, learning_rate=1e-4), Stage("fast", 1, everything)]
    train(made, lambda: [Rates()], stages, rates={path: 0.1})
    assert rates == [pytest.approx((1e-4, 0.1)), pytest.approx((1e-2, 0.1))]


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", {"name": "adam", "weight_decay": 0.5}])
def test_a_weight_of_rate_0_stays(session, optimizer):
    made = session()
    frozen = "token_embedding/embeddings"
    before = {weight.path: weight.numpy() for weight in made.model.weights}
    train(made, optimizer=optimizer, rates={frozen: 0.0}, epochs=1)
    still = {weight.path for weight in made.model.trainable_weights if np.array_equal(weight, before[weight.path])}
    assert still == {frozen}


def test_out_of_memory_names_what_needs_less(session):
    class Huge(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            tf.zeros([1 << 60], "int8")

    expected = r"Out of memory .*batch_size='auto'.*batch_size=4;.*Received: batch_size=8"
    with pytest.raises(UserError, match=expected):
        train(session(), lambda: [Huge()])


def test_what_needs_less_memory_is_named_where_it_helps(session):
    made = session()

    def less(rows, **changes):
        return list(training._needing_less(made.model, settings(made, **changes), rows))

    assert less(8) == [
        *("batch_size='auto', which is the same training", "batch_size=4", "precision='mixed_bfloat16'"),
        *("gradient_checkpointing=True", "a smaller sequence_length"),
        *("a method that trains fewer weights, such as lora", "a smaller backbone"),
    ]
    assert less(6, may_part=None, replicas=2)[0] == "batch_size=2"
    made.model.choose(methods.LinearProbe().apply)
    assert less(1, may_part=True, precision="mixed_float16") == ["a smaller sequence_length", "a smaller backbone"]
    made.model.choose(methods.Full().apply)
    remat.set_checkpointing(made.model, on=True)
    assert less(1, may_part=None)[:2] == ["precision='mixed_bfloat16'", "a smaller sequence_length"]
