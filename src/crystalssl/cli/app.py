"""The application: which commands there are, and how an error becomes one message.

Commands live in the other files of this package; heavy imports (torch) happen inside them, so
that ``crystalssl --help`` answers at once.
"""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from crystalssl.cli import configure, convert, evaluate, info, learn, mixing, run, scale
from crystalssl.cli.console import error_console
from crystalssl.errors import CrystalSSLError

DEBUG = "--debug"
"""Option that shows tracebacks; valid at any place of the command line."""


class Messages(TyperGroup):
    """The group of all commands; what a user can cause ends as one message and exit code 2."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Take ``--debug`` from any place of the arguments, then run as usual."""
        given = extra.pop("args", args[0] if args else None)
        words = list(sys.argv[1:] if given is None else given)
        chosen = [word for word in words if word != DEBUG]
        if len(chosen) < len(words):
            chosen.insert(0, DEBUG)
        return super().main(chosen, *args[1:], **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; without ``--debug`` hide warnings and tracebacks."""
        if ctx.params.get("debug"):
            return super().invoke(ctx)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return super().invoke(ctx)
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            error_console.print(how_to_go_on(self.commands.get(ctx.invoked_subcommand or "")))
            raise typer.Exit(130) from None
        except Exception as error:
            if hasattr(error, "exit_code"):  # typer's own: a wrong option, with usage
                raise
            message, code = describe(error)
        error_console.print(f"[bold red]Error:[/] {escape(message)}", soft_wrap=True)
        raise typer.Exit(code)


def how_to_go_on(command: Any) -> str:
    """What to say when a command was stopped, after what it can take up again."""
    if command is not None and any(option.name == "resume" for option in command.params):
        return "Stopped. The same command with --resume goes on from the last finished epoch."
    if command is not None and command.name == "run":
        return "Stopped. Finished stages are kept; the same command again does the rest."
    return "Stopped."


def describe(error: Exception) -> tuple[str, int]:
    """What to say about an error, and the exit code: 2 where the user can mend it, else 1."""
    if isinstance(error, CrystalSSLError):
        return str(error), 2
    if isinstance(error, OSError):
        return describe_os_error(error), 2
    name = type(error).__name__
    return f"{name}: {error}. This should not happen; {DEBUG} shows where, please report it.", 1


def describe_os_error(error: OSError) -> str:
    """One sentence for a failed file operation: what, where, what to do."""
    place = error.filename if error.filename is not None else "a file"
    reason = error.strerror or str(error) or type(error).__name__
    return f"Cannot use {place}: {reason}. Check that it exists and that you may read or write it."


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
app.command(rich_help_panel=MAIN)(run.run)
app.command(rich_help_panel=FILES)(convert.convert)
app.command(rich_help_panel=FILES)(convert.ftcp)
app.command(rich_help_panel=FILES)(convert.panel)
app.command(rich_help_panel=FILES)(scale.generate)
app.command(rich_help_panel=LEARN)(learn.pretrain)
app.command(rich_help_panel=LEARN)(learn.extract)
app.command(rich_help_panel=LEARN)(mixing.bottleneck)
app.command(rich_help_panel=LEARN)(scale.featurize_corpus)
app.add_typer(evaluate.app, name="evaluate", rich_help_panel=LOOK)
app.command(rich_help_panel=LOOK)(evaluate.report)
app.add_typer(info.app, name="info", rich_help_panel=LOOK)
app.add_typer(configure.app, name="config", rich_help_panel=LOOK)


def main() -> None:
    """Entry point of the ``crystalssl`` program."""
    app()
