"""Makes vectors.json of the software whose hashes are imported. Run by hand, on Debian 12, not by the tests:

apt-get install python3-passlib python3-bcrypt python3-cffi
pip install --no-deps --target v django==5.2.17 asgiref sqlparse werkzeug==3.1.9 markupsafe argon2-cffi==25.1.0 argon2-cffi-bindings
PYTHONPATH=v python3 test/foreign/vectors.py > test/foreign/vectors.json
"""
import base64
import hashlib
import json
import os
import sys

import django
from django.conf import settings

settings.configure(
    PASSWORD_HASHERS=[
        "django.contrib.auth.hashers." + name
        for name in (
            "PBKDF2PasswordHasher PBKDF2SHA1PasswordHasher Argon2PasswordHasher BCryptSHA256PasswordHasher "
            "BCryptPasswordHasher ScryptPasswordHasher"
        ).split()
    ]
)
django.setup()
import argon2
import passlib.hash
import werkzeug.security
from argon2.low_level import Type
from django.contrib.auth.hashers import Argon2PasswordHasher, make_password

PLAIN = "correct horse battery"
# Two ways to write an é, which are two passwords; Cyrillic, and beyond the BMP.
WIDE = "Grüße, Ame\u0301lie é пароль 🦊"
LONG = "ä" * 40  # 80 bytes, of which bcrypt takes 72.


class OldArgon2(Argon2PasswordHasher):
    """The parameters of Django 2.2."""

    time_cost, memory_cost, parallelism = 2, 512, 2

    def params(self):
        found = super().params()
        found.type, found.memory_cost, found.time_cost, found.parallelism = Type.I, 512, 2, 2
        return found


def phc_pbkdf2(name, rounds, length):
    def make(password):
        salt = os.urandom(16)
        b64 = lambda data: base64.b64encode(data).decode().rstrip("=")
        made = hashlib.pbkdf2_hmac(name, password.encode(), salt, rounds, length)
        return f"$pbkdf2-{name}$i={rounds},l={length}${b64(salt)}${b64(made)}"

    return make


def ssha512(password):
    salt = os.urandom(8)
    return "{SSHA512}" + base64.b64encode(hashlib.sha512(password.encode() + salt).digest() + salt).decode()


h = passlib.hash
MAKERS = {
    "Django 5.2 pbkdf2_sha256": lambda p: make_password(p, hasher="pbkdf2_sha256"),
    "Django 5.2 pbkdf2_sha1": lambda p: make_password(p, hasher="pbkdf2_sha1"),
    "Django 5.2 bcrypt_sha256": lambda p: make_password(p, hasher="bcrypt_sha256"),
    "Django 5.2 bcrypt": lambda p: make_password(p, hasher="bcrypt"),
    "Django 5.2 scrypt": lambda p: make_password(p, hasher="scrypt"),
    "Django 2.2 argon2i": lambda p: OldArgon2().encode(p, OldArgon2().salt()),
    "passlib bcrypt $2b$": lambda p: h.bcrypt.using(rounds=8).hash(p),
    "passlib bcrypt $2y$": lambda p: h.bcrypt.using(rounds=6, ident="2y").hash(p),
    "passlib bcrypt $2a$": lambda p: h.bcrypt.using(rounds=6, ident="2a").hash(p),
    "passlib bcrypt_sha256 v2": lambda p: h.bcrypt_sha256.using(rounds=6).hash(p),
    "passlib bcrypt_sha256 v1": lambda p: h.bcrypt_sha256.using(rounds=6, version=1).hash(p),
    "passlib argon2": lambda p: h.argon2.using(memory_cost=8192, rounds=2).hash(p),
    "passlib scrypt": lambda p: h.scrypt.using(rounds=13).hash(p),
    "passlib pbkdf2_sha1": lambda p: h.pbkdf2_sha1.using(rounds=3000).hash(p),
    "passlib pbkdf2_sha256": lambda p: h.pbkdf2_sha256.hash(p),
    "passlib pbkdf2_sha512": lambda p: h.pbkdf2_sha512.hash(p),
    "passlib ldap_salted_sha512": lambda p: h.ldap_salted_sha512.hash(p),
    "argon2-cffi 25.1": lambda p: argon2.PasswordHasher().hash(p),
    "argon2-cffi argon2i": lambda p: argon2.PasswordHasher(time_cost=2, memory_cost=4096, type=Type.I).hash(p),
    "argon2-cffi version 1.0": lambda p: argon2.low_level.hash_secret(
        p.encode(), os.urandom(16), 2, 1024, 1, 32, Type.ID, version=16
    ).decode(),
    "Werkzeug 3.1 scrypt": lambda p: werkzeug.security.generate_password_hash(p),
    "Werkzeug 3.1 pbkdf2": lambda p: werkzeug.security.generate_password_hash(p, "pbkdf2:sha256:5000"),
    "Werkzeug 3.1 pbkdf2:sha512": lambda p: werkzeug.security.generate_password_hash(p, "pbkdf2:sha512:2000"),
    "PHC pbkdf2-sha256 (hashlib)": phc_pbkdf2("sha256", 4000, 32),
    # Keycloak keeps 64 bytes, whatever the hash function.
    "as Keycloak, pbkdf2-sha256 (hashlib)": phc_pbkdf2("sha256", 27500, 64),
    "as Keycloak, pbkdf2-sha512 (hashlib)": phc_pbkdf2("sha512", 21000, 64),
    "as Keycloak, pbkdf2-sha1 (hashlib)": phc_pbkdf2("sha1", 20000, 64),
}

made = [
    {"by": name, "password": password, "hash": make(password)}
    for name, make in MAKERS.items()
    for password in (PLAIN, WIDE)
]
made += [{"by": "passlib bcrypt, 80 bytes", "password": LONG, "hash": h.bcrypt.using(rounds=5).hash(LONG)}]
made += [
    {"by": name, "password": LONG, "hash": MAKERS[name](LONG)}
    for name in ("Django 5.2 bcrypt_sha256", "passlib bcrypt_sha256 v2", "passlib pbkdf2_sha256", "passlib pbkdf2_sha512")
]
# Longer than a block of SHA-512: HMAC hashes such keys first.
made += [
    {"by": name, "password": WIDE * 6, "hash": MAKERS[name](WIDE * 6)}
    for name in ("passlib pbkdf2_sha256", "passlib pbkdf2_sha512", "passlib pbkdf2_sha1")
]
json.dump(made, sys.stdout, ensure_ascii=False, indent=1)
