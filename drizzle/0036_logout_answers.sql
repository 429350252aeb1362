-- What an app answered last that has not taken word of a sign-out; and what it is owed, for those who look after it.
ALTER TABLE `oauth_logouts` ADD `answer` integer;
--> statement-breakpoint
CREATE INDEX `oauth_logouts_of_client` ON `oauth_logouts` (`client_id`);
