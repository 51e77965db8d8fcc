"""What the traced network (``torch.fx``) tells of a model's structure."""

from captum_paramsal.graph.capture import capture
from captum_paramsal.graph.class_scores import class_score_layers

__all__ = ["capture", "class_score_layers"]
