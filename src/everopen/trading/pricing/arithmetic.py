"""Whole numbers only: how an amount is divided, rounded and shared out. A float never comes near money, and a fraction of
a penny is never carried from one sum into another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from everopen.base.errors import InvariantBroken

Rounding = Literal["half-even", "half-up"]
"""What becomes of half a minor unit: to the even neighbour (banker's rounding, no drift over many lines), or up."""

WHOLE_BP = 10_000
"""Basis points of one hundred per cent."""


def divide(amount: int, divisor: int, rounding: Rounding) -> int:
    """`amount / divisor` to the nearest whole number; both are not negative."""
    whole, rest = divmod(amount, divisor)
    double = 2 * rest
    if double > divisor or (double == divisor and (rounding == "half-up" or whole % 2 == 1)):
        return whole + 1
    return whole


def share(amount: int, weights: Sequence[int]) -> list[int]:
    """Parts of `amount` in proportion to the weights, whose sum is exactly `amount` (largest remainder, Hamilton's
    method; of equal remainders the first wins). No part is greater than its weight as long as `amount` is not greater than
    all weights together. Rounding each part for itself was turned down: the parts of 100 over three lines would be 99."""
    whole = sum(weights)
    if amount == 0:
        return [0] * len(weights)
    if not 0 < amount <= whole:
        raise InvariantBroken(f"{amount} can't be shared out over lines that are worth {whole}.")
    parts, remainders = [], []
    for weight in weights:
        part, remainder = divmod(amount * weight, whole)
        parts.append(part)
        remainders.append(remainder)
    left_over = amount - sum(parts)
    if left_over:
        for place in sorted(range(len(parts)), key=remainders.__getitem__, reverse=True)[:left_over]:
            parts[place] += 1
    return parts
