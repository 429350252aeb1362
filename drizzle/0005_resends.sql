-- Write batches that were sent again: see src/database/guard.ts.
CREATE TABLE `resends` (
	`batch_id` text NOT NULL,
	`number` integer NOT NULL,
	PRIMARY KEY(`batch_id`, `number`)
) WITHOUT ROWID;
