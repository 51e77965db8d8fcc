"""What works, as it comes, on the classifiers that people hold: one row a model, one column a method.

python tests/benchmarks/census.py [--device cuda] [--from timm] [--columns trace,doctor] [--every 3] [NAME ...]

Weights are random, norms calibrated. Without names: one small model of every module of timm, or of every family of
torchvision. A model passes a column if it works without an argument of the caller's.
"""

import argparse
import copy
import sys
import time
import warnings
from collections.abc import Callable, Iterator

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models

import captum_paramsal as cp

CLASSES = 10
SIZES = (64, 96, 128, 160, 192, 224, 256)
LARGEST_LOOP = 16_000_000
COLUMNS = ("share", "exact", "pixels", "trace", "fixations", "doctor", "state")
VIDEO = ("r3d_18", "mc3_18", "s3d")


class WrongResultError(Exception):
    """A call returned, but not what it should."""


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise WrongResultError(otherwise)


def timm_names() -> list[str]:
    families: dict[str, list[str]] = {}
    for name in timm.list_models():
        families.setdefault(timm.models._registry._model_to_module[name], []).append(name)
    return [min(names, key=lambda name: (_size_in(name), len(name), name)) for names in families.values()]


def _size_in(name: str) -> int:
    """Rank of the words for sizes, the smallest first; models need not be built to find the small ones."""
    words = (
        "femto",
        "atto",
        "pico",
        "nano",
        "xxs",
        "xxtiny",
        "xtiny",
        "t0",
        "_ti",
        "tiny",
        "small",
        "_s",
        "18",
        "050",
        "base",
    )
    return next((rank for rank, word in enumerate(words) if word in name), len(words))


def torchvision_names() -> list[str]:
    modules: dict[str, list[str]] = {}
    for name in models.list_models(module=models):
        modules.setdefault(models.get_model_builder(name).__module__, []).append(name)
    firsts = ["mvit_v2_s", *VIDEO]
    return [*(min(names) for module, names in modules.items() if module != models.__name__), "swin_v2_t", *firsts]


