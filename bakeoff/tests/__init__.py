"""Tests of the harness itself: `python3 -m unittest discover -t . -s bakeoff/tests`."""
