-- A counter is two rows.
CREATE TABLE `__throttles_next` (
	`key` text PRIMARY KEY NOT NULL,
	`attempts` integer NOT NULL,
	`blocked_until` integer NOT NULL,
	`expires_at` integer NOT NULL,
	`attempt_id` text
) WITHOUT ROWID;
--> statement-breakpoint
CREATE INDEX `throttles_by_end` ON `__throttles_next` (`expires_at`);
--> statement-breakpoint
-- What is written meanwhile.
CREATE TRIGGER `throttles_copied_insert` AFTER INSERT ON `throttles` BEGIN
  DELETE FROM `__throttles_next` WHERE `key` = NEW.`key`;
  INSERT INTO `__throttles_next` (`key`, `attempts`, `blocked_until`, `expires_at`, `attempt_id`)
  VALUES (NEW.`key`, NEW.`attempts`, NEW.`blocked_until`, NEW.`expires_at`, NEW.`attempt_id`);
END;
--> statement-breakpoint
CREATE TRIGGER `throttles_copied_update` AFTER UPDATE ON `throttles` BEGIN
  DELETE FROM `__throttles_next` WHERE `key` = OLD.`key`;
  INSERT INTO `__throttles_next` (`key`, `attempts`, `blocked_until`, `expires_at`, `attempt_id`)
  VALUES (NEW.`key`, NEW.`attempts`, NEW.`blocked_until`, NEW.`expires_at`, NEW.`attempt_id`);
END;
--> statement-breakpoint
CREATE TRIGGER `throttles_copied_delete` AFTER DELETE ON `throttles` BEGIN
  DELETE FROM `__throttles_next` WHERE `key` = OLD.`key`;
END;
--> statement-breakpoint
-- In steps: throttles by key
INSERT OR IGNORE INTO `__throttles_next` (`key`, `attempts`, `blocked_until`, `expires_at`, `attempt_id`)
  SELECT `key`, `attempts`, `blocked_until`, `expires_at`, `attempt_id` FROM `throttles`
--> statement-breakpoint
-- No row is left behind: text that is no JSON is an error.
SELECT json(CASE WHEN (SELECT count(*) FROM `__throttles_next`) = (SELECT count(*) FROM `throttles`) THEN '1' ELSE 'rows are missing' END);
--> statement-breakpoint
DROP TRIGGER `throttles_copied_insert`;
--> statement-breakpoint
DROP TRIGGER `throttles_copied_update`;
--> statement-breakpoint
DROP TRIGGER `throttles_copied_delete`;
--> statement-breakpoint
ALTER TABLE `throttles` RENAME TO `__throttles_before`;
--> statement-breakpoint
ALTER TABLE `__throttles_next` RENAME TO `throttles`;
--> statement-breakpoint
DROP TABLE `__throttles_before`;
