"""Signs in with Roster by Python's clients: Authlib, and requests-oauthlib without PKCE. Started by scripts/clients.ts."""

import json
import os
import sys
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import requests

GIVEN = json.loads(os.environ["GIVEN"])
ISSUER, REDIRECT = GIVEN["issuer"], GIVEN["redirect"]
SCOPES = ["openid", "profile", "email", "offline_access"]
os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"


class Forms(HTMLParser):
    """The forms of a page: where each goes, and what it sends."""

    def __init__(self):
        super().__init__()
        self.forms = []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "form":
            self.forms.append((attrs.get("action") or "", {}))
        elif tag in ("input", "button") and self.forms and attrs.get("name"):
            self.forms[-1][1].setdefault(attrs["name"], attrs.get("value") or "")


class Browser:
    """Follows redirects and fills in forms, as somebody would who signs in and says yes."""

    def __init__(self):
        self.session = requests.Session()

    def request(self, method, url, **more):
        answer = self.session.request(method, url, allow_redirects=False, **more)
        for cookie in self.session.cookies:
            cookie.secure = False  # As browsers do at localhost.
        return answer

    def go(self, url):
        answer = self.request("GET", url)
        for _ in range(12):
            if answer.is_redirect:
                url = urljoin(answer.url, answer.headers["location"])
                if url.startswith(REDIRECT):
                    return url
                answer = self.request("GET", url)
                continue
            parser = Forms()
            parser.feed(answer.text)
            for action, fields in parser.forms:
                if "password" in fields:
                    fields |= {"email": GIVEN["email"], "password": GIVEN["password"]}
                elif "decision" in fields:
                    fields |= {"decision": "allow"}
                else:
                    continue
                headers = {"origin": ISSUER, "sec-fetch-site": "same-origin"}
                to = urljoin(answer.url, action or urlsplit(answer.url).path)
                answer = self.request("POST", to, data=fields, headers=headers)
                break
            else:
                sys.exit(f"stuck at {answer.url}: {answer.status_code} {answer.text[:500]}")
        sys.exit("goes round in circles")


def by_authlib(meta):
    from authlib.common.security import generate_token
    from authlib.integrations.requests_client import OAuth2Session
    from authlib.jose import JsonWebKey, jwt
    from authlib.oidc.core import CodeIDToken

    app = GIVEN["pkce"]
    client = OAuth2Session(
        app["client_id"],
        app["client_secret"],
        scope=" ".join(SCOPES),
        redirect_uri=REDIRECT,
        code_challenge_method="S256",
    )
    verifier, nonce = generate_token(48), generate_token(20)
    url, state = client.create_authorization_url(
        meta["authorization_endpoint"], code_verifier=verifier, nonce=nonce
    )
    back = Browser().go(url)
    token = client.fetch_token(
        meta["token_endpoint"], authorization_response=back, code_verifier=verifier, state=state
    )
    keys = JsonWebKey.import_key_set(requests.get(meta["jwks_uri"]).json())
    claims = jwt.decode(
        token["id_token"],
        keys,
        claims_cls=CodeIDToken,
        claims_options={"iss": {"value": ISSUER}, "aud": {"value": app["client_id"]}},
        claims_params={
            "nonce": nonce,
            "client_id": app["client_id"],
            "access_token": token["access_token"],
        },
    )
    claims.validate()
    info = client.get(meta["userinfo_endpoint"]).json()
    assert info["sub"] == claims["sub"] and info["email"] == GIVEN["email"], info
    renewed = client.refresh_token(meta["token_endpoint"], refresh_token=token["refresh_token"])
    assert renewed["access_token"] != token["access_token"]
    assert client.get(meta["userinfo_endpoint"]).json()["sub"] == claims["sub"]


def by_requests_oauthlib(meta):
    from requests.auth import HTTPBasicAuth
    from requests_oauthlib import OAuth2Session

    app = GIVEN["plain"]
    client = OAuth2Session(app["client_id"], redirect_uri=REDIRECT, scope=SCOPES)
    url, _ = client.authorization_url(meta["authorization_endpoint"])
    back = Browser().go(url)
    token = client.fetch_token(
        meta["token_endpoint"], authorization_response=back, client_secret=app["client_secret"]
    )
    assert client.get(meta["userinfo_endpoint"]).json()["email"] == GIVEN["email"]
    basic = HTTPBasicAuth(app["client_id"], app["client_secret"])
    renewed = client.refresh_token(meta["token_endpoint"], auth=basic)
    assert renewed["access_token"] != token["access_token"]
    assert client.get(meta["userinfo_endpoint"]).status_code == 200


def main():
    meta = requests.get(f"{ISSUER}/.well-known/openid-configuration").json()
    assert meta["issuer"] == ISSUER
    for package, work in (("authlib", by_authlib), ("requests_oauthlib", by_requests_oauthlib)):
        try:
            __import__(package)
        except ImportError:
            print(f"skipped  {package}: it is not installed (Debian: apt-get install python3-{package.replace('_', '-')})")
            continue
        work(meta)
        print(f"ok  {package}: discovery, code, userinfo, refresh")


main()
