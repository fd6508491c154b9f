"""The pictures of a report. The only place that imports matplotlib.

Every picture is a `matplotlib.figure.Figure` drawn without pyplot, so nothing global is left
behind. Colours are few and told apart by colour-blind readers; what matters also differs in shape.
"""
