"""The rows of a server's text, wherever it shows: it acts nowhere, and pretends to be nothing."""

from __future__ import annotations

from tests.threats.row import Threat

__all__ = ["ROWS"]


ROWS = (
    Threat(
        "terminal-escapes",
        "Text of a server clears the screen, paints it, or types into the terminal.",
        "Control characters become spaces wherever a server's text shows.",
        "CWE-150; ECMA-48, measured in each place",
    ),
    Threat(
        "bidirectional-text",
        "A control character turns the reading direction: `gnp.exe` reads as `exe.png`.",
        "Such characters become spaces.",
        "UTS 39; Unicode UAX 9; CWE-1007",
    ),
    Threat(
        "invisible-text",
        "Letters that nobody sees make two names alike, or smuggle text past the reader.",
        "They become spaces, and underscores in a name for Python.",
        "UTS 39 section 4; UAX 44 Default_Ignorable_Code_Point",
    ),
    Threat(
        "line-breaks",
        "A line of a server's own looks like ours, or like a prompt for a password.",
        "Quoted text stays on its line; Unicode's and the terminal's line ends are none.",
        "CWE-117",
    ),
    Threat(
        "megabytes-shown",
        "A description, an error or a cell of megabytes fills the page and the notebook's file.",
        "Every text is cut where it shows, and says so.",
        "CWE-770; design.md section 1",
    ),
    Threat(
        "markup-from-servers",
        "HTML of a server runs in the notebook's page, which can run code in the kernel.",
        "Everything in a display is escaped.",
        "CWE-79; W3C HTML; design.md section 1",
    ),
    Threat(
        "formulas-and-markdown",
        "TeX or Markdown of a server makes links, or loads pictures that report who looks.",
        "No Markdown is offered, and MathJax is kept away.",
        "CWE-79; measured in JupyterLab",
    ),
    Threat(
        "picture-that-is-a-script",
        "An SVG, or a picture that is none, brings script into the page.",
        "Four kinds of pictures show, told by their first bytes.",
        "W3C SVG; WHATWG MIME Sniffing",
        marked=False,
    ),
    Threat(
        "tool-that-runs-unasked",
        "A tool has the name of a hook that IPython or Python calls by itself.",
        "Such names get another spelling.",
        "measured: IPython calls `getdoc`, dict() calls `keys`",
    ),
    Threat(
        "tool-that-shadows-another",
        "Two tools are spelled alike for Python, and the wrong one is called.",
        "A spelling is of one tool only.",
        "measured; UTS 39",
    ),
    Threat(
        "panel-texts",
        "A server's name, scopes and tools paint the panel or blow it up.",
        "What the panel is told is plain and short.",
        "CWE-1007; design.md section 3",
    ),
    Threat(
        "panel-markup",
        "HTML in the panel's state becomes elements, or a link that runs script.",
        "Texts are texts, and only http and https addresses are links.",
        "CWE-79; MCP 2026-07-28 security best practices, URL schemes",
        marked=False,
        browser=True,
    ),
    Threat(
        "lookalike-host",
        "A host has a letter of another alphabet that looks like one of a known host's.",
        "Hosts show as DNS has them.",
        "UTS 39; RFC 5891",
    ),
    Threat(
        "long-host",
        "Of a long host only the beginning shows, which its owner chose to look well known.",
        "Of a long host the end shows.",
        "CWE-1007; measured in the panel",
        marked=False,
    ),
)
