from .net import DemoNet as DemoNet, load_model as load_model, normalize as normalize
from .scenes import (
    CLASSES as CLASSES,
    CUES as CUES,
    SPLITS as SPLITS,
    Scenes as Scenes,
    load_scenes as load_scenes,
    make_scenes as make_scenes,
)
