import contextlib

import keras
import numpy as np
import pandas as pd
import pytest

from kerasft import registry
from kerasft.errors import UserError
from kerasft.fine_tuner import FineTuner
from kerasft.objectives import Distillation, Mixup, _teacher

LABELS = ["negative", "positive"]


def softmax(logits, temperature):
    scaled = logits.astype("float64") / temperature
    return np.exp(scaled) / np.exp(scaled).sum(-1, keepdims=True)


def taught(logits):
    return np.random.default_rng(1).normal(size=logits).astype("float32")


def test_value_and_gradient_are_those_of_the_formula(make_model, step, batch):
    weight, t, teacher = 0.3, 4.0, taught((6, 3))
    objective = Distillation("teacher.npy", t, weight)
    model = make_model(objective)
    logits = model(batch.texts).numpy()
    p, q, hot = softmax(teacher, t), softmax(logits, t), np.eye(3)[batch.targets]
    loss = -(hot * np.log(softmax(logits, 1))).sum(-1)
    divergence = (p * np.log(p / q)).sum(-1)
    x = {"inputs": batch.texts, "extras": {"distillation": teacher}}
    logs, gradient = step(model, x, batch.targets)
    assert logs["loss"] == pytest.approx(((1 - weight) * loss + weight * t**2 * divergence).mean(), rel=1e-5)
    by_logit = (1 - weight) * (softmax(logits, 1) - hot) + weight * t * (q - p)
    np.testing.assert_allclose(gradient[-1], by_logit.mean(0), rtol=1e-4, atol=1e-7)


def test_mixed_rows_are_taught_by_the_teachers_of_both(make_model, step, batch):
    teacher, mixing = taught((6, 3)), Mixup(2.0)
    model = make_model(mixing, Distillation("teacher.npy", 1.0, 1.0))
    share, partners = (value.numpy() for value in mixing._drawn(model, 6))
    with mixing.forward(model, batch.texts, batch.targets) as x:
        q = softmax(model(x, training=True).numpy(), 1)
    parts = [(p * np.log(p / q)).sum(-1).mean() for p in (softmax(teacher, 1), softmax(teacher[partners], 1))]
    logs, _ = step(model, {"inputs": batch.texts, "extras": {"distillation": teacher}}, batch.targets)
    assert logs["loss"] == pytest.approx(share * parts[0] + (1 - share) * parts[1], rel=1e-4)


@pytest.fixture(scope="module")
def teacher(make_tiny, tmp_path_factory):
    """The folder of a run of twice the depth and width."""
    made = make_tiny("bert", seed=3)
    backbone = type(made.backbone)(**{**made.backbone.get_config(), "num_layers": 4, "hidden_dim": 32})
    made.backbone = backbone
    tuner = FineTuner("text_classification", made, labels=LABELS)
    folder = str(tmp_path_factory.mktemp("runs") / "teacher")
    tuner.save(folder)
    return folder


def student(tiny, **arguments):
    return FineTuner("text_classification", tiny, labels=LABELS, objectives=[{"name": "distillation", **arguments}])


def test_a_run_teaches_and_its_logits_are_kept(teacher, make_tiny, reviews, tmp_path, monkeypatch):
    tuner = student(make_tiny("bert"), teacher=teacher)
    history = tuner.fit(reviews, epochs=2, directory=tmp_path / "student").history
    assert len(history["distillation"]) == 2 and np.isfinite(history["loss"]).all()
    (objective,) = tuner.objectives
    expected = FineTuner.load(teacher).outputs(tuner.task.prepare(pd.DataFrame(reviews)))
    np.testing.assert_allclose(objective.extra.array, expected, atol=1e-6)
    monkeypatch.setattr(FineTuner, "outputs", lambda *_: pytest.fail("The teacher was asked again."))
    student(make_tiny("bert"), teacher=teacher).objectives[0].prepare(tuner, tuner.task.prepare(pd.DataFrame(reviews)))


def test_hidden_states_and_attention_are_learned_from_a_wider_teacher(teacher, make_tiny, reviews, tmp_path):
    tuner = student(make_tiny("bert", dropout=0.0), teacher=teacher, weight=0.0, hidden=1.0, attention=1.0)
    tuner.arguments["learning_rate"] = 1e-2
    history = tuner.fit(reviews, epochs=6, directory=tmp_path / "student").history
    assert history["distillation"][-1] < 0.7 * history["distillation"][0]
    assert set(tuner.model.others.layers) == {"distillation"}
    # The projection is no part of the run.
    loaded = FineTuner.load(str(tmp_path / "student"))
    np.testing.assert_allclose(
        loaded.predict(["a good film"])["scores"], tuner.predict(["a good film"])["scores"], atol=1e-6
    )


