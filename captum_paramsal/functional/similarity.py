"""How alike rows are, such as profiles: the cosine of the angle between each two."""

from __future__ import annotations

from torch import Tensor


def cosines(rows: Tensor, others: Tensor) -> Tensor:
    """Cosine of each row with each of others, in double precision; 0 with a row of zeros.

    Args:
        rows: ``(M, F)``.
        others: ``(N, F)``.

    Returns:
        ``(M, N)`` float64, from -1 to 1.

    >>> import torch
    >>> cosines(torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 0.0], [6.0, 8.0]]))
    tensor([[0.6000, 0.0000, 1.0000]], dtype=torch.float64)
    """
    return (_directions(rows) @ _directions(others).T).clamp(-1, 1)


def nearest(similarity: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k highest of each row, the first of equal ones first.

    Args:
        similarity: ``(M, N)``.
        k: How many, at most N.

    Returns:
        Their places ``(M, k)`` int64, and their values ``(M, k)``.

    >>> import torch
    >>> nearest(torch.tensor([[0.1, 0.9, 0.9]]), 2)[0].tolist()
    [[1, 2]]
    """
    highest = similarity.sort(dim=1, descending=True, stable=True)
    return highest.indices[:, :k].contiguous(), highest.values[:, :k].contiguous()


def _directions(rows: Tensor) -> Tensor:
    wide = rows.detach().double()
    lengths = wide.norm(dim=1, keepdim=True)
    directions: Tensor = wide / lengths.masked_fill(lengths == 0, 1)
    return directions
