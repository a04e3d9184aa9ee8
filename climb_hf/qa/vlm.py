"""Vision-language models of transformers with their processors, and adapters on them."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from climb_hf.errors import AccessError, OptionError
from climb_hf.hub.training_file import read_training
from climb_hf.qa.chat import require_template

__all__ = ["ADAPTER_CONFIG", "Vlm", "adapter_folder", "load_base", "load_vlm", "weights_print"]

ADAPTER_CONFIG = "adapter_config.json"
_TAIL = 1 << 16


@dataclass
class Vlm:
    """A model that answers questions about pictures.

    Args:
        model: a `PreTrainedModel`, or a `PeftModel` around one, in evaluation mode.
        processor: its processor, with a chat template.
        name (`str`): what it was loaded from.
        training (`dict`): facts of the fine-tuning on questions; empty for a model as published.
    """

    model: Any
    processor: Any
    name: str
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def pad_token_id(self) -> int:
        """The token to pad with: that of the tokenizer, else its end of text."""
        tokenizer = self.processor.tokenizer
        found = tokenizer.pad_token_id
        return int(tokenizer.eos_token_id if found is None else found)


def adapter_folder(checkpoint: str | Path) -> Path | None:
    """Return the folder of an adapter: itself, or the `adapter` of a run of `climb qa finetune`; else `None`."""
    for folder in (Path(checkpoint), Path(checkpoint) / "adapter"):
        if (folder / ADAPTER_CONFIG).is_file():
            return folder
    return None


def load_base(
    checkpoint: str,
    *,
    dtype: str = "auto",
    chat_template: str | Path | None = None,
    processor_from: str | None = None,
    **options: Any,  # noqa: ANN401 - of `from_pretrained`
) -> tuple[Any, Any]:
    """Load any image-text-to-text model of transformers and its processor.

    Args:
        checkpoint (`str`): folder or Hub repository.
        dtype (`str`, *optional*, defaults to `"auto"`): `"auto"` (as saved), `"float32"`, `"bfloat16"`, `"float16"`.
        chat_template (`str` or `Path`, *optional*): a Jinja file that replaces the template of the processor.
        processor_from (`str`, *optional*): folder of the processor, where it is another.
        **options: further arguments of `from_pretrained`.

    Returns:
        `tuple`: model and processor.

    Raises:
        AccessError: there is no such model.
        OptionError: the processor has no chat template.
    """
    from transformers import AutoModelForImageTextToText, AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(processor_from or checkpoint)
        model = AutoModelForImageTextToText.from_pretrained(checkpoint, dtype=dtype, **options)
    except (OSError, ValueError, KeyError) as error:
        hint = (
            " Checkpoints of LLaVA-Med are converted first: `climb convert llava_med DIR --to DIR`."
            if "llava_mistral" in str(error)
            else ""
        )
        raise AccessError(
            f"expected an image-text-to-text model of transformers with its processor in the folder or Hub repository "
            f"`{checkpoint}`, but it cannot be loaded: {error}{hint}"
        ) from error
    if not hasattr(processor, "tokenizer"):
        raise AccessError(f"`{checkpoint}` has no processor for pictures and text (`processor_config.json`).")
    if chat_template is not None:
        file = Path(chat_template)
        if not file.is_file():
            raise OptionError(f"`chat_template` must be a Jinja file, but `{file}` is none.")
        processor.chat_template = file.read_text(encoding="utf-8")
    require_template(processor, checkpoint)
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    return model, processor


def load_vlm(
    checkpoint: str | Path,
    *,
    device: str | None = None,
    dtype: str = "auto",
    chat_template: str | Path | None = None,
) -> Vlm:
    """Load a model to ask: one of transformers, or an adapter of `climb qa finetune` on its base.

    Args:
        checkpoint (`str` or `Path`): folder or Hub repository of a model, or folder of an adapter or of its run.
        device (`str`, *optional*): torch device; by default a GPU if there is one.
        dtype (`str`, *optional*, defaults to `"auto"`): type of the weights; that of the checkpoint by default.
        chat_template (`str` or `Path`, *optional*): a Jinja file.

    Returns:
        `Vlm`: in evaluation mode.

    Raises:
        AccessError: there is no such model, or the base of an adapter is not there.
        OptionError: the processor has no chat template.
    """
    import torch

    folder = adapter_folder(checkpoint) or _published_adapter(str(checkpoint))
    if folder is None:
        model, processor = load_base(str(checkpoint), dtype=dtype, chat_template=chat_template)
    else:
        from peft import PeftModel

        base = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8")).get("base_model_name_or_path")
        model, processor = load_base(str(base), dtype=dtype, chat_template=chat_template, processor_from=str(folder))
        model = PeftModel.from_pretrained(model, str(folder))
    training = read_training(folder or checkpoint)
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return Vlm(model.to(where).eval(), processor, str(checkpoint), training)


def _published_adapter(checkpoint: str) -> Path | None:
    """Fetch an adapter from the Hub; `None` where the name is a folder, or a repository of something else."""
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    if Path(checkpoint).exists():
        return None
    try:
        hf_hub_download(checkpoint, ADAPTER_CONFIG)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError):
        return None  # what it is instead, the loading of a model says
    return Path(snapshot_download(checkpoint, ignore_patterns=["*.bin", "*.pt", "*.pth"]))


def weights_print(checkpoint: str | Path) -> str:
    """Digest what a local checkpoint is, cheaply: names and sizes of its files, its JSON, and the ends of its weights.

    Args:
        checkpoint (`str` or `Path`): a folder; a Hub repository is its name.

    Returns:
        `str`: 16 hexadecimal digits.
    """
    folder = adapter_folder(checkpoint) or Path(checkpoint)
    digest = hashlib.sha256()
    if not folder.is_dir():
        digest.update(str(checkpoint).encode())
        return digest.hexdigest()[:16]
    for path in sorted(path for path in folder.iterdir() if path.suffix in (".json", ".jinja", ".safetensors")):
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as stream:
            if path.suffix == ".safetensors":
                stream.seek(max(0, size - _TAIL))
            digest.update(stream.read())
    return digest.hexdigest()[:16]
