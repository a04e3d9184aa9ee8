"""Published checkpoints: read without running what is in them, and put into a model with nothing left over."""

import pickle
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from climb_hf.errors import CorruptFileError, OptionError

__all__ = ["load_exactly", "read_state_dict", "strip_prefix"]

#: Under these keys training scripts keep the weights of their checkpoints.
WRAPPERS = ("state_dict", "model", "module", "student", "encoder")
_NAMED = 6  # names that a message lists


def read_state_dict(
    source: "str | Path | Mapping[str, Tensor]",
    *,
    wrappers: Iterable[str] = WRAPPERS,
    allowed: Collection[type] = (),
) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name.

    Pickles are read with `weights_only=True`: tensors and plain containers pass, anything that would run code is
    refused.

    Args:
        source (`str`, `Path` or `Mapping`): a safetensors file, a file of `torch.save`, or tensors in memory, either
            of them by name at the top or under one of `wrappers`.
        wrappers (`Iterable[str]`, *optional*): keys under which the tensors may lie.
        allowed (`Collection[type]`, *optional*): further plain classes that the file may hold, such as
            `argparse.Namespace` of the training options.

    Returns:
        `dict[str, Tensor]`: the tensors on the CPU.

    Raises:
        OptionError: the path is no file.
        CorruptFileError: the file would run code, is damaged, or holds no tensors by name.

    Example:
        >>> list(read_state_dict({"model": {"weight": torch.zeros(2)}, "epoch": 3}))
        ['weight']
    """
    state, place = (source, "the mapping") if isinstance(source, Mapping) else (_read(Path(source), allowed), source)
    for _ in range(2):  # {"student": {"model": …}} occurs
        for key in wrappers:
            if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
                state = state[key]
                break
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise CorruptFileError(
            f"`{place}` holds no state dictionary: expected tensors by name at the top or under one of "
            f"{', '.join(f'`{key}`' for key in wrappers)}. Save one with `torch.save(model.state_dict(), path)` or as "
            "safetensors."
        )
    return dict(state)


def _read(path: Path, allowed: Collection[type]) -> Any:  # noqa: ANN401 - whatever was saved
    if not path.is_file():
        raise OptionError(f"expected a file of weights, but `{path}` is no file. Pass the path of the checkpoint.")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise CorruptFileError(f"`{path}` is no safetensors file: {error}. Fetch it again.") from error
    try:
        with torch.serialization.safe_globals(list(allowed)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CorruptFileError(
            f"`{path}` is no plain file of tensors: {error} Nothing of it was run. Convert it to safetensors where it "
            "can be trusted."
        ) from error
    except (RuntimeError, EOFError, KeyError, ValueError) as error:
        raise CorruptFileError(f"`{path}` cannot be read as a checkpoint: {error} Fetch it again.") from error


def strip_prefix(state: Mapping[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    """Remove from every name the first of the prefixes it begins with.

    Args:
        state (`Mapping[str, Tensor]`): tensors by name.
        *prefixes (`str`): such as `"module."`; longer ones first where one begins with another.

    Returns:
        `dict[str, Tensor]`: the same tensors.

    Example:
        >>> list(strip_prefix({"module.a": torch.zeros(1), "b": torch.zeros(1)}, "module."))
        ['a', 'b']
    """
    shorter = {}
    for name, value in state.items():
        prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), "")
        shorter[name.removeprefix(prefix)] = value
    return shorter


def load_exactly(
    model: nn.Module,
    state: Mapping[str, Tensor],
    *,
    rename: Callable[[str], str | None] | None = None,
    fresh: Iterable[str] = (),
    of: str = "the checkpoint",
) -> None:
    """Put a state dictionary into a model; a tensor that is missing, left over or of another shape is an error.

    Args:
        model (`nn.Module`): the model; it is filled in place and its tied or non-persistent buffers are left alone.
        state (`Mapping[str, Tensor]`): tensors in the checkpoint's names.
        rename (`Callable`, *optional*): checkpoint's name -> ours; `None` for a tensor that is left out on purpose.
        fresh (`Iterable[str]`, *optional*): prefixes of our names that the checkpoint is known not to have (a new
            head); they keep their initial values.
        of (`str`, *optional*): what the checkpoint is called in messages.

    Raises:
        CorruptFileError: names or shapes differ; the first few of each kind are named.
    """
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        ours = name if rename is None else rename(name)
        if ours is not None:
            renamed[ours] = value
    expected = model.state_dict()
    fresh = tuple(fresh)
    missing = [name for name in expected if name not in renamed and not (fresh and name.startswith(fresh))]
    unexpected = [name for name in renamed if name not in expected]
    wrong = [
        f"{name} {tuple(value.shape)} instead of {tuple(expected[name].shape)}"
        for name, value in renamed.items()
        if name in expected and value.shape != expected[name].shape
    ]
    if missing or unexpected or wrong:
        kinds = {"missing": missing, "left over": unexpected, "of another shape": wrong}
        found = "; ".join(
            f"{len(names)} {kind} ({', '.join(names[:_NAMED])}{', …' if len(names) > _NAMED else ''})"
            for kind, names in kinds.items()
            if names
        )
        raise CorruptFileError(
            f"{of} does not fit `{type(model).__name__}`: {found}. Check that it is a checkpoint of this architecture "
            "and that the configuration has its sizes."
        )
    model.load_state_dict(renamed, strict=False)
