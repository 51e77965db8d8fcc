"""What two checkpoints say of the same images, and which of them only one gets right."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

GROUPS = ("only_a", "only_b", "both")
"""Images that are compared: those that only one gets right, and, as the control, those that both do."""


@dataclass(frozen=True, eq=False, repr=False)
class Answers:
    """The answers of two checkpoints, a and b, on N labelled images.

    Attributes:
        labels: True classes, ``(N,)``.
        predicted_a: Predicted classes of a, ``(N,)``.
        predicted_b: Those of b, ``(N,)``.

    >>> import torch
    >>> answers = Answers(torch.tensor([0, 1, 2]), torch.tensor([0, 1, 0]), torch.tensor([0, 2, 1]))
    >>> answers.both.tolist(), answers.only_a.tolist(), answers.only_b.tolist(), answers.neither.tolist()
    ([0], [1], [], [2])
    """

    labels: Tensor
    predicted_a: Tensor
    predicted_b: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def right_a(self) -> Tensor:
        """Which images a gets right, ``(N,)`` bool."""
        return self.predicted_a == self.labels

    @property
    def right_b(self) -> Tensor:
        """Which images b gets right, ``(N,)`` bool."""
        return self.predicted_b == self.labels

    @property
    def only_a(self) -> Tensor:
        """Numbers of the images that only a gets right."""
        return (self.right_a & ~self.right_b).nonzero()[:, 0]

    @property
    def only_b(self) -> Tensor:
        """Numbers of the images that only b gets right."""
        return (self.right_b & ~self.right_a).nonzero()[:, 0]

    @property
    def both(self) -> Tensor:
        """Numbers of the images that both get right."""
        return (self.right_a & self.right_b).nonzero()[:, 0]

    @property
    def neither(self) -> Tensor:
        """Numbers of the images that neither gets right."""
        return (~self.right_a & ~self.right_b).nonzero()[:, 0]
