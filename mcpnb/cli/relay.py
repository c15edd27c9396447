"""`mcpnb relay`: the browser is on this machine, and the sign-in waits on another one."""

from __future__ import annotations

import threading

import click

from mcpnb.cli import app
from mcpnb.cli.prompt import Prompt, is_attended
from mcpnb.text import quote

_TIMEOUT = 300.0


@app.cli.command()
@click.argument("url", metavar="URL")
@app.flag("--no-browser", "Do not open a browser. Print the address.")
@app.timeout_option("Seconds to wait for the browser. Default: 300.")
def relay(url: str, no_browser: bool, timeout: float | None) -> int:
    """Receive the callback of a sign-in on another machine.

    URL is the long address that the other machine printed, in quotes; - reads it from stdin. This
    command receives the browser's callback and prints one line. Paste that line where the sign-in
    waits. It stores nothing and reads no configuration.

    \b
    mcpnb relay 'https://as.example.com/authorize?...'
    mcpnb relay -                    then paste it; no shell stores it
    uvx mcpnb relay -                the same, without installing mcpnb
    """
    from mcpnb.login.redirects import open_browser
    from mcpnb.login.relay import Relay

    ignored: set[str] = set()
    telling = threading.Lock()  # each connection has a thread

    def tell(why: str) -> None:
        # Once for each reason: a web page can send a thousand wrong answers.
        with telling:
            if why not in ignored:
                ignored.add(why)
                app.say(f"Note: An unexpected answer was ignored. {why}")

    waiting = Relay(_read() if url == "-" else url, tell)
    with waiting:
        how = "To sign in, open" if no_browser else "Your browser opens. If it does not, open"
        app.say(f"{how} this address:\n\n{waiting.url}\n")
        app.say(
            f"It leads to {waiting.host}. After you approve, the browser goes to "
            f"{waiting.redirect_uri}, where this command waits.\n"
            "Continue only if you began this sign-in yourself."
        )
        if not no_browser and not open_browser(waiting.to_open()):
            app.say("No browser could be opened. Open the address yourself, on this machine.")
        captured = waiting.wait(timeout or _TIMEOUT)
    if captured.error is None:
        app.say("\nPaste this line where the sign-in waits. It is valid for about a minute:\n")
    else:
        app.say(
            f"\nThe sign-in was not approved: the server answered {quote(captured.error, 80)}. "
            "Paste this line where the sign-in waits anyway. It ends the sign-in and says why:\n"
        )
    click.echo(captured.line.reveal())
    return app.DONE if captured.error is None else app.FAILED


def _read() -> str:
    try:
        with Prompt() as prompt:
            while line := prompt.line("Paste the address that the other machine printed: "):
                # At a prompt, an empty line is an answer, too.
                if line.strip() or is_attended():
                    return line
    except UnicodeDecodeError:
        raise click.UsageError("The input is not text.") from None
    return ""
