-- What an app that is not registered here said of itself when somebody let it do something; null for any other.
ALTER TABLE `oauth_grants` ADD `document` text;
--> statement-breakpoint
-- Its row beside the clients that are registered goes with the last who let it.
CREATE TRIGGER `oauth_documents_removed` AFTER DELETE ON `oauth_grants` WHEN OLD.document IS NOT NULL BEGIN
	DELETE FROM `oauth_clients` WHERE `id` = OLD.client_id
		AND NOT EXISTS (SELECT 1 FROM `oauth_grants` WHERE `client_id` = OLD.client_id);
END;
