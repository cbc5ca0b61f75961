"""Commands of a study, `dreamsim-data study` to `validate`: from pictures to answers."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

from dreamsim_metric.bounds import check_least
from dreamsim_metric.commands.names import check_folder
from dreamsim_metric.commands.options import add_option
from dreamsim_metric.commands.output import Output
from dreamsim_metric.commands.parser import Parser
from dreamsim_metric.commands.program import Command


def _add_study(to: Parser) -> None:
    _add_questions(to)
    _add_people(to)
    add_option(to, "--seed")


def _add_questions(to: Parser) -> None:
    to.add_argument("pictures", type=Path, metavar="DIR", help="folder that `generate` wrote to")
    add_option(to, "--out", required=True, help="new folder for the study")
    to.add_argument(
        "--rounds",
        type=int,
        nargs="+",
        metavar="N",
        help="votes that each round adds; only what is unanimous goes on (default: 3)",
    )
    to.add_argument("--trials", type=int, metavar="N", help="questions that a rater is asked (default: 50)")
    to.add_argument("--practice", type=int, metavar="N", help="screens with feedback at the beginning (default: 2)")
    to.add_argument(
        "--sentinel-every",
        type=int,
        metavar="N",
        help="questions among which one is obvious; 0 for none (default: 10)",
    )
    to.add_argument(
        "--tolerance-ms",
        type=float,
        metavar="N",
        help="milliseconds by which a picture of a pair may be shown longer or shorter than 500 (default: 50)",
    )
    to.add_argument(
        "--lease-minutes",
        type=float,
        metavar="N",
        help="minutes after which an open question is given to another rater (default: 20)",
    )


def _add_people(to: Parser) -> None:
    to.add_argument(
        "--min-sentinels",
        type=float,
        metavar="N",
        help="share of the obvious questions to be right on; a rater below it does not count (default: 0.75)",
    )
    to.add_argument(
        "--min-answers",
        type=int,
        metavar="N",
        help="answers from which on a rater counts, unless there was nothing left to ask them (default: 10)",
    )
    to.add_argument(
        "--min-wait-ms",
        type=float,
        metavar="N",
        help="milliseconds after being asked, by the server's clock, sooner than which an answer does not count; for "
        "pairs, beside those that they are shown for; 0 for any (default: 500)",
    )
    to.add_argument(
        "--new-raters",
        type=int,
        metavar="N",
        help="raters who may begin in a minute, all together, beside those with an invitation (default: 60)",
    )
    to.add_argument(
        "--require",
        choices=("nothing", "id", "invitation"),
        help="what a rater has to have: an id of a recruiting service, or an invitation of `invite` (default: nothing)",
    )
    to.add_argument(
        "--participant",
        nargs="+",
        metavar="NAME",
        help="names in the address under which a recruiting service gives a rater's id (default: those of Prolific, "
        "CloudResearch, MTurk and SONA)",
    )


def run_study(arguments: Namespace) -> Output:
    """Write down what people are to judge."""
    check_folder(arguments.pictures)

    from data_tools.study import STUDY, Study

    asked = ("trials", "practice", "sentinel_every", "tolerance_ms", "lease_minutes", "seed")
    names = (*asked, "min_sentinels", "min_answers", "min_wait_ms", "new_raters", "require")
    options: dict[str, Any] = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    for name in ("rounds", "participant"):
        if getattr(arguments, name):
            options[name] = tuple(getattr(arguments, name))
    made = replace(Study.of(arguments.pictures), **options)
    count = sum(item.kind == "main" for item in made.items())
    made.write(arguments.out)
    file, kind = arguments.out / STUDY, "triplets" if made.task == "2afc" else "pairs"
    said = [f"{file}: {count} {kind}; its texts are yours to edit", f"dreamsim-data serve {arguments.out}"]
    return Output([{"written": str(file), "task": made.task, "questions": count}], lambda rows: said)


def _add_folder(to: Parser) -> None:
    to.add_argument("folder", type=Path, metavar="STUDY", help="folder of the study, which `study` wrote")


def _add_serve(to: Parser) -> None:
    _add_folder(to)
    to.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen at; 0.0.0.0 for all")
    to.add_argument(
        "--allow-host",
        nargs="+",
        default=[],
        metavar="NAME",
        help="names of this server in the addresses that people use, beside localhost and numeric addresses",
    )
    to.add_argument("--port", type=int, default=8000, metavar="N", help="port to listen at; 0 for any")


def run_serve(arguments: Namespace) -> None:
    """Serve the page until interrupted."""
    _read(arguments.folder)

    from data_tools.listening import bind, run, write_address
    from data_tools.server import create_app, make_link

    hosts = [] if arguments.host in ("0.0.0.0", "::") else [arguments.host]
    app = create_app(arguments.folder, [*hosts, *arguments.allow_host])
    try:
        with bind(arguments.host, arguments.port) as bound:
            address = write_address(bound)
            print(f"people:  {address}/")
            print(f"for you: {address}{make_link(arguments.folder)}", flush=True)
            run(app, bound)
    finally:
        app.state.votes.close()


def _add_invite(to: Parser) -> None:
    _add_folder(to)
    to.add_argument("count", type=int, metavar="N", help="how many people to invite")
    to.add_argument("--url", default="http://127.0.0.1:8000/", metavar="URL", help="address at which it is served")


def invite(arguments: Namespace) -> Output:
    """Make links, each for one person."""
    check_least("N", arguments.count)
    _read(arguments.folder)

    import secrets

    from data_tools.names import Names
    from data_tools.secret import STUDY_SECRET, read_secret

    names, url = Names(read_secret(arguments.folder / STUDY_SECRET)), arguments.url.rstrip("/")
    made = [f"{url}/?invitation={names.invitation(secrets.token_hex(8))}" for _ in range(arguments.count)]
    return Output([{"link": link} for link in made], lambda rows: made)


def _add_backup(to: Parser) -> None:
    _add_folder(to)
    to.add_argument("file", type=Path, metavar="FILE", help="file to write or replace")


def run_backup(arguments: Namespace) -> Output:
    """Copy the votes into one file, while raters answer or not."""
    _read(arguments.folder, votes=True)

    from data_tools.ledger import copy_votes

    responses = copy_votes(arguments.folder, arguments.file)
    said = f"{arguments.file}: {responses} responses"
    return Output([{"written": str(arguments.file), "responses": responses}], lambda rows: [said])


def _add_simulate(to: Parser) -> None:
    _add_folder(to)
    to.add_argument("--url", default="http://127.0.0.1:8000", metavar="URL", help="address at which it is served")
    to.add_argument("--raters", type=int, default=10, metavar="N", help="raters who take part")
    to.add_argument("--noise", type=float, default=0.05, metavar="N", help="noise of a decision, in units of distance")
    to.add_argument("--careless", type=float, default=0.0, metavar="N", help="share of raters who never look")
    add_option(to, "--seed")


def run_simulate(arguments: Namespace) -> Output:
    """Let a model of noisy raters answer."""
    _read(arguments.folder)

    from data_tools.simulation import Observer, simulate

    observer = Observer(noise=arguments.noise, careless=arguments.careless, seed=arguments.seed)
    answered = simulate(arguments.url, arguments.folder, arguments.raters, observer)
    said = f"{arguments.raters} simulated raters answered {answered} screens"
    return Output([{"raters": arguments.raters, "screens": answered}], lambda rows: [said])


def _add_votes(to: Parser) -> None:
    _add_folder(to)
    to.add_argument(
        "--min-ms", type=float, default=0.0, metavar="N", help="milliseconds below which an answer does not count"
    )
    to.add_argument(
        "--max-quick",
        type=float,
        default=1.0,
        metavar="N",
        help="largest share of such answers of a rater; one with more does not count",
    )
    to.add_argument(
        "--tolerance-ms",
        type=float,
        metavar="N",
        help="milliseconds by which a picture of a pair may have been shown longer or shorter than 500; inf for any "
        "(default: the study's)",
    )


def _add_raters(to: Parser) -> None:
    _add_folder(to)
    to.add_argument(
        "participants", nargs="*", metavar="ID", help="ids that a recruiting service gave (default: all raters)"
    )


def run_raters(arguments: Namespace) -> Output:
    """Find who took part, to pay them."""
    held = _read(arguments.folder, votes=True)

    from data_tools.participants import hash_participant
    from data_tools.votes import read_raters

    found = read_raters(arguments.folder, held)
    if arguments.participants:
        by_token = {row["participant"]: row for row in found}
        nobody = {"rater": "", "code": "", "participant": "", "screens": 0}
        tokens = {one: hash_participant(arguments.folder, one) for one in arguments.participants}
        found = [{"id": one, **by_token.get(token, nobody)} for one, token in tokens.items()]
    return Output(found, lambda rows: ("  ".join(str(value or "–") for value in row.values()) for row in rows))


def _add_stats(to: Parser) -> None:
    _add_votes(to)
    add_option(to, "--out", help="picture of the figures to write, .png or .svg")


def run_stats(arguments: Namespace) -> Output:
    """Measure how much people agree."""
    _read(arguments.folder, votes=True)

    from data_tools.stats import format_lines, measure, plot

    found = measure(arguments.folder, arguments.min_ms, arguments.max_quick, tolerance_ms=arguments.tolerance_ms)
    if arguments.out:
        plot(found, arguments.out)
    return Output([found], lambda rows: format_lines(found), single=True)


def _add_collect(to: Parser) -> None:
    _add_votes(to)
    add_option(to, "--out", required=True, help="new folder for the data set")
    add_option(
        to,
        "--min-votes",
        type=int,
        help="fewest votes of a triplet or pair; others are left out (default: those of all rounds; pairs: 1)",
    )
    to.add_argument("--disputed", action="store_true", help="keep triplets that people disagree on")


def run_collect(arguments: Namespace) -> Output:
    """Write what people agree on as a data set."""
    _read(arguments.folder, votes=True)

    from data_tools.collection import collect

    found = collect(
        arguments.folder,
        arguments.out,
        quick_ms=arguments.min_ms,
        max_quick=arguments.max_quick,
        tolerance_ms=arguments.tolerance_ms,
        min_votes=arguments.min_votes,
        disputed=arguments.disputed,
    )
    return Output([found], lambda rows: (f"{name:10} {value}" for name, value in found.items()), single=True)


def _add_validate(to: Parser) -> None:
    to.add_argument("folder", type=Path, metavar="DIR", help="folder with data.csv, jnd.csv or both")
    to.add_argument("--shared-pictures", action="store_true", help="allow pictures that several splits show")


def run_validate(arguments: Namespace) -> Output:
    """Look for everything that is wrong with a data set."""
    check_folder(arguments.folder)

    from data_tools.validate import validate, write_line

    found = validate(arguments.folder, shared_pictures=arguments.shared_pictures)
    return Output(found, lambda rows: map(write_line, rows))


def _read(folder: Path, votes: bool = False) -> Any:
    """The study of a folder, which holds votes where they are asked for: known before pandas is imported."""
    from data_tools.study import Study

    held = Study.read(folder)
    if votes:
        from data_tools.ledger import check_votes

        check_votes(folder)
    return held


COMMANDS = (
    Command("study", "what people are to judge of the pictures", run_study, _add_study),
    Command(
        "serve",
        "the page where people judge, and the server that keeps their votes",
        run_serve,
        _add_serve,
        prints=False,
    ),
    Command("invite", "links to send to people, each for one", invite, _add_invite),
    Command("backup", "all votes in one file, while they are taken or not", run_backup, _add_backup),
    Command("simulate", "answers of a model of noisy raters, to try a study; no people's", run_simulate, _add_simulate),
    Command("raters", "who took part, with codes and participants, to pay them", run_raters, _add_raters),
    Command("stats", "how much people agree", run_stats, _add_stats),
    Command("collect", "what people agree on, as a data set to train on", run_collect, _add_collect),
    Command("validate", "everything that is wrong with a data set", run_validate, _add_validate),
)
