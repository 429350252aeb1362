-- A row of history is four rows, six where it is of what somebody did to somebody else. The table moves, in steps where
-- it is large: scripts/moves.ts.
CREATE TABLE `__user_activity_logs_next` (
	`id` text PRIMARY KEY NOT NULL,
	`user_id` text,
	`actor_id` text,
	`action` text NOT NULL,
	`details` text,
	`ip` text,
	`user_agent` text,
	`country` text,
	`request_id` text
) WITHOUT ROWID;
--> statement-breakpoint
CREATE INDEX `history_of_user` ON `__user_activity_logs_next` (`user_id`,`id`) WHERE user_id IS NOT NULL;
--> statement-breakpoint
CREATE INDEX `history_of_user_by_action` ON `__user_activity_logs_next` (`user_id`,`action`,`id`) WHERE user_id IS NOT NULL;
--> statement-breakpoint
CREATE INDEX `history_by_action` ON `__user_activity_logs_next` (`action`,`id`);
--> statement-breakpoint
-- What users do to themselves stands at them; this is what they do to others.
CREATE INDEX `history_by_actor` ON `__user_activity_logs_next` (`actor_id`,`id`) WHERE actor_id IS NOT NULL AND actor_id IS NOT user_id;
--> statement-breakpoint
CREATE INDEX `history_by_actor_by_action` ON `__user_activity_logs_next` (`actor_id`,`action`,`id`) WHERE actor_id IS NOT NULL AND actor_id IS NOT user_id;
--> statement-breakpoint
-- What is written meanwhile.
CREATE TRIGGER `user_activity_logs_copied_insert` AFTER INSERT ON `user_activity_logs` BEGIN
  DELETE FROM `__user_activity_logs_next` WHERE `id` = NEW.`id`;
  INSERT INTO `__user_activity_logs_next` (`id`, `user_id`, `actor_id`, `action`, `details`, `ip`, `user_agent`, `country`, `request_id`)
  VALUES (NEW.`id`, NEW.`user_id`, NEW.`actor_id`, NEW.`action`, NEW.`details`, NEW.`ip`, NEW.`user_agent`, NEW.`country`, NEW.`request_id`);
END;
--> statement-breakpoint
CREATE TRIGGER `user_activity_logs_copied_update` AFTER UPDATE ON `user_activity_logs` BEGIN
  DELETE FROM `__user_activity_logs_next` WHERE `id` = OLD.`id`;
  INSERT INTO `__user_activity_logs_next` (`id`, `user_id`, `actor_id`, `action`, `details`, `ip`, `user_agent`, `country`, `request_id`)
  VALUES (NEW.`id`, NEW.`user_id`, NEW.`actor_id`, NEW.`action`, NEW.`details`, NEW.`ip`, NEW.`user_agent`, NEW.`country`, NEW.`request_id`);
END;
--> statement-breakpoint
CREATE TRIGGER `user_activity_logs_copied_delete` AFTER DELETE ON `user_activity_logs` BEGIN
  DELETE FROM `__user_activity_logs_next` WHERE `id` = OLD.`id`;
END;
--> statement-breakpoint
-- In steps: user_activity_logs by id
INSERT OR IGNORE INTO `__user_activity_logs_next` (`id`, `user_id`, `actor_id`, `action`, `details`, `ip`, `user_agent`, `country`, `request_id`)
  SELECT `id`, `user_id`, `actor_id`, `action`, `details`, `ip`, `user_agent`, `country`, `request_id` FROM `user_activity_logs`
--> statement-breakpoint
-- No row is left behind: text that is no JSON is an error.
SELECT json(CASE WHEN (SELECT count(*) FROM `__user_activity_logs_next`) = (SELECT count(*) FROM `user_activity_logs`) THEN '1' ELSE 'rows are missing' END);
--> statement-breakpoint
DROP TRIGGER `user_activity_logs_copied_insert`;
--> statement-breakpoint
DROP TRIGGER `user_activity_logs_copied_update`;
--> statement-breakpoint
DROP TRIGGER `user_activity_logs_copied_delete`;
--> statement-breakpoint
DROP TRIGGER `activity_append_only`;
--> statement-breakpoint
DROP TRIGGER `activity_kept_30_days`;
--> statement-breakpoint
DROP TRIGGER `activity_never_replaced`;
--> statement-breakpoint
DROP TRIGGER `activity_rowid_stays`;
--> statement-breakpoint
DROP TRIGGER `activity_rowid_is_new`;
--> statement-breakpoint
DROP TRIGGER `reasons_of_activity_insert`;
--> statement-breakpoint
DROP TRIGGER `reasons_of_activity_update`;
--> statement-breakpoint
DROP TRIGGER `reasons_of_activity_delete`;
--> statement-breakpoint
ALTER TABLE `user_activity_logs` RENAME TO `__user_activity_logs_before`;
--> statement-breakpoint
ALTER TABLE `__user_activity_logs_next` RENAME TO `user_activity_logs`;
--> statement-breakpoint
-- The guards of the history as they were. It has no rowid any more, so there is none to guard.
CREATE TRIGGER activity_append_only BEFORE UPDATE ON user_activity_logs
WHEN NEW.id IS NOT OLD.id OR NEW.user_id IS NOT OLD.user_id OR NEW.actor_id IS NOT OLD.actor_id
  OR NEW.action IS NOT OLD.action OR NEW.request_id IS NOT OLD.request_id
  OR (NEW.details IS NOT OLD.details AND NEW.details IS NOT NULL
    AND CASE WHEN json_valid(OLD.details) AND json_valid(NEW.details) THEN EXISTS (
      SELECT fullkey, type, atom FROM json_tree(NEW.details) EXCEPT SELECT fullkey, type, atom FROM json_tree(OLD.details)
    ) ELSE 1 END)
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
--> statement-breakpoint
-- `REPLACE` deletes without asking the trigger for deletions: a row that is there already stays as it is.
CREATE TRIGGER activity_never_replaced BEFORE INSERT ON user_activity_logs
WHEN EXISTS (SELECT 1 FROM user_activity_logs WHERE id = NEW.id)
BEGIN
  SELECT RAISE(IGNORE);
END;
--> statement-breakpoint
CREATE TRIGGER reasons_of_activity_insert AFTER INSERT ON user_activity_logs
WHEN NEW.action = 'user.disabled' AND json_valid(NEW.details) AND json_extract(NEW.details, '$.reason') IS NOT NULL
BEGIN
  INSERT INTO reasons_fts(about, reason) VALUES (NEW.id, json_extract(NEW.details, '$.reason'));
END;
--> statement-breakpoint
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
DROP TABLE `__user_activity_logs_before`;
