"""Make the report again from the records of an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tinyrobust.cli._options import console, json_option, write_result


@click.command(short_help="Make the report again from the records of an evaluation.")
@click.argument("records", type=click.Path(path_type=Path), metavar="FOLDER|RECORDS.jsonl")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR",
              help="Folder to write to.  [default: where the records are]")  # fmt: skip
@json_option
def command(records: Path, out: Path | None, json_file: str | None) -> None:
    """Make the report again from the records of an evaluation, finished or not."""
    from tinyrobust import evaluate, report
    from tinyrobust.evaluate import journal
    from tinyrobust.reading import guarded

    found = journal.read(records)
    folder = out or (records if records.is_dir() else records.parent)

    def made() -> Any:
        figures = evaluate.summarise(found)
        return figures, report.write(figures, folder)

    figures, files = guarded(made, records, hint="run `tinyrobust evaluate --fresh`")
    if json_file != "-":
        for path in (files.html, files.markdown, files.json, files.junit):
            console(json_file).print(path, soft_wrap=True)
    write_result(json_file, "report", figures)
