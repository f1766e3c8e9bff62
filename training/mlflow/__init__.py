"""The tracking protocol of MLflow: what its unmodified clients ask, answered as its server would.

One project is one tracking URI, `/mlflow/<slug>`. Each endpoint reads a request, calls one service
and writes the answer; what is not understood is refused as MLflow refuses it (docs/mlflow.md).
"""
