"""Weights from files: read without running anything, and loaded only if every key fits."""

from __future__ import annotations

import argparse
import os
import pickle
import re
import zipfile
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from captum_paramsal.errors import SourceError, warn_caller
from captum_paramsal.files.kinds import WEIGHTS
from captum_paramsal.hooks import unwrap
from captum_paramsal.sources.bounds import bounded

_PLAIN = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "params", "weights")
_AVERAGED = ("model_ema", "state_dict_ema", "ema_state_dict", "params_ema", "ema")
_WRAPPERS = (*_PLAIN, *_AVERAGED)
"""Keys that checkpoints have their tensors under, in the order in which they are taken."""
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
_NAMED = 3
_GLOBAL = re.compile(r"GLOBAL (\S+)")


def read_state_dict(path: Path, model: nn.Module) -> dict[str, Tensor]:
    """The tensors of a safetensors or ``torch.save`` file, named as the model names its own.

    A checkpoint that holds its state dict under a usual key (``state_dict``, ``model``, ...) is unwrapped,
    and the prefixes that data-parallel, compiled and Lightning modules put before every name are taken off,
    unless the model's own names have them. Where all of the model's names are there behind one prefix, whatever it is,
    tensors without it, such as those of a loss, are left out with a warning.

    Raises:
        SourceError: The file is not there, is damaged, would unpack to far more than the model can hold, or holds
            something else than named tensors.
    """
    # Not `Path.is_file`, which raises for a path that is too long.
    if not os.path.isfile(path):  # noqa: PTH113
        got = "a folder" if os.path.isdir(path) else "nothing"  # noqa: PTH112
        message = f"Expected a weights file at '{path}', got {got}."
        raise SourceError(message)
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path, model)
    content = _unwrapped(content)
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        message = (
            f"Expected named tensors in '{path}', got {_describe(content)}. "
            "Save them with `torch.save(model.state_dict(), path)`."
        )
        raise SourceError(message)
    return _without_prefix({str(name): value for name, value in content.items()}, model.state_dict().keys())


