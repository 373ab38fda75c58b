"""The commands. Nothing heavy is imported before a command needs it, so that help comes at once."""

import contextlib
import json
import os
import shlex
import sys
import tempfile
from typing import Annotated

import typer

from kerasft import recipe as recipes
from kerasft import registry
from kerasft.cli.quiet import load_tensorflow
from kerasft.errors import Interrupted, UserError, nearest

app = typer.Typer(
    help="Fine-tunes pretrained models the Keras way.",
    epilog="With --traceback, anywhere, an error shows where in the code it came from (or set KERASFT_TRACEBACK=1).",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

INTERRUPTED = 75  # That of a temporary failure, so that whoever runs the machine starts the command again.
FORMATS = ", ".join(registry.names("exporters"))
DATA = "A path, or a source with its arguments: '{name: csv, path: x.txt, separator: \";\"}'."
DataArgument = Annotated[str, typer.Argument(metavar="DATA", help=DATA)]
DataOption = Annotated[str | None, typer.Option(metavar="DATA", help=f"Examples in place of INPUT. {DATA}")]
Recipe = Annotated[str, typer.Argument(metavar="RECIPE", help="YAML file: arguments of FineTuner and fit.")]
Run = Annotated[str, typer.Argument(metavar="DIR", help="Run folder of a finished fit.")]
Inputs = Annotated[list[str] | None, typer.Argument(metavar="INPUT", help="Texts or image files; pairs in turn.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Instead of the recipe's, such as method.rank=16.")
]
Smoke = Annotated[bool, typer.Option("--smoke", help="One epoch a stage on 64 examples: does it run at all?")]


@app.command(epilog="Example: kerasft fit recipe.yaml data=reviews.csv method.blocks=4 epochs=2")
def fit(
    recipe: Recipe,
    overrides: Overrides = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start anew beside an interrupted run.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Try it on the longest rows; tell time, memory and disk it will take.")
    ] = False,
    smoke: Smoke = False,
):
    """Fine-tune what a recipe describes; write a run folder. Goes on where it was interrupted.

    Ctrl-C or SIGTERM saves, within a step, and leaves with exit code 75; a second one leaves at once.
    """
    made, origin = _checked_recipe(recipe, overrides)
    _refuse_ranges(made, origin, recipe)
    made = _shrunk(made) if smoke else made
    if dry_run:
        _dry_run(made)
    else:
        _fit({**made, "resume": "never"} if fresh else made)


@app.command(epilog="Example: kerasft evaluate saved_models/reviews test.csv")
def evaluate(run: Run, data: DataArgument):
    """Measure a run on labelled data; write metrics.json and report.html into its folder."""
    tuner = _loaded(run)
    metrics = tuner.evaluate(_data(data))
    rows = [[name, f"{found.value:.4f}", f"{found.low:.4f} to {found.high:.4f}"] for name, found in metrics.items()]
    _print_table(["metric", "value", "95 % interval"], rows)
    if tuner.report:
        print(f"report  {os.path.join(run, 'report.html')}")


@app.command(epilog="Example: kerasft predict saved_models/reviews 'a gorgeous, witty film' --json")
def predict(
    run: Run,
    inputs: Inputs = None,
    data: DataOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, as when piped.")] = False,
    csv: Annotated[str | None, typer.Option(metavar="FILE", help="Write a new CSV file instead.")] = None,
):
    """Answer for texts or images what the run's task answers: label and score, number, entities, text."""
    if bool(inputs) == bool(data):
        raise UserError(f"Give inputs or --data, one of the two. Received: inputs={inputs or []}, data={data!r}")
    tuner = _loaded(run)
    from kerasft.cli import answers

    if csv:
        answers.check_target(csv)
    rows = answers.for_data(tuner, _data(data)) if data else answers.for_inputs(tuner, inputs)
    if csv:
        answers.write_csv(rows, csv)
        print(f"{len(rows):,} answers  {csv}", file=sys.stderr)
    elif as_json or not sys.stdout.isatty():
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
    else:
        cells = [answers.flat(row) for row in rows]
        _print_table(list(cells[0]), [[_shown(cell) for cell in row.values()] for row in cells])


@app.command(epilog="Example: kerasft chat saved_models/helper")
def chat(run: Run):
    """Talk with a model that was trained with the task causal_lm, line by line, until Ctrl-D; /new begins anew."""
    tuner = _loaded(run)
    from kerasft.cli import chat as chats

    chats.talk(tuner, sys.stdin)


