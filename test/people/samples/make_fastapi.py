"""Makes fastapi.csv: the table of the FastAPI template, by SQLModel and passlib as it hashes (Debian:
python3-sqlmodel, python3-passlib, python3-bcrypt, python3-argon2). Every password is `correct horse Ängström`."""

import csv
import uuid

from passlib.context import CryptContext
from sqlmodel import Field, Session, SQLModel, create_engine, select

PASSWORD = "correct horse Ängström"
bcrypt = CryptContext(schemes=["bcrypt"])
argon2 = CryptContext(schemes=["argon2"])


class User(SQLModel, table=True):
    id: str = Field(primary_key=True)
    email: str | None
    is_active: bool = True
    is_superuser: bool = False
    full_name: str | None = None
    hashed_password: str


engine = create_engine("sqlite://")
SQLModel.metadata.create_all(engine)
PEOPLE = [
    ("ada@fastapi.test", True, False, "Ada Lovelace", bcrypt),
    ("Grace@fastapi.test", True, False, None, argon2),
    ("grace@fastapi.test", True, False, "Grace again", argon2),
    (None, True, False, "Nobody", bcrypt),
    ("root@fastapi.test", True, True, "Root, of all", bcrypt),
    ("gone@fastapi.test", False, False, "Gone", bcrypt),
]
with Session(engine) as session:
    for number, (email, is_active, is_superuser, full_name, context) in enumerate(PEOPLE):
        session.add(
            User(
                id=str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{number}.fastapi.test")),
                email=email,
                is_active=is_active,
                is_superuser=is_superuser,
                full_name=full_name,
                hashed_password=context.hash(PASSWORD),
            )
        )
    session.commit()
    rows = [row.dict() for row in session.exec(select(User).order_by(User.id)).all()]
with open("fastapi.csv", "w", encoding="utf-8", newline="") as file:
    writer = csv.DictWriter(file, list(User.__fields__))
    writer.writeheader()
    writer.writerows(rows)
