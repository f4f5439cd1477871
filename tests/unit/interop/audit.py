"""What a reader does to the machine: everything that Python's audit hooks report while it reads one text."""

import sys
from pathlib import Path

# Whatever opens, loads, runs, or talks.
WATCHED = (
    "open",
    "exec",
    "compile",
    "import",
    "os.",
    "socket.",
    "subprocess.",
    "ctypes.",
    "pickle.",
    "shutil.",
    "urllib.",
    "marshal.",
)


def main() -> None:
    """Reads a harmless text first, which loads what the reader is made of, then the one that counts; prints the events."""
    reader, harmless, suspect = sys.argv[1:]
    import cnnbudget.interop
    from cnnbudget.errors import FormatError

    read = getattr(cnnbudget.interop, reader)
    read(Path(harmless))
    events, watching = [], False

    def hook(event: str, arguments: tuple) -> None:
        if watching and event.startswith(WATCHED):
            events.append((event, arguments[:1] if event == "open" else ()))

    sys.addaudithook(hook)
    path = Path(suspect)
    watching = True
    try:
        read(path)
        result = "read"
    except FormatError as error:
        result = f"refused: {error}"
    watching = False
    print(result)
    for event in events:
        print(*event)


if __name__ == "__main__":
    main()
