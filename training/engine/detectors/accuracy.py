"""The real accuracy, once labels come."""

from training.engine.detectors import tallies
from training.engine.detectors.chance import AtLevel
from training.engine.detectors.detector import DETECTORS, Score, WindowDetector
from training.engine.detectors.tallies import Tally

NO_LABEL = "No row of this window has a label yet."
NO_REFERENCE = "No row of the reference has both a label and an answer of the model."


@DETECTORS.register
class Accuracy(WindowDetector):
    key = "accuracy"
    label = "Accuracy"
    summary = (
        "The share of labelled rows on which the student is right, with Wilson's interval, and "
        "whether it is below that of the reference. Labels that come late are added to their "
        "window. Where labels are not given by chance, it tells of the rows that got one."
    )
    formula = "P(right rows ≤ those seen), all rows of reference and window dealt anew"
    paper = "Wilson 1927; Fisher's exact test, 1922"
    watches = ("accuracy",)
    takes = ("tallies",)
    unit = "share of rows that are wrong"
    effect_unit = "drop of the accuracy, above what chance adds"
    Options = AtLevel
    needs_labels = True

    def score(self, reference: Tally | float, live: Tally) -> Score:
        """Two tallies of rows that are right; the reference may be a share that was promised."""
        if isinstance(reference, Tally) and not reference.rows:
            return Score.no_data(NO_REFERENCE)
        if not live.rows:
            return Score.no_data(NO_LABEL)
        facts = {
            "accuracy": live.share,
            "interval": live.interval,
            "reference": reference.share if isinstance(reference, Tally) else float(reference),
            "rows": live.rows,
        }
        return Score(
            1 - live.share,
            tallies.fewer(reference, live),
            tallies.drop(reference, live),
            1 - tallies.fewest(reference, live, self.options.level),
            facts,
        )
