-- Raised by whatever makes a user's known devices strangers again.
ALTER TABLE `users` ADD `device_epoch` integer DEFAULT 0 NOT NULL;
--> statement-breakpoint
-- By what its user proved who they are (RFC 8176). Every session so far began with a password.
ALTER TABLE `sessions` ADD `amr` text DEFAULT '["pwd"]' NOT NULL;
--> statement-breakpoint
-- The attempt that was counted last: one that is sent twice counts once, and only its own sender takes it back.
ALTER TABLE `throttles` ADD `attempt_id` text;
