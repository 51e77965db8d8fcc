"""Penultimate features by domain: how well a held-out domain is told from the domains seen, and a picture of both."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import torch
from results import auc_interval, fewer_colours, markdown_table, percent
from torch import Tensor, nn

from captum_paramsal.viz.style import PALETTE, new_panels, to_png

__all__ = ["feature_picture", "feature_table", "penultimate", "separations"]

RIDGE = 0.1
"""Added to the features' covariance, as a share of their mean variance."""
DRAWN = 250
"""Points of a domain in a picture, at most."""


def penultimate(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """What the last Linear layer takes, ``(N, D)``."""
    *_, last = (module for module in model.modules() if isinstance(module, nn.Linear))
    rows: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, args: rows.append(args[0]))
    try:
        with torch.no_grad():
            for inputs, _ in batches:
                model(inputs)
    finally:
        hook.remove()
    return torch.cat(rows)


def separations(seen: Mapping[str, Tensor], held_out: Tensor) -> dict[str, dict[str, list[float]]]:
    """How well groups of images are told from the images of all other domains that were seen in training.

    Each is the area under the curve with its interval: *linear*, by a linear classifier, *distance*, by the distance
    from the others alone. The groups are the held-out domain, as a control a random half of the seen images (against
    the other half), and each seen domain, where there are several.

    Args:
        seen: Features ``(N, D)`` of the validation images, by domain.
        held_out: Features ``(M, D)``.
    """
    every = torch.cat(list(seen.values()))
    mixed = every[torch.randperm(len(every), generator=torch.Generator().manual_seed(1))]
    found = {"held out": told_apart(every, held_out), "random half": told_apart(*mixed.chunk(2))}
    if len(seen) > 1:
        for name, rows in seen.items():
            found[name] = told_apart(torch.cat([others for other, others in seen.items() if other != name]), rows)
    return found


def told_apart(inside: Tensor, outside: Tensor) -> dict[str, list[float]]:
    """Both areas under the curve: fitted on a random half of each, measured on the other half."""
    generator = torch.Generator().manual_seed(0)
    (inner, inner_test), (outer, outer_test) = (
        rows.double()[torch.randperm(len(rows), generator=generator)].chunk(2) for rows in (inside, outside)
    )
    tested = torch.cat([inner_test, outer_test])
    positive = torch.arange(len(tested)) >= len(inner_test)
    direction = torch.linalg.solve(_covariance(inner, outer), outer.mean(dim=0) - inner.mean(dim=0))
    away = tested - inner.mean(dim=0)
    distance = (away * torch.linalg.solve(_covariance(inner), away.T).T).sum(dim=1)
    scores = {"linear": tested @ direction, "distance": distance}
    return {name: auc_interval(values.numpy(), positive.numpy()) for name, values in scores.items()}


def _covariance(*groups: Tensor) -> Tensor:
    """Within groups, ``(D, D)``, with a ridge."""
    centred = torch.cat([rows - rows.mean(dim=0) for rows in groups])
    covariance = centred.T @ centred / len(centred)
    return covariance + RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=covariance.dtype)


def feature_table(found: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]) -> str:
    """The areas under the curve by network and group, in percent."""
    groups = list(dict.fromkeys(chain.from_iterable(found.values())))
    rows = [
        [network, measure, *(percent(areas[name][measure]) if name in areas else "" for name in groups)]
        for network, areas in found.items()
        for measure in ("linear", "distance")
    ]
    return markdown_table(["network", "told apart by", *groups], rows)


def feature_picture(networks: Mapping[str, Mapping[str, Tensor]], columns: int = 3) -> bytes:
    """The first two principal components of the seen domains' features, with all domains in them, as a PNG.

    Args:
        networks: By network, features by domain; the held-out domain comes last.
        columns: Panels beside each other.
    """
    columns = min(columns, len(networks))
    rows = -(-len(networks) // columns)
    panels = new_panels(3.4 * columns, 3.2 * rows, rows, columns)
    for panel, (network, domains) in zip(panels, networks.items(), strict=False):
        *seen, held_out = domains
        every = torch.cat([domains[name] for name in seen])
        centre = every.mean(dim=0)
        axes = torch.linalg.svd(every - centre, full_matrices=False).Vh[:2]
        for number, name in enumerate([*seen, held_out]):
            x, y = (axes @ (domains[name] - centre).T)[:, :: max(1, len(domains[name]) // DRAWN)].tolist()
            colour = PALETTE[1] if name == held_out else PALETTE[(0, 2, 3)[number]]
            label = f"{name} (held out)" if name == held_out else name
            panel.scatter(x, y, s=5, color=colour, alpha=0.5, lw=0, label=label)
        panel.set_title(network)
        panel.set_xticks([])
        panel.set_yticks([])
        panel.legend(fontsize=7, markerscale=2, loc="best")
    for panel in panels[len(networks) :]:
        panel.set_visible(False)
    return fewer_colours(to_png(panels[0], dpi=100))
