-- When the refresh token of a session was last repeated from another network or client.
ALTER TABLE `sessions` ADD `repeated_at` integer;--> statement-breakpoint
-- What the deployment knows of itself, for /ready: see src/system/models.ts.
CREATE TABLE `system_state` (
	`name` text PRIMARY KEY NOT NULL,
	`at` integer NOT NULL,
	`status` integer
) WITHOUT ROWID;
--> statement-breakpoint
-- Since when the cron job could have run.
INSERT INTO `system_state` (`name`, `at`) VALUES ('began', CAST(unixepoch('subsec') * 1000 AS INTEGER));
