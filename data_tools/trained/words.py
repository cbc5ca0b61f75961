"""Learnt words of other trainers (Gal et al. 2023): diffusers, the authors' code, AUTOMATIC1111, kohya's sd-scripts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from data_tools.trained.files import find_file, read_file
from dreamsim_metric.messages import list_briefly, say_error

FILES = ("learned_embeds.safetensors", "learned_embeds.bin")
_SECOND = ("learned_embeds_2.safetensors", "learned_embeds_2.bin")
_ENCODERS = ("clip_l", "clip_g")  # of XL, in one file
_ENCODER_PARTS = (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2"))


def is_words(path: Path) -> bool:
    """Tell whether a file or folder holds learnt words."""
    try:
        return bool(read_words(path))
    except (FileNotFoundError, ValueError):
        return False


def read_words(path: Path) -> dict[str, list[Tensor]]:
    """Read words: for each its vectors `(N, D)`, one tensor a text encoder.

    A file that does not say its word is called like the file.

    Raises:
        FileNotFoundError: none there.
        ValueError: the file is damaged, a pickle of more than tensors, or holds something else.
    """
    file = find_file(path, FILES)
    words = _read(file)
    seconds = [file.with_name(name) for name in _SECOND if file.name in FILES and file.with_name(name).is_file()]
    for second in seconds[:1]:
        for word, vectors in _read(second).items():
            words.setdefault(word, []).extend(vectors)
    return words


def add_words(pipeline: Any, words: Mapping[str, list[Tensor]], path: Path) -> None:
    """Add words to what a pipeline knows, in place.

    Args:
        pipeline: pipeline of diffusers with text encoders of CLIP.
        words: words that `read_words` returned.
        path: where they are from, for errors.

    Raises:
        ValueError: they are of another pipeline, or its tokenizer knows a word already.
    """
    parts = [names for names in _ENCODER_PARTS if getattr(pipeline, names[1], None) is not None]
    kind = type(pipeline).__name__
    if not parts or not hasattr(pipeline, "load_textual_inversion"):
        raise ValueError(f"{kind} takes no learnt words")
    widths = [getattr(pipeline, encoder).get_input_embeddings().embedding_dim for _, encoder in parts]
    for word, vectors in words.items():
        found = [rows.shape[1] for rows in vectors]
        if found != widths:
            said = " and ".join(map(str, found))
            raise ValueError(
                f"{path} has vectors of {said} numbers for {word}; the text encoders of {kind} take "
                f"{' and '.join(map(str, widths))}: it is of another kind of pipeline"
            )
        for (tokenizer, encoder), rows in zip(parts, vectors, strict=True):
            told = {"tokenizer": getattr(pipeline, tokenizer), "text_encoder": getattr(pipeline, encoder)}
            try:
                pipeline.load_textual_inversion({word: rows if len(rows) > 1 else rows[0]}, token=word, **told)
            except ValueError as error:
                raise ValueError(f"{path}: {say_error(error)}") from error
            ids = told["tokenizer"](word, add_special_tokens=False).input_ids
            if ids != [told["tokenizer"].convert_tokens_to_ids(word)]:
                raise ValueError(f"{path}: the tokenizer takes {word!r} apart; rename the file or the word, as <word>")


def _read(file: Path) -> dict[str, list[Tensor]]:
    held, _ = read_file(file)
    if "string_to_param" in held:  # the authors' code and AUTOMATIC1111
        held = {str(held.get("name") or file.stem): next(iter(dict(held["string_to_param"]).values()))}
    elif "emb_params" in held:
        held = {file.stem: held["emb_params"]}
    elif set(held) & set(_ENCODERS):
        return {file.stem: [_list_rows(held[name], name, file) for name in _ENCODERS if name in held]}
    return {str(word): [_list_rows(value, word, file)] for word, value in held.items()}


def _list_rows(value: Any, word: Any, file: Path) -> Tensor:
    if not isinstance(value, Tensor) or value.ndim not in (1, 2) or not value.is_floating_point():
        raise ValueError(f"{file} holds no learnt words: {list_briefly([str(word)])} is no vectors")
    return value.detach().reshape(-1, value.shape[-1])
