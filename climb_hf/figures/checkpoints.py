"""Checkpoints of `transformers` that look at figures: an object detector, an image classifier."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from climb_hf.errors import AccessError, OptionError
from climb_hf.figures.boxes import Detection

__all__ = ["CheckpointClassifier", "CheckpointDetector", "weights_digest"]

_LETTER = re.compile(r"(?:label[_\s-]?)?([A-Za-z])", re.I)


class CheckpointDetector:
    """Sub-figures by an object-detection checkpoint (DETR, DAB-DETR, RT-DETR, YOLOS …).

    A class that is named by a single letter, or `label_` and a letter, is the drawn letter of a panel; every other
    class is a panel.

    Args:
        checkpoint (`str`): folder or Hub repository with model and image processor.
        threshold (`float`, *optional*, defaults to `0.2`): score that a box needs, 0 to 1.
        device (`str`, *optional*): torch device; a GPU if there is one by default.

    Raises:
        AccessError: there is no such checkpoint.
    """

    def __init__(self, checkpoint: str, *, threshold: float = 0.2, device: str | None = None) -> None:
        from transformers import AutoModelForObjectDetection

        self.model, self.processor, self.device = _load(AutoModelForObjectDetection, checkpoint, device)
        self.threshold = threshold
        names = self.model.config.id2label
        found = {int(number): _LETTER.fullmatch(str(name).strip()) for number, name in names.items()}
        self._letters = {number: match[1] for number, match in found.items() if match is not None}

    def __call__(self, images: Sequence[Image.Image]) -> list[list[Detection]]:
        """Find panels and letters.

        Args:
            images (`Sequence[PIL.Image.Image]`): figures.

        Returns:
            `list[list[Detection]]`: for each figure, in the order of the model.
        """
        import torch

        inputs = self.processor(images=[image.convert("RGB") for image in images], return_tensors="pt")
        with torch.inference_mode():
            outputs = self.model(**inputs.to(self.device))
        sizes = [(image.height, image.width) for image in images]
        results = self.processor.post_process_object_detection(
            outputs, threshold=self.threshold, target_sizes=torch.tensor(sizes, device=self.device)
        )
        return [self._detections(result) for result in results]

    def _detections(self, result: dict[str, Any]) -> list[Detection]:
        rows = zip(result["boxes"].tolist(), result["scores"].tolist(), result["labels"].tolist(), strict=True)
        return [Detection(tuple(box), score, self._letters.get(label, "")) for box, score, label in rows]


class CheckpointClassifier:
    """Whether pictures are of wanted classes, by an image-classification checkpoint.

    Args:
        checkpoint (`str`): folder or Hub repository with model and image processor.
        classes (`Sequence[str]`): names of classes that are kept.
        top_k (`int`, *optional*, defaults to `1`): a picture is kept if a wanted class is among its best `top_k`.
        device (`str`, *optional*): torch device.

    Raises:
        AccessError: there is no such checkpoint.
        OptionError: a class that the checkpoint does not have.
    """

    def __init__(self, checkpoint: str, classes: Sequence[str], *, top_k: int = 1, device: str | None = None) -> None:
        from transformers import AutoModelForImageClassification

        self.model, self.processor, self.device = _load(AutoModelForImageClassification, checkpoint, device)
        names = {str(name): int(number) for number, name in self.model.config.id2label.items()}
        unknown = [name for name in classes if name not in names]
        if unknown or not classes:
            raise OptionError(
                f"`{checkpoint}` has no class {', '.join(map(repr, unknown)) or '(none was named)'}; it has "
                f"{', '.join(list(names)[:40])}."
            )
        if not 1 <= top_k <= len(names):
            raise OptionError(f"`top_k` must be from 1 to {len(names)}, got {top_k!r}.")
        self._wanted, self._top_k = {names[name] for name in classes}, top_k

    def __call__(self, images: Sequence[Image.Image]) -> list[bool]:
        """Tell which pictures are of a wanted class.

        Args:
            images (`Sequence[PIL.Image.Image]`): pictures.

        Returns:
            `list[bool]`.
        """
        import torch

        inputs = self.processor(images=[image.convert("RGB") for image in images], return_tensors="pt")
        with torch.inference_mode():
            logits = self.model(**inputs.to(self.device)).logits
        best = logits.topk(self._top_k, dim=-1).indices.tolist()
        return [not self._wanted.isdisjoint(row) for row in best]


def weights_digest(checkpoint: str) -> str:
    """Digest what a checkpoint consists of, so that a run goes on with the same one only.

    Args:
        checkpoint (`str`): folder, or Hub repository.

    Returns:
        `str`: of the files of a folder; of a repository its name.
    """
    import hashlib

    folder = Path(checkpoint)
    if not folder.is_dir():
        return checkpoint
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors", ".bin")):
        with path.open("rb") as stream:
            digest.update(f"{path.name}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()[:32]


def _load(kind: Any, checkpoint: str, device: str | None) -> tuple[Any, Any, str]:  # noqa: ANN401 - an Auto class
    import torch
    from transformers import AutoImageProcessor

    try:
        processor = AutoImageProcessor.from_pretrained(checkpoint)
        model = kind.from_pretrained(checkpoint)
    except (OSError, ValueError) as error:
        raise AccessError(
            f"`{checkpoint}` is no checkpoint for {kind.__name__} with an image processor ({error}). Pass a folder or "
            "a repository of the Hub."
        ) from error
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return model.eval().to(where), processor, where
