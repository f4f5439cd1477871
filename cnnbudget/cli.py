"""The command line: ``cnnbudget`` and ``python -m cnnbudget``.

Errors are one line on stderr and exit code 2; nothing else is printed there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING

from cnnbudget import __version__
from cnnbudget.errors import CnnBudgetError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        arguments: What follows the command's name; ``None`` takes them from the process.

    Returns:
        The exit code: 0, or 2 after an error of ours.

    Raises:
        SystemExit: From the parser, for ``--help``, ``--version`` and unreadable arguments.

    Example:
        >>> from cnnbudget.cli import main
        >>> main(["textbook"])  # doctest: +ELLIPSIS
        The network
        ===========
        ...
        0
    """
    options = _parser().parse_args(arguments)
    try:
        print(options.run(options))
        sys.stdout.flush()
    except CnnBudgetError as error:
        print(f"cnnbudget: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader (head, less) has seen enough; what is still buffered must not fail at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # a full disk behind the pipe, for example
        print(f"cnnbudget: cannot write the answer: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cnnbudget",
        description="How big is this convolutional network, how much memory does it need, and what makes it fit?",
    )
    parser.add_argument("--version", action="version", version=f"cnnbudget {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="command")
    textbook = commands.add_parser(
        "textbook",
        help="work the textbook's exercise: parameters, memory of a prediction and of training, five cures",
        description="Works the textbook's exercise; every number is computed from the network and derived.",
    )
    textbook.add_argument("--json", action="store_true", help="print the numbers as JSON; byte counts are exact")
    textbook.set_defaults(run=_textbook)
    return parser


def _textbook(options: argparse.Namespace) -> str:
    from cnnbudget.textbook import work  # loads the library; --help and --version need not

    chapter = work()
    return json.dumps(chapter.data(), indent=2) if options.json else str(chapter)
