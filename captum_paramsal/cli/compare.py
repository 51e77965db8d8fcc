"""``captum-paramsal compare``: attribution methods side by side, as a report."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from captum_paramsal.cli.numbers import natural, positive
from captum_paramsal.cli.options import (
    Commands,
    add_command,
    add_compute_options,
    add_out_option,
    add_source_options,
    require_photos_or_demo,
)
from captum_paramsal.cli.saying import and_skipped, say

if TYPE_CHECKING:
    from captum_paramsal.report import ComparisonReport, ComparisonSettings

_CHECKPOINT = "comparison.checkpoint"
_DEMO_IMAGES = 16
_DEMO_METHODS = (
    "grad_cam",
    "integrated_gradients",
    "saliency",
    "input_space_saliency",
    "discernible_neurons",
    "model_doctor",
    "random",
)
_DEMO_METRICS = ("infidelity", "sensitivity", "deletion", "insertion", "pointing_game", "iou", "sparsity")
"""Less than there is, so that a first look takes no longer than a minute."""
_OF_PHOTOS = (
    "weights",
    "output",
    "labels",
    "classes",
    "boxes",
    "masks",
    "image_size",
    "resize",
    "mean",
    "std",
    "reference",
)
_DESCRIPTION = """\
Ask several attribution methods which pixels made the model say what it said, on the same labelled images, and judge
their maps by the same metrics: mistakes and correctly classified images apart. Writes report.html (one file, opens
anywhere), comparison.json, comparison.csv, comparison.safetensors and the figures as PNG. Interrupted, it keeps the
images that are finished; the same command resumes.

Maps are made for the class that the model predicts, right or wrong; with --explain label, for the class on the label.
Besides the methods, the report has rows in italics, baselines: what can be had without a map, such as a random order of
the pixels or the middle of the image. A method that does not beat them has shown nothing by that metric.

Without --model and IMAGES_DIR, the built-in demo is compared on: a small network, and generated scenes.
"""
_EPILOG = """\
methods:
  grad_cam, grad_cam_plus_plus, integrated_gradients, saliency, guided_grad_cam, deep_lift, occlusion, noise_tunnel,
  discernible_neurons, cnn_fixations, model_doctor; with a --reference input_space_saliency, and input_space_pot if it
  has tails; random; and those that the module of --model registers
  only by name: layer_cam, finer_cam, ablation_cam, score_cam, input_x_gradient, guided_backprop, deconvolution,
  gradient_shap, centre; with captum-paramsal[compare] segments; with captum-paramsal[lrp] lrp; for transformers
  attention_rollout, gradient_x_attention

metrics:
  infidelity, infidelity_of_loss, sensitivity, deletion, insertion, road, irof, model_randomisation, sparsity; where
  there are boxes pointing_game, iou, increase_in_confidence; and those that the module of --model registers

examples:
  captum-paramsal compare
  captum-paramsal compare --model squeezenet1_1 --weights squeezenet1_1.safetensors --labels test.csv --limit 200 \\
      --methods grad_cam,integrated_gradients,discernible_neurons --out report images
  captum-paramsal compare --model mypackage.models:build --weights best.pt --reference reference.safetensors \\
      --metrics infidelity,sensitivity,pointing_game --labels test.csv --out report images
