-- Other systems that hear of changes. What is owed to them is written by the database itself, with the row of history that
-- says what has happened: so no change can forget it, and where there is no webhook it costs nothing.
CREATE TABLE `webhooks` (
	`id` text PRIMARY KEY NOT NULL,
	`url` text NOT NULL,
	`types` text NOT NULL,
	`secret` text NOT NULL,
	`former_secret` text,
	`former_secret_until` integer,
	`secret_by` text,
	`created_by` text,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	`version` integer NOT NULL,
	`failures` integer DEFAULT 0 NOT NULL,
	`failing_since` integer,
	`next_try_at` integer,
	`rested_at` integer,
	`listens` integer DEFAULT 1 NOT NULL
) WITHOUT ROWID;
--> statement-breakpoint
-- Always 1: so whether there is any webhook is a probe of this index, which reads no row.
CREATE INDEX `webhooks_listening` ON `webhooks` (`listens`);
--> statement-breakpoint
-- Their key is the order in which changes were committed: ids are of clocks that differ. It never goes back, as clean-up
-- leaves the newest row. AUTOINCREMENT would read a row more for every row of history, where there is no webhook too.
CREATE TABLE `webhook_deliveries` (
	`id` integer PRIMARY KEY NOT NULL,
	`webhook_id` text NOT NULL,
	`event_id` text NOT NULL,
	`user_id` text,
	`caused_by` text,
	`type` text NOT NULL,
	`event_details` text,
	`snapshot` text,
	`is_fixed` integer DEFAULT 0 NOT NULL,
	`owed_at` integer NOT NULL,
	`attempts` integer DEFAULT 0 NOT NULL,
	`next_attempt_at` integer NOT NULL,
	`last_attempt_at` integer,
	`last_status` integer,
	`delivered_at` integer,
	`dead_at` integer,
	`by_hand` integer DEFAULT 0 NOT NULL
);
--> statement-breakpoint
CREATE INDEX `webhook_deliveries_of_hook` ON `webhook_deliveries` (`webhook_id`,`owed_at`);
--> statement-breakpoint
CREATE INDEX `webhook_deliveries_open` ON `webhook_deliveries` (`webhook_id`,`id`) WHERE delivered_at IS NULL AND dead_at IS NULL;
--> statement-breakpoint
CREATE INDEX `webhook_deliveries_in_line` ON `webhook_deliveries` (`user_id`,`webhook_id`,`id`) WHERE delivered_at IS NULL AND dead_at IS NULL;
--> statement-breakpoint
CREATE INDEX `webhook_deliveries_of_user` ON `webhook_deliveries` (`user_id`) WHERE snapshot IS NOT NULL;
--> statement-breakpoint
-- How the user is after the change is added at the end of its batch: the row of history stands before it.
CREATE TRIGGER webhook_deliveries_owed AFTER INSERT ON user_activity_logs WHEN 1 IN (SELECT listens FROM webhooks)
BEGIN
  INSERT INTO webhook_deliveries (webhook_id, event_id, user_id, caused_by, type, event_details, owed_at, next_attempt_at)
  SELECT webhooks.id, NEW.id, NEW.user_id, NEW.actor_id, NEW.action, NEW.details,
    CAST(unixepoch('subsec') * 1000 AS INTEGER), CAST(unixepoch('subsec') * 1000 AS INTEGER)
  FROM webhooks WHERE instr(webhooks.types, '"' || NEW.action || '"') > 0;
END;
