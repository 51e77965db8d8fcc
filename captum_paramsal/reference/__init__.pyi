from .process_group import ProcessGroup as ProcessGroup
from .reference import Reference as Reference
