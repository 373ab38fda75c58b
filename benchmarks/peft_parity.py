"""Compares hidden states with Hugging Face's PEFT, which reads kerasft's LoRAs and whose LoRAs kerasft reads.

python -m benchmarks.peft_parity

PEFT runs in .venv-peers. The bases are random and tiny, in float32: a BERT, a RoBERTa, a DistilBERT, a Llama and a
Qwen2, each as a folder of Hugging Face's; the adapters are a LoRA of queries and values, and an rsLoRA and a DoRA of
all linear layers of the blocks.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.run import PYTHON, ROOT

KINDS = ("bert", "roberta", "distilbert", "llama", "qwen2")
VARIANTS = ("lora", "rslora", "dora")
TOLERANCE = 1e-5  # The hidden states are of the size of 1.


def main():
    """Prints the table; the exit code is 1 if a hidden state differs by more than the tolerance."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        peer("write", folder)
        for kind in KINDS:
            for variant in VARIANTS:
                read_and_write(folder / kind, variant)
        peer("read", folder)
        rows = [row for kind in KINDS for row in differences(folder / kind)]
    print(f"{'base':12}{'adapter':10}{'changes':>10}{'PEFT to kerasft':>18}{'kerasft to PEFT':>18}")
    for kind, variant, *values in rows:
        print(f"{kind:12}{variant:10}{values[0]:10.2f}{values[1]:18.1e}{values[2]:18.1e}")
    return int(max(max(row[3:]) for row in rows) > TOLERANCE)


def peer(command, folder):
    arguments = [str(PYTHON["peers"]), "-m", "benchmarks.peers.peft_adapters", command, str(folder)]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"PEFT failed:\n{done.stderr}")


def read_and_write(folder, variant):
    """Saves hidden states with PEFT's adapter (`read.npy`), and an adapter of other values with its own."""
    import kerasft
    from kerasft import deltas

    method = kerasft.methods.LoRA.from_peft(folder / variant / "theirs")
    tuner = kerasft.FineTuner("text_classification", str(folder / "base"), method, labels=["no", "yes"])
    pairs = deltas.of(tuner.model)
    np.save(folder / variant / "read.npy", hidden(tuner, folder))
    random = np.random.default_rng(0)
    for _, delta in pairs:
        delta.a.assign(random.normal(scale=0.1, size=delta.a.shape))
        delta.b.assign(random.normal(scale=0.1, size=delta.b.shape))
        if delta.use_dora:
            delta.length.assign(delta.length * random.uniform(0.5, 2.0, delta.length.shape))
    tuner.export(folder / variant / "ours", format="peft")
    np.save(folder / variant / "written.npy", hidden(tuner, folder))


def hidden(tuner, folder):
    arrays = np.load(folder / "inputs.npz")
    given = {"token_ids": arrays["input_ids"], "padding_mask": arrays["attention_mask"]}
    given["segment_ids"] = np.zeros_like(given["token_ids"])
    backbone = tuner.pretrained.backbone
    outputs = backbone({name: given[name] for name in backbone.input})
    return np.asarray(outputs["sequence_output"] if isinstance(outputs, dict) else outputs)


def differences(folder):
    """Yields rows of base, adapter, how much PEFT's adapter changes, and the largest difference each way."""
    mask = np.load(folder / "inputs.npz")["attention_mask"].astype(bool)
    base = np.load(folder / "base.npy")
    for variant in VARIANTS:
        names = ("theirs", "read", "ours", "written")
        theirs, read, ours, written = (np.load(folder / variant / f"{name}.npy") for name in names)
        pairs = ((theirs, base), (theirs, read), (ours, written))
        yield folder.name, variant, *(float(np.abs(a - b)[mask].max()) for a, b in pairs)


if __name__ == "__main__":
    sys.exit(main())
