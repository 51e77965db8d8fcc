from .data_batches import NumberedBatch as NumberedBatch
from .exemplars import ClassShare as ClassShare, Exemplars as Exemplars
from .picture_crops import PictureCrops as PictureCrops
from .process_group import ProcessGroup as ProcessGroup
from .reference import Reference as Reference
from .stages import StageStatistics as StageStatistics
