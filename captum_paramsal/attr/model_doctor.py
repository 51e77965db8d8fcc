"""Model Doctor (Feng et al., AAAI 2022): which channels a class relies on, and which ones misled a mistake."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from captum.attr import LayerAttribution
from captum.log import log_usage
from torch import Tensor, nn
from tqdm.auto import tqdm

from captum_paramsal.batch import Given, Inputs, ModelInputs
from captum_paramsal.doctor import Diagnosis, EvidenceSettings, Findings
from captum_paramsal.doctor.class_samples import ClassSamples
from captum_paramsal.doctor.layer_pass import LayerActivations, Score
from captum_paramsal.doctor.split_model import NamedLayers, SplitModel
from captum_paramsal.errors import DefaultLayersWarning, InputError, LayerError, warn_caller
from captum_paramsal.files import Fingerprint
from captum_paramsal.functional import Noise, Reduce, Target, channel_correlation, foreground_at, scores_at, tensor_of
from captum_paramsal.hooks import Output, frozen_eval, scored_model
from captum_paramsal.reference.data_batches import LoaderItem
from captum_paramsal.summary import Summarized


class ModelDoctor(Summarized, LayerAttribution):  # type: ignore[misc] # Captum is not typed strictly
    r"""Evidence for a class in each channel of a layer, at each place.

    With m the layer's output, ``y_n`` the score of class n and ``e_j`` small perturbations of the maps,
    ``G(k, h, w) = 1/J Σ_j |∂y_n / ∂m(k, h, w)|``, taken at ``m + e_j`` (equation 1): the mean over j of
    :func:`~captum_paramsal.functional.evidence_of`. Its sum over the places of a channel is
    :func:`~captum_paramsal.functional.channel_correlation` (equation 2). The network runs once up to the layer, and
    only what comes after it runs for the perturbed copies.

    Args:
        model: A classifier that returns class scores ``(N, C, ...)``; left as it is. It is followed while it runs; one
            with operations that cannot be run again on their own runs as a whole for each copy, with a warning. One
            whose images influence each other, as by statistics of the batch, runs image by image and copy by copy.
        layer: Name of a layer with maps ``(N, K, H, W)``, or the module; or several. Maps with channels last and tokens
            of a map are understood; tokens of no place, such as the class token, are left apart. None for the last
            feature maps before the head; in a network with branches, what the last block returns. See
            :attr:`layer_name`.
        noise_samples: Perturbed copies, J; 0 for the maps as they are.
        noise_range: Bound of the uniform noise, or standard deviation of the normal one, in units of the maps.
        noise: ``"uniform"`` as in the paper, or ``"normal"`` as in an earlier version of its program. Every image gets
            the same noise, so that a batch gives exactly what its images give one by one.
        reduce: ``"abs"`` as in the paper, or ``"relu"``, the positive part, as in the published program.
        score: ``"logit"``, or the softmax ``"probability"``.
        multiply_by_inputs: Multiply gradients by the unperturbed maps: what a channel *contributes* instead of how much
            the score would change with it. Where only a global average and a linear layer follow, gradients are the
            same for every image, and contributions are not.
        seed: Fixes the noise.
        output: What makes class scores ``(N, C)`` of what the model returns, where it returns something else than
            these or ``logits``.

    Raises:
        LayerError: ``layer`` is not in the model or not called exactly once, or None and the model has no last maps.
        InputError: An option is out of its range.

    Warns:
        WholePassesWarning: When it is used, what follows the layer cannot be run on its own.

    References:
        Feng et al., *Model Doctor: A Simple Gradient Aggregation Strategy for Diagnosing and Treating CNN
        Classifiers*, AAAI 2022, arXiv 2112.04934, equation 1.

    >>> from captum_paramsal.demo import load_model, load_scenes, normalize
    >>> doctor = ModelDoctor(load_model())
    >>> doctor.layer_name
    'block2'
    >>> doctor.attribute(normalize(load_scenes().images[:2]), target=3).shape
    torch.Size([2, 64, 8, 8])
    """

    def __init__(
        self,
        model: nn.Module,
        layer: NamedLayers | None = None,
        noise_samples: int = 10,
        noise_range: float = 0.1,
        *,
        noise: Noise = "uniform",
        reduce: Reduce = "abs",
        score: Score = "logit",
        multiply_by_inputs: bool = False,
        seed: int = 0,
        output: Output | None = None,
    ) -> None:
        self.settings = EvidenceSettings(noise_samples, noise_range, noise, reduce, score, multiply_by_inputs, seed)
        self._split = SplitModel(scored_model(model, output))
        self.model = self._split.model
        self.diagnosis: Diagnosis | None = None
        self.several = not (layer is None or isinstance(layer, (str, nn.Module)))
        self._is_default = layer is None
        likely = self._split.likely_name() if layer is None else None
        names = (likely,) if likely is not None else () if layer is None else self._split.names(layer)
        modules = [self.model.get_submodule(name) for name in names]
        super().__init__(model, modules if self.several else (modules or [self.model])[0])
        self._names = names

    def _facts(self) -> Mapping[str, Any]:
        layers = self._names or "the last feature maps"
        return {"model": type(self.model).__name__, "layers": layers, **self.settings.as_dict()}

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the layers.

        Raises:
            LayerError: ``layer`` was None, and the last feature maps are only known once the model ran.
        """
        if not self._names:
            message = (
                "Expected `layer`, since the last feature maps are not known before the model ran: it tells of no "
                "inputs that it takes. Name it, or call `attribute` or `fit` first."
            )
            raise LayerError(message)
        return self._names

    def _settle(self, batch: ModelInputs) -> None:
        """Find the default layer in a run on real inputs, and hold what was said of it before against that."""
        if not self._is_default:
            return
        name = self._split.default_name(batch)
        if self._names and self._names != (name,):
            message = (
                f"The last feature maps are those of {name!r}; a trial run with made-up inputs showed those of "
                f"{self._names[0]!r}."
            )
            warn_caller(message, DefaultLayersWarning)
        self._names, self.layer, self._is_default = (name,), self.model.get_submodule(name), False

    @property
    def layer_name(self) -> str:
        """Name of the layer.

        Raises:
            LayerError: There are several, see :attr:`layer_names`.
        """
        if len(self.layer_names) != 1:
            message = f"Expected a doctor of one layer, got one of {', '.join(map(repr, self.layer_names))}."
            raise LayerError(message)
        return self.layer_names[0]

    @property
    def multiplies_by_inputs(self) -> bool:
        """Whether gradients are multiplied by the maps."""
        return self.settings.multiply_by_inputs

    @log_usage()  # type: ignore[untyped-decorator]
    def attribute(  # noqa: PLR0917 -- Captum's signature
        self,
        inputs: Inputs,
        target: Target = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,  # noqa: FBT001, FBT002 -- Captum's signature
        internal_batch_size: int | None = None,
        show_progress: bool = False,  # noqa: FBT001, FBT002
    ) -> Any:
        """Evidence for a class, in every channel and place of the layer.

        Args:
            inputs: Images ``(N, C, H, W)``, or whatever the model takes, as one tensor or a tuple of them; arrays of
                numpy too, and one image ``(C, H, W)``, which is a batch of one.
            target: Class, of every kind that Captum takes; None for the model's prediction.
            additional_forward_args: Further arguments of the model; tensors with N rows go with their images.
            attribute_to_layer_input: Take the tensor that the layer is given, whatever else reads it too, instead of
                what the layer returns.
            internal_batch_size: Images, or perturbed copies of them, in one pass; bounds memory, not the result. None
                takes all images, and as many copies as are fast.
            show_progress: Show a progress bar over the images.

        Returns:
            ``(N, K, H, W)``, nowhere below 0; a tuple of one if ``inputs`` is a tuple. For several layers a list of
            these.

        Raises:
            TargetError: ``target`` does not name one class per image.
            LayerError: A layer without maps, or that the scores do not depend on.
            InputError: An empty batch, values that are not finite, a shape the model cannot take.
        """
        batch = ModelInputs.of(inputs, target, additional_forward_args, model=self.model)
        self._settle(batch)
        found = []
        for name in self.layer_names:
            shown = name if show_progress else None
            with frozen_eval(self.model):
                parts = self._split.activations(
                    batch, name, internal_batch_size, to_input=attribute_to_layer_input, shown=shown
                )
                maps = torch.cat([self.settings.evidence(one, one.labels, internal_batch_size) for one in parts])
            found.append((maps,) if isinstance(inputs, tuple) else maps)
        return found if self.several else found[0]

    def fit(
        self,
        batches: Iterable[Any],
        *,
        confidence: float = 0.9,
        samples_per_class: int = 100,
        usual_per_class: int = 500,
        minimum: int = 5,
        internal_batch_size: int | None = None,
        show_progress: bool = True,
    ) -> Diagnosis:
        """Which channels each class relies on: the mean evidence in correctly and confidently classified images.

        Args:
            batches: Batches (inputs, target) or (inputs, target, additional_forward_args), such as a ``DataLoader``.
            confidence: Softmax probability of the class that an image must have.
            samples_per_class: Images of each class that are averaged, the most confident ones, T.
            usual_per_class: Images of each class that are kept to compare others with: a random sample, the same in
                every run, of the correctly classified ones, confident or not. Takes ``classes · usual_per_class · K``
                numbers of memory at most.
            minimum: Images below which a class is warned about.
            internal_batch_size: Images, or perturbed copies of them, in one pass.
            show_progress: Show a progress bar.

        Raises:
            InputError: No class has a single confident, correctly classified image, or an option is out of its range.
            LayerError: The doctor has several layers, or see :meth:`attribute`.
            TargetError: A batch's target does not name one class per image.

        Warns:
            FewSamplesWarning: Classes with fewer than ``minimum`` such images; each is named.
        """
        samples = ClassSamples(confidence, samples_per_class, usual_per_class)
        for given in tqdm(batches, desc="diagnosis", disable=not show_progress):
            labelled = LoaderItem.of(given, self.model)
            batch = ModelInputs.of(labelled.inputs, labelled.target, labelled.extra)
            self._settle(batch)
            with frozen_eval(self.model):
                for seen in self._split.activations(batch, self.layer_name, internal_batch_size):
                    self._add(samples, seen, internal_batch_size)
        chosen = {"confidence": confidence, "samples_per_class": samples_per_class, "usual_per_class": usual_per_class}
        diagnosis = samples.diagnosis(
            self.layer_name, {**self.settings.as_dict(), **chosen}, Fingerprint.of(self.model)
        )
        diagnosis.warn_if_few(minimum)
        self.diagnosis = diagnosis
        return diagnosis

    def diagnose(
        self,
        inputs: Inputs,
        target: Target,
        diagnosis: Diagnosis | None = None,
        additional_forward_args: Any = None,
        *,
        masks: Given | None = None,
        mistakes_only: bool = True,
        internal_batch_size: int | None = None,
        show_progress: bool = False,
    ) -> Findings:
        """Channels that are evidence for a mistake's predicted class as they are in no image that really shows it.

        Args:
            inputs: Images.
            target: Their true classes.
            diagnosis: Of this model, layer and settings; the one that was fitted last if None.
            additional_forward_args: Further arguments of the model.
            masks: Where the object is, ``(N, H, W)`` in [0, 1], in pixels of the images; a box is a mask too. Of
                one image ``(H, W)`` will do.
            mistakes_only: Leave out the images that the model gets right; they are the control.
            internal_batch_size: Images, or perturbed copies of them, in one pass.
            show_progress: Show a progress bar.

        Raises:
            ReferenceMismatchError: The diagnosis is of other weights, another layer or other settings.
            InputError, TargetError, LayerError: See :meth:`attribute`; ``masks`` have another shape.

        Warns:
            ConstantEvidenceWarning: The evidence is the same in every image of a class, so that none can be unusual.
        """
        name = self.layer_name
        diagnosis = self.diagnosis if diagnosis is None else diagnosis
        if diagnosis is None:
            message = "Expected a `diagnosis` to compare with, got None and none was fitted: call `fit` first."
            raise InputError(message)
        diagnosis.check(self.model, name, self.settings.as_dict())
        diagnosis.warn_if_constant()
        batch = ModelInputs.of(inputs, target, additional_forward_args, model=self.model)
        if batch.labels is None:
            message = "Expected `target`, the true class of each image, got None."
            raise InputError(message)
        known = _checked_masks(masks, batch)
        with frozen_eval(self.model):
            shown = "diagnosis" if show_progress else None
            parts = self._split.activations(batch, name, internal_batch_size, shown=shown)
            found = [
                self._findings(one, diagnosis, known, internal_batch_size, mistakes_only=mistakes_only) for one in parts
            ]
        return Findings.joined(found)

    def _add(self, samples: ClassSamples, seen: LayerActivations, size: int | None) -> None:
        probabilities, labels = _classified(seen)
        sure, predicted = probabilities.max(dim=1)
        samples.classes = probabilities.shape[1]
        places = samples.places(labels.where(labels == predicted, -1), sure)
        if places:
            some = seen.chosen(torch.tensor([place.image for place in places]))
            rows = channel_correlation(self.settings.evidence(some, some.labels, size)).cpu()
            for place, row in zip(places, rows, strict=True):
                samples.add(place, row)

    def _findings(
        self,
        seen: LayerActivations,
        diagnosis: Diagnosis,
        masks: Tensor | None,
        size: int | None,
        *,
        mistakes_only: bool,
    ) -> Findings:
        probabilities, labels = _classified(seen)
        predicted = probabilities.argmax(dim=1)
        which = (labels != predicted).nonzero()[:, 0] if mistakes_only else torch.arange(len(seen))
        evidence = seen.maps[:0].detach()
        if len(which):
            some = seen.chosen(which)
            rows = torch.cat([predicted[which, None], some.labels[:, 1:].cpu()], dim=1)
            evidence = self.settings.evidence(some, rows, size)
        images = which + seen.batch.start
        places: Any = tuple(evidence.shape[2:])
        foreground = None if masks is None else foreground_at(masks[images], places)
        return Findings.of(
            diagnosis,
            evidence.cpu(),
            images=images,
            labels=labels[which],
            probabilities=probabilities[which],
            foreground=foreground,
        )


def _classified(seen: LayerActivations) -> tuple[Tensor, Tensor]:
    """Softmax probabilities ``(N, classes)`` and labels ``(N,)``, on the CPU."""
    scores, labels = scores_at(seen.scores, seen.labels)
    return scores.double().softmax(dim=1).cpu(), labels.cpu()


def _checked_masks(given: Given | None, batch: ModelInputs) -> Tensor | None:
    if given is None:
        return None
    masks: Tensor = tensor_of(given)
    masks = masks[None] if masks.ndim == 2 and len(batch) == 1 else masks
    expected = (len(batch), *batch.inputs[0].shape[-2:])
    if masks.shape != expected:
        message = f"Expected `masks` of shape {expected}, one for each image and of its size, got {tuple(masks.shape)}."
        raise InputError(message)
    values = masks.detach().cpu().double()
    if not bool(((values >= 0) & (values <= 1)).all()):
        message = f"Expected `masks` in [0, 1], got values from {values.min().item()} to {values.max().item()}."
        raise InputError(message)
    return values
