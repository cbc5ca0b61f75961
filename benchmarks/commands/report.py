"""`dreamsim-bench report`."""

import argparse


def _report(arguments: argparse.Namespace) -> None:
    from benchmarks.report.page import write_report
    from benchmarks.report.personalization import is_scored, write_personalization_report

    write = write_personalization_report if is_scored(arguments.folder) else write_report
    print(write(arguments.folder, out=arguments.out))
