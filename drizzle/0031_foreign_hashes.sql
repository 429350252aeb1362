-- People who came with a hash that nobody here verifies have no password until they choose one, and lists can say so.
-- Whatever sets a password, or takes it, ends that; a trigger, for the version before as for this one.
ALTER TABLE `users` ADD `needs_reset` integer DEFAULT 0 NOT NULL;
--> statement-breakpoint
CREATE INDEX `users_needing_reset` ON `users` (`role`,`state`,`id`) WHERE needs_reset = 1;
--> statement-breakpoint
CREATE TRIGGER `users_reset` AFTER UPDATE OF `password_hash` ON `users` WHEN NEW.`needs_reset` = 1 BEGIN
  UPDATE `users` SET `needs_reset` = 0 WHERE `id` = NEW.`id`;
END;
--> statement-breakpoint
-- Hashes that other software made: those under a former key are renewed, and looked for by it.
CREATE INDEX `users_foreign_hash` ON `users` (`password_hash`) WHERE password_hash GLOB '$foreign$*';
