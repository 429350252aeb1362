-- What an erasure looks for is found by an index, so that it costs what the erased left, and not what there is.

-- The address in an answer that is kept, as addresses are compared. Answers of the version before are found by what
-- stands in them.
ALTER TABLE `idempotency_keys` ADD `email_normalized` text;
--> statement-breakpoint
CREATE INDEX `idempotency_keys_email` ON `idempotency_keys` (coalesce("email_normalized", CASE WHEN json_valid("response") THEN lower(json_extract("response", '$.email')) END))
  WHERE coalesce("email_normalized", CASE WHEN json_valid("response") THEN lower(json_extract("response", '$.email')) END) IS NOT NULL;
--> statement-breakpoint
ALTER TABLE `outbox` ADD `new_email_normalized` text;
--> statement-breakpoint
DROP INDEX `outbox_new_email`;
--> statement-breakpoint
CREATE INDEX `outbox_new_email` ON `outbox` (coalesce("new_email_normalized", lower("new_email"))) WHERE new_email IS NOT NULL;
--> statement-breakpoint
-- All that makes an account one that clean-up takes away, so that it reads no other.
DROP INDEX `users_never_proved`;
--> statement-breakpoint
CREATE INDEX `users_never_proved` ON `users` (`updated_at`) WHERE email_verified_at IS NULL AND last_login_at IS NULL AND deleted_at IS NULL
  AND role = 'user' AND status = 'active' AND password_is_given = 0;
--> statement-breakpoint
-- The words that users were disabled with, in the history and at the users: they may name somebody else. By words,
-- whatever the case or the accents. `about` is the id of the row.
CREATE VIRTUAL TABLE reasons_fts USING fts5(about, reason, tokenize = "unicode61 remove_diacritics 2");
--> statement-breakpoint
INSERT INTO reasons_fts(reasons_fts, rank) VALUES ('secure-delete', 1);
--> statement-breakpoint
INSERT INTO reasons_fts(about, reason)
  SELECT id, json_extract(details, '$.reason') FROM user_activity_logs
  WHERE action = 'user.disabled' AND json_valid(details) AND json_extract(details, '$.reason') IS NOT NULL;
--> statement-breakpoint
INSERT INTO reasons_fts(about, reason) SELECT id, disabled_reason FROM users WHERE disabled_reason IS NOT NULL;
--> statement-breakpoint
CREATE TRIGGER reasons_of_activity_insert AFTER INSERT ON user_activity_logs
WHEN NEW.action = 'user.disabled' AND json_valid(NEW.details) AND json_extract(NEW.details, '$.reason') IS NOT NULL
BEGIN
  INSERT INTO reasons_fts(about, reason) VALUES (NEW.id, json_extract(NEW.details, '$.reason'));
END;
--> statement-breakpoint
-- Of details, an update only takes something away.
CREATE TRIGGER reasons_of_activity_update AFTER UPDATE OF details ON user_activity_logs
WHEN OLD.action = 'user.disabled' AND (NEW.details IS NULL OR json_extract(NEW.details, '$.reason') IS NULL)
BEGIN
  DELETE FROM reasons_fts WHERE rowid IN (SELECT rowid FROM reasons_fts WHERE reasons_fts MATCH 'about : "' || OLD.id || '"');
END;
--> statement-breakpoint
CREATE TRIGGER reasons_of_activity_delete AFTER DELETE ON user_activity_logs
WHEN OLD.action = 'user.disabled'
BEGIN
  DELETE FROM reasons_fts WHERE rowid IN (SELECT rowid FROM reasons_fts WHERE reasons_fts MATCH 'about : "' || OLD.id || '"');
END;
--> statement-breakpoint
CREATE TRIGGER reasons_of_users_insert AFTER INSERT ON users WHEN NEW.disabled_reason IS NOT NULL
BEGIN
  INSERT INTO reasons_fts(about, reason) VALUES (NEW.id, NEW.disabled_reason);
END;
--> statement-breakpoint
CREATE TRIGGER reasons_of_users_update AFTER UPDATE OF disabled_reason ON users
WHEN NEW.disabled_reason IS NOT OLD.disabled_reason
BEGIN
  DELETE FROM reasons_fts WHERE OLD.disabled_reason IS NOT NULL
    AND rowid IN (SELECT rowid FROM reasons_fts WHERE reasons_fts MATCH 'about : "' || OLD.id || '"');
  INSERT INTO reasons_fts(about, reason) SELECT NEW.id, NEW.disabled_reason WHERE NEW.disabled_reason IS NOT NULL;
END;
--> statement-breakpoint
CREATE TRIGGER reasons_of_users_delete AFTER DELETE ON users WHEN OLD.disabled_reason IS NOT NULL
BEGIN
  DELETE FROM reasons_fts WHERE rowid IN (SELECT rowid FROM reasons_fts WHERE reasons_fts MATCH 'about : "' || OLD.id || '"');
END;