"""


def add_to(commands: Commands, summary: str) -> None:
    """Add the subcommand to a parser."""
    parser = add_command(commands, "compare", summary, description=_DESCRIPTION, epilog=_EPILOG)
    add_source_options(parser, optional_images=True, boxes=True)
    _add_comparison_options(parser.add_argument_group("comparison"))
    _add_report_options(parser.add_argument_group("report"))
    add_compute_options(parser, layers=False)
    parser.set_defaults(run=run, parser=parser)


def _add_comparison_options(comparison: argparse._ArgumentGroup) -> None:
    comparison.add_argument(
        "--methods",
        metavar="A,B,C",
        type=_names,
        default=(),
        help="names of methods, separated by commas; by default those of the first list below (of the demo, some), "
        "those that need a --reference only with one",
    )
    comparison.add_argument(
        "--metrics",
        metavar="A,B,C",
        type=_names,
        default=(),
        help="names of metrics, separated by commas; by default all (of the demo, some), those that need boxes "
        "only where there are some",
    )
    comparison.add_argument(
        "--reference", metavar="FILE", type=Path, help="a reference.safetensors of captum-paramsal reference"
    )
    comparison.add_argument(
        "--limit",
        metavar="N",
        type=positive,
        help="images at most, half of them mistakes as far as there are so many; all by default "
        f"({_DEMO_IMAGES} of the demo)",
    )
    comparison.add_argument(
        "--explain",
        choices=("prediction", "label"),
        default="prediction",
        help="the class that maps are made for: what the model says (prediction, the default), or what is true (label)",
    )


def _add_report_options(report: argparse._ArgumentGroup) -> None:
    add_out_option(report, "paramsal-compare")
    report.add_argument(
        "--pictures", metavar="N", type=natural, default=8, help="images whose maps are shown (default 8)"
    )
    report.add_argument(
        "--scale",
        choices=("map", "method", "common"),
        default="map",
        help="which maps share a scale of colours: none (map, the default), those of a method, or all (common), which "
        "suits maps of one unit",
    )


def run(args: argparse.Namespace) -> int:
    """Load, compare, write, say where."""
    require_photos_or_demo(args, _OF_PHOTOS, "compare on the demo")
    if args.boxes is not None and args.labels is None:
        args.parser.error("--boxes: needs --labels, the table that has this column")

    from captum_paramsal.report.shared.folder import open_report_folder  # noqa: PLC0415

    checkpoint = open_report_folder(args.out, "comparison.json") / _CHECKPOINT
    try:
        compared = _on_demo(args, checkpoint) if args.model is None else _on_photos(args, checkpoint)
    except KeyboardInterrupt:
        if not checkpoint.exists():
            raise
        words = f"interrupted; the finished images are kept in '{checkpoint}', and the same command resumes from there"
        say(f"\ncaptum-paramsal: {words}.", file=sys.stderr)
        return 130
    report = compared.write(args.out, command=args.command)
    checkpoint.unlink(missing_ok=True)
    _announce(compared, report)
    return 0


def _on_photos(args: argparse.Namespace, checkpoint: Path) -> ComparisonReport:
    from captum_paramsal.cli.loading import about_photos, load_job  # noqa: PLC0415
    from captum_paramsal.reference.reference import Reference  # noqa: PLC0415
    from captum_paramsal.report import compare  # noqa: PLC0415

    reference = None if args.reference is None else Reference.load(args.reference)
    job = load_job(args)
    if reference is not None:
        reference.check(job.model)
    about = about_photos(args, job, args.reference)
    return compare(
        job.model,
        job.photos,
        reference,
        settings=_settings(args, args.limit),
        classes=job.classes,
        about=about,
        checkpoint=checkpoint,
    )


def _on_demo(args: argparse.Namespace, checkpoint: Path) -> ComparisonReport:
    from captum_paramsal import demo  # noqa: PLC0415
    from captum_paramsal.cli.demo_images import ABOUT, labelled  # noqa: PLC0415
    from captum_paramsal.report import compare, fit_reference  # noqa: PLC0415
    from captum_paramsal.sources import LabelledTensors  # noqa: PLC0415

    model, scenes = demo.load_model(), demo.load_scenes("test")
    args.methods, args.metrics = args.methods or _DEMO_METHODS, args.metrics or _DEMO_METRICS
    settings = _settings(args, args.limit or _DEMO_IMAGES)
    usual = labelled(demo.load_scenes("validation"))
    reference = fit_reference(
        model, usual, batch_size=args.batch_size, device=settings.device, show_progress=settings.show_progress
    )
    names = [f"scene {number}" for number in range(len(scenes))]
    boxes = [box[None] for box in scenes.boxes]
    return compare(
        model,
        LabelledTensors(scenes.images, scenes.labels, demo.normalize, names=names, boxes=boxes),
        reference,
        settings=settings,
        classes=dict(enumerate(demo.CLASSES)),
        about=ABOUT,
        checkpoint=checkpoint,
    )


def _settings(args: argparse.Namespace, limit: int | None) -> ComparisonSettings:
    from captum_paramsal.cli.loading import computation  # noqa: PLC0415
    from captum_paramsal.report import ComparisonSettings  # noqa: PLC0415

    return ComparisonSettings(
        methods=args.methods,
        metrics=args.metrics,
        limit=limit,
        explained=args.explain,
        shown=args.pictures,
        scale=args.scale,
        **computation(args),
    )


def _names(text: str) -> tuple[str, ...]:
    """Names between commas, for argparse."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names or len({*names}) < len(names):
        message = f"expected names separated by commas, each once, got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return names


def _announce(compared: ComparisonReport, report: Path) -> None:
    comparison = compared.comparison
    methods, mistakes = len(comparison.agreement), int(compared.wrong.sum())
    say(
        f"{methods} methods on {len(compared.items)} images, {mistakes} of them mistakes{and_skipped(compared.skipped)}"
    )
    if comparison.failures:
        say(f"{len(comparison.failures)} steps failed; the report lists them")
    for caveat in compared.caveats:
        say(f"note: {caveat}")
    say(report.resolve())
