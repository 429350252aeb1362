-- Each index that a write touches is billed as a row. Links and mails are cleaned up by their ids, which are times, so
-- what they had for that goes. The version before finds what is over by reading the table.
DROP INDEX `one_time_tokens_expired`;
--> statement-breakpoint
DROP INDEX `outbox_created`;
--> statement-breakpoint
-- One change of the search index for each change of a user, instead of a deletion and an insertion. Before the change,
-- while the old text still stands in `users`: the index reads there what it has to take out. What SQLite computes is not
-- to be relied on then (`facets` would be made of the columns that the change names), so it stands here once more.
DROP TRIGGER `users_search_before_update`;
--> statement-breakpoint
DROP TRIGGER `users_search_update`;
--> statement-breakpoint
CREATE TRIGGER users_search_update BEFORE UPDATE OF email_normalized, name, role, status, deleted_at ON users BEGIN
  UPDATE users_fts SET email_normalized = NEW.email_normalized, name = NEW.name,
    facets = 'r=' || substr(NEW.role, 1, 1) || ' s=' || CASE WHEN NEW.deleted_at IS NULL THEN substr(NEW.status, 1, 1) ELSE 'x' END
  WHERE rowid = OLD.seq;
END;
