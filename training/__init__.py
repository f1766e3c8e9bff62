"""What happens to it: runs, metrics, artifacts, the machines that train, and the engine."""
