CREATE TABLE `user_activity_logs` (
	`id` text PRIMARY KEY NOT NULL,
	`user_id` text,
	`actor_id` text,
	`action` text NOT NULL,
	`details` text,
	`ip` text,
	`user_agent` text,
	`country` text,
	`request_id` text
);
--> statement-breakpoint
CREATE INDEX `activity_by_user` ON `user_activity_logs` (`user_id`,`id`);--> statement-breakpoint
CREATE INDEX `activity_by_user_action` ON `user_activity_logs` (`user_id`,`action`,`id`);--> statement-breakpoint
CREATE INDEX `activity_by_actor` ON `user_activity_logs` (`actor_id`,`id`);--> statement-breakpoint
CREATE INDEX `activity_by_actor_action` ON `user_activity_logs` (`actor_id`,`action`,`id`);--> statement-breakpoint
CREATE INDEX `activity_by_action` ON `user_activity_logs` (`action`,`id`);--> statement-breakpoint
CREATE TABLE `cleanup_runs` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`started_at` integer NOT NULL,
	`finished_at` integer,
	`lease_expires_at` integer NOT NULL,
	`counts` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `idempotency_keys` (
	`principal` text NOT NULL,
	`route` text NOT NULL,
	`key` text NOT NULL,
	`body_hash` text NOT NULL,
	`status` integer NOT NULL,
	`response` text NOT NULL,
	`subject_id` text NOT NULL,
	`created_at` integer NOT NULL,
	PRIMARY KEY(`principal`, `route`, `key`)
);
--> statement-breakpoint
CREATE INDEX `idempotency_keys_subject` ON `idempotency_keys` (`subject_id`);--> statement-breakpoint
CREATE INDEX `idempotency_keys_created` ON `idempotency_keys` (`created_at`);--> statement-breakpoint
CREATE TABLE `login_throttles` (
	`key` text PRIMARY KEY NOT NULL,
	`failures` integer NOT NULL,
	`blocked_until` integer NOT NULL,
	`expires_at` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `login_throttles_expired` ON `login_throttles` (`expires_at`);--> statement-breakpoint
CREATE TABLE `sessions` (
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
	`country` text
);
--> statement-breakpoint
CREATE INDEX `sessions_live` ON `sessions` (`user_id`,`id`) WHERE revoked_at IS NULL;--> statement-breakpoint
CREATE INDEX `sessions_of_user` ON `sessions` (`user_id`);--> statement-breakpoint
CREATE INDEX `sessions_idle` ON `sessions` (`idle_expires_at`);--> statement-breakpoint
CREATE INDEX `sessions_revoked` ON `sessions` (`revoked_at`) WHERE revoked_at IS NOT NULL;--> statement-breakpoint
CREATE TABLE `user_totals` (
	`role` text NOT NULL,
	`state` text NOT NULL,
	`total` integer NOT NULL,
	PRIMARY KEY(`role`, `state`)
);
--> statement-breakpoint
CREATE TABLE `users` (
	`seq` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`id` text NOT NULL,
	`email` text NOT NULL,
	`email_normalized` text NOT NULL,
	`name` text COLLATE NOCASE NOT NULL,
	`password_hash` text,
	`role` text NOT NULL,
	`status` text NOT NULL,
	`disabled_reason` text,
	`disabled_until` integer,
	`email_verified_at` integer,
	`version` integer NOT NULL,
	`token_epoch` integer NOT NULL,
	`failed_logins` integer NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	`last_login_at` integer,
	`deleted_at` integer,
	`state` text GENERATED ALWAYS AS (CASE WHEN deleted_at IS NULL THEN status ELSE 'deleted' END) VIRTUAL NOT NULL,
	`facets` text GENERATED ALWAYS AS ('r=' || substr(role, 1, 1) || ' s=' || CASE WHEN deleted_at IS NULL THEN substr(status, 1, 1) ELSE 'x' END) VIRTUAL NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX `users_id_unique` ON `users` (`id`);--> statement-breakpoint
CREATE UNIQUE INDEX `users_live_email` ON `users` (`email_normalized`) WHERE deleted_at IS NULL;--> statement-breakpoint
CREATE INDEX `users_by_id` ON `users` (`role`,`state`,`id`);--> statement-breakpoint
CREATE INDEX `users_by_email` ON `users` (`role`,`state`,`email_normalized`,`id`);--> statement-breakpoint
CREATE INDEX `users_by_name` ON `users` (`role`,`state`,`name`,`id`);--> statement-breakpoint
CREATE INDEX `users_deleted` ON `users` (`deleted_at`) WHERE deleted_at IS NOT NULL;--> statement-breakpoint
CREATE INDEX `users_disabled_until` ON `users` (`disabled_until`) WHERE disabled_until IS NOT NULL;