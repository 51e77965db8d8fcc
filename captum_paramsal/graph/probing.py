"""A network that ran on made-up inputs, for what has to be known of a model before it ever ran."""

from __future__ import annotations

import torch
from torch import nn

from captum_paramsal.graph.network import Network
from captum_paramsal.hooks import FittingLinears, synthetic_inputs, without_hooks


def probed_network(model: nn.Module) -> Network | None:
    """The network that runs on made-up inputs; None where none that the model tells of runs.

    A preview: what it says is checked against the first run on real inputs. Linear layers take vectors of any length in
    it, since images may have another size than the model was made for. Hooks of the model's owner do not see the run.

    Args:
        model: The model, in evaluation mode; left as it is.
    """
    for inputs in synthetic_inputs(model):
        try:
            with torch.random.fork_rng(devices=[]), FittingLinears():
                return Network.of(without_hooks(model), inputs)
        except Exception:  # noqa: BLE001, PERF203, S112 -- the model's own code, on a shape that it may not take
            continue
    return None
