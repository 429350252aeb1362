-- What the link of a mail takes back: a session, a passkey or an authenticator app.
ALTER TABLE `one_time_tokens` ADD `about` text;
