"""Checkmk, by a notification script that posts what Checkmk puts into its environment.

Facts:    https://docs.checkmk.com/latest/en/notifications.html#scripts, read 2026-11-22, and the variables that the
          plug-ins in Checkmk's own repository read; not recorded from a running site (UNVERIFIED).
Delivery: at least once where the rule's script is retried: the script ends with 1 for "later" and 2 for "never".
Recovery: reported, by the state that every notification carries: OK and UP are the end. While something is in a
          downtime or flaps Checkmk sends no recovery; the end of it then tells, so the notification rule needs those
          events too.
Limits:   a host or service has one alert for each site. Notifications of the Event Console are ignored: nothing tells
          when they are over. Bulk notifications are not read: leave bulking off in the rule.
Needs:    the script below in `local/share/check_mk/notifications/foreshock` of the site, executable, and a notification
          rule with it as its method; its first parameter is the address of Foreshock, its second a token file or empty.
"""

from datetime import datetime
from functools import partial

import msgspec
from msgspec import Struct

from foreshock.connect.vendors.nagios import Report, to_event
from foreshock.core.contracts import Collector, Ignored, Receive, decode_items
from foreshock.core.errors import Malformed
from foreshock.core.model import Event
from foreshock.core.payload import moment


class CheckmkNotification(Struct, kw_only=True, rename="upper"):
    """The variables of one notification without their ``NOTIFY_``; all are texts, and absent ones empty."""

    what: str
    hostname: str
    notificationtype: str = ""
    hoststate: str = ""
    hostoutput: str = ""
    longhostoutput: str = ""
    hostaddress: str = ""
    hostalias: str = ""
    hosturl: str = ""
    lasthoststatechange: str = ""
    servicedesc: str = ""
    servicestate: str = ""
    serviceoutput: str = ""
    longserviceoutput: str = ""
    serviceperfdata: str = ""
    serviceurl: str = ""
    lastservicestatechange: str = ""
    microtime: str = ""
    omd_site: str = ""
    notificationauthor: str = ""
    notificationcomment: str = ""
    ec_id: str = ""


decode = partial(
    decode_items,
    many=msgspec.json.Decoder(list[CheckmkNotification]),
    one=msgspec.json.Decoder(CheckmkNotification),
    what="notifications of Checkmk",
    or_one=True,
)


def translate(item: CheckmkNotification, received_at: datetime) -> Event | Ignored:
    """One alert for each host of a site, and one for each of its services."""
    if item.what not in ("HOST", "SERVICE"):
        raise Malformed(f"WHAT is {item.what[:40]!r}, neither HOST nor SERVICE")
    if item.ec_id:
        return Ignored("of the Event Console, which does not tell when it is over")
    service = item.what == "SERVICE"
    if service and not item.servicedesc:
        raise Malformed("SERVICEDESC is missing")
    report = Report(
        host=item.hostname,
        service=item.servicedesc if service else "",
        state=item.servicestate if service else item.hoststate,
        # An acknowledgement may name the state behind the word.
        type=item.notificationtype.partition(" ")[0],
        at=moment(item.microtime),
        changed_at=moment(item.lastservicestatechange if service else item.lasthoststatechange),
        labels={"checkmk_site": item.omd_site},
        annotations={
            "summary": item.serviceoutput if service else item.hostoutput,
            "description": (item.longserviceoutput if service else item.longhostoutput).replace("\\n", "\n"),
            "perfdata": item.serviceperfdata,
            "address": item.hostaddress,
            "alias": item.hostalias,
            "author": item.notificationauthor,
            "comment": item.notificationcomment,
            "page": item.serviceurl if service else item.hosturl,
        },
    )
    return to_event(report, received_at)


_TEXT = {"type": "string"}
_NOTIFICATION = {
    "type": "object",
    "required": ["WHAT", "HOSTNAME"],
    "properties": {
        "WHAT": {"enum": ["HOST", "SERVICE"]},
        "HOSTNAME": {**_TEXT, "description": "label `host`"},
        "SERVICEDESC": {**_TEXT, "description": "label `alertname`"},
        "OMD_SITE": {**_TEXT, "description": "label `checkmk_site`"},
        "NOTIFICATIONTYPE": {**_TEXT, "description": "PROBLEM, RECOVERY, DOWNTIMEEND, …"},
        "HOSTSTATE": {**_TEXT, "description": "UP, DOWN or UNREACHABLE"},
        "SERVICESTATE": {**_TEXT, "description": "OK, WARNING, CRITICAL or UNKNOWN"},
        "LASTHOSTSTATECHANGE": {**_TEXT, "description": "start and end, in seconds since 1970"},
        "LASTSERVICESTATECHANGE": {**_TEXT, "description": "the same of the service"},
        "MICROTIME": {**_TEXT, "description": "of the notification, in microseconds since 1970"},
        "HOSTOUTPUT": {**_TEXT, "description": "annotation `summary`"},
        "SERVICEOUTPUT": {**_TEXT, "description": "annotation `summary`"},
    },
}

COLLECTOR = Collector(
    kind="checkmk",
    title="Checkmk, by a notification script",
    facts="Checkmk notification variables",
    decode=decode,
    translate=translate,
    receive=Receive(
        path="/api/v1/collect/checkmk",
        schema={"oneOf": [{"type": "array", "items": _NOTIFICATION}, _NOTIFICATION]},
    ),
    sample="checkmk-firing.json",
    namespace="checkmk",
)
