"""Nagios or Naemon, by notification commands that post with curl; check results too.

Facts:    https://assets.nagios.com/downloads/nagioscore/docs/nagioscore/4/en/macrolist.html, read 2026-11-22;
          notifications of Nagios 4.4 as recorded in tests/samples. Naemon has the same macros.
Delivery: at most once: Nagios runs the command once and does not look at its exit code. A `notification_interval`
          repeats what still holds.
Recovery: reported, by the state that every notification carries: OK and UP are the end. While something is in a
          downtime or flaps Nagios sends no recovery; the end of the downtime or of the flapping then tells of it, so
          contacts, hosts and services need `s` and `f` among their notification options.
Limits:   a host or service has one alert, whatever state it is in; CRITICAL and DOWN are critical, WARNING, UNKNOWN and
          UNREACHABLE a warning. Soft states are ignored; notifications are never about one, check results may be. Of
          check results (`ocsp_command`, `ochp_command`) each one is posted, the good ones too: use notifications where
          both will do.
Needs:    curl beside Nagios, and the commands below. Values of macros stand between quotes of the shell: keep
          `illegal_macro_output_chars` as it ships, which takes the quotes out of what plugins print.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from foreshock.connect.vendors.nagios import Report, to_event
from foreshock.core.contracts import Collector, Ignored, Receive, decode_items
from foreshock.core.errors import Malformed
from foreshock.core.model import Event
from foreshock.core.payload import moment

_MAX_FIELDS = 64


class NagiosReport(Struct, kw_only=True):
    """One notification or check result, by the names that our commands give the macros; all are texts."""

    host: str
    state: str
    service: str = ""
    type: str = ""
    state_type: str = ""
    address: str = ""
    time: str = ""
    changed: str = ""
    problem_id: str = ""
    output: str = ""
    long_output: str = ""
    perfdata: str = ""
    author: str = ""
    comment: str = ""
    url: str = ""


_ONE = msgspec.json.Decoder(NagiosReport)
_decode_json = partial(
    decode_items,
    many=msgspec.json.Decoder(list[NagiosReport]),
    one=_ONE,
    what="notifications of Nagios",
    or_one=True,
)


def decode(body: bytes) -> Sequence[NagiosReport | Malformed]:
    """One notification, as ``curl --data-urlencode`` posts it; or JSON with the same names, one or several."""
    if body.lstrip()[:1] in (b"{", b"["):
        return _decode_json(body)
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=_MAX_FIELDS)
        return [msgspec.convert(dict(pairs), NagiosReport)]
    except (ValueError, msgspec.ValidationError) as error:
        raise Malformed(
            f"the body is no notification: {str(error)[:200]}",
            hint="compare the command with that of the page of the connector",
        ) from None


def translate(item: NagiosReport, received_at: datetime) -> Event | Ignored:
    """One alert for each host, and one for each of its services."""
    report = Report(
        host=item.host,
        service=item.service,
        state=item.state,
        type=item.type,
        soft=item.state_type.upper() == "SOFT",
        at=moment(item.time),
        changed_at=moment(item.changed),
        annotations={
            "summary": item.output,
            "description": item.long_output,
            "perfdata": item.perfdata,
            "address": item.address,
            "problem_id": item.problem_id,
            "author": item.author,
            "comment": item.comment,
        },
        url=item.url,
    )
    return to_event(report, received_at)


_TEXT = {"type": "string"}
_REPORT = {
    "type": "object",
    "required": ["host", "state"],
    "properties": {
        "host": {**_TEXT, "description": "`$HOSTNAME$`: label `host`"},
        "service": {**_TEXT, "description": "`$SERVICEDESC$`: label `alertname`; of a host it is left out"},
        "state": {**_TEXT, "description": "`$SERVICESTATE$` or `$HOSTSTATE$`"},
        "state_type": {**_TEXT, "description": "`$SERVICESTATETYPE$` or `$HOSTSTATETYPE$`: HARD or SOFT"},
        "type": {**_TEXT, "description": "`$NOTIFICATIONTYPE$`; left out of check results"},
        "time": {**_TEXT, "description": "`$TIMET$`"},
        "changed": {**_TEXT, "description": "`$LASTSERVICESTATECHANGE$` or `$LASTHOSTSTATECHANGE$`: start and end"},
        "address": {**_TEXT, "description": "`$HOSTADDRESS$`"},
        "problem_id": {**_TEXT, "description": "`$SERVICEPROBLEMID$` or `$HOSTPROBLEMID$`"},
        "output": {**_TEXT, "description": "`$SERVICEOUTPUT$` or `$HOSTOUTPUT$`: annotation `summary`"},
        "long_output": {**_TEXT, "description": "`$LONGSERVICEOUTPUT$`: annotation `description`"},
        "perfdata": {**_TEXT, "description": "`$SERVICEPERFDATA$`"},
        "author": {**_TEXT, "description": "`$NOTIFICATIONAUTHOR$`"},
        "comment": {**_TEXT, "description": "`$NOTIFICATIONCOMMENT$`"},
        "url": {**_TEXT, "description": "`$SERVICENOTESURL$` or any other link"},
    },
}

COLLECTOR = Collector(
    kind="nagios",
    title="Nagios or Naemon, by notification commands",
    facts="Nagios Core 4 macros",
    decode=decode,
    translate=translate,
    receive=Receive(path="/api/v1/collect/nagios", schema={"oneOf": [{"type": "array", "items": _REPORT}, _REPORT]}),
    sample="nagios-firing.json",
    namespace="nagios",
)
