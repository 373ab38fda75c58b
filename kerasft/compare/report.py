"""A comparison as table, JSON, Markdown and picture."""

import dataclasses
import json
import os
import platform

from kerasft import files, run_folder
from kerasft.compare import chart, results

HOW = (
    "Each interval covers other seeds and other examples of the same kind, 95 of 100 times. *p* is the probability of "
    "such a difference by chance alone, in either direction, paired by seed and example (random effects of both, "
    "Hillis 2007) and adjusted for the number of comparisons (Holm). *Higher* and *lower* are differences that are "
    f"real at {results.SIGNIFICANCE:.0%}; those marked = may be chance, which does not show that there is none."
)
COSTS = (
    "*Seconds* are of the training alone, from the first to the last epoch, validation and loading not counted; "
    "*memory* is the greatest that the process had until training was done (of the GPUs together, if there are any); "
    "*on disk* are the weights of a saved run. All are medians over the seeds."
)


def write(result, command):
    """Writes `comparison.json`, `comparison.md` and `comparison.png`; each file is replaced as a whole.

    Args:
        result: kerasft.compare.results.Result.
        command: str. What makes it again.
    """
    content = {"command": command, "machine": machine(), "versions": run_folder.versions()}
    content |= {
        key: value for key, value in dataclasses.asdict(result).items() if key not in ("table", "runs", "directory")
    }
    content["variants"] = [_plain(row) for row in result.table]
    content["runs"] = result.runs
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    made = {"json": text.encode(), "md": markdown(result, command).encode()}
    if result.table:
        made["png"] = chart.png(result)
    for ending, data in made.items():
        path = os.path.join(result.directory, f"comparison.{ending}")
        with files.replaced(path) as partial, open(partial, "wb") as file:
            file.write(data)


def cells(result):
    """Returns the names of the table's columns, and its rows as lists of str."""
    names = ["variant", result.metric, "95 % interval", f"difference to {result.baseline}", "95 % interval", "p", ""]
    names += ["weights trained", "learning rate", "seconds", "memory MB", "on disk MB"]
    return names, [_cells(row) for row in result.table]


def markdown(result, command):
    """Returns the table with all that is needed to read it and to make it again."""
    names, rows = cells(result)
    # What a name holds must not end a cell.
    lines = ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in (names, *rows)]
    lines.insert(1, "|---" * 2 + "|---:" * (len(names) - 2) + "|")
    about = f"Scored on {result.scored_on}; seeds {', '.join(map(str, result.seeds))}; {machine()}."
    blocks = ["# Comparison", f"```\n{command}\n```" if command else "", about, "\n".join(lines)]
    blocks += ["\n".join(f"- {note}" for note in result.notes), HOW, COSTS]
    blocks += ["![Score against weights trained, seconds and memory](comparison.png)"]
    return "\n\n".join(block for block in blocks if block) + "\n"


def machine():
    """Returns processor and number of cores in words."""
    return f"{_processor()}, {os.cpu_count()} cores, {platform.system()}"


def _processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _cells(row):
    difference, figures = row.difference, row.figures
    made = [row.variant, f"{row.score.value:.4f}", _interval(row.score)]
    made += [f"{difference.value:+.4f}", _interval(difference), _p(row.p), row.verdict] if difference else [""] * 4
    made += [f"{figures['trained_weights']:,.0f}", f"{figures['learning_rate']:.2g}"]
    made.append(f"{figures['training_seconds']:,.1f}")
    made.append("" if figures["peak_memory_mb"] is None else f"{figures['peak_memory_mb']:,.0f}")
    return [*made, f"{figures['weights_mb']:.3g}"]


def _interval(estimate):
    return f"{estimate.low:.4f} to {estimate.high:.4f}"


def _p(p):
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _plain(row):
    difference = row.difference and row.difference._asdict()
    return {**dataclasses.asdict(row), "score": row.score._asdict(), "difference": difference}
