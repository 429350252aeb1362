CREATE TABLE `factors` (
	`user_id` text PRIMARY KEY NOT NULL,
	`seed` text NOT NULL,
	`key_id` text NOT NULL,
	`created_at` integer NOT NULL,
	`confirmed_at` integer,
	`last_step` integer
) WITHOUT ROWID;
--> statement-breakpoint
CREATE INDEX `factors_by_key` ON `factors` (`key_id`);
--> statement-breakpoint
CREATE INDEX `factors_unconfirmed` ON `factors` (`created_at`) WHERE confirmed_at IS NULL;
--> statement-breakpoint
CREATE TABLE `recovery_codes` (
	`user_id` text NOT NULL,
	`hash` text NOT NULL,
	`created_at` integer NOT NULL,
	PRIMARY KEY(`user_id`, `hash`)
) WITHOUT ROWID;
--> statement-breakpoint
CREATE TABLE `passkeys` (
	`id` text PRIMARY KEY NOT NULL,
	`user_id` text NOT NULL,
	`credential_id` text NOT NULL,
	`rp_id` text NOT NULL,
	`public_key` text NOT NULL,
	`sign_count` integer NOT NULL,
	`transports` text NOT NULL,
	`aaguid` text NOT NULL,
	`may_be_synced` integer NOT NULL,
	`is_synced` integer NOT NULL,
	`name` text NOT NULL,
	`created_at` integer NOT NULL,
	`last_used_at` integer
) WITHOUT ROWID;
--> statement-breakpoint
CREATE UNIQUE INDEX `passkeys_by_credential` ON `passkeys` (`credential_id`);
--> statement-breakpoint
CREATE INDEX `passkeys_of_user` ON `passkeys` (`user_id`,`rp_id`);
--> statement-breakpoint
CREATE TABLE `challenges` (
	`id` text PRIMARY KEY NOT NULL,
	`tries` integer NOT NULL,
	`attempt_id` text,
	`spent_at` integer
) WITHOUT ROWID;
--> statement-breakpoint
ALTER TABLE `users` ADD `failed_factors` integer DEFAULT 0 NOT NULL;
