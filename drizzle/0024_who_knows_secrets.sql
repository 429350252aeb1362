ALTER TABLE `oauth_clients` ADD `secret_by` text;
--> statement-breakpoint
UPDATE `oauth_clients` SET `secret_by` = `created_by` WHERE `secret_hash` IS NOT NULL OR `jwks` IS NOT NULL;
--> statement-breakpoint
CREATE INDEX `oauth_clients_by_secret` ON `oauth_clients` (`secret_by`) WHERE secret_by IS NOT NULL;
