"""What `fit` prints: what learns, what it learns from, and where everything lies."""

import contextlib
import os

from rich.console import Console
from rich.table import Table

from kerasft import files, weights
from kerasft.pipeline import batching

console = Console(stderr=True, highlight=False)


def show_weights(model):
    """Prints the table of what learns and what does not."""
    table = Table("part", "weights", "learn", title="What learns", title_justify="left", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    rows = weights.trainable_table(model)
    for name, total, learn in rows:
        state = "[green]all[/]" if learn == total else "frozen" if not learn else f"{learn:,}"
        table.add_row(name, f"{total:,}", state)
    total, learn = sum(row[1] for row in rows), sum(row[2] for row in rows)
    table.add_row(
        "[bold]together", f"[bold]{total:,}", f"[bold]{learn:,} ({learn / total:.2%}, {learn * 4 / 1e6:,.1f} MB)"
    )
    console.print(table)


def show_data(examples, settings):
    """Prints how many examples, batches, and how much of the batches is padding."""
    steps = batching.steps_per_epoch(len(examples), settings.batch_size)
    line = f"{len(examples):,} examples, {steps} steps an epoch"
    if examples.lengths is not None:
        batches = batching.training_batches(examples, settings.batch_size, settings.seed, 0)
        widths = ", ".join(str(width) for width in batching.choose_widths(examples))
        line += f", {batching.padding_share(examples, batches):.0%} padding (widths {widths})"
        limit = examples.preprocessor.sequence_length
        cut = (examples.lengths >= limit).mean()
        if cut > 0.01:
            line += f"; [yellow]{cut:.0%} of the texts are cut at {limit} tokens[/]"
    console.print(line)


def show_end(tuner, evaluation):
    """Prints the result, where everything lies, and the next commands to type."""
    directory = files.shown(tuner.directory)
    if evaluation is not None:
        name = next(iter(evaluation.metrics))
        console.print(f"[bold]validation {name} {evaluation.metrics[name]}[/] (95 % interval)")
        console.print(f"report       {directory}/report.html")
    lines = [
        f"run folder   {directory}",
        f"watch        tensorboard --logdir {os.path.dirname(directory) or '.'}",
        f"evaluate     kerasft evaluate {directory} DATA",
        f"export       kerasft export {directory} {directory}/export/1",
    ]
    # Commands are there to be copied: no line breaks in them, and a path in brackets is no markup.
    console.print("\n".join(lines), soft_wrap=True, markup=False)


@contextlib.contextmanager
def quiet():
    """Prints nothing of what this file shows, for a while."""
    console.quiet = True
    try:
        yield
    finally:
        console.quiet = False
