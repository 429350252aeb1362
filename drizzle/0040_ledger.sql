-- What the ledger of erasures, which stands in Redis, has yet to be told: digests under a key, until it knows them.
CREATE TABLE `ledger_owed` (
	`digest` text PRIMARY KEY NOT NULL
) WITHOUT ROWID;