@app.command(epilog="Example: kerasft export saved_models/reviews saved_models/reviews/export/1")
def export(
    run: Run,
    path: Annotated[str, typer.Argument(metavar="PATH", help="New folder; of a SavedModel a numbered one.")],
    format: Annotated[str, typer.Option(metavar="NAME", help=f"One of {FORMATS}.")] = "saved_model",
):
    """Write the model for serving, with its preprocessing, and check it; or its backbone or LoRA for others."""
    tuner = _loaded(run)
    tuner.export(path, format)
    print(f"exported  {path}")
    if format.startswith("saved_model"):
        from kerasft.serving import tf_serving

        print(tf_serving.instructions(path, tuner))


@app.command(epilog="Example: kerasft search tuner_configs/text_classification_full.yaml --trials 12 --fit-best")
def search(  # noqa: PLR0913
    recipe: Recipe,
    overrides: Overrides = None,
    trials: Annotated[
        int | None,
        typer.Option(min=1, help="Combinations to try, at most; else 10, all of a grid, or hyperband's plan."),
    ] = None,
    tuner: Annotated[str, typer.Option(metavar="NAME", help="random, grid, hyperband or bayesian.")] = "random",
    directory: Annotated[str | None, typer.Option(metavar="DIR", help="Of the results.")] = None,
    folds: Annotated[
        int | None, typer.Option(min=2, help="For few examples: hold each of these parts back in turn.")
    ] = None,
    fit_best: Annotated[bool, typer.Option("--fit-best", help="Then fit the best recipe.")] = False,
    smoke: Smoke = False,
):
    """Try the ranges of a recipe; write a table of the trials and the best recipe. Goes on where it was interrupted."""
    made, _ = _checked_recipe(recipe, overrides)
    from kerasft.search.search import search as run_search

    if smoke:
        with tempfile.TemporaryDirectory() as scratch:
            _print_trials(run_search(_shrunk(made), tuner=tuner, trials=2, directory=scratch, folds=folds))
        return
    result = run_search(made, tuner=tuner, trials=trials, directory=directory, folds=folds)
    _print_trials(result)
    best = os.path.join(result.directory, "best_recipe.yaml")
    print(f"trials       {os.path.join(result.directory, 'trials.csv')}\nbest recipe  {best}")
    if fit_best:
        _fit(result.best)
    else:
        print(f"fit          kerasft fit {best}")


@app.command(epilog="Example: kerasft compare recipe.yaml --methods 'full,lora,{name: lora, rank: 2}' --test test.csv")
def compare(  # noqa: PLR0913
    recipe: Recipe,
    overrides: Overrides = None,
    methods: Annotated[str, typer.Option(metavar="LIST", help="'full,lora,{name: lora, rank: 32}'")] = "",
    objectives: Annotated[
        str, typer.Option(metavar="LIST", help="Each is added to the recipe's method and compared with it alone.")
    ] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each, with seeds that count up from the recipe's.")] = 3,
    test: Annotated[
        str | None, typer.Option(metavar="DATA", help=f"Examples to score on, in place of the validation data. {DATA}")
    ] = None,
    directory: Annotated[str | None, typer.Option(metavar="DIR", help="Of runs and results.")] = None,
    smoke: Smoke = False,
):
    """Fit variants of a recipe with several seeds; tell by a table and a plot which differ. Goes on if interrupted."""
    made, origin = _checked_recipe(recipe, overrides)
    _refuse_ranges(made, origin, recipe)
    from kerasft.cli import smoke as smoke_module
    from kerasft.compare import plan, report
    from kerasft.compare.compare import compare as run_comparison

    variants = {"methods": plan.parse(methods, "--methods"), "objectives": plan.parse(objectives, "--objectives")}
    examples = _data(test) if test else None
    if smoke:
        made, seeds = smoke_module.shrunk(made), 1
        brief, needed = smoke_module.short({"choice": variants["methods"]})
        made["epochs"], variants["methods"] = max(made["epochs"], needed), brief["choice"]
        examples = examples and smoke_module.few(examples, made)
    planned = plan.make(made, **variants, seeds=seeds, test=examples)
    with tempfile.TemporaryDirectory() if smoke else contextlib.nullcontext(directory) as folder:
        result = run_comparison(planned, folder, shlex.join(["kerasft", *sys.argv[1:]]))
    _print_table(*report.cells(result))
    print("\n".join([f"scored on {result.scored_on}", *result.notes]))
    if not smoke:
        print(f"report  {os.path.join(result.directory, 'comparison.md')}, also as .json and .png")


