"""Tokens that are fetched: few, shared, and never kept when they were refused."""

import json
from collections.abc import Iterator

import pytest
import requests

from foreshock.connect.auth import OAuth
from foreshock.connect.http import Http
from foreshock.testing.receiver import Receiver


@pytest.fixture
def server() -> Iterator[Receiver]:
    with Receiver(status=200) as receiver:
        give(receiver, "first")
        yield receiver


def give(server: Receiver, token: str) -> None:
    server.answer = json.dumps({"access_token": token, "expires_in": 3600}).encode()


def connection(server: Receiver, secret: str = "s3cret") -> OAuth:
    form = {"grant_type": "client_credentials", "client_id": "noc", "client_secret": secret}
    return OAuth(Http("tool 'prod'", server.url), "/token", form, (secret,))


def used(oauth: OAuth) -> str:
    request = requests.Request("GET", "http://tool.example/").prepare()
    return oauth(request).headers["Authorization"]


def test_connections_with_the_same_credentials_use_one_token(server):
    one, other = connection(server), connection(server)

    assert (used(one), used(other)) == ("Bearer first", "Bearer first")
    assert len(server.got) == 1


def test_other_credentials_have_a_token_of_their_own(server):
    one, other = connection(server), connection(server, secret="other")
    used(one)
    give(server, "second")

    assert used(other) == "Bearer second"


def test_a_token_that_several_were_refused_with_is_fetched_again_once(server):
    one, other = connection(server), connection(server)
    used(one), used(other)
    give(server, "second")

    one.drop()
    assert used(one) == "Bearer second"
    other.drop()
    assert used(other) == "Bearer second"
    assert len(server.got) == 2


def test_tokens_are_forgotten_with_the_last_who_used_them(server):
    used(connection(server))
    give(server, "second")

    assert used(connection(server)) == "Bearer second"
