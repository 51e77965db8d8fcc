from .compare_models import compare_models as compare_models
from .result import ChangedFilter as ChangedFilter, ModelComparison as ModelComparison
