-- Devices without a browser that wait for somebody to type the code that they show.
CREATE TABLE `oauth_device_codes` (
	`id` text PRIMARY KEY NOT NULL,
	`user_code` text NOT NULL,
	`client_id` text NOT NULL,
	`scope` text NOT NULL,
	`ip` text,
	`user_agent` text,
	`country` text,
	`decided_at` integer,
	`user_id` text,
	`parent_id` text,
	`epoch` integer,
	`auth_time` integer,
	`amr` text
) WITHOUT ROWID;
--> statement-breakpoint
CREATE UNIQUE INDEX `oauth_device_codes_by_code` ON `oauth_device_codes` (`user_code`);
