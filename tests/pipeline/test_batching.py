import itertools
import types

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from kerasft.pipeline import batching, examples
from kerasft.tasks.text_classification import TextClassification

ROWS = 1000


class Examples(examples.Examples):
    """Stands for `TokenizedText`: rows of known lengths whose tokens are their row number."""

    def __init__(self, lengths, limit=512, targets=True):
        self.lengths = np.asarray(lengths)
        self.rows = len(lengths)
        self.preprocessor = types.SimpleNamespace(sequence_length=limit, fixed_width=None)
        self.targets = np.arange(len(lengths), dtype="int32") if targets else None
        self.signature = {"token_ids": tf.TensorSpec((None, None), tf.int32)}

    def __len__(self):
        return self.rows

    def gather(self, rows, width):
        assert (self.lengths[rows] <= width).all()
        return {"token_ids": np.repeat(rows[:, None], width, axis=1).astype("int32")}


@pytest.fixture(scope="module")
def reviews():
    """Lengths as those of sentences are: many short, few long."""
    return Examples(np.clip(np.random.default_rng(0).lognormal(3, 0.7, ROWS).astype(int) + 2, 3, 400))


@pytest.mark.parametrize("batch_size", [1, 7, 32, 1000, 5000])
@pytest.mark.parametrize("rows", [1, 5, 999, 1000])
def test_every_row_once_an_epoch(rows, batch_size):
    examples = Examples(np.random.default_rng(1).integers(1, 99, rows))
    for plan in (batching.training_batches(examples, batch_size, 0, 0), batching.ordered_batches(examples, batch_size)):
        assert sorted(np.concatenate(plan)) == list(range(rows))
        assert len(plan) == batching.steps_per_epoch(rows, batch_size)
        sizes = sorted(len(batch) for batch in plan)
        assert sizes[1:] == [batch_size] * (len(plan) - 1)
        assert sizes[0] == rows - batch_size * (len(plan) - 1)


def plan(examples, seed, epoch):
    return [batch.tolist() for batch in batching.training_batches(examples, 32, seed, epoch)]


def test_the_order_is_a_pure_function_of_seed_and_epoch(reviews):
    before = plan(reviews, 3, 1)
    np.random.default_rng(9).random(10)
    np.random.seed(5)
    plan(reviews, 3, 0)
    assert plan(reviews, 3, 1) == before
    assert plan(reviews, 3, 2) != before
    assert plan(reviews, 4, 1) != before


def test_epochs_mix_rows_anew():
    """Not only the order of batches changes: which rows are together does too."""
    examples = Examples(np.random.default_rng(0).integers(3, 60, 10_000))
    together = [{frozenset(batch) for batch in plan(examples, 0, epoch)} for epoch in range(2)]
    assert not together[0] & together[1]


def test_batches_come_in_random_order_of_length(reviews):
    longest = [max(reviews.lengths[batch]) for batch in plan(reviews, 0, 0)]
    assert longest != sorted(longest)
    assert longest != sorted(longest, reverse=True)
    ranks = np.argsort(np.argsort(longest))
    assert abs(np.corrcoef(ranks, np.arange(len(ranks)))[0, 1]) < 0.5


@pytest.mark.parametrize("rows", [4_800, 5_000, 5_300])
def test_a_few_batches_have_rows_of_all_lengths(rows):
    lengths = np.sort(np.random.default_rng(0).integers(3, 60, rows))
    means = [lengths[batch].mean() for batch in plan(Examples(lengths), 0, 0)]
    in_a_round = [np.mean(means[start : start + 10]) for start in range(0, len(means) - 9, 10)]
    assert np.std(means) > 14  # Batches are of one length each; in random order the means of ten vary by a third of it.
    assert np.std(in_a_round) < 1.5


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rows_are_met_as_often_as_they_say(seed):
    found = Examples(np.arange(1, 41))
    found.draws = np.repeat([1.0, 3.5], 20)  # Of 40 rows: 4/9 and 14/9 of one each.
    epochs = [np.concatenate(batching.training_batches(found, 8, seed, epoch)) for epoch in range(40)]
    assert all(len(rows) == 40 for rows in epochs)
    counts = np.array([np.bincount(rows, minlength=40) for rows in epochs])
    assert counts[:, :20].max() == 1 and set(np.unique(counts[:, 20:])) == {1, 2}
    np.testing.assert_allclose(counts.mean(0), np.repeat([4 / 9, 14 / 9], 20), atol=0.3)
    assert not np.array_equal(epochs[0], epochs[1])


def test_images_are_shuffled_too():
    images = Examples(np.zeros(100))
    images.lengths = None
    order = np.concatenate(batching.training_batches(images, 8, 0, 0))
    assert sorted(order) == list(range(100))
    assert np.abs(order - np.arange(100)).mean() > 15


