"""Makes django.json and django.csv by Django's own code. Run by hand, on Debian 13, not by the tests:

apt-get install python3-django python3-bcrypt python3-argon2 && python3 make_django.py

Made by Django 4.2. Every password is `correct horse Ängström`, of the first each by another of Django's hashers."""

import csv
import io

import django
from django.conf import settings

HASHERS = [
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2SHA1PasswordHasher",
    "django.contrib.auth.hashers.BCryptSHA256PasswordHasher",
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.ScryptPasswordHasher",
]
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    PASSWORD_HASHERS=HASHERS,
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.hashers import make_password  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402

call_command("migrate", verbosity=0)
PASSWORD = "correct horse Ängström"
for number, hasher in enumerate(HASHERS):
    from django.utils.module_loading import import_string

    User.objects.create(
        username=f"user{number}",
        email=f"user{number}@django.test",
        first_name="Ada",
        last_name=f"Nr {number}",
        password=make_password(PASSWORD, hasher=import_string(hasher).algorithm),
    )
User.objects.create_user("twice", "Twice@django.test", PASSWORD)
User.objects.create_user("again", "twice@DJANGO.test", PASSWORD)
User.objects.create_user("none", "", PASSWORD)
User.objects.create_user("staff", "staff@django.test", PASSWORD, is_staff=True)
User.objects.create_superuser("root", "root@django.test", PASSWORD)
User.objects.create_user("away", "away@django.test", None, is_active=False)

out = io.StringIO()
call_command("dumpdata", "auth.user", indent=1, stdout=out)
open("django.json", "w", encoding="utf-8").write(out.getvalue())
names = [field.column for field in User._meta.concrete_fields]
with open("django.csv", "w", encoding="utf-8", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(names)
    writer.writerows(User.objects.order_by("id").values_list(*names))
