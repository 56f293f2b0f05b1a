"""What to paste on the sender's side so that it reports to this Foreshock.

Facts: https://prometheus.io/docs/prometheus/latest/configuration/configuration/#alertmanager_config and
    https://prometheus.io/docs/alerting/latest/configuration/#webhook_config, read 2026-11-22.
"""

import re
from dataclasses import dataclass

import collectors
from foreshock.service.docstrings import facts
from foreshock.service.settings import collector_kinds
from foreshock.service.settings_files import least_lines

_HOST = re.compile(r"[A-Za-z0-9.\-]{1,253}(?::\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?")
_PROMETHEUS_PATH = "/api/v2/alerts"
ADDRESS = "address"
"""What stands in place of a file where the product only wants to know where to post."""
_POSTED = {
    "events": (
        """'[{"labels": {"alertname": "DiskFull", "host": "db1"}, "severity": "critical"}]'""",
        'Post the same labels with "status": "resolved" when it is over.',
    ),
    "changes": (
        """'{"id": "deploy-42", "title": "shop 2.7 to production", "cis": ["shop"]}'""",
        "Post it when the change begins.",
    ),
}
"""By kind that programs of your own post to: an example, and what comes after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """file: where it belongs. after: what to do once it is there."""

    file: str
    text: str
    after: str


def base_url(scheme: str, host: str) -> str:
    """The address the reader used to get here; an example where the Host header is not an address."""
    if scheme not in {"http", "https"} or not _HOST.fullmatch(host):
        return "http://foreshock.example:8080"
    return f"{scheme}://{host}"


def snippet(collector: str, path: str, base: str) -> Snippet:
    """Args: base: as ``base_url`` gives it; path: where the collector takes its payload; empty: nobody posts to it."""
    scheme, _, host = base.partition("://")
    if collector == "alertmanager":
        prefix = path.removesuffix(_PROMETHEUS_PATH)
        return Snippet(
            file="prometheus.yml",
            text="alerting:\n  alertmanagers:\n"
            f"    - scheme: {scheme}\n"
            + (f"      path_prefix: {prefix}\n" if prefix else "")
            + f'      static_configs:\n        - targets: ["{host}"]\n',
            after="Keep the Alertmanager you have: Prometheus sends to every entry. Then reload Prometheus "
            "(SIGHUP, or POST /-/reload).",
        )
    if collector == "alertmanager_webhook":
        return Snippet(
            file="alertmanager.yml",
            text="receivers:\n  - name: foreshock\n    webhook_configs:\n"
            f"      - url: {base}{path}\n        send_resolved: true\n\n"
            "route:\n  routes:\n    - receiver: foreshock\n      continue: true   # your own routes still apply\n",
            after="Put the route first in your list of routes, then reload Alertmanager (SIGHUP, or POST /-/reload).",
        )
    if collector in _POSTED:
        data, after = _POSTED[collector]
        call = f"curl -fsS {base}{path} \\\n  -H 'Content-Type: application/json' \\\n  --data-binary {data}\n"
        return Snippet(file="shell", text=call, after=after)
    needs = (
        facts(f"{collectors.__name__}.{collector}")[1].get("Needs", "").replace("``", "")
        if collector in collector_kinds()
        else ""
    )
    if path:
        return Snippet(file=ADDRESS, text=f"{base}{path}\n", after=f"Needed there: {needs}" if needs else "")
    text = "\n".join(["collectors:", *least_lines(collector, collector_kinds()[collector])]) + "\n"
    return Snippet(file="foreshock.yaml", text=text, after=f"Needed: {needs} Then restart Foreshock.")
