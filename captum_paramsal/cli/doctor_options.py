"""Options of ``captum-paramsal doctor``."""

from __future__ import annotations

import argparse
from pathlib import Path

from captum_paramsal.cli.numbers import natural, positive, strength
from captum_paramsal.cli.options import add_out_option, weights_file

OF_PHOTOS = (
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
    "reference_labels",
    "reference_images",
    "diagnosis",
    "train_labels",
    "train_images",
    "train_masks",
    "validation_labels",
    "validation_images",
)
"""What belongs to photos, and not to the demo."""

OF_TREATMENT = (
    "train_labels",
    "train_images",
    "train_masks",
    "validation_labels",
    "validation_images",
    "epochs",
    "learning_rate",
    "channel",
    "space",
    "margin",
    "as_in_paper",
    "space_layers",
    "seed",
    "control",
    "allow_worse",
    "save_weights",
)
"""What belongs to ``--treat``."""


def add_doctor_options(parser: argparse.ArgumentParser) -> None:
    """Diagnosis, report, treatment."""
    _add_diagnosis(parser.add_argument_group("diagnosis"))
    _add_report(parser.add_argument_group("report"))
    _add_treatment(parser.add_argument_group("treatment"))


def _add_diagnosis(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--layer", metavar="NAME", help="layer with feature maps; by default the last ones before the head"
    )
    group.add_argument(
        "--evidence",
        choices=("contribution", "gradient"),
        help="what a channel gives to the score, gradient times map (contribution, the default), or the gradient "
        "alone, as in the paper; where only a global average and a linear layer follow, gradients are the same for "
        "every image",
    )
    group.add_argument(
        "--reference-labels",
        metavar="CSV",
        type=Path,
        help="table of the images that say what each class relies on; by default those to train on, or else the very "
        "images given. Only correctly classified ones are used",
    )
    group.add_argument("--reference-images", metavar="DIR", type=Path, help="their folder; IMAGES_DIR by default")
    group.add_argument(
        "--diagnosis", metavar="FILE", type=Path, help="a diagnosis.safetensors that was written before, instead"
    )
    group.add_argument(
        "--confidence", metavar="P", type=float, help="probability that an image must have to say so (default 0.9)"
    )
    group.add_argument(
        "--samples-per-class",
        metavar="T",
        type=positive,
        help="images of each class, the most confident ones (default 100)",
    )
    group.add_argument(
        "--noise-samples", metavar="J", type=natural, help="perturbed copies of the maps; 0 for none (default 10)"
    )
    group.add_argument(
        "--noise-range", metavar="D", type=float, help="bound of the noise, in units of the maps (default 0.1)"
    )


def _add_report(group: argparse._ArgumentGroup) -> None:
    add_out_option(group, "paramsal-doctor")
    group.add_argument("--top-k", metavar="K", type=positive, default=5, help="channels per mistake (default 5)")
    group.add_argument(
        "--cards",
        metavar="N",
        type=natural,
        default=100,
        help="mistakes with pictures in the report, the most confident first; the data has all (default 100)",
    )


def _add_treatment(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--treat", action="store_true", help="train a copy of the model, and judge it on the images given"
    )
    group.add_argument(
        "--train-labels",
        metavar="CSV",
        type=Path,
        help="table of the images to train on, none of which may be judged by",
    )
    group.add_argument("--train-images", metavar="DIR", type=Path, help="their folder; IMAGES_DIR by default")
    group.add_argument(
        "--train-masks",
        metavar="DIR",
        type=Path,
        help="folder that `captum-paramsal annotate` wrote and somebody drew in, or any with files of labelme or COCO "
        "of these images",
    )
    group.add_argument(
        "--validation-labels",
        metavar="CSV",
        type=Path,
        help="table of the images that choose the epoch; by default one in five of those to train on, which the model "
        "should not know already",
    )
    group.add_argument("--validation-images", metavar="DIR", type=Path, help="their folder; IMAGES_DIR by default")
    _add_training(group)
    _add_constraints(group)
    group.add_argument(
        "--save-weights",
        metavar="FILE",
        type=weights_file,
        help="also write the treated weights, as safetensors; the patch, the difference alone, is always written",
    )


def _add_training(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--epochs", metavar="N", type=positive, help="times through the training images (default 10)")
    group.add_argument("--learning-rate", metavar="R", type=strength, help="at the first step (default 0.003)")
    group.add_argument("--seed", metavar="N", type=natural, help="of the order of the images (default 0)")
    group.add_argument(
        "--control",
        action=argparse.BooleanOptionalAction,
        help="also fine-tune without constraints, with the same images and epochs, to compare with; takes the time of "
        "another training (default: do)",
    )
    group.add_argument(
        "--allow-worse",
        action="store_const",
        const=True,
        help="keep the best epoch even if the untreated model was better",
    )


def _add_constraints(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--channel",
        metavar="S",
        type=strength,
        help="strength of the constraint on channels, as a multiple of the loss before; 0 for none (default 1)",
    )
    group.add_argument(
        "--space",
        metavar="S",
        type=strength,
        help="strength of the constraint on the background, where boxes or masks say what that is; 0 for none (default "
        "10)",
    )
    group.add_argument(
        "--margin", metavar="PX", type=natural, help="pixels that objects are expanded by (default 30 at 224 pixels)"
    )
    group.add_argument(
        "--as-in-paper",
        action="store_const",
        const=True,
        help="constrain as the paper does: gradients averaged over the perturbed copies, and the second most confident "
        "class; every copy takes a pass of its own",
    )
    group.add_argument(
        "--space-layers",
        metavar="NAME",
        nargs="+",
        type=str,
        help="layers of the constraint on the background with --as-in-paper, there the last two; by default that of "
        "the diagnosis",
    )
