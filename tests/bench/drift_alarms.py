"""How late windows ring after a known change, and how often without one, beside Evidently and
NannyML on the same windows.

    python -m tests.bench.drift_alarms --home /tmp/drift-peers
    python -m tests.bench.drift_alarms                            ours alone

Ours raises a column where its p (Holm over all columns) is at most .001 and its effect is worth
acting on, and opens an alert by two such windows of three. Evidently raises a column by the default
test of `DataDriftPreset`, and calls half of the columns drift of the data. NannyML raises one where
Jensen-Shannon leaves three deviations of the reference's own chunks. Environments: drift_peers.py.

made        twenty columns (normal, skewed, whole numbers, rare ones), 10 000 rows of reference,
            windows of 1 000; the first column moves by .25 or .10 of a deviation, or nothing does
adult       the fourteen columns of UCI Adult in random order, windows of 500; from the change on,
            those over 45 are twice as frequent
texts       banking77 as vectors (TF-IDF, 32 components), lengths and what a logistic regression
            says, windows of 250; from the change on, one row in five is a text of sms_spam
elec2       its five columns in the order of time, weeks of 336 half hours after the first fifth:
            nobody knows the changes
"""

import argparse
import csv
import gzip
import io
import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from tests.bench.drift_peers import ROOT, environment

DATA = ROOT.parent / "shared" / "data"
SEEDS, WINDOWS, CHANGE = 3, 40, 20
# Worth acting on, as training/worker/alert_rules.py says
EFFECTS = {
    "psi": 0.02,
    "jensen_shannon": 0.06,
    "wasserstein": 0.14,
    "kolmogorov_smirnov": 0.05,
    "chi_square": 0.07,
    "mmd_features": 0.03,
}
KEYS = ("psi", "kolmogorov_smirnov", "jensen_shannon", "wasserstein")
JSON = dict[str, Any]
Columns = dict[str, Any]


# -- streams: {"reference": columns, "live": columns, "rows": of a window, "change": window} ------


def stream(reference: Columns, live: Columns, rows: int, change: int | None) -> JSON:
    return {"reference": reference, "live": live, "rows": rows, "change": change}


def made(seed: int, shift: float) -> JSON:
    drawn = np.random.default_rng(seed)
    kinds: list[Callable[[int], Any]] = [
        drawn.standard_normal,
        lambda rows: drawn.lognormal(0.0, 1.0, rows),
        lambda rows: drawn.binomial(20, 0.3, rows).astype(float),
        lambda rows: (drawn.random(rows) < 0.01).astype(float),
    ]
    reference = {f"c{one}": kinds[one % 4](10_000) for one in range(20)}
    live = {f"c{one}": kinds[one % 4](WINDOWS * 1000) for one in range(20)}
    live["c0"][CHANGE * 1000 :] += shift
    return stream(reference, live, 1000, CHANGE if shift else None)


def adult(seed: int) -> JSON:
    text = gzip.decompress((DATA / "adult" / "adult-train.csv.gz").read_bytes()).decode()
    table = np.array([row for row in csv.reader(io.StringIO(text), skipinitialspace=True) if row])
    drawn = np.random.default_rng(seed)
    order = drawn.permutation(len(table))
    reference, rest = table[order[:10_000]], table[order[10_000:]]
    older = np.where(rest[:, 0].astype(float) > 45, 2.0, 1.0)
    still, moved = rest[: CHANGE * 500], rest[CHANGE * 500 :]
    weights = older[CHANGE * 500 :]
    many = (WINDOWS - CHANGE) * 500
    picked = drawn.choice(len(moved), many, replace=False, p=weights / weights.sum())
    live = np.concatenate([still, moved[picked]])
    numbers = {0, 2, 4, 10, 11, 12}

    def columns(rows: Any) -> Columns:
        return {
            f"c{one}": rows[:, one].astype(float) if one in numbers else rows[:, one]
            for one in range(14)
        }

    return stream(columns(reference), columns(live), 500, CHANGE)


