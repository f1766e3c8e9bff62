"""The next student: from rows that came live, over a run with its control, to a promotion or not.

    begin(monitor=..., by=...)      a person begins one; `propose` is what an incident does
    advance(retraining)             one look: whatever can happen now, happens once
    decide(retraining=..., ...)     a person promotes the challenger, or keeps the champion

A retraining's row owns its life. Each step locks the row, looks whether the step is still to be
done, and writes what it made in the same transaction: done twice, or by two processes at once, it
is done once.
"""
