"""Class scores of images in a model whose filters are changed one after the other, for each image in its own order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from captum_paramsal.batch import ModelInputs, forward_scores
from captum_paramsal.filters import Filter
from captum_paramsal.functional import Loss, cross_entropy, scores_at, target_of
from captum_paramsal.graph import (
    ChannelEdit,
    EditedRun,
    Network,
    NotSharedError,
    SizesSeen,
    has_channel_outputs,
    is_layer,
)
from captum_paramsal.hooks import frozen_eval, scored_model
from captum_paramsal.profiles import FilterParameters, ParameterSlice, restored, write
from captum_paramsal.repair.interventions.intervention import Gradients, Intervention, weight_gradients

_CLOSE = 1e-3
"""Largest difference, as a share of the largest score, between shared passes and passes of their own."""


@dataclass(frozen=True)
class Order:
    """Filters of one image in the order in which they are changed, with their new values.

    Attributes:
        slices: Of each filter.
        values: New values of each slice.
    """

    slices: tuple[tuple[ParameterSlice, ...], ...]
    values: tuple[tuple[Tensor, ...], ...]


class EditedModel:
    """A model and one kind of intervention.

    Passes are shared between the steps where the network can be run again in part and all changed layers are
    convolutions, Linear or batch norms: an operation before the shallowest change of a step is not run again for it.
    Other models are changed in place, step by step, and put back.

    Args:
        model: In place only for as long as it is scored.
        intervention: What is done to each filter.
        loss: Loss per example, for interventions that need gradients.
        bias: Change the entries of biases too.
        batch_norm: Change the rows of the batch norms after them too.
    """

    def __init__(
        self,
        model: nn.Module,
        intervention: Intervention,
        *,
        loss: Loss = cross_entropy,
        bias: bool = False,
        batch_norm: bool = False,
    ) -> None:
        self.model = scored_model(model)
        self.intervention = intervention
        self.parameters = FilterParameters(self.model, bias=bias, batch_norm=batch_norm)
        self._loss = loss
        self._owners = _owners(self.model)
        self._network: Network | None = None
        self._shares = True
        self._sizes = SizesSeen()
        self._checked = False
        self._views_maps = False

    @property
    def shares_passes(self) -> bool:
        """Whether steps share passes, as far as is known yet."""
        return self._shares

    def order(self, filters: Sequence[Filter], image: Tensor, label: Tensor) -> Order:
        """The changes for one image ``(1, ...)`` with its label ``(1, D)``: class, then place."""
        slices = self.parameters.every(filters)
        gradients: Gradients = {}
        if self.intervention.needs_gradients:
            parameters = [part.parameter for filter_slices in slices for part in filter_slices]
            gradients = weight_gradients(self.model, image, target_of(label), None, parameters, self._loss)
        values = [tuple(self.intervention.values(filter_slices, gradients)) for filter_slices in slices]
        return Order(tuple(slices), tuple(values))

    def scores(self, images: Tensor, orders: Sequence[Order], labels: Tensor) -> Tensor:
        """Class scores with the first 0, 1, ..., K filters of each image's order changed.

        Args:
            images: ``(N, ...)``.
            orders: N of them, of K filters each.
            labels: ``(N, D)``: class, then place where the model has scores per place.

        Returns:
            ``(N, K + 1, C)``, each image's at its place.
        """
        with frozen_eval(self.model, gradients=False):
            if self._shares and all(map(self._has_channels, orders)):
                try:
                    return self._shared(images, orders, labels)
                except NotSharedError:
                    self._shares = False
            return torch.stack(
                [
                    self._one_by_one(image[None], order, label[None])
                    for image, order, label in zip(images, orders, labels, strict=True)
                ]
            )

    def _shared(self, images: Tensor, orders: Sequence[Order], labels: Tensor) -> Tensor:
        # Followed anew for every batch, since another one may go another way.
        network = self._followed(images)
        layers = {part.layer for order in orders for filter_slices in order.slices for part in filter_slices}
        if network is None or not all(_is_read_once(network, layer) for layer in layers):
            message = "The network does not run on other numbers of examples, or reads a layer's weight elsewhere too."
            raise NotSharedError(message)
        whole = self._run(network, images, orders)
        steps = whole.shape[1]
        scores: Tensor = scores_at(whole.flatten(0, 1), labels.repeat_interleave(steps, dim=0))[0]
        scores = scores.unflatten(0, (-1, steps))
        if not self._checked:
            # What a graph cannot show, such as a hook on a module that is no leaf, shows in the last step's scores.
            alone = self._one_by_one(images[:1], orders[0], labels[:1], only_last=True)[-1]
            gap = (scores[0, -1] - alone).abs().max()
            if not bool(gap <= _CLOSE * alone.abs().max()):
                message = "The shared pass does not return what the model does."
                raise NotSharedError(message)
            self._checked = True
        return scores

    def _followed(self, images: Tensor) -> Network | None:
        """The network that runs on some images, sizes marked; None where it cannot run on other numbers of them."""
        count, network = len(images), Network.of(self.model, images)
        if network.under_autocast or network.unseen or network.decisions:
            return None
        runs_on_any = self._sizes.mark(network.graph, count, lambda which: Network.of(self.model, images[which]).graph)
        return network if runs_on_any else None

    def _run(self, network: Network, images: Tensor, orders: Sequence[Order]) -> Tensor:
        edits, steps = [self._edits(order) for order in orders], len(orders[0].slices)
        if images.device.type == "cpu" and not self._views_maps:
            try:
                return EditedRun(network, edits, steps, torch.channels_last).scores(images)
            except RuntimeError:
                # Code that views maps in the order of their memory takes them only as they usually are.
                self._views_maps = True
        return EditedRun(network, edits, steps).scores(images)

    def _one_by_one(self, image: Tensor, order: Order, label: Tensor, *, only_last: bool = False) -> Tensor:
        """Scores at every step, or at the last one alone, by changing the model itself."""
        batch = ModelInputs.of(image)
        rows = [] if only_last else [self._scores(batch, label)]
        with restored(order.slices):
            for filter_slices, values in zip(order.slices, order.values, strict=True):
                write(filter_slices, values)
                if not only_last:
                    rows.append(self._scores(batch, label))
            if only_last:
                rows.append(self._scores(batch, label))
        return torch.cat(rows)

    def _scores(self, batch: ModelInputs, label: Tensor) -> Tensor:
        return scores_at(forward_scores(self.model, batch, binary=True), label)[0]

    def _has_channels(self, order: Order) -> bool:
        return all(
            # A weight that two layers share would change both, and an edit is of one layer's channels, not of a head.
            self._owners[id(part.parameter)] == [part.layer]
            and isinstance(part.place[-1], int)
            and has_channel_outputs(self._layer(part))
            for filter_slices in order.slices
            for part in filter_slices
        )

    def _layer(self, part: ParameterSlice) -> nn.Module:
        return self.model.get_submodule(part.layer)

    def _edits(self, order: Order) -> list[ChannelEdit]:
        edits = []
        for step, (filter_slices, values) in enumerate(zip(order.slices, order.values, strict=True), start=1):
            for layer in dict.fromkeys(part.layer for part in filter_slices):
                first = next(part for part in filter_slices if part.layer == layer)
                module, channel = self._layer(first), first.channel
                # An edit gives a channel all its numbers: those that stay, and over them those that change.
                numbers = {name: value.detach()[channel] for name, value in module.named_parameters(recurse=False)}
                changed = zip(filter_slices, values, strict=True)
                numbers |= {part.name: value for part, value in changed if part.layer == layer}
                edits.append(ChannelEdit(step, layer, channel, numbers))
        return edits


def _owners(model: nn.Module) -> dict[int, list[str]]:
    """Layers that hold each parameter, by its ``id``."""
    owners: dict[int, list[str]] = {}
    for name, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            owners.setdefault(id(parameter), []).append(name)
    return owners


def _is_read_once(network: Network, layer: str) -> bool:
    """Whether only one operation reads the parameters of a layer, as many times as it is called."""
    readers = [
        node
        for source in network.graph.nodes
        if source.op == "get_attr" and str(source.target).rpartition(".")[0] == layer
        for node in source.users
    ]
    return bool(readers) and all(node.meta["layer"] == layer and is_layer(node, network.model) for node in readers)
