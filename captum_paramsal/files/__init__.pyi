from .atomic import (
    open_folder as open_folder,
    open_place as open_place,
    replacing as replacing,
    write_atomically as write_atomically,
)
from .checkpoint import Checkpoint as Checkpoint
from .fingerprint import Fingerprint as Fingerprint
from .tables import as_csv as as_csv, as_json as as_json
from .tensor_file import write_tensors as write_tensors
from .text import readable as readable
