"""`python tiny_models.py FOLDER`, in vLLM's Python: models of some hundred thousand parameters, without weights.

Configuration and tokenizer only; `vllm serve --load-format dummy` makes the weights up.
"""

from __future__ import annotations

import sys
from pathlib import Path

CORPUS = ["one two three four five six seven eight nine ten", "the quick brown fox jumps over the lazy dog"]
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 1024,
    "max_position_embeddings": 2048,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "tie_word_embeddings": False,
}
DTYPE = "float32"
"""bfloat16 dies of SIGILL on some processors: see tests/vllm/deployment.py."""
MODELS = {
    "tiny-llama": {},
    # vLLM looks for num_experts alone to tell whether a model has experts: it coordinates waves for this one, yet runs
    # no kernel for experts, which its CPU build lacks.
    "tiny-fakemoe": {"num_experts": 4, "num_experts_per_tok": 2},
}


def make(folder: Path, extra: dict[str, int]) -> None:
    """Write one model's files."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, PreTrainedTokenizerFast

    bytewise = Tokenizer(models.BPE())
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bytewise.train_from_iterator(CORPUS, trainer)
    config = LlamaConfig(**SIZES)
    config.architectures = ["LlamaForCausalLM"]
    config.torch_dtype = DTYPE
    for name, value in extra.items():
        setattr(config, name, value)
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=bytewise, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    ).save_pretrained(folder)


if __name__ == "__main__":
    for name, extra in MODELS.items():
        make(Path(sys.argv[1]) / name, extra)
        print(name)
