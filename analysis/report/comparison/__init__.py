"""What is read of several runs: comparisons and histories as text, HTML and JUnit.

Like its parent: pure functions of `analysis.comparison.results`, no estimating, files only in
`write.py`. Pictures are in `plots/`.
"""
