"""What the engine has people told beside tickets. It only says so here: a row for whoever carries it out (``store``),
and a line of the incident's timeline."""

from typing import TYPE_CHECKING

from foreshock.core.contracts import Notice, NoticeKind, TicketChange
from foreshock.core.model import Situation

if TYPE_CHECKING:
    from foreshock.service.engine import Engine


def tell(
    engine: "Engine", situation: Situation, kind: NoticeKind, level: int, text: str, audience: tuple[str, ...]
) -> None:
    """As part of the record or timer that is being worked on; audience as ``Notice`` has it."""
    engine.last_notice += 1
    engine.effects.notices.append(
        Notice(
            id=f"{situation.id}/{kind.value}/{engine.last_notice}",
            situation=situation.id,
            at=engine.now,
            kind=kind,
            level=level,
            title=situation.title,
            text=text,
            priority=situation.priority,
            audience=audience,
            url=f"/incidents/{situation.id}",
        )
    )
    whom = f" (to {', '.join(audience)})" if audience else ""
    engine.say("notice", situation.id, kind.value, f"{text}{whom}")


def is_notice(key: str) -> bool:
    """Whether an order or a ticket change is about a notice: its id is longer than a situation's."""
    return "/" in key


def heard(engine: "Engine", change: TicketChange) -> None:
    """What became of one: somebody was told by a sink, or the sink refused it."""
    situation, kind, _ = change.situation.split("/", 2)
    told = change.state == "confirmed"
    detail = f"{kind}: {change.sink}" + (f": {change.comment}" if change.comment else "")
    engine.say("notice", situation, "told" if told else "not told", detail)
