"""The images in which one filter is most active."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scipy.stats import hypergeom

from captum_paramsal.errors import InputError
from captum_paramsal.filters import Filter
from captum_paramsal.reference.exemplar_table import ExemplarTable
from captum_paramsal.summary import Summarized

NO_LABEL = -1
"""In the place of a label, where the loss takes something else than classes."""


@dataclass(frozen=True)
class ClassShare:
    """How often a class is among the exemplars of a filter, beside how often it is in the reference set.

    Attributes:
        label: The class.
        count: Exemplars of the class.
        share: Of the exemplars.
        share_in_reference: Of the reference set: its share by chance.
        lift: The one over the other.
        p_value: Probability of so many exemplars of this class or more, drawn by chance and without replacement from
            the reference set (hypergeometric), times the number of classes in it (Bonferroni); at most 1.
    """

    label: int
    count: int
    share: float
    share_in_reference: float
    lift: float
    p_value: float


@dataclass(frozen=True, repr=False)
class Exemplars(Summarized):
    """The images of a reference set in which a filter is most active, the most active first.

    Made by :meth:`captum_paramsal.Reference.exemplars`.

    Attributes:
        filter: The filter.
        images: Their numbers in the reference set, K of them, from 0 in the order of the batches, or those that a
            :class:`~captum_paramsal.reference.NumberedBatch` gave.
        names: Their names; empty where the batches told none.
        labels: Their classes, each the label or, where the batches had none, the prediction; -1 where the loss takes no
            classes.
        activations: Maximum of the filter's output map in each, as the layer returns it, or the batch norm behind it;
            for heads the root mean square of their rows.
        places: Where in that map the maximum is, such as (y, x); a token's number; empty for a unit without places.
        active: Share of the images of the reference set with a maximum above 0.
        classes: Images of each class in the reference set.
    """

    filter: Filter
    images: tuple[int, ...]
    names: tuple[str, ...]
    labels: tuple[int, ...]
    activations: tuple[float, ...]
    places: tuple[tuple[int, ...], ...]
    active: float
    classes: Mapping[int, int]

    @classmethod
    def of(cls, table: ExemplarTable, item: Filter, column: int) -> Exemplars:
        """Those of one filter.

        Args:
            table: What a pass kept.
            item: The filter.
            column: Its column.

        Raises:
            InputError: It could not be seen what the filter returns.
        """
        seen = int(table.seen[column])
        if not seen:
            message = (
                f"Expected a filter whose output could be seen, got {item}: layer {item.layer!r} did not run in the "
                "pass, or its weight was used in a way that gives no output of its own for each filter and image."
            )
            raise InputError(message)
        peaks = table.peaks.of(column)
        images = tuple(peaks.row.tolist())
        return cls(
            filter=item,
            images=images,
            names=tuple(table.names.get(number, "") for number in images),
            labels=tuple(peaks.label.tolist()),
            activations=tuple(peaks.value.tolist()),
            places=tuple(tuple(at for at in place if at >= 0) for place in peaks.place.tolist()),
            active=int(table.active[column]) / seen,
            classes=table.classes,
        )

    def __len__(self) -> int:
        return len(self.images)

    def only(self, which: Sequence[int]) -> Exemplars:
        """Some of them, in the order given; for showing, since shares and tests are those of all.

        Args:
            which: Their ranks, from 0 for the most active.

        >>> Exemplars(Filter("conv", 0), (4, 7), ("",) * 2, (2, 0), (3.0, 2.5), ((0, 0),) * 2, 0.5, {}).only([1]).images
        (7,)
        """
        return replace(
            self,
            images=tuple(self.images[rank] for rank in which),
            names=tuple(self.names[rank] for rank in which),
            labels=tuple(self.labels[rank] for rank in which),
            activations=tuple(self.activations[rank] for rank in which),
            places=tuple(self.places[rank] for rank in which),
        )

    def class_shares(self) -> tuple[ClassShare, ...]:
        """Every class among the exemplars, the most frequent first, of equal ones that with the higher lift.

        >>> Exemplars(Filter("conv", 0), (4, 7, 1), ("",) * 3, (2, 2, 0), (3.0, 2.5, 2.0), ((0, 0),) * 3, 0.5,
        ...     {0: 50, 2: 5}).class_shares()[0]
        ClassShare(label=2, count=2, share=0.66..., share_in_reference=0.09..., lift=7.33..., p_value=0.03...)
        """
        total, drawn = sum(self.classes.values()), len(self)
        shares = []
        for label, count in Counter(self.labels).items():
            if label == NO_LABEL:
                continue
            chance = self.classes[label] / total
            # At least so many, so the survival function of one less.
            p_value = float(hypergeom.sf(count - 1, total, self.classes[label], drawn)) * len(self.classes)
            shares.append(ClassShare(label, count, count / drawn, chance, count / drawn / chance, min(1.0, p_value)))
        return tuple(sorted(shares, key=lambda share: (-share.count, -share.lift, share.label)))

    def short_name(self, names: Mapping[int, str] | Sequence[str] | None = None, *, level: float = 0.01) -> str | None:
        """The most frequent class among the exemplars, if there is more of it than chance would bring.

        The test is one-sided and corrected for the number of classes (:attr:`ClassShare.p_value`), not for the number
        of filters that are named: of filters that see no class, at most a share of ``level`` gets a name.

        Args:
            names: Of the classes, by number.
            level: Of the test, in (0, 1).

        Returns:
            Such as "dog, 5 of 9"; None where chance explains it.

        Raises:
            InputError: A level outside (0, 1).
        """
        if not 0 < level < 1:
            message = f"Expected `level`, that of the test, in (0, 1), got {level}."
            raise InputError(message)
        first = next(iter(self.class_shares()), None)
        if first is None or first.p_value > level:
            return None
        return f"{_name_of(names, first.label)}, {first.count} of {len(self)}"

    def to_table(self) -> list[dict[str, Any]]:
        """One row per exemplar: image, name, label, activation and place."""
        columns = {
            "image": self.images,
            "name": self.names,
            "label": self.labels,
            "activation": self.activations,
            "place": self.places,
        }
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def _facts(self) -> Mapping[str, Any]:
        first = next(iter(self.class_shares()), None)
        facts = {"filter": str(self.filter), "images": self.images, "active": f"in {self.active:.1%} of the images"}
        if first is not None:
            most = f"class {first.label}, {first.count} of {len(self)}"
            facts["most frequent"] = f"{most}, {first.lift:.1f} times as often as by chance (p = {first.p_value:.2g})"
        return facts


def _name_of(names: Mapping[int, str] | Sequence[str] | None, label: int) -> str:
    if isinstance(names, Mapping):
        name = names.get(label)
    else:
        name = names[label] if names is not None and label < len(names) else None
    return name or f"class {label}"
