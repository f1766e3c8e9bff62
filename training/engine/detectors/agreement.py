"""Does the student still say what its teacher says? What only a distillation monitor can ask."""

from dataclasses import dataclass

from training.engine.detectors import tallies
from training.engine.detectors.chance import AtLevel
from training.engine.detectors.detector import DETECTORS, Score, WindowDetector
from training.engine.detectors.tallies import Tally
from training.engine.options import option

NO_ANSWER = "The teacher was asked about no row of this window."
NO_REFERENCE = "Nothing is known of how often both agreed on the reference."


@dataclass(frozen=True, slots=True)
class Options(AtLevel):
    drop: float = option(
        0.05,
        minimum=0.001,
        maximum=0.9,
        help="A drop that must be seen; it tells how many of the teacher's answers that takes.",
    )


@DETECTORS.register
class Agreement(WindowDetector):
    """Rows are asked by a hash of their id (teacher_sampling.py); those that stand for several
    are weighed, and the test counts as many rows as tell as much."""

    key = "agreement"
    label = "Agreement with the teacher"
    summary = (
        "Whether student and teacher say the same less often than on the reference, on a sample of "
        "rows. Needs no label, and is the better witness where the world is new. To see agreement "
        "fall from .95 to .90 takes about 450 answers of the teacher."
    )
    formula = "P(agreeing rows ≤ those seen), all rows of reference and window dealt anew"
    paper = "Fisher's exact test, 1922; Horvitz, Thompson 1952; Kish: Survey Sampling, 1965"
    watches = ("agreement",)
    takes = ("tallies",)
    unit = "share of rows on which both differ"
    effect_unit = "drop of the agreement, above what chance adds"
    Options = Options
    needs_teacher = True

    def score(self, reference: Tally | float, live: Tally) -> Score:
        """Two tallies of rows that agree; the reference may be a share that was promised."""
        if isinstance(reference, Tally) and not reference.rows:
            return Score.no_data(NO_REFERENCE)
        if not live.rows:
            return Score.no_data(NO_ANSWER)
        before = reference.share if isinstance(reference, Tally) else float(reference)
        wanted = max(0.0, before - self.options.drop)
        facts = {
            "agreement": live.share,
            "interval": live.interval,
            "reference": before,
            "answers": live.rows,
            "effective": live.effective,
            "answers_needed": tallies.rows_needed(before, wanted, level=self.options.level),
        }
        return Score(
            1 - live.share,
            tallies.fewer(reference, live),
            tallies.drop(reference, live),
            1 - tallies.fewest(reference, live, self.options.level),
            facts,
        )
