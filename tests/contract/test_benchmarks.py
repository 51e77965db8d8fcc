"""Every benchmark of speed runs by one command; how fast anything is, no test says."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[1] / "benchmarks"
COUNTING = {"census", "house", "planted_faults", "planted_between_models", "before_and_after", "limits", "following"}
"""Those that count what works or compare checkouts, and run by themselves."""

NO_SCRIPTS = {"all", "harness", "photo_sets"}


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("all_benchmarks", FOLDER / "all.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "all_benchmarks", module)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("harness", None)


def asked(script, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["all.py", *map(str, arguments)])
    return script.main()


def test_none_is_forgotten(script):
    there = {path.stem for path in FOLDER.glob("*.py")} - NO_SCRIPTS
    assert set(script.BENCHMARKS) == there - COUNTING
    for name in script.BENCHMARKS:
        text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
        assert "begin(" in text or ('"--device"' in text and '"--quick"' in text), name
    assert all((FOLDER.parents[1] / path).is_file() for path in script.GPU_TESTS)


def test_one_that_fails_is_said_and_stops_no_other(script, monkeypatch, tmp_path, capsys):
    def run(arguments, _):
        failed = "tails" in arguments[0]
        output = "| a | b |\n|---|---|\n"
        return script.Outcome(" ".join(arguments), 1.0, int(failed), output, "Traceback\nValueError: no" * failed)

    monkeypatch.setattr(script, "run", run)
    out = tmp_path / "found.md"
    assert asked(script, monkeypatch, "--out", out, "--quick") == 1
    written = out.read_text(encoding="utf-8")
    assert all(f"\n## {name}\n" in written for name in script.BENCHMARKS)
    assert written.count("| a | b |") == len(script.BENCHMARKS)
    assert "tests/benchmarks/tails.py --device cpu --quick`: FAILED with exit status 1." in written
    assert "```text\nTraceback\nValueError: no\n```" in written
    assert f"torch {torch.__version__.split('+')[0]}" in written
    said = capsys.readouterr().out
    assert "tails: FAILED" in said
    assert "streaming: done in 1 s" in said


def test_on_a_gpu_its_tests_come_first(script, monkeypatch, tmp_path):
    begun = []

    def run(arguments, _):
        begun.append(" ".join(arguments))
        return script.Outcome(begun[-1], 1.0, 0, "....\n==== 14 passed in 3.21s ====\n", "")

    monkeypatch.setattr(script, "run", run)
    monkeypatch.setattr(script, "machine", lambda _: ["a GPU"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    out = tmp_path / "found.md"
    assert asked(script, monkeypatch, "--device", "cuda", "--out", out, "tails", "streaming") == 0
    assert "pytest" in begun[0]
    assert begun[1:] == [f"tests/benchmarks/{name}.py --device cuda" for name in ("tails", "streaming")]
    assert "## Tests on the GPU" in out.read_text(encoding="utf-8")
    assert "\n14 passed in 3.21s\n" in out.read_text(encoding="utf-8")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_nothing_is_begun(script, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        asked(script, monkeypatch, "--device", "cuda")
    assert "this machine has no CUDA device" in capsys.readouterr().err


def test_what_takes_too_long_is_ended(script):
    outcome = script.run(["-c", "import time; print('begun', flush=True); time.sleep(60)"], hours=3 / 3600)
    assert outcome.code is None
    assert "took too long" in outcome.end


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_all_of_them_run(tmp_path):
    out = tmp_path / "found.md"
    command = [sys.executable, FOLDER / "all.py", "--quick", "--out", out]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 -- our own script
    assert done.returncode == 0, out.read_text(encoding="utf-8")
    assert "FAILED" not in out.read_text(encoding="utf-8")
