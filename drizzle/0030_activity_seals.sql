-- Seals over the history, and what each commits to. Nothing here is read while a request is answered.
CREATE TABLE `activity_seals` (
	`number` integer PRIMARY KEY NOT NULL,
	`kind` text NOT NULL,
	`until` text NOT NULL,
	`rows` integer NOT NULL,
	`root` text NOT NULL,
	`aged_noise` integer NOT NULL,
	`aged_security` integer NOT NULL,
	`sealed_at` integer NOT NULL,
	`note` text,
	`head` text NOT NULL,
	`key_id` text NOT NULL,
	`mac` text NOT NULL
);
--> statement-breakpoint
CREATE TABLE `activity_proofs` (
	`id` text PRIMARY KEY NOT NULL,
	`seal` integer NOT NULL,
	`details_salt` text,
	`details_hash` text NOT NULL,
	`origin_salt` text,
	`origin_hash` text NOT NULL
) WITHOUT ROWID;
--> statement-breakpoint
CREATE TRIGGER seals_stay BEFORE UPDATE ON activity_seals
BEGIN
  SELECT RAISE(ABORT, 'a seal is never changed');
END;
--> statement-breakpoint
CREATE TRIGGER seals_are_kept BEFORE DELETE ON activity_seals
BEGIN
  SELECT RAISE(ABORT, 'a seal is kept');
END;
--> statement-breakpoint
-- What erasing hides cannot be tried out any more.
CREATE TRIGGER salts_go_with_what_is_erased AFTER UPDATE ON user_activity_logs
WHEN NEW.details IS NOT OLD.details OR NEW.ip IS NOT OLD.ip OR NEW.user_agent IS NOT OLD.user_agent OR NEW.country IS NOT OLD.country
BEGIN
  UPDATE activity_proofs SET
    details_salt = CASE WHEN NEW.details IS OLD.details THEN details_salt END,
    origin_salt = CASE WHEN NEW.ip IS OLD.ip AND NEW.user_agent IS OLD.user_agent AND NEW.country IS OLD.country THEN origin_salt END
  WHERE id = OLD.id;
END;
--> statement-breakpoint
CREATE TRIGGER proofs_go_with_their_rows AFTER DELETE ON user_activity_logs
BEGIN
  DELETE FROM activity_proofs WHERE id = OLD.id;
END;
