"""What a window adds up to (`Sums`), and what is read of it.

A window's sums are sketches and tallies that only grow: rows in any order, at any time, in parts
or at once, give the same. They are what is kept; scores, facts and slices are computed from them
and may be computed again. What the web side reads of a window (columns of MonitorWindow):

`scores`: {signal: [one for each detector of it, the one that alerts first]}, of which each is

    {"detector", "value", "limit", "p", "corrected", "effect", "said", "facts",
     "reference_rows", "rows"}

`corrected` is p raised for all that is asked of the monitor at once: alerts take it with `effect`
(`alerting.Reading`). Numbers are null where nothing is known, and `said` then tells why. Streams
say p 0 in a window in which they rang, and 1 in others; `facts` = {"rang", "values", "mean"}.
Signals: `input.<column>`, `described.<descriptor>`, `vector`, `prediction`, `confidence`,
`agreement`, `accuracy`, `calibration`, `estimated_accuracy`, `error_stream`,
`disagreement_stream`, `whose_fault`, `quality.<missing|unseen|out_of_range|duplicated>`, `volume`,
`latency`. A window below the monitor's `minimum_rows` has scores of `volume` alone that alert; the
others have p and effect null and say so.

`facts`: what is charted, without a test. A key is left out where nothing is known of it.

    {"volume": rows,                        what came of the window, late rows too
     "rows_with_label", "rows_with_answer", with a label, with an answer of the teacher
     "latency": {"p50", "p95", "p99", "mean", "rows"},                       milliseconds
     "accuracy": {"value", "low", "high", "rows"},      of labelled rows; Wilson's interval, 95 %
     "agreement": {"value", "low", "high", "rows"},     weighed by how many rows each stands for
     "estimated_accuracy": {"value", "rows", "reference"},
     "error": {"mean_absolute", "root_mean_square", "rows"},             regression, labelled rows
     "calibration_error": share, "believed": {"rows", "sure", "right"},  by fifteenths, to be drawn
     "confidence": {"mean", "entropy"},
     "predicted": {label: share}, "number": {"mean", "deviation"},       classes; regression
     "missing": {signal: share}, "unseen": {signal: share}, "out_of_range": {signal: share},
     "duplicated": share, "unseen_names": {signal: {name: rows}},
     "versions": {version: rows},
     "faults": {"both_right", "student_wrong", "teacher_wrong", "both_wrong"},
     "foreign": [[id, distance], ...],      rows farthest from the reference's centre, far first
     "most_foreign": [id, ...],             the same, ids alone
     "sample": [id, ...],                   rows by chance, the same whatever came first
     "uncounted": sentence}                 e.g. rows that came before there was a reference

`slices`: {name: {"rows", "facts": {as above, fewer}, "scores": {signal: [...] as above}}}, with
`corrected` null: slices are not tested along, they say where something is.
"""
