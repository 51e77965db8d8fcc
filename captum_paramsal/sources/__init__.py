"""Models, weights and labelled photos from files: the only room that knows torchvision and Pillow."""

from captum_paramsal.sources.classes import ClassNames
from captum_paramsal.sources.folders import labels_from_folders
from captum_paramsal.sources.labels import Labels
from captum_paramsal.sources.models import class_names_of, load_model, preprocessing_of
from captum_paramsal.sources.photos import LabelledPhotos
from captum_paramsal.sources.pictures import Picture
from captum_paramsal.sources.preprocessing import Preprocessing
from captum_paramsal.sources.source import Batch, ImageSource, Item, Skipped
from captum_paramsal.sources.tables import labels_from_csv
from captum_paramsal.sources.tensors import LabelledTensors
from captum_paramsal.sources.weights import save_weights

__all__ = [
    "Batch",
    "ClassNames",
    "ImageSource",
    "Item",
    "LabelledPhotos",
    "LabelledTensors",
    "Labels",
    "Picture",
    "Preprocessing",
    "Skipped",
    "class_names_of",
    "labels_from_csv",
    "labels_from_folders",
    "load_model",
    "preprocessing_of",
    "save_weights",
]
