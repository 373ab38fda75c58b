"""The sections of a report on the result as a whole and on the training: each from its subject to HTML."""

import math
import shlex

from kerasft import files
from kerasft.evaluation import _charts
from kerasft.evaluation._markup import escape, section, tag

# What a reader must know of a measure to make something of its value.
EXPLAINED = {
    "macro_f1": ("Macro F1", "mean over the classes"),
    "micro_f1": ("Micro F1", "over all labels at once"),
    "matthews_correlation": ("Matthews correlation", "0 chance, 1 perfect"),
    "auroc": ("AUROC", "0.5 chance, 1 perfect"),
    "log_loss": ("Log loss", "in nats, 0 perfect"),
    "expected_calibration_error": ("Calibration error", "0 perfect"),
    "precision": ("Precision", "of the spans predicted"),
    "recall": ("Recall", "of the spans there are"),
    "word_accuracy": ("Word accuracy", "share of words with the right tag"),
    "exact": ("Exact match", "share of answers right to the word"),
    "bleu": ("BLEU", "0 to 100, runs of up to four words"),
    "rouge_l": ("ROUGE-L", "F of the longest common sequence of words"),
    "cross_entropy": ("Cross-entropy", "in nats a token, 0 perfect"),
    "token_accuracy": ("Token accuracy", "share of tokens that are the likeliest"),
    "pearson": ("Pearson", "correlation"),
    "ndcg": ("nDCG", "of the first ten"),
    "recall@1": ("Recall at 1", "the nearest is right"),
    "recall@5": ("Recall at 5", "of the right partners"),
    "recall@10": ("Recall at 10", "of the right partners"),
    "spearman": ("Spearman", "correlation of the ranks"),
    "r2": ("R²", "share of the variance explained"),
    "mean_absolute_error": ("Mean absolute error", "in the data's unit"),
    "root_mean_squared_error": ("Root mean squared error", "in the data's unit"),
}


def headline(evaluation, title):
    """Returns the one result that counts, in plain words."""
    found = evaluation.headline()
    unit = tag("small", f"\N{NO-BREAK SPACE}{found.unit}") if found.unit else ""
    value = tag("div", found.value, unit, class_="value")
    described = tag("div", escape(found.words), "<br>", tag("span", found.span), class_="words")
    kicker = tag("p", "kerasft report", class_="kicker")
    aside = tag("p", escape(found.aside), class_="aside") if found.aside else ""
    return kicker + tag("h1", escape(title)) + tag("div", value, described, class_="headline") + aside


def tiles(evaluation):
    """Returns the measures other than the headline's, with their intervals."""
    cards = []
    for name, estimate in evaluation.metrics.items():
        if name in EXPLAINED:
            shown, meaning = EXPLAINED[name]
            named, value = tag("div", shown, class_="name"), tag("div", decimal(estimate.value), class_="value")
            cards.append(
                tag("div", named, value, tag("div", _span(estimate), "<br>", meaning, class_="range"), class_="card")
            )
    return tag("div", *cards, class_="tiles")


def trained(facts):
    """Returns what was trained, from what and how."""
    pairs = [
        tag("div", tag("dt", escape(str(name)[:1].upper() + str(name)[1:])), tag("dd", escape(value)))
        for name, value in facts.items()
    ]
    return section("What was trained", "", tag("dl", *pairs, class_="facts")) if facts else ""


def learning_curves(history):
    """Returns the course of each number of a Keras history, training and validation in one chart."""
    series = {name: values for name, values in (history or {}).items() if _are_numbers(values)}
    figures = []
    for name in dict.fromkeys(name.removeprefix("val_") for name in series):
        drawn = _charts.curve(name, series.get(name, []), series.get(f"val_{name}", []))
        caption = tag("figcaption", tag("h3", escape(name.replace("_", " "))))
        figures.append(tag("figure", caption, drawn, class_="card"))
    keys = tag("span", "training", class_="key") + tag("span", "validation", class_="key validation")
    return section("Learning curves", f"By epoch: {keys}", tag("div", *figures, class_="charts")) if figures else ""


def reproduce(directory):
    """Returns the commands that make the same run and the same report again."""
    commands = f"kerasft fit recipe.yaml\nkerasft evaluate {shlex.quote(files.shown(directory))} DATA"
    words = (
        f"{tag('code', 'recipe.yaml')}, beside this page, holds every setting and the seed. "
        "The second command measures again, on this or other data."
    )
    return section("How to reproduce", words, tag("pre", tag("code", escape(commands)), class_="card"))


def decimal(value):
    """Returns a measure with four digits, or a dash where it is not defined."""
    return f"{value:.4f}" if math.isfinite(value) else "\N{EN DASH}"


def _span(estimate):
    if not math.isfinite(estimate.low):
        return "not defined on these examples"
    return f"{decimal(estimate.low)} to {decimal(estimate.high)}"


def _are_numbers(values):
    return len(values) > 0 and all(isinstance(value, (int, float)) for value in values)
