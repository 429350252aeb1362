-- A session that asked for a mail is the only one whose code counts.
ALTER TABLE `one_time_tokens` ADD `session_id` text;
--> statement-breakpoint
-- A newer link was asked for: this one leads nowhere, and its code is good for who asked for it.
ALTER TABLE `one_time_tokens` ADD `superseded_at` integer;
--> statement-breakpoint
-- How long after it was made it was mailed (ms): a code lives from then on.
ALTER TABLE `one_time_tokens` ADD `mailed_after` integer;
--> statement-breakpoint
-- Its link was followed by somebody of whom more was asked.
ALTER TABLE `one_time_tokens` ADD `clicked_at` integer;
--> statement-breakpoint
-- From where somebody asked for a mail; null where nobody did.
ALTER TABLE `outbox` ADD `country` text;
--> statement-breakpoint
ALTER TABLE `outbox` ADD `device` text;
--> statement-breakpoint
-- Why it was not sent, as a word or the status of the mail service.
ALTER TABLE `outbox` ADD `refusal` text;
--> statement-breakpoint
-- Somebody else typed the password of this account: its user replaces it as they prove their address.
ALTER TABLE `users` ADD `password_is_given` integer DEFAULT 0 NOT NULL;
