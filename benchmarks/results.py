"""From the runs of a suite to its JSON, its table and its picture."""

import json
import os
import platform
import statistics

FIGURES = {
    "accuracy": "accuracy on test",
    "spearman": "Spearman on test",
    "f1": "F1 on test",
    "cross_entropy": "cross-entropy on test",
    "steady_examples_per_second": "examples/s, steady",
    "examples_per_second": "examples/s, with the first steps",
    "training_seconds": "training, s",
    "first_step_seconds": "start to first step, s",
    "peak_rss_mb": "peak memory, MB",
    "peak_anonymous_mb": "without pages of files, MB",
}
PLOTTED = ("accuracy", "spearman", "f1", "cross_entropy", "examples_per_second", "peak_rss_mb")
MEANS = (
    "accuracy",
    "spearman",
    "f1",
    "cross_entropy",
)  # Of the others, which a busy machine disturbs now and then, the median is shown.
RATIOS = {
    "steady_examples_per_second": "steady ratio",
    "examples_per_second": "speed ratio",
    "peak_rss_mb": "memory ratio",
}


def write(folder, suite, jobs, runs):
    """Writes `<suite>.json`, `.md` and `.png` to `folder`.

    Args:
        folder: pathlib.Path.
        suite: str.
        jobs: list of str. Names in the order of the table; ratios are to the first.
        runs: list of dict, each a job's JSON with its `name`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    summary = {job: _summary([run for run in runs if run["name"] == job]) for job in jobs}
    ratios = {job: {key: _ratio(summary[job][key], summary[jobs[0]][key]) for key in RATIOS} for job in jobs}
    content = {"suite": suite, "machine": machine(), "summary": summary, "ratios": ratios, "runs": runs}
    (folder / f"{suite}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (folder / f"{suite}.md").write_text(_table(content), encoding="utf-8")
    _plot(summary, folder / f"{suite}.png")


def machine():
    """Returns processor, whether it computes in bfloat16, cores, memory and system as a dict.

    Family and model tell generations apart that share a name, of which one multiplies twice as fast.
    """
    text = ""
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            text = file.read()
    lines = [line.split(":") for line in text.splitlines() if ":" in line]
    found = {key.strip(): value.strip() for key, value, *_ in lines}
    generation = f" (family {found['cpu family']}, model {found['model']})" if "cpu family" in found else ""
    return {
        "processor": found.get("model name", platform.processor()) + generation,
        "bfloat16": "avx512_bf16" in text or "amx_bf16" in text,
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": platform.system(),
    }


def _summary(runs):
    values = {key: [run.get(key) for run in runs] for key in FIGURES}
    return {key: None if None in v else _spread(key, v) for key, v in values.items()}


def _spread(key, values):
    typical = statistics.fmean(values) if key in MEANS else statistics.median(values)
    return {"typical": typical, "min": min(values), "max": max(values)}


def _ratio(figure, first):
    return figure and first and figure["typical"] / first["typical"]


def _table(content):
    first, summaries = next(iter(content["summary"])), content["summary"].values()
    shown = [key for key in FIGURES if any(figures[key] for figures in summaries)]
    counts = {run["name"] for run in content["runs"]}
    repeats = len(content["runs"]) // len(counts)
    where = content["machine"]
    bfloat16 = "with" if where["bfloat16"] else "without"
    lines = [
        f"# {content['suite']}",
        "",
        f"Median, of scores the mean, of {repeats} runs (lowest to highest), jobs in turn; ratios to {first}. "
        f"{where['processor']} ({bfloat16} bfloat16), {where['cores']} cores, {where['memory_gib']} GiB. "
        f"Versions and settings of every run are in {content['suite']}.json.",
        "",
        "| job | " + " | ".join([FIGURES[key] for key in shown] + list(RATIOS.values())) + " |",
        "|---|" + "---|" * (len(shown) + len(RATIOS)),
    ]
    for job, figures in content["summary"].items():
        cells = [_cell(key, figures[key]) for key in shown]
        cells += [f"{ratio:.2f}" if ratio else "–" for ratio in content["ratios"][job].values()]
        lines.append(f"| {job} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(key, figure):
    if not figure:  # Such as the accuracy where only speed is measured.
        return "–"
    digits = ".4f" if key in MEANS else ".0f" if key.endswith("_mb") else ".1f"
    return f"{figure['typical']:{digits}} ({figure['min']:{digits}} to {figure['max']:{digits}})"


def _plot(summary, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    jobs = list(summary)[::-1]  # The first on top.
    colors = ["tab:orange" if job.startswith("kerasft") else "tab:gray" for job in jobs]
    shown = [key for key in PLOTTED if all(summary[job][key] for job in jobs)]
    figure, axes = plt.subplots(1, len(shown), figsize=(11, 0.9 + 0.45 * len(jobs)), sharey=True, layout="constrained")
    for axis, key in zip(axes, shown, strict=True):
        low, typical, high = ([summary[job][key][which] for job in jobs] for which in ("min", "typical", "max"))
        if key in MEANS:  # Its axis does not begin at 0, so it has no bars.
            axis.scatter(typical, jobs, color=colors, zorder=2)
            axis.grid(axis="x", alpha=0.3)
        else:
            axis.barh(jobs, typical, color=colors)
        axis.hlines(jobs, low, high, color="black", linewidth=1)
        axis.set_title(FIGURES[key], fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