def built(source: str, name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    if source == "timm":
        model = timm.create_model(name, pretrained=False, num_classes=CLASSES)
        sizes = (*SIZES, model.default_cfg["input_size"][-1])
    else:
        model = models.get_model(name, weights=None, num_classes=CLASSES)
        sizes = (96,) if name in VIDEO else (224,) if "vit" in name else SIZES
    model.eval()
    for size in sizes:
        frames = (16,) if source == "torchvision" and (name in VIDEO or "mvit" in name) else ()
        shape = (2, 3, *frames, size, size)
        images = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        try:
            with torch.no_grad():
                fits = model(images).shape == (2, CLASSES)
        except Exception:  # noqa: BLE001, S112 -- the model's own code, on a size that it may not take
            continue
        if fits:
            return calibrated(model, images), images
    message = f"{name} takes none of the sizes {sizes}"
    raise ValueError(message)


def calibrated(model: nn.Module, images: Tensor) -> nn.Module:
    """Norms with the statistics of noise, and no weights that are all but constant, such as layer scales."""
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.numel() > 1 and float(parameter.std()) < 1e-3:
                parameter.add_(0.1 * torch.randn_like(parameter))
        model.train()
        for _ in range(4):
            model(torch.cat([images, images]) + 0.1 * torch.randn(4, *images.shape[1:]))
    return model.eval()


def share(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Of the weights, class scores apart, those of the default layers."""
    saliency = cp.ParameterSaliency(model)
    scores = saliency.attribute(images, target=labels)
    require(bool(torch.isfinite(scores).all() and scores.any()), "scores that are 0 or not finite")
    scored = {id(p) for name in saliency.filters.layers for p in model.get_submodule(name).parameters()}
    body = [p for p in model.parameters() if p.ndim > 1 and len(p) != CLASSES]
    return sum(p.numel() for p in body if id(p) in scored) / sum(p.numel() for p in body)


def exact(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Largest difference from autograd, alone and in a batch, over the image's largest score."""
    twin, double = copy.deepcopy(model).double(), images.double()
    saliency = cp.ParameterSaliency(twin)
    parts = saliency.filters.split(saliency.attribute(double, target=labels))
    weights = {
        name: twin.get_submodule(name).weight
        for name, scores in parts.items()
        if type(twin.get_submodule(name)) in (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
        and len(twin.get_submodule(name).weight) == scores.shape[1]
    }
    twin.requires_grad_(True)
    worst = 0.0
    for n in range(len(images)):
        alone = saliency.filters.split(saliency.attribute(double[n : n + 1], target=labels[n : n + 1]))
        # Twice: PyTorch's own backward pass of batch norm can be wrong for one image.
        loss = functional.cross_entropy(twin(double[[n, n]])[:1], labels[n : n + 1])
        gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
        slow = {
            name: torch.zeros(len(weight), device=weight.device)
            if gradient is None
            else gradient.flatten(1).abs().mean(1)
            for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
        }
        top = max(float(one.max()) for one in slow.values())
        gaps = [(found[name][row] - slow[name]).abs().max() for found, row in ((parts, n), (alone, 0)) for name in slow]
        worst = max(worst, float(max(gaps)) / top)
    require(worst <= 1e-7, f"{worst:.1e} from autograd")
    return worst


def some(maps: Tensor) -> tuple[int, ...]:
    require(bool(torch.isfinite(maps).all()) and all(bool(one.any()) for one in maps), "a map of 0 or not finite")
    return tuple(maps.shape[1:])


def columns(model: nn.Module, images: Tensor) -> dict[str, Callable[[], object]]:
    labels = torch.tensor([3, 7], device=images.device)
    size = sum(p.numel() for p in model.parameters())
    return {
        "share": lambda: share(model, images, labels),
        "exact": lambda: exact(model, images, labels) if size <= LARGEST_LOOP else "too large for a loop",
        "pixels": lambda: some(cp.InputSpaceSaliency(cp.ParameterSaliency(model)).attribute(images, target=labels)),
        "trace": lambda: some(cp.DiscernibleNeurons(model).attribute(images)),
        "fixations": lambda: some(cp.CNNFixations(model).attribute(images)),
        "doctor": lambda: some(cp.ModelDoctor(model).attribute(images, target=labels)),
    }


def state_of(model: nn.Module) -> list[object]:
    values = [value.clone() for value in (*model.parameters(), *model.buffers())]
    return [*values, *[(m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]]


def is_same(one: object, other: object) -> bool:
    return torch.equal(one, other) if isinstance(one, Tensor) and isinstance(other, Tensor) else one == other


def row(model: nn.Module, images: Tensor, wanted: list[str]) -> Iterator[tuple[str, str, str]]:
    """Column, "ok", "wrong", "refused" or "crash", and what there is to say of it."""
    before = state_of(model)
    for name, call in columns(model, images).items():
        if name not in wanted:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                value = call()
            low = name == "share" and isinstance(value, float) and value < 0.9
            yield name, "wrong" if low else "ok", f"{value:.2g}" if isinstance(value, float) else str(value)
        except WrongResultError as error:
            yield name, "wrong", str(error)
        except cp.ParamsalError as error:
            yield name, "refused", str(error)[:160]
        except Exception as error:  # noqa: BLE001 -- a crash is what is counted here
            yield name, "crash", f"{type(error).__name__}: {str(error)[:160]}"
    if "state" in wanted:
        same = all(map(is_same, before, state_of(model)))
        yield "state", "ok" if same else "wrong", ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--from", dest="source", choices=("timm", "torchvision"), default="timm")
    parser.add_argument("--columns", default=",".join(COLUMNS))
    parser.add_argument("--every", type=int, default=1, help="one of so many names")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    arguments = parser.parse_args()
    names = arguments.names or (timm_names() if arguments.source == "timm" else torchvision_names())
    wanted = arguments.columns.split(",")
    counts: dict[tuple[str, str], int] = {}
    for name in names[:: arguments.every]:
        try:
            model, images = (made.to(arguments.device) for made in built(arguments.source, name))
        except Exception as error:  # noqa: BLE001 -- models that need another library
            print(f"{name:36s} not built: {type(error).__name__}: {str(error)[:80]}", flush=True)
            continue
        start, faults = time.perf_counter(), []
        for column, verdict, said in row(model, images, wanted):
            counts[column, verdict] = counts.get((column, verdict), 0) + 1
            faults += [] if verdict == "ok" else [f"{column} {verdict}: {said}"]
        seconds = time.perf_counter() - start
        print(f"{name:36s} {images.shape[-1]:4d} px {seconds:6.1f} s  {' | '.join(faults) or 'ok'}", flush=True)
    for column in wanted:
        print(f"{column:10s}", {verdict: n for (of, verdict), n in counts.items() if of == column})
    return sum(n for (_, verdict), n in counts.items() if verdict == "crash")


if __name__ == "__main__":
    sys.exit(main())
