"""Does the teacher still say what it said? Hosted models change without a word."""

from training.engine.detectors import tallies
from training.engine.detectors.chance import AtLevel
from training.engine.detectors.detector import DETECTORS, Score, WindowDetector
from training.engine.detectors.tallies import Tally

NOT_ASKED = "The teacher has not been asked about its canaries again yet."
NO_REFERENCE = "Nothing is known of how often it says the same twice."
CHANGED = (
    "The teacher answers rows of the reference otherwise than it did: the service has changed its "
    "model. What it says of the traffic is no longer what the student learned. Fit the reference "
    "anew to compare with the teacher of today, or name a fixed version of the service's model."
)
SAME = "The teacher says of its canaries what it always said."


@DETECTORS.register
class TeacherDrift(WindowDetector):
    """A service does not say the same twice to the letter, so that its second answers, given at
    once, are what later ones are compared with, not the first ones alone."""

    key = "teacher_drift"
    label = "Change of the teacher"
    summary = (
        "Whether a hosted teacher answers a fixed set of rows, the canaries, as it did at first, "
        "as often as it did when it was asked twice in a row. Asked once a day; a teacher with "
        "weights never changes."
    )
    formula = "P(same answers ≤ those seen), all of both askings dealt anew"
    paper = "Fisher's exact test, 1922"
    watches = ("agreement",)
    takes = ("tallies",)
    unit = "share of canaries that are answered otherwise"
    effect_unit = "rise of that share, above what chance adds"
    Options = AtLevel
    needs_teacher = True

    def score(self, reference: Tally | float, live: Tally) -> Score:
        """Two tallies of canaries that were answered as at first. `facts` have an `advice`."""
        if isinstance(reference, Tally) and not reference.rows:
            return Score.no_data(NO_REFERENCE)
        if not live.rows:
            return Score.no_data(NOT_ASKED)
        p = tallies.fewer(reference, live)
        before = reference.share if isinstance(reference, Tally) else float(reference)
        facts = {
            "same": live.share,
            "interval": live.interval,
            "reference": before,
            "rows": live.rows,
            "advice": [CHANGED if p <= self.options.level else SAME],
        }
        return Score(
            1 - live.share,
            p,
            tallies.drop(reference, live),
            1 - tallies.fewest(reference, live, self.options.level),
            facts,
        )
