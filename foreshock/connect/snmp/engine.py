"""SNMP messages to traps, with pysnmp: versions 1, 2c and 3, and answers to informs that wait until we say so.

Facts: pysnmp 7.1, RFC 3412, 3414, 3584. A wrong password or community is dropped without a word to the sender, so it is
counted here. pysnmp takes the time of a version 3 message for the sender's, whatever it was before; messages that are
older than the newest by more than 150 s (RFC 3414, 3.2) are therefore refused here.
"""

import hashlib
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

from msgspec import Struct

from foreshock.connect.snmp.meaning import Value

AuthProtocol = Literal["", "MD5", "SHA", "SHA-224", "SHA-256", "SHA-384", "SHA-512"]
PrivProtocol = Literal["", "DES", "AES", "AES-192", "AES-256"]

MAX_MESSAGE_BYTES = 65507
MAX_ENGINES = 10_000
"""Engines of senders that are known at once; the one known longest is forgotten."""
_WINDOW_S = 150
_DISCOVERED = frozenset({"UnknownEngineID", "NotInTimeWindow"})  # steps of a sender that gets to know us


class User(Struct, frozen=True):
    """A user of version 3. engines: ids of the senders it is good for, as octets; empty: of any."""

    name: str
    auth: AuthProtocol = ""
    auth_key: str = ""
    priv: PrivProtocol = ""
    priv_key: str = ""
    engines: tuple[bytes, ...] = ()


class Heard(Struct, frozen=True):
    """A notification that was let in. confirm: sends the answer an inform waits for; None for a trap."""

    version: str
    user: str
    varbinds: Sequence[tuple[str, Value]]
    confirm: Callable[[], None] | None = None


class Refused(Struct, frozen=True):
    """Why a message was not let in. step: it belongs to the introduction of a sender of informs, and is no loss."""

    reason: str
    step: bool = False


def own_engine_id() -> bytes:
    """Stable for this host, so that senders of informs need not learn it anew: RFC 3411, 5, with octets of ours."""
    return bytes.fromhex("8000000005") + hashlib.sha256(socket.gethostname().encode()).digest()[:8]


