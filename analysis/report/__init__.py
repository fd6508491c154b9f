"""What a person, a CI server or a program reads of a run: text, HTML, plots, JSON, JUnit.

Everything here is a pure function of `analysis.results` values (the timeline also reads the
record's requests table), except `write.py`, which puts the files into the run directory. No
estimating here: a number that is shown was computed elsewhere. matplotlib is imported in `plots/`
only, and jinja2 in `html.py` only, so that the command line starts without them.
"""
