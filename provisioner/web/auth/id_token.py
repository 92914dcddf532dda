"""What an OpenID provider says of somebody: its ID token, checked, and the values of its claims; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import BadSignatureError, ExpiredTokenError, InvalidClaimError, JoseError, MissingClaimError
from joserfc.jwk import JWKRegistry, Key
from joserfc.jws import JWSRegistry, extract_compact

#: What a provider says of somebody, by name of the claim. It may hold anything, as JSON does.
Claims: TypeAlias = Mapping[str, object]

#: Signatures that are accepted, by the type of their keys. None by a shared secret, which who reads our settings could
#: make, and never `none`.
ALGORITHMS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    **dict.fromkeys(("EdDSA", "Ed25519"), "OKP"),
}
#: Seconds by which the clocks of provider and machine may differ.
CLOCK_SKEW: Final = 120
#: Keys that one token is tried with, where it does not name its own.
_MOST_KEYS: Final = 10
_LONGEST: Final = 64 * 1024


class IdTokenError(Exception):
    """An ID token that is not believed; its text is a sentence without any value of the token."""


class UnknownKeyError(IdTokenError):
    """None of the keys made its signature; the provider may have newer ones."""


def verified(
    token: str, keys: Sequence[Any], *, issuer: str, client_id: str, nonce: str, access_token: str | None, now: int
) -> Claims:
    """The claims of an ID token by OpenID Connect Core 3.1.3.7.

    Args:
        keys: the provider's JWKs.
        access_token: what came with it, whose digest it may hold.
        now: epoch seconds.

    Raises:
        UnknownKeyError: none of the keys fits.
        IdTokenError: it is not believed.
    """
    header, claims = _signed(token, keys)
    checked = CodeIDToken(
        claims,
        header,
        {"iss": {"essential": True, "value": issuer}, "aud": {"essential": True, "value": client_id}},
        {"nonce": nonce, "client_id": client_id, "access_token": access_token},
    )
    try:
        checked.validate(now=now, leeway=CLOCK_SKEW)
    except ExpiredTokenError:
        raise IdTokenError(f"It ran out {_ago(claims.get('exp'), now)}; compare the clocks.") from None
    except (InvalidClaimError, MissingClaimError) as exc:
        raise IdTokenError(_sentence(str(exc.claim), claims, now)) from None
    except (JoseError, ValueError, TypeError, OverflowError):
        raise IdTokenError("Its claims are malformed.") from None
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        raise IdTokenError("Its claim sub is empty or too long.")
    return claims


def values_of(claims: Claims, name: str) -> frozenset[str] | None:
    """The texts of a claim: the one of exactly this name, else the one at this dotted path; None if there is
    neither."""
    found: Any = claims.get(name)
    if found is None:
        found = claims
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if found is None:
        return None
    several = found if isinstance(found, (list, tuple)) else [found]
    return frozenset(one for one in several if isinstance(one, str))


def _signed(token: str, keys: Sequence[Any]) -> tuple[dict[str, object], Claims]:
    """Header and claims of a token that one of the keys signed."""
    if len(token) > _LONGEST:
        raise IdTokenError("It is too long.")
    try:
        header = dict(extract_compact(token.encode()).headers())
    except (JoseError, ValueError, TypeError):
        raise IdTokenError("It is no signed token.") from None
    algorithm, name = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise IdTokenError("It is not signed by an algorithm that is accepted: RS, PS, ES or EdDSA.")
    if "crit" in header:
        raise IdTokenError("It demands an extension that is not known here.")
    registry = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    for key in _fitting(keys, algorithm, name):
        try:
            found = jwt.decode(token, key, registry=registry)
        except BadSignatureError:
            continue
        except (JoseError, ValueError, TypeError):
            raise IdTokenError("It is malformed.") from None
        return header, dict(found.claims)
    raise UnknownKeyError("It is signed by a key that the provider does not publish.")


def _fitting(keys: Sequence[Any], algorithm: str, name: Any) -> list[Key]:
    found: list[Key] = []
    for one in keys:
        if not isinstance(one, dict) or one.get("kty") != ALGORITHMS[algorithm]:
            continue
        if name is not None and one.get("kid") not in (None, name):
            continue
        if one.get("use", "sig") != "sig" or one.get("alg", algorithm) != algorithm:
            continue
        try:
            found.append(JWKRegistry.import_key(one))
        except (JoseError, ValueError, TypeError):
            # A key of some other make besides the right one must not keep everybody out
            continue
    return found[:_MOST_KEYS]


def _sentence(claim: str, claims: Claims, now: int) -> str:
    moment = claims.get(claim)
    if claim in ("iat", "nbf") and isinstance(moment, (int, float)):
        return f"It is valid only in {round(moment - now)} s; compare the clocks."
    if claim == "nonce":
        return "It answers another sign-in (nonce)."
    if claim == "iss":
        return "It is from another issuer than web.oidc.issuer."
    if claim in ("aud", "azp"):
        return f"It is made for another client than web.oidc.client_id ({claim})."
    return f"Its claim {claim} is missing or wrong."


def _ago(moment: Any, now: int) -> str:
    return f"{round(now - moment)} s ago" if isinstance(moment, (int, float)) else "before"