def test_few_widths_that_hold_every_row(reviews):
    widths = batching.choose_widths(reviews)
    assert 1 <= len(widths) <= batching.WIDTHS == 24
    assert (widths % batching.GRAIN == 0).all()
    assert widths[-1] - batching.GRAIN < reviews.lengths.max() <= widths[-1]


@pytest.mark.parametrize("seed", range(5))
def test_no_other_widths_would_pad_less(seed):
    lengths = np.random.default_rng(seed).integers(1, 60, 40) // np.array([1, 4]).repeat(20)

    def positions(widths):
        return np.array(widths)[np.searchsorted(widths, lengths)].sum()

    allowed = range(2, 61, 2)
    widest = int(np.ceil(lengths.max() / 2) * 2)
    others = [
        sorted({*others, widest})
        for count in range(3)
        for others in itertools.combinations(allowed, count)
        if not others or max(others) < widest
    ]
    found = batching.choose_widths(Examples(lengths), count=3).tolist()
    assert len(found) <= 3
    assert positions(found) == min(map(positions, others))


def test_no_width_beyond_what_the_backbone_reads():
    assert batching.choose_widths(Examples([3, 20, 50], limit=50)).max() == 50
    assert batching.choose_widths(Examples([3, 20, 49], limit=50)).max() == 50
    assert batching.choose_widths(Examples([3, 20, 40], limit=50)).max() == 40


def test_far_less_padding_than_with_a_fixed_length(reviews):
    grouped = batching.padding_share(reviews, batching.training_batches(reviews, 32, 0, 0))
    fixed = 1 - reviews.lengths.mean() / 512
    to_the_longest = 1 - reviews.lengths.mean() / reviews.lengths.max()
    assert grouped < 0.25
    assert fixed > 0.9
    assert to_the_longest > 0.8


def test_padding_share_is_counted(reviews):
    examples = Examples([8, 8, 4, 2])
    assert batching.padding_share(examples, [np.array([0, 1]), np.array([2, 3])]) == pytest.approx(1 - 22 / 24)


def test_a_dataset_holds_the_batches(reviews):
    batches = batching.training_batches(reviews, 32, 0, 0)
    made = list(batching.dataset(reviews, lambda: batches, count=len(batches)))
    assert [targets.numpy().tolist() for _, targets in made] == [batch.tolist() for batch in batches]
    widths = {inputs["token_ids"].shape[1] for inputs, _ in made}
    assert widths <= set(batching.choose_widths(reviews).tolist())
    for inputs, targets in made:
        assert (inputs["token_ids"][:, 0] == targets).numpy().all()


def test_cardinality_and_options(reviews):
    made = batching.dataset(reviews, lambda: [], count=7)
    assert made.cardinality() == 7
    assert made.options().autotune.enabled is False


def test_without_targets_there_are_inputs_only():
    examples = Examples([3, 4], targets=False)
    (batch,) = batching.dataset(examples, lambda: [np.array([1, 0])])
    assert len(batch) == 1
    assert batch[0]["token_ids"][:, 0].numpy().tolist() == [1, 0]


@pytest.mark.parametrize("left", [1, 2, 3, 7])
def test_an_incomplete_batch_is_filled_with_rows_of_weight_0(left):
    examples = Examples(np.full(8 + left, 5))
    batches = batching.ordered_batches(examples, 8)
    made = list(batching.dataset(examples, lambda: batches, replicas=4, batch_size=8))
    assert [weights.numpy().tolist() for _, _, weights in made] == [[1.0] * 8, [1.0] * left + [0.0] * (8 - left)]
    for inputs, targets, _ in made:
        assert inputs["token_ids"].shape[0] == targets.shape[0] == 8
    real = [y for _, targets, weights in made for y, w in zip(targets.numpy(), weights.numpy(), strict=True) if w]
    assert sorted(real) == list(range(8 + left))


def test_a_tokenised_table_gathers_its_own_rows(tiny_bert):
    task = TextClassification(labels=["a", "b"])
    texts = ["good", "a very good film , i love it !", "the plot is bad .", "so dull and slow but funny"] * 3
    frame = task.prepare(pd.DataFrame({"text": texts, "label": ["a", "b"] * 6}))
    examples = task.examples(frame, task.preprocessor(tiny_bert))
    for inputs, targets in batching.dataset(examples, lambda: batching.training_batches(examples, 4, 0, 0)):
        mask = inputs["padding_mask"].numpy()
        assert (mask.sum(1) > 0).all()
        assert (mask == np.sort(mask, axis=1)[:, ::-1]).all()
        assert (inputs["token_ids"].numpy()[mask == 0] == 0).all()
        assert targets.dtype == tf.int32
