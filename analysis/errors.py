"""What the analysis refuses. The harness turns these into its own errors at its boundary."""


class AnalysisError(ValueError):
    """Base of all refusals of the analysis; the message is one sentence for the user."""


class SloSyntaxError(AnalysisError):
    """An SLO string cannot be understood, or names an unknown metric."""


class RecordFormatError(AnalysisError):
    """A run directory is missing, of another schema version, or damaged beyond reading."""
