-- Logout tokens that are owed to apps. Whatever ends a session owes its own, in the batch that ends it: so it is the
-- database that writes them. One row a login and app, as apps hear of one session for both.
CREATE TABLE `oauth_logouts` (
	`id` text PRIMARY KEY NOT NULL,
	`user_id` text NOT NULL,
	`parent_id` text NOT NULL,
	`client_id` text NOT NULL,
	`expires_at` integer NOT NULL,
	`attempts` integer NOT NULL,
	`next_attempt_at` integer NOT NULL
) WITHOUT ROWID;
--> statement-breakpoint
CREATE INDEX `oauth_logouts_due` ON `oauth_logouts` (`next_attempt_at`);
--> statement-breakpoint
-- An app's session ends, and no other of the same login goes on.
CREATE TRIGGER oauth_logouts_of_app AFTER UPDATE OF revoked_at ON sessions
WHEN NEW.revoked_at IS NOT NULL AND OLD.revoked_at IS NULL AND NEW.client_id IS NOT NULL
BEGIN
  INSERT INTO oauth_logouts (id, user_id, parent_id, client_id, expires_at, attempts, next_attempt_at)
  SELECT NEW.parent_id || '.' || NEW.client_id, NEW.user_id, NEW.parent_id, NEW.client_id,
    CAST(unixepoch('subsec') * 1000 AS INTEGER) + 86400000, 0, CAST(unixepoch('subsec') * 1000 AS INTEGER)
  FROM oauth_clients WHERE oauth_clients.id = NEW.client_id AND backchannel_logout_uri IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM sessions AS other JOIN sessions AS parent ON parent.id = other.parent_id
      WHERE other.user_id = NEW.user_id AND other.revoked_at IS NULL AND other.parent_id = NEW.parent_id
        AND other.client_id = NEW.client_id AND parent.revoked_at IS NULL
        AND other.idle_expires_at > CAST(unixepoch('subsec') * 1000 AS INTEGER))
  ON CONFLICT (id) DO UPDATE SET attempts = 0, expires_at = excluded.expires_at, next_attempt_at = excluded.next_attempt_at;
END;
--> statement-breakpoint
-- A login ends under which apps go on that were let go on without it: who signed in has signed out of them.
CREATE TRIGGER oauth_logouts_of_login AFTER UPDATE OF revoked_at ON sessions
WHEN NEW.revoked_at IS NOT NULL AND OLD.revoked_at IS NULL AND NEW.client_id IS NULL
BEGIN
  INSERT INTO oauth_logouts (id, user_id, parent_id, client_id, expires_at, attempts, next_attempt_at)
  SELECT DISTINCT NEW.id || '.' || child.client_id, NEW.user_id, NEW.id, child.client_id,
    CAST(unixepoch('subsec') * 1000 AS INTEGER) + 86400000, 0, CAST(unixepoch('subsec') * 1000 AS INTEGER)
  FROM sessions AS child JOIN oauth_clients ON oauth_clients.id = child.client_id AND backchannel_logout_uri IS NOT NULL
  WHERE child.user_id = NEW.user_id AND child.revoked_at IS NULL AND child.parent_id = NEW.id
  ON CONFLICT (id) DO UPDATE SET attempts = 0, expires_at = excluded.expires_at, next_attempt_at = excluded.next_attempt_at;
END;
