from .atomic import (
    as_csv as as_csv,
)
from .atomic import (
    as_json as as_json,
)
from .atomic import (
    open_folder as open_folder,
)
from .atomic import (
    write_atomically as write_atomically,
)
from .checkpoint import Checkpoint as Checkpoint
from .fingerprint import Fingerprint as Fingerprint
from .tensor_file import TensorFile as TensorFile
