import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import kerasft
from kerasft.data import base as data_sources
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner
from kerasft.pipeline.clean import DataWarning
from kerasft.tasks.causal_lm import CausalLm
from tests import families

ANSWERS = {"good": "yes", "great": "yes", "bad": "no", "dull": "no"}
ROWS = [{"prompt": f"{i} the {word} film", "completion": answer} for i in range(4) for word, answer in ANSWERS.items()]
CHATS = [
    {"messages": [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}]}
    for row in ROWS
]
SMALL = {"max_new_tokens": 6, "sequence_length": 64, "learning_rate": 1e-2, "precision": "float32"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    tuner = FineTuner("causal_lm", families.make("smollm3"), **SMALL)
    tuner.fit(
        ROWS[4:], validation_data=ROWS[:4], epochs=25, batch_size=8, directory=tmp_path_factory.mktemp("lm") / "run"
    )
    return tuner


def test_it_learns_to_answer(trained):
    found = trained.evaluate(ROWS)
    answers = trained.predict([row["prompt"] for row in ROWS])["completion"]
    is_right = [answer == row["completion"] for answer, row in zip(answers, ROWS, strict=True)]
    assert np.mean(is_right) > 0.7
    assert found["exact"].value == pytest.approx(np.mean(is_right))  # Known without generating.
    assert found["perplexity"].value == pytest.approx(np.exp(found["cross_entropy"].value)) and all(
        isinstance(answer, str) for answer in answers
    )


def test_a_table_with_completions_under_other_names_is_predicted_on():
    columns = {"prompt": "question", "completion": "answer"}
    tuner = FineTuner("causal_lm", families.make("smollm3"), columns=columns, **SMALL)
    rows = data_sources.load([{"question": "the film", "answer": "yes"}])
    assert tuner.predict(rows)["completion"].shape == (1,)


def test_conversations_under_another_name_are_learned_and_predicted_on():
    tuner = FineTuner("causal_lm", families.make("smollm3"), columns={"messages": "talk"}, **SMALL)
    tuner.task.prepare(data_sources.load([{"talk": CHATS[0]["messages"]}]))
    assert tuner.predict([CHATS[0]["messages"][:1]])["completion"].shape == (1,)
    assert tuner.predict(data_sources.load([{"talk": CHATS[0]["messages"][:1]}]))["completion"].shape == (1,)


def test_answers_do_not_depend_on_what_else_is_asked(trained):
    prompts = [row["prompt"] for row in ROWS] + ["the film " * 5]
    together = trained.predict(prompts)["completion"]
    assert [trained.predict([prompt])["completion"][0] for prompt in prompts] == together.tolist()


def test_it_is_saved_loaded_and_exported(trained, tmp_path):
    prompts = [row["prompt"] for row in ROWS[:3]]
    expected = trained.predict(prompts)["completion"].tolist()
    loaded = kerasft.load(trained.directory)
    assert loaded.task.form == "prompt" and loaded.predict(prompts)["completion"].tolist() == expected
    folder = loaded.export(str(tmp_path / "1"))
    served = tf.saved_model.load(folder).signatures["serving_default"](prompt=tf.constant(prompts))
    assert [answer.decode() for answer in served["completion"].numpy()] == expected


def test_the_report_shows_perplexity_and_hard_rows(trained):
    page = Path(trained.directory, "report.html").read_text()
    assert "perplexity of" in page and "Hardest rows" in page and "the dull film" in page
    numbers = json.loads(Path(trained.directory, "metrics.json").read_text())
    assert numbers["examples"] >= 4 and numbers["tokens"] > 8


def test_it_goes_on_with_conversations(trained):
    chat = [*CHATS[0]["messages"], {"role": "user", "content": "the bad film"}]
    assert trained.predict([chat])["completion"].shape == (1,)
    whole, last = (trained.task.asked(trained.preprocessor, trained.task.frame_of([c])) for c in (chat, chat[2:]))
    last = last[0, len(trained.preprocessor.marks["start"]) :].numpy().tolist()
    assert whole[0].numpy().tolist()[-len(last) :] == last
    with pytest.raises(UserError, match="ends with a message of the assistant, to which there is nothing to answer"):
        trained.predict([chat[:2]])


def test_the_loss_is_that_of_kerashub_on_what_is_learned():
    pretrained = families.make("smollm3")
    tuner = FineTuner("causal_lm", pretrained, **SMALL)
    frame = tuner.task.prepare(data_sources.load(ROWS))
    examples = tuner.task.examples(frame, tuner.preprocessor)
    scores = tuner.outputs(frame)
    rows = np.arange(len(ROWS))
    targets, weights = examples.gather_targets(rows, 64)
    inputs = examples.gather(rows, 64)
    logits = pretrained.backbone.token_embedding(pretrained.backbone(inputs), reverse=True)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(np.maximum(targets, 0), logits) * weights
    np.testing.assert_allclose(scores[:, 0], tf.reduce_sum(losses, 1), rtol=1e-4)
    np.testing.assert_array_equal(scores[:, 2], weights.sum(1))
    assert tuner.model.evaluate(tuner.batches(ROWS), return_dict=True) if tuner.model.compiled else True


@pytest.mark.parametrize(
    "form", ["messages", pytest.param("prompt", marks=pytest.mark.slow), pytest.param("text", marks=pytest.mark.slow)]
)
def test_each_form_learns_from_its_columns(form, tmp_path):
    texts = [{"text": f"{row['prompt']} {row['completion']} . " * 12} for row in ROWS[:4]]
    data = {"prompt": ROWS, "messages": CHATS, "text": texts}[form]
    tuner = FineTuner("causal_lm", families.make("smollm3"), "lora", system="say", **SMALL)
    history = tuner.fit(data, validation_split=0.25, epochs=2, batch_size=8, directory=tmp_path / "run").history
    assert tuner.task.form == form and history["loss"][-1] < history["loss"][0]
    assert (tuner.preprocessor.template is None) == (form == "text")
    loaded = kerasft.load(tmp_path / "run")
    asked = ["the good film"]
    assert loaded.predict(asked)["completion"].tolist() == tuner.predict(asked)["completion"].tolist()
    assert loaded.samples.columns.tolist() == ["prompt"]
    tuner.export(str(tmp_path / "1"))


SLOWER = [pytest.param(method, marks=pytest.mark.slow) for method in ("prompt_tuning", "adapter", "ia3")]


@pytest.mark.parametrize("method", ["prefix_tuning", "qlora", *SLOWER])
def test_methods_generate_as_they_score(method, tmp_path):
    """Tokens in front stay in the cache while text is generated."""
    tuner = FineTuner("causal_lm", families.make("llama"), method, **{**SMALL, "learning_rate": 5e-2})
    tuner.fit(ROWS, epochs=12, batch_size=8, directory=tmp_path / "run")
    found = tuner.evaluate(ROWS)["exact"].value
    prompts = [row["prompt"] for row in ROWS]
    answers = tuner.predict(prompts)["completion"]
    assert np.mean([a == row["completion"] for a, row in zip(answers, ROWS, strict=True)]) == pytest.approx(found)
    assert tuner.predict(prompts)["completion"].tolist() == answers.tolist()
    loaded = kerasft.load(tmp_path / "run")
    assert loaded.predict(["the good film"])["completion"] == tuner.predict(["the good film"])["completion"]


@pytest.mark.slow
@pytest.mark.parametrize("name", families.CAUSAL)
def test_every_decoder(name, tmp_path):
    tuner = FineTuner("causal_lm", families.make(name), "lora", **SMALL)
    tuner.fit(ROWS[4:], validation_data=ROWS[:4], epochs=2, batch_size=8, directory=tmp_path / "run")
    assert np.isfinite(tuner.evaluate(ROWS)["perplexity"].value)
    tuner.export(str(tmp_path / "1"))


@pytest.mark.slow
def test_half_precision_and_other_objectives(tmp_path):
    objectives = ["l2_sp", "neftune", "sam", {"name": "adversarial", "kind": "fgm"}]
    arguments = {**SMALL, "precision": "mixed_bfloat16"}
    tuner = FineTuner("causal_lm", families.make("smollm3"), objectives=objectives, **arguments)
    fitted = tuner.fit(ROWS[4:], validation_data=ROWS[:4], epochs=2, batch_size=8, directory=tmp_path / "run")
    assert np.isfinite(fitted.history["loss"]).all()


def test_what_is_too_long_is_cut_with_a_warning():
    tuner = FineTuner("causal_lm", families.make("smollm3"), **SMALL)
    frame = tuner.task.prepare(data_sources.load([{"prompt": "the film " * 20, "completion": "yes"}, *ROWS]))
    with pytest.warns(DataWarning, match="1 of 17 rows lose their beginning: they are longer than sequence_length=64"):
        examples = tuner.task.examples(frame, tuner.preprocessor)
    assert examples.lengths.max() == 64
    assert tuner.predict(["the film " * 50])["completion"].shape == (1,)


@pytest.mark.parametrize(
    ("row", "part"),
    [
        ({"prompt": "a", "completion": " "}, "row 1: completion is blank"),
        ({"prompt": "a", "completion": None}, "row 1: completion is missing"),
        ({"prompt": "", "completion": "b"}, "row 1: prompt is empty"),
        ({"prompt": "a\0", "completion": "b"}, "row 1: prompt holds a NUL character"),
        ({"prompt": "a"}, "has no column 'completion'"),
        ({"messages": "hello"}, r"row 1: messages is not a list of \{role: …, content: …\}"),
        ({"messages": []}, "row 1: messages is empty"),
        ({"messages": None}, "row 1: messages is missing"),
        (
            {"messages": [{"role": "bot", "content": "a"}]},
            "has the role 'bot' in message 1. The roles are: system, user",
        ),
        (
            {"messages": [{"role": "user", "content": "a"}]},
            "ends with a message of the user, not with an answer to learn",
        ),
        ({"messages": [{"role": "assistant", "content": ""}]}, "has '' as message 1, which is no text"),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "a"}]},
            "has a system message in place 2, which must be the first",
        ),
    ],
)
def test_unusable_rows_are_refused(row, part):
    with pytest.raises(UserError, match=part):
        CausalLm().prepare(data_sources.load([row]))


