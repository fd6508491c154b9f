"""Answers drawn from several runs - capacity, size, what-if - as text, page, JSON and pictures.

Each answer is turned into an `Answer` by a module of its own; laying it out is the same for all.
"""
