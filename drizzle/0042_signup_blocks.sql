-- Who may not sign up, beside the setting SIGNUP_BLOCKED: each as it is compared, so that asking about somebody is a few
-- probes of the key, however many there are.
CREATE TABLE `signup_blocks` (
	`entry` text PRIMARY KEY NOT NULL,
	`created_at` integer NOT NULL
) WITHOUT ROWID;
