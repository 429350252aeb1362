-- The row of history that a mail tells of: what its words name is looked up there when it is sent, and stands nowhere twice.
ALTER TABLE `outbox` ADD `event_id` text;
