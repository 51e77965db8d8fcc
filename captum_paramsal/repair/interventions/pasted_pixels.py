"""The salient region of a mistake put into other images: how many turn to its wrong class, against random regions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from captum_paramsal.batch import Given, ModelInputs
from captum_paramsal.errors import InputError, InterventionError
from captum_paramsal.files.kinds import PASTED_PIXELS
from captum_paramsal.files.tensor_file import TensorFile
from captum_paramsal.functional import Target
from captum_paramsal.hooks import Output, as_tensor, scored_model
from captum_paramsal.metrics import Boxes, share_interval
from captum_paramsal.repair.interventions.checks import class_scores, label_rows, require_mistakes
from captum_paramsal.repair.interventions.masked_pixels import class_probabilities
from captum_paramsal.repair.interventions.pixel_regions import chosen_pixels, moved
from captum_paramsal.repair.interventions.saved_tensors import SavedTensors
from captum_paramsal.stats import bootstrap_means


@dataclass(frozen=True, eq=False, repr=False)
class PastedPixels(SavedTensors):
    """M images with a region of each of N mistakes in them.

    A pasted image is ``mistakes[n].where(masks[n], others[m])``.

    Attributes:
        masks: Pasted pixels, ``(N, H, W)`` bool.
        wrong_class: The class that each mistake is predicted as, ``(N,)`` int64.
        open: Images that were not predicted as that class before, ``(N, M)`` bool; only these can turn.
        before: Probability of the wrong class in the images as they were, ``(N, M)`` float64.
        after: The same with the region pasted, ``(N, M)``.
        turned: Whether the image is predicted as the wrong class then, and was not before, ``(N, M)`` bool.
        random_after: As ``after``, with D random regions of the same mistake and of as many pixels, ``(N, M, D)``.
        random_turned: As ``turned``, with these regions, ``(N, M, D)`` bool.
    """

    _kind: ClassVar[TensorFile] = PASTED_PIXELS

    masks: Tensor
    wrong_class: Tensor
    open: Tensor
    before: Tensor
    after: Tensor
    turned: Tensor
    random_after: Tensor
    random_turned: Tensor

    def to_table(self, seed: int = 0) -> list[dict[str, Any]]:
        """Share of the images that turned, and mean change of the wrong class's probability, with 95 % intervals.

        Rows are the region, random regions (mean over the draws) and the paired difference, each over images that were
        not predicted as the wrong class before. Intervals come from the bootstrap over the mistakes; with a single
        mistake over the other images, and Wilson's for the region's share.

        Args:
            seed: Fixes the resampling.
        """
        change, random_change = self.after - self.before, (self.random_after - self.before[..., None]).mean(dim=2)
        turned, random_turned = self.turned.double(), self.random_turned.double().mean(dim=2)
        arms = {
            ("turned", "region"): turned,
            ("turned", "random"): random_turned,
            ("turned", "difference"): turned - random_turned,
            ("change of wrong class", "region"): change,
            ("change of wrong class", "random"): random_change,
            ("change of wrong class", "difference"): change - random_change,
        }
        values = torch.stack([arm.where(self.open, torch.nan) for arm in arms.values()], dim=2)
        single = len(values) == 1
        means = bootstrap_means(values[0] if single else values.nanmean(dim=1), seed).T.tolist()
        if single:
            means[0][1:] = share_interval(self.turned[self.open])
        pasted = int(self.open.sum())
        return [
            {"measure": measure, "pixels": pixels, "images": pasted, "mean": mean, "low": low, "high": high}
            for (measure, pixels), (mean, low, high) in zip(arms, means, strict=True)
        ]

    def _facts(self) -> dict[str, Any]:
        rows = {row["pixels"]: row for row in self.to_table() if row["measure"] == "turned"}
        shares = {
            f"turned, {name}": f"{row['mean']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
            for name, row in rows.items()
        }
        count, others, draws = self.random_turned.shape
        return {"mistakes": count, "images": others, "random regions": draws} | shares


def paste_pixels(
    model: nn.Module,
    images: Given,
    labels: Target,
    others: Given,
    maps: Given | None = None,
    *,
    boxes: Boxes | None = None,
    masks: Given | None = None,
    share: float = 0.05,
    draws: int = 10,
    seed: int = 0,
    show_progress: bool = True,
    output: Output | None = None,
) -> PastedPixels:
    """Put a region of each mistake into other images, at the same place, and see whether they become the same mistake.

    Pixels that mislead a model in one image may mislead it in others. The region is compared with random ones of the
    same mistake, of the same shape and number of pixels at other places: any patch changes an image.
    Give one of ``maps``, ``boxes`` and ``masks``.

    Args:
        model: A classifier that returns class scores ``(N, C)``; left as it is.
        images: Mistakes, ``(N, C, H, W)``, as the model takes them.
        labels: Their true classes, ``(N,)``.
        others: Images that the regions are put into, ``(M, C, H, W)``, such as correct ones of the true class.
        maps: See :func:`mask_pixels`.
        boxes: See :func:`mask_pixels`.
        masks: See :func:`mask_pixels`.
        share: Of the pixels, in (0, 1], where they are chosen by ``maps``.
        draws: Random regions for each mistake.
        seed: Of the random regions.
        show_progress: Show a progress bar.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.

    Raises:
        InterventionError: An image is no mistake, ``draws`` is below 1, an option is out of its range, or none or
            several of ``maps``, ``boxes`` and ``masks`` are given.
        InputError: ``others`` have another size, a map or a region does not fit its image, there are no labels, or the
            images cannot be scored.

    References:
        Levin et al., *Where do Models go Wrong?*, arXiv 2108.01335, figure 18.

    >>> model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> image = torch.tensor([[[[0.0, 9.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]]])
    >>> others, box = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1).expand(3, 2, 2, 2), torch.tensor([1, 0, 2, 1])
    >>> pasted = paste_pixels(model, image, torch.tensor([1]), others, boxes=box, draws=8, show_progress=False)
    >>> pasted.turned.tolist(), pasted.random_turned.double().mean().item() < 1
    ([[True, True, True]], True)
    """
    model = scored_model(model, output)
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
        message = f"Expected `draws` to be a whole number from 1 up, got {draws!r}."
        raise InterventionError(message)
    batch = ModelInputs.of(images, labels, model=model, only_images=True)
    (images,), others = batch.inputs, as_tensor(others, model)
    if not isinstance(others, Tensor) or others.shape[1:] != images.shape[1:] or not len(others):
        got = tuple(others.shape) if isinstance(others, Tensor) else type(others).__name__
        message = (
            f"Expected `others` of shape (M, {', '.join(map(str, images.shape[1:]))}), M of at least 1, got {got}."
        )
        raise InputError(message)
    scores, true = class_scores(model, batch)
    require_mistakes(scores, true, "Leave them out: only a mistake has a wrong class that others can turn to.")
    regions, wrong = chosen_pixels(images, maps, boxes, masks, share=share), scores.argmax(dim=1).cpu()
    rows = torch.cat([wrong[:, None], label_rows(batch)[:, 1:].cpu()], dim=1).tolist()
    # The class at the mistake's own place, where the model has scores per place.
    plain = {
        place: class_probabilities(model, ModelInputs.of(others, (0, *place)))
        for place in {tuple(row[1:]) for row in rows}
    }
    generator = torch.Generator().manual_seed(seed)
    probabilities, predicted = [], []
    for image, region, row in zip(
        tqdm(images, desc="regions pasted", disable=not show_progress), regions, rows, strict=True
    ):
        label = row[0]
        # The region itself first, then the random ones.
        places = [region, *(moved(region.cpu(), generator).to(region.device) for _ in range(draws))]
        after = [class_probabilities(model, ModelInputs.of(image.where(place, others), tuple(row))) for place in places]
        probabilities.append(torch.stack([part[:, label] for part in after], dim=1))
        predicted.append(torch.stack([part.argmax(dim=1) == label for part in after], dim=1))
    chances, hits = torch.stack(probabilities), torch.stack(predicted)
    not_before = torch.stack([plain[tuple(place)].argmax(dim=1) != label for label, *place in rows])
    return PastedPixels(
        masks=regions.cpu(),
        wrong_class=wrong,
        open=not_before,
        before=torch.stack([plain[tuple(place)][:, label] for label, *place in rows]),
        after=chances[:, :, 0],
        turned=hits[:, :, 0] & not_before,
        random_after=chances[:, :, 1:],
        random_turned=hits[:, :, 1:] & not_before[..., None],
    )
