"""Everything learns."""

from kerasft.fine_tuner import FineTuner


def test_every_weight_learns(tiny_bert):
    model = FineTuner("text_classification", tiny_bert, "full", labels=["a", "b"]).model
    assert not model.non_trainable_weights
    assert model.count_params() == sum(int(v.shape.num_elements()) for v in (w.value for w in model.trainable_weights))


def test_thaws_what_was_frozen_before(tiny_bert):
    tiny_bert.backbone.trainable = False
    model = FineTuner("text_classification", tiny_bert, "full", labels=["a", "b"]).model
    assert not model.non_trainable_weights
