"""Tiny random models with adapters of PEFT's, and what PEFT makes of kerasft's adapters; see benchmarks/peft_parity.py.

python -m benchmarks.peers.peft_adapters write FOLDER    bases, adapters and their hidden states
python -m benchmarks.peers.peft_adapters read FOLDER     hidden states with the adapters that kerasft wrote
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
GROUPED = {**SMALL, "num_key_value_heads": 2}
# DistilBERT has names of its own.
DISTIL = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}
# KerasHub's RoBERTa has this epsilon whatever the config says, as all published ones do.
ROBERTA = {**SMALL, "layer_norm_eps": 1e-5}
BASES = {"bert": SMALL, "roberta": ROBERTA, "distilbert": DISTIL, "llama": GROUPED, "qwen2": GROUPED}
# The classes that the hub's checkpoints of these kinds are saved as: KerasHub goes by the names in them.
SAVED_AS = {"bert": AutoModel, "roberta": AutoModelForMaskedLM, "distilbert": AutoModelForMaskedLM}
VARIANTS = {
    "lora": {"target_modules": r".*(query|value|q_lin|v_lin|q_proj|v_proj)"},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXTS = ["a good film", "the plot is bad", "so very warm and witty, i love it"]


def write(folder):
    for kind, sizes in BASES.items():
        torch.manual_seed(0)
        base = folder / kind / "base"
        vocabulary_size = write_tokenizer(kind, base)
        config = AutoConfig.for_model(kind, vocab_size=vocabulary_size, initializer_range=0.3, **sizes)
        whole = SAVED_AS.get(kind, AutoModelForCausalLM).from_config(config)
        if kind == "roberta":  # It was pretrained without types of tokens, and KerasHub does not read them.
            torch.nn.init.zeros_(whole.roberta.embeddings.token_type_embeddings.weight)
        whole.save_pretrained(base)
        model = AutoModel.from_pretrained(base)
        np.savez(folder / kind / "inputs.npz", **inputs(vocabulary_size))
        save_hidden(model, folder / kind / "base")
        for variant, options in VARIANTS.items():
            adapted = get_peft_model(AutoModel.from_pretrained(base), lora_config(model, options))
            for name, weight in adapted.named_parameters():
                if "lora_A" in name or "lora_B" in name:
                    torch.nn.init.normal_(weight, std=0.1)
                elif "magnitude" in name:
                    weight.data.mul_(torch.empty_like(weight).uniform_(0.5, 2.0))
            adapted.save_pretrained(folder / kind / variant / "theirs")
            save_hidden(adapted, folder / kind / variant / "theirs")


def read(folder):
    for kind in BASES:
        for variant in VARIANTS:
            model = AutoModel.from_pretrained(folder / kind / "base")
            adapted = PeftModel.from_pretrained(model, folder / kind / variant / "ours")
            save_hidden(adapted, folder / kind / variant / "ours")


def lora_config(model, options):
    """Returns a LoRA of rank 4 on all linear layers of the blocks, or on those that the options name."""
    linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    blocks = [name for name in linear if "layer." in name or "layers." in name]
    return LoraConfig(**{"r": 4, "lora_alpha": 12, "target_modules": blocks, **options})


def save_hidden(model, path):
    arrays = np.load(next(parent / "inputs.npz" for parent in path.parents if (parent / "inputs.npz").exists()))
    for dtype in (torch.float32, torch.float64):
        with torch.no_grad():
            outputs = model.eval().to(dtype)(**{name: torch.tensor(array) for name, array in arrays.items()})
        np.save(path.with_suffix(f".{str(dtype).removeprefix('torch.')}.npy"), outputs.last_hidden_state.numpy())


def inputs(vocabulary_size):
    """Returns ids and a mask of four rows, the last places of three of which are padding."""
    ids = np.random.default_rng(0).integers(5, vocabulary_size, (4, 7))
    return {"input_ids": ids, "attention_mask": np.int64(np.arange(7) < np.array([[7], [6], [5], [3]]))}


def write_tokenizer(kind, folder):
    """Writes what KerasHub reads of a tokenizer, so that the folder is a whole preset; returns its size."""
    folder.mkdir(parents=True)
    if "bert" in kind and kind != "roberta":
        words = [*SPECIAL, *sorted({word for text in TEXTS for word in text.split()})]
        (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}), encoding="utf-8")
        return len(words)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "<|endoftext|>", "<|im_end|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TEXTS * 3, trainers.BpeTrainer(special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    tokenizer.model.save(str(folder))  # vocab.json and merges.txt
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))
    return tokenizer.get_vocab_size()


if __name__ == "__main__":
    {"write": write, "read": read}[sys.argv[1]](Path(sys.argv[2]))
