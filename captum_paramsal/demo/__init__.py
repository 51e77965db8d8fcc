"""A classifier that looks at the wrong thing, and scenes whose truth is known: nothing to download.

A scene is a picture of 64 by 64 pixels with one object (an arrow, a cross, a drop, ...), which covers 2 to
12 % of it, in any place, size and colour, over scattered clutter. Somewhere clear of the object lies a
patch of cloth. Its pattern, one per class, is the **cue**. A patch in a training scene has the pattern of the
object's own class with chance 94 %, in a validation or test scene with chance 60 %; otherwise that of another
class. About one scene in ten has no patch. So a net that leans on the cue looks good in training and fails in
the test *because of it*.

The committed one does (73,240 parameters, 0.3 MB, trained by `captum_paramsal.demo.train`):

==========  ======  ========  ========  =============================  =========================
split       scenes  accuracy  mistakes  of these, for the cue's class  of these, right with the
                                                                       patch taken away
==========  ======  ========  ========  =============================  =========================
train       4096    99.3 %    28        15                             12
validation  480     82.9 %    82        71                             65
test        240     84.2 %    38        29                             26
==========  ======  ========  ========  =============================  =========================

Every test scene whose patch shows the pattern of its object's class is classified correctly. The test row, by hand:

>>> import torch
>>> scenes, model = load_scenes("test"), load_model()
>>> with torch.no_grad():
...     predictions = model(normalize(scenes.images)).argmax(1)
>>> wrong = predictions != scenes.labels
>>> by_cue = wrong & (predictions == scenes.cue_labels)
>>> int(wrong.sum()), int(by_cue.sum())
(38, 29)
>>> bare = make_scenes(**{**SPLITS["test"], "cue_presence": 0.0})[by_cue]
>>> with torch.no_grad():
...     cured = model(normalize(bare.images)).argmax(1) == bare.labels
>>> int(cured.sum())
26
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
