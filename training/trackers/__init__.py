"""What other trackers keep of runs, read from their files into one form (found.py).

    python -m training.trackers read FOLDER

A process of its own reads them: the files are strangers'. It knows neither Django nor a database,
loads no code and no pickle, and counts what it reads before it keeps it (limits.py).
"""
