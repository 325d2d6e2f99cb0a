"""Who sends a request. Replace `current_user` by your login."""

import ipaddress
import os

from fastapi import HTTPException, Request

HEADER = os.environ.get("CHAT_USER_HEADER")
"""The header in which a proxy names the user, such as X-Forwarded-User. Nobody but the proxy may set it."""

LOCAL_USER = "local"

FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")
"""Headers of proxies, whose requests come from this machine and whose users may not."""


async def current_user(request: Request) -> str:
    """Return the id of the user: at most 255 characters, and never that of another user.

    Without `CHAT_USER_HEADER`, everyone on this machine is one user, and nobody else is admitted.

    Raises:
        HTTPException: 401 without a user; 403 for a request that a page of another site makes in the user's
            browser.
    """
    if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise HTTPException(403, "The request comes from another site.")
    if HEADER is None and is_local(request):
        return LOCAL_USER
    user = request.headers.get(HEADER, "") if HEADER else ""
    if not 0 < len(user) <= 255:
        raise HTTPException(401, "Sign in first.")
    return user


def is_local(request: Request) -> bool:
    """Return whether the request comes from this machine without a proxy, and to a loopback address."""
    if any(header in request.headers for header in FORWARDED):
        return False
    hosts = [request.client.host if request.client else "", request.url.hostname or ""]
    return all(map(is_loopback, hosts))


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
