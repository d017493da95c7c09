"""Scan reports as text: the verdict first, then a line a library; a stack of lines where the terminal is narrow."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from shim.arch import Grade
from shim.cli.render.gates import print_gates
from shim.cli.render.kernels import kernel_lines
from shim.cli.render.loose import fit_words, loose_lines
from shim.model import EnvironmentReport, Finding, Fit, LibraryReport, Severity, WheelReport
from shim.scan.codes import GATE_CODES
from shim.scan.verdict import short_names
from shim.scan.words import listing, plural, size_text, span_text

_WIDE: Final = 110  # columns that the table needs to be read without folding everywhere
_PIPE_WIDTH: Final = 140
_SHARES: Final = (24, 22, 14, 16, 12, 12)  # of a hundred, for the columns of the table
_FITS: Final = 3
_STYLE_OF_SEVERITY: Final = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: "dim"}


def print_scan(reports: Sequence[WheelReport], environments: Sequence[EnvironmentReport]) -> None:
    """Write reports to standard output, with colour where it is a terminal that wants it."""
    console = _console()
    for position, report in enumerate(reports):
        if position:
            console.print()
        _print_report(console, report)
    if len(reports) > 1:
        console.print()
        console.print(_overview(reports, console.width))
    for environment in environments:
        _print_environment(console, environment)


def _console() -> Console:
    console = Console(highlight=False, markup=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        return Console(highlight=False, markup=False, width=_PIPE_WIDTH)
    return console


def _print_report(console: Console, report: WheelReport) -> None:
    grade = report.verdict.grade
    title = Text.assemble((f"{report.name} {report.version}".strip(), "bold"), "  ")
    title.append(f" {str(grade).upper()} ", style=f"bold reverse {_colour(grade)}")
    title.append(f"  {_facts(report)}", style="dim")
    console.print(title, soft_wrap=not console.is_terminal)
    console.print(Text(report.headline, style=_colour(grade)))
    for reason in report.verdict.reasons:
        console.print(Padding(Text(f"- {reason}"), (0, 0, 0, 2), expand=False))
    if report.libraries:
        console.print()
        console.print(_table(report, console.width) if console.width >= _WIDE else _stack(report))
        for line in loose_lines(report.libraries):
            console.print(Text(line))
        console.print(Text(_total(report), style="dim"))
    for finding in report.findings:
        if finding.code not in GATE_CODES:
            console.print(_finding(finding))
    print_gates(console, report)
    for line in kernel_lines(report.libraries):
        console.print(Text(line))


def _facts(report: WheelReport) -> str:
    facts = [str(report.subject), size_text(report.size), *report.platforms]
    if report.glibc:
        facts.append(f"glibc {report.glibc} or newer")
    facts.extend(f"CUDA {major} libraries" for major in report.cuda)
    facts.append(f"confidence {report.verdict.confidence}")
    return ", ".join(facts)


def _table(report: WheelReport, width: int) -> Table:
    names = short_names(report.libraries)
    rows = [
        (_name(names, library), _archs(library), _takes(library), _fits(library), _dead(library), library.patch.text)
        for library in _ordered(report.libraries)
    ]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    titles = (
        "library",
        "code in it",
        f"{report.verdict.target.device} takes",
        "containers",
        "dead here",
        "patch would",
    )
    for title, column in zip(titles, _widths(rows, titles, width), strict=True):
        table.add_column(title, overflow="fold", width=column)
    for library, row in zip(_ordered(report.libraries), rows, strict=True):
        style = "" if library.decides else "dim"
        fits = style or _colour(library.grade)
        table.add_row(*(Text(cell, style=fits if place == _FITS else style) for place, cell in enumerate(row)))
    return table


def _widths(rows: Sequence[Sequence[str]], titles: Sequence[str], width: int) -> list[int]:
    """Column widths: each as wide as its content, up to its share of the line; the last takes what is left."""
    natural = [
        max(len(title), *(len(line) for row in rows for line in row[place].splitlines()))
        for place, title in enumerate(titles)
    ]
    room = width - 2 * len(titles)
    widths = [min(wanted, room * share // 100) for wanted, share in zip(natural, _SHARES, strict=True)]
    return [*widths[:-1], min(natural[-1], room - sum(widths[:-1]))]


def _ordered(libraries: Sequence[LibraryReport]) -> list[LibraryReport]:
    """Those that decide first, each part in the order of the package."""
    return sorted(libraries, key=lambda library: not library.decides)


def _stack(report: WheelReport) -> Table:
    """One block of labelled lines a library."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    names = short_names(report.libraries)
    for library in _ordered(report.libraries):
        style = "bold" if library.decides else "dim"
        table.add_row("library", Text(_name(names, library), style=style))
        table.add_row("  code", _archs(library))
        table.add_row("  takes", _takes(library))
        table.add_row("  fits", Text(_fits(library), style=_colour(library.grade)))
        table.add_row("  dead", _dead(library))
        table.add_row("  patch", library.patch.text)
    return table


