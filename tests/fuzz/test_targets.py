"""What takes bytes of strangers takes any: a short look with each run of the tests; ``make fuzz`` looks longer."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.testing.fuzzing import TARGETS, Target, mutated

EXAMPLES = int(os.environ.get("FORESHOCK_FUZZ_EXAMPLES", "200"))
CHANGES = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=4)


@cache
def target(name: str) -> Target:
    return TARGETS[name]()


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_well_formed_is_taken(name: str):
    for seed in target(name).seeds:
        target(name).run(seed)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_whatever_is_changed_is_read_or_refused(name: str, data: Any):
    seed = data.draw(st.sampled_from(target(name).seeds))

    target(name).run(mutated(seed, data.draw(CHANGES), data.draw(st.just(0) | st.integers(0, 5000))))


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=EXAMPLES)
@given(octets=st.binary(max_size=200))
def test_any_octets_are_read_or_refused(name: str, octets: bytes):
    target(name).run(octets)


def test_an_unknown_target_is_told():
    run = [sys.executable, str(Path(__file__).with_name("run.py")), "nothing"]
    found = subprocess.run(run, capture_output=True, text=True)

    assert found.returncode == 2 or "no wheel" in found.stdout
    assert "there are content_encoding" in found.stderr or "no wheel" in found.stdout
