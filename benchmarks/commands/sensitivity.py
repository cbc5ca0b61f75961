"""`dreamsim-bench sensitivity`."""

import argparse

from benchmarks.commands.options import asked_for, print_table_json, quick_without_network


def _sensitivity(arguments: argparse.Namespace) -> None:
    with quick_without_network():
        from benchmarks.sensitivity.changes import read_scenes
        from benchmarks.sensitivity.run import print_ranking, run

        makers, options = asked_for(arguments)
        command = ["dreamsim-bench", *arguments.command]
        table = run(makers, read_scenes(arguments.pictures), arguments.out, options=options, command=command)
    if arguments.json:
        print_table_json(table)
    elif len(table):
        print_ranking(table)
