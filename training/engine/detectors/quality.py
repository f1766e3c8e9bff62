"""Missing, unseen, out of range, repeated: is the worst column worse than it was?"""

from collections.abc import Mapping

from training.engine.detectors import tallies
from training.engine.detectors.chance import AtLevel
from training.engine.detectors.detector import DETECTORS, Score, WindowDetector
from training.engine.detectors.tallies import Tally

NO_LIVE = "No row of this window can be judged so."
NO_REFERENCE = "Nothing of the reference can be judged so."


@DETECTORS.register
class Quality(WindowDetector):
    """Beyond the ends of a reference, Fisher's test is exact: of all rows together, which are the
    largest is chance. Each end is a column of its own here."""

    key = "quality"
    label = "Quality of the data"
    summary = (
        "Whether a column has more values that are missing, unseen or out of range than in the "
        "reference, or rows are repeated more often. The column that is surest speaks, its p "
        "raised for all of them, so that one broken column is not lost among twenty sound ones."
    )
    formula = "p = min(1, columns · min P(sound rows ≤ those seen))"
    paper = "Fisher's exact test, 1922; Bonferroni"
    watches = ("quality",)
    takes = ("tallies",)
    unit = "share of the column's rows that are at fault"
    effect_unit = "rise of that share, above what chance adds"
    Options = AtLevel

    def score(self, reference: Mapping[str, Tally], live: Mapping[str, Tally]) -> Score:
        """By column, tallies of rows that are sound. Columns of one side alone are passed over."""
        both = [
            name
            for name in sorted(live)
            if live[name].rows and name in reference and reference[name].rows
        ]
        if not both:
            came = any(one.rows for one in live.values())
            return Score.no_data(NO_REFERENCE if came else NO_LIVE)
        ps = {name: _p(reference[name], live[name]) for name in both}
        worst = min(both, key=lambda name: (ps[name], live[name].share))
        there, here = reference[worst], live[worst]
        at_fault = sorted((name for name in both if live[name].share < 1), key=lambda n: ps[n])
        facts = {
            "column": worst,
            "columns": len(both),
            "reference": 1 - there.share,
            "rows": here.rows,
            "worst": {name: 1 - live[name].share for name in at_fault[:10]},
        }
        return Score(
            1 - here.share,
            min(1.0, len(both) * ps[worst]),
            tallies.drop(there, here),
            1 - tallies.fewest(there, here, self.options.level / len(both)),
            facts,
        )


def _p(reference: Tally, live: Tally) -> float:
    """Of a sound column there is nothing to compute, and most are sound."""
    return 1.0 if live.held == live.rows else tallies.fewer(reference, live)
