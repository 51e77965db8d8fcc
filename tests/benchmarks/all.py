"""Every benchmark of speed and exactness, one after the other, into one Markdown file.

python tests/benchmarks/all.py [--device cuda] [--out benchmarks.md] [--quick] [--hours 3] [NAME ...]

Each has a process of its own: one that fails is named with its error, and the others run. On a GPU its tests come
first. With --quick everything runs on next to nothing, to see that it runs.
"""

import argparse
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import torch
from harness import processor

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BENCHMARKS = (
    "parameter_saliency",
    "input_space_saliency",
    "tracing",
    "model_doctor",
    "interventions",
    "comparison",
    "exemplars",
    "tails",
    "streaming",
    "precision",
    "decoding",
    "explaining",
)
"""Those that measure this package on any machine; the others need other checkouts, or count instead of measure."""

GPU_TESTS = ("tests/contract/test_gpu.py",)
LIBRARIES = ("torch", "torchvision", "captum", "numpy", "scipy", "pillow")
LINES = 30
"""Of the output of what failed, that are shown."""


@dataclass(frozen=True)
class Outcome:
    """How a process ended.

    Attributes:
        command: What was run, as a person would type it.
        seconds: What it took.
        code: Its exit status; None if it took too long.
        output: What it printed.
        errors: What it printed as errors.
    """

    command: str
    seconds: float
    code: int | None
    output: str
    errors: str

    @property
    def fine(self) -> bool:
        return self.code == 0

    @property
    def end(self) -> str:
        """How it ended, in words."""
        if self.fine:
            return f"done in {self.seconds:.0f} s"
        return "took too long and was ended" if self.code is None else f"FAILED with exit status {self.code}"


def run(arguments: Sequence[str], hours: float) -> Outcome:
    """Run Python at the root of the checkout; what takes longer is ended, with all that it started."""
    start = time.perf_counter()
    command = f"python {' '.join(arguments)}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(  # noqa: S603 -- our own scripts
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=3600 * hours)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, errors = process.communicate()
            return Outcome(command, time.perf_counter() - start, None, output, errors)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return Outcome(command, time.perf_counter() - start, process.returncode, output, errors)


def machine(device: torch.device) -> Iterator[str]:
    """Machine and versions, a line each."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    yield f"CPU: {processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {memory:.0f} GiB"
    if device.type == "cuda":
        facts = torch.cuda.get_device_properties(device)
        yield f"GPU: {facts.name}, {facts.total_memory / 2**30:.0f} GiB, compute capability {facts.major}.{facts.minor}"
        yield f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
        matmul, convolutions = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        yield f"TF32: {'on' if matmul else 'off'} for products, {'on' if convolutions else 'off'} for convolutions"
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    yield f"Python {platform.python_version()}, {libraries}, {platform.system()} {platform.release()}"
    yield f"captum-paramsal {version('captum-paramsal')}, commit {commit()}"
    yield f"Date: {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"


def commit() -> str:
    """The commit of the checkout, with a mark where files were changed since; "unknown" without git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip() or "unknown"


def section(title: str, outcome: Outcome) -> str:
    """What is said of one process."""
    parts = [f"## {title}", f"`{outcome.command}`: {outcome.end}.", outcome.output.strip()]
    if not outcome.fine:
        parts.append(f"```text\n{chr(10).join(outcome.errors.splitlines()[-LINES:])}\n```")
    return "\n\n".join(part for part in parts if part) + "\n"


def tests_of_gpu(hours: float) -> Outcome:
    outcome = run(["-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "", *GPU_TESTS], hours)
    # Failures are what pytest prints, and the last line counts them.
    lines = outcome.output.splitlines()
    shown = f"{lines[-1].strip('= ')}" if lines else ""
    if not outcome.fine:
        shown += f"\n\n```text\n{chr(10).join(lines[-LINES:])}\n```"
    return Outcome(outcome.command, outcome.seconds, outcome.code, shown, outcome.errors)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names", nargs="*", choices=[[], *BENCHMARKS], default=[], metavar="NAME", help="by default all"
    )
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks.md"))
    parser.add_argument("--quick", action="store_true", help="a dry run on next to nothing, whose numbers say nothing")
    parser.add_argument("--hours", type=float, default=3.0, help="for one benchmark, at most")
    arguments = parser.parse_args()
    if arguments.device.type == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: this machine has no CUDA device, or its PyTorch was built without CUDA")
    title = "Benchmarks, a dry run whose numbers say nothing" if arguments.quick else "Benchmarks"
    written = [f"# {title}\n", *(f"* {line}" for line in machine(arguments.device)), ""]
    failed = 0

    def keep(text: str) -> None:
        # At once: what has been measured is there, whatever comes.
        written.append(text)
        arguments.out.write_text("\n".join(written), encoding="utf-8")

    if arguments.device.type == "cuda":
        outcome = tests_of_gpu(arguments.hours)
        failed += not outcome.fine
        keep(section("Tests on the GPU", outcome))
        print(f"tests on the GPU: {outcome.end}", flush=True)
    for name in arguments.names or BENCHMARKS:
        options = ["--device", str(arguments.device), *(["--quick"] if arguments.quick else [])]
        outcome = run([f"tests/benchmarks/{name}.py", *options], arguments.hours)
        failed += not outcome.fine
        keep(section(name, outcome))
        print(f"{name}: {outcome.end}", flush=True)
    print(arguments.out.resolve())
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