def test_messages_may_be_json():
    frame = CausalLm().prepare(data_sources.load([{"messages": json.dumps(CHATS[0]["messages"])}]))
    assert len(frame) == 1


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"form": "chat"}, "form must be one of messages, prompt, text"),
        ({"template": "alpaca"}, "template must be 'auto', None or one of chatml"),
        ({"system": 1}, "system must be a text"),
        ({"max_new_tokens": 0}, "max_new_tokens must be a whole number, 1 or more"),
        ({"sampler": "best"}, "sampler must be one of greedy, beam"),
        ({"sampler": {"name": "top_k", "wrong": 1}}, "sampler: .*wrong"),
        ({"sequence_length": 4}, "sequence_length must be a whole number, 16 or more"),
    ],
)
def test_unusable_arguments_are_refused(arguments, part):
    with pytest.raises(UserError, match=part):
        CausalLm(**arguments)


def test_what_the_backbone_must_have(make_tiny):
    with pytest.raises(UserError, match="needs a decoder. Received: backbone='tiny_bert', an encoder"):
        FineTuner("causal_lm", make_tiny("bert")).preprocessor  # noqa: B018
    with pytest.raises(UserError, match="messages need a vocabulary with the special tokens of a chat template"):
        FineTuner("causal_lm", make_tiny("gpt2"), form="messages", max_new_tokens=4).preprocessor  # noqa: B018
    with pytest.raises(UserError, match="The vocabulary lacks special tokens of this template"):
        FineTuner("causal_lm", make_tiny("gpt2"), template="chatml", max_new_tokens=4).preprocessor  # noqa: B018
    with pytest.raises(UserError, match="leave no room for a prompt.*max_new_tokens=60, sequence_length=64, tokens of"):
        FineTuner("causal_lm", make_tiny("gpt2"), max_new_tokens=60).preprocessor  # noqa: B018
    with pytest.raises(UserError, match="leave no room for a prompt"):
        FineTuner("causal_lm", families.make("smollm3"), **SMALL, system="the film " * 40).preprocessor  # noqa: B018
    with pytest.raises(UserError, match="has no chat template: give prompts"):
        FineTuner("causal_lm", make_tiny("gpt2"), max_new_tokens=4).predict([[{"role": "user", "content": "a"}]])
