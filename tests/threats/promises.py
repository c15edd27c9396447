"""Which attacks try which promise of SECURITY.md, by the words that each begins with."""

from __future__ import annotations

__all__ = ["PROMISES"]

_ORIGIN = """
token-to-another-origin token-in-the-address token-for-another-audience token-of-another-account
client-secret-to-a-new-issuer client-secret-at-refresh issuer-not-named secret-sent-another-way
refresh-led-elsewhere revocation-led-elsewhere registration-of-another-issuer
registration-access-token header-forwarding redirect-of-calls sse-endpoint-elsewhere
proxy-sees-loopback token-that-adds-a-header audience-theft response-splitting-request
"""
_CHECKED = """
guessable-state port-taken-by-another dangerous-address credentials-in-an-endpoint
dangerous-device-page injected-request-parameters pkce-downgrade pkce-plain
pkce-downgrade-to-an-older-server mix-up mix-up-missing-iss mix-up-without-iss iss-that-looks-alike
error-of-another-issuer code-injection csrf login-fixation forged-error
answer-to-an-earlier-sign-in open-redirect-at-the-callback answer-replay late-answer
login-after-a-sign-out answer-to-another-account answer-to-other-credentials
answer-at-another-address parameters-twice bare-code error-beside-a-code implicit-answer
relayed-answer-of-another code-led-elsewhere callback-by-name pending-sign-in-prolonged
issuer-confusion issuer-that-looks-alike issuer-with-a-query foreign-document-of-an-older-server
resource-confusion resource-that-looks-alike resource-in-disguise metadata-not-json
metadata-suppressed name-twice-in-a-document challenge-injection flood-of-authorization-servers
flood-of-scopes registration-of-another-redirect registration-with-another-redirect
registration-with-an-unknown-method registration-with-an-unusable-client-id
registration-with-an-absurd-end expired-client-secret client-metadata-document-address
client-metadata-document-unasked token-type answer-without-a-token error-beside-a-token
absurd-lifetime refresh-token-unfit-to-send scope-widening scopes-that-are-none
scope-widening-at-refresh step-up-without-end forgotten-client
"""
_NETWORK = """
plain-http metadata-in-the-clear metadata-led-elsewhere metadata-leads-inside browser-led-inside
address-that-reads-two-ways endpoint-without-end metadata-without-end registration-led-elsewhere
registration-without-end ssrf-private-address ssrf-cloud-metadata ssrf-ipv4-in-ipv6
ssrf-unassigned-ipv6 ssrf-one-of-several ssrf-by-proxy ssrf-numeric-host private-server-locked-out
dns-rebinding-at-connect dns-rebinding-of-the-server pinned-address-without-name idna-lookalike
redirect-with-a-secret redirect-of-discovery redirect-loop decompression-bomb huge-body huge-head
slow-drip endless-stream
"""
_CALLS = "endless-schema endless-answer unknown-packing denied-tool-called tool-that-runs-unasked"
_SHOWN = """
secret-in-an-error secret-in-a-repr proxy-password-shown store-key-shown
authorization-url-in-a-process-list
"""
_TEXT = """
terminal-escapes bidirectional-text invisible-text line-breaks megabytes-shown markup-from-servers
formulas-and-markdown picture-that-is-a-script tool-that-shadows-another panel-texts panel-markup
lookalike-host long-host command-in-a-scope
"""
_PORT = """
listening-everywhere dns-rebinding-of-the-listener cross-site-post-to-the-listener listener-held-up
listener-open-to-the-network answer-that-a-page-loads flood-of-answers listener-flooded
"""
_REST = """
symlink-in-the-store pipe-in-the-store file-of-another-user readable-by-others
key-file-open-to-others record-moved head-tampered ciphertext-tampered nonce-reuse
plain-text-at-rest temporary-file-left half-written-record store-rolled-back
pending-sign-in-poisoned keyring-plug-in shared-store-folder
"""
_PROJECTS = """
project-untrusted project-shadows-a-name project-sends-the-answer-elsewhere callback-read-otherwise
project-runs-a-helper helper-by-a-shell helper-of-the-working-folder project-named-by-a-variable
project-changed-after-trust project-trusted-elsewhere project-swapped-during-review
trust-by-symlink review-hides-text project-paints-the-terminal project-bomb project-file-is-a-pipe
project-above-home repository-root-planted relative-codex-home
"""
_PANEL = """
callback-page-xss callback-page-referrer callback-page-policy callback-page-framed
code-in-the-history channel-guessed page-leads-to-a-script tabnabbing widget-state-leak
widget-messages-leak fallback-markup address-in-a-saved-notebook
"""
_ENDS = """
late-refresh-after-a-sign-out refresh-token-lost refresh-token-theft-by-a-sibling
refresh-token-replay rejected-token-replay dead-refresh-token forged-end-of-a-login
"""
_COPIES = """
secret-pickled session-pickled session-copied session-forked fork-amid-a-lock fork-with-a-port
fork-amid-a-sign-in error-pickled
"""

PROMISES = {
    "A token goes to the origin of the server it was got for": _ORIGIN.split(),
    "Nothing is accepted unchecked": _CHECKED.split(),
    "HTTPS only": _NETWORK.split(),
    "What a server answers to calls": _CALLS.split(),
    "Secrets show nowhere": _SHOWN.split(),
    "Text that came from a server": _TEXT.split(),
    "The loopback port": _PORT.split(),
    "At rest": _REST.split(),
    "A project's configuration files": _PROJECTS.split(),
    "The panel": _PANEL.split(),
    "Staying signed in and signing out": _ENDS.split(),
    "Copies and forks": _COPIES.split(),
}
