-- What drizzle-kit cannot write: the search index, the totals and the guard of the history.

-- Search by any three letters of an address or a name. External content: the text stands in `users` only.
-- `facets` is indexed too, so a search for one role or state is an intersection inside the index.
CREATE VIRTUAL TABLE users_fts USING fts5(
  email_normalized, name, facets,
  content='users', content_rowid='seq', tokenize='trigram'
);
--> statement-breakpoint
-- Overwrite what is deleted instead of marking it, or erased people would live on inside the index.
INSERT INTO users_fts(users_fts, rank) VALUES ('secure-delete', 1);
--> statement-breakpoint
CREATE TRIGGER users_search_insert AFTER INSERT ON users BEGIN
  INSERT INTO users_fts(rowid, email_normalized, name, facets)
  VALUES (NEW.seq, NEW.email_normalized, NEW.name, NEW.facets);
END;
--> statement-breakpoint
-- Before the change, while the old text still stands in `users`: the index reads there what it has to take out. (Its
-- 'delete' command, given the text, leaves an index behind that does not pass its own check, with secure-delete on.)
CREATE TRIGGER users_search_delete BEFORE DELETE ON users BEGIN
  DELETE FROM users_fts WHERE rowid = OLD.seq;
END;
--> statement-breakpoint
CREATE TRIGGER users_search_before_update BEFORE UPDATE OF email_normalized, name, role, status, deleted_at ON users BEGIN
  DELETE FROM users_fts WHERE rowid = OLD.seq;
END;
--> statement-breakpoint
CREATE TRIGGER users_search_update AFTER UPDATE OF email_normalized, name, role, status, deleted_at ON users BEGIN
  INSERT INTO users_fts(rowid, email_normalized, name, facets)
  VALUES (NEW.seq, NEW.email_normalized, NEW.name, NEW.facets);
END;
--> statement-breakpoint
INSERT INTO user_totals(role, state, total) VALUES
  ('user', 'active', 0), ('user', 'disabled', 0), ('user', 'deleted', 0),
  ('manager', 'active', 0), ('manager', 'disabled', 0), ('manager', 'deleted', 0),
  ('admin', 'active', 0), ('admin', 'disabled', 0), ('admin', 'deleted', 0);
--> statement-breakpoint
CREATE TRIGGER users_totals_insert AFTER INSERT ON users BEGIN
  UPDATE user_totals SET total = total + 1 WHERE role = NEW.role AND state = NEW.state;
END;
--> statement-breakpoint
CREATE TRIGGER users_totals_delete AFTER DELETE ON users BEGIN
  UPDATE user_totals SET total = total - 1 WHERE role = OLD.role AND state = OLD.state;
END;
--> statement-breakpoint
CREATE TRIGGER users_totals_update AFTER UPDATE OF role, status, deleted_at ON users
WHEN OLD.role <> NEW.role OR OLD.state <> NEW.state BEGIN
  UPDATE user_totals SET total = total - 1 WHERE role = OLD.role AND state = OLD.state;
  UPDATE user_totals SET total = total + 1 WHERE role = NEW.role AND state = NEW.state;
END;
--> statement-breakpoint
-- History is appended. The one update allowed takes personal data away when a person is erased.
CREATE TRIGGER activity_append_only BEFORE UPDATE ON user_activity_logs
WHEN NEW.id IS NOT OLD.id OR NEW.user_id IS NOT OLD.user_id OR NEW.actor_id IS NOT OLD.actor_id
  OR NEW.action IS NOT OLD.action OR NEW.request_id IS NOT OLD.request_id
  OR (NEW.details IS NOT OLD.details AND NEW.details IS NOT NULL)
  OR (NEW.ip IS NOT OLD.ip AND NEW.ip IS NOT NULL)
  OR (NEW.user_agent IS NOT OLD.user_agent AND NEW.user_agent IS NOT NULL)
  OR (NEW.country IS NOT OLD.country AND NEW.country IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'history can be erased of personal data, never rewritten');
END;
--> statement-breakpoint
-- The first 48 bits of a UUIDv7 are its time in ms; ids sort as text, so "younger than 30 days" is a comparison.
CREATE TRIGGER activity_kept_30_days BEFORE DELETE ON user_activity_logs
WHEN substr(OLD.id, 1, 8) || substr(OLD.id, 10, 4)
  > printf('%012x', (CAST(strftime('%s', 'now') AS INTEGER) - 30 * 86400) * 1000)
BEGIN
  SELECT RAISE(ABORT, 'history younger than 30 days is kept');
END;
