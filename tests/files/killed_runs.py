"""Long runs with a checkpoint, each made the same in every process, to be killed and resumed."""

import os
import signal
from multiprocessing import get_context
from random import Random
from time import monotonic, sleep

import torch
from torch import nn

import captum_paramsal as cp
from captum_paramsal.comparison.cost import COST
from captum_paramsal.files import checkpoint
from captum_paramsal.repair import treat

SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.ReLU(),
        nn.Conv2d(6, 5, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(5, 3),
    ).eval()


def batches(count, size):
    generator = torch.Generator().manual_seed(count)
    images = torch.randn(count, 3, 12, 12, generator=generator)
    return list(zip(images.split(size), (torch.arange(count) % 3).split(size), strict=True))


def reference(path):
    fitted = cp.Reference.fit(network(), batches(60, 2), tail=0.2, checkpoint=path, show_progress=False)
    return [fitted.mean, fitted.std, fitted.tail.values]


def treatment(path):
    treated = treat(
        network(), batches(24, 4), batches(12, 4), epochs=6, checkpoint=path, allow_worse=True, show_progress=False
    )
    return [*treated.model.state_dict().values(), treated.after.confidence]


def comparison(path):
    images, labels = batches(24, 24)[0]
    found = cp.compare(
        ["saliency", "grad_cam"],
        network(),
        images,
        labels,
        metrics=["sparsity", "deletion"],
        batch_size=2,
        keep=2,
        checkpoint=path,
        show_progress=False,
    )
    # Seconds and memory are what they are.
    return [found.scores[:, : -len(COST)], *found.maps, *found.pictures]


RUNS = {"reference": reference, "treatment": treatment, "comparison": comparison}


def to_the_end(name, path, out):
    """A run that writes a checkpoint at every chance, and what it makes."""
    checkpoint.SECONDS, checkpoint.SHARE = 0.0, 1e9
    torch.set_num_threads(1)
    made = RUNS[name](path)
    if out is not None:
        torch.save(made, out)


LOADED = [
    "captum_paramsal.comparison.comparing",
    "captum_paramsal.attr.parameter_saliency",
    "captum_paramsal.metrics.deletion",
    "captum_paramsal.repair.treatment.treat",
    "captum_paramsal.reference.reference",
]


def _process(name, path, out=None):
    context = get_context("forkserver")
    # Forked from a process that has loaded everything and run nothing.
    context.set_forkserver_preload(LOADED)
    return context.Process(target=to_the_end, args=(name, path, out))


def kill(name, path, draw: Random, seconds: float):
    """Begin, or resume, a run in a process of its own and end it at a random moment; whether that came in time."""
    process = _process(name, path)
    process.start()
    # What can be interrupted is there once its checkpoint is tried out.
    begun = monotonic()
    sleep(draw.random() * seconds)
    number = draw.choice(SIGNALS)
    if process.is_alive():
        os.kill(process.pid, number)
    process.join(60)
    assert process.exitcode is not None
    assert monotonic() - begun < 60
    return process.exitcode != 0


def finish(name, path, out):
    """What the run makes in a process of its own, and how long it takes."""
    begun = monotonic()
    process = _process(name, path, out)
    process.start()
    process.join(120)
    assert process.exitcode == 0
    return torch.load(out), monotonic() - begun
