"""What the demo's reports said when they were last looked at, and how a report of today differs from it.

``python -m golden.reports`` (in ``tests/``) prints what differs and takes today's reports for golden.
"""

import gzip
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# Sums of several threads, and of processors with wider registers, are rounded differently, and training makes a
# rounding large.
ANYWHERE = {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
# Each report's command, and the file of its numbers.
COMMANDS = {
    "explain": (["explain"], "explanation.json"),
    "explain-pot": (["explain", "--method", "pot"], "explanation.json"),
    "doctor": (["doctor"], "doctor.json"),
    "doctor-treat": (["doctor", "--treat"], "doctor.json"),
    "compare": (["compare"], "comparison.json"),
    "triage": (["triage"], "triage.json"),
    "compare-models": (["compare-models"], "models.json"),
}
# Names, old and new, of what got another name since the golden files were made.
RENAMED = json.loads((HERE / "renamed_keys.json").read_text())

# What a report says today that it did not say then.
ADDED = {
    "doctor-treat": [".treatment.settings: as_in_paper is new", ".treatment.settings: space_layers is new"],
    "explain": [": exemplars is new", ": neighbors is new", ": paths is new"],
    "explain-pot": [": exemplars is new", ": neighbors is new", ": paths is new"],
    "triage": [": label_doubts is new", ": mistakes is new"],
}

# Not compared: versions change with each release, and prose is no result.
SKIPPED = {"schema_version", "versions", "description", "note", "remarks", "caveats", "sentences"}
# A clock and an allocator give other numbers each time.
COSTS = {"seconds", "peak memory"}
# A digest of statistics to their last bit, which is another on each kind of processor.
DIGESTS = {".comparison.reference"}
# By how much floats may differ whose place holds these words.
BOUNDS = {
    # Over the thousands of pixels of a map, those that differ by less than rounding change places.
    "saliency_correlation": 2e-5,
}
MAKER = "AuthenticAMD"
"""Of the processors that the golden files were made on."""
# More of them on processors of other makers, which round otherwise.
BOUNDS_ELSEWHERE = {
    # Differences of two values.
    ".paired": 1e-5,
    # The fifth decimal or digit is the last that is written, and may be rounded the other way.
    ".groups.": 1.1e-5,
    ".tails.examples": 1.1e-5,
    # Ten epochs of training make a rounding large; what is counted is the same.
    ".treatment.confidence": 0.01,
    ".treatment.history": 0.01,
}


@lru_cache
def bounds() -> dict[str, float]:
    """Those of this machine."""
    about = Path("/proc/cpuinfo")
    elsewhere = about.exists() and MAKER not in about.read_text()
    return BOUNDS | BOUNDS_ELSEWHERE if elsewhere else BOUNDS


def golden(name: str) -> dict[str, Any]:
    content = json.loads(gzip.decompress((HERE / f"{name}.json.gz").read_bytes()))
    if "images_from" in content:
        # The one key that took another's name.
        content["items"], content["images"] = content["images"], content.pop("images_from")
    return content


def made(name: str, folder: Path) -> dict[str, Any]:
    command, file = COMMANDS[name]
    arguments = [sys.executable, "-m", "captum_paramsal", *command, "--out", str(folder)]
    subprocess.run(arguments, env={**os.environ, **ANYWHERE}, cwd=ROOT, check=True)  # noqa: S603 -- our own command
    content = json.loads((folder / file).read_text())
    # What says that the files are whole is no result.
    return {key: value for key, value in content.items() if key not in ("files", "page", "checksum")}


def differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    """Where two reports differ, but for new names and for floats closer than 1e-5 of themselves.

    Some floats have a bound of their own, and of a digest only whether there is one is compared.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _of_objects(old, new, where)
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield f"{where}: {len(old)} entries, now {len(new)}"
        for place, (before, after) in enumerate(zip(old, new, strict=False)):
            yield from differences(before, after, f"{where}[{place}]")
    elif not _same(old, new, where):
        yield f"{where}: {old!r}, now {new!r}"


def _of_objects(old: dict[str, Any], new: dict[str, Any], where: str) -> Iterator[str]:
    if old.get("metric") in COSTS:
        return
    named = {RENAMED.get(key, key) if key not in new else key: value for key, value in old.items()}
    yield from (f"{where}: no {key}" for key in named.keys() - new.keys() - SKIPPED)
    yield from (f"{where}: {key} is new" for key in new.keys() - named.keys() - SKIPPED)
    for key in named.keys() & new.keys() - SKIPPED:
        yield from differences(named[key], new[key], f"{where}.{key}")


def _same(old: Any, new: Any, where: str) -> bool:
    if where in DIGESTS:
        return type(old) is type(new) and len(old) == len(new)
    if isinstance(old, float) and isinstance(new, int | float):
        bound = max((bound for words, bound in bounds().items() if words in where), default=1e-6)
        return math.isclose(old, new, rel_tol=1e-5, abs_tol=bound)
    return new in (old, RENAMED.get(old) if isinstance(old, str) else old)


if __name__ == "__main__":
    for name in COMMANDS:
        with tempfile.TemporaryDirectory() as folder:
            now = made(name, Path(folder))
        print(name, *sorted(differences(golden(name), now)), sep="\n  ")
        text = json.dumps(now, separators=(",", ":"))
        (HERE / f"{name}.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
