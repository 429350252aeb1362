-- Erasing somebody is a job that goes on in steps: see src/users/erasure.ts.
CREATE TABLE `erasures` (
	`user_id` text PRIMARY KEY NOT NULL,
	`ended_at` integer NOT NULL,
	`began_at` integer NOT NULL,
	`sought` text,
	`stage` text NOT NULL,
	`cursor` text NOT NULL,
	`origin_until` integer,
	`due_at` integer NOT NULL
);
--> statement-breakpoint
CREATE INDEX `erasures_due` ON `erasures` (`due_at`);
--> statement-breakpoint
CREATE INDEX `invitations_of_inviter` ON `invitations` (`invited_by`);
--> statement-breakpoint
CREATE INDEX `outbox_new_email` ON `outbox` (lower("new_email")) WHERE new_email IS NOT NULL;
--> statement-breakpoint
CREATE INDEX `users_never_proved` ON `users` (`updated_at`) WHERE email_verified_at IS NULL AND last_login_at IS NULL AND deleted_at IS NULL;
--> statement-breakpoint
-- The number of the batch that a run is at, so that one which is sent twice counts once, and the tasks that failed.
ALTER TABLE `cleanup_runs` ADD `batch` integer DEFAULT 0 NOT NULL;
--> statement-breakpoint
ALTER TABLE `cleanup_runs` ADD `failed` text DEFAULT '[]' NOT NULL;
--> statement-breakpoint
-- History is appended. The one update allowed takes something away when somebody is erased: where they acted from, and
-- of the details what names them. What stays in the details has to have stood there, letter by letter.
DROP TRIGGER activity_append_only;
--> statement-breakpoint
CREATE TRIGGER activity_append_only BEFORE UPDATE ON user_activity_logs
WHEN NEW.id IS NOT OLD.id OR NEW.user_id IS NOT OLD.user_id OR NEW.actor_id IS NOT OLD.actor_id
  OR NEW.action IS NOT OLD.action OR NEW.request_id IS NOT OLD.request_id
  OR (NEW.details IS NOT OLD.details AND NEW.details IS NOT NULL
    AND CASE WHEN json_valid(OLD.details) AND json_valid(NEW.details) THEN EXISTS (
      SELECT fullkey, type, atom FROM json_tree(NEW.details) EXCEPT SELECT fullkey, type, atom FROM json_tree(OLD.details)
    ) ELSE 1 END)
  OR (NEW.ip IS NOT OLD.ip AND NEW.ip IS NOT NULL)
  OR (NEW.user_agent IS NOT OLD.user_agent AND NEW.user_agent IS NOT NULL)
  OR (NEW.country IS NOT OLD.country AND NEW.country IS NOT NULL)
BEGIN
  SELECT RAISE(ABORT, 'history can be erased of personal data, never rewritten');
END;
