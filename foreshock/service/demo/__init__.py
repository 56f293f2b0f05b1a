"""The recorded outage that ``foreshock demo`` replays; README.md names its authors and licence."""

from foreshock.service.demo.source import (
    TOPOLOGY_FILE,
    DemoAlert,
    alerts,
    postable,
    recorded_span_s,
    topology,
)

__all__ = ["TOPOLOGY_FILE", "DemoAlert", "alerts", "postable", "recorded_span_s", "topology"]
