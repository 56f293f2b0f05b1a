"""The tables, the same on SQLite and PostgreSQL. A change here goes with a migration in ``migrations/versions``."""

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from foreshock.store.columns import NAMING, Instant, Serial

metadata = MetaData(naming_convention=NAMING)

meta = Table("meta", metadata, Column("key", String(64), primary_key=True), Column("value", Text, nullable=False))

inbox = Table(
    "inbox",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("collector", String(64), nullable=False),
    Column("source", String(128), nullable=False),
    Column("actor", String(128), nullable=False),
    Column("items", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),  # zstd
)
Index("ix_inbox_at", inbox.c.at)
_RARE = text("kind NOT IN ('events', 'tick')")
Index("ix_inbox_kind", inbox.c.kind, inbox.c.number, sqlite_where=_RARE, postgresql_where=_RARE)

engine = Table(
    "engine",
    metadata,
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    Column("checkpoint", BigInteger, nullable=False),
)

checkpoint_block = Table(
    "checkpoint_block",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("position", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),  # zstd
)

situation = Table(
    "situation",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("severity", Integer, nullable=False),
    Column("title", Text, nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("resolved_at", Instant),
    Column("alerts", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("body", LargeBinary),  # the whole, written when it ends; while open the engine holds it
    Column("ticketed_at", Instant),
    Column("acknowledged_at", Instant),
    Column("team", String(128), nullable=False, server_default=""),
    Column("services", Text, nullable=False, server_default="[]"),  # JSON
    Column("events", BigInteger, nullable=False, server_default="0"),
    Column("reopened", Integer, nullable=False, server_default="0"),
    Column("acknowledged_in_time", Integer),  # 1, 0, or NULL while nothing is known
    Column("resolved_in_time", Integer),
)
Index("ix_situation_opened_at", situation.c.opened_at)
Index("ix_situation_state_updated_at", situation.c.state, situation.c.updated_at)

tally = Table(
    "tally",
    metadata,
    Column("hour", Instant, primary_key=True, autoincrement=False),
    Column("name", String(32), primary_key=True),
    Column("count", BigInteger, nullable=False),
)

forecast = Table(
    "forecast",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("model", Text, nullable=False),
    Column("ci", Text, nullable=False),
    Column("about", Text, nullable=False),
    Column("summary", Text, nullable=False),
    Column("services", Text, nullable=False),  # JSON
    Column("team", String(128), nullable=False),
    Column("heard_at", Instant, nullable=False),
    Column("until", Instant, nullable=False),
    Column("probability", Double, nullable=False),
    Column("horizon_h", Double, nullable=False),
    Column("lead_time_h", Double, nullable=False),
    Column("problem", String(32), nullable=False),
    Column("reason", Text, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("ended_at", Instant),
    Column("situation", String(32), nullable=False),
)
Index("ix_forecast_heard_at", forecast.c.heard_at)

audit = Table(
    "audit",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("record", BigInteger, nullable=False),
    Column("at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("subject", String(128), nullable=False),
    Column("action", String(32), nullable=False),
    Column("detail", Text, nullable=False),
)
Index("ix_audit_subject", audit.c.subject)
Index("ix_audit_at", audit.c.at)

judgement = Table(
    "judgement",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("record", BigInteger, nullable=False),
    Column("at", Instant, nullable=False),
    Column("situation", String(32), nullable=False),
    Column("other", String(32), nullable=False),
    Column("body", LargeBinary, nullable=False),
)
Index("ix_judgement_record", judgement.c.record)
Index("ix_judgement_at", judgement.c.at)

outbox = Table(
    "outbox",
    metadata,
    Column("sequence", Serial, primary_key=True),
    Column("id", String(160), nullable=False),
    Column("sink", String(64), nullable=False),
    Column("situation", String(32), nullable=False),
    Column("verb", String(16), nullable=False),
    Column("at", Instant, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("state", String(16), nullable=False),  # pending, done, superseded, dead
    Column("attempts", Integer, nullable=False),
    Column("next_at", Instant, nullable=False),
    Column("error", Text, nullable=False),
    UniqueConstraint("id"),
    sqlite_autoincrement=True,  # a number is never used twice, even after the newest row is forgotten
)
Index("ix_outbox_state_sink_sequence", outbox.c.state, outbox.c.sink, outbox.c.sequence)

notice = Table(
    "notice",
    metadata,
    Column("sequence", Serial, primary_key=True),
    Column("id", String(160), nullable=False),
    Column("situation", String(32), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("at", Instant, nullable=False),
    Column("body", LargeBinary, nullable=False),
    UniqueConstraint("id"),
    sqlite_autoincrement=True,  # a cursor stands at a number: it must never be another row's
)
Index("ix_notice_at", notice.c.at)

ticket = Table(
    "ticket",
    metadata,
    Column("situation", String(32), primary_key=True),
    Column("sink", String(64), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("number", String(128), nullable=False),
    Column("url", Text, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("error", Text, nullable=False),
    Column("kept", Text, nullable=False, server_default="{}"),  # Receipt.kept, as JSON
)

dead_letter = Table(
    "dead_letter",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("record", BigInteger, nullable=False),
    Column("item", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    Column("source", String(128), nullable=False),
    Column("stage", String(16), nullable=False),
    Column("error", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
)
Index("ix_dead_letter_at", dead_letter.c.at)

desk_record = Table(
    "desk_record",
    metadata,
    Column("number", String(16), primary_key=True),
    Column("type", String(16), nullable=False),
    Column("key", String(64)),  # NULL for records a person opened; unique otherwise
    Column("title", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("impact", Integer, nullable=False),
    Column("urgency", Integer, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("severity", String(16), nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("resolved_at", Instant),
    Column("assignment_group", String(128), nullable=False),
    Column("assignee", String(128), nullable=False),
    Column("ci", String(256), nullable=False),
    Column("resolution_code", String(64), nullable=False),
    Column("resolution_note", Text, nullable=False),
    Column("resolved_by", String(128), nullable=False),  # empty: Foreshock, or nobody yet
    Column("problem", String(16), nullable=False),
    Column("url", Text, nullable=False),
    Column("version", Integer, nullable=False),  # of the situation, newest applied
    Column("known_error", Text, nullable=False, server_default=""),
    UniqueConstraint("type", "key"),
)
Index("ix_desk_record_state", desk_record.c.type, desk_record.c.state)

desk_note = Table(
    "desk_note",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("number", String(16), nullable=False),
    Column("at", Instant, nullable=False),
    Column("author", String(128), nullable=False),
    Column("text", Text, nullable=False),
)
Index("ix_desk_note_number", desk_note.c.number)

desk_order = Table(
    "desk_order",
    metadata,
    Column("id", String(160), primary_key=True),
    Column("number", String(16), nullable=False),
)

desk_journal = Table(
    "desk_journal",
    metadata,
    Column("sequence", Serial, primary_key=True),
    Column("number", String(16), nullable=False),
    Column("key", String(64), nullable=False),
    Column("at", Instant, nullable=False),
    Column("actor", String(128), nullable=False),
    Column("state", String(16), nullable=False),
    Column("comment", Text, nullable=False),
    sqlite_autoincrement=True,
)

cursor = Table(
    "cursor",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

job_run = Table(
    "job_run",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("ok", Integer, nullable=False),
    Column("error", Text, nullable=False),
)
