"""Graph networks over brain networks and proteins: GCN, GAT, GATv2 and the graph transformer."""

from typing import TYPE_CHECKING

from climb_hf._lazy import lazy_attributes

if TYPE_CHECKING:
    from climb_hf.models.graph.configuration_graph import ClimbGraphConfig
    from climb_hf.models.graph.modeling_graph import ClimbGraphForClassification, ClimbGraphModel

__all__ = ["ClimbGraphConfig", "ClimbGraphForClassification", "ClimbGraphModel"]

_LAZY = {
    "ClimbGraphConfig": "climb_hf.models.graph.configuration_graph",
    "ClimbGraphForClassification": "climb_hf.models.graph.modeling_graph",
    "ClimbGraphModel": "climb_hf.models.graph.modeling_graph",
}

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