def test_hidden_states_are_compared_by_their_mean_square(make_model, batch):
    ours, theirs = make_model(), make_model()
    for variable in theirs.trainable_variables:
        variable.assign(variable.numpy() * 1.3)
    pair = _teacher.HiddenStates(theirs, ours)
    assert pair.projection is None
    with pair.ours[0].reading() as first, pair.ours[1].reading() as second:
        ours(batch.texts)
    with pair.theirs[0].reading() as third, pair.theirs[1].reading() as fourth:
        theirs(batch.texts)
    mask = batch.padding_mask
    squares = [((a[0].numpy() - b[0].numpy()) ** 2).mean(-1) for a, b in ((first, third), (second, fourth))]
    expected = np.mean([(square * mask).sum(-1) / mask.sum(-1) for square in squares], axis=0)
    np.testing.assert_allclose(
        pair.apart(batch.texts, [first[0], second[0]], [third[0], fourth[0]]), expected, rtol=1e-5
    )


def test_attention_maps_are_compared_by_their_mean_over_heads(make_model, batch):
    ours, theirs = make_model(), make_model()
    for variable in theirs.trainable_variables:
        variable.assign(variable.numpy() * 1.3)
    pair = _teacher.AttentionMaps(theirs, ours)
    assert len(pair.ours) == 4  # Queries and keys of two blocks.
    read = {}
    for name, model, taps in (("ours", ours, pair.ours), ("theirs", theirs, pair.theirs)):
        with contextlib.ExitStack() as stack:
            lists = [stack.enter_context(one.reading()) for one in taps]
            model(batch.texts)
        read[name] = [first[0].numpy() for first in lists]
    mask = batch.padding_mask
    squares = []
    for number in (0, 2):
        one, two = (maps(*found[number : number + 2], mask) for found in read.values())
        squares.append((((one - two) ** 2).sum(-1) * mask).sum(-1) / mask.sum(-1))
    found = pair.apart(batch.texts, read["ours"], read["theirs"])
    np.testing.assert_allclose(found, np.mean(squares, axis=0), rtol=1e-4)
    assert (found.numpy() > 0).all()


def maps(query, key, mask):
    scores = np.einsum("bqhd,bkhd->bhqk", query, key).astype("float64") / np.sqrt(query.shape[-1])
    scores = np.where(mask[:, None, None] > 0, scores, -np.inf)
    return (np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)).mean(1)


def test_a_teacher_that_does_not_go_with_the_student_is_refused(teacher, make_tiny, reviews, tmp_path):
    other = FineTuner(
        "text_classification", make_tiny("bert"), labels=["bad", "good"], objectives=[Distillation(teacher)]
    )
    rows = [{"text": f"{word} film", "label": word} for word in ("good", "bad")]
    with pytest.raises(
        UserError, match=r"the teacher has other labels: \['negative', 'positive'\], here \['bad', 'good'\]"
    ):
        other.fit(rows, directory=tmp_path / "other")
    assert not (tmp_path / "other").exists()
    decoder = student(make_tiny("gpt2"), teacher=teacher, hidden=1.0)
    with pytest.raises(UserError, match="need a teacher that reads the same tokens or pixels"):
        decoder.fit(reviews, directory=tmp_path / "decoder")


def test_a_file_of_logits(make_tiny, reviews, tmp_path):
    path = str(tmp_path / "logits.npy")
    np.save(path, np.zeros((3, 2)))
    with pytest.raises(UserError, match=r"of the shape \(16, 2\), training examples and classes. Received: \(3, 2\)"):
        student(make_tiny("bert"), teacher=path).fit(reviews, directory=tmp_path / "a")
    with pytest.raises(UserError, match="the logits cannot be read"):
        student(make_tiny("bert"), teacher=str(tmp_path / "none.npy")).fit(reviews, directory=tmp_path / "b")
    with pytest.raises(UserError, match="a file has logits only"):
        student(make_tiny("bert"), teacher=path, hidden=1.0).fit(reviews, directory=tmp_path / "c")
    np.save(path, np.zeros((16, 2)))
    history = student(make_tiny("bert"), teacher=path).fit(reviews, epochs=1, directory=tmp_path / "d").history
    assert np.isfinite(history["distillation"]).all()


def test_a_changed_image_file_is_looked_at_again(make_tiny, tmp_path, monkeypatch):
    teacher = FineTuner("image_classification", make_tiny("efficientnet"), labels=LABELS)
    teacher.save(str(tmp_path / "teacher"))
    teacher.directory = str(tmp_path / "teacher")
    frame = pd.DataFrame({"image": [str(tmp_path / "a.png")]})
    asked = []
    monkeypatch.setattr(teacher, "outputs", lambda frame: asked.append(len(frame)) or np.zeros((1, 2)))
    for shade, expected in ((0, 1), (0, 1), (200, 2)):
        if shade or not asked:
            keras.utils.save_img(tmp_path / "a.png", np.full((40 + shade, 40, 3), shade), scale=False)
        _teacher.logits(teacher, frame)
        assert len(asked) == expected


def test_layers_are_spread_evenly():
    assert _teacher._spread(list(range(12)), 4) == [2, 5, 8, 11]
    assert _teacher._spread(list(range(2)), 4) == [0, 0, 1, 1]


@pytest.mark.parametrize("arguments", [{"temperature": 0}, {"weight": 1.5}, {"hidden": -1}, {"attention": -0.1}])
def test_wrong_arguments_are_refused(arguments):
    (name,) = arguments
    with pytest.raises(UserError, match=f"distillation: {name} must be "):
        registry.get("objectives", {"name": "distillation", "teacher": "x", **arguments})
