"""The heavy passes over the demo's scenes; run as a script, one of two processes that share them."""

import json
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed

from captum_paramsal import ComponentAttribution, ParamsalError, Reference
from captum_paramsal.cli.demo_images import labelled
from captum_paramsal.demo import load_model, load_scenes
from captum_paramsal.reference import ProcessGroup
from captum_paramsal.repair import knock_out_curve, step_transfer
from captum_paramsal.report import ExplainSettings, TriageSettings, explain, triage
from captum_paramsal.sources import SourceBatches

QUIET = {"batch_size": 7, "show_progress": False}


def scenes(count=60):
    return labelled(load_scenes("test")[:count])


def explained(images, **options):
    made = explain(load_model(), images, settings=ExplainSettings(top_k=3, **options, **QUIET))
    return {name: data if isinstance(data, str) else data.hex() for name, data in made.contents().items()}


def sorted_out(images=None, folder=None):
    settings = TriageSettings(smallest=2, checkpoint=folder, **QUIET)
    made = triage(load_model(), images or scenes(), settings=settings)
    tensors = {name: value.tolist() for name, value in vars(made.triage).items() if isinstance(value, torch.Tensor)}
    return [made.to_dict(), tensors]


def changed():
    """Ablations and interventions, which are shared where a group is given."""
    model, group = load_model(), ProcessGroup.current()
    inputs, labels = next(iter(SourceBatches(scenes(), model, batch_size=60)))
    components = ComponentAttribution(model, layers=["stem.0", "block1.*"], passes=120, group=group)
    effects = components.effects(inputs[:3], labels[:3])
    wrong = (model(inputs).argmax(dim=1) != labels).nonzero()[:5, 0]
    given = model, inputs[wrong], labels[wrong], effects.scores[0], components.filters
    curve = knock_out_curve(*given, k=3, group=group, internal_batch_size=2, show_progress=False)
    others = torch.tensor([[1], [2], [3], [4], [0]])
    steps = step_transfer(*given, others=others, k=2, group=group, show_progress=False)
    return [effects.scores.tolist(), effects.margins.tolist(), curve.to_table(), steps.after.tolist()]


def fitted(folder):
    batches = SourceBatches(scenes(), load_model(), batch_size=7)
    reference = Reference.fit(load_model(), batches, tail=0.2, exemplars=2, total=60, show_progress=False)
    reference.save(folder / f"reference{ProcessGroup.current().rank}")
    return [(folder / f"reference{ProcessGroup.current().rank}").read_bytes().hex()]


class Dying:
    """Scenes of which one ends the process, as nothing but a crash does."""

    def __init__(self, scenes, position):
        self._scenes, self._position = scenes, position

    def __getattr__(self, name):
        return getattr(self._scenes, name)

    def batches(self, batch_size, positions=None):
        for batch in self._scenes.batches(batch_size, positions):
            if self._position in batch.positions:
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch


def jobs(folder):
    return {
        "reference": lambda: fitted(folder),
        "explain": lambda: explained(scenes(), cards=2),
        "pot": lambda: explained(scenes(210), method="pot", cards=1, pixels=False, traces=False, exemplars=0),
        "triage": sorted_out,
        "changed": changed,
        "differs": lambda: sorted_out(scenes(60 - ProcessGroup.current().rank)),
        # In batches of seven, in the seventh after the first one, which is the second process's.
        "dies": lambda: sorted_out(Dying(scenes(), 59 - 7), folder / "kept"),
    }


def main() -> None:
    torch.set_num_threads(1)
    folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
    meeting = f"file://{folder}/meeting"
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2, timeout=timedelta(seconds=300))
    for name in sys.argv[2].split(","):
        try:
            made = jobs(folder)[name]()
        except ParamsalError as error:
            made = f"{type(error).__name__}: {error}"
        (folder / f"{name}{rank}.json").write_text(json.dumps(made, default=str))


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    # Without waiting for connections that a dead process left open.
    os._exit(0)