def texts(seed: int) -> JSON:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    rows: list[tuple[str, str]] = []
    for name in ("train", "test"):
        file = (DATA / "banking77" / f"{name}.csv").open(encoding="utf-8", newline="")
        rows += [(row["text"], row["category"]) for row in csv.DictReader(file)]
    messages = (DATA / "sms_spam" / "spam.csv").open(encoding="latin-1", newline="")
    foreign = [row["v2"] for row in csv.DictReader(messages)]
    drawn = np.random.default_rng(seed)
    order = drawn.permutation(len(rows))
    taught, held, live = (
        [rows[one] for one in order[a:b]] for a, b in ((0, 4000), (4000, 8000), (8000, 13000))
    )
    asked = [text for text, _ in live]
    for place in range(len(asked) // 2, len(asked)):
        if drawn.random() < 0.2:
            asked[place] = foreign[int(drawn.integers(len(foreign)))]
    words = TfidfVectorizer(sublinear_tf=True).fit([text for text, _ in taught])
    learned = words.transform([text for text, _ in taught])
    plane = TruncatedSVD(32, random_state=0).fit(learned)
    model = LogisticRegression(C=10, max_iter=200).fit(learned, [label for _, label in taught])

    def columns(said: list[str]) -> Columns:
        known = words.transform(said)
        vectors, chances = plane.transform(known), model.predict_proba(known)
        found: Columns = {f"e{one}": vectors[:, one] for one in range(32)}
        letters = [sum(not sign.isalpha() for sign in one) / max(len(one), 1) for one in said]
        found |= {
            "length": np.array([len(one) for one in said], float),
            "words": np.array([len(one.split()) for one in said], float),
            "other signs": np.array(letters),
            "prediction": model.classes_[chances.argmax(axis=1)],
            "entropy": -(chances * np.log(np.maximum(chances, 1e-12))).sum(axis=1),
            "top": chances.max(axis=1),
        }
        return found

    return stream(columns([text for text, _ in held]), columns(asked), 250, 10)


def elec2() -> JSON:
    table = np.genfromtxt(DATA / "drift_elec2_weather" / "elec.csv", delimiter=",", skip_header=1)
    first = len(table) // 5
    many = (len(table) - first) // 336 * 336
    sides = table[:first], table[first : first + many]
    reference, live = ({f"c{one}": side[:, one] for one in range(1, 6)} for side in sides)
    return stream(reference, live, 336, None)


def streams() -> dict[str, JSON]:
    found = {}
    for seed in range(SEEDS):
        found[f"made, still|{seed}"] = made(seed, 0.0)
        found[f"made, .25|{seed}"] = made(100 + seed, 0.25)
        found[f"made, .10|{seed}"] = made(200 + seed, 0.10)
        found[f"adult|{seed}"] = adult(seed)
        found[f"texts|{seed}"] = texts(seed)
    found["elec2|0"] = elec2()
    return found


# -- who raises what: {"raised": columns by window, "opened": [window, column] of alerts} ---------


def windows(one: JSON) -> list[Columns]:
    many = len(next(iter(one["live"].values()))) // one["rows"]
    return [
        {name: v[at * one["rows"] : (at + 1) * one["rows"]] for name, v in one["live"].items()}
        for at in range(many)
    ]


def ours(one: JSON, key: str) -> JSON:
    """By one detector of numbers, chi-square of names; vectors, where there are, as vectors."""
    from training.engine.alerting import Reading, Rules, advance
    from training.engine.corrections import holm
    from training.engine.detectors import DETECTORS
    from training.engine.sketches import fit

    def split(columns: Columns) -> Columns:
        vector = [
            values for name, values in columns.items() if name[0] == "e" and name[1:].isdigit()
        ]
        rest = {name: values for name, values in columns.items() if not name[1:].isdigit()}
        rest |= {name: values for name, values in columns.items() if name[0] == "c"}
        return rest | ({"vector": np.stack(vector, axis=1).astype("f4")} if vector else {})

    reference = split(one["reference"])
    kinds = {
        name: "embeddings"
        if name == "vector"
        else "numbers"
        if v.dtype.kind == "f"
        else "categories"
        for name, v in reference.items()
    }
    keys = {"numbers": key, "categories": "chi_square", "embeddings": "mmd_features"}
    chosen: JSON = {name: DETECTORS[keys[kind]]() for name, kind in kinds.items()}
    worth = {name: Rules(worth=EFFECTS[keys[kind]]) for name, kind in kinds.items()}
    bins = {name: fit(kinds[name], values) for name, values in reference.items()}
    there = {name: bins[name].sketch(values) for name, values in reference.items()}
    alerts: JSON = {}
    raised, opened = [], []
    for at, window in enumerate(windows(one)):
        scores = {
            name: chosen[name].score(there[name], bins[name].sketch(values))
            for name, values in split(window).items()
        }
        p = dict(zip(scores, holm([score.p for score in scores.values()]), strict=True))
        readings = {name: Reading(p[name], score.effect) for name, score in scores.items()}
        raised.append(
            [
                name
                for name, said in readings.items()
                if said.p is not None
                and said.p <= 0.001
                and (said.effect or 0) >= worth[name].worth
            ]
        )
        alerts, digest = advance(alerts, readings, float(at), worth)
        opened += [[at, name] for name in digest.opened]
    return {"raised": raised, "opened": opened}


def evidentlys(one: JSON) -> JSON:
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]
    from evidently import Report  # type: ignore[import-not-found,unused-ignore]
    from evidently.presets import DataDriftPreset  # type: ignore[import-not-found,unused-ignore]

    reference = pd.DataFrame(one["reference"])
    raised, opened = [], []
    for at, window in enumerate(windows(one)):
        said = Report([DataDriftPreset()]).run(pd.DataFrame(window), reference).dict()["metrics"]
        found = []
        for each in said[1:]:
            config, value = each["config"], float(each["value"])
            tests = "p_value" in config["method"]
            if value < config["threshold"] if tests else value >= config["threshold"]:
                found.append(config["column"])
        assert len(found) == said[0]["value"]["count"]
        raised.append(found)
        if said[0]["value"]["share"] >= said[0]["config"]["drift_share"]:
            opened.append([at, "half of the columns"])
    return {"raised": raised, "opened": opened}