def load_strictly(model: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Load a state dict that must fit the model name by name and shape by shape.

    Only ``num_batches_tracked`` may be missing: evaluation never reads it and older files lack it.

    Raises:
        SourceError: Which names are missing, too many or of another shape, and how many.
    """
    expected = model.state_dict()
    missing = [name for name in expected if name not in state and not name.endswith("num_batches_tracked")]
    extra = [name for name in state if name not in expected]
    reshaped = [
        f"{name} {tuple(state[name].shape)} where the model has {tuple(expected[name].shape)}"
        for name in expected
        if name in state and expected[name].shape != state[name].shape
    ]
    complaints = [
        f"{len(names)} {what} ({', '.join(names[:_NAMED])}{', ...' if len(names) > _NAMED else ''})"
        for what, names in (("missing", missing), ("not in the model", extra), ("of another shape", reshaped))
        if names
    ]
    if complaints:
        message = (
            f"Expected weights for the {len(expected)} tensors of {type(model).__name__}, got from {origin}: "
            f"{'; '.join(complaints)}. Check that `--model` names the architecture that was trained."
        )
        raise SourceError(message)
    model.load_state_dict(dict(state), strict=False)


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a model's state dict as safetensors, with a checksum that :func:`read_state_dict` looks at.

    An existing file is replaced only when the new one is complete. The names are those of the module that a compiled,
    data-parallel or averaged model wraps.

    Raises:
        SourceError: The file cannot be written, or its name has another ending, by which nothing would read it.
    """
    if Path(path).suffix != ".safetensors":
        message = f"Expected a name that ends in .safetensors, got '{path}'."
        raise SourceError(message)
    WEIGHTS.save(path, unwrap(model).state_dict(), {})


def head_size(model: nn.Module, state: Mapping[str, Tensor]) -> int | None:
    """How many classes the weights have, where that alone keeps them from fitting the model; else None."""
    expected = model.state_dict()
    differing = [
        (expected[n].shape, state[n].shape) for n in expected if n in state and expected[n].shape != state[n].shape
    ]
    sizes = {theirs[0] for ours, theirs in differing if ours[1:] == theirs[1:]}
    alike = all(ours[1:] == theirs[1:] for ours, theirs in differing)
    return sizes.pop() if alike and len(sizes) == 1 else None


def _read_safetensors(path: Path) -> object:
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415
    from safetensors.torch import load_file  # noqa: PLC0415

    try:
        with safe_open(path, framework="pt") as file:
            sealed = WEIGHTS.is_in(file.metadata() or {})
        return WEIGHTS.load(path, lambda tensors, _: tensors) if sealed else load_file(path)
    except (SafetensorError, OSError) as error:
        message = f"Expected a safetensors file at '{path}', got a damaged or foreign one: {error}."
        raise SourceError(message) from error


def _read_pickle(path: Path, model: nn.Module) -> object:
    if _is_torchscript(path):
        message = (
            f"Expected a file of tensors alone at '{path}', got a TorchScript archive, whose code is never run. Save "
            "the weights alone: `torch.save(torch.jit.load(path).state_dict(), other_path)`."
        )
        raise SourceError(message)
    try:
        with bounded(path, model.state_dict().values()) as file, _plain_values():
            return torch.load(file, map_location="cpu", weights_only=True)
    except SourceError:
        raise
    except pickle.UnpicklingError as error:
        strange = _GLOBAL.search(str(error))
        got = f"one that holds code ({strange[1]})" if strange else "one that is damaged or holds code"
        message = (
            f"Expected a file of tensors alone at '{path}', got {got}, which is never run. Save the weights with "
            "`torch.save(model.state_dict(), path)`."
        )
        raise SourceError(message) from error
    except Exception as error:  # a damaged pickle raises nearly anything
        message = f"Expected a state-dict file at '{path}', got {type(error).__name__}: {error}."
        raise SourceError(message) from error


def _plain_values() -> AbstractContextManager[None]:
    """Take options and numbers that training programs put beside the weights; none of them runs anything."""
    allow = getattr(torch.serialization, "safe_globals", None)
    core = getattr(np, "_core", None) or np.core
    kinds = [type(np.dtype(name)) for name in ("f2", "f4", "f8", "i4", "i8", "b1")]
    arrays = [core.multiarray.scalar, core.multiarray._reconstruct, np.ndarray, np.dtype, *kinds]  # noqa: SLF001
    plain = [argparse.Namespace, type(Path()), *arrays]
    return nullcontext() if allow is None else cast("AbstractContextManager[None]", allow(plain))


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _without_prefix(state: dict[str, Tensor], expected: Collection[str]) -> dict[str, Tensor]:
    needed = [name for name in expected if not name.endswith("num_batches_tracked")]
    if not needed or all(name in state for name in needed):
        return state
    # As many as wrapped each other: a compiled module in a data-parallel one in one of Lightning.
    while prefix := next((p for p in _PREFIXES if all(n.startswith(p) and n not in expected for n in state)), ""):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    ends = {name.removesuffix(needed[0]) for name in state if name.endswith(f".{needed[0]}")}
    fitting = sorted(end for end in ends if all(end + name in state for name in needed))
    known = [end for end in fitting if end in _PREFIXES]
    if not fitting or all(name in state for name in needed):
        return state
    if len(fitting) > 1 and len(known) != 1:
        message = (
            f"Expected the tensors of one model, got a weights file with those of {len(fitting)}, behind "
            f"{', '.join(map(repr, fitting[:_NAMED]))}. Save the right ones alone."
        )
        raise SourceError(message)
    prefix = (known or fitting)[0]
    outside = [name for name in state if not name.startswith(prefix)]
    if outside:
        message = (
            f"Left out {len(outside)} tensors of the weights file that are not behind {prefix!r}, as all of the "
            f"model's are: {', '.join(outside[:_NAMED])}{', ...' if len(outside) > _NAMED else ''}."
        )
        warn_caller(message, UserWarning)
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _unwrapped(content: object) -> object:
    """What lies under the usual keys."""
    while isinstance(content, Mapping):
        wrappers = [name for name in _WRAPPERS if isinstance(content.get(name), Mapping)]
        if not wrappers:
            break
        if len(wrappers) > 1:
            message = (
                f"Took {wrappers[0]!r} of the weights file, which has {', '.join(map(repr, wrappers[1:]))} as well. "
                "Save those alone to take them."
            )
            warn_caller(message, UserWarning)
        content = content[wrappers[0]]
    return content


def _describe(content: object) -> str:
    if isinstance(content, Mapping):
        return f"a mapping with the keys {', '.join(map(repr, list(content)[:_NAMED])) or '(none)'}"
    return f"a {type(content).__name__}"
