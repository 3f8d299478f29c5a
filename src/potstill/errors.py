"""The one exception that means "the user can mend this": the command line prints it and exits with code 2."""


class UserError(Exception):
    """Bad input or options. The message is one clear sentence: where, what was expected, what to do."""


class UnknownName(UserError):
    """A name that no table holds; the message lists the known names and the nearest match."""

    def __init__(self, kind: str, name: str, known: list[str]):
        import difflib

        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(sorted(known))}.")