def nannymls(one: JSON) -> JSON:
    import nannyml  # type: ignore[import-not-found,unused-ignore]
    import pandas as pd  # type: ignore[import-untyped,unused-ignore]

    reference = pd.DataFrame(one["reference"])
    made = nannyml.UnivariateDriftCalculator(
        column_names=list(reference.columns), chunk_size=one["rows"]
    )
    said = made.fit(reference).calculate(pd.DataFrame(one["live"]))
    table = said.filter(period="analysis").to_df()
    flags = [name for name in table.columns if name[-1] == "alert"]
    raised = [[name[0] for name in flags if row[name]] for _, row in table[flags].iterrows()]
    return {"raised": raised, "opened": []}


# -- apart ----------------------------------------------------------------------------------------


def packed(every: dict[str, JSON]) -> dict[str, Any]:
    arrays = {}
    for name, one in every.items():
        arrays[f"{name}|rows"] = np.array([one["rows"]])
        for side in ("reference", "live"):
            arrays |= {f"{name}|{side}|{column}": v for column, v in one[side].items()}
    return arrays


def unpacked(path: Path) -> dict[str, JSON]:
    every: dict[str, JSON] = {}
    with np.load(path) as held:
        for key in held.files:
            name, seed, side, *column = key.split("|")
            one = every.setdefault(f"{name}|{seed}", {"reference": {}, "live": {}})
            if column:
                one[side][column[0]] = held[key]
            else:
                one[side] = int(held[key][0])
    return every


def by_peer(python: Path, side: str, path: Path) -> JSON:
    command = [str(python), "-W", "ignore", "-m", "tests.bench.drift_alarms"]
    done = subprocess.run(
        [*command, "--side", side, "--streams", str(path)], cwd=ROOT, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{side}: {done.stderr[-2000:]}")
    found: JSON = json.loads(done.stdout.splitlines()[-1])
    return found


def told(found: JSON, change: int | None, moved: str | None) -> tuple[float, float, int | None]:
    """Windows with a column raised before the change, columns raised in all of them, and how many
    windows until it rang."""
    raised = found["raised"]
    before = raised[:change]
    delay = None
    if change is not None:
        later = enumerate(raised[change:], 1)
        delay = next((at for at, names in later if (moved in names if moved else names)), None)
    return sum(map(bool, before)) / len(before), mean(map(len, before)), delay


def table(every: dict[str, JSON], said: dict[str, JSON]) -> None:
    for name in dict.fromkeys(key.split("|")[0] for key in every):
        keys = [key for key in every if key.split("|")[0] == name]
        print(f"\n{name}\n")
        print(
            "| | windows raised without a change | columns raised in one | windows until raised |"
            " alerts without a change | windows until the alert |"
        )
        print("|---|---|---|---|---|---|")
        for side, found in said.items():
            moved = "c0" if "made" in name else None
            ones = [told(found[key], every[key]["change"], moved) for key in keys]
            opened = [found[key]["opened"] for key in keys]
            change = every[keys[0]]["change"]
            early = [sum(at < (change or 10**9) for at, _ in one) for one in opened]
            late = [
                next((at - change + 1 for at, _ in one if at >= change), None) if change else None
                for one in opened
            ]
            delays = [one[2] for one in ones]
            print(
                f"| {side} | {100 * mean(one[0] for one in ones):.0f} % | "
                f"{mean(one[1] for one in ones):.2f} | {delays} | {early} | {late} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path)
    parser.add_argument("--side", choices=("evidently", "nannyml"))
    parser.add_argument("--streams", type=Path)
    asked = parser.parse_args()
    if asked.side:
        watch = {"evidently": evidentlys, "nannyml": nannymls}[asked.side]
        print(json.dumps({name: watch(one) for name, one in unpacked(asked.streams).items()}))
        return
    every = streams()
    said = {key: {name: ours(one, key) for name, one in every.items()} for key in KEYS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "streams.npz"
        np.savez(path, **packed(every))
        for side in ("evidently", "nannyml") if asked.home else ():
            said[side] = by_peer(environment(asked.home, side), side, path)
    table(every, said)


if __name__ == "__main__":
    main()
