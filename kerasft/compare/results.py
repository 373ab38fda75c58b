"""From the records of all runs to scores, differences and what they cost."""

import dataclasses
import statistics as stdlib_statistics

import numpy as np

from kerasft.compare import statistics
from kerasft.evaluation.bootstrap import Estimate

SIGNIFICANCE = 0.05
FIGURES = ("trained_weights", "learning_rate", "training_seconds", "peak_memory_mb", "weights_mb")


@dataclasses.dataclass(frozen=True)
class Row:
    """What is known of a variant.

    Attributes:
        variant: str.
        seeds: list of int. Those that were fitted and scored.
        score: Estimate.
        difference: kerasft.compare.statistics.Difference or None. To the baseline, over the seeds that both have.
        p: float or None. That of the difference, adjusted for the number of variants.
        verdict: str. `"higher"`, `"lower"`, or `"="` where chance may be all; empty for the baseline.
        figures: dict. Medians over the seeds of `trained_weights`, `learning_rate`, `training_seconds`,
            `peak_memory_mb` and `weights_mb`; None where it is not known.
    """

    variant: str
    seeds: list
    score: Estimate
    difference: statistics.Difference | None
    p: float | None
    verdict: str
    figures: dict


@dataclasses.dataclass(frozen=True)
class Result:
    """What a comparison found.

    Attributes:
        metric: str. The mean over the examples of what is compared; higher is better.
        scored_on: str. seeds: list of int. notes: list of str. As in the Plan.
        baseline: str. The variant that the others are compared with: the first that has a score.
        table: list of Row, the best first.
        runs: list of dict. The record of each run, without its scores on single examples.
        directory: str. Holds the runs, `comparison.json`, `comparison.md` and `comparison.png`.
    """

    metric: str
    scored_on: str
    seeds: list
    notes: list
    baseline: str
    table: list
    runs: list
    directory: str


def of(plan, records, directory):
    """Returns the Result of the runs that have scores so far.

    Args:
        plan: kerasft.compare.plan.Plan.
        records: list of dict. Of each run, whether it was made or not.
        directory: str. Of the runs.
    """
    records = [record if _is_current(record, plan) else _without_scores(record) for record in records]
    scored = [record for record in records if "scores" in record]
    by_variant = {variant.name: {} for variant in plan.variants}
    for record in scored:
        by_variant[record["variant"]][record["seed"]] = record
    found = {name: runs for name, runs in by_variant.items() if runs}
    baseline = next(iter(found), "")
    differences = {name: _difference(runs, found[baseline]) for name, runs in found.items() if name != baseline}
    differences = {name: difference for name, difference in differences.items() if difference}
    adjusted = statistics.holm([difference.p for difference in differences.values()])
    p_values = dict(zip(differences, adjusted, strict=True))
    rows = [_row(name, runs, differences.get(name), p_values.get(name)) for name, runs in found.items()]
    return Result(
        metric=scored[0]["metric"] if scored else "",
        scored_on=plan.scored_on,
        seeds=plan.seeds,
        notes=plan.notes + _notes(plan, records),
        baseline=baseline,
        table=sorted(rows, key=lambda row: -row.score.value),
        runs=[_run(record) for record in records if record],
        directory=directory,
    )


def _is_current(record, plan):
    """Returns True if the scores are of the examples to score on, as they are now."""
    is_same = record.get("test") == plan.digests.get("test")
    return is_same and len(record.get("scores", ())) == plan.examples


def _without_scores(record):
    return {key: value for key, value in record.items() if key != "scores"}


def _difference(runs, baseline):
    """Returns the Difference over the seeds of both, or None without any."""
    seeds = [seed for seed in runs if seed in baseline]
    if not seeds:
        return None
    return statistics.difference(*([which[seed]["scores"] for seed in seeds] for which in (runs, baseline)))


def _row(name, runs, difference, p):
    verdict = ""
    if difference:
        verdict = "=" if p >= SIGNIFICANCE else "higher" if difference.value > 0 else "lower"
    figures = {key: _median([run["figures"][key] for run in runs.values()]) for key in FIGURES}
    score = statistics.mean(np.array([run["scores"] for run in runs.values()]))
    return Row(name, list(runs), score, difference, p, verdict, figures)


def _median(values):
    """Returns the value in the middle, which a machine that is busy with something else now and then leaves alone."""
    return None if None in values else stdlib_statistics.median(values)


def _run(record):
    return _without_scores(record) | ({"score": stdlib_statistics.mean(record["scores"])} if "scores" in record else {})


def _notes(plan, records):
    """Returns what the table lacks."""
    notes = [
        f"{record['variant']}, seed {record['seed']} failed: {record['error'].splitlines()[0]}"
        for record in records
        if "error" in record
    ]
    missing = sum("scores" not in record and "error" not in record for record in records)
    if missing:
        notes.append(f"{missing} of {len(records)} runs are still to be made.")
    if len(plan.seeds) == 1:
        notes.append("With one seed, intervals and p-values are of the examples alone: another seed may differ more.")
    return notes
