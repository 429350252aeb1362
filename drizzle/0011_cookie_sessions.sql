-- Sessions that live in a cookie: how often they were proved again, when last, and when the turn before ended.
ALTER TABLE `sessions` ADD `turn` integer NOT NULL DEFAULT 0;
--> statement-breakpoint
ALTER TABLE `sessions` ADD `proved_at` integer;
--> statement-breakpoint
-- The language that a user has chosen for pages and mails.
ALTER TABLE `users` ADD `locale` text;
