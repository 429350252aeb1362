-- Whoever is erased leaves the id alone in what webhooks are owed of them, and were. The database does it with the row, so that
-- no erasure can forget it.
CREATE TRIGGER webhook_deliveries_of_erased AFTER DELETE ON users
BEGIN
  UPDATE webhook_deliveries SET snapshot = NULL, event_details = NULL WHERE user_id = OLD.id AND snapshot IS NOT NULL;
END;
