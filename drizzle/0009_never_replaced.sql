-- `REPLACE` and `UPDATE OR REPLACE` take a row away without asking the triggers for deletions. The guards so far looked
-- at `id` alone, but the history also has a hidden rowid, and users have three keys. These add no row to any write.

CREATE TRIGGER activity_rowid_stays BEFORE UPDATE ON user_activity_logs
WHEN NEW.rowid IS NOT OLD.rowid
BEGIN
  SELECT RAISE(ABORT, 'history is never moved');
END;
--> statement-breakpoint
-- A rowid that is not given is -1 here.
CREATE TRIGGER activity_rowid_is_new BEFORE INSERT ON user_activity_logs
WHEN NEW.rowid >= 0 AND EXISTS (SELECT 1 FROM user_activity_logs WHERE rowid = NEW.rowid)
BEGIN
  SELECT RAISE(ABORT, 'history is never replaced');
END;
--> statement-breakpoint
-- A user who is replaced would stay in the totals and in the search index.
CREATE TRIGGER users_never_replaced BEFORE INSERT ON users
WHEN EXISTS (SELECT 1 FROM users WHERE id = NEW.id)
  OR (NEW.seq >= 0 AND EXISTS (SELECT 1 FROM users WHERE seq = NEW.seq))
  OR (NEW.deleted_at IS NULL AND EXISTS (
    SELECT 1 FROM users WHERE email_normalized = NEW.email_normalized AND deleted_at IS NULL))
BEGIN
  SELECT RAISE(ABORT, 'UNIQUE constraint failed: users are never replaced');
END;
--> statement-breakpoint
CREATE TRIGGER users_never_overwritten BEFORE UPDATE OF seq, id, email_normalized, deleted_at ON users
WHEN NEW.seq IS NOT OLD.seq OR NEW.id IS NOT OLD.id
  OR (NEW.deleted_at IS NULL
    AND (OLD.deleted_at IS NOT NULL OR NEW.email_normalized IS NOT OLD.email_normalized)
    AND EXISTS (SELECT 1 FROM users
      WHERE email_normalized = NEW.email_normalized AND deleted_at IS NULL AND seq <> OLD.seq))
BEGIN
  SELECT RAISE(ABORT, 'UNIQUE constraint failed: users are never overwritten');
END;
