"""How sure a share is that was counted on some rows. Plain Python."""

import math

NORMAL = 1.959964  # the standard normal's 97.5 % quantile: intervals are of 95 %
FEW = 10  # rows of which a share says next to nothing


def wilson(share: float, rows: float) -> list[float]:
    """`[low, high]` around a share of `rows` rows that were drawn apart from each other, at 95 %.

    Wilson's score interval (1927; Brown, Cai, DasGupta 2001, equation 4), which stays within 0 and
    1 and says something even where all rows, or none, are right. Nothing is known of no rows.
    """
    if rows <= 0:
        return [0.0, 1.0]
    squared = NORMAL**2 / rows
    middle = (share + squared / 2) / (1 + squared)
    reach = NORMAL * math.sqrt(share * (1 - share) / rows + squared / (4 * rows)) / (1 + squared)
    return [max(0.0, middle - reach), min(1.0, middle + reach)]


def of_f1(precision: float, recall: float, rows: float) -> list[float]:
    """`[low, high]` around a label's F1, of `rows` that have it, at 95 %.

    F1 is 2J / (1 + J), where J is the share of right rows among those that have the label or were
    given it: Wilson's interval of J, taken through that rising curve.
    """
    right = recall * rows
    answered = right / precision if precision > 0 else 0.0
    either = max(rows, rows + answered - right)
    return [2 * edge / (1 + edge) for edge in wilson(right / either if either else 0.0, either)]