class TrapEngine:
    """Args:
    communities: of versions 1 and 2c that are let in.
    bound: the socket that answers go out of.
    engine_id: ours, for informs of version 3.
    """

    def __init__(
        self,
        communities: Iterable[str],
        users: Iterable[User],
        bound: socket.socket,
        engine_id: bytes = b"",
    ) -> None:
        from pysnmp.carrier.asyncio.dgram import udp
        from pysnmp.entity import config
        from pysnmp.entity.engine import SnmpEngine
        from pysnmp.proto.rfc1902 import OctetString

        self._config, self._octets = config, OctetString
        self._domain, self._address = udp.DOMAIN_NAME, udp.UdpTransportAddress
        self._engine = engine = SnmpEngine()
        builder = engine.get_mib_builder()
        own, boots = builder.import_symbols("__SNMP-FRAMEWORK-MIB", "snmpEngineID", "snmpEngineBoots")
        own.syntax = own.syntax.clone(engine_id or own_engine_id())
        engine.snmpEngineID = own.syntax
        # It must grow with every start and not at all meanwhile. Seconds since 2020 do, without a file to keep.
        boots.syntax = boots.syntax.clone(int(time.time()) - 1_577_836_800)
        engine.transport_dispatcher = _Sender(bound)
        for number, community in enumerate(communities):
            config.add_v1_system(engine, f"c{number}", community)
        self._users = {user.name: user for user in users}
        self._learned: dict[tuple[str, bytes], None] = {}
        self._newest: dict[tuple[str, bytes], tuple[int, int]] = {}
        self._master_keys: dict[str, tuple[Any, Any]] = {}
        self._ticked = 0.0
        for user in self._users.values():
            self._add(user, None)
            for one in user.engines:
                self._add(user, one)
        failures = ("rfc3412.prepareDataElements:sm-failure", "rfc2576.prepareDataElements:sm-failure")
        engine.observer.register_observer(self._failed, *failures)
        engine.observer.register_observer(self._verified, "rfc3414.processIncomingMsg")
        self._receive()
        self._heard: Heard | None = None
        self._failure = ""
        self._stamp: tuple[bytes, str, int, int] | None = None

    def read(self, datagram: bytes, sender: tuple[Any, ...]) -> Heard | Refused:
        """What a datagram holds. It never raises, whatever the datagram is."""
        result = self._once(datagram, sender)
        if isinstance(result, Refused) and result.reason == "UnknownSecurityName" and self._introduced(datagram):
            stranger = self._stranger
            result = self._once(datagram, sender)
            if isinstance(result, Refused):
                self._forget(*stranger)
        return result

    def tick(self) -> None:
        """Forgets what waits for nothing any more; as often as one likes."""
        now = time.monotonic()
        if now - self._ticked < 1.0:
            return
        self._ticked = now
        self._engine.message_dispatcher.receive_timer_tick(self._engine, time.time())

    # ---- one message ----

    def _once(self, datagram: bytes, sender: tuple[Any, ...]) -> Heard | Refused:
        self._heard = self._stamp = None
        self._failure = ""
        address = self._address(sender[:2])
        try:
            self._engine.message_dispatcher.receive_message(self._engine, self._domain, address, datagram)
        except Exception as error:  # octets of strangers in a library: whatever they do to it costs that datagram alone
            return Refused(f"it cannot be read: {type(error).__name__}")
        return self._result()

    def _result(self) -> Heard | Refused:
        """What was noted while pysnmp worked on the message."""
        if self._heard is None:
            return Refused(self._failure or "it is no SNMP notification", step=self._failure in _DISCOVERED)
        if self._stamp is not None and not self._fresh(*self._stamp):
            return Refused("it is older than what this sender sent before: replayed, or its clock was set back")
        return self._heard

    def _failed(self, _: Any, point: str, variables: Mapping[str, Any], context: Any) -> None:
        indication = variables["statusInformation"].get("errorIndication")
        self._failure = type(indication).__name__ if indication is not None else "UnknownCommunityName"

    def _verified(self, _: Any, point: str, found: Mapping[str, Any], context: Any) -> None:
        if bytes(found["userName"]):
            self._stamp = (
                bytes(found["securityEngineId"]),
                bytes(found["userName"]).decode(errors="replace"),
                int(found["snmpEngineBoots"]),
                int(found["snmpEngineTime"]),
            )

    def _fresh(self, engine: bytes, user: str, boots: int, at: int) -> bool:
        if engine == bytes(self._engine.snmpEngineID) or not self._users[user].auth:
            return True  # ours are checked by pysnmp; what nobody signed says nothing
        newest = self._newest.get((user, engine), (0, 0))
        if (boots, at + _WINDOW_S) < newest:
            return False
        self._newest[user, engine] = max(newest, (boots, at))
        return True

    # ---- senders that we have not heard of ----

    def _introduced(self, datagram: bytes) -> bool:
        """The sender of a version 3 message is unknown; its user may be one that any sender may use."""
        from pyasn1.codec.ber import decoder
        from pysnmp.proto.mpmod.rfc3412 import SNMPv3Message
        from pysnmp.proto.secmod.rfc3414.service import UsmSecurityParameters

        try:
            message, _ = decoder.decode(datagram, asn1Spec=SNMPv3Message())
            security, _ = decoder.decode(message.getComponentByPosition(2).asOctets(), asn1Spec=UsmSecurityParameters())
            engine = security.getComponentByPosition(0).asOctets()
            name = security.getComponentByPosition(3).asOctets().decode()
        except Exception:  # as in _once
            return False
        user = self._users.get(name)
        if user is None or user.engines or not 5 <= len(engine) <= _MAX_ENGINE_ID:
            return False
        while len(self._learned) >= MAX_ENGINES:
            self._forget(*next(iter(self._learned)))
        self._add(user, engine)
        self._stranger = (name, engine)
        self._learned[self._stranger] = None
        return True

    def _forget(self, name: str, engine: bytes) -> None:
        self._config.delete_v3_user(self._engine, name, self._octets(engine))
        self._learned.pop((name, engine), None)
        self._newest.pop((name, engine), None)

    def _add(self, user: User, engine: bytes | None) -> None:
        config = self._config
        auth, priv = _protocols(config)
        signing, encrypting = auth[user.auth], priv[user.priv]
        if user.name not in self._master_keys:
            # Of a password a megabyte is hashed (RFC 3414, A.2): once, or strangers could keep us busy with engine ids.
            self._master_keys[user.name] = (
                config.AUTH_SERVICES[signing].hash_passphrase(user.auth_key.encode()) if user.auth else None,
                config.PRIV_SERVICES[encrypting].hash_passphrase(signing, user.priv_key.encode())
                if user.priv
                else None,
            )
        auth_key, priv_key = self._master_keys[user.name]
        config.add_v3_user(
            self._engine,
            user.name,
            signing,
            auth_key,
            encrypting,
            priv_key,
            securityEngineId=None if engine is None else self._octets(engine),
            authKeyType=config.USM_KEY_TYPE_MASTER,
            privKeyType=config.USM_KEY_TYPE_MASTER,
        )

    # ---- notifications ----

    def _receive(self) -> None:
        from pysnmp.entity.rfc3413.ntfrcv import NotificationReceiver
        from pysnmp.proto import rfc3411
        from pysnmp.proto.api import v2c
        from pysnmp.proto.proxy import rfc2576

        def process(engine: Any, model: Any, *call: Any) -> None:
            security_model, security_name, level, context_engine, context_name, version, pdu, max_size, state = call
            confirmed = pdu.tagSet in rfc3411.CONFIRMED_CLASS_PDUS
            read = rfc2576.v1_to_v2(pdu) if int(model) == 0 else pdu
            varbinds = v2c.apiPDU.get_varbinds(read)

            def confirm() -> None:
                answer = v2c.apiPDU.get_response(read)
                v2c.apiPDU.set_error_status(answer, "noError")
                v2c.apiPDU.set_error_index(answer, 0)
                v2c.apiPDU.set_varbinds(answer, varbinds)
                engine.message_dispatcher.return_response_pdu(
                    engine, model, security_model, security_name, level, context_engine, context_name, version,
                    answer, max_size, state, {},
                )  # fmt: skip

            name = "" if int(model) != _V3 else bytes(security_name).decode(errors="replace")
            if name and not self._strong_enough(name, int(level)):
                self._failure = "UnsupportedSecurityLevel"
                return
            self._heard = Heard(
                version=_VERSIONS[int(model)],
                user=name,
                varbinds=[(_dotted(oid), _value(value)) for oid, value in varbinds],
                confirm=confirm if confirmed else None,
            )

        self._engine.message_dispatcher.register_context_engine_id(
            b"", NotificationReceiver.SUPPORTED_PDU_TYPES, process
        )

    def _strong_enough(self, name: str, level: int) -> bool:
        """pysnmp asks that of informs only: a trap in a user's name without the signature that user has is forged."""
        user = self._users.get(name)
        return user is not None and level >= 1 + bool(user.auth) + bool(user.priv)


