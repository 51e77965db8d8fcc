import io
import os
import platform
import subprocess
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from captum_paramsal import __version__
from captum_paramsal.cli import about, main
from captum_paramsal.cli.saying import say
from captum_paramsal.files import kinds
from captum_paramsal.files.atomic import COMPLETE
from captum_paramsal.files.file_kind import FileKind


def _exit_of(argv):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    return caught.value.code


def test_version(capsys):
    assert _exit_of(["--version"]) == 0
    assert capsys.readouterr().out == f"captum-paramsal {__version__}\n"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--help"], ["explain", "reference", "examples:", "130 interrupted", "doctor"]),
        (["explain", "--help"], ["IMAGES_DIR", "--top-k", "--reference FILE", "built-in demo", "default 10"]),
        (
            ["explain", "--help"],
            [
                "--method {parameter,pot}",
                "--fit {mle,exponential}",
                "--no-pixels",
                "--no-traces",
                "--paths N",
                "--save-pixels",
            ],
        ),
        (
            ["reference", "--help"],
            ["IMAGES_DIR", "--out FILE", "--layers", "--tail SHARE", "--exemplars K", "--checkpoint FILE", "examples:"],
        ),
    ],
)
def test_help(capsys, argv, words):
    assert _exit_of(argv) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in words)


def test_help_loads_nothing_heavy():
    heavy = ("torch", "numpy", "matplotlib", "PIL", "jinja2", "captum")
    code = (
        "import sys\nfrom captum_paramsal.cli import main\n"
        "try:\n    main(['explain', '--help'])\nexcept SystemExit:\n    pass\n"
        f"loaded = [name for name in {heavy!r} if name in sys.modules]\nsys.exit(', '.join(loaded) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)  # noqa: S603
    assert (result.returncode, result.stderr) == (0, "")


def test_runs_as_a_module():
    command = [sys.executable, "-m", "captum_paramsal", "--version"]
    result = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    assert result.stdout.strip().endswith(__version__)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["explain", "--model", "resnet18"], "--model and IMAGES_DIR go together"),
        (["explain", "photos"], "--model and IMAGES_DIR go together"),
        (["explain", "--labels", "labels.csv"], "--labels: needs --model and IMAGES_DIR"),
        (["explain", "--image-size", "32"], "--image-size: needs --model and IMAGES_DIR"),
        (["explain", "--top-k", "0"], "at least 1, got 0"),
        (["explain", "--batch-size", "many"], "expected a whole number, got 'many'"),
        (["explain", "--resize", "stretch"], "invalid choice: 'stretch'"),
        (["explain", "--method", "cam"], "invalid choice: 'cam'"),
        (["explain", "--fit", "mle"], "--fit: needs --method pot"),
        (["explain", "--no-traces", "--paths", "3"], "--paths: needs traces, which --no-traces leaves out"),
        (["explain", "--no-pixels", "--save-pixels"], "--save-pixels and --no-pixels exclude each other"),
        (["reference", "photos"], "--model"),
    ],
)
def test_wrong_usage(capsys, argv, message):
    assert _exit_of(argv) == 2
    assert message in capsys.readouterr().err


def test_about_says_what_a_report_of_an_error_needs(capsys):
    assert main(["about"]) == 0
    facts = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert facts["captum-paramsal"] == __version__
    assert facts["torch"] == version("torch")
    assert facts["python"].startswith(platform.python_version())
    assert facts["devices"].startswith("cpu")
    assert facts["threads"].startswith(str(torch.get_num_threads()))
    for kind in vars(kinds).values():
        if isinstance(kind, FileKind):
            assert f"{kind.name} {kind.versions[-1]}" in facts["files"].split(", ")


def test_about_takes_no_package_for_granted(capsys, monkeypatch):
    monkeypatch.setattr(about, "_WITH", ("torch", "no-such-package"))
    assert main(["about"]) == 0
    assert "no-such-package  not installed" in capsys.readouterr().out


def test_a_terminal_gets_no_character_that_it_obeys_or_cannot_show(capsys):
    say("a\x1b[31m caf\udce9 é")
    assert capsys.readouterr().out == "a\\x1b[31m caf\\xe9 é\n"
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    say("é 猫", file=narrow)
    assert narrow.buffer.getvalue() == b"\\xe9 \\u732b\n"


def test_an_output_that_nobody_reads_any_more_loses_nothing(tmp_path):
    command = [sys.executable, "-m", "captum_paramsal", "schema", "--out", str(tmp_path / "schemas")]
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(command, check=False, stdout=write, stderr=subprocess.PIPE, text=True)  # noqa: S603
    os.close(write)
    assert (result.returncode, result.stderr) == (0, "")
    assert any((tmp_path / "schemas").rglob("*.json"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is Linux's")
def test_a_full_disk_is_said_once(tmp_path):
    command = [sys.executable, "-m", "captum_paramsal", "schema", "--out", str(tmp_path / "schemas")]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(command, check=False, stdout=full, stderr=subprocess.PIPE, text=True)  # noqa: S603
    assert result.returncode == 2
    assert result.stderr.startswith("captum-paramsal: Expected a standard output that can be written to, got OSError")
    assert result.stderr.count("\n") == 1
    assert any((tmp_path / "schemas").rglob("*.json"))


def test_a_warning_is_a_line_like_others(capsys, monkeypatch):
    monkeypatch.setattr(about, "run", lambda _: warnings.warn("some layers", UserWarning, stacklevel=1) or 0)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["about"]) == 0
    assert capsys.readouterr().err == "captum-paramsal: warning: some layers\n"


@pytest.mark.parametrize(
    ("stop", "words"),
    [(KeyboardInterrupt(), "no result was written"), (KeyboardInterrupt(COMPLETE), "the files had been written")],
)
def test_an_interrupt_says_what_became_of_the_files(capsys, monkeypatch, stop, words):
    def interrupted(_):
        raise stop

    monkeypatch.setattr(about, "run", interrupted)
    assert main(["about"]) == 130
    assert capsys.readouterr().err == f"\ncaptum-paramsal: interrupted; {words}.\n"
