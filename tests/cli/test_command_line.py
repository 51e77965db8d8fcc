import subprocess
import sys

import pytest

from captum_paramsal import __version__
from captum_paramsal.cli import main


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
            ["--method {parameter,pot}", "--fit {mle,exponential}", "--no-pixels", "--no-traces", "--save-pixels"],
        ),
        (
            ["reference", "--help"],
            ["IMAGES_DIR", "--out FILE", "--layers", "--tail SHARE", "--checkpoint FILE", "examples:"],
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
        (["explain", "--batch-size", "many"], "invalid positive value: 'many'"),
        (["explain", "--resize", "stretch"], "invalid choice: 'stretch'"),
        (["explain", "--method", "cam"], "invalid choice: 'cam'"),
        (["explain", "--fit", "mle"], "--fit: needs --method pot"),
        (["explain", "--no-pixels", "--save-pixels"], "--save-pixels and --no-pixels exclude each other"),
        (["reference", "photos"], "--model"),
    ],
)
def test_wrong_usage(capsys, argv, message):
    assert _exit_of(argv) == 2
    assert message in capsys.readouterr().err
