from .net import DemoNet as DemoNet
from .net import load_model as load_model
from .net import normalize as normalize
from .scenes import (
    CLASSES as CLASSES,
)
from .scenes import (
    CUES as CUES,
)
from .scenes import (
    SPLITS as SPLITS,
)
from .scenes import (
    Scenes as Scenes,
)
from .scenes import (
    load_scenes as load_scenes,
)
from .scenes import (
    make_scenes as make_scenes,
)
