from .answers import GROUPS as GROUPS, Answers as Answers
from .compare_models import compare_models as compare_models, counterparts as counterparts
from .compare_on_images import compare_on_images as compare_on_images
from .image_differences import (
    MEASURES as MEASURES,
    ImageDifferences as ImageDifferences,
    SaliencyShift as SaliencyShift,
)
from .result import ChangedFilter as ChangedFilter, ModelComparison as ModelComparison
