"""`inv check-certs` without the command line: the sweep, a live line while it goes on, and the report in its form."""

from __future__ import annotations

import os
import sys
import tempfile
from datetime import datetime, timezone
from functools import partial
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshfab.config.settings import Settings
from meshfab.errors import InputError
from meshfab.fleet import check_certs, executors, portable_config

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from meshfab.checks.report import Report

# The module that makes a text of a report; the table is not one text, since it differs on a terminal.
_TEXTS = {"json": "meshfab.cli.json_report", "prometheus": "meshfab.cli.prometheus", "html": "meshfab.cli.html_report"}
FORMATS = ("table", *_TEXTS)


def run(config: Any, hosts: Sequence[str], form: str, output: str, executor: str = "auto") -> int:
    """Sweep the fleet, print or write the report, and return the exit status.

    Args:
        config: Invoke's configuration.
        hosts: whom to ask; none for the hosts of the settings.
        form: one of FORMATS.
        output: a file to replace; empty for stdout.
        executor: where the work runs: auto, threads, processes or dask://HOST:PORT.

    Raises:
        InputError: a word cannot be used; nothing was connected.
    """
    if form not in FORMATS:
        raise InputError(f"--format {form!r} is unknown", remedy=f"use one of {', '.join(FORMATS)}")
    if output and not Path(output).absolute().parent.is_dir():
        raise InputError(f"the folder of --output {output} does not exist", remedy="make it, or name another file")
    settings = Settings.load(config)
    names = check_certs.asked(hosts, settings)
    choice = executors.choose(executor, len(names), executors.cores(), portable_config.packed(config)[1])
    with executors.opened(choice, len(names), settings.parallel) as pool:
        report = _swept(config, settings, names, pool, with_table=form == "table" and not output)
    if output:
        replace(Path(output), _text(report, form))
    elif form == "table":
        from meshfab.cli import table

        table.show(report, table.console())
    else:
        sys.stdout.write(_text(report, form))
    if report.was_interrupted:
        # Hosts that hang would keep the process for as long as their deadlines. Nothing is under way that needs an
        # end of its own: the shells on the hosts read only, and end with their connections.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(report.exit_status)
    return report.exit_status


def replace(file: Path, text: str) -> None:
    """Put a text in the place of a file at once: who reads it meanwhile, such as a collector, gets one or the other.

    Raises:
        InputError: it cannot be written.
    """
    part = ""
    try:
        # The name does not end as the file's does: a collector takes up whatever does.
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=file.absolute().parent, prefix=f".{file.name}.", delete=False
        ) as out:
            part = out.name
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
            # The collector runs as another user.
            os.fchmod(out.fileno(), 0o644)
        Path(part).replace(file)
    except OSError as error:
        if part:
            Path(part).unlink(missing_ok=True)
        raise InputError(f"{file} cannot be written ({error.strerror})", remedy="name another --output") from None


def _swept(config: Any, settings: Settings, names: Sequence[str], pool: Executor, *, with_table: bool) -> Report:
    sweep = partial(check_certs.check_certs, names, settings=settings, config=config, executor=pool)
    if not sys.stderr.isatty():
        return sweep()
    from meshfab.cli.progress import Progress

    now, with_table = datetime.now(timezone.utc), with_table and sys.stdout.isatty()
    with Progress(now, len(names), with_table=with_table) as progress:
        return sweep(tell=progress.tell)


def _text(report: Report, form: str) -> str:
    if form in _TEXTS:
        made: str = import_module(_TEXTS[form]).text(report)
        return made
    from meshfab.cli import table

    out = StringIO()
    table.show(report, table.console(out))
    return out.getvalue()
