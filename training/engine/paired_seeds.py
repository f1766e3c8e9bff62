"""Two ways of training compared over several seeds: which is better, and how sure that is.

Each seed trains both ways and both answer the same rows, so there is a table of differences
`[seeds, rows]`. Its mean errs for two reasons: another seed would have trained other students, and
other rows would have asked other questions. Both are counted (two random factors, crossed): the
variance of the mean is that of the seeds' means over the number of seeds, plus that of the rows'
means over the number of rows. The interval is Student's, its degrees of freedom by Satterthwaite
(Biometrics Bulletin 2, 1946, equation 17). Noise of one seed on one row is in both variances, so
the interval is a little wide rather than a little narrow.

Of one seed nothing is known of others: `paired.differences` says what its rows say.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from training.engine.paired import LEVEL

Table = NDArray[np.float64]

#: Of a mean that never varied, as when both ways answer every row alike.
SURE = 1e-12


def across(ours: Table, theirs: Table, *, falls: bool = False) -> dict[str, Any]:
    """The mean difference, its interval and an answer, as `paired.differences` answers them.

    ours, theirs: `[seeds, rows]`, what each row is worth to each seed's student, of two seeds or
    more; lower is better where it `falls`.
    """
    table = ours - theirs
    seeds, rows = table.shape
    by_seed, by_row = table.mean(axis=1), table.mean(axis=0)
    of_seeds = float(by_seed.var(ddof=1)) / seeds
    of_rows = float(by_row.var(ddof=1)) / rows if rows > 1 else 0.0
    difference, variance = float(table.mean()), of_seeds + of_rows
    if variance < SURE**2:
        low = high = difference
        freedom = math.inf
    else:
        freedom = variance**2 / (of_seeds**2 / (seeds - 1) + of_rows**2 / max(1, rows - 1))
        reach = float(stdtrit(freedom, (1 + LEVEL) / 2)) * math.sqrt(variance)
        low, high = difference - reach, difference + reach
    up, down = ("hurt", "helped") if falls else ("helped", "hurt")
    return {
        "seeds": seeds,
        "rows": rows,
        "student": float(ours.mean()),
        "control_value": float(theirs.mean()),
        "difference": difference,
        "interval": [low, high],
        "level": LEVEL,
        "method": "seeds and rows as crossed random factors, Satterthwaite",
        "by_seed": [float(one) for one in by_seed],
        "deviation": {"seeds": math.sqrt(of_seeds), "rows": math.sqrt(of_rows)},
        "answer": up if low > SURE else down if high < -SURE else "no_evidence",
    }
