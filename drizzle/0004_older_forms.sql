-- 0000 and 0001 were rewritten after they had been committed. This brings a database that has an older form of them to
-- where the newest would have brought it, and changes nothing in any other.

-- 0000 called this table `login_throttles` once. It is made first where it never was, so that there is something to
-- copy from and to drop.
CREATE TABLE IF NOT EXISTS `throttles` (
	`key` text PRIMARY KEY NOT NULL,
	`attempts` integer NOT NULL,
	`blocked_until` integer NOT NULL,
	`expires_at` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX IF NOT EXISTS `throttles_expired` ON `throttles` (`expires_at`);
--> statement-breakpoint
CREATE TABLE IF NOT EXISTS `login_throttles` (
	`key` text PRIMARY KEY NOT NULL,
	`failures` integer NOT NULL,
	`blocked_until` integer NOT NULL,
	`expires_at` integer NOT NULL
);
--> statement-breakpoint
INSERT OR IGNORE INTO `throttles` (`key`, `attempts`, `blocked_until`, `expires_at`)
SELECT `key`, `failures`, `blocked_until`, `expires_at` FROM `login_throttles`;
--> statement-breakpoint
DROP TABLE `login_throttles`;
--> statement-breakpoint
-- The first form of 0001 kept the search index by its 'delete' command, which leaves an unsound one behind.
INSERT INTO users_fts(users_fts)
SELECT 'rebuild' FROM sqlite_master
WHERE type = 'trigger' AND name = 'users_search_update' AND sql LIKE '%''delete''%';
--> statement-breakpoint
DROP TRIGGER IF EXISTS users_search_delete;
--> statement-breakpoint
DROP TRIGGER IF EXISTS users_search_before_update;
--> statement-breakpoint
DROP TRIGGER IF EXISTS users_search_update;
--> statement-breakpoint
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
-- Neither of the first two forms of 0001 had this one.
CREATE TRIGGER IF NOT EXISTS activity_never_replaced BEFORE INSERT ON user_activity_logs
WHEN EXISTS (SELECT 1 FROM user_activity_logs WHERE id = NEW.id)
BEGIN
  SELECT RAISE(IGNORE);
END;
