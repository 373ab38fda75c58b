"""Compares hidden states with Hugging Face's PEFT, which reads kerasft's LoRAs and whose LoRAs kerasft reads.

python -m benchmarks.peft_parity

PEFT runs in .venv-peers. The bases are random and tiny: a BERT, a RoBERTa, a DistilBERT, a Llama and a Qwen2, each as
a folder of Hugging Face's; the adapters are a LoRA of queries and values, and an rsLoRA and a DoRA of all linear layers
of the blocks. Both compute in float64 (but for norms and rotations of the decoders), where what differs is the formula
and not the rounding; of float32 the table shows how far each is from PEFT's float64.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np

import kerasft
from benchmarks.run import PYTHON, ROOT
from kerasft import deltas

KINDS = ("bert", "roberta", "distilbert", "llama", "qwen2")
VARIANTS = ("lora", "rslora", "dora")
TOLERANCE = 1e-5  # In float64; the hidden states are of the size of 1.


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
    print(f"{'':33}{'float64':^28}{'rounding of float32':>22}")
    print(
        f"{'base':12}{'adapter':10}{'changes':>10}{'PEFT→kerasft':>15}{'kerasft→PEFT':>14}{'PEFT':>11}{'kerasft':>11}"
    )
    for kind, variant, change, *others in rows:
        print(f"{kind:12}{variant:10}{change:10.2f}" + "".join(f"{other:13.1e}" for other in others))
    return int(max(max(row[3:5]) for row in rows) > TOLERANCE)


def peer(command, folder):
    arguments = [str(PYTHON["peers"]), "-m", "benchmarks.peers.peft_adapters", command, str(folder)]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"PEFT failed:\n{done.stderr}")


def read_and_write(folder, variant):
    """Saves hidden states with PEFT's adapter (`read`), and an adapter of other values with its own (`written`)."""
    for dtype in ("float32", "float64"):
        keras.config.set_floatx(dtype)
        keras.config.set_dtype_policy(dtype)
        method = kerasft.methods.LoRA.from_peft(folder / variant / "theirs")
        tuner = kerasft.FineTuner("text_classification", str(folder / "base"), method, labels=["no", "yes"])
        pairs = deltas.of(tuner.model)
        np.save(folder / variant / f"read.{dtype}.npy", hidden(tuner, folder))
    random = np.random.default_rng(0)
    for _, delta in pairs:
        delta.a.assign(random.normal(scale=0.1, size=delta.a.shape).astype("float32"))
        delta.b.assign(random.normal(scale=0.1, size=delta.b.shape).astype("float32"))
        if delta.use_dora:
            lengths = delta.length * random.uniform(0.5, 2.0, delta.length.shape)
            delta.length.assign(np.asarray(lengths, "float32"))
    tuner.export(folder / variant / "ours", format="peft")
    np.save(folder / variant / "written.float64.npy", hidden(tuner, folder))


def hidden(tuner, folder):
    arrays = np.load(folder / "inputs.npz")
    given = {"token_ids": arrays["input_ids"], "padding_mask": arrays["attention_mask"]}
    given["segment_ids"] = np.zeros_like(given["token_ids"])
    backbone = tuner.pretrained.backbone
    outputs = backbone({name: given[name] for name in backbone.input})
    return np.asarray(outputs["sequence_output"] if isinstance(outputs, dict) else outputs)


def differences(folder):
    """Yields rows of base, adapter, how much PEFT's adapter changes, and the largest differences of the table."""
    mask = np.load(folder / "inputs.npz")["attention_mask"].astype(bool)
    base = np.load(folder / "base.float64.npy")
    for variant in VARIANTS:
        names = ("theirs.float64", "read.float64", "ours.float64", "written.float64", "theirs.float32", "read.float32")
        theirs, read, ours, written, *rounded = (np.load(folder / variant / f"{name}.npy") for name in names)
        pairs = (theirs, base), (theirs, read), (ours, written), *((theirs, other) for other in rounded)
        yield folder.name, variant, *(float(np.abs(a - b)[mask].max()) for a, b in pairs)


if __name__ == "__main__":
    sys.exit(main())
