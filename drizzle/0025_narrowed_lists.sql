-- What lists of users can be narrowed to. What there is beside the password stands at the user too, so that a list can say
-- it: 1 for an authenticator app, 2 for passkeys, 3 for both. Triggers keep it, for the version before as for that.
ALTER TABLE `users` ADD `factors` integer DEFAULT 0 NOT NULL;
--> statement-breakpoint
UPDATE `users` SET `factors` = 1 WHERE `id` IN (SELECT `user_id` FROM `factors` WHERE `confirmed_at` IS NOT NULL);
--> statement-breakpoint
UPDATE `users` SET `factors` = `factors` + 2 WHERE `id` IN (SELECT `user_id` FROM `passkeys`);
--> statement-breakpoint
CREATE TRIGGER `users_factors_confirmed` AFTER UPDATE OF `confirmed_at` ON `factors` WHEN NEW.`confirmed_at` IS NOT NULL BEGIN
  UPDATE `users` SET `factors` = `factors` | 1 WHERE `id` = NEW.`user_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `users_factors_insert` AFTER INSERT ON `factors` WHEN NEW.`confirmed_at` IS NOT NULL BEGIN
  UPDATE `users` SET `factors` = `factors` | 1 WHERE `id` = NEW.`user_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `users_factors_delete` AFTER DELETE ON `factors` WHEN OLD.`confirmed_at` IS NOT NULL BEGIN
  UPDATE `users` SET `factors` = `factors` & 2 WHERE `id` = OLD.`user_id`;
END;
--> statement-breakpoint
CREATE TRIGGER `users_passkeys_insert` AFTER INSERT ON `passkeys` BEGIN
  UPDATE `users` SET `factors` = `factors` | 2 WHERE `id` = NEW.`user_id` AND `factors` & 2 = 0;
END;
--> statement-breakpoint
CREATE TRIGGER `users_passkeys_delete` AFTER DELETE ON `passkeys` WHEN NOT EXISTS (SELECT 1 FROM `passkeys` WHERE `user_id` = OLD.`user_id`) BEGIN
  UPDATE `users` SET `factors` = `factors` & 1 WHERE `id` = OLD.`user_id`;
END;
--> statement-breakpoint
CREATE INDEX `users_locked_factor` ON `users` (`role`,`state`,`id`) WHERE failed_factors >= 100;
--> statement-breakpoint
CREATE INDEX `users_verified` ON `users` (`role`,`state`,`id`) WHERE email_verified_at IS NOT NULL;
--> statement-breakpoint
CREATE INDEX `users_unverified` ON `users` (`role`,`state`,`id`) WHERE email_verified_at IS NULL;
--> statement-breakpoint
CREATE INDEX `users_without_factor` ON `users` (`role`,`state`,`id`) WHERE factors = 0 AND role <> 'user';
