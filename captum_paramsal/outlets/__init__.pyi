from .to_fiftyone import from_fiftyone as from_fiftyone, to_fiftyone as to_fiftyone
from .to_tensorboard import to_tensorboard as to_tensorboard
