-- The attempts that failed_logins counts, so that one is taken back once and is counted once.
ALTER TABLE `users` ADD `failed_attempts` text;
--> statement-breakpoint
-- How many devices have become known to the account; of these it knows the newest.
ALTER TABLE `users` ADD `devices` integer DEFAULT 0 NOT NULL;
--> statement-breakpoint
-- Wrong passwords that were given with a link, apart from wrong codes.
ALTER TABLE `one_time_tokens` ADD `password_tries` integer DEFAULT 0 NOT NULL;
