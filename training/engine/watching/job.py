"""One look at what a monitor was sent: `python -m training.engine watch FOLDER`.

    config.json {
      "format", "fits", "now": seconds since 1970, "threads",
      "monitor": {"task", "labels", "window_rows", "window_hours", "grace_minutes", "minimum_rows",
                  "rows": that came before, "detectors", "correction", "slices", "teacher_share",
                  "teacher_daily", "salt", "privacy", "kept_share", "retention_days",
                  "input": "text", "columns", "image", "audio", "vector" or ""},
      "model": {"path", "name", "task"} or null, "teacher": the same or null,
      "reference": {name of a file: path} (Monitor.reference_files), {} before it is fitted,
      "batches": [{"id", "kind", "rows", "path"}] in the order they came: zlib JSON Lines,
      "parts": [{"kind", "day", "rows", "sha256"}] of all days: `wants.files` brings those needed,
      "history": [{"number", "starts_at", "rows", "p95"}] of windows before, for volume and latency,
      "newest": number of the newest window or null, "streams": {signal: states}
    }

The order of a look, and who does what:

    taking.take(config, folder, wants) -> Taken     batches to rows: known ids left out, `window`
                                                    set, descriptors and vectors made, still raw
    asking.ask(rows, config, folder) -> rows        with teacher_prediction, teacher_probabilities,
                                                    teacher_share of those that were asked about
    windows.count / scoring.score                   sums merged, scores computed
    taking.keep(taken, rows, config, folder)        privacy, then Parquet below `output/`; the parts

`Taken` has `rows` (pyarrow table, columns as parts have them, and raw input), `said` (rows of
before, as they are now, with what was said of them later: the same columns, and `label_is_new`,
`answer_is_new`), `taken` and `refused` ([{"batch", "sentence"}]: unreadable, set aside by name),
`forgotten` ([sha256] of parts that are replaced).

`result.json` of a look:

    {"parts": [{"name", "kind", "day", "rows", "first_at", "last_at", "bytes"}],
     "replaced": [sha256 of parts that are gone], "taken": [batch], "refused": [{"batch","sentence"}],
     "windows": [{"number", "starts_at", "ends_at", "rows", "late_rows", "path", "scores", "facts",
                  "slices"}],
     "rows": new ones, "last_at": seconds or null, "report": {"streams", "seconds", "rows", ...}}

and of a fit (`"fits": true`; reference.py): {"files": [{"name", "bytes"}], "reference": summary}.
Failed, it is {"failed": {"code", "sentence"}} with exit status 1.
"""