def _name(names: dict[str, str], library: LibraryReport) -> str:
    name = names[library.member]
    if library.files > 1:
        name = f"{name}\n{library.files:,} files"
    if library.alternative is not None:
        taken = "taken" if library.alternative.decides else "not taken"
        return f"{name}\n{library.alternative.variant} build, {taken}"
    return f"{name}\nstatic, not loaded" if library.static else name


def _archs(library: LibraryReport) -> str:
    parts = [("sm", library.sass), ("PTX", library.ptx), ("LTO", library.lto)]
    return "; ".join(f"{label} {' '.join(archs)}" for label, archs in parts if archs) or "-"


def _takes(library: LibraryReport) -> str:
    if len(library.takes) == 1:
        return library.takes[0].image
    return listing((f"{taken.image} x{taken.containers:,}" for taken in library.takes), limit=6) or "nothing"


def _fits(library: LibraryReport) -> str:
    shown = [(fit, count) for fit, count in library.fits.items() if fit is not Fit.NO_CODE] or library.fits.items()
    return ", ".join(f"{count:,} {fit_words(fit)}" for fit, count in shown)


def _dead(library: LibraryReport) -> str:
    dead, total = size_text(library.dead_bytes), size_text(library.device_code_bytes)
    return "all" if library.dead_bytes == library.device_code_bytes else f"{dead} of {total}"


def _total(report: WheelReport) -> str:
    total = sum(library.device_code_bytes for library in report.libraries)
    used = sum(library.device_code_bytes - library.dead_bytes for library in report.libraries if library.decides)
    dead = total - used
    share = 100 * dead // total if total else 0  # rounded down: 100 % is when nothing loads
    line = f"{size_text(total)} of GPU code, {size_text(dead)} of it ({share} %) never loads on this device"
    costs = [library.jit for library in report.libraries if library.decides and library.jit is not None]
    if costs:
        low, high = sum(cost.seconds_low for cost in costs), sum(cost.seconds_high for cost in costs)
        units = plural(sum(cost.units for cost in costs), "PTX module")
        line += f"; first use compiles {units}, {span_text(low, high)} of CPU time if all are used"
    return line


def _finding(finding: Finding) -> Text:
    text = Text.assemble(
        (f"{finding.severity} {finding.code}", _STYLE_OF_SEVERITY[finding.severity]), f": {finding.text}"
    )
    if finding.evidence:
        text.append(f" ({finding.evidence})", style="dim")
    if finding.hint:
        text.append(f"\n  {finding.hint}")
    return text


def _overview(reports: Sequence[WheelReport], width: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("package", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    table.add_column("", overflow="fold")
    for report in reports:
        grade = report.verdict.grade
        problems = {finding.code: None for finding in report.findings if finding.severity is not Severity.INFO}
        words = report.headline if width >= _WIDE else ""
        if problems:
            words = f"{words} [{', '.join(problems)}]".strip()
        table.add_row(f"{report.name} {report.version}".strip(), Text(str(grade), style=_colour(grade)), Text(words))
    return table


def _print_environment(console: Console, environment: EnvironmentReport) -> None:
    found = plural(len(environment.packages), "package")
    console.print(
        Text.assemble(
            (f"{environment.prefix}", "bold"),
            f": {found} with GPU code or a GPU build, of {environment.distributions:,} installed "
            f"({environment.from_cache:,} known from before)",
        )
    )
    if environment.packages:
        console.print(_overview(environment.packages, console.width))
    for finding in environment.findings:
        console.print(_finding(finding))


def _colour(grade: Grade) -> str:
    if grade >= Grade.SAME_MAJOR:
        return "green"
    if grade >= Grade.JIT or not grade.on_scale:
        return "yellow"
    return "red"
