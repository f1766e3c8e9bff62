"""Logs a run with MLflow's own client to each store that is named. Run in a process of its own."""

import os
import sys

os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"

import mlflow

for store in sys.argv[1:]:
    mlflow.set_tracking_uri(store)
    mlflow.set_experiment("sorting")
    with mlflow.start_run(run_name="first", description="Some *notes*", tags={"team": "vision"}):
        mlflow.log_params({"lr": 0.001, "opt": "adam"})
        for step in range(5):
            mlflow.log_metrics({"train/loss": 1 / (step + 1), "val/accuracy": step / 10}, step=step)
        mlflow.log_metric("odd", float("nan"), step=1)
        mlflow.log_metric("odd", float("inf"), step=2)
        mlflow.log_text("hello", "deep/er/greeting.txt")
    mlflow.start_run(run_name="broken")
    mlflow.log_metric("loss", 3.0, step=7)
    mlflow.end_run("FAILED")
