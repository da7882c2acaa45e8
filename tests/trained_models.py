"""Tiny models that the real `transformers` Trainer trains to repeat what they have read: induction in seconds."""

import warnings
from pathlib import Path
from typing import Any

import torch

VOCABULARY, HALF = 24, 12
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
STEPS, EVERY = 200, 50


def config(family: str, vocabulary: int = VOCABULARY):
    import transformers as t

    sizes = SIZES | {"vocab_size": vocabulary}
    if family == "gpt2":
        return t.GPT2Config(
            vocab_size=vocabulary, n_positions=64, n_embd=32, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=1
        )
    return t.GPTNeoXConfig(**sizes) if family == "neox" else t.LlamaConfig(**sizes, num_key_value_heads=2)


class Repeats(torch.utils.data.Dataset):
    """Random tokens, all different, and the same again."""

    def __init__(self):
        rng = torch.Generator().manual_seed(0)
        half = torch.stack([torch.randperm(VOCABULARY, generator=rng)[:HALF] for _ in range(4096)])
        self.ids = half.repeat(1, 2)

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, i):
        return {"input_ids": self.ids[i], "labels": self.ids[i]}


class Windows(Repeats):
    """Sequences of `length` tokens of a text, one after the other."""

    def __init__(self, ids: torch.Tensor, length: int):
        self.ids = ids[: len(ids) // length * length].long().view(-1, length)


def train(
    folder: Path,
    family: str,
    steps: int = STEPS,
    every: int = EVERY,
    data: Repeats | None = None,
    vocabulary: int = VOCABULARY,
) -> Path:
    """`checkpoint-*` folders as the Trainer writes them, the untrained model's too."""
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other libraries, about one another
            torch.manual_seed(0)
            arguments = TrainingArguments(
                output_dir=str(folder),
                max_steps=steps,
                save_steps=every,
                logging_steps=every // 2,
                learning_rate=5e-3,
                per_device_train_batch_size=32,
                lr_scheduler_type="constant",
                report_to=[],
                use_cpu=True,
                disable_tqdm=True,
                save_only_model=True,
                seed=0,
            )
            model = AutoModelForCausalLM.from_config(config(family, vocabulary))
            trainer = Trainer(model=model, args=arguments, train_dataset=Repeats() if data is None else data)
            trainer.save_model(str(folder / "checkpoint-0"))
            trainer.train()
    finally:
        torch.set_num_threads(threads)
    return folder
