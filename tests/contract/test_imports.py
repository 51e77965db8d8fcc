"""Light to import: each check in a fresh process."""

import subprocess
import sys

import pytest

import captum_paramsal


def loaded_by(code, *roots):
    """Which of ``roots`` are loaded after running ``code``, and by name what it printed."""
    script = f"{code}\nimport sys\nprint(sorted(set({roots!r}) & {{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


HEAVY = ("torch", "captum", "matplotlib", "torchvision", "pandas", "scipy", "numpy", "PIL", "jinja2", "safetensors")


def test_the_root_loads_nothing_heavy():
    assert loaded_by("import captum_paramsal; dir(captum_paramsal); captum_paramsal.__all__", *HEAVY) == "[]"


@pytest.mark.parametrize("name", ["filters", "errors"])
def test_filters_and_errors_load_nothing_heavy(name):
    assert loaded_by(f"import captum_paramsal.{name}", *HEAVY) == "[]"


BELOW = ("functional", "hooks", "stats", "reference", "profiles", "traces", "doctor", "filters")


def test_nothing_below_draws_or_knows_torchvision_and_the_classes_only_as_captum_does_quietly_without_random_numbers():
    # One process for all, since loading torch anew takes seconds; it names the module after which something is there.
    code = (
        "import importlib, sys, torch\n"
        "from torch import nn\n"
        "model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)).eval()\n"
        "state = torch.random.get_rng_state()\n"
        f"for module in {BELOW!r}:\n"
        "    importlib.import_module(f'captum_paramsal.{module}')\n"
        "    drawn = {'matplotlib', 'torchvision', 'pandas'} & sys.modules.keys()\n"
        "    assert not drawn, f'{module} loads {drawn}'\n"
        # The compiler takes a second or two to load: only who compiles anything has it.
        "import captum_paramsal.profiles\n"
        "captum_paramsal.profiles.FilterProfile(model)(torch.ones(1, 1, 2, 2), torch.tensor([0]))\n"
        "assert 'torch._dynamo' not in sys.modules\n"
        # captum.attr itself loads matplotlib; from then on, here, an import of it fails.
        "import captum.attr\n"
        "for name in [n for n in sys.modules if n.split('.')[0] == 'matplotlib']: sys.modules[name] = None\n"
        "for name in ('matplotlib', 'matplotlib.pyplot', 'torchvision', 'pandas'): sys.modules[name] = None\n"
        "import captum_paramsal, captum_paramsal.attr\n"
        "captum_paramsal.ParameterSaliency, captum_paramsal.Reference\n"
        "assert torch.equal(state, torch.random.get_rng_state())\n"
        "sys.modules.pop('torchvision'); sys.modules.pop('pandas')"
    )
    assert loaded_by(code, "torchvision", "pandas") == "[]"


def test_every_promised_name_exists():
    assert {*captum_paramsal.__all__} <= {*dir(captum_paramsal)}
    assert all(hasattr(captum_paramsal, name) for name in captum_paramsal.__all__)


def test_an_unknown_name_is_an_attribute_error():
    code = (
        "import captum_paramsal\n"
        "try: captum_paramsal.Nonsense\n"
        "except AttributeError as error: assert 'Nonsense' in str(error)\n"
        "else: raise SystemExit(1)"
    )
    loaded_by(code)
