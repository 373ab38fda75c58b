import numpy as np
import pytest
import tensorflow as tf

from kerasft.errors import UserError
from kerasft.pipeline import generation, prompts
from kerasft.tasks._text import marks
from kerasft.tasks.seq2seq import Seq2seq
from tests import families


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_greedy_generation_takes_the_likeliest_token_each_time(name):
    pretrained = families.make(name)
    inputs = sorted(pretrained.backbone.input)
    preprocessor = prompts.PromptPreprocessor(pretrained.converter, marks(pretrained), 64, inputs, room=5)
    generator = generation.Continuing(pretrained, "greedy")
    rows = preprocessor.rows(tf.constant(["the film", "a very good film , i love it !", "so"]))["token_ids"]
    found = generator.in_batches(preprocessor, rows, "here").to_list()
    embedding = pretrained.backbone.token_embedding
    for prompt, made in zip(rows.to_list(), found, strict=True):
        expected = []
        for _ in range(5):
            ids = np.array([[*prompt, *expected]])
            features = pretrained.backbone({"token_ids": ids, "padding_mask": np.ones_like(ids)})
            following = int(np.argmax(embedding(features, reverse=True)[0, -1]))
            if following in preprocessor.stops:
                break
            expected.append(following)
        assert made == expected


@pytest.mark.parametrize("name", families.ENCODER_DECODERS)
def test_a_decoder_writes_the_likeliest_token_each_time(name):
    pretrained = families.make(name)
    task = Seq2seq(max_new_tokens=5)
    preprocessor, head = task.preprocessor(pretrained), task.head(pretrained)
    generator = generation.Writing(pretrained, "greedy")
    rows = preprocessor.rows(tf.constant(["the film", "a very good film , i love it !", "so"]))["token_ids"]
    found = generator.in_batches(preprocessor, rows, "here").to_list()
    for source, made in zip(rows.to_list(), found, strict=True):
        expected = list(preprocessor.begin)
        for _ in range(5):
            sides = {"encoder": np.array([source]), "decoder": np.array([expected])}
            inputs = {f"{side}_token_ids": ids for side, ids in sides.items()}
            inputs |= {f"{side}_padding_mask": np.ones_like(ids) for side, ids in sides.items()}
            features = pretrained.backbone(inputs)["decoder_sequence_output"] * head.scale
            following = int(np.argmax(pretrained.backbone.token_embedding(features, reverse=True)[0, -1]))
            if following in preprocessor.stops:
                break
            expected.append(following)
        assert made == expected[len(preprocessor.begin) :]


def test_rows_are_never_wider_than_a_backbone_has_positions():
    pretrained = families.make("gpt2")
    inputs = sorted(pretrained.backbone.input)
    preprocessor = prompts.PromptPreprocessor(pretrained.converter, marks(pretrained), 90, inputs, room=5)
    rows = preprocessor.rows(tf.constant(["the film " * 30]))["token_ids"]
    assert rows.row_lengths().numpy() == [85]
    generation.Continuing(pretrained, "greedy").in_batches(preprocessor, rows, "here")


def test_no_prompts_and_empty_ones():
    pretrained = families.make("llama")
    inputs = sorted(pretrained.backbone.input)
    preprocessor = prompts.PromptPreprocessor(pretrained.converter, marks(pretrained), 64, inputs, room=3)
    generator = generation.Continuing(pretrained, "greedy")
    spec = tf.RaggedTensorSpec((None, None), tf.int32, ragged_rank=1)
    graph = tf.function(lambda rows: generator(preprocessor, rows), input_signature=[spec])
    none = tf.RaggedTensor.from_row_lengths(tf.zeros([0], "int32"), tf.zeros([0], "int64"))
    assert graph(none).to_list() == []
    assert len(graph(tf.ragged.constant([[]], "int32", 1, row_splits_dtype="int64")).to_list()[0]) <= 3


@pytest.mark.parametrize(
    "given",
    [
        *("greedy", "random", {"name": "top_k", "k": 3}, {"name": "top_p", "p": 0.5}),
        *({"name": "beam", "num_beams": 2}, {"name": "contrastive", "k": 2, "alpha": 0.5}),
    ],
)
def test_samplers(given):
    name = given["name"] if isinstance(given, dict) else given
    assert type(generation.sampler(given)) is generation.SAMPLERS[name]


@pytest.mark.parametrize("given", [["greedy"], {"name": ["greedy"]}, {}, None, "best"])
def test_other_samplers_are_refused(given):
    with pytest.raises(UserError, match="sampler must be one of greedy, .*Received: sampler="):
        generation.sampler(given)


def test_a_backbone_that_kerashub_cannot_generate_with(make_tiny):
    with pytest.raises(UserError, match="cannot generate with this backbone. Received: backbone='tiny_bert'"):
        generation.Continuing(make_tiny("bert"), "greedy")
