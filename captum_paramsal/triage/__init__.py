"""A whole set of mistakes at once: what is confused, which filters did it, which mistakes belong together."""

from captum_paramsal.triage.alike import groups_alike
from captum_paramsal.triage.result import ConfusionPair, GuiltyFilter, Triage
from captum_paramsal.triage.set_saliency import SetSaliency, set_saliency
from captum_paramsal.triage.sorting import triage

__all__ = ["ConfusionPair", "GuiltyFilter", "SetSaliency", "Triage", "groups_alike", "set_saliency", "triage"]
