"""Boxes to draw from, and the slow way to say what they cover."""

import torch
from hypothesis import strategies as st


@st.composite
def whole_boxes(draw, height=12, width=9):
    """One box in whole pixels."""
    x1, y1 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return x1, y1, draw(st.integers(x1 + 1, width)), draw(st.integers(y1 + 1, height))


@st.composite
def broken_boxes(draw, reach=50.0):
    """One box with sides between the pixels."""
    low = [draw(st.floats(0, reach)) for _ in range(2)]
    return *low, *(side + draw(st.floats(0.01, reach)) for side in low)


def covered_slowly(boxes, height, width):
    mask = torch.zeros(height, width, dtype=torch.bool)
    for x1, y1, x2, y2 in boxes:
        for y in range(height):
            for x in range(width):
                mask[y, x] |= x1 < x + 1 and x < x2 and y1 < y + 1 and y < y2
    return mask
