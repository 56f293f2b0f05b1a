"""The stand-in of NetBox, judged by a client that others wrote and by NetBox's OpenAPI document."""

import json
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

from cmdb_sync.netbox import NEEDED
from foreshock.sandbox.netbox import TOKEN
from foreshock.testing.clients import drive, python_with
from foreshock.testing.sources import SOURCES, benched

OPENAPI = Path(__file__).parents[4] / "shared/reference/openapi/netbox-4.2.openapi.yaml"
PYNETBOX = "pynetbox==7.8.0"

READ = """
import sys, pynetbox
api = pynetbox.api(sys.argv[1], token=sys.argv[2])
print(api.version)
for device in api.dcim.devices.all(limit=3):
    print(device.id, device.name, device.role.name, device.status, device.tenant, device.site.name)
for cable in api.dcim.cables.all():
    ends = [end.device.id for side in (cable.a_terminations, cable.b_terminations) for end in side]
    print("cable", cable.id, *ends)
for address in api.ipam.ip_addresses.filter(device_id=[1, 2]):
    print("address", address.address, address.assigned_object.device.id)
print("named", [device.name for device in api.dcim.devices.filter(id__gt=4)])
"""
PARAMETERS = """
import json, sys, yaml
document = yaml.load(open(sys.argv[1]), Loader=yaml.CSafeLoader)
schemas = document["components"]["schemas"]
found = {}
for path, methods in document["paths"].items():
    if "get" not in methods or "{" in path:
        continue
    get = methods["get"]
    content = get["responses"]["200"].get("content", {}).get("application/json", {}).get("schema", {})
    page = schemas.get(content.get("$ref", "").rpartition("/")[2], {})
    row = page.get("properties", {}).get("results", {}).get("items", {}).get("$ref", "").rpartition("/")[2]
    names = [each["name"] for each in get.get("parameters", ())]
    found[path] = [names, sorted(schemas.get(row, {}).get("properties", {}))]
print(json.dumps(found))
"""
UNDOCUMENTED = {"brief", "exclude"}
"""Parameters that the documentation of the REST API names and its OpenAPI document does not."""


def furnish(bench):
    first, second = bench.put("one", "two", ip="10.0.0.1", owner="Database", serial="SN-1")
    bench.related(("three", "four"), ("five", "six"))
    return first, second


def test_pynetbox_reads_what_the_source_reads(tmp_path):
    python = python_with(PYNETBOX)
    with benched(SOURCES["netbox"], tmp_path) as bench:
        furnish(bench)
        reading = bench.read()

        lines = drive(python, READ, bench.server.url, TOKEN)

    assert lines[0] == "4.2"
    devices = [line for line in lines[1:] if line[0].isdigit()]
    assert devices[0] == "1 one server Active Database hall"
    assert {line.split()[1] for line in devices} == {
        item.name for item in reading.items.values() if item.kind != "location"
    }
    assert [line for line in lines if line.startswith("cable")] == ["cable 1 3 4", "cable 2 5 6"]
    assert [line for line in lines if line.startswith("address")] == ["address 10.0.0.1/24 1", "address 10.0.0.1/24 2"]
    assert "named ['five', 'six']" in lines


def test_all_that_is_asked_and_answered_stands_in_the_openapi_document(tmp_path):
    if not OPENAPI.exists():
        pytest.skip(f"{OPENAPI.name} is not at hand in ../shared/reference/openapi")
    document = json.loads(drive(python_with(PYNETBOX, "pyyaml==6.0.3"), PARAMETERS, str(OPENAPI))[0])
    with benched(SOURCES["netbox"], tmp_path) as bench:
        asked, handle = [], bench.world.handle

        def recorded(request):
            reply = handle(request)
            asked.append((request.path, request.query, reply.body))
            return reply

        bench.world.handle = recorded
        first, _ = furnish(bench)
        mark = bench.read().mark
        bench.clock.move(600)
        bench.world.change_ci(first, name="renamed", ip="10.0.0.9")
        bench.read(mark, interfaces=True)
        bench.source().check()

    lists = [(path, query, body) for path, query, body in asked if "results" in body]
    assert {path for path, _, _ in lists} <= set(document)
    assert {f"/api/{path}/" for path in NEEDED} - set(document) == {"/api/extras/object-changes/"}
    for path, query, body in lists:
        parameters, fields = document[path]
        assert {name for name, _ in parse_qsl(query)} <= {*parameters, *UNDOCUMENTED}, path
        for row in body["results"]:
            assert set(row) - {"slug"} <= set(fields) | _shown_by_people(path), (path, sorted(set(row) - set(fields)))


def _shown_by_people(path):
    """Names that the stand-in gives to whatever it holds, for its own use."""
    return {"name"} if path in ("/api/ipam/ip-addresses/", "/api/dcim/cables/") else set()
