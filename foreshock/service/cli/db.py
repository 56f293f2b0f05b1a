"""The store's schema."""

import os

import typer

from foreshock.core.errors import ForeshockError
from foreshock.service.cli.options import Config
from foreshock.service.cli.terminal import FAILED, leave, print_lines, told

commands = typer.Typer(help="The store's schema.", no_args_is_help=True)


@commands.command("upgrade")
@told
def db_upgrade(config: Config = None) -> None:
    """Bring the schema to this program's version; a start does the same. Refused while a Foreshock owns the store."""
    from foreshock.service.front import own
    from foreshock.service.settings import load_settings
    from foreshock.store import migrations
    from foreshock.store.store import Store

    settings = load_settings(config, os.environ, {})
    own(settings.state)
    store = Store(settings.store_url)
    store.journal.claim()
    done = migrations.upgrade(store.migration_engine)
    store.close()
    print_lines(f"upgraded to {migrations.HEAD}" if done else f"the schema is at {migrations.HEAD} already")


@commands.command("check")
@told
def db_check(config: Config = None) -> None:
    """Whether the schema is what this program needs; exit code 1 if not. It only looks."""
    from foreshock.service.settings import load_settings
    from foreshock.store import migrations
    from foreshock.store.store import Store

    settings = load_settings(config, os.environ, {})
    if settings.store_url.startswith("sqlite") and not (settings.state / "foreshock.db").exists():
        raise ForeshockError(f"there is no store in {settings.state} yet", hint="`foreshock run` makes one")
    store = Store(settings.store_url)
    found = migrations.current(store.migration_engine)
    differences = migrations.differences(store.migration_engine) if found == migrations.HEAD else []
    if found != migrations.HEAD or differences:
        print_lines(
            f"the schema is at {found or 'nothing'}, this program needs {migrations.HEAD}; run `foreshock db upgrade`",
            *differences,
        )
        leave(FAILED)
    print_lines(f"the schema is at {found}, as it should be")
