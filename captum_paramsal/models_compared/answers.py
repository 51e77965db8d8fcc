"""What two checkpoints say of the same images, and which of them only one gets right."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from captum_paramsal.errors import InputError
from captum_paramsal.stats import mcnemar

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

    def sample(self, most: int) -> tuple[Tensor, Tensor]:
        """Some images of each group, evenly spread over it: their numbers, and the place of their group in the groups.

        Args:
            most: Of each group at most.

        Raises:
            InputError: Neither checkpoint gets any image right.
        """
        members = [_spread(getattr(self, name), most) for name in GROUPS]
        numbers = torch.cat(members)
        if not len(numbers):
            message = (
                f"Expected images that at least one of the checkpoints gets right, got {len(self)} that neither does: "
                "check labels and classes."
            )
            raise InputError(message)
        return numbers, torch.cat([torch.full((len(rows),), place) for place, rows in enumerate(members)])

    @property
    def p_value(self) -> float:
        """Two-sided exact McNemar test of as many images that only a gets right as that only b does."""
        return mcnemar(len(self.only_a), len(self.only_b))


def _spread(numbers: Tensor, most: int) -> Tensor:
    """At most so many of them, evenly spread."""
    count = min(len(numbers), most)
    return numbers[torch.arange(count) * len(numbers) // max(count, 1)]
