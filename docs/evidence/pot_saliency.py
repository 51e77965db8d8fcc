"""POT saliency's experiments again: which mistakes its top filters cure, what that breaks, and where they lie.

``python docs/evidence pot_saliency`` knocks filters out and fine-tunes them by a step, in the order of POT's scores and
of others, on SqueezeNet, ResNet-20, the networks of the page on depth bias and spoilt photos, and writes the tables and
figures of ``pot_saliency.md``. Every finished curve is kept in the work folder and not made again.
"""

import argparse
import logging
import re
import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

from photos import add_data_option
from pot_saliency_cases import Case, at_tail, corrupted_photos, digit_case, photo_case, picture_case, sketch_case
from pot_saliency_tables import Curves, write_case, write_tails, write_thresholds
from torch import Tensor

from captum_paramsal import POTSaliency
from captum_paramsal.repair import InterventionCurve, fine_tune_curve, knock_out_curve

LOG = logging.getLogger("pot_saliency")
PARTS = ("photos", "thresholds", "corrupted", "pictures", "digits", "pacs", "tails")
TAILS = (0.05, 0.15, 0.20, 0.30)
"""Shares of the reference set above the threshold, other than the usual one."""

SKETCHED = ("POT, exponential, own domain", "POT, exponential, other domain")
"""Arms that are left out for the sketches."""

ACTIONS: dict[str, tuple[int, Callable[..., InterventionCurve]]] = {
    "knock-out": (50, knock_out_curve),
    "fine-tuning": (25, fine_tune_curve),
}


def curve(
    case: Case, action: str, arm: str, ranking: Tensor, options: argparse.Namespace, *, most: int | None = None
) -> InterventionCurve:
    """One curve: that of an earlier run, or a new one; ``most`` filters are changed, if it is given."""
    file = options.work / f"{case.name}.{action}.{re.sub('[^a-z0-9]+', '-', arm.lower())}.safetensors"
    if not file.exists():
        k, act = ACTIONS[action]
        began = time.perf_counter()
        made = act(
            case.model,
            case.images,
            case.labels,
            ranking,
            case.filters,
            k=most or k,
            controls=case.controls,
            internal_batch_size=2,
            show_progress=False,
        )
        made.save(file)
        LOG.info("%s, %s, %s: %.0f s", case.name, action, arm, time.perf_counter() - began)
    return InterventionCurve.load(file)


def curves(case: Case, options: argparse.Namespace, without: Sequence[str] = ()) -> Curves:
    """Curves of all arms, by action and arm."""
    return {
        action: {
            arm: curve(case, action, arm, ranking, options)
            for arm, ranking in case.rankings.items()
            if arm not in without
        }
        for action in ACTIONS
    }


def thresholds(case: Case, options: argparse.Namespace) -> dict[str, InterventionCurve]:
    """Fine-tuning curves of POT for several thresholds."""
    rows = case.rankings["raw profile"]
    found = {}
    for tail in TAILS:
        scores = POTSaliency(case.model, at_tail(case.reference, tail)).score(rows)
        found[f"{100 * (1 - tail):.0f} %"] = curve(case, "fine-tuning", f"POT, mle, tail {tail}", scores, options)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the requested parts, each with its own tables and figure in the work folder."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    options.work.mkdir(parents=True, exist_ok=True)
    cases: dict[str, Callable[[], Case]] = {
        "photos": cache(partial(photo_case, options)),
        "pictures": cache(partial(picture_case, options)),
        "digits": partial(digit_case, options),
        "pacs": partial(sketch_case, options),
    }
    for part in options.parts:
        LOG.info("part %s", part)
        if part == "tails":
            write_tails([cases["photos"](), cases["pictures"]()], options.tail, options.work)
        elif part == "thresholds":
            case = cases["photos"]()
            usual = curve(case, "fine-tuning", "POT, mle", case.rankings["POT, mle"], options)
            found = thresholds(case, options)
            name = f"{100 * (1 - options.tail):.0f} %"
            write_thresholds(dict(sorted({**found, name: usual}.items())), name, options.work)
        elif part == "corrupted":
            case = corrupted_photos(cases["photos"](), options)
            write_case(case, curves(case, options, ("POT, exponential",)), options.work)
        else:
            case = cases[part]()
            write_case(case, curves(case, options, SKETCHED if part == "pacs" else ()), options.work)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--work", type=Path, default=Path("pot-saliency"), help="folder for curves, tables and figures")
    parser.add_argument("--networks", type=Path, default=Path("depth-bias"), help="work folder of depth_bias")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--photos", type=int, default=64, help="mistakes on photos, at most")
    parser.add_argument("--corrupted", type=int, default=20, help="mistakes on corrupted photos of each kind")
    parser.add_argument("--pictures", type=int, default=200, help="mistakes on CIFAR-10's images, at most")
    parser.add_argument("--digits", type=int, default=100, help="mistakes on street digits, at most")
    parser.add_argument("--sketches", type=int, default=64, help="mistakes on PACS's sketches, at most")
    parser.add_argument("--shifted-images", type=int, default=800, help="images of another domain, at most")
    parser.add_argument("--controls", type=int, default=1, help="correct images per mistake to try its change on")
    parser.add_argument("--tail", type=float, default=0.10, help="share of the reference set above the thresholds")
    parser.add_argument("--mnist-epochs", type=int, default=5)
    parser.add_argument("--pacs-epochs", type=int, default=21)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
