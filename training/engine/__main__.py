"""python -m training.engine VERB JOB_DIR (see USAGE), or methods [--markdown]"""

import json
import sys
from pathlib import Path

USAGE = (
    "usage: python -m training.engine "
    "(train|inspect|export|gate|annotate|write|embed|serve|watch JOB_DIR | methods [--markdown])"
)


def main(arguments: list[str]) -> int:
    """The exit status: 0 when the job ended well or was stopped, 1 when it failed, 2 for misuse.

    What a job needs is imported only then: torch takes seconds.
    """
    match arguments:
        case ["train", folder]:
            from training.engine import job  # noqa: PLC0415

            job.run(Path(folder))
        case ["inspect", folder]:
            from training.engine import inspection  # noqa: PLC0415

            inspection.run(Path(folder))
        case ["export", folder]:
            from training.engine import exporting  # noqa: PLC0415

            exporting.run(Path(folder))
        case ["gate", folder]:
            from training.engine import gate  # noqa: PLC0415

            gate.run(Path(folder))
        case ["annotate", folder]:
            from training.engine import annotation  # noqa: PLC0415

            annotation.run(Path(folder))
        case ["write", folder]:
            from training.engine import writing  # noqa: PLC0415

            writing.run(Path(folder))
        case ["embed", folder]:
            from training.engine import embedding  # noqa: PLC0415

            embedding.run(Path(folder))
        case ["serve", folder]:
            from training.engine import serving  # noqa: PLC0415

            serving.run(Path(folder))
        case ["watch", folder]:
            from training.engine.watching import job as watching  # noqa: PLC0415

            watching.run(Path(folder))
        case ["methods"]:
            from training.engine import methods  # noqa: PLC0415

            text = json.dumps(methods.describe(), indent=1, ensure_ascii=False)
            sys.stdout.write(text + "\n")
        case ["methods", "--markdown"]:
            from training.engine import method_docs, methods  # noqa: PLC0415

            sys.stdout.write(method_docs.markdown(methods.describe()))
        case _:
            sys.stderr.write(USAGE + "\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
