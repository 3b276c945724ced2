"""`inv check-certs` without the command line: the check, its progress, and the report in the requested format."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshfab.cli.interpreter import garbage_collector_paused, quick_thread_switches
from meshfab.config.settings import Settings
from meshfab.errors import InputError
from meshfab.fleet import check_certs, executors, portable_config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshfab.checks.report import Look, Report
    from meshfab.cli.watch import Check

# The module that renders a report as text; the table is not here, since it depends on the terminal.
_RENDERERS = {
    "json": "meshfab.cli.json_report",
    "prometheus": "meshfab.cli.prometheus",
    "html": "meshfab.cli.html_report",
}
FORMATS = ("table", *_RENDERERS)


@dataclass(frozen=True)
class Options:
    """The options of the command.

    Attributes:
        form: one of FORMATS.
        output: the file to write; empty for stdout.
        executor: where the hosts are checked: auto, threads, processes or dask://HOST:PORT.
        quick: read what the hosts publish, without sudo.
        outside: ask TLS clients and DNS only, without SSH.
        watch: seconds between two rounds, as text; empty for one round.
    """

    form: str = "table"
    output: str = ""
    executor: str = "auto"
    quick: bool = False
    outside: bool = False
    watch: str = ""

    def __post_init__(self) -> None:
        """Check what can be checked before anything is connected."""
        if self.form not in FORMATS:
            raise InputError(f"--format {self.form!r} is unknown", remedy=f"use one of {', '.join(FORMATS)}")
        if self.output and not Path(self.output).absolute().parent.is_dir():
            what = f"the folder of --output {self.output} does not exist"
            raise InputError(what, remedy="create it, or choose another file")
        if self.quick and self.outside:
            raise InputError("--quick and --outside are two different looks", remedy="give one of them")
        if self.watch and self.form in ("prometheus", "html") and not self.output:
            raise InputError(f"--watch with --format {self.form} needs a file", remedy="add --output FILE")
        if self.watch and self.executor not in ("auto", "threads"):
            what = "--watch keeps the connections, and those of other processes cannot be kept"
            raise InputError(what, remedy="leave out --executor")

    @property
    def look(self) -> Look:
        """How closely to look."""
        return "quick" if self.quick else "outside" if self.outside else "full"


def run(config: Any, hosts: Sequence[str], options: Options) -> int:
    """Check the hosts, print or write the report, and return the exit status.

    Args:
        config: Invoke's configuration.
        hosts: the hosts to check; empty for those of the settings and of the declared services.
        options: the other options.

    Raises:
        InputError: an argument cannot be used. Nothing was connected yet.
    """
    settings = Settings.load(config)
    names = check_certs.requested_hosts(hosts, settings, options.look)
    if options.watch:
        report = _watch(config, settings, names, options)
    else:
        # Many hosts leave more behind than there is memory to spare.
        with garbage_collector_paused() if len(names) <= settings.parallel else nullcontext():
            report = _once(config, settings, names, options)
    if report.was_interrupted:
        # A normal exit would wait for hosts that hang until their deadlines. Nothing needs to be cleaned up: the
        # shells on the hosts only read, and end with their connections.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(report.exit_status)
    return report.exit_status


def _once(config: Any, settings: Settings, names: Sequence[str], options: Options) -> Report:
    with ExitStack() as stack, quick_thread_switches():
        check = _checker(stack, config, settings, names, options)
        report = check(with_progress=True)
    _show(report, options)
    return report


def _checker(stack: ExitStack, config: Any, settings: Settings, names: Sequence[str], options: Options) -> Check:
    """A function that checks all hosts once; what it needs for that is closed with the stack."""
    shells = pool = None
    if options.watch:
        from meshfab.ssh.session import KeptShells

        shells = stack.enter_context(KeptShells())
    if options.look != "outside":
        wanted = "threads" if options.watch else options.executor
        choice = executors.choose(wanted, len(names), executors.cores(), portable_config.packed(config)[1])
        pool = stack.enter_context(executors.opened(choice, len(names), settings.parallel))
    check = partial(
        check_certs.check_certs,
        names,
        settings=settings,
        config=config,
        executor=pool,
        look=options.look,
        shells=shells,
        on_asked=partial(_import_form, options),
    )

    def checked(*, with_progress: bool) -> Report:
        if not with_progress or not sys.stderr.isatty():
            return check()
        from meshfab.cli.progress import Progress

        with_table = options.form == "table" and not options.output and sys.stdout.isatty()
        now = datetime.now(timezone.utc)
        with Progress(now, len(names), with_table=with_table, look=options.look) as progress:
            return check(on_result=progress.on_result)

    return checked


def _import_form(options: Options) -> None:
    """Import what shows the report, while the hosts have not answered yet."""
    if options.form in _RENDERERS:
        import_module(_RENDERERS[options.form])
    else:
        from meshfab.cli import table

        table.import_rich()


def _watch(config: Any, settings: Settings, names: Sequence[str], options: Options) -> Report:
    from meshfab.cli import watch

    seconds = watch.interval(options.watch)
    as_objects = options.form == "json" or not sys.stdout.isatty()

    def on_round(report: Report) -> None:
        if options.output:
            _write(report, options)

    def show(report: Report) -> None:
        if as_objects:
            watch.print_object(report)
        else:
            _show(report, Options())

    with ExitStack() as stack:
        check = _checker(stack, config, settings, names, options)
        return watch.watch(check, seconds, show, on_round, as_objects=as_objects)


def _show(report: Report, options: Options) -> None:
    if options.output:
        _write(report, options)
    elif options.form == "table":
        from meshfab.cli import table

        table.show(report, table.console())
    else:
        sys.stdout.write(_render(report, options.form))


def _write(report: Report, options: Options) -> None:
    """Replace the file of `--output`; a page says what is new since the one that it replaces."""
    file = Path(options.output)
    if options.form != "html":
        replace(file, _render(report, options.form))
        return
    from meshfab.cli import html_report, page_state

    try:
        with file.open(encoding="utf-8", errors="replace") as old:
            previous = old.read(page_state.MAX_PAGE)
    except OSError:
        previous = ""
    replace(file, html_report.text(report, previous))


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


def _render(report: Report, form: str) -> str:
    if form in _RENDERERS:
        text: str = import_module(_RENDERERS[form]).text(report)
        return text
    from meshfab.cli import table

    out = StringIO()
    table.show(report, table.console(out))
    return out.getvalue()
