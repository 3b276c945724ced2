"""`inv check-certs` without the command line: the check, its progress, and the report in the requested format."""

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

# The module that renders a report as text; the table is not here, since it depends on the terminal.
_RENDERERS = {
    "json": "meshfab.cli.json_report",
    "prometheus": "meshfab.cli.prometheus",
    "html": "meshfab.cli.html_report",
}
FORMATS = ("table", *_RENDERERS)


def run(config: Any, hosts: Sequence[str], form: str, output: str, executor: str = "auto") -> int:
    """Check the hosts, print or write the report, and return the exit status.

    Args:
        config: Invoke's configuration.
        hosts: the hosts to check; empty for those of the settings and of the declared services.
        form: one of FORMATS.
        output: the file to write; empty for stdout.
        executor: where the hosts are checked: auto, threads, processes or dask://HOST:PORT.

    Raises:
        InputError: an argument cannot be used. Nothing was connected yet.
    """
    if form not in FORMATS:
        raise InputError(f"--format {form!r} is unknown", remedy=f"use one of {', '.join(FORMATS)}")
    if output and not Path(output).absolute().parent.is_dir():
        raise InputError(f"the folder of --output {output} does not exist", remedy="create it, or choose another file")
    settings = Settings.load(config)
    names = check_certs.requested_hosts(hosts, settings)
    choice = executors.choose(executor, len(names), executors.cores(), portable_config.packed(config)[1])
    with executors.opened(choice, len(names), settings.parallel) as pool:
        report = _check(config, settings, names, pool, with_table=form == "table" and not output)
    if output:
        replace(Path(output), _render(report, form))
    elif form == "table":
        from meshfab.cli import table

        table.show(report, table.console())
    else:
        sys.stdout.write(_render(report, form))
    if report.was_interrupted:
        # A normal exit would wait for hosts that hang until their deadlines. Nothing needs to be cleaned up: the
        # shells on the hosts only read, and end with their connections.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(report.exit_status)
    return report.exit_status


def replace(file: Path, text: str) -> None:
    """Replace a file's text atomically: a reader, such as a collector, gets the old text or the new one.

    Raises:
        InputError: the file cannot be written.
    """
    part = ""
    try:
        # A collector reads every file with the suffix of the real one; this name has another.
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
        raise InputError(f"{file} cannot be written ({error.strerror})", remedy="choose another --output") from None


def _check(config: Any, settings: Settings, names: Sequence[str], pool: Executor, *, with_table: bool) -> Report:
    check = partial(check_certs.check_certs, names, settings=settings, config=config, executor=pool)
    if not sys.stderr.isatty():
        return check()
    from meshfab.cli.progress import Progress

    now, with_table = datetime.now(timezone.utc), with_table and sys.stdout.isatty()
    with Progress(now, len(names), with_table=with_table) as progress:
        return check(on_result=progress.on_result)


def _render(report: Report, form: str) -> str:
    if form in _RENDERERS:
        text: str = import_module(_RENDERERS[form]).text(report)
        return text
    from meshfab.cli import table

    out = StringIO()
    table.show(report, table.console(out))
    return out.getvalue()
