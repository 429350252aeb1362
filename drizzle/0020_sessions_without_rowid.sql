-- A session is three rows, and a refresh of it one. The table moves, in steps where it is large: scripts/moves.ts. The
-- version before goes on by this table as by that.
CREATE TABLE `__sessions_next` (
	`id` text PRIMARY KEY NOT NULL,
	`user_id` text NOT NULL,
	`counter` integer NOT NULL,
	`rotated_at` integer NOT NULL,
	`created_at` integer NOT NULL,
	`last_seen_at` integer NOT NULL,
	`idle_expires_at` integer NOT NULL,
	`expires_at` integer NOT NULL,
	`revoked_at` integer,
	`revoked_reason` text,
	`ip` text,
	`user_agent` text,
	`country` text,
	`repeated_at` integer,
	`amr` text DEFAULT '["pwd"]' NOT NULL,
	`turn` integer DEFAULT 0 NOT NULL,
	`proved_at` integer,
	`parent_id` text,
	`client_id` text,
	`client_epoch` integer,
	`scope` text
) WITHOUT ROWID;
--> statement-breakpoint
-- What a refresh moves is in no index.
CREATE INDEX `sessions_by_user` ON `__sessions_next` (`user_id`,`revoked_at`,`id`);
--> statement-breakpoint
CREATE INDEX `sessions_by_end` ON `__sessions_next` (`expires_at`);
--> statement-breakpoint
-- What is written meanwhile.
CREATE TRIGGER `sessions_copied_insert` AFTER INSERT ON `sessions` BEGIN
  DELETE FROM `__sessions_next` WHERE `id` = NEW.`id`;
  INSERT INTO `__sessions_next` (`id`, `user_id`, `counter`, `rotated_at`, `created_at`, `last_seen_at`, `idle_expires_at`, `expires_at`, `revoked_at`, `revoked_reason`, `ip`, `user_agent`, `country`, `repeated_at`, `amr`, `turn`, `proved_at`, `parent_id`, `client_id`, `client_epoch`, `scope`)
  VALUES (NEW.`id`, NEW.`user_id`, NEW.`counter`, NEW.`rotated_at`, NEW.`created_at`, NEW.`last_seen_at`, NEW.`idle_expires_at`, NEW.`expires_at`, NEW.`revoked_at`, NEW.`revoked_reason`, NEW.`ip`, NEW.`user_agent`, NEW.`country`, NEW.`repeated_at`, NEW.`amr`, NEW.`turn`, NEW.`proved_at`, NEW.`parent_id`, NEW.`client_id`, NEW.`client_epoch`, NEW.`scope`);
END;
--> statement-breakpoint
CREATE TRIGGER `sessions_copied_update` AFTER UPDATE ON `sessions` BEGIN
  DELETE FROM `__sessions_next` WHERE `id` = OLD.`id`;
  INSERT INTO `__sessions_next` (`id`, `user_id`, `counter`, `rotated_at`, `created_at`, `last_seen_at`, `idle_expires_at`, `expires_at`, `revoked_at`, `revoked_reason`, `ip`, `user_agent`, `country`, `repeated_at`, `amr`, `turn`, `proved_at`, `parent_id`, `client_id`, `client_epoch`, `scope`)
  VALUES (NEW.`id`, NEW.`user_id`, NEW.`counter`, NEW.`rotated_at`, NEW.`created_at`, NEW.`last_seen_at`, NEW.`idle_expires_at`, NEW.`expires_at`, NEW.`revoked_at`, NEW.`revoked_reason`, NEW.`ip`, NEW.`user_agent`, NEW.`country`, NEW.`repeated_at`, NEW.`amr`, NEW.`turn`, NEW.`proved_at`, NEW.`parent_id`, NEW.`client_id`, NEW.`client_epoch`, NEW.`scope`);
END;
--> statement-breakpoint
CREATE TRIGGER `sessions_copied_delete` AFTER DELETE ON `sessions` BEGIN
  DELETE FROM `__sessions_next` WHERE `id` = OLD.`id`;
END;
--> statement-breakpoint
-- In steps: sessions by id
INSERT OR IGNORE INTO `__sessions_next` (`id`, `user_id`, `counter`, `rotated_at`, `created_at`, `last_seen_at`, `idle_expires_at`, `expires_at`, `revoked_at`, `revoked_reason`, `ip`, `user_agent`, `country`, `repeated_at`, `amr`, `turn`, `proved_at`, `parent_id`, `client_id`, `client_epoch`, `scope`)
  SELECT `id`, `user_id`, `counter`, `rotated_at`, `created_at`, `last_seen_at`, `idle_expires_at`, `expires_at`, `revoked_at`, `revoked_reason`, `ip`, `user_agent`, `country`, `repeated_at`, `amr`, `turn`, `proved_at`, `parent_id`, `client_id`, `client_epoch`, `scope` FROM `sessions`
--> statement-breakpoint
-- No row is left behind: text that is no JSON is an error.
SELECT json(CASE WHEN (SELECT count(*) FROM `__sessions_next`) = (SELECT count(*) FROM `sessions`) THEN '1' ELSE 'rows are missing' END);
--> statement-breakpoint
DROP TRIGGER `sessions_copied_insert`;
--> statement-breakpoint
DROP TRIGGER `sessions_copied_update`;
--> statement-breakpoint
DROP TRIGGER `sessions_copied_delete`;
--> statement-breakpoint
ALTER TABLE `sessions` RENAME TO `__sessions_before`;
--> statement-breakpoint
ALTER TABLE `__sessions_next` RENAME TO `sessions`;
--> statement-breakpoint
DROP TABLE `__sessions_before`;
