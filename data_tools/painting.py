"""A call of a text-to-image pipeline, whatever its family takes; what it cannot do is said before any work."""

import copy
import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from dreamsim_metric.messages import list_briefly, say_error, say_error_with_kind

_MOVES = ("num_frames", "video", "control_video", "frame_size", "audio_length_in_s", "audio_end_in_s")
_CONTROL = 2  # a number of steps that every schedule has


def list_arguments(pipeline: Any) -> Mapping[str, inspect.Parameter]:
    """List what a pipeline's call takes, by name."""
    return inspect.signature(type(pipeline).__call__).parameters


def check_painter(pipeline: Any) -> None:
    """Raise ValueError, with the reason, for a pipeline that does not make pictures from a prompt alone.

    Example:
        >>> from types import SimpleNamespace
        >>> check_painter(SimpleNamespace())
        Traceback (most recent call last):
            ...
        ValueError: SimpleNamespace is no text-to-image pipeline: it takes no prompt; expected one of words
    """
    taken = list_arguments(pipeline) if callable(pipeline) else {}
    needed = [
        name
        for name, one in taken.items()
        if one.default is one.empty
        and name not in ("self", "prompt")
        and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)
    ]
    made = taken["output_type"].default if "output_type" in taken else None
    reason = ""
    if "prompt" not in taken:
        reason = "it takes no prompt" + (f" but {list_briefly(needed)}" if needed else "")
    elif needed:
        reason = f"beside the prompt it needs {list_briefly(needed)}"
    elif any(name in taken for name in _MOVES) or made != "pil":
        reason = "it makes no pictures"
    elif "num_inference_steps" not in taken:
        reason = "it takes no num_inference_steps"
    if reason:
        raise ValueError(f"{type(pipeline).__name__} is no text-to-image pipeline: {reason}; expected one of words")


def check_steps(pipeline: Any, steps: int) -> None:
    """Raise ValueError for a number of steps that the pipeline's scheduler cannot go, with the most that it can.

    The scheduler walks its schedule on a handful of numbers; one that cannot even do that for two steps (it takes
    something else than noise) is not judged.
    """
    scheduler = getattr(pipeline, "scheduler", None)
    if scheduler is None or _walk(scheduler, _CONTROL) is not None:
        return
    error = _walk(scheduler, steps)
    if error is None:
        return
    length = getattr(scheduler.config, "num_train_timesteps", steps)
    low, high = _CONTROL, min(steps, length + 1)  # it can go `low`, but not `high`
    if _walk(scheduler, high - 1) is None:
        low = high - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _walk(scheduler, middle) is None else (low, middle)
    kind, why = type(scheduler).__name__, say_error(error)[:120]
    raise ValueError(f"got {steps} steps, which {kind} cannot go ({why}); expected at most {low}")


def _walk(scheduler: Any, steps: int) -> Exception | None:
    """Go through a schedule without a network, and return what went wrong."""
    scheduler = copy.deepcopy(scheduler)
    more = {}
    if "mu" in inspect.signature(scheduler.set_timesteps).parameters and scheduler.config.get("use_dynamic_shifting"):
        more["mu"] = 1.0
    there = torch.zeros(1, 4, 2, 2, dtype=torch.float32, device="cpu")
    try:
        scheduler.set_timesteps(steps, **more)
        for time in scheduler.timesteps:
            if hasattr(scheduler, "scale_model_input"):
                scheduler.scale_model_input(there, time)
            there = scheduler.step(torch.zeros_like(there), time, there, return_dict=False)[0]
    except Exception as error:  # what a scheduler raises is its own affair
        return error
    return None


def paint(pipeline: Any, prompts: Sequence[str], generators: Sequence[torch.Generator], **arguments: Any) -> Any:
    """Call a pipeline once for all prompts, or once each where its call takes one generator only.

    Args:
        pipeline: pipeline that `check_painter` lets pass.
        prompts: prompts, one a picture.
        generators: what is random, of each picture.
        **arguments: more for the pipeline's call, lists and tensors one entry a picture; what is None is left to it.

    Returns:
        What the pipeline returns: pictures in `images`, and perhaps `nsfw_content_detected`.

    Raises:
        ValueError: the pipeline fails with these arguments: how.
        torch.OutOfMemoryError: the pictures do not fit at once.
    """
    arguments = {name: value for name, value in arguments.items() if value is not None}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of the libraries to each other
            return _paint(pipeline, prompts, generators, arguments)
    except torch.OutOfMemoryError:
        raise
    except (TypeError, AttributeError, LookupError, ValueError, AssertionError, RuntimeError) as error:
        what = say_error_with_kind(error)[:300]
        raise ValueError(f"{type(pipeline).__name__} cannot paint with these settings ({what})") from error


def _paint(pipeline: Any, prompts: Sequence[str], generators: Sequence[Any], arguments: Mapping[str, Any]) -> Any:
    if "ist" in str(list_arguments(pipeline)["generator"].annotation):  # List[Generator], list[Generator]
        return pipeline(prompt=list(prompts), generator=list(generators), **arguments)
    pairs = enumerate(zip(prompts, generators, strict=True))
    return _join([pipeline(prompt=[text], generator=one, **_select(arguments, i)) for i, (text, one) in pairs])


def _select(arguments: Mapping[str, Any], i: int) -> dict[str, Any]:
    """Take the entry of one picture from what has one for each."""
    each = (list, torch.Tensor)
    return {name: value[i : i + 1] if isinstance(value, each) else value for name, value in arguments.items()}


def _join(made: Sequence[Any]) -> Any:
    """Put what calls for one picture each returned together."""
    whole = copy.copy(made[0])
    whole.images = [image for part in made for image in part.images]
    if getattr(whole, "nsfw_content_detected", None):
        whole.nsfw_content_detected = [flag for part in made for flag in part.nsfw_content_detected]
    return whole
