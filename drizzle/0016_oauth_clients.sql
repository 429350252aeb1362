-- Apps and services that sign people in with Roster, and what people let them do.
CREATE TABLE `oauth_clients` (
	`id` text PRIMARY KEY NOT NULL,
	`name` text NOT NULL,
	`type` text NOT NULL,
	`token_endpoint_auth_method` text NOT NULL,
	`grants` text NOT NULL,
	`redirect_uris` text NOT NULL,
	`post_logout_redirect_uris` text NOT NULL,
	`backchannel_logout_uri` text,
	`scopes` text NOT NULL,
	`allowed_roles` text,
	`first_party` integer NOT NULL,
	`require_pkce` integer NOT NULL,
	`id_token_signed_response_alg` text NOT NULL,
	`logo_uri` text,
	`jwks` text,
	`resources` text NOT NULL,
	`secret_hash` text,
	`former_secret_hash` text,
	`former_secret_until` integer,
	`epoch` integer NOT NULL,
	`owner_id` text,
	`created_by` text,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL,
	`last_used_at` integer,
	`version` integer NOT NULL
) WITHOUT ROWID;
--> statement-breakpoint
CREATE INDEX `oauth_clients_of_owner` ON `oauth_clients` (`owner_id`) WHERE owner_id IS NOT NULL;
--> statement-breakpoint
CREATE INDEX `oauth_clients_by_maker` ON `oauth_clients` (`created_by`) WHERE created_by IS NOT NULL;
--> statement-breakpoint
CREATE TABLE `oauth_grants` (
	`id` text PRIMARY KEY NOT NULL,
	`user_id` text NOT NULL,
	`client_id` text NOT NULL,
	`scopes` text NOT NULL,
	`created_at` integer NOT NULL,
	`updated_at` integer NOT NULL
) WITHOUT ROWID;
--> statement-breakpoint
CREATE UNIQUE INDEX `oauth_grants_of_user` ON `oauth_grants` (`user_id`,`client_id`);
--> statement-breakpoint
CREATE INDEX `oauth_grants_of_client` ON `oauth_grants` (`client_id`);
--> statement-breakpoint
-- Codes that were redeemed: a code itself is sealed and stored nowhere.
CREATE TABLE `oauth_codes` (
	`id` text PRIMARY KEY NOT NULL,
	`session_id` text NOT NULL
) WITHOUT ROWID;
--> statement-breakpoint
-- A session that an app has under a person's.
ALTER TABLE `sessions` ADD `parent_id` text;
--> statement-breakpoint
ALTER TABLE `sessions` ADD `client_id` text;
--> statement-breakpoint
ALTER TABLE `sessions` ADD `client_epoch` integer;
--> statement-breakpoint
ALTER TABLE `sessions` ADD `scope` text;
