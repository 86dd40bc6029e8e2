"""Options that many commands share."""

from pathlib import Path
from typing import Annotated

import typer

Target = Annotated[
    str,
    typer.Option(
        "--target",
        envvar="INTERVIEW_TARGET",
        metavar="HOST:PORT",
        help="The server. [default: that of the last sign-in, else 127.0.0.1:50051]",
        show_default=False,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="INTERVIEW_CONFIG",
        metavar="FILE",
        help="The credentials file. [default: ~/.config/interview/credentials.json]",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON, one object per line.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="How many at most.")]
Everything = Annotated[bool, typer.Option("--all", help="All of them, whatever --limit says.")]
TlsOn = Annotated[
    bool | None,
    typer.Option(
        "--tls/--no-tls",
        help="Encrypt, or not. [default: as signed in there before, else not]",
        show_default=False,
    ),
]
Ca = Annotated[
    Path | None,
    typer.Option("--ca", metavar="FILE", help="Who signed the server's certificate, in PEM."),
]
Certificate = Annotated[
    Path | None,
    typer.Option("--cert", metavar="FILE", help="Certificate to show the server, in PEM."),
]
Key = Annotated[Path | None, typer.Option("--key", metavar="FILE", help="Its private key, in PEM.")]
Filter = Annotated[str, typer.Option("--filter", help='More conditions, as "length_minutes < 90".')]
OrderBy = Annotated[str, typer.Option("--order-by", help='Fields, as "release_year desc, title".')]
ChangeFilter = Annotated[
    str, typer.Option("--filter", help='More conditions, as "change_type = DELETED".')
]
ChangeOrder = Annotated[str, typer.Option("--order-by", help='The oldest first, as "revision".')]
CategoryFilter = Annotated[
    str, typer.Option("--filter", help="Conditions, as 'display_name = \"Dra*\"'.")
]
CategoryOrder = Annotated[str, typer.Option("--order-by", help='Fields, as "display_name desc".')]
ActorFilter = Annotated[
    str, typer.Option("--filter", help="Conditions, as 'family_name = \"Gold*\"'.")
]
ActorOrder = Annotated[
    str, typer.Option("--order-by", help='Fields, as "family_name, given_name".')
]
Deleted = Annotated[bool, typer.Option("--deleted", help="Deleted ones too.")]
Etag = Annotated[str, typer.Option("--etag", help="Only if this is still its etag.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Force = Annotated[bool, typer.Option("--force", help="Even if others need it.")]
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="It is no error if there is none.")
]
ValidateOnly = Annotated[
    bool, typer.Option("--validate-only", help="Check everything, change nothing.")
]
