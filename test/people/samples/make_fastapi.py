"""Makes fastapi.csv by the FastAPI template's own code. Run by hand, on Debian 13, not by the tests:

apt-get install python3-sqlmodel python3-pydantic-settings python3-email-validator python3-jwt python3-psycopg \
  python3-passlib python3-argon2 python3-bcrypt postgresql
git clone https://github.com/fastapi/full-stack-fastapi-template && git clone https://github.com/frankie567/pwdlib
POSTGRES_SERVER=127.0.0.1 POSTGRES_USER=… POSTGRES_PASSWORD=… python3 make_fastapi.py full-stack-fastapi-template pwdlib

Its models make the table in PostgreSQL, its crud.create_user the rows, and COPY the file. At 0.10.0 it hashes by argon2;
who signed up before has bcrypt, by the security.py of 0.9.0. Every password is `correct horse Ängström`."""

import os
import subprocess
import sys
import tempfile

PASSWORD = "correct horse Ängström"
template, pwdlib = map(os.path.abspath, sys.argv[1:3])
of_git = lambda *words: subprocess.run(["git", "-C", template, *words], check=True, capture_output=True).stdout
home = tempfile.mkdtemp()
subprocess.run(["tar", "-x", "-C", home], input=of_git("archive", "0.10.0", "backend/app"), check=True)
sys.path[:0] = [f"{home}/backend", pwdlib]
os.environ |= {"PROJECT_NAME": "Sample", "FIRST_SUPERUSER": "root@fastapi.example.com", "FIRST_SUPERUSER_PASSWORD": PASSWORD}

import argon2  # noqa: E402

# pwdlib asks for argon2-cffi 23.1, and Debian has 21.1: its defaults are others, and it cannot be told that there is no salt.
argon2.DEFAULT_TIME_COST, argon2.DEFAULT_MEMORY_COST, argon2.DEFAULT_PARALLELISM = 3, 65536, 4
argon2.DEFAULT_HASH_LENGTH = 32
hash_by_argon2 = argon2.PasswordHasher.hash
argon2.PasswordHasher.hash = lambda self, password, salt=None: hash_by_argon2(self, password)

from app import crud  # noqa: E402
from app.core.db import engine, init_db  # noqa: E402
from app.models import UserCreate  # noqa: E402
from sqlmodel import Session, SQLModel  # noqa: E402

before = {}
exec(of_git("show", "0.9.0:backend/app/core/security.py"), before)

SQLModel.metadata.drop_all(engine)
SQLModel.metadata.create_all(engine)
PEOPLE = [
    ("ada@fastapi.example.com", "Ada, of Löwen", {}, True),
    ("Grace@fastapi.example.com", None, {}, False),
    ("grace@fastapi.example.com", 'Grace "again"', {}, False),
    ("gone@fastapi.example.com", "Gone", {"is_active": False}, False),
]
with Session(engine) as session:
    init_db(session)
    for email, full_name, more, is_old in PEOPLE:
        given = UserCreate(email=email, password=PASSWORD, full_name=full_name, **more)
        user = crud.create_user(session=session, user_create=given)
        if is_old:
            user.hashed_password = before["get_password_hash"](PASSWORD)
            session.add(user)
    session.commit()
with engine.raw_connection().cursor() as cursor, open("fastapi.csv", "wb") as file:
    with cursor.copy('COPY (SELECT * FROM "user" ORDER BY created_at) TO STDOUT CSV HEADER') as rows:
        for row in rows:
            file.write(row)
