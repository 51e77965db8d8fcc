from .registry import FIGURES as FIGURES, Figure as Figure, figure_named as figure_named
from .reproduce import reproduce as reproduce
from .result import Reproduction as Reproduction
from .settings import ReproduceSettings as ReproduceSettings
