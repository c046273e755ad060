"""The commands about the program itself: `version` and `completion`."""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from gateway.cli.forms import Form, form_of, print_either
from gateway.cli.lines import print_line
from gateway.cli.output import object_json

PROGRAM = "runs-gateway"

Shell = Annotated[Literal["bash", "zsh", "fish"], Parameter(help="The shell to complete commands in.")]


def program_version() -> str:
    """The version of the installed package."""
    from importlib.metadata import version as version_of  # It imports the parser of mails.

    return version_of(PROGRAM)


def version(*, form: Form = None) -> None:
    """Print the version."""
    print_either(form_of(form), object_json(version=program_version()), program_version())


def add_completion(app: App) -> None:
    """Add the command `completion` to a command line, of all whose commands it tells."""

    @app.command
    def completion(shell: Shell, /) -> None:
        """Print a script that lets a shell complete commands and flags.

        In ~/.bashrc: eval "$(runs-gateway completion bash)". In ~/.zshrc, after compinit: source <(runs-gateway
        completion zsh). In ~/.config/fish/config.fish: runs-gateway completion fish | source.
        """
        print_line(app.generate_completion(prog_name=PROGRAM, shell=shell))
