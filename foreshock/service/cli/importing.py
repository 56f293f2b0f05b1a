"""The configuration of another tool, translated."""

from datetime import UTC, datetime
from pathlib import Path
from pkgutil import iter_modules
from typing import Annotated

import typer

from foreshock.service.cli.options import Format
from foreshock.service.cli.terminal import Output, counted, print_json, print_lines, print_table, told, warn, writing
from foreshock.service.importing import kinds

commands = typer.Typer()

TOOLS = tuple(sorted(module.name for module in iter_modules(kinds.__path__)))
"""By the names of their files; none is imported for it."""
_SHOWN = 20


@commands.command(
    "import",
    epilog="foreshock import alertmanager alertmanager.yml --silences http://alertmanager:9093 --out imported",
)
@told
def import_configuration(
    tool: Annotated[str, typer.Argument(help=f"{', '.join(TOOLS[:-1])} or {TOOLS[-1]}.")],
    files: Annotated[list[Path], typer.Argument(help="Its configuration; of Nagios also a folder.")],
    to: Annotated[
        Path | None, typer.Option("--out", help="Folder to write; it must not exist. imported-TOOL if left out.")
    ] = None,
    silences: Annotated[
        str | None,
        typer.Option(
            "--silences",
            help="What people asked for: Alertmanager's address, or a file of `amtool silence query -o json`; "
            "status.dat or retention.dat of Nagios; the answer of Zabbix's maintenance.get.",
        ),
    ] = None,
    output: Format = Output.TABLE,
) -> None:
    """Make rules, suppressions and topology of the configuration of another tool.

    Writes a folder that is a whole configuration, with REPORT.md: what each thing of the source became, how it differs,
    and what could not be translated. Nothing is put into force. See docs/migrating.md.
    """
    from foreshock.core.registry import kinds as found
    from foreshock.service.importing.folder import REPORT, write
    from foreshock.service.importing.translation import Fate, Importer

    if tool not in TOOLS:
        raise typer.BadParameter(f"{tool!r} is none of {', '.join(TOOLS)}")
    importer = found(kinds, "IMPORTER", Importer)[tool]
    folder = to or Path(f"imported-{tool}")
    made = importer.translate(importer.read(files, silences), datetime.now(UTC).date())
    with writing(folder):
        items = write(made, folder)
    counts = {fate: sum(item.fate is fate for item in items) for fate in Fate}
    if output is Output.JSON:
        rows = [
            {
                "what": item.what,
                "name": item.name,
                "file": item.file,
                "line": item.line,
                "fate": item.fate.value,
                "into": list(item.into),
                "note": item.note,
            }
            for item in items
        ]
        print_json(
            {"folder": str(folder), "counts": {fate.value: count for fate, count in counts.items()}, "items": rows}
        )
        return
    lost = [item for item in items if item.fate is Fate.NOT_TRANSLATED]
    print_table(
        ("not translated", "", "where", "why, and what to do"),
        (
            (item.what, item.name, f"{item.file}:{item.line}" if item.line else item.file, item.note)
            for item in lost[:_SHOWN]
        ),
    )
    if len(lost) > _SHOWN:
        warn(f"… and {len(lost) - _SHOWN} more, all of them in {folder / REPORT}")
    print_lines(
        f"{counted(len(items), 'item')}: " + ", ".join(f"{counts[fate]} {fate}" for fate in reversed(Fate)) + ".",
        f"wrote {folder}; read {folder / REPORT} first, then: foreshock check --config {folder / 'foreshock.yaml'}",
    )
