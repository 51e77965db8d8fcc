from .process_group import ProcessGroup as ProcessGroup
from .reference import Reference as Reference
from .stages import StageStatistics as StageStatistics
