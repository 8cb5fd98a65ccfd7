"""Names whose values are secret, such as `DB_PASS` and `accessToken`."""

from __future__ import annotations

import re

MARK = "[redacted]"  # replaces a secret
# Words in a name that mark its value as secret, in any spelling: accessToken, DB_PASS.
MARKING_WORDS = (
    r"pass(?:word|wd|wort|phrase|code)?s?(?![a-z])|passwd|pwd|(?<![a-z])pw(?![a-z])|secret|token|"
    r"api[_-]?key|(?:access|private|signing|encryption|master|client|shared|account|subscription|"
    r"license|ssh|signature|hmac)[_-]?key|credential|creds?(?![a-z])|authorization|cookie|bearer|"
    r"jwt(?![a-z])|otp(?![a-z])|(?<![a-z])pin(?:code)?(?![a-z])|(?<![a-z])cv[vc]2?(?![a-z])|"
    r"(?:mfa|2fa|verification|one[_-]?time)[_-]?code|csrf|xsrf|sess(?:ion)?[_-]?id|signature|"
    r"x-[a-z-]{0,20}(?:auth|key)|kennwort|contrase[nñ]a|mot[_-]de[_-]passe|senha(?![a-z])|пароль|密码|"
    r"パスワード"
)
# Endings of names whose values are about a secret and not secret: tokenErrors, TOKEN_URL.
_ABOUT = re.compile(
    r"(?i)(?:errors?|fail\w*|count(?:er)?|duration|time|trend|rate|ur[il]|path|endpoint|name|type|"
    r"expir\w*|ttl|length|header|field|valid|status|response|res|host|port|file)$"
)


def names_a_secret(name: str) -> bool:
    """Whether the name alone marks its value as secret, whatever the value looks like."""
    return bool(re.search(MARKING_WORDS, name, re.IGNORECASE)) and not about_a_secret(name)


def about_a_secret(name: str) -> bool:
    """Whether a name with a secret's word in it names something else, such as `tokenErrors`."""
    return bool(_ABOUT.search(name))
