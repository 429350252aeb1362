CREATE TABLE `daily_totals` (
	`day` integer NOT NULL,
	`action` text NOT NULL,
	`total` integer NOT NULL,
	PRIMARY KEY(`day`, `action`)
) WITHOUT ROWID;
--> statement-breakpoint
CREATE INDEX `users_locked` ON `users` (`role`,`state`,`id`) WHERE failed_logins >= 100;
