import numpy as np
import pytest
import tensorflow as tf

import kerasft
from kerasft.data import base as data_sources
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner
from kerasft.pipeline import batching, masks
from kerasft.tasks.masked_lm import MaskedLm
from tests import families

TEXTS = [{"text": text} for text in ["a good film", "a bad plot", "the music was warm", "the actor was cold"] * 4]


@pytest.fixture
def examples(make_tiny):
    tuner = FineTuner("masked_lm", make_tiny("bert"), share=0.4)
    frame = tuner.task.prepare(
        data_sources.load([{"text": "so the actor was moving slowly and warmly . " * 12}, *TEXTS])
    )
    return tuner.task.examples(frame, tuner.preprocessor)


def test_words_are_hidden_as_wholes_and_can_be_told(examples):
    rows, width = np.arange(len(examples)), 64
    inputs, (targets, weights) = examples.gather(rows, width), examples.gather_targets(rows, width)
    plain = super(masks.Masked, examples).gather(rows, width)["token_ids"]
    hidden = targets >= 0
    np.testing.assert_array_equal(weights, hidden)
    np.testing.assert_array_equal(targets[hidden], plain[hidden])
    np.testing.assert_array_equal(inputs["token_ids"][~hidden], plain[~hidden])
    tokenizer = examples.preprocessor.tokenizer
    special = [tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id]
    assert not np.isin(plain[hidden], special).any() and hidden.any(1).all()
    continues = np.array([tokenizer.id_to_token(i).startswith("##") for i in range(tokenizer.vocabulary_size())])
    after = continues[plain[:, 1:]]  # A piece is hidden exactly if the one before it is.
    assert after.any() and (hidden[:, 1:][after] == hidden[:, :-1][after]).all()
    share = (inputs["token_ids"][hidden] == tokenizer.mask_token_id).mean()
    assert 0.6 < share < 0.95


def test_each_epoch_hides_other_words_and_the_same_epoch_the_same(examples):
    first, second, again = (
        [examples.gather(rows, 64)["token_ids"] for rows in batching.training_batches(examples, 8, 0, epoch)]
        for epoch in (0, 1, 0)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    hidden = [examples.gather_targets(np.array([row, row + len(examples)]), 64)[0] >= 0 for row in range(4)]
    assert any((views[0] != views[1]).any() for views in hidden) and len(first) == len(second)


def test_long_texts_become_rows(examples):
    assert examples.lengths.max() == 64 and (examples.texts == 0).sum() > 1
    assert examples.restored(np.ones((len(examples), 3)), [np.arange(len(examples))]).shape == (17, 3)


@pytest.fixture
def trained(make_tiny, tmp_path):
    folder, pretrained = str(tmp_path / "preset"), make_tiny("bert")
    pretrained.backbone.save_to_preset(folder)
    pretrained.converter.save_to_preset(folder)
    tuner = FineTuner("masked_lm", folder, learning_rate=1e-2, share=0.3, precision="float32")
    tuner.fit(TEXTS, epochs=12, batch_size=8, directory=tmp_path / "run")
    return tuner


def test_it_learns_is_saved_and_gives_a_preset(trained, tmp_path):
    assert trained.history["loss"][-1] < 0.7 * trained.history["loss"][0]
    texts = ["a [MASK] film", "no mask"]
    answers, loaded = trained.predict(texts), kerasft.load(trained.directory)
    assert answers["tokens"].shape == answers["scores"].shape == (2, 5)
    assert answers["token"][0] and answers["token"][1] == b"" and answers["score"][1] == 0
    np.testing.assert_allclose(loaded.predict(texts)["scores"], answers["scores"], atol=1e-6)
    folder = trained.export(str(tmp_path / "1"))
    served = tf.saved_model.load(folder).signatures["serving_default"](text=tf.constant(texts))
    assert served["token"].numpy().tolist() == answers["token"].tolist()
    preset = trained.export(str(tmp_path / "learned"), "preset")
    reviews = [{"text": row["text"], "label": "ab"[n % 2]} for n, row in enumerate(TEXTS)]
    FineTuner("text_classification", preset).fit(reviews, epochs=1, directory=tmp_path / "next")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in families.ENCODERS if name != "f_net"])
def test_every_encoder(name, tmp_path):
    tuner = FineTuner("masked_lm", families.make(name), "lora", learning_rate=1e-2)
    tuner.fit(TEXTS, validation_split=0.25, epochs=2, batch_size=8, directory=tmp_path / "run")
    assert np.isfinite(tuner.evaluate(TEXTS)["perplexity"].value)
    tuner.export(str(tmp_path / "1"))


def test_frozen_layers_are_computed_with_other_words_in_each_epoch(make_tiny, tmp_path):
    tuner = FineTuner("masked_lm", make_tiny("bert"), {"name": "freeze", "blocks": 1}, learning_rate=1e-2)
    history = tuner.fit(TEXTS, epochs=3, batch_size=8, directory=tmp_path / "run").history
    assert len(set(history["loss"])) == 3


@pytest.mark.parametrize(
    ("arguments", "part"), [({"share": 0}, "share must be"), ({"sequence_length": 2}, "sequence_length must be")]
)
def test_unusable_arguments_are_refused(arguments, part):
    with pytest.raises(UserError, match=part):
        MaskedLm(**arguments)


def test_decoders_are_refused(make_tiny):
    with pytest.raises(UserError, match="needs an encoder with a mask token. Received: backbone='tiny_gpt2'"):
        FineTuner("masked_lm", make_tiny("gpt2")).preprocessor  # noqa: B018
