-- An import owes one event, `users.imported`, which names whom it has made. The row of history of each of them owes none:
-- with many webhooks that would be a hundred rows a person, and hours in which every other event waits.
DROP TRIGGER webhook_deliveries_owed;
--> statement-breakpoint
CREATE TRIGGER webhook_deliveries_owed AFTER INSERT ON user_activity_logs
WHEN 1 IN (SELECT listens FROM webhooks) AND NOT (NEW.action = 'user.created' AND NEW.details ->> '$.import_id' IS NOT NULL)
BEGIN
  INSERT INTO webhook_deliveries (webhook_id, event_id, user_id, caused_by, type, event_details, owed_at, next_attempt_at)
  SELECT webhooks.id, NEW.id, NEW.user_id, NEW.actor_id, NEW.action, NEW.details,
    CAST(unixepoch('subsec') * 1000 AS INTEGER), CAST(unixepoch('subsec') * 1000 AS INTEGER)
  FROM webhooks WHERE instr(webhooks.types, '"' || NEW.action || '"') > 0;
END;
