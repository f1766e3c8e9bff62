"""What a machine trains and answers at once, and what it keeps for how long."""

import os

from distillhub.lib import env

# How many runs this machine trains at once, and how many CPU threads each may use.
DISTILLHUB_MAX_RUNS = env.integer("DISTILLHUB_MAX_RUNS", max(1, min(2, os.cpu_count() or 1)))
DISTILLHUB_RUN_THREADS = env.integer(
    "DISTILLHUB_RUN_THREADS", max(1, (os.cpu_count() or 1) // max(1, DISTILLHUB_MAX_RUNS))
)
# The most address space one run may take, in MiB; 0 for as much as there is.
DISTILLHUB_RUN_MEMORY_MIB = env.integer("DISTILLHUB_RUN_MEMORY_MIB", 0)
# A training that for so many seconds tells nothing, prints nothing and does nothing hangs, and is
# ended; one that is busy may be silent for twelve times as long. 0: it may hang.
DISTILLHUB_STALL_SECONDS = env.integer("DISTILLHUB_STALL_SECONDS", 1800)
# Predictions: models that this machine keeps warm and what they may take, the seconds after which
# they go when nobody asks, the seconds that an answer may take, and the CPU threads for it.
DISTILLHUB_WARM_MODELS = env.integer("DISTILLHUB_WARM_MODELS", 4)
DISTILLHUB_WARM_MIB = env.integer("DISTILLHUB_WARM_MIB", 2048)
DISTILLHUB_WARM_SECONDS = env.integer("DISTILLHUB_WARM_SECONDS", 600)
DISTILLHUB_PREDICT_SECONDS = env.integer("DISTILLHUB_PREDICT_SECONDS", 60)
DISTILLHUB_PREDICT_THREADS = env.integer(
    "DISTILLHUB_PREDICT_THREADS", max(1, (os.cpu_count() or 1) // 2)
)
# What a run's summary says of energy and cost, where the machine does not measure itself.
DISTILLHUB_WATTS_PER_CORE = env.decimal("DISTILLHUB_WATTS_PER_CORE", 15.0)
DISTILLHUB_PRICE_PER_HOUR = env.decimal("DISTILLHUB_PRICE_PER_HOUR", None)
# Stored teacher answers: how many MiB of them a machine keeps, and for how many days unused; 0 for
# no limit.
DISTILLHUB_TEACHER_OUTPUTS_MIB = env.integer("DISTILLHUB_TEACHER_OUTPUTS_MIB", 20_480)
DISTILLHUB_TEACHER_OUTPUTS_DAYS = env.integer("DISTILLHUB_TEACHER_OUTPUTS_DAYS", 60)
# Maps of rows: for how many days unused they stay; 0 for ever.
DISTILLHUB_MAP_DAYS = env.integer("DISTILLHUB_MAP_DAYS", 60)
# What this machine keeps of a bucket's files, in MiB; 0 for no limit.
DISTILLHUB_CACHE_MIB = env.integer("DISTILLHUB_CACHE_MIB", 20_480)
# Checkpoints in storage, from which another machine goes on (auto, always or off), and the seconds
# between two of a run; for how many days those of ended runs stay, and their folders and journals.
DISTILLHUB_SHARE_CHECKPOINTS = env.one_of(
    "DISTILLHUB_SHARE_CHECKPOINTS", ["auto", "always", "off"], "auto"
)
DISTILLHUB_SHARE_CHECKPOINTS_SECONDS = env.integer("DISTILLHUB_SHARE_CHECKPOINTS_SECONDS", 60)
DISTILLHUB_ENDED_RUN_DAYS = env.integer("DISTILLHUB_ENDED_RUN_DAYS", 14)
DISTILLHUB_JOURNAL_DAYS = env.integer("DISTILLHUB_JOURNAL_DAYS", 30)
DISTILLHUB_EXPORT_DAYS = env.integer("DISTILLHUB_EXPORT_DAYS", 0)
