"""What clients prefer, as headers such as `Accept` say it."""


def ranks(header: str) -> dict[str, float]:
    """The members of a header, in lower case, and the rank of each; 0 means that it is not wanted."""
    return dict(map(_rank, header.lower().split(",")))


def _rank(member: str) -> tuple[str, float]:
    name, *parameters = (part.strip() for part in member.split(";"))
    try:
        return name, next((float(text[2:]) for text in parameters if text.startswith("q=")), 1.0)
    except ValueError:
        return name, 0.0
