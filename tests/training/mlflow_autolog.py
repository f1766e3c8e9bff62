"""A training that says nothing of tracking but `autolog`: run in a process of its own."""

import mlflow
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

mlflow.sklearn.autolog(log_models=False, log_datasets=False)
mlflow.set_experiment("autologged")
with mlflow.start_run(run_name="iris") as run:
    LogisticRegression(C=0.5, max_iter=200).fit(*load_iris(return_X_y=True))
print(run.info.run_id)
