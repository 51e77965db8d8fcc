"""Fifty filters knocked out one after the other, or fine-tuned, against a copy of the model for each image and step.

python tests/benchmarks/interventions.py [--device cuda] [--rounds 5] [CASE ...]
"""

from collections.abc import Callable
from copy import deepcopy

import torch
from harness import begin, median_seconds, peak_of, print_header
from torchvision import models

from captum_paramsal import ParameterSaliency
from captum_paramsal.repair import fine_tune_curve, knock_out_curve, random_ranking

CASES = {
    f"{name}, {what}, {ranking}": (name, what, ranking)
    for name in ("squeezenet1_1", "resnet18")
    for what in ("knock-out", "fine-tuning")
    for ranking in ("saliency", "random")
}
FILTERS = 50
LIMIT = 10.0
CURVE, LOOP = "curve", "a copy for each"
IMAGES = 2


def rivals(case: str, device: torch.device) -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    name, what, kind = CASES[case]
    model = models.get_model(name, weights=None).to(device).eval()
    images = torch.randn(IMAGES, 3, 224, 224, device=device)
    with torch.no_grad():
        labels = (model(images).argmax(dim=1) + 1) % 1000
    saliency = ParameterSaliency(model)
    filters = saliency.filters
    ranking = saliency.attribute(images, labels) if kind == "saliency" else random_ranking(filters, IMAGES)
    run = knock_out_curve if what == "knock-out" else fine_tune_curve
    chosen = filters.top(ranking, FILTERS)

    def loop() -> None:
        for n in range(IMAGES):
            gradients = {}
            if what == "fine-tuning":
                copy = deepcopy(model)
                torch.nn.functional.cross_entropy(copy(images[n : n + 1]), labels[n : n + 1]).backward()
                gradients = {key: value.grad for key, value in copy.named_parameters()}
            with torch.no_grad():
                for k in range(FILTERS + 1):
                    copy = deepcopy(model)
                    for one in chosen[n][:k]:
                        weight = copy.get_submodule(one.layer).weight
                        if what == "knock-out":
                            weight[one.index] = 0
                        else:
                            weight[one.index] -= 0.001 * gradients[f"{one.layer}.weight"][one.index]
                    copy(images[n : n + 1])

    return {
        CURVE: lambda: run(model, images, labels, ranking, filters, k=FILTERS, show_progress=False),
        LOOP: loop,
    }


def main() -> None:
    arguments = begin(__doc__, list(CASES), rivals)
    device = arguments.device
    print_header("case", "rival", "seconds", f"{LOOP} / it (aim {LIMIT:g})", "peak MiB")
    for case in arguments.cases:
        seconds = median_seconds(rivals(case, device), arguments.rounds, device)
        for name, median in seconds.items():
            memory = peak_of(__file__, case, name, device)
            print(f"| {case} | {name} | {median:.3f} | {seconds[LOOP] / median:.2f} | {memory:.0f} |", flush=True)


if __name__ == "__main__":
    main()
