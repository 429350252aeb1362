-- Other services that tokens are made for (RFC 8707): whose each is, kept by triggers from the client's own list.
CREATE TABLE `oauth_resources` (
	`url` text PRIMARY KEY NOT NULL,
	`client_id` text NOT NULL
) WITHOUT ROWID;
--> statement-breakpoint
CREATE TRIGGER `oauth_resources_added` AFTER INSERT ON `oauth_clients` BEGIN
	INSERT INTO `oauth_resources` (`url`, `client_id`)
		SELECT json_extract(value, '$.url'), NEW.id FROM json_each(NEW.resources);
END;
--> statement-breakpoint
CREATE TRIGGER `oauth_resources_changed` AFTER UPDATE OF `resources` ON `oauth_clients` WHEN NEW.resources <> OLD.resources BEGIN
	DELETE FROM `oauth_resources` WHERE `url` IN (SELECT json_extract(value, '$.url') FROM json_each(OLD.resources));
	INSERT INTO `oauth_resources` (`url`, `client_id`)
		SELECT json_extract(value, '$.url'), NEW.id FROM json_each(NEW.resources);
END;
--> statement-breakpoint
CREATE TRIGGER `oauth_resources_removed` AFTER DELETE ON `oauth_clients` BEGIN
	DELETE FROM `oauth_resources` WHERE `url` IN (SELECT json_extract(value, '$.url') FROM json_each(OLD.resources));
END;
--> statement-breakpoint
-- Whose tokens an app's session gives; null for Roster's own.
ALTER TABLE `sessions` ADD `resource` text;
--> statement-breakpoint
ALTER TABLE `oauth_device_codes` ADD `resource` text;
