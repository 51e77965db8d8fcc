from .annotations import Annotations as Annotations
from .batches import SourceBatches as SourceBatches, skipped_by_all as skipped_by_all
from .classes import ClassNames as ClassNames
from .folders import labels_from_folders as labels_from_folders
from .labels import Labels as Labels
from .models import (
    class_names_of as class_names_of,
    has_weights as has_weights,
    load_model as load_model,
    preprocessing_of as preprocessing_of,
)
from .photos import LabelledPhotos as LabelledPhotos
from .pictures import Picture as Picture
from .preprocessing import Preprocessing as Preprocessing
from .source import (
    ImageSource as ImageSource,
    Item as Item,
    SeenSource as SeenSource,
    ShownSource as ShownSource,
    Skipped as Skipped,
    SourceBatch as SourceBatch,
)
from .tables import labels_from_csv as labels_from_csv
from .tensors import LabelledTensors as LabelledTensors
from .weights import save_weights as save_weights
