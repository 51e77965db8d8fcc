"""Small image files for tests."""

from pathlib import Path

import numpy as np
from PIL import Image


def save_photo(path: Path, size: tuple[int, int] = (40, 30), seed: int = 0, mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def save_damaged_jpeg(path: Path) -> Path:
    whole = save_photo(path, (64, 64)).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path
