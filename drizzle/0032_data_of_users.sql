-- What else is kept of users: an object of their own, one for those who manage, and how another system names them. Most
-- have none, so nobody who signs up is a row more for it.
ALTER TABLE `users` ADD `metadata` text;
--> statement-breakpoint
ALTER TABLE `users` ADD `admin_metadata` text;
--> statement-breakpoint
ALTER TABLE `users` ADD `external_id` text;
--> statement-breakpoint
CREATE UNIQUE INDEX `users_by_external_id` ON `users` (`external_id`) WHERE external_id IS NOT NULL;
