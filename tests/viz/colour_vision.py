"""How colours look to people with a colour vision deficiency, and how far apart they then are.

Machado, Oliveira, Fernandes: *A Physiologically-based Model for Simulation of Color Vision Deficiency* (2009), table 1,
severity 1.0; distances and lightness in CIELAB (D65).
"""

import numpy as np

DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def lab(color, deficiency="none"):
    """CIELAB of an sRGB colour in [0, 1], as it is seen."""
    color = np.asarray(color, float)
    linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
    seen = np.clip(DEFICIENCIES[deficiency] @ linear, 0, 1)
    ratios = _TO_XYZ @ seen / _TO_XYZ.sum(axis=1)
    x, y, z = np.where(ratios > (6 / 29) ** 3, np.cbrt(ratios), ratios / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def lightness(color, deficiency="none"):
    """L* of a colour, from 0 to 100."""
    return lab(color, deficiency)[0]


def distance(one, other, deficiency="none"):
    """Euclidean distance in CIELAB; 2.3 is just noticeable side by side."""
    return float(np.linalg.norm(lab(one, deficiency) - lab(other, deficiency)))
