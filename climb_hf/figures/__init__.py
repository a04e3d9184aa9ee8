"""Compound figures of articles to panels with texts. Imports nothing heavy until it is used.

Example:
    >>> from climb_hf.figures import split_caption
    >>> split_caption("(a) CT. (b) MRI.")
    {'a': 'CT.', 'b': 'MRI.'}
"""

from typing import TYPE_CHECKING

from climb_hf._lazy import lazy_attributes

if TYPE_CHECKING:
    from climb_hf.figures.alignment import align_panels
    from climb_hf.figures.boxes import Detection, reading_order, suppress
    from climb_hf.figures.captions import split_caption
    from climb_hf.figures.checkpoints import CheckpointClassifier, CheckpointDetector
    from climb_hf.figures.gutters import gutter_boxes
    from climb_hf.figures.licences import is_redistributable, licence_of
    from climb_hf.figures.making import FigureSet, make_figures
    from climb_hf.figures.panels import FigureOptions
    from climb_hf.figures.reading import Figure, list_units, read_figures

__all__ = [
    "CheckpointClassifier",
    "CheckpointDetector",
    "Detection",
    "Figure",
    "FigureOptions",
    "FigureSet",
    "align_panels",
    "gutter_boxes",
    "is_redistributable",
    "licence_of",
    "list_units",
    "make_figures",
    "read_figures",
    "reading_order",
    "split_caption",
    "suppress",
]

_LAZY = {
    "CheckpointClassifier": "climb_hf.figures.checkpoints",
    "CheckpointDetector": "climb_hf.figures.checkpoints",
    "Detection": "climb_hf.figures.boxes",
    "Figure": "climb_hf.figures.reading",
    "FigureOptions": "climb_hf.figures.panels",
    "FigureSet": "climb_hf.figures.making",
    "align_panels": "climb_hf.figures.alignment",
    "gutter_boxes": "climb_hf.figures.gutters",
    "is_redistributable": "climb_hf.figures.licences",
    "licence_of": "climb_hf.figures.licences",
    "list_units": "climb_hf.figures.reading",
    "make_figures": "climb_hf.figures.making",
    "read_figures": "climb_hf.figures.reading",
    "reading_order": "climb_hf.figures.boxes",
    "split_caption": "climb_hf.figures.captions",
    "suppress": "climb_hf.figures.boxes",
}

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
