"""Methods by name, set up as their users would."""

from captum_paramsal.comparison.presets.registry import (
    PRESETS as PRESETS,
    Preset as Preset,
    _presets as _presets,
    preset as preset,
    register_preset as register_preset,
)

# Tables list them in this order.
from captum_paramsal.comparison.presets import (  # isort: skip # noqa: F401 -- they register what they build
    last_maps as _last_maps,
    of_captum as _of_captum,
    regions as _regions,
    relevance as _relevance,
    attention as _attention,
    ours as _ours,
    guesses as _guesses,
)
