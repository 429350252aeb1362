-- Keys by which programs act for whoever made them.
CREATE TABLE `api_keys` (
	`id` text PRIMARY KEY NOT NULL,
	`user_id` text NOT NULL,
	`name` text NOT NULL,
	`permissions` text NOT NULL,
	`secret_hash` text NOT NULL,
	`former_secret_hash` text,
	`former_secret_until` integer,
	`expires_at` integer,
	`session_id` text NOT NULL,
	`amr` text NOT NULL,
	`created_at` integer NOT NULL,
	`rotated_at` integer NOT NULL,
	`last_used_at` integer
) WITHOUT ROWID;
--> statement-breakpoint
CREATE INDEX `api_keys_of_user` ON `api_keys` (`user_id`,`id`);
--> statement-breakpoint
CREATE INDEX `api_keys_by_end` ON `api_keys` (`expires_at`) WHERE expires_at IS NOT NULL;
