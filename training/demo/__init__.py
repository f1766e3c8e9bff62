"""The demo project, made of real images by the services that people use.

project.py   its dataset, teacher, student and runs
images.py    scikit-learn's digits: those that are uploaded, and those that come later as traffic
traffic.py   the student in use: what it is sent, the alarm, and the next student

Whatever is interrupted goes on at the next start: what is there tells what is missing.
"""
