"""The application: which commands there are, and how an error becomes one message.

Commands live in the other files of this package; heavy imports happen inside them, so that
``crystalssl --help`` answers at once.
"""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from crystalssl import pipeline
from crystalssl.cli import info, options
from crystalssl.cli.commands import command
from crystalssl.cli.console import error_console, say
from crystalssl.errors import CrystalSSLError, printable
from crystalssl.pipeline.scenarios import SCENARIOS
from crystalssl.processes import EXIT_TERMINATED, Terminated, stop_on_sigterm

DEBUG = "--debug"
"""Option that shows tracebacks; valid at any place of the command line."""
INTERRUPTED = 130
"""Exit code of a command that Ctrl-C has stopped."""


class Messages(TyperGroup):
    """The group of all commands; what a user can cause ends as one message and exit code 2."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Take ``--debug`` from any place and old spellings of options, then run as usual."""
        given = extra.pop("args", args[0] if args else None)
        words = [_renamed(word) for word in (sys.argv[1:] if given is None else given)]
        chosen = [word for word in words if word != DEBUG]
        if len(chosen) < len(words):
            chosen.insert(0, DEBUG)
        return super().main(chosen, *args[1:], **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; without ``--debug`` hide warnings and tracebacks."""
        with stop_on_sigterm():
            try:
                if ctx.params.get("debug"):
                    return super().invoke(ctx)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    return super().invoke(ctx)
            except (typer.Exit, typer.Abort, BrokenPipeError):
                raise
            except KeyboardInterrupt as stop:
                error_console.print(f"Stopped. {STOPPED.get(ctx.invoked_subcommand, '')}".rstrip())
                code = EXIT_TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
                raise typer.Exit(code) from None
            except Exception as error:
                if ctx.params.get("debug") or hasattr(error, "exit_code"):
                    raise  # typer's own have an exit code: a wrong option, with usage
                message, code = describe(error)
        message = "\n".join(map(printable, message.split("\n")))  # it may quote what a file holds
        error_console.print("[bold red]Error:[/] ", end="")
        error_console.print(message, markup=False, soft_wrap=True)
        raise typer.Exit(code)


def _renamed(word: str) -> str:
    """An option by its present name."""
    name, equals, value = word.partition("=")
    return f"{options.RENAMED.get(name, name)}{equals}{value}"


STOPPED = {
    "pretrain": "The same command again goes on from the last finished epoch.",
    "run": "Finished stages are kept; the same command again does the rest.",
    "fit": "Finished fits are kept; the same command again does the rest.",
    "evaluate": "What is finished is kept; the same command again does the rest.",
    "fetch": "What came so far is kept; the same command again goes on.",
    "featurize-corpus": "Finished shards are kept; the same command again does the rest.",
}
"""How to go on after a command was stopped."""


def describe(error: Exception) -> tuple[str, int]:
    """What to say about an error, and the exit code: 2 where the user can mend it, else 1."""
    if isinstance(error, CrystalSSLError):
        return str(error), 2
    if isinstance(error, OSError):
        return describe_os_error(error), 2
    if isinstance(error, MemoryError):
        return f"Not enough memory ({error}). Give fewer structures at a time.", 2
    name = type(error).__name__
    return f"{name}: {error}. This should not happen; {DEBUG} shows where, please report it.", 1


def describe_os_error(error: OSError) -> str:
    """One sentence for a failed file operation: what, where, what to do."""
    file = error.filename if error.filename is not None else "a file"
    reason = error.strerror or str(error) or type(error).__name__
    return f"Cannot use {file}: {reason}. Check that it exists and that you may read or write it."


def show_version(wanted: bool) -> None:
    """Print the version and stop, when asked."""
    if wanted:
        from crystalssl import __version__

        typer.echo(__version__)
        raise typer.Exit


def start(
    debug: Annotated[bool, typer.Option(DEBUG, help="Show tracebacks and warnings.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=show_version)
    ] = False,
) -> None:
    """Label-free pre-training for crystals: files in, 2,048 features per crystal out."""


app = typer.Typer(
    name="crystalssl",
    cls=Messages,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.callback()(start)

MAIN, FILES, LEARN, LOOK = "The whole pipeline", "Structures", "Learning", "Results and settings"
PROPERTIES = "Property models"
SEARCH = "Search and choice"


def show_results(results: Any) -> None:
    """Print the results of an evaluation."""
    from crystalssl.cli.results import show

    show(results)


def show_run(result: Any) -> None:
    """Print the comparison of a run, and where its page is."""
    if result.linear_probe is not None:
        show_results(result.linear_probe)
    say(f"Report: {result.report}")


def show_listed(result: Any) -> None:
    """Print what a search or a choice lists."""
    from crystalssl.cli.listed import show

    show(result)


def show_weights(result: Any) -> None:
    """Print where trained weights are."""
    say(f"Weights: {result.folder}")


def add(name: str, call: Any, panel: str | None = None, to: typer.Typer = app) -> None:
    """Add a command."""
    to.command(name, rich_help_panel=panel)(call)


TABLE, ARRAY = {"out": options.TABLE}, {"out": options.ARRAY}
add("run", command(pipeline.run, show=show_run, structures=options.BUNDLED), MAIN)
add("convert", command(pipeline.convert, required=["out"], **TABLE), FILES)
add("fetch", command(pipeline.fetch, required=["out"], query=options.SOURCE_QUERY, **TABLE), FILES)
add("ftcp", command(pipeline.write_ftcp, **ARRAY), FILES)
add("panel", command(pipeline.write_panel, **ARRAY), FILES)
add("generate", command(pipeline.generate, structures=options.BUNDLED, **TABLE), FILES)
add("pretrain", command(pipeline.pretrain, show=show_weights), LEARN)
OF_EXTRACT = {"out": options.FEATURES_FILE, "level": options.LEVEL_OF_ROWS}
add("extract", command(pipeline.extract_to, without=["device"], **OF_EXTRACT), LEARN)
add("bottleneck", command(pipeline.train_bottleneck, structures=options.LABELLED), LEARN)
add("featurize-corpus", command(pipeline.featurize_corpus, out=options.SHARDS_OUT), LEARN)
sharing = {"weights": options.SHARED_WEIGHTS, "target": options.PUSH_TARGET}
add("push", command(pipeline.push, **sharing), LEARN)
OF_FIT = {
    "out": options.MODEL_OUT, "target": options.PROPERTY, "repeats": options.REPEATS,
    "task": options.TASK,
}  # fmt: skip
predict = command(pipeline.predict, required=["out"], out=options.PREDICTIONS, without=["device"])
explain = command(pipeline.explain, required=["out"], out=options.SHARES, without=["device"])
add("fit", command(pipeline.fit, without=["device"], **OF_FIT), PROPERTIES)
add("predict", predict, PROPERTIES)
add("explain", explain, PROPERTIES)
for listing in (pipeline.neighbors, pipeline.duplicates, pipeline.novelty):
    options_of = {"structures": options.THEIR_STRUCTURES, "out": options.RESULT}
    add(listing.__name__, command(listing, show=show_listed, **options_of), SEARCH)
choosing = {
    "structures": options.STRUCTURES_OR_FEATURES, "out": options.RESULT,
    "model": options.UNCERTAIN_MODEL,
}  # fmt: skip
add("select", command(pipeline.select, show=show_listed, **choosing), SEARCH)
evaluate = typer.Typer(help="Measure features against labels and baselines.")
UNUSED = {"ablation": ["also", "shared"], "shap-share": ["also", "untrained", "symprec"]}
for name, kind in SCENARIOS.items():
    further = {"untrained_features": options.UNTRAINED_FILE} if name == "ablation" else {}
    call = command(
        pipeline.evaluate, scenario=kind, show=show_results, structures=options.LABELLED,
        without=UNUSED.get(name, ()), **further,
    )  # fmt: skip
    add(name, call, to=evaluate)
add("matbench", command(pipeline.matbench, show=show_results), to=evaluate)
app.add_typer(evaluate, name="evaluate", rich_help_panel=LOOK)
report = command(pipeline.report, features=options.MAP_FEATURES, structures=options.MAP_FILE)
add("report", report, LOOK)
look = command(pipeline.write_map, out=options.MAP_OUT, structures=options.MAP_STRUCTURES)
add("map", look, LOOK)
app.add_typer(info.app, name="info", rich_help_panel=LOOK)
app.add_typer(info.settings, name="config", rich_help_panel=LOOK)


def main() -> None:
    """Entry point of the ``crystalssl`` program."""
    app()
