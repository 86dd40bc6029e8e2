"""What the process tells about itself: metrics for Prometheus, traces by OTLP.

Its libraries are loaded only where a setting asks for them, so nothing here is imported
before that is known.
"""


class MetricsUnavailable(Exception):
    """The port of the metrics cannot be listened on; the text says what is in the way."""
