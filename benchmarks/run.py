"""Runs the suites: each job in a process of its own, the jobs in turn (A B C A B C …), and writes what came out.

python -m benchmarks.run all --data DATA                 every suite, three times each
python -m benchmarks.run sst2_speed --data DATA --quick  a try-out of one suite, results in a temporary folder

Results go to benchmarks/results/: <suite>.json with every run, <suite>.md with its table, <suite>.png.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import models, results

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = {"ours": ".venv", "peers": ".venv-peers", "adapters": ".venv-adapters"}
PYTHON = {name: ROOT / folder / "bin/python" for name, folder in ENVIRONMENTS.items()}
SPEED_ROWS = 1920  # 60 steps of 32; the first 20 are warm-up.

HF = ("peers", "benchmarks.peers.hf_trainer", "--model", "MINILM", "--group_by_length")
HF_TOKENS = ("peers", "benchmarks.peers.hf_tokens", "--model", "MINILM", "--group_by_length")
HF_ANSWERS = ("peers", "benchmarks.peers.hf_answers", "--model", "MINILM", "--group_by_length")
HF_CAUSAL = ("peers", "benchmarks.peers.hf_causal", "--model", "SMOLLM2", "--group_by_length")
KERAS_HUB = ("ours", "benchmarks.peers.keras_hub_fit", "--model", "MINILM")
KERASFT = ("ours", "benchmarks.ours", "sst2")
SST2 = ("--train", "DATA/sst2/train.tsv", "--test", "DATA/sst2/test.tsv")
UNER = ("--train", "DATA/uner/dev.iob2", "--test", "DATA/uner/test.iob2", "--epochs", "5", "--batch_size", "16")
XQUAD = (
    *("--train", "DATA/xquad/xquad.en.json", "--test", "DATA/xquad/xquad.en.json", "--rows", "900"),
    *("--epochs", "10", "--batch_size", "16", "--learning_rate", "1e-4"),
)
STSB = ("--train", "DATA/stsb/train.csv", "--test", "DATA/stsb/test.csv")
SPEED = (*SST2, "--epochs", "1", "--rows", str(SPEED_ROWS))
GROWN = (*SST2, "--epochs", "1")
GROWTH = {  # Rows, and sentences a text.
    "data x1": ("--rows", "1000"),
    "data x4": ("--rows", "4000"),
    "data x16": ("--rows", "16000"),
    "length x4": ("--rows", "1000", "--joined", "4"),
}
CLOTHES = ("--data", "DATA/fashion-mnist")
KERAS_FASHION = ("ours", "benchmarks.peers.keras_fashion", *CLOTHES)
KERASFT_FASHION = ("ours", "benchmarks.ours", "fashion", *CLOTHES)
LORA = "{name: lora, layers: query|value}"  # PEFT's choice of layers for BERT.
PROBE = ("--method", "linear_probe", "--epochs", "10")
ASKED_THERE = (*SST2, "--epochs", "1", "--rows", "800", "--batch_size", "4", "--learning_rate", "5e-4")
ASKED = (*ASKED_THERE, "--method", "{name: lora, rank: 8, layers: query|value}")
SENTENCES = ("--train", "DATA/sst2/train.tsv", "--rows", "10000")

BFLOAT16 = ("--bf16",) if results.machine()["bfloat16"] else ()  # What kerasft's automatic precision is.
# What both sides have, with the learning rate of either: PEFT's, but bit_fit, which is a loop over PyTorch's weights,
# and adapter, which is AdapterHub's.
RATES = {"ia3": "5e-3", "bit_fit": "1e-3", "prompt_tuning": "3e-2", "adapter": "1e-3", "lora": "1e-3"}
DELTAS = {
    "ia3": (HF, "PEFT"),
    "bit_fit": (HF, "HF Trainer"),
    "prompt_tuning": (HF, "PEFT"),
    "adapter": (("adapters", *HF[1:]), "AdapterHub"),
}

# A suite is its jobs by name; a job is an environment, a module and its arguments. Ratios are to the first job.
SUITES = {
    "sst2_accuracy": {
        "kerasft": (*KERASFT, *SST2, "--precision", "auto"),  # As it comes, and so the Trainer.
        "HF Trainer": (*HF, *SST2),
        "kerasft, float32": (*KERASFT, *SST2),
        "HF Trainer, bf16": (*HF, *SST2, "--bf16"),
    },
    "stsb": {
        "kerasft": ("ours", "benchmarks.ours", "stsb", *STSB, "--precision", "auto"),
        "HF Trainer": (*HF, *STSB),
    },
    "uner": {
        "kerasft": ("ours", "benchmarks.ours", "uner", *UNER, "--precision", "auto"),
        "HF Trainer": (*HF_TOKENS, *UNER),
    },
    "xquad": {
        "kerasft": ("ours", "benchmarks.ours", "xquad", *XQUAD, "--precision", "auto"),
        "HF Trainer": (*HF_ANSWERS, *XQUAD),
    },
    "sst2_speed": {
        "kerasft, float32": (*KERASFT, *SPEED),
        "HF Trainer, float32": (*HF, *SPEED),
        "KerasHub fit, float32": (*KERAS_HUB, *SPEED, "--sequence_length", "128"),
        "KerasHub fit, float32, its default length": (*KERAS_HUB, *SPEED, "--sequence_length", "512"),
        "kerasft, auto": (*KERASFT, *SPEED, "--precision", "auto"),
        "HF Trainer, bf16": (*HF, *SPEED, "--bf16"),
    },
    "growth": {
        f"{who}, {what}": (*job, *GROWN, *size)
        for what, size in GROWTH.items()
        for who, job in (
            ("kerasft", ("ours", "benchmarks.ours", "growth", "--precision", "auto")),
            ("HF Trainer", (*HF, "--growth", *BFLOAT16)),
        )
    },
    "sst2_peft": {
        f"{who}, {method}": (*job, *SST2, "--method", method, "--learning_rate", RATES[method])
        for method, (peer, peer_name) in DELTAS.items()
        for who, job in (("kerasft", (*KERASFT, "--precision", "auto")), (peer_name, (*peer, *BFLOAT16)))
    },
    "sst2_linear_probe": {
        "kerasft": (*KERASFT, *SST2, *PROBE, "--learning_rate", "5e-3"),
        "HF Trainer": (*HF, *SST2, *PROBE, "--learning_rate", "5e-3"),
    },
    "sst2_freeze": {
        "kerasft": (*KERASFT, *SST2, "--method", "{name: freeze, blocks: 4}", "--epochs", "5"),
        "HF Trainer": (*HF, *SST2, "--method", "freeze", "--epochs", "5"),
    },
    "sst2_lora": {
        "kerasft": (*KERASFT, *SST2, "--method", LORA, "--learning_rate", RATES["lora"]),
        "HF Trainer and PEFT": (*HF, *SST2, "--method", "lora", "--learning_rate", RATES["lora"]),
    },
    "instructions": {
        "kerasft, float32": ("ours", "benchmarks.ours", "instructions", *ASKED),
        "Trainer and PEFT, float32": (*HF_CAUSAL, *ASKED_THERE),
        "kerasft, auto": ("ours", "benchmarks.ours", "instructions", *ASKED, "--precision", "auto"),
        "Trainer and PEFT, bf16": (*HF_CAUSAL, *ASKED_THERE, "--bf16"),
    },
    "predict": {
        "kerasft": ("ours", "benchmarks.predict", *SENTENCES),
        "transformers pipeline": ("peers", "benchmarks.peers.hf_pipeline", "--model", "MINILM", *SENTENCES),
    },
    "fashion_linear_probe": {
        "kerasft": (*KERASFT_FASHION, *PROBE),
        "Keras": (*KERAS_FASHION, *PROBE),
    },
    "fashion": {
        "kerasft, full": KERASFT_FASHION,
        "Keras, full": KERAS_FASHION,
        "kerasft, linear_probe": (*KERASFT_FASHION, "--method", "linear_probe"),
        "Keras, linear_probe": (*KERAS_FASHION, "--method", "linear_probe"),
    },
}
# PyTorch's bfloat16 is ten times slower than its float32 where the processor has no instructions for it, and
# kerasft's automatic precision is float32 there: nothing to compare.
NEED_BFLOAT16 = {"kerasft, auto", "HF Trainer, bf16", "Trainer and PEFT, bf16"}
QUICK = {
    "sst2_accuracy": ("--rows", "960", "--epochs", "1"),
    "stsb": ("--rows", "320", "--epochs", "1"),
    "uner": ("--rows", "320", "--epochs", "1"),
    "xquad": ("--rows", "200", "--epochs", "1"),
    "sst2_speed": ("--rows", "960"),
    "growth": ("--rows", "320"),
    "sst2_peft": ("--rows", "320", "--epochs", "1"),
    "sst2_linear_probe": ("--rows", "640", "--epochs", "2"),
    "sst2_freeze": ("--rows", "640", "--epochs", "2"),
    "sst2_lora": ("--rows", "960", "--epochs", "1"),
    "instructions": ("--rows", "80"),
    "predict": ("--rows", "640"),
    "fashion_linear_probe": ("--rows", "960", "--epochs", "2", "--test_rows", "500"),
    "fashion": ("--rows", "960", "--epochs", "1", "--test_rows", "500"),
}


def command(job, places, seed, extra):
    """Returns the command line of a job."""
    environment, *arguments = job
    for mark, place in places.items():
        arguments = [argument.replace(mark, place) for argument in arguments]
    return [str(PYTHON[environment]), "-m", *arguments, "--seed", str(seed), *extra]


def run_job(arguments, places=()):
    """Runs one job and returns its line of JSON as a dict, with the marks of `places` where it names one of them.

    Exits with the job's last lines if it fails.
    """
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "2", "KERAS_BACKEND": "tensorflow", "HF_HUB_OFFLINE": "1"}
    process = subprocess.run(arguments, cwd=ROOT, env={**os.environ, **quiet}, capture_output=True, text=True)
    lines = [line for line in process.stdout.splitlines() if line.startswith('{"job"')]
    if process.returncode or not lines:
        tail = "\n".join(process.stderr.splitlines()[-25:])
        sys.exit(f"{tail}\nThe job failed with exit code {process.returncode}: {' '.join(arguments)}")
    line = lines[-1]
    for mark, place in dict(places).items():
        line = line.replace(place, mark)
    return json.loads(line)


def jobs_of(suite):
    """Returns the jobs of a suite that make sense on this machine, by name."""
    left_out = set() if results.machine()["bfloat16"] else NEED_BFLOAT16
    return {name: job for name, job in SUITES[suite].items() if name not in left_out}


def run_suite(suite, places, repeats, extra):
    """Runs the jobs of a suite in turn; yields the list of what they printed so far, after each repeat.

    To each its name and time are added.
    """
    jobs, runs, seconds = jobs_of(suite), [], {}
    total = repeats * len(jobs)
    for seed in range(repeats):
        for name, job in jobs.items():
            began = time.monotonic()
            started = datetime.datetime.now().isoformat(timespec="seconds")
            run = run_job(command(job, places, seed, extra), places)
            runs.append({"name": name, "repeat": seed, "started": started, **run})
            seconds[name] = time.monotonic() - began
            typical = sum(seconds.values()) / len(seconds)
            left = sum(seconds.get(later, typical) for later in (list(jobs) * repeats)[len(runs) :])
            print(
                f"{suite} {len(runs)}/{total}  {name}, seed {seed}: {_score(run)}"
                f"{run['examples_per_second']} examples/s, {run['peak_rss_mb']} MB, "
                f"{seconds[name]:.0f} s; about {left / 60:.0f} min left",
                flush=True,
            )
        yield list(runs)


def _score(run):
    return "".join(f"{name} {run[name]:.4f}, " for name in results.MEANS if name in run)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("suite", choices=[*SUITES, "all"])
    parser.add_argument("--data", required=True, help="folder with sst2/ and fashion-mnist/, see benchmarks/README.md")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one repeat of a few steps, to try it out")
    arguments = parser.parse_args()

    suites = list(SUITES) if arguments.suite == "all" else [arguments.suite]
    places = {"DATA": str(Path(arguments.data).resolve())}
    words = {word for suite in suites for job in jobs_of(suite).values() for word in job}
    places |= {name.upper(): str(models.folder(name)) for name in models.MODELS if name.upper() in words}
    target = Path(tempfile.mkdtemp()) if arguments.quick else ROOT / "benchmarks" / "results"
    for suite in suites:
        extra = QUICK[suite] if arguments.quick else ()
        for runs in run_suite(suite, places, 1 if arguments.quick else arguments.repeats, extra):
            results.write(target, suite, list(jobs_of(suite)), runs)
        print((target / f"{suite}.md").read_text(encoding="utf-8"))
    print(f"Results are in {target}")


if __name__ == "__main__":
    main()