_V3 = 3
_VERSIONS = {0: "1", 1: "2c", 3: "3"}
_MAX_ENGINE_ID = 32  # RFC 3411


def _dotted(oid: Any) -> str:
    return ".".join(map(str, tuple(oid)))


def _value(value: Any) -> Value:
    from pyasn1.type import univ
    from pysnmp.proto.rfc1902 import IpAddress

    if value.tagSet == IpAddress.tagSet:  # that of version 1 is another class
        return ".".join(map(str, bytes(value)))
    if isinstance(value, univ.Integer):
        return int(value)
    if isinstance(value, univ.ObjectIdentifier):
        return _dotted(value)
    return bytes(value) if isinstance(value, univ.OctetString) else ""


def _protocols(config: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    auth = {
        "": config.USM_AUTH_NONE,
        "MD5": config.USM_AUTH_HMAC96_MD5,
        "SHA": config.USM_AUTH_HMAC96_SHA,
        "SHA-224": config.USM_AUTH_HMAC128_SHA224,
        "SHA-256": config.USM_AUTH_HMAC192_SHA256,
        "SHA-384": config.USM_AUTH_HMAC256_SHA384,
        "SHA-512": config.USM_AUTH_HMAC384_SHA512,
    }
    priv = {
        "": config.USM_PRIV_NONE,
        "DES": config.USM_PRIV_CBC56_DES,
        "AES": config.USM_PRIV_CFB128_AES,
        "AES-192": config.USM_PRIV_CFB192_AES,
        "AES-256": config.USM_PRIV_CFB256_AES,
    }
    return auth, priv


class _Sender:
    """What pysnmp takes for its transport: we receive by ourselves, and it answers through us."""

    def __init__(self, bound: socket.socket) -> None:
        self._bound = bound

    def send_message(self, message: bytes, _: Any, address: Any) -> None:
        with suppress(OSError):  # whoever waits for an answer asks again
            self._bound.sendto(bytes(message), tuple(address))

    def get_timer_resolution(self) -> float:
        return 1.0

    def get_timer_ticks(self) -> int:
        return int(time.monotonic())
