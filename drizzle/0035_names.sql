-- Names are found and sorted by a key without what accents hide (src/users/names.ts). SQLite cannot make it, so whoever writes a
-- name that is more than ASCII writes the key beside it, behind the name that it is of: a key of another name counts for
-- nothing. So the version before goes on writing names, and clean-up makes the keys of those and of all there are.
ALTER TABLE `users` ADD `name_fold` text;
--> statement-breakpoint
ALTER TABLE `users` ADD `name_key` text COLLATE NOCASE NOT NULL GENERATED ALWAYS AS (CASE WHEN substr(name_fold, 1, length(name) + 1) = name || char(31) THEN substr(name_fold, length(name) + 2) ELSE name END) VIRTUAL;
--> statement-breakpoint
-- The version before sorts those of each role and state by itself, and gets the same.
DROP INDEX `users_by_name`;
--> statement-breakpoint
CREATE INDEX `users_by_name` ON `users` (`role`,`state`,`name_key`,`id`);
--> statement-breakpoint
CREATE INDEX `users_without_key` ON `users` (`id`) WHERE name GLOB '*[^ -~]*' AND name_fold IS NULL;
--> statement-breakpoint
-- Only of those who have a key; everybody else's name is found as it is.
CREATE VIRTUAL TABLE names_fts USING fts5(email_normalized, name, facets, tokenize = 'trigram');
--> statement-breakpoint
INSERT INTO names_fts(names_fts, rank) VALUES ('secure-delete', 1);
--> statement-breakpoint
CREATE TRIGGER users_names_insert AFTER INSERT ON users WHEN NEW.name_fold IS NOT NULL BEGIN
  INSERT INTO names_fts(rowid, email_normalized, name, facets)
  VALUES (NEW.seq, NEW.email_normalized, NEW.name_key, NEW.facets);
END;
--> statement-breakpoint
CREATE TRIGGER users_names_delete BEFORE DELETE ON users WHEN OLD.name_fold IS NOT NULL BEGIN
  DELETE FROM names_fts WHERE rowid = OLD.seq;
END;
--> statement-breakpoint
-- A key of the name before goes with it.
CREATE TRIGGER users_names_update AFTER UPDATE OF email_normalized, name, name_fold, role, status, deleted_at ON users
WHEN OLD.name_fold IS NOT NULL OR NEW.name_fold IS NOT NULL BEGIN
  DELETE FROM names_fts WHERE rowid = OLD.seq;
  INSERT INTO names_fts(rowid, email_normalized, name, facets)
  SELECT NEW.seq, NEW.email_normalized, NEW.name_key, NEW.facets
  WHERE substr(NEW.name_fold, 1, length(NEW.name) + 1) = NEW.name || char(31);
  UPDATE users SET name_fold = NULL
  WHERE seq = NEW.seq AND name_fold IS NOT NULL AND substr(name_fold, 1, length(name) + 1) <> name || char(31);
END;
