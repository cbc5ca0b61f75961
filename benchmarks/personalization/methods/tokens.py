"""New words for a pipeline: tokens whose embeddings are learnt while all others stay (Gal et al. 2023).

A word of several vectors is the tokens `<word>`, `<word>_1`, …, as diffusers names them and expands prompts.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.personalization.methods.base import check_family, copy_parts, find_text_parts
from dreamsim_metric.files.write import write_file
from dreamsim_metric.weights.folder import read_tensors

FILE = "learned_embeds.safetensors"  # diffusers' name; XL's second encoder has its own
_SECOND = "learned_embeds_2.safetensors"


class _Extended(nn.Module):
    """An embedding whose first rows are frozen and whose last ones learn; so nothing else can move."""

    def __init__(self, embedding: nn.Embedding, new: Tensor) -> None:
        super().__init__()
        self.old = embedding
        self.new = nn.Parameter(new.float())

    @property
    def weight(self) -> Tensor:
        return torch.cat([self.old.weight, self.new.to(self.old.weight.dtype)])

    def forward(self, ids: Tensor) -> Tensor:
        known = self.old.num_embeddings
        old = F.embedding(ids.clamp(max=known - 1), self.old.weight)
        new = F.embedding((ids - known).clamp(min=0), self.new).to(old.dtype)
        return torch.where((ids < known)[..., None], old, new)


def copy_with_words(pipeline: Any, words: Sequence[str], initial: str, vectors: int = 1) -> tuple[Any, dict[str, Any]]:
    """Copy a pipeline so that it knows new words, and return it with what of it can learn.

    Args:
        pipeline: pipeline of Stable Diffusion's family; it stays as it is.
        words: words that its tokenizers do not know.
        initial: text that the words begin as: the mean of its tokens' embeddings.
        vectors: tokens of each word.

    Returns:
        The pipeline with tokenizers and text encoders of its own, and parameters by name, `(len(words) * vectors, D)`
        for each text encoder.

    Raises:
        ValueError: a tokenizer knows a word already, the initial text has no tokens, or a pipeline of another family.
    """
    check_family(pipeline)
    parts = find_text_parts(pipeline)
    twin, learnt = copy_parts(pipeline, *(name for pair in parts for name in pair)), {}
    tokens = [token for word in words for token in name_tokens(word, vectors)]
    for tokenizer_name, encoder_name in parts:
        tokenizer, encoder = getattr(twin, tokenizer_name), getattr(twin, encoder_name)
        begin = tokenizer(initial, add_special_tokens=False).input_ids
        if not begin:
            raise ValueError(f"got {initial!r} for new words to begin as; expected a word that says roughly what it is")
        if tokenizer.add_tokens(tokens) < len(tokens):
            raise ValueError(f"the tokenizer knows one of {', '.join(tokens)} already; choose another placeholder")
        embedding = encoder.get_input_embeddings()
        rows = embedding.weight.detach()[begin].float().mean(0).repeat(len(tokens), 1)
        extended = _Extended(embedding, rows)
        encoder.set_input_embeddings(extended)
        learnt[encoder_name] = extended.new
    return twin, learnt


def settle(pipeline: Any) -> None:
    """End the learning: ordinary embeddings again, so that the pipeline can be saved and used anywhere."""
    for _, name in find_text_parts(pipeline):
        encoder = getattr(pipeline, name)
        extended = encoder.get_input_embeddings()
        weight = extended.weight.detach()
        encoder.set_input_embeddings(nn.Embedding.from_pretrained(weight, freeze=True))
        encoder.config.vocab_size = len(weight)


def save_words(pipeline: Any, words: Sequence[str], vectors: int, folder: Path) -> None:
    """Write words' embeddings as `load_textual_inversion` of diffusers takes them.

    Raises:
        OSError: the disk is full or not writable.
    """
    for file, (tokenizer_name, encoder_name) in zip((FILE, _SECOND), find_text_parts(pipeline), strict=False):
        tokenizer = getattr(pipeline, tokenizer_name)
        weight = getattr(pipeline, encoder_name).get_input_embeddings().weight.detach().float().cpu()
        held = {
            word: weight[tokenizer.convert_tokens_to_ids(name_tokens(word, vectors))].contiguous() for word in words
        }
        write_file(folder / file, safetensors.torch.save(held))


def load_words(pipeline: Any, folder: Path) -> Any:
    """Copy a pipeline so that it knows the words that `save_words` wrote; the one given stays as it is.

    Raises:
        FileNotFoundError: no words there.
        ValueError: a file is damaged, or of a pipeline with text encoders of another width.
    """
    files = [folder / file for file, _ in zip((FILE, _SECOND), find_text_parts(pipeline), strict=False)]
    held = [{word: rows.reshape(-1, rows.shape[-1]) for word, rows in read_tensors(file)[0].items()} for file in files]
    words, vectors = list(held[0]), len(next(iter(held[0].values())))
    twin, learnt = copy_with_words(pipeline, words, "a", vectors)
    for rows, file, parameter in zip(held, files, learnt.values(), strict=True):
        saved = torch.cat([rows[word] for word in words])
        if saved.shape != parameter.shape:
            raise ValueError(
                f"{file} has vectors of {tuple(saved.shape)}, the text encoder takes {tuple(parameter.shape)}: it is "
                "of another pipeline"
            )
        parameter.data.copy_(saved)
    settle(twin)
    return twin


def name_tokens(word: str, vectors: int) -> list[str]:
    """Name the tokens of a word.

    Example:
        >>> name_tokens("<toy>", 3)
        ['<toy>', '<toy>_1', '<toy>_2']
    """
    return [word, *(f"{word}_{i}" for i in range(1, vectors))]