@app.command(epilog="Example: kerasft average runs/a runs/b runs/c --data valid.csv --directory runs/soup")
def average(  # noqa: PLR0913
    runs: Annotated[list[str], typer.Argument(metavar="RUN…", help="Run folders; one for wise_ft.")],
    data: Annotated[str, typer.Option(metavar="DATA", help=f"Validation examples to score on. {DATA}")],
    directory: Annotated[str, typer.Option(metavar="DIR", help="Run folder of the average; must not exist.")],
    shifted: Annotated[str | None, typer.Option(metavar="DATA", help="Examples of another kind, scored too.")] = None,
    train: Annotated[str | None, typer.Option(metavar="DATA", help="Training data, if BatchNorm learned.")] = None,
    how: Annotated[str, typer.Option(metavar="NAME", help="greedy, uniform or wise_ft.")] = "greedy",
    alpha: Annotated[float | None, typer.Option(help="Of wise_ft: 0 base, 1 run; default is the best.")] = None,
):
    """Average the weights of runs of one backbone, or of one run and its base; write a run folder."""
    load_tensorflow()
    from kerasft import averaging

    given = dict(zip(("data", "shifted", "train"), (d and _data(d) for d in (data, shifted, train)), strict=True))
    result = averaging.average(how, runs, directory, alpha, **given)
    rows = result.rows
    _print_table(list(rows[0]), [[str(cell) for cell in row.values()] for row in rows])
    print(f"run folder  {result.directory}\nreport      {os.path.join(result.directory, 'report.html')}")


@app.command(epilog="Example: kerasft presets bert")
def presets(word: Annotated[str | None, typer.Argument(metavar="WORD", help="In the name or the kind.")] = None):
    """List the pretrained backbones that can be named, or those with a word in them."""
    from kerasft.presets import base

    found = base.entries(word)
    if not found:
        names = [entry.name for entry in base.entries()]
        raise UserError(f"No preset has this word.{nearest(word, names)} Received: {word!r}")
    rows = [
        [entry.name, entry.kind, _scaled(entry.parameters, 1), _scaled(entry.size_bytes, 0), "here" * entry.is_here]
        for entry in found
    ]
    _print_table(["backbone", "kind", "million weights", "MB to fetch", ""], rows)


@app.command(epilog="Example: kerasft doctor")
def doctor():
    """Check what is installed, the devices and the folders; say what mends what is wrong."""
    from kerasft.cli import doctor as checks

    raise typer.Exit(checks.main())


@app.command(epilog="Example: kerasft demo --directory saved_models/demo")
def demo(directory: Annotated[str, typer.Option(metavar="DIR", help="Run folder.")] = "saved_models/demo"):
    """Fine-tune, evaluate and export a small classifier of film reviews, in a few minutes on two CPU cores."""
    load_tensorflow()
    from kerasft.cli import demo as steps

    steps.main(directory)


def _checked_recipe(recipe, overrides):
    made = recipes.read(recipe, overrides or ())
    load_tensorflow()
    from kerasft import FineTuner

    origin = f"{recipe} with {' '.join(overrides)}" if overrides else recipe
    recipes.check(made, (FineTuner, FineTuner.fit), origin)
    return made, origin


def _refuse_ranges(made, origin, recipe):
    found = recipes.ranges(made)
    if found:
        raise UserError(
            f"{origin} has ranges, which only a search can try: kerasft search {recipe}. Received: {', '.join(found)}"
        )


def _shrunk(recipe):
    from kerasft.cli import smoke

    return smoke.shrunk(recipe)


def _fit(recipe):
    from kerasft import FineTuner

    given, arguments = recipes.parted(recipe, FineTuner.fit)
    tuner = FineTuner(**given)
    try:
        tuner.fit(**arguments)
    except Interrupted as interrupted:
        print(f"\n{interrupted}", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


def _dry_run(recipe):
    from kerasft import dry_run

    found = dry_run.dry_run(recipe)
    print("\n".join(dry_run.lines(found)))
    if problem := dry_run.problem(found):
        raise UserError(problem)


def _loaded(run):
    load_tensorflow()
    import kerasft

    return kerasft.load(run)


def _data(text):
    return recipes.parse(text, "DATA") if text.lstrip().startswith(("{", "[")) else text


def _scaled(count, digits):
    return "" if count is None else f"{count / 1e6:,.{digits}f}"


def _shown(cell):
    return f"{cell:.4g}" if isinstance(cell, float) else "" if cell is None else str(cell)


def _print_trials(result):
    rows = result.trials
    if not any(row["error"] for row in rows):
        rows = [{name: value for name, value in row.items() if name != "error"} for row in rows]
    _print_table(list(rows[0]), [[_shown(cell) for cell in row.values()] for row in rows])
    if result.chosen != result.trials[0]:
        print(f"chosen       trial {result.chosen['trial']}, within one standard error of the first and before it")


def _print_table(names, rows):
    """Prints a table to standard output: as wide as the terminal, or as wide as it is where it is piped."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*names, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    Console(highlight=False, width=None if sys.stdout.isatty() else 1000).print(table)
