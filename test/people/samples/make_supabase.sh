#!/bin/sh
# Makes supabase.csv. Run by hand, on Debian 12, not by the tests:
#
#   apt-get install postgresql golang-go golang-golang-x-crypto-dev
#   git clone https://github.com/supabase/auth && sh make_supabase.sh auth
#
# The table is Supabase's own: the migrations of supabase/auth, run by PostgreSQL, whose \copy writes the file as the docs say.
# The server of supabase/auth needs modules that Debian does not have. So its rows are written here, as its code does for a
# sign-up, an unconfirmed one, a ban, a deletion, an anonymous sign-in and a user by phone. The hashes are by what it calls:
# Go's bcrypt of the default cost, Go's argon2, and its own firebaseScrypt, cut out of its source; and one by crypt() of
# pgcrypto, as seeds of projects have. Made at v2.196.0. Every password is `correct horse Ängström`.
set -e
source=$(realpath "$1")
out=$(realpath .)/supabase.csv
work=$(mktemp -d)
export PATH="$(ls -d /usr/lib/postgresql/*/bin):$PATH"
as_postgres() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }

mkdir "$work/hashes"
firebase=$(git -C "$source" show HEAD:internal/crypto/password.go | sed -n '/FirebaseScryptKeyLen *=/s/^\t/const /p; /^func firebaseScrypt(/,/^}/p')
cat >"$work/hashes/main.go" <<EOF
package main

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"fmt"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

$firebase

func main() {
	password := "correct horse Ängström"
	fmt.Printf("bcrypt=%s\n", must(bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)))
	raw := base64.RawStdEncoding
	salt := []byte("sixteen bytes of")
	key := argon2.IDKey([]byte(password), salt, 2, 19456, 1, 32)
	fmt.Printf("argon=\$argon2id\$v=19\$m=19456,t=2,p=1\$%s\$%s\n", raw.EncodeToString(salt), raw.EncodeToString(key))
	std := base64.StdEncoding
	signer, separator := []byte("a signer key of a project, as long as those of Firebase: 64 bytes."), []byte{7}
	made := firebaseScrypt([]byte(password), salt, signer, separator, 1<<14, 8, 1)
	fmt.Printf("firebase=\$fbscrypt\$v=1,n=14,r=8,p=1,ss=%s,sk=%s\$%s\$%s\n",
		std.EncodeToString(separator), std.EncodeToString(signer), std.EncodeToString(salt), std.EncodeToString(made))
}
EOF
(cd "$work/hashes" && GO111MODULE=off GOPATH=/usr/share/gocode GOFLAGS= go run main.go) >"$work/made"
of() { sed -n "s/^$1=//p" "$work/made"; }

{
  cat <<'EOF'
CREATE USER supabase_admin SUPERUSER; CREATE ROLE postgres; CREATE ROLE anon; CREATE ROLE authenticated; CREATE ROLE service_role;
CREATE SCHEMA auth; CREATE TABLE auth.schema_migrations (version text); CREATE EXTENSION pgcrypto; CREATE EXTENSION "uuid-ossp"; SET search_path = auth, public;
EOF
  for migration in $(git -C "$source" ls-tree --name-only HEAD migrations/ | grep up.sql | sort); do
    git -C "$source" show "HEAD:$migration" | sed 's/{{ *index .Options "Namespace" *}}/auth/g'
    echo ";"
  done
  cat <<EOF
CREATE FUNCTION pg_temp.made(nr int, email text, hash text, meta jsonb) RETURNS void LANGUAGE sql AS \$\$
  INSERT INTO auth.users (instance_id, id, aud, role, email, encrypted_password, email_confirmed_at, confirmation_token,
    recovery_token, email_change_token_new, email_change, raw_app_meta_data, raw_user_meta_data, created_at, updated_at)
  VALUES ('00000000-0000-0000-0000-000000000000', format('5a4b3c2d-0000-4000-8000-%s', lpad(nr::text, 12, '0'))::uuid,
    'authenticated', 'authenticated', email, hash, now(), '', '', '', '',
    '{"provider": "email", "providers": ["email"]}', meta, now(), now()) \$\$;
SELECT pg_temp.made(1, 'ada@supabase.test', '$(of bcrypt)', '{"full_name": "Ada \"the first\", King", "email_verified": true}');
SELECT pg_temp.made(2, 'grace@supabase.test', '$(of argon)', '{"name": "Grace"}');
SELECT pg_temp.made(3, 'firebase@supabase.test', '$(of firebase)', '{}');
SELECT pg_temp.made(4, 'seed@supabase.test', crypt('correct horse Ängström', gen_salt('bf')), '{}');
SELECT pg_temp.made(5, 'unconfirmed@supabase.test', '$(of bcrypt)', '{}');
SELECT pg_temp.made(6, 'banned@supabase.test', '$(of bcrypt)', '{}');
SELECT pg_temp.made(7, md5('gone'), NULL, '{}');
SELECT pg_temp.made(8, NULL, NULL, '{}');
SELECT pg_temp.made(9, NULL, '$(of bcrypt)', '{}');
SELECT pg_temp.made(10, 'github@supabase.test', NULL, '{"user_name": "hub", "avatar_url": "https://example.test/a.png"}');
UPDATE auth.users SET email_confirmed_at = NULL WHERE email LIKE 'unconfirmed%';
UPDATE auth.users SET banned_until = now() + interval '876600 hours' WHERE email LIKE 'banned%';
UPDATE auth.users SET deleted_at = now() WHERE email = md5('gone');
UPDATE auth.users SET is_anonymous = true, raw_app_meta_data = '{}', email_confirmed_at = NULL WHERE id::text LIKE '%08';
UPDATE auth.users SET phone = '15551234567', phone_confirmed_at = now(), email_confirmed_at = NULL,
  raw_app_meta_data = '{"provider": "phone", "providers": ["phone"]}' WHERE id::text LIKE '%09';
UPDATE auth.users SET raw_app_meta_data = '{"provider": "github", "providers": ["github"]}' WHERE email LIKE 'github%';
EOF
} >"$work/make.sql"

chmod -R a+rX "$work" && mkdir "$work/db" && chmod 777 "$work/db"
as_postgres initdb -D "$work/db/data" -U supabase_auth_admin --locale=C.UTF-8 >/dev/null
as_postgres pg_ctl -D "$work/db/data" -o "-k $work/db -h ''" -l "$work/db/log" -w start >/dev/null
trap 'as_postgres pg_ctl -D "$work/db/data" -m fast stop >/dev/null; rm -rf "$work"' EXIT
sql() { as_postgres psql -qX -v ON_ERROR_STOP=1 -h "$work/db" -U supabase_auth_admin "$@" postgres; }
sql -f "$work/make.sql" >"$work/db/out"
sql -c '\copy (SELECT * FROM auth.users ORDER BY id) to stdout csv header' >"$out"
